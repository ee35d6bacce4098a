/* forget_clean.c - the files that may still hold what was forgotten (forget.h). */
#include "store/forget.h"

#include "base/fs.h"
#include "base/log.h"
#include "store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct cleaning {
    const char *dir;
    cam_problem_fn *left;
    void *context;
    int n_left; /* to be tried again */
};

static void tell(struct cleaning *c, const char *what) {
    cam_log(CAM_LOG_WARNING, "what was forgotten may still be in %s", what);
    if (c->left)
        c->left(c->context, what);
}

static int begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

/* Copies made before migrations go.  One that a person may want to look into is his to remove. */
static enum cam_status purge_copy(void *context, const char *name) {
    struct cleaning *c = context;
    char path[CAM_PATH_BYTES], what[600];
    if (begins(name, "history.db.damaged-")) {
        snprintf(what, sizeof what, "%.300s, moved aside by cambium recover: remove it yourself",
                 name);
        tell(c, what);
    }
    if (!begins(name, "history.db.before-v"))
        return CAM_OK;
    CAM_TRY(cam_fs_join(path, c->dir, name));
    if (unlink(path) != 0 && errno != ENOENT) {
        snprintf(what, sizeof what, "%.300s: cannot be removed: %.100s", name, strerror(errno));
        tell(c, what);
        c->n_left++;
    }
    return CAM_OK;
}

/* Pages of the model of before are no text, but they learned from it. */
static enum cam_status purge_pages(struct cleaning *c, struct cam_snapshots *snapshots) {
    struct cam_prune_rule rule = {.keep_last = -1, .max_bytes = -1, .act = 1, .tight = 1};
    struct cam_prune_report report = {0};
    enum cam_status status = cam_snapshots_prune_by(snapshots, &rule, NULL, NULL, &report);
    rule.act = 0;
    if (status == CAM_OK)
        status = cam_snapshots_prune_by(snapshots, &rule, NULL, NULL, &report);
    if (status == CAM_ERR_FULL || (status == CAM_OK && report.n_compacted > 0)) {
        tell(c, "objects/: packs with dead pages could not be written anew, is the disk full?");
        c->n_left++;
        return CAM_OK;
    }
    return status;
}

/* Zeroed cells are not enough: a page that was reordered may still hold what once was in it.  The
 * copy is made on disk, because it may be larger than memory. */
static enum cam_status rewrite(sqlite3 *sqlite, void *context) {
    int *busy = context;
    CAM_TRY(cam_sql_script(sqlite, "PRAGMA temp_store = FILE"));
    enum cam_status status = cam_sql_script(sqlite, "VACUUM");
    sqlite3_exec(sqlite, "PRAGMA temp_store = MEMORY", NULL, NULL, NULL);
    CAM_TRY(status);
    int code = sqlite3_wal_checkpoint_v2(sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    *busy = code == SQLITE_BUSY;
    return code == SQLITE_OK || *busy ? CAM_OK
                                      : cam_database_fail(sqlite, code, "emptying the log");
}

static enum cam_status purge_database(struct cleaning *c, struct cam_database *database) {
    int busy = 0;
    enum cam_status status = cam_database_call(database, rewrite, &busy);
    if (status == CAM_ERR_FULL) {
        tell(c, "history.db: no space to write it anew");
        c->n_left++;
        return CAM_OK;
    }
    if (busy) {
        tell(c, "history.db-wal: a program that reads the database keeps it; end that");
        c->n_left++;
    }
    return status;
}

static enum cam_status is_due(sqlite3 *sqlite, void *context) {
    return cam_sql_int(sqlite, 0, context, "SELECT 1 FROM meta WHERE key = 'forgetting'", "");
}

static enum cam_status is_done(sqlite3 *sqlite, void *context) {
    (void)context;
    return cam_sql_script(sqlite, "DELETE FROM meta WHERE key = 'forgetting'");
}

enum cam_status cam_forget_clean(const char *dir, struct cam_snapshots *snapshots,
                                 struct cam_database *database, cam_problem_fn *left,
                                 void *context) {
    struct cleaning c = {.dir = dir, .left = left, .context = context};
    int64_t due = 0;
    CAM_TRY(cam_database_call(database, is_due, &due));
    if (!due)
        return CAM_OK;
    CAM_TRY(purge_pages(&c, snapshots));
    CAM_TRY(cam_fs_each_entry(dir, purge_copy, &c));
    CAM_TRY(purge_database(&c, database));
    return c.n_left ? CAM_OK : cam_database_write_durable(database, is_done, NULL);
}
