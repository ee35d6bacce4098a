/* gemm.h - our own dense product, for processors with AVX-512; math/blas.h decides when it is used.
 *
 * C = alpha op(A) op(B) + beta C, as in math/blas.h.  The sum over k runs in even steps of up to
 * CAM_GEMM_STEP, fixed by k, each a chain of fused multiply-adds in the order of k, added to C in
 * order.  So an element of C depends on its row of op(A), its column of op(B) and k alone: not on
 * m, n, strides, orientation, the block of a larger product it was computed in, or the number of
 * threads.
 *
 * What is needed of A and B is copied (and turned, where need be) to the stack, 420 KB of it (840
 * KB in double).  B is copied once for CAM_GEMM_BLOCK rows, so products should not have just a few.
 * Nothing is allocated. */
#ifndef CAM_MATH_GEMM_H
#define CAM_MATH_GEMM_H

#include "math/blas.h"

#define CAM_GEMM_STEP  384 /* of k at most: 14 rows of A fill two thirds of the first cache */
#define CAM_GEMM_BLOCK 256 /* rows and columns of C at a time */

/* Whether this processor has the instructions; elsewhere the functions below must not be called. */
int cam_gemm_own(void);

void cam_gemm_block(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                    cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                    cam_real beta, cam_real *c, size_t ldc);

/* The same with the work over THREADS; the operand that all blocks of C need is packed in ARENA,
 * once, and the arena is as before at the end. */
void cam_gemm_shared(struct cam_threads *threads, struct cam_arena *arena, enum cam_transpose ta,
                     enum cam_transpose tb, size_t m, size_t n, size_t k, cam_real alpha,
                     const cam_real *a, size_t lda, const cam_real *b, size_t ldb, cam_real beta,
                     cam_real *c, size_t ldc);

/* C (n, n) = alpha A A^T, A (n, k): panels wholly below the diagonal are left out, then
 * mirrored. */
void cam_gemm_gram(size_t n, size_t k, cam_real alpha, const cam_real *a, size_t lda, cam_real *c,
                   size_t ldc);

#endif
