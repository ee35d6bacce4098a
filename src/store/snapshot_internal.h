/* snapshot_internal.h - the snapshot store's state, shared by snapshot.c (save, load),
 * snapshot_rows.c (rows of history.db) and snapshot_care.c (start, prune, collect, verify). */
#ifndef CAM_STORE_SNAPSHOT_INTERNAL_H
#define CAM_STORE_SNAPSHOT_INTERNAL_H

#include "store/manifest.h"
#include "store/pages.h"
#include "store/snapshot.h"

#include <sqlite3.h>

/* A pack that living manifests may refer to. */
struct cam_pack {
    char name[CAM_PACK_NAME_BYTES];
    size_t n_users; /* living manifests that list it */
};
/* A living manifest: which packs it needs. */
struct cam_held {
    char id[CAM_SNAPSHOT_ID_BYTES];
    uint32_t *packs;
    size_t n_packs;
    int bad; /* did not verify: the same state is to be written again, sharing nothing with it */
};

struct cam_snapshots {
    char dir[CAM_PATH_BYTES];
    const struct cam_fs *fs;
    struct cam_database *database;
    struct cam_pages pages;
    struct cam_pack *packs;
    size_t n_packs;
    struct cam_held *held;
    size_t n_held;
    int unsure; /* a living manifest could not be read: delete no pack */
    size_t n_skipped;
    char skipped[1200]; /* see cam_snapshots_skipped */
};

/* Paths of a manifest and a pack. */
CAM_MUST_USE enum cam_status cam_snapshot_path(const struct cam_snapshots *s, const char *id,
                                               char path[CAM_PATH_BYTES]);
CAM_MUST_USE enum cam_status cam_pack_path(const struct cam_snapshots *s, const char *pack,
                                           char path[CAM_PATH_BYTES]);

/* Makes MANIFEST's packs (and pages) known; idempotent by id. */
CAM_MUST_USE enum cam_status cam_snapshots_hold(struct cam_snapshots *s,
                                                const struct cam_manifest *manifest);
/* Index of pack NAME, added if need be. */
CAM_MUST_USE enum cam_status cam_snapshots_pack(struct cam_snapshots *s, const char *name,
                                                uint32_t *pack);
/* Drops what is held for manifests without a row, removes their files and packs without users.
 * ORPHANS_TOO: also files found in the folders that nobody knows, with an event each. */
CAM_MUST_USE enum cam_status cam_snapshots_sweep(struct cam_snapshots *s, int orphans_too,
                                                 int64_t *freed_bytes);

/* ---- rows (snapshot_rows.c); the first three run on the database thread -------------------------
 */

struct cam_row_list {
    struct cam_snapshot *rows;
    size_t n_rows;
};
/* All rows, oldest first. */
CAM_MUST_USE enum cam_status cam_snapshot_rows(struct cam_database *database,
                                               struct cam_row_list *list);
/* Present state into INFO (lineage .. documents, parent) and *TOKENS; checks that the tag is free.
 */
CAM_MUST_USE enum cam_status cam_snapshot_row_begin(struct cam_database *database,
                                                    struct cam_snapshot *info, int64_t *tokens);
/* Inserts the row; of living checkpoints the newest two stay. */
CAM_MUST_USE enum cam_status cam_snapshot_row_insert(struct cam_database *database,
                                                     const struct cam_snapshot *info,
                                                     int64_t tokens);
/* Deletes rows by the rule of cam_snapshots_prune. */
CAM_MUST_USE enum cam_status cam_snapshot_rows_prune(struct cam_database *database, int64_t keep,
                                                     int64_t *removed);

#endif
