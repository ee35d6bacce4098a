/* Tables and encoding.  Merging looks for the lowest id among the pairs of a word and replaces the
 * leftmost such pair until none is left.  Since a merge only uses ids below its own, that gives
 * the same ids as applying every merge in rank order to the whole word, which is the definition
 * (the tests do it that way).  A word has at most 64 bytes, so the plain search through an array
 * beats a heap. */
#include "text/tokenizer.h"

#include "base/embed.h"
#include "text/tokenizer_split.h"
#include "text/tokenizer_tables.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables ---------------------------------------------------------------------------------- */

static size_t slot_of(uint16_t left, uint16_t right, size_t mask) {
    uint32_t key = (uint32_t)left << 16 | right;
    key *= 0x9E3779B1u; /* 2^32 / golden ratio: neighbours spread */
    return (key ^ key >> 15) & mask;
}

static uint16_t find_merge(const struct cam_tokenizer *tokenizer, uint16_t left, uint16_t right) {
    for (size_t i = slot_of(left, right, tokenizer->slot_mask);;
         i = (i + 1) & tokenizer->slot_mask) {
        const struct cam_merge_slot *slot = &tokenizer->slots[i];
        if (slot->id == CAM_TOKEN_NONE || (slot->left == left && slot->right == right))
            return slot->id;
    }
}

static void insert_merge(struct cam_tokenizer *tokenizer, uint16_t left, uint16_t right,
                         uint16_t id) {
    size_t i = slot_of(left, right, tokenizer->slot_mask);
    while (tokenizer->slots[i].id != CAM_TOKEN_NONE)
        i = (i + 1) & tokenizer->slot_mask;
    tokenizer->slots[i] = (struct cam_merge_slot){left, right, id};
}

static enum cam_status allocate(size_t n_merges, struct cam_tokenizer *tokenizer) {
    size_t n_slots = 64;
    while (n_slots < 2 * n_merges)
        n_slots *= 2;
    size_t vocabulary = CAM_TOKEN_FIRST_MERGE + n_merges;
    tokenizer->vocabulary = vocabulary;
    tokenizer->slot_mask = n_slots - 1;
    tokenizer->slots = malloc(n_slots * sizeof *tokenizer->slots);
    tokenizer->merges = malloc((n_merges + 1) * sizeof *tokenizer->merges);
    tokenizer->offsets = malloc((vocabulary + 1) * sizeof *tokenizer->offsets);
    tokenizer->token_bytes = malloc(256 + n_merges * CAM_TOKENIZER_MAX_TOKEN_BYTES);
    if (!tokenizer->slots || !tokenizer->merges || !tokenizer->offsets || !tokenizer->token_bytes)
        return cam_fail(CAM_ERR_OS, "no memory for a tokenizer of %zu ids", vocabulary);
    for (size_t i = 0; i < n_slots; i++)
        tokenizer->slots[i].id = CAM_TOKEN_NONE;
    for (size_t i = 0; i < 256; i++) {
        tokenizer->offsets[i] = (uint32_t)i;
        tokenizer->token_bytes[i] = (unsigned char)i;
    }
    tokenizer->offsets[CAM_TOKEN_END_OF_TEXT] = 256;
    tokenizer->offsets[CAM_TOKEN_FIRST_MERGE] = 256;
    return CAM_OK;
}

static size_t token_size(const struct cam_tokenizer *tokenizer, uint16_t id) {
    return tokenizer->offsets[id + 1] - tokenizer->offsets[id];
}

