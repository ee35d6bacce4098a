#include "feed/markup.h"

#include "feed/url.h"

#include <ctype.h>
#include <libxml/HTMLparser.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_REFERENCE_BYTES 32

static const char *local_name(const char *name) {
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

/* ---- tags HTML knows ---- */

/* Sorted.  Those of HTML 4 and 5 that people write, the obsolete ones included. */
static const char *const tag_names[] = {
    "a",        "abbr",       "acronym", "address", "applet",   "area",       "article",
    "aside",    "audio",      "b",       "base",    "bdi",      "bdo",        "big",
    "blink",    "blockquote", "body",    "br",      "button",   "canvas",     "caption",
    "center",   "cite",       "code",    "col",     "colgroup", "data",       "datalist",
    "dd",       "del",        "details", "dfn",     "dialog",   "dir",        "div",
    "dl",       "dt",         "em",      "embed",   "fieldset", "figcaption", "figure",
    "font",     "footer",     "form",    "frame",   "frameset", "h1",         "h2",
    "h3",       "h4",         "h5",      "h6",      "head",     "header",     "hr",
    "html",     "i",          "iframe",  "img",     "input",    "ins",        "kbd",
    "label",    "legend",     "li",      "link",    "main",     "map",        "mark",
    "marquee",  "math",       "menu",    "meta",    "meter",    "nav",        "nobr",
    "noframes", "noscript",   "object",  "ol",      "optgroup", "option",     "output",
    "p",        "param",      "picture", "pre",     "progress", "q",          "rp",
    "rt",       "ruby",       "s",       "samp",    "script",   "section",    "select",
    "small",    "source",     "span",    "strike",  "strong",   "style",      "sub",
    "summary",  "sup",        "svg",     "table",   "tbody",    "td",         "template",
    "textarea", "tfoot",      "th",      "thead",   "time",     "title",      "tr",
    "track",    "tt",         "u",       "ul",      "var",      "video",      "wbr",
};

static int compare_name(const void *key, const void *name) {
    return strcmp(key, *(const char *const *)name);
}

/* The tag that begins with the '<' at S: length of its name (0: no tag), the name in lower case. */
static size_t read_tag(const char *s, size_t n, char name[16], int *is_end) {
    size_t at = 1, length = 0;
    *is_end = at < n && s[at] == '/';
    at += (size_t)*is_end;
    while (at + length < n && isalnum((unsigned char)s[at + length])) {
        if (length < 15)
            name[length] = (char)tolower((unsigned char)s[at + length]);
        length++;
    }
    name[length < 15 ? length : 15] = '\0';
    if (length == 0 || !isalpha((unsigned char)s[at]))
        return 0;
    char after = at + length < n ? s[at + length] : '\0';
    return after == '>' || after == '/' || isspace((unsigned char)after) ? length : 0;
}

static int is_known(const char *name) {
    return bsearch(name, tag_names, sizeof tag_names / sizeof *tag_names, sizeof *tag_names,
                   compare_name) != NULL;
}

struct tags {
    int known, unknown, ends, breaks, blocks, comments;
};

static struct tags look_for_tags(const char *text, size_t n) {
    static const char *const blocks[] = {"a", "blockquote", "br", "div", "img", "li", "p", "table"};
    struct tags tags = {0};
    const char *last = memrchr(text, '>', n); /* what is not closed is no tag: a <b and c */
    n = last ? (size_t)(last - text) + 1 : 0;
    for (size_t at = 0; at < n; at++) {
        const char *open = memchr(text + at, '<', n - at);
        char name[16];
        int is_end;
        if (!open)
            break;
        at = (size_t)(open - text);
        if (n - at >= 4 && memcmp(open, "<!--", 4) == 0)
            tags.comments++;
        if (!read_tag(open, n - at, name, &is_end))
            continue;
        if (!is_known(name)) {
            tags.unknown++;
            continue;
        }
        tags.known++;
        tags.ends += is_end;
        tags.breaks +=
            strcmp(name, "br") == 0 || strcmp(name, "img") == 0 || strcmp(name, "hr") == 0;
        tags.blocks += bsearch(name, blocks, sizeof blocks / sizeof *blocks, sizeof *blocks,
                               compare_name) != NULL;
    }
    return tags;
}

/* ---- character references ---- */

static void put_utf8(unsigned code, char out[4], size_t *n) {
    if (code < 0x80) {
        out[0] = (char)code, *n = 1;
    } else if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6), out[1] = (char)(0x80 | (code & 0x3F)), *n = 2;
    } else if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12), out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F)), *n = 3;
    } else {
        out[0] = (char)(0xF0 | code >> 18), out[1] = (char)(0x80 | (code >> 12 & 0x3F));
        out[2] = (char)(0x80 | (code >> 6 & 0x3F)), out[3] = (char)(0x80 | (code & 0x3F)), *n = 4;
    }
}

