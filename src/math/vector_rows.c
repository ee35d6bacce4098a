#include "math/vector_rows.h"

#include "math/vector_inline.h"

#define GROUP         16 /* vectors kept in registers at once: 256 floats */
#define CACHE_LINE    64
#define MAX_DOT_PARTS 4

/* cam_lanes_sum without a detour through memory: same order, same bits. */
CAM_INLINE cam_real fold(cam_vec x) {
#ifdef CAM_DOUBLE
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
    x += __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
#else
    x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    x += __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
#endif
    return x[0];
}

CAM_INLINE void prefetch(const void *address, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)address + i, 0, 2);
}

CAM_INLINE cam_real dot_one(const cam_vec *x, const cam_vec *y, size_t n_vec) {
    cam_vec part[MAX_DOT_PARTS] = {{0}, {0}, {0}, {0}};
    size_t i = 0;
    for (; i + MAX_DOT_PARTS <= n_vec; i += MAX_DOT_PARTS) {
        part[0] += x[i] * y[i];
        part[1] += x[i + 1] * y[i + 1];
        part[2] += x[i + 2] * y[i + 2];
        part[3] += x[i + 3] * y[i + 3];
    }
    for (; i < n_vec; i++)
        part[0] += x[i] * y[i];
    cam_vec sum = (part[0] + part[1]) + (part[2] + part[3]);
    return fold(sum);
}

CAM_CLONES void cam_rows_dot(const cam_real *x, const cam_real *const *rows, size_t n_rows,
                             size_t offset, size_t n, size_t record_bytes, cam_real *dot) {
    for (size_t i = 0; i < n_rows; i++) {
        if (record_bytes)
            prefetch(rows[i + CAM_ROWS_AHEAD], record_bytes);
        dot[i] = dot_one((const cam_vec *)x, (const cam_vec *)(rows[i] + offset), n / CAM_LANES);
    }
}

/* N_VEC vectors of the sum stay in registers over all rows: accumulating in memory between row
 * reads costs three times as much. */
CAM_INLINE void sum_group(const cam_real *const *rows, const cam_real *coef, size_t n_rows,
                          size_t offset, int add, cam_real *out, const int n_vec) {
    cam_vec sum[GROUP];
    cam_vec *y = (cam_vec *)out;
#pragma GCC unroll 16
    for (int v = 0; v < n_vec; v++)
        sum[v] = add ? y[v] : (cam_vec){0};
    for (size_t i = 0; i < n_rows; i++) {
        const cam_vec *row = (const cam_vec *)(rows[i] + offset);
        cam_real c = coef[i];
#pragma GCC unroll 16
        for (int v = 0; v < n_vec; v++)
            sum[v] += c * row[v];
    }
#pragma GCC unroll 16
    for (int v = 0; v < n_vec; v++)
        y[v] = sum[v];
}

CAM_CLONES void cam_rows_sum(const cam_real *const *rows, const cam_real *coef, size_t n_rows,
                             size_t offset, size_t n, int add, cam_real *y) {
    size_t i = 0;
    for (; i + 16 * CAM_LANES <= n; i += 16 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 16);
    for (; i + 8 * CAM_LANES <= n; i += 8 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 8);
    for (; i + 4 * CAM_LANES <= n; i += 4 * CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 4);
    for (; i + CAM_LANES <= n; i += CAM_LANES)
        sum_group(rows, coef, n_rows, offset + i, add, y + i, 1);
}

CAM_CLONES void cam_rows_scatter(cam_real *const *rows, const cam_real *coef, size_t n_rows,
                                 const cam_real *x, size_t n) {
    const cam_vec *from = (const cam_vec *)x;
    for (size_t i = 0; i < n_rows; i++) {
        cam_vec *row = (cam_vec *)rows[i];
        for (size_t v = 0; v < n / CAM_LANES; v++)
            row[v] += coef[i] * from[v];
    }
}

CAM_CLONES cam_real cam_row_sum_squares(const cam_real *x, size_t n) {
    return dot_one((const cam_vec *)x, (const cam_vec *)x, n / CAM_LANES);
}

CAM_CLONES void cam_row_add(cam_real a, const cam_real *x, size_t n, cam_real *y) {
    for (size_t v = 0; v < n / CAM_LANES; v++)
        ((cam_vec *)y)[v] += a * ((const cam_vec *)x)[v];
}

CAM_CLONES cam_real cam_row_normalise(cam_real *x, size_t n, cam_real epsilon) {
    cam_vec *row = (cam_vec *)x;
    size_t n_vec = n / CAM_LANES;
    cam_vec sum = {0}, squares = {0};
    for (size_t v = 0; v < n_vec; v++)
        sum += row[v];
    cam_real mean = fold(sum) / (cam_real)n;
    for (size_t v = 0; v < n_vec; v++) {
        row[v] -= mean;
        squares += row[v] * row[v];
    }
    cam_real factor = (cam_real)1 / (cam_real)sqrt(fold(squares) / (cam_real)n + epsilon);
    for (size_t v = 0; v < n_vec; v++)
        row[v] *= factor;
    return factor;
}

