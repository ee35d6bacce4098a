/* Entries as they were written become documents: markup is converted one entry at a time. */
#include "feed/feed_xml_internal.h"

#include "feed/date.h"
#include "feed/html.h"
#include "feed/markup.h"
#include "feed/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cam_xml_part_init(struct cam_xml_part *part, size_t limit) {
    *part = (struct cam_xml_part){.base = "", .language = ""};
    cam_buffer_init(&part->body, limit);
}

void cam_xml_entry_init(struct cam_xml_entry *entry, const struct cam_feed_limits *limits,
                        size_t i_entry) {
    *entry = (struct cam_xml_entry){.i_entry = i_entry, .language = ""};
    for (int i = 0; i < CAM_N_FIELDS; i++)
        cam_buffer_init(&entry->field[i], limits->max_field_bytes);
    cam_buffer_init(&entry->source_author, limits->max_field_bytes);
    for (int i = 0; i < N_PARTS; i++)
        cam_xml_part_init(&entry->part[i],
                          i < N_TEXTS ? limits->max_document_bytes : limits->max_field_bytes);
}

void cam_xml_entry_release(struct cam_xml_entry *entry) {
    for (int i = 0; i < CAM_N_FIELDS; i++)
        cam_buffer_release(&entry->field[i]);
    cam_buffer_release(&entry->source_author);
    for (int i = 0; i < N_PARTS; i++)
        cam_buffer_release(&entry->part[i].body);
    free(entry->why);
}

int cam_xml_is_blank(const struct cam_buffer *buffer) {
    for (size_t i = 0; i < buffer->size; i++)
        if (!isspace((unsigned char)buffer->data[i]))
            return 0;
    return 1;
}

/* Scratch of one delivery. */
struct delivery {
    const struct cam_xml_reader *r;
    struct cam_draft draft;
    struct cam_buffer raw, markup;
};

/* What the part says, base64 undone; its kind is never KIND_XHTML any more. */
static enum cam_status part_text(struct delivery *d, const struct cam_xml_part *part,
                                 const char **text, size_t *n, enum kind *kind) {
    *text = part->body.data ? part->body.data : "", *n = part->body.size;
    *kind = part->kind == KIND_XHTML ? KIND_HTML : part->kind;
    if (!part->is_base64 || part->kind == KIND_XHTML)
        return CAM_OK;
    int is_base64 = 0;
    cam_buffer_clear(&d->raw);
    enum cam_status status = cam_markup_base64(&d->raw, *text, *n, &is_base64);
    if (status == CAM_ERR_DATA && is_base64)
        *kind = KIND_NONE; /* something else than text */
    if (status == CAM_ERR_DATA)
        return CAM_OK; /* said to be base64 and is not: taken as it is */
    CAM_TRY(status);
    *text = d->raw.data, *n = d->raw.size;
    return CAM_OK;
}

/* RSS that was escaped once too often: the tags are in the text. */
static enum cam_status undo_double_escape(struct delivery *d, const char **text, size_t *n) {
    if (memchr(*text, '<', *n) || !memmem(*text, *n, "&lt;", 4))
        return CAM_OK;
    cam_buffer_clear(&d->markup);
    CAM_TRY(cam_markup_decode(&d->markup, *text, *n));
    if (!cam_markup_is_escaped_html(d->markup.data, d->markup.size))
        return CAM_OK;
    cam_buffer_clear(&d->raw);
    CAM_TRY(cam_buffer_append(&d->raw, d->markup.data, d->markup.size));
    *text = d->raw.data, *n = d->raw.size;
    return CAM_OK;
}

static enum cam_status set_content(struct delivery *d, const struct cam_xml_part *part) {
    const char *text;
    size_t n;
    enum kind kind;
    CAM_TRY(part_text(d, part, &text, &n, &kind));
    if (kind == KIND_NONE)
        return CAM_OK;
    if (kind == KIND_TEXT)
        return cam_draft_set_text(&d->draft, text, n);
    if (kind == KIND_GUESS) {
        CAM_TRY(undo_double_escape(d, &text, &n));
        if (!cam_markup_is_html(text, n, CAM_MARKUP_LOOSE))
            return cam_draft_set_text(&d->draft, text, n);
    }
    if (part->kind == KIND_XHTML || !*part->base) /* XHTML's links are absolute already */
        return cam_draft_set_html(&d->draft, text, n);
    cam_buffer_clear(&d->markup);
    CAM_TRY(cam_markup_resolve(&d->markup, text, n, part->base));
    return cam_draft_set_html(&d->draft, d->markup.data, d->markup.size);
}

