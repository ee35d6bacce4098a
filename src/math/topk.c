#include "math/topk.h"

#include "math/vector_inline.h"

#include <assert.h>
#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Selection without a branch per number.  The row is folded into `slots` running maxima; the k-th
 * largest of them is a bound that at least k numbers reach and few others do (k = 16 of 128: about
 * 22; of 1,024: about 24).  Those are collected and each is put at its rank, which is found by
 * counting who comes before it.  Ties at the bound can make the collection overflow: then, and for
 * large k, plain insertion does the work. */
#define COLLECTED_MAX 64
#define STRIDE        16 /* numbers looked at between checks for overflow */

CAM_INLINE cam_vec min_vec(cam_vec a, cam_vec b) {
    return cam_select(a < b, a, b);
}

/* The k-th largest of SLOTS interleaved maxima of the row. */
CAM_INLINE cam_real bound_of(const cam_real *score, size_t n, size_t k, const size_t slots) {
    cam_vec most[COLLECTED_MAX / CAM_LANES], tail;
    const size_t n_vec = slots / CAM_LANES;
    for (size_t v = 0; v < n_vec; v++)
        most[v] = cam_splat(-(cam_real)INFINITY);
    size_t i = 0;
    for (; i + slots <= n; i += slots)
        for (size_t v = 0; v < n_vec; v++)
            most[v] = cam_max(CAM_LOAD(score + i + v * CAM_LANES), most[v]);
    for (size_t v = 0; i < n; v++) {
        tail = cam_splat(-(cam_real)INFINITY);
        for (size_t lane = 0; lane < CAM_LANES && i < n; lane++)
            tail[lane] = score[i++];
        most[v] = cam_max(tail, most[v]);
    }
    /* The smallest one that fewer than k others exceed. */
    const cam_vec one = cam_splat(1), zero = {0};
    cam_vec bound = cam_splat((cam_real)INFINITY);
    const cam_real *each = (const cam_real *)most;
    for (size_t v = 0; v < n_vec; v++) {
        cam_vec greater = {0};
        for (size_t s = 0; s < slots; s++)
            greater += cam_select(cam_splat(each[s]) > most[v], one, zero);
        bound = cam_select(greater < cam_splat((cam_real)k), min_vec(most[v], bound), bound);
    }
    cam_real least = bound[0];
    for (size_t lane = 1; lane < CAM_LANES; lane++)
        least = bound[lane] < least ? bound[lane] : least;
    return least;
}

/* How many of VALUE[0..M) reach BOUND, with their indices; more than COLLECTED_MAX: overflow. */
CAM_INLINE size_t collect(const cam_real *score, size_t n, cam_real bound, cam_real *value,
                          uint32_t *index) {
    size_t m = 0, i = 0;
    for (; i + STRIDE <= n && m <= COLLECTED_MAX; i += STRIDE) {
        for (size_t s = 0; s < STRIDE; s++) {
            value[m] = score[i + s];
            index[m] = (uint32_t)(i + s);
            m += score[i + s] >= bound;
        }
    }
    if (m > COLLECTED_MAX)
        return m;
    for (; i < n; i++) {
        value[m] = score[i];
        index[m] = (uint32_t)i;
        m += score[i] >= bound;
    }
    return m;
}

/* Each of M values (in index order) to its rank, counted in reals: comparisons of integers are not
 * vectorised for every processor. */
CAM_INLINE void place(cam_real *value, const uint32_t *index, size_t m, size_t k,
                      cam_real *top_score, uint32_t *top_index) {
    cam_real rank[COLLECTED_MAX + 2 * STRIDE];
    const cam_vec one = cam_splat(1), zero = {0};
    size_t n_vec = (m + CAM_LANES - 1) / CAM_LANES;
    for (size_t i = m; i < n_vec * CAM_LANES; i++)
        value[i] = -(cam_real)INFINITY;
    cam_vec position;
    for (size_t lane = 0; lane < CAM_LANES; lane++)
        position[lane] = (cam_real)lane;
    for (size_t v = 0; v < n_vec; v++) {
        cam_vec here = CAM_LOAD(value + v * CAM_LANES), before = zero;
        size_t own = v * CAM_LANES, after = own + CAM_LANES < m ? own + CAM_LANES : m, j = 0;
        for (; j < own; j++)
            before += cam_select(cam_splat(value[j]) >= here, one, zero);
        for (; j < after; j++) {
            cam_vec at_most = cam_select(cam_splat((cam_real)(j - own)) < position, one, zero);
            before += cam_select(cam_splat(value[j]) > here, one, zero);
            before += cam_select(cam_splat(value[j]) == here, at_most, zero);
        }
        for (; j < m; j++)
            before += cam_select(cam_splat(value[j]) > here, one, zero);
        CAM_STORE(rank + own, before);
    }
    for (size_t i = 0; i < m; i++) {
        size_t at = (size_t)rank[i];
        if (at < k) {
            top_score[at] = value[i];
            top_index[at] = index[i];
        }
    }
}

