/* recover.h - a new history.db from what the snapshots hold, when the old one is lost or damaged.
 *
 * The manifests know every snapshot (state, tag, position, model hash); the newest one that
 * verifies also holds the model with its optimiser, the tokenizer, the settings that the journal
 * fixes and the policy.  That is enough to train on.  Everything else was in history.db alone and
 * is gone: journal, texts, probes, scores, provenance, feeds, schedules, decisions. */
#ifndef CAM_RUN_RECOVER_H
#define CAM_RUN_RECOVER_H

#include "base/fs.h"
#include "base/status.h"
#include "store/snapshot.h"

#include <stddef.h>
#include <stdint.h>

struct cam_recovery {
    int is_sound;                  /* history.db can be read: nothing was done */
    char why[512];                 /* what is wrong with it */
    struct cam_snapshot from;      /* the newest snapshot or checkpoint that verifies */
    int64_t n_snapshots;           /* kept ones that the new database knows */
    int64_t n_unreadable;          /* manifests that cannot be read; their files stay until the
                                      workspace is opened for writing next */
    int64_t n_bad;                 /* newer than `from`, and do not verify */
    char moved_to[CAM_PATH_BYTES]; /* where the old history.db was moved; "" if there was none */
};

/* Looks at workspace DIR; with ACT builds the new history.db, moves the old one aside (it is never
 * written to) and saves a first checkpoint of the new one.  Killed half-way it can be called again.
 * CAM_ERR_BUSY: a process has the workspace.  CAM_ERR_CONFIG: history.db was written by a newer
 * cambium; or the snapshots by an older one, without settings.  CAM_ERR_NOINPUT: no snapshot is
 * there.  CAM_ERR_DATA: none verifies. */
CAM_MUST_USE enum cam_status cam_recover(const char *dir, int act, struct cam_recovery *recovery);

#endif
