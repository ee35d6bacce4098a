#include "serve/control.h"

#include "serve/server.h"
#include "serve/socket_name.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASK_SECONDS 60.0

static enum cam_status check_peer(int fd, const char *dir) {
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return cam_fail_errno(CAM_ERR_OS, errno, "%s/%s", dir, CAM_SOCKET_NAME);
    if (peer.uid == 0 || peer.uid == geteuid() || geteuid() == 0)
        return CAM_OK;
    return cam_fail(CAM_ERR_PERMISSION,
                    "%s/%s: user %ld listens there; only its commands or root's "
                    "are taken",
                    dir, CAM_SOCKET_NAME, (long)peer.uid);
}

enum cam_status cam_control_connect(const char *dir, struct cam_wire *wire) {
    struct sockaddr_un address;
    int dir_fd, code = 0;
    CAM_TRY(cam_socket_name(dir, CAM_SOCKET_NAME, &dir_fd, &address));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        code = errno;
    close(dir_fd);
    enum cam_status status = CAM_OK;
    if (code != 0)
        status = cam_fail_errno(code == EACCES || code == EPERM ? CAM_ERR_PERMISSION
                                                                : CAM_ERR_UNAVAILABLE,
                                code, "%s/%s: cannot connect", dir, CAM_SOCKET_NAME);
    else
        status = check_peer(fd, dir);
    if (status == CAM_OK)
        cam_wire_init(wire, fd, -1, cam_server_message_bytes());
    else if (fd >= 0)
        close(fd);
    return status;
}

enum cam_status cam_control_ask(struct cam_wire *wire, const char *command, json_t *arguments) {
    enum cam_status status = cam_wire_send(
        wire, ASK_SECONDS, json_pack("{s:s,s:o}", "command", command, "arguments", arguments));
    return status == CAM_STOPPED ? CAM_OK : status; /* its answer says why it does not listen */
}

static void tell(const json_t *json, void (*progress)(void *, const struct cam_progress *),
                 void *context) {
    if (!progress)
        return;
    progress(context,
             &(struct cam_progress){
                 .step = json_integer_value(json_object_get(json, "step")),
                 .documents = json_integer_value(json_object_get(json, "documents")),
                 .tokens = json_integer_value(json_object_get(json, "tokens")),
                 .experts = json_integer_value(json_object_get(json, "experts")),
                 .bits_per_byte = json_number_value(json_object_get(json, "bits_per_byte")),
                 .tokens_per_s = json_number_value(json_object_get(json, "tokens_per_s"))});
}

/* What a last message says; CAM_ERR_PROTOCOL if it is none. */
static enum cam_status take_answer(const json_t *message, json_t **result) {
    json_t *ok = json_object_get(message, "ok");
    const json_t *error = json_object_get(message, "error");
    const char *name = json_string_value(json_object_get(error, "status"));
    const char *text = json_string_value(json_object_get(error, "message"));
    if (json_is_object(ok)) {
        *result = json_incref(ok);
        return CAM_OK;
    }
    if (!name || !text)
        return cam_fail(CAM_ERR_PROTOCOL, "the service's answer makes no sense");
    enum cam_status status = cam_status_of_name(name);
    return cam_fail(status == CAM_OK || status == CAM_STOPPED ? CAM_ERR_PROTOCOL : status, "%s",
                    text);
}

enum cam_status cam_control_answer(struct cam_wire *wire,
                                   void (*progress)(void *context,
                                                    const struct cam_progress *progress),
                                   void *context, json_t **result) {
    for (;;) {
        json_t *message = NULL;
        enum cam_status status = cam_wire_receive(wire, -1, &message);
        if (status == CAM_STOPPED)
            return cam_fail(
                CAM_ERR_UNAVAILABLE,
                "the service ended without an answer; what was journalled is acted on by "
                "the next cambium run");
        CAM_TRY(status);
        const json_t *news = json_object_get(message, "progress");
        if (news)
            tell(news, progress, context);
        else
            status = take_answer(message, result);
        json_decref(message);
        if (!news)
            return status;
    }
}
