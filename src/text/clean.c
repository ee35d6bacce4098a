/* One pass over the bytes copies runs that need no change and repairs what lies between them; each
 * finished line is normalised and trimmed where it lies in OUT.  A line is a safe unit for NFC:
 * nothing composes with a newline. */
#include "text/clean.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_MARKS       30
#define MAX_BLANK_LINES 2

/* Newlines are written before it is known whether text follows; those at the end are taken back
 * and must not count against the limit. */
#define SLACK_BYTES (MAX_BLANK_LINES + 2)

enum mode { MODE_UTF8, MODE_LINE, MODE_TEXT };

struct cleaner {
    struct cam_buffer *out;
    enum mode mode;
    size_t start;   /* where our output begins in OUT */
    size_t line;    /* where the current line begins */
    size_t n_blank; /* blank lines written since the last line with text */
    size_t n_replaced;
    int n_marks;   /* combining marks in a row */
    int doubtful;  /* the current line holds code points that may not be in NFC */
    int32_t *code; /* scratch of the normaliser */
    size_t code_room;
};

/* Bytes that are copied as they are without a look at their neighbours. */
static inline int is_plain(unsigned char c) {
    return (c >= 0x20 && c < 0x7F) || c == '\t';
}

/* Decodes one character of at most N bytes.  Returns its length and sets *CODE; for an ill-formed
 * sequence returns the length of its maximal subpart and sets *CODE to -1. */
static size_t decode(const unsigned char *s, size_t n, int32_t *code) {
    unsigned char lead = s[0];
    *code = -1;
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    if (lead < 0xC2 || lead > 0xF4)
        return 1;
    size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    unsigned char low = 0x80, high = 0xBF; /* the second byte excludes overlongs and surrogates */
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;
    int32_t value = lead & (0xFF >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (i >= n || s[i] < low || s[i] > high)
            return i;
        low = 0x80;
        high = 0xBF;
        value = value << 6 | (s[i] & 0x3F);
    }
    *code = value;
    return length;
}

/* Code points that are in NFC wherever they stand: class 0, no canonical decomposition, and they
 * never combine with what precedes them.  Not complete; a line of only these skips the normaliser,
 * which is most text there is (test_clean checks the ranges against utf8proc). */
static int is_nfc_inert(int32_t c) {
    return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x2027) ||
           (c >= 0x2030 && c <= 0x205E) || (c >= 0x20A0 && c <= 0x20C0) ||
           (c >= 0x2190 && c <= 0x2199) || (c >= 0x2500 && c <= 0x25FF) ||
           (c >= 0x3001 && c <= 0x3020) || (c >= 0x3041 && c <= 0x3096) ||
           (c >= 0x30A1 && c <= 0x30FA) || (c >= 0x4E00 && c <= 0x9FFF) ||
           (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFF9F) ||
           (c >= 0x1F300 && c <= 0x1FAFF);
}

static void cut(struct cam_buffer *out, size_t size) {
    out->size = size;
    if (out->data)
        out->data[size] = '\0';
}

/* Puts the current line into NFC, in place. */
static enum cam_status normalise(struct cleaner *c) {
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_uint8_t *line = (const utf8proc_uint8_t *)c->out->data + c->line;
    utf8proc_ssize_t n_line = (utf8proc_ssize_t)(c->out->size - c->line);
    utf8proc_ssize_t need = utf8proc_decompose(line, n_line, NULL, 0, options);
    if (need < 0)
        return cam_fail(CAM_ERR_INTERNAL, "normalising text: %s", utf8proc_errmsg(need));
    if ((size_t)need + 1 > c->code_room) { /* reencode writes a NUL behind the last code point */
        int32_t *code = realloc(c->code, ((size_t)need + 1) * 2 * sizeof *code);
        if (!code)
            return cam_fail(CAM_ERR_OS, "out of memory to normalise %zd code points", need);
        c->code = code;
        c->code_room = ((size_t)need + 1) * 2;
    }
    need = utf8proc_decompose(line, n_line, c->code, (utf8proc_ssize_t)c->code_room, options);
    utf8proc_ssize_t n_new = need < 0 ? need : utf8proc_reencode(c->code, need, options);
    if (n_new < 0)
        return cam_fail(CAM_ERR_INTERNAL, "normalising text: %s", utf8proc_errmsg(n_new));
    cut(c->out, c->line);
    return cam_buffer_append(c->out, c->code, (size_t)n_new);
}

/* The current line is complete: normalise, trim, and write the newline that ends it. */
static enum cam_status end_line(struct cleaner *c) {
    struct cam_buffer *out = c->out;
    if (c->mode == MODE_UTF8)
        return cam_buffer_append(out, "\n", 1);
    if (c->doubtful)
        CAM_TRY(normalise(c));
    c->doubtful = 0;
    size_t size = out->size;
    while (size > c->line && (out->data[size - 1] == ' ' || out->data[size - 1] == '\t'))
        size--;
    if (out->data)
        cut(out, size);
    int blank = size == c->line;
    int first = c->line == c->start;
    c->n_blank = blank ? c->n_blank + 1 : 0;
    if (!blank || (!first && c->n_blank <= MAX_BLANK_LINES))
        CAM_TRY(cam_buffer_append(out, "\n", 1));
    c->line = out->size;
    return CAM_OK;
}

