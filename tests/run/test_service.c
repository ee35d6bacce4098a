/* The loop around the trainer: a full disk, signals, the desk.  The hooks of the service drive
 * every test from its own thread, so nothing here waits for a time. */
#include "run/service.h"

#include "base/fs.h"
#include "run/tiny_world.h"
#include "store/query.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>

static struct world w;

/* What a run without any trouble ends with. */
static void expected_hash_of(int n_documents, char hex[CAM_HASH_HEX_BYTES]) {
    struct world plain;
    begin(&plain, 1, "naive");
    ingest_few(&plain, "tiny.ndjson", n_documents);
    advance(&plain, 0);
    hash(&plain, hex);
    end(&plain);
}

static void expected_hash(char hex[CAM_HASH_HEX_BYTES]) {
    expected_hash_of(6, hex);
}

static int64_t ask(const char *sql) {
    int64_t value;
    OK(cam_query_int(w.database, sql, NULL, -1, &value));
    return value;
}

/* ---- a disk that is full for a while ---- */

static int is_full, n_refused, n_paused, n_resumed;
static int most_refused; /* then there is space again; 0: never */

static ssize_t limited_write(void *context, int fd, const void *bytes, size_t n_bytes) {
    (void)context;
    if (is_full && most_refused && n_refused == most_refused)
        is_full = 0;
    if (is_full) {
        n_refused++;
        errno = ENOSPC;
        return -1;
    }
    return write(fd, bytes, n_bytes);
}

static void use_limited_disk(void) {
    static struct cam_fs fs;
    fs = *cam_fs_system();
    fs.write = limited_write;
    cam_fs_replace(&fs);
}

static void fill_at_30(void *context, const struct cam_progress *progress) {
    (void)context;
    if (progress->step == 30 && n_paused == 0)
        is_full = 1;
}

static void note_pauses(void *context, enum cam_service_event event, const char *text) {
    char published[CAM_PUBLISHED_BYTES];
    (void)context;
    if (event == CAM_SERVICE_PAUSED) {
        n_paused++;
        cr_assert(strstr(text, "No space left"), "%s", text);
        cr_assert_eq(cam_workspace_published(w.dir, published), getpid());
        cr_assert(strstr(published, "\"state\":\"paused\""), "%s", published);
        cr_assert(strstr(published, "No space left"), "%s", published);
    }
    n_resumed += event == CAM_SERVICE_RESUMED;
}

static const struct cam_service_options once = {.once = 1, .first_retry_ms = 1};

Test(service, C06_enospc_during_a_checkpoint_pauses_and_goes_on_with_the_same_bits) {
    char whole[CAM_HASH_HEX_BYTES], paused[CAM_HASH_HEX_BYTES];
    struct cam_service_options options = once;
    struct cam_service_report report;
    expected_hash(whole);
    use_limited_disk();
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    options.progress = fill_at_30;
    options.watch = note_pauses;
    most_refused = 3;
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    cr_assert_eq(n_paused, 1);
    cr_assert_eq(n_resumed, 1);
    cr_assert_eq(n_refused, 3);
    hash(&w, paused);
    cr_assert_str_eq(whole, paused);
    cr_assert_eq(ask("SELECT count(*) FROM v1_events WHERE kind = 'disk_full'"), 1);
    end(&w);
}

Test(service, C06_once_gives_up_on_a_full_disk_and_loses_nothing) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    struct cam_service_options options = once;
    struct cam_service_report report;
    expected_hash(whole);
    use_limited_disk();
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    options.progress = fill_at_30;
    cr_assert_eq(cam_service_run(w.workspace, w.trainer, &options, &report), CAM_ERR_FULL);
    cr_assert(strstr(cam_message(), "make room"), "%s", cam_message());
    cr_assert_eq(cam_status_exit_code(CAM_ERR_FULL), 74);
    is_full = 0;
    shut(&w);
    reopen(&w);
    cr_assert_geq(ask("SELECT max(step) FROM v1_steps"), 25);
    advance(&w, 0);
    hash(&w, resumed);
    cr_assert_str_eq(whole, resumed);
    end(&w);
}

