/* snapshot_rows.c - the rows of table snapshots. */
#include "store/snapshot_internal.h"

#include "base/clock.h"
#include "store/rows.h"
#include "store/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum cam_status read_rows(sqlite3 *sqlite, void *context) {
    struct cam_row_list *list = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    size_t capacity = 0;
    CAM_TRY(cam_sql_prepare(
        sqlite,
        "SELECT s.id, coalesce(s.parent, ''), coalesce(s.tag, ''), s.kind = 'snapshot',"
        " s.model_hash, s.lineage, s.moment, s.step, s.position, s.\"offset\", s.documents,"
        " s.bytes_total, s.bytes_unique, s.bytes_shared, s.saved_at, EXISTS (SELECT 1 FROM"
        " lineage_spans AS l WHERE l.lineage = s.lineage AND s.moment <= l.moment_to)"
        " FROM snapshots AS s ORDER BY s.number",
        &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        if (list->n_rows == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            struct cam_snapshot *grown = realloc(list->rows, capacity * sizeof *grown);
            if (!grown) {
                status = cam_fail(CAM_ERR_OS, "no memory for %zu snapshots", capacity);
                break;
            }
            list->rows = grown;
        }
        struct cam_snapshot *r = &list->rows[list->n_rows++];
        *r = (struct cam_snapshot){
            .kind = sqlite3_column_int(s, 3) ? CAM_SNAPSHOT_KEPT : CAM_SNAPSHOT_CHECKPOINT,
            .lineage = sqlite3_column_int64(s, 5),
            .moment = sqlite3_column_int64(s, 6),
            .step = sqlite3_column_int64(s, 7),
            .position = sqlite3_column_int64(s, 8),
            .offset = sqlite3_column_int64(s, 9),
            .documents = sqlite3_column_int64(s, 10),
            .bytes_total = sqlite3_column_int64(s, 11),
            .bytes_unique = sqlite3_column_int64(s, 12),
            .bytes_shared = sqlite3_column_int64(s, 13),
            .living = sqlite3_column_int(s, 15),
        };
        snprintf(r->id, sizeof r->id, "%s", cam_sql_text(s, 0));
        snprintf(r->parent, sizeof r->parent, "%s", cam_sql_text(s, 1));
        snprintf(r->tag, sizeof r->tag, "%s", cam_sql_text(s, 2));
        snprintf(r->model_hash, sizeof r->model_hash, "%s", cam_sql_text(s, 4));
        (void)cam_clock_parse_rfc3339(cam_sql_text(s, 14), &r->created_at_ms);
        status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_snapshot_rows(struct cam_database *database, struct cam_row_list *list) {
    struct cam_row_list read = {0};
    enum cam_status status = cam_database_call(database, read_rows, &read);
    if (status == CAM_OK)
        *list = read;
    else
        free(read.rows);
    return status;
}

struct row {
    struct cam_snapshot *info;
    int64_t tokens;
};

static enum cam_status begin(sqlite3 *sqlite, void *context) {
    struct row *r = context;
    struct cam_snapshot *i = r->info;
    struct cam_history_state at;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_rows_state(sqlite, &at));
    i->lineage = at.lineage, i->moment = at.moment, i->step = at.step;
    i->position = at.position, i->offset = at.offset;
    CAM_TRY(cam_sql_int(sqlite, 0, &i->documents, "SELECT documents FROM trainer", ""));
    CAM_TRY(cam_sql_int(sqlite, 0, &r->tokens, "SELECT tokens FROM trainer", ""));
    if (*i->tag) {
        int64_t used = 0;
        CAM_TRY(
            cam_sql_int(sqlite, 0, &used, "SELECT 1 FROM snapshots WHERE tag = ?", "t", i->tag));
        if (used)
            return cam_fail(CAM_ERR_DATA, "tag %s: in use; choose another one", i->tag);
    }
    /* The parent is a kept one: checkpoints come and go. */
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT s.id FROM snapshots AS s JOIN lineage_spans AS l ON l.lineage"
                            " = s.lineage AND s.moment <= l.moment_to WHERE s.kind = 'snapshot'"
                            " ORDER BY s.moment DESC, s.number DESC LIMIT 1",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row)
        snprintf(i->parent, sizeof i->parent, "%s", cam_sql_text(s, 0));
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_snapshot_row_begin(struct cam_database *database, struct cam_snapshot *info,
                                       int64_t *tokens) {
    struct row r = {.info = info};
    CAM_TRY(cam_database_call(database, begin, &r));
    *tokens = r.tokens;
    return CAM_OK;
}

static enum cam_status insert(sqlite3 *sqlite, void *context) {
    const struct row *r = context;
    const struct cam_snapshot *i = r->info;
    char saved[CAM_RFC3339_BYTES];
    CAM_TRY(cam_sql_run(
        sqlite,
        "INSERT OR REPLACE INTO snapshots (id, parent, kind, tag, lineage, moment, step, position,"
        " \"offset\", documents, tokens, model_hash, bytes_total, bytes_unique, bytes_shared,"
        " number, saved_at) VALUES (?, nullif(?, ''), ?, nullif(?, ''), ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " ?, ?, (SELECT coalesce(max(number), 0) + 1 FROM snapshots), ?)",
        "ttttiiiiiiitiiit", i->id, i->parent,
        i->kind == CAM_SNAPSHOT_KEPT ? "snapshot" : "checkpoint", i->tag, i->lineage, i->moment,
        i->step, i->position, i->offset, i->documents, r->tokens, i->model_hash, i->bytes_total,
        i->bytes_unique, i->bytes_shared, cam_clock_rfc3339(i->created_at_ms, saved)));
    /* Checkpoints of branches that died are of no use; of the living ones two stay, so that one bad
     * file does not cost the state. */
    return cam_sql_script(
        sqlite, "DELETE FROM snapshots WHERE kind = 'checkpoint' AND id NOT IN (SELECT s.id FROM"
                " snapshots AS s JOIN lineage_spans AS l ON l.lineage = s.lineage AND s.moment <="
                " l.moment_to WHERE s.kind = 'checkpoint' ORDER BY s.moment DESC, s.number DESC"
                " LIMIT 2) AND id NOT IN (SELECT snapshot FROM lineages WHERE snapshot IS NOT"
                " NULL)");
}

