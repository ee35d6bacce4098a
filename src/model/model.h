/* model.h - the decoder: embedding, blocks of attention and feed-forward, tied head, loss.
 *
 * Llama-style (Touvron et al. 2023): RMSNorm before each branch, RoPE, grouped heads, no biases;
 * queries and keys are RMS-normalised.  Each block's feed-forward slot holds one kind (model/ff.h)
 * or two different ones, e.g. "dense" or "dense+peer", whose outputs add; at most one has a pool.
 * Shapes: B sequences of T tokens, N = B*T, D width, V vocabulary. */
#ifndef CAM_MODEL_MODEL_H
#define CAM_MODEL_MODEL_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/status.h"
#include "base/threads.h"
#include "model/attention.h"
#include "model/ff.h"
#include "model/param.h"

#define CAM_MAX_BLOCKS 64
#define CAM_MAX_FF     2 /* kinds in one slot */

struct cam_model_shape {
    size_t vocabulary; /* V */
    size_t width;      /* D, multiple of heads */
    size_t n_blocks;
    size_t heads, kv_heads;         /* heads a multiple of kv_heads */
    size_t hidden;                  /* dense feed-forward, F */
    size_t context;                 /* T at most */
    enum cam_activation activation; /* of dense */
    int reference;                  /* 1: feed-forward kinds by plain loops */
    enum cam_products products;     /* of passes over it; may change between two steps */
    size_t moe_experts, moe_hidden; /* as in struct cam_ff_config */
    double moe_capacity, moe_balance;
    size_t peer_heads, peer_top_k, peer_key_width, peer_subkeys, peer_subkeys_capacity;
    double pool_lr_scale;
    int pool_adam, pool_bf16;
    int conv; /* 1: a short causal convolution (model/conv.h) before each branch */
    char ff[CAM_MAX_BLOCKS][24]; /* slot of each block: "dense", "pkm", "dense+peer" */
};

struct cam_block {
    struct cam_param *norm1, *norm2; /* (1, D) */
    struct cam_param *conv1, *conv2; /* (4, D), or NULL */
    struct cam_attention attention;
    struct cam_ff *ff[CAM_MAX_FF];
    size_t n_ff;
    /* kept from forward to backward */
    cam_real *x1, *x2;     /* (N, D) the residual stream before each branch */
    cam_real *h1, *h2;     /* (N, D) normalised */
    cam_real *c1, *c2;     /* (N, D) after the convolution: what the branches read */
    cam_real *rms1, *rms2; /* (N) inverse rms */
    const cam_real *dy;    /* (N, D) gradient at the slot's output, for sparse updates */
};

struct cam_model {
    struct cam_model_shape shape;
    uint64_t seed;
    struct cam_params params;
    struct cam_param *embedding;  /* (V, D), tied with the head */
    struct cam_param *norm_final; /* (1, D) */
    struct cam_block *blocks;     /* n_blocks */
    cam_real *rotation;           /* (T, D/H) */
    /* the last pass */
    size_t n_sequences;
    const uint16_t *tokens; /* (B, T) borrowed */
    cam_real *x_final, *h_final, *rms_final;
    cam_real *logits; /* (N, V); after cam_model_loss with training: d loss / d logits */
};

/* Checks a shape: every limit named in the message. */
CAM_MUST_USE enum cam_status cam_model_shape_check(const struct cam_model_shape *shape);

CAM_MUST_USE enum cam_status cam_model_new(const struct cam_model_shape *shape, uint64_t seed,
                                           struct cam_model **model);
void cam_model_free(struct cam_model *model);

/* tokens (B, T) -> model->logits (N, V).  N = pass->n_tokens.  TOKENS must stay valid until
 * backward returns.  Logits live in the pass's arena. */
void cam_model_forward(struct cam_model *model, const struct cam_pass *pass, size_t n_sequences,
                       const uint16_t *tokens);

/* nll (N) in nats for targets (N); weights (N) scale each token's share of the loss
 * sum_n w_n nll_n.  When training, logits become the gradient of that loss. */
void cam_model_loss(struct cam_model *model, const struct cam_pass *pass, const uint16_t *targets,
                    const cam_real *weights, cam_real *nll);

/* Gradients of every parameter accumulate; sparse kinds remember theirs for cam_model_update. */
void cam_model_backward(struct cam_model *model, const struct cam_pass *pass);

/* Moves the sparse tables by the last backward's gradients. */
void cam_model_update(struct cam_model *model, const struct cam_pass *pass,
                      const struct cam_update *update);

/* The first layer with a pool (peer or pkm) at or after block *I_BLOCK (updated), or NULL. */
struct cam_ff *cam_model_find_pool(struct cam_model *model, size_t *i_block);

#define CAM_NO_BLOCK SIZE_MAX /* what belongs to no block: the embedding, the last norm */

/* Freezes (ON = 1) or thaws the dense parameters of PART in block I_BLOCK or CAM_NO_BLOCK, and
 * returns how many there are.  Sub-keys freeze by generation instead: cam_peer_freeze. */
size_t cam_model_freeze(struct cam_model *model, size_t i_block, enum cam_part part, int on);
/* Content of those parameters. */
CAM_MUST_USE enum cam_status cam_model_part_hash(const struct cam_model *model, size_t i_block,
                                                 enum cam_part part, struct cam_hash *hash);

/* Multiply-adds times two a token, forward, at sequence length T. */
double cam_model_flops(const struct cam_model *model, size_t t);

struct cam_model_size {
    double parameters; /* numbers, in all */
    double active;     /* of them, those that a token uses */
    double bytes;      /* with gradients and optimiser state */
    size_t pool_experts, mixture_experts;
};
void cam_model_size(const struct cam_model *model, struct cam_model_size *size);

/* Visits every piece of state in a fixed order: dense values and moments, then sparse tables. */
CAM_MUST_USE enum cam_status cam_model_visit_state(struct cam_model *model,
                                                   cam_state_visitor *visit, void *context);

#endif
