/* decide.c - policy views: checked by SQLite's own authorizer, bounded by its progress handler.
 *
 * The authorizer sees every column read together with the innermost view that reads it.  So a read
 * of a base table is fine inside one of our v1_ views, and a policy view may only read v1_ views
 * listed here.  A policy could smuggle reads past this by naming a common table expression
 * v1_something; the scanner refuses such names. */
#include "store/decide.h"

#include "base/log.h"
#include "store/database.h"
#include "store/policies.h"
#include "store/rows.h"
#include "store/sql.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PROGRESS_EVERY 1000
#define LENGTH_LIMIT   1000000 /* longest string a policy may build */
#define REASON_BYTES   512
#define EVIDENCE_BYTES 4096

/* In the order in which they are asked: measure first, then protect, then grow, then keep. */
static const struct {
    enum cam_decision_kind kind;
    const char *name, *view;
    int needs_amount;
} kinds[] = {
    {CAM_DECIDE_EVALUATE, "evaluate", "decide_evaluate", 0},
    {CAM_DECIDE_QUARANTINE, "quarantine", "decide_quarantine", 1},
    {CAM_DECIDE_FREEZE, "freeze", "decide_freeze", 1},
    {CAM_DECIDE_ANCHOR, "anchor", "decide_anchor", 1},
    {CAM_DECIDE_GROW, "grow", "decide_grow", 1},
    {CAM_DECIDE_SNAPSHOT, "snapshot", "decide_snapshot", 0},
    {CAM_DECIDE_PRUNE, "prune", NULL, 0},
    {CAM_DECIDE_VERIFY, "verify", NULL, 0},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

/* Functions of what was trained; the other v1_ views also depend on when documents arrive. */
static const char *const readable[] = {
    "v1_trained",    "v1_steps",   "v1_generations", "v1_expert_usage",
    "v1_provenance", "v1_experts", "v1_blocks",      "v1_evaluations",
    "v1_forgetting", "v1_matrix",  "v1_summary",     "v1_decisions",
};
static const char *const functions[] = {
    /* scalar */
    "abs",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "exp",
    "floor",
    "format",
    "glob",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "nullif",
    "pow",
    "power",
    "printf",
    "quote",
    "replace",
    "round",
    "rtrim",
    "sign",
    "sqrt",
    "substr",
    "substring",
    "trim",
    "trunc",
    "typeof",
    "unicode",
    "unlikely",
    "upper",
    /* aggregate and window */
    "avg",
    "count",
    "cume_dist",
    "dense_rank",
    "first_value",
    "group_concat",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
    "sum",
    "total",
    /* JSON */
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "->",
    "->>",
};

const char *cam_decide_kind_name(enum cam_decision_kind kind) {
    for (size_t i = 0; i < N_KINDS; i++)
        if (kinds[i].kind == kind)
            return kinds[i].name;
    return "unknown";
}

static int in_list(const char *const *list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(list[i], name) == 0)
            return 1;
    return 0;
}

static int begins(const char *name, const char *prefix) {
    return strncasecmp(name, prefix, strlen(prefix)) == 0;
}

static int ends(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcasecmp(name + n - m, suffix) == 0;
}

static int is_ours(const char *view) {
    return view && (begins(view, "v1_") || begins(view, "living_"));
}

static int is_policy_view(const char *name) {
    return begins(name, "decide_") || begins(name, "policy_");
}

static int is_clock(const char *column) {
    return ends(column, "_at") || ends(column, "_seconds") || ends(column, "_per_s");
}

/* ---- the authorizer
 * ------------------------------------------------------------------------------------ */

#define MAX_TABLES 64 /* common table expressions of a policy */

struct guard {
    int creating;                   /* CREATE VIEW itself writes to the schema table */
    char (*tables)[CAM_NAME_BYTES]; /* names the policy gives to its common table expressions */
    size_t n_tables;
    char why[256];
};

static int deny(struct guard *g, const char *format, const char *a, const char *b) {
    if (!*g->why)
        snprintf(g->why, sizeof g->why, format, a ? a : "", b ? b : "");
    return SQLITE_DENY;
}

