/* Cleaning: what comes out is valid UTF-8 in NFC, in lines, and nothing that means something is
 * lost. */
#include "base/rng.h"
#include "text/clean.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static struct cam_buffer out;
static size_t n_replaced;

static void make(void) {
    cam_buffer_init(&out, 1u << 24);
    n_replaced = 0;
}

static void drop(void) {
    cam_buffer_release(&out);
}

TestSuite(clean, .init = make, .fini = drop);

static const char *text_of(const char *bytes, size_t n) {
    cam_buffer_clear(&out);
    n_replaced = 0;
    MUST(cam_clean_text(bytes, n, &out, &n_replaced));
    return out.data;
}

#define TEXT(literal) text_of(literal, sizeof(literal) - 1)

static const char *line_of(const char *bytes) {
    cam_buffer_clear(&out);
    MUST(cam_clean_line(bytes, strlen(bytes), &out, NULL));
    return out.data;
}

Test(clean, plain_text_stays) {
    cr_assert_str_eq(TEXT("Hello, world.\n\nSecond paragraph."),
                     "Hello, world.\n\nSecond paragraph.");
    cr_assert_eq(n_replaced, 0);
}

Test(clean, line_ends_become_newlines) {
    cr_assert_str_eq(TEXT("a\r\nb\rc\n\rd"), "a\nb\nc\n\nd");
}

Test(clean, controls_go_and_tabs_stay) {
    cr_assert_str_eq(TEXT("a\0b\x01"
                          "c\x1B[31md\x7F"
                          "e\tf\xC2\x85"
                          "g\xC2\x9Bh"),
                     "abc[31mde\tfgh");
    cr_assert_eq(n_replaced, 0);
}

Test(clean, byte_order_marks_go) {
    cr_assert_str_eq(TEXT("\xEF\xBB\xBF\xEF\xBB\xBF"
                          "a\xEF\xBB\xBF"
                          "b"),
                     "ab");
}

Test(clean, N16_ill_formed_sequences_are_replaced_and_counted) {
    static const struct {
        const char *bytes, *clean;
        size_t n_replaced;
    } cases[] = {
        {"a\xFFz", "a\xEF\xBF\xBDz", 1},
        {"a\x80z", "a\xEF\xBF\xBDz", 1},
        {"a\xC0\xAFz", "a\xEF\xBF\xBD\xEF\xBF\xBDz", 2}, /* overlong '/' */
        {"a\xE0\x80\xAFz", "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz", 3},
        {"a\xED\xA0\x80z", "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz", 3}, /* a surrogate */
        {"a\xF4\x90\x80\x80z", "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz", 4},
        {"a\xF0\x9F\x98z", "a\xEF\xBF\xBDz", 1}, /* one maximal subpart */
        {"a\xE2\x82", "a\xEF\xBF\xBD", 1},       /* cut at the end */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_str_eq(text_of(cases[i].bytes, strlen(cases[i].bytes)), cases[i].clean, "%zu", i);
        cr_assert_eq(n_replaced, cases[i].n_replaced, "case %zu: %zu", i, n_replaced);
    }
}

Test(clean, composes_to_nfc) {
    cr_assert_str_eq(TEXT("e\xCC\x81t\xC3\xA9"), "\xC3\xA9t\xC3\xA9");
    cr_assert_str_eq(TEXT("a\xCC\xA3\xCC\x82"), "\xE1\xBA\xAD");        /* two marks, one letter */
    cr_assert_str_eq(TEXT("\xE1\x84\x80\xE1\x85\xA1"), "\xEA\xB0\x80"); /* Hangul */
    cr_assert_str_eq(TEXT("\xEF\xAC\x81"), "\xEF\xAC\x81"); /* a ligature is no NFC matter */
}

Test(clean, trailing_spaces_and_blank_lines) {
    cr_assert_str_eq(TEXT(" \n\n  a \t\n \n\n\n\n\nb  \n\n \n"), "  a\n\n\nb");
    cr_assert_str_eq(TEXT("   "), "");
    cr_assert_str_eq(TEXT("\n\n\n"), "");
    cr_assert_str_eq(TEXT(""), "");
}

Test(clean, indentation_of_code_stays) {
    cr_assert_str_eq(TEXT("\tif (x)  {\n\t\ty   = 1;\n\n        z();\n}\n"),
                     "\tif (x)  {\n\t\ty   = 1;\n\n        z();\n}");
}

Test(clean, appends_behind_what_is_there) {
    MUST(cam_buffer_append_text(&out, "before\n"));
    MUST(cam_clean_text("\n\nafter\n", 8, &out, NULL));
    cr_assert_str_eq(out.data, "before\nafter");
}

