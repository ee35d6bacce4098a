/* The trainer end to end on real text with a tiny model: exactly once, same bits, growth, freezing,
 * rollback.  Every test starts from the same documents in an empty workspace. */
#include "run/trainer.h"

#include "model/anchor.h"
#include "model/ff_peer.h"
#include "run/preset.h"
#include "run/tiny_world.h"
#include "run/trainer_internal.h"
#include "store/query.h"


static void uninterrupted(int threads, char hex[CAM_HASH_HEX_BYTES]) {
    struct world w;
    begin(&w, threads, "lifelong");
    ingest(&w, "tiny.ndjson");
    cr_assert_gt(advance(&w, 0), 50);
    hash(&w, hex);
    struct cam_counts counts;
    OK(cam_history_counts(w.database, &counts));
    cr_assert_gt(counts.trained, 5);
    cr_assert_eq(counts.journalled, counts.trained + counts.pending + counts.quarantined +
                                        counts.held_out + counts.set_aside);
    end(&w);
}

Test(trainer, one_and_two_threads_give_the_same_bits) {
    char one[CAM_HASH_HEX_BYTES], two[CAM_HASH_HEX_BYTES];
    uninterrupted(1, one);
    uninterrupted(2, two);
    cr_assert_str_eq(one, two);
}

/* Dropping the trainer without a checkpoint is what SIGKILL does to it: the history is ahead of
 * the newest checkpoint and must be taken back. */
Test(trainer, C01_killed_anywhere_ends_with_the_same_bits) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    uninterrupted(1, whole);
    struct world w;
    begin(&w, 1, "lifelong");
    ingest(&w, "tiny.ndjson");
    static const int kills[] = {1, 7, 24, 25, 26, 40, 3};
    for (size_t i = 0; i < sizeof kills / sizeof *kills; i++) {
        advance(&w, kills[i]);
        shut(&w);
        reopen(&w);
    }
    advance(&w, 0);
    hash(&w, resumed);
    cr_assert_str_eq(whole, resumed);
    end(&w);
}

Test(trainer, C21_stopped_with_a_checkpoint_goes_on_with_the_same_bits) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    uninterrupted(1, whole);
    struct world w;
    begin(&w, 1, "lifelong");
    ingest(&w, "tiny.ndjson");
    for (int i = 0; i < 4; i++) {
        advance(&w, 9);
        OK(cam_trainer_checkpoint(w.trainer));
        shut(&w);
        reopen(&w);
    }
    advance(&w, 0);
    hash(&w, resumed);
    cr_assert_str_eq(whole, resumed);
    end(&w);
}

/* A few steps of every kind: stopped, resumed from a snapshot, walked on with the same bits. */
Test(trainer, every_feed_forward_kind_resumes_with_the_same_bits) {
    static const char *const slots[] = {"moe", "pkm", "peer", "dense,dense+pkm", "dense+moe,dense"};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
        struct world w;
        begin_with(&w, 2, "naive", "model.ff", slots[i]);
        ingest(&w, "tiny.ndjson");
        cr_assert_eq(advance(&w, 9), 9);
        hash(&w, whole);
        end(&w);
        begin_with(&w, 1, "naive", "model.ff", slots[i]);
        ingest(&w, "tiny.ndjson");
        advance(&w, 4);
        OK(cam_trainer_checkpoint(w.trainer));
        advance(&w, 2);
        shut(&w);
        reopen(&w);
        cr_assert_eq(w.trainer->state.step, 4);
        advance(&w, 5);
        hash(&w, resumed);
        cr_assert_str_eq(whole, resumed, "%s", slots[i]);
        end(&w);
    }
}

/* The readable feed-forward layers train the same model, but for rounding. */
Test(trainer, the_reference_learns_what_the_fast_path_learns) {
    double scores[2];
    for (int reference = 0; reference < 2; reference++) {
        struct world w;
        begin_with(&w, 1, "naive", "model.reference", reference ? "true" : "false");
        ingest(&w, "tiny.ndjson");
        cr_assert_eq(advance(&w, 3), 3);
        scores[reference] = w.trainer->state.bits_per_byte;
        end(&w);
    }
    cr_assert(scores[0] > 0 && scores[0] != scores[1], "not the same code");
    double tolerance = getenv("CAM_TEST_BF16") ? 3e-3 : 1e-4; /* the reference rounds no operands */
    cr_assert_float_eq(scores[0], scores[1], tolerance * scores[0]);
}

