/* attention.h - causal self-attention with grouped heads, rotary positions and normalised queries
 * and keys.
 *
 * Vaswani et al. 2017 (eq. 1); grouped heads: Ainslie et al. 2023; RoPE: Su et al. 2021 (eq. 34);
 * RMS-normalised queries and keys with a learned gain: Dehghani et al. 2023 (section 2.1).
 * Shapes: B sequences of T tokens, N = B*T; D width, H heads of W numbers, G key/value heads. */
#ifndef CAM_MODEL_ATTENTION_H
#define CAM_MODEL_ATTENTION_H

#include "model/ff.h"
#include "model/param.h"

struct cam_attention {
    size_t width, heads, kv_heads, head_width;
    struct cam_param *qkv;    /* (D, (H + 2G) * W) */
    struct cam_param *out;    /* (H * W, D) */
    struct cam_param *q_gain; /* (1, W) */
    struct cam_param *k_gain; /* (1, W) */
    const cam_real *rotation; /* borrowed: (T_max, W): cosines, then sines, W/2 each */
    /* kept from forward to backward, in the pass's arena */
    cam_real *raw;         /* (N, (H + 2G) W) before norm and rotation */
    cam_real *q, *k;       /* (N, H W), (N, G W) after them */
    cam_real *inverse_rms; /* (N, H + G) */
    cam_real *weights;     /* (B, H, T, T) softmax, lower triangle */
    cam_real *mixed;       /* (N, H W) weighted values */
};

CAM_MUST_USE enum cam_status cam_attention_create(struct cam_attention *attention,
                                                  struct cam_params *params, const char *prefix,
                                                  size_t width, size_t heads, size_t kv_heads,
                                                  size_t head_width, const cam_real *rotation);

/* x (N, D), N = n_sequences * T -> y (N, D) +=. */
void cam_attention_forward(struct cam_attention *attention, const struct cam_pass *pass,
                           size_t n_sequences, const cam_real *x, cam_real *y);
/* dy (N, D) -> dx (N, D) +=; parameter gradients accumulate. */
void cam_attention_backward(struct cam_attention *attention, const struct cam_pass *pass,
                            size_t n_sequences, const cam_real *x, const cam_real *dy,
                            cam_real *dx);

/* Fills (T_MAX, W) rotation table, base 10,000. */
void cam_rotation_fill(cam_real *rotation, size_t t_max, size_t head_width);

#endif
