#include "run/trainer_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "model/average.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steps in a row that may be found unsound before the trainer stops: past it the model, not a
 * document, is to blame. */
#define MAX_UNSOUND 3
/* The same of spikes of the loss: a burst of gibberish is many documents. */
#define MAX_SPIKES 64
/* Documents shorter than this may well be all commonplace. */
#define MIN_FLAT_BYTES 200

/* Most documents that fill a row of replay. */
#define REPLAY_DRAWS 32

/* The average moves so many times in its window, and at least every so many steps: each time costs
 * a pass over all rows. */
#define AVERAGE_MOVES 16
#define AVERAGE_EVERY 64

/* What one step tells the history; the arrays live in the check arena. */
struct account {
    struct cam_trained_document *documents;
    char (*sources)[CAM_REPLAY_NAME_BYTES]; /* of documents */
    size_t n_documents;
    struct cam_provenance *provenance;
    size_t n_provenance;
    struct cam_usage *usage;
    size_t n_usage;
    struct cam_generation_change *changes;
    size_t n_changes;
    struct cam_opening *openings;
    size_t n_openings;
    double nll_new, nll_replay;
    int64_t new_bytes;
};

/* Where the batch's new documents come from, as far as one name tells it. */
static const char *source_learned(const struct cam_trainer *t) {
    return t->queue.n ? t->queue.items[0].domain : NULL;
}

/* Draw SLOT of step STEP, filled in from place USED of row I_ROW on. */
static enum cam_status pack_draw(struct cam_trainer *t, const struct cam_replay_draw *draw,
                                 size_t i_row, size_t *used) {
    char *text = NULL;
    size_t n_bytes = 0, n_ids = 0;
    uint16_t *ids = NULL;
    CAM_TRY(cam_journal_text(t->database, draw->document, &text, &n_bytes));
    enum cam_status status = cam_trainer_encode(t, text, n_bytes, &ids, &n_ids);
    free(text);
    CAM_TRY(status);
    /* The row goes on where the draw fell, or earlier if the document would end too soon. */
    size_t room = t->packed.batch.t - *used, at = (size_t)(draw->place * (double)n_ids);
    if (at + room > n_ids)
        at = n_ids > room ? n_ids - room : 0;
    status = cam_pack_replay(&t->packed, i_row, used, draw->document, ids, n_ids, at,
                             (cam_real)t->levers.replay_weight,
                             cam_tokenizer_end_of_text(t->tokenizer));
    free(ids);
    return status;
}

/* Fills rows from FIRST_ROW on; documents shorter than what is left of a row are followed by
 * others, up to a bound. */
static enum cam_status pack_replay_rows(struct cam_trainer *t, uint64_t step, size_t first_row) {
    for (size_t row = first_row; row < t->packed.batch.n_sequences; row++) {
        size_t used = 0;
        for (uint32_t i = 0; i < REPLAY_DRAWS && used < t->packed.batch.t; i++) {
            struct cam_replay_draw draw;
            if (!cam_replay_draw(&t->replay, &t->levers.replay_mix, source_learned(t),
                                 (uint64_t)t->settings.seed, step,
                                 (uint32_t)row * REPLAY_DRAWS + i, &draw))
                break;
            CAM_TRY(pack_draw(t, &draw, row, &used));
        }
    }
    return CAM_OK;
}

/* Rows of the next step that are replay; ACCOUNT is the state's once the step counts. */
static size_t replayed_rows(const struct cam_trainer *t, struct cam_replay_account *account) {
    struct cam_replay_draw draw;
    uint64_t step = t->state.step + 1;
    const char *source = source_learned(t);
    *account = t->state.replay;
    if (!cam_replay_draw(&t->replay, &t->levers.replay_mix, source, (uint64_t)t->settings.seed,
                         step, 0, &draw))
        return 0;
    return cam_replay_rows(&t->levers.replay_budget,
                           cam_replay_others(&t->replay, &t->levers.replay_mix, source),
                           t->packed.batch.n_sequences, step, account);
}

/* Mean nats of a span; infinite if any token's is not finite. */
static double span_surprise(const struct cam_span *span, const cam_real *nll) {
    double sum = 0;
    for (size_t i = 0; i < span->n; i++)
        sum += (double)nll[span->from + i];
    return isfinite(sum) ? sum / (double)span->n : INFINITY;
}

