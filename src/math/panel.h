/* panel.h - products of many short rows with one set of rows that stays put: queries with sub-keys.
 *
 * The set (N rows of K reals) is packed once into panels of CAM_PANEL_ROWS rows, k by k, so that a
 * product reads it in order; OpenBLAS would pack it again for every block of queries.  Each result
 * is a sum over k in order, so it does not depend on how many rows the set or the product has.
 *
 * Needs AVX-512; elsewhere cam_panel_fast() is 0 and callers use cam_gemm, whose kernels differ by
 * processor anyway. */
#ifndef CAM_MATH_PANEL_H
#define CAM_MATH_PANEL_H

#include "math/real.h"

#include <stddef.h>

#define CAM_PANEL_ROWS (2 * CAM_LANES)

/* Whether this processor has the instructions. */
int cam_panel_fast(void);

/* Reals that N rows of K take when packed. */
static inline size_t cam_panel_reals(size_t n, size_t k) {
    return (n + CAM_PANEL_ROWS - 1) / CAM_PANEL_ROWS * CAM_PANEL_ROWS * k;
}

/* Packs rows [FROM, FROM + CAM_PANEL_ROWS) of SET (N rows of K, distance LD) into the panel they
 * make of PACKED (64-byte aligned); rows past N become zero. */
void cam_panel_pack(const cam_real *set, size_t n, size_t k, size_t ld, size_t from,
                    cam_real *packed);

/* c[i * ldc + j] = sum over l of a[i * lda + l] * set row j [l], i < M, for all panels of N rows:
 * N is rounded up to whole panels, so ldc must be. */
void cam_panel_product(const cam_real *a, size_t m, size_t k, size_t lda, const cam_real *packed,
                       size_t n, cam_real *c, size_t ldc);

#endif