Test(clean, past_the_limit_nothing_changes) {
    struct cam_buffer small;
    cam_buffer_init(&small, 8);
    MUST(cam_buffer_append_text(&small, "keep"));
    cr_assert_eq(cam_clean_text("more than fits", 14, &small, NULL), CAM_ERR_DATA);
    cr_assert_str_eq(small.data, "keep");
    MUST(cam_clean_text("\0\0\0\0\0\0\0\0\0abc\0\0\0\0\0", 17, &small, NULL));
    cr_assert_str_eq(small.data, "keepabc", "only what stays counts");
    cam_buffer_release(&small);
}

Test(clean, line_has_single_spaces) {
    cr_assert_str_eq(line_of("  A\n title\t\twith \xC2\xA0 gaps\r\n "), "A title with gaps");
    cr_assert_str_eq(line_of(" \n "), "");
}

Test(clean, utf8_keeps_the_layout) {
    MUST(cam_clean_utf8("  a  \r\n\n\n\n\x01 e\xCC\x81 \xFF\n", 18, &out, &n_replaced));
    cr_assert_str_eq(out.data, "  a  \n\n\n\n e\xCC\x81 \xEF\xBF\xBD\n");
    cr_assert_eq(n_replaced, 1);
}

Test(clean, long_runs_of_marks_are_cut) {
    /* Sorting marks is quadratic in a run; without a bound this test would take minutes. */
    size_t n_marks = 500000, n = 1 + 2 * n_marks;
    char *bytes = malloc(n);
    bytes[0] = 'a';
    for (size_t i = 0; i < n_marks; i++)
        memcpy(bytes + 1 + 2 * i, i % 2 ? "\xCC\xA3" : "\xCD\x85", 2); /* classes 220 and 240 */
    MUST(cam_clean_text(bytes, n, &out, NULL));
    cr_assert_leq(out.size, 1 + 2 * 30 + 4);
    free(bytes);
}

/* The fast path must not skip what the normaliser would change. */
Test(clean, every_code_point_alone_and_behind_a_letter_is_nfc) {
    for (int32_t code = 0xA0; code < 0x32000; code++) { /* beyond, nothing composes */
        utf8proc_uint8_t bytes[16];
        if ((code >= 0xD800 && code < 0xE000) || code == 0xFEFF)
            continue;
        for (size_t lead = 0; lead < 2; lead++) {
            bytes[0] = 'e';
            size_t n = lead + (size_t)utf8proc_encode_char(code, bytes + lead);
            bytes[n] = '\0';
            cam_buffer_clear(&out);
            MUST(cam_clean_text(bytes, n, &out, NULL));
            utf8proc_uint8_t *nfc = utf8proc_NFC(bytes);
            cr_assert_str_eq(out.data, (char *)nfc, "U+%04X", (unsigned)code);
            free(nfc);
        }
    }
}

static size_t random_text(uint32_t round, char *bytes, size_t room) {
    static const char *const pieces[] = {"a",
                                         " ",
                                         "\n",
                                         "\r",
                                         "\t",
                                         "\xCC\x81",
                                         "\xCC\xA3",
                                         "\xC3\xA9",
                                         "\xFF",
                                         "\xE2\x82",
                                         "\xEF\xBB\xBF",
                                         "\x01",
                                         "\xC2\x85",
                                         "\xF0\x9F\x98\x80",
                                         "\xE1\x85\xA1",
                                         "\xE1\x84\x80",
                                         "\xED\xA0\x80",
                                         "  "};
    size_t n = 0;
    for (uint32_t i = 0; n + 8 < room; i++) {
        struct cam_random random = cam_random_at(7, CAM_PURPOSE_TEST, round, i);
        const char *piece = pieces[random.word[0] % (sizeof pieces / sizeof *pieces)];
        memcpy(bytes + n, piece, strlen(piece));
        n += strlen(piece);
        if (random.word[1] % 100 == 0)
            break;
    }
    return n;
}

Test(clean, cleaning_twice_changes_nothing) {
    char bytes[600];
    struct cam_buffer again;
    cam_buffer_init(&again, 1u << 16);
    for (uint32_t round = 0; round < 20000; round++) {
        size_t n = random_text(round, bytes, sizeof bytes), n_again = 0;
        cam_buffer_clear(&out);
        cam_buffer_clear(&again);
        MUST(cam_clean_text(bytes, n, &out, NULL));
        MUST(cam_clean_text(out.data, out.size, &again, &n_again));
        cr_assert_eq(n_again, 0);
        cr_assert(again.size == out.size && memcmp(again.data, out.data, out.size) == 0,
                  "round %u: \"%s\" then \"%s\"", round, out.data, again.data);
    }
    cam_buffer_release(&again);
}
