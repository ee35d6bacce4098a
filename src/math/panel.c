#include "math/panel.h"

#include <assert.h>
#include <string.h>

/* Rows of A a tile takes: TILE x 2 sums and 2 vectors of the panel fit in 32 registers, and 20 sums
 * in flight hide the latency of the multiply-add. */
#define TILE 10

int cam_panel_fast(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") != 0;
#else
    return 0;
#endif
}

void cam_panel_pack(const cam_real *set, size_t n, size_t k, size_t ld, size_t from,
                    cam_real *packed) {
    cam_real *to = packed + from * k;
    size_t rows = n > from ? n - from : 0;
    if (rows > CAM_PANEL_ROWS)
        rows = CAM_PANEL_ROWS;
    if (rows < CAM_PANEL_ROWS)
        memset(to, 0, CAM_PANEL_ROWS * k * sizeof *to);
    for (size_t j = 0; j < rows; j++)
        for (size_t l = 0; l < k; l++)
            to[l * CAM_PANEL_ROWS + j] = set[(from + j) * ld + l];
}

#if defined(__x86_64__) && defined(__GNUC__)

/* The compiler may fuse multiplication and addition here, and only here: the panel path has bits of
 * its own, like a BLAS kernel. */
#define KERNEL                                                                                     \
    __attribute__((target("avx512f,fma"), optimize("fp-contract=fast"),                            \
                   always_inline)) static inline

/* N_ROWS is a constant after inlining. */
KERNEL void tile(const cam_real *a, size_t k, size_t lda, const cam_real *panel, cam_real *c,
                 size_t ldc, const int n_rows) {
    cam_vec sum[TILE][2];
#pragma GCC unroll 10
    for (int i = 0; i < n_rows; i++)
        sum[i][0] = sum[i][1] = (cam_vec){0};
    for (size_t l = 0; l < k; l++) {
        const cam_vec *p = (const cam_vec *)(panel + l * CAM_PANEL_ROWS);
        cam_vec p0 = p[0], p1 = p[1];
#pragma GCC unroll 10
        for (int i = 0; i < n_rows; i++) {
            cam_real x = a[(size_t)i * lda + l];
            sum[i][0] += x * p0;
            sum[i][1] += x * p1;
        }
    }
#pragma GCC unroll 10
    for (int i = 0; i < n_rows; i++) {
        cam_vec *out = (cam_vec *)(c + (size_t)i * ldc);
        out[0] = sum[i][0];
        out[1] = sum[i][1];
    }
}

__attribute__((target("avx512f,fma"), optimize("fp-contract=fast"))) static void
product(const cam_real *a, size_t m, size_t k, size_t lda, const cam_real *packed, size_t n,
        cam_real *c, size_t ldc) {
    for (size_t j = 0; j < n; j += CAM_PANEL_ROWS) {
        const cam_real *panel = packed + j * k;
        size_t i = 0;
        for (; i + TILE <= m; i += TILE)
            tile(a + i * lda, k, lda, panel, c + i * ldc + j, ldc, TILE);
        for (; i + 4 <= m; i += 4)
            tile(a + i * lda, k, lda, panel, c + i * ldc + j, ldc, 4);
        for (; i < m; i++)
            tile(a + i * lda, k, lda, panel, c + i * ldc + j, ldc, 1);
    }
}

#else

static void product(const cam_real *a, size_t m, size_t k, size_t lda, const cam_real *packed,
                    size_t n, cam_real *c, size_t ldc) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            cam_real sum = 0;
            for (size_t l = 0; l < k; l++)
                sum +=
                    a[i * lda + l] *
                    packed[(j - j % CAM_PANEL_ROWS) * k + l * CAM_PANEL_ROWS + j % CAM_PANEL_ROWS];
            c[i * ldc + j] = sum;
        }
}

#endif

void cam_panel_product(const cam_real *a, size_t m, size_t k, size_t lda, const cam_real *packed,
                       size_t n, cam_real *c, size_t ldc) {
    n = (n + CAM_PANEL_ROWS - 1) / CAM_PANEL_ROWS * CAM_PANEL_ROWS;
    assert(ldc >= n);
    product(a, m, k, lda, packed, n, c, ldc);
}
