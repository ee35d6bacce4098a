#include "text/tokenizer_split.h"

#include <stdint.h>

enum { LETTER, DIGIT, BLANK, NEWLINE, OTHER };

/* The class of every byte, so that the inner loops are one load and one compare.  OTHER covers
 * punctuation and the control characters, which cleaned text does not have. */
/* clang-format off */
#define O4  OTHER, OTHER, OTHER, OTHER
#define L4  LETTER, LETTER, LETTER, LETTER
#define L16 L4, L4, L4, L4
#define LETTERS_26 LETTER, LETTER, L4, L4, L4, L4, L4, L4
static const uint8_t class_of[256] = {
    O4, O4, OTHER, BLANK, NEWLINE, OTHER, OTHER, NEWLINE, OTHER, OTHER,           /* 00 */
    O4, O4, O4, O4,                                                               /* 10 */
    BLANK, OTHER, OTHER, OTHER, O4, O4, O4,                                       /* 20 */
    DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT,         /* 30 */
    OTHER, OTHER, O4,                                                             /* 3A */
    OTHER, LETTERS_26, OTHER, O4,                                                 /* 40 */
    OTHER, LETTERS_26, OTHER, O4,                                                 /* 60 */
    L16, L16, L16, L16, L16, L16, L16, L16,                                       /* 80 */
};
/* clang-format on */

static size_t run_end(const unsigned char *text, size_t from, size_t limit, uint8_t class) {
    while (from < limit && class_of[text[from]] == class)
        from++;
    return from;
}

/* A run of letters cut at the limit ends before a sequence, unless what is there is no UTF-8. */
static size_t letters_end(const unsigned char *text, size_t from, size_t n_bytes, size_t limit) {
    size_t end = run_end(text, from, limit, LETTER);
    if (end < limit || end == n_bytes)
        return end;
    for (size_t back = 0; back < 4; back++)
        if ((text[end - back] & 0xC0) != 0x80)
            return end - back;
    return end;
}

/* TEXT begins with white space that no word takes along. */
static size_t white_space(const unsigned char *text, size_t n_bytes, size_t limit) {
    size_t end = 0, after_newline = 0;
    while (end < limit && (class_of[text[end]] == BLANK || class_of[text[end]] == NEWLINE)) {
        if (class_of[text[end]] == NEWLINE)
            after_newline = end + 1;
        end++;
    }
    if (after_newline > 0)
        return after_newline;
    if (end > 1 && end < n_bytes && text[end - 1] == ' ')
        return end - 1;
    return end;
}

size_t cam_split_word(const unsigned char *text, size_t n_bytes) {
    size_t limit = n_bytes < CAM_SPLIT_MAX_WORD_BYTES ? n_bytes : CAM_SPLIT_MAX_WORD_BYTES;
    uint8_t first = class_of[text[0]];
    if (first == LETTER)
        return letters_end(text, 1, n_bytes, limit);
    if ((text[0] == ' ' || text[0] == '\'' || text[0] == '_') && limit > 1 &&
        class_of[text[1]] == LETTER)
        return letters_end(text, 2, n_bytes, limit);
    size_t start = text[0] == ' ' && limit > 1;
    uint8_t class = class_of[text[start]];
    if (class == DIGIT)
        return run_end(text, start, limit < start + 3 ? limit : start + 3, DIGIT);
    if (class == OTHER)
        return run_end(text, run_end(text, start, limit, OTHER), limit, NEWLINE);
    return white_space(text, n_bytes, limit);
}
