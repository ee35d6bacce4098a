/* blas.h - dense matrix products: our own kernels (math/gemm.h) where the processor has AVX-512,
 * OpenBLAS elsewhere and as their reference; the only user of cblas.  Operands may be rounded to
 * bfloat16 (math/gemm_amx.h where the processor has AMX, math/gemm_rounded.h elsewhere).
 *
 * OpenBLAS is loaded at run time, after OPENBLAS_CORETYPE was set from CPUID: Debian's build does
 * not know recent processors and would silently take its SSE3 kernels, 3-5 times slower.  It is
 * told to use one thread; parallelism is ours (base/threads.h), over blocks of the result fixed by
 * shape, so thread count cannot change a bit.
 *
 * All matrices are row-major.  op(A) is m x k, op(B) is k x n, C is m x n; ld* are row strides in
 * elements.  C = alpha op(A) op(B) + beta C; with beta = 0 what C held does not matter. */
#ifndef CAM_MATH_BLAS_H
#define CAM_MATH_BLAS_H

#include "base/arena.h"
#include "base/status.h"
#include "base/threads.h"
#include "math/real.h"

enum cam_transpose { CAM_PLAIN = 0, CAM_TRANSPOSED = 1 };

/* What operands are multiplied as; sums and results are cam_real either way.  The double build
 * computes in double whatever is asked for. */
enum cam_products {
    CAM_PRODUCTS_FP32 = 0,
    CAM_PRODUCTS_BF16 = 1, /* rounded to 8 bits of mantissa, to nearest even */
};
/* "fp32" or "bf16". */
const char *cam_products_name(enum cam_products products);
/* Whether this processor has instructions for it; elsewhere bfloat16 is emulated, slower than fp32.
 * AMX and emulation agree but for the order of sums (and subnormal numbers, 0 to AMX). */
int cam_products_fast(enum cam_products products);

/* Loads the library; idempotent.  CAM_ERR_OS names the package to install when it is missing. */
CAM_MUST_USE enum cam_status cam_blas_open(void);

/* The kernel set in use, e.g. "own AVX-512, OpenBLAS SkylakeX"; recorded with every run. */
const char *cam_blas_core(void);
/* The one for PRODUCTS: the same, or that with "AMX bf16, " or "emulated bf16, " before it. */
void cam_products_core(enum cam_products products, char *text, size_t n_bytes);
/* Version and build options of the library ("OpenBLAS 0.3.21 ..."); "" if it does not say. */
const char *cam_blas_build(void);

/* One product on the calling thread; takes up to 1 MB of stack. */
void cam_gemm(enum cam_products products, enum cam_transpose ta, enum cam_transpose tb, size_t m,
              size_t n, size_t k, cam_real alpha, const cam_real *a, size_t lda, const cam_real *b,
              size_t ldb, cam_real beta, cam_real *c, size_t ldc);

/* The same by OpenBLAS on any processor: the reference. */
void cam_gemm_blas(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                   cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                   cam_real beta, cam_real *c, size_t ldc);

/* The same, C split in fixed blocks over THREADS; ARENA lends memory until it returns. */
void cam_gemm_threads(enum cam_products products, struct cam_threads *threads,
                      struct cam_arena *arena, enum cam_transpose ta, enum cam_transpose tb,
                      size_t m, size_t n, size_t k, cam_real alpha, const cam_real *a, size_t lda,
                      const cam_real *b, size_t ldb, cam_real beta, cam_real *c, size_t ldc);

/* C (n, n) = alpha A A^T, A (n, k): half the work of a product, then mirrored. */
void cam_gram(enum cam_products products, size_t n, size_t k, cam_real alpha, const cam_real *a,
              size_t lda, cam_real *c, size_t ldc);

#endif