static void insert(const cam_real *score, size_t n, size_t k, cam_real *top_score,
                   uint32_t *top_index) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        cam_real s = isnan(score[i]) ? -(cam_real)INFINITY : score[i];
        if (count == k && !(s > top_score[k - 1]))
            continue;
        size_t at = count < k ? count++ : k - 1;
        for (; at > 0 && s > top_score[at - 1]; at--) {
            top_score[at] = top_score[at - 1];
            top_index[at] = top_index[at - 1];
        }
        top_score[at] = s;
        top_index[at] = (uint32_t)i;
    }
}

/* Returns 0 when the collection overflowed or fell short. */
static int select_few(const cam_real *score, size_t n, size_t k, cam_real *top_score,
                      uint32_t *top_index) {
    cam_real value[COLLECTED_MAX + 2 * STRIDE];
    uint32_t index[COLLECTED_MAX + 2 * STRIDE];
    cam_real bound = k <= 24 ? bound_of(score, n, k, 32) : bound_of(score, n, k, 64);
    size_t m = collect(score, n, bound, value, index);
    if (m < k || m > COLLECTED_MAX)
        return 0;
    place(value, index, m, k, top_score, top_index);
    return 1;
}

#if defined(__x86_64__) && !defined(CAM_DOUBLE)
#define WIDE     __attribute__((target("avx512f,avx512bw,avx512vl")))
#define WIDE_MAX 64 /* numbers it can rank: four registers */

/* Adds one to the lanes of *BEFORE whose number is exceeded by VALUE[FROM..TO), or, with EQUAL,
 * also equalled.  Two sums, so that one does not wait for the other. */
WIDE static inline void count_one(const float *value, size_t from, size_t to, const int equal,
                                  __m512 here, __m512i *before) {
    const __m512i one = _mm512_set1_epi32(1);
    __m512i odd = _mm512_setzero_si512(), even = *before;
    size_t j = from;
    for (; j + 2 <= to; j += 2) {
        __m512 x = _mm512_set1_ps(value[j]), y = _mm512_set1_ps(value[j + 1]);
        __mmask16 a = equal ? _mm512_cmp_ps_mask(x, here, _CMP_GE_OQ)
                            : _mm512_cmp_ps_mask(x, here, _CMP_GT_OQ);
        __mmask16 b = equal ? _mm512_cmp_ps_mask(y, here, _CMP_GE_OQ)
                            : _mm512_cmp_ps_mask(y, here, _CMP_GT_OQ);
        even = _mm512_mask_add_epi32(even, a, even, one);
        odd = _mm512_mask_add_epi32(odd, b, odd, one);
    }
    if (j < to) {
        __m512 x = _mm512_set1_ps(value[j]);
        __mmask16 a = equal ? _mm512_cmp_ps_mask(x, here, _CMP_GE_OQ)
                            : _mm512_cmp_ps_mask(x, here, _CMP_GT_OQ);
        even = _mm512_mask_add_epi32(even, a, even, one);
    }
    *before = _mm512_add_epi32(even, odd);
}

/* How many of the N numbers exceed each; with TIES, also equal ones that come before it. */
WIDE static inline void count_before(const float *value, size_t n, int ties, __m512i *count) {
    for (size_t own = 0; own < n; own += 16) {
        __m512 here = _mm512_loadu_ps(value + own);
        __m512i before = _mm512_setzero_si512();
        size_t end = own + 16 < n ? own + 16 : n;
        count_one(value, 0, own, ties, here, &before);
        count_one(value, own, n, 0, here, &before);
        for (size_t j = own; ties && j < end; j++) {
            __mmask16 later = (__mmask16)(0xfffeu << (j - own));
            __mmask16 equal =
                _mm512_mask_cmp_ps_mask(later, _mm512_set1_ps(value[j]), here, _CMP_EQ_OQ);
            before = _mm512_mask_add_epi32(before, equal, before, _mm512_set1_epi32(1));
        }
        count[own / 16] = before;
    }
}

WIDE static inline __m512 load_part(const float *x, size_t n) {
    __mmask16 in = n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
    return _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), in, x);
}

