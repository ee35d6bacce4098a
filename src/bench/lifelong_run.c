/* One run: a workspace filled with the arm's documents and walked to the end of its journal. */
#include "base/fs.h"
#include "base/rng.h"
#include "bench/lifelong_internal.h"
#include "growth/policy.h"
#include "run/trainer.h"
#include "store/journal.h"
#include "store/query.h"
#include "text/tokenizer.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what a run is made of ---- */

static enum cam_status apply_list(struct cam_settings *settings, const char *list) {
    char item[CAM_SETTING_TEXT_BYTES];
    while (*list) {
        size_t n = strcspn(list, " ");
        snprintf(item, sizeof item, "%.*s", (int)n, list);
        char *equals = strchr(item, '=');
        if (equals) {
            *equals = '\0';
            CAM_TRY(cam_settings_set(settings, item, equals + 1));
        }
        list += n + strspn(list + n, " ");
    }
    return CAM_OK;
}

enum cam_status cam_lifelong_settings(const struct cam_lifelong_run *run,
                                      struct cam_settings *settings) {
    *settings = *run->plan->settings;
    /* Every document is trained on, whatever the policy would hold out; evaluations come at the
     * ends of stages, so that all arms have the same. */
    CAM_TRY(cam_settings_set(settings, "probe.share", "0"));
    CAM_TRY(cam_settings_set(settings, "policy.ignore", "evaluate,snapshot"));
    CAM_TRY(cam_settings_set(settings, "policy", run->arm->policy));
    CAM_TRY(apply_list(settings, run->arm->settings));
    settings->seed = run->seed;
    if (run->plan->n_jobs > 1)
        settings->threads = 1;
    if (run->subkeys)
        settings->peer_subkeys = run->subkeys;
    if (settings->peer_max_subkeys < settings->peer_subkeys)
        settings->peer_max_subkeys = settings->peer_subkeys;
    return CAM_OK;
}

static enum cam_status make(const struct cam_lifelong_run *run, struct cam_workspace *workspace) {
    struct cam_database *database = cam_workspace_database(workspace);
    const struct cam_lifelong_stream *heldout = run->plan->heldout;
    struct cam_tokenizer *tokenizer = NULL;
    struct cam_settings settings;
    CAM_TRY(cam_lifelong_settings(run, &settings));
    CAM_TRY(cam_workspace_begin_init(workspace, &settings));
    CAM_TRY(cam_policy_init(database, settings.policy));
    for (size_t i = 0; i < heldout->n_documents; i++) {
        const struct cam_lifelong_document *d = &heldout->documents[i];
        CAM_TRY(cam_journal_probe(database, heldout->domains[d->i_domain], d->text, d->text_bytes));
    }
    CAM_TRY(cam_tokenizer_default(&tokenizer));
    enum cam_status status = cam_trainer_init(workspace, &settings, tokenizer);
    cam_tokenizer_free(tokenizer);
    return status == CAM_OK ? cam_workspace_finish_init(workspace, &settings) : status;
}

/* ---- the journal ---- */

