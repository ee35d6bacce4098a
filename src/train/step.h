/* step.h - one training step: a batch in, moved parameters and a report out.
 *
 * Compute everything, judge, then move: nothing of the trainer's state changes before the step was
 * found sound, so a bad one (not finite, exploding) leaves the exact prior state behind. */
#ifndef CAM_TRAIN_STEP_H
#define CAM_TRAIN_STEP_H

#include "base/arena.h"
#include "base/status.h"
#include "base/threads.h"
#include "model/model.h"
#include "train/optimizer.h"

#include <stdint.h>

/* B sequences of T tokens; owned by whoever packed it. */
struct cam_batch {
    size_t n_sequences, t;
    uint16_t *tokens, *targets; /* (B, T) */
    cam_real *weights;          /* (B, T) 0 for padding, 1 for new tokens, as chosen for replay */
    size_t n_replay_rows;       /* the last so many sequences are replay */
};

/* How parameters move; a plain copy of settings. */
struct cam_recipe {
    enum cam_optimizer_kind optimizer;
    double lr, lr_floor;      /* peak, and the share of it that an endless stream keeps */
    uint64_t warmup, hold;    /* steps: linear rise; full rate until; then sqrt(hold / step) */
    double beta1, beta2, momentum, weight_decay, clip;
    double explode; /* a gradient norm past explode times the running one is unsound; 0: never */
    double most_loss; /* a mean loss past this (nats a token) is unsound; 0: never */
    size_t gate_experts; /* rows of a pool that a step may move; 0: all it picked */
    double anchor_l2, anchor_ewc; /* strengths of the pull to the anchor, if one is set */
    double distill;               /* share of the average in the targets of replay; 0: none */
    uint64_t begin;               /* step after which the schedule begins */
    double from;                  /* rate from which the warm-up rises */
};

enum cam_verdict {
    CAM_VERDICT_SOUND,
    CAM_VERDICT_NOT_FINITE, /* loss or gradient is NaN or infinite */
    CAM_VERDICT_EXPLODED,   /* gradient norm past the bound */
    CAM_VERDICT_SPIKED,     /* loss past the bound */
};

struct cam_step_report {
    enum cam_verdict verdict;
    double lr, grad_norm;
    double loss;   /* weighted mean, nats a token */
    cam_real *nll; /* (B, T) in the pass's arena, before the update */
};

/* Learning rate of STEP (1 for the first). */
double cam_recipe_lr(const struct cam_recipe *recipe, uint64_t step);

/* Runs step number STEP.  NORM_SO_FAR is the running gradient norm (0: none yet).  The arena is
 * reset first; batch and arena must stay as they are until the caller is done with the report. */
void cam_step_run(struct cam_model *model, struct cam_threads *threads, struct cam_arena *arena,
                  const struct cam_recipe *recipe, const struct cam_batch *batch, uint64_t step,
                  double norm_so_far, struct cam_step_report *report);

#endif
