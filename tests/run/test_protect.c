/* What a policy can protect or renew: parts frozen and thawed, dead experts begun anew, documents
 * withdrawn from replay; saved, replayed and verified like everything else. */
#include "run/trainer.h"

#include "model/peer.h"
#include "run/tiny_world.h"
#include "run/trainer_internal.h"
#include "store/query.h"

static void use_policy(struct world *w, const char *text) {
    OK(cam_policy_use_text(w->database, "test", text, NULL));
}

/* "CREATE VIEW decide_<what>": at STEP, SELECT. */
#define AT_STEP(what, columns, select, step)                                                       \
    "CREATE VIEW decide_" what " (" columns ") AS SELECT " select                                  \
    " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step = " step ";\n"
#define PARTED "layer, amount, part, reason, evidence"

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

static void verified(struct world *w, int64_t expected) {
    int64_t problems;
    OK(cam_trainer_verify(w->trainer, NULL, NULL, &problems));
    cr_assert_eq(problems, expected);
}

static const char *const parts[] = {"experts", "subkeys",    "queries",
                                    "norms",   "embeddings", "trunk"};
#define N_PARTS (sizeof parts / sizeof *parts)

/* Block 1 has the pool; norms and trunk are asked about there too. */
static void hash_part(struct world *w, const char *part, char hex[CAM_HASH_HEX_BYTES]) {
    int64_t layer = strcmp(part, "embeddings") == 0 ? -1 : 1;
    OK(cam_trainer_part_hash(w->trainer, layer, part, 0, hex));
}

/* A row for every part. */
#define EVERY_PART                                                                                 \
    "SELECT -1 AS layer, 0 AS amount, value AS part, 'test' AS reason, '{}' AS evidence FROM"      \
    " json_each('[\"experts\",\"subkeys\",\"queries\",\"norms\",\"embeddings\",\"trunk\"]')"       \
    " WHERE (SELECT max(step) FROM v1_steps) = "

Test(protect, T10_every_part_keeps_its_bits_while_frozen_and_moves_when_thawed) {
    char frozen[N_PARTS][CAM_HASH_HEX_BYTES], now[CAM_HASH_HEX_BYTES];
    struct world w;
    begin(&w, 1, "naive");
    use_policy(&w, "CREATE VIEW decide_freeze AS " EVERY_PART "4;\n"
                   "CREATE VIEW decide_thaw AS " EVERY_PART "9;\n");
    ingest_few(&w, "tiny.ndjson", 4);
    train_to(&w, 4);
    for (size_t i = 0; i < N_PARTS; i++)
        hash_part(&w, parts[i], frozen[i]);
    OK(cam_trainer_checkpoint(w.trainer));
    train_to(&w, 6);
    shut(&w);
    reopen(&w); /* what is frozen is part of the state */
    train_to(&w, 9);
    for (size_t i = 0; i < N_PARTS; i++) {
        hash_part(&w, parts[i], now);
        cr_assert_str_eq(frozen[i], now, "%s moved", parts[i]);
    }
    cr_assert_eq(ask(&w, "SELECT count(DISTINCT part) FROM v1_freezes WHERE frozen AND step = 4"
                         " AND NOT in_force AND hash IS NOT NULL"),
                 N_PARTS);
    cr_assert_eq(ask(&w, "SELECT count(DISTINCT part) FROM v1_freezes WHERE NOT frozen AND step = 9"
                         " AND in_force AND hash IS NULL"),
                 N_PARTS);
    verified(&w, 0);
    train_to(&w, 11);
    for (size_t i = 0; i < N_PARTS; i++) {
        hash_part(&w, parts[i], now);
        cr_assert_str_neq(frozen[i], now, "%s stayed frozen", parts[i]);
    }
    end(&w);
}

Test(protect, T10_verify_finds_a_frozen_part_that_changed) {
    struct world w;
    begin(&w, 1, "naive");
    use_policy(&w, AT_STEP("freeze", PARTED, "1, 0, 'trunk', 'test', '{}'", "2"));
    ingest_few(&w, "tiny.ndjson", 2);
    train_to(&w, 4);
    verified(&w, 0);
    w.trainer->model->blocks[1].attention.qkv->value[0] += 1;
    verified(&w, 1);
    end(&w);
}

Test(protect, a_freeze_that_cannot_be_is_refused_in_words) {
    struct world w;
    begin(&w, 1, "naive");
    use_policy(&w, AT_STEP("grow", "layer, amount, reason, evidence", "-1, 4, 'test', '{}'", "2")
                       AT_STEP("freeze", PARTED, "-1, 1, 'subkeys', 'test', '{}'", "4"));
    ingest_few(&w, "tiny.ndjson", 2);
    train_to(&w, 6);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_decisions WHERE kind = 'freeze' AND part ="
                         " 'subkeys' AND outcome LIKE 'refused: %oldest first%'"),
                 1);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_freezes"), 0);
    end(&w);
}

