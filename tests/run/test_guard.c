/* What is watched and held back: generations that open, probes whose picks leak, scores that
 * regress. */
#include "run/trainer.h"

#include "model/ff_peer.h"
#include "run/tiny_world.h"
#include "run/trainer_internal.h"
#include "store/query.h"

/* N documents of DOMAIN, about two steps each. */
static void feed(struct world *w, const char *domain, int n) {
    struct cam_buffer bytes;
    struct cam_feed_limits limits;
    struct cam_journal_writer *writer;
    cam_buffer_init(&bytes, 1 << 20);
    cam_feed_limits_init(&limits);
    for (int i = 0; i < n; i++) {
        OK(cam_buffer_append_format(&bytes, "{\"domain\":\"%s\",\"text\":\"", domain));
        for (int k = 0; k < 30; k++)
            OK(cam_buffer_append_format(&bytes, "%s %d has %d of %d. ", domain, i, k * 7,
                                        (i + 3) * (k + 5)));
        OK(cam_buffer_append_text(&bytes, "\"}\n"));
    }
    OK(cam_journal_writer_open(w->database, 0, "test", &writer));
    struct cam_document_sink sink = cam_journal_writer_sink(writer);
    OK(cam_feed_read(bytes.data, bytes.size, "ndjson", &limits, &sink, NULL));
    OK(cam_journal_writer_finish(writer, NULL, NULL));
    cam_journal_writer_free(writer);
    cam_buffer_release(&bytes);
}

static void probe(struct world *w, const char *domain) {
    char text[200];
    int n = snprintf(text, sizeof text, "%s 99 has 14 of 60. %s 98 has 21 of 77. %s 97 has 7.",
                     domain, domain, domain);
    OK(cam_journal_probe(w->database, domain, text, (size_t)n));
}

static void train_to(struct world *w, uint64_t step) {
    while (w->trainer->state.step < step)
        cr_assert_eq(advance(w, 1), 1);
}

static int64_t ask(struct world *w, const char *sql) {
    int64_t value;
    OK(cam_query_int(w->database, sql, NULL, -1, &value));
    return value;
}

static struct cam_ff *pool(struct world *w) {
    size_t i_block = 0;
    return cam_trainer_pool(w->trainer, &i_block);
}

static double bias(struct world *w, size_t generation) {
    return cam_peer_generation(pool(w), generation)->bias;
}

#define STEP "(SELECT max(step) FROM v1_steps)"
#define GROW_AT(step)                                                                              \
    "CREATE VIEW decide_grow (layer, amount, reason, evidence) AS SELECT -1, 4, 'test', '{}'"      \
    " WHERE " STEP " = " step ";\n"
#define EVALUATE_AT(steps)                                                                         \
    "CREATE VIEW decide_evaluate (reason, evidence) AS SELECT 'test', '{}' WHERE " STEP " IN "     \
    "(" steps ");\n"

Test(guard, an_opening_is_on_record_until_it_is_open) {
    struct world w;
    begin(&w, 1, "naive");
    probe(&w, "apple");
    OK(cam_policy_use_text(w.database, "test", GROW_AT("3") EVALUATE_AT("2, 6, 80"), NULL));
    feed(&w, "apple", 48);
    train_to(&w, 80);
    cr_assert_eq(cam_peer_generation(pool(&w), 1)->state, CAM_GENERATION_OPEN);
    int64_t rows = ask(&w, "SELECT count(*) FROM v1_openings WHERE generation = 1");
    cr_assert(rows > 2 && rows <= 256, "%lld", (long long)rows);
    cr_assert_eq(ask(&w, "SELECT bias = 0 AND pick_share > 0 AND gate_share > 0 FROM v1_openings"
                         " ORDER BY step DESC LIMIT 1"),
                 1);
    cr_assert_eq(ask(&w, "SELECT min(bias) < 0 FROM v1_openings"), 1);
    cr_assert_eq(
        ask(&w, "SELECT CAST(group_concat(evaluation, '') AS INTEGER) FROM (SELECT evaluation FROM"
                " v1_opening_scores WHERE generation = 1 AND before > 0 AND change IS NOT"
                " NULL ORDER BY evaluation)"),
        23);
    end(&w);
}