/* Stopped within a document that is longer than what is read ahead: what comes later is read. */
Test(trainer, a_resumed_run_goes_on_reading_the_journal) {
    struct world w;
    int64_t position, done;
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 1);
    advance(&w, 5);
    cr_assert_gt(w.trainer->state.offset, 2 * 4 * 32);
    OK(cam_trainer_checkpoint(w.trainer));
    shut(&w);
    reopen(&w);
    advance(&w, 0);
    OK(cam_journal_control(w.database, CAM_ITEM_FLUSH, "", "", "test", &position));
    advance(&w, 0);
    OK(cam_query_int(w.database, "SELECT count(*) FROM v1_journal WHERE outcome = 'done'", NULL, 0,
                     &done));
    cr_assert_eq(done, 1);
    cr_assert_eq(w.trainer->state.offset, 0);
    end(&w);
}

/* What arrives when does not matter, only in which order. */
Test(trainer, documents_in_two_deliveries_give_the_same_bits) {
    char whole[CAM_HASH_HEX_BYTES], halves[CAM_HASH_HEX_BYTES];
    struct world w;
    begin(&w, 1, "naive");
    ingest(&w, "tiny.ndjson");
    OK(cam_journal_control(w.database, CAM_ITEM_FLUSH, "", "", "test", NULL));
    advance(&w, 0);
    hash(&w, whole);
    end(&w);
    begin(&w, 1, "naive");
    ingest(&w, "tiny.ndjson");
    advance(&w, 12);
    advance(&w, 0);
    OK(cam_journal_control(w.database, CAM_ITEM_FLUSH, "", "", "test", NULL));
    advance(&w, 0);
    hash(&w, halves);
    cr_assert_str_eq(whole, halves);
    struct cam_counts counts;
    OK(cam_history_counts(w.database, &counts));
    cr_assert_eq(counts.pending, 0);
    end(&w);
}

/* Scores of all probes, as one number that any change of a bit changes. */
static double probe_nll(struct world *w) {
    const char text[] = "In the beginning God created the heaven and the earth. static int x = 0;";
    double nll;
    int64_t tokens;
    OK(cam_trainer_score(w->trainer, text, strlen(text), &nll, &tokens));
    return nll;
}

Test(trainer, rollback_restores_scores_exactly_and_requeue_repeats_the_run) {
    char before[CAM_HASH_HEX_BYTES], later[CAM_HASH_HEX_BYTES], again[CAM_HASH_HEX_BYTES];
    struct world w;
    int64_t lineage;
    begin(&w, 2, "lifelong");
    ingest(&w, "tiny.ndjson");
    advance(&w, 20);
    OK(cam_trainer_snapshot(w.trainer, "kept", NULL));
    hash(&w, before);
    double nll = probe_nll(&w);
    advance(&w, 0);
    hash(&w, later);
    cr_assert_neq(probe_nll(&w), nll);
    OK(cam_trainer_rollback(w.trainer, "kept", CAM_ROLLBACK_REQUEUE, "test", &lineage));
    cr_assert_eq(lineage, 2);
    hash(&w, again);
    cr_assert_str_eq(before, again);
    cr_assert_eq(probe_nll(&w), nll);
    advance(&w, 0);
    hash(&w, again);
    cr_assert_str_eq(later, again);
    end(&w);
}

Test(trainer, T11_rollback_within_a_document_goes_on_with_its_rest) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    struct cam_counts counts;
    uninterrupted(1, whole);
    struct world w;
    begin(&w, 1, "lifelong");
    ingest(&w, "tiny.ndjson");
    advance(&w, 20);
    cr_assert_gt(w.trainer->state.offset, 0);
    OK(cam_trainer_snapshot(w.trainer, "kept", NULL));
    OK(cam_trainer_rollback(w.trainer, "kept", CAM_ROLLBACK_SET_ASIDE, "test", NULL));
    shut(&w);
    reopen(&w);
    advance(&w, 0);
    hash(&w, resumed);
    cr_assert_str_eq(whole, resumed);
    OK(cam_history_counts(w.database, &counts));
    cr_assert_eq(counts.set_aside, 0);
    end(&w);
}