static enum cam_status set_title(struct delivery *d, const struct cam_xml_part *part) {
    const char *text;
    size_t n;
    enum kind kind;
    CAM_TRY(part_text(d, part, &text, &n, &kind));
    if (kind == KIND_NONE && part->kind != KIND_NONE)
        kind = KIND_GUESS; /* a word may look like base64; a title is never a picture */
    if (kind == KIND_GUESS)
        kind = cam_markup_is_html(text, n, CAM_MARKUP_STRICT) ? KIND_HTML : KIND_TEXT;
    if (kind == KIND_HTML) {
        cam_buffer_clear(&d->markup);
        CAM_TRY(cam_html_to_text(text, n, &d->markup));
        text = d->markup.data ? d->markup.data : "", n = d->markup.size;
    }
    return kind == KIND_NONE ? CAM_OK : cam_draft_set(&d->draft, CAM_FIELD_TITLE, text, n);
}

static const struct cam_xml_part *best_text(const struct cam_xml_entry *entry) {
    const struct cam_xml_part *content = &entry->part[PART_CONTENT],
                              *other = &entry->part[PART_OTHER];
    const struct cam_xml_part *description = &entry->part[PART_DESCRIPTION];
    const struct cam_xml_part *summary = &entry->part[PART_SUMMARY];
    if (content->kind != KIND_NONE && !cam_xml_is_blank(&content->body))
        return content;
    if (summary->body.size > description->body.size)
        description = summary;
    return cam_xml_is_blank(&description->body) ? other : description;
}

/* The language that is said nearest to the text; xml:lang="" says that there is none.  <language>
 * of a channel is about its entries, xml:lang of the root about the channel. */
static enum cam_status set_language(struct delivery *d, const struct cam_xml_entry *entry,
                                    const struct cam_xml_part *content) {
    const struct cam_xml_reader *r = d->r;
    const struct cam_buffer *own = &entry->field[CAM_FIELD_LANGUAGE];
    const char *language = cam_xml_is_blank(&content->body) ? entry->language : content->language;
    if (own->size)
        language = own->data;
    else if (language == r->feed_language && r->language.size)
        language = r->language.data;
    char text[64];
    snprintf(text, sizeof text, "%s", language);
    for (char *c = text; *c; c++)
        if (*c == '_')
            *c = '-';
    return cam_draft_set(&d->draft, CAM_FIELD_LANGUAGE, text, strlen(text));
}

/* A link that is still relative has no base but what the feed says about its site: the feed is a
 * file, and nobody named an address. */
static enum cam_status set_url(struct delivery *d, const struct cam_xml_entry *entry) {
    const struct cam_buffer *url = &entry->field[CAM_FIELD_URL], *id = &entry->field[CAM_FIELD_ID];
    int is_enclosure = entry->link_rank == LINK_ENCLOSURE;
    if (entry->link_rank <= LINK_ENCLOSURE && id->size && !entry->is_no_permalink &&
        cam_url_is_http(id->data, id->size)) {
        url = id;
        is_enclosure = 0;
    }
    d->draft.is_summary &= !is_enclosure; /* what is at its address is no page with the rest */
    if (url->size == 0)
        return CAM_OK;
    cam_buffer_clear(&d->markup);
    CAM_TRY(cam_url_resolve(d->r->site.data, url->data, url->size, &d->markup));
    return cam_draft_set(&d->draft, CAM_FIELD_URL, d->markup.data, d->markup.size);
}

