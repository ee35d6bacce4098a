#include "math/vector_bf16.h"

#include "math/vector_inline.h"
#include "math/vector_rows.h"

#include <assert.h>

#define PAIRS      8 /* of vectors whose sums stay in registers at once: 256 floats */
#define CACHE_LINE 64
#define MOST       16384 /* numbers of a factor that is taken apart at a time */

/* CAM_LANES numbers: as bfloat16, as words, as float. */
typedef uint16_t short_vec
    __attribute__((vector_size(2 * CAM_LANES), aligned(sizeof(uint16_t)), may_alias));
typedef uint32_t word_vec __attribute__((vector_size(4 * CAM_LANES)));
typedef uint32_t words
    __attribute__((vector_size(4 * CAM_LANES), aligned(sizeof(uint16_t)), may_alias));
typedef float float_vec __attribute__((vector_size(4 * CAM_LANES)));

/* A word holds two numbers of a row, the earlier one in its lower half.  Taking rows by words keeps
 * even and odd numbers apart for one shift and one mask; what is combined with a row is taken apart
 * likewise, once for many rows, and joined in the end. */
#ifdef CAM_DOUBLE
#define EVEN   0, 2, 4, 6, 8, 10, 12, 14
#define ODD    1, 3, 5, 7, 9, 11, 13, 15
#define FIRST  0, 8, 1, 9, 2, 10, 3, 11
#define SECOND 4, 12, 5, 13, 6, 14, 7, 15
#define LANES  0, 1, 2, 3, 4, 5, 6, 7
#else
#define EVEN   0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD    1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define FIRST  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LANES  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#endif

CAM_INLINE void take_apart(const cam_real *x, cam_vec *even, cam_vec *odd) {
    cam_vec first = CAM_LOAD(x), second = CAM_LOAD(x + CAM_LANES);
    *even = __builtin_shufflevector(first, second, EVEN);
    *odd = __builtin_shufflevector(first, second, ODD);
}

CAM_INLINE void join(cam_real *x, cam_vec even, cam_vec odd) {
    CAM_STORE(x, __builtin_shufflevector(even, odd, FIRST));
    CAM_STORE(x + CAM_LANES, __builtin_shufflevector(even, odd, SECOND));
}

CAM_INLINE cam_vec reals(word_vec bits) {
    return __builtin_convertvector((float_vec)bits, cam_vec);
}

CAM_INLINE word_vec bits_of(cam_vec x) {
    return (word_vec) __builtin_convertvector(x, float_vec);
}

CAM_INLINE word_vec load_words(const cam_bf16 *p) {
    return (word_vec) * (const words *)p;
}

CAM_INLINE cam_vec even_of(word_vec row) {
    return reals(row << 16);
}

CAM_INLINE cam_vec odd_of(word_vec row) {
    return reals(row & 0xffff0000);
}

/* A vector of numbers in their order: of a row whose last vector has no second one. */
CAM_INLINE cam_vec widen(const cam_bf16 *p) {
    return reals(__builtin_convertvector(*(const short_vec *)p, word_vec) << 16);
}

/* What is no number is made quiet: the half that goes could be all that tells it from infinity. */
CAM_INLINE word_vec round_bits(word_vec bits, word_vec rounding) {
    word_vec none = (word_vec)((bits & 0x7fffffff) > 0x7f800000);
    return ((bits | 0x400000) & none) | ((bits + rounding) & ~none);
}

CAM_INLINE void store_words(cam_bf16 *p, word_vec even, word_vec odd) {
    *(words *)p = (words)(even >> 16 | (odd & 0xffff0000));
}

CAM_INLINE void store_vec(cam_bf16 *p, word_vec bits) {
    *(short_vec *)p = __builtin_convertvector(bits >> 16, short_vec);
}

CAM_CLONES void cam_bf16_read(const cam_bf16 *from, size_t n, cam_real *to) {
    size_t i = 0;
    for (; i + 2 * CAM_LANES <= n; i += 2 * CAM_LANES) {
        word_vec row = load_words(from + i);
        join(to + i, even_of(row), odd_of(row));
    }
    if (i < n)
        CAM_STORE(to + i, widen(from + i));
}

CAM_CLONES void cam_bf16_write(const cam_real *from, size_t n, cam_bf16 *to) {
    for (size_t i = 0; i < n; i += CAM_LANES) {
        word_vec bits = bits_of(CAM_LOAD(from + i));
        store_vec(to + i, round_bits(bits, 0x7fff + (bits >> 16 & 1)));
    }
}

static const word_vec lanes = {LANES};

/* A word a lane for the lanes from PLACE on: the mixer found by Wellons's search ("lowbias32").  It
 * serves two numbers. */
CAM_INLINE word_vec draw(uint32_t key, size_t place) {
    word_vec x = key + ((uint32_t)place + lanes) * 0x9e3779b9;
    x = (x ^ x >> 16) * 0x7feb352d;
    x = (x ^ x >> 15) * 0x846ca68b;
    return x ^ x >> 16;
}

CAM_CLONES void cam_bf16_write_by_chance(const cam_real *from, size_t n, uint32_t key, size_t place,
                                         cam_bf16 *to) {
    size_t i = 0;
    cam_vec even, odd;
    for (; i + 2 * CAM_LANES <= n; i += 2 * CAM_LANES) {
        word_vec random = draw(key, place + i);
        take_apart(from + i, &even, &odd);
        store_words(to + i, round_bits(bits_of(even), random & 0xffff),
                    round_bits(bits_of(odd), random >> 16));
    }
    if (i < n)
        store_vec(to + i, round_bits(bits_of(CAM_LOAD(from + i)), draw(key, place + i) & 0xffff));
}

