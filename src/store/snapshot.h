/* snapshot.h - the whole trainer on disk: content-addressed pages, a manifest, one row.
 *
 *   memory regions --4096-byte pages, XXH3-128--> known page? share : append to
 * objects/pack-<id>.cpk regions, page hashes and places --> snapshots/<id>.manifest --> one row in
 * history.db
 *
 * Order on disk: pack, then manifest, then row, each durable before the next.  A crash between them
 * leaves a file nobody refers to; the next open removes it and records an event.
 * A snapshot costs the pages that changed.  The running checkpoint is the same thing with
 * kind "checkpoint". */
#ifndef CAM_STORE_SNAPSHOT_H
#define CAM_STORE_SNAPSHOT_H

#include "base/fs.h"
#include "base/hash.h"
#include "base/status.h"
#include "store/database.h"
#include "store/history.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_SNAPSHOT_PAGE_BYTES 4096
#define CAM_SNAPSHOT_ID_BYTES   33 /* 32 hexadecimal digits */
#define CAM_REGION_NAME_BYTES   64

struct cam_region {
    char name[CAM_REGION_NAME_BYTES]; /* unique, NUL-terminated */
    void *data;
    size_t bytes;
    int apart; /* saved with the model and no part of it: not in the model's hash */
};

/* Hash of all regions that are not apart: names, sizes and the hashes of their pages, in order. */
CAM_MUST_USE enum cam_status cam_regions_hash(const struct cam_region *regions, size_t n_regions,
                                              char hex[CAM_HASH_HEX_BYTES]);

struct cam_snapshots;

/* DIR is the workspace; FS NULL means the system.  With a writable database: removes files no row
 * refers to, with an event each.  Borrows DATABASE and FS. */
CAM_MUST_USE enum cam_status cam_snapshots_open(const char *dir, const struct cam_fs *fs,
                                                struct cam_database *database,
                                                struct cam_snapshots **snapshots);
void cam_snapshots_close(struct cam_snapshots *snapshots); /* accepts NULL */

enum cam_snapshot_kind {
    CAM_SNAPSHOT_CHECKPOINT, /* the newest two living ones are kept */
    CAM_SNAPSHOT_KEPT,       /* stays until pruned */
};
struct cam_snapshot {
    char id[CAM_SNAPSHOT_ID_BYTES];
    char parent[CAM_SNAPSHOT_ID_BYTES]; /* previous one of its history, "" if none */
    char tag[CAM_NAME_BYTES];
    enum cam_snapshot_kind kind;
    char model_hash[CAM_NAME_BYTES];
    int64_t lineage, moment, step, position, offset;
    int64_t documents; /* trained so far */
    int64_t bytes_total, bytes_unique, bytes_shared; /* as of when it was saved */
    int64_t bytes_own; /* what removing it would give back; set by cam_snapshots_measure alone */
    int64_t created_at_ms;
    int living; /* on the living chain */
};

/* Saves REGIONS at the present state of the history (cam_history_state).  Its id is a hash of that
 * state, the tag and the content, so the same journal gives the same ids.  TAG NULL or "" for none;
 * a tag in use is CAM_ERR_DATA.  MODEL_HASH NULL: cam_regions_hash.  Nothing changes on failure:
 * earlier snapshots stay loadable and no row is written.  *OUT may be NULL. */
CAM_MUST_USE enum cam_status cam_snapshot_save(struct cam_snapshots *snapshots,
                                               enum cam_snapshot_kind kind, const char *tag,
                                               const char *model_hash,
                                               const struct cam_region *regions, size_t n_regions,
                                               struct cam_snapshot *out);

/* The same, but returns once what is not on disk yet was copied (at most 256 MB of it; what exceeds
 * that is written before returning), so that REGIONS may change again: a thread writes the copy,
 * and the row is there when it is done.  One save is under way at a time; every function here waits
 * for it.  What it failed with comes from the next of the three functions below, a save included.
 */
CAM_MUST_USE enum cam_status cam_snapshot_save_begin(struct cam_snapshots *snapshots,
                                                     enum cam_snapshot_kind kind, const char *tag,
                                                     const struct cam_region *regions,
                                                     size_t n_regions, struct cam_snapshot *out);
/* Waits for the save under way, if there is one; its outcome, once. */
CAM_MUST_USE enum cam_status cam_snapshots_settle(struct cam_snapshots *snapshots);
/* The same without waiting: CAM_OK while it is under way. */
CAM_MUST_USE enum cam_status cam_snapshots_poll(struct cam_snapshots *snapshots);

