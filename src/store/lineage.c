/* lineage.c - taking back: recovery discards rows, a rollback opens a branch (history.h).
 *
 * The living chain is lineage_spans: each lineage on the way from the beginning to the present,
 * with the last moment of it that still counts.  Both operations are one transaction. */
#include "store/history.h"

#include "store/decide.h"
#include "store/lineage_internal.h"
#include "store/rows.h"
#include "store/sql.h"

#include <stdio.h>
#include <string.h>

#define FOREVER INT64_MAX

const char *const cam_lineage_tables[] = {
    "steps",       "trained",  "holds",     "provenance",        "usage",    "generation_states",
    "evaluations", "scores",   "decisions", "decision_outcomes", "controls", "setting_values",
    "freezes",     "recycled", "openings",  "routing",
};
const size_t cam_lineage_n_tables = sizeof cam_lineage_tables / sizeof *cam_lineage_tables;

enum cam_status cam_lineage_find_point(sqlite3 *sqlite, const char *snapshot,
                                       struct cam_lineage_point *p) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    if (!*snapshot) {
        *p = (struct cam_lineage_point){.lineage = 1};
        return CAM_OK;
    }
    CAM_TRY(cam_sql_query(sqlite, &s,
                          "SELECT lineage, moment, step, position, \"offset\", documents, tokens"
                          " FROM snapshots WHERE id = ?",
                          "t", snapshot));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && !row)
        status = cam_fail(CAM_ERR_NOINPUT, "snapshot %s: there is none", snapshot);
    if (status == CAM_OK)
        *p = (struct cam_lineage_point){
            .lineage = sqlite3_column_int64(s, 0),
            .moment = sqlite3_column_int64(s, 1),
            .step = sqlite3_column_int64(s, 2),
            .position = sqlite3_column_int64(s, 3),
            .offset = sqlite3_column_int64(s, 4),
            .documents = sqlite3_column_int64(s, 5),
            .tokens = sqlite3_column_int64(s, 6),
        };
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_lineage_set_trainer(sqlite3 *sqlite, int64_t lineage,
                                        const struct cam_lineage_point *p) {
    return cam_sql_run(sqlite,
                       "UPDATE trainer SET lineage = ?, moment = ?, step = ?, position = ?,"
                       " \"offset\" = ?, documents = ?, tokens = ?",
                       "iiiiiii", lineage, p->moment, p->step, p->position, p->offset, p->documents,
                       p->tokens);
}

/* ---- recovery
 * -------------------------------------------------------------------------------------- */

struct discard {
    const char *snapshot;
    int64_t steps;
};

static enum cam_status delete_after(sqlite3 *sqlite, int64_t lineage, int64_t moment) {
    char sql[96];
    for (size_t i = 0; i < cam_lineage_n_tables; i++) {
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE lineage = ? AND moment > ?",
                 cam_lineage_tables[i]);
        CAM_TRY(cam_sql_run(sqlite, sql, "ii", lineage, moment));
    }
    return cam_sql_run(sqlite, "DELETE FROM snapshots WHERE lineage = ? AND moment > ?", "ii",
                       lineage, moment);
}

static enum cam_status discard(sqlite3 *sqlite, void *context) {
    struct discard *d = context;
    struct cam_history_state now;
    struct cam_lineage_point p;
    int64_t fork = 0, living = 0;
    CAM_TRY(cam_rows_state(sqlite, &now));
    CAM_TRY(cam_lineage_find_point(sqlite, d->snapshot, &p));
    CAM_TRY(cam_sql_int(sqlite, 0, &living,
                        "SELECT 1 FROM lineage_spans WHERE lineage = ? AND moment_to >= ?", "ii",
                        p.lineage, p.moment));
    if (!living)
        return cam_fail(CAM_ERR_DATA,
                        "snapshot %s: on a branch that was rolled back; use: cambium "
                        "rollback %s",
                        d->snapshot, d->snapshot);
    d->steps = now.step - p.step;
    CAM_TRY(cam_sql_int(sqlite, 0, &fork, "SELECT fork_moment FROM lineages WHERE lineage = ?", "i",
                        now.lineage));
    /* Rows written by the rollback itself carry the moment of the fork and stay. */
    CAM_TRY(delete_after(sqlite, now.lineage, fork > p.moment ? fork : p.moment));
    /* Only when the snapshot of the fork itself does not verify: the chain is cut before it, and
     * the present lineage makes that stretch again. */
    CAM_TRY(cam_sql_run(sqlite,
                        "UPDATE lineage_spans SET moment_to = ?2 WHERE moment_to > ?2 AND lineage"
                        " <> ?1",
                        "ii", now.lineage, p.moment));
    /* Right after a rollback: the offset is what the rollback left of the snapshot's. */
    if (p.lineage != now.lineage)
        CAM_TRY(cam_sql_int(sqlite, p.offset, &p.offset,
                            "SELECT fork_offset FROM lineages WHERE lineage = ?1 AND parent = ?2"
                            " AND fork_moment = ?3",
                            "iii", now.lineage, p.lineage, p.moment));
    CAM_TRY(cam_lineage_set_trainer(sqlite, now.lineage, &p));
    return cam_decide_install_current(sqlite);
}

