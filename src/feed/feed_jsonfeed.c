/* JSON Feed 1.0 and 1.1 (jsonfeed.org), read whole by jansson.  Found by its "version" among the
 * members of the first object, and by that alone: a line of NDJSON may say anything in its text. */
#include "feed/date.h"
#include "feed/draft.h"
#include "feed/feed_formats.h"
#include "feed/markup.h"
#include "text/clean.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_JSON_DEPTH 64 /* what the look-ahead follows; jansson has its own limit */

static const char *string_of(const json_t *object, const char *key, size_t *n) {
    const json_t *value = json_object_get(object, key);
    *n = json_string_length(value);
    return *n ? json_string_value(value) : NULL;
}

static enum cam_status set(struct cam_draft *draft, enum cam_field field, const json_t *object,
                           const char *key) {
    size_t n;
    const char *text = string_of(object, key, &n);
    return text ? cam_draft_set(draft, field, text, n) : CAM_OK;
}

/* Ids are strings, but numbers are common and meant. */
static enum cam_status set_id(struct cam_draft *draft, const json_t *item) {
    const json_t *id = json_object_get(item, "id");
    char number[32];
    if (json_is_integer(id))
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
    else if (json_is_real(id))
        snprintf(number, sizeof number, "%.17g", json_real_value(id));
    else
        return set(draft, CAM_FIELD_ID, item, "id");
    return cam_draft_set(draft, CAM_FIELD_ID, number, strlen(number));
}

/* "authors" (1.1) or "author" (1.0) of the item or the feed: their names. */
static enum cam_status set_author(struct cam_draft *draft, const json_t *object) {
    const json_t *authors = json_object_get(object, "authors"), *author;
    struct cam_buffer names;
    enum cam_status status = CAM_OK;
    size_t i, n;
    if (!json_array_size(authors))
        return set(draft, CAM_FIELD_AUTHOR, json_object_get(object, "author"), "name");
    cam_buffer_init(&names, draft->limits->max_field_bytes);
    json_array_foreach(authors, i, author) {
        const char *name = string_of(author, "name", &n);
        if (name && names.size && status == CAM_OK)
            status = cam_buffer_append(&names, ", ", 2);
        if (name && status == CAM_OK)
            status = cam_buffer_append(&names, name, n);
    }
    if (status == CAM_OK && names.size)
        status = cam_draft_set(draft, CAM_FIELD_AUTHOR, names.data, names.size);
    cam_buffer_release(&names);
    return status;
}

static enum cam_status set_html(struct cam_draft *draft, const char *html, size_t n,
                                const char *base) {
    struct cam_buffer resolved;
    if (!base || !*base)
        return cam_draft_set_html(draft, html, n);
    cam_buffer_init(&resolved, 2 * draft->limits->max_document_bytes);
    enum cam_status status = cam_markup_resolve(&resolved, html, n, base);
    if (status == CAM_OK)
        status = cam_draft_set_html(draft, resolved.data, resolved.size);
    cam_buffer_release(&resolved);
    return status;
}

static enum cam_status fill(struct cam_draft *draft, const json_t *feed, const json_t *item,
                            const struct cam_feed_input *input) {
    const json_t *tags = json_object_get(item, "tags"), *tag = json_array_get(tags, 0);
    size_t n_text, n_html, n;
    if (!json_is_object(item))
        return cam_fail(CAM_ERR_DATA, "not a JSON object");
    CAM_TRY(set(draft, CAM_FIELD_LANGUAGE, feed, "language"));
    CAM_TRY(set(draft, CAM_FIELD_LANGUAGE, item, "language"));
    CAM_TRY(set_author(draft, feed));
    CAM_TRY(set_author(draft, item));
    CAM_TRY(set_id(draft, item));
    CAM_TRY(set(draft, CAM_FIELD_URL, item, "external_url"));
    CAM_TRY(set(draft, CAM_FIELD_URL, item, "url"));
    CAM_TRY(set(draft, CAM_FIELD_TITLE, item, "title"));
    CAM_TRY(set(draft, CAM_FIELD_PUBLISHED, item, "date_published"));
    CAM_TRY(set(draft, CAM_FIELD_UPDATED, item, "date_modified"));
    if (json_is_string(tag))
        CAM_TRY(cam_draft_set(draft, CAM_FIELD_DOMAIN, json_string_value(tag),
                              json_string_length(tag)));
    const char *text = string_of(item, "content_text", &n_text);
    const char *html = string_of(item, "content_html", &n_html);
    const char *summary = string_of(item, "summary", &n);
    draft->is_summary = !text && !html;
    if (text)
        CAM_TRY(cam_draft_set_text(draft, text, n_text));
    if (html)
        return set_html(draft, html, n_html, input->base);
    return !text && summary ? cam_draft_set_text(draft, summary, n) : CAM_OK;
}

static enum cam_status deliver(const json_t *feed, const struct cam_feed_input *input,
                               const struct cam_feed_rank *ranks, size_t n_items,
                               const struct cam_feed_limits *limits,
                               const struct cam_document_sink *sink) {
    struct cam_draft draft;
    enum cam_status status = CAM_OK;
    const json_t *items = json_object_get(feed, "items");
    cam_draft_init(&draft, limits);
    for (size_t i = 0; i < n_items && status == CAM_OK; i++) {
        char where[32];
        snprintf(where, sizeof where, "entry %zu", ranks[i].i_entry + 1);
        cam_draft_clear(&draft);
        draft.was_repaired = input->n_replaced > 0;
        status = fill(&draft, feed, json_array_get(items, ranks[i].i_entry), input);
        status = status == CAM_OK ? cam_draft_deliver(&draft, where, sink)
                                  : cam_draft_reject(status, where, sink);
    }
    cam_draft_release(&draft);
    return status;
}