static enum cam_status add_merge(struct cam_tokenizer *tokenizer, size_t rank,
                                 struct cam_merge merge) {
    uint16_t id = (uint16_t)(CAM_TOKEN_FIRST_MERGE + rank);
    if (merge.left >= id || merge.right >= id)
        return cam_fail(CAM_ERR_DATA, "merge %zu (%u %u): a part is not below its own id %u", rank,
                        merge.left, merge.right, id);
    if (merge.left == CAM_TOKEN_END_OF_TEXT || merge.right == CAM_TOKEN_END_OF_TEXT)
        return cam_fail(CAM_ERR_DATA, "merge %zu (%u %u): id %d is end of text and never merges",
                        rank, merge.left, merge.right, CAM_TOKEN_END_OF_TEXT);
    if (find_merge(tokenizer, merge.left, merge.right) != CAM_TOKEN_NONE)
        return cam_fail(CAM_ERR_DATA, "merge %zu (%u %u): this pair was merged before", rank,
                        merge.left, merge.right);
    size_t n_left = token_size(tokenizer, merge.left);
    size_t n_right = token_size(tokenizer, merge.right);
    if (n_left + n_right > CAM_TOKENIZER_MAX_TOKEN_BYTES)
        return cam_fail(CAM_ERR_DATA,
                        "merge %zu (%u %u): a token of %zu bytes; a word has at most %d", rank,
                        merge.left, merge.right, n_left + n_right, CAM_TOKENIZER_MAX_TOKEN_BYTES);
    uint32_t end = tokenizer->offsets[id];
    memcpy(tokenizer->token_bytes + end, tokenizer->token_bytes + tokenizer->offsets[merge.left],
           n_left);
    memcpy(tokenizer->token_bytes + end + n_left,
           tokenizer->token_bytes + tokenizer->offsets[merge.right], n_right);
    tokenizer->offsets[id + 1] = (uint32_t)(end + n_left + n_right);
    tokenizer->merges[rank] = merge;
    insert_merge(tokenizer, merge.left, merge.right, id);
    return CAM_OK;
}

static enum cam_status hash_of_file(const struct cam_tokenizer *tokenizer, struct cam_hash *hash) {
    struct cam_buffer file;
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    enum cam_status status = cam_tokenizer_write(tokenizer, &file);
    if (status == CAM_OK)
        *hash = cam_hash_bytes(file.data, file.size);
    cam_buffer_release(&file);
    return status;
}

enum cam_status cam_tokenizer_from_merges(const struct cam_merge *merges, size_t n_merges,
                                          struct cam_tokenizer **tokenizer) {
    assert(n_merges <= CAM_TOKENIZER_MAX_VOCABULARY - CAM_TOKENIZER_MIN_VOCABULARY);
    struct cam_tokenizer *made = calloc(1, sizeof *made);
    if (!made)
        return cam_fail(CAM_ERR_OS, "no memory for a tokenizer");
    enum cam_status status = allocate(n_merges, made);
    for (size_t rank = 0; status == CAM_OK && rank < n_merges; rank++)
        status = add_merge(made, rank, merges[rank]);
    if (status == CAM_OK)
        status = hash_of_file(made, &made->hash);
    if (status != CAM_OK) {
        cam_tokenizer_free(made);
        return status;
    }
    *tokenizer = made;
    return CAM_OK;
}

enum cam_status cam_tokenizer_bytes_new(struct cam_tokenizer **tokenizer) {
    return cam_tokenizer_from_merges(NULL, 0, tokenizer);
}

enum cam_status cam_tokenizer_default(struct cam_tokenizer **tokenizer) {
    const struct cam_embedded *file = cam_embedded_find(cam_embedded_tokenizer, "default.bpe");
    if (!file)
        return cam_fail(CAM_ERR_INTERNAL, "this program was built without default.bpe");
    enum cam_status status = cam_tokenizer_load(file->data, file->size, tokenizer);
    return status == CAM_OK ? CAM_OK : cam_context(status, "default.bpe");
}

void cam_tokenizer_free(struct cam_tokenizer *tokenizer) {
    if (!tokenizer)
        return;
    free(tokenizer->slots);
    free(tokenizer->merges);
    free(tokenizer->offsets);
    free(tokenizer->token_bytes);
    free(tokenizer);
}

/* ---- questions ------------------------------------------------------------------------------- */

struct cam_hash cam_tokenizer_hash(const struct cam_tokenizer *tokenizer) {
    return tokenizer->hash;
}

const char *cam_tokenizer_kind(const struct cam_tokenizer *tokenizer) {
    return tokenizer->vocabulary == CAM_TOKEN_FIRST_MERGE ? "bytes" : "bpe";
}