CAM_CLONES void cam_row_normalise_backward(const cam_real *x, cam_real factor, size_t n,
                                           cam_real *d) {
    const cam_vec *row = (const cam_vec *)x;
    cam_vec *out = (cam_vec *)d;
    size_t n_vec = n / CAM_LANES;
    cam_vec sum = {0}, product = {0};
    for (size_t v = 0; v < n_vec; v++) {
        sum += out[v];
        product += out[v] * row[v];
    }
    cam_real mean = fold(sum) / (cam_real)n, slope = fold(product) / (cam_real)n;
    for (size_t v = 0; v < n_vec; v++)
        out[v] = factor * (out[v] - mean - slope * row[v]);
}

/* exp(x) = 2^n exp(r), |r| <= ln 2 / 2, with a Taylor polynomial long enough for the last bit.
 * n is rounded by adding a number so large that its unit in the last place is one. */
#ifdef CAM_DOUBLE
#define EXP_LOW       -708.0
#define EXP_HIGH      709.0
#define EXP_ROUND     6755399441055744.0 /* 1.5 * 2^52 */
#define EXP_LN2_HIGH  0x1.62e42fee00000p-1
#define EXP_LN2_LOW   0x1.a39ef35793c76p-33
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
static const double exp_terms[] = {1.0 / 6227020800,
                                   1.0 / 479001600,
                                   1.0 / 39916800,
                                   1.0 / 3628800,
                                   1.0 / 362880,
                                   1.0 / 40320,
                                   1.0 / 5040,
                                   1.0 / 720,
                                   1.0 / 120,
                                   1.0 / 24,
                                   1.0 / 6,
                                   0.5,
                                   1.0,
                                   1.0};
#else
#define EXP_LOW       -87.0f
#define EXP_HIGH      88.0f
#define EXP_ROUND     12582912.0f /* 1.5 * 2^23 */
#define EXP_LN2_HIGH  0x1.62e4p-1f
#define EXP_LN2_LOW   0x1.7f7d1cp-20f
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
static const float exp_terms[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                                  1.0f / 6,    0.5f,       1.0f,       1.0f};
#endif

CAM_INLINE cam_vec exp_vec(cam_vec x) {
    x = cam_select(x < (cam_real)EXP_LOW, cam_splat((cam_real)EXP_LOW), x);
    x = cam_select(x > (cam_real)EXP_HIGH, cam_splat((cam_real)EXP_HIGH), x);
    cam_vec shifted = x * (cam_real)1.4426950408889634 + (cam_real)EXP_ROUND;
    cam_vec whole = shifted - (cam_real)EXP_ROUND;
    cam_mask power = ((cam_mask)shifted - (cam_mask)cam_splat((cam_real)EXP_ROUND)) + EXPONENT_BIAS;
    cam_vec r = (x - whole * (cam_real)EXP_LN2_HIGH) - whole * (cam_real)EXP_LN2_LOW;
    cam_vec p = {0};
    for (size_t i = 0; i < sizeof exp_terms / sizeof *exp_terms; i++)
        p = p * r + exp_terms[i];
    return p * (cam_vec)(power << MANTISSA_BITS);
}

CAM_CLONES void cam_row_exp(cam_real *x, size_t n) {
    for (size_t v = 0; v < n / CAM_LANES; v++)
        ((cam_vec *)x)[v] = exp_vec(((cam_vec *)x)[v]);
}

/* gelu(h) = h s(w), w = 2 sqrt(2/pi) (h + 0.044715 h^3), s the logistic function. */
#define GELU_SCALE (cam_real)1.5957691216057308
#define GELU_CUBE  (cam_real)0.044715

CAM_INLINE void gelu_vec(const cam_vec *from, cam_vec *a, cam_vec *slope) {
    cam_vec h = *from, square = h * h;
    cam_vec w = GELU_SCALE * (h + GELU_CUBE * (square * h));
    cam_vec s = (cam_real)1 / ((cam_real)1 + exp_vec(-w));
    *a = h * s;
    if (slope) {
        cam_vec dw = GELU_SCALE * ((cam_real)1 + (3 * GELU_CUBE) * square);
        *slope = s + h * s * ((cam_real)1 - s) * dw;
    }
}

CAM_CLONES void cam_row_gelu(const cam_real *h, size_t n, cam_real *a) {
    for (size_t v = 0; v < n / CAM_LANES; v++)
        gelu_vec((const cam_vec *)h + v, (cam_vec *)a + v, NULL);
}

CAM_CLONES void cam_row_gelu_slope(const cam_real *h, size_t n, cam_real *a, cam_real *slope) {
    for (size_t v = 0; v < n / CAM_LANES; v++)
        gelu_vec((const cam_vec *)h + v, (cam_vec *)a + v, (cam_vec *)slope + v);
}
