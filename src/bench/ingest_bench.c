#include "bench/ingest_bench.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/rng.h"
#include "feed/feed.h"
#include "feed/feed_formats.h"
#include "feed/feed_ndjson.h"
#include "store/journal.h"
#include "store/workspace.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STREAM_BYTES ((size_t)1 << 30)
#define PIECE_BYTES      ((size_t)1 << 16) /* as `ingest` reads NDJSON */
#define N_WORDS          8192
#define SENTENCE_WORDS   14
#define PARAGRAPH_WORDS  84

/* ---- streams ---- */

struct maker {
    struct cam_buffer *out, text; /* the stream, the document being made */
    uint64_t seed;
    uint32_t n_words; /* drawn for this document */
};

/* Rank from a Zipf law with exponent 1, by inversion: P(rank <= r) = log(r + 1) / log(N + 1). */
static uint32_t draw_word(struct maker *m, size_t i_document) {
    struct cam_random r = cam_random_at(m->seed, CAM_PURPOSE_BENCH, i_document, m->n_words++);
    double rank = pow(N_WORDS + 1, cam_random_unit(r.word[0])) - 1;
    return (uint32_t)(rank < N_WORDS ? rank : N_WORDS - 1);
}

/* One to four syllables; the number tells words apart. */
static enum cam_status append_word(struct maker *m, uint32_t word, int capital) {
    static const char consonants[] = "bdfghklmnprstvwz", vowels[] = "aeio";
    char spelt[16];
    size_t n = 0;
    for (uint32_t left = word + 1; left > 0; left >>= 6) {
        spelt[n++] = consonants[left & 15];
        spelt[n++] = vowels[left >> 4 & 3];
    }
    if (capital)
        spelt[0] = (char)(spelt[0] - 'a' + 'A');
    return cam_buffer_append(&m->text, spelt, n);
}

static enum cam_status make_text(struct maker *m, size_t i_document, size_t n_bytes) {
    cam_buffer_clear(&m->text);
    m->n_words = 0;
    while (m->text.size < n_bytes) {
        uint32_t n = m->n_words, word = draw_word(m, i_document);
        const char *gap = n == 0                     ? ""
                          : n % PARAGRAPH_WORDS == 0 ? ".\n"
                          : n % SENTENCE_WORDS == 0  ? ". "
                                                     : " ";
        CAM_TRY(cam_buffer_append_text(&m->text, gap));
        CAM_TRY(append_word(m, word, n % SENTENCE_WORDS == 0));
    }
    return cam_buffer_append_text(&m->text, ".");
}

/* The text with BREAK for every line end. */
static enum cam_status append_lines(struct maker *m, const char *line_end) {
    for (const char *at = m->text.data, *end; *at; at = end) {
        end = at + strcspn(at, "\n");
        CAM_TRY(cam_buffer_append(m->out, at, (size_t)(end - at)));
        if (*end) {
            CAM_TRY(cam_buffer_append_text(m->out, line_end));
            end++;
        }
    }
    return CAM_OK;
}

static enum cam_status append_document(struct maker *m, enum cam_ingest_form form, size_t i) {
    if (form == CAM_INGEST_NDJSON) {
        CAM_TRY(cam_buffer_append_format(m->out,
                                         "{\"id\":\"urn:bench:%zu\",\"url\":"
                                         "\"https://bench.example/%zu\",\"title\":\"Document %zu\","
                                         "\"published\":\"2026-01-01T00:00:00Z\",\"domain\":"
                                         "\"bench\",\"text\":\"",
                                         i, i, i));
        CAM_TRY(append_lines(m, "\\n"));
        return cam_buffer_append_text(m->out, "\"}\n");
    }
    CAM_TRY(cam_buffer_append_format(m->out,
                                     "<entry><id>urn:bench:%zu</id><link href=\"https://bench."
                                     "example/%zu\"/><title>Document %zu</title><updated>"
                                     "2026-01-01T00:00:00Z</updated><category term=\"bench\"/>"
                                     "<content type=\"html\">&lt;p&gt;",
                                     i, i, i));
    CAM_TRY(append_lines(m, "&lt;/p&gt;\n&lt;p&gt;"));
    return cam_buffer_append_text(m->out, "&lt;/p&gt;</content></entry>\n");
}

