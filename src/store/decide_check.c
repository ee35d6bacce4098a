/* decide_check.c - what a policy may contain: SQLite's own authorizer, a scanner, a trial.
 *
 * The authorizer sees every column read together with the innermost view that reads it.  So a read
 * of a base table is fine inside one of our v1_ views, and a policy view may only read v1_ views
 * listed here.  A policy could smuggle reads past this by naming a common table expression
 * v1_something; the scanner refuses such names. */
#include "store/decide_internal.h"

#include "base/settings.h"
#include "store/database.h"
#include "store/policies.h"
#include "store/sql.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Functions of what was trained; the other v1_ views also depend on when documents arrive. */
static const char *const readable[] = {
    "v1_trained",        "v1_steps",     "v1_generations", "v1_expert_usage", "v1_provenance",
    "v1_experts",        "v1_blocks",    "v1_evaluations", "v1_forgetting",   "v1_matrix",
    "v1_summary",        "v1_decisions", "v1_freezes",     "v1_recycled",     "v1_openings",
    "v1_opening_scores", "v1_routing",   "v1_leak",
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

int cam_decide_is_policy_view(const char *name) {
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
    if (cam_decide_is_policy_view(table) || strcasecmp(table, "json_each") == 0 ||
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
    case SQLITE_CREATE_TEMP_VIEW:
        if (g->creating && cam_decide_is_policy_view(a))
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
    if (!good || n >= CAM_NAME_BYTES || !cam_decide_is_policy_view(name))
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
        begins(name, "pragma_") || cam_decide_is_policy_view(name))
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

static enum cam_status bad_policy(sqlite3 *sqlite, int code, const char *policy, const char *what,
                                  const char *why) {
    return cam_decide_is_our_trouble(code)
               ? cam_database_fail(sqlite, code, what)
               : cam_fail(CAM_ERR_CONFIG, "policy %s: %s: %s", policy, what, why);
}

/* Compiles the statement at SQL; TEMPORARY: "CREATE VIEW x" as "CREATE TEMP VIEW x". */
static int compile(sqlite3 *sqlite, const char *sql, int temporary, sqlite3_stmt **s,
                   const char **rest) {
    static const char create[] = "CREATE TEMP";
    if (!temporary)
        return sqlite3_prepare_v2(sqlite, sql, -1, s, rest);
    const char *view = sql;
    view += token(&view); /* CREATE; read_head has seen both */
    token(&view);
    size_t n = strlen(view) + sizeof create + 1;
    char *copy = malloc(n);
    const char *end = NULL;
    if (!copy)
        return SQLITE_NOMEM;
    snprintf(copy, n, "%s %s", create, view);
    int code = sqlite3_prepare_v2(sqlite, copy, -1, s, &end);
    if (end)
        *rest = view + (end - copy) - sizeof create;
    free(copy);
    return code;
}

/* Creates the views one by one under the authorizer. */
static enum cam_status create_views(sqlite3 *sqlite, const char *policy, const char *text,
                                    int temporary) {
    struct guard g = {.creating = 1};
    enum cam_status status = CAM_OK;
    sqlite3_set_authorizer(sqlite, authorize, &g);
    size_t i_statement = 0;
    for (const char *at = text; status == CAM_OK && token(&at) > 0;) {
        char name[CAM_NAME_BYTES] = "?", what[CAM_NAME_BYTES + 48];
        sqlite3_stmt *s = NULL;
        const char *rest = at;
        if (*at == ';') {
            at++;
            continue;
        }
        status = read_head(policy, at, ++i_statement, name);
        if (status != CAM_OK)
            break;
        int code = compile(sqlite, at, temporary, &s, &rest);
        if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_DONE)
            code = SQLITE_OK;
        snprintf(what, sizeof what, "statement %zu (%s)", i_statement, name);
        if (code != SQLITE_OK)
            status =
                bad_policy(sqlite, code, policy, what, *g.why ? g.why : sqlite3_errmsg(sqlite));
        sqlite3_finalize(s);
        at = rest;
    }
    sqlite3_set_authorizer(sqlite, NULL, NULL);
    return status;
}

enum cam_status cam_decide_install(sqlite3 *sqlite, const char *text) {
    CAM_TRY(drop_policy_views(sqlite));
    return create_views(sqlite, "in force", text, 0);
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
    struct cam_decide_bound b;
    char sql[128];
    sqlite3_stmt *s = NULL;
    enum cam_status status = CAM_OK;
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", name);
    int code = check_reads(sqlite, sql, g);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(sqlite, sql, -1, &s, NULL);
    if (code != SQLITE_OK) {
        status = bad_policy(sqlite, code, policy, name, *g->why ? g->why : sqlite3_errmsg(sqlite));
    } else {
        int old = cam_decide_limit(sqlite, &b);
        while ((code = sqlite3_step(s)) == SQLITE_ROW)
            ;
        if (code != SQLITE_DONE)
            status = bad_policy(sqlite, code, policy, name, cam_decide_words(sqlite, code));
        cam_decide_lift(sqlite, old);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status need_columns(sqlite3 *sqlite, const char *policy, const char *name) {
    const char *needed[4];
    sqlite3_stmt *s = NULL;
    char sql[128];
    enum cam_status status = CAM_OK;
    size_t n = 0;
    for (const struct cam_decide_kind *k = cam_decide_kinds; k->name; k++)
        if (k->view && strcasecmp(k->view, name) == 0) {
            needed[n++] = "reason";
            needed[n++] = "evidence";
            if (k->needs_layer)
                needed[n++] = "layer";
            if (k->needs_amount)
                needed[n++] = "amount";
        }
    if (begins(name, "decide_") && n == 0) {
        char list[512];
        return cam_fail(CAM_ERR_CONFIG, "policy %s: %s: nothing reads this; there are %s", policy,
                        name, cam_decide_list(0, list, sizeof list));
    }
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", name);
    CAM_TRY(cam_sql_prepare(sqlite, sql, &s));
    for (size_t i = 0; i < n && status == CAM_OK; i++)
        if (cam_decide_column(s, needed[i]) < 0)
            status = cam_fail(CAM_ERR_CONFIG, "policy %s: %s: needs a column called %s", policy,
                              name, needed[i]);
    if (strcasecmp(name, "policy_settings") == 0 &&
        (cam_decide_column(s, "key") < 0 || cam_decide_column(s, "value") < 0))
        status = cam_fail(CAM_ERR_CONFIG, "policy %s: policy_settings: needs columns key and value",
                          policy);
    sqlite3_finalize(s);
    return status;
}

/* ---- levers
 * -------------------------------------------------------------------------------------------------
 */

/* The most that KEY may be; < 0: it is no lever.  A setting whose -1 means "what the policy says"
 * is one, and the weights of single sources are. */
static double lever_most(const char *key) {
    static const struct {
        const char *prefix;
        double most;
    } of_source[] = {{"replay.weight.", 1e6}, {"replay.half_life.", 1e12}};
    for (size_t i = 0; i < sizeof of_source / sizeof *of_source; i++)
        if (strncmp(key, of_source[i].prefix, strlen(of_source[i].prefix)) == 0)
            return of_source[i].most;
    for (size_t i = 0; i < cam_setting_count(); i++) {
        const struct cam_setting *s = cam_setting_at(i);
        if (strcmp(s->key, key) == 0)
            return s->type == CAM_SETTING_REAL && s->min == -1 ? s->max : -1;
    }
    return -1;
}

/* Refused here, the old policy stays in force; found by the trainer later, the run would end. */
static enum cam_status check_levers(sqlite3 *sqlite, const char *policy) {
    sqlite3_stmt *s = NULL;
    struct cam_decide_bound bound;
    enum cam_status status = CAM_OK;
    CAM_TRY(cam_sql_prepare(sqlite, "SELECT key, value FROM policy_settings", &s));
    int old = cam_decide_limit(sqlite, &bound);
    int code = sqlite3_step(s);
    for (; status == CAM_OK && code == SQLITE_ROW; code = sqlite3_step(s)) {
        const char *key = cam_sql_text(s, 0);
        double most = lever_most(key), value = sqlite3_column_double(s, 1);
        int type = sqlite3_column_type(s, 1);
        if (most >= 0 &&
            ((type != SQLITE_INTEGER && type != SQLITE_FLOAT) || !(value >= 0 && value <= most)))
            status = cam_fail(CAM_ERR_CONFIG,
                              "policy %s: policy_settings: %.80s is %.40s: must be "
                              "a number from 0 to %g",
                              policy, key, cam_sql_text(s, 1), most);
    }
    if (status == CAM_OK && code != SQLITE_DONE)
        status =
            bad_policy(sqlite, code, policy, "policy_settings", cam_decide_words(sqlite, code));
    sqlite3_finalize(s);
    cam_decide_lift(sqlite, old);
    return status;
}

static enum cam_status check_views(sqlite3 *sqlite, const char *policy, const char *schema,
                                   enum cam_status (*hide)(sqlite3 *sqlite), struct guard *g) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    char names[64][CAM_NAME_BYTES], sql[192];
    size_t n_names = 0;
    snprintf(sql, sizeof sql,
             "SELECT name FROM %s WHERE type = 'view' AND (name GLOB 'decide_*' OR name GLOB"
             " 'policy_*') ORDER BY name LIMIT 64",
             schema);
    CAM_TRY(cam_sql_prepare(sqlite, sql, &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        snprintf(names[n_names++], CAM_NAME_BYTES, "%s", cam_sql_text(s, 0));
        status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    if (status == CAM_OK && hide)
        status = hide(sqlite);
    for (size_t i = 0; i < n_names && status == CAM_OK; i++) {
        status = try_view(sqlite, policy, names[i], g);
        if (status == CAM_OK)
            status = need_columns(sqlite, policy, names[i]);
        if (status == CAM_OK && strcasecmp(names[i], "policy_settings") == 0)
            status = check_levers(sqlite, policy);
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
        status = create_views(sqlite, name, text, 0);
    if (status == CAM_OK)
        status = check_views(sqlite, name, "sqlite_schema", NULL, &g);
    sqlite3_exec(sqlite, "ROLLBACK TO policy_check; RELEASE policy_check", NULL, NULL, NULL);
    return status;
}

enum cam_status cam_decide_check_temporary(sqlite3 *sqlite, const char *name, const char *text,
                                           enum cam_status (*hide)(sqlite3 *sqlite)) {
    char tables[MAX_TABLES][CAM_NAME_BYTES];
    struct guard g = {.tables = tables};
    CAM_TRY(scan(sqlite, name, text, &g));
    CAM_TRY(create_views(sqlite, name, text, 1));
    return check_views(sqlite, name, "temp.sqlite_schema", hide, &g);
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
