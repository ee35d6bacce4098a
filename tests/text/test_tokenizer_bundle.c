/* The bundled texts: what tests/data/bundle/ promises (docs/bundle.md), read by the feed readers.
 */
#include "tokenizer_support.h"

#include "feed/feed.h"

#include <zstd.h>

enum { MAX_DOCUMENTS = 1000, MAX_DOMAINS = 5 };

struct texts {
    struct {
        char *id, *domain, *updated, *text; /* owned */
        size_t n_bytes;
    } document[MAX_DOCUMENTS];
    size_t n_documents, n_rejected;
};

static struct cam_buffer unpack(const char *name) {
    struct cam_buffer packed = read_data(name), content;
    unsigned long long n = ZSTD_getFrameContentSize(packed.data, packed.size);
    cr_assert_lt(n, 16 << 20);
    char *bytes = malloc(n);
    cr_assert_eq(ZSTD_decompress(bytes, n, packed.data, packed.size), n);
    cam_buffer_init(&content, (size_t)16 << 20);
    MUST(cam_buffer_append(&content, bytes, n));
    free(bytes);
    cam_buffer_release(&packed);
    return content;
}

static int keep(void *context, const struct cam_document *document) {
    struct texts *texts = context;
    cr_assert_lt(texts->n_documents, MAX_DOCUMENTS);
    cr_assert(document->id && document->url && document->title && document->published);
    size_t i = texts->n_documents++;
    texts->document[i].id = strdup(document->id);
    texts->document[i].domain = strdup(document->domain);
    texts->document[i].updated = strdup(document->published);
    texts->document[i].text = strdup(document->text);
    texts->document[i].n_bytes = document->text_bytes;
    return CAM_OK;
}

static int count_rejected(void *context, const char *where, const char *why) {
    (void)where, (void)why;
    ((struct texts *)context)->n_rejected++;
    return CAM_OK;
}

static struct texts *read_texts(const struct cam_buffer *content, const char *expected_format) {
    struct texts *texts = calloc(1, sizeof *texts);
    struct cam_feed_limits limits;
    const struct cam_document_sink sink = {keep, count_rejected, texts};
    const char *format = NULL;
    cam_feed_limits_init(&limits);
    MUST(cam_feed_read(content->data, content->size, NULL, &limits, &sink, &format));
    cr_assert_str_eq(format, expected_format);
    cr_assert_eq(texts->n_rejected, 0);
    return texts;
}

static void drop_texts(struct texts *texts) {
    for (size_t i = 0; i < texts->n_documents; i++) {
        free(texts->document[i].id);
        free(texts->document[i].domain);
        free(texts->document[i].updated);
        free(texts->document[i].text);
    }
    free(texts);
}

static const struct texts *find(const struct texts *texts, const char *id, size_t *i) {
    for (*i = 0; *i < texts->n_documents; (*i)++)
        if (strcmp(texts->document[*i].id, id) == 0)
            return texts;
    return NULL;
}

/* TEXTS are N blocks, of these domains in this order, and dates rise all along. */
static void check_blocks(const struct texts *texts, const char *const *domains,
                         const size_t *counts, size_t n, size_t min_bytes) {
    size_t i = 0;
    for (size_t d = 0; d < n; d++) {
        size_t end = i + counts[d], bytes = 0;
        cr_assert_leq(end, texts->n_documents);
        for (; i < end; i++) {
            cr_assert_str_eq(texts->document[i].domain, domains[d]);
            cr_assert(i == 0 ||
                      strcmp(texts->document[i - 1].updated, texts->document[i].updated) < 0);
            bytes += texts->document[i].n_bytes;
        }
        cr_assert_geq(bytes, min_bytes, "%s: %zu", domains[d], bytes);
    }
    cr_assert_eq(i, texts->n_documents);
}

Test(tokenizer_bundle, feed_shifts_through_five_domains) {
    static const char *const domains[] = {"kjv", "rv1909", "postgres", "sotu", "sqlite"};
    static const size_t counts[] = {123, 136, 101, 90, 105};
    struct cam_buffer content = unpack("bundle/feed.atom.zst");
    struct texts *texts = read_texts(&content, "atom");
    check_blocks(texts, domains, counts, 5, 500000);
    for (size_t i = 0; i < texts->n_documents; i++) {
        size_t at, n = texts->document[i].n_bytes;
        cr_assert(n >= 2000 && n <= 15000, "%s: %zu", texts->document[i].id, n);
        find(texts, texts->document[i].id, &at);
        cr_assert_eq(at, i, "%s twice", texts->document[i].id);
    }
    drop_texts(texts);
    cam_buffer_release(&content);
}

