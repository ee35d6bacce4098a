#include "serve/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "feed/feed.h"
#include "run/service.h"
#include "serve/change.h"
#include "serve/intake.h"
#include "serve/socket_name.h"
#include "serve/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRESS_SECONDS 0.5
#define STACK_BYTES      ((size_t)2 << 20)

struct client {
    struct cam_server *server;
    struct cam_wire wire;
    pthread_t thread;
    enum { FREE, SERVED, FINISHED } state; /* under the server's mutex */
    struct cam_progress progress; /* of the trainer, as of its last step; under the mutex */
    char domain[64];
    int64_t shown_step; /* -1: nothing was said yet */
    double shown_at;
};

struct cam_server {
    struct cam_workspace *workspace;
    struct cam_desk *desk;
    int listener, stop_fd; /* the latter becomes readable when all is to end */
    pthread_t thread;
    pthread_mutex_t mutex;
    struct client clients[CAM_SERVER_CLIENTS];
};

size_t cam_server_message_bytes(void) {
    struct cam_feed_limits limits;
    cam_feed_limits_init(&limits);
    return 2 * limits.max_document_bytes + ((size_t)1 << 20);
}

/* ---- waiting at the desk ---- */

struct settling {
    struct client *client;
    int64_t position;
    cam_change_look_fn *look;
    void *look_context;
    char *outcome;
    size_t outcome_bytes;
    int looked;
};

static void note_progress(struct client *client, const struct cam_trainer *trainer) {
    pthread_mutex_lock(&client->server->mutex);
    cam_trainer_progress(trainer, &client->progress);
    snprintf(client->domain, sizeof client->domain, "%s",
             client->progress.domain ? client->progress.domain : "");
    client->progress.domain = NULL;
    pthread_mutex_unlock(&client->server->mutex);
}

/* On the service's thread: a step cannot have acted on a control row, so only the rest is asked. */
static enum cam_status settle_at_desk(void *context, struct cam_trainer *trainer,
                                      enum cam_advance did, int *done) {
    struct settling *s = context;
    struct cam_database *database = cam_workspace_database(s->client->server->workspace);
    if (did == CAM_ADVANCE_STEP)
        note_progress(s->client, trainer);
    if (did == CAM_ADVANCE_STEP && s->looked)
        return CAM_OK;
    s->looked = 1;
    CAM_TRY(cam_service_outcome(database, s->position, s->outcome, s->outcome_bytes));
    *done = *s->outcome != '\0';
    if (*done && s->look) /* a snapshot's row comes when it is written */
        CAM_TRY(cam_trainer_settle(trainer));
    return *done && s->look ? s->look(s->look_context, database) : CAM_OK;
}

/* On the client's thread, while it waits: tells it how far the trainer is. */
static int is_patient(void *context) {
    struct client *client = context;
    double now = cam_clock_seconds();
    pthread_mutex_lock(&client->server->mutex);
    struct cam_progress p = client->progress;
    pthread_mutex_unlock(&client->server->mutex);
    if (cam_wire_hung_up(&client->wire))
        return 0;
    if (p.step == client->shown_step || now - client->shown_at < PROGRESS_SECONDS)
        return 1;
    client->shown_step = p.step;
    client->shown_at = now;
    json_t *json = json_pack("{s:{s:I,s:I,s:I,s:I,s:f,s:f}}", "progress", "step",
                             (json_int_t)p.step, "documents", (json_int_t)p.documents, "tokens",
                             (json_int_t)p.tokens, "experts", (json_int_t)p.experts,
                             "bits_per_byte", p.bits_per_byte, "tokens_per_s", p.tokens_per_s);
    return !json || cam_wire_send(&client->wire, CAM_SERVER_DOCUMENT_S, json) == CAM_OK;
}

static enum cam_status settle(void *context, int64_t position, cam_change_look_fn *look,
                              void *look_context, char *outcome, size_t outcome_bytes) {
    struct client *client = context;
    struct settling s = {.client = client,
                         .position = position,
                         .look = look,
                         .look_context = look_context,
                         .outcome = outcome,
                         .outcome_bytes = outcome_bytes};
    *outcome = '\0';
    enum cam_status status =
        cam_desk_call(client->server->desk, settle_at_desk, &s, is_patient, client);
    if (status == CAM_ERR_BUSY && !*outcome)
        return cam_fail(CAM_ERR_BUSY, CAM_SERVICE_LEFT_WAITING, (long long)position);
    return status;
}

struct between {
    cam_change_work_fn *work;
    void *context;
    int even_paused;
};