static enum cam_status make_stream(struct maker *m, enum cam_ingest_form form, size_t n_documents,
                                   size_t document_bytes) {
    if (form == CAM_INGEST_ATOM)
        CAM_TRY(cam_buffer_append_text(m->out,
                                       "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns="
                                       "\"http://www.w3.org/2005/Atom\"><id>urn:bench</id><title>"
                                       "Bench</title><updated>2026-01-01T00:00:00Z</updated>\n"));
    for (size_t i = 0; i < n_documents; i++) {
        CAM_TRY(make_text(m, i, document_bytes));
        CAM_TRY(append_document(m, form, i));
    }
    return form == CAM_INGEST_ATOM ? cam_buffer_append_text(m->out, "</feed>\n") : CAM_OK;
}

enum cam_status cam_ingest_stream_make(enum cam_ingest_form form, size_t n_documents,
                                       size_t document_bytes, uint64_t seed,
                                       struct cam_ingest_stream *stream) {
    struct cam_buffer out;
    struct maker m = {.out = &out, .seed = seed};
    cam_buffer_init(&out, MAX_STREAM_BYTES);
    cam_buffer_init(&m.text, MAX_STREAM_BYTES);
    enum cam_status status = make_stream(&m, form, n_documents, document_bytes);
    if (status == CAM_OK)
        *stream = (struct cam_ingest_stream){.n_bytes = out.size,
                                             .content_type = form == CAM_INGEST_NDJSON
                                                                 ? "application/x-ndjson"
                                                                 : "application/atom+xml"};
    if (status == CAM_OK && !(stream->bytes = cam_buffer_take(&out)))
        status = cam_fail(CAM_ERR_OS, "no memory for a stream of %zu documents", n_documents);
    cam_buffer_release(&out);
    cam_buffer_release(&m.text);
    return status;
}

void cam_ingest_stream_release(struct cam_ingest_stream *stream) {
    free(stream->bytes);
    *stream = (struct cam_ingest_stream){0};
}

/* ---- measuring ---- */

static int count_document(void *context, const struct cam_document *document) {
    (void)document;
    ++*(int64_t *)context;
    return CAM_OK;
}

static int ignore_rejected(void *context, const char *where, const char *why) {
    (void)context, (void)where, (void)why;
    return CAM_OK;
}

static enum cam_status read_lines(const struct cam_ingest_stream *stream,
                                  const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    struct cam_ndjson_reader *reader = NULL;
    CAM_TRY(cam_ndjson_reader_new(limits, sink, &reader));
    enum cam_status status = CAM_OK;
    for (size_t at = 0, n; status == CAM_OK && at < stream->n_bytes; at += n) {
        n = stream->n_bytes - at < PIECE_BYTES ? stream->n_bytes - at : PIECE_BYTES;
        status = cam_ndjson_reader_push(reader, stream->bytes + at, n);
    }
    if (status == CAM_OK)
        status = cam_ndjson_reader_finish(reader);
    cam_ndjson_reader_free(reader);
    return status;
}

static enum cam_status read_stream(const struct cam_ingest_stream *stream, const char **format,
                                   const struct cam_document_sink *sink) {
    struct cam_feed_limits limits;
    const struct cam_feed_input input = {.bytes = stream->bytes,
                                         .n_bytes = stream->n_bytes,
                                         .content_type = stream->content_type,
                                         .accept_pages = 1};
    cam_feed_limits_init(&limits);
    if (cam_feed_sniff_format(&input) != &cam_feed_format_ndjson)
        return cam_feed_read_input(&input, &limits, sink, format);
    *format = cam_feed_format_ndjson.name;
    return read_lines(stream, &limits, sink);
}

struct stopwatch {
    double clock, cpu;
};

static struct stopwatch start(void) {
    return (struct stopwatch){cam_clock_seconds(), cam_clock_cpu_seconds()};
}