/* What windows-1252 has where Unicode has C1 controls; browsers read references that way. */
static unsigned from_windows(unsigned code) {
    static const unsigned short windows[32] = {
        0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    return code >= 0x80 && code < 0xA0 ? windows[code - 0x80] : code;
}

/* The reference at S, which begins with '&': its length and code point, or 0.  A ';' must end it,
 * so that "?a=1&copy=2" stays. */
static size_t reference(const char *s, size_t n, unsigned *code) {
    char name[MAX_REFERENCE_BYTES];
    size_t i = 1, n_name = 0;
    *code = 0;
    if (n > 2 && s[1] == '#') {
        int hex = s[2] == 'x' || s[2] == 'X';
        size_t first = i = 2 + (size_t)hex;
        for (; i < n && i < MAX_REFERENCE_BYTES; i++) {
            int c = tolower((unsigned char)s[i]);
            if (!(hex ? isxdigit(c) : isdigit(c)))
                break;
            if (*code < 0x110000)
                *code = *code * (hex ? 16 : 10) + (unsigned)(isdigit(c) ? c - '0' : c - 'a' + 10);
        }
        if (i == first || i >= n || s[i] != ';' || *code == 0 || *code >= 0x110000 ||
            (*code >= 0xD800 && *code < 0xE000))
            return 0;
        *code = from_windows(*code);
        return i + 1;
    }
    for (; i < n && n_name + 1 < sizeof name && isalnum((unsigned char)s[i]); i++)
        name[n_name++] = s[i];
    name[n_name] = '\0';
    if (!n_name || i >= n || s[i] != ';')
        return 0;
    const htmlEntityDesc *entity = htmlEntityLookup((const xmlChar *)name);
    if (!entity)
        return 0;
    *code = entity->value;
    return i + 1;
}

static int has_reference(const char *text, size_t n) {
    for (size_t at = 0; at < n; at++) {
        const char *found = memchr(text + at, '&', n - at);
        unsigned code;
        if (!found)
            return 0;
        at = (size_t)(found - text);
        if (reference(found, n - at, &code))
            return 1;
    }
    return 0;
}

enum cam_status cam_markup_decode(struct cam_buffer *out, const char *text, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes;) {
        const char *found = memchr(text + at, '&', n_bytes - at);
        size_t to = found ? (size_t)(found - text) : n_bytes, length = 0;
        CAM_TRY(cam_buffer_append(out, text + at, to - at));
        if (!found)
            return CAM_OK;
        unsigned code;
        char bytes[4];
        if ((length = reference(found, n_bytes - to, &code)) != 0) {
            size_t n;
            put_utf8(code, bytes, &n);
            CAM_TRY(cam_buffer_append(out, bytes, n));
        } else {
            CAM_TRY(cam_buffer_append(out, "&", 1));
            length = 1;
        }
        at = to + length;
    }
    return CAM_OK;
}

enum cam_status cam_markup_windows(struct cam_buffer *out, const char *text, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes;) {
        size_t from = at;
        while (at < n_bytes &&
               !(text[at] == '\xC2' && at + 1 < n_bytes && (unsigned char)text[at + 1] >= 0x80 &&
                 (unsigned char)text[at + 1] < 0xA0))
            at++;
        CAM_TRY(cam_buffer_append(out, text + from, at - from));
        if (at < n_bytes) {
            char bytes[4];
            size_t n;
            put_utf8(from_windows((unsigned char)text[at + 1]), bytes, &n);
            CAM_TRY(cam_buffer_append(out, bytes, n));
            at += 2;
        }
    }
    return CAM_OK;
}