/* Puts the most surprising new document of the discarded batch aside. */
static enum cam_status quarantine_worst(struct cam_trainer *t,
                                        const struct cam_step_report *report) {
    const struct cam_span *worst = NULL;
    double most = -1;
    for (size_t i = 0; i < t->packed.n_spans; i++) {
        const struct cam_span *span = &t->packed.spans[i];
        double surprise = span_surprise(span, report->nll);
        if (span->i_pending != SIZE_MAX && surprise > most) {
            worst = span;
            most = surprise;
        }
    }
    int spiked = report->verdict == CAM_VERDICT_SPIKED;
    if (!worst || ++t->n_unsound > (spiked ? MAX_SPIKES : MAX_UNSOUND))
        return cam_fail(
            CAM_ERR_DATA,
            "%d steps in a row were unsound (loss %g, gradient norm %g, running %g): the "
            "model, not a document, is to blame; roll back (cambium snapshots, cambium "
            "rollback) or lower train.lr",
            t->n_unsound, report->loss, report->grad_norm, t->state.norm);
    char reason[160];
    if (spiked)
        snprintf(reason, sizeof reason,
                 "%.3g nats a token are past train.spike times the running %.3g bits per byte",
                 report->loss, t->state.bits_per_byte);
    else
        snprintf(reason, sizeof reason,
                 report->verdict == CAM_VERDICT_EXPLODED
                     ? "gradient norm %.3g is past train.explode times the running %.3g"
                     : "loss or gradient is not finite (norm %g, running %g)",
                 report->grad_norm, t->state.norm);
    struct cam_quarantine q = {.document = worst->document, .reason = reason,
                               .position = t->queue.items[worst->i_pending].position};
    cam_log(CAM_LOG_WARNING, "step %llu discarded, document %lld quarantined: %s",
            (unsigned long long)t->state.step + 1, (long long)q.document, reason);
    CAM_TRY(cam_history_quarantine(t->database, (int64_t)t->state.step, &q));
    if (worst->i_pending == 0 && t->queue.offset > 0) {
        t->state.offset = 0;
        memset(&t->state.front, 0, sizeof t->state.front);
    }
    cam_queue_remove(&t->queue, worst->i_pending);
    return CAM_OK;
}

/* Adds CREDIT to what the document in progress has, keeping the heaviest. */
static void merge_credit(struct cam_peer_credit *list, uint64_t *n,
                         const struct cam_peer_credit *credit) {
    size_t least = 0;
    for (size_t i = 0; i < *n; i++) {
        if (list[i].expert == credit->expert && list[i].incarnation == credit->incarnation) {
            list[i].weight += credit->weight;
            return;
        }
        if (list[i].weight < list[least].weight)
            least = i;
    }
    if (*n < CAM_CREDITS)
        list[(*n)++] = *credit;
    else if (credit->weight > list[least].weight)
        list[least] = *credit;
}

static int heavier(const void *a, const void *b) {
    const struct cam_peer_credit *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
    return x->expert < y->expert ? -1 : x->expert > y->expert;
}

static void credit_span(struct cam_trainer *t, const struct cam_span *span,
                        struct cam_front *front) {
    struct cam_peer_credit found[CAM_CREDITS];
    size_t i_block = 0;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++) {
        size_t n =
            cam_peer_top_experts(ff, span->from, span->from + span->n, CAM_CREDITS, found);
        for (size_t i = 0; i < n; i++)
            merge_credit(front->credits[i_block], &front->n_credits[i_block], &found[i]);
    }
}

/* The document of FRONT is finished: its rows for the history. */
static void finish_document(struct cam_trainer *t, struct account *a, struct cam_front *front,
                            const struct cam_pending *pending) {
    memcpy(a->sources[a->n_documents], pending->domain, sizeof *a->sources);
    a->documents[a->n_documents++] = (struct cam_trained_document){
        .document = pending->document,
        .first_step = front->first_step,
        .last_step = (int64_t)t->state.step + 1,
        .tokens = (int64_t)pending->n_ids,
        .bytes = pending->bytes,
        .nll = front->nll};
    for (size_t layer = 0; layer < t->model->shape.n_blocks; layer++) {
        struct cam_peer_credit *list = front->credits[layer];
        size_t n = front->n_credits[layer], keep = (size_t)t->settings.provenance_top;
        if (n == 0)
            continue;
        qsort(list, n, sizeof *list, heavier);
        for (size_t i = 0; i < n && i < keep; i++)
            a->provenance[a->n_provenance++] = (struct cam_provenance){
                .document = pending->document,
                .layer = (int)layer,
                .expert = (int64_t)list[i].expert,
                .incarnation = list[i].incarnation,
                .generation = list[i].generation,
                .weight = list[i].weight / (double)pending->n_ids};
    }
}