static void stop(const struct stopwatch *since, struct cam_samples *clock,
                 struct cam_samples *cpu) {
    cam_samples_add(clock, cam_clock_seconds() - since->clock);
    cam_samples_add(cpu, cam_clock_cpu_seconds() - since->cpu);
}

static enum cam_status journal_into(struct cam_workspace *workspace,
                                    const struct cam_ingest_stream *stream,
                                    struct cam_admission_counts *counts) {
    struct cam_settings settings;
    struct cam_journal_writer *writer = NULL;
    const char *format;
    cam_settings_defaults(&settings);
    CAM_TRY(cam_workspace_finish_init(workspace, &settings));
    CAM_TRY(cam_journal_writer_open(cam_workspace_database(workspace), 0, "bench", &writer));
    const struct cam_document_sink sink = cam_journal_writer_sink(writer);
    enum cam_status status = read_stream(stream, &format, &sink);
    if (status == CAM_OK)
        status = cam_journal_writer_finish(writer, NULL, counts);
    cam_journal_writer_free(writer);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *at) {
    (void)info, (void)flag, (void)at;
    return remove(path);
}

static enum cam_status journal_once(const struct cam_ingest_stream *stream,
                                    struct cam_admission_counts *counts, struct cam_samples *clock,
                                    struct cam_samples *cpu) {
    char dir[512];
    struct cam_workspace *workspace = NULL;
    const char *below = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/cambium-bench-XXXXXX", below && *below ? below : "/tmp");
    if (!mkdtemp(dir))
        return cam_fail_errno(CAM_ERR_CANTCREATE, errno, "%s: cannot make a folder", dir);
    enum cam_status status = cam_workspace_open(dir, CAM_WORKSPACE_CREATE, &workspace);
    if (status == CAM_OK) {
        struct stopwatch since = start();
        status = journal_into(workspace, stream, counts);
        stop(&since, clock, cpu);
    }
    cam_workspace_close(workspace);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}

struct samples {
    struct cam_samples read, read_cpu, journal, journal_cpu;
};

static enum cam_status measure(const struct cam_ingest_stream *stream, size_t n_repeats,
                               struct cam_ingest_result *result, struct samples *s) {
    for (size_t i = 0; i < n_repeats; i++) {
        struct cam_admission_counts counts = {0};
        int64_t n_documents = 0;
        const struct cam_document_sink sink = {count_document, ignore_rejected, &n_documents};
        struct stopwatch since = start();
        CAM_TRY(read_stream(stream, &result->format, &sink));
        stop(&since, &s->read, &s->read_cpu);
        CAM_TRY(journal_once(stream, &counts, &s->journal, &s->journal_cpu));
        result->n_documents = n_documents;
        result->n_journalled = counts.journalled;
        result->n_quarantined = counts.quarantined;
    }
    result->read = cam_samples_timing(&s->read);
    result->read_cpu = cam_samples_timing(&s->read_cpu);
    result->journal = cam_samples_timing(&s->journal);
    result->journal_cpu = cam_samples_timing(&s->journal_cpu);
    return CAM_OK;
}

enum cam_status cam_ingest_bench(const struct cam_ingest_stream *stream, size_t n_repeats,
                                 struct cam_ingest_result *result) {
    struct samples *s = calloc(1, sizeof *s);
    struct cam_ingest_result measured = {0};
    cpu_set_t all, one;
    int cpu = sched_getcpu(), pinned = 0;
    if (!s)
        return cam_fail(CAM_ERR_OS, "no memory for a measurement");
    if (cpu >= 0 && sched_getaffinity(0, sizeof all, &all) == 0) {
        CPU_ZERO(&one);
        CPU_SET((size_t)cpu, &one);
        pinned =
            sched_setaffinity(0, sizeof one, &one) == 0; /* threads made from here inherit it */
    }
    enum cam_status status = pinned ? measure(stream, n_repeats, &measured, s)
                                    : cam_fail(CAM_ERR_OS, "cannot stay on one processor");
    if (pinned)
        sched_setaffinity(0, sizeof all, &all);
    free(s);
    if (status == CAM_OK)
        *result = measured;
    return status;
}
