/* Every allocation of the tokenizer and its trainer fails once: each call then says so, leaves its
 * outputs alone and leaks nothing (run under AddressSanitizer).  The linker sends the library's
 * malloc, calloc and realloc here (see tests.cmake). */
#include "tokenizer_support.h"

#include "text/tokenizer_train.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);

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

/* Runs STEP with the first, second ... allocation failing, until it runs through. */
static void sweep(enum cam_status (*step)(void), long at_least) {
    long i = 1;
    for (;; i++) {
        until_failure = i;
        enum cam_status status = step();
        int ran_through = until_failure > 0;
        until_failure = 0;
        if (ran_through) {
            cr_assert_eq(status, CAM_OK);
            break;
        }
        cr_assert_eq(status, CAM_ERR_OS, "allocation %ld: %d", i, (int)status);
    }
    cr_assert_gt(i, at_least, "only %ld allocations", i - 1);
}

static enum cam_status make_default(void) {
    struct cam_tokenizer *tokenizer = NULL;
    struct cam_encoder *encoder = NULL;
    enum cam_status status = cam_tokenizer_default(&tokenizer);
    cr_assert_eq(tokenizer == NULL, status != CAM_OK);
    if (status == CAM_OK)
        status = cam_encoder_new(tokenizer, &encoder);
    cr_assert_eq(encoder == NULL, status != CAM_OK);
    cam_encoder_free(encoder);
    cam_tokenizer_free(tokenizer);
    return status;
}

static enum cam_status train_small(void) {
    static const char text[] = "in the beginning was the word and the word was with the beginning";
    struct cam_buffer file;
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    enum cam_status status = cam_tokenizer_train(text, sizeof text - 1, 265, &file);
    cr_assert_eq(file.size == 0, status != CAM_OK);
    cam_buffer_release(&file);
    return status;
}

Test(tokenizer_memory, loading_survives_any_failed_allocation) {
    sweep(make_default, 6);
}

Test(tokenizer_memory, training_survives_any_failed_allocation) {
    sweep(train_small, 30);
}
