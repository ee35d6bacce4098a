/* conv.h - a short causal depthwise convolution with a residual: y_t = x_t + sum_k w_k * x_{t-k}.
 *
 * Gives each branch the few tokens before this one without attention having to find them ("Canon
 * layers", Allen-Zhu 2025, section 3).  w (WIDTH, D) starts at zero, so the stack starts without
 * it.  Shapes: N = B*T rows of D; sequences do not mix. */
#ifndef CAM_MODEL_CONV_H
#define CAM_MODEL_CONV_H

#include "model/ff.h"
#include "model/param.h"

#define CAM_CONV_WIDTH 4 /* this token and three before it */

/* x (N, D) -> y (N, D), sequences of T rows. */
void cam_conv_forward(const struct cam_param *w, const struct cam_pass *pass, size_t t,
                      const cam_real *x, cam_real *y);
/* dy (N, D) -> dx (N, D), overwritten; w's gradient accumulates. */
void cam_conv_backward(struct cam_param *w, const struct cam_pass *pass, size_t t,
                       const cam_real *x, const cam_real *dy, cam_real *dx);

#endif
