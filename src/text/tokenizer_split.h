/* tokenizer_split.h - the rule that cuts text into the words BPE merges inside.
 *
 * Rule 1, tried in this order at the start of what is left:
 *   letters      [space ' _]? letter+             letter: A-Z a-z and every byte >= 0x80
 *   digits       space? digit{1,3}
 *   punctuation  space? punctuation+ newline*     punctuation: whatever is nothing else
 *   line end     blank* newline, as far as the last newline of the run of white space
 *   blanks       spaces and tabs, but the last space stays with what follows it
 * newline: \n and \r.  blank: space and tab.  So an indentation is one word, and `;` and its line
 * end are one word.  No word is longer than CAM_SPLIT_MAX_WORD_BYTES; a longer run is cut there,
 * before a UTF-8 sequence rather than inside it.
 *
 * The rule is part of a tokenizer: files name its number, and changing what it does to any text
 * means a new number. */
#ifndef CAM_TEXT_TOKENIZER_SPLIT_H
#define CAM_TEXT_TOKENIZER_SPLIT_H

#include <stddef.h>

#define CAM_SPLIT_RULE           1
#define CAM_SPLIT_MAX_WORD_BYTES 64

/* Bytes of the first word of TEXT, 1 .. CAM_SPLIT_MAX_WORD_BYTES; N_BYTES >= 1. */
size_t cam_split_word(const unsigned char *text, size_t n_bytes);

#endif
