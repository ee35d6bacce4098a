/* trainer_why.c - which experts answer a text (see trainer.h). */
#include "run/trainer_internal.h"

#include "model/average.h"
#include "model/pool.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_EXPERTS 64 /* noted of each window of the text and block */

struct found {
    struct cam_reason *items; /* owned */
    size_t n, capacity;
};

static enum cam_status note(struct found *found, const struct cam_ff *ff, int layer,
                            const struct cam_peer_credit *credit) {
    if (found->n == found->capacity) {
        size_t capacity = found->capacity ? 2 * found->capacity : 256;
        struct cam_reason *items = realloc(found->items, capacity * sizeof *items);
        if (!items)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu experts", capacity);
        found->items = items;
        found->capacity = capacity;
    }
    uint64_t i, j;
    cam_pair_of_expert(credit->expert, &i, &j);
    found->items[found->n++] = (struct cam_reason){
        .layer = layer,
        .expert = (int64_t)credit->expert,
        .i = (int64_t)i,
        .j = (int64_t)j,
        .generation = credit->generation,
        .incarnation = credit->incarnation,
        .frozen = cam_peer_generation(ff, credit->generation)->frozen_experts != 0,
        .weight = credit->weight};
    return CAM_OK;
}

struct looking {
    struct cam_trainer *t;
    const uint16_t *tokens;
    size_t n;
    struct found *found;
    enum cam_status status;
};

/* One forward pass over N tokens. */
static void look(void *context) {
    struct looking *l = context;
    struct cam_trainer *t = l->t;
    struct cam_pass pass = {.threads = t->threads,
                            .arena = &t->check_arena,
                            .n_tokens = l->n,
                            .products = t->model->shape.products};
    struct cam_peer_credit credit[WINDOW_EXPERTS];
    size_t i_block = 0;
    cam_arena_reset(&t->check_arena);
    cam_model_forward(t->model, &pass, 1, l->tokens);
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++) {
        size_t n_found = cam_peer_top_experts(ff, 0, l->n, WINDOW_EXPERTS, credit);
        for (size_t i = 0; i < n_found && l->status == CAM_OK; i++)
            l->status = note(l->found, ff, (int)i_block, &credit[i]);
    }
}

static int by_expert(const void *a, const void *b) {
    const struct cam_reason *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

static int by_weight(const void *a, const void *b) {
    const struct cam_reason *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

/* One entry an expert, weights a token, the TOP heaviest of each block. */
static void sum_up(struct found *found, size_t n_tokens, size_t top) {
    size_t n = 0, kept = 0, of_layer = 0;
    if (found->n == 0)
        return;
    qsort(found->items, found->n, sizeof *found->items, by_expert);
    for (size_t i = 0; i < found->n; i++) {
        if (n && by_expert(&found->items[n - 1], &found->items[i]) == 0)
            found->items[n - 1].weight += found->items[i].weight;
        else
            found->items[n++] = found->items[i];
    }
    qsort(found->items, n, sizeof *found->items, by_weight);
    for (size_t i = 0; i < n; i++) {
        of_layer = i && found->items[i].layer == found->items[i - 1].layer ? of_layer + 1 : 0;
        if (of_layer >= top)
            continue;
        found->items[kept] = found->items[i];
        found->items[kept++].weight /= (double)n_tokens;
    }
    found->n = kept;
}

enum cam_status cam_trainer_why(struct cam_trainer *t, const char *text, size_t n_bytes, size_t top,
                                struct cam_reason **reasons, size_t *n_reasons, int64_t *n_tokens) {
    struct found found = {0};
    uint16_t *ids = NULL;
    size_t n_ids = 0, context = t->model->shape.context;
    CAM_TRY(cam_trainer_encode(t, text, n_bytes, &ids, &n_ids));
    /* The end of text, put last by the encoder, is where a document begins: it goes first. */
    uint16_t end = ids[n_ids - 1];
    memmove(ids + 1, ids, (n_ids - 1) * sizeof *ids);
    ids[0] = end;
    enum cam_status status = CAM_OK;
    cam_model_average_swap(t->model); /* as scores are taken */
    for (size_t at = 0; status == CAM_OK && at < n_ids; at += context) {
        struct looking l = {.t = t,
                            .tokens = ids + at,
                            .n = n_ids - at < context ? n_ids - at : context,
                            .found = &found};
        status = cam_arena_catch(look, &l);
        if (status == CAM_OK)
            status = l.status;
    }
    cam_model_average_swap(t->model);
    free(ids);
    if (status != CAM_OK) {
        free(found.items);
        return status;
    }
    sum_up(&found, n_ids, top);
    *reasons = found.items;
    *n_reasons = found.n;
    *n_tokens = (int64_t)n_ids;
    return CAM_OK;
}
