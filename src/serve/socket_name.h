/* socket_name.h - the control socket's address, whatever the length of the workspace's path.
 *
 * sun_path has 108 bytes and a path may have 4,095, so the address goes through a descriptor of the
 * folder: /proc/self/fd/N/control.sock. */
#ifndef CAM_SERVE_SOCKET_NAME_H
#define CAM_SERVE_SOCKET_NAME_H

#include "base/status.h"

#include <sys/un.h>

/* Opens folder DIR as *FD (caller closes, after bind or connect) and fills ADDRESS. */
CAM_MUST_USE enum cam_status cam_socket_name(const char *dir, const char *name, int *fd,
                                             struct sockaddr_un *address);

#endif
