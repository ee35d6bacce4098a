/* snapshot_care.c - opening the store, choosing where to start from, and taking out the rubbish.
 *
 * A file may be deleted only when no row needs it.  Rows are deleted first, so a crash in between
 * leaves files nobody knows, which the next open collects. */
#include "store/snapshot_internal.h"

#include "base/log.h"
#include "store/rows.h"
#include "store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- opening
 * ------------------------------------------------------------------------------------------------
 */

static enum cam_status hold_rows(struct cam_snapshots *s, const struct cam_row_list *list) {
    for (size_t i = 0; i < list->n_rows; i++) {
        struct cam_manifest m = {0};
        char path[CAM_PATH_BYTES];
        CAM_TRY(cam_snapshot_path(s, list->rows[i].id, path));
        enum cam_status status = cam_manifest_read(&m, s->fs, path);
        if (status == CAM_ERR_OS)
            return status;
        if (status != CAM_OK) {
            /* It may become readable again (a backup put back), so its pages must stay. */
            cam_log(CAM_LOG_WARNING, "snapshot %.12s cannot be read: %s", list->rows[i].id,
                    cam_message());
            s->unsure = 1;
            continue;
        }
        status = cam_snapshots_hold(s, &m);
        cam_manifest_release(&m);
        CAM_TRY(status);
    }
    return CAM_OK;
}

enum cam_status cam_snapshots_open(const char *dir, const struct cam_fs *fs,
                                   struct cam_database *database,
                                   struct cam_snapshots **snapshots) {
    struct cam_row_list list = {0};
    struct cam_snapshots *s = calloc(1, sizeof *s);
    if (!s)
        return cam_fail(CAM_ERR_OS, "no memory for the snapshot store");
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    s->fs = fs ? fs : cam_fs_system();
    s->database = database;
    enum cam_status status = cam_snapshot_rows(database, &list);
    if (status == CAM_OK)
        status = hold_rows(s, &list);
    if (status == CAM_OK) {
        status = cam_snapshots_sweep(s, 1, NULL);
        if (status == CAM_ERR_PERMISSION) /* opened for reading: nothing is collected */
            status = CAM_OK;
    }
    free(list.rows);
    if (status == CAM_OK)
        *snapshots = s;
    else
        cam_snapshots_close(s);
    return status;
}

static void forget_all(struct cam_snapshots *s) {
    for (size_t i = 0; i < s->n_held; i++)
        free(s->held[i].packs);
    free(s->held);
    free(s->packs);
    cam_pages_release(&s->pages);
    s->held = NULL;
    s->packs = NULL;
    s->n_held = s->n_packs = 0;
    s->unsure = 0;
}

static void distrust(struct cam_snapshots *s, const char *id);

/* What did not verify before is not trusted afterwards either. */
enum cam_status cam_snapshots_reload(struct cam_snapshots *s) {
    struct cam_row_list list = {0};
    size_t n_bad = 0;
    char(*bad)[CAM_SNAPSHOT_ID_BYTES] = calloc(s->n_held + 1, sizeof *bad);
    if (!bad)
        return cam_fail(CAM_ERR_OS, "no memory for %zu manifests", s->n_held);
    for (size_t i = 0; i < s->n_held; i++)
        if (s->held[i].bad)
            memcpy(bad[n_bad++], s->held[i].id, sizeof *bad);
    forget_all(s);
    enum cam_status status = cam_snapshot_rows(s->database, &list);
    if (status == CAM_OK)
        status = hold_rows(s, &list);
    if (status != CAM_OK)
        s->unsure = 1; /* until all is known again, no pack goes */
    for (size_t i = 0; i < n_bad; i++)
        distrust(s, bad[i]);
    free(list.rows);
    free(bad);
    return status;
}

void cam_snapshots_close(struct cam_snapshots *s) {
    if (!s)
        return;
    if (cam_snapshots_settle(s) != CAM_OK)
        cam_log(CAM_LOG_ERROR, "%s", cam_message());
    forget_all(s);
    free(s->copy);
    free(s);
}

/* ---- sweeping
 * -------------------------------------------------------------------------------------------------
 */

static int has_row(const struct cam_row_list *list, const char *id) {
    for (size_t i = 0; i < list->n_rows; i++)
        if (strcmp(list->rows[i].id, id) == 0)
            return 1;
    return 0;
}