enum cam_status cam_snapshot_row_insert(struct cam_database *database,
                                        const struct cam_snapshot *info, int64_t tokens) {
    struct cam_snapshot copy = *info;
    struct row r = {.info = &copy, .tokens = tokens};
    return cam_database_write_durable(database, insert, &r);
}

struct deletion {
    const struct cam_snapshot *rows;
    const unsigned char *goes;
    size_t n_rows;
};

static enum cam_status delete_rows(sqlite3 *sqlite, void *context) {
    const struct deletion *d = context;
    for (size_t i = 0; i < d->n_rows; i++)
        if (d->goes[i])
            CAM_TRY(cam_sql_run(sqlite,
                                "DELETE FROM snapshots WHERE id = ? AND kind = 'snapshot' AND tag"
                                " IS NULL",
                                "t", d->rows[i].id));
    return CAM_OK;
}

enum cam_status cam_snapshot_rows_delete(struct cam_database *database,
                                         const struct cam_snapshot *rows, const unsigned char *goes,
                                         size_t n_rows) {
    struct deletion d = {rows, goes, n_rows};
    return cam_database_write_durable(database, delete_rows, &d);
}

struct need {
    const char *id;
    int64_t needed;
};

static enum cam_status look_needed(sqlite3 *sqlite, void *context) {
    struct need *n = context;
    return cam_sql_int(sqlite, 0, &n->needed,
                       "SELECT 1 FROM lineages AS l JOIN lineage_spans AS s ON s.lineage ="
                       " l.lineage WHERE l.snapshot = ? LIMIT 1",
                       "t", n->id);
}

enum cam_status cam_snapshot_row_needed(struct cam_database *database, const char *id,
                                        int *needed) {
    struct need n = {.id = id};
    CAM_TRY(cam_database_call(database, look_needed, &n));
    *needed = n.needed != 0;
    return CAM_OK;
}
