#include "serve/wire.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 16)

void cam_wire_init(struct cam_wire *w, int fd, int stop_fd, size_t max_message_bytes) {
    *w = (struct cam_wire){.fd = fd, .stop_fd = stop_fd};
    cam_buffer_init(&w->in, max_message_bytes);
}

void cam_wire_release(struct cam_wire *w) {
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    cam_buffer_release(&w->in);
}

/* Waits until the socket is ready for EVENTS, UNTIL at the latest (infinite: no deadline). */
static enum cam_status wait_for(const struct cam_wire *w, short events, double until) {
    struct pollfd fds[2] = {{.fd = w->fd, .events = events}, {.fd = w->stop_fd, .events = POLLIN}};
    for (;;) {
        double left = until - cam_clock_seconds();
        int ms = isinf(until) ? -1
                 : left <= 0  ? 0
                 : left > 1e6 ? 1000000000
                              : (int)(left * 1000) + 1;
        int n = poll(fds, w->stop_fd >= 0 ? 2 : 1, ms);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cam_fail_errno(CAM_ERR_OS, errno, "cannot wait for a socket");
        if (fds[0].revents)
            return CAM_OK; /* errors show in the call that follows */
        if (n > 0)
            return CAM_STOPPED;
        if (left <= 0)
            return cam_fail(CAM_ERR_BUSY, "the other side of the control socket is too slow");
    }
}

/* Makes room at the end of IN by dropping what was read. */
static void compact(struct cam_wire *w) {
    if (w->read == 0)
        return;
    memmove(w->in.data, w->in.data + w->read, w->in.size - w->read);
    w->in.size -= w->read;
    w->searched -= w->read;
    w->read = 0;
}

static enum cam_status fill(struct cam_wire *w, double until) {
    CAM_TRY(wait_for(w, POLLIN, until));
    compact(w);
    size_t room = w->in.limit - w->in.size, n = room < PIECE_BYTES ? room : PIECE_BYTES;
    if (n == 0)
        return cam_fail(CAM_ERR_PROTOCOL,
                        "a message on the control socket exceeds the limit of %zu bytes",
                        w->in.limit);
    CAM_TRY(cam_buffer_reserve(&w->in, n));
    ssize_t got = recv(w->fd, w->in.data + w->in.size, n, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return CAM_OK;
    if (got <= 0) { /* closed or broken */
        w->at_end = 1;
        return CAM_STOPPED;
    }
    w->in.size += (size_t)got;
    return CAM_OK;
}

static enum cam_status parse(const char *line, size_t n_bytes, json_t **message) {
    json_error_t error;
    json_t *json = json_loadb(line, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return cam_fail(CAM_ERR_PROTOCOL, "a message on the control socket is not JSON: %s",
                        error.text);
    if (!json_is_object(json)) {
        json_decref(json);
        return cam_fail(CAM_ERR_PROTOCOL, "a message on the control socket is not an object");
    }
    *message = json;
    return CAM_OK;
}

enum cam_status cam_wire_receive(struct cam_wire *w, double seconds, json_t **message) {
    double until = seconds < 0 ? INFINITY : cam_clock_seconds() + seconds;
    for (;;) {
        char *from = w->in.data ? w->in.data + w->searched : NULL;
        char *end = from ? memchr(from, '\n', w->in.size - w->searched) : NULL;
        if (end) {
            const char *line = w->in.data + w->read;
            w->read = w->searched = (size_t)(end + 1 - w->in.data);
            return parse(line, (size_t)(end - line), message);
        }
        w->searched = w->in.size;
        CAM_TRY(fill(w, until));
    }
}

static enum cam_status send_all(const struct cam_wire *w, const char *bytes, size_t n_bytes,
                                double until) {
    while (n_bytes > 0) {
        CAM_TRY(wait_for(w, POLLOUT, until));
        ssize_t n = send(w->fd, bytes, n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return CAM_STOPPED;
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return CAM_OK;
}

enum cam_status cam_wire_send(struct cam_wire *w, double seconds, json_t *message) {
    double until = seconds < 0 ? INFINITY : cam_clock_seconds() + seconds;
    char *text = message ? json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(message);
    if (!text)
        return cam_fail(CAM_ERR_OS, "no memory for a message on the control socket");
    size_t n = strlen(text);
    text[n] = '\n'; /* in place of the NUL: the length is known */
    enum cam_status status = send_all(w, text, n + 1, until);
    free(text);
    return status;
}

int cam_wire_hung_up(const struct cam_wire *w) {
    struct pollfd fd = {.fd = w->fd};
    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR)) != 0;
}