static int64_t size_of(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

static enum cam_status remove_file(struct cam_snapshots *s, const char *path, int64_t *freed) {
    int64_t bytes = size_of(path);
    if (s->fs->unlink(s->fs->context, path) != 0 && errno != ENOENT)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot remove", path);
    if (freed)
        *freed += bytes;
    return CAM_OK;
}

/* Manifests without a row are let go, then packs without users; their pages are forgotten first, so
 * that no save can share a page of a file that is going. */
static enum cam_status release_held(struct cam_snapshots *s, const struct cam_row_list *list,
                                    int64_t *freed) {
    char path[CAM_PATH_BYTES];
    size_t n_dead = 0;
    for (size_t i = 0; i < s->n_held;) {
        struct cam_held *h = &s->held[i];
        if (has_row(list, h->id)) {
            i++;
            continue;
        }
        CAM_TRY(cam_snapshot_path(s, h->id, path));
        CAM_TRY(remove_file(s, path, freed));
        for (size_t k = 0; k < h->n_packs; k++)
            s->packs[h->packs[k]].n_users--;
        free(h->packs);
        s->held[i] = s->held[--s->n_held];
    }
    unsigned char *dead = calloc(s->n_packs + 1, 1);
    if (!dead)
        return cam_fail(CAM_ERR_OS, "no memory to sweep snapshots");
    for (size_t i = 0; i < s->n_packs; i++)
        n_dead += dead[i] = s->packs[i].n_users == 0 && *s->packs[i].name;
    enum cam_status status = n_dead ? cam_pages_drop(&s->pages, dead) : CAM_OK;
    for (size_t i = 0; i < s->n_packs && status == CAM_OK; i++) {
        if (!dead[i])
            continue;
        status = cam_pack_path(s, s->packs[i].name, path);
        if (status == CAM_OK && !s->unsure)
            status = remove_file(s, path, freed);
        *s->packs[i].name = '\0'; /* the slot stays: pages refer to packs by number */
    }
    free(dead);
    return status;
}

struct folder {
    struct cam_snapshots *s;
    const struct cam_row_list *list;
    const char *name;
    int64_t *freed;
};

static int pack_is_used(const struct cam_snapshots *s, const char *name) {
    for (size_t i = 0; i < s->n_packs; i++)
        if (strcmp(s->packs[i].name, name) == 0)
            return 1;
    return 0;
}

static int ends_with(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcmp(name + n - m, suffix) == 0;
}

/* 1 if NAME is a file of ours that nobody needs; files of other kinds are left alone. */
static int is_orphan(const struct folder *f, const char *name) {
    char id[CAM_SNAPSHOT_ID_BYTES] = "";
    if (ends_with(name, ".manifest.tmp") || ends_with(name, ".cpk.tmp"))
        return 1;
    if (strcmp(f->name, "objects") == 0)
        return ends_with(name, ".cpk") && !f->s->unsure && !pack_is_used(f->s, name);
    if (!ends_with(name, ".manifest") || strlen(name) != sizeof id - 1 + strlen(".manifest"))
        return 0;
    memcpy(id, name, sizeof id - 1);
    return !has_row(f->list, id);
}

static enum cam_status collect(void *context, const char *name) {
    struct folder *f = context;
    char path[CAM_PATH_BYTES], relative[CAM_PATH_BYTES], message[512];
    if (!is_orphan(f, name))
        return CAM_OK;
    snprintf(relative, sizeof relative, "%s/%.400s", f->name, name);
    CAM_TRY(cam_fs_join(path, f->s->dir, relative));
    snprintf(message, sizeof message, "removed %.400s: no snapshot refers to it (%lld bytes)",
             relative, (long long)size_of(path));
    /* The event first: in a database opened for reading it fails, and nothing is removed.  On a
     * full disk it has to wait for the room that the file takes. */
    enum cam_status told = cam_history_event(f->s->database, "warning", "orphan", message, NULL);
    if (told != CAM_OK && told != CAM_ERR_FULL)
        return told;
    cam_log(CAM_LOG_WARNING, "%s", message);
    CAM_TRY(remove_file(f->s, path, f->freed));
    if (told == CAM_ERR_FULL &&
        cam_history_event(f->s->database, "warning", "orphan", message, NULL) != CAM_OK)
        cam_log(CAM_LOG_WARNING, "that could not be recorded: %s", cam_message());
    return CAM_OK;
}

enum cam_status cam_snapshots_sweep(struct cam_snapshots *s, int orphans_too,
                                    int64_t *freed_bytes) {
    struct cam_row_list list = {0};
    int64_t freed = 0;
    CAM_TRY(cam_snapshot_rows(s->database, &list));
    enum cam_status status = release_held(s, &list, &freed);
    static const char *const folders[] = {"snapshots", "objects"};
    for (size_t i = 0; i < 2 && orphans_too && status == CAM_OK; i++) {
        char path[CAM_PATH_BYTES];
        struct folder f = {.s = s, .list = &list, .name = folders[i], .freed = &freed};
        status = cam_fs_join(path, s->dir, folders[i]);
        if (status == CAM_OK)
            status = cam_fs_each_entry(path, collect, &f);
    }
    free(list.rows);
    if (status == CAM_OK && freed_bytes)
        *freed_bytes = freed;
    return status;
}

/* ---- choosing
 * ----------------------------------------------------------------------------------------------------
 */

static int is_id_prefix(const char *id, const char *name) {
    size_t n = strlen(name);
    return n >= 4 && strncmp(id, name, n) == 0;
}

/* Newest living row that was not tried: by moment, then by order of saving. */
static const struct cam_snapshot *newest(const struct cam_row_list *list,
                                         const unsigned char *tried) {
    const struct cam_snapshot *best = NULL;
    for (size_t i = 0; i < list->n_rows; i++)
        if (list->rows[i].living && !(tried && tried[i]) &&
            (!best || list->rows[i].moment >= best->moment))
            best = &list->rows[i];
    return best;
}

enum cam_status cam_snapshot_find(struct cam_snapshots *snapshots, const char *name,
                                  struct cam_snapshot *out) {
    struct cam_row_list list = {0};
    const struct cam_snapshot *found = NULL;
    int n_prefix = 0;
    cam_snapshots_wait(snapshots);
    CAM_TRY(cam_snapshot_rows(snapshots->database, &list));
    if (strcmp(name, "latest") == 0 || strcmp(name, "current") == 0)
        found = newest(&list, NULL);
    for (size_t i = 0; i < list.n_rows && !found; i++)
        if (*list.rows[i].tag && strcmp(list.rows[i].tag, name) == 0)
            found = &list.rows[i];
    if (!found)
        for (size_t i = 0; i < list.n_rows; i++)
            if (is_id_prefix(list.rows[i].id, name))
                found = &list.rows[i], n_prefix++;
    enum cam_status status = CAM_OK;
    if (!found)
        status = cam_fail(CAM_ERR_NOINPUT, "snapshot %.80s: there is none; see: cambium snapshots",
                          name);
    else if (n_prefix > 1)
        status = cam_fail(CAM_ERR_DATA, "snapshot %.80s: %d ids begin so; give more digits", name,
                          n_prefix);
    else
        *out = *found;
    free(list.rows);
    return status;
}

size_t cam_snapshots_skipped(const struct cam_snapshots *snapshots, const char **why) {
    *why = snapshots->skipped;
    return snapshots->n_skipped;
}

/* Snapshot ID did not verify: no later one may share a page with its packs, which are good for
 * those alone that do verify. */
static void distrust(struct cam_snapshots *s, const char *id) {
    unsigned char *dead = calloc(s->n_packs + 1, 1);
    for (size_t i = 0; i < s->n_held; i++) {
        if (strcmp(s->held[i].id, id) != 0)
            continue;
        s->held[i].bad = 1;
        for (size_t k = 0; dead && k < s->held[i].n_packs; k++)
            dead[s->held[i].packs[k]] = 1;
    }
    if (!dead || cam_pages_drop(&s->pages, dead) != CAM_OK)
        cam_pages_release(&s->pages); /* sharing less is safe */
    free(dead);
}

static void tell(struct cam_snapshots *s, const struct cam_snapshot *bad) {
    char *message = s->skipped;
    s->n_skipped++;
    snprintf(message, sizeof s->skipped, "snapshot %.12s (step %lld) does not verify: %s", bad->id,
             (long long)bad->step, cam_message());
    cam_log(CAM_LOG_ERROR, "%s", message);
    distrust(s, bad->id);
    if (cam_history_event(s->database, "error", "snapshot_bad", message, NULL) != CAM_OK)
        cam_log(CAM_LOG_WARNING, "that could not be recorded: %s", cam_message());
}

enum cam_status cam_snapshots_latest(struct cam_snapshots *snapshots, struct cam_snapshot *out) {
    struct cam_row_list list = {0};
    const struct cam_snapshot *row;
    size_t n_bad = 0;
    cam_snapshots_wait(snapshots);
    CAM_TRY(cam_snapshot_rows(snapshots->database, &list));
    unsigned char *tried = calloc(list.n_rows + 1, 1);
    enum cam_status status = tried ? CAM_ERR_NOINPUT : cam_fail(CAM_ERR_OS, "no memory");
    while (tried && (row = newest(&list, tried))) {
        status = cam_snapshot_check(snapshots, row->id);
        if (status == CAM_OK || status == CAM_ERR_OS) /* no memory says nothing about a file */
            break;
        tell(snapshots, row);
        tried[row - list.rows] = 1;
        n_bad++;
    }
    if (tried && status == CAM_OK) {
        *out = *row;
        if (n_bad)
            cam_log(CAM_LOG_WARNING, "starting from snapshot %.12s (step %lld) instead", row->id,
                    (long long)row->step);
    } else if (tried && status == CAM_ERR_OS) {
        status = cam_context(status, "snapshot %.12s", row->id);
    } else if (tried && n_bad == 0) {
        status = cam_fail(CAM_ERR_NOINPUT, "%s: there is no snapshot yet", snapshots->dir);
    } else if (tried) {
        status =
            cam_fail(CAM_ERR_DATA,
                     "%s: none of %zu snapshots verifies; nothing was changed.  Put objects/ and "
                     "snapshots/ back from a backup, or begin anew with cambium init -C "
                     "elsewhere; cambium verify lists what is damaged",
                     snapshots->dir, n_bad);
    }
    free(tried);
    free(list.rows);
    return status;
}

enum cam_status cam_snapshots_each(struct cam_snapshots *snapshots, int all, cam_snapshot_fn *fn,
                                   void *context) {
    struct cam_row_list list = {0};
    cam_snapshots_wait(snapshots);
    CAM_TRY(cam_snapshot_rows(snapshots->database, &list));
    enum cam_status status = CAM_OK;
    for (size_t i = 0; i < list.n_rows && status == CAM_OK; i++)
        if (all || list.rows[i].kind == CAM_SNAPSHOT_KEPT)
            status = fn(context, &list.rows[i]);
    free(list.rows);
    return status;
}

/* ---- verify
 * ----------------------------------------------------------------------------------------------------------
 */

struct verify {
    cam_problem_fn *fn;
    void *context;
    int64_t problems;
};

static void problem(struct verify *v, const char *text) {
    char neutral[1200];
    v->problems++;
    if (v->fn)
        v->fn(v->context, cam_neutral_text(text, neutral, sizeof neutral));
}

/* Every row of a PRAGMA that reports trouble; "ok" is no trouble. */
static enum cam_status check_pragma(sqlite3 *sqlite, struct verify *v, const char *pragma) {
    sqlite3_stmt *s = NULL;
    char sql[64], text[1024];
    int row = 0;
    snprintf(sql, sizeof sql, "PRAGMA %s", pragma);
    CAM_TRY(cam_sql_prepare(sqlite, sql, &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        if (strcmp(cam_sql_text(s, 0), "ok") != 0) {
            snprintf(text, sizeof text, "history.db: %s: %.900s", pragma, cam_sql_text(s, 0));
            problem(v, text);
        }
        status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status check_texts(sqlite3 *sqlite, struct verify *v) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT d.document, d.bytes, d.content_hash, x.text FROM documents AS d"
                            " LEFT JOIN document_texts AS x ON x.document = d.document",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        char *text = NULL, hex[CAM_HASH_HEX_BYTES] = "", line[128];
        size_t n_bytes = 0;
        if (cam_rows_text(sqlite3_column_blob(s, 3), (size_t)sqlite3_column_bytes(s, 3),
                          sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1), &text,
                          &n_bytes) == CAM_OK)
            cam_hash_hex(cam_hash_bytes(text, n_bytes), hex);
        free(text);
        if (strcmp(hex, cam_sql_text(s, 2)) != 0) {
            snprintf(line, sizeof line, "document %lld: its text does not match its hash",
                     (long long)sqlite3_column_int64(s, 0));
            problem(v, line);
        }
        status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status verify_database(sqlite3 *sqlite, void *context) {
    struct verify *v = context;
    enum cam_status status = check_pragma(sqlite, v, "integrity_check");
    if (status == CAM_OK)
        status = check_pragma(sqlite, v, "foreign_key_check");
    if (status == CAM_OK)
        status = check_texts(sqlite, v);
    if (status != CAM_ERR_DATA)
        return status;
    problem(v, cam_message());
    return CAM_OK;
}

enum cam_status cam_snapshots_verify(struct cam_snapshots *snapshots, cam_problem_fn *fn,
                                     void *context, int64_t *problems) {
    struct verify v = {.fn = fn, .context = context};
    struct cam_row_list list = {0};
    cam_snapshots_wait(snapshots);
    CAM_TRY(cam_snapshot_rows(snapshots->database, &list));
    enum cam_status status = CAM_OK;
    for (size_t i = 0; i < list.n_rows && status == CAM_OK; i++) {
        status = cam_snapshot_check(snapshots, list.rows[i].id);
        if (status != CAM_OK && status != CAM_ERR_OS) {
            problem(&v, cam_message());
            distrust(snapshots, list.rows[i].id);
            status = CAM_OK;
        }
    }
    free(list.rows);
    if (status == CAM_OK)
        status = cam_database_call(snapshots->database, verify_database, &v);
    if (status == CAM_OK)
        *problems = v.problems;
    return status;
}
