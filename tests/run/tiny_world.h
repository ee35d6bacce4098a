/* tiny_world.h - a workspace with real text and the smallest model that has a pool, for tests of the
 * trainer and of what runs it.  Include it in one file a test program. */
#ifndef CAM_TESTS_RUN_TINY_WORLD_H
#define CAM_TESTS_RUN_TINY_WORLD_H

#include "base/log.h"
#include "feed/feed.h"
#include "growth/policy.h"
#include "run/trainer.h"
#include "store/journal.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        enum cam_status ok_ = (call);                                                              \
        cr_assert_eq(ok_, CAM_OK, "%s: %s", #call, cam_message());                                 \
    } while (0)

struct world {
    char dir[400];
    struct cam_workspace *workspace;
    struct cam_database *database;
    struct cam_trainer *trainer;
};

static inline void quiet(void *context, enum cam_log_level level, const char *line) {
    (void)context, (void)level, (void)line;
}

static inline int remove_one(const char *path, const struct stat *info, int flag, struct FTW *at) {
    (void)info, (void)flag, (void)at;
    return remove(path);
}

static inline void tiny(struct cam_settings *settings, int threads) {
    static const char *const set[][2] = {
        {"model.width", "32"},     {"model.blocks", "2"},      {"model.heads", "2"},
        {"model.kv_heads", "1"},   {"model.hidden", "32"},     {"model.context", "32"},
        {"model.ff", "dense,dense+peer"}, {"peer.heads", "2"}, {"peer.top_k", "4"},
        {"peer.key_width", "16"},  {"peer.subkeys", "16"},     {"peer.max_subkeys", "64"},
        {"train.rows", "4"},       {"train.warmup_steps", "10"}, {"usage.window_steps", "10"},
        {"checkpoint.every_steps", "25"}, {"grow.ramp_steps", "8"}};
    cam_settings_defaults(settings);
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        OK(cam_settings_set(settings, set[i][0], set[i][1]));
    settings->threads = threads;
    /* ctest runs the tests in both modes. */
    settings->model_bf16 = settings->peer_bf16 = getenv("CAM_TEST_BF16") != NULL;
}

static inline void reopen(struct world *w) {
    OK(cam_workspace_open(w->dir, CAM_WORKSPACE_WRITE, &w->workspace));
    w->database = cam_workspace_database(w->workspace);
    OK(cam_trainer_open(w->workspace, &w->trainer));
}

static inline void shut(struct world *w) {
    cam_trainer_close(w->trainer);
    cam_workspace_close(w->workspace);
    w->trainer = NULL;
    w->workspace = NULL;
}

/* With one setting of its own, unless KEY is NULL. */
static inline void begin_with(struct world *w, int threads, const char *policy, const char *key,
                              const char *value) {
    struct cam_settings settings;
    struct cam_tokenizer *tokenizer;
    cam_log_set_sink(quiet, NULL);
    memset(w, 0, sizeof *w);
    strcpy(w->dir, "/tmp/cam-trainer-XXXXXX");
    cr_assert_not_null(mkdtemp(w->dir));
    tiny(&settings, threads);
    if (key)
        OK(cam_settings_set(&settings, key, value));
    OK(cam_workspace_open(w->dir, CAM_WORKSPACE_CREATE, &w->workspace));
    OK(cam_workspace_finish_init(w->workspace, &settings));
    OK(cam_policy_init(cam_workspace_database(w->workspace), policy));
    OK(cam_tokenizer_default(&tokenizer));
    OK(cam_trainer_init(w->workspace, &settings, tokenizer));
    cam_tokenizer_free(tokenizer);
    cam_workspace_close(w->workspace);
    reopen(w);
}

static inline void begin(struct world *w, int threads, const char *policy) {
    begin_with(w, threads, policy, NULL, NULL);
}

static inline void end(struct world *w) {
    shut(w);
    nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Passes the first N_LEFT documents on. */
struct first_few {
    struct cam_document_sink inner;
    int n_left;
};

static inline int pass_few(void *context, const struct cam_document *document) {
    struct first_few *few = context;
    return few->n_left-- > 0 ? few->inner.document(few->inner.context, document) : CAM_OK;
}

static inline int pass_rejected(void *context, const char *where, const char *why) {
    struct first_few *few = context;
    return few->inner.rejected(few->inner.context, where, why);
}

static inline void ingest_few(struct world *w, const char *name, int n_documents) {
    char path[512];
    struct cam_buffer bytes;
    struct cam_feed_limits limits;
    struct cam_journal_writer *writer;
    cam_buffer_init(&bytes, 1 << 22);
    cam_feed_limits_init(&limits);
    snprintf(path, sizeof path, CAM_TEST_DATA "/bundle/%s", name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char chunk[65536];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        OK(cam_buffer_append(&bytes, chunk, n));
    fclose(file);
    OK(cam_journal_writer_open(w->database, 0, name, &writer));
    struct first_few few = {cam_journal_writer_sink(writer), n_documents};
    struct cam_document_sink sink = {pass_few, pass_rejected, &few};
    OK(cam_feed_read(bytes.data, bytes.size, cam_feed_type_of_name(name), &limits, &sink, NULL));
    OK(cam_journal_writer_finish(writer, NULL, NULL));
    cam_journal_writer_free(writer);
    cam_buffer_release(&bytes);
}

static inline void ingest(struct world *w, const char *name) {
    ingest_few(w, name, 1000000);
}

/* Advances at most N times; 0 means until idle.  Returns how often it did something. */
static inline int advance(struct world *w, int n) {
    int done = 0;
    for (enum cam_advance did = CAM_ADVANCE_STEP; n == 0 || done < n; done++) {
        OK(cam_trainer_advance(w->trainer, &did));
        if (did == CAM_ADVANCE_IDLE)
            break;
    }
    return done;
}

static inline void hash(struct world *w, char hex[CAM_HASH_HEX_BYTES]) {
    OK(cam_trainer_hash(w->trainer, hex));
}

#endif
