/* decide.c - policy views: asked at step ends, bounded by SQLite's progress handler. */
#include "store/decide_internal.h"

#include "base/log.h"
#include "store/database.h"
#include "store/rows.h"
#include "store/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PROGRESS_EVERY 1000
#define LENGTH_LIMIT   1000000 /* longest string a policy may build */
#define REASON_BYTES   512
#define EVIDENCE_BYTES 4096

/* In the order in which they are asked: measure first, then protect, then renew and grow, then
 * keep.  To add one: a row here, its kind in history.h, its act in run/trainer_act.c, its row in
 * schema/README.md. */
const struct cam_decide_kind cam_decide_kinds[] = {
    {CAM_DECIDE_EVALUATE, "evaluate", "decide_evaluate", 0, 0, 0},
    {CAM_DECIDE_QUARANTINE, "quarantine", "decide_quarantine", 1, 1, 0},
    {CAM_DECIDE_THAW, "thaw", "decide_thaw", 1, 1, 1},
    {CAM_DECIDE_FREEZE, "freeze", "decide_freeze", 1, 1, 1},
    {CAM_DECIDE_ANCHOR, "anchor", "decide_anchor", 0, 0, 0},
    {CAM_DECIDE_REWARM, "rewarm", "decide_rewarm", 1, 0, 0},
    {CAM_DECIDE_RECYCLE, "recycle", "decide_recycle", 1, 1, 0},
    {CAM_DECIDE_HOLD, "hold", "decide_hold", 1, 1, 0},
    {CAM_DECIDE_RETREAT, "retreat", "decide_retreat", 1, 1, 0},
    {CAM_DECIDE_GROW, "grow", "decide_grow", 1, 1, 0},
    {CAM_DECIDE_SNAPSHOT, "snapshot", "decide_snapshot", 0, 0, 0},
    {CAM_DECIDE_ALARM, "alarm", "decide_alarm", 1, 1, 0},
    {CAM_DECIDE_PRUNE, "prune", NULL, 0, 0, 0},
    {CAM_DECIDE_VERIFY, "verify", NULL, 0, 0, 0},
    {0, NULL, NULL, 0, 0, 0},
};
#define N_KINDS (sizeof cam_decide_kinds / sizeof *cam_decide_kinds - 1)

char *cam_decide_list(int names, char *out, size_t out_bytes) {
    size_t used = 0, last = 0;
    for (size_t i = 0; i < N_KINDS; i++)
        last = cam_decide_kinds[i].view ? i : last;
    *out = '\0';
    for (size_t i = 0; i <= last && used < out_bytes; i++)
        if (cam_decide_kinds[i].view)
            used += (size_t)snprintf(out + used, out_bytes - used, "%s%s",
                                     used == 0   ? ""
                                     : i == last ? " and "
                                                 : ", ",
                                     names ? cam_decide_kinds[i].name : cam_decide_kinds[i].view);
    return out;
}

const char *cam_decide_kind_name(enum cam_decision_kind kind) {
    for (size_t i = 0; i < N_KINDS; i++)
        if (cam_decide_kinds[i].kind == kind)
            return cam_decide_kinds[i].name;
    return "unknown";
}

/* ---- the instruction bound
 * ------------------------------------------------------------------------------- */

static int count_down(void *context) {
    struct cam_decide_bound *b = context;
    b->left -= PROGRESS_EVERY;
    return b->left < 0;
}

int cam_decide_limit(sqlite3 *sqlite, struct cam_decide_bound *b) {
    b->left = CAM_DECIDE_INSTRUCTIONS;
    sqlite3_progress_handler(sqlite, PROGRESS_EVERY, count_down, b);
    return sqlite3_limit(sqlite, SQLITE_LIMIT_LENGTH, LENGTH_LIMIT);
}

void cam_decide_lift(sqlite3 *sqlite, int old_length) {
    sqlite3_progress_handler(sqlite, 0, NULL, NULL);
    sqlite3_limit(sqlite, SQLITE_LIMIT_LENGTH, old_length);
}

const char *cam_decide_words(sqlite3 *sqlite, int code) {
    return (code & 0xFF) == SQLITE_INTERRUPT ? "takes more than 20 million instructions"
                                             : sqlite3_errmsg(sqlite);
}

int cam_decide_is_our_trouble(int code) {
    static const int theirs[] = {SQLITE_OK,       SQLITE_ROW,   SQLITE_DONE,
                                 SQLITE_ERROR,    SQLITE_AUTH,  SQLITE_TOOBIG,
                                 SQLITE_MISMATCH, SQLITE_RANGE, SQLITE_INTERRUPT};
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        if ((code & 0xFF) == theirs[i])
            return 0;
    return 1;
}

int cam_decide_column(sqlite3_stmt *s, const char *name) {
    for (int i = 0; i < sqlite3_column_count(s); i++)
        if (strcasecmp(sqlite3_column_name(s, i), name) == 0)
            return i;
    return -1;
}

/* ---- asking
 * ---------------------------------------------------------------------------------------------------
 */

