/* reference.h - what the readable twins of the feed-forward kinds are written with.
 *
 * <kind>_reference.c computes forward, backward and the update of rows in plain loops, one token,
 * one expert and one number at a time, in the order of the formulas.  They are slow, and they are
 * what the fast paths are compared with (tests/model); model.reference = true trains with them.
 * Sums are in double, and so are the functions below. */
#ifndef CAM_MODEL_REFERENCE_H
#define CAM_MODEL_REFERENCE_H

#include "math/real.h"

#include <math.h>

static inline double cam_reference_silu(double x) {
    return x / (1 + exp(-x));
}

static inline double cam_reference_silu_slope(double x) {
    double s = 1 / (1 + exp(-x));
    return s + x * s * (1 - s);
}

/* gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
static inline double cam_reference_gelu(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static inline double cam_reference_gelu_slope(double x) {
    double t = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

/* sum_i x_i w_i, with W's elements STRIDE apart (a column of a matrix of STRIDE columns). */
static inline double cam_reference_dot(const cam_real *x, const cam_real *w, size_t stride,
                                       size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)w[i * stride];
    return sum;
}

/* A SwiGLU layer on one token: pre (2F) = x W, the gate's half first; h (F) = silu(gate) * up;
 * y (D) += scale * h V.  w (D, 2F), v (F, D). */
void cam_reference_swiglu(const cam_real *x, const cam_real *w, const cam_real *v, size_t width,
                          size_t hidden, double scale, cam_real *pre, cam_real *h, cam_real *y);
/* The same backwards, given dy (D), the gradient of y: dx, dw, dv +=.  dh (F) is scratch. */
void cam_reference_swiglu_backward(const cam_real *x, const cam_real *w, const cam_real *v,
                                   size_t width, size_t hidden, double scale, const cam_real *pre,
                                   const cam_real *h, const cam_real *dy, cam_real *dh,
                                   cam_real *dx, cam_real *dw, cam_real *dv);

#endif