/* A sum that is no number is quiet already. */
CAM_CLONES void cam_bf16_row_add(cam_real a, const cam_real *x, size_t n, uint32_t key,
                                 size_t place, cam_bf16 *row) {
    size_t i = 0;
    cam_vec even, odd;
    for (; i + 2 * CAM_LANES <= n; i += 2 * CAM_LANES) {
        word_vec random = draw(key, place + i), old = load_words(row + i);
        take_apart(x + i, &even, &odd);
        even = even_of(old) + a * even;
        odd = odd_of(old) + a * odd;
        store_words(row + i, bits_of(even) + (random & 0xffff), bits_of(odd) + (random >> 16));
    }
    if (i < n) {
        cam_vec sum = widen(row + i) + a * CAM_LOAD(x + i);
        store_vec(row + i, bits_of(sum) + (draw(key, place + i) & 0xffff));
    }
}

/* X, which has been taken apart: even and odd numbers of two vectors after one another. */
CAM_INLINE cam_real dot_one(const cam_real *x, const cam_bf16 *row, size_t n) {
    cam_vec part[4] = {{0}, {0}, {0}, {0}};
    size_t i = 0;
    for (; i + 4 * CAM_LANES <= n; i += 4 * CAM_LANES) {
        word_vec first = load_words(row + i), second = load_words(row + i + 2 * CAM_LANES);
        part[0] += CAM_LOAD(x + i) * even_of(first);
        part[1] += CAM_LOAD(x + i + CAM_LANES) * odd_of(first);
        part[2] += CAM_LOAD(x + i + 2 * CAM_LANES) * even_of(second);
        part[3] += CAM_LOAD(x + i + 3 * CAM_LANES) * odd_of(second);
    }
    if (i + 2 * CAM_LANES <= n) {
        word_vec last = load_words(row + i);
        part[0] += CAM_LOAD(x + i) * even_of(last);
        part[1] += CAM_LOAD(x + i + CAM_LANES) * odd_of(last);
        i += 2 * CAM_LANES;
    }
    if (i < n)
        part[2] += CAM_LOAD(x + i) * widen(row + i);
    return cam_lanes_sum((part[0] + part[1]) + (part[2] + part[3]));
}

CAM_CLONES void cam_bf16_rows_dot(const cam_real *x, const cam_real *const *rows, size_t n_rows,
                                  size_t offset, size_t n, size_t record_bytes, cam_real *dot) {
    cam_real apart[MOST];
    assert(n <= MOST);
    size_t whole = n / (2 * CAM_LANES) * 2 * CAM_LANES;
    for (size_t i = 0; i < whole; i += 2 * CAM_LANES) {
        cam_vec even, odd;
        take_apart(x + i, &even, &odd);
        CAM_STORE(apart + i, even);
        CAM_STORE(apart + i + CAM_LANES, odd);
    }
    if (whole < n)
        CAM_STORE(apart + whole, CAM_LOAD(x + whole));
    for (size_t i = 0; i < n_rows; i++) {
        for (size_t b = 0; b < record_bytes; b += CACHE_LINE)
            __builtin_prefetch((const char *)rows[i + CAM_ROWS_AHEAD] + b, 0, 2);
        dot[i] = dot_one(apart, (const cam_bf16 *)rows[i] + offset, n);
    }
}

/* As in math/vector_rows.c, N_PAIRS pairs of vectors of the sum stay in registers over all rows. */
CAM_INLINE void sum_group(const cam_real *const *rows, const cam_real *coef, size_t n_rows,
                          size_t offset, int add, cam_real *y, const int n_pairs) {
    cam_vec even[PAIRS], odd[PAIRS];
#pragma GCC unroll 8
    for (int p = 0; p < n_pairs; p++) {
        even[p] = odd[p] = (cam_vec){0};
        if (add)
            take_apart(y + 2 * p * CAM_LANES, &even[p], &odd[p]);
    }
    for (size_t i = 0; i < n_rows; i++) {
        const cam_bf16 *row = (const cam_bf16 *)rows[i] + offset;
        cam_real c = coef[i];
#pragma GCC unroll 8
        for (int p = 0; p < n_pairs; p++) {
            word_vec pair = load_words(row + 2 * p * CAM_LANES);
            even[p] += c * even_of(pair);
            odd[p] += c * odd_of(pair);
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < n_pairs; p++)
        join(y + 2 * p * CAM_LANES, even[p], odd[p]);
}

CAM_CLONES void cam_bf16_rows_sum(const cam_real *const *rows, const cam_real *coef, size_t n_rows,
                                  size_t offset, size_t n, int add, cam_real *y) {
    size_t i = 0;
    for (; i + 16 * CAM_LANES <= n; i += 16 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 8);
    for (; i + 4 * CAM_LANES <= n; i += 4 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 2);
    for (; i + 2 * CAM_LANES <= n; i += 2 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 1);
    if (i == n)
        return;
    cam_vec sum = add ? CAM_LOAD(y + i) : (cam_vec){0};
    for (size_t r = 0; r < n_rows; r++)
        sum += coef[r] * widen((const cam_bf16 *)rows[r] + offset + i);
    CAM_STORE(y + i, sum);
}