int cam_markup_is_html(const char *text, size_t n_bytes, enum cam_markup_test test) {
    struct tags tags = look_for_tags(text, n_bytes);
    if (test == CAM_MARKUP_LOOSE)
        return tags.known || tags.comments || has_reference(text, n_bytes);
    return !tags.unknown && (tags.ends || tags.breaks || has_reference(text, n_bytes));
}

int cam_markup_is_escaped_html(const char *text, size_t n_bytes) {
    struct tags tags = look_for_tags(text, n_bytes);
    return !tags.unknown && tags.blocks > 0 && (tags.ends || tags.breaks);
}

/* ---- links ---- */

/* Sorted. */
static int is_link(const char *name) {
    static const char *const names[] = {"action",   "background", "cite", "data",  "href",
                                        "longdesc", "poster",     "src",  "usemap"};
    return bsearch(name, names, sizeof names / sizeof *names, sizeof *names, compare_name) != NULL;
}

static enum cam_status put_attribute(struct cam_buffer *out, const char *value, size_t n,
                                     const char *base, int is_escaped) {
    struct cam_buffer absolute;
    cam_buffer_init(&absolute, n + strlen(base) + 8);
    enum cam_status status = cam_url_resolve(base, value, n, &absolute);
    if (status == CAM_OK)
        status = is_escaped
                     ? cam_buffer_append(out, absolute.data ? absolute.data : "", absolute.size)
                     : cam_markup_text(out, absolute.data ? absolute.data : "", absolute.size);
    cam_buffer_release(&absolute);
    return status;
}

/* The attribute at S (behind white space): copies it, its value resolved if it is a link, and
 * returns its length in *LENGTH. */
static enum cam_status copy_attribute(struct cam_buffer *out, const char *s, size_t n,
                                      const char *base, size_t *length) {
    char name[16];
    size_t n_name = 0, at = 0;
    while (at < n && !isspace((unsigned char)s[at]) && s[at] != '=' && s[at] != '>') {
        if (n_name < sizeof name - 1)
            name[n_name++] = (char)tolower((unsigned char)s[at]);
        at++;
    }
    name[n_name] = '\0';
    size_t equals = at;
    while (equals < n && isspace((unsigned char)s[equals]))
        equals++;
    if (equals >= n || s[equals] != '=') {
        *length = at ? at : 1;
        return cam_buffer_append(out, s, *length);
    }
    size_t from = equals + 1;
    while (from < n && isspace((unsigned char)s[from]))
        from++;
    char quote = from < n && (s[from] == '"' || s[from] == '\'') ? s[from] : '\0';
    from += quote != '\0';
    size_t to = from;
    while (to < n && (quote ? s[to] != quote : !isspace((unsigned char)s[to]) && s[to] != '>'))
        to++;
    CAM_TRY(cam_buffer_append(out, s, from));
    CAM_TRY(is_link(name) ? put_attribute(out, s + from, to - from, base, 1)
                          : cam_buffer_append(out, s + from, to - from));
    *length = to;
    return CAM_OK;
}

enum cam_status cam_markup_resolve(struct cam_buffer *out, const char *html, size_t n_bytes,
                                   const char *base) {
    if (!base || !*base)
        return cam_buffer_append(out, html, n_bytes);
    for (size_t at = 0; at < n_bytes;) {
        const char *open = memchr(html + at, '<', n_bytes - at);
        size_t to = open ? (size_t)(open - html) + 1 : n_bytes;
        CAM_TRY(cam_buffer_append(out, html + at, to - at));
        at = to;
        if (at == n_bytes || !isalpha((unsigned char)html[at]))
            continue;
        while (at < n_bytes && !isspace((unsigned char)html[at]) && html[at] != '>')
            at++;
        CAM_TRY(cam_buffer_append(out, html + to, at - to));
        while (at < n_bytes && html[at] != '>') {
            size_t length = 1;
            if (isspace((unsigned char)html[at]))
                CAM_TRY(cam_buffer_append(out, html + at, 1));
            else
                CAM_TRY(copy_attribute(out, html + at, n_bytes - at, base, &length));
            at += length;
        }
    }
    return CAM_OK;
}

