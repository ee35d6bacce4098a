/* ff.h - the seam for what sits in a block's feed-forward slot.
 *
 * To add one: write model/ff_<kind>.c with a `const struct cam_ff_ops cam_ff_<kind>`, declare it
 * below, add it to the table in ff.c, and the contract suite in tests/model runs over it.
 *
 * A kind computes y += f(x) for N tokens of width D, independently of each other.  Dense
 * parameters are registered in cam_params and updated by the common optimiser; sparse tables keep
 * what `backward` found and are updated by `update`, after the step was judged sound: until then
 * nothing of the state has changed, so a bad step is dropped exactly.
 *
 * Order of calls in a step:  forward, [backward, [update]].  Memory a kind needs between them comes
 * from pass->arena and dies with the step. */
#ifndef CAM_MODEL_FF_H
#define CAM_MODEL_FF_H

#include "base/arena.h"
#include "base/status.h"
#include "base/threads.h"
#include "math/real.h"
#include "model/param.h"

#include <stddef.h>
#include <stdint.h>

/* One forward (and backward) pass over a batch of N = B*T tokens. */
struct cam_pass {
    struct cam_threads *threads;
    struct cam_arena *arena;
    size_t n_tokens;
    int training; /* 1: keep what backward needs */
};

struct cam_ff_config {
    uint64_t seed;
    size_t i_layer;
    size_t width;     /* D */
    size_t hidden;    /* dense: F */
    size_t heads;     /* peer: P */
    size_t top_k;     /* peer: K experts a head */
    size_t key_width; /* peer: width of one sub-query, half the query */
    size_t subkeys;   /* peer: S at the start, per codebook */
    size_t subkeys_capacity; /* peer: S never grows past this */
    double pool_lr_scale;    /* peer: expert rows' learning rate over the trunk's */
};

/* What `update` needs to move sparse rows. */
struct cam_update {
    double lr;         /* trunk learning rate of this step */
    double grad_scale; /* gradients are multiplied by this first (clipping, 1/tokens) */
    double beta2;
    uint64_t step;
};

/* A piece of state: what snapshots store and model_hash covers, in the order visited. */
typedef enum cam_status cam_state_visitor(void *context, const char *name, void *data,
                                          size_t n_bytes);

struct cam_ff;

struct cam_ff_ops {
    const char *name;

    CAM_MUST_USE enum cam_status (*create)(const struct cam_ff_config *config,
                                           struct cam_params *params, struct cam_ff **ff);
    void (*destroy)(struct cam_ff *ff); /* accepts NULL */

    /* x (N, D) -> y (N, D) +=.  x must stay valid until backward returns. */
    void (*forward)(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                    cam_real *y);
    /* dy (N, D) -> dx (N, D) +=; dense gradients accumulate in their params.  dy and x must stay
     * valid until update returns. */
    void (*backward)(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                     const cam_real *dy, cam_real *dx);
    /* Moves sparse rows by the gradients of the last backward.  NULL: nothing sparse. */
    void (*update)(struct cam_ff *ff, const struct cam_pass *pass, const struct cam_update *update);

    /* Visits sparse state (values, optimiser, small counters) in a fixed order; NULL: none. */
    CAM_MUST_USE enum cam_status (*visit_state)(struct cam_ff *ff, cam_state_visitor *visit,
                                                void *context);
    /* Multiply-adds times two, forward only, a token. */
    double (*flops)(const struct cam_ff *ff);
};

/* Every implementation's struct begins with this. */
struct cam_ff {
    const struct cam_ff_ops *ops;
    struct cam_ff_config config;
};

extern const struct cam_ff_ops cam_ff_dense;
extern const struct cam_ff_ops cam_ff_peer;

/* The kind called NAME ("dense", "peer"), or NULL. */
const struct cam_ff_ops *cam_ff_find(const char *name);
/* All kinds; ends with NULL. */
extern const struct cam_ff_ops *const cam_ff_kinds[];

#endif
