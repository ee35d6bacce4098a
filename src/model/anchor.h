/* anchor.h - a pull back to where the model was when an anchor was set.
 *
 * Beside the values lies a centre, a copy of them as of the last anchor, and (for EWC) how important
 * each is.  After the gradient has moved a value,
 *
 *     value += f / (1 + f) * (centre - value),    f = rate * (l2 + ewc * importance)
 *
 * with the rate at which that value learns: the exact step of the penalty f/2 (value - centre)^2,
 * to first order rate * strength * importance * (value - centre), and never past the centre however
 * strong.  Like weight decay it stays out of the optimiser's moments.
 *
 * l2:  every value alike.
 * ewc: elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796, eq. 3) in its online
 *      form (Schwarz et al. 2018, arXiv 1805.06370, section 3.2): at an anchor
 *
 *          importance := decay * importance + Fisher / mean(Fisher)
 *
 *      where the diagonal Fisher information of a dense parameter is the running mean of its squared
 *      gradients since the last anchor, and that of an expert row, one number for all of it, the mean
 *      of its optimiser's second moments times the share of steps that picked it.  The mean is that
 *      of one parameter (matrix, gain) or pool: optimisers here take steps whose size does not
 *      depend on the gradient's, so importance is compared within what shares a step size.
 *
 * What came after the anchor - rows and sub-keys grown, experts recycled - has nothing to go back to:
 * its centre is not a number, which means no pull.
 *
 * Costs a copy of the values for the centre, two more of the dense ones for EWC. */
#ifndef CAM_MODEL_ANCHOR_H
#define CAM_MODEL_ANCHOR_H

#include "model/model.h"

#include <math.h>

enum cam_anchor_part {
    CAM_ANCHOR_CENTRE = 1,
    CAM_ANCHOR_FISHER = 2, /* the running mean of squared gradients, and importance */
};

/* Makes room for PARTS and frees the others; what is there already stays.  New centres pull nothing
 * and new importance is 0.  CAM_ERR_OS: some may be missing; call again. */
CAM_MUST_USE enum cam_status cam_model_anchor_keep(struct cam_model *model, unsigned parts);
/* To be called when pools have grown. */
CAM_MUST_USE enum cam_status cam_model_anchor_extend(struct cam_model *model);

/* Takes the gradients of the last backward pass, the N-th since the last anchor, into the Fisher
 * estimate.  The same bits with any number of threads, as the following. */
void cam_model_anchor_observe(struct cam_model *model, struct cam_threads *threads,
                              struct cam_arena *arena, uint64_t n);
/* Sets the anchor: centre, importance (where they are kept), Fisher estimate from 0.  STEP: how many
 * steps were trained; 0 <= DECAY <= 1. */
void cam_model_anchor_set(struct cam_model *model, double decay, uint64_t step);

struct cam_anchor_pull {
    double lr; /* of the trunk, this step */
    double l2, ewc;
};
/* Pulls dense parameters; not their frozen rows.  Pools pull in update (ff.h). */
void cam_model_anchor_pull(struct cam_model *model, struct cam_threads *threads,
                           struct cam_arena *arena, const struct cam_anchor_pull *pull);

/* f / (1 + f) of the formula above. */
static inline double cam_anchor_share(double rate, double l2, double ewc, double importance) {
    double f = rate * (l2 + ewc * importance);
    return isfinite(f) ? f / (1 + f) : 0;
}

#endif
