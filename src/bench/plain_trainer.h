/* plain_trainer.h - the same model trained by plain loops: what careful C without libraries gives.
 *
 * In the manner of llm.c (Karpathy 2024): one loop nest an operation, OpenMP over rows where the
 * compiler has it, nothing else; compiled with -O3 -ffast-math and vectorised by the compiler for
 * the processor at hand.  Dense models only, AdamW.  It starts from the numbers of a model and
 * computes the same function, so that the two losses can be compared. */
#ifndef CAM_BENCH_PLAIN_TRAINER_H
#define CAM_BENCH_PLAIN_TRAINER_H

#include "base/status.h"
#include "model/model.h"
#include "train/step.h"

struct cam_plain;

/* Copies shape and parameters of MODEL, with memory for N_SEQUENCES of T tokens.  CAM_ERR_CONFIG:
 * a slot other than "dense", or a convolution. */
CAM_MUST_USE enum cam_status cam_plain_new(const struct cam_model *model, size_t n_sequences,
                                           size_t t, int n_threads, struct cam_plain **plain);
void cam_plain_free(struct cam_plain *plain); /* accepts NULL */

/* One step on BATCH (of the shape given to new; its weights count as 1): forward, backward, AdamW
 * with RECIPE's betas and decay at its rate for STEP, gradients clipped as it says.  Returns the
 * mean loss in nats. */
double cam_plain_step(struct cam_plain *plain, const struct cam_recipe *recipe,
                      const struct cam_batch *batch, uint64_t step);

/* 1 when compiled with OpenMP. */
int cam_plain_has_openmp(void);

#endif
