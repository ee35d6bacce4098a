/* peer.h - inside a layer of experts behind product keys (peer, pkm): shared by ff_peer.c (the
 * seam), peer_retrieve.c (which experts), expert_<name>.c (what they compute), peer_rows.c (how
 * gradients reach router and rows), peer_gate.c (which rows a step may move), peer_grow.c
 * (generations), peer_usage.c (questions), peer_reference.c (all of it in plain loops). */
#ifndef CAM_MODEL_PEER_H
#define CAM_MODEL_PEER_H

#include "math/vector_rows.h"
#include "model/expert.h"
#include "model/ff_peer.h"
#include "model/pool.h"

/* Sub-keys are scored in blocks of this many, whatever S is: growing fills the last block or adds
 * one, and leaves the bits of old scores alone. */
#define CAM_SUBKEY_BLOCK 64

#define CAM_QUERY_EPSILON 1e-6 /* added to the variance of a sub-query */
#define CAM_ROW_EPSILON   1e-8 /* added to the root of a part's second moment */
#define CAM_ROW_CLIP      2.0  /* largest root mean square of a part's step, in learning rates */

/* What a forward pass leaves in the arena for those after it.  Picks of a token lie at
 * [t * n_picks, ...), head by head, K each, best first; n_picks is P*K rounded up to CAM_LANES and
 * the rest of a token's places have gate and h zero. */
struct cam_peer_last {
    struct cam_arena *arena;
    size_t n_tokens;
    int training, differentiated; /* differentiated: backward has run, update has not */
    enum cam_products products;
    int measured;                 /* update has measured generations that are not open */
    cam_real *query;              /* (N, P, 2, dk), normalised */
    cam_real *factor;             /* (N, P, 2) of the normalisation */
    cam_real *panel[2];           /* sub-keys packed for math/panel.h, or NULL */
    void *amx_panel[2];           /* the same for math/gemm_amx.h */
    uint32_t *expert;             /* (N, n_picks) */
    uint32_t *pair;               /* i << 16 | j */
    cam_real *gate;               /* (N, n_picks) */
    cam_real *h, *dh, *ga;        /* (N, n_picks) the expert kind's own: see expert_neuron.c */
    const cam_real *x, *dy;       /* borrowed from the caller of backward */
    cam_real *gap;                /* (N, P) what closed sub-keys lack to be picked, or NULL */
};

struct cam_peer {
    struct cam_ff ff;
    const struct cam_expert_ops *expert;
    struct cam_param *query;     /* (D, P * 2 * dk) */
    struct cam_param *subkey[2]; /* (S, dk) each */
    struct cam_pool pool;
    size_t n_picks; /* places a token has in pick arrays */
    uint64_t n_picks_inverse;
    /* What snapshots store besides: */
    struct {
        uint64_t n_generations, subkeys;
    } shape;
    struct cam_generation *generation; /* CAM_MAX_GENERATIONS */
    cam_real *bias;                    /* (capacity) derived from the generations */
    struct cam_peer_last last;
};

static inline struct cam_peer *cam_peer_of(const struct cam_ff *ff) {
    return (struct cam_peer *)ff;
}

/* Recomputes what follows from the generation table: biases, frozen sub-key rows. */
void cam_peer_derive(struct cam_peer *peer);

/* Worker scratch of the forward pass, for one block of tokens. */
struct cam_peer_scratch {
    cam_real *score[2];           /* (tokens * P, S rounded up to blocks) */
    const cam_real **row;         /* (tokens * n_picks + CAM_ROWS_AHEAD) */
    uint32_t *list[2];            /* (S) */
    cam_real *coef, *dot, *slope; /* (n_picks) */
};
#define CAM_PEER_BLOCK_TOKENS 16

/* What an expert's gradient is summed from, for so many of its picks at a time. */
#define CAM_PEER_GATHERED 256
struct cam_peer_gather {
    const cam_real *x[CAM_PEER_GATHERED], *dy[CAM_PEER_GATHERED];
    cam_real dh[CAM_PEER_GATHERED], ga[CAM_PEER_GATHERED];
};

/* The token of a pick by a multiplication: exact while pick * n_picks < 2^40, which cam_peer_update
 * checks. */
static inline size_t cam_peer_token_of(const struct cam_peer *peer, uint32_t pick) {
    return (size_t)(pick * peer->n_picks_inverse >> 40);
}

