/* A hundred growth events and more than a million history rows later, asking the bundled policies
 * costs what it cost early on: bounded in SQLite's instructions and in its memory. */
#include "store_fixture.h"

#include "base/clock.h"
#include "base/embed.h"
#include "store/decide.h"

/* What a view may take, ever: some 3 ms on a slow core. */
#define MOST_INSTRUCTIONS 100000
/* What SQLite may hold for the writing connection: its cache of pages has a bound, and so have
 * statements. */
#define MOST_BYTES (24 << 20)
/* What it may take more after a million rows than after the first of them: a share, and what
 * reading a hundred generations takes. */
#define MOST_CREEP     1.5
#define MOST_CREEP_TOO 12000

static struct fixture f;

static void teardown(void) {
    fixture_release(&f);
}

TestSuite(long_life, .fini = teardown, .timeout = 1200);

/* Steps (?1, ?2] of a life: five documents in two steps would be dull, so one in two; an evaluation
 * of eight probes every 50 documents; usage of two pools every 100 steps; a growth of both every
 * 3,000 steps. */
static const char *const life[] = {
    "INSERT INTO journal SELECT value, 'document', NULL, '', '', '{}', '2026-01-01T00:00:00Z' FROM"
    " generate WHERE value % 2 = 0",
    "INSERT INTO documents (document, source, domain, content_hash, bytes, admission) SELECT value,"
    " 'test', 'domain' || value / 6000 % 8, hex(value), 4000, 'train' FROM generate WHERE"
    " value % 2 = 0",
    "INSERT INTO steps SELECT 1, value, value, value, 0, 460, 1500, 50, 1200.0, 120.0, 1.0, 0.001,"
    " 0.05 FROM generate",
    "INSERT INTO trained SELECT 1, value, value, value / 2, value - 1, value, 920, 4000,"
    " 6000.0 + value * 7 % 131 FROM generate WHERE value % 2 = 0",
    "INSERT INTO provenance SELECT 1, value, value, 1, value * 31 % 90000, 0, value * 31 % 90000 /"
    " 900, 0.25 FROM generate WHERE value % 2 = 0",
    "INSERT INTO generation_states SELECT 1, value, value, l.column1, value / 3000, s.column1,"
    " value / 3000 * 4, value / 3000 * 4 + 4, value / 3 * 10, 30000, value / 2, 'surprise',"
    " value / 3000, NULL FROM generate, (VALUES (1), (3)) AS l, (VALUES ('born'), ('opening'),"
    " ('opened')) AS s WHERE value % 3000 = 0",
    "INSERT INTO freezes SELECT 1, value, value, l.column1, 'experts', value / 3000 - 1, 1, 'test',"
    " value / 3000, 'hash' FROM generate, (VALUES (1), (3)) AS l WHERE value % 6000 = 0",
    "INSERT INTO openings SELECT 1, value, value, l.column1, value / 3000, value % 3000, -1.0, 0.1,"
    " 0.1 FROM generate, (VALUES (1), (3)) AS l WHERE value >= 3000 AND value % 3000 < 100",
    "INSERT INTO usage SELECT 1, n.value, n.value, l.column1, g.value, 50, 30000, 2000.0, 29000,"
    " 30000, 0.5, 0.1, 10 FROM generate AS n, (VALUES (1), (3)) AS l JOIN every AS g ON g.value <="
    " n.value / 3000 WHERE n.value % 100 = 0",
    "INSERT INTO evaluations SELECT 1, value, value / 100, value, value, value / 2, 'test',"
    " '2026-01-01T00:00:00Z' FROM generate WHERE value % 100 = 0",
    "INSERT INTO scores SELECT 1, value, p.probe, 5000.0 + value * 13 % 101, 2000, 600 FROM "
    "generate,"
    " probes AS p WHERE value % 100 = 0",
    "INSERT INTO routing SELECT 1, value, value / 100, p.probe, 1, 5000, '[5000]', '[5000]', NULL"
    " FROM generate, probes AS p WHERE value % 100 = 0",
    "INSERT INTO decisions SELECT 1, value, value / 100, value, CASE WHEN value % 3000 = 0 THEN"
    " 'grow' WHEN value % 2000 = 0 THEN 'snapshot' ELSE 'evaluate' END, -1, 0, 'test',"
    " json_object('documents', value / 2, 'evaluation', value / 100), 'policy lifelong', '' FROM"
    " generate WHERE value % 100 = 0",
    "INSERT INTO decision_outcomes SELECT 1, value, value / 100, 'done' FROM generate WHERE"
    " value % 100 = 0",
};