/* Books every span of the batch; the state's front becomes that of the last document begun. */
static void book_spans(struct cam_trainer *t, struct account *a, const cam_real *nll) {
    struct cam_front *front = &t->state.front;
    for (size_t i = 0; i < t->packed.n_spans; i++) {
        const struct cam_span *span = &t->packed.spans[i];
        double sum = 0;
        for (size_t j = 0; j < span->n; j++)
            sum += (double)nll[span->from + j];
        if (span->i_pending == SIZE_MAX) {
            a->nll_replay += sum;
            continue;
        }
        a->nll_new += sum;
        const struct cam_pending *pending = &t->queue.items[span->i_pending];
        for (size_t j = 0; j < span->n; j++) {
            size_t n_bytes;
            cam_tokenizer_token_bytes(t->tokenizer, pending->ids[span->at + j], &n_bytes);
            a->new_bytes += (int64_t)n_bytes;
        }
        if (span->at == 0) {
            memset(front, 0, sizeof *front);
            front->first_step = (int64_t)t->state.step + 1;
        }
        front->nll += sum;
        credit_span(t, span, front);
        if (span->at + span->n == pending->n_ids) {
            finish_document(t, a, front, pending);
            memset(front, 0, sizeof *front);
        }
        memcpy(t->domain, pending->domain, sizeof t->domain);
    }
}

#define OPENING_ROWS 16 /* of a generation that opens as fast as it may; sixteen times as many at most */

static void note_opening(struct account *a, size_t i_block, const struct cam_generation *g) {
    uint32_t every = g->ramp_steps / OPENING_ROWS ? g->ramp_steps / OPENING_ROWS : 1;
    if (g->state == CAM_GENERATION_CLOSED ||
        (g->state == CAM_GENERATION_OPENING && g->opening_steps % every != 0))
        return;
    a->openings[a->n_openings++] = (struct cam_opening){.layer = (int)i_block,
                                                        .generation = g->number,
                                                        .opening_steps = g->opening_steps,
                                                        .bias = g->bias,
                                                        .pick_share = g->pick_share,
                                                        .gate_share = g->gate_share};
}

/* Moves opening generations on and notes what changed state. */
static void open_generations(struct cam_trainer *t, struct account *a) {
    size_t i_block = 0;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++) {
        size_t n = cam_peer_n_generations(ff);
        const struct cam_generation *newest = cam_peer_generation(ff, n - 1);
        if (newest->state == CAM_GENERATION_OPEN && n > 1 &&
            cam_peer_generation(ff, n - 2)->state == CAM_GENERATION_OPEN)
            continue;
        uint32_t before[CAM_MAX_GENERATIONS];
        for (size_t g = 0; g < n; g++)
            before[g] = cam_peer_generation(ff, g)->state;
        cam_peer_open_step(ff, NULL);
        for (size_t g = 0; g < n; g++) {
            const struct cam_generation *now = cam_peer_generation(ff, g);
            if (before[g] != CAM_GENERATION_OPEN)
                note_opening(a, i_block, now);
            if (now->state == before[g])
                continue;
            a->changes[a->n_changes++] = (struct cam_generation_change){
                .layer = (int)i_block,
                .generation = now->number,
                .event = now->state == CAM_GENERATION_OPEN ? CAM_CHANGE_OPENED : CAM_CHANGE_OPENING,
                .subkeys_from = now->subkeys_from,
                .subkeys_to = now->subkeys_to,
                .first_expert = (int64_t)now->first_expert,
                .n_experts = (int64_t)now->n_experts,
                .reason = now->state == CAM_GENERATION_OPEN ? "its bias reached zero"
                                                            : "its score gap was measured"};
        }
    }
}

/* Closes the usage window when it is full. */
static void book_usage(struct cam_trainer *t, struct account *a) {
    uint64_t window = t->state.step + 1 - t->state.window_from;
    if (window < (uint64_t)t->settings.usage_window)
        return;
    size_t i_block = 0;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++) {
        for (size_t g = 0; g < cam_peer_n_generations(ff); g++) {
            struct cam_peer_usage usage;
            uint32_t number = cam_peer_generation(ff, g)->number;
            cam_peer_usage(ff, number, &usage);
            a->usage[a->n_usage++] = (struct cam_usage){.layer = (int)i_block,
                                                        .generation = number,
                                                        .window_steps = (int64_t)window,
                                                        .picks = (int64_t)usage.picks,
                                                        .gate_mass = usage.gate_mass,
                                                        .used_experts = (int64_t)usage.used,
                                                        .n_experts = (int64_t)usage.n_experts,
                                                        .unevenness = usage.unevenness,
                                                        .hub_share = usage.hub_share,
                                                        .idle_experts = (int64_t)cam_peer_n_idle(
                                                            ff, number,
                                                            (uint32_t)t->settings.recycle_idle)};
        }
        cam_peer_usage_reset(ff);
    }
    t->state.window_from = t->state.step + 1;
}

