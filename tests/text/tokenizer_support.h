/* tokenizer_support.h - what the tokenizer tests share: sample bytes and files. */
#ifndef CAM_TESTS_TOKENIZER_SUPPORT_H
#define CAM_TESTS_TOKENIZER_SUPPORT_H

#include "base/buffer.h"
#include "base/hash.h"
#include "base/rng.h"
#include "text/tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

/* A uniform number below N that depends on (SERIES, I) only. */
static inline uint32_t random_below(uint64_t series, uint32_t i, uint32_t n) {
    return (uint32_t)cam_random_below(cam_random_at(7, CAM_PURPOSE_TEST, series, i), n);
}

/* The file at tests/data/NAME, whole. */
static inline struct cam_buffer read_data(const char *name) {
    char path[512];
    struct cam_buffer content;
    cam_buffer_init(&content, (size_t)16 << 20);
    snprintf(path, sizeof path, "%s/%s", CAM_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char block[4096];
    size_t n;
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        MUST(cam_buffer_append(&content, block, n));
    fclose(file);
    return content;
}

/* Encodes TEXT both ways, checks that they agree, decodes, and checks that TEXT comes back.
 * Returns the number of ids. */
static inline size_t check_round_trip(const struct cam_tokenizer *tokenizer,
                                      struct cam_encoder *encoder, const void *text, size_t n) {
    uint16_t *plain = malloc((n + 1) * sizeof *plain);
    uint16_t *cached = malloc((n + 1) * sizeof *cached);
    size_t n_plain, n_cached;
    struct cam_buffer back;
    cam_buffer_init(&back, n + 1);
    MUST(cam_tokenizer_encode(tokenizer, text, n, plain, n, &n_plain));
    MUST(cam_encoder_encode(encoder, text, n, cached, n, &n_cached));
    cr_assert_eq(n_plain, n_cached);
    cr_assert(memcmp(plain, cached, n_plain * sizeof *plain) == 0);
    for (size_t i = 0; i < n_plain; i++) {
        cr_assert_lt(plain[i], cam_tokenizer_vocabulary(tokenizer));
        cr_assert_neq(plain[i], cam_tokenizer_end_of_text(tokenizer));
    }
    MUST(cam_tokenizer_decode(tokenizer, plain, n_plain, &back));
    cr_assert_eq(back.size, n);
    cr_assert(n == 0 || memcmp(back.data, text, n) == 0);
    cam_buffer_release(&back);
    free(plain);
    free(cached);
    return n_plain;
}

/* BODY with the hash line that makes it whole, as hostile hands would. */
static inline struct cam_buffer signed_file(const char *body) {
    struct cam_buffer file;
    char hex[CAM_HASH_HEX_BYTES];
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    cam_hash_hex(cam_hash_bytes(body, strlen(body)), hex);
    MUST(cam_buffer_append_format(&file, "%shash %s\n", body, hex));
    return file;
}

#endif
