#include "math/vector_bf16.h"

#include "math/vector_inline.h"
#include "math/vector_rows.h"

#define GROUP      16 /* vectors kept in registers at once: 256 floats */
#define CACHE_LINE 64
#define PARTS      4 /* of a dot product, so that one sum does not wait for another */

/* CAM_LANES numbers: as bfloat16, as words, as float. */
typedef uint16_t short_vec
    __attribute__((vector_size(2 * CAM_LANES), aligned(sizeof(uint16_t)), may_alias));
typedef uint32_t word_vec __attribute__((vector_size(4 * CAM_LANES)));
typedef float float_vec __attribute__((vector_size(4 * CAM_LANES)));

CAM_INLINE cam_vec widen(const cam_bf16 *p) {
    word_vec bits = __builtin_convertvector(*(const short_vec *)p, word_vec) << 16;
    return __builtin_convertvector((float_vec)bits, cam_vec);
}

CAM_INLINE word_vec bits_of(const cam_real *p) {
    return (word_vec) __builtin_convertvector(CAM_LOAD(p), float_vec);
}

CAM_INLINE void put(cam_bf16 *to, word_vec bits) {
    *(short_vec *)to = __builtin_convertvector(bits >> 16, short_vec);
}

/* What is no number is made quiet: the half that goes could be all that tells it from infinity. */
CAM_INLINE word_vec round_bits(word_vec bits, word_vec rounding) {
    word_vec none = (word_vec)((bits & 0x7fffffff) > 0x7f800000);
    return ((bits | 0x400000) & none) | ((bits + rounding) & ~none);
}

CAM_CLONES void cam_bf16_read(const cam_bf16 *from, size_t n, cam_real *to) {
    for (size_t i = 0; i < n; i += CAM_LANES)
        CAM_STORE(to + i, widen(from + i));
}

CAM_CLONES void cam_bf16_write(const cam_real *from, size_t n, cam_bf16 *to) {
    for (size_t i = 0; i < n; i += CAM_LANES) {
        word_vec bits = bits_of(from + i);
        put(to + i, round_bits(bits, 0x7fff + (bits >> 16 & 1)));
    }
}

static const word_vec lanes = {0,  1,  2,  3,  4,
                               5,  6,  7,
#ifndef CAM_DOUBLE
                               8,  9,  10, 11, 12,
                               13, 14, 15
#endif
};

/* A word a lane for the lanes from PLACE on: the mixer found by Wellons's search ("lowbias32"). */
CAM_INLINE word_vec draw(uint32_t key, size_t place) {
    word_vec x = key + ((uint32_t)place + lanes) * 0x9e3779b9;
    x = (x ^ x >> 16) * 0x7feb352d;
    x = (x ^ x >> 15) * 0x846ca68b;
    return x ^ x >> 16;
}

CAM_CLONES void cam_bf16_write_by_chance(const cam_real *from, size_t n, uint32_t key, size_t place,
                                         cam_bf16 *to) {
    for (size_t i = 0; i < n; i += 2 * CAM_LANES) { /* a word serves two numbers */
        word_vec random = draw(key, place + i);
        put(to + i, round_bits(bits_of(from + i), random & 0xffff));
        if (i + CAM_LANES < n)
            put(to + i + CAM_LANES, round_bits(bits_of(from + i + CAM_LANES), random >> 16));
    }
}

/* A sum that is no number is quiet already. */
CAM_INLINE word_vec sum_bits(const cam_bf16 *row, cam_real a, const cam_real *x) {
    cam_vec sum = widen(row) + a * CAM_LOAD(x);
    return (word_vec) __builtin_convertvector(sum, float_vec);
}

CAM_CLONES void cam_bf16_row_add(cam_real a, const cam_real *x, size_t n, uint32_t key,
                                 size_t place, cam_bf16 *row) {
    for (size_t i = 0; i < n; i += 2 * CAM_LANES) {
        word_vec random = draw(key, place + i);
        put(row + i, sum_bits(row + i, a, x + i) + (random & 0xffff));
        if (i + CAM_LANES < n)
            put(row + i + CAM_LANES,
                sum_bits(row + i + CAM_LANES, a, x + i + CAM_LANES) + (random >> 16));
    }
}

CAM_CLONES void cam_bf16_rows_dot(const cam_real *x, const cam_real *const *rows, size_t n_rows,
                                  size_t offset, size_t n, size_t record_bytes, cam_real *dot) {
    for (size_t i = 0; i < n_rows; i++) {
        for (size_t b = 0; b < record_bytes; b += CACHE_LINE)
            __builtin_prefetch((const char *)rows[i + CAM_ROWS_AHEAD] + b, 0, 2);
        const cam_bf16 *row = (const cam_bf16 *)rows[i] + offset;
        cam_vec part[PARTS] = {{0}, {0}, {0}, {0}};
        size_t v = 0;
        for (; v + PARTS * CAM_LANES <= n; v += PARTS * CAM_LANES)
#pragma GCC unroll 4
            for (size_t k = 0; k < PARTS; k++)
                part[k] += CAM_LOAD(x + v + k * CAM_LANES) * widen(row + v + k * CAM_LANES);
        for (; v < n; v += CAM_LANES)
            part[0] += CAM_LOAD(x + v) * widen(row + v);
        dot[i] = cam_lanes_sum((part[0] + part[1]) + (part[2] + part[3]));
    }
}

/* As in math/vector_rows.c, N_VEC vectors of the sum stay in registers over all rows. */
CAM_INLINE void sum_group(const cam_real *const *rows, const cam_real *coef, size_t n_rows,
                          size_t offset, int add, cam_real *y, const int n_vec) {
    cam_vec sum[GROUP];
#pragma GCC unroll 16
    for (int v = 0; v < n_vec; v++)
        sum[v] = add ? CAM_LOAD(y + v * CAM_LANES) : (cam_vec){0};
    for (size_t i = 0; i < n_rows; i++) {
        const cam_bf16 *row = (const cam_bf16 *)rows[i] + offset;
        cam_real c = coef[i];
#pragma GCC unroll 16
        for (int v = 0; v < n_vec; v++)
            sum[v] += c * widen(row + v * CAM_LANES);
    }
#pragma GCC unroll 16
    for (int v = 0; v < n_vec; v++)
        CAM_STORE(y + v * CAM_LANES, sum[v]);
}

CAM_CLONES void cam_bf16_rows_sum(const cam_real *const *rows, const cam_real *coef, size_t n_rows,
                                  size_t offset, size_t n, int add, cam_real *y) {
    size_t i = 0;
    for (; i + 16 * CAM_LANES <= n; i += 16 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 16);
    for (; i + 4 * CAM_LANES <= n; i += 4 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 4);
    for (; i < n; i += CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 1);
}