/* Windows of ten steps; an expert not picked in two of them is dead. */
static const char renewing[] =
    "CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25);\n" AT_STEP(
        "recycle", "layer, amount, reason, evidence", "-1, 30, 'test', '{}'", "35")
        AT_STEP("quarantine", "layer, amount, reason, evidence",
                "-1, (SELECT document FROM v1_trained WHERE trained_rank = 1), 'poison', '{}'",
                "30") AT_STEP("freeze", PARTED, "-1, 0, 'queries', 'test', '{}'", "20");

static void renewing_world(struct world *w) {
    begin_with(w, 1, "naive", "recycle.idle_windows", "2");
    use_policy(w, renewing);
    ingest(w, "tiny.ndjson");
}

Test(protect, a_dead_expert_begins_anew_without_changing_the_function_and_is_picked_again) {
    struct world w;
    renewing_world(&w);
    train_to(&w, 35);
    int64_t n = ask(&w, "SELECT count(*) FROM v1_recycled WHERE incarnation = 1"
                        " AND idle_windows >= 2 AND step = 35");
    cr_assert(n > 0 && n <= 30, "%lld", (long long)n);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_decisions WHERE kind = 'recycle'"
                         " AND outcome LIKE 'done: %logits changed by 0.0e+00'"),
                 1);
    cr_assert_gt(ask(&w, "SELECT idle_experts FROM v1_expert_usage WHERE step = 30"), 0);
    uint64_t expert[30];
    for (int64_t i = 0; i < n; i++) {
        char sql[120];
        snprintf(sql, sizeof sql,
                 "SELECT expert FROM v1_recycled ORDER BY expert LIMIT 1 OFFSET %d", (int)i);
        expert[i] = (uint64_t)ask(&w, sql);
    }
    struct cam_pool *experts = &cam_peer_of(pool(&w))->pool;
    for (int64_t i = 0; i < n; i++) {
        cr_assert_eq(cam_pool_state(experts, expert[i])->incarnation, 1);
        cr_assert_eq(cam_pool_state(experts, expert[i])->updates, 0);
    }
    advance(&w, 0);
    int64_t picked = 0;
    for (int64_t i = 0; i < n; i++)
        picked += cam_pool_state(experts, expert[i])->updates > 0;
    cr_assert_gt(picked, 0, "none of %lld is of use again", (long long)n);
    end(&w);
}

Test(protect, killed_anywhere_it_freezes_recycles_and_withdraws_with_the_same_bits) {
    static const int kills[] = {22, 9, 5, 40};
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    struct world w;
    renewing_world(&w);
    advance(&w, 0);
    hash(&w, whole);
    end(&w);
    renewing_world(&w);
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

Test(protect, what_is_frozen_is_never_recycled) {
    struct world w;
    begin_with(&w, 1, "naive", "recycle.idle_windows", "1");
    use_policy(&w, AT_STEP("freeze", PARTED, "-1, 0, 'experts', 'test', '{}'", "2")
                       AT_STEP("recycle", "layer, amount, reason, evidence",
                               "-1, 1000, 'test', '{}'", "22"));
    ingest_few(&w, "tiny.ndjson", 6);
    train_to(&w, 22);
    cr_assert_eq(ask(&w, "SELECT count(*) FROM v1_recycled"), 0);
    cr_assert_eq(
        ask(&w, "SELECT count(*) FROM v1_decisions WHERE outcome LIKE 'nothing to recycle%'"), 1);
    end(&w);
}

Test(protect, T06_a_withdrawn_document_is_not_replayed_and_held_by_a_rollback) {
    struct world w;
    renewing_world(&w);
    OK(cam_trainer_snapshot(w.trainer, "empty", NULL));
    train_to(&w, 31);
    int64_t document = ask(&w, "SELECT document FROM v1_trained WHERE withdrawn");
    cr_assert_eq(document, ask(&w, "SELECT document FROM v1_trained WHERE trained_rank = 1"));
    for (size_t i = 0; i < w.trainer->replay.n_sources; i++)
        for (size_t k = 0; k < w.trainer->replay.sources[i].n; k++)
            cr_assert_neq(w.trainer->replay.sources[i].entries[k].document, document);
    cr_assert_gt(w.trainer->replay.n, 0);
    struct cam_counts counts;
    OK(cam_history_counts(w.database, &counts));
    cr_assert_eq(counts.journalled, counts.trained + counts.pending + counts.quarantined +
                                        counts.held_out + counts.set_aside);
    OK(cam_trainer_rollback(w.trainer, "empty", CAM_ROLLBACK_REQUEUE, "test", NULL));
    train_to(&w, 5);
    char sql[120];
    snprintf(sql, sizeof sql,
             "SELECT state = 'quarantined' FROM v1_documents WHERE document = %lld",
             (long long)document);
    cr_assert_eq(ask(&w, sql), 1);
    end(&w);
}