/* The database may not grow past what it has now; 0: as it likes. */
static enum cam_status limit_pages(sqlite3 *sqlite, void *context) {
    const int *limited = context;
    sqlite3_stmt *s;
    int64_t pages = 0;
    char sql[80];
    cr_assert_eq(sqlite3_prepare_v2(sqlite, "PRAGMA page_count", -1, &s, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(s), SQLITE_ROW);
    pages = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld",
             *limited ? (long long)pages : 1073741823LL);
    cr_assert_eq(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
    return CAM_OK;
}

static void limit_database(int limited) {
    OK(cam_database_call(w.database, limit_pages, &limited));
}

static void limit_at_30(void *context, const struct cam_progress *progress) {
    (void)context;
    if (progress->step == 30 && n_paused == 0)
        limit_database(1);
}

static void lift_at_second_pause(void *context, enum cam_service_event event, const char *text) {
    (void)context;
    if (event != CAM_SERVICE_PAUSED)
        return;
    cr_assert(strstr(text, "the disk is full"), "%s", text);
    if (++n_paused == 2)
        limit_database(0);
}

Test(service, C06_a_full_database_pauses_and_goes_on_with_the_same_bits) {
    char whole[CAM_HASH_HEX_BYTES], paused[CAM_HASH_HEX_BYTES];
    struct cam_service_options options = once;
    struct cam_service_report report;
    expected_hash_of(14, whole);
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 14);
    options.progress = limit_at_30;
    options.watch = lift_at_second_pause;
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    cr_assert_geq(n_paused, 1); /* what was taken back may leave room enough */
    hash(&w, paused);
    cr_assert_str_eq(whole, paused);
    end(&w);
}

/* A signal ends the pause; what could not be saved is done again. */
static void stop_in_pause(void *context, enum cam_service_event event, const char *text) {
    (void)context, (void)text;
    if (event == CAM_SERVICE_PAUSED)
        raise(SIGTERM);
}

Test(service, C21_sigterm_while_the_disk_is_full_ends_well) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    struct cam_service_options options = {.first_retry_ms = 60000};
    struct cam_service_report report;
    expected_hash(whole);
    use_limited_disk();
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    cam_service_catch_signals();
    options.progress = fill_at_30;
    options.watch = stop_in_pause;
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    cr_assert(report.stopped);
    is_full = 0;
    shut(&w);
    reopen(&w);
    advance(&w, 0);
    hash(&w, resumed);
    cr_assert_str_eq(whole, resumed);
    end(&w);
}

/* ---- signals ---- */

static void term_at_10(void *context, const struct cam_progress *progress) {
    (void)context;
    if (progress->step == 10)
        raise(SIGTERM);
}

Test(service, C21_sigterm_in_training_finishes_the_step_and_saves_it) {
    char whole[CAM_HASH_HEX_BYTES], resumed[CAM_HASH_HEX_BYTES];
    struct cam_service_options options = {.progress = term_at_10};
    struct cam_service_report report;
    expected_hash(whole);
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    cam_service_catch_signals();
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    cr_assert(report.stopped);
    cr_assert_eq(report.steps, 10);
    shut(&w);
    reopen(&w);
    cr_assert_eq(ask("SELECT max(step) FROM v1_steps"), 10);
    advance(&w, 0);
    hash(&w, resumed);
    cr_assert_str_eq(whole, resumed);
    end(&w);
}

static ssize_t term_at_write(void *context, int fd, const void *bytes, size_t n_bytes) {
    (void)context;
    raise(SIGTERM);
    return write(fd, bytes, n_bytes);
}

Test(service, C21_sigterm_in_a_snapshot_finishes_the_snapshot) {
    static struct cam_fs fs;
    struct cam_service_options options = {0};
    struct cam_service_report report;
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    advance(&w, 0);
    OK(cam_journal_control(w.database, CAM_ITEM_SNAPSHOT, "kept", NULL, "test", NULL));
    shut(&w);
    fs = *cam_fs_system();
    fs.write = term_at_write;
    cam_fs_replace(&fs);
    cam_service_catch_signals();
    reopen(&w);
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    cr_assert(report.stopped);
    shut(&w);
    cam_fs_replace(NULL);
    reopen(&w);
    advance(&w, 0);
    cr_assert_eq(ask("SELECT count(*) FROM v1_snapshots WHERE tag = 'kept'"), 1);
    OK(cam_trainer_rollback(w.trainer, "kept", CAM_ROLLBACK_SET_ASIDE, "test", NULL));
    end(&w);
}

