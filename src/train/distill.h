/* distill.h - replayed tokens learn from the running average of the weights.
 *
 * On replayed rows the target of a token becomes
 *
 *     (1 - share) * one-hot(token) + share * teacher's prediction
 *
 * with the average (model/average.h) as the teacher: mean teacher (Tarvainen and Valpola 2017,
 * arXiv 1703.01780) on the replay of an experience buffer (CLS-ER: Arani et al. 2022, arXiv
 * 2201.12604, section 3), as a mixture of targets (Hinton et al. 2015, arXiv 1503.02531, section 2)
 * at temperature 1.  Costs a forward pass over the replayed rows. */
#ifndef CAM_TRAIN_DISTILL_H
#define CAM_TRAIN_DISTILL_H

#include "model/model.h"

/* Predictions of the model's average, which must be there, for N_ROWS sequences of T TOKENS:
 * probabilities (n_rows * t, V) in ARENA.  To be called before the step's own forward pass; leaves
 * the values in force. */
CAM_MUST_USE const cam_real *cam_distill_teach(struct cam_model *model, struct cam_threads *threads,
                                               struct cam_arena *arena, const uint16_t *tokens,
                                               size_t n_rows, size_t t);

/* After cam_model_loss in training: changes the gradient of the logits of tokens [FROM, FROM + N)
 * into that for mixed targets.  TEACHER (N, V); TARGETS and WEIGHTS (FROM + N or more) as they were
 * given to the loss. */
void cam_distill_mix(struct cam_model *model, struct cam_threads *threads, const cam_real *teacher,
                     const uint16_t *targets, const cam_real *weights, size_t from, size_t n,
                     double share);

#endif
