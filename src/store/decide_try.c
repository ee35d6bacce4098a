/* decide_try.c - what a policy would have decided at each step of the past (decide.h).
 *
 * The present history is read with a connection of its own that cannot write.  What a step could
 * see is made of temporary objects that come before the real ones of the same name: `lineage_spans`
 * ends with the moment of the step, `decisions` before it, and every v1_ and living_ view is made
 * again as a temporary view, because only those look there.  Nothing of the database changes, and a
 * policy that is tried is under the same authorizer and the same bounds as one in force. */
#include "store/decide_internal.h"

#include "base/embed.h"
#include "store/policies.h"
#include "store/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trial {
    const char *name, *text;
    int64_t n_steps; /* the newest so many */
    cam_decide_tried_fn *fn;
    void *context;
    /* the step being tried */
    sqlite3 *sqlite;
    int64_t lineage, moment, step, documents, decision;
};

/* The file is open for reading only; query_only would forbid temporary objects too. */
static const char shadows[] =
    "PRAGMA query_only = 0;"
    "CREATE TEMP TABLE lineage_spans (lineage INTEGER PRIMARY KEY, moment_to INTEGER NOT NULL);"
    "CREATE TEMP TABLE decisions (lineage INTEGER NOT NULL, moment INTEGER NOT NULL,"
    " decision INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL, layer INTEGER NOT NULL,"
    " amount INTEGER NOT NULL, reason TEXT NOT NULL, evidence TEXT NOT NULL, origin TEXT NOT NULL,"
    " part TEXT NOT NULL, PRIMARY KEY (lineage, moment, decision)) WITHOUT ROWID;"
    "INSERT INTO temp.lineage_spans SELECT * FROM main.lineage_spans";

/* Statement by statement: "CREATE VIEW" begins a line in views.sql. */
static enum cam_status shadow_views(sqlite3 *sqlite) {
    static const char create[] = "CREATE VIEW ";
    const struct cam_embedded *views = cam_embedded_find(cam_embedded_schema, "views.sql");
    const char *at = views ? strstr((const char *)views->data, create) : NULL;
    while (at) {
        const char *next = strstr(at + 1, create);
        size_t n = (next ? (size_t)(next - at) : strlen(at)) - strlen(create);
        char *sql = malloc(n + 32);
        if (!sql)
            return cam_fail(CAM_ERR_OS, "no memory for a view");
        snprintf(sql, n + 32, "CREATE TEMP VIEW %.*s", (int)n, at + strlen(create));
        enum cam_status status = cam_sql_script(sqlite, sql);
        free(sql);
        CAM_TRY(status);
        at = next;
    }
    return CAM_OK;
}

/* A view of the policy in force that the tried one lacks must not be found in its place. */
static enum cam_status hide_others(sqlite3 *sqlite) {
    for (;;) {
        sqlite3_stmt *s = NULL;
        char sql[256] = "";
        int row = 0;
        CAM_TRY(cam_sql_prepare(sqlite,
                                "SELECT format('CREATE TEMP VIEW \"%w\" AS SELECT * FROM \"a view"
                                " this policy lacks\"', name) FROM main.sqlite_schema AS m WHERE"
                                " type = 'view' AND (name GLOB 'decide_*' OR name GLOB 'policy_*')"
                                " AND NOT EXISTS (SELECT 1 FROM temp.sqlite_schema AS t WHERE"
                                " t.name = m.name COLLATE NOCASE) LIMIT 1",
                                &s));
        enum cam_status status = cam_sql_step(s, &row);
        if (status == CAM_OK && row)
            snprintf(sql, sizeof sql, "%s", cam_sql_text(s, 0));
        sqlite3_finalize(s);
        if (status != CAM_OK || !row)
            return status;
        CAM_TRY(cam_sql_script(sqlite, sql));
    }
}

