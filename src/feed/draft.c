#include "feed/draft.h"

#include "base/clock.h"
#include "feed/date.h"
#include "feed/html.h"
#include "feed/markup.h"
#include "text/clean.h"

#include <string.h>

static const char *const field_names[CAM_N_FIELDS] = {
    "id", "url", "title", "author", "published", "updated", "language", "domain",
};

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void cam_draft_init(struct cam_draft *draft, const struct cam_feed_limits *limits) {
    *draft = (struct cam_draft){.limits = limits};
    for (int i = 0; i < CAM_N_FIELDS; i++)
        cam_buffer_init(&draft->field[i], limits->max_field_bytes);
    cam_buffer_init(&draft->text, limits->max_document_bytes);
    cam_buffer_init(&draft->html, limits->max_document_bytes);
    cam_buffer_init(&draft->scratch, limits->max_document_bytes);
    cam_buffer_init(&draft->meant, 2 * limits->max_document_bytes);
}

void cam_draft_release(struct cam_draft *draft) {
    for (int i = 0; i < CAM_N_FIELDS; i++)
        cam_buffer_release(&draft->field[i]);
    cam_buffer_release(&draft->text);
    cam_buffer_release(&draft->html);
    cam_buffer_release(&draft->scratch);
    cam_buffer_release(&draft->meant);
}

void cam_draft_clear(struct cam_draft *draft) {
    for (int i = 0; i < CAM_N_FIELDS; i++)
        cam_buffer_clear(&draft->field[i]);
    cam_buffer_clear(&draft->text);
    cam_buffer_clear(&draft->html);
    draft->has_text = draft->has_html = draft->is_summary = 0;
    draft->n_replaced = 0;
    draft->was_repaired = 0;
}

/* A date in UTC; the fraction only where there is one, as most feeds write it. */
static enum cam_status set_date(struct cam_buffer *field, const char *bytes, size_t n_bytes) {
    char normal[CAM_RFC3339_BYTES];
    int64_t unix_ms;
    if (cam_date_parse(bytes, n_bytes, &unix_ms) != 0)
        return CAM_OK;
    cam_clock_rfc3339(unix_ms, normal);
    size_t n = strlen(normal);
    if (n > 5 && strcmp(normal + n - 5, ".000Z") == 0)
        memcpy(normal + n - 5, "Z", 2);
    return cam_buffer_append_text(field, normal);
}

/* Identity must not depend on how text is normalised: only what would break a string goes. */
static enum cam_status set_verbatim(struct cam_draft *draft, struct cam_buffer *field,
                                    const char *bytes, size_t n_bytes) {
    CAM_TRY(cam_clean_utf8(bytes, n_bytes, field, &draft->n_replaced));
    size_t from = 0, to = field->size;
    while (from < to && is_blank(field->data[from]))
        from++;
    while (to > from && is_blank(field->data[to - 1]))
        to--;
    if (field->data) {
        memmove(field->data, field->data + from, to - from);
        field->data[to - from] = '\0';
    }
    field->size = to - from;
    return CAM_OK;
}

/* Whether there are C1 controls (U+0080 to U+009F), which no feed means. */
static int has_c1(const char *bytes, size_t n_bytes) {
    for (size_t at = 0; at + 1 < n_bytes; at++) {
        const char *found = memchr(bytes + at, 0xC2, n_bytes - at - 1);
        if (!found)
            return 0;
        at = (size_t)(found - bytes);
        if ((unsigned char)found[1] >= 0x80 && (unsigned char)found[1] < 0xA0)
            return 1;
    }
    return 0;
}

/* They are windows-1252 that somebody took for Latin-1: BYTES become what was meant. */
static enum cam_status undo_latin1(struct cam_draft *draft, const char **bytes, size_t *n_bytes) {
    if (!has_c1(*bytes, *n_bytes))
        return CAM_OK;
    cam_buffer_clear(&draft->meant);
    CAM_TRY(cam_markup_windows(&draft->meant, *bytes, *n_bytes));
    *bytes = draft->meant.data;
    *n_bytes = draft->meant.size;
    return CAM_OK;
}

enum cam_status cam_draft_set(struct cam_draft *draft, enum cam_field i_field, const char *bytes,
                              size_t n_bytes) {
    struct cam_buffer *field = &draft->field[i_field];
    enum cam_status status;
    cam_buffer_clear(field);
    if (i_field == CAM_FIELD_PUBLISHED || i_field == CAM_FIELD_UPDATED)
        status = set_date(field, bytes, n_bytes);
    else if (i_field == CAM_FIELD_ID || i_field == CAM_FIELD_URL)
        status = set_verbatim(draft, field, bytes, n_bytes);
    else if ((status = undo_latin1(draft, &bytes, &n_bytes)) == CAM_OK)
        status = cam_clean_line(bytes, n_bytes, field, &draft->n_replaced);
    return status == CAM_OK ? CAM_OK : cam_context(status, "%s", field_names[i_field]);
}