Test(trainer, T11_rollback_that_sets_aside_survives_a_restart) {
    struct world w;
    struct cam_counts counts;
    begin(&w, 1, "naive");
    ingest(&w, "tiny.ndjson");
    advance(&w, 20);
    OK(cam_trainer_snapshot(w.trainer, "kept", NULL));
    double nll = probe_nll(&w);
    advance(&w, 0);
    OK(cam_trainer_rollback(w.trainer, "kept", CAM_ROLLBACK_SET_ASIDE, "test", NULL));
    shut(&w);
    reopen(&w);
    cr_assert_eq(probe_nll(&w), nll);
    OK(cam_history_counts(w.database, &counts));
    cr_assert_gt(counts.set_aside, 0);
    cr_assert_eq(counts.lineage, 2);
    end(&w);
}

/* A policy that does everything early, so that a short run shows it all. */
static const char eager[] =
    "-- eager: grows, freezes, anchors, re-warms early and pulls every lever, for tests.\n"
    "CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25), ('replay.weight', 3),"
    " ('replay.balance', 0), ('replay.current', 0), ('average.window', 40), ('gate.experts', 90),"
    " ('anchor.l2', 0.5), ('anchor.ewc', 2), ('anchor.decay', 0.7), ('distill.weight', 0.3);\n"
    "CREATE VIEW decide_anchor (reason, evidence) AS SELECT 'test', '{}'"
    " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step IN (12, 45);\n"
    "CREATE VIEW decide_rewarm (amount, reason, evidence) AS SELECT 700, 'test', '{}'"
    " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step = 30;\n"
    "CREATE VIEW decide_grow (layer, amount, reason, evidence) AS SELECT -1, 4, 'test', '{}'"
    " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step IN (15, 60);\n"
    "CREATE VIEW decide_freeze (layer, amount, reason, evidence) AS SELECT -1, 0, 'test', '{}'"
    " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step = 40;\n";

static void use_policy(struct world *w, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/eager.sql", w->dir);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    OK(cam_policy_use(w->database, path, NULL));
}

static struct cam_ff *pool(struct world *w) {
    size_t i_block = 0;
    return cam_trainer_pool(w->trainer, &i_block);
}

static void grows_and_freezes(const char *ff) {
    struct world w;
    struct cam_hash frozen, after;
    begin_with(&w, 2, "naive", "model.ff", ff);
    use_policy(&w, eager);
    ingest(&w, "tiny.ndjson");
    while (w.trainer->state.step < 41)
        cr_assert_eq(advance(&w, 1), 1);
    cr_assert_eq(cam_peer_n_generations(pool(&w)), 2);
    cr_assert_eq(cam_peer_n_experts(pool(&w)), 20 * 20);
    cr_assert(cam_peer_generation(pool(&w), 0)->frozen_experts);
    OK(cam_peer_generation_hash(pool(&w), 0, CAM_PEER_EXPERTS, &frozen));
    advance(&w, 0);
    cr_assert_eq(cam_peer_n_experts(pool(&w)), 24 * 24);
    OK(cam_peer_generation_hash(pool(&w), 0, CAM_PEER_EXPERTS, &after));
    cr_assert(cam_hash_equal(frozen, after));
    cr_assert_eq(cam_peer_generation(pool(&w), 1)->state, CAM_GENERATION_OPEN);
    int64_t kept = 0;
    OK(cam_query_int(w.database,
                     "SELECT count(*) FROM v1_generations WHERE generation > 0"
                     " AND reason LIKE '%logits changed by 0.0e+00'",
                     NULL, 0, &kept));
    cr_assert_eq(kept, 2);

    /* The grown state is saved, loaded and walked on like any other. */
    char grown[CAM_HASH_HEX_BYTES], loaded[CAM_HASH_HEX_BYTES];
    hash(&w, grown);
    shut(&w);
    reopen(&w);
    advance(&w, 0);
    hash(&w, loaded);
    cr_assert_str_eq(grown, loaded);
    end(&w);
}

