#include "run/host_queue.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 20 /* how often one who waits looks again */

void cam_host_queue_init(struct cam_host_queue *queue) {
    *queue = (struct cam_host_queue){0};
    pthread_mutex_init(&queue->mutex, NULL);
}

void cam_host_queue_release(struct cam_host_queue *queue) {
    free(queue->hosts);
    pthread_mutex_destroy(&queue->mutex);
    *queue = (struct cam_host_queue){0};
}

/* The functions below up to the next mark are called with the mutex held. */

static struct cam_host *find(const struct cam_host_queue *queue, const char *host) {
    for (size_t i = 0; i < queue->n; i++)
        if (strncmp(queue->hosts[i].name, host, CAM_HOST_BYTES - 1) == 0)
            return &queue->hosts[i];
    return NULL;
}

static void forget_rested(struct cam_host_queue *queue, double now) {
    for (size_t i = 0; i < queue->n;) {
        if (queue->hosts[i].is_busy || queue->hosts[i].free_at > now)
            i++;
        else
            queue->hosts[i] = queue->hosts[--queue->n];
    }
}

static enum cam_status add(struct cam_host_queue *queue, const char *host, struct cam_host **made) {
    if (queue->n == queue->capacity) {
        size_t capacity = queue->capacity ? 2 * queue->capacity : 16;
        struct cam_host *grown = realloc(queue->hosts, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory for %zu hosts", capacity);
        queue->hosts = grown;
        queue->capacity = capacity;
    }
    *made = &queue->hosts[queue->n++];
    **made = (struct cam_host){0};
    snprintf((*made)->name, sizeof(*made)->name, "%s", host);
    return CAM_OK;
}

static enum cam_status try_host(struct cam_host_queue *queue, const char *host, double now,
                                int *begun) {
    struct cam_host *known = NULL; /* gcc -O3 does not see that add sets it */
    forget_rested(queue, now);
    *begun = 0;
    if (find(queue, host))
        return CAM_OK;
    CAM_TRY(add(queue, host, &known));
    known->is_busy = *begun = 1;
    return CAM_OK;
}

/* ---- */

enum cam_status cam_host_queue_try(struct cam_host_queue *queue, const char *host, double now,
                                   int *begun) {
    pthread_mutex_lock(&queue->mutex);
    enum cam_status status = try_host(queue, host, now, begun);
    pthread_mutex_unlock(&queue->mutex);
    return status;
}

enum cam_status cam_host_queue_enter(struct cam_host_queue *queue, const char *host,
                                     const atomic_int *stop) {
    for (int begun = 0;;) {
        CAM_TRY(cam_host_queue_try(queue, host, cam_clock_seconds(), &begun));
        if (begun)
            return CAM_OK;
        if (stop && atomic_load(stop))
            return cam_fail(CAM_STOPPED, "%s: stopped while it waited for its turn", host);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
}

void cam_host_queue_end(struct cam_host_queue *queue, const char *host, double free_at) {
    pthread_mutex_lock(&queue->mutex);
    struct cam_host *known = find(queue, host);
    if (known) {
        known->is_busy = 0;
        if (free_at > known->free_at)
            known->free_at = free_at;
    }
    pthread_mutex_unlock(&queue->mutex);
}

void cam_host_queue_rest(struct cam_host_queue *queue, const char *host, double free_at) {
    pthread_mutex_lock(&queue->mutex);
    struct cam_host *known = find(queue, host);
    if (!known && add(queue, host, &known) != CAM_OK)
        known = NULL; /* no memory: it rests no longer than it would have */
    if (known && free_at > known->free_at)
        known->free_at = free_at;
    pthread_mutex_unlock(&queue->mutex);
}

long cam_host_queue_wait_ms(struct cam_host_queue *queue, double now, long most) {
    double wait = (double)most / 1000;
    pthread_mutex_lock(&queue->mutex);
    for (size_t i = 0; i < queue->n; i++) {
        const struct cam_host *host = &queue->hosts[i];
        if (!host->is_busy && host->free_at > now && host->free_at - now < wait)
            wait = host->free_at - now;
    }
    pthread_mutex_unlock(&queue->mutex);
    return (long)(1000 * wait) + 1;
}

size_t cam_host_queue_size(struct cam_host_queue *queue) {
    pthread_mutex_lock(&queue->mutex);
    size_t n = queue->n;
    pthread_mutex_unlock(&queue->mutex);
    return n;
}
