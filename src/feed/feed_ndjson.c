/* jansson does the parsing: it refuses duplicate keys (by flag), deep nesting, integers past 64
 * bits, bad UTF-8 and \u0000, which others accept in silence. */
#include "feed/feed_ndjson.h"

#include "feed/draft.h"
#include "feed/feed_formats.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cam_ndjson_reader {
    struct cam_feed_limits limits;
    struct cam_document_sink sink;
    struct cam_draft draft;
    struct cam_buffer line; /* the start of a line whose end has not been pushed yet */
    size_t n_lines;         /* lines begun before the current one */
    int skipping;           /* the current line is over the limit: drop the rest of it */
};

enum cam_status cam_ndjson_reader_new(const struct cam_feed_limits *limits,
                                      const struct cam_document_sink *sink,
                                      struct cam_ndjson_reader **reader) {
    struct cam_ndjson_reader *r = calloc(1, sizeof *r);
    if (!r)
        return cam_fail(CAM_ERR_OS, "out of memory for an NDJSON reader");
    r->limits = *limits;
    r->sink = *sink;
    cam_draft_init(&r->draft, &r->limits);
    cam_buffer_init(&r->line, limits->max_line_bytes);
    *reader = r;
    return CAM_OK;
}

void cam_ndjson_reader_free(struct cam_ndjson_reader *reader) {
    if (!reader)
        return;
    cam_draft_release(&reader->draft);
    cam_buffer_release(&reader->line);
    free(reader);
}

static const struct {
    const char *key;
    enum cam_field field;
} keys[] = {
    {"id", CAM_FIELD_ID},
    {"url", CAM_FIELD_URL},
    {"title", CAM_FIELD_TITLE},
    {"author", CAM_FIELD_AUTHOR},
    {"published", CAM_FIELD_PUBLISHED},
    {"updated", CAM_FIELD_UPDATED},
    {"language", CAM_FIELD_LANGUAGE},
    {"domain", CAM_FIELD_DOMAIN},
};

/* The string under KEY; absent and null leave *VALUE NULL. */
static enum cam_status get_string(const json_t *object, const char *key, const json_t **value) {
    const json_t *found = json_object_get(object, key);
    *value = NULL;
    if (!found || json_is_null(found))
        return CAM_OK;
    if (!json_is_string(found))
        return cam_fail(CAM_ERR_DATA, "\"%s\" is not a string", key);
    *value = found;
    return CAM_OK;
}

static enum cam_status set_fields(struct cam_draft *draft, const json_t *object) {
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(object, keys[i].key);
        if (keys[i].field == CAM_FIELD_ID && json_is_integer(value)) {
            char number[24];
            snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
            CAM_TRY(cam_draft_set(draft, CAM_FIELD_ID, number, strlen(number)));
            continue;
        }
        CAM_TRY(get_string(object, keys[i].key, &value));
        if (value)
            CAM_TRY(cam_draft_set(draft, keys[i].field, json_string_value(value),
                                  json_string_length(value)));
    }
    return CAM_OK;
}

static enum cam_status set_content(struct cam_draft *draft, const json_t *object) {
    const json_t *text, *html, *content_html;
    CAM_TRY(get_string(object, "text", &text));
    CAM_TRY(get_string(object, "html", &html));
    CAM_TRY(get_string(object, "content_html", &content_html));
    if (!html)
        html = content_html;
    if (!text && !html)
        return cam_fail(CAM_ERR_DATA, "neither \"text\" nor \"html\"");
    if (text)
        CAM_TRY(cam_draft_set_text(draft, json_string_value(text), json_string_length(text)));
    if (html)
        CAM_TRY(cam_draft_set_html(draft, json_string_value(html), json_string_length(html)));
    return CAM_OK;
}

static enum cam_status set_from_line(struct cam_draft *draft, const char *line, size_t n_bytes) {
    json_error_t error;
    json_t *object = json_loadb(line, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!object)
        return cam_fail(CAM_ERR_DATA, "not JSON: %s (column %d)", error.text, error.column);
    enum cam_status status = CAM_OK;
    if (!json_is_object(object))
        status = cam_fail(CAM_ERR_DATA, "not a JSON object");
    if (status == CAM_OK)
        status = set_fields(draft, object);
    if (status == CAM_OK)
        status = set_content(draft, object);
    json_decref(object);
    return status;
}

static int is_blank(const char *line, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++)
        if (!strchr(" \t\r\n", line[i]) || line[i] == '\0')
            return 0;
    return 1;
}

