/* history_probes.c - what evaluations say besides scores: where probes are routed, and alarms
 * (history.h). */
#include "store/history.h"

#include "base/log.h"
#include "store/rows.h"
#include "store/sql.h"

#include <stdio.h>

/* ---- routing ---- */

struct routing_moment {
    int64_t evaluation;
    const struct cam_routing_row *rows;
    size_t n;
};

/* The last trained document of the probe's domain, if they came as a block and others followed. */
static enum cam_status learned_at(sqlite3 *sqlite, int64_t probe, int64_t *learned) {
    return cam_sql_int(sqlite, 0, learned,
                       "SELECT CASE WHEN max(t.rank) - min(t.rank) + 1 = count(*) AND max(t.rank) <"
                       " (SELECT documents FROM trainer) THEN max(t.rank) END FROM documents AS d"
                       " JOIN living_trained AS t ON t.document = d.document WHERE d.domain ="
                       " (SELECT name FROM probes WHERE probe = ?)",
                       "i", probe);
}

static enum cam_status write_routing(sqlite3 *sqlite, void *context) {
    const struct routing_moment *m = context;
    struct cam_history_state at;
    int64_t learned = 0;
    CAM_TRY(cam_rows_moment(sqlite, &at));
    for (size_t i = 0; i < m->n; i++) {
        const struct cam_routing_row *r = &m->rows[i];
        if (i == 0 || r->probe != m->rows[i - 1].probe)
            CAM_TRY(learned_at(sqlite, r->probe, &learned));
        CAM_TRY(cam_sql_run(sqlite,
                            "INSERT INTO routing VALUES (?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0))",
                            "iiiinitti", at.lineage, at.moment, m->evaluation, r->probe, r->layer,
                            r->picks, r->generations, r->sketch, learned));
    }
    return CAM_OK;
}

enum cam_status cam_history_routing(struct cam_database *database, int64_t evaluation,
                                    const struct cam_routing_row *rows, size_t n) {
    struct routing_moment m = {.evaluation = evaluation, .rows = rows, .n = n};
    return cam_database_write(database, write_routing, &m);
}

/* ---- alarms ---- */

struct alarm {
    const struct cam_decision *decision;
    struct cam_alarm result;
};

/* The newest kept snapshot of the living history that is not younger than the evaluation before. */
static enum cam_status find_way_back(sqlite3 *sqlite, int64_t evaluation, struct cam_alarm *out) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(sqlite, &s,
                          "SELECT s.id FROM snapshots AS s JOIN lineage_spans AS l ON l.lineage ="
                          " s.lineage AND s.moment <= l.moment_to WHERE s.kind = 'snapshot' AND"
                          " s.step <= (SELECT max(e.step) FROM living_evaluations AS e WHERE"
                          " e.evaluation < ?) ORDER BY s.moment DESC, s.number DESC LIMIT 1",
                          "i", evaluation));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row)
        snprintf(out->snapshot, sizeof out->snapshot, "%s", cam_sql_text(s, 0));
    sqlite3_finalize(s);
    CAM_TRY(status);
    return cam_sql_int(sqlite, INT64_MAX, &out->documents_since,
                       "SELECT (SELECT count(*) FROM living_trained AS t WHERE t.moment >"
                       " l.fork_moment) FROM lineages AS l JOIN lineage_spans AS s ON s.lineage ="
                       " l.lineage WHERE l.reason GLOB 'alarm: *' ORDER BY l.lineage DESC LIMIT 1",
                       "");
}

/* Events outlive a crash, so a step done again must not tell again. */
static enum cam_status tell(sqlite3 *sqlite, const struct cam_decision *d) {
    char message[700], neutral[700];
    int64_t told = 0;
    snprintf(message, sizeof message, "evaluation %lld: %s", (long long)d->amount, d->reason);
    cam_neutral_text(message, neutral, sizeof neutral);
    CAM_TRY(cam_sql_int(sqlite, 0, &told,
                        "SELECT 1 FROM events WHERE kind = 'alarm' AND message = ? AND lineage ="
                        " (SELECT lineage FROM trainer) AND step = (SELECT step FROM trainer)",
                        "t", neutral));
    if (told)
        return CAM_OK;
    cam_log(CAM_LOG_WARNING, "alarm: %s", neutral);
    return cam_rows_event(sqlite, "warning", "alarm", neutral, d->evidence);
}

static enum cam_status raise(sqlite3 *sqlite, void *context) {
    struct alarm *a = context;
    const struct cam_decision *d = a->decision;
    int64_t is_known = 0, is_told = 0;
    CAM_TRY(cam_sql_int(sqlite, 0, &is_known,
                        "SELECT 1 FROM living_evaluations WHERE evaluation = ?", "i", d->amount));
    CAM_TRY(cam_sql_int(sqlite, 0, &is_told,
                        "SELECT 1 FROM living_decisions WHERE kind = 'alarm' AND amount = ? AND"
                        " decision < ?",
                        "ii", d->amount, d->decision));
    a->result.known = is_known != 0;
    a->result.told = is_told != 0;
    if (!is_known || is_told)
        return CAM_OK;
    CAM_TRY(find_way_back(sqlite, d->amount, &a->result));
    return tell(sqlite, d);
}

enum cam_status cam_history_alarm(struct cam_database *database,
                                  const struct cam_decision *decision, struct cam_alarm *alarm) {
    struct alarm a = {.decision = decision};
    CAM_TRY(cam_database_write(database, raise, &a));
    *alarm = a.result;
    return CAM_OK;
}
