#include "run/desk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MESSAGE_BYTES 1024
#define PATIENCE_MS   200 /* how often a waiting caller is asked whether it still wants to */

/* Lives on the caller's stack while it waits. */
struct call {
    cam_desk_fn *fn;
    void *context;
    enum { WAITING, RUNNING, ANSWERED } state;
    enum cam_status status;
    char message[MESSAGE_BYTES];
    struct call *next;
};

struct cam_desk {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t rung, answered;
    int is_rung, is_closed, n_inside;
    struct call *first;
};

enum cam_status cam_desk_new(struct cam_desk **desk) {
    pthread_condattr_t attributes;
    struct cam_desk *d = calloc(1, sizeof *d);
    if (!d)
        return cam_fail(CAM_ERR_OS, "no memory for a desk");
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&d->mutex, NULL);
    pthread_cond_init(&d->rung, &attributes);
    pthread_cond_init(&d->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    *desk = d;
    return CAM_OK;
}

void cam_desk_free(struct cam_desk *d) {
    if (!d)
        return;
    pthread_cond_destroy(&d->answered);
    pthread_cond_destroy(&d->rung);
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

static struct timespec in_ms(long ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return until;
}

/* ---- any thread ---- */

void cam_desk_ring(struct cam_desk *d) {
    pthread_mutex_lock(&d->mutex);
    d->is_rung = 1;
    pthread_cond_signal(&d->rung);
    pthread_mutex_unlock(&d->mutex);
}

static void append(struct cam_desk *d, struct call *call) {
    struct call **last = &d->first;
    while (*last)
        last = &(*last)->next;
    *last = call;
}

static void take_out(struct cam_desk *d, const struct call *call) {
    struct call **at = &d->first;
    while (*at && *at != call)
        at = &(*at)->next;
    if (*at)
        *at = call->next;
}

/* Waits for the answer with the mutex held.  0: patience ran out. */
static int wait_for_answer(struct cam_desk *d, const struct call *call,
                           cam_desk_patience_fn *patience, void *context) {
    while (call->state != ANSWERED) {
        struct timespec until = in_ms(PATIENCE_MS);
        pthread_cond_timedwait(&d->answered, &d->mutex, &until);
        if (call->state == ANSWERED || !patience)
            continue;
        pthread_mutex_unlock(&d->mutex);
        int wait_on = patience(context);
        pthread_mutex_lock(&d->mutex);
        if (!wait_on && call->state == WAITING)
            return 0;
    }
    return 1;
}

enum cam_status cam_desk_call(struct cam_desk *d, cam_desk_fn *fn, void *context,
                              cam_desk_patience_fn *patience, void *patience_context) {
    struct call call = {.fn = fn, .context = context};
    pthread_mutex_lock(&d->mutex);
    int closed = d->is_closed, answered = 0;
    if (!closed) {
        append(d, &call);
        d->is_rung = 1;
        pthread_cond_signal(&d->rung);
        answered = wait_for_answer(d, &call, patience, patience_context);
        take_out(d, &call);
    }
    pthread_mutex_unlock(&d->mutex);
    if (closed)
        return cam_fail(CAM_ERR_BUSY, "the service is about to end; try again in a moment");
    if (!answered)
        return CAM_STOPPED;
    return call.status == CAM_OK ? CAM_OK : cam_fail(call.status, "%s", call.message);
}

enum cam_status cam_desk_enter(struct cam_desk *d) {
    pthread_mutex_lock(&d->mutex);
    int closed = d->is_closed;
    d->n_inside += !closed;
    pthread_mutex_unlock(&d->mutex);
    return closed ? cam_fail(CAM_ERR_BUSY, "the service is about to end; try again in a moment")
                  : CAM_OK;
}

void cam_desk_leave(struct cam_desk *d) {
    pthread_mutex_lock(&d->mutex);
    d->n_inside--;
    d->is_rung = 1;
    pthread_cond_signal(&d->rung);
    pthread_mutex_unlock(&d->mutex);
}

/* ---- the service's thread ---- */

void cam_desk_wait(struct cam_desk *d, long ms) {
    struct timespec until = in_ms(ms);
    pthread_mutex_lock(&d->mutex);
    int code = 0;
    while (!d->is_rung && code == 0)
        code = pthread_cond_timedwait(&d->rung, &d->mutex, &until);
    pthread_mutex_unlock(&d->mutex);
}

int cam_desk_rung(struct cam_desk *d) {
    pthread_mutex_lock(&d->mutex);
    int rung = d->is_rung;
    d->is_rung = 0;
    pthread_mutex_unlock(&d->mutex);
    return rung;
}

/* A call that is running stays in the list, and others only leave or join around it. */
int cam_desk_attend(struct cam_desk *d, struct cam_trainer *trainer, enum cam_advance did) {
    int n_done = 0;
    pthread_mutex_lock(&d->mutex);
    for (struct call *call = d->first; call; call = call->next) {
        int done = 0;
        if (call->state != WAITING)
            continue;
        call->state = RUNNING;
        pthread_mutex_unlock(&d->mutex);
        enum cam_status status = call->fn(call->context, trainer, did, &done);
        pthread_mutex_lock(&d->mutex);
        call->state = WAITING;
        if (!done && status == CAM_OK)
            continue;
        call->status = status;
        if (status != CAM_OK)
            snprintf(call->message, sizeof call->message, "%s", cam_message());
        call->state = ANSWERED;
        n_done++;
        pthread_cond_broadcast(&d->answered);
    }
    pthread_mutex_unlock(&d->mutex);
    return n_done;
}

static void close_locked(struct cam_desk *d) {
    d->is_closed = 1;
    for (struct call *call = d->first; call; call = call->next) {
        if (call->state == ANSWERED)
            continue;
        call->status = CAM_ERR_BUSY;
        snprintf(call->message, sizeof call->message, "the service ended before it could answer");
        call->state = ANSWERED;
    }
    pthread_cond_broadcast(&d->answered);
}

void cam_desk_close(struct cam_desk *d) {
    pthread_mutex_lock(&d->mutex);
    close_locked(d);
    pthread_mutex_unlock(&d->mutex);
}

int cam_desk_close_if_empty(struct cam_desk *d) {
    pthread_mutex_lock(&d->mutex);
    int empty = d->n_inside == 0 && !d->first;
    if (empty)
        close_locked(d);
    pthread_mutex_unlock(&d->mutex);
    return empty;
}