/* One whole line without its newline. */
static enum cam_status read_line(struct cam_ndjson_reader *r, const char *line, size_t n_bytes) {
    char where[32];
    snprintf(where, sizeof where, "line %zu", ++r->n_lines);
    if (r->n_lines == 1 && n_bytes >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0)
        line += 3, n_bytes -= 3;
    if (is_blank(line, n_bytes))
        return CAM_OK;
    cam_draft_clear(&r->draft);
    enum cam_status status =
        n_bytes > r->limits.max_line_bytes
            ? cam_fail(CAM_ERR_DATA, "longer than the limit of %zu bytes", r->limits.max_line_bytes)
            : set_from_line(&r->draft, line, n_bytes);
    return status == CAM_OK ? cam_draft_deliver(&r->draft, where, &r->sink)
                            : cam_draft_reject(status, where, &r->sink);
}

/* A line is already longer than it may be: reject it now and wait for its end. */
static enum cam_status skip_line(struct cam_ndjson_reader *r) {
    char where[32];
    snprintf(where, sizeof where, "line %zu", ++r->n_lines);
    cam_buffer_clear(&r->line);
    r->skipping = 1;
    return cam_draft_reject(
        cam_fail(CAM_ERR_DATA, "longer than the limit of %zu bytes", r->limits.max_line_bytes),
        where, &r->sink);
}

/* BYTES end without a newline: keep them for the next push. */
static enum cam_status keep(struct cam_ndjson_reader *r, const char *bytes, size_t n_bytes) {
    if (r->skipping || n_bytes == 0)
        return CAM_OK;
    if (n_bytes > r->limits.max_line_bytes - r->line.size)
        return skip_line(r);
    return cam_buffer_append(&r->line, bytes, n_bytes);
}

enum cam_status cam_ndjson_reader_push(struct cam_ndjson_reader *r, const char *bytes,
                                       size_t n_bytes) {
    while (n_bytes) {
        const char *end = memchr(bytes, '\n', n_bytes);
        if (!end)
            return keep(r, bytes, n_bytes);
        size_t n_line = (size_t)(end - bytes);
        if (r->skipping) {
            r->skipping = 0;
        } else if (r->line.size == 0) {
            CAM_TRY(read_line(r, bytes, n_line));
        } else {
            CAM_TRY(keep(r, bytes, n_line));
            if (r->skipping)
                r->skipping = 0;
            else
                CAM_TRY(read_line(r, r->line.data, r->line.size));
            cam_buffer_clear(&r->line);
        }
        bytes = end + 1;
        n_bytes -= n_line + 1;
    }
    return CAM_OK;
}

enum cam_status cam_ndjson_reader_finish(struct cam_ndjson_reader *r) {
    enum cam_status status = CAM_OK;
    if (!r->skipping && r->line.size)
        status = read_line(r, r->line.data, r->line.size);
    cam_buffer_clear(&r->line);
    r->skipping = 0;
    r->n_lines = 0;
    return status;
}

static enum cam_status read_ndjson(const struct cam_feed_input *input,
                                   const struct cam_feed_limits *limits,
                                   const struct cam_document_sink *sink) {
    struct cam_ndjson_reader *reader = NULL;
    const char *bytes = input->bytes;
    size_t n_bytes = input->n_bytes;
    CAM_TRY(cam_ndjson_reader_new(limits, sink, &reader));
    /* The unfinished last line is read in place too, so nothing is ever copied here. */
    size_t n_whole = n_bytes;
    while (n_whole && bytes[n_whole - 1] != '\n')
        n_whole--;
    enum cam_status status = cam_ndjson_reader_push(reader, bytes, n_whole);
    if (status == CAM_OK && n_whole < n_bytes)
        status = read_line(reader, bytes + n_whole, n_bytes - n_whole);
    cam_ndjson_reader_free(reader);
    return status;
}

int cam_ndjson_is_first_line(const char *bytes, size_t n_bytes) {
    size_t at = n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < n_bytes && bytes[at] && strchr(" \t\r\n", bytes[at]))
        at++;
    const char *end =
        at < n_bytes && bytes[at] == '{' ? memchr(bytes + at, '\n', n_bytes - at) : NULL;
    if (!end)
        return 0;
    json_t *object = json_loadb(bytes + at, (size_t)(end - bytes) - at, 0, NULL);
    const char *version = json_string_value(json_object_get(object, "version"));
    int is_line = json_is_object(object) && !(version && strstr(version, "jsonfeed.org/version"));
    json_decref(object);
    return is_line;
}

static enum cam_feed_sniff sniff(const char *bytes, size_t n_bytes, const char *content_type) {
    static const char *const types[] = {"application/x-ndjson", "application/ndjson",
                                        "application/jsonl", "application/x-jsonlines",
                                        "application/jsonlines"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(content_type, types[i]) == 0)
            return CAM_SNIFF_LIKELY;
    size_t at = n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < n_bytes && bytes[at] && strchr(" \t\r\n", bytes[at]))
        at++;
    return at < n_bytes && bytes[at] == '{' ? CAM_SNIFF_LIKELY : CAM_SNIFF_NO;
}

const struct cam_feed_format cam_feed_format_ndjson = {
    .name = "ndjson",
    .sniff = sniff,
    .read = read_ndjson,
};
