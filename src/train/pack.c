#include "train/pack.h"

#include <stdlib.h>
#include <string.h>

void cam_queue_release(struct cam_queue *queue) {
    for (size_t i = 0; i < queue->n; i++)
        free(queue->items[i].ids);
    free(queue->items);
    *queue = (struct cam_queue){0};
}

enum cam_status cam_queue_push(struct cam_queue *queue, const struct cam_pending *pending) {
    if (queue->n == queue->capacity) {
        size_t capacity = queue->capacity ? queue->capacity * 2 : 64;
        struct cam_pending *items = realloc(queue->items, capacity * sizeof *items);
        if (!items)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu waiting documents", capacity);
        queue->items = items;
        queue->capacity = capacity;
    }
    /* A queue begun with an offset (a resumed run) has less of its first document to give. */
    queue->n_tokens += pending->n_ids - (queue->n == 0 ? queue->offset : 0);
    queue->items[queue->n++] = *pending;
    return CAM_OK;
}

void cam_queue_remove(struct cam_queue *queue, size_t i) {
    queue->n_tokens -= queue->items[i].n_ids - (i == 0 ? queue->offset : 0);
    if (i == 0)
        queue->offset = 0;
    free(queue->items[i].ids);
    memmove(queue->items + i, queue->items + i + 1, (queue->n - i - 1) * sizeof *queue->items);
    queue->n--;
}

size_t cam_queue_tokens_before(const struct cam_queue *queue, int64_t position) {
    size_t n = 0;
    for (size_t i = 0; i < queue->n && queue->items[i].position < position; i++)
        n += queue->items[i].n_ids - (i == 0 ? queue->offset : 0);
    return n;
}

enum cam_status cam_packed_init(struct cam_packed *packed, size_t n_sequences, size_t t) {
    size_t n = n_sequences * t;
    *packed = (struct cam_packed){.batch = {.n_sequences = n_sequences, .t = t}};
    packed->batch.tokens = calloc(n, sizeof *packed->batch.tokens);
    packed->batch.targets = calloc(n, sizeof *packed->batch.targets);
    packed->batch.weights = calloc(n, sizeof *packed->batch.weights);
    if (packed->batch.tokens && packed->batch.targets && packed->batch.weights)
        return CAM_OK;
    cam_packed_release(packed);
    return cam_fail(CAM_ERR_OS, "out of memory for a batch of %zu tokens", n);
}

void cam_packed_release(struct cam_packed *packed) {
    free(packed->batch.tokens);
    free(packed->batch.targets);
    free(packed->batch.weights);
    free(packed->spans);
    *packed = (struct cam_packed){0};
}

void cam_packed_clear(struct cam_packed *packed) {
    size_t n = packed->batch.n_sequences * packed->batch.t;
    memset(packed->batch.tokens, 0, n * sizeof *packed->batch.tokens);
    memset(packed->batch.targets, 0, n * sizeof *packed->batch.targets);
    memset(packed->batch.weights, 0, n * sizeof *packed->batch.weights);
    packed->n_spans = packed->n_new = packed->n_replay = 0;
}

static enum cam_status span_add(struct cam_packed *packed, struct cam_span span) {
    if (packed->n_spans == packed->spans_capacity) {
        size_t capacity = packed->spans_capacity ? packed->spans_capacity * 2 : 64;
        struct cam_span *spans = realloc(packed->spans, capacity * sizeof *spans);
        if (!spans)
            return cam_fail(CAM_ERR_OS, "out of memory for the spans of a batch");
        packed->spans = spans;
        packed->spans_capacity = capacity;
    }
    packed->spans[packed->n_spans++] = span;
    return CAM_OK;
}

/* Copies N tokens of a document from AT to places [FROM, FROM + N); each is predicted from the
 * token before it, the first from end-of-text, and counts WEIGHT. */
static void place(struct cam_batch *batch, size_t from, size_t n, const uint16_t *ids, size_t at,
                  cam_real weight, uint16_t end_of_text) {
    for (size_t i = 0; i < n; i++) {
        batch->tokens[from + i] = at + i ? ids[at + i - 1] : end_of_text;
        batch->targets[from + i] = ids[at + i];
        batch->weights[from + i] = weight;
    }
}

enum cam_status cam_pack_new(struct cam_packed *packed, const struct cam_queue *queue,
                             size_t n_rows, int64_t position, uint16_t end_of_text) {
    size_t room = n_rows * packed->batch.t, used = 0;
    for (size_t i = 0; i < queue->n && used < room && queue->items[i].position < position; i++) {
        const struct cam_pending *p = &queue->items[i];
        size_t at = i == 0 ? queue->offset : 0, n = p->n_ids - at;
        if (n > room - used)
            n = room - used;
        CAM_TRY(span_add(packed, (struct cam_span){.i_pending = i, .document = p->document,
                                                   .from = used, .n = n, .at = at}));
        place(&packed->batch, used, n, p->ids, at, 1, end_of_text);
        used += n;
    }
    packed->n_new = used;
    return CAM_OK;
}

enum cam_status cam_pack_replay(struct cam_packed *packed, size_t i_row, size_t *used,
                                int64_t document, const uint16_t *ids, size_t n_ids, size_t at,
                                cam_real weight, uint16_t end_of_text) {
    size_t from = i_row * packed->batch.t + *used, n = n_ids - at, room = packed->batch.t - *used;
    if (n > room)
        n = room;
    CAM_TRY(span_add(packed, (struct cam_span){.i_pending = SIZE_MAX, .document = document,
                                               .from = from, .n = n, .at = at}));
    place(&packed->batch, from, n, ids, at, weight, end_of_text);
    packed->n_replay += n;
    *used += n;
    return CAM_OK;
}

void cam_queue_consume(struct cam_queue *queue, size_t n_tokens) {
    size_t done = 0;
    queue->n_tokens -= n_tokens;
    while (n_tokens > 0) {
        struct cam_pending *p = &queue->items[done];
        size_t left = p->n_ids - queue->offset;
        if (left > n_tokens) {
            queue->offset += n_tokens;
            break;
        }
        n_tokens -= left;
        queue->offset = 0;
        free(p->ids);
        done++;
    }
    memmove(queue->items, queue->items + done, (queue->n - done) * sizeof *queue->items);
    queue->n -= done;
}
