#include "math/gemm_rounded.h"

#include "math/vector_inline.h"

#include <string.h>

#define STEP  256 /* of k, and the sides of a block of C */
#define BLOCK 128

static inline uint32_t round_bits(uint32_t bits) {
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (bits | 0x400000) & 0xffff0000; /* no number: quiet, so that it stays none */
    return (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
}

CAM_CLONES void cam_round_to_bf16(const cam_real *from, size_t n, cam_real *to) {
    for (size_t i = 0; i < n; i++) {
        float x = (float)from[i];
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        bits = round_bits(bits);
        memcpy(&x, &bits, sizeof bits);
        to[i] = (cam_real)x;
    }
}

/* Rows [row, row + rows) and steps [l, l + k) of op(X), as they are stored: returns the distance of
 * the copy's rows. */
static size_t copy(enum cam_transpose turned, const cam_real *x, size_t ld, size_t row, size_t rows,
                   size_t l, size_t k, cam_real *to) {
    size_t n = turned ? k : rows, cols = turned ? rows : k;
    const cam_real *from = turned ? x + l * ld + row : x + row * ld + l;
    for (size_t i = 0; i < n; i++)
        cam_round_to_bf16(from + i * ld, cols, to + i * cols);
    return cols;
}

void cam_gemm_rounded(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                      cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                      cam_real beta, cam_real *c, size_t ldc) {
    cam_real rows[BLOCK * STEP], cols[BLOCK * STEP];
    enum cam_transpose b_is_turned = tb == CAM_PLAIN ? CAM_TRANSPOSED : CAM_PLAIN;
    for (size_t j = 0; j < n; j += BLOCK)
        for (size_t l = 0; l < k; l += STEP) {
            size_t n_cols = n - j < BLOCK ? n - j : BLOCK, steps = k - l < STEP ? k - l : STEP;
            size_t ld_cols = copy(b_is_turned, b, ldb, j, n_cols, l, steps, cols);
            for (size_t i = 0; i < m; i += BLOCK) {
                size_t n_rows = m - i < BLOCK ? m - i : BLOCK;
                size_t ld_rows = copy(ta, a, lda, i, n_rows, l, steps, rows);
                cam_gemm(CAM_PRODUCTS_FP32, ta, tb, n_rows, n_cols, steps, alpha, rows, ld_rows,
                         cols, ld_cols, l ? 1 : beta, c + i * ldc + j, ldc);
            }
        }
}