/* One character that cannot be copied blindly, at S; *AT moves behind it. */
static enum cam_status special(struct cleaner *c, const unsigned char *s, size_t n, size_t *at) {
    if (s[*at] == '\n' || s[*at] == '\r') {
        *at += s[*at] == '\r' && *at + 1 < n && s[*at + 1] == '\n' ? 2 : 1;
        c->n_marks = 0;
        return end_line(c);
    }
    int32_t code;
    *at += decode(s + *at, n - *at, &code);
    if (code >= 0) /* a control character, a byte order mark or one combining mark too many */
        return CAM_OK;
    c->n_marks = 0;
    c->n_replaced++;
    c->doubtful = 1; /* U+FFFD itself is inert, but lines with damage are rare: play safe */
    return cam_buffer_append(c->out, "\xEF\xBF\xBD", 3);
}

/* Whether the multi-byte character CODE is kept. */
static int is_kept(struct cleaner *c, int32_t code) {
    if (is_nfc_inert(code)) {
        c->n_marks = 0;
        return code >= 0xA0; /* below are the C1 controls (and -1, ill-formed) */
    }
    if (code == 0xFEFF)
        return 0;
    c->doubtful = 1;
    c->n_marks = utf8proc_get_property(code)->combining_class ? c->n_marks + 1 : 0;
    return c->n_marks <= MAX_MARKS;
}

static enum cam_status run(struct cleaner *c, const unsigned char *s, size_t n) {
    size_t copied = 0, at = 0;
    while (at < n) {
        if (is_plain(s[at])) {
            at++;
            c->n_marks = 0;
            continue;
        }
        if (s[at] >= 0x80) {
            int32_t code;
            size_t length = decode(s + at, n - at, &code);
            if (code >= 0 && is_kept(c, code)) {
                at += length;
                continue;
            }
        }
        CAM_TRY(cam_buffer_append(c->out, s + copied, at - copied));
        CAM_TRY(special(c, s, n, &at));
        copied = at;
    }
    return cam_buffer_append(c->out, s + copied, at - copied);
}

/* The text ends here: the last line, then no newline and no blank line at the end. */
static enum cam_status finish(struct cleaner *c) {
    if (c->mode == MODE_UTF8)
        return CAM_OK;
    CAM_TRY(end_line(c));
    size_t size = c->out->size;
    while (size > c->start && c->out->data[size - 1] == '\n')
        size--;
    cut(c->out, size);
    return CAM_OK;
}

static enum cam_status clean(enum mode mode, const void *bytes, size_t n_bytes,
                             struct cam_buffer *out, size_t *n_replaced) {
    struct cleaner c = {.out = out, .mode = mode, .start = out->size, .line = out->size};
    size_t limit = out->limit, room = limit - out->size;
    out->limit += limit < SIZE_MAX - SLACK_BYTES ? SLACK_BYTES : 0;
    enum cam_status status = cam_buffer_reserve(out, n_bytes < room ? n_bytes : room);
    if (status == CAM_OK && n_bytes)
        status = run(&c, bytes, n_bytes);
    if (status == CAM_OK)
        status = finish(&c);
    free(c.code);
    out->limit = limit;
    if (status == CAM_ERR_DATA || out->size > limit)
        status = cam_fail(CAM_ERR_DATA, "%zu bytes of input exceed the limit of %zu when cleaned",
                          n_bytes, limit);
    if (status != CAM_OK)
        cut(out, c.start);
    else if (n_replaced)
        *n_replaced += c.n_replaced;
    return status;
}

enum cam_status cam_clean_utf8(const void *bytes, size_t n_bytes, struct cam_buffer *out,
                               size_t *n_replaced) {
    return clean(MODE_UTF8, bytes, n_bytes, out, n_replaced);
}

enum cam_status cam_clean_text(const void *bytes, size_t n_bytes, struct cam_buffer *out,
                               size_t *n_replaced) {
    return clean(MODE_TEXT, bytes, n_bytes, out, n_replaced);
}

/* Length of the white space at S (space, tab, newline, no-break space), or 0. */
static size_t space_length(const char *s, size_t n) {
    if (s[0] == ' ' || s[0] == '\t' || s[0] == '\n')
        return 1;
    return n >= 2 && s[0] == '\xC2' && s[1] == '\xA0' ? 2 : 0;
}

enum cam_status cam_clean_line(const void *bytes, size_t n_bytes, struct cam_buffer *out,
                               size_t *n_replaced) {
    size_t start = out->size;
    CAM_TRY(clean(MODE_LINE, bytes, n_bytes, out, n_replaced));
    char *s = out->data;
    size_t to = start;
    for (size_t at = start; at < out->size;) {
        size_t length = space_length(s + at, out->size - at);
        if (!length) {
            s[to++] = s[at++];
            continue;
        }
        at += length;
        if (to > start && s[to - 1] != ' ')
            s[to++] = ' ';
    }
    cut(out, to > start && s[to - 1] == ' ' ? to - 1 : to);
    return CAM_OK;
}