/* bound_of with AVX-512: 32 slots, or 64 for larger k. */
WIDE static float bound_wide(const float *score, size_t n, size_t k, size_t slots) {
    float most[WIDE_MAX];
    for (size_t s = 0; s < slots; s += 16) {
        /* Two maxima, so that one does not wait for the other; a number that is none leaves them.
         */
        __m512 m = _mm512_set1_ps(-INFINITY), other = m;
        size_t i = s;
        for (; i + slots + 16 <= n; i += 2 * slots) {
            m = _mm512_max_ps(_mm512_loadu_ps(score + i), m);
            other = _mm512_max_ps(_mm512_loadu_ps(score + i + slots), other);
        }
        for (; i < n; i += slots)
            m = _mm512_max_ps(load_part(score + i, n - i), m);
        _mm512_storeu_ps(most + s, _mm512_max_ps(other, m));
    }
    __m512i count[WIDE_MAX / 16];
    count_before(most, slots, 0, count);
    __m512 bound = _mm512_set1_ps(INFINITY);
    for (size_t s = 0; s < slots; s += 16) {
        __mmask16 high = _mm512_cmplt_epu32_mask(count[s / 16], _mm512_set1_epi32((int)k));
        bound = _mm512_mask_min_ps(bound, high, bound, _mm512_loadu_ps(most + s));
    }
    return _mm512_reduce_min_ps(bound);
}

/* Which of the first 64 of N numbers reach BOUND. */
WIDE static inline uint64_t reach_of(const float *score, size_t n, __m512 bound) {
    uint64_t reach = 0;
    for (size_t i = 0; i < 64 && i < n; i += 16) {
        __mmask16 in = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        __m512 s = _mm512_maskz_loadu_ps(in, score + i);
        reach |= (uint64_t)_mm512_mask_cmp_ps_mask(in, s, bound, _CMP_GE_OQ) << i;
    }
    return reach;
}

/* select_few with AVX-512, whose comparisons give a bit a lane. */
WIDE static int select_wide(const float *score, size_t n, size_t k, float *top_score,
                            uint32_t *top_index) {
    float value[WIDE_MAX + 32];
    uint32_t index[WIDE_MAX + 32];
    __m512 bound = _mm512_set1_ps(bound_wide(score, n, k, k <= 24 ? 32 : 64));
    size_t m = 0;
    for (size_t i = 0; i < n; i += 64) {
        uint64_t reach = reach_of(score + i, n - i, bound);
        if (m + (size_t)__builtin_popcountll(reach) > WIDE_MAX)
            return 0;
        for (; reach; reach &= reach - 1)
            index[m++] = (uint32_t)(i + (size_t)__builtin_ctzll(reach));
    }
    if (m < k)
        return 0;
    for (size_t i = 0; i < m; i += 16) {
        __mmask16 in = m - i >= 16 ? 0xffff : (__mmask16)((1u << (m - i)) - 1);
        _mm512_storeu_ps(value + i,
                         _mm512_mask_i32gather_ps(_mm512_setzero_ps(), in,
                                                  _mm512_loadu_si512(index + i), score, 4));
    }
    _mm512_storeu_ps(value + m, _mm512_set1_ps(-INFINITY));
    __m512i rank[WIDE_MAX / 16];
    count_before(value, m, 1, rank);
    for (size_t i = 0; i < m; i += 16) {
        __mmask16 chosen = _mm512_cmplt_epu32_mask(rank[i / 16], _mm512_set1_epi32((int)k)) &
                           (m - i >= 16 ? 0xffff : (__mmask16)((1u << (m - i)) - 1));
        _mm512_mask_i32scatter_ps(top_score, chosen, rank[i / 16], _mm512_loadu_ps(value + i), 4);
        _mm512_mask_i32scatter_epi32(top_index, chosen, rank[i / 16], _mm512_loadu_si512(index + i),
                                     4);
    }
    return 1;
}

static int has_wide(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}
#else
#define select_wide select_few
static int has_wide(void) {
    return 0;
}
#endif

void cam_top_k_plain(const cam_real *score, size_t n, size_t k, cam_real *top_score,
                     uint32_t *top_index) {
    assert(k >= 1 && k <= n && k <= CAM_TOP_K_MAX);
    if (k > 48 || !select_few(score, n, k, top_score, top_index))
        insert(score, n, k, top_score, top_index);
}

void cam_top_k(const cam_real *score, size_t n, size_t k, cam_real *top_score,
               uint32_t *top_index) {
    if (k > 48 || !has_wide())
        cam_top_k_plain(score, n, k, top_score, top_index);
    else if (!select_wide(score, n, k, top_score, top_index))
        insert(score, n, k, top_score, top_index);
}
