#include "store_fixture.h"

#include "store/schedule.h"

static struct fixture f;
static struct cam_snapshots *snapshots;
static char memory[3 * 4096 + 100];

static void setup(void) {
    fixture_init(&f);
    for (size_t i = 0; i < sizeof memory; i++)
        memory[i] = (char)(i * 31 + i / 4096);
    OK(cam_snapshots_open(f.dir, NULL, f.database, &snapshots));
}

static void teardown(void) {
    cam_snapshots_close(snapshots);
    fixture_release(&f);
}

TestSuite(history, .init = setup, .fini = teardown);

static void save(enum cam_snapshot_kind kind, const char *tag, struct cam_snapshot *out) {
    struct cam_region region = {.name = "all", .data = memory, .bytes = sizeof memory};
    memory[0]++;
    OK(cam_snapshot_save(snapshots, kind, tag, "abcd", &region, 1, out));
}

/* Everything in the v1_ views that counts as history. */
static char *history(void) {
    static const char *const queries[] = {
        "SELECT document, state, trained_rank, lineage, first_step, last_step, tokens, nll FROM"
        " v1_documents ORDER BY document",
        "SELECT step, lineage, position, new_tokens, nll_new FROM v1_steps ORDER BY step",
        "SELECT * FROM v1_provenance ORDER BY document, layer, expert",
        "SELECT * FROM v1_experts ORDER BY layer, expert",
        "SELECT * FROM v1_expert_usage ORDER BY step",
        "SELECT * FROM v1_generations ORDER BY layer, generation",
        "SELECT evaluation, step, documents, domain, nll FROM v1_evaluations ORDER BY 1, 4",
        "SELECT * FROM v1_forgetting ORDER BY 1, 4",
        "SELECT * FROM v1_decisions ORDER BY decision",
        "SELECT key, value, position FROM v1_settings ORDER BY key",
        "SELECT name, hash, position, step, in_force FROM v1_policies ORDER BY use",
        "SELECT position, kind, done_step, outcome FROM v1_journal ORDER BY position",
    };
    char *all = calloc(1, FIXTURE_OUT);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char *rows = fixture_rows(&f, queries[i]);
        snprintf(all + strlen(all), FIXTURE_OUT - strlen(all), "%zu:\n%s", i, rows);
        free(rows);
    }
    return all;
}

/* Steps 3 to 5 with everything that can happen in between. */
static void second_half(int64_t control) {
    struct cam_decisions decisions = {0};
    fixture_step(&f, 3, 4);
    struct cam_generation_change born = {.layer = 1,
                                         .generation = 1,
                                         .event = CAM_CHANGE_BORN,
                                         .subkeys_from = 8,
                                         .subkeys_to = 10,
                                         .first_expert = 64,
                                         .n_experts = 36,
                                         .reason = "surprise"};
    OK(cam_history_generations(f.database, 3, &born, 1));
    OK(cam_history_control_done(f.database, control, "done"));
    struct cam_score score = {.probe = 1, .nll = 50, .bytes = 40, .tokens = 20};
    OK(cam_history_evaluation(f.database, 3, "regular", &score, 1, NULL));
    fixture_step_nll(&f, 4, 5, 5, 90, 1, &decisions);
    for (size_t i = 0; i < decisions.n_decisions; i++)
        OK(cam_history_outcome(f.database, decisions.decisions[i].decision, "done"));
    cam_decisions_release(&decisions);
    struct cam_quarantine q = {.document = 6, .position = 6, .reason = "loss spike"};
    OK(cam_history_quarantine(f.database, 4, &q));
    fixture_step_nll(&f, 5, 6, 0, 80, 0, NULL);
}

static int64_t first_half(void) {
    int64_t control;
    OK(cam_journal_probe(f.database, "probe", "The text of a probe given as a file.", 36));
    OK(cam_schedule_add(f.database, "3 documents", "snapshot", NULL));
    fixture_documents(&f, "a", 0, 5);
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, "checkpoint.every_steps", "9", "person",
                           &control));
    struct cam_generation_change born = {
        .layer = 1, .event = CAM_CHANGE_BORN, .subkeys_to = 8, .n_experts = 64, .reason = "init"};
    OK(cam_history_generations(f.database, 0, &born, 1));
    fixture_step(&f, 1, 3);
    fixture_step_nll(&f, 2, 3, 0, 70, 0, NULL);
    return control;
}

