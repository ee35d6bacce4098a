/* Encoding and decoding: loss-free on any bytes, specials never from text, limits kept. */
#include "tokenizer_support.h"

static struct cam_tokenizer *tokenizer;
static struct cam_encoder *encoder;

static void make(void) {
    MUST(cam_tokenizer_default(&tokenizer));
    MUST(cam_encoder_new(tokenizer, &encoder));
}

static void drop(void) {
    cam_encoder_free(encoder);
    cam_tokenizer_free(tokenizer);
}

TestSuite(tokenizer, .init = make, .fini = drop);

Test(tokenizer, default_has_4096_ids_and_one_special) {
    cr_assert_eq(cam_tokenizer_vocabulary(tokenizer), CAM_TOKENIZER_DEFAULT_VOCABULARY);
    cr_assert_str_eq(cam_tokenizer_kind(tokenizer), "bpe");
    size_t n_special = 0, n;
    for (size_t id = 0; id < cam_tokenizer_vocabulary(tokenizer); id++) {
        cr_assert_not_null(cam_tokenizer_token_bytes(tokenizer, (uint16_t)id, &n));
        cr_assert_leq(n, CAM_TOKENIZER_MAX_TOKEN_BYTES);
        if (n == 0) {
            n_special++;
            cr_assert_eq(id, cam_tokenizer_end_of_text(tokenizer));
        }
    }
    cr_assert_eq(n_special, 1);
    cr_assert_null(cam_tokenizer_token_bytes(tokenizer, 4096, &n));
    cr_assert_eq(n, 0);
}

Test(tokenizer, every_token_is_its_bytes) {
    struct cam_buffer text;
    cam_buffer_init(&text, 1024);
    for (unsigned id = 0; id < 4096; id++) {
        size_t n;
        uint16_t one = (uint16_t)id;
        const unsigned char *bytes = cam_tokenizer_token_bytes(tokenizer, one, &n);
        cam_buffer_clear(&text);
        MUST(cam_tokenizer_decode(tokenizer, &one, 1, &text));
        cr_assert_eq(text.size, n);
        cr_assert(n == 0 || memcmp(text.data, bytes, n) == 0);
        if (id < 256)
            cr_assert(n == 1 && bytes[0] == id);
    }
    cam_buffer_release(&text);
}

Test(tokenizer, random_bytes_come_back) {
    unsigned char text[700];
    for (uint32_t round = 0; round < 300; round++) {
        size_t n = random_below(round, 0, sizeof text);
        /* From a few letters (long runs) to all bytes. */
        uint32_t n_kinds = 1 + random_below(round, 1, 256);
        unsigned char shift = (unsigned char)random_below(round, 2, 256);
        for (size_t i = 0; i < n; i++)
            text[i] = (unsigned char)(shift + random_below(round, 3 + (uint32_t)i, n_kinds));
        check_round_trip(tokenizer, encoder, text, n);
    }
}

Test(tokenizer, nothing_and_single_bytes_come_back) {
    cr_assert_eq(check_round_trip(tokenizer, encoder, "", 0), 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned char text = (unsigned char)byte;
        cr_assert_eq(check_round_trip(tokenizer, encoder, &text, 1), 1);
    }
}

