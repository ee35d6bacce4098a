/* pack.h - turns documents in journal order into batches, and remembers who is where.
 *
 * New documents form one stream of tokens, each document ended by the end-of-text token; a batch
 * takes the next (B - R) * T of them, R rows being replay.  What a batch holds is a function of
 * the documents' order alone: when they arrived does not matter.
 * Row r of a batch predicts stream tokens [r*T, (r+1)*T) from the token before each. */
#ifndef CAM_TRAIN_PACK_H
#define CAM_TRAIN_PACK_H

#include "base/status.h"
#include "train/step.h"

#include <stddef.h>
#include <stdint.h>

/* A document waiting for its tokens to be trained on. */
struct cam_pending {
    int64_t position, document, bytes, feed;
    char domain[128];
    uint16_t *ids; /* owned; with the end-of-text token */
    size_t n_ids;
};

/* A run of one document's tokens in a batch. */
struct cam_span {
    size_t i_pending; /* index into the queue at the time of packing; SIZE_MAX: replay */
    int64_t document;
    size_t from, n;   /* first place in the batch (row * T + t) and number of tokens */
    size_t at;        /* index of the first token within the document */
};

struct cam_queue {
    struct cam_pending *items; /* owned */
    size_t n, capacity;
    size_t offset;    /* tokens of items[0] already trained on */
    size_t n_tokens;  /* waiting in all, offset deducted */
};

void cam_queue_release(struct cam_queue *queue);
/* Takes IDS over (freed by the queue) on success.  The first document of a queue has at least
 * `offset` tokens. */
CAM_MUST_USE enum cam_status cam_queue_push(struct cam_queue *queue,
                                            const struct cam_pending *pending);
/* Drops item I (quarantine); its tokens leave the stream. */
void cam_queue_remove(struct cam_queue *queue, size_t i);
/* Tokens waiting in documents with a position below POSITION. */
size_t cam_queue_tokens_before(const struct cam_queue *queue, int64_t position);

/* A batch with the spans that fill it; storage reused from step to step. */
struct cam_packed {
    struct cam_batch batch;
    struct cam_span *spans; /* owned */
    size_t n_spans, spans_capacity;
    size_t n_new, n_replay; /* tokens with weight */
};

CAM_MUST_USE enum cam_status cam_packed_init(struct cam_packed *packed, size_t n_sequences,
                                             size_t t);
void cam_packed_release(struct cam_packed *packed);
/* All places padding again. */
void cam_packed_clear(struct cam_packed *packed);

/* Fills rows [0, n_rows) from the queue with documents before POSITION, without consuming them;
 * places past the end of the stream stay padding (weight 0). */
CAM_MUST_USE enum cam_status cam_pack_new(struct cam_packed *packed, const struct cam_queue *queue,
                                          size_t n_rows, int64_t position, uint16_t end_of_text);
/* Adds tokens of IDS from AT on to row I_ROW, of which *USED places are taken (updated), as far as
 * they fit; each counts WEIGHT. */
CAM_MUST_USE enum cam_status cam_pack_replay(struct cam_packed *packed, size_t i_row, size_t *used,
                                             int64_t document, const uint16_t *ids, size_t n_ids,
                                             size_t at, cam_real weight, uint16_t end_of_text);
/* Consumes what cam_pack_new packed: finished documents leave the queue's front. */
void cam_queue_consume(struct cam_queue *queue, size_t n_tokens);

#endif