static enum cam_status live(sqlite3 *sqlite, void *context) {
    const int64_t *span = context;
    char *error = NULL, *sql;
    sql = sqlite3_mprintf(
        "CREATE TEMP TABLE IF NOT EXISTS generate (value INTEGER PRIMARY KEY);"
        "CREATE TEMP TABLE IF NOT EXISTS every (value INTEGER PRIMARY KEY);"
        "DELETE FROM generate; INSERT INTO generate WITH RECURSIVE n (value) AS (SELECT %lld + 1"
        " UNION ALL SELECT value + 1 FROM n WHERE value < %lld) SELECT value FROM n;"
        "INSERT OR IGNORE INTO every WITH RECURSIVE n (value) AS (SELECT 0 UNION ALL SELECT"
        " value + 1 FROM n WHERE value < 101) SELECT value FROM n;"
        "INSERT OR IGNORE INTO probes SELECT value + 1, 'domain' || value, 'domain', 0 FROM every"
        " WHERE value < 8;"
        "UPDATE trainer SET moment = %lld, step = %lld, position = %lld, documents = %lld",
        span[0], span[1], span[1], span[1], span[1], span[1] / 2);
    int code = sqlite3_exec(sqlite, sql, NULL, NULL, &error);
    sqlite3_free(sql);
    for (size_t i = 0; i < sizeof life / sizeof *life && code == SQLITE_OK; i++) {
        sqlite3_stmt *s = NULL;
        code = sqlite3_prepare_v2(sqlite, life[i], -1, &s, NULL);
        if (code == SQLITE_OK && sqlite3_step(s) != SQLITE_DONE)
            code = SQLITE_ERROR;
        sqlite3_finalize(s);
        if (code != SQLITE_OK)
            return cam_fail(CAM_ERR_INTERNAL, "%s: %s", life[i], sqlite3_errmsg(sqlite));
    }
    return code == SQLITE_OK ? CAM_OK : cam_fail(CAM_ERR_INTERNAL, "%s", error ? error : "trouble");
}

static void live_to(int64_t from, int64_t to) {
    int64_t span[2] = {from, to};
    OK(cam_database_write(f.database, live, span));
}

/* Documents that wait to be trained. */
static enum cam_status wait_some(sqlite3 *sqlite, void *context) {
    char *sql = sqlite3_mprintf(
        "INSERT INTO journal SELECT %lld + value + 1, 'document', NULL, '', '', '{}', '' FROM "
        "every;"
        "INSERT INTO documents (document, source, domain, content_hash, bytes, admission) SELECT"
        " %lld + value + 1, 'test', 'domain1', 'x' || value, 4000, 'train' FROM every",
        *(int64_t *)context, *(int64_t *)context);
    int code = sqlite3_exec(sqlite, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code == SQLITE_OK ? CAM_OK : cam_fail(CAM_ERR_INTERNAL, "%s", sqlite3_errmsg(sqlite));
}

/* ---- what asking costs
 * --------------------------------------------------------------------------- */

#define MOST_VIEWS    16
#define MOST_POLICIES 16
struct costs {
    char names[MOST_VIEWS][64];
    int64_t instructions[MOST_VIEWS];
    double milliseconds[MOST_VIEWS];
    int n;
    /* a step committed under this policy, decisions and all */
    int64_t commit_instructions;
    int64_t bytes; /* that SQLite holds for the connection after it */
    double commit_milliseconds;
};

static enum cam_status ask(sqlite3 *sqlite, void *context) {
    struct costs *c = context;
    sqlite3_stmt *list = NULL, *s = NULL;
    if (sqlite3_prepare_v2(sqlite,
                           "SELECT name FROM sqlite_schema WHERE type = 'view' AND name GLOB"
                           " 'decide_*' ORDER BY name",
                           -1, &list, NULL) != SQLITE_OK)
        return cam_fail(CAM_ERR_INTERNAL, "%s", sqlite3_errmsg(sqlite));
    for (c->n = 0; sqlite3_step(list) == SQLITE_ROW && c->n < MOST_VIEWS; c->n++) {
        char sql[128];
        snprintf(c->names[c->n], sizeof c->names[0], "%s", sqlite3_column_text(list, 0));
        snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", c->names[c->n]);
        if (sqlite3_prepare_v2(sqlite, sql, -1, &s, NULL) != SQLITE_OK)
            return cam_fail(CAM_ERR_INTERNAL, "%s", sqlite3_errmsg(sqlite));
        for (int warm = 0; warm < 2; warm++) {
            double begin = cam_clock_seconds();
            sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
            while (sqlite3_step(s) == SQLITE_ROW)
                ;
            sqlite3_reset(s);
            c->milliseconds[c->n] = 1e3 * (cam_clock_seconds() - begin);
        }
        c->instructions[c->n] = sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 0);
        sqlite3_finalize(s);
    }
    sqlite3_finalize(list);
    return CAM_OK;
}

static int add_up(unsigned type, void *context, void *statement, void *unused) {
    (void)type, (void)unused;
    *(int64_t *)context += sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1);
    return 0;
}