Test(tokenizer, odd_texts_come_back) {
    static const char *const texts[] = {
        "<|endoftext|>",
        "<end-of-text>",
        "</s><s>[CLS] [SEP] <pad> <unk> <bos> <eos>",
        "\xff\xfe\xf8\x80\x80\xc0\xaf",
        "caf\xc3",
        "\xc3\xa9\xa9\xa9",
        "\xed\xa0\x80 lone surrogate",
        "line\r\nline\r\rline\n\n\n\tindented\n        deeper\n   ",
        "   ",
        "\n",
        "\t\t \t",
        "don't 'quote' o''clock _x__y ' _ 12345678 3.14159e-10",
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe6\x96\x87\xe7\xab\xa0",
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_round_trip(tokenizer, encoder, texts[i], strlen(texts[i]));
    check_round_trip(tokenizer, encoder, "a\0b\0\0c", 6);
}

Test(tokenizer, very_long_runs_come_back) {
    static const char runs[] = {'a', ' ', '\n', '-', '7', '\t', '\xc3', '\xa9', '\0'};
    char *text = malloc(100000);
    for (size_t i = 0; i < sizeof runs; i++) {
        memset(text, runs[i], 100000);
        check_round_trip(tokenizer, encoder, text, 100000);
    }
    free(text);
}

Test(tokenizer, P16_names_of_specials_are_plain_text) {
    static const char text[] = "<|endoftext|>";
    uint16_t ids[sizeof text];
    size_t n;
    MUST(cam_tokenizer_encode(tokenizer, text, sizeof text - 1, ids, sizeof text, &n));
    cr_assert_gt(n, 1);
}

Test(tokenizer, end_of_text_decodes_to_nothing) {
    const uint16_t ids[] = {'a', cam_tokenizer_end_of_text(tokenizer), 'b'};
    struct cam_buffer text;
    cam_buffer_init(&text, 16);
    MUST(cam_tokenizer_decode(tokenizer, ids, 3, &text));
    cr_assert_str_eq(text.data, "ab");
    cam_buffer_release(&text);
}

Test(tokenizer, decoding_an_unknown_id_changes_nothing) {
    const uint16_t ids[] = {'a', 4096};
    struct cam_buffer text;
    cam_buffer_init(&text, 16);
    MUST(cam_buffer_append_text(&text, "kept"));
    cr_assert_eq(cam_tokenizer_decode(tokenizer, ids, 2, &text), CAM_ERR_DATA);
    cr_assert_str_eq(text.data, "kept");
    cr_assert_eq(text.size, 4);
    cr_assert_not_null(strstr(cam_message(), "4096"));
    cam_buffer_release(&text);
}

Test(tokenizer, decoding_stops_at_the_limit_of_the_buffer) {
    const uint16_t ids[] = {'a', 'b', 'c'};
    struct cam_buffer text;
    cam_buffer_init(&text, 2);
    cr_assert_neq(cam_tokenizer_decode(tokenizer, ids, 3, &text), CAM_OK);
    cr_assert_eq(text.size, 0);
    cam_buffer_release(&text);
}

Test(tokenizer, too_little_room_is_refused_and_nothing_is_written_past_it) {
    static const char text[] = "In the beginning God created the heaven and the earth.";
    uint16_t ids[64];
    size_t n_needed;
    MUST(cam_tokenizer_encode(tokenizer, text, sizeof text - 1, ids, 64, &n_needed));
    for (size_t capacity = 0; capacity <= n_needed; capacity++) {
        size_t n = 12345;
        memset(ids, 0xEE, sizeof ids);
        enum cam_status status =
            cam_tokenizer_encode(tokenizer, text, sizeof text - 1, ids, capacity, &n);
        cr_assert_eq(status, capacity < n_needed ? CAM_ERR_DATA : CAM_OK);
        cr_assert_eq(n, capacity < n_needed ? 12345 : n_needed);
        for (size_t i = capacity; i < 64; i++)
            cr_assert_eq(ids[i], 0xEEEE);
    }
}

Test(tokenizer, bundled_text_takes_at_most_two_tokens_in_five_bytes) {
    struct cam_buffer text = read_data("bundle/tiny.ndjson");
    size_t n_ids = check_round_trip(tokenizer, encoder, text.data, text.size);
    cr_assert_leq((double)n_ids / (double)text.size, 0.40);
    cam_buffer_release(&text);
}

Test(tokenizer, a_warm_cache_gives_the_ids_of_a_cold_one) {
    struct cam_buffer text = read_data("bundle/tiny.ndjson");
    for (int round = 0; round < 2; round++)
        check_round_trip(tokenizer, encoder, text.data, text.size);
    cam_buffer_release(&text);
}

Test(tokenizer, words_that_share_a_cache_slot_are_told_apart) {
    /* Far more words than slots, all of one length and with the same first eight letters. */
    enum { WORDS = 60000, WORD_BYTES = 15 };
    char *text = malloc(WORDS * WORD_BYTES);
    for (uint32_t i = 0; i < WORDS; i++) {
        memcpy(text + (size_t)i * WORD_BYTES, " abcdefgh", 9);
        for (size_t at = 9; at < WORD_BYTES; at++)
            text[(size_t)i * WORD_BYTES + at] = (char)('a' + random_below(i, (uint32_t)at, 26));
    }
    check_round_trip(tokenizer, encoder, text, WORDS * WORD_BYTES);
    free(text);
}

Test(tokenizer, bytes_kind_is_one_token_a_byte) {
    struct cam_tokenizer *bytes;
    struct cam_encoder *bytes_encoder;
    uint16_t ids[4];
    size_t n = 7;
    MUST(cam_tokenizer_bytes_new(&bytes));
    MUST(cam_encoder_new(bytes, &bytes_encoder));
    cr_assert_eq(cam_tokenizer_vocabulary(bytes), 257);
    cr_assert_str_eq(cam_tokenizer_kind(bytes), "bytes");
    cr_assert_eq(check_round_trip(bytes, bytes_encoder, "\xff\x00 ab", 5), 5);
    cr_assert_eq(cam_tokenizer_encode(bytes, "abcde", 5, ids, 4, &n), CAM_ERR_DATA);
    cr_assert_eq(n, 7);
    cr_assert_not(cam_hash_equal(cam_tokenizer_hash(bytes), cam_tokenizer_hash(tokenizer)));
    cam_encoder_free(bytes_encoder);
    cam_tokenizer_free(bytes);
}
