/* gemm_rounded.h - the product in bfloat16 without instructions for it: operands are rounded in
 * copies, which math/blas.h multiplies in float.  It is slower than a product in float; it lets a
 * model that trains in bfloat16 go on, and be tested, on any processor. */
#ifndef CAM_MATH_GEMM_ROUNDED_H
#define CAM_MATH_GEMM_ROUNDED_H

#include "math/blas.h"

/* to[i] = from[i] rounded to the 8 bits of mantissa that bfloat16 has, to nearest, ties to even;
 * what is no number stays none.  In the double build: of from[i] as a float. */
void cam_round_to_bf16(const cam_real *from, size_t n, cam_real *to);

/* On the calling thread; takes 256 KB of stack (512 KB in double) above what cam_gemm takes.  Where
 * math/gemm.h multiplies, an element depends on its row, its column and k alone. */
void cam_gemm_rounded(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                      cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                      cam_real beta, cam_real *c, size_t ldc);

#endif