Test(history, C28_discard_and_replay_make_the_same_rows_again_and_again) {
    struct cam_snapshot at;
    int64_t discarded;
    int64_t control = first_half();
    save(CAM_SNAPSHOT_CHECKPOINT, NULL, &at);
    second_half(control);
    ROWS(&f, "SELECT decision, step, kind, origin, outcome FROM v1_decisions",
         "1|4|snapshot|schedule 1|done\n");
    char *before = history();
    for (int i = 0; i < 3; i++) {
        OK(cam_history_discard_after(f.database, at.id, &discarded));
        cr_assert(discarded == 3);
        struct cam_history_state state;
        OK(cam_history_state(f.database, &state));
        cr_assert(state.step == 2 && state.position == 3 && state.lineage == 1);
        cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_generations") == 1);
        OK(cam_history_discard_after(f.database, at.id, NULL));
        fixture_counts_add_up(&f);
        second_half(control);
        char *after = history();
        cr_assert(strcmp(before, after) == 0, "before:\n%s\nafter:\n%s", before, after);
        free(after);
    }
    free(before);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_events") >= 0);
}

Test(history, steps_follow_each_other) {
    struct cam_step_commit commit = {.step = 2};
    FAILS(CAM_ERR_INTERNAL, cam_history_commit_step(f.database, &commit, NULL));
    cr_assert(fixture_int(&f, "SELECT moment FROM trainer") == 0, "nothing is left behind");
}

static enum cam_status collect_trained(void *context, const struct cam_trained *trained) {
    char *text = context;
    snprintf(text + strlen(text), 100, "%d%s ", (int)trained->document, trained->domain);
    return CAM_OK;
}

Test(history, trained_documents_come_in_order_of_training) {
    char text[200] = "";
    fixture_documents(&f, "a", 0, 3);
    fixture_step(&f, 1, 2);
    fixture_step(&f, 2, 1);
    fixture_step(&f, 3, 3);
    OK(cam_history_trained(f.database, 1, collect_trained, text));
    cr_assert(strcmp(text, "1a 3a ") == 0, "%s", text);
    struct cam_counts c;
    OK(cam_history_counts(f.database, &c));
    cr_assert(c.trained == 3 && c.pending == 0 && c.tokens == 120 && c.step == 3);
    cr_assert(fabs(c.bits_per_byte - (101 + 102 + 103) / (3 * 80 * log(2))) < 1e-12);
}

Test(history, quarantine_holds_until_released) {
    struct cam_quarantine q = {.document = 1, .position = 1, .reason = "loss\x1b spike"};
    struct cam_items items;
    fixture_documents(&f, "a", 0, 2);
    OK(cam_history_quarantine(f.database, 0, &q));
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 1 && items.items[0].document == 2);
    cam_items_release(&items);
    ROWS(&f, "SELECT document, state, reason FROM v1_quarantine", "1|quarantined|loss? spike\n");
    OK(cam_journal_release(f.database, 1, "person"));
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 2 && items.items[1].document == 1 && items.items[1].position == 3);
    cam_items_release(&items);
    fixture_counts_add_up(&f);
    fixture_step(&f, 1, 2);
    fixture_step_nll(&f, 2, 3, 1, 60, 0, NULL);
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 0);
    cam_items_release(&items);
}

/* Two steps, a snapshot, two more. */
static void branch_point(struct cam_snapshot *at) {
    int64_t control;
    fixture_documents(&f, "a", 0, 6);
    fixture_step(&f, 1, 1);
    fixture_step(&f, 2, 2);
    save(CAM_SNAPSHOT_KEPT, "good", at);
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, "checkpoint.every_steps", "9", "person",
                           &control));
    OK(cam_history_control_done(f.database, control, "done"));
    fixture_step(&f, 3, 3);
    struct cam_quarantine q = {.document = 4, .position = 4, .reason = "poison"};
    OK(cam_history_quarantine(f.database, 3, &q));
    /* Document 5 is begun: the cursor stands inside it. */
    struct cam_step_commit commit = {
        .step = 4, .position = 4, .offset = 17, .nll_new = 1, .nll_replay = NAN};
    OK(cam_history_commit_step(f.database, &commit, NULL));
}

