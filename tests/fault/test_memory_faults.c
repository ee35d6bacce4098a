/* A whole run whose n-th allocation fails: it ends with an error of memory and nothing else, leaks
 * nothing (AddressSanitizer), and what it leaves finishes with the bits and the history of a run
 * that had memory enough.
 *
 * The linker sends the library's own allocations here (tests.cmake); SQLite's come by its own hook.
 * Some n of a run's range; more with CAM_FAULT_CASES in the environment (the slow test). */
#include "fault/small_run.h"

#include <errno.h>
#include <pthread.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
char *__wrap_strdup(const char *text);

/* Counted by one of them at a time; any thread may ask for memory. */
enum source { LIBRARY = 1, SQLITE = 2 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int counted;           /* whose allocations */
static long n_asked, fail_at; /* 1 for the first; 0: none */
static int failed;

static int fails_now(enum source source) {
    int fails = 0;
    if (counted != (int)source)
        return 0;
    pthread_mutex_lock(&mutex);
    fails = ++n_asked == fail_at;
    failed |= fails;
    pthread_mutex_unlock(&mutex);
    if (fails)
        errno = ENOMEM;
    return fails;
}

void *__wrap_malloc(size_t n) {
    return fails_now(LIBRARY) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails_now(LIBRARY) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t n) {
    return fails_now(LIBRARY) ? NULL : __real_realloc(old, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n) {
    return fails_now(LIBRARY) ? NULL : __real_aligned_alloc(alignment, n);
}

char *__wrap_strdup(const char *text) {
    return fails_now(LIBRARY) ? NULL : __real_strdup(text);
}

static sqlite3_mem_methods below;

static void *sqlite_malloc(int n) {
    return fails_now(SQLITE) ? NULL : below.xMalloc(n);
}

static void *sqlite_realloc(void *old, int n) {
    return fails_now(SQLITE) ? NULL : below.xRealloc(old, n);
}

static void setup(void) {
    sqlite3_mem_methods hooked;
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below), SQLITE_OK);
    hooked = below;
    hooked.xMalloc = sqlite_malloc;
    hooked.xRealloc = sqlite_realloc;
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &hooked), SQLITE_OK);
    small_prepare();
}

static void teardown(void) {
    small_forget();
}

TestSuite(memory_faults, .init = setup, .fini = teardown);

static enum cam_status run_with(const char *dir, enum source source, long n) {
    n_asked = 0;
    failed = 0;
    fail_at = n;
    counted = (int)source;
    enum cam_status status = small_run(dir);
    counted = 0;
    return status;
}

static void sweep(enum source source, long most) {
    char dir[400], what[600];
    small_copy(dir);
    OK(run_with(dir, source, 0));
    long n = n_asked, stride = n / small_cases(most) + 1, n_said = 0;
    small_expect(dir, 1, "memory enough");
    for (long at = 1 + stride / 2; at <= n; at += stride) {
        small_copy(dir);
        enum cam_status status = run_with(dir, source, at);
        snprintf(what, sizeof what, "allocation %ld of %ld fails: %.500s", at, n,
                 status == CAM_OK ? "no error" : cam_message());
        cr_assert(failed, "%s", what);
        cr_assert(status == CAM_OK || status == CAM_ERR_OS, "%s: %s", what,
                  cam_status_name(status));
        small_expect(dir, status == CAM_OK, what);
        n_said += status != CAM_OK;
    }
    cr_log_info("%ld allocations, one in %ld failed, %ld times with an error", n, stride, n_said);
    cr_assert_gt(n_said, 3);
}

Test(memory_faults, C08_the_nth_allocation_of_the_library_fails) {
    sweep(LIBRARY, 20);
}

Test(memory_faults, C08_the_nth_allocation_of_sqlite_fails) {
    sweep(SQLITE, 12);
}