/* ---- inline XHTML ---- */

static int is_void(const char *local) {
    static const char *const names[] = {"area",  "base", "br",   "col",    "embed", "hr", "img",
                                        "input", "link", "meta", "source", "track", "wbr"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(local, names[i]) == 0)
            return 1;
    return 0;
}

enum cam_status cam_markup_text(struct cam_buffer *out, const char *text, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes;) {
        size_t from = at;
        while (at < n_bytes && text[at] != '&' && text[at] != '<' && text[at] != '>' &&
               text[at] != '"')
            at++;
        CAM_TRY(cam_buffer_append(out, text + from, at - from));
        if (at == n_bytes)
            break;
        char c = text[at++];
        CAM_TRY(cam_buffer_append_text(out, c == '&'   ? "&amp;"
                                            : c == '<' ? "&lt;"
                                            : c == '>' ? "&gt;"
                                                       : "&quot;"));
    }
    return CAM_OK;
}

enum cam_status cam_markup_start_tag(struct cam_buffer *out, const char *name,
                                     const char *const *attributes, const char *base) {
    CAM_TRY(cam_buffer_append(out, "<", 1));
    CAM_TRY(cam_buffer_append_text(out, local_name(name)));
    for (; attributes[0]; attributes += 2) {
        const char *local = local_name(attributes[0]);
        if (strncmp(attributes[0], "xmlns", 5) == 0 || strncmp(attributes[0], "xml:", 4) == 0)
            continue;
        CAM_TRY(cam_buffer_append(out, " ", 1));
        CAM_TRY(cam_buffer_append_text(out, local));
        CAM_TRY(cam_buffer_append(out, "=\"", 2));
        CAM_TRY(base && *base && is_link(local)
                    ? put_attribute(out, attributes[1], strlen(attributes[1]), base, 0)
                    : cam_markup_text(out, attributes[1], strlen(attributes[1])));
        CAM_TRY(cam_buffer_append(out, "\"", 1));
    }
    return cam_buffer_append(out, ">", 1);
}

enum cam_status cam_markup_end_tag(struct cam_buffer *out, const char *name) {
    const char *local = local_name(name);
    return is_void(local) ? CAM_OK : cam_buffer_append_format(out, "</%s>", local);
}

/* ---- base64 ---- */

static int digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* Text has no NUL and few other controls. */
static int is_text(const struct cam_buffer *bytes, size_t from) {
    if (bytes->size == from || memchr(bytes->data + from, '\0', bytes->size - from))
        return 0;
    return xmlCheckUTF8((const unsigned char *)bytes->data + from);
}

enum cam_status cam_markup_base64(struct cam_buffer *out, const char *base64, size_t n_bytes,
                                  int *is_base64) {
    size_t before = out->size, n_padding = 0, n_digits = 0;
    uint32_t bits = 0;
    int n_bits = 0;
    *is_base64 = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        int value = digit(base64[i]);
        if (isspace((unsigned char)base64[i]))
            continue;
        if (base64[i] == '=' && ++n_padding <= 2)
            continue;
        if (value < 0 || n_padding)
            goto is_none;
        n_digits++;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            char byte = (char)(bits >> (n_bits -= 8));
            CAM_TRY(cam_buffer_append(out, &byte, 1));
        }
    }
    if ((n_digits + n_padding) % 4 != 0)
        goto is_none;
    *is_base64 = 1;
    if (is_text(out, before))
        return CAM_OK;
is_none:
    out->size = before;
    return cam_fail(CAM_ERR_DATA, *is_base64 ? "content in base64 is no text"
                                             : "content is said to be base64 and is not");
}