static int date_of(const json_t *item, int64_t *date_ms) {
    static const char *const keys[] = {"date_published", "date_modified"};
    for (size_t i = 0; i < 2; i++) {
        size_t n;
        const char *text = string_of(item, keys[i], &n);
        if (text && cam_date_parse(text, n, date_ms) == 0)
            return 1;
    }
    return 0;
}

static enum cam_status read_items(const json_t *feed, const struct cam_feed_input *input,
                                  const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    const json_t *items = json_object_get(feed, "items");
    size_t n = json_array_size(items);
    if (!json_is_array(items))
        return cam_fail(CAM_ERR_DATA, "JSON Feed: there is no array \"items\"");
    if (n > limits->max_entries)
        return cam_fail(CAM_ERR_DATA, "JSON Feed: more entries than the limit of %zu",
                        limits->max_entries);
    if (n == 0)
        return CAM_OK;
    struct cam_feed_rank *ranks = calloc(n, sizeof *ranks);
    if (!ranks)
        return cam_fail(CAM_ERR_OS, "out of memory to order %zu feed entries", n);
    for (size_t i = 0; i < n; i++) {
        ranks[i].i_entry = i;
        ranks[i].has_date = date_of(json_array_get(items, i), &ranks[i].date_ms);
    }
    cam_feed_order(ranks, n);
    enum cam_status status = deliver(feed, input, ranks, n, limits, sink);
    free(ranks);
    return status;
}

static enum cam_status load(const struct cam_feed_input *input, json_t **feed) {
    json_error_t error;
    *feed =
        json_loadb(input->bytes, input->n_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!*feed)
        return cam_fail(CAM_ERR_DATA, "JSON Feed: line %d, column %d: %s", error.line, error.column,
                        error.text);
    if (!json_is_object(*feed)) {
        json_decref(*feed);
        return cam_fail(CAM_ERR_DATA, "JSON Feed: not a JSON object");
    }
    return CAM_OK;
}

static enum cam_status read_jsonfeed(const struct cam_feed_input *input,
                                     const struct cam_feed_limits *limits,
                                     const struct cam_document_sink *sink) {
    json_t *feed = NULL;
    CAM_TRY(load(input, &feed));
    enum cam_status status = read_items(feed, input, limits, sink);
    json_decref(feed);
    return status;
}

static enum cam_status read_title(const struct cam_feed_input *input,
                                  const struct cam_feed_limits *limits, struct cam_buffer *title) {
    json_t *feed = NULL;
    size_t n;
    (void)limits;
    CAM_TRY(load(input, &feed));
    const char *text = string_of(feed, "title", &n);
    enum cam_status status = text ? cam_clean_line(text, n, title, NULL) : CAM_OK;
    json_decref(feed);
    return status;
}

/* ---- finding it ---- */

/* The end of the string that begins at AT (behind its quote); N if it has none. */
static size_t skip_string(const char *s, size_t n, size_t at) {
    for (; at < n && s[at] != '"'; at++)
        if (s[at] == '\\')
            at++;
    return at < n ? at : n;
}

/* Looks through the members of the first object, not into them. */
struct look {
    int has_version; /* "version": "https://jsonfeed.org/..." */
    int has_items;
    int is_spread; /* over several lines */
};

static int is_string(const char *s, size_t n, const char *text) {
    return n == strlen(text) && memcmp(s, text, n) == 0;
}

static int is_jsonfeed(const char *s, size_t n) {
    return memmem(s, n, "jsonfeed.org/version", 20) || memmem(s, n, "jsonfeed.org\\/version", 21);
}

static struct look look_into(const char *s, size_t n) {
    struct look look = {0};
    int depth = 0, at_version = 0;
    for (size_t at = 0; at < n; at++) {
        if (s[at] == '"') {
            size_t from = at + 1;
            at = skip_string(s, n, from);
            if (depth != 1 || at == n)
                continue;
            if (at_version)
                look.has_version = is_jsonfeed(s + from, at - from);
            at_version = !at_version && is_string(s + from, at - from, "version");
            look.has_items |= is_string(s + from, at - from, "items");
        } else if (s[at] == '{' || s[at] == '[') {
            if (++depth > MAX_JSON_DEPTH)
                return look;
        } else if (s[at] == '}' || s[at] == ']') {
            if (--depth <= 0)
                return look;
        } else if (s[at] == '\n' && depth) {
            look.is_spread = 1;
        } else if (s[at] == ',' && depth == 1) {
            at_version = 0;
        }
    }
    return look;
}

static enum cam_feed_sniff sniff(const char *bytes, size_t n_bytes, const char *content_type) {
    size_t at = n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < n_bytes && bytes[at] && strchr(" \t\r\n", bytes[at]))
        at++;
    if (at == n_bytes || bytes[at] != '{')
        return CAM_SNIFF_NO;
    struct look look = look_into(bytes + at, n_bytes - at);
    if (look.has_version)
        return CAM_SNIFF_SURE;
    if (strcmp(content_type, "application/feed+json") == 0 || (look.has_items && look.is_spread))
        return CAM_SNIFF_SURE;
    return CAM_SNIFF_NO;
}

const struct cam_feed_format cam_feed_format_jsonfeed = {
    .name = "jsonfeed",
    .sniff = sniff,
    .read = read_jsonfeed,
    .title = read_title,
    .decoded = 1,
};
