/* peer.h - inside a PEER layer: shared by ff_peer.c (the seam), peer_retrieve.c (which experts),
 * peer_rows.c (what they compute and learn), peer_grow.c (generations), peer_usage.c (questions).
 */
#ifndef CAM_MODEL_PEER_H
#define CAM_MODEL_PEER_H

#include "model/ff_peer.h"
#include "model/pool.h"

/* Sub-keys are scored in blocks of this many, whatever S is: growing fills the last block or adds
 * one, and leaves the bits of old scores alone. */
#define CAM_SUBKEY_BLOCK 64

/* What a forward pass leaves in the arena for those after it.  Picks of a token lie at
 * [t * n_picks, ...), head by head, K each, best first; n_picks is P*K rounded up to CAM_LANES and
 * the rest of a token's places have gate and h zero. */
struct cam_peer_last {
    struct cam_arena *arena;
    size_t n_tokens;
    int training, differentiated; /* differentiated: backward has run, update has not */
    int measured;                 /* update has measured generations that are not open */
    cam_real *query;              /* (N, P, 2, dk), normalised */
    cam_real *factor;             /* (N, P, 2) of the normalisation */
    uint32_t *expert;             /* (N, n_picks) */
    uint32_t *pair;               /* i << 16 | j */
    cam_real *gate, *h;           /* h = u . x */
    cam_real *dh, *ga;            /* backward: d loss / d h; gate * gelu(h) */
    const cam_real *x, *dy;       /* borrowed from the caller of backward */
    cam_real *gap;                /* (N, P) what closed sub-keys lack to be picked, or NULL */
};

struct cam_peer {
    struct cam_ff ff;
    struct cam_param *query;     /* (D, P * 2 * dk) */
    struct cam_param *subkey[2]; /* (S, dk) each */
    struct cam_pool pool;
    size_t n_picks; /* places a token has in pick arrays */
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
void cam_peer_scratch_init(const struct cam_peer *peer, struct cam_arena *arena,
                           struct cam_peer_scratch *scratch);

/* Tokens [t0, t0 + n_tokens): queries in last.query are normalised in place; experts, pairs and
 * gates are written. */
void cam_peer_retrieve(struct cam_peer *peer, size_t t0, size_t n_tokens,
                       struct cam_peer_scratch *scratch);

/* The K best pairs of two score rows, best first, ties by the lower expert id; exact. */
void cam_peer_product_top_k(const cam_real *a, const cam_real *b, size_t subkeys, size_t k,
                            uint32_t *const list[2], uint32_t *pair, cam_real *score);

/* Pointers to the records of PICKS experts, with CAM_ROWS_AHEAD more behind them. */
void cam_peer_rows(const struct cam_peer *peer, const uint32_t *expert, size_t n_tokens,
                   const cam_real **row);
void cam_peer_experts_forward(struct cam_peer *peer, size_t t0, size_t n_tokens, const cam_real *x,
                              cam_real *y, struct cam_peer_scratch *scratch);
void cam_peer_backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                       const cam_real *dy, cam_real *dx);
void cam_peer_update(struct cam_ff *ff, const struct cam_pass *pass,
                     const struct cam_update *update);

/* Measures opening generations on the last pass: shares, and the first bias of closed ones. */
void cam_peer_measure_opening(struct cam_peer *peer);

#endif