/* Where region NAME of BYTES bytes goes: sets *DESTINATION to memory of that size (NULL skips it)
 * or fails, which ends the load.  Regions come in the order in which they were saved, each filled
 * before the next is asked for. */
typedef enum cam_status cam_region_fn(void *context, const char *name, size_t bytes,
                                      void **destination);

/* Reads snapshot ID (in full) and checks every page.  CAM_ERR_DATA names file and region. */
CAM_MUST_USE enum cam_status cam_snapshot_load(struct cam_snapshots *snapshots, const char *id,
                                               cam_region_fn *region, void *context);

/* Checks manifest and every page without keeping anything. */
CAM_MUST_USE enum cam_status cam_snapshot_check(struct cam_snapshots *snapshots, const char *id);

/* Id, unique beginning of an id (>= 4 digits), tag, or "latest" or "current", which are the newest
 * living snapshot or checkpoint.  CAM_ERR_NOINPUT lists none. */
CAM_MUST_USE enum cam_status cam_snapshot_find(struct cam_snapshots *snapshots, const char *name,
                                               struct cam_snapshot *out);

/* Newest living snapshot or checkpoint that verifies: what a service starts from.  Those that do
 * not verify are skipped loudly (log, event).  CAM_ERR_NOINPUT: there was never one.  CAM_ERR_DATA:
 * none verifies, with instructions; never begins anew silently. */
CAM_MUST_USE enum cam_status cam_snapshots_latest(struct cam_snapshots *snapshots,
                                                  struct cam_snapshot *out);
/* How many that did not verify were skipped so far, and what was wrong with the last of them
 * (borrowed; "" if there was none). */
size_t cam_snapshots_skipped(const struct cam_snapshots *snapshots, const char **why);

typedef enum cam_status cam_snapshot_fn(void *context, const struct cam_snapshot *snapshot);
/* Kept snapshots (ALL != 0: checkpoints too), oldest first. */
CAM_MUST_USE enum cam_status cam_snapshots_each(struct cam_snapshots *snapshots, int all,
                                                cam_snapshot_fn *fn, void *context);

/* The same with bytes_own; reads every manifest twice. */
CAM_MUST_USE enum cam_status cam_snapshots_measure(struct cam_snapshots *snapshots, int all,
                                                   cam_snapshot_fn *fn, void *context);

/* Which kept snapshots go, oldest first.  Whatever it says, these stay: tagged ones, the newest
 * living one that verifies (and so the newest), those at which the living history forked; and what
 * the running checkpoints need.  Only kept snapshots count, so that the same history is pruned the
 * same way however often it was interrupted. */
struct cam_prune_rule {
    int64_t keep_last; /* all but the newest so many go; -1: no such rule */
    int64_t
        max_bytes; /* more go while the kept ones take more than that on disk; -1: no such rule */
    int act;       /* 0: only say what would be done */
    int tight;     /* compact every pack that holds a page nobody refers to, however few */
};
struct cam_prune_report {
    int64_t n_removed, n_kept;
    int64_t n_compacted;               /* packs that lost their dead pages */
    int64_t bytes_before, freed_bytes; /* on disk, of all packs and manifests */
    int over_budget;                   /* what has to stay takes more than max_bytes */
};
/* Tells of each kept one whether it GOES, and if it stays, why. */
typedef enum cam_status cam_prune_fn(void *context, const struct cam_snapshot *snapshot, int goes,
                                     const char *why);
/* Removes rows by RULE, then files and parts of packs that nothing refers to.  Idempotent, also
 * when killed half-way: no referenced page is ever missing.  Needs space for the living part of the
 * smallest pack at most; without it packs stay as they are (a warning).  FN, REPORT may be NULL. */
CAM_MUST_USE enum cam_status cam_snapshots_prune_by(struct cam_snapshots *snapshots,
                                                    const struct cam_prune_rule *rule,
                                                    cam_prune_fn *fn, void *context,
                                                    struct cam_prune_report *report);
/* The same with keep_last KEEP alone.  *REMOVED and *FREED_BYTES may be NULL. */
CAM_MUST_USE enum cam_status cam_snapshots_prune(struct cam_snapshots *snapshots, int64_t keep,
                                                 int64_t *removed, int64_t *freed_bytes);

/* Checks manifests, pages, SQLite's own checks and document texts; one call of FN a problem.
 * CAM_OK means all was looked at, *PROBLEMS says what was found. */
typedef void cam_problem_fn(void *context, const char *problem);
CAM_MUST_USE enum cam_status cam_snapshots_verify(struct cam_snapshots *snapshots,
                                                  cam_problem_fn *fn, void *context,
                                                  int64_t *problems);

#endif