static int may_read(struct guard *g, const char *table, const char *column, const char *view) {
    if (is_ours(view))
        return SQLITE_OK;
    if (g->creating && begins(table, "sqlite_"))
        return SQLITE_OK;
    if (is_policy_view(table) || strcasecmp(table, "json_each") == 0 ||
        strcasecmp(table, "json_tree") == 0)
        return SQLITE_OK;
    for (size_t i = 0; i < g->n_tables; i++)
        if (strcasecmp(table, g->tables[i]) == 0)
            return SQLITE_OK;
    if (begins(table, "v1_") && !in_list(readable, sizeof readable / sizeof *readable, table))
        return deny(g,
                    "%s depends on when documents arrive; a policy may read v1_trained and the "
                    "other views of the trained history%s",
                    table, "");
    if (!begins(table, "v1_"))
        return deny(g, "%s is not one of the v1_ views a policy may read%s", table, "");
    if (is_clock(column))
        return deny(g, "%s.%s is a clock column: replay would decide differently", table, column);
    return SQLITE_OK;
}

static int authorize(void *context, int action, const char *a, const char *b, const char *database,
                     const char *view) {
    struct guard *g = context;
    (void)database;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return may_read(g, a, b, view);
    case SQLITE_FUNCTION:
        if (is_ours(view) || in_list(functions, sizeof functions / sizeof *functions, b))
            return SQLITE_OK;
        return deny(g, "%s() is not a pure function a policy may call%s", b, "");
    case SQLITE_CREATE_VIEW:
        if (g->creating && is_policy_view(a))
            return SQLITE_OK;
        return deny(g, "a policy's views are called decide_* or policy_*, not %s%s", a, "");
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
        if (g->creating && begins(a, "sqlite_"))
            return SQLITE_OK;
        /* fall through */
    default:
        return deny(g, "a policy contains CREATE VIEW statements only%s%s", "", "");
    }
}

/* ---- the instruction bound
 * ------------------------------------------------------------------------------- */

struct bound {
    int64_t left;
};

static int count_down(void *context) {
    struct bound *b = context;
    b->left -= PROGRESS_EVERY;
    return b->left < 0;
}

static int limit_work(sqlite3 *sqlite, struct bound *b) {
    b->left = CAM_DECIDE_INSTRUCTIONS;
    sqlite3_progress_handler(sqlite, PROGRESS_EVERY, count_down, b);
    return sqlite3_limit(sqlite, SQLITE_LIMIT_LENGTH, LENGTH_LIMIT);
}

static void lift_limits(sqlite3 *sqlite, int old_length) {
    sqlite3_progress_handler(sqlite, 0, NULL, NULL);
    sqlite3_limit(sqlite, SQLITE_LIMIT_LENGTH, old_length);
}

static const char *words_for(sqlite3 *sqlite, int code) {
    return (code & 0xFF) == SQLITE_INTERRUPT ? "takes more than 20 million instructions"
                                             : sqlite3_errmsg(sqlite);
}

/* ---- the scanner
 * ------------------------------------------------------------------------------------------- */

/* Next token of SQL at *S: its first character and length; comments and blanks are stepped over. */
static size_t token(const char **s) {
    const char *c = *s;
    for (;;) {
        while (isspace((unsigned char)*c))
            c++;
        if (c[0] == '-' && c[1] == '-') {
            c += strcspn(c, "\n");
        } else if (c[0] == '/' && c[1] == '*') {
            const char *end = strstr(c + 2, "*/");
            c = end ? end + 2 : c + strlen(c);
        } else {
            break;
        }
    }
    *s = c;
    if (!*c)
        return 0;
    if (*c == '\'' || *c == '"' || *c == '`' || *c == '[') {
        char quote = *c == '[' ? ']' : *c;
        const char *end = c + 1;
        while (*end && (*end != quote || (quote != ']' && end[1] == quote)))
            end += *end == quote ? 2 : 1;
        return (size_t)(end - c) + (*end != '\0');
    }
    size_t n = 0;
    while (isalnum((unsigned char)c[n]) || c[n] == '_' || (unsigned char)c[n] >= 0x80)
        n++;
    return n ? n : 1;
}

static int is_word(const char *s, size_t n, const char *word) {
    return n == strlen(word) && strncasecmp(s, word, n) == 0;
}

/* Steps over "( ... )" if it begins at *S. */
static void skip_group(const char **s) {
    const char *at = *s;
    size_t n = token(&at);
    int depth = 0;
    if (n != 1 || *at != '(')
        return;
    do {
        if (n == 1 && *at == '(')
            depth++;
        if (n == 1 && *at == ')')
            depth--;
        at += n;
        n = token(&at);
    } while (n && depth > 0);
    *s = at;
}

