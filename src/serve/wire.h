/* wire.h - messages on the control socket: one JSON object a line, both ways.
 *
 * A message has a largest size, so nobody can make the other side hold more, and every receive and
 * send has a deadline, so a slow or silent peer costs one waiting thread for a while and no more.
 * Duplicate keys, bad UTF-8 and NULs are refused (jansson). */
#ifndef CAM_SERVE_WIRE_H
#define CAM_SERVE_WIRE_H

#include "base/buffer.h"
#include "base/status.h"

#include <jansson.h>
#include <stddef.h>

struct cam_wire {
    int fd;               /* a connected stream socket; owned */
    int stop_fd;          /* -1, or readable when waiting is to end; borrowed */
    struct cam_buffer in; /* received and not yet read; its limit is the longest message */
    size_t read;          /* bytes of IN that are read already */
    size_t searched;      /* bytes of IN without a line end in them */
    int at_end;           /* the peer sends no more */
};

void cam_wire_init(struct cam_wire *wire, int fd, int stop_fd, size_t max_message_bytes);
void cam_wire_release(struct cam_wire *wire); /* closes */

/* The next message (caller's reference), within SECONDS (< 0: however long it takes).  CAM_STOPPED:
 * the peer closed, or stop_fd became readable; CAM_ERR_BUSY: too slow; CAM_ERR_PROTOCOL: too long,
 * or not a JSON object. */
CAM_MUST_USE enum cam_status cam_wire_receive(struct cam_wire *wire, double seconds,
                                              json_t **message);

/* Sends MESSAGE, whose reference is taken; NULL (no memory) is an error.  CAM_STOPPED: the peer is
 * gone; CAM_ERR_BUSY: it does not read. */
CAM_MUST_USE enum cam_status cam_wire_send(struct cam_wire *wire, double seconds, json_t *message);

/* Whether the peer has hung up (both ways: one that only ended its side still listens). */
int cam_wire_hung_up(const struct cam_wire *wire);

#endif
