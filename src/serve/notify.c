#include "serve/notify.h"

#include "base/clock.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

void cam_notify(const char *state) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = getenv("NOTIFY_SOCKET");
    size_t n = name ? strlen(name) : 0;
    if (n < 2 || n >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@'))
        return;
    memcpy(address.sun_path, name, n);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    const struct timeval second = {.tv_sec = 1}; /* a manager that does not read must not stop us */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, length) <
        0) {
        /* the manager may be restarting; what it misses it hears with the next word */
    }
    close(fd);
}

/* Seconds between two beats: half of what the manager waits for; 0 if it does not. */
static double beat_seconds(void) {
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && atol(pid) != (long)getpid()))
        return 0;
    return atof(usec) / 2e6;
}

void cam_notify_beat(void) {
    static double last, every = -1;
    double now = cam_clock_seconds();
    if (every < 0)
        every = beat_seconds();
    if (every <= 0 || (last > 0 && now - last < every))
        return;
    last = now;
    cam_notify("WATCHDOG=1");
}
