/* rebuild.h - the rows of a history.db that is built anew (run/recover.h). */
#ifndef CAM_STORE_REBUILD_H
#define CAM_STORE_REBUILD_H

#include "base/status.h"
#include "store/database.h"
#include "store/manifest.h"

#include <stddef.h>
#include <stdint.h>

/* CAM_ERR_DATA says what SQLite finds wrong with the database. */
CAM_MUST_USE enum cam_status cam_rebuild_check(struct cam_database *database);

/* A row for each manifest, and its lineage without a past: which branch forked where is not known.
 */
CAM_MUST_USE enum cam_status cam_rebuild_snapshots(struct cam_database *database,
                                                   const struct cam_manifest *manifests,
                                                   size_t n_manifests);

/* Makes snapshot ID the state of the trainer, on a living chain of its lineage alone, with SETTINGS
 * (a JSON object) and the policy; the journal begins at NEXT.  Marks the workspace complete. */
CAM_MUST_USE enum cam_status cam_rebuild_state(struct cam_database *database, const char *id,
                                               int64_t next, const char *settings,
                                               const char *policy_name, const char *policy_text);

#endif
