#include "serve/socket_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum cam_status cam_socket_name(const char *dir, const char *name, int *fd,
                                struct sockaddr_un *address) {
    struct sockaddr_un made = {.sun_family = AF_UNIX};
    int opened = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0)
        return cam_fail_errno(CAM_ERR_NOINPUT, errno, "%s: cannot open", dir);
    int n = snprintf(made.sun_path, sizeof made.sun_path, "/proc/self/fd/%d/%s", opened, name);
    if (n < 0 || n >= (int)sizeof made.sun_path) {
        close(opened);
        return cam_fail(CAM_ERR_INTERNAL, "a socket's name is too long: %.80s", name);
    }
    *fd = opened;
    *address = made;
    return CAM_OK;
}
