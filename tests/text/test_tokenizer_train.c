/* The trainer: the same file every time, and merges that a slow, plain program agrees with. */
#include "tokenizer_support.h"

#include "text/tokenizer_split.h"
#include "text/tokenizer_train.h"

static struct cam_buffer train(const char *text, size_t n, size_t vocabulary) {
    struct cam_buffer file;
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    MUST(cam_tokenizer_train(text, n, vocabulary, &file));
    return file;
}

static void check_same(const struct cam_buffer *a, const struct cam_buffer *b) {
    cr_assert_eq(a->size, b->size);
    cr_assert(memcmp(a->data, b->data, a->size) == 0);
}

/* The merges of a file, from its lines. */
static size_t merges_of(const struct cam_buffer *file, unsigned (*merges)[2], size_t capacity) {
    size_t n = 0;
    const char *line = file->data;
    for (int skip = 0; skip < 3; skip++)
        line = strchr(line, '\n') + 1;
    while (n < capacity && sscanf(line, "%u %u", &merges[n][0], &merges[n][1]) == 2) {
        n++;
        line = strchr(line, '\n') + 1;
    }
    return n;
}

/* Replaces LEFT RIGHT by ID in IDS, left to right; returns the new number. */
static size_t merge_all(uint16_t *ids, size_t n, const unsigned merge[2], uint16_t id) {
    size_t out = 0;
    for (size_t in = 0; in < n; out++) {
        int both = in + 1 < n && ids[in] == merge[0] && ids[in + 1] == merge[1];
        uint16_t next = both ? id : ids[in];
        in += both ? 2 : 1;
        ids[out] = next;
    }
    return out;
}

/* BPE as it is defined: every merge in rank order over the whole word. */
static size_t reference_encode(const struct cam_buffer *file, const unsigned char *text, size_t n,
                               uint16_t *ids) {
    static unsigned merges[4096][2];
    size_t n_merges = merges_of(file, merges, 4096), n_ids = 0;
    for (size_t at = 0; at < n;) {
        size_t n_bytes = cam_split_word(text + at, n - at), n_word = n_bytes;
        uint16_t *word = ids + n_ids;
        for (size_t i = 0; i < n_bytes; i++)
            word[i] = text[at + i];
        for (size_t rank = 0; rank < n_merges; rank++)
            n_word = merge_all(word, n_word, merges[rank], (uint16_t)(257 + rank));
        n_ids += n_word;
        at += n_bytes;
    }
    return n_ids;
}

Test(tokenizer_train, encoding_equals_the_definition) {
    struct cam_buffer text = read_data("bundle/tiny.ndjson");
    struct cam_buffer file = train(text.data, text.size, 900);
    struct cam_tokenizer *tokenizer;
    unsigned char sample[400];
    uint16_t expected[400], ids[400];
    MUST(cam_tokenizer_load(file.data, file.size, &tokenizer));
    for (uint32_t round = 0; round < 300; round++) {
        /* Pieces of the text with a few bytes replaced by others of it. */
        size_t n = random_below(round, 0, sizeof sample);
        size_t start = random_below(round, 1, (uint32_t)(text.size - sizeof sample));
        memcpy(sample, text.data + start, n);
        for (uint32_t i = 0; i < n / 20; i++)
            sample[random_below(round, 2 + 2 * i, (uint32_t)n)] =
                (unsigned char)text.data[random_below(round, 3 + 2 * i, (uint32_t)text.size)];
        size_t n_ids, n_expected = reference_encode(&file, sample, n, expected);
        MUST(cam_tokenizer_encode(tokenizer, sample, n, ids, 400, &n_ids));
        cr_assert_eq(n_ids, n_expected);
        cr_assert(memcmp(ids, expected, n_ids * sizeof *ids) == 0);
    }
    cam_tokenizer_free(tokenizer);
    cam_buffer_release(&file);
    cam_buffer_release(&text);
}

Test(tokenizer_train, repeated_letters_merge_from_the_left) {
    struct cam_buffer file = train("aaaaaaa aaaaa aaa aa", 20, 259);
    struct cam_tokenizer *tokenizer;
    MUST(cam_tokenizer_load(file.data, file.size, &tokenizer));
    char text[65];
    for (size_t n = 1; n <= 64; n++) {
        uint16_t expected[64], ids[64];
        size_t n_ids;
        memset(text, 'a', n);
        size_t n_expected = reference_encode(&file, (unsigned char *)text, n, expected);
        MUST(cam_tokenizer_encode(tokenizer, text, n, ids, 64, &n_ids));
        cr_assert_eq(n_ids, n_expected);
        cr_assert(memcmp(ids, expected, n_ids * sizeof *ids) == 0);
    }
    cam_tokenizer_free(tokenizer);
    cam_buffer_release(&file);
}

/* Counts the pairs of all words anew and returns the best by the documented order. */
static void best_pair_slowly(uint16_t *const *words, const size_t *n_ids, size_t n_words,
                             unsigned best[2]) {
    static uint32_t counts[400][400];
    uint32_t most = 0;
    memset(counts, 0, sizeof counts);
    for (size_t w = 0; w < n_words; w++)
        for (size_t i = 0; i + 1 < n_ids[w]; i++)
            counts[words[w][i]][words[w][i + 1]]++;
    for (unsigned left = 0; left < 400; left++)
        for (unsigned right = 0; right < 400; right++)
            if (counts[left][right] > most) {
                most = counts[left][right];
                best[0] = left;
                best[1] = right;
            }
}

