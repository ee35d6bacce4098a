/* average.h - a running average of everything that learns, beside the values that do.
 *
 *     average += (1 - keep) (value - average)
 *
 * for every parameter and every expert row (Polyak and Juditsky 1992; as an exponential average:
 * Tarvainen and Valpola 2017, 1703.01780, eq. 3).  The values learn fast and forget fast; their
 * average over a window keeps what the window's stretches of the stream have in common, and loses
 * the noise of single steps.  Scores and samples come from the average where there is one.
 *
 * Costs a copy of all values.  Optimiser state, generations and biases belong to both. */
#ifndef CAM_MODEL_AVERAGE_H
#define CAM_MODEL_AVERAGE_H

#include "model/model.h"

/* Begins: the average is the values as they are.  CAM_ERR_OS leaves the model without one. */
CAM_MUST_USE enum cam_status cam_model_average_begin(struct cam_model *model);
/* Ends: the copy is freed.  Nothing happens where there is none. */
void cam_model_average_end(struct cam_model *model);
/* Whether there is one. */
int cam_model_averages(const struct cam_model *model);

/* To be called when pools have grown: new rows begin as their values. */
CAM_MUST_USE enum cam_status cam_model_average_extend(struct cam_model *model);

/* Moves the average towards the values; 0 <= KEEP < 1.  Rows of frozen generations are copied, so
 * that what is frozen is the same bytes in both.  The same bits with any number of threads. */
void cam_model_average_step(struct cam_model *model, struct cam_threads *threads,
                            struct cam_arena *arena, double keep);

/* Exchanges values and average, if there is one: forward passes then use the other.  Twice is as
 * before. */
void cam_model_average_swap(struct cam_model *model);

#endif
