/* layer_bench.h - one PEER layer by itself: how fast it runs and learns, how near that is to what
 * the machine can do, what memory it takes; PyTorch's version of it in the same run.
 *
 * What is counted, a token:
 *   operations  forward: query projection, scores of all sub-keys, u . x and the sum of v; step:
 *               that, twice the projection and the experts again for their gradients, and the
 *               gradients through the picked sub-keys
 *   bytes       forward: the records of the picked experts; step: those twice (forward and
 *               backward), and every different record with its optimiser state read and written
 *               once
 * Limits are measured in turn with the steps: multiply-adds in registers, and the layer's own table
 * read from end to end and by random records, so size and pages are the same.  The share of the
 * limit takes operations and bytes one after the other (a gather waits for the scores that choose
 * it); the share of the roofline takes the longer of the two, as if they overlapped wholly. */
#ifndef CAM_BENCH_LAYER_BENCH_H
#define CAM_BENCH_LAYER_BENCH_H

#include "base/status.h"
#include "bench/timing.h"
#include "train/optimizer.h"

#include <stddef.h>
#include <stdint.h>

enum cam_routing {
    CAM_ROUTING_UNIFORM, /* random keys and inputs, as at the start: picks are spread evenly */
    CAM_ROUTING_TRAINED, /* inputs in clusters of uneven size, the layer trained on them first */
};
#define CAM_ROUTING_CLUSTERS    256 /* of size 1 / rank */
#define CAM_ROUTING_TRAIN_STEPS 30

struct cam_layer_config {
    size_t subkeys; /* S; S*S experts */
    size_t width, heads, top_k, key_width, n_tokens;
    double pool_lr_scale;
    int rows_adam; /* 1: rows by full Adam */
    int rows_bf16; /* 1: rows in bfloat16 */
    enum cam_products products;
    int n_threads;
    size_t n_repeats;
    enum cam_routing routing;
    enum cam_optimizer_kind optimizer; /* of query and sub-keys; rows have their own */
    size_t grown_subkeys;              /* > subkeys: time the growth; 0: do not */
    uint64_t seed;
    char python[256]; /* compare with its PyTorch; "": do not */
};

struct cam_layer_work {
    struct cam_timing seconds;
    double flops, bytes; /* a token */
    double products;     /* of FLOPS, those of dense products */
    double share_of_limit, share_of_roofline;
};

struct cam_layer_result {
    struct cam_layer_work forward, step;
    struct cam_timing step_cpu; /* seconds of processor time of a step, over the threads */
    /* of the step: seconds */
    struct cam_timing in_forward, in_backward, in_rows, in_dense;
    /* operations and bytes a second */
    struct cam_timing limit_fma, limit_products, limit_sequential, limit_random;
    double record_bytes, state_bytes; /* an expert */
    double unique_rows;               /* different experts picked in a step */
    double unevenness;                /* log E + sum z log z of their gate mass; 0 is even */
    double hub_share;                 /* of picks: the busiest hundredth of experts */
    double rss_bytes;                 /* peak, of the process that ran only this layer */
    int has_torch;
    char torch_about[256];
    struct cam_timing torch_seconds, torch_cpu;
    double torch_rss_bytes, torch_unique_rows;
    int has_growth;
    double growth_seconds; /* pass before, growth, pass after, comparison of the two */
    double growth_only_seconds;
    double growth_change; /* largest difference of outputs over the largest output */
    double growth_rows_moved;
    double growth_rss_bytes;
};

/* Multiply-adds times two a token, of a pass forward and of a whole step. */
void cam_layer_flops(size_t width, size_t heads, size_t top_k, size_t key_width, size_t subkeys,
                     double *forward, double *step);
/* Of those, what is in dense products: query projection and scores. */
void cam_layer_products(size_t width, size_t heads, size_t key_width, size_t subkeys,
                        double *forward, double *step);

/* Runs it in a process of its own.  Errors: those of a PEER layer, of isolated.h, and with PYTHON
 * CAM_ERR_UNAVAILABLE. */
CAM_MUST_USE enum cam_status cam_layer_bench(const struct cam_layer_config *config,
                                             struct cam_layer_result *result);

#endif