Test(guard, an_opening_that_leaks_holds_and_retreats) {
    struct world w;
    begin_with(&w, 1, "naive", "grow.ramp_steps", "64");
    OK(cam_policy_use_text(
        w.database, "test",
        GROW_AT("3") "CREATE VIEW decide_hold (layer, amount, reason, evidence) AS SELECT -1, 6,"
                     " 'leak', '{}' WHERE " STEP " = 8;\n"
                     "CREATE VIEW decide_retreat (layer, amount, reason, evidence) AS SELECT -1,"
                     " 250, 'leak', '{}' WHERE " STEP " = 16;\n",
        NULL));
    feed(&w, "apple", 16);
    train_to(&w, 8);
    double held = bias(&w, 1);
    cr_assert(held < 0);
    train_to(&w, 11);
    shut(&w);
    reopen(&w); /* all of it is done again, the decision too */
    train_to(&w, 14);
    cr_assert_eq(bias(&w, 1), held);
    train_to(&w, 15);
    double before = bias(&w, 1);
    cr_assert_gt(before, held);
    train_to(&w, 16);
    double first = cam_peer_generation(pool(&w), 1)->first_bias;
    double expected = before + first * 0.25;
    cr_assert_lt(bias(&w, 1), before);
    cr_assert_geq(bias(&w, 1), expected < first ? first : expected);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_decisions WHERE kind IN ('hold', 'retreat') AND"
                         " outcome LIKE 'done: 1 generation%'"),
                 2);
    train_to(&w, 18);
    cr_assert_gt(bias(&w, 1), expected < first ? first : expected);
    end(&w);
}

Test(guard, leak_and_drift_of_a_domain_that_was_learned) {
    struct world w;
    begin(&w, 1, "naive");
    probe(&w, "apple");
    OK(cam_policy_use_text(w.database, "test", GROW_AT("18") EVALUATE_AT("2, 14, 17, 44"), NULL));
    feed(&w, "apple", 6);
    feed(&w, "stone", 24);
    train_to(&w, 44);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_leak WHERE evaluation = 1 AND leak IS NULL"
                         " AND learned_documents IS NULL AND domain = 'apple'"),
                 1);
    int64_t rank = ask(&w, "SELECT last_rank FROM v1_blocks WHERE domain = 'apple'");
    cr_assert_gt(ask(&w, "SELECT born_documents FROM v1_generations WHERE generation = 1"), rank);
    cr_assert_eq(ask(&w, "SELECT learned_documents FROM v1_leak WHERE evaluation = 4"
                         " AND domain = 'apple'"),
                 rank);
    cr_assert_eq(ask(&w, "SELECT leak = 0 AND drift BETWEEN 0 AND 1 FROM v1_leak WHERE evaluation ="
                         " 3 AND domain = 'apple'"),
                 1);
    cr_assert_eq(ask(&w, "SELECT leak > 0 AND leak < 1 AND drift > 0 AND drift <= 1 FROM v1_leak"
                         " WHERE evaluation = 4 AND domain = 'apple'"),
                 1);
    cr_assert_eq(ask(&w, "SELECT l.leak = r.share FROM v1_leak AS l JOIN v1_routing AS r USING"
                         " (evaluation, probe, layer) WHERE evaluation = 4 AND r.generation = 1 AND"
                         " l.domain = 'apple'"),
                 1);
    /* A token is counted once: 2 heads of 4 experts. */
    cr_assert_eq(ask(&w, "SELECT (SELECT sum(picks) FROM v1_routing WHERE evaluation = 4)"
                         " = 8 * (SELECT sum(tokens) FROM v1_evaluations WHERE evaluation = 4)"),
                 1);
    end(&w);
}

/* Regressed at evaluation 2, says the policy at steps 9 and 10. */
static const char alarming[] = EVALUATE_AT(
    "4, 8") "CREATE VIEW decide_snapshot (reason, evidence) AS SELECT 'test', '{}' WHERE " STEP
            " = 4;\n"
            "CREATE VIEW decide_alarm (layer, amount, reason, evidence) AS SELECT -1, 2, 'worse',"
            " '{\"probe\":1}' WHERE " STEP " IN (9, 10);\n";

