/* Byte-pair encoding, learned over distinct words (Sennrich et al. 2016, "Neural machine
 * translation of rare words with subword units", algorithm 1), with the counts kept up to date
 * instead of made anew: a merge touches only the words its pair was ever seen in, and each of them
 * takes its pairs out of the counts, merges, and puts its pairs back.  Word lists only grow, so
 * they hold words that lost the pair since; those cost a look and change nothing.
 *
 * The best pair is found by looking at all of them: a few ten thousand against a few thousand
 * merges is a second at most, and nothing can go stale. */
#include "text/tokenizer_train.h"

#include "text/tokenizer.h"
#include "text/tokenizer_split.h"
#include "text/tokenizer_tables.h"

#include <stdlib.h>
#include <string.h>

struct word {
    uint64_t count; /* weighted */
    size_t start;   /* of its ids, in trainer->ids */
    uint32_t n_bytes;
    uint32_t n_ids; /* n_bytes until merges shorten it */
};

struct pair {
    uint16_t left, right;
    uint64_t count;  /* weighted; 0 once merged away */
    uint32_t *words; /* owned: indices of words the pair was seen in, rising except for repeats */
    uint32_t n_words, capacity;
};

/* An open-addressed table of indices + 1 into an array; 0 is empty. */
struct index {
    uint32_t *slots;
    size_t mask; /* slots - 1; slots is a power of two */
};

struct cam_tokenizer_trainer {
    uint64_t n_sample_bytes;
    struct word *words;
    size_t n_words, words_capacity;
    uint16_t *ids; /* all words end to end */
    size_t n_ids, ids_capacity;
    struct index word_index;
    struct pair *pairs;
    size_t n_pairs, pairs_capacity;
    struct index pair_index;
};

#define MAX_WORDS ((size_t)UINT32_MAX / 4)

/* ---- growing arrays and tables --------------------------------------------------------------- */

static enum cam_status no_memory(void) {
    return cam_fail(CAM_ERR_OS, "no memory to train a tokenizer; give it a smaller sample");
}

/* Makes room for one more element of SIZE bytes in *ARRAY. */
static enum cam_status make_room(void **array, size_t n, size_t *capacity, size_t more,
                                 size_t size) {
    if (n + more <= *capacity)
        return CAM_OK;
    size_t wanted = *capacity ? 2 * *capacity : 1024;
    while (wanted < n + more)
        wanted *= 2;
    void *grown = realloc(*array, wanted * size);
    if (!grown)
        return no_memory();
    *array = grown;
    *capacity = wanted;
    return CAM_OK;
}

static enum cam_status index_init(struct index *index, size_t n_slots) {
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return no_memory();
    free(index->slots);
    *index = (struct index){slots, n_slots - 1};
    return CAM_OK;
}

static uint64_t mix64(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static uint64_t hash_ids(const uint16_t *ids, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ids[i]) * 0x100000001B3u;
    return mix64(hash);
}

static uint64_t hash_pair(uint16_t left, uint16_t right) {
    return mix64((uint64_t)left << 16 | right);
}

/* The first empty slot for HASH; the table is never full. */
static size_t empty_slot(const struct index *index, uint64_t hash) {
    size_t i = hash & index->mask;
    while (index->slots[i])
        i = (i + 1) & index->mask;
    return i;
}

/* ---- counting words -------------------------------------------------------------------------- */

enum cam_status cam_tokenizer_trainer_new(struct cam_tokenizer_trainer **trainer) {
    struct cam_tokenizer_trainer *made = calloc(1, sizeof *made);
    if (!made)
        return no_memory();
    if (index_init(&made->word_index, 1 << 14) != CAM_OK ||
        index_init(&made->pair_index, 1 << 14) != CAM_OK) {
        cam_tokenizer_trainer_free(made);
        return no_memory();
    }
    *trainer = made;
    return CAM_OK;
}

void cam_tokenizer_trainer_free(struct cam_tokenizer_trainer *trainer) {
    if (!trainer)
        return;
    for (size_t i = 0; i < trainer->n_pairs; i++)
        free(trainer->pairs[i].words);
    free(trainer->pairs);
    free(trainer->pair_index.slots);
    free(trainer->words);
    free(trainer->word_index.slots);
    free(trainer->ids);
    free(trainer);
}

