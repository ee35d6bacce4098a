/* A sink that keeps copies of what it is given, for the tests of the readers. */
#ifndef CAM_TESTS_FEED_FEED_SUPPORT_H
#define CAM_TESTS_FEED_FEED_SUPPORT_H

#include "feed/feed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

#define MAX_KEPT 64

struct kept {
    char *id, *url, *title, *author, *published, *updated, *language, *domain, *text, *html;
    size_t text_bytes, n_replaced;
    int is_summary;
};

struct collector {
    struct kept document[MAX_KEPT];
    size_t n_documents;
    char where[MAX_KEPT][64], why[MAX_KEPT][256];
    size_t n_rejected;
    size_t stop_after; /* > 0: the sink refuses after so many documents */
};

static inline char *copy_or_null(const char *text) {
    return text ? strdup(text) : NULL;
}

static inline int collect_document(void *context, const struct cam_document *d) {
    struct collector *c = context;
    if (c->stop_after && c->n_documents == c->stop_after)
        return (int)cam_fail(CAM_STOPPED, "the sink is full");
    cr_assert_lt(c->n_documents, MAX_KEPT);
    cr_assert_eq(strlen(d->text), d->text_bytes);
    c->document[c->n_documents++] = (struct kept){
        .id = copy_or_null(d->id),
        .url = copy_or_null(d->url),
        .title = copy_or_null(d->title),
        .author = copy_or_null(d->author),
        .published = copy_or_null(d->published),
        .updated = copy_or_null(d->updated),
        .language = copy_or_null(d->language),
        .domain = copy_or_null(d->domain),
        .text = strdup(d->text),
        .html = copy_or_null(d->html),
        .text_bytes = d->text_bytes,
        .n_replaced = d->n_replaced,
        .is_summary = d->is_summary,
    };
    return CAM_OK;
}

static inline int collect_rejected(void *context, const char *where, const char *why) {
    struct collector *c = context;
    cr_assert_lt(c->n_rejected, MAX_KEPT);
    snprintf(c->where[c->n_rejected], sizeof c->where[0], "%s", where);
    snprintf(c->why[c->n_rejected], sizeof c->why[0], "%s", why);
    c->n_rejected++;
    return CAM_OK;
}

static inline struct cam_document_sink collector_sink(struct collector *c) {
    return (struct cam_document_sink){collect_document, collect_rejected, c};
}

static inline void collector_release(struct collector *c) {
    for (size_t i = 0; i < c->n_documents; i++) {
        struct kept *d = &c->document[i];
        char *all[] = {d->id,      d->url,      d->title,  d->author, d->published,
                       d->updated, d->language, d->domain, d->text,   d->html};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            free(all[k]);
    }
    *c = (struct collector){0};
}

/* Reads BYTES with default limits. */
static inline enum cam_status read_bytes(const char *bytes, size_t n, const char *content_type,
                                         struct collector *c, const char **format) {
    struct cam_feed_limits limits;
    struct cam_document_sink sink = collector_sink(c);
    cam_feed_limits_init(&limits);
    return cam_feed_read(bytes, n, content_type, &limits, &sink, format);
}

static inline enum cam_status read_string(const char *text, struct collector *c) {
    return read_bytes(text, strlen(text), NULL, c, NULL);
}

/* The whole of tests/data/feed/NAME; the caller frees. */
static inline char *load_sample(const char *name, size_t *n) {
    char path[512];
    snprintf(path, sizeof path, "%s/feed/%s", CAM_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*n + 1);
    cr_assert_eq(fread(bytes, 1, *n, file), *n);
    bytes[*n] = '\0';
    fclose(file);
    return bytes;
}

#endif