/* Is the token S of N bytes the name in "name (columns) AS [NOT] [MATERIALIZED] (": a common table
 * expression? */
static int names_table(const char *s, size_t n) {
    if (!isalpha((unsigned char)*s) && *s != '_' && !strchr("\"`['", *s))
        return 0;
    s += n;
    skip_group(&s);
    n = token(&s);
    if (!is_word(s, n, "AS"))
        return 0;
    s += n;
    n = token(&s);
    if (is_word(s, n, "NOT")) {
        s += n;
        n = token(&s);
    }
    if (is_word(s, n, "MATERIALIZED")) {
        s += n;
        n = token(&s);
    }
    return n == 1 && *s == '(';
}

/* "CREATE VIEW name": the name is copied out. */
static enum cam_status read_head(const char *policy, const char *sql, size_t i_statement,
                                 char name[CAM_NAME_BYTES]) {
    size_t n = token(&sql);
    int good = is_word(sql, n, "CREATE");
    sql += n;
    n = token(&sql);
    good = good && is_word(sql, n, "VIEW");
    sql += n;
    n = token(&sql);
    if (good && n < CAM_NAME_BYTES)
        snprintf(name, CAM_NAME_BYTES, "%.*s", (int)n, sql);
    if (!good || n >= CAM_NAME_BYTES || !is_policy_view(name))
        return cam_fail(CAM_ERR_CONFIG,
                        "policy %s: statement %zu: only CREATE VIEW decide_... or policy_... is "
                        "accepted",
                        policy, i_statement);
    return CAM_OK;
}

/* A name that stands for something else already could smuggle reads past the authorizer. */
static enum cam_status check_table_name(sqlite3 *sqlite, const char *policy, const char *name) {
    int64_t taken = 0;
    CAM_TRY(cam_sql_int(sqlite, 0, &taken,
                        "SELECT 1 FROM (SELECT name FROM sqlite_schema UNION ALL SELECT name FROM"
                        " pragma_module_list) WHERE name = ? COLLATE NOCASE",
                        "t", name));
    if (taken || begins(name, "v1_") || begins(name, "living_") || begins(name, "sqlite_") ||
        begins(name, "pragma_") || is_policy_view(name))
        return cam_fail(CAM_ERR_CONFIG,
                        "policy %s: %s: a common table expression cannot take that name", policy,
                        name);
    return CAM_OK;
}

/* Length, and the names of common table expressions into G. */
static enum cam_status scan(sqlite3 *sqlite, const char *policy, const char *text,
                            struct guard *g) {
    if (strlen(text) > CAM_POLICY_BYTES)
        return cam_fail(CAM_ERR_CONFIG, "policy %s: longer than %d bytes", policy,
                        CAM_POLICY_BYTES);
    size_t n;
    for (const char *s = text; (n = token(&s)) > 0; s += n) {
        if (!names_table(s, n))
            continue;
        size_t quoted = !isalpha((unsigned char)*s) && *s != '_';
        if (g->n_tables == MAX_TABLES || n - 2 * quoted >= CAM_NAME_BYTES)
            return cam_fail(CAM_ERR_CONFIG,
                            "policy %s: at most %d common table expressions with names of %d bytes",
                            policy, MAX_TABLES, CAM_NAME_BYTES - 1);
        char *name = g->tables[g->n_tables++];
        snprintf(name, CAM_NAME_BYTES, "%.*s", (int)(n - 2 * quoted), s + quoted);
        CAM_TRY(check_table_name(sqlite, policy, name));
    }
    return CAM_OK;
}

/* ---- installing
 * --------------------------------------------------------------------------------------------- */

