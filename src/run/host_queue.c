#include "run/host_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cam_host_queue_release(struct cam_host_queue *queue) {
    free(queue->hosts);
    *queue = (struct cam_host_queue){0};
}

static struct cam_host *find(const struct cam_host_queue *queue, const char *host) {
    for (size_t i = 0; i < queue->n; i++)
        if (strcmp(queue->hosts[i].name, host) == 0)
            return &queue->hosts[i];
    return NULL;
}

int cam_host_queue_may(struct cam_host_queue *queue, const char *host, double now) {
    for (size_t i = 0; i < queue->n;) {
        if (queue->hosts[i].is_busy || queue->hosts[i].free_at > now)
            i++;
        else
            queue->hosts[i] = queue->hosts[--queue->n];
    }
    return find(queue, host) == NULL;
}

enum cam_status cam_host_queue_begin(struct cam_host_queue *queue, const char *host) {
    struct cam_host *known = find(queue, host);
    if (!known && queue->n == queue->capacity) {
        size_t capacity = queue->capacity ? 2 * queue->capacity : 16;
        struct cam_host *grown = realloc(queue->hosts, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory for %zu hosts", capacity);
        queue->hosts = grown;
        queue->capacity = capacity;
    }
    if (!known)
        known = &queue->hosts[queue->n++];
    *known = (struct cam_host){.is_busy = 1};
    snprintf(known->name, sizeof known->name, "%s", host);
    return CAM_OK;
}

void cam_host_queue_end(struct cam_host_queue *queue, const char *host, double free_at) {
    struct cam_host *known = find(queue, host);
    if (known) {
        known->is_busy = 0;
        known->free_at = free_at;
    }
}

long cam_host_queue_wait_ms(const struct cam_host_queue *queue, double now, long most) {
    double wait = (double)most / 1000;
    for (size_t i = 0; i < queue->n; i++) {
        const struct cam_host *host = &queue->hosts[i];
        if (!host->is_busy && host->free_at > now && host->free_at - now < wait)
            wait = host->free_at - now;
    }
    return (long)(1000 * wait) + 1;
}
