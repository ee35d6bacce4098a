/* desk.h - where other threads leave word for the service's thread, and wait for an answer.
 *
 *     any thread                                  the service's thread
 *     cam_desk_ring    the journal grew       ->  cam_desk_wait, cam_desk_rung
 *     cam_desk_call    do this between steps  ->  cam_desk_attend, once between two pieces of work
 *     cam_desk_enter / leave                      cam_desk_close_if_empty
 *
 * What is called runs on the service's thread, so it may use the trainer; everybody else never
 * touches it.  After cam_desk_close every call, waiting or new, ends with CAM_ERR_BUSY. */
#ifndef CAM_RUN_DESK_H
#define CAM_RUN_DESK_H

#include "base/status.h"
#include "run/trainer.h"

struct cam_desk;

CAM_MUST_USE enum cam_status cam_desk_new(struct cam_desk **desk);
void cam_desk_free(struct cam_desk *desk); /* nobody may be inside; accepts NULL */

/* ---- any thread ---- */

/* The journal, the feeds or the schedules may have changed: look again soon. */
void cam_desk_ring(struct cam_desk *desk);

/* FN is called between two pieces of work, and again after each one, until it sets *DONE or fails;
 * DID is what was done just before (IDLE at rest; PAUSED: TRAINER is not sound now, and only its
 * store may be used).  It should be quick where there is nothing new.
 */
typedef enum cam_status cam_desk_fn(void *context, struct cam_trainer *trainer,
                                    enum cam_advance did, int *done);
/* Asked a few times a second, on the caller's thread, whether to wait on. */
typedef int cam_desk_patience_fn(void *context);

/* Has FN called until it is done; returns its status, with its message.  CAM_STOPPED: PATIENCE (may
 * be NULL) ran out, and FN is not called any more. */
CAM_MUST_USE enum cam_status cam_desk_call(struct cam_desk *desk, cam_desk_fn *fn, void *context,
                                           cam_desk_patience_fn *patience, void *patience_context);

/* Between the two the desk is not closed by cam_desk_close_if_empty.  CAM_ERR_BUSY: closed. */
CAM_MUST_USE enum cam_status cam_desk_enter(struct cam_desk *desk);
void cam_desk_leave(struct cam_desk *desk);

/* ---- the service's thread ---- */

/* Waits until somebody rings or calls, MS milliseconds at most. */
void cam_desk_wait(struct cam_desk *desk, long ms);
/* Whether somebody rang since this was last asked. */
int cam_desk_rung(struct cam_desk *desk);
/* Calls what was left here; returns how much of it is done now. */
int cam_desk_attend(struct cam_desk *desk, struct cam_trainer *trainer, enum cam_advance did);
void cam_desk_close(struct cam_desk *desk);
/* 1: nobody was inside, and the desk is closed now. */
int cam_desk_close_if_empty(struct cam_desk *desk);

#endif
