#include "store/rebuild.h"

#include "store/policies.h"
#include "store/rows.h"
#include "store/sql.h"

#include <string.h>

static enum cam_status check(sqlite3 *sqlite, void *context) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    (void)context;
    CAM_TRY(cam_sql_prepare(sqlite, "PRAGMA quick_check(1)", &s));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row && strcmp(cam_sql_text(s, 0), "ok") != 0)
        status = cam_fail(CAM_ERR_DATA, "history.db: %.400s", cam_sql_text(s, 0));
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_rebuild_check(struct cam_database *database) {
    return cam_database_call(database, check, NULL);
}

struct manifests {
    const struct cam_manifest *list;
    size_t n;
};

static enum cam_status insert_snapshot(sqlite3 *sqlite, const struct cam_manifest *m,
                                       int64_t number) {
    const struct cam_snapshot *i = &m->info;
    char saved[CAM_RFC3339_BYTES], now[CAM_RFC3339_BYTES];
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT OR IGNORE INTO lineages (lineage, parent, fork_step, fork_moment,"
                        " fork_position, fork_offset, skip_to, reason, opened_at) VALUES (?, NULL,"
                        " 0, 0, 0, 0, 0, 'recovered', ?)",
                        "it", i->lineage, cam_rows_now(now)));
    /* A tag belongs to one; a second would come from files that were copied together. */
    return cam_sql_run(
        sqlite,
        "INSERT INTO snapshots (id, parent, kind, tag, lineage, moment, step, position, \"offset\","
        " documents, tokens, model_hash, bytes_total, bytes_unique, bytes_shared, number, saved_at)"
        " SELECT ?1, nullif(?2, ''), ?3, CASE WHEN EXISTS (SELECT 1 FROM snapshots WHERE tag = ?4)"
        " THEN NULL ELSE nullif(?4, '') END, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,"
        " ?17",
        "ttttiiiiiiitiiiit", i->id, i->parent,
        i->kind == CAM_SNAPSHOT_KEPT ? "snapshot" : "checkpoint", i->tag, i->lineage, i->moment,
        i->step, i->position, i->offset, i->documents, m->tokens, i->model_hash, i->bytes_total,
        i->bytes_unique, i->bytes_shared, number, cam_clock_rfc3339(i->created_at_ms, saved));
}

static enum cam_status insert_snapshots(sqlite3 *sqlite, void *context) {
    const struct manifests *m = context;
    for (size_t i = 0; i < m->n; i++) /* newest first */
        CAM_TRY(insert_snapshot(sqlite, &m->list[i], (int64_t)(m->n - i)));
    return CAM_OK;
}

enum cam_status cam_rebuild_snapshots(struct cam_database *database,
                                      const struct cam_manifest *manifests, size_t n_manifests) {
    struct manifests m = {manifests, n_manifests};
    return cam_database_write_durable(database, insert_snapshots, &m);
}

struct state {
    const char *id, *settings;
    int64_t next;
};

static enum cam_status insert_state(sqlite3 *sqlite, void *context) {
    const struct state *x = context;
    char now[CAM_RFC3339_BYTES];
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO lineage_spans SELECT lineage, 9223372036854775807 FROM"
                        " snapshots WHERE id = ?",
                        "t", x->id));
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO trainer SELECT 1, lineage, moment, step, position, \"offset\","
                        " documents, tokens FROM snapshots WHERE id = ?",
                        "t", x->id));
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO setting_values SELECT s.lineage, 0, j.key, j.value, 0 FROM"
                        " snapshots AS s, json_each(?2) AS j WHERE s.id = ?1 AND j.key <> 'policy'",
                        "tt", x->id, x->settings));
    return cam_sql_run(
        sqlite,
        "INSERT INTO journal (position, kind, name, body, journalled_at) VALUES (?,"
        " 'recovered', ?, json_object('reason', 'history.db was lost or damaged'), ?)",
        "itt", x->next, x->id, cam_rows_now(now));
}

static enum cam_status mark_complete(sqlite3 *sqlite, void *context) {
    char now[CAM_RFC3339_BYTES];
    (void)context;
    return cam_sql_run(sqlite, "INSERT OR REPLACE INTO meta VALUES ('complete', ?)", "t",
                       cam_rows_now(now));
}

enum cam_status cam_rebuild_state(struct cam_database *database, const char *id, int64_t next,
                                  const char *settings, const char *policy_name,
                                  const char *policy_text) {
    struct state x = {id, settings, next};
    int64_t position;
    CAM_TRY(cam_database_write_durable(database, insert_state, &x));
    CAM_TRY(cam_policies_put(database, policy_name, policy_text, 1, &position));
    return cam_database_write_durable(database, mark_complete, NULL);
}
