/* The split rule, by example: the words of a text written with a bar between them. */
#include "tokenizer_support.h"

#include "text/tokenizer_split.h"

static void check_words(const char *expected) {
    char text[512], words[1024];
    size_t n = 0, out = 0;
    for (const char *c = expected; *c; c++)
        if (*c != '|')
            text[n++] = *c;
    for (size_t at = 0; at < n;) {
        size_t n_word = cam_split_word((const unsigned char *)text + at, n - at);
        cr_assert(n_word >= 1 && n_word <= n - at && n_word <= CAM_SPLIT_MAX_WORD_BYTES);
        if (at > 0)
            words[out++] = '|';
        memcpy(words + out, text + at, n_word);
        out += n_word;
        at += n_word;
    }
    words[out] = '\0';
    cr_assert_str_eq(words, expected, "got %s, expected %s", words, expected);
}

Test(tokenizer_split, words_take_the_space_before_them) {
    check_words("In| the| beginning");
    check_words("a|  | b");
    check_words("la| ma\xc3\xb1"
                "ana| y| el| d\xc3\xad"
                "a");
    check_words("don|'t| o|'clock| '|quoted|'");
}

Test(tokenizer_split, identifiers_split_at_underscores) {
    check_words("cam|_token|_id|_t|___|x|_|1");
}

Test(tokenizer_split, digits_come_in_threes) {
    check_words("123|456|7| 890| 12|a| 3|.|14");
}

Test(tokenizer_split, punctuation_takes_line_ends) {
    check_words("x| =| f|(|y|);\n|return|;\n\n|}");
    check_words(" ->|p|->|q");
}

Test(tokenizer_split, indentation_is_one_word) {
    check_words("{\n|   | if|(|a|)\n|       | b|;\n|}");
    check_words("a|\n\n|b|\n|\t\t|c");
    check_words("a|  \n \n|  | b");
    check_words("a|   ");
    check_words("a|\t|b| \t|c");
    check_words("line|\r\n|line");
}

Test(tokenizer_split, runs_are_cut_before_a_character) {
    /* 63 letters and a two-byte one: the cut at 64 would be inside it. */
    unsigned char text[80];
    memset(text, 'a', sizeof text);
    text[63] = 0xC3;
    text[64] = 0xA9;
    cr_assert_eq(cam_split_word(text, sizeof text), 63);
    /* The same bytes where they end the text. */
    cr_assert_eq(cam_split_word(text, 64), 64);
    /* No sequence is in sight: the cut stays. */
    memset(text, 0x80, sizeof text);
    cr_assert_eq(cam_split_word(text, sizeof text), 64);
}

Test(tokenizer_split, every_word_has_a_bounded_length) {
    unsigned char text[300];
    for (uint32_t round = 0; round < 200; round++) {
        uint32_t n_kinds = 1 + random_below(round, 0, 256);
        for (uint32_t i = 0; i < sizeof text; i++)
            text[i] = (unsigned char)(round + random_below(round, 1 + i, n_kinds));
        for (size_t at = 0; at < sizeof text;) {
            size_t n_word = cam_split_word(text + at, sizeof text - at);
            cr_assert(n_word >= 1 && n_word <= sizeof text - at &&
                      n_word <= CAM_SPLIT_MAX_WORD_BYTES);
            at += n_word;
        }
    }
}