static void account_init(struct account *a, size_t n_spans, size_t n_pools,
                         struct cam_arena *arena) {
    *a = (struct account){0};
    cam_arena_reset(arena);
    a->documents = cam_arena_alloc(arena, (n_spans + 1) * sizeof *a->documents);
    a->sources = cam_arena_alloc(arena, (n_spans + 1) * sizeof *a->sources);
    a->provenance =
        cam_arena_alloc(arena, (n_spans * n_pools * CAM_CREDITS + 1) * sizeof *a->provenance);
    a->usage = cam_arena_alloc(arena, (n_pools * CAM_MAX_GENERATIONS + 1) * sizeof *a->usage);
    a->changes = cam_arena_alloc(arena, (n_pools * CAM_MAX_GENERATIONS + 1) * sizeof *a->changes);
    a->openings = cam_arena_alloc(arena, (n_pools * CAM_MAX_GENERATIONS + 1) * sizeof *a->openings);
}

/* A step and what is written down about it. */
struct stepping {
    struct cam_trainer *t;
    struct account *account;
};

static void compute_step(void *context) {
    const struct stepping *s = context;
    struct cam_trainer *t = s->t;
    size_t n_pools = 0, i_block = 0;
    for (; cam_trainer_pool(t, &i_block); i_block++)
        n_pools++;
    account_init(s->account, t->packed.n_spans, n_pools, &t->check_arena);
    cam_step_run(t->model, t->threads, &t->arena, &t->recipe, &t->packed.batch, t->state.step + 1,
                 t->state.norm, &t->last);
}

/* The cursor after consuming the packed tokens (see cam_step_commit). */
static void move_cursor(struct cam_trainer *t) {
    size_t last = 0;
    for (size_t i = 0; i < t->packed.n_spans; i++)
        if (t->packed.spans[i].i_pending != SIZE_MAX)
            last = t->packed.spans[i].i_pending;
    t->state.position = t->queue.items[last].position;
    cam_queue_consume(&t->queue, t->packed.n_new);
    t->state.offset = (int64_t)t->queue.offset;
}

static void running_scores(struct cam_trainer *t, const struct account *a, double grad_norm) {
    const double keep = 0.98;
    t->state.norm = t->state.norm > 0 ? keep * t->state.norm + (1 - keep) * grad_norm : grad_norm;
    if (a->new_bytes > 0) {
        double bpb = a->nll_new / log(2) / (double)a->new_bytes;
        t->state.bits_per_byte = t->state.bits_per_byte > 0
                                     ? keep * t->state.bits_per_byte + (1 - keep) * bpb
                                     : bpb;
    }
}

/* Documents that say what the model knows by heart: repetition, or a text made to be
 * learned.  Told only; what is to be done about it is for a person to say. */
static enum cam_status tell_flat(struct cam_trainer *t, const struct account *a, double running) {
    char message[256];
    for (size_t i = 0; i < a->n_documents; i++) {
        const struct cam_trained_document *d = &a->documents[i];
        double score = d->bytes > 0 ? d->nll / log(2) / (double)d->bytes : running;
        if (d->bytes < MIN_FLAT_BYTES || !(score < t->settings.train_flat * running))
            continue;
        snprintf(message, sizeof message,
                 "document %lld: %.3g bits per byte where %.3g were usual (train.flat %g)",
                 (long long)d->document, score, running, t->settings.train_flat);
        CAM_TRY(cam_history_event(t->database, "warning", "flat", message, NULL));
    }
    return CAM_OK;
}

/* The most a batch may lose (nats a token) by train.spike; 0: no bound. */
static double most_loss(const struct cam_trainer *t) {
    const struct cam_batch *b = &t->packed.batch;
    size_t n_bytes = 0, n_tokens = 0, n;
    for (size_t i = 0; i < b->n_sequences * b->t; i++) {
        if (!(b->weights[i] > 0))
            continue;
        cam_tokenizer_token_bytes(t->tokenizer, b->targets[i], &n);
        n_bytes += n;
        n_tokens++;
    }
    return n_tokens ? t->settings.train_spike * t->state.bits_per_byte * log(2) * (double)n_bytes /
                          (double)n_tokens
                    : 0;
}

struct averaging {
    struct cam_trainer *t;
    double keep;
};

static void move_average(void *context) {
    const struct averaging *a = context;
    cam_model_average_step(a->t->model, a->t->threads, &a->t->check_arena, a->keep);
}