static enum cam_status grow_word_index(struct cam_tokenizer_trainer *trainer) {
    if (2 * (trainer->n_words + 1) <= trainer->word_index.mask)
        return CAM_OK;
    CAM_TRY(index_init(&trainer->word_index, 2 * (trainer->word_index.mask + 1)));
    for (size_t i = 0; i < trainer->n_words; i++) {
        const struct word *word = &trainer->words[i];
        size_t slot =
            empty_slot(&trainer->word_index, hash_ids(trainer->ids + word->start, word->n_bytes));
        trainer->word_index.slots[slot] = (uint32_t)(i + 1);
    }
    return CAM_OK;
}

static enum cam_status add_word(struct cam_tokenizer_trainer *trainer, const uint16_t *ids,
                                size_t n, uint64_t hash, uint32_t weight) {
    if (trainer->n_words >= MAX_WORDS)
        return no_memory();
    CAM_TRY(grow_word_index(trainer));
    CAM_TRY(make_room((void **)&trainer->words, trainer->n_words, &trainer->words_capacity, 1,
                      sizeof *trainer->words));
    CAM_TRY(make_room((void **)&trainer->ids, trainer->n_ids, &trainer->ids_capacity, n,
                      sizeof *trainer->ids));
    memcpy(trainer->ids + trainer->n_ids, ids, n * sizeof *ids);
    trainer->words[trainer->n_words] =
        (struct word){weight, trainer->n_ids, (uint32_t)n, (uint32_t)n};
    trainer->n_ids += n;
    trainer->word_index.slots[empty_slot(&trainer->word_index, hash)] =
        (uint32_t)++trainer->n_words;
    return CAM_OK;
}

static enum cam_status count_word(struct cam_tokenizer_trainer *trainer, const unsigned char *text,
                                  size_t n, uint32_t weight) {
    uint16_t ids[CAM_SPLIT_MAX_WORD_BYTES];
    for (size_t i = 0; i < n; i++)
        ids[i] = text[i];
    uint64_t hash = hash_ids(ids, n);
    const struct index *index = &trainer->word_index;
    for (size_t i = hash & index->mask; index->slots[i]; i = (i + 1) & index->mask) {
        struct word *word = &trainer->words[index->slots[i] - 1];
        if (word->n_bytes == n && memcmp(trainer->ids + word->start, ids, n * sizeof *ids) == 0) {
            word->count += weight;
            return CAM_OK;
        }
    }
    return add_word(trainer, ids, n, hash, weight);
}

enum cam_status cam_tokenizer_trainer_add(struct cam_tokenizer_trainer *trainer, const void *text,
                                          size_t n_bytes, uint32_t weight) {
    if (weight < 1 || weight > CAM_TOKENIZER_MAX_WEIGHT)
        return cam_fail(CAM_ERR_DATA, "a sample's weight %u is not within 1 .. %d", weight,
                        CAM_TOKENIZER_MAX_WEIGHT);
    if (n_bytes > CAM_TOKENIZER_MAX_SAMPLE_BYTES - trainer->n_sample_bytes)
        return cam_fail(CAM_ERR_DATA, "the tokenizer's sample exceeds %llu bytes; give it less",
                        (unsigned long long)CAM_TOKENIZER_MAX_SAMPLE_BYTES);
    const unsigned char *at = text;
    for (size_t left = n_bytes; left > 0;) {
        size_t n_word = cam_split_word(at, left);
        CAM_TRY(count_word(trainer, at, n_word, weight));
        at += n_word;
        left -= n_word;
    }
    trainer->n_sample_bytes += n_bytes;
    return CAM_OK;
}

/* ---- counting pairs -------------------------------------------------------------------------- */