/* The functions of a layer, for the ops of each kind that shares them.  EXPERT says what its
 * experts are. */
CAM_MUST_USE enum cam_status cam_peer_create(const struct cam_ff_config *config,
                                             const struct cam_ff_ops *ops,
                                             const struct cam_expert_ops *expert,
                                             struct cam_params *params, struct cam_ff **ff);
void cam_peer_destroy(struct cam_ff *ff);
void cam_peer_forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                      cam_real *y);
CAM_MUST_USE enum cam_status cam_peer_visit_state(struct cam_ff *ff, cam_state_visitor *visit,
                                                  void *context);
double cam_peer_flops(const struct cam_ff *ff);
void cam_peer_size(const struct cam_ff *ff, struct cam_ff_size *size);

/* Starts the record of a forward pass in its arena; the arrays hold nothing yet. */
void cam_peer_last_init(struct cam_peer *peer, const struct cam_pass *pass);

/* The same in plain loops (peer_reference.c). */
void cam_peer_reference_forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                                cam_real *y);
void cam_peer_reference_backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                                 const cam_real *dy, cam_real *dx);
void cam_peer_reference_update(struct cam_ff *ff, const struct cam_pass *pass,
                               const struct cam_update *update);
extern const struct cam_ff_ops cam_ff_peer_reference, cam_ff_pkm_reference;

void cam_peer_scratch_init(const struct cam_peer *peer, struct cam_arena *arena,
                           struct cam_peer_scratch *scratch);

/* Before cam_peer_retrieve: packs the sub-keys where that is faster. */
void cam_peer_pack_subkeys(struct cam_peer *peer, const struct cam_pass *pass);

/* Tokens [t0, t0 + n_tokens): queries in last.query are normalised in place; experts, pairs and
 * gates are written. */
void cam_peer_retrieve(struct cam_peer *peer, size_t t0, size_t n_tokens,
                       struct cam_peer_scratch *scratch);

/* The K best pairs of two score rows, best first, ties by the lower expert id; exact. */
void cam_peer_product_top_k(const cam_real *a, const cam_real *b, size_t subkeys, size_t k,
                            uint32_t *const list[2], uint32_t *pair, cam_real *score);

/* Pointers to the records of N experts, with CAM_ROWS_AHEAD more behind them. */
void cam_peer_rows(const struct cam_peer *peer, const uint32_t *expert, size_t n,
                   const cam_real **row);
/* cam_rows_dot and cam_rows_sum over such records, of numbers from OFFSET on, in what the pool
 * keeps them; the first fetches records ahead, the second adds. */
static inline void cam_peer_dots(const struct cam_pool *pool, const cam_real *x,
                                 const cam_real *const *row, size_t n_rows, size_t offset,
                                 cam_real *dot) {
    (pool->bf16 ? cam_bf16_rows_dot : cam_rows_dot)(x, row, n_rows, offset, pool->width,
                                                    cam_pool_record_bytes(pool), dot);
}
static inline void cam_peer_sum(const struct cam_pool *pool, const cam_real *const *row,
                                const cam_real *coef, size_t n_rows, size_t offset, cam_real *y) {
    (pool->bf16 ? cam_bf16_rows_sum : cam_rows_sum)(row, coef, n_rows, offset, pool->width, 1, y);
}
void cam_peer_backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                       const cam_real *dy, cam_real *dx);
void cam_peer_update(struct cam_ff *ff, const struct cam_pass *pass,
                     const struct cam_update *update);

/* The sparse-update gate.  A candidate is a thawed expert that the batch picked; they come before
 * each other by higher score, then by lower id. */
struct cam_peer_candidate {
    double score;
    uint64_t expert;
};
/* TF-IDF of an expert that the batch of step STEP picks N_PICKS times and N_STEPS steps before it
 * picked. */
double cam_peer_gate_score(uint32_t n_picks, uint32_t n_steps, uint64_t step);
/* The K-th of N candidates, 1 <= K <= N, which are reordered. */
struct cam_peer_candidate cam_peer_gate_last(struct cam_peer_candidate *candidates, size_t n,
                                             size_t k);
/* Whether an expert comes before LAST or is it. */
int cam_peer_gate_passes(const struct cam_peer_candidate *last, uint64_t expert, double score);

/* Measures opening generations on the last pass: shares, and the first bias of closed ones. */
void cam_peer_measure_opening(struct cam_peer *peer);

#endif
