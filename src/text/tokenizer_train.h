/* tokenizer_train.h - learns the merges of a `bpe` tokenizer from sample text.
 *
 * The same samples in the same order give the same file, on any machine: counts are integers, and
 * of pairs that occur equally often the one with the smaller left id, then the smaller right id,
 * is merged first.  In fact the order of the samples does not matter either.
 *
 * Cost: 2.5 MB of text to 4,096 ids takes about a second; memory is that of the distinct words,
 * not of the text. */
#ifndef CAM_TEXT_TOKENIZER_TRAIN_H
#define CAM_TEXT_TOKENIZER_TRAIN_H

#include "base/buffer.h"
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_TOKENIZER_MAX_SAMPLE_BYTES ((uint64_t)1 << 30)
#define CAM_TOKENIZER_MAX_WEIGHT       1000000

struct cam_tokenizer_trainer;

CAM_MUST_USE enum cam_status cam_tokenizer_trainer_new(struct cam_tokenizer_trainer **trainer);
void cam_tokenizer_trainer_free(struct cam_tokenizer_trainer *trainer);

/* Counts the words of one document, every word WEIGHT times (1 .. CAM_TOKENIZER_MAX_WEIGHT; give
 * a small source a large weight to make it count as much as a big one).  CAM_ERR_DATA past
 * CAM_TOKENIZER_MAX_SAMPLE_BYTES in all. */
CAM_MUST_USE enum cam_status cam_tokenizer_trainer_add(struct cam_tokenizer_trainer *trainer,
                                                       const void *text, size_t n_bytes,
                                                       uint32_t weight);

/* Appends the file of a tokenizer with VOCABULARY ids (see tokenizer.h for its range).
 * CAM_ERR_DATA if the samples hold too few pairs that occur twice.  TRAINER is used up: only
 * free it. */
CAM_MUST_USE enum cam_status cam_tokenizer_trainer_finish(struct cam_tokenizer_trainer *trainer,
                                                          size_t vocabulary,
                                                          struct cam_buffer *file);

/* All of it for one sample. */
CAM_MUST_USE enum cam_status cam_tokenizer_train(const void *text, size_t n_bytes,
                                                 size_t vocabulary, struct cam_buffer *file);

#endif