enum cam_status cam_history_discard_after(struct cam_database *database, const char *snapshot,
                                          int64_t *discarded) {
    struct discard d = {.snapshot = snapshot};
    CAM_TRY(cam_database_write_durable(database, discard, &d));
    if (discarded)
        *discarded = d.steps;
    return CAM_OK;
}

/* ---- rollback
 * ---------------------------------------------------------------------------------------- */

struct rollback {
    const char *snapshot, *reason;
    enum cam_rollback_mode mode;
    int64_t lineage;
};

/* A document in progress stands where it stood at the snapshot: nothing of it was trained since. */
static int same_place(const struct cam_history_state *now, const struct cam_lineage_point *p) {
    return now->position == p->position && now->offset == p->offset;
}

/* What the branch left behind is about, gathered while it still lives. */
static enum cam_status gather(sqlite3 *sqlite, const struct cam_history_state *now,
                              const struct cam_lineage_point *p) {
    CAM_TRY(cam_sql_script(
        sqlite, "DROP TABLE IF EXISTS temp.undone; DROP TABLE IF EXISTS temp.held;"
                "DROP TABLE IF EXISTS temp.settings_before;"
                "CREATE TEMP TABLE undone AS SELECT document FROM living_trained;"
                "CREATE TEMP TABLE held AS SELECT * FROM living_holds;"
                "CREATE TEMP TABLE settings_before AS SELECT key, value FROM living_settings"));
    /* The document in the middle of which the cursor stands was begun; if that was before the
     * snapshot, and nothing came after, it still waits for the rest. */
    if (now->offset > 0 && !same_place(now, p))
        CAM_TRY(cam_sql_run(
            sqlite,
            "INSERT INTO temp.undone SELECT coalesce(j.document, j.position) FROM journal AS j JOIN"
            " living_states AS s ON s.document = coalesce(j.document, j.position) WHERE j.position "
            ">"
            " ? AND j.kind IN ('document', 'release') AND s.state = 'pending' ORDER BY j.position"
            " LIMIT 1",
            "i", now->position));
    return CAM_OK;
}

/* The chain that ends at P, and a new lineage on top of it. */
static enum cam_status rebuild_spans(sqlite3 *sqlite, const struct cam_lineage_point *p,
                                     int64_t lineage) {
    int64_t link = p->lineage, moment = p->moment;
    CAM_TRY(cam_sql_script(sqlite, "DELETE FROM lineage_spans"));
    CAM_TRY(cam_sql_run(sqlite, "INSERT INTO lineage_spans VALUES (?, ?)", "ii", lineage, FOREVER));
    while (link) {
        int64_t fork = 0;
        CAM_TRY(cam_sql_run(sqlite, "INSERT INTO lineage_spans VALUES (?, ?)", "ii", link, moment));
        CAM_TRY(cam_sql_int(sqlite, 0, &fork, "SELECT fork_moment FROM lineages WHERE lineage = ?",
                            "i", link));
        CAM_TRY(cam_sql_int(sqlite, 0, &link, "SELECT parent FROM lineages WHERE lineage = ?", "i",
                            link));
        moment = fork < moment ? fork : moment;
    }
    return CAM_OK;
}

/* Holds of the new lineage carry the moment of the fork: they are part of what it starts with. */
static enum cam_status carry_holds(sqlite3 *sqlite, const struct rollback *r,
                                   const struct cam_lineage_point *p, int64_t position) {
    if (r->mode == CAM_ROLLBACK_SET_ASIDE)
        CAM_TRY(cam_sql_run(sqlite,
                            "INSERT OR IGNORE INTO holds SELECT ?1, ?2, u.document, ?3, ?4,"
                            " 'set_aside', 'trained after the snapshot ' || ?5 FROM temp.undone AS"
                            " u WHERE NOT EXISTS (SELECT 1 FROM living_trained AS t WHERE"
                            " t.document = u.document)",
                            "iiiit", r->lineage, p->moment, position, p->step, r->snapshot));
    return cam_sql_run(sqlite,
                       "INSERT OR IGNORE INTO holds SELECT ?1, ?2, h.document, h.position, ?3,"
                       " h.state, h.reason FROM temp.held AS h WHERE NOT EXISTS (SELECT 1 FROM"
                       " living_trained AS t WHERE t.document = h.document) AND NOT EXISTS (SELECT"
                       " 1 FROM living_holds AS g WHERE g.document = h.document AND g.position >="
                       " h.position) ORDER BY h.position DESC",
                       "iii", r->lineage, p->moment, p->step);
}

/* What was taken back before stays so.  Rows behind the cursor that had been acted on at the point
 * were not taken back. */