static enum cam_status grow_pair_index(struct cam_tokenizer_trainer *trainer) {
    if (2 * (trainer->n_pairs + 1) <= trainer->pair_index.mask)
        return CAM_OK;
    CAM_TRY(index_init(&trainer->pair_index, 2 * (trainer->pair_index.mask + 1)));
    for (size_t i = 0; i < trainer->n_pairs; i++) {
        const struct pair *pair = &trainer->pairs[i];
        size_t slot = empty_slot(&trainer->pair_index, hash_pair(pair->left, pair->right));
        trainer->pair_index.slots[slot] = (uint32_t)(i + 1);
    }
    return CAM_OK;
}

/* The entry of a pair, made if new; valid until the next call. */
static enum cam_status pair_of(struct cam_tokenizer_trainer *trainer, uint16_t left, uint16_t right,
                               struct pair **found) {
    const struct index *index = &trainer->pair_index;
    uint64_t hash = hash_pair(left, right);
    for (size_t i = hash & index->mask; index->slots[i]; i = (i + 1) & index->mask) {
        struct pair *pair = &trainer->pairs[index->slots[i] - 1];
        if (pair->left == left && pair->right == right) {
            *found = pair;
            return CAM_OK;
        }
    }
    CAM_TRY(grow_pair_index(trainer));
    CAM_TRY(make_room((void **)&trainer->pairs, trainer->n_pairs, &trainer->pairs_capacity, 1,
                      sizeof *trainer->pairs));
    struct pair *made = &trainer->pairs[trainer->n_pairs];
    *made = (struct pair){.left = left, .right = right};
    trainer->pair_index.slots[empty_slot(index, hash)] = (uint32_t)++trainer->n_pairs;
    *found = made;
    return CAM_OK;
}

static enum cam_status list_word(struct pair *pair, uint32_t i_word) {
    if (pair->n_words > 0 && pair->words[pair->n_words - 1] == i_word)
        return CAM_OK;
    if (pair->n_words == pair->capacity) {
        uint32_t capacity = pair->capacity ? 2 * pair->capacity : 4;
        uint32_t *grown = realloc(pair->words, capacity * sizeof *grown);
        if (!grown)
            return no_memory();
        pair->words = grown;
        pair->capacity = capacity;
    }
    pair->words[pair->n_words++] = i_word;
    return CAM_OK;
}

/* Counts the pairs of a word, and lists it with those that hold NEW_ID (CAM_TOKEN_NONE: all). */
static enum cam_status put_in(struct cam_tokenizer_trainer *trainer, uint32_t i_word,
                              uint16_t new_id) {
    const struct word *word = &trainer->words[i_word];
    const uint16_t *ids = trainer->ids + word->start;
    for (uint32_t i = 0; i + 1 < word->n_ids; i++) {
        struct pair *pair;
        CAM_TRY(pair_of(trainer, ids[i], ids[i + 1], &pair));
        pair->count += word->count;
        if (new_id == CAM_TOKEN_NONE || ids[i] == new_id || ids[i + 1] == new_id)
            CAM_TRY(list_word(pair, i_word));
    }
    return CAM_OK;
}

static enum cam_status take_out(struct cam_tokenizer_trainer *trainer, const struct word *word) {
    const uint16_t *ids = trainer->ids + word->start;
    for (uint32_t i = 0; i + 1 < word->n_ids; i++) {
        struct pair *pair;
        CAM_TRY(pair_of(trainer, ids[i], ids[i + 1], &pair));
        pair->count -= word->count;
    }
    return CAM_OK;
}

/* ---- merging --------------------------------------------------------------------------------- */

