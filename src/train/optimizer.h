/* optimizer.h - moves dense parameters: AdamW, or Muon for matrices and AdamW for the rest.
 *
 * AdamW: Loshchilov & Hutter 2019, Algorithm 2.  Muon: Jordan et al. 2024; momentum, then the
 * nearest semi-orthogonal matrix by four Newton-Schulz steps, scaled to AdamW's usual step size
 * (0.2 sqrt(max(rows, cols)): Liu et al. 2025, section 2.2) so that one learning rate serves both.
 * Expert rows have an optimiser of their own (model/pool.h). */
#ifndef CAM_TRAIN_OPTIMIZER_H
#define CAM_TRAIN_OPTIMIZER_H

#include "base/arena.h"
#include "base/threads.h"
#include "math/blas.h"
#include "model/param.h"

enum cam_optimizer_kind { CAM_OPTIMIZER_ADAMW, CAM_OPTIMIZER_MUON };

struct cam_optimizer {
    enum cam_optimizer_kind kind;
    double lr; /* of this step */
    double beta1, beta2, epsilon, weight_decay;
    double momentum;   /* Muon's */
    double grad_scale; /* gradients are multiplied by this first */
    uint64_t step;     /* 1 for the first: bias correction */
    enum cam_products products; /* Muon's */
};

/* Euclidean norm of all dense gradients, reduced in a fixed order; not finite if any is not. */
double cam_grad_norm(const struct cam_params *params, struct cam_threads *threads,
                     struct cam_arena *arena);

/* One step of every dense parameter; rows below frozen_rows do not move. */
void cam_optimizer_step(const struct cam_optimizer *optimizer, struct cam_params *params,
                        struct cam_threads *threads, struct cam_arena *arena);

#endif
