#include "bench/lifelong.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *text) {
    return text ? strdup(text) : NULL;
}

static void document_release(struct cam_lifelong_document *d) {
    free(d->id);
    free(d->url);
    free(d->title);
    free(d->published);
    free(d->text);
}

void cam_lifelong_stream_release(struct cam_lifelong_stream *stream) {
    for (size_t i = 0; i < stream->n_documents; i++)
        document_release(&stream->documents[i]);
    for (size_t i = 0; i < stream->n_domains; i++)
        free(stream->domains[i]);
    free(stream->documents);
    *stream = (struct cam_lifelong_stream){0};
}

static enum cam_status domain_of(struct cam_lifelong_stream *stream, const char *name, size_t *i) {
    for (*i = 0; *i < stream->n_domains; ++*i)
        if (strcmp(stream->domains[*i], name) == 0)
            return CAM_OK;
    if (*i == CAM_LIFELONG_DOMAINS)
        return cam_fail(CAM_ERR_DATA, "domain %.64s: a benchmark has at most %d domains", name,
                        CAM_LIFELONG_DOMAINS);
    if (!(stream->domains[*i] = strdup(name)))
        return cam_fail(CAM_ERR_OS, "out of memory for a domain's name");
    stream->n_domains++;
    return CAM_OK;
}

static int add(void *context, const struct cam_document *from) {
    struct cam_lifelong_stream *stream = context;
    size_t i_domain;
    if (!from->domain)
        return cam_fail(CAM_ERR_DATA, "document %zu has no domain; the benchmark needs one of each",
                        stream->n_documents + 1);
    CAM_TRY(domain_of(stream, from->domain, &i_domain));
    if (stream->n_documents == stream->capacity) {
        size_t capacity = stream->capacity ? 2 * stream->capacity : 1024;
        void *grown = realloc(stream->documents, capacity * sizeof *stream->documents);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu documents", capacity);
        stream->documents = grown;
        stream->capacity = capacity;
    }
    struct cam_lifelong_document *d = &stream->documents[stream->n_documents++];
    *d = (struct cam_lifelong_document){.id = copy(from->id),
                                        .url = copy(from->url),
                                        .title = copy(from->title),
                                        .published = copy(from->published),
                                        .text = copy(from->text),
                                        .text_bytes = from->text_bytes,
                                        .i_domain = i_domain};
    return d->text ? CAM_OK : cam_fail(CAM_ERR_OS, "out of memory for a document's text");
}

static int refuse(void *context, const char *where, const char *why) {
    (void)context;
    return cam_fail(CAM_ERR_DATA, "%s: %s", where, why);
}

struct cam_document_sink cam_lifelong_sink(struct cam_lifelong_stream *stream) {
    return (struct cam_document_sink){add, refuse, stream};
}

/* Drops the documents whose KEEP is zero. */
static void filter(struct cam_lifelong_stream *stream, int (*keep)(void *, size_t i),
                   void *context) {
    size_t n = 0;
    for (size_t i = 0; i < stream->n_documents; i++) {
        if (keep(context, i))
            stream->documents[n++] = stream->documents[i];
        else
            document_release(&stream->documents[i]);
    }
    stream->n_documents = n;
}

struct thinning {
    const struct cam_lifelong_stream *stream;
    size_t step[CAM_LIFELONG_DOMAINS], seen[CAM_LIFELONG_DOMAINS];
};

static int keep_every(void *context, size_t i) {
    struct thinning *t = context;
    size_t d = t->stream->documents[i].i_domain;
    return t->seen[d]++ % t->step[d] == 0;
}

static size_t bytes_of_every(const struct cam_lifelong_stream *stream, size_t domain, size_t step) {
    size_t seen = 0, bytes = 0;
    for (size_t i = 0; i < stream->n_documents; i++)
        if (stream->documents[i].i_domain == domain && seen++ % step == 0)
            bytes += stream->documents[i].text_bytes;
    return bytes;
}

void cam_lifelong_budget(struct cam_lifelong_stream *stream, size_t budget) {
    struct thinning t = {.stream = stream};
    for (size_t d = 0; d < stream->n_domains; d++) {
        t.step[d] = 1;
        while (budget && t.step[d] < stream->n_documents &&
               bytes_of_every(stream, d, t.step[d]) > budget)
            t.step[d]++;
    }
    filter(stream, keep_every, &t);
}

struct capping {
    const struct cam_lifelong_stream *stream;
    size_t bytes[CAM_LIFELONG_DOMAINS];
};

static int keep_first(void *context, size_t i) {
    struct capping *c = context;
    const struct cam_lifelong_document *d = &c->stream->documents[i];
    size_t *bytes = &c->bytes[d->i_domain];
    if (*bytes > 0 && *bytes + d->text_bytes > CAM_LIFELONG_PROBE_BYTES)
        return 0;
    *bytes += d->text_bytes;
    return 1;
}

void cam_lifelong_cap_probes(struct cam_lifelong_stream *heldout) {
    struct capping c = {.stream = heldout};
    filter(heldout, keep_first, &c);
}