static enum cam_status work_at_desk(void *context, struct cam_trainer *trainer,
                                    enum cam_advance did, int *done) {
    const struct between *b = context;
    if (did == CAM_ADVANCE_PAUSED && !b->even_paused)
        return CAM_OK;
    *done = 1;
    return b->work(b->context, trainer);
}

static enum cam_status between(void *context, cam_change_work_fn *work, void *work_context,
                               int even_paused) {
    struct client *client = context;
    struct between b = {work, work_context, even_paused};
    return cam_desk_call(client->server->desk, work_at_desk, &b, is_patient, client);
}

/* ---- one client ---- */

static enum cam_status make_change(struct client *client, const char *command,
                                   const json_t *arguments, json_t **result) {
    struct cam_server *server = client->server;
    struct cam_change_site site = {.is_service = 1,
                                   .workspace = server->workspace,
                                   .settle = settle,
                                   .between = between,
                                   .context = client};
    CAM_TRY(cam_desk_enter(server->desk));
    enum cam_status status = cam_change_run(&site, command, arguments, result);
    cam_desk_leave(server->desk);
    return status;
}

static enum cam_status take_request(struct client *client, json_t **result) {
    json_t *request = NULL;
    CAM_TRY(cam_wire_receive(&client->wire, CAM_SERVER_REQUEST_S, &request));
    const char *command = json_string_value(json_object_get(request, "command"));
    const json_t *arguments = json_object_get(request, "arguments");
    enum cam_status status;
    client->wire.in.limit = cam_server_message_bytes();
    if (!command || !json_is_object(arguments))
        status = cam_fail(CAM_ERR_PROTOCOL, "a request has a \"command\" and \"arguments\"");
    else if (strcmp(command, "ingest") == 0)
        status = cam_intake_serve(&client->wire, cam_workspace_database(client->server->workspace),
                                  arguments, result);
    else
        status = make_change(client, command, arguments, result);
    if (status == CAM_OK)
        cam_log(CAM_LOG_INFO, "control socket: %s", command);
    json_decref(request);
    cam_desk_ring(client->server->desk);
    return status;
}

static void answer(struct client *client, enum cam_status status, json_t *result) {
    json_t *reply = status == CAM_OK ? json_pack("{s:o}", "ok", result)
                                     : json_pack("{s:{s:s,s:s}}", "error", "status",
                                                 cam_status_name(status), "message", cam_message());
    if (cam_wire_send(&client->wire, CAM_SERVER_REQUEST_S, reply) != CAM_OK)
        cam_log(CAM_LOG_DEBUG, "control socket: nobody waited for the answer");
}

static void *serve_client(void *context) {
    struct client *client = context;
    json_t *result = NULL;
    enum cam_status status = take_request(client, &result);
    if (status != CAM_STOPPED)
        answer(client, status, result);
    pthread_mutex_lock(&client->server->mutex);
    cam_wire_release(&client->wire);
    client->state = FINISHED;
    pthread_mutex_unlock(&client->server->mutex);
    return NULL;
}

/* ---- the door ---- */

/* Joins threads that are finished; returns a free place, NULL if there is none. */
static struct client *find_place(struct cam_server *server) {
    struct client *place = NULL;
    for (size_t i = 0; i < CAM_SERVER_CLIENTS; i++) {
        struct client *client = &server->clients[i];
        pthread_mutex_lock(&server->mutex);
        int finished = client->state == FINISHED;
        pthread_mutex_unlock(&server->mutex);
        if (finished) {
            pthread_join(client->thread, NULL);
            client->state = FREE;
        }
        if (client->state == FREE && !place)
            place = client;
    }
    return place;
}

static int may_enter(int fd) {
    struct ucred peer;
    socklen_t n = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void turn_away(int fd, enum cam_status status, const char *why) {
    struct cam_wire wire;
    cam_wire_init(&wire, fd, -1, 1);
    json_t *reply =
        json_pack("{s:{s:s,s:s}}", "error", "status", cam_status_name(status), "message", why);
    if (cam_wire_send(&wire, 0, reply) != CAM_OK)
        cam_log(CAM_LOG_DEBUG, "control socket: %s", why);
    cam_wire_release(&wire);
}

static int start_client(struct client *client) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int code = pthread_create(&client->thread, &attributes, serve_client, client);
    pthread_attr_destroy(&attributes);
    return code;
}

static void let_in(struct cam_server *server, int fd) {
    struct client *client = find_place(server);
    if (!may_enter(fd)) {
        turn_away(fd, CAM_ERR_PERMISSION, "only the service's user and root may change anything");
        return;
    }
    if (!client) {
        turn_away(fd, CAM_ERR_BUSY, "too many commands wait for the service; try again later");
        return;
    }
    *client = (struct client){.server = server, .state = SERVED, .shown_step = -1};
    cam_wire_init(&client->wire, fd, server->stop_fd, CAM_SERVER_REQUEST_BYTES);
    if (start_client(client) != 0) {
        cam_wire_release(&client->wire);
        client->state = FREE;
        cam_log(CAM_LOG_ERROR, "control socket: no thread for a client");
    }
}

