#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Workers spin this many times on a new job before they sleep: a barrier through the scheduler
 * costs tens of microseconds, and a training step has about a hundred of them. */
#define SPINS 4000

struct cam_threads {
    int n_threads;
    pthread_t *workers;
    int n_started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint job;    /* raised by one for every job */
    atomic_int stop;
    atomic_size_t next; /* next block to claim */
    atomic_int busy;    /* workers still inside the current job */
    int sleepers;       /* under mutex */
    size_t n_blocks;
    cam_block_fn *fn;
    void *context;
};

struct start {
    struct cam_threads *threads;
    size_t i_worker;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(struct cam_threads *t, size_t i_worker) {
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
        if (i >= t->n_blocks)
            return;
        t->fn(t->context, i, i_worker);
    }
}

static void wait_for_job(struct cam_threads *t, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->job, memory_order_acquire) != seen)
            return;
        relax();
    }
    pthread_mutex_lock(&t->mutex);
    t->sleepers++;
    while (atomic_load_explicit(&t->job, memory_order_acquire) == seen)
        pthread_cond_wait(&t->wake, &t->mutex);
    t->sleepers--;
    pthread_mutex_unlock(&t->mutex);
}

static void *worker_main(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    struct cam_threads *t = start.threads;
    unsigned seen = 0;
    for (;;) {
        wait_for_job(t, seen);
        seen++;
        if (atomic_load(&t->stop))
            return NULL;
        work(t, start.i_worker);
        atomic_fetch_sub_explicit(&t->busy, 1, memory_order_release);
    }
}

static void publish(struct cam_threads *t) {
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add_explicit(&t->job, 1, memory_order_release);
    if (t->sleepers)
        pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
}

enum cam_status cam_threads_new(int n_threads, struct cam_threads **threads) {
    if (n_threads < 1 || n_threads > 1024)
        return cam_fail(CAM_ERR_CONFIG, "%d threads: must be 1 to 1024", n_threads);
    struct cam_threads *t = calloc(1, sizeof *t);
    pthread_t *workers = calloc((size_t)n_threads, sizeof *workers);
    if (!t || !workers) {
        free(t);
        free(workers);
        return cam_fail(CAM_ERR_OS, "out of memory for %d threads", n_threads);
    }
    t->n_threads = n_threads;
    t->workers = workers;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->wake, NULL);
    for (int i = 1; i < n_threads; i++) {
        struct start *start = malloc(sizeof *start);
        if (start)
            *start = (struct start){t, (size_t)i};
        if (!start || pthread_create(&t->workers[i], NULL, worker_main, start)) {
            free(start);
            cam_threads_free(t);
            return cam_fail(CAM_ERR_OS, "cannot start thread %d of %d", i, n_threads);
        }
        t->n_started++;
    }
    *threads = t;
    return CAM_OK;
}

void cam_threads_free(struct cam_threads *t) {
    if (!t)
        return;
    atomic_store(&t->stop, 1);
    publish(t);
    for (int i = 1; i <= t->n_started; i++)
        pthread_join(t->workers[i], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->mutex);
    free(t->workers);
    free(t);
}

int cam_threads_count(const struct cam_threads *t) {
    return t->n_threads;
}

/* A worker that lost its core to another process needs ours to get on. */
static void pause_after(unsigned spins) {
    if (spins < SPINS)
        relax();
    else
        sched_yield();
}

void cam_threads_await(atomic_size_t *done, size_t n) {
    for (unsigned spins = 0; atomic_load_explicit(done, memory_order_acquire) < n; spins++)
        pause_after(spins);
}

void cam_threads_run(struct cam_threads *t, size_t n_blocks, cam_block_fn *fn, void *context) {
    if (t->n_started == 0 || n_blocks <= 1) {
        for (size_t i = 0; i < n_blocks; i++)
            fn(context, i, 0);
        return;
    }
    t->fn = fn;
    t->context = context;
    t->n_blocks = n_blocks;
    atomic_store_explicit(&t->next, 0, memory_order_relaxed);
    atomic_store_explicit(&t->busy, t->n_started, memory_order_relaxed);
    publish(t);
    work(t, 0);
    for (unsigned spins = 0; atomic_load_explicit(&t->busy, memory_order_acquire) > 0; spins++)
        pause_after(spins);
}
