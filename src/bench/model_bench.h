/* model_bench.h - whole training steps of a model: tokens a second, where they go, how near that is
 * to the arithmetic limit; the same model in PyTorch and in plain C in the same run.
 *
 * Operations of a step: three times those of a forward pass (as usual: the gradients of weights and
 * of inputs cost one each), for a PEER slot as layer_bench.h counts them. */
#ifndef CAM_BENCH_MODEL_BENCH_H
#define CAM_BENCH_MODEL_BENCH_H

#include "base/status.h"
#include "bench/timing.h"
#include "model/model.h"
#include "train/step.h"

#include <stddef.h>
#include <stdint.h>

struct cam_model_bench_config {
    struct cam_model_shape shape;
    struct cam_recipe recipe;
    size_t n_sequences; /* of shape.context tokens, a step */
    int n_threads;
    size_t n_repeats;
    uint64_t seed;
    int plain;        /* compare with the plain trainer: dense slots only */
    char python[256]; /* compare with its PyTorch (dense and peer slots); "": do not */
};

struct cam_model_bench_result {
    struct cam_timing step;     /* seconds, of train/step.h */
    struct cam_timing step_cpu; /* the same of processor time, over the threads; likewise below */
    /* seconds, from steps taken apart after those */
    struct cam_timing in_forward, in_backward, in_update;
    double flops;    /* of a step, a token */
    double products; /* of them, those of dense products */
    struct cam_timing limit_fma, limit_products;
    double share_of_peak;
    double parameters, experts; /* experts: 0 without a pool */
    double loss;                /* of the last measured step */
    double rss_bytes;           /* peak; 0 with PLAIN, which lives in the same process */
    int has_torch;
    char torch_about[256];
    struct cam_timing torch_seconds, torch_cpu;
    double torch_rss_bytes, torch_loss;
    int has_plain;
    struct cam_timing plain_seconds, plain_cpu;
    double plain_loss; /* of the same step: equal to LOSS but for rounding, with AdamW */
};

/* Runs it in a process of its own.  Errors: those of a model, of isolated.h, and with PYTHON
 * CAM_ERR_UNAVAILABLE. */
CAM_MUST_USE enum cam_status cam_model_bench(const struct cam_model_bench_config *config,
                                             struct cam_model_bench_result *result);

#endif
