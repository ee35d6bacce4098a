/* snapshot_internal.h - the snapshot store's state, shared by snapshot.c (what is on disk, load),
 * snapshot_save.c (save), snapshot_rows.c (rows of history.db), snapshot_care.c (start, collect,
 * verify) and snapshot_prune.c (costs, prune). */
#ifndef CAM_STORE_SNAPSHOT_INTERNAL_H
#define CAM_STORE_SNAPSHOT_INTERNAL_H

#include "store/manifest.h"
#include "store/pages.h"
#include "store/snapshot.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

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

    /* snapshot_save.c: while `saving` is set, `thread` has everything above to itself. */
    struct cam_saving *saving;
    pthread_t thread;
    atomic_int finished;    /* by the thread: nothing is left to wait for */
    enum cam_status failed; /* of the save before, not told yet */
    char why[1024];
    char *copy; /* memory for the next save */
    size_t copy_capacity;
};

/* Waits for the thread; every function of snapshot.h does first.  What it failed with stays for
 * cam_snapshots_settle. */
void cam_snapshots_wait(struct cam_snapshots *s);

/* Paths of a manifest and a pack. */
CAM_MUST_USE enum cam_status cam_snapshot_path(const struct cam_snapshots *s, const char *id,
                                               char path[CAM_PATH_BYTES]);
CAM_MUST_USE enum cam_status cam_pack_path(const struct cam_snapshots *s, const char *pack,
                                           char path[CAM_PATH_BYTES]);

/* Makes MANIFEST's packs (and pages) known; idempotent by id. */
CAM_MUST_USE enum cam_status cam_snapshots_hold(struct cam_snapshots *s,
                                                const struct cam_manifest *manifest);
int cam_snapshots_holds(const struct cam_snapshots *s, const char *id);
/* The same; one that did not verify is forgotten, so that it is written again. */
int cam_snapshots_holds_sound(struct cam_snapshots *s, const char *id);
/* Forgets a manifest that was held for a row that could not be written. */
void cam_snapshots_unhold(struct cam_snapshots *s, const char *id);
/* Forgets everything and reads the manifests of all rows again. */
CAM_MUST_USE enum cam_status cam_snapshots_reload(struct cam_snapshots *s);
/* A name that no pack ever had. */
void cam_pack_new_name(char name[CAM_PACK_NAME_BYTES]);
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
/* Deletes, in one durable transaction, the rows I with GOES[I], as far as they are kept ones
 * without a tag. */
CAM_MUST_USE enum cam_status cam_snapshot_rows_delete(struct cam_database *database,
                                                      const struct cam_snapshot *rows,
                                                      const unsigned char *goes, size_t n_rows);
/* Whether a lineage of the living chain forked at snapshot ID. */
CAM_MUST_USE enum cam_status cam_snapshot_row_needed(struct cam_database *database, const char *id,
                                                     int *needed);

#endif
