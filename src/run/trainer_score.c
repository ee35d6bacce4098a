#include "run/trainer_internal.h"

#include "eval/scorer.h"
#include "model/average.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum cam_status cam_trainer_encode(struct cam_trainer *t, const char *text, size_t n_bytes,
                                   uint16_t **ids, size_t *n_ids) {
    uint16_t *out = malloc((n_bytes + 1) * sizeof *out);
    size_t n = 0;
    if (!out)
        return cam_fail(CAM_ERR_OS, "out of memory for the tokens of %zu bytes", n_bytes);
    enum cam_status status = cam_encoder_encode(t->encoder, text, n_bytes, out, n_bytes, &n);
    if (status != CAM_OK) {
        free(out);
        return status;
    }
    out[n++] = cam_tokenizer_end_of_text(t->tokenizer);
    *ids = out;
    *n_ids = n;
    return CAM_OK;
}

/* Probe texts as they come from the journal; scores by probe. */
struct evaluation {
    struct cam_trainer *t;
    struct cam_scorer scorer;
    struct cam_score *scores; /* pointers into it live in the scorer: fixed size */
    size_t n, capacity;
    struct cam_routing routing;
};

/* The rows of a batch belong to the scores that their nats go to. */
static void count_picks(void *context, const struct cam_scorer *scorer) {
    struct evaluation *e = context;
    for (size_t row = 0; row < scorer->n_rows; row++) {
        const char *sink = (const char *)scorer->sink[row] - offsetof(struct cam_score, nll);
        cam_routing_count(&e->routing, (size_t)((const struct cam_score *)sink - e->scores),
                          row * scorer->t, (row + 1) * scorer->t, scorer->weights);
    }
}

static enum cam_status score_probe(void *context, const struct cam_probe_text *text) {
    struct evaluation *e = context;
    if (e->n == 0 || e->scores[e->n - 1].probe != text->probe) {
        if (e->n == e->capacity) {
            CAM_TRY(cam_scorer_finish(&e->scorer)); /* no sink points into the old array now */
            size_t capacity = e->capacity ? e->capacity * 2 : 64;
            struct cam_score *scores = realloc(e->scores, capacity * sizeof *scores);
            if (!scores)
                return cam_fail(CAM_ERR_OS, "out of memory for %zu probes", capacity);
            e->scores = scores;
            e->capacity = capacity;
        }
        e->scores[e->n++] = (struct cam_score){.probe = text->probe};
    }
    struct cam_score *score = &e->scores[e->n - 1];
    uint16_t *ids = NULL;
    size_t n_ids = 0;
    CAM_TRY(cam_trainer_encode(e->t, text->text, text->text_bytes, &ids, &n_ids));
    enum cam_status status = cam_scorer_add(
        &e->scorer, ids, n_ids, cam_tokenizer_end_of_text(e->t->tokenizer), &score->nll);
    free(ids);
    score->bytes += (int64_t)text->text_bytes;
    score->tokens += (int64_t)n_ids;
    return status;
}

enum cam_status cam_trainer_evaluate_at(struct cam_trainer *t, const char *reason, int64_t up_to,
                                        int64_t *evaluation) {
    struct evaluation e = {.t = t};
    int64_t number = 0;
    cam_routing_init(&e.routing, t);
    cam_model_average_swap(t->model);
    enum cam_status status = cam_scorer_init(&e.scorer, t->model, t->threads, &t->check_arena);
    e.scorer.after_batch = count_picks;
    e.scorer.context = &e;
    if (status == CAM_OK)
        status = cam_journal_probes(t->database, up_to, score_probe, &e);
    if (status == CAM_OK)
        status = cam_scorer_finish(&e.scorer);
    if (status == CAM_OK)
        status = cam_history_evaluation(t->database, (int64_t)t->state.step, reason, e.scores, e.n,
                                        &number);
    if (status == CAM_OK)
        status = cam_routing_write(&e.routing, number, e.scores, e.n);
    if (status == CAM_OK && evaluation)
        *evaluation = number;
    cam_routing_release(&e.routing);
    cam_scorer_release(&e.scorer);
    cam_model_average_swap(t->model);
    free(e.scores);
    return status;
}

enum cam_status cam_trainer_evaluate(struct cam_trainer *t, const char *reason,
                                     int64_t *evaluation) {
    return cam_trainer_evaluate_at(t, reason, t->state.position, evaluation);
}

enum cam_status cam_trainer_score(struct cam_trainer *t, const char *text, size_t n_bytes,
                                  double *nll, int64_t *tokens) {
    struct cam_scorer scorer;
    uint16_t *ids = NULL;
    size_t n_ids = 0;
    double sum = 0;
    CAM_TRY(cam_trainer_encode(t, text, n_bytes, &ids, &n_ids));
    cam_model_average_swap(t->model);
    enum cam_status status = cam_scorer_init(&scorer, t->model, t->threads, &t->check_arena);
    if (status == CAM_OK) {
        status = cam_scorer_add(&scorer, ids, n_ids, cam_tokenizer_end_of_text(t->tokenizer), &sum);
        if (status == CAM_OK)
            status = cam_scorer_finish(&scorer);
        cam_scorer_release(&scorer);
    }
    cam_model_average_swap(t->model);
    free(ids);
    if (status == CAM_OK) {
        *nll = sum;
        *tokens = (int64_t)n_ids;
    }
    return status;
}

/* One more token of a text. */
struct sampling {
    struct cam_trainer *t;
    const struct cam_sampler *sampler;
    const uint16_t *ids;
    size_t n;
    uint64_t number;
    uint16_t next;
};

static void sample_next(void *context) {
    struct sampling *s = context;
    s->next = cam_sample_next(s->t->model, s->t->threads, &s->t->check_arena, s->sampler, s->ids,
                              s->n, s->number);
}

enum cam_status cam_trainer_generate(struct cam_trainer *t, const char *prompt, size_t max_tokens,
                                     const struct cam_sampler *sampler, struct cam_buffer *text) {
    size_t n_prompt = strlen(prompt), n = 0;
    uint16_t end = cam_tokenizer_end_of_text(t->tokenizer);
    uint16_t *ids = malloc((n_prompt + max_tokens + 1) * sizeof *ids);
    if (!ids)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu tokens", n_prompt + max_tokens);
    ids[0] = end; /* every document begins after the end of another */
    enum cam_status status =
        cam_encoder_encode(t->encoder, prompt, n_prompt, ids + 1, n_prompt, &n);
    n++;
    size_t first = n;
    cam_model_average_swap(t->model);
    for (size_t i = 0; status == CAM_OK && i < max_tokens; i++) {
        struct sampling s = {.t = t, .sampler = sampler, .ids = ids, .n = n, .number = i};
        status = cam_arena_catch(sample_next, &s);
        if (status != CAM_OK || s.next == end)
            break;
        ids[n++] = s.next;
    }
    cam_model_average_swap(t->model);
    if (status == CAM_OK)
        status = cam_tokenizer_decode(t->tokenizer, ids + first, n - first, text);
    free(ids);
    return status;
}