static enum cam_status watch(sqlite3 *sqlite, void *context) {
    sqlite3_trace_v2(sqlite, context ? SQLITE_TRACE_PROFILE : 0, context ? add_up : NULL, context);
    return CAM_OK;
}

/* Pages kept in memory, statements and the schema. */
static enum cam_status weigh(sqlite3 *sqlite, void *context) {
    static const int kinds[] = {SQLITE_DBSTATUS_CACHE_USED, SQLITE_DBSTATUS_STMT_USED,
                                SQLITE_DBSTATUS_SCHEMA_USED};
    int64_t *bytes = context;
    *bytes = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int now = 0, most = 0;
        if (sqlite3_db_status(sqlite, kinds[i], &now, &most, 0) != SQLITE_OK)
            return cam_fail(CAM_ERR_INTERNAL, "%s", sqlite3_errmsg(sqlite));
        *bytes += now;
    }
    return CAM_OK;
}

/* Warm: the second commit under a policy, which finds its statements compiled. */
static void commit(int64_t *step, struct costs *c) {
    struct cam_decisions decisions;
    for (int warm = 0; warm < 2; warm++, ++*step) {
        c->commit_instructions = 0;
        OK(cam_database_call(f.database, watch, &c->commit_instructions));
        double begin = cam_clock_seconds();
        fixture_step_nll(&f, *step, *step, *step, 6000, 1, &decisions);
        c->commit_milliseconds = 1e3 * (cam_clock_seconds() - begin);
        OK(cam_database_call(f.database, watch, NULL));
        OK(cam_database_call(f.database, weigh, &c->bytes));
        cam_decisions_release(&decisions);
    }
}

/* A history of N_STEPS steps, and what it costs to go on from there under each bundled policy. */
static void measure(int64_t n_steps, struct costs policies[MOST_POLICIES]) {
    int64_t step = n_steps + 1;
    fixture_init(&f);
    for (int64_t from = 0; from < n_steps; from += 33000)
        live_to(from, from + 33000 < n_steps ? from + 33000 : n_steps);
    OK(cam_database_write(f.database, wait_some, &n_steps));
    for (const struct cam_embedded *p = cam_embedded_policies; p->name; p++, policies++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(strlen(p->name) - 4), p->name);
        OK(cam_policy_init(f.database, name));
        OK(cam_database_call(f.database, ask, policies));
        commit(&step, policies);
    }
}

static void compare(const char *policy, const char *what, int64_t early, int64_t late,
                    int64_t most) {
    cr_expect_leq(late, most, "%s: %s takes %lld", policy, what, (long long)late);
    cr_expect_leq((double)late, MOST_CREEP_TOO + MOST_CREEP * (double)early,
                  "%s: %s crept from %lld to %lld", policy, what, (long long)early,
                  (long long)late);
}

Test(long_life, policies_cost_the_same_after_a_hundred_growths_and_a_million_rows) {
    static struct costs early[MOST_POLICIES], late[MOST_POLICIES];
    int report = getenv("CAM_REPORT") != NULL;
    measure(6000, early);
    fixture_release(&f);
    measure(303000, late);
    cr_assert_gt(fixture_int(&f, "SELECT (SELECT count(*) FROM steps) + (SELECT count(*) FROM"
                                 " trained) + (SELECT count(*) FROM documents) + (SELECT count(*)"
                                 " FROM journal) + (SELECT count(*) FROM provenance) + (SELECT"
                                 " count(*) FROM usage) + (SELECT count(*) FROM scores)"),
                 1000000);
    cr_assert_geq(fixture_int(&f, "SELECT count(DISTINCT generation) FROM v1_generations"), 100);
    const struct costs *a = early, *b = late;
    for (const struct cam_embedded *p = cam_embedded_policies; p->name; p++, a++, b++) {
        for (int k = 0; k < b->n; k++) {
            compare(p->name, b->names[k], a->instructions[k], b->instructions[k],
                    MOST_INSTRUCTIONS);
            if (report)
                printf("%s %s: %lld, then %lld instructions; %.3f, then %.3f ms\n", p->name,
                       b->names[k], (long long)a->instructions[k], (long long)b->instructions[k],
                       a->milliseconds[k], b->milliseconds[k]);
        }
        compare(p->name, "a commit", a->commit_instructions, b->commit_instructions,
                2 * MOST_INSTRUCTIONS);
        cr_expect_leq(b->bytes, MOST_BYTES, "%s: %lld bytes", p->name, (long long)b->bytes);
        if (report)
            printf("%s, a step: %lld, then %lld instructions; %lld, then %lld bytes; %.3f, "
                   "then %.3f ms\n",
                   p->name, (long long)a->commit_instructions, (long long)b->commit_instructions,
                   (long long)a->bytes, (long long)b->bytes, a->commit_milliseconds,
                   b->commit_milliseconds);
    }
}
