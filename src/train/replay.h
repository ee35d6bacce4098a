/* replay.h - which earlier documents a step trains on again.
 *
 * The list holds the documents trained in the living lineage, in the order they were finished, by
 * source (the domain of a document); it is rebuilt from the history on start, so it is no state of
 * its own.  A draw is a function of (seed, step, slot), the mix and the list.  First a source is
 * drawn, with the chance
 *
 *     weight * (bytes, a document's halving with every half_life documents trained since)^balance
 *
 * where the source that new documents come from just now counts `current` times; then a byte of
 * that source, which gives each document a chance in proportion to its length and age, and its
 * place becomes the start of the row.  Probes, quarantined and set-aside documents are never in
 * the list. */
#ifndef CAM_TRAIN_REPLAY_H
#define CAM_TRAIN_REPLAY_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_REPLAY_NAME_BYTES 128

struct cam_replay_entry {
    int64_t document;
    uint64_t rank; /* among all documents trained, from 0 */
    double bytes;
    double mass; /* bytes of this and the source's entries before it, aged to this one's rank */
};

struct cam_replay_source {
    char name[CAM_REPLAY_NAME_BYTES];
    double weight;
    double half_life;                 /* documents; 0: old ones count like new ones */
    struct cam_replay_entry *entries; /* owned */
    size_t n, capacity;
};

struct cam_replay {
    struct cam_replay_source *sources; /* by first appearance; owned, as by_name */
    size_t *by_name;                   /* indices of sources, sorted by name */
    size_t n_sources, capacity;
    uint64_t n; /* documents in all */
};

/* How sources share the draws; a plain copy of settings. */
struct cam_replay_mix {
    double balance; /* 1: by bytes; 0: every source alike */
    double current; /* times the weight of the source new documents come from; 0 .. 1 */
};

struct cam_replay_draw {
    int64_t document;
    double place; /* in [0, 1): where in the document */
};

void cam_replay_release(struct cam_replay *replay);
/* SOURCE is cut to what a name holds.  A new source weighs 1 and does not age. */
CAM_MUST_USE enum cam_status cam_replay_add(struct cam_replay *replay, const char *source,
                                            int64_t document, int64_t bytes);

/* Sets what one source weighs and how it ages; WEIGHT and HALF_LIFE >= 0. */
void cam_replay_source_set(struct cam_replay_source *source, double weight, double half_life);

/* SOURCE: where the step's new documents come from (NULL: nowhere known).  0 if there is nothing
 * that could be drawn: no documents, or every source weighs 0.  Where only the current source
 * could be drawn, it is, whatever mix->current says. */
int cam_replay_draw(const struct cam_replay *replay, const struct cam_replay_mix *mix,
                    const char *source, uint64_t seed, uint64_t step, uint32_t slot,
                    struct cam_replay_draw *draw);

/* Sources that could be drawn while SOURCE is learned, itself not counted. */
size_t cam_replay_others(const struct cam_replay *replay, const struct cam_replay_mix *mix,
                         const char *source);

/* How much is replayed. */
struct cam_replay_budget {
    double share; /* of all rows so far: the most */
    double each;  /* of a step's rows, for every other source; 0: the whole share from the start */
};

/* What was spent of it: part of the trainer's state, so no padding. */
struct cam_replay_account {
    uint64_t rows; /* replayed so far */
    double owed;   /* part of a row */
};

/* Rows of step STEP (1 for the first) that are replay, of N_ROWS, while N_SOURCES others could be
 * drawn; *ACCOUNT moves on.  After any number of steps at most SHARE of all rows were replay.
 * Where EACH is 0 the total is always within one row of that.  Else what sources ask for grows
 * with their number (none counts as one: the current source's own past): a stream that has little
 * to forget yet saves for the time when there is more, and one row of a step stays new. */
size_t cam_replay_rows(const struct cam_replay_budget *budget, size_t n_sources, size_t n_rows,
                       uint64_t step, struct cam_replay_account *account);

#endif
