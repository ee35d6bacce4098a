/* store_fixture.h - a workspace in a temporary folder, and short ways to put things into it. */
#ifndef CAM_TESTS_STORE_FIXTURE_H
#define CAM_TESTS_STORE_FIXTURE_H

#include "base/settings.h"
#include "growth/policy.h"
#include "store/history.h"
#include "store/journal.h"
#include "store/snapshot.h"
#include "store/workspace.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        enum cam_status ok_ = (call);                                                              \
        cr_assert(ok_ == CAM_OK, "%s: %s", #call, cam_message());                                  \
    } while (0)
#define FAILS(status, call)                                                                        \
    do {                                                                                           \
        enum cam_status got_ = (call);                                                             \
        cr_assert(got_ == (status), "%s: %s, not %s: %s", #call, cam_status_name(got_), #status,   \
                  got_ == CAM_OK ? "" : cam_message());                                            \
    } while (0)
#define SAYS(text) cr_assert(strstr(cam_message(), text), "'%s' lacks '%s'", cam_message(), text)

struct fixture {
    char dir[256];
    struct cam_workspace *workspace;
    struct cam_database *database;
};

static inline int fixture_remove(const char *path, const struct stat *info, int flag,
                                 struct FTW *at) {
    (void)info, (void)flag, (void)at;
    return remove(path);
}

static inline void fixture_dir(struct fixture *f) {
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/cam-store-XXXXXX");
    cr_assert(mkdtemp(f->dir) != NULL);
    chmod(f->dir, 0755);
}

static inline void fixture_init_with(struct fixture *f, const struct cam_settings *settings) {
    fixture_dir(f);
    OK(cam_workspace_open(f->dir, CAM_WORKSPACE_CREATE, &f->workspace));
    f->database = cam_workspace_database(f->workspace);
    OK(cam_workspace_finish_init(f->workspace, settings));
    OK(cam_policy_init(f->database, "naive"));
}

/* No probe draw unless a test asks for it. */
static inline void fixture_init(struct fixture *f) {
    struct cam_settings settings;
    cam_settings_defaults(&settings);
    settings.probe_share = 0;
    fixture_init_with(f, &settings);
}

static inline void fixture_close(struct fixture *f) {
    cam_workspace_close(f->workspace);
    f->workspace = NULL;
    f->database = NULL;
}

static inline void fixture_reopen(struct fixture *f) {
    fixture_close(f);
    OK(cam_workspace_open(f->dir, CAM_WORKSPACE_WRITE, &f->workspace));
    f->database = cam_workspace_database(f->workspace);
}

static inline void fixture_release(struct fixture *f) {
    fixture_close(f);
    nftw(f->dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Whole text of the first column of a query, one line a row, into a static buffer. */
struct fixture_query {
    const char *sql;
    char *out;
    size_t used;
};
#define FIXTURE_OUT (1u << 20)

static inline enum cam_status fixture_run_query(sqlite3 *sqlite, void *context) {
    struct fixture_query *q = context;
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(sqlite, q->sql, -1, &s, NULL) != SQLITE_OK)
        return cam_fail(CAM_ERR_INTERNAL, "%s: %s", q->sql, sqlite3_errmsg(sqlite));
    while (sqlite3_step(s) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(s); i++) {
            const unsigned char *text = sqlite3_column_text(s, i);
            q->used += (size_t)snprintf(q->out + q->used, FIXTURE_OUT - q->used, "%s%s",
                                        i ? "|" : "", text ? (const char *)text : "NULL");
            cr_assert(q->used < FIXTURE_OUT);
        }
        q->used += (size_t)snprintf(q->out + q->used, FIXTURE_OUT - q->used, "\n");
    }
    sqlite3_finalize(s);
    return CAM_OK;
}

/* Caller frees. */
static inline char *fixture_rows(struct fixture *f, const char *sql) {
    struct fixture_query q = {.sql = sql, .out = malloc(FIXTURE_OUT)};
    *q.out = '\0';
    OK(cam_database_call(f->database, fixture_run_query, &q));
    return q.out;
}

