/* vector.h - kernels over runs of reals: norms, activations, softmax, optimiser rows.
 *
 * Written once with 64-byte vectors and compiled for AVX-512, AVX2 and plain x86-64; the loader
 * picks by processor.  Nothing is contracted or reassociated beyond what the source spells, so all
 * variants give the same bits.  Single-threaded: callers split work in blocks. */
#ifndef CAM_MATH_VECTOR_H
#define CAM_MATH_VECTOR_H

#include "math/real.h"

/* sum a_i b_i */
cam_real cam_dot(const cam_real *a, const cam_real *b, size_t n);
/* y += alpha x */
void cam_axpy(cam_real alpha, const cam_real *x, cam_real *y, size_t n);
/* y += a * x, element by element */
void cam_multiply_add(const cam_real *a, const cam_real *x, cam_real *y, size_t n);
/* y += share (x - y) */
void cam_approach(const cam_real *x, cam_real share, cam_real *y, size_t n);
/* sum x_i^2, in double */
double cam_sum_squares(const cam_real *x, size_t n);

/* RMSNorm (Zhang & Sennrich 2019): y = x / rms(x) * gain, a row of n; returns 1 / rms. */
cam_real cam_rmsnorm(const cam_real *x, const cam_real *gain, cam_real *y, size_t n);
/* dx += d(loss)/dx; dgain += d(loss)/dgain, given dy and the 1 / rms of the forward pass. */
void cam_rmsnorm_backward(const cam_real *x, const cam_real *gain, cam_real inverse_rms,
                          const cam_real *dy, cam_real *dx, cam_real *dgain, size_t n);

/* Softmax of x (n) in place; returns log(sum exp(x)) of the input.  n >= 1. */
cam_real cam_softmax(cam_real *x, size_t n);

/* SwiGLU (Shazeer 2020): h = silu(gate) * up. */
void cam_swiglu(const cam_real *gate, const cam_real *up, cam_real *h, size_t n);
/* In place: gate becomes d gate, up becomes d up, given dh. */
void cam_swiglu_backward(cam_real *gate, cam_real *up, const cam_real *dh, size_t n);

struct cam_adamw {
    cam_real lr, beta1, beta2, epsilon, weight_decay;
    cam_real correction1, correction2; /* 1 - beta^t */
    cam_real grad_scale;
};
/* AdamW (Loshchilov & Hutter 2019, Algorithm 2) on n numbers. */
void cam_adamw_rows(const struct cam_adamw *adamw, cam_real *value, const cam_real *grad,
                    cam_real *m, cam_real *v, size_t n);

#endif