/* Told once, not at every step, while the reason stays the same. */
static enum cam_status no_decision(sqlite3 *sqlite, const char *view, const char *why) {
    char message[512], neutral[512];
    int64_t told = 0;
    snprintf(message, sizeof message, "%s: no decision: %.400s", view, why);
    cam_neutral_text(message, neutral, sizeof neutral);
    CAM_TRY(cam_sql_int(sqlite, 0, &told,
                        "SELECT 1 FROM (SELECT message FROM events WHERE kind = 'no_decision' ORDER"
                        " BY event DESC LIMIT 8) WHERE message = ?",
                        "t", neutral));
    if (told)
        return CAM_OK;
    cam_log(CAM_LOG_WARNING, "%s", neutral);
    return cam_rows_event(sqlite, "warning", "no_decision", neutral, NULL);
}

const char *const cam_decide_parts[] = {"experts",    "subkeys", "queries", "norms",
                                        "embeddings", "trunk",   NULL};

static int is_part(const char *part) {
    for (const char *const *p = cam_decide_parts; *p; p++)
        if (strcmp(*p, part) == 0)
            return 1;
    return 0;
}

/* The integer in column I; 0 if it is not an integer in [LEAST, MOST]. */
static int whole(sqlite3_stmt *s, int i, int64_t least, int64_t most, int64_t *value) {
    if (i < 0 || sqlite3_column_type(s, i) != SQLITE_INTEGER)
        return 0;
    *value = sqlite3_column_int64(s, i);
    return *value >= least && *value <= most;
}

struct asked {
    struct cam_decide_row row;
    char part[CAM_PART_BYTES];
    char reason[REASON_BYTES];
    char evidence[EVIDENCE_BYTES];
};

/* Reads the present row of S; NULL, or what is wrong with it. */
static const char *read_row(sqlite3_stmt *s, const struct cam_decide_kind *kind, struct asked *a) {
    int64_t layer = -1, amount = 0;
    int i_reason = cam_decide_column(s, "reason"), i_evidence = cam_decide_column(s, "evidence");
    int i_part = kind->has_part ? cam_decide_column(s, "part") : -1;
    if ((kind->needs_layer && !whole(s, cam_decide_column(s, "layer"), -1, 1023, &layer)) ||
        (kind->needs_amount && !whole(s, cam_decide_column(s, "amount"), 0, INT64_MAX, &amount)))
        return kind->needs_layer ? "layer and amount must be integers in range"
                                 : "amount must be an integer in range";
    snprintf(a->part, sizeof a->part, "%s",
             i_part >= 0      ? cam_sql_text(s, i_part)
             : kind->has_part ? cam_decide_parts[0]
                              : "");
    if (kind->has_part && !is_part(a->part))
        return "part must be experts, subkeys, queries, norms, embeddings or trunk";
    cam_neutral_text(i_reason >= 0 ? cam_sql_text(s, i_reason) : "", a->reason, sizeof a->reason);
    cam_neutral_text(i_evidence >= 0 ? cam_sql_text(s, i_evidence) : "", a->evidence,
                     sizeof a->evidence);
    a->row = (struct cam_decide_row){.kind = kind->kind,
                                     .layer = (int)layer,
                                     .amount = amount,
                                     .part = a->part,
                                     .reason = a->reason,
                                     .evidence = *a->evidence ? a->evidence : "{}"};
    return NULL;
}

/* The compiled query of a view: compiling costs more than asking, so it stays with the connection
 * (SQLite compiles it anew by itself when the views change). */
static int compiled(sqlite3 *sqlite, const char *sql, sqlite3_stmt **statement) {
    sqlite3_stmt *s = NULL;
    while ((s = sqlite3_next_stmt(sqlite, s)) != NULL) {
        if (strcmp(sqlite3_sql(s), sql) == 0 && !sqlite3_stmt_busy(s)) {
            *statement = s;
            return SQLITE_OK;
        }
    }
    return sqlite3_prepare_v3(sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
}

/* Rows are gathered first and acted on after the bound is lifted, so our own inserts never count.
 * WHY: why the view decides nothing, else "". */
static enum cam_status ask_view(sqlite3 *sqlite, const struct cam_decide_kind *kind,
                                struct asked *rows, cam_decide_fn *fn, void *context, char *why,
                                size_t why_bytes) {
    sqlite3_stmt *s = NULL;
    struct cam_decide_bound b;
    char sql[128];
    size_t n = 0;
    *why = '\0';
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\" LIMIT %d", kind->view, CAM_DECIDE_ROWS);
    int old = cam_decide_limit(sqlite, &b);
    int code = compiled(sqlite, sql, &s);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(s);
        const char *wrong = code == SQLITE_ROW ? read_row(s, kind, &rows[n]) : NULL;
        if (wrong)
            snprintf(why, why_bytes, "%s", wrong);
        else if (code == SQLITE_ROW)
            n++;
    }
    if (code != SQLITE_DONE)
        snprintf(why, why_bytes, "%s", cam_decide_words(sqlite, code));
    sqlite3_reset(s);
    cam_decide_lift(sqlite, old);
    if (cam_decide_is_our_trouble(code))
        return cam_database_fail(sqlite, code, kind->view);
    for (size_t i = 0; i < n && !*why; i++)
        CAM_TRY(fn(context, &rows[i].row));
    return CAM_OK;
}