static enum cam_status drop_policy_views(sqlite3 *sqlite) {
    for (;;) {
        sqlite3_stmt *s = NULL;
        char sql[256] = "";
        int row = 0;
        CAM_TRY(cam_sql_prepare(sqlite,
                                "SELECT format('DROP VIEW \"%w\"', name) FROM sqlite_schema WHERE"
                                " type = 'view' AND (name GLOB 'decide_*' OR name GLOB 'policy_*')"
                                " LIMIT 1",
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

/* Creates the views one by one under the authorizer. */
static enum cam_status create_views(sqlite3 *sqlite, const char *policy, const char *text) {
    struct guard g = {.creating = 1};
    enum cam_status status = CAM_OK;
    sqlite3_set_authorizer(sqlite, authorize, &g);
    size_t i_statement = 0;
    for (const char *at = text; status == CAM_OK && token(&at) > 0;) {
        char name[CAM_NAME_BYTES] = "?";
        sqlite3_stmt *s = NULL;
        const char *rest = at;
        if (*at == ';') {
            at++;
            continue;
        }
        status = read_head(policy, at, ++i_statement, name);
        if (status != CAM_OK)
            break;
        int code = sqlite3_prepare_v2(sqlite, at, -1, &s, &rest);
        if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_DONE)
            code = SQLITE_OK;
        if (code != SQLITE_OK)
            status = cam_fail(CAM_ERR_CONFIG, "policy %s: statement %zu (%s): %s", policy,
                              i_statement, name, *g.why ? g.why : sqlite3_errmsg(sqlite));
        sqlite3_finalize(s);
        at = rest;
    }
    sqlite3_set_authorizer(sqlite, NULL, NULL);
    return status;
}

enum cam_status cam_decide_install(sqlite3 *sqlite, const char *text) {
    CAM_TRY(drop_policy_views(sqlite));
    return create_views(sqlite, "in force", text);
}

/* The optimizer folds a view into its reader, and a table of which no column is needed is then
 * reported as if the reader had named it.  So what is read is asked of a plan that folds nothing
 * (bit 0 of SQLITE_TESTCTRL_OPTIMIZATIONS is the query flattener). */
static int check_reads(sqlite3 *sqlite, const char *sql, struct guard *g) {
    sqlite3_stmt *s = NULL;
    sqlite3_test_control(SQLITE_TESTCTRL_OPTIMIZATIONS, sqlite, 1);
    sqlite3_set_authorizer(sqlite, authorize, g);
    int code = sqlite3_prepare_v2(sqlite, sql, -1, &s, NULL);
    sqlite3_set_authorizer(sqlite, NULL, NULL);
    sqlite3_test_control(SQLITE_TESTCTRL_OPTIMIZATIONS, sqlite, 0);
    sqlite3_finalize(s);
    return code;
}

/* Reads view NAME once under authorizer and bound: what it may do, whether it ends. */
static enum cam_status try_view(sqlite3 *sqlite, const char *policy, const char *name,
                                struct guard *g) {
    struct bound b;
    char sql[128];
    sqlite3_stmt *s = NULL;
    enum cam_status status = CAM_OK;
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", name);
    int code = check_reads(sqlite, sql, g);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(sqlite, sql, -1, &s, NULL);
    if (code != SQLITE_OK) {
        status = cam_fail(CAM_ERR_CONFIG, "policy %s: %s: %s", policy, name,
                          *g->why ? g->why : sqlite3_errmsg(sqlite));
    } else {
        int old = limit_work(sqlite, &b);
        while ((code = sqlite3_step(s)) == SQLITE_ROW)
            ;
        if (code != SQLITE_DONE)
            status = cam_fail(CAM_ERR_CONFIG, "policy %s: %s: %s", policy, name,
                              words_for(sqlite, code));
        lift_limits(sqlite, old);
    }
    sqlite3_finalize(s);
    return status;
}

static int column_of(sqlite3_stmt *s, const char *name) {
    for (int i = 0; i < sqlite3_column_count(s); i++)
        if (strcasecmp(sqlite3_column_name(s, i), name) == 0)
            return i;
    return -1;
}

static enum cam_status need_columns(sqlite3 *sqlite, const char *policy, const char *name) {
    static const char *const needed[] = {"reason", "evidence", "layer", "amount"};
    sqlite3_stmt *s = NULL;
    char sql[128];
    enum cam_status status = CAM_OK;
    size_t n = 0;
    for (size_t i = 0; i < N_KINDS; i++)
        if (kinds[i].view && strcasecmp(kinds[i].view, name) == 0)
            n = kinds[i].needs_amount ? 4 : 2;
    if (begins(name, "decide_") && n == 0)
        return cam_fail(CAM_ERR_CONFIG,
                        "policy %s: %s: nothing reads this; there are decide_evaluate, "
                        "decide_quarantine, decide_freeze, decide_anchor, decide_grow and "
                        "decide_snapshot",
                        policy, name);
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", name);
    CAM_TRY(cam_sql_prepare(sqlite, sql, &s));
    for (size_t i = 0; i < n && status == CAM_OK; i++)
        if (column_of(s, needed[i]) < 0)
            status = cam_fail(CAM_ERR_CONFIG, "policy %s: %s: needs a column called %s", policy,
                              name, needed[i]);
    if (strcasecmp(name, "policy_settings") == 0 &&
        (column_of(s, "key") < 0 || column_of(s, "value") < 0))
        status = cam_fail(CAM_ERR_CONFIG, "policy %s: policy_settings: needs columns key and value",
                          policy);
    sqlite3_finalize(s);
    return status;
}

static enum cam_status check_views(sqlite3 *sqlite, const char *policy, struct guard *g) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    char names[64][CAM_NAME_BYTES];
    size_t n_names = 0;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT name FROM sqlite_schema WHERE type = 'view' AND (name GLOB"
                            " 'decide_*' OR name GLOB 'policy_*') ORDER BY name LIMIT 64",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        snprintf(names[n_names++], CAM_NAME_BYTES, "%s", cam_sql_text(s, 0));
        status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    for (size_t i = 0; i < n_names && status == CAM_OK; i++) {
        status = try_view(sqlite, policy, names[i], g);
        if (status == CAM_OK)
            status = need_columns(sqlite, policy, names[i]);
    }
    if (status == CAM_OK && n_names == 0)
        status = cam_fail(CAM_ERR_CONFIG, "policy %s: holds no CREATE VIEW", policy);
    return status;
}

enum cam_status cam_decide_check(sqlite3 *sqlite, const char *name, const char *text) {
    char tables[MAX_TABLES][CAM_NAME_BYTES];
    struct guard g = {.tables = tables};
    CAM_TRY(cam_sql_script(sqlite, "SAVEPOINT policy_check"));
    enum cam_status status = drop_policy_views(sqlite);
    if (status == CAM_OK)
        status = scan(sqlite, name, text, &g);
    if (status == CAM_OK)
        status = create_views(sqlite, name, text);
    if (status == CAM_OK)
        status = check_views(sqlite, name, &g);
    sqlite3_exec(sqlite, "ROLLBACK TO policy_check; RELEASE policy_check", NULL, NULL, NULL);
    return status;
}

enum cam_status cam_decide_install_current(sqlite3 *sqlite) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    char *text = NULL;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT p.text FROM living_setting_values AS v JOIN policies AS p ON"
                            " p.hash = v.value WHERE v.key = 'policy_hash' ORDER BY v.moment DESC"
                            " LIMIT 1",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row)
        text = cam_sql_copy(s, 0);
    sqlite3_finalize(s);
    CAM_TRY(status);
    if (!row)
        return drop_policy_views(sqlite);
    if (!text)
        return cam_fail(CAM_ERR_OS, "no memory for the policy");
    status = cam_decide_install(sqlite, text);
    free(text);
    return status;
}

enum cam_status cam_decide_use(sqlite3 *sqlite, const struct cam_history_state *state,
                               const char *name, const char *hash, int64_t position) {
    static const char insert[] = "INSERT OR REPLACE INTO setting_values VALUES (?, ?, ?, ?, ?)";
    CAM_TRY(cam_sql_run(sqlite, insert, "iitti", state->lineage, state->moment, "policy", name,
                        position));
    CAM_TRY(cam_sql_run(sqlite, insert, "iitti", state->lineage, state->moment, "policy_hash", hash,
                        position));
    return cam_decide_install_current(sqlite);
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

/* The integer in column I; 0 if it is not an integer in [LEAST, MOST]. */
static int whole(sqlite3_stmt *s, int i, int64_t least, int64_t most, int64_t *value) {
    if (i < 0 || sqlite3_column_type(s, i) != SQLITE_INTEGER)
        return 0;
    *value = sqlite3_column_int64(s, i);
    return *value >= least && *value <= most;
}

struct asked {
    struct cam_decide_row row;
    char reason[REASON_BYTES];
    char evidence[EVIDENCE_BYTES];
};

static int read_row(sqlite3_stmt *s, size_t i_kind, struct asked *a) {
    int64_t layer = -1, amount = 0;
    int i_reason = column_of(s, "reason"), i_evidence = column_of(s, "evidence");
    if (kinds[i_kind].needs_amount && (!whole(s, column_of(s, "layer"), -1, 1023, &layer) ||
                                       !whole(s, column_of(s, "amount"), 0, INT64_MAX, &amount)))
        return 0;
    cam_neutral_text(i_reason >= 0 ? cam_sql_text(s, i_reason) : "", a->reason, sizeof a->reason);
    cam_neutral_text(i_evidence >= 0 ? cam_sql_text(s, i_evidence) : "", a->evidence,
                     sizeof a->evidence);
    a->row = (struct cam_decide_row){.kind = kinds[i_kind].kind,
                                     .layer = (int)layer,
                                     .amount = amount,
                                     .reason = a->reason,
                                     .evidence = *a->evidence ? a->evidence : "{}"};
    return 1;
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
 */
static enum cam_status ask_view(sqlite3 *sqlite, size_t i_kind, struct asked *rows,
                                cam_decide_fn *fn, void *context) {
    sqlite3_stmt *s = NULL;
    struct bound b;
    char sql[128];
    char why[256] = "";
    size_t n = 0;
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\" LIMIT %d", kinds[i_kind].view, CAM_DECIDE_ROWS);
    int old = limit_work(sqlite, &b);
    int code = compiled(sqlite, sql, &s);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(s);
        if (code == SQLITE_ROW && !read_row(s, i_kind, &rows[n]))
            snprintf(why, sizeof why, "layer and amount must be integers in range");
        else if (code == SQLITE_ROW)
            n++;
    }
    if (code != SQLITE_DONE)
        snprintf(why, sizeof why, "%s", words_for(sqlite, code));
    sqlite3_reset(s);
    lift_limits(sqlite, old);
    /* A full disk or a lost file is ours to report, not the policy's fault. */
    if ((code & 0xFF) == SQLITE_IOERR || (code & 0xFF) == SQLITE_FULL ||
        (code & 0xFF) == SQLITE_CORRUPT)
        return cam_database_fail(sqlite, code, kinds[i_kind].view);
    if (*why)
        return no_decision(sqlite, kinds[i_kind].view, why);
    for (size_t i = 0; i < n; i++)
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
        while (i < N_KINDS && (!kinds[i].view || strlen(kinds[i].name) != n ||
                               strncmp(kinds[i].name, list, n) != 0))
            i++;
        if (i == N_KINDS)
            return cam_fail(CAM_ERR_CONFIG,
                            "policy.ignore: %.*s is no decision of a policy; there are evaluate, "
                            "quarantine, freeze, anchor, grow and snapshot",
                            (int)(n < 40 ? n : 40), list);
        list += n;
    }
    return CAM_OK;
}

