/* ff.h - the seam for what sits in a block's feed-forward slot.
 *
 *     dense   SwiGLU or GELU                                             dense.h
 *     moe     2 of E SwiGLU layers a token (Shazeer 2017, Fedus 2021)    moe.h
 *     pkm     values found by product keys (Lample 2019)                 ff_peer.h
 *     peer    single neurons found by product keys (He 2024)             ff_peer.h
 *
 * To add one: write model/ff_<kind>.c with a `const struct cam_ff_ops cam_ff_<kind>`, its readable
 * twin in plain loops (`reference` below), declare it at the end, add it to the table in ff.c: the
 * contract suites in tests/model then run over it.  A new kind of expert behind the product-key
 * router is less work: see expert.h.
 *
 * A kind computes y += f(x) for N tokens of width D, outside training independently of each other:
 * a score must not depend on the batch.  Dense parameters are registered in cam_params and updated
 * by the common optimiser; sparse tables keep what `backward` found and are updated by `update`,
 * after the step was judged sound: until then nothing of the state has changed, so a bad step is
 * dropped exactly.
 *
 * Order of calls in a step:  forward, [backward, [update]].  Memory a kind needs between them comes
 * from pass->arena and dies with the step. */
#ifndef CAM_MODEL_FF_H
#define CAM_MODEL_FF_H

#include "base/arena.h"
#include "base/status.h"
#include "base/threads.h"
#include "math/blas.h"
#include "model/param.h"

#include <stddef.h>
#include <stdint.h>

/* One forward (and backward) pass over a batch of N = B*T tokens. */
struct cam_pass {
    struct cam_threads *threads;
    struct cam_arena *arena;
    size_t n_tokens;
    int training;               /* 1: keep what backward needs */
    enum cam_products products; /* of the fast paths; backward's are those of its forward */
};

enum cam_activation {
    CAM_ACTIVATION_SWIGLU, /* (silu(x Wg) * (x Wu)) Wd: Shazeer 2020, eq. 5 without biases */
    CAM_ACTIVATION_GELU    /* gelu(x W1) W2, the tanh form: Hendrycks and Gimpel 2016, eq. 3 */
};

#define CAM_MOE_MAX_EXPERTS 128

struct cam_ff_config {
    uint64_t seed;
    size_t i_layer;
    size_t width;  /* D */
    int reference; /* 1: plain loops instead of the fast path (cam_ff_ops.reference) */
    size_t hidden; /* dense: F */
    enum cam_activation activation; /* dense */
    size_t moe_experts;             /* moe: E, 2 to CAM_MOE_MAX_EXPERTS */
    size_t moe_hidden;              /* moe: F of one expert; 0: hidden / 2, so that the two experts
                                       of a token together cost what dense costs */
    double moe_capacity;            /* moe: choices an expert takes in training, over the mean */
    double moe_balance;             /* moe: weight of the balance loss */
    size_t heads;                   /* peer, pkm: P */
    size_t top_k;                   /* peer, pkm: K experts a head */
    size_t key_width;               /* peer, pkm: width of one sub-query, half the query */
    size_t subkeys;                 /* peer, pkm: S at the start, per codebook */
    size_t subkeys_capacity;        /* peer, pkm: S never grows past this */
    double pool_lr_scale;           /* peer, pkm: expert rows' learning rate over the trunk's */
    int pool_adam;                  /* peer, pkm: 1: two moments a number of a row, as Adam keeps;
                                       0: one second moment for u and one for v */
    int pool_bf16;                  /* peer, pkm: 1: rows in bfloat16, rounded by chance */
};

/* What `update` needs to move sparse rows. */
struct cam_update {
    double lr;         /* trunk learning rate of this step */
    double grad_scale; /* gradients are multiplied by this first (clipping, 1/tokens) */
    double beta1, beta2; /* beta1: of pools with pool_adam */
    uint64_t step;
    size_t gate_experts; /* rows of a pool that may move (peer_gate.c); 0: all that were picked */
    double anchor_l2, anchor_ewc; /* strengths of the pull to the anchor (anchor.h) */
};

/* A piece of state: what snapshots store and model_hash covers, in the order visited. */
typedef enum cam_status cam_state_visitor(void *context, const char *name, void *data,
                                          size_t n_bytes);

struct cam_ff;

/* What a layer holds besides the parameters it registered in cam_params, and how many of those a
 * token leaves alone. */
struct cam_ff_size {
    double table;           /* numbers in sparse tables */
    double table_active;    /* of them, those a token reads */
    double table_bytes;     /* with optimiser state and usage */
    double idle;            /* numbers in cam_params that a token does not read */
    size_t pool_experts;    /* of a pool behind product keys */
    size_t mixture_experts; /* of a mixture of experts */
};

struct cam_ff_ops {
    const char *name;
    int pool; /* 1: experts behind product keys; the functions of ff_peer.h apply */
    /* The same kind with the same state by simple loops that can be checked against the paper: no
     * BLAS, no vectors, no threads.  `create` takes it when config.reference is set. */
    const struct cam_ff_ops *reference;

    CAM_MUST_USE enum cam_status (*create)(const struct cam_ff_config *config,
                                           struct cam_params *params, struct cam_ff **ff);
    void (*destroy)(struct cam_ff *ff); /* accepts NULL */

    /* x (N, D) -> y (N, D) +=.  x must stay valid until backward returns. */
    void (*forward)(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x, cam_real *y);
    /* dy (N, D) -> dx (N, D) +=; dense gradients accumulate in their params.  dy and x must stay
     * valid until update returns. */
    void (*backward)(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                     const cam_real *dy, cam_real *dx);
    /* Moves sparse rows by the gradients of the last backward.  NULL: nothing sparse. */
    void (*update)(struct cam_ff *ff, const struct cam_pass *pass, const struct cam_update *update);

    /* The loss the layer adds by itself in the last training forward pass (its gradient goes in
     * with backward; the unit is that of the mean loss a token); NULL: none. */
    double (*auxiliary)(const struct cam_ff *ff);

    /* Visits sparse state (values, optimiser, small counters) in a fixed order; NULL: none. */
    CAM_MUST_USE enum cam_status (*visit_state)(struct cam_ff *ff, cam_state_visitor *visit,
                                                void *context);
    /* Multiply-adds times two, forward only, a token. */
    double (*flops)(const struct cam_ff *ff);
    /* NULL: all parameters are in cam_params and every token reads them. */
    void (*size)(const struct cam_ff *ff, struct cam_ff_size *size);
};

/* Every implementation's struct begins with this. */
struct cam_ff {
    const struct cam_ff_ops *ops;
    struct cam_ff_config config;
};

/* What `create` makes the layer's ops: the fast path, or the reference where CONFIG asks for it. */
static inline const struct cam_ff_ops *cam_ff_path(const struct cam_ff_ops *ops,
                                                   const struct cam_ff_config *config) {
    return config->reference ? ops->reference : ops;
}

extern const struct cam_ff_ops cam_ff_dense, cam_ff_moe, cam_ff_pkm, cam_ff_peer;

/* The kind called NAME ("dense", "moe", "pkm", "peer"), or NULL. */
const struct cam_ff_ops *cam_ff_find(const char *name);
/* All kinds; ends with NULL. */
extern const struct cam_ff_ops *const cam_ff_kinds[];

#endif
