/* forget.h - documents that are to have never been: unlearning by deterministic replay.
 *
 * The counterfactual is the journal with their rows absent.  What the trainer does is a function of
 * the journal, so it is reached by taking the rows out, judging again at admission whatever came
 * after them, going back to the newest snapshot from before anything they had a part in, and
 * training on from there: byte for byte the model of a run that never saw them.
 *
 *     plan    what goes, from when on it counted, the snapshot to go back to, what that costs
 *     act     one durable transaction: rows and texts go, a lineage is opened at the snapshot,
 *             everything the documents had a part in is deleted; before or after, nothing between
 *     clean   files: packs, backups, free pages and the log of history.db; again after a crash
 *
 * A document had a part in something from the first row on at which it was trained on, scored as a
 * probe, or made admission decide otherwise about another document; one that was quarantined and
 * nothing else had none, and costs nothing.  What is set aside by rollbacks and dropped by people
 * stays out.
 *
 * Left behind are its number and a keyed hash of its text (v1_forgotten), which refuses the very
 * same text when it comes again; a text that differs in one byte is another.  Documents with the
 * same text are forgotten together. */
#ifndef CAM_STORE_FORGET_H
#define CAM_STORE_FORGET_H

#include "base/status.h"
#include "store/snapshot.h"

#include <stdint.h>

struct cam_forget_request {
    const char *documents; /* JSON array of numbers; NULL: none */
    const char *source;    /* a feed's number, URL or name, or a source of documents; NULL: none */
    const char *reason;
};

struct cam_forget_plan {
    int64_t documents; /* to be forgotten; 0: all of them were before */
    int64_t changed;   /* others that admission decides otherwise about */
    int64_t moment;    /* of the living history: the first they had a part in; 0: none */
    char snapshot[CAM_SNAPSHOT_ID_BYTES];  /* to go back to; "" when there is none or no need */
    int64_t since_documents, since_tokens; /* trained since then: to be done again */
    double since_seconds;                  /* what that took, as recorded */
};

/* CAM_ERR_NOINPUT: there is no such document or source; or no snapshot from before verifies or the
 * texts since then are gone, and then *PLAN says what training everything anew would cost.  Changes
 * nothing, but takes the write lock of the database. */
CAM_MUST_USE enum cam_status cam_forget_plan(struct cam_snapshots *snapshots,
                                             struct cam_database *database,
                                             const struct cam_forget_request *request,
                                             struct cam_forget_plan *plan);

struct cam_forgot {
    int64_t documents, changed, lineage; /* lineage 0: none was opened */
    int64_t position; /* of the journal row, an earlier one where all had been forgotten; 0: none */
    char *snapshots;  /* JSON [{id, tag, documents}] of the kept ones that are gone; owned */
};
/* Forgets, going back to PLAN's snapshot; the caller loads it next.  CAM_ERR_BUSY: the history went
 * on since the plan was made, in a way that matters; make another one. */
CAM_MUST_USE enum cam_status cam_forget_act(struct cam_database *database,
                                            const struct cam_forget_request *request,
                                            const struct cam_forget_plan *plan,
                                            struct cam_forgot *forgot);

/* Purges the files of workspace DIR, if something was forgotten since the last time: packs and
 * manifests nobody refers to, backups made before migrations, pages and log of history.db.  LEFT
 * (may be NULL) is told of what could not be purged; the next call tries again. */
CAM_MUST_USE enum cam_status cam_forget_clean(const char *dir, struct cam_snapshots *snapshots,
                                              struct cam_database *database, cam_problem_fn *left,
                                              void *context);

#endif
