#include "bench/isolated.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct head {
    enum cam_status status;
    char message[1024];
};

static int write_all(int fd, const void *bytes, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t wrote = write(fd, (const char *)bytes + done, n - done);
        if (wrote < 0 && errno != EINTR)
            return -1;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

/* Fewer than N at the end of the stream is a failure too. */
static int read_all(int fd, void *bytes, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, (char *)bytes + done, n - done);
        if (got == 0 || (got < 0 && errno != EINTR))
            return -1;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static _Noreturn void child(cam_isolated_fn *fn, const void *input, size_t n_bytes, int fd) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no orphan goes on measuring */
    struct head head = {0};
    void *result = calloc(1, n_bytes);
    head.status = result ? fn(input, result) : cam_fail(CAM_ERR_OS, "out of memory");
    if (head.status != CAM_OK)
        snprintf(head.message, sizeof head.message, "%s", cam_message());
    int failed = write_all(fd, &head, sizeof head);
    if (!failed && head.status == CAM_OK)
        failed = write_all(fd, result, n_bytes);
    free(result);
    _exit(failed ? 1 : 0);
}

enum cam_status cam_isolated(cam_isolated_fn *fn, const void *input, void *result, size_t n_bytes) {
    int ends[2], how = 0;
    struct head head;
    if (pipe(ends) != 0)
        return cam_fail_errno(CAM_ERR_OS, errno, "cannot make a pipe");
    fflush(NULL); /* or the child would print what waits in our buffers once more */
    pid_t pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return cam_fail_errno(CAM_ERR_OS, errno, "cannot make a process to measure in");
    }
    if (pid == 0) {
        close(ends[0]);
        child(fn, input, n_bytes, ends[1]);
    }
    close(ends[1]);
    int broken = read_all(ends[0], &head, sizeof head);
    if (!broken && head.status == CAM_OK)
        broken = read_all(ends[0], result, n_bytes);
    close(ends[0]);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        ;
    if (broken && WIFSIGNALED(how))
        return cam_fail(CAM_ERR_OS,
                        "the process that measured was ended by signal %d%s; try fewer experts or "
                        "tokens",
                        WTERMSIG(how), WTERMSIG(how) == SIGKILL ? " (out of memory?)" : "");
    if (broken)
        return cam_fail(CAM_ERR_OS, "the process that measured ended without a result");
    return head.status == CAM_OK ? CAM_OK : cam_fail(head.status, "%s", head.message);
}

double cam_peak_memory_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss * 1024 : 0;
}