static enum cam_status carry_skips(sqlite3 *sqlite, const struct cam_lineage_opening *o,
                                   int64_t from, int64_t lineage) {
    int64_t done = 0;
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO lineage_skips SELECT ?2, position_from, position_to FROM"
                        " lineage_skips WHERE lineage = ?1",
                        "ii", from, lineage));
    CAM_TRY(cam_sql_int(sqlite, 0, &done, "SELECT max(position) FROM living_controls", ""));
    done = done > o->point->position ? done : o->point->position;
    if (o->taken_back <= done)
        return CAM_OK;
    return cam_sql_run(sqlite, "INSERT OR IGNORE INTO lineage_skips VALUES (?, ?, ?)", "iii",
                       lineage, done, o->taken_back);
}

enum cam_status cam_lineage_open(sqlite3 *sqlite, const struct cam_lineage_opening *o,
                                 int64_t *lineage) {
    const struct cam_lineage_point *p = o->point;
    struct cam_history_state now;
    char opened[CAM_RFC3339_BYTES];
    CAM_TRY(cam_rows_state(sqlite, &now));
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO lineages (parent, fork_step, fork_moment, fork_position,"
                        " fork_offset, skip_to, snapshot, mode, reason, position, opened_at)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        "iiiiiitttit", p->lineage, p->step, p->moment, p->position, p->offset,
                        o->taken_back, o->snapshot, o->mode, o->reason ? o->reason : "",
                        o->position, cam_rows_now(opened)));
    *lineage = sqlite3_last_insert_rowid(sqlite);
    CAM_TRY(rebuild_spans(sqlite, p, *lineage));
    return carry_skips(sqlite, o, now.lineage, *lineage);
}

static enum cam_status open_lineage(sqlite3 *sqlite, struct rollback *r,
                                    const struct cam_lineage_point *p, int64_t *position) {
    const char *mode = r->mode == CAM_ROLLBACK_REQUEUE ? "requeue" : "set_aside";
    struct cam_lineage_opening o = {
        .point = p, .snapshot = r->snapshot, .mode = mode, .reason = r->reason};
    /* Control rows are acted on in order, so the last one done stands for all before it. */
    CAM_TRY(cam_sql_int(sqlite, 0, &o.taken_back, "SELECT max(position) FROM living_controls", ""));
    CAM_TRY(cam_rows_journal(sqlite, "rollback", 0, r->snapshot, mode, r->reason, position));
    o.position = *position;
    return cam_lineage_open(sqlite, &o, &r->lineage);
}

/* The journal row tells which settings the rollback changed back. */
static enum cam_status note_settings(sqlite3 *sqlite, int64_t position) {
    return cam_sql_run(sqlite,
                       "UPDATE journal SET body = json_set(body, '$.settings', (SELECT"
                       " json_group_object(b.key, n.value) FROM temp.settings_before AS b JOIN"
                       " living_settings AS n ON n.key = b.key WHERE n.value IS NOT b.value))"
                       " WHERE position = ?",
                       "i", position);
}

static enum cam_status roll_back(sqlite3 *sqlite, void *context) {
    struct rollback *r = context;
    struct cam_history_state now;
    struct cam_lineage_point p;
    int64_t position = 0;
    char message[256];
    CAM_TRY(cam_rows_state(sqlite, &now));
    CAM_TRY(cam_lineage_find_point(sqlite, r->snapshot, &p));
    CAM_TRY(gather(sqlite, &now, &p));
    /* Half of a document that is not to be trained on cannot be continued. */
    if (r->mode == CAM_ROLLBACK_SET_ASIDE && !same_place(&now, &p))
        p.offset = 0;
    CAM_TRY(open_lineage(sqlite, r, &p, &position));
    CAM_TRY(carry_holds(sqlite, r, &p, position));
    CAM_TRY(note_settings(sqlite, position));
    CAM_TRY(cam_lineage_set_trainer(sqlite, r->lineage, &p));
    CAM_TRY(cam_decide_install_current(sqlite));
    snprintf(message, sizeof message,
             "rolled back from step %lld to step %lld (%.40s): lineage %lld", (long long)now.step,
             (long long)p.step, r->snapshot, (long long)r->lineage);
    CAM_TRY(cam_rows_event(sqlite, "warning", "rollback", message, NULL));
    return cam_sql_script(sqlite, "DROP TABLE temp.undone; DROP TABLE temp.held;"
                                  "DROP TABLE temp.settings_before");
}

enum cam_status cam_history_rollback(struct cam_database *database, const char *snapshot,
                                     enum cam_rollback_mode mode, const char *reason,
                                     int64_t *lineage) {
    struct rollback r = {.snapshot = snapshot, .mode = mode, .reason = reason};
    if (!*snapshot)
        return cam_fail(CAM_ERR_NOINPUT, "a rollback needs a snapshot; see: cambium snapshots");
    CAM_TRY(cam_database_write_durable(database, roll_back, &r));
    if (lineage)
        *lineage = r.lineage;
    return CAM_OK;
}