size_t cam_tokenizer_vocabulary(const struct cam_tokenizer *tokenizer) {
    return tokenizer->vocabulary;
}

uint16_t cam_tokenizer_end_of_text(const struct cam_tokenizer *tokenizer) {
    (void)tokenizer;
    return CAM_TOKEN_END_OF_TEXT;
}

const unsigned char *cam_tokenizer_token_bytes(const struct cam_tokenizer *tokenizer, uint16_t id,
                                               size_t *n_bytes) {
    if (id >= tokenizer->vocabulary) {
        *n_bytes = 0;
        return NULL;
    }
    *n_bytes = token_size(tokenizer, id);
    return tokenizer->token_bytes + tokenizer->offsets[id];
}

/* ---- encoding -------------------------------------------------------------------------------- */

/* The ids of one word of N <= CAM_SPLIT_MAX_WORD_BYTES bytes into IDS[n]; returns their number. */
static size_t encode_word(const struct cam_tokenizer *tokenizer, const unsigned char *word,
                          size_t n, uint16_t *ids) {
    uint16_t merged[CAM_SPLIT_MAX_WORD_BYTES]; /* what ids[i] ids[i + 1] merge to */
    for (size_t i = 0; i < n; i++)
        ids[i] = word[i];
    for (size_t i = 0; i + 1 < n; i++)
        merged[i] = find_merge(tokenizer, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (merged[i] < merged[best])
                best = i;
        if (merged[best] == CAM_TOKEN_NONE)
            break;
        ids[best] = merged[best];
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        if (best + 1 < n)
            memmove(merged + best + 1, merged + best + 2, (n - best - 2) * sizeof *merged);
        if (best > 0)
            merged[best - 1] = find_merge(tokenizer, ids[best - 1], ids[best]);
        if (best + 1 < n)
            merged[best] = find_merge(tokenizer, ids[best], ids[best + 1]);
    }
    return n;
}

static enum cam_status too_small(size_t n_bytes, size_t capacity) {
    return cam_fail(CAM_ERR_DATA,
                    "the ids of %zu bytes of text exceed the room for %zu; one a byte always fits",
                    n_bytes, capacity);
}

static enum cam_status encode_bytes(const unsigned char *text, size_t n_bytes, uint16_t *ids,
                                    size_t capacity, size_t *n_ids) {
    if (n_bytes > capacity)
        return too_small(n_bytes, capacity);
    for (size_t i = 0; i < n_bytes; i++)
        ids[i] = text[i];
    *n_ids = n_bytes;
    return CAM_OK;
}

/* ---- the encoder's memory of words ----------------------------------------------------------- */

/* A slot holds one short word whole, so a hit is exact, not merely likely, and the cache cannot
 * change what text encodes to.  A new word replaces the one that was there.  32 bytes: two a cache
 * line. */
#define CACHE_WORD_BYTES 16
#define CACHE_IDS        7
#define CACHE_SLOTS      ((size_t)1 << 14)

struct cached_word {
    uint64_t key[2]; /* the word, zero padded */
    uint8_t n_bytes; /* 0: empty */
    uint8_t n_ids;
    uint16_t ids[CACHE_IDS];
};

struct cam_encoder {
    const struct cam_tokenizer *tokenizer; /* borrowed */
    struct cached_word slots[CACHE_SLOTS];
};

enum cam_status cam_encoder_new(const struct cam_tokenizer *tokenizer,
                                struct cam_encoder **encoder) {
    struct cam_encoder *made = calloc(1, sizeof *made);
    if (!made)
        return cam_fail(CAM_ERR_OS, "no memory for an encoder");
    made->tokenizer = tokenizer;
    *encoder = made;
    return CAM_OK;
}

void cam_encoder_free(struct cam_encoder *encoder) {
    free(encoder);
}

