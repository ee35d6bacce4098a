/* moe.h - inside the coarse mixture of experts: shared by ff_moe.c (the fast path) and
 * moe_reference.c (the readable one).
 *
 * Two of E feed-forward layers a token (Shazeer et al. 2017, section 2; two experts a token and
 * capacity as in GShard, Lepikhin et al. 2020, algorithm 1):
 *
 *     r = x Wr                          (N, E)
 *     p = softmax(r)
 *     a, b = the two largest of r, equal ones by the lower expert
 *     gate_a = p_a / (p_a + p_b), gate_b = 1 - gate_a
 *     y += gate_a e_a(x) + gate_b e_b(x),  e(x) = (silu(x Wg) * (x Wu)) Wd  with hidden width F
 *
 * In training an expert takes at most ceil(capacity * 2N / E) choices: the first choices of all
 * tokens in token order, then the second ones.  A choice past that contributes nothing, and its
 * gate is not given to the other one.  Otherwise nothing is dropped: a score must not depend on
 * what else is in the batch.
 *
 * Balance loss (Fedus et al. 2021, eq. 4-6, with both choices counted): alpha E sum_e f_e P_e, f_e
 * the share of the 2N choices that went to e before capacity, P_e the mean of p_e.  It counts every
 * place of the batch, also the empty ones of a flush.
 *
 * Parameters: block<i>.moe.router (D, E), block<i>.moe.expert<e>.in (D, 2F: Wg beside Wu) and
 * .out (F, D). */
#ifndef CAM_MODEL_MOE_H
#define CAM_MODEL_MOE_H

#include "model/ff.h"

#define CAM_MOE_CHOICES 2
#define CAM_MOE_DROPPED UINT32_MAX

/* Of the last forward pass, in its arena.  A choice is 2 t + c, c = 0 for the better one.  Choices
 * that were not dropped have a slot; the slots of an expert follow each other.  The reference sorts
 * nothing: its slots are its choices, and it has no start and no x. */
struct cam_moe_last {
    size_t n_tokens;
    cam_real *p;      /* (N, E) softmax of the logits; the logits when not training */
    uint32_t *expert; /* (2N) by choice */
    cam_real *gate;   /* (2N) by choice */
    uint32_t *slot;   /* (2N) by choice, or CAM_MOE_DROPPED */
    uint32_t *choice; /* (2N) by slot */
    uint32_t *start;  /* (E + 1) first slot of each expert */
    cam_real *share;  /* (E) f */
    cam_real *pre;    /* (2N, 2F) by slot; backward turns it into its gradient */
    cam_real *h;      /* (2N, F) by slot */
    cam_real *o;      /* (2N, D) by slot: what the expert gave; backward: its gradient */
    cam_real *x;      /* (2N, D) by slot: the expert's input */
};

struct cam_moe {
    struct cam_ff ff;
    size_t n_experts, hidden; /* E, F */
    struct cam_param *router; /* (D, E) */
    struct cam_param **in;    /* E of (D, 2F) */
    struct cam_param **out;   /* E of (F, D) */
    double balance;           /* the loss of the last training pass */
    struct cam_moe_last last;
};

static inline struct cam_moe *cam_moe_of(const struct cam_ff *ff) {
    return (struct cam_moe *)ff;
}

extern const struct cam_ff_ops cam_ff_moe_reference;

CAM_MUST_USE enum cam_status cam_moe_create(const struct cam_ff_config *config,
                                            struct cam_params *params, struct cam_ff **ff);
void cam_moe_destroy(struct cam_ff *ff);
double cam_moe_auxiliary(const struct cam_ff *ff);
double cam_moe_flops(const struct cam_ff *ff);
void cam_moe_size(const struct cam_ff *ff, struct cam_ff_size *size);

/* Choices an expert takes: bounded in training only. */
size_t cam_moe_capacity(const struct cam_moe *moe, size_t n_tokens, int training);

#endif
