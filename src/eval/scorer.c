#include "eval/scorer.h"

#include <stdlib.h>
#include <string.h>

enum cam_status cam_scorer_init(struct cam_scorer *scorer, struct cam_model *model,
                                struct cam_threads *threads, struct cam_arena *arena) {
    size_t n = CAM_SCORER_ROWS * model->shape.context;
    *scorer = (struct cam_scorer){.model = model, .threads = threads, .arena = arena,
                                  .t = model->shape.context};
    scorer->tokens = calloc(n, sizeof *scorer->tokens);
    scorer->targets = calloc(n, sizeof *scorer->targets);
    scorer->weights = calloc(n, sizeof *scorer->weights);
    if (scorer->tokens && scorer->targets && scorer->weights)
        return CAM_OK;
    cam_scorer_release(scorer);
    return cam_fail(CAM_ERR_OS, "out of memory for scoring %zu tokens", n);
}

void cam_scorer_release(struct cam_scorer *scorer) {
    free(scorer->tokens);
    free(scorer->targets);
    free(scorer->weights);
    scorer->tokens = scorer->targets = NULL;
    scorer->weights = NULL;
}

static void score_rows(void *context) {
    struct cam_scorer *scorer = context;
    size_t t = scorer->t, n = scorer->n_rows * t;
    cam_arena_reset(scorer->arena);
    struct cam_pass pass = {.threads = scorer->threads,
                            .arena = scorer->arena,
                            .n_tokens = n,
                            .products = scorer->model->shape.products};
    cam_real *nll = cam_arena_alloc(scorer->arena, n * sizeof *nll);
    cam_model_forward(scorer->model, &pass, scorer->n_rows, scorer->tokens);
    cam_model_loss(scorer->model, &pass, scorer->targets, scorer->weights, nll);
    if (scorer->after_batch)
        scorer->after_batch(scorer->context, scorer);
    for (size_t i = 0; i < n; i++)
        *scorer->sink[i / t] += (double)scorer->weights[i] * (double)nll[i];
    scorer->n_rows = 0;
}

enum cam_status cam_scorer_finish(struct cam_scorer *scorer) {
    return scorer->n_rows ? cam_arena_catch(score_rows, scorer) : CAM_OK;
}

enum cam_status cam_scorer_add(struct cam_scorer *scorer, const uint16_t *ids, size_t n,
                               uint16_t end_of_text, double *nll) {
    size_t t = scorer->t, stride = t / 2;
    for (size_t start = 0, done = 0; done < n; start += stride) {
        size_t base = scorer->n_rows * t;
        for (size_t i = 0; i < t; i++) {
            size_t at = start + i;
            scorer->tokens[base + i] = at == 0 ? end_of_text : at <= n ? ids[at - 1] : 0;
            scorer->targets[base + i] = at < n ? ids[at] : 0;
            scorer->weights[base + i] = at >= done && at < n;
        }
        done = start + t < n ? start + t : n;
        scorer->sink[scorer->n_rows++] = nll;
        if (scorer->n_rows == CAM_SCORER_ROWS)
            CAM_TRY(cam_scorer_finish(scorer));
    }
    return CAM_OK;
}
