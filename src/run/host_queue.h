/* host_queue.h - one request a host at a time, and a rest after each (FAULTS N17).
 *
 * Remembers only hosts that are busy or rest.  Not shared between threads; seconds are those of
 * cam_clock_seconds. */
#ifndef CAM_RUN_HOST_QUEUE_H
#define CAM_RUN_HOST_QUEUE_H

#include "base/status.h"

#include <stddef.h>

#define CAM_HOST_BYTES 256

struct cam_host {
    char name[CAM_HOST_BYTES];
    int is_busy;
    double free_at; /* when it is not busy */
};

/* Zero is an empty one. */
struct cam_host_queue {
    struct cam_host *hosts; /* owned */
    size_t n, capacity;
};

void cam_host_queue_release(struct cam_host_queue *queue);
/* Whether HOST may be asked at NOW.  Forgets hosts that have rested. */
int cam_host_queue_may(struct cam_host_queue *queue, const char *host, double now);
CAM_MUST_USE enum cam_status cam_host_queue_begin(struct cam_host_queue *queue, const char *host);
/* HOST was asked and rests until FREE_AT. */
void cam_host_queue_end(struct cam_host_queue *queue, const char *host, double free_at);
/* Milliseconds until the first of those that rest is free, at most MOST and at least 1. */
long cam_host_queue_wait_ms(const struct cam_host_queue *queue, double now, long most);

#endif