static void alarming_world(struct world *w, const char *rollback) {
    begin_with(w, 1, "naive", "alarm.rollback", rollback);
    probe(w, "apple");
    OK(cam_policy_use_text(w->database, "test", alarming, NULL));
    feed(w, "apple", 16);
}

Test(guard, T07_an_alarm_is_told_once_and_changes_nothing_else) {
    struct world w;
    alarming_world(&w, "false");
    train_to(&w, 12);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_events WHERE kind = 'alarm' AND level ="
                         " 'warning' AND message = 'evaluation 2: worse'"),
                 1);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_decisions WHERE kind = 'alarm' AND (outcome ="
                         " 'done: told; no rollback: alarm.rollback is off' OR outcome ="
                         " 'refused: evaluation 2 has had its alarm')"),
                 2);
    shut(&w);
    reopen(&w); /* back at the checkpoint: the same steps, but not the same event again */
    train_to(&w, 12);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_events WHERE kind = 'alarm'"), 1);
    cr_assert_eq(ask(&w, "SELECT max(lineage) FROM v1_lineages"), 1);
    end(&w);
}

Test(guard, T07_an_alarm_rolls_back_once_and_does_not_flap) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    struct world w;
    struct cam_counts counts;
    alarming_world(&w, "true");
    while (ask(&w, "SELECT max(lineage) FROM v1_lineages") == 1)
        cr_assert_eq(advance(&w, 1), 1);
    cr_assert_eq(w.trainer->state.step, 4);
    OK(cam_history_counts(w.database, &counts));
    cr_assert_gt(counts.set_aside, 0);
    cr_assert_eq(counts.journalled, counts.trained + counts.pending + counts.quarantined +
                                        counts.held_out + counts.set_aside);
    advance(&w, 0);
    cr_assert_eq(ask(&w, "SELECT max(lineage) FROM v1_lineages"), 2);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_decisions WHERE kind = 'alarm' AND outcome LIKE"
                         " 'done: told; no rollback: %documents since the last%'"),
                 1);
    hash(&w, whole);
    end(&w);
    alarming_world(&w, "true");
    for (int i = 0; i < 4; i++) {
        advance(&w, 5);
        shut(&w);
        reopen(&w);
    }
    advance(&w, 0);
    hash(&w, resumed);
    cr_assert_str_eq(whole, resumed);
    cr_assert_eq(ask(&w, "SELECT max(lineage) FROM v1_lineages"), 2);
    end(&w);
}

/* The bundled policy TEXT with VALUE for the setting KEY, whatever it is by default. */
static char *with(char *text, const char *key, const char *value) {
    char row[80];
    snprintf(row, sizeof row, "('%s', ", key);
    char *at = strstr(text, row);
    cr_assert_not_null(at, "%s", key);
    at += strlen(row);
    size_t n = strlen(text) + strlen(value) + 1;
    char *out = malloc(n);
    snprintf(out, n, "%.*s%s%s", (int)(at - text), text, value, at + strcspn(at, ")"));
    free(text);
    return out;
}

Test(guard, T07_the_bundled_policy_goes_back_when_a_probe_regresses) {
    struct world w;
    struct cam_counts counts;
    char *text;
    begin_with(&w, 1, "naive", "alarm.rollback", "true");
    probe(&w, "apple");
    OK(cam_policy_text(w.database, "lifelong", &text));
    /* Nothing protects, and little is enough to regress. */
    text =
        with(with(with(text, "replay.share", "0"), "average.window", "0"), "alarm.margin", "0.02");
    text = with(with(text, "evaluate.every", "4"), "snapshot.every", "4");
    OK(cam_policy_use_text(w.database, "careful", text, NULL));
    free(text);
    feed(&w, "apple", 20);
    feed(&w, "stone", 30);
    advance(&w, 0);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_lineages WHERE mode = 'set_aside' AND reason GLOB"
                         " 'alarm: evaluation *: probe apple is worse by * %'"),
                 1);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_lineages"), 2);
    cr_assert_geq(ask(&w, "SELECT count(*) FROM v1_events WHERE kind = 'alarm'"), 1);
    OK(cam_history_counts(w.database, &counts));
    cr_assert_gt(counts.set_aside, 0);
    cr_assert_eq(counts.journalled, counts.trained + counts.pending + counts.quarantined +
                                        counts.held_out + counts.set_aside);
    end(&w);
}