enum cam_status cam_decide_ask(sqlite3 *sqlite, const char *ignore, cam_decide_fn *fn,
                               void *context) {
    enum cam_status status = CAM_OK;
    struct asked *rows = malloc(CAM_DECIDE_ROWS * sizeof *rows);
    if (!rows)
        return cam_fail(CAM_ERR_OS, "no memory for decisions");
    for (size_t i = 0; i < N_KINDS && status == CAM_OK; i++) {
        int64_t there = 0;
        if (!kinds[i].view || lists(ignore, kinds[i].name))
            continue;
        status = cam_sql_int(sqlite, 0, &there,
                             "SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ?", "t",
                             kinds[i].view);
        if (status == CAM_OK && there)
            status = ask_view(sqlite, i, rows, fn, context);
    }
    free(rows);
    return status;
}

enum cam_status cam_decide_number(sqlite3 *sqlite, const char *key, double fallback,
                                  double *value) {
    sqlite3_stmt *s = NULL;
    struct bound b;
    int64_t there = 0;
    *value = fallback;
    CAM_TRY(cam_sql_int(sqlite, 0, &there,
                        "SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name ="
                        " 'policy_settings'",
                        ""));
    if (!there)
        return CAM_OK;
    CAM_TRY(cam_sql_query(sqlite, &s, "SELECT value FROM policy_settings WHERE key = ?", "t", key));
    int old = limit_work(sqlite, &b);
    if (sqlite3_step(s) == SQLITE_ROW &&
        (sqlite3_column_type(s, 0) == SQLITE_INTEGER || sqlite3_column_type(s, 0) == SQLITE_FLOAT))
        *value = sqlite3_column_double(s, 0);
    sqlite3_finalize(s);
    lift_limits(sqlite, old);
    return CAM_OK;
}