Test(history, T11_rollback_sets_aside_and_keeps_the_branch) {
    struct cam_snapshot at, latest;
    struct cam_history_state state;
    struct cam_settings settings;
    int64_t lineage;
    branch_point(&at);
    OK(cam_history_rollback(f.database, at.id, CAM_ROLLBACK_SET_ASIDE, "poison", &lineage));
    cr_assert(lineage == 2);
    OK(cam_history_state(f.database, &state));
    cr_assert(state.lineage == 2 && state.step == 2 && state.position == 2 && state.offset == 0);
    ROWS(&f, "SELECT document, state FROM v1_documents ORDER BY 1",
         "1|trained\n2|trained\n3|set_aside\n4|quarantined\n5|set_aside\n6|pending\n");
    fixture_counts_add_up(&f);
    OK(cam_journal_settings(f.database, &settings));
    cr_assert(settings.checkpoint_every != 9, "settings are those of the snapshot");
    ROWS(&f,
         "SELECT json_extract(body, '$.settings.\"checkpoint.every_steps\"') IS NOT NULL FROM"
         " v1_journal WHERE kind = 'rollback'",
         "1\n");
    struct cam_items items;
    OK(cam_journal_read(f.database, state.position, 10, 1 << 20, &items));
    cr_assert(items.n_items == 1 && items.items[0].document == 6,
              "controls from before the rollback are not repeated");
    cam_items_release(&items);
    OK(cam_snapshots_latest(snapshots, &latest));
    cr_assert(strcmp(latest.id, at.id) == 0, "a crash now starts from the snapshot");
    OK(cam_history_discard_after(f.database, latest.id, NULL));
    fixture_counts_add_up(&f);
    ROWS(&f, "SELECT count(*) FROM v1_quarantine", "3\n");
    fixture_step_nll(&f, 3, 6, 6, 55, 0, NULL);
    ROWS(&f, "SELECT step, lineage FROM v1_steps ORDER BY 1", "1|1\n2|1\n3|2\n");
    ROWS(&f, "SELECT step FROM steps WHERE lineage = 1 ORDER BY 1", "1\n2\n3\n4\n");
    ROWS(&f, "SELECT lineage, parent, fork_step, living, current FROM v1_lineages",
         "1|NULL|0|1|0\n2|1|2|1|1\n");
    ROWS(&f, "SELECT trained_rank FROM v1_trained WHERE document = 6", "3\n");
    /* A set-aside document can come back. */
    OK(cam_journal_release(f.database, 3, "person"));
    ROWS(&f, "SELECT state FROM v1_documents WHERE document = 3", "pending\n");
    fixture_counts_add_up(&f);
}

/* Begun before the snapshot and not touched since: it was not trained after the snapshot. */
Test(history, T11_a_document_in_progress_at_the_snapshot_still_waits) {
    struct cam_snapshot at;
    struct cam_history_state state;
    fixture_documents(&f, "a", 0, 4);
    fixture_step(&f, 1, 1);
    struct cam_step_commit half = {
        .step = 2, .position = 1, .offset = 17, .nll_new = 1, .nll_replay = NAN};
    OK(cam_history_commit_step(f.database, &half, NULL));
    save(CAM_SNAPSHOT_KEPT, NULL, &at);
    OK(cam_history_rollback(f.database, at.id, CAM_ROLLBACK_SET_ASIDE, "", NULL));
    ROWS(&f, "SELECT document, state FROM v1_documents ORDER BY 1",
         "1|trained\n2|pending\n3|pending\n4|pending\n");
    OK(cam_history_state(f.database, &state));
    cr_assert(state.position == 1 && state.offset == 17, "it goes on where it was");
    OK(cam_history_discard_after(f.database, at.id, NULL));
    OK(cam_history_state(f.database, &state));
    cr_assert(state.position == 1 && state.offset == 17, "also after a crash");
    /* Once more of it was trained, it is one of those to set aside. */
    struct cam_step_commit more = {
        .step = 3, .position = 1, .offset = 20, .nll_new = 1, .nll_replay = NAN};
    OK(cam_history_commit_step(f.database, &more, NULL));
    OK(cam_history_rollback(f.database, at.id, CAM_ROLLBACK_SET_ASIDE, "", NULL));
    ROWS(&f, "SELECT document, lineage, step FROM v1_quarantine", "2|3|2\n");
    OK(cam_history_state(f.database, &state));
    cr_assert(state.offset == 0);
    OK(cam_history_discard_after(f.database, at.id, NULL));
    OK(cam_history_state(f.database, &state));
    cr_assert(state.offset == 0, "also after a crash");
    fixture_counts_add_up(&f);
}