static enum cam_status fill(struct delivery *d, const struct cam_xml_entry *entry) {
    static const enum cam_field plain[] = {CAM_FIELD_ID, CAM_FIELD_PUBLISHED, CAM_FIELD_UPDATED,
                                           CAM_FIELD_DOMAIN};
    const struct cam_xml_reader *r = d->r;
    if (entry->why)
        return cam_fail(CAM_ERR_DATA, "%s", entry->why);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        const struct cam_buffer *field = &entry->field[plain[i]];
        if (field->size)
            CAM_TRY(cam_draft_set(&d->draft, plain[i], field->data, field->size));
    }
    const struct cam_buffer *author = &entry->field[CAM_FIELD_AUTHOR];
    if (!author->size)
        author = entry->source_author.size ? &entry->source_author : &r->author;
    if (author->size)
        CAM_TRY(cam_draft_set(&d->draft, CAM_FIELD_AUTHOR, author->data, author->size));
    const struct cam_xml_part *title = &entry->part[PART_TITLE], *content = best_text(entry);
    CAM_TRY(set_title(d, cam_xml_is_blank(&title->body) ? &entry->part[PART_OTHER_TITLE] : title));
    CAM_TRY(set_language(d, entry, content));
    d->draft.is_summary = content != &entry->part[PART_CONTENT];
    CAM_TRY(set_url(d, entry));
    if (cam_xml_is_blank(&content->body))
        return CAM_OK; /* a title alone: a document without text, admission decides about it */
    return set_content(d, content);
}

static int date_of(const struct cam_xml_entry *entry, int64_t *date_ms) {
    static const enum cam_field fields[] = {CAM_FIELD_PUBLISHED, CAM_FIELD_UPDATED};
    for (size_t i = 0; i < 2; i++) {
        const struct cam_buffer *field = &entry->field[fields[i]];
        if (field->size && cam_date_parse(field->data, field->size, date_ms) == 0)
            return 1;
    }
    return 0;
}

static enum cam_status deliver_in_order(struct delivery *d, const struct cam_feed_rank *ranks,
                                        size_t n_entries, const struct cam_document_sink *sink) {
    for (size_t i = 0; i < n_entries; i++) {
        char where[32];
        snprintf(where, sizeof where, "entry %zu", ranks[i].i_entry + 1);
        cam_draft_clear(&d->draft);
        d->draft.was_repaired = d->r->input->n_replaced > 0;
        enum cam_status status = fill(d, &d->r->entries[ranks[i].i_entry]);
        CAM_TRY(status == CAM_OK ? cam_draft_deliver(&d->draft, where, sink)
                                 : cam_draft_reject(status, where, sink));
    }
    return CAM_OK;
}

enum cam_status cam_xml_entries_deliver(const struct cam_xml_reader *r, size_t n_entries,
                                        const struct cam_document_sink *sink) {
    struct delivery d = {.r = r};
    if (n_entries == 0)
        return CAM_OK;
    struct cam_feed_rank *ranks = calloc(n_entries, sizeof *ranks);
    if (!ranks)
        return cam_fail(CAM_ERR_OS, "out of memory to order %zu feed entries", n_entries);
    for (size_t i = 0; i < n_entries; i++) {
        ranks[i].i_entry = i;
        ranks[i].has_date = date_of(&r->entries[i], &ranks[i].date_ms);
    }
    cam_feed_order(ranks, n_entries);
    cam_draft_init(&d.draft, r->limits);
    cam_buffer_init(&d.raw, r->limits->max_document_bytes);
    cam_buffer_init(&d.markup, 2 * r->limits->max_document_bytes);
    enum cam_status status = deliver_in_order(&d, ranks, n_entries, sink);
    cam_draft_release(&d.draft);
    cam_buffer_release(&d.raw);
    cam_buffer_release(&d.markup);
    free(ranks);
    return status;
}

enum cam_status cam_xml_feed_title(const struct cam_xml_reader *r, struct cam_buffer *title) {
    struct delivery d = {.r = r};
    cam_draft_init(&d.draft, r->limits);
    cam_buffer_init(&d.raw, r->limits->max_document_bytes);
    cam_buffer_init(&d.markup, r->limits->max_document_bytes);
    enum cam_status status = set_title(&d, &r->title);
    const struct cam_buffer *line = &d.draft.field[CAM_FIELD_TITLE];
    if (status == CAM_OK && line->size)
        status = cam_buffer_append(title, line->data, line->size);
    cam_draft_release(&d.draft);
    cam_buffer_release(&d.raw);
    cam_buffer_release(&d.markup);
    return status;
}