/* Whether the comma-separated LIST holds WORD. */
static int lists(const char *list, const char *word) {
    size_t n = strlen(word);
    for (;; list++) {
        list += strspn(list, " ");
        if (strncmp(list, word, n) == 0 && (list[n] == '\0' || list[n] == ',' || list[n] == ' '))
            return 1;
        if (!(list = strchr(list, ',')))
            return 0;
    }
}

enum cam_status cam_decide_check_ignore(const char *list) {
    for (list += strspn(list, " ,"); *list; list += strspn(list, " ,")) {
        size_t n = strcspn(list, " ,"), i = 0;
        while (i < N_KINDS && (!cam_decide_kinds[i].view || strlen(cam_decide_kinds[i].name) != n ||
                               strncmp(cam_decide_kinds[i].name, list, n) != 0))
            i++;
        if (i == N_KINDS) {
            char names[256];
            return cam_fail(CAM_ERR_CONFIG,
                            "policy.ignore: %.*s is no decision of a policy; there are %s",
                            (int)(n < 40 ? n : 40), list, cam_decide_list(1, names, sizeof names));
        }
        list += n;
    }
    return CAM_OK;
}

static enum cam_status is_there(sqlite3 *sqlite, const char *schema, const char *view,
                                int64_t *there) {
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT 1 FROM %s WHERE type = 'view' AND name = ? COLLATE NOCASE",
             schema);
    return cam_sql_int(sqlite, 0, there, sql, "t", view);
}

enum cam_status cam_decide_ask(sqlite3 *sqlite, const char *ignore, cam_decide_fn *fn,
                               void *context) {
    enum cam_status status = CAM_OK;
    struct asked *rows = malloc(CAM_DECIDE_ROWS * sizeof *rows);
    if (!rows)
        return cam_fail(CAM_ERR_OS, "no memory for decisions");
    for (const struct cam_decide_kind *k = cam_decide_kinds; k->name && status == CAM_OK; k++) {
        int64_t there = 0;
        char why[256] = "";
        if (!k->view || lists(ignore, k->name))
            continue;
        status = is_there(sqlite, "sqlite_schema", k->view, &there);
        if (status == CAM_OK && there)
            status = ask_view(sqlite, k, rows, fn, context, why, sizeof why);
        if (status == CAM_OK && *why)
            status = no_decision(sqlite, k->view, why);
    }
    free(rows);
    return status;
}

enum cam_status cam_decide_ask_tried(sqlite3 *sqlite, cam_decide_fn *fn, void *context,
                                     const char **view, char *why, size_t why_bytes) {
    enum cam_status status = CAM_OK;
    struct asked *rows = malloc(CAM_DECIDE_ROWS * sizeof *rows);
    if (!rows)
        return cam_fail(CAM_ERR_OS, "no memory for decisions");
    *why = '\0';
    for (const struct cam_decide_kind *k = cam_decide_kinds; k->name && status == CAM_OK && !*why;
         k++) {
        int64_t there = 0;
        if (!k->view)
            continue;
        status = is_there(sqlite, "temp.sqlite_schema", k->view, &there);
        if (status == CAM_OK && there) /* and does not stand in for one it lacks */
            status = cam_sql_int(sqlite, 0, &there,
                                 "SELECT sql NOT LIKE '%\"a view this policy lacks\"' FROM"
                                 " temp.sqlite_schema WHERE name = ? COLLATE NOCASE",
                                 "t", k->view);
        *view = k->view;
        if (status == CAM_OK && there)
            status = ask_view(sqlite, k, rows, fn, context, why, why_bytes);
    }
    free(rows);
    return status;
}

void cam_decide_forget(sqlite3 *sqlite) {
    for (sqlite3_stmt *s; (s = sqlite3_next_stmt(sqlite, NULL)) != NULL;)
        sqlite3_finalize(s);
}

enum cam_status cam_decide_number(sqlite3 *sqlite, const char *key, double fallback,
                                  double *value) {
    sqlite3_stmt *s = NULL;
    struct cam_decide_bound b;
    int64_t there = 0;
    *value = fallback;
    CAM_TRY(cam_sql_int(sqlite, 0, &there,
                        "SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name ="
                        " 'policy_settings'",
                        ""));
    if (!there)
        return CAM_OK;
    CAM_TRY(cam_sql_query(sqlite, &s, "SELECT value FROM policy_settings WHERE key = ?", "t", key));
    int old = cam_decide_limit(sqlite, &b);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW &&
        (sqlite3_column_type(s, 0) == SQLITE_INTEGER || sqlite3_column_type(s, 0) == SQLITE_FLOAT))
        *value = sqlite3_column_double(s, 0);
    enum cam_status status = cam_decide_is_our_trouble(code)
                                 ? cam_database_fail(sqlite, code, "policy_settings")
                                 : CAM_OK;
    sqlite3_finalize(s);
    cam_decide_lift(sqlite, old);
    return status;
}