Test(trainer, T10_growth_keeps_the_function_and_frozen_rows_their_bits) {
    grows_and_freezes("dense,dense+peer");
}

Test(trainer, T10_a_memory_grows_and_freezes_like_a_pool) {
    grows_and_freezes("moe,pkm");
}

/* Every mechanism together, and what each leaves behind; killed and resumed, with another number of
 * threads: the same bits. */
static void everything(int threads, int kill_every, char hex[CAM_HASH_HEX_BYTES]) {
    struct world w;
    int64_t n;
    begin(&w, threads, "naive");
    use_policy(&w, eager);
    ingest(&w, "tiny.ndjson");
    for (int i = 0; kill_every && w.trainer->state.step < 60; i++) {
        advance(&w, kill_every);
        if (i % 2) /* else what was done since the last checkpoint is done again */
            OK(cam_trainer_checkpoint(w.trainer));
        shut(&w);
        reopen(&w);
    }
    advance(&w, 0);
    hash(&w, hex);
    const struct cam_trainer_state *state = &w.trainer->state;
    cr_assert_eq(state->anchors, CAM_ANCHOR_CENTRE | CAM_ANCHOR_FISHER);
    cr_assert_eq(state->observed, state->step - 45);
    cr_assert(state->rewarm_step == 30 && state->rewarm_peak == 700);
    OK(cam_query_int(w.database,
                     "SELECT count(*) FROM v1_decisions WHERE kind IN ('anchor', 'rewarm')"
                     " AND outcome LIKE 'done: %'",
                     NULL, 0, &n));
    cr_assert_eq(n, 3);
    /* The rate of step 40, the tenth of the new warm-up of ten, is the new peak. */
    OK(cam_query_int(w.database,
                     "SELECT CAST(round(1e9 * learning_rate) AS INTEGER) FROM v1_steps WHERE step = 40", NULL, 0, &n));
    cr_assert_eq(n, 2800000);
    end(&w);
}

Test(trainer, all_mechanisms_together_killed_anywhere_end_with_the_same_bits) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    everything(1, 0, whole);
    everything(2, 13, resumed);
    cr_assert_str_eq(whole, resumed);
}

/* Nothing to pull with, or no such peak: said in words, and training goes on. */
Test(trainer, an_anchor_or_a_warm_up_that_cannot_be_is_refused_in_words) {
    struct world w;
    int64_t n;
    begin(&w, 1, "naive");
    use_policy(&w, "-- vain: asks for what cannot be, for tests.\n"
                   "CREATE VIEW policy_settings (key, value) AS VALUES ('distill.weight', 0.5);\n"
                   "CREATE VIEW decide_anchor (reason, evidence) AS SELECT 'test', '{}';\n"
                   "CREATE VIEW decide_rewarm (amount, reason, evidence) AS SELECT 0, 'test', '{}'"
                   ";\n");
    ingest_few(&w, "tiny.ndjson", 1);
    cr_assert_gt(advance(&w, 4), 3);
    OK(cam_query_int(w.database,
                     "SELECT count(DISTINCT kind) FROM v1_decisions WHERE outcome LIKE 'refused: %'",
                     NULL, 0, &n));
    cr_assert_eq(n, 2);
    cr_assert_eq(w.trainer->levers.distill_weight, 0, "there is no average to learn from");
    cr_assert_eq(w.trainer->state.anchors, 0);
    end(&w);
}

Test(trainer, T09_growth_at_the_cap_is_refused_and_training_goes_on) {
    struct world w;
    begin(&w, 1, "naive");
    use_policy(&w, "-- greedy: grows at every step, for tests.\n"
                   "CREATE VIEW decide_grow (layer, amount, reason, evidence) AS"
                   " SELECT -1, 40, 'test', '{}';\n");
    ingest(&w, "tiny.ndjson");
    cr_assert_gt(advance(&w, 0), 50);
    cr_assert_leq(cam_peer_subkeys(pool(&w)), 64);
    end(&w);
}

static enum cam_status widen(sqlite3 *sqlite, void *context) {
    (void)context;
    return sqlite3_exec(sqlite, "UPDATE setting_values SET value = '64' WHERE key = 'model.width'", 0,
                        0, 0) == SQLITE_OK
               ? CAM_OK
               : cam_fail(CAM_ERR_IO, "%s", sqlite3_errmsg(sqlite));
}

