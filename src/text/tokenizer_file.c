/* The file of a tokenizer, plain text that diffs well:
 *
 *     cambium-tokenizer 1
 *     split 1
 *     vocabulary 4096
 *     32 116              one line a merge: the ids of its two parts, in rank order
 *     ...
 *     hash 0123456789abcdef0123456789abcdef
 *
 * There is exactly one way to write a tokenizer, and the reader accepts no other; the last line is
 * the XXH3 of everything above it, so damage is told apart from a file someone made by hand. */
#include "text/tokenizer.h"

#include "text/tokenizer_split.h"
#include "text/tokenizer_tables.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC           "cambium-tokenizer"
#define FORMAT          1
#define HASH_LINE_BYTES (5 + CAM_HASH_HEX_BYTES) /* "hash " digits newline */

enum cam_status cam_tokenizer_write(const struct cam_tokenizer *tokenizer,
                                    struct cam_buffer *file) {
    struct cam_buffer own;
    char hex[CAM_HASH_HEX_BYTES];
    cam_buffer_init(&own, CAM_TOKENIZER_MAX_FILE_BYTES);
    enum cam_status status;
    CAM_TRY_OUT(cam_buffer_append_format(&own, MAGIC " %d\nsplit %d\nvocabulary %zu\n", FORMAT,
                                         CAM_SPLIT_RULE, tokenizer->vocabulary));
    for (size_t i = 0; i < tokenizer->vocabulary - CAM_TOKEN_FIRST_MERGE; i++)
        CAM_TRY_OUT(cam_buffer_append_format(&own, "%u %u\n", tokenizer->merges[i].left,
                                             tokenizer->merges[i].right));
    cam_hash_hex(cam_hash_bytes(own.data, own.size), hex);
    CAM_TRY_OUT(cam_buffer_append_format(&own, "hash %s\n", hex));
    CAM_TRY_OUT(cam_buffer_append(file, own.data, own.size));
out:
    cam_buffer_release(&own);
    return status;
}

/* What is left of the file, and the line it is at, for messages. */
struct reader {
    const char *at, *end;
    size_t line;
};

static int take_text(struct reader *reader, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(reader->end - reader->at) < n || memcmp(reader->at, text, n) != 0)
        return 0;
    reader->at += n;
    return 1;
}

/* A number as the writer writes it: no sign, no leading zero, at most 65535. */
static int take_number(struct reader *reader, unsigned *number) {
    const char *start = reader->at;
    unsigned value = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9' && value <= 65535)
        value = value * 10 + (unsigned)(*reader->at++ - '0');
    size_t n_digits = (size_t)(reader->at - start);
    if (n_digits == 0 || (*start == '0' && n_digits > 1) || value > 65535)
        return 0;
    *number = value;
    return 1;
}

/* One line "NAME number". */
static enum cam_status take_field(struct reader *reader, const char *name, unsigned *number) {
    reader->line++;
    if (!take_text(reader, name) || !take_text(reader, " ") || !take_number(reader, number) ||
        !take_text(reader, "\n"))
        return cam_fail(CAM_ERR_DATA, "tokenizer file, line %zu: expected \"%s\" and a number",
                        reader->line, name);
    return CAM_OK;
}

/* Checks the last line of the file that begins at START and ends READER before that line. */
static enum cam_status check_hash(struct reader *reader, const char *start) {
    size_t n_left = (size_t)(reader->end - reader->at);
    const char *line = reader->end - (n_left < HASH_LINE_BYTES ? 0 : HASH_LINE_BYTES);
    if (n_left < HASH_LINE_BYTES || memcmp(line, "hash ", 5) != 0)
        return cam_fail(CAM_ERR_DATA,
                        "tokenizer file: the last line is not its hash; the file is cut short");
    char expected[5 + CAM_HASH_HEX_BYTES + 1] = "hash ";
    cam_hash_hex(cam_hash_bytes(start, (size_t)(line - start)), expected + 5);
    expected[HASH_LINE_BYTES - 1] = '\n';
    if (memcmp(line, expected, HASH_LINE_BYTES) != 0)
        return cam_fail(CAM_ERR_DATA,
                        "tokenizer file: the hash in the last line does not match the content; "
                        "the file is damaged: restore it or train it again");
    reader->end = line;
    return CAM_OK;
}

static enum cam_status take_header(struct reader *reader, size_t *vocabulary) {
    const char *start = reader->at;
    unsigned format, split, size;
    CAM_TRY(take_field(reader, MAGIC, &format));
    if (format != FORMAT)
        return cam_fail(CAM_ERR_DATA, "tokenizer file: format %u; this program reads format %d",
                        format, FORMAT);
    CAM_TRY(check_hash(reader, start));
    CAM_TRY(take_field(reader, "split", &split));
    if (split != CAM_SPLIT_RULE)
        return cam_fail(CAM_ERR_DATA, "tokenizer file: split rule %u; this program knows rule %d",
                        split, CAM_SPLIT_RULE);
    CAM_TRY(take_field(reader, "vocabulary", &size));
    if (size < CAM_TOKENIZER_MIN_VOCABULARY || size > CAM_TOKENIZER_MAX_VOCABULARY)
        return cam_fail(CAM_ERR_DATA, "tokenizer file: vocabulary %u is not within %d .. %d", size,
                        CAM_TOKENIZER_MIN_VOCABULARY, CAM_TOKENIZER_MAX_VOCABULARY);
    *vocabulary = size;
    return CAM_OK;
}

static enum cam_status take_merges(struct reader *reader, size_t n_merges,
                                   struct cam_merge *merges) {
    for (size_t i = 0; i < n_merges; i++) {
        unsigned left, right;
        reader->line++;
        if (!take_number(reader, &left) || !take_text(reader, " ") ||
            !take_number(reader, &right) || !take_text(reader, "\n"))
            return cam_fail(CAM_ERR_DATA,
                            "tokenizer file, line %zu: expected merge %zu of %zu as two ids",
                            reader->line, i, n_merges);
        merges[i] = (struct cam_merge){(uint16_t)left, (uint16_t)right};
    }
    if (reader->at != reader->end)
        return cam_fail(CAM_ERR_DATA, "tokenizer file, line %zu: more than %zu merges",
                        reader->line + 1, n_merges);
    return CAM_OK;
}

enum cam_status cam_tokenizer_load(const void *bytes, size_t n_bytes,
                                   struct cam_tokenizer **tokenizer) {
    if (n_bytes > CAM_TOKENIZER_MAX_FILE_BYTES)
        return cam_fail(CAM_ERR_DATA, "tokenizer file: %zu bytes exceed the limit of %zu", n_bytes,
                        CAM_TOKENIZER_MAX_FILE_BYTES);
    if (n_bytes == 0)
        return cam_fail(CAM_ERR_DATA, "tokenizer file: it is empty");
    struct reader reader = {.at = bytes, .end = (const char *)bytes + n_bytes};
    size_t vocabulary = CAM_TOKENIZER_MIN_VOCABULARY;
    CAM_TRY(take_header(&reader, &vocabulary));
    size_t n_merges = vocabulary - CAM_TOKEN_FIRST_MERGE;
    struct cam_merge *merges = malloc((n_merges + 1) * sizeof *merges);
    if (!merges)
        return cam_fail(CAM_ERR_OS, "no memory for %zu merges", n_merges);
    enum cam_status status = take_merges(&reader, n_merges, merges);
    if (status == CAM_OK) {
        status = cam_tokenizer_from_merges(merges, n_merges, tokenizer);
        if (status != CAM_OK)
            status = cam_context(status, "tokenizer file");
    }
    free(merges);
    return status;
}