static void *server_main(void *context) {
    struct cam_server *server = context;
    struct pollfd fds[2] = {{.fd = server->listener, .events = POLLIN},
                            {.fd = server->stop_fd, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            return NULL;
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            let_in(server, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            poll(fds + 1, 1, 100); /* nothing to accept with: do not spin */
    }
}

/* ---- life ---- */

/* With the workspace's lock held: whoever made a socket of that name is dead. */
static enum cam_status make_room(int dir_fd, const char *dir) {
    struct stat info;
    if (fstatat(dir_fd, CAM_SOCKET_NAME, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return CAM_OK;
    if (!S_ISSOCK(info.st_mode))
        return cam_fail(CAM_ERR_CANTCREATE, "%s/%s: is no socket; move it away", dir,
                        CAM_SOCKET_NAME);
    if (unlinkat(dir_fd, CAM_SOCKET_NAME, 0) != 0 && errno != ENOENT)
        return cam_fail_errno(CAM_ERR_CANTCREATE, errno, "%s/%s: cannot replace", dir,
                              CAM_SOCKET_NAME);
    return CAM_OK;
}

/* Nobody can connect before listen, so the mode is right for everybody. */
static enum cam_status open_socket(struct cam_server *server) {
    const char *dir = cam_workspace_dir(server->workspace), *doing = NULL;
    struct sockaddr_un address;
    int dir_fd;
    CAM_TRY(cam_socket_name(dir, CAM_SOCKET_NAME, &dir_fd, &address));
    enum cam_status status = make_room(dir_fd, dir);
    if (status != CAM_OK) {
        close(dir_fd);
        return status;
    }
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->listener < 0)
        doing = "make";
    else if (bind(server->listener, (const struct sockaddr *)&address, sizeof address) != 0)
        doing = "bind";
    else if (fchmodat(dir_fd, CAM_SOCKET_NAME, 0600, 0) != 0)
        doing = "protect";
    else if (listen(server->listener, CAM_SERVER_CLIENTS) != 0)
        doing = "listen at";
    int code = errno;
    close(dir_fd);
    return doing ? cam_fail_errno(CAM_ERR_CANTCREATE, code, "%s/%s: cannot %s the control socket",
                                  dir, CAM_SOCKET_NAME, doing)
                 : CAM_OK;
}

static void release(struct cam_server *server) {
    if (server->listener >= 0)
        close(server->listener);
    if (server->stop_fd >= 0)
        close(server->stop_fd);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

enum cam_status cam_server_start(struct cam_workspace *workspace, struct cam_desk *desk,
                                 struct cam_server **server) {
    struct cam_server *s = calloc(1, sizeof *s);
    if (!s)
        return cam_fail(CAM_ERR_OS, "no memory for the control socket");
    s->workspace = workspace;
    s->desk = desk;
    s->listener = -1;
    pthread_mutex_init(&s->mutex, NULL);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    enum cam_status status = s->stop_fd < 0
                                 ? cam_fail_errno(CAM_ERR_OS, errno, "cannot make an eventfd")
                                 : open_socket(s);
    int code = status == CAM_OK ? pthread_create(&s->thread, NULL, server_main, s) : 0;
    if (code != 0)
        status = cam_fail_errno(CAM_ERR_OS, code, "cannot start the control socket's thread");
    if (status != CAM_OK) {
        release(s);
        return status;
    }
    *server = s;
    return CAM_OK;
}

void cam_server_stop(struct cam_server *server) {
    struct sockaddr_un address;
    const uint64_t one = 1;
    int dir_fd;
    if (!server)
        return;
    if (write(server->stop_fd, &one, sizeof one) != sizeof one)
        cam_log(CAM_LOG_ERROR, "control socket: cannot wake its thread");
    pthread_join(server->thread, NULL);
    for (size_t i = 0; i < CAM_SERVER_CLIENTS; i++) {
        pthread_mutex_lock(&server->mutex);
        int started = server->clients[i].state != FREE;
        pthread_mutex_unlock(&server->mutex);
        if (started)
            pthread_join(server->clients[i].thread, NULL);
    }
    if (cam_socket_name(cam_workspace_dir(server->workspace), CAM_SOCKET_NAME, &dir_fd, &address) ==
        CAM_OK) {
        unlinkat(dir_fd, CAM_SOCKET_NAME, 0);
        close(dir_fd);
    }
    release(server);
}