Test(tokenizer_bundle, feed_states_rights) {
    struct cam_buffer content = unpack("bundle/feed.atom.zst");
    size_t n_entries = 0, n_rights = 0;
    for (const char *at = content.data; (at = strstr(at, "<entry>")); at++)
        n_entries++;
    for (const char *at = content.data; (at = strstr(at, "<rights>")); at++)
        n_rights++;
    cr_assert_eq(n_entries, 555);
    cr_assert_eq(n_rights, n_entries + 1);
    cr_assert_not_null(strstr(content.data, "Permission to use, copy, modify, and distribute"));
    cr_assert_not_null(strstr(content.data, "IN NO EVENT SHALL THE UNIVERSITY OF CALIFORNIA"));
    cam_buffer_release(&content);
}

Test(tokenizer_bundle, small_feed_is_part_of_the_feed) {
    static const char *const domains[] = {"kjv", "rv1909", "sqlite"};
    struct cam_buffer content = unpack("bundle/feed.atom.zst");
    struct cam_buffer small_content = unpack("bundle/small.atom.zst");
    struct texts *texts = read_texts(&content, "atom");
    struct texts *small = read_texts(&small_content, "atom");
    size_t counts[3] = {0};
    for (size_t i = 0; i < small->n_documents; i++) {
        size_t at;
        cr_assert_not_null(find(texts, small->document[i].id, &at));
        cr_assert_str_eq(small->document[i].text, texts->document[at].text);
        for (size_t d = 0; d < 3; d++)
            counts[d] += strcmp(small->document[i].domain, domains[d]) == 0;
    }
    check_blocks(small, domains, counts, 3, 100000);
    drop_texts(small);
    drop_texts(texts);
    cam_buffer_release(&small_content);
    cam_buffer_release(&content);
}

Test(tokenizer_bundle, held_out_documents_are_not_in_the_feed) {
    static const char *const domains[] = {"kjv", "rv1909", "postgres", "sotu", "sqlite"};
    static const size_t counts[] = {7, 6, 5, 6, 7};
    struct cam_buffer content = unpack("bundle/feed.atom.zst");
    struct cam_buffer held_content = unpack("bundle/heldout.ndjson.zst");
    struct texts *texts = read_texts(&content, "atom");
    struct texts *held = read_texts(&held_content, "ndjson");
    check_blocks(held, domains, counts, 5, 25000);
    for (size_t i = 0; i < held->n_documents; i++) {
        size_t at;
        cr_assert_null(find(texts, held->document[i].id, &at));
        for (at = 0; at < texts->n_documents; at++)
            cr_assert_str_neq(held->document[i].text, texts->document[at].text);
    }
    drop_texts(held);
    drop_texts(texts);
    cam_buffer_release(&held_content);
    cam_buffer_release(&content);
}

Test(tokenizer_bundle, default_tokenizer_fits_every_domain_held_out) {
    static const char *const domains[] = {"kjv", "rv1909", "postgres", "sotu", "sqlite"};
    struct cam_buffer content = unpack("bundle/heldout.ndjson.zst");
    struct texts *held = read_texts(&content, "ndjson");
    struct cam_tokenizer *tokenizer;
    struct cam_encoder *encoder;
    MUST(cam_tokenizer_default(&tokenizer));
    MUST(cam_encoder_new(tokenizer, &encoder));
    for (size_t d = 0; d < 5; d++) {
        size_t n_bytes = 0, n_ids = 0;
        for (size_t i = 0; i < held->n_documents; i++)
            if (strcmp(held->document[i].domain, domains[d]) == 0) {
                n_bytes += held->document[i].n_bytes;
                n_ids += check_round_trip(tokenizer, encoder, held->document[i].text,
                                          held->document[i].n_bytes);
            }
        cr_assert_leq((double)n_ids / (double)n_bytes, 0.40, "%s", domains[d]);
    }
    cam_encoder_free(encoder);
    cam_tokenizer_free(tokenizer);
    drop_texts(held);
    cam_buffer_release(&content);
}

Test(tokenizer_bundle, unit_test_texts_are_small_and_of_two_domains) {
    struct cam_buffer content = read_data("bundle/tiny.ndjson");
    struct texts *tiny = read_texts(&content, "ndjson");
    size_t n_kjv = 0, n_sqlite = 0;
    for (size_t i = 0; i < tiny->n_documents; i++) {
        n_kjv += strcmp(tiny->document[i].domain, "kjv") == 0;
        n_sqlite += strcmp(tiny->document[i].domain, "sqlite") == 0;
    }
    cr_assert(n_kjv >= 4 && n_sqlite >= 4 && n_kjv + n_sqlite == tiny->n_documents);
    cr_assert_leq(content.size, 80000);
    drop_texts(tiny);
    cam_buffer_release(&content);
}

Test(tokenizer_bundle, all_of_it_is_at_most_a_megabyte) {
    static const char *const names[] = {"bundle/feed.atom.zst", "bundle/small.atom.zst",
                                        "bundle/heldout.ndjson.zst", "bundle/tiny.ndjson"};
    size_t total = 0;
    for (size_t i = 0; i < 4; i++) {
        struct cam_buffer content = read_data(names[i]);
        total += content.size;
        cam_buffer_release(&content);
    }
    cr_assert_leq(total, 1000000);
}