/* Moves the average, begins it or ends it, as the levers say. */
static enum cam_status average(struct cam_trainer *t) {
    double window = t->levers.average_window, step = (double)t->state.step;
    if (window <= 0) {
        cam_model_average_end(t->model);
        t->state.averages = 0;
        return CAM_OK;
    }
    if (!t->state.averages) {
        CAM_TRY(cam_model_average_begin(t->model));
        t->state.averages = 1;
        return CAM_OK;
    }
    if (t->levers.average_share > 0)
        window = fmin(window, t->levers.average_share * step);
    double every = fmax(1, fmin(AVERAGE_EVERY, floor(window / AVERAGE_MOVES)));
    if (t->state.step % (uint64_t)every != 0)
        return CAM_OK;
    struct averaging a = {t, window > 0 ? exp(-every / window) : 0};
    return cam_arena_catch(move_average, &a);
}

/* The step was sound and the model has moved: write it down, then do what the policy decides. */
static enum cam_status commit(struct cam_trainer *t, struct account *a,
                              const struct cam_step_report *report) {
    struct cam_decisions decisions = {0};
    book_spans(t, a, report->nll);
    open_generations(t, a);
    book_usage(t, a);
    move_cursor(t);
    double running = t->state.bits_per_byte;
    running_scores(t, a, report->grad_norm);
    t->state.step++;
    t->state.tokens += (int64_t)t->packed.n_new;
    t->state.documents += (int64_t)a->n_documents;
    CAM_TRY(average(t));
    CAM_TRY(cam_trainer_observe(t));
    struct cam_step_commit row = {.step = (int64_t)t->state.step,
                                  /* The document in progress is not consumed. */
                                  .position = t->state.position - (t->state.offset > 0),
                                  .offset = t->state.offset,
                                  .new_tokens = (int64_t)t->packed.n_new,
                                  .new_bytes = a->new_bytes,
                                  .replay_tokens = (int64_t)t->packed.n_replay,
                                  .nll_new = t->packed.n_new ? a->nll_new : NAN,
                                  .nll_replay = t->packed.n_replay ? a->nll_replay : NAN,
                                  .grad_norm = report->grad_norm,
                                  .learning_rate = report->lr,
                                  .seconds = t->last_seconds,
                                  .documents = a->documents,
                                  .n_documents = a->n_documents,
                                  .provenance = a->provenance,
                                  .n_provenance = a->n_provenance,
                                  .usage = a->usage,
                                  .n_usage = a->n_usage,
                                  .generations = a->changes,
                                  .n_generations = a->n_changes,
                                  .openings = a->openings,
                                  .n_openings = a->n_openings,
                                  .decide = 1};
    CAM_TRY(cam_history_commit_step(t->database, &row, &decisions));
    enum cam_status status = CAM_OK;
    for (size_t i = 0; i < a->n_documents && status == CAM_OK; i++)
        status = cam_trainer_remember(t, a->sources[i], a->documents[i].document,
                                      a->documents[i].bytes);
    if (status == CAM_OK)
        status = tell_flat(t, a, running);
    if (status == CAM_OK)
        status = cam_trainer_decide(t, &decisions);
    cam_decisions_release(&decisions);
    return status;
}

enum cam_status cam_trainer_step(struct cam_trainer *t, int64_t position, int flush, int *done) {
    size_t rows = t->packed.batch.n_sequences, span = t->packed.batch.t;
    struct cam_replay_account replay;
    size_t replayed = replayed_rows(t, &replay);
    size_t waiting = cam_queue_tokens_before(&t->queue, position);
    *done = 0;
    if (waiting == 0 || (!flush && waiting < (rows - replayed) * span))
        return CAM_OK;
    *done = 1;
    double start = cam_clock_seconds();
    cam_packed_clear(&t->packed);
    CAM_TRY(cam_pack_new(&t->packed, &t->queue, rows - replayed, position,
                         cam_tokenizer_end_of_text(t->tokenizer)));
    CAM_TRY(pack_replay_rows(t, t->state.step + 1, rows - replayed));
    t->packed.batch.n_replay_rows = replayed;
    t->recipe.most_loss = t->settings.train_spike > 0 ? most_loss(t) : 0;
    struct account account;
    CAM_TRY(cam_arena_catch(compute_step, &(struct stepping){.t = t, .account = &account}));
    t->last_seconds = cam_clock_seconds() - start;
    if (t->last.verdict != CAM_VERDICT_SOUND)
        return quarantine_worst(t, &t->last);
    t->n_unsound = 0;
    t->state.replay = replay;
    return commit(t, &account, &t->last);
}
