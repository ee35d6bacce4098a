/* allocations.h - counts what the code under test asks the allocator for.
 *
 * Include in the one source file of a test.  Under a sanitizer its hooks count; otherwise the
 * test's own malloc family does, which every library in the process then uses.  What OpenBLAS takes
 * for itself within a small product is not counted; nor are mmap and thread stacks. */
#ifndef CAM_TESTS_ALLOCATIONS_H
#define CAM_TESTS_ALLOCATIONS_H

#include <dlfcn.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t n_allocations;
static atomic_int counting;

/* Looking for the caller may itself allocate. */
static _Thread_local int looking;

static void count_one(void) {
    void *frame[24];
    if (!atomic_load(&counting) || looking)
        return;
    looking = 1;
    int n = backtrace(frame, 24), in_blas = 0;
    for (int i = 0; i < n; i++) {
        Dl_info info;
        if (dladdr(frame[i], &info) && info.dli_fname && strstr(info.dli_fname, "openblas"))
            in_blas = 1;
    }
    looking = 0;
    if (!in_blas)
        atomic_fetch_add(&n_allocations, 1);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Of the sanitizers' allocator, which gcc ships without its header. */
extern int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *block,
                                                                       size_t n_bytes),
                                                     void (*on_free)(const volatile void *block));

static void count_allocation(const volatile void *block, size_t n_bytes) {
    (void)block, (void)n_bytes;
    count_one();
}

static void ignore_free(const volatile void *block) {
    (void)block;
}

static inline void count_allocations(int on) {
    static int installed;
    if (!installed)
        installed = __sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_free);
    atomic_store(&counting, on);
}
#else
/* glibc's own names of what is replaced. */
extern void *__libc_malloc(size_t n_bytes);
extern void *__libc_calloc(size_t n, size_t n_bytes);
extern void *__libc_realloc(void *block, size_t n_bytes);
extern void *__libc_memalign(size_t alignment, size_t n_bytes);

void *malloc(size_t n_bytes) {
    count_one();
    return __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t n_bytes) {
    count_one();
    return __libc_calloc(n, n_bytes);
}

void *realloc(void *block, size_t n_bytes) {
    count_one();
    return __libc_realloc(block, n_bytes);
}

void *aligned_alloc(size_t alignment, size_t n_bytes) {
    count_one();
    return __libc_memalign(alignment, n_bytes);
}

static inline void count_allocations(int on) {
    atomic_store(&counting, on);
}
#endif

#endif