enum cam_status cam_draft_set_text(struct cam_draft *draft, const char *bytes, size_t n_bytes) {
    cam_buffer_clear(&draft->text);
    enum cam_status status = undo_latin1(draft, &bytes, &n_bytes);
    if (status == CAM_OK)
        status = cam_clean_text(bytes, n_bytes, &draft->text, &draft->n_replaced);
    if (status != CAM_OK)
        return cam_context(status, "text");
    draft->has_text = draft->text.size > 0;
    return CAM_OK;
}

enum cam_status cam_draft_set_html(struct cam_draft *draft, const char *bytes, size_t n_bytes) {
    cam_buffer_clear(&draft->html);
    enum cam_status status = undo_latin1(draft, &bytes, &n_bytes);
    if (status == CAM_OK)
        status = cam_clean_utf8(bytes, n_bytes, &draft->html, &draft->n_replaced);
    if (status != CAM_OK)
        return cam_context(status, "html");
    draft->has_html = 1;
    return CAM_OK;
}

static enum cam_status text_from_html(struct cam_draft *draft) {
    cam_buffer_clear(&draft->scratch);
    enum cam_status status = cam_html_to_text(draft->html.data ? draft->html.data : "",
                                              draft->html.size, &draft->scratch);
    const char *bytes = draft->scratch.data ? draft->scratch.data : "";
    size_t n_bytes = draft->scratch.size;
    if (status == CAM_OK)
        status = undo_latin1(draft, &bytes, &n_bytes);
    if (status == CAM_OK)
        status = cam_clean_text(bytes, n_bytes, &draft->text, &draft->n_replaced);
    return status == CAM_OK ? CAM_OK : cam_context(status, "html");
}

static const char *field_or_null(const struct cam_draft *draft, enum cam_field i_field) {
    const struct cam_buffer *field = &draft->field[i_field];
    return field->size ? field->data : NULL;
}

/* Characters that stand for bytes nobody could read. */
static size_t count_replaced(const struct cam_draft *draft) {
    const struct cam_buffer *const in[] = {&draft->field[CAM_FIELD_TITLE], &draft->text};
    size_t n = draft->n_replaced;
    for (size_t i = 0; draft->was_repaired && i < sizeof in / sizeof *in; i++) {
        const char *at = in[i]->data, *end = at ? at + in[i]->size : at;
        while (at && (at = memmem(at, (size_t)(end - at), "\xEF\xBF\xBD", 3)) != NULL)
            n++, at += 3;
    }
    return n;
}

enum cam_status cam_draft_deliver(struct cam_draft *draft, const char *where,
                                  const struct cam_document_sink *sink) {
    if (!draft->has_text && draft->has_html) {
        enum cam_status status = text_from_html(draft);
        if (status != CAM_OK)
            return cam_draft_reject(status, where, sink);
    }
    struct cam_document document = {
        .id = field_or_null(draft, CAM_FIELD_ID),
        .url = field_or_null(draft, CAM_FIELD_URL),
        .title = field_or_null(draft, CAM_FIELD_TITLE),
        .author = field_or_null(draft, CAM_FIELD_AUTHOR),
        .published = field_or_null(draft, CAM_FIELD_PUBLISHED),
        .updated = field_or_null(draft, CAM_FIELD_UPDATED),
        .language = field_or_null(draft, CAM_FIELD_LANGUAGE),
        .domain = field_or_null(draft, CAM_FIELD_DOMAIN),
        .text = draft->text.size ? draft->text.data : "",
        .text_bytes = draft->text.size,
        .html = draft->has_html && draft->html.data ? draft->html.data : NULL,
        .n_replaced = count_replaced(draft),
        .is_summary = draft->is_summary,
    };
    return (enum cam_status)sink->document(sink->context, &document);
}

enum cam_status cam_draft_reject(enum cam_status status, const char *where,
                                 const struct cam_document_sink *sink) {
    if (status != CAM_ERR_DATA)
        return status;
    char why[1024]; /* the sink may fail something itself and overwrite the message */
    strncpy(why, cam_message(), sizeof why - 1);
    why[sizeof why - 1] = '\0';
    return sink->rejected ? (enum cam_status)sink->rejected(sink->context, where, why) : CAM_OK;
}
