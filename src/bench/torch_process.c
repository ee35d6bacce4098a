#include "bench/torch_process.h"

#include "base/embed.h"
#include "math/blas.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DATA_FD    3 /* in the child */
#define SCRIPT_FD  4
#define LINE_BYTES 512

extern char **environ;

struct cam_torch {
    pid_t pid;
    FILE *to, *from; /* its standard input and output */
    char about[256];
};

/* Where Debian puts the OpenMP build: its threads stop spinning when PyTorch's own pool runs. */
static const char *openmp_folder(void) {
    static const char *const folders[] = {"/usr/lib/x86_64-linux-gnu/openblas-openmp",
                                          "/usr/lib/aarch64-linux-gnu/openblas-openmp"};
    char path[128];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/libblas.so.3", folders[i]);
        if (access(path, R_OK) == 0)
            return folders[i];
    }
    return NULL;
}

static const char *aten_capability(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "avx2";
#endif
    return "default";
}

/* ---- the environment ---- */

struct environment {
    char **entries; /* NULL at the end; owned, as are those we made */
    size_t n, n_made;
};

static void environment_release(struct environment *e) {
    for (size_t i = 0; e->entries && i < e->n_made; i++)
        free(e->entries[i]);
    free(e->entries);
}

/* NAME=VALUE, then AFTER behind a colon if there is any. */
static enum cam_status environment_set(struct environment *e, const char *name, const char *value,
                                       const char *after) {
    char *text;
    int more = after && *after;
    if (asprintf(&text, "%s=%s%s%s", name, value, more ? ":" : "", more ? after : "") < 0)
        return cam_fail(CAM_ERR_OS, "out of memory for an environment");
    e->entries[e->n++] = text;
    e->n_made++;
    return CAM_OK;
}

/* Our own entries first; then what we inherited, but for the names we set. */
static enum cam_status environment_make(int n_threads, struct environment *e) {
    const char *core = getenv("OPENBLAS_CORETYPE"), *folder = openmp_folder();
    char threads[16];
    size_t n_inherited = 0, n_own;
    while (environ[n_inherited])
        n_inherited++;
    *e = (struct environment){.entries = calloc(n_inherited + 8, sizeof *e->entries)};
    if (!e->entries)
        return cam_fail(CAM_ERR_OS, "out of memory for an environment");
    snprintf(threads, sizeof threads, "%d", n_threads);
    CAM_TRY(environment_set(e, "OMP_NUM_THREADS", threads, NULL));
    CAM_TRY(environment_set(e, "OPENBLAS_NUM_THREADS", threads, NULL)); /* ours says 1 */
    CAM_TRY(environment_set(e, "ATEN_CPU_CAPABILITY", aten_capability(), NULL));
    if (core)
        CAM_TRY(environment_set(e, "OPENBLAS_CORETYPE", core, NULL));
    if (folder)
        CAM_TRY(environment_set(e, "LD_LIBRARY_PATH", folder, getenv("LD_LIBRARY_PATH")));
    n_own = e->n;
    for (size_t i = 0; i < n_inherited; i++) {
        size_t length = strcspn(environ[i], "="), k = 0;
        while (k < n_own &&
               (strncmp(e->entries[k], environ[i], length) != 0 || e->entries[k][length] != '='))
            k++;
        if (k == n_own)
            e->entries[e->n++] = environ[i];
    }
    return CAM_OK;
}

/* ---- the process ---- */

/* A file in memory that holds N_BYTES; -1 and errno if it cannot be made. */
static int memory_file(const char *name, const void *bytes, size_t n_bytes) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    for (size_t done = 0; fd >= 0 && done < n_bytes;) {
        ssize_t wrote = write(fd, (const char *)bytes + done, n_bytes - done);
        if (wrote < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return fd;
}

struct descriptors {
    int in[2], out[2]; /* pipes: to the child, from the child */
    int data, script;
};

static void descriptors_close(struct descriptors *d) {
    int *all[] = {&d->in[0], &d->in[1], &d->out[0], &d->out[1], &d->data, &d->script};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (*all[i] >= 0)
            close(*all[i]);
}

/* Descriptors from 10 on, so that none lies where the child wants another. */
static enum cam_status descriptors_open(const float *data, size_t n_numbers,
                                        struct descriptors *d) {
    const struct cam_embedded *script = cam_embedded_find(cam_embedded_bench, "torch_step.py");
    *d = (struct descriptors){{-1, -1}, {-1, -1}, -1, -1};
    if (!script)
        return cam_fail(CAM_ERR_INTERNAL, "torch_step.py is not in this binary");
    d->data = memory_file("bench-data", data, n_numbers * sizeof *data);
    d->script = memory_file("torch_step.py", script->data, script->size);
    if (d->data < 0 || d->script < 0 || pipe(d->in) != 0 || pipe(d->out) != 0)
        return cam_fail_errno(CAM_ERR_OS, errno, "cannot make pipes to PyTorch");
    int *all[] = {&d->in[0], &d->in[1], &d->out[0], &d->out[1], &d->data, &d->script};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int moved = fcntl(*all[i], F_DUPFD_CLOEXEC, 10);
        if (moved < 0)
            return cam_fail_errno(CAM_ERR_OS, errno, "cannot make pipes to PyTorch");
        close(*all[i]);
        *all[i] = moved;
    }
    return CAM_OK;
}

