/* What must not harm what was learned: gibberish, poison, numbers that are none, another machine,
 * another configuration. */
#include "run/tiny_world.h"

#include "base/rng.h"
#include "run/made_by.h"
#include "run/trainer_internal.h"
#include "store/query.h"

#include <math.h>
#include <sqlite3.h>

static struct world w;

static int64_t ask(const char *sql) {
    int64_t value;
    OK(cam_query_int(w.database, sql, NULL, -1, &value));
    return value;
}

static void set(const char *key, const char *value) {
    OK(cam_journal_control(w.database, CAM_ITEM_SETTING, key, value, "test", NULL));
}

static void document(const char *source, const char *text) {
    struct cam_journal_writer *writer;
    struct cam_document d = {.domain = "test", .text = text, .text_bytes = strlen(text)};
    OK(cam_journal_writer_open(w.database, 0, source, &writer));
    struct cam_document_sink sink = cam_journal_writer_sink(writer);
    cr_assert_eq(sink.document(sink.context, &d), CAM_OK, "%s", cam_message());
    OK(cam_journal_writer_finish(writer, NULL, NULL));
    cam_journal_writer_free(writer);
}

/* Letters and digits at random, which no model foresees. */
static void gibberish(char *text, size_t n_bytes, uint32_t number) {
    for (size_t i = 0; i + 1 < n_bytes; i++) {
        uint32_t word = cam_random_at(number, CAM_PURPOSE_TEST, i, 0).word[0];
        text[i] = (char)(word % 7 == 0 ? ' ' : '!' + word / 7 % 90);
    }
    text[n_bytes - 1] = '\0';
}

/* Everything that is waiting, up to the last token. */
static void train_all(void) {
    OK(cam_journal_control(w.database, CAM_ITEM_FLUSH, NULL, NULL, "test", NULL));
    advance(&w, 0);
}

Test(safety, T01_a_burst_of_gibberish_is_quarantined_and_leaves_the_state_alone) {
    char text[1200], before[CAM_HASH_HEX_BYTES], after[CAM_HASH_HEX_BYTES];
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    train_all();
    set("train.spike", "1.5");
    set("document.near_bits", "-1");
    advance(&w, 0);
    hash(&w, before);
    int64_t step = ask("SELECT max(step) FROM v1_steps");
    for (uint32_t i = 0; i < 12; i++) { /* far more than may be unsound in a row */
        gibberish(text, sizeof text, i);
        document("burst", text);
    }
    train_all();
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents WHERE state = 'quarantined' AND source ="
                     " 'burst'"),
                 12);
    cr_assert_eq(ask("SELECT max(step) FROM v1_steps"), step, "no step was kept");
    cr_assert_geq(ask("SELECT count(*) FROM v1_quarantine WHERE reason LIKE '%train.spike%'"), 12);
    hash(&w, after);
    cr_assert_str_eq(before, after);
    end(&w);
}

Test(safety, T02_a_step_without_a_number_is_discarded_and_the_state_is_the_same_bits) {
    char before[CAM_HASH_HEX_BYTES], after[CAM_HASH_HEX_BYTES];
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 4);
    train_all(); /* no document is in the middle: the cursor has nothing to forget */
    ingest(&w, "tiny.ndjson");
    w.trainer->model->params.items[0]->value[0] = (cam_real)NAN;
    hash(&w, before);
    enum cam_advance did;
    enum cam_status status = CAM_OK;
    for (int i = 0; i < 5 && status == CAM_OK; i++)
        status = cam_trainer_advance(w.trainer, &did);
    cr_assert_eq(status, CAM_ERR_DATA, "a model that is broken is no document's fault");
    cr_assert(strstr(cam_message(), "roll back"), "%s", cam_message());
    cr_assert_gt(ask("SELECT count(*) FROM v1_quarantine WHERE reason LIKE '%not finite%'"), 0);
    hash(&w, after);
    cr_assert_str_eq(before, after);
    end(&w);
}

Test(safety, T03_a_document_that_is_known_by_heart_is_told_of) {
    char text[2400] = "";
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 4);
    train_all();
    cr_assert_eq(ask("SELECT count(*) FROM v1_events WHERE kind = 'flat'"), 0);
    set("document.near_bits", "-1");
    set("train.flat", "0.9"); /* a model as small as this one knows little by heart */
    for (int i = 0; i < 40; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "the %d and the and the %d. ",
                 i % 3, i % 2);
    for (int i = 0; i < 6; i++) {
        text[0] = (char)('A' + i);
        document("parrot", text);
    }
    train_all();
    int64_t told = ask("SELECT count(*) FROM v1_events WHERE kind = 'flat'");
    cr_assert_gt(told, 0);
    end(&w);
}

