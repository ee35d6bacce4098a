/* dense.h - inside the ordinary feed-forward layer: shared by ff_dense.c (the fast path) and
 * dense_reference.c (the readable one).
 *
 *     SwiGLU  y = (silu(x Wg) * (x Wu)) Wd     Shazeer 2020, eq. 5 without biases; 6 D F FLOPs
 *     GELU    y = gelu(x W1) W2                Hendrycks and Gimpel 2016, eq. 3 (tanh); 4 D F FLOPs
 *
 * Parameters: block<i>.dense.in (D, 2F: Wg beside Wu; GELU: D, F), block<i>.dense.out (F, D). */
#ifndef CAM_MODEL_DENSE_H
#define CAM_MODEL_DENSE_H

#include "model/ff.h"

struct cam_dense {
    struct cam_ff ff;
    struct cam_param *in;  /* (D, C), C = 2F or F */
    struct cam_param *out; /* (F, D) */
    /* from forward to backward, in the pass's arena */
    cam_real *pre; /* (N, C) x times in; backward turns it into its gradient */
    cam_real *h;   /* (N, F) */
    cam_real *dh;  /* (N, F), within backward */
    size_t n_tokens;
};

extern const struct cam_ff_ops cam_ff_dense_reference;

CAM_MUST_USE enum cam_status cam_dense_create(const struct cam_ff_config *config,
                                              struct cam_params *params, struct cam_ff **ff);
void cam_dense_destroy(struct cam_ff *ff);
double cam_dense_flops(const struct cam_ff *ff);

#endif
