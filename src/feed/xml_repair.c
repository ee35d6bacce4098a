#include "feed/xml_repair.h"

#include <ctype.h>
#include <string.h>

#define MAX_NAME_BYTES 32

struct repair {
    const char *text;
    size_t n;
    struct cam_buffer *out;
    int changed;
};

/* Length of a control character, U+FFFE or U+FFFF at S, or 0. */
static size_t forbidden(const unsigned char *s, size_t n) {
    if (s[0] < 0x20 && s[0] != '\t' && s[0] != '\n' && s[0] != '\r')
        return 1;
    return n >= 3 && s[0] == 0xEF && s[1] == 0xBF && s[2] >= 0xBE ? 3 : 0;
}

static enum cam_status copy_clean(struct repair *r, size_t from, size_t to) {
    while (from < to) {
        size_t at = from, length = 0;
        while (at < to && !(length = forbidden((const unsigned char *)r->text + at, to - at)))
            at++;
        CAM_TRY(cam_buffer_append(r->out, r->text + from, at - from));
        r->changed |= at < to;
        from = at + length;
    }
    return CAM_OK;
}

static enum cam_status put(struct repair *r, const char *text) {
    r->changed = 1;
    return cam_buffer_append_text(r->out, text);
}

/* "&#146;" at AT: sets *LENGTH.  A reference XML allows is copied. */
static enum cam_status character(struct repair *r, size_t at, size_t *length) {
    /* What windows-1252 has at 0x80 to 0x9F; 0 where it has nothing. */
    static const unsigned short windows[32] = {
        0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};
    const char *s = r->text + at;
    size_t left = r->n - at, i = 2, hex = left > 2 && (s[2] == 'x' || s[2] == 'X');
    unsigned long code = 0;
    for (i += hex; i < left && i < MAX_NAME_BYTES; i++) {
        int c = tolower((unsigned char)s[i]);
        if (!(hex ? isxdigit(c) : isdigit(c)))
            break;
        code = code > 0x110000
                   ? code
                   : code * (hex ? 16 : 10) + (unsigned long)(isdigit(c) ? c - '0' : c - 'a' + 10);
    }
    if (i == 2 + hex || i >= left || s[i] != ';') {
        *length = 1;
        return put(r, "&amp;");
    }
    *length = i + 1;
    if (code >= 0x80 && code < 0xA0 && windows[code - 0x80]) {
        r->changed = 1;
        return cam_buffer_append_format(r->out, "&#%u;", (unsigned)windows[code - 0x80]);
    }
    if (code == 9 || code == 10 || code == 13 || (code >= 0x20 && code < 0xD800) ||
        (code >= 0xE000 && code < 0xFFFE) || (code >= 0x10000 && code < 0x110000)) {
        if (s[2] == 'X') /* XML writes it small */
            return put(r, "&#x") == CAM_OK ? cam_buffer_append(r->out, s + 3, *length - 3)
                                           : CAM_ERR_DATA;
        return cam_buffer_append(r->out, s, *length);
    }
    return put(r, "\xEF\xBF\xBD");
}

static enum cam_status ampersand(struct repair *r, size_t at, size_t *length) {
    const char *s = r->text + at;
    size_t left = r->n - at, i = 1;
    if (left > 1 && s[1] == '#')
        return character(r, at, length);
    while (i < left && i < MAX_NAME_BYTES && isalnum((unsigned char)s[i]))
        i++;
    if (i > 1 && i < left && s[i] == ';' && isalpha((unsigned char)s[1])) {
        *length = i + 1;
        return cam_buffer_append(r->out, s, *length);
    }
    *length = 1;
    return put(r, "&amp;");
}

static size_t find(const struct repair *r, size_t at, const char *end) {
    const char *found = memmem(r->text + at, r->n - at, end, strlen(end));
    return found ? (size_t)(found - r->text) + strlen(end) : r->n;
}

static int starts(const struct repair *r, size_t at, const char *with) {
    size_t n = strlen(with);
    return r->n - at >= n && memcmp(r->text + at, with, n) == 0;
}

static enum cam_status angle(struct repair *r, size_t at, size_t *length) {
    size_t to = at + 1;
    if (starts(r, at, "<![CDATA["))
        to = find(r, at, "]]>");
    else if (starts(r, at, "<!--"))
        to = find(r, at, "-->");
    else if (starts(r, at, "<?"))
        to = find(r, at, "?>");
    else if (r->n - at < 2 || !(isalpha((unsigned char)r->text[at + 1]) || r->text[at + 1] < 0 ||
                                strchr("/!_:", r->text[at + 1]))) {
        *length = 1;
        return put(r, "&lt;");
    }
    *length = to - at;
    return copy_clean(r, at, to);
}

enum cam_status cam_xml_repair(const char *text, size_t n_text, struct cam_buffer *out,
                               int *changed) {
    struct repair r = {.text = text, .n = n_text, .out = out};
    for (size_t at = 0; at < n_text;) {
        size_t from = at, length = 0;
        while (at < n_text && text[at] != '&' && text[at] != '<')
            at++;
        CAM_TRY(copy_clean(&r, from, at));
        if (at == n_text)
            break;
        CAM_TRY(text[at] == '&' ? ampersand(&r, at, &length) : angle(&r, at, &length));
        at += length;
    }
    *changed = r.changed;
    return CAM_OK;
}