/* What admission let through is found by where it went, and taken back. */
Test(safety, T05_provenance_finds_a_source_and_a_rollback_removes_it) {
    char text[700], clean[CAM_HASH_HEX_BYTES], after[CAM_HASH_HEX_BYTES];
    begin(&w, 1, "naive");
    set("document.near_bits", "-1");
    ingest_few(&w, "tiny.ndjson", 4);
    train_all();
    OK(cam_trainer_snapshot(w.trainer, "before", NULL));
    hash(&w, clean);
    for (uint32_t i = 0; i < 5; i++) {
        gibberish(text, sizeof text, 100 + i);
        document("poison", text);
    }
    train_all();
    cr_assert_eq(
        ask("SELECT count(DISTINCT p.document) FROM v1_provenance AS p JOIN v1_documents AS"
            " d ON d.document = p.document WHERE d.source = 'poison'"),
        5);
    OK(cam_trainer_rollback(w.trainer, "before", CAM_ROLLBACK_SET_ASIDE, "drill", NULL));
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents WHERE source = 'poison' AND state ="
                     " 'set_aside'"),
                 5);
    cr_assert_eq(ask("SELECT count(*) FROM v1_provenance AS p JOIN v1_documents AS d ON"
                     " d.document = p.document WHERE d.source = 'poison'"),
                 0);
    hash(&w, after);
    cr_assert_str_eq(clean, after);
    advance(&w, 0);
    hash(&w, after);
    cr_assert_str_eq(clean, after, "nothing of it is trained again");
    end(&w);
}

/* ---- another configuration, another machine ---- */

static enum cam_status run_sql(sqlite3 *sqlite, void *context) {
    cr_assert_eq(sqlite3_exec(sqlite, context, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(sqlite));
    return CAM_OK;
}

static void change(const char *sql) {
    char copy[300];
    snprintf(copy, sizeof copy, "%s", sql);
    OK(cam_database_call(w.database, run_sql, copy));
}

Test(safety, T14_another_shape_under_an_existing_state_is_refused) {
    static const char *const changes[] = {
        "UPDATE setting_values SET value = '64' WHERE key = 'model.width'",
        "UPDATE setting_values SET value = '48' WHERE key = 'model.hidden'",
        "UPDATE setting_values SET value = 'dense,dense' WHERE key = 'model.ff'",
        "UPDATE setting_values SET value = 'dense,dense+pkm' WHERE key = 'model.ff'",
        "UPDATE setting_values SET value = '8' WHERE key = 'peer.key_width'"};
    int64_t position;
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 1);
    advance(&w, 3);
    OK(cam_trainer_checkpoint(w.trainer));
    cr_assert_eq(
        cam_journal_control(w.database, CAM_ITEM_SETTING, "model.width", "64", "test", &position),
        CAM_ERR_CONFIG);
    change("CREATE TABLE kept AS SELECT * FROM setting_values");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        change(changes[i]);
        cam_trainer_close(w.trainer);
        w.trainer = NULL;
        enum cam_status status = cam_trainer_open(w.workspace, &w.trainer);
        cr_assert(status == CAM_ERR_CONFIG || status == CAM_ERR_DATA, "%s: %s", changes[i],
                  cam_status_name(status));
        change("DELETE FROM setting_values; INSERT INTO setting_values SELECT * FROM kept");
    }
    OK(cam_trainer_open(w.workspace, &w.trainer));
    cr_assert_eq(w.trainer->state.step, 3);
    end(&w);
}

Test(safety, C27_another_machine_is_told_of_once_and_goes_on) {
    char text[CAM_MADE_BY_BYTES], whole[CAM_HASH_HEX_BYTES], moved[CAM_HASH_HEX_BYTES];
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 2);
    advance(&w, 6);
    OK(cam_trainer_checkpoint(w.trainer));
    cam_made_by(w.trainer->model->shape.products, text);
    cr_assert(strstr(text, "cambium") && strstr(text, "OpenBLAS") && strstr(text, "libc"), "%s",
              text);
    cr_assert_eq(ask("SELECT count(*) FROM v1_events WHERE kind = 'made_by'"), 0);
    shut(&w);
    reopen(&w);
    cr_assert_eq(ask("SELECT count(*) FROM v1_events WHERE kind = 'made_by'"), 0, "nothing new");
    hash(&w, whole);
    change("UPDATE meta SET value = 'cambium 0.0, another processor' WHERE key = 'made_by'");
    for (int i = 0; i < 2; i++) {
        shut(&w);
        reopen(&w);
    }
    cr_assert_eq(ask("SELECT count(*) FROM v1_events WHERE kind = 'made_by' AND level = 'warning'"
                     " AND message LIKE '%bits may differ%another processor%cambium%'"),
                 1);
    hash(&w, moved);
    cr_assert_str_eq(whole, moved);
    cr_assert_gt(advance(&w, 0), 0);
    end(&w);
}