Test(trainer, T14_a_model_of_another_shape_than_its_state_is_refused) {
    struct world w;
    begin(&w, 1, "naive");
    cr_assert_eq(cam_journal_control(w.database, CAM_ITEM_SETTING, "model.width", "64", "test", NULL),
                 CAM_ERR_CONFIG);
    OK(cam_database_write(w.database, widen, NULL)); /* behind its back */
    shut(&w);
    OK(cam_workspace_open(w.dir, CAM_WORKSPACE_WRITE, &w.workspace));
    cr_assert_eq(cam_trainer_open(w.workspace, &w.trainer), CAM_ERR_CONFIG);
    cr_assert(strstr(cam_message(), "does not fit this model"), "%s", cam_message());
    w.trainer = NULL;
    end(&w);
}

/* Keeps two snapshots and all that it tagged, whatever the policy saves. */
Test(trainer, a_decided_prune_goes_by_the_settings) {
    struct world w;
    int64_t n;
    begin_with(&w, 1, "naive", "prune.keep_last", "2");
    use_policy(&w, "-- saver: saves often and prunes, for tests.\n"
                   "CREATE VIEW decide_snapshot (reason, evidence) AS SELECT 'test', '{}'"
                   " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step IN (5, 10, 15, 20);\n");
    ingest_few(&w, "tiny.ndjson", 8);
    while (w.trainer->state.step < 24)
        cr_assert_eq(advance(&w, 1), 1);
    OK(cam_trainer_settle(w.trainer));
    OK(cam_query_int(w.database, "SELECT count(*) FROM v1_snapshots", NULL, -1, &n));
    cr_assert_eq(n, 4);
    OK(cam_journal_control(w.database, CAM_ITEM_FLUSH, "", "", "test", NULL));
    OK(cam_journal_control(w.database, CAM_ITEM_PRUNE, "", "", "schedule 1", NULL));
    advance(&w, 0);
    OK(cam_query_int(w.database, "SELECT count(*) FROM v1_snapshots", NULL, -1, &n));
    cr_assert_eq(n, 2);
    end(&w);
}

/* Killed just before its last word, after everything else is written. */
Test(trainer, an_init_that_was_cut_short_is_no_workspace_and_begins_anew) {
    struct world w = {.dir = "/tmp/cam-trainer-XXXXXX"};
    struct cam_settings settings;
    struct cam_tokenizer *tokenizer;
    int64_t rows;
    cam_log_set_sink(quiet, NULL);
    cr_assert_not_null(mkdtemp(w.dir));
    tiny(&settings, 1);
    OK(cam_tokenizer_default(&tokenizer));
    for (int i = 0; i < 2; i++) {
        OK(cam_workspace_open(w.dir, CAM_WORKSPACE_CREATE, &w.workspace));
        w.database = cam_workspace_database(w.workspace);
        OK(cam_workspace_begin_init(w.workspace, &settings));
        OK(cam_policy_init(w.database, "naive"));
        OK(cam_journal_probe(w.database, "kept", "Text to measure with, never trained on.", 39));
        OK(cam_trainer_init(w.workspace, &settings, tokenizer));
        if (i == 1)
            OK(cam_workspace_finish_init(w.workspace, &settings));
        cam_workspace_close(w.workspace);
        w.workspace = NULL;
        if (i == 0)
            cr_assert_eq(cam_workspace_open(w.dir, CAM_WORKSPACE_WRITE, &w.workspace),
                         CAM_ERR_NOINPUT);
    }
    cam_tokenizer_free(tokenizer);
    reopen(&w);
    OK(cam_query_int(w.database, "SELECT count(*) FROM v1_documents", NULL, 0, &rows));
    cr_assert_eq(rows, 1);
    OK(cam_query_int(w.database, "SELECT count(*) FROM v1_generations", NULL, 0, &rows));
    cr_assert_eq(rows, 1);
    shut(&w);
    cr_assert_eq(cam_workspace_open(w.dir, CAM_WORKSPACE_CREATE, &w.workspace), CAM_ERR_CANTCREATE);
    end(&w);
}