/* The slot for this word of n <= CACHE_WORD_BYTES bytes, whatever it holds now. */
static struct cached_word *cache_slot(struct cam_encoder *encoder, const unsigned char *word,
                                      size_t n, uint64_t key[2]) {
    key[0] = key[1] = 0;
    memcpy(key, word, n);
    uint64_t mix = (key[0] ^ n) * 0x9E3779B97F4A7C15u;
    mix = (mix ^ mix >> 29 ^ key[1]) * 0xBF58476D1CE4E5B9u;
    return &encoder->slots[mix >> 40 & (CACHE_SLOTS - 1)];
}

/* As encode_word, by way of the cache; N <= CACHE_WORD_BYTES. */
static size_t encode_cached(struct cam_encoder *encoder, const unsigned char *word, size_t n,
                            uint16_t *ids) {
    uint64_t key[2];
    struct cached_word *slot = cache_slot(encoder, word, n, key);
    if (slot->n_bytes == n && slot->key[0] == key[0] && slot->key[1] == key[1]) {
        memcpy(ids, slot->ids, sizeof slot->ids);
        return slot->n_ids;
    }
    size_t n_ids = encode_word(encoder->tokenizer, word, n, ids);
    if (n_ids <= CACHE_IDS) {
        slot->key[0] = key[0];
        slot->key[1] = key[1];
        slot->n_bytes = (uint8_t)n;
        slot->n_ids = (uint8_t)n_ids;
        memcpy(slot->ids, ids, n_ids * sizeof *ids);
    }
    return n_ids;
}

/* The ids of a document; ENCODER is NULL where there is no cache. */
static enum cam_status encode(const struct cam_tokenizer *tokenizer, struct cam_encoder *encoder,
                              const unsigned char *text, size_t n_bytes, uint16_t *ids,
                              size_t capacity, size_t *n_ids) {
    if (tokenizer->vocabulary == CAM_TOKEN_FIRST_MERGE)
        return encode_bytes(text, n_bytes, ids, capacity, n_ids);
    size_t n = 0;
    for (size_t left = n_bytes; left > 0;) {
        uint16_t word_ids[CAM_SPLIT_MAX_WORD_BYTES];
        size_t n_word = cam_split_word(text, left);
        size_t n_new = encoder && n_word <= CACHE_WORD_BYTES
                           ? encode_cached(encoder, text, n_word, word_ids)
                           : encode_word(tokenizer, text, n_word, word_ids);
        if (n_new > capacity - n)
            return too_small(n_bytes, capacity);
        memcpy(ids + n, word_ids, n_new * sizeof *ids);
        n += n_new;
        text += n_word;
        left -= n_word;
    }
    *n_ids = n;
    return CAM_OK;
}

enum cam_status cam_tokenizer_encode(const struct cam_tokenizer *tokenizer, const void *text,
                                     size_t n_bytes, uint16_t *ids, size_t capacity,
                                     size_t *n_ids) {
    return encode(tokenizer, NULL, text, n_bytes, ids, capacity, n_ids);
}

enum cam_status cam_encoder_encode(struct cam_encoder *encoder, const void *text, size_t n_bytes,
                                   uint16_t *ids, size_t capacity, size_t *n_ids) {
    return encode(encoder->tokenizer, encoder, text, n_bytes, ids, capacity, n_ids);
}

/* ---- decoding -------------------------------------------------------------------------------- */

enum cam_status cam_tokenizer_decode(const struct cam_tokenizer *tokenizer, const uint16_t *ids,
                                     size_t n_ids, struct cam_buffer *text) {
    size_t before = text->size;
    for (size_t i = 0; i < n_ids; i++) {
        enum cam_status status = CAM_OK;
        if (ids[i] >= tokenizer->vocabulary)
            status = cam_fail(CAM_ERR_DATA, "token %zu: id %u is outside the vocabulary of %zu", i,
                              ids[i], tokenizer->vocabulary);
        else if (ids[i] != CAM_TOKEN_END_OF_TEXT)
            status = cam_buffer_append(text, tokenizer->token_bytes + tokenizer->offsets[ids[i]],
                                       token_size(tokenizer, ids[i]));
        if (status != CAM_OK) {
            text->size = before;
            if (text->data)
                text->data[before] = '\0';
            return status;
        }
    }
    return CAM_OK;
}
