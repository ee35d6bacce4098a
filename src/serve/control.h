/* control.h - the client's end of the control socket (protocol: server.h). */
#ifndef CAM_SERVE_CONTROL_H
#define CAM_SERVE_CONTROL_H

#include "base/status.h"
#include "run/trainer.h"
#include "serve/wire.h"

#include <jansson.h>

/* Connects to the service of workspace DIR.  CAM_ERR_UNAVAILABLE: nobody listens there.
 * CAM_ERR_PERMISSION: not allowed to, or who listens is neither root nor this user. */
CAM_MUST_USE enum cam_status cam_control_connect(const char *dir, struct cam_wire *wire);

/* Sends the request; takes the reference of ARGUMENTS. */
CAM_MUST_USE enum cam_status cam_control_ask(struct cam_wire *wire, const char *command,
                                             json_t *arguments);

/* Waits for the answer, however long it takes; PROGRESS (may be NULL) is told how far the trainer
 * is.  An error of the service becomes ours: same status, same message.  *RESULT is the caller's
 * reference.  CAM_ERR_UNAVAILABLE: the service ended without an answer. */
CAM_MUST_USE enum cam_status
cam_control_answer(struct cam_wire *wire,
                   void (*progress)(void *context, const struct cam_progress *progress),
                   void *context, json_t **result);

#endif