static int is_better(const struct pair *a, const struct pair *b) {
    if (a->count != b->count)
        return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

/* The most frequent pair; NULL if none occurs twice. */
static struct pair *best_pair(struct cam_tokenizer_trainer *trainer) {
    struct pair *best = NULL;
    for (size_t i = 0; i < trainer->n_pairs; i++)
        if (trainer->pairs[i].count >= 2 && (!best || is_better(&trainer->pairs[i], best)))
            best = &trainer->pairs[i];
    return best;
}

static int has_pair(const uint16_t *ids, size_t n, struct cam_merge merge) {
    for (size_t i = 0; i + 1 < n; i++)
        if (ids[i] == merge.left && ids[i + 1] == merge.right)
            return 1;
    return 0;
}

static uint32_t merge_in_place(uint16_t *ids, uint32_t n, struct cam_merge merge, uint16_t id) {
    uint32_t out = 0;
    for (uint32_t in = 0; in < n; out++) {
        if (in + 1 < n && ids[in] == merge.left && ids[in + 1] == merge.right) {
            ids[out] = id;
            in += 2;
        } else {
            ids[out] = ids[in++];
        }
    }
    return out;
}

static enum cam_status apply(struct cam_tokenizer_trainer *trainer, struct pair *pair,
                             uint16_t id) {
    struct cam_merge merge = {pair->left, pair->right};
    /* The list leaves the pair first: counting new pairs may move the array PAIR points into. */
    uint32_t *words = pair->words;
    uint32_t n_words = pair->n_words;
    pair->words = NULL;
    pair->n_words = pair->capacity = 0;
    enum cam_status status = CAM_OK;
    for (uint32_t i = 0; status == CAM_OK && i < n_words; i++) {
        struct word *word = &trainer->words[words[i]];
        uint16_t *ids = trainer->ids + word->start;
        if (!has_pair(ids, word->n_ids, merge))
            continue;
        status = take_out(trainer, word);
        word->n_ids = merge_in_place(ids, word->n_ids, merge, id);
        if (status == CAM_OK)
            status = put_in(trainer, words[i], id);
    }
    free(words);
    return status;
}

static enum cam_status learn(struct cam_tokenizer_trainer *trainer, struct cam_merge *merges,
                             size_t n_merges) {
    for (size_t i = 0; i < trainer->n_words; i++)
        CAM_TRY(put_in(trainer, (uint32_t)i, CAM_TOKEN_NONE));
    for (size_t i = 0; i < n_merges; i++) {
        struct pair *best = best_pair(trainer);
        if (!best)
            return cam_fail(CAM_ERR_DATA,
                            "the sample (%llu bytes) gives a vocabulary of %zu ids, not %zu; give "
                            "more text or ask for fewer ids",
                            (unsigned long long)trainer->n_sample_bytes, CAM_TOKEN_FIRST_MERGE + i,
                            CAM_TOKEN_FIRST_MERGE + n_merges);
        merges[i] = (struct cam_merge){best->left, best->right};
        CAM_TRY(apply(trainer, best, (uint16_t)(CAM_TOKEN_FIRST_MERGE + i)));
    }
    return CAM_OK;
}

enum cam_status cam_tokenizer_trainer_finish(struct cam_tokenizer_trainer *trainer,
                                             size_t vocabulary, struct cam_buffer *file) {
    if (vocabulary < CAM_TOKENIZER_MIN_VOCABULARY || vocabulary > CAM_TOKENIZER_MAX_VOCABULARY)
        return cam_fail(CAM_ERR_DATA, "a vocabulary of %zu ids is not within %d .. %d", vocabulary,
                        CAM_TOKENIZER_MIN_VOCABULARY, CAM_TOKENIZER_MAX_VOCABULARY);
    size_t n_merges = vocabulary - CAM_TOKEN_FIRST_MERGE;
    struct cam_merge *merges = malloc((n_merges + 1) * sizeof *merges);
    struct cam_tokenizer *tokenizer = NULL;
    enum cam_status status;
    if (!merges)
        return no_memory();
    CAM_TRY_OUT(learn(trainer, merges, n_merges));
    CAM_TRY_OUT(cam_tokenizer_from_merges(merges, n_merges, &tokenizer));
    CAM_TRY_OUT(cam_tokenizer_write(tokenizer, file));
out:
    cam_tokenizer_free(tokenizer);
    free(merges);
    return status;
}

enum cam_status cam_tokenizer_train(const void *text, size_t n_bytes, size_t vocabulary,
                                    struct cam_buffer *file) {
    struct cam_tokenizer_trainer *trainer;
    CAM_TRY(cam_tokenizer_trainer_new(&trainer));
    enum cam_status status = cam_tokenizer_trainer_add(trainer, text, n_bytes, 1);
    if (status == CAM_OK)
        status = cam_tokenizer_trainer_finish(trainer, vocabulary, file);
    cam_tokenizer_trainer_free(trainer);
    return status;
}
