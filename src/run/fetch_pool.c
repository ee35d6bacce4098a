#include "run/fetch_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct list {
    struct cam_feed_poll *polls[CAM_FETCH_POOL_MAX];
    size_t n;
};

struct cam_fetch_pool {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t work, ended;
    pthread_t threads[CAM_FETCH_POOL_MAX];
    size_t n_threads, n_idle;
    size_t n_busy;
    struct list waiting, done; /* first in, first out */
    int is_ending, is_woken;
};

static void append(struct list *list, struct cam_feed_poll *poll) {
    list->polls[list->n++] = poll;
}

static struct cam_feed_poll *take_first(struct list *list) {
    if (list->n == 0)
        return NULL;
    struct cam_feed_poll *first = list->polls[0];
    memmove(list->polls, list->polls + 1, --list->n * sizeof *list->polls);
    return first;
}

static void *fetch_thread(void *context) {
    struct cam_fetch_pool *pool = context;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        pool->n_idle++;
        while (pool->waiting.n == 0 && !pool->is_ending)
            pthread_cond_wait(&pool->work, &pool->mutex);
        pool->n_idle--;
        struct cam_feed_poll *poll = pool->is_ending ? NULL : take_first(&pool->waiting);
        if (!poll)
            break;
        pthread_mutex_unlock(&pool->mutex);
        cam_feed_poll_fetch(poll);
        pthread_mutex_lock(&pool->mutex);
        append(&pool->done, poll);
        pthread_cond_signal(&pool->ended);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

enum cam_status cam_fetch_pool_new(struct cam_fetch_pool **pool) {
    struct cam_fetch_pool *made = calloc(1, sizeof *made);
    pthread_condattr_t attributes;
    if (!made)
        return cam_fail(CAM_ERR_OS, "no memory for the threads that fetch");
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->work, NULL);
    pthread_cond_init(&made->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    *pool = made;
    return CAM_OK;
}

void cam_fetch_pool_free(struct cam_fetch_pool *pool) {
    struct cam_feed_poll *poll;
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->is_ending = 1;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    while ((poll = take_first(&pool->waiting)) || (poll = take_first(&pool->done)))
        cam_feed_poll_free(poll);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

/* With the mutex held.  A pool that has threads already does without another. */
static enum cam_status start_thread(struct cam_fetch_pool *pool) {
    int code = pthread_create(&pool->threads[pool->n_threads], NULL, fetch_thread, pool);
    if (code == 0)
        pool->n_threads++;
    else if (pool->n_threads == 0)
        return cam_fail_errno(CAM_ERR_OS, code, "cannot start a thread that fetches");
    return CAM_OK;
}

enum cam_status cam_fetch_pool_submit(struct cam_fetch_pool *pool, struct cam_feed_poll *poll) {
    enum cam_status status = CAM_OK;
    pthread_mutex_lock(&pool->mutex);
    if (pool->n_busy == CAM_FETCH_POOL_MAX)
        status = cam_fail(CAM_ERR_INTERNAL, "more than %d fetches at a time", CAM_FETCH_POOL_MAX);
    else if (pool->n_idle <= pool->waiting.n && pool->n_threads < CAM_FETCH_POOL_MAX)
        status = start_thread(pool);
    if (status == CAM_OK) {
        append(&pool->waiting, poll);
        pool->n_busy++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

struct cam_feed_poll *cam_fetch_pool_take(struct cam_fetch_pool *pool, long wait_ms) {
    struct timespec until;
    int code = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&pool->mutex);
    while (pool->done.n == 0 && !pool->is_woken && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&pool->ended, &pool->mutex, &until);
    pool->is_woken = 0;
    struct cam_feed_poll *poll = take_first(&pool->done);
    if (poll)
        pool->n_busy--;
    pthread_mutex_unlock(&pool->mutex);
    return poll;
}

size_t cam_fetch_pool_busy(struct cam_fetch_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    size_t n = pool->n_busy;
    pthread_mutex_unlock(&pool->mutex);
    return n;
}

void cam_fetch_pool_wake(struct cam_fetch_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pool->is_woken = 1;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->mutex);
}
