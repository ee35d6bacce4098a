/* small_run.h - a run so small that a test can afford it hundreds of times, and yet one of
 * everything: checkpoints, growth, freezing, replay, an evaluation, a snapshot with a tag, a prune.
 *
 * small_prepare makes the workspace and learns what an uninterrupted run ends with; small_copy
 * gives a fresh copy; small_run is what the program does with it; small_expect lets whatever that
 * left finish in peace and compares.  Include it in one file a test program. */
#ifndef CAM_TESTS_FAULT_SMALL_RUN_H
#define CAM_TESTS_FAULT_SMALL_RUN_H

#include "base/fs.h"
#include "run/service.h"
#include "run/tiny_world.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define SMALL_VIEWS 40

static char small_from[400];                  /* the prepared workspace */
static char small_hash[CAM_HASH_HEX_BYTES];   /* of the model at the end */
static char small_digest[CAM_HASH_HEX_BYTES]; /* of the history at the end */

static const char small_policy[] =
    "-- small: grows and freezes at once.\n"
    "CREATE VIEW policy_settings (key, value) AS VALUES ('replay.share', 0.5);\n"
    "CREATE VIEW decide_grow (layer, amount, reason, evidence) AS SELECT -1, 2, 'test', '{}'"
    " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step = 2;\n"
    "CREATE VIEW decide_freeze (layer, amount, reason, evidence) AS SELECT -1, 0, 'test', '{}'"
    " FROM (SELECT max(step) AS step FROM v1_steps) WHERE step = 6;\n";

static inline void small_settings(struct cam_settings *settings) {
    static const char *const set[][2] = {{"model.width", "16"},
                                         {"model.blocks", "1"},
                                         {"model.heads", "2"},
                                         {"model.kv_heads", "1"},
                                         {"model.hidden", "16"},
                                         {"model.context", "16"},
                                         {"model.ff", "dense+peer"},
                                         {"peer.heads", "1"},
                                         {"peer.top_k", "2"},
                                         {"peer.key_width", "16"},
                                         {"peer.subkeys", "8"},
                                         {"peer.max_subkeys", "16"},
                                         {"train.rows", "4"},
                                         {"train.warmup_steps", "5"},
                                         {"usage.window_steps", "5"},
                                         {"checkpoint.every_steps", "3"},
                                         {"grow.ramp_steps", "4"},
                                         {"probe.share", "0"},
                                         {"threads", "1"}};
    cam_settings_defaults(settings);
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        OK(cam_settings_set(settings, set[i][0], set[i][1]));
}

static inline void small_documents(struct cam_database *database, const char *const *texts,
                                   size_t n) {
    struct cam_journal_writer *writer;
    OK(cam_journal_writer_open(database, 0, "test", &writer));
    struct cam_document_sink sink = cam_journal_writer_sink(writer);
    for (size_t i = 0; i < n; i++) {
        struct cam_document document = {
            .domain = "test", .text = texts[i], .text_bytes = strlen(texts[i])};
        cr_assert_eq(sink.document(sink.context, &document), CAM_OK, "%s", cam_message());
    }
    OK(cam_journal_writer_finish(writer, NULL, NULL));
    cam_journal_writer_free(writer);
}

static inline void small_journal(struct cam_workspace *workspace) {
    static const char *const first[] = {
        "The vascular cambium of a tree is a thin layer of cells between the wood and the bark.",
        "It divides all summer: inwards it makes wood, outwards bast, and every winter it rests."};
    static const char *const then[] = {
        "So each year adds a ring, wide when rain was plenty, narrow when it was not, and whoever "
        "counts the rings can tell how old the tree was and which of its years were dry."};
    static const char probe[] = "Trees do not forget a summer, they only grow around it.";
    struct cam_database *database = cam_workspace_database(workspace);
    char path[500];
    snprintf(path, sizeof path, "%s/small.sql", cam_workspace_dir(workspace));
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(small_policy, file);
    fclose(file);
    OK(cam_policy_use(database, path, NULL));
    OK(cam_journal_probe(database, "probe", probe, strlen(probe)));
    small_documents(database, first, 2);
    OK(cam_journal_control(database, CAM_ITEM_EVALUATE, "asked", NULL, "test", NULL));
    OK(cam_journal_control(database, CAM_ITEM_SNAPSHOT, "kept", NULL, "test", NULL));
    small_documents(database, then, 1);
    OK(cam_journal_control(database, CAM_ITEM_SNAPSHOT, NULL, NULL, "test", NULL));
    OK(cam_journal_control(database, CAM_ITEM_PRUNE, NULL, NULL, "test", NULL));
    OK(cam_journal_control(database, CAM_ITEM_FLUSH, NULL, NULL, "test", NULL));
}

