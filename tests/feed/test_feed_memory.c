/* Every allocation of the readers fails once: each call then says so and leaks nothing (run under
 * AddressSanitizer).  The linker sends the library's own allocations here (see tests.cmake); those
 * inside expat, libxml2 and jansson are theirs to survive. */
#include "feed_support.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);
char *__wrap_strdup(const char *text);

static long until_failure; /* the allocation to fail, counted down; 0: none */

static int fails_now(void) {
    return until_failure > 0 && --until_failure == 0;
}

void *__wrap_malloc(size_t n) {
    return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t n) {
    return fails_now() ? NULL : __real_realloc(old, n);
}

char *__wrap_strdup(const char *text) {
    return fails_now() ? NULL : __real_strdup(text);
}

static size_t n_documents;

static int count_document(void *context, const struct cam_document *document) {
    (void)context;
    n_documents += document->text_bytes > 0;
    return CAM_OK;
}

static int ignore_rejected(void *context, const char *where, const char *why) {
    (void)context, (void)where, (void)why;
    return CAM_OK;
}

/* Reads with the first, second ... allocation failing, until it runs through. */
static void sweep(const char *bytes, size_t n_bytes, size_t n_expected, size_t max_field_bytes) {
    const struct cam_document_sink sink = {count_document, ignore_rejected, NULL};
    struct cam_feed_limits limits;
    cam_feed_limits_init(&limits);
    limits.max_field_bytes = max_field_bytes;
    for (long i = 1;; i++) {
        n_documents = 0;
        until_failure = i;
        enum cam_status status = cam_feed_read(bytes, n_bytes, NULL, &limits, &sink, NULL);
        int ran_through = until_failure > 0;
        until_failure = 0;
        if (ran_through) {
            cr_assert_eq(status, CAM_OK, "%s", cam_message());
            cr_assert_eq(n_documents, n_expected);
            cr_assert_gt(i, 2, "only %ld allocations", i - 1);
            return;
        }
        cr_assert_eq(status, CAM_ERR_OS, "allocation %ld: %d", i, (int)status);
    }
}

static void sweep_sample(const char *name, size_t n_expected, size_t max_field_bytes) {
    size_t n;
    char *bytes = load_sample(name, &n);
    sweep(bytes, n, n_expected, max_field_bytes);
    free(bytes);
}

Test(feed_memory, C08_atom) {
    sweep_sample("basic.atom", 3, 8192);
}

Test(feed_memory, C08_atom_with_a_rejected_entry) {
    sweep_sample("basic.atom", 0, 9); /* every date is over the limit */
}

Test(feed_memory, C08_rss) {
    sweep_sample("modules.rss", 3, 8192);
}

Test(feed_memory, C08_jsonfeed) {
    sweep_sample("small.json", 2, 8192);
}

Test(feed_memory, C08_ndjson) {
    sweep_sample("mixed.ndjson", 3, 8192);
}

Test(feed_memory, C08_text_that_needs_composing) {
    sweep("cafe\xCC\x81 \xFF\n", 9, 1, 8192);
}