/* Lets the temporary objects show what the step that wrote MOMENT could see. */
static enum cam_status go_back(struct trial *t, int64_t before) {
    CAM_TRY(cam_sql_run(t->sqlite,
                        "UPDATE temp.lineage_spans SET moment_to = (SELECT min(m.moment_to, ?) FROM"
                        " main.lineage_spans AS m WHERE m.lineage = lineage_spans.lineage)",
                        "i", t->moment));
    CAM_TRY(cam_sql_run(t->sqlite, "DELETE FROM temp.decisions WHERE moment >= ?", "i", before));
    return cam_sql_run(t->sqlite,
                       "INSERT INTO temp.decisions SELECT d.lineage, d.moment, d.decision, d.step,"
                       " d.kind, d.layer, d.amount, d.reason, d.evidence, d.origin, d.part FROM"
                       " main.lineage_spans AS s JOIN main.decisions AS d ON d.lineage = s.lineage"
                       " AND d.moment <= s.moment_to WHERE d.moment >= ?1 AND d.moment < ?2",
                       "ii", before, t->moment);
}

/* A later view may look at what an earlier one decided at this step. */
static enum cam_status take(void *context, const struct cam_decide_row *row) {
    struct trial *t = context;
    struct cam_decide_tried tried = {.step = t->step, .documents = t->documents, .row = *row};
    CAM_TRY(t->fn(t->context, &tried));
    return cam_sql_run(t->sqlite,
                       "INSERT INTO temp.decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                       " ?)",
                       "iiiitnitttt", t->lineage, t->moment, ++t->decision, t->step,
                       cam_decide_kind_name(row->kind), row->layer, row->amount, row->reason,
                       row->evidence, "policy tried", row->part);
}

static enum cam_status try_step(struct trial *t, int64_t before) {
    char why[256] = "";
    const char *view = "";
    CAM_TRY(go_back(t, before));
    CAM_TRY(cam_sql_int(t->sqlite, 0, &t->decision,
                        "SELECT max(decision) FROM temp.decisions WHERE lineage IN (SELECT lineage"
                        " FROM temp.lineage_spans)",
                        ""));
    CAM_TRY(
        cam_sql_int(t->sqlite, 0, &t->documents, "SELECT max(rank) FROM temp.living_trained", ""));
    CAM_TRY(cam_decide_ask_tried(t->sqlite, take, t, &view, why, sizeof why));
    if (*why)
        return cam_fail(CAM_ERR_CONFIG, "policy %s: at step %lld: %s: %s", t->name,
                        (long long)t->step, view, why);
    return CAM_OK;
}

static enum cam_status try_steps(struct trial *t) {
    sqlite3_stmt *s = NULL;
    int64_t before = 0;
    int row = 0;
    CAM_TRY(cam_sql_query(t->sqlite, &s,
                          "SELECT lineage, moment, step FROM (SELECT h.lineage, h.moment, h.step"
                          " FROM main.lineage_spans AS s JOIN main.steps AS h ON h.lineage ="
                          " s.lineage AND h.moment <= s.moment_to ORDER BY h.step DESC LIMIT ?)"
                          " ORDER BY step",
                          "i", t->n_steps));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        t->lineage = sqlite3_column_int64(s, 0);
        t->moment = sqlite3_column_int64(s, 1);
        t->step = sqlite3_column_int64(s, 2);
        status = try_step(t, before);
        before = t->moment;
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status run(sqlite3 *sqlite, void *context) {
    struct trial *t = context;
    t->sqlite = sqlite;
    CAM_TRY(cam_sql_script(sqlite, shadows));
    CAM_TRY(shadow_views(sqlite));
    CAM_TRY(cam_decide_check_temporary(sqlite, t->name, t->text, hide_others));
    enum cam_status status = try_steps(t);
    cam_decide_forget(sqlite);
    return status;
}

enum cam_status cam_decide_try(struct cam_database *database, const char *name, const char *text,
                               int64_t n_steps, cam_decide_tried_fn *fn, void *context) {
    struct trial t = {.name = name, .text = text, .n_steps = n_steps, .fn = fn, .context = context};
    return cam_database_read(database, run, &t);
}
