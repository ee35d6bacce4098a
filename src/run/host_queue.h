/* host_queue.h - one request a host at a time, and a rest after each.
 *
 * Remembers only hosts that are busy or rest.  Any number of threads may use one; seconds are those
 * of cam_clock_seconds. */
#ifndef CAM_RUN_HOST_QUEUE_H
#define CAM_RUN_HOST_QUEUE_H

#include "base/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#define CAM_HOST_BYTES 256

struct cam_host {
    char name[CAM_HOST_BYTES];
    int is_busy;
    double free_at; /* when it is not busy */
};

struct cam_host_queue {
    pthread_mutex_t mutex;  /* guards all below */
    struct cam_host *hosts; /* owned */
    size_t n, capacity;
};

void cam_host_queue_init(struct cam_host_queue *queue);
void cam_host_queue_release(struct cam_host_queue *queue);
/* 1: HOST may be asked at NOW, and is busy from here on; 0: it is busy or rests.  Forgets hosts
 * that have rested. */
CAM_MUST_USE enum cam_status cam_host_queue_try(struct cam_host_queue *queue, const char *host,
                                                double now, int *begun);
/* Waits until HOST may be asked and begins.  CAM_STOPPED: *STOP (may be NULL) became non-zero. */
CAM_MUST_USE enum cam_status cam_host_queue_enter(struct cam_host_queue *queue, const char *host,
                                                  const atomic_int *stop);
/* HOST was asked and rests until FREE_AT. */
void cam_host_queue_end(struct cam_host_queue *queue, const char *host, double free_at);
/* HOST rests until FREE_AT at least, whoever asks it now. */
void cam_host_queue_rest(struct cam_host_queue *queue, const char *host, double free_at);
/* Milliseconds until the first of those that rest is free, at most MOST and at least 1. */
long cam_host_queue_wait_ms(struct cam_host_queue *queue, double now, long most);
size_t cam_host_queue_size(struct cam_host_queue *queue);

#endif