Test(tokenizer_train, merges_equal_those_of_counting_anew) {
    enum { BYTES = 6000, MERGES = 100 };
    struct cam_buffer text = read_data("bundle/tiny.ndjson");
    struct cam_buffer file = train(text.data, BYTES, 257 + MERGES);
    unsigned merges[MERGES + 1][2];
    uint16_t *words[BYTES], *ids = malloc(BYTES * sizeof *ids);
    size_t n_ids[BYTES], n_words = 0;
    cr_assert_eq(merges_of(&file, merges, MERGES + 1), MERGES);
    for (size_t at = 0; at < BYTES; at += n_ids[n_words++]) {
        words[n_words] = ids + at;
        n_ids[n_words] = cam_split_word((unsigned char *)text.data + at, BYTES - at);
        for (size_t i = 0; i < n_ids[n_words]; i++)
            words[n_words][i] = (unsigned char)text.data[at + i];
    }
    for (unsigned rank = 0; rank < MERGES; rank++) {
        unsigned best[2] = {0, 0};
        best_pair_slowly(words, n_ids, n_words, best);
        cr_assert(best[0] == merges[rank][0] && best[1] == merges[rank][1], "merge %u", rank);
        for (size_t w = 0; w < n_words; w++)
            n_ids[w] = merge_all(words[w], n_ids[w], best, (uint16_t)(257 + rank));
    }
    free(ids);
    cam_buffer_release(&file);
    cam_buffer_release(&text);
}

Test(tokenizer_train, equal_counts_go_to_the_smaller_ids) {
    struct cam_buffer file = train("ba ba cd cd xy xy", 17, 259);
    unsigned merges[4][2];
    cr_assert_eq(merges_of(&file, merges, 4), 2);
    /* b a, space c, c d, space x and x y all occur twice. */
    cr_assert(merges[0][0] == ' ' && merges[0][1] == 'c', "%u %u", merges[0][0], merges[0][1]);
    cr_assert(merges[1][0] == ' ' && merges[1][1] == 'x', "%u %u", merges[1][0], merges[1][1]);
    cam_buffer_release(&file);
}

Test(tokenizer_train, same_samples_same_file_in_any_order) {
    struct cam_buffer text = read_data("bundle/tiny.ndjson");
    struct cam_buffer files[2];
    for (int turn = 0; turn < 2; turn++) {
        struct cam_tokenizer_trainer *trainer;
        cam_buffer_init(&files[turn], CAM_TOKENIZER_MAX_FILE_BYTES);
        MUST(cam_tokenizer_trainer_new(&trainer));
        for (size_t i = 0; i < 10; i++) {
            size_t piece = turn ? 9 - i : i;
            MUST(cam_tokenizer_trainer_add(trainer, text.data + piece * 4000, 4000,
                                           (uint32_t)piece + 1));
        }
        MUST(cam_tokenizer_trainer_finish(trainer, 700, &files[turn]));
        cam_tokenizer_trainer_free(trainer);
    }
    check_same(&files[0], &files[1]);
    cam_buffer_release(&files[0]);
    cam_buffer_release(&files[1]);
    cam_buffer_release(&text);
}

Test(tokenizer_train, a_weight_counts_like_copies) {
    static const char rare[] = "zebra zebras ", common[] = "the cat sat on the mat then ";
    struct cam_tokenizer_trainer *trainer;
    struct cam_buffer weighted, copied;
    cam_buffer_init(&weighted, 4096);
    cam_buffer_init(&copied, 4096);
    MUST(cam_tokenizer_trainer_new(&trainer));
    MUST(cam_tokenizer_trainer_add(trainer, common, strlen(common), 1));
    MUST(cam_tokenizer_trainer_add(trainer, rare, strlen(rare), 3));
    MUST(cam_tokenizer_trainer_finish(trainer, 264, &weighted));
    cam_tokenizer_trainer_free(trainer);
    MUST(cam_tokenizer_trainer_new(&trainer));
    for (int i = 0; i < 3; i++)
        MUST(cam_tokenizer_trainer_add(trainer, rare, strlen(rare), 1));
    MUST(cam_tokenizer_trainer_add(trainer, common, strlen(common), 1));
    MUST(cam_tokenizer_trainer_finish(trainer, 264, &copied));
    cam_tokenizer_trainer_free(trainer);
    check_same(&weighted, &copied);
    cam_buffer_release(&weighted);
    cam_buffer_release(&copied);
}

Test(tokenizer_train, what_cannot_be_is_refused) {
    struct cam_tokenizer_trainer *trainer;
    struct cam_buffer file;
    cam_buffer_init(&file, 4096);
    cr_assert_eq(cam_tokenizer_train("abc", 3, 300, &file), CAM_ERR_DATA);
    cr_assert_not_null(strstr(cam_message(), "257 ids, not 300"));
    cr_assert_eq(cam_tokenizer_train("", 0, 258, &file), CAM_ERR_DATA);
    cr_assert_eq(cam_tokenizer_train("abab", 4, 256, &file), CAM_ERR_DATA);
    cr_assert_eq(cam_tokenizer_train("abab", 4, 65536, &file), CAM_ERR_DATA);
    cr_assert_eq(file.size, 0);
    MUST(cam_tokenizer_trainer_new(&trainer));
    cr_assert_eq(cam_tokenizer_trainer_add(trainer, "a", 1, 0), CAM_ERR_DATA);
    cr_assert_eq(cam_tokenizer_trainer_add(trainer, "a", 1, CAM_TOKENIZER_MAX_WEIGHT + 1),
                 CAM_ERR_DATA);
    cam_tokenizer_trainer_free(trainer);
    cam_tokenizer_trainer_free(NULL);
    MUST(cam_tokenizer_train("", 0, 257, &file));
    cam_buffer_release(&file);
}
