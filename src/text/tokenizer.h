/* tokenizer.h - text to token ids and back, loss-free on any bytes.
 *
 * Two kinds.  `bytes`: one token a byte.  `bpe`: byte-level byte-pair encoding; a document is cut
 * into words by a fixed rule (tokenizer_split.h), and inside a word pairs are merged by rank.
 *
 *     ids 0 .. 255            the bytes
 *     id  256                 end of text, the only special id
 *     ids 257 .. vocabulary-1 one a merge, in rank order
 *
 * No text encodes to a special id: the letters of a special token's name are letters like any
 * other.  The ids of a document depend on its bytes alone, so encode a document whole: cut it into
 * two calls and the words at the cut may differ.
 *
 * A tokenizer never changes once made; any number of threads may read it. */
#ifndef CAM_TEXT_TOKENIZER_H
#define CAM_TEXT_TOKENIZER_H

#include "base/buffer.h"
#include "base/hash.h"
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_TOKENIZER_DEFAULT_VOCABULARY 4096
#define CAM_TOKENIZER_MIN_VOCABULARY     257   /* bytes and end of text */
#define CAM_TOKENIZER_MAX_VOCABULARY     65535 /* 0xFFFF stays free as "no token" */
#define CAM_TOKENIZER_MAX_FILE_BYTES     ((size_t)1 << 20)
#define CAM_TOKENIZER_MAX_TOKEN_BYTES    64

struct cam_tokenizer;

/* Each makes a tokenizer that the caller frees.  `load` reads the bytes of a .bpe file (borrowed
 * for the call), trusting nothing in it: CAM_ERR_DATA names the line and what is wrong with it.
 * `default` is the one that ships with the program.  All: CAM_ERR_OS if there is no memory. */
CAM_MUST_USE enum cam_status cam_tokenizer_bytes_new(struct cam_tokenizer **tokenizer);
CAM_MUST_USE enum cam_status cam_tokenizer_load(const void *bytes, size_t n_bytes,
                                                struct cam_tokenizer **tokenizer);
CAM_MUST_USE enum cam_status cam_tokenizer_default(struct cam_tokenizer **tokenizer);
void cam_tokenizer_free(struct cam_tokenizer *tokenizer);

/* Appends the file that `load` reads back as the same tokenizer, for either kind.  `hash` is the
 * hash of these bytes: equal hashes, same ids for every text. */
CAM_MUST_USE enum cam_status cam_tokenizer_write(const struct cam_tokenizer *tokenizer,
                                                 struct cam_buffer *file);
struct cam_hash cam_tokenizer_hash(const struct cam_tokenizer *tokenizer);

const char *cam_tokenizer_kind(const struct cam_tokenizer *tokenizer);  /* "bytes" or "bpe" */
size_t cam_tokenizer_vocabulary(const struct cam_tokenizer *tokenizer); /* specials included */
uint16_t cam_tokenizer_end_of_text(const struct cam_tokenizer *tokenizer);

/* The bytes ID stands for (borrowed, not NUL-terminated) and their number; a special id has none.
 * NULL and 0 for an id outside the vocabulary. */
const unsigned char *cam_tokenizer_token_bytes(const struct cam_tokenizer *tokenizer, uint16_t id,
                                               size_t *n_bytes);

/* Encodes N_BYTES at TEXT into IDS.  CAPACITY >= n_bytes always suffices; CAM_ERR_DATA if it does
 * not, and then IDS holds nothing of use.  Allocates nothing. */
CAM_MUST_USE enum cam_status cam_tokenizer_encode(const struct cam_tokenizer *tokenizer,
                                                  const void *text, size_t n_bytes, uint16_t *ids,
                                                  size_t capacity, size_t *n_ids);

/* Appends the bytes of IDS to TEXT; special ids add nothing.  CAM_ERR_DATA for an id outside the
 * vocabulary, with TEXT as it was. */
CAM_MUST_USE enum cam_status cam_tokenizer_decode(const struct cam_tokenizer *tokenizer,
                                                  const uint16_t *ids, size_t n_ids,
                                                  struct cam_buffer *text);

/* An encoder remembers the words it met (512 KiB): the same ids as cam_tokenizer_encode, faster.
 * One thread at a time; borrows TOKENIZER, which must outlive it. */
struct cam_encoder;
CAM_MUST_USE enum cam_status cam_encoder_new(const struct cam_tokenizer *tokenizer,
                                             struct cam_encoder **encoder);
void cam_encoder_free(struct cam_encoder *encoder);
CAM_MUST_USE enum cam_status cam_encoder_encode(struct cam_encoder *encoder, const void *text,
                                                size_t n_bytes, uint16_t *ids, size_t capacity,
                                                size_t *n_ids);

#endif