Test(history, T11_rollback_requeues) {
    struct cam_snapshot at;
    struct cam_items items;
    branch_point(&at);
    OK(cam_history_rollback(f.database, at.id, CAM_ROLLBACK_REQUEUE, "", NULL));
    OK(cam_journal_read(f.database, 2, 10, 1 << 20, &items));
    cr_assert(items.n_items == 3 && items.items[0].document == 3 && items.items[1].document == 5);
    cam_items_release(&items);
    fixture_counts_add_up(&f);
    fixture_step(&f, 3, 3);
    fixture_counts_add_up(&f);
}

Test(history, rollback_of_a_rollback_and_to_a_dead_branch) {
    struct cam_snapshot first, second;
    fixture_documents(&f, "a", 0, 6);
    fixture_step(&f, 1, 1);
    save(CAM_SNAPSHOT_KEPT, "first", &first);
    fixture_step(&f, 2, 2);
    fixture_step(&f, 3, 3);
    save(CAM_SNAPSHOT_KEPT, "second", &second);
    OK(cam_history_rollback(f.database, first.id, CAM_ROLLBACK_SET_ASIDE, "", NULL));
    fixture_step(&f, 2, 4);
    FAILS(CAM_ERR_DATA, cam_history_discard_after(f.database, second.id, NULL));
    /* Back to the branch that was given up. */
    OK(cam_history_rollback(f.database, second.id, CAM_ROLLBACK_SET_ASIDE, "", NULL));
    ROWS(&f, "SELECT document, state, lineage FROM v1_documents ORDER BY 1",
         "1|trained|1\n2|trained|1\n3|trained|1\n4|set_aside|NULL\n5|pending|NULL\n6|pending|"
         "NULL\n");
    fixture_counts_add_up(&f);
    fixture_step(&f, 4, 5);
    ROWS(&f, "SELECT step, lineage FROM v1_steps ORDER BY 1", "1|1\n2|1\n3|1\n4|3\n");
    ROWS(&f, "SELECT lineage, living FROM v1_lineages", "1|1\n2|0\n3|1\n");
    FAILS(CAM_ERR_NOINPUT,
          cam_history_rollback(f.database, "0123", CAM_ROLLBACK_REQUEUE, "", NULL));
}

Test(history, forgetting_matrix_and_transfer_of_blocks) {
    OK(cam_journal_probe(f.database, "x", "unused text of a file probe", 27));
    free(fixture_rows(&f,
                      "INSERT INTO probes VALUES (10, 'a', 'domain', 0), (11, 'b', 'domain', 0)"));
    fixture_documents(&f, "a", 0, 2);
    fixture_documents(&f, "b", 0, 2);
    double ln2 = log(2);
    double scores[3][2] = {{8, 8}, {4, 7}, {5, 3}}; /* bits a byte of a, b */
    int64_t step = 0;
    for (int e = 0; e < 3; e++) {
        struct cam_score s[2] = {{.probe = 10, .nll = scores[e][0] * 100 * ln2, .bytes = 100},
                                 {.probe = 11, .nll = scores[e][1] * 100 * ln2, .bytes = 100}};
        OK(cam_history_evaluation(f.database, step, "x", s, 2, NULL));
        for (int i = 0; i < 2 && e < 2; i++, step++)
            fixture_step(&f, step + 1, step + 2);
    }
    ROWS(&f, "SELECT stage, domain, bits_per_byte FROM v1_matrix ORDER BY 1, 2",
         "0|a|8.0\n0|b|8.0\n1|a|4.0\n1|b|7.0\n2|a|5.0\n2|b|3.0\n");
    ROWS(&f,
         "SELECT domain, forgetting, learned, since_learned FROM v1_forgetting WHERE evaluation"
         " = 3 ORDER BY 1",
         "a|1.0|4.0|1.0\nb|0.0|3.0|0.0\n");
    ROWS(&f, "SELECT domains, bits_per_byte, bwt, fwt FROM v1_summary", "2|4.0|1.0|-1.0\n");
    /* A third document of a: the domains no longer come as blocks. */
    fixture_documents(&f, "a", 7, 1);
    fixture_step(&f, 5, 6);
    ROWS(&f, "SELECT bwt, fwt FROM v1_summary", "NULL|NULL\n");
}
