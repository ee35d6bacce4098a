#include "feed/dry_run.h"

#include <string.h>

/* Bytes of the character at S that a terminal could obey, or 0: C0, DEL, C1 (U+0080-9F), U+200E,
 * U+200F, U+2028-202E, U+2066-2069.  S is valid UTF-8; *CODE is set if so. */
static size_t unsafe_length(const unsigned char *s, size_t n, unsigned *code) {
    if (s[0] < 0x20 || s[0] == 0x7F) {
        *code = s[0];
        return 1;
    }
    if (n >= 2 && s[0] == 0xC2 && s[1] < 0xA0) {
        *code = s[1];
        return 2;
    }
    if (n >= 3 && s[0] == 0xE2 && (s[1] == 0x80 || s[1] == 0x81)) {
        *code = 0x2000u | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu);
        if (*code == 0x200E || *code == 0x200F || (*code >= 0x2028 && *code <= 0x202E) ||
            (*code >= 0x2066 && *code <= 0x2069))
            return 3;
    }
    return 0;
}

static enum cam_status append_escape(struct cam_buffer *out, unsigned code) {
    switch (code) {
    case '\n':
        return cam_buffer_append(out, "\\n", 2);
    case '\t':
        return cam_buffer_append(out, "\\t", 2);
    case '\r':
        return cam_buffer_append(out, "\\r", 2);
    default:
        return cam_buffer_append_format(out, "\\u%04x", code);
    }
}

static enum cam_status append_string(struct cam_buffer *out, const char *text, size_t n_bytes) {
    const unsigned char *s = (const unsigned char *)text;
    CAM_TRY(cam_buffer_append(out, "\"", 1));
    for (size_t at = 0; at < n_bytes;) {
        size_t from = at, length = 0;
        unsigned code = 0;
        while (at < n_bytes && s[at] != '"' && s[at] != '\\' &&
               !(length = unsafe_length(s + at, n_bytes - at, &code)))
            at++;
        CAM_TRY(cam_buffer_append(out, text + from, at - from));
        if (at == n_bytes)
            break;
        if (length) {
            CAM_TRY(append_escape(out, code));
            at += length;
        } else {
            char pair[2] = {'\\', text[at++]};
            CAM_TRY(cam_buffer_append(out, pair, 2));
        }
    }
    return cam_buffer_append(out, "\"", 1);
}

static enum cam_status append_member(struct cam_buffer *out, const char *key, const char *value,
                                     size_t n_bytes) {
    CAM_TRY(cam_buffer_append_format(out, "\"%s\":", key));
    return value ? append_string(out, value, n_bytes) : cam_buffer_append(out, "null", 4);
}

static enum cam_status append_object(const struct cam_document *d, struct cam_buffer *out) {
    const struct {
        const char *key, *value;
    } members[] = {
        {"id", d->id},
        {"url", d->url},
        {"title", d->title},
        {"published", d->published},
        {"updated", d->updated},
        {"author", d->author},
        {"language", d->language},
        {"domain", d->domain},
    };
    CAM_TRY(cam_buffer_append(out, "{", 1));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *value = members[i].value;
        CAM_TRY(append_member(out, members[i].key, value, value ? strlen(value) : 0));
        CAM_TRY(cam_buffer_append(out, ",", 1));
    }
    CAM_TRY(append_member(out, "text", d->text, d->text_bytes));
    CAM_TRY(cam_buffer_append(out, ",", 1));
    CAM_TRY(append_member(out, "html", d->html, d->html ? strlen(d->html) : 0));
    return cam_buffer_append(out, "}", 1);
}

enum cam_status cam_dry_run_json(const struct cam_document *document, struct cam_buffer *out) {
    size_t before = out->size;
    enum cam_status status = append_object(document, out);
    if (status != CAM_OK && out->data) {
        out->size = before;
        out->data[before] = '\0';
    }
    return status;
}