static enum cam_status spawn(const char *python, const char *config, int n_threads,
                             struct descriptors *d, pid_t *pid) {
    struct environment environment;
    posix_spawn_file_actions_t actions;
    char *arguments[] = {(char *)(uintptr_t)python, (char *)(uintptr_t) "/dev/fd/4",
                         (char *)(uintptr_t)config, NULL};
    enum cam_status status = environment_make(n_threads, &environment);
    if (status == CAM_OK) {
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, d->in[0], STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, d->out[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, d->data, DATA_FD);
        posix_spawn_file_actions_adddup2(&actions, d->script, SCRIPT_FD);
        int failed = posix_spawnp(pid, python, &actions, NULL, arguments, environment.entries);
        posix_spawn_file_actions_destroy(&actions);
        if (failed)
            status = cam_fail_errno(CAM_ERR_UNAVAILABLE, failed, "cannot start %s (--python PATH)",
                                    python);
    }
    environment_release(&environment);
    return status;
}

/* One line of the child, without its end. */
static enum cam_status read_line(struct cam_torch *torch, char line[LINE_BYTES]) {
    if (!fgets(line, LINE_BYTES, torch->from))
        return cam_fail(CAM_ERR_UNAVAILABLE, "PyTorch ended in the middle of the comparison; what "
                                             "it said is above");
    line[strcspn(line, "\n")] = '\0';
    return CAM_OK;
}

static enum cam_status greet(const char *python, struct cam_torch *torch) {
    char line[LINE_BYTES];
    CAM_TRY(read_line(torch, line));
    if (strncmp(line, "missing", 7) == 0)
        return cam_fail(CAM_ERR_UNAVAILABLE,
                        "%s has no torch; install python3-torch, or name another with --python",
                        python);
    if (strncmp(line, "ready ", 6) != 0)
        return cam_fail(CAM_ERR_UNAVAILABLE, "PyTorch said \"%.64s\" instead of being ready", line);
    snprintf(torch->about, sizeof torch->about, "%.127s, %s, OpenBLAS %s", line + 6,
             aten_capability(), openmp_folder() ? "openmp" : "as installed");
    return CAM_OK;
}

enum cam_status cam_torch_start(const char *python, int n_threads, const char *config,
                                const float *data, size_t n_numbers, struct cam_torch **torch) {
    struct descriptors d;
    CAM_TRY(cam_blas_open()); /* finds OPENBLAS_CORETYPE */
    struct cam_torch *t = calloc(1, sizeof *t);
    if (!t)
        return cam_fail(CAM_ERR_OS, "out of memory for PyTorch");
    enum cam_status status = descriptors_open(data, n_numbers, &d);
    if (status == CAM_OK)
        status = spawn(python, config, n_threads, &d, &t->pid);
    if (status == CAM_OK) {
        t->to = fdopen(d.in[1], "w");
        t->from = fdopen(d.out[0], "r");
        d.in[1] = t->to ? -1 : d.in[1];
        d.out[0] = t->from ? -1 : d.out[0];
        if (!t->to || !t->from)
            status = cam_fail_errno(CAM_ERR_OS, errno, "cannot talk to PyTorch");
    }
    descriptors_close(&d);
    if (status == CAM_OK)
        status = greet(python, t);
    if (status != CAM_OK) {
        cam_torch_stop(t);
        return status;
    }
    *torch = t;
    return CAM_OK;
}

void cam_torch_stop(struct cam_torch *torch) {
    if (!torch)
        return;
    if (torch->to)
        fclose(torch->to); /* the end of its input ends it */
    if (torch->from)
        fclose(torch->from);
    if (torch->pid > 0) {
        kill(torch->pid, SIGKILL); /* not worth the time in which it frees its memory */
        while (waitpid(torch->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    free(torch);
}

const char *cam_torch_about(const struct cam_torch *torch) {
    return torch->about;
}

static enum cam_status ask(struct cam_torch *torch, const char *what, double *answer) {
    char line[LINE_BYTES], *end;
    if (fprintf(torch->to, "%s\n", what) < 0 || fflush(torch->to) != 0)
        return cam_fail(CAM_ERR_UNAVAILABLE, "PyTorch ended before the comparison did");
    CAM_TRY(read_line(torch, line));
    double value = strtod(line, &end);
    if (end == line || *end)
        return cam_fail(CAM_ERR_UNAVAILABLE, "PyTorch answered \"%.64s\" to %s", line, what);
    *answer = value;
    return CAM_OK;
}

enum cam_status cam_torch_step(struct cam_torch *torch, double *seconds) {
    return ask(torch, "step", seconds);
}

enum cam_status cam_torch_number(struct cam_torch *torch, const char *name, double *number) {
    return ask(torch, name, number);
}
