/* gemm_amx.h - the dense product in bfloat16 by AMX tiles; math/blas.h decides when it is used.
 *
 * C = alpha op(A) op(B) + beta C, as in math/blas.h, with A and B in float, rounded to bfloat16 (8
 * bits of mantissa, to nearest even) while they are packed; sums and C are float.  A number that is
 * none stays one; subnormal numbers count as 0, as the instructions have it.
 *
 * The sum over k runs in steps of CAM_AMX_STEP, each a chain in the order of k that the next one
 * goes on with.  So, as in math/gemm.h, an element of C depends on its row of op(A), its column of
 * op(B) and k alone.
 *
 * Float only: in the double build nothing here may be called, and cam_amx_open is 0. */
#ifndef CAM_MATH_GEMM_AMX_H
#define CAM_MATH_GEMM_AMX_H

#include "math/blas.h"

#define CAM_AMX_STRIP 32  /* rows of op(A), or columns of op(B), that are packed together */
#define CAM_AMX_STEP  512 /* of k */

/* Whether the processor has the instructions and the system lets this process use them (it is asked
 * here: the state of a thread grows by 8 KB).  0 too where the environment has CAMBIUM_NO_AMX. */
int cam_amx_open(void);

/* On the calling thread; takes 400 KB of stack. */
void cam_amx_block(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                   cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                   cam_real beta, cam_real *c, size_t ldc);

/* Over THREADS; the operand that all blocks of C need is packed in ARENA, once. */
void cam_amx_shared(struct cam_threads *threads, struct cam_arena *arena, enum cam_transpose ta,
                    enum cam_transpose tb, size_t m, size_t n, size_t k, cam_real alpha,
                    const cam_real *a, size_t lda, const cam_real *b, size_t ldb, cam_real beta,
                    cam_real *c, size_t ldc);

/* Many short rows with one set of rows that stays put, as math/panel.h has it in float: K at most
 * CAM_AMX_PANEL_K. */
#define CAM_AMX_PANEL_K 1024
size_t cam_amx_panel_bytes(size_t n, size_t k);
/* Packs rows [FROM, FROM + CAM_AMX_STRIP) of SET (N rows of K, distance LD); those past N are 0. */
void cam_amx_panel_pack(const cam_real *set, size_t n, size_t k, size_t ld, size_t from,
                        void *packed);
/* c[i * ldc + j] = sum over l of a[i * lda + l] * set row j [l]; N is rounded up to whole strips.
 */
void cam_amx_panel_product(const cam_real *a, size_t m, size_t k, size_t lda, const void *packed,
                           size_t n, cam_real *c, size_t ldc);

/* Operations of ROUNDS tile products that stay in registers: the arithmetic limit of a thread. */
double cam_amx_peak(size_t rounds);

#endif
