#include "support/rawd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_BYTES 8192

struct cam_rawd {
    const char *bytes;
    size_t n_bytes;
    enum cam_rawd_end end;
    int listener, port;
    int stop[2]; /* a pipe: readable once the server is to stop */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    size_t n_requests;
    char request[REQUEST_BYTES];
};

/* Waits for FD (EVENTS; 0: only for it to close) or TIMEOUT_MS; 0 when the server is to stop. */
static int wait_for(struct cam_rawd *s, int fd, short events, int timeout_ms, int *is_ready) {
    struct pollfd fds[2] = {{.fd = s->stop[0], .events = POLLIN}, {.fd = fd, .events = events}};
    poll(fds, 2, timeout_ms);
    *is_ready = fds[1].revents != 0;
    return fds[0].revents == 0;
}

/* 1 once a whole request head was read. */
static int read_request(struct cam_rawd *s, int fd) {
    char request[REQUEST_BYTES];
    size_t used = 0;
    int is_ready;
    while (used + 1 < sizeof request && wait_for(s, fd, POLLIN, -1, &is_ready)) {
        ssize_t n = read(fd, request + used, sizeof request - 1 - used);
        if (n <= 0)
            return 0;
        used += (size_t)n;
        request[used] = '\0';
        if (!strstr(request, "\r\n\r\n"))
            continue;
        pthread_mutex_lock(&s->mutex);
        s->n_requests++;
        memcpy(s->request, request, used + 1);
        pthread_mutex_unlock(&s->mutex);
        return 1;
    }
    return 0;
}

/* 0 when the client went or the server is to stop. */
static int send_all(struct cam_rawd *s, int fd, const char *bytes, size_t n_bytes) {
    int is_ready;
    while (n_bytes > 0) {
        if (!wait_for(s, fd, POLLOUT, -1, &is_ready))
            return 0;
        ssize_t n = send(fd, bytes, n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            return 0;
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return 1;
}

static void serve(struct cam_rawd *s, int fd) {
    char ignored[256];
    int is_ready = 0;
    if (!read_request(s, fd) || !send_all(s, fd, s->bytes, s->n_bytes))
        return;
    if (s->end == CAM_RAWD_CLOSE) {
        shutdown(fd, SHUT_WR); /* let the client read all of it before the connection dies */
        while (wait_for(s, fd, POLLIN, -1, &is_ready) && read(fd, ignored, sizeof ignored) > 0)
            ;
        return;
    }
    while (wait_for(s, fd, POLLIN, s->end == CAM_RAWD_DRIP ? 10 : -1, &is_ready)) {
        if (is_ready && read(fd, ignored, sizeof ignored) <= 0)
            return;
        if (s->end == CAM_RAWD_DRIP && !send_all(s, fd, s->bytes + s->n_bytes - 1, 1))
            return;
    }
}

static void *server_main(void *context) {
    struct cam_rawd *s = context;
    int is_ready;
    while (wait_for(s, s->listener, POLLIN, -1, &is_ready)) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            continue;
        serve(s, fd);
        close(fd);
    }
    return NULL;
}

struct cam_rawd *cam_rawd_start(const char *bytes, size_t n_bytes, enum cam_rawd_end end) {
    struct cam_rawd *s = calloc(1, sizeof *s);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t n = sizeof address;
    if (!s)
        abort();
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *s =
        (struct cam_rawd){.bytes = bytes, .n_bytes = n_bytes ? n_bytes : strlen(bytes), .end = end};
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&address, n) != 0 ||
        listen(s->listener, 16) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&address, &n) != 0 || pipe(s->stop) != 0)
        abort();
    s->port = ntohs(address.sin_port);
    pthread_mutex_init(&s->mutex, NULL);
    if (pthread_create(&s->thread, NULL, server_main, s) != 0)
        abort();
    return s;
}

void cam_rawd_stop(struct cam_rawd *s) {
    if (!s)
        return;
    if (write(s->stop[1], "", 1) != 1)
        abort();
    pthread_join(s->thread, NULL);
    close(s->stop[0]);
    close(s->stop[1]);
    close(s->listener);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

char *cam_rawd_url(const struct cam_rawd *s, char *out, size_t out_bytes) {
    snprintf(out, out_bytes, "http://127.0.0.1:%d/feed", s->port);
    return out;
}

int cam_rawd_port(const struct cam_rawd *s) {
    return s->port;
}

size_t cam_rawd_n_requests(struct cam_rawd *s) {
    pthread_mutex_lock(&s->mutex);
    size_t n = s->n_requests;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

char *cam_rawd_request(struct cam_rawd *s, char *out, size_t out_bytes) {
    pthread_mutex_lock(&s->mutex);
    snprintf(out, out_bytes, "%s", s->request);
    pthread_mutex_unlock(&s->mutex);
    return out;
}