/* The order of an arm: as the stream has it, or a Fisher-Yates shuffle by the run's seed. */
static void order_documents(const struct cam_lifelong_run *run, size_t *order) {
    size_t n = run->plan->stream->n_documents;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n; run->arm->shuffled && i > 1; i--) {
        struct cam_random random =
            cam_random_at((uint64_t)run->seed, CAM_PURPOSE_BENCH, (uint64_t)i, 0);
        size_t j = (size_t)cam_random_below(random, i), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

static enum cam_status journal_documents(const struct cam_lifelong_run *run,
                                         struct cam_database *database, const size_t *order,
                                         size_t n) {
    const struct cam_lifelong_stream *stream = run->plan->stream;
    struct cam_journal_writer *writer = NULL;
    enum cam_status status = CAM_OK;
    CAM_TRY(cam_journal_writer_open(database, 0, "bench", &writer));
    struct cam_document_sink sink = cam_journal_writer_sink(writer);
    for (size_t i = 0; i < n && status == CAM_OK; i++) {
        const struct cam_lifelong_document *d = &stream->documents[order[i]];
        struct cam_document document = {.id = d->id,
                                        .url = d->url,
                                        .title = d->title,
                                        .published = d->published,
                                        .domain = stream->domains[d->i_domain],
                                        .text = d->text,
                                        .text_bytes = d->text_bytes};
        status = (enum cam_status)sink.document(sink.context, &document);
    }
    if (status == CAM_OK)
        status = cam_journal_writer_finish(writer, NULL, NULL);
    cam_journal_writer_free(writer);
    return status;
}

static enum cam_status journal_stage(struct cam_database *database, size_t stage) {
    char name[32];
    snprintf(name, sizeof name, "stage %zu", stage);
    CAM_TRY(cam_journal_control(database, CAM_ITEM_FLUSH, NULL, NULL, "bench", NULL));
    return cam_journal_control(database, CAM_ITEM_EVALUATE, name, NULL, "bench", NULL);
}

/* Where in ORDER the last document of each stage is: a stage ends with its domain. */
static void find_ends(const struct cam_lifelong_run *run, const size_t *order, size_t *end) {
    const struct cam_lifelong_stream *stream = run->plan->stream;
    for (size_t i = 0; i < stream->n_documents; i++)
        end[stream->documents[order[i]].i_domain] = i + 1;
    if (run->arm->shuffled)
        for (size_t d = 0; d < stream->n_domains; d++)
            end[d] = stream->n_documents;
    for (size_t d = 1; d < stream->n_domains; d++) /* interleaved: stages end in domain order */
        if (end[d] < end[d - 1])
            end[d] = end[d - 1];
}

static enum cam_status journal_all(const struct cam_lifelong_run *run,
                                   struct cam_database *database) {
    const struct cam_lifelong_stream *stream = run->plan->stream;
    size_t end[CAM_LIFELONG_DOMAINS] = {0}, from = 0;
    size_t *order = malloc((stream->n_documents + 1) * sizeof *order);
    if (!order)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu documents", stream->n_documents);
    order_documents(run, order);
    find_ends(run, order, end);
    enum cam_status status = journal_stage(database, 0);
    for (size_t d = 0; d < stream->n_domains && status == CAM_OK; d++) {
        if (run->arm->shuffled && d + 1 < stream->n_domains)
            continue; /* no stage but the last */
        status = journal_documents(run, database, order + from, end[d] - from);
        from = end[d];
        if (status == CAM_OK)
            status = journal_stage(database, d + 1);
    }
    free(order);
    return status;
}

static enum cam_status is_journalled(const struct cam_lifelong_run *run,
                                     struct cam_database *database, int *journalled) {
    char name[32];
    int64_t found;
    const char *const parameters[] = {name, NULL};
    snprintf(name, sizeof name, "stage %zu", run->plan->stream->n_domains);
    CAM_TRY(cam_query_int(database,
                          "SELECT count(*) FROM v1_journal WHERE kind = 'evaluate' AND name = ?1",
                          parameters, 0, &found));
    *journalled = found > 0;
    return CAM_OK;
}

/* ---- what came of it ---- */

static enum cam_status take_score(void *context, const struct cam_value *row, size_t n) {
    struct cam_lifelong_run *run = context;
    const struct cam_lifelong_stream *stream = run->plan->stream;
    size_t stage = 0;
    (void)n;
    if (sscanf(row[0].text, "stage %zu", &stage) != 1 || stage > stream->n_domains)
        return CAM_OK;
    for (size_t d = 0; d < stream->n_domains; d++)
        if (strcmp(stream->domains[d], row[1].text) == 0)
            run->result.r[stage][d] = row[2].real;
    return CAM_OK;
}

static enum cam_status take_totals(void *context, const struct cam_value *row, size_t n) {
    struct cam_lifelong_result *x = context;
    (void)n;
    x->prequential_bpb = row[0].real;
    x->tokens = row[1].whole;
    x->replay_tokens = row[2].whole;
    x->steps = row[3].whole;
    x->seconds = row[4].real;
    x->tokens_per_s = x->seconds > 0 ? (double)(x->tokens + x->replay_tokens) / x->seconds : NAN;
    return CAM_OK;
}

static enum cam_status collect(struct cam_lifelong_run *run, struct cam_workspace *workspace,
                               const struct cam_trainer *trainer) {
    struct cam_database *database = cam_workspace_database(workspace);
    struct cam_lifelong_result *x = &run->result;
    struct cam_trainer_size size;
    x->n_domains = run->plan->stream->n_domains;
    for (size_t i = 0; i <= CAM_LIFELONG_DOMAINS; i++)
        for (size_t j = 0; j < CAM_LIFELONG_DOMAINS; j++)
            x->r[i][j] = NAN;
    CAM_TRY(cam_query(database,
                      "SELECT reason, domain, nll / (bytes * 0.6931471805599453) FROM"
                      " v1_evaluations WHERE reason LIKE 'stage %' ORDER BY evaluation",
                      NULL, take_score, run));
    CAM_TRY(cam_query(database,
                      "SELECT sum(nll_new) / (sum(new_bytes) * 0.6931471805599453),"
                      " coalesce(sum(new_tokens), 0), coalesce(sum(replay_tokens), 0), count(*),"
                      " coalesce(sum(step_seconds), 0) FROM v1_steps",
                      NULL, take_totals, x));
    CAM_TRY(cam_query_int(database, "SELECT max(subkeys_to) FROM v1_generations", NULL, 0,
                          &x->subkeys));
    cam_trainer_size(trainer, &size);
    x->experts = size.experts;
    x->flops_per_token = size.flops;
    x->state_bytes = size.bytes;
    cam_lifelong_measure(x);
    return CAM_OK;
}

/* ---- all of it ---- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

/* A run's folder is ours alone: we made it, under a name of ours. */
static enum cam_status remove_run(const char *dir) {
    if (nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot remove", dir);
    return CAM_OK;
}

/* Opens the run's workspace with everything journalled: one that was killed while training goes
 * on, one that was killed before is made again. */
static enum cam_status open_workspace(const struct cam_lifelong_run *run,
                                      struct cam_workspace **workspace) {
    int journalled = 0;
    enum cam_status status = cam_workspace_open(run->dir, CAM_WORKSPACE_WRITE, workspace);
    if (status == CAM_OK) {
        status = is_journalled(run, cam_workspace_database(*workspace), &journalled);
        if (status == CAM_OK && journalled)
            return CAM_OK;
        cam_workspace_close(*workspace);
        *workspace = NULL;
    }
    if (status == CAM_ERR_BUSY)
        return status;
    CAM_TRY(remove_run(run->dir));
    CAM_TRY(cam_workspace_open(run->dir, CAM_WORKSPACE_CREATE, workspace));
    CAM_TRY(make(run, *workspace));
    return journal_all(run, cam_workspace_database(*workspace));
}

static enum cam_status walk(struct cam_trainer *trainer) {
    enum cam_advance did;
    do
        CAM_TRY(cam_trainer_advance(trainer, &did));
    while (did != CAM_ADVANCE_IDLE);
    return cam_trainer_checkpoint(trainer);
}

enum cam_status cam_lifelong_run_one(struct cam_lifelong_run *run) {
    struct cam_workspace *workspace = NULL;
    struct cam_trainer *trainer = NULL;
    enum cam_status status = open_workspace(run, &workspace);
    if (status == CAM_OK)
        status = cam_trainer_open(workspace, &trainer);
    if (status == CAM_OK)
        status = walk(trainer);
    if (status == CAM_OK)
        status = collect(run, workspace, trainer);
    cam_trainer_close(trainer);
    cam_workspace_close(workspace);
    if (status == CAM_OK && !run->plan->keep)
        status = remove_run(run->dir);
    return status;
}
