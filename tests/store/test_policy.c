#include "store_fixture.h"

#include "base/embed.h"
#include "base/fs.h"

static struct fixture f;

static void setup(void) {
    fixture_init(&f);
}

static void teardown(void) {
    fixture_release(&f);
}

TestSuite(policy, .init = setup, .fini = teardown);

static void refused(const char *text, const char *word) {
    FAILS(CAM_ERR_CONFIG, cam_policy_check(f.database, "test", text));
    SAYS("policy test");
    SAYS(word);
    ROWS(&f, "SELECT name FROM v1_policies WHERE in_force", "naive\n");
    cr_assert(fixture_int(&f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'decide%'") == 1);
}

#define EVALUATE(select) "CREATE VIEW decide_evaluate (reason, evidence) AS " select

Test(policy, bundled_policies_pass_their_own_check) {
    int n = 0;
    for (const struct cam_embedded *p = cam_embedded_policies; p->name; p++, n++)
        OK(cam_policy_check(f.database, p->name, (const char *)p->data));
    cr_assert(n >= 2);
}

Test(policy, writes_and_other_statements_are_refused) {
    refused("DELETE FROM steps", "CREATE VIEW");
    refused("CREATE TABLE t (x)", "CREATE VIEW");
    refused("PRAGMA user_version = 3", "CREATE VIEW");
    refused("ATTACH '/tmp/x' AS x", "CREATE VIEW");
    refused("CREATE TEMP VIEW decide_grow AS SELECT 1", "CREATE VIEW");
    refused("CREATE VIEW v1_steps AS SELECT 1", "decide_");
    refused("CREATE VIEW decide_wish (reason, evidence) AS SELECT 'a', '{}'", "decide_wish");
    refused(EVALUATE("SELECT 'x', '{}'; DROP TABLE steps"), "statement 2");
    refused("", "no CREATE VIEW");
    refused(EVALUATE("SELECT 'x'"), "columns");
    refused("CREATE VIEW decide_evaluate (reason) AS SELECT 'x'", "evidence");
    refused("CREATE VIEW decide_grow (reason, evidence) AS SELECT 'x', '{}'", "layer");
    refused("CREATE VIEW decide_rewarm (reason, evidence) AS SELECT 'x', '{}'", "amount");
    refused("CREATE VIEW decide_evaluate AS SELEKT 1", "syntax");
}

Test(policy, time_and_chance_are_refused) {
    refused(EVALUATE("SELECT 'x', datetime('now')"), "datetime");
    refused(EVALUATE("SELECT 'x', current_timestamp"), "current_timestamp");
    refused(EVALUATE("SELECT 'x', random()"), "random");
    refused(EVALUATE("SELECT 'x', hex(randomblob(8))"), "randomblob");
    refused(EVALUATE("SELECT 'x', strftime('%s', 'now')"), "strftime");
    refused(EVALUATE("SELECT 'x', load_extension('x')"), "load_extension");
    refused(EVALUATE("SELECT 'x', zeroblob(100000000)"), "zeroblob");
    refused(EVALUATE("SELECT 'x', sqlite_version()"), "sqlite_version");
}

Test(policy, base_tables_clock_columns_and_arrivals_are_refused) {
    refused(EVALUATE("SELECT 'x', value FROM meta"), "meta");
    refused(EVALUATE("SELECT 'x', sql FROM sqlite_schema"), "sqlite_");
    refused(EVALUATE("SELECT 'x', name FROM pragma_table_info('steps')"), "pragma_table_info");
    refused(EVALUATE("SELECT 'x', '{}' FROM steps"), "steps");
    refused(EVALUATE("SELECT 'x', '{}' FROM v1_steps WHERE step_seconds > 1"), "clock");
    refused(EVALUATE("SELECT 'x', '{}' FROM v1_steps WHERE tokens_per_s > 1"), "clock");
    refused(EVALUATE("SELECT 'x', '{}' FROM v1_evaluations ORDER BY evaluated_at"), "clock");
    refused(EVALUATE("SELECT * FROM (SELECT 'x' AS reason, e.* FROM v1_evaluations AS e)"), "c");
    refused(EVALUATE("SELECT 'x', '{}' FROM v1_documents"), "v1_trained");
    refused(EVALUATE("SELECT 'x', '{}' FROM v1_feeds"), "v1_trained");
    refused(EVALUATE("WITH v1_steps (x) AS (SELECT value FROM meta) SELECT 'x', x FROM v1_steps"),
            "common table");
    refused(EVALUATE("WITH \"v1_a\" AS NOT MATERIALIZED (SELECT value AS x FROM meta)"
                     " SELECT 'x', x FROM v1_a"),
            "common table");
    refused(EVALUATE("WITH v1_a /* ( */ AS (SELECT value AS x FROM meta) SELECT 'x', x FROM v1_a"),
            "common table");
}

Test(policy, endless_work_is_refused) {
    refused(EVALUATE("WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
                     " SELECT 'x', max(n) FROM c"),
            "instructions");
    refused(EVALUATE("WITH RECURSIVE c (t) AS (SELECT 'x' UNION ALL SELECT t || t FROM c)"
                     " SELECT 'x', t FROM c WHERE length(t) > 100000000"),
            "too big");
}

#define LEVERS(rows) "CREATE VIEW policy_settings (key, value) AS VALUES " rows

Test(policy, levers_out_of_bounds_are_refused) {
    refused(LEVERS("('replay.share', 0.95)"),
            "replay.share is 0.95: must be a number from 0 to 0.9");
    refused(LEVERS("('mine', 7), ('average.share', -0.1)"), "average.share is -0.1");
    refused(LEVERS("('average.window', 'long')"), "average.window is long");
    refused(LEVERS("('gate.experts', NULL)"), "gate.experts");
    refused(LEVERS("('anchor.ewc', 1e999)"), "anchor.ewc is Inf");
    refused(LEVERS("('replay.weight.news', -1)"), "replay.weight.news is -1");
    refused(LEVERS("('replay.half_life.a b', 1e13)"), "replay.half_life.a b");
    OK(cam_policy_check(f.database, "test",
                        LEVERS("('replay.share', 0.9), ('replay.weight.x', 0)")));
    OK(cam_policy_check(f.database, "test", LEVERS("('surprise.margin', -5)")));
}

Test(policy, a_refused_one_leaves_the_old_in_force_and_nothing_of_itself) {
    static const char *const bad[] = {
        LEVERS("('replay.share', 7)"),
        EVALUATE("WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT 'x',"
                 " max(n) FROM c"),
        "CREATE VIEW decide_evaluate (reason, evidence) AS SELEKT 1",
        "DELETE FROM steps",
        LEVERS("('a', (SELECT count(*) FROM steps))"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t rows = fixture_int(&f, "SELECT count(*) FROM journal");
        FAILS(CAM_ERR_CONFIG, cam_policy_use_text(f.database, "bad", bad[i], NULL));
        SAYS("policy bad");
        cr_assert(fixture_int(&f, "SELECT count(*) FROM journal") == rows);
        cr_assert(fixture_int(&f, "SELECT count(*) FROM policies WHERE name = 'bad'") == 0);
        ROWS(&f, "SELECT name FROM v1_policies WHERE in_force", "naive\n");
    }
    fixture_reopen(&f);
    ROWS(&f, "SELECT name FROM v1_policies WHERE in_force", "naive\n");
}

static const char good[] =
    "-- Decides something at every step.\n"
    "CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25), ('other', 3);\n"
    "CREATE VIEW policy_now (step) AS SELECT max(step) FROM v1_steps AS s;\n"
    "CREATE VIEW decide_grow (layer, amount, reason, evidence) AS SELECT -1, 8,"
    " 'step ' || step || char(27), json_object('step', step) FROM policy_now;\n"
    "CREATE VIEW decide_evaluate (reason, evidence) AS WITH c (n) AS (SELECT 1) SELECT 'always',"
    " '{}' FROM c;\n"
    "CREATE VIEW decide_freeze (layer, amount, reason, evidence) AS SELECT 0.5, 'x', 'bad', '{}';";

static void use_good(void) {
    char path[300];
    int64_t position;
    snprintf(path, sizeof path, "%s/mine.sql", f.dir);
    FILE *file = fopen(path, "w");
    fputs(good, file);
    fclose(file);
    OK(cam_policy_use(f.database, path, &position));
    ROWS(&f, "SELECT name FROM v1_policies WHERE in_force", "naive\n");
    OK(cam_history_control_done(f.database, position, "done"));
    ROWS(&f, "SELECT name FROM v1_policies WHERE in_force", "mine\n");
}

Test(policy, is_in_force_from_its_journal_row_on_and_survives_reopening) {
    double value;
    use_good();
    OK(cam_policy_number(f.database, "replay.share", 0, &value));
    cr_assert(value == 0.25);
    OK(cam_policy_number(f.database, "absent", 7, &value));
    cr_assert(value == 7);
    fixture_reopen(&f);
    OK(cam_policy_number(f.database, "replay.share", 0, &value));
    cr_assert(value == 0.25);
    ROWS(&f, "SELECT reason FROM decide_evaluate", "always\n");
    OK(cam_history_discard_after(f.database, "", NULL));
    ROWS(&f, "SELECT name FROM v1_policies WHERE in_force", "naive\n");
    OK(cam_policy_number(f.database, "replay.share", 1, &value));
    cr_assert(value == 0, "discarding takes the policy back too");
}

Test(policy, decisions_are_recorded_whole_in_the_step_that_asked) {
    struct cam_decisions d;
    use_good();
    fixture_documents(&f, "a", 0, 3);
    fixture_step_nll(&f, 1, 2, 2, 100, 1, &d);
    cr_assert(d.n_decisions == 2);
    cr_assert(d.decisions[0].kind == CAM_DECIDE_EVALUATE && d.decisions[0].decision == 1);
    cr_assert(d.decisions[1].kind == CAM_DECIDE_GROW && d.decisions[1].layer == -1 &&
              d.decisions[1].amount == 8);
    OK(cam_history_outcome(f.database, 2, "grown"));
    cam_decisions_release(&d);
    ROWS(&f,
         "SELECT decision, step, kind, layer, amount, reason, evidence, origin, outcome FROM"
         " v1_decisions",
         "1|1|evaluate|-1|0|always|{}|policy mine|NULL\n"
         "2|1|grow|-1|8|step 1?|{\"step\":1}|policy mine|grown\n");
    fixture_step_nll(&f, 2, 3, 3, 100, 1, &d);
    cam_decisions_release(&d);
    cr_assert(fixture_int(&f,
                          "SELECT count(*) FROM v1_events WHERE kind = 'no_decision' AND message"
                          " LIKE 'decide_freeze%integers%'") == 1,
              "a decision that cannot be read is an event, told once");
}

Test(policy, a_view_that_becomes_too_slow_decides_nothing_and_the_step_stands) {
    struct cam_decisions d;
    int64_t position;
    char path[300];
    snprintf(path, sizeof path, "%s/slow.sql", f.dir);
    FILE *file = fopen(path, "w");
    fputs(
        "CREATE VIEW decide_evaluate (reason, evidence) AS WITH RECURSIVE c (n) AS (SELECT 1 UNION"
        " ALL SELECT n + 1 FROM c WHERE EXISTS (SELECT 1 FROM v1_steps)) SELECT 'x', n FROM c LIMIT"
        " 1 OFFSET 9000000000;",
        file);
    fclose(file);
    OK(cam_policy_use(f.database, path, &position));
    OK(cam_history_control_done(f.database, position, "done"));
    fixture_documents(&f, "a", 0, 1);
    fixture_step_nll(&f, 1, 2, 2, 100, 1, &d);
    cr_assert(d.n_decisions == 0);
    cam_decisions_release(&d);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_steps") == 1);
    cr_assert(
        fixture_int(&f, "SELECT count(*) FROM v1_events WHERE message LIKE '%instructions%'") == 1);
}

static enum cam_status note_policy(void *context, const struct cam_policy *policy) {
    char *all = context;
    snprintf(all + strlen(all), 300, "%s%s%s: %.20s\n", policy->name, policy->in_force ? "*" : "",
             policy->bundled ? "+" : "", policy->summary);
    return CAM_OK;
}

Test(policy, list_shows_stored_and_bundled) {
    char all[2000] = "", *text;
    use_good();
    OK(cam_policies_each(f.database, note_policy, all));
    cr_assert(strstr(all, "mine*: Decides something at"), "%s", all);
    cr_assert(strstr(all, "naive+: naive:"), "%s", all);
    cr_assert(strstr(all, "lifelong+: lifelong:"), "%s", all);
    OK(cam_policy_text(f.database, "mine", &text));
    cr_assert(strcmp(text, good) == 0);
    free(text);
    FAILS(CAM_ERR_NOINPUT, cam_policy_text(f.database, "nosuch", &text));
    SAYS("lifelong");
    FAILS(CAM_ERR_CONFIG, cam_policy_use(f.database, "a b;c", NULL));
}

/* ---- what the lifelong policy does --------------------------------------------------------------
 */

static struct cam_decisions step_of(int64_t step, double bits_per_byte) {
    struct cam_decisions d;
    fixture_step_nll(&f, step, step, step, bits_per_byte * 80 * log(2), 1, &d);
    return d;
}

static int count_kind(struct cam_decisions d, enum cam_decision_kind kind) {
    int n = 0;
    for (size_t i = 0; i < d.n_decisions; i++)
        n += d.decisions[i].kind == kind;
    cam_decisions_release(&d);
    return n;
}

Test(policy, lifelong_grows_once_on_a_shift_and_not_before) {
    int n_grown = 0;
    fixture_documents(&f, "a", 0, 220);
    fixture_documents(&f, "b", 0, 40);
    OK(cam_policy_init(f.database, "lifelong"));
    struct cam_generation_change born = {.layer = 1,
                                         .event = CAM_CHANGE_BORN,
                                         .subkeys_to = 64,
                                         .n_experts = 4096,
                                         .reason = "init"};
    OK(cam_history_generations(f.database, 0, &born, 1));
    born.event = CAM_CHANGE_OPENED;
    OK(cam_history_generations(f.database, 0, &born, 1));
    for (int64_t step = 1; step <= 220; step++)
        cr_assert(count_kind(step_of(step, 4.0 - 0.002 * (double)step), CAM_DECIDE_GROW) == 0,
                  "step %d", (int)step);
    for (int64_t step = 221; step <= 250; step++)
        n_grown += count_kind(step_of(step, 5.5), CAM_DECIDE_GROW);
    cr_assert(n_grown == 1, "%d: once, then it cools down", n_grown);
    ROWS(&f,
         "SELECT kind, layer, amount, substr(reason, 1, 8) FROM v1_decisions WHERE kind = 'grow'",
         "grow|-1|16|surprise\n");
    cr_assert(fixture_int(&f,
                          "SELECT count(*) FROM v1_decisions WHERE kind = 'evaluate' AND reason ="
                          " 'the domain changed'") == 1);
}

/* A pool that is open, so that nothing but the stream decides about growth. */
static void open_pool(void) {
    struct cam_generation_change born = {.layer = 1,
                                         .event = CAM_CHANGE_BORN,
                                         .subkeys_to = 64,
                                         .n_experts = 4096,
                                         .reason = "init"};
    OK(cam_history_generations(f.database, 0, &born, 1));
    born.event = CAM_CHANGE_OPENED;
    OK(cam_history_generations(f.database, 0, &born, 1));
}

/* From -0.1 to 0.1, another one for every document. */
static double noise(int64_t i) {
    return (double)((uint64_t)i * 2654435761u % 4294967296u) / 4294967296.0 * 0.2 - 0.1;
}

/* Two sources in turn under lifelong. */
static void interleave(int n) {
    OK(cam_policy_init(f.database, "lifelong"));
    open_pool();
    for (int i = 0; i < n; i++)
        fixture_documents(&f, i % 2 ? "b" : "a", i, 1);
}

Test(policy, lifelong_never_grows_on_a_stationary_stream) {
    interleave(1200);
    for (int64_t step = 1; step <= 1200; step++)
        cr_assert(count_kind(step_of(step, (step % 2 ? 2.0 : 3.0) * (1 + noise(step))),
                             CAM_DECIDE_GROW) == 0,
                  "step %d", (int)step);
}

/* By 16 % in one of two is 6 % in the mean of both. */
Test(policy, lifelong_notices_a_shift_in_one_of_two_sources) {
    int n_grown = 0;
    interleave(300);
    for (int64_t step = 1; step <= 300; step++) {
        double level = step % 2 ? 2.0 * (step > 260 ? 1.16 : 1) : 3.0;
        n_grown += count_kind(step_of(step, level * (1 + 0.2 * noise(step))), CAM_DECIDE_GROW);
        cr_assert(n_grown == 0 || step > 260, "step %d", (int)step);
    }
    cr_assert(n_grown == 1, "%d", n_grown);
    ROWS(&f,
         "SELECT reason, json_extract(evidence, '$.domain') FROM v1_decisions WHERE kind = 'grow'",
         "surprise: recent documents of a source cost more than its earlier ones|a\n");
}

/* Forty documents of one source later it costs 1 % more. */
Test(policy, lifelong_notices_a_slow_drift) {
    int64_t grown = 0;
    fixture_documents(&f, "a", 0, 900);
    OK(cam_policy_init(f.database, "lifelong"));
    open_pool();
    for (int64_t step = 1; step <= 900 && !grown; step++)
        if (count_kind(step_of(step, 2.0 * (1 + 0.00025 * (double)step) * (1 + 0.5 * noise(step))),
                       CAM_DECIDE_GROW))
            grown = step;
    cr_assert(grown >= 512 && grown % 64 == 0, "%d", (int)grown);
    ROWS(&f, "SELECT substr(reason, 1, 6) FROM v1_decisions WHERE kind = 'grow'", "drift:\n");
}

Test(policy, lifelong_evaluates_densely_after_a_shift_and_not_in_between) {
    fixture_documents(&f, "a", 0, 100);
    fixture_documents(&f, "b", 0, 100);
    fixture_documents(&f, "a", 100, 30);
    fixture_documents(&f, "b", 100, 30);
    OK(cam_policy_init(f.database, "lifelong"));
    for (int64_t step = 1; step <= 260; step++) {
        struct cam_decisions d = step_of(step, 2.0);
        cam_decisions_release(&d);
    }
    ROWS(&f,
         "SELECT json_extract(evidence, '$.documents'), reason, json_extract(evidence, '$.shift'),"
         " json_extract(evidence, '$.dense') FROM v1_decisions WHERE kind = 'evaluate'",
         "101|the domain changed|1|0\n105|after a change|0|1\n117|after a change|0|1\n"
         "149|after a change|0|1\n201|the domain changed|1|0\n205|after a change|0|1\n"
         "217|after a change|0|1\n249|after a change|0|1\n");
}

static void evaluate(double nll) {
    struct cam_score score = {.probe = 1, .nll = nll, .bytes = 1000, .tokens = 300};
    OK(cam_history_evaluation(f.database, fixture_int(&f, "SELECT step FROM trainer"), "test",
                              &score, 1, NULL));
}

Test(policy, lifelong_tells_of_a_probe_that_regresses_once) {
    char text[160];
    fixture_documents(&f, "a", 0, 40);
    fixture_text(text, "a", 500);
    OK(cam_journal_probe(f.database, "a", text, strlen(text)));
    OK(cam_policy_init(f.database, "lifelong"));
    int n[4] = {0};
    static const double nll[] = {1000, 1200, 1260, 1300}; /* 20 % is within bounds, 26 % is not */
    for (int64_t step = 1; step <= 12; step++) {
        n[(step - 1) / 3] += count_kind(step_of(step, 2.0), CAM_DECIDE_ALARM);
        if (step % 3 == 0)
            evaluate(nll[step / 3 - 1]);
    }
    cr_assert(n[1] == 0 && n[2] == 0 && n[3] == 1, "%d %d %d", n[1], n[2], n[3]);
    ROWS(&f, "SELECT amount, reason FROM v1_decisions WHERE kind = 'alarm'",
         "3|probe a is worse by 26 %\n");
}

/* ---- the public columns
 * ---------------------------------------------------------------------------- */

Test(policy, golden_columns_of_the_views) {
    char *bytes;
    size_t n_bytes;
    char *columns = fixture_rows(
        &f, "SELECT v.name || ': ' || (SELECT group_concat(c.name, ' ') FROM (SELECT name FROM"
            " pragma_table_info(v.name)) AS c) FROM sqlite_schema AS v WHERE v.type = 'view' AND"
            " v.name GLOB 'v1_*' ORDER BY v.name");
    OK(cam_fs_read_file(cam_fs_system(), CAM_SOURCE_DIR "/tests/golden/views.txt", 1 << 20, &bytes,
                        &n_bytes));
    cr_assert(strcmp(bytes, columns) == 0,
              "v1_ views never change a column once released (tests/golden/views.txt):\n%s",
              columns);
    free(bytes);
    free(columns);
}

Test(policy, every_public_column_is_described) {
    char *readme, *at;
    size_t n_bytes;
    char *columns = fixture_rows(
        &f, "SELECT DISTINCT c.name FROM sqlite_schema AS v JOIN pragma_table_info(v.name) AS c"
            " WHERE v.type = 'view' AND v.name GLOB 'v1_*' UNION SELECT name FROM sqlite_schema"
            " WHERE type = 'view' AND name GLOB 'v1_*'");
    OK(cam_fs_read_file(cam_fs_system(), CAM_SOURCE_DIR "/schema/README.md", 1 << 20, &readme,
                        &n_bytes));
    for (char *name = strtok_r(columns, "\n", &at); name; name = strtok_r(NULL, "\n", &at)) {
        char quoted[100];
        snprintf(quoted, sizeof quoted, "`%s`", name);
        cr_assert(strstr(readme, quoted), "schema/README.md lacks %s", quoted);
    }
    free(readme);
    free(columns);
}