static inline int64_t fixture_int(struct fixture *f, const char *sql) {
    char *text = fixture_rows(f, sql);
    int64_t value = atoll(text);
    free(text);
    return value;
}

#define ROWS(f, sql, expected)                                                                     \
    do {                                                                                           \
        char *rows_ = fixture_rows(f, sql);                                                        \
        cr_assert(strcmp(rows_, expected) == 0, "%s\ngot:\n%s\nexpected:\n%s", sql, rows_,         \
                  expected);                                                                       \
        free(rows_);                                                                               \
    } while (0)

static inline struct cam_admission_counts fixture_ingest(struct fixture *f, int64_t feed,
                                                         const char *source,
                                                         const struct cam_document *documents,
                                                         size_t n) {
    struct cam_journal_writer *writer;
    struct cam_admission_counts counts;
    OK(cam_journal_writer_open(f->database, feed, source, &writer));
    struct cam_document_sink sink = cam_journal_writer_sink(writer);
    for (size_t i = 0; i < n; i++)
        cr_assert(sink.document(sink.context, &documents[i]) == CAM_OK);
    OK(cam_journal_writer_finish(writer, NULL, &counts));
    cam_journal_writer_free(writer);
    return counts;
}

/* One document of domain DOMAIN whose text is unlike any other number's. */
static inline void fixture_text(char text[160], const char *domain, int number) {
    snprintf(text, 160,
             "Text number %d of the domain %s, which tells of %d hares and %d tortoises.", number,
             domain, 7 * number + 3, 13 * number + 1);
}

static inline void fixture_documents(struct fixture *f, const char *domain, int from, int n) {
    struct cam_document *documents = calloc((size_t)n, sizeof *documents);
    char(*texts)[160] = calloc((size_t)n, sizeof *texts);
    for (int i = 0; i < n; i++) {
        fixture_text(texts[i], domain, from + i);
        documents[i] = (struct cam_document){
            .domain = domain, .title = "title", .text = texts[i], .text_bytes = strlen(texts[i])};
    }
    fixture_ingest(f, 0, "test", documents, (size_t)n);
    free(documents);
    free(texts);
}

/* A step that finishes document DOCUMENT (0: none) and leaves the cursor at POSITION. */
static inline void fixture_step_nll(struct fixture *f, int64_t step, int64_t position,
                                    int64_t document, double nll, int decide_now,
                                    struct cam_decisions *decisions) {
    struct cam_trained_document trained = {.document = document,
                                           .first_step = step,
                                           .last_step = step,
                                           .tokens = 40,
                                           .bytes = 80,
                                           .nll = nll};
    struct cam_provenance provenance = {
        .document = document, .layer = 1, .expert = 7 * step, .weight = 0.25};
    struct cam_usage usage = {.layer = 1,
                              .window_steps = 1,
                              .picks = 32,
                              .gate_mass = 4,
                              .used_experts = 10,
                              .n_experts = 64,
                              .unevenness = 0.5,
                              .hub_share = 0.1};
    struct cam_step_commit commit = {.step = step,
                                     .position = position,
                                     .new_tokens = 40,
                                     .new_bytes = 80,
                                     .nll_new = nll,
                                     .nll_replay = NAN,
                                     .grad_norm = 1,
                                     .learning_rate = 0.001,
                                     .seconds = 0.5,
                                     .documents = &trained,
                                     .n_documents = document != 0,
                                     .provenance = &provenance,
                                     .n_provenance = document != 0,
                                     .usage = &usage,
                                     .n_usage = 1,
                                     .decide = decide_now};
    OK(cam_history_commit_step(f->database, &commit, decisions));
}

static inline void fixture_step(struct fixture *f, int64_t step, int64_t document) {
    fixture_step_nll(f, step, document, document, 100.0 + (double)step, 0, NULL);
}

static inline void fixture_counts_add_up(struct fixture *f) {
    struct cam_counts c;
    OK(cam_history_counts(f->database, &c));
    cr_assert(c.journalled == c.trained + c.pending + c.quarantined + c.held_out + c.set_aside);
}

#endif
