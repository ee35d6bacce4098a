#include "math/topk.h"

#include "math/vector_inline.h"

#include <assert.h>
#include <math.h>

/* Selection without a branch per number.  The row is folded into `slots` running maxima; the k-th
 * largest of them is a bound that at least k numbers reach and few others do (k = 16 of 128: about
 * 22; of 1,024: about 24).  Those are collected and each is put at its rank, which is found by
 * counting who comes before it.  Ties at the bound can make the collection overflow: then, and for
 * large k, plain insertion does the work. */
#define COLLECTED_MAX 64
#define STRIDE        16 /* numbers looked at between checks for overflow */

#ifdef CAM_DOUBLE
typedef int64_t lane_int;
#else
typedef int32_t lane_int;
#endif

/* The k-th largest of SLOTS interleaved maxima of the row. */
CAM_INLINE cam_real bound_of(const cam_real *score, size_t n, size_t k, const size_t slots) {
    cam_vec most[COLLECTED_MAX / CAM_LANES], tail;
    const size_t n_vec = slots / CAM_LANES;
    for (size_t v = 0; v < n_vec; v++)
        most[v] = (cam_vec){0} - (cam_real)INFINITY;
    size_t i = 0;
    for (; i + slots <= n; i += slots)
        for (size_t v = 0; v < n_vec; v++)
            most[v] = cam_max(CAM_LOAD(score + i + v * CAM_LANES), most[v]);
    for (size_t v = 0; i < n; v++) {
        tail = (cam_vec){0} - (cam_real)INFINITY;
        for (size_t lane = 0; lane < CAM_LANES && i < n; lane++)
            tail[lane] = score[i++];
        most[v] = cam_max(tail, most[v]);
    }
    /* The smallest one that fewer than k others exceed. */
    cam_vec bound = (cam_vec){0} + (cam_real)INFINITY;
    const cam_real *each = (const cam_real *)most;
    for (size_t v = 0; v < n_vec; v++) {
        cam_mask greater = {0};
        for (size_t s = 0; s < slots; s++)
            greater -= each[s] > most[v];
        bound = cam_select((greater < (lane_int)k) & (most[v] < bound), most[v], bound);
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

/* Each of M values (in index order) to its rank. */
CAM_INLINE void place(cam_real *value, const uint32_t *index, size_t m, size_t k,
                      cam_real *top_score, uint32_t *top_index) {
    lane_int rank[COLLECTED_MAX + 2 * STRIDE];
    size_t n_vec = (m + CAM_LANES - 1) / CAM_LANES;
    for (size_t i = m; i < n_vec * CAM_LANES; i++)
        value[i] = -(cam_real)INFINITY;
    cam_mask position;
    for (size_t lane = 0; lane < CAM_LANES; lane++)
        position[lane] = (lane_int)lane;
    for (size_t v = 0; v < n_vec; v++, position += CAM_LANES) {
        cam_vec here = ((const cam_vec *)value)[v];
        cam_mask before = {0};
        for (size_t j = 0; j < m; j++) {
            cam_vec other = (cam_vec){0} + value[j];
            before -= (other > here) | ((other == here) & ((lane_int)j < position));
        }
        for (size_t lane = 0; lane < CAM_LANES; lane++)
            rank[v * CAM_LANES + lane] = before[lane];
    }
    for (size_t i = 0; i < m; i++) {
        if (rank[i] < (lane_int)k) {
            top_score[rank[i]] = value[i];
            top_index[rank[i]] = index[i];
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
CAM_CLONES static int select_few(const cam_real *score, size_t n, size_t k, cam_real *top_score,
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

void cam_top_k(const cam_real *score, size_t n, size_t k, cam_real *top_score,
               uint32_t *top_index) {
    assert(k >= 1 && k <= n && k <= CAM_TOP_K_MAX);
    if (k > 48 || !select_few(score, n, k, top_score, top_index))
        insert(score, n, k, top_score, top_index);
}