/* ---- the desk ---- */

static struct cam_desk *desk;
static int n_called;

static enum cam_status third_time(void *context, struct cam_trainer *trainer, enum cam_advance did,
                                  int *done) {
    (void)did;
    cr_assert_eq(trainer, w.trainer);
    *done = ++n_called == 3;
    *(pthread_t *)context = pthread_self();
    return CAM_OK;
}

static enum cam_status refuse(void *context, struct cam_trainer *trainer, enum cam_advance did,
                              int *done) {
    (void)context, (void)trainer, (void)did, (void)done;
    return cam_fail(CAM_ERR_DATA, "the desk says no");
}

static void *other_thread(void *context) {
    pthread_t ran_on = pthread_self();
    (void)context;
    OK(cam_desk_call(desk, third_time, &ran_on, NULL, NULL));
    cr_assert(!pthread_equal(ran_on, pthread_self()));
    cr_assert_eq(cam_desk_call(desk, refuse, NULL, NULL, NULL), CAM_ERR_DATA);
    cr_assert_str_eq(cam_message(), "the desk says no");
    raise(SIGTERM);
    return NULL;
}

Test(service, what_is_left_at_the_desk_is_done_between_steps) {
    struct cam_service_options options = {0};
    struct cam_service_report report;
    pthread_t thread;
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    cam_service_catch_signals();
    OK(cam_desk_new(&desk));
    options.desk = desk;
    cr_assert_eq(pthread_create(&thread, NULL, other_thread, NULL), 0);
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    pthread_join(thread, NULL);
    cr_assert_eq(cam_desk_call(desk, refuse, NULL, NULL, NULL), CAM_ERR_BUSY);
    cr_assert_eq(cam_desk_enter(desk), CAM_ERR_BUSY);
    cam_desk_free(desk);
    end(&w);
}

static int impatient(void *context) {
    (void)context;
    return 0;
}

Test(service, who_does_not_wait_is_forgotten) {
    int context = 0;
    OK(cam_desk_new(&desk));
    OK(cam_desk_enter(desk));
    cr_assert_eq(cam_desk_call(desk, refuse, &context, impatient, NULL), CAM_STOPPED);
    cr_assert_eq(cam_desk_close_if_empty(desk), 0, "somebody is inside");
    cam_desk_leave(desk);
    cam_desk_attend(desk, NULL, CAM_ADVANCE_IDLE);
    cr_assert_eq(cam_desk_close_if_empty(desk), 1);
    cam_desk_free(desk);
}

/* ---- SIGHUP ---- */

static char policy_path[CAM_PATH_BYTES];
static int n_reloaded;

static void write_policy(const char *sql) {
    FILE *file = fopen(policy_path, "w");
    cr_assert_not_null(file);
    fputs(sql, file);
    fclose(file);
}

static void break_policy_at_5(void *context, const struct cam_progress *progress) {
    (void)context;
    if (progress->step == 5) {
        write_policy("DROP TABLE journal;");
        raise(SIGHUP);
    }
}

static void count_reloads(void *context, enum cam_service_event event, const char *text) {
    (void)context, (void)text;
    n_reloaded += event == CAM_SERVICE_RELOADED;
}

Test(service, C22_sighup_with_a_bad_policy_keeps_the_old_one_while_training) {
    struct cam_service_options options = once;
    struct cam_service_report report;
    begin(&w, 1, "naive");
    ingest_few(&w, "tiny.ndjson", 6);
    snprintf(policy_path, sizeof policy_path, "%s/own.sql", w.dir);
    write_policy("CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.25);");
    cam_service_catch_signals();
    options.policy = policy_path;
    options.progress = break_policy_at_5;
    options.watch = count_reloads;
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    cr_assert_eq(n_reloaded, 1);
    cr_assert_eq(ask("SELECT count(*) FROM v1_journal WHERE kind = 'policy'"), 1);
    cr_assert_eq(ask("SELECT count(*) FROM v1_policies WHERE in_force AND name = 'own'"), 1);
    end(&w);
}
