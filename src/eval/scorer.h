/* scorer.h - how well the model predicts given text: nats, in windows.
 *
 * A document is scored in windows of T tokens that step by T/2; each token is scored once, in the
 * first window that holds it, so all but the first T/2 of a document have at least T/2 tokens of
 * context.  Windows of several documents share a batch.  Scoring changes no state of the model. */
#ifndef CAM_EVAL_SCORER_H
#define CAM_EVAL_SCORER_H

#include "base/arena.h"
#include "base/status.h"
#include "base/threads.h"
#include "model/model.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_SCORER_ROWS 16

struct cam_scorer {
    struct cam_model *model;     /* borrowed */
    struct cam_threads *threads; /* borrowed */
    struct cam_arena *arena;     /* borrowed; reset at every batch */
    size_t t, n_rows;            /* rows filled */
    uint16_t *tokens, *targets;  /* (CAM_SCORER_ROWS, T) owned */
    cam_real *weights;
    double *sink[CAM_SCORER_ROWS]; /* where a row's nats go */
    /* Called after the forward pass of each batch; NULL: not.  For who wants to look at the model. */
    void (*after_batch)(void *context, const struct cam_scorer *scorer);
    void *context;
};

CAM_MUST_USE enum cam_status cam_scorer_init(struct cam_scorer *scorer, struct cam_model *model,
                                             struct cam_threads *threads, struct cam_arena *arena);
void cam_scorer_release(struct cam_scorer *scorer);

/* Adds the score of IDS (N of them, the document's end-of-text token included if it should count)
 * to *NLL, some of it only once the scorer is finished.  IDS is borrowed for the call.  Both:
 * CAM_ERR_OS if the arena finds no memory; the scorer can only be released then. */
CAM_MUST_USE enum cam_status cam_scorer_add(struct cam_scorer *scorer, const uint16_t *ids,
                                            size_t n, uint16_t end_of_text, double *nll);
CAM_MUST_USE enum cam_status cam_scorer_finish(struct cam_scorer *scorer);

#endif