/* ---- copies ---- */

static const char *small_copy_from, *small_copy_to; /* nftw has no context */

static inline int small_copy_one(const char *path, const struct stat *info, int flag,
                                 struct FTW *at) {
    char to[800];
    snprintf(to, sizeof to, "%s%s", small_copy_to, path + strlen(small_copy_from));
    if (flag == FTW_D)
        return at->level == 0 ? 0 : mkdir(to, 0755);
    char *bytes = malloc((size_t)info->st_size + 1);
    int from_fd = open(path, O_RDONLY), to_fd = open(to, O_WRONLY | O_CREAT | O_EXCL, 0644);
    int bad = read(from_fd, bytes, (size_t)info->st_size) != info->st_size ||
              write(to_fd, bytes, (size_t)info->st_size) != info->st_size;
    close(from_fd);
    close(to_fd);
    free(bytes);
    return bad;
}

static inline void small_copy(char to[400]) {
    strcpy(to, "/tmp/cam-fault-XXXXXX");
    cr_assert_not_null(mkdtemp(to));
    small_copy_from = small_from;
    small_copy_to = to;
    cr_assert_eq(nftw(small_from, small_copy_one, 16, FTW_PHYS), 0);
}

static inline void small_remove(const char *dir) {
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- runs ---- */

static int small_opened; /* the last small_run got as far as to train */

/* What `cambium run --once` does.  The disk is looked at again at once. */
static inline enum cam_status small_run(const char *dir) {
    const struct cam_service_options options = {.once = 1, .first_retry_ms = 1};
    struct cam_service_report report;
    struct cam_workspace *workspace = NULL;
    struct cam_trainer *trainer = NULL;
    small_opened = 0;
    enum cam_status status = cam_workspace_open(dir, CAM_WORKSPACE_WRITE, &workspace);
    if (status == CAM_OK)
        status = cam_trainer_open(workspace, &trainer);
    small_opened = status == CAM_OK;
    if (status == CAM_OK)
        status = cam_service_run(workspace, trainer, &options, &report);
    cam_trainer_close(trainer);
    cam_workspace_close(workspace);
    return status;
}

/* One hash of all that tools/history-diff compares. */
static inline void small_digest_of(const char *dir, char hex[CAM_HASH_HEX_BYTES]) {
    static const char views[] =
        "SELECT 'SELECT ' || group_concat('quote(\"' || c.name || '\")', '||'',''||') || ' FROM '"
        " || m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c"
        " WHERE m.type = 'view' AND m.name LIKE 'v1~_%' ESCAPE '~' AND m.name <> 'v1_events'"
        " AND c.name NOT LIKE '%~_at' ESCAPE '~' AND c.name NOT LIKE '%~_seconds' ESCAPE '~'"
        " AND c.name NOT LIKE '%~_per~_s' ESCAPE '~' AND NOT (m.name = 'v1_snapshots' AND c.name"
        " IN ('id', 'parent', 'bytes_unique', 'bytes_shared')) AND NOT (m.name = 'v1_lineages'"
        " AND c.name = 'snapshot') GROUP BY m.name ORDER BY m.name";
    char path[500], *queries[SMALL_VIEWS];
    sqlite3 *sqlite;
    sqlite3_stmt *s;
    size_t n = 0;
    struct cam_hasher *hasher = cam_hasher_new();
    snprintf(path, sizeof path, "%s/history.db", dir);
    cr_assert_eq(sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(sqlite, views, -1, &s, NULL), SQLITE_OK);
    while (sqlite3_step(s) == SQLITE_ROW && n < SMALL_VIEWS)
        queries[n++] = strdup((const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    cr_assert_gt(n, 15);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(sqlite3_prepare_v2(sqlite, queries[i], -1, &s, NULL), SQLITE_OK, "%s",
                     queries[i]);
        while (sqlite3_step(s) == SQLITE_ROW)
            cam_hasher_add(hasher, sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0));
        sqlite3_finalize(s);
        free(queries[i]);
    }
    sqlite3_close(sqlite);
    cam_hash_hex(cam_hasher_value(hasher), hex);
    cam_hasher_free(hasher);
}

static inline void small_problem(void *context, const char *problem) {
    snprintf(context, 300, "%.299s", problem);
}

/* The run in DIR, whatever became of it, ends as an uninterrupted one does; FINISHED: it has
 * nothing left to do.  Removes DIR.  WHAT names the case in messages. */
static inline void small_expect(const char *dir, int finished, const char *what) {
    struct world w = {.workspace = NULL};
    char hex[CAM_HASH_HEX_BYTES], problem[300] = "";
    enum cam_advance did = CAM_ADVANCE_STEP;
    int64_t n_problems = 0;
    snprintf(w.dir, sizeof w.dir, "%s", dir);
    enum cam_status status = cam_workspace_open(dir, CAM_WORKSPACE_WRITE, &w.workspace);
    if (status == CAM_OK)
        status = cam_trainer_open(w.workspace, &w.trainer);
    cr_assert_eq(status, CAM_OK, "%s: does not open again: %s", what, cam_message());
    OK(cam_trainer_advance(w.trainer, &did));
    cr_assert(!finished || did == CAM_ADVANCE_IDLE, "%s: ended well and was not done", what);
    while (did != CAM_ADVANCE_IDLE)
        OK(cam_trainer_advance(w.trainer, &did));
    hash(&w, hex);
    cr_assert_str_eq(hex, small_hash, "%s: other bits", what);
    OK(cam_trainer_verify(w.trainer, small_problem, problem, &n_problems));
    cr_assert_eq(n_problems, 0, "%s: %s", what, problem);
    shut(&w);
    small_digest_of(dir, hex);
    cr_assert_str_eq(hex, small_digest, "%s: another history (%s)", what, dir);
    small_remove(dir);
}

static inline void small_prepare(void) {
    struct cam_settings settings;
    struct cam_tokenizer *tokenizer;
    struct cam_workspace *workspace;
    char whole[400];
    struct world w = {.workspace = NULL};
    cam_log_set_sink(quiet, NULL);
    strcpy(small_from, "/tmp/cam-fault-XXXXXX");
    cr_assert_not_null(mkdtemp(small_from));
    small_settings(&settings);
    OK(cam_workspace_open(small_from, CAM_WORKSPACE_CREATE, &workspace));
    OK(cam_workspace_finish_init(workspace, &settings));
    OK(cam_policy_init(cam_workspace_database(workspace), "naive"));
    OK(cam_tokenizer_bytes_new(&tokenizer));
    OK(cam_trainer_init(workspace, &settings, tokenizer));
    cam_tokenizer_free(tokenizer);
    small_journal(workspace);
    cam_workspace_close(workspace);

    small_copy(whole);
    OK(small_run(whole));
    strcpy(w.dir, whole);
    reopen(&w);
    hash(&w, small_hash);
    shut(&w);
    small_digest_of(whole, small_digest);
    small_remove(whole);
}

/* How many cases a sweep is to have: MOST, or what CAM_FAULT_CASES in the environment says. */
static inline long small_cases(long most) {
    const char *asked = getenv("CAM_FAULT_CASES");
    return asked && atol(asked) > 0 ? atol(asked) : most;
}

static inline void small_forget(void) {
    small_remove(small_from);
}

#endif
