/* replay.h - which earlier documents a step trains on again.
 *
 * The list holds the documents trained in the living lineage, in the order they were finished; it
 * is rebuilt from the history on start, so it is no state of its own.  A draw is a function of
 * (seed, step, slot) and the list: a byte of everything trained so far is picked uniformly, which
 * gives each document a chance in proportion to its length, and its place becomes the start of
 * the row.  Probes, quarantined and set-aside documents are never in the list. */
#ifndef CAM_TRAIN_REPLAY_H
#define CAM_TRAIN_REPLAY_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct cam_replay {
    int64_t *documents; /* by rank; owned */
    uint64_t *ends;     /* bytes up to and including this one; owned */
    size_t n, capacity;
};

struct cam_replay_draw {
    int64_t document;
    double place; /* in [0, 1): where in the document */
};

void cam_replay_release(struct cam_replay *replay);
CAM_MUST_USE enum cam_status cam_replay_add(struct cam_replay *replay, int64_t document,
                                            int64_t bytes);
/* n >= 1. */
struct cam_replay_draw cam_replay_draw(const struct cam_replay *replay, uint64_t seed,
                                       uint64_t step, uint32_t slot);

/* Rows of step STEP (1 for the first) that are replay when SHARE of N_ROWS is: the running total
 * after any number of steps is within one row of the share. */
size_t cam_replay_rows(double share, size_t n_rows, uint64_t step);

#endif
