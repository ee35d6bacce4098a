/* Which runs there are to do, and in which process.
 *
 * Each run is a process of its own: two runs of one thread each use two cores better than one run
 * of two threads, and a run that dies takes nobody along.  The parent has no threads of its own
 * before it forks. */
#include "base/log.h"
#include "bench/lifelong_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum state { WAITING, RUNNING, DONE };

struct task {
    struct cam_lifelong_run run;
    const struct task *needs; /* whose final size it begins with; NULL: nothing */
    enum state state;
    pid_t process;
};

struct work {
    const struct cam_lifelong_plan *plan;
    struct task *tasks;
    size_t n_tasks, n_asked; /* tasks past n_asked are there because others need them */
    char stream_key[CAM_HASH_HEX_BYTES];
};

static void say(const struct work *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(const struct work *w, const char *format, ...) {
    char line[1500];
    va_list arguments;
    if (!w->plan->say)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    w->plan->say(w->plan->context, line);
}

/* ---- what results depend on ---- */

static void hash_stream(struct cam_hasher *hasher, const struct cam_lifelong_stream *stream) {
    for (size_t i = 0; i < stream->n_documents; i++) {
        const struct cam_lifelong_document *d = &stream->documents[i];
        const char *domain = stream->domains[d->i_domain];
        cam_hasher_add(hasher, domain, strlen(domain) + 1);
        cam_hasher_add(hasher, d->text, d->text_bytes + 1);
    }
}

static enum cam_status key_stream(struct work *w) {
    struct cam_hasher *hasher = cam_hasher_new();
    if (!hasher)
        return cam_fail(CAM_ERR_OS, "out of memory for a hash");
    hash_stream(hasher, w->plan->stream);
    hash_stream(hasher, w->plan->heldout);
    cam_hash_hex(cam_hasher_value(hasher), w->stream_key);
    cam_hasher_free(hasher);
    return CAM_OK;
}

static enum cam_status key_run(const struct work *w, struct cam_lifelong_run *run) {
    struct cam_settings settings;
    char text[CAM_SETTING_TEXT_BYTES];
    CAM_TRY(cam_lifelong_settings(run, &settings));
    struct cam_hasher *hasher = cam_hasher_new();
    if (!hasher)
        return cam_fail(CAM_ERR_OS, "out of memory for a hash");
    enum cam_status status = CAM_OK;
    cam_hasher_add(hasher, w->stream_key, sizeof w->stream_key);
    cam_hasher_add(hasher, run->arm->shuffled ? "shuffled" : "in order", 8);
    for (size_t i = 0; i < cam_setting_count() && status == CAM_OK; i++) {
        const char *key = cam_setting_at(i)->key;
        if (strcmp(key, "threads") == 0) /* never changes bits */
            continue;
        status = cam_settings_get(&settings, key, text);
        cam_hasher_add(hasher, text, strlen(text) + 1);
    }
    cam_hash_hex(cam_hasher_value(hasher), run->key);
    cam_hasher_free(hasher);
    return status;
}

/* ---- the list of tasks ---- */

static const struct task *find_task(const struct work *w, const char *arm, int64_t seed) {
    for (size_t i = 0; i < w->n_tasks; i++)
        if (strcmp(w->tasks[i].run.arm->name, arm) == 0 && w->tasks[i].run.seed == seed)
            return &w->tasks[i];
    return NULL;
}

static enum cam_status add_task(struct work *w, const struct cam_lifelong_arm *arm, int64_t seed) {
    if (find_task(w, arm->name, seed))
        return CAM_OK;
    struct task *task = &w->tasks[w->n_tasks++];
    char file[128];
    *task = (struct task){.run = {.plan = w->plan, .arm = arm, .seed = seed}};
    snprintf(task->run.name, sizeof task->run.name, "%s-s%lld", arm->name, (long long)seed);
    snprintf(file, sizeof file, "%s.json", task->run.name);
    CAM_TRY(cam_fs_join(task->run.dir, w->plan->dir, task->run.name));
    return cam_fs_join(task->run.file, w->plan->dir, file);
}

static enum cam_status list_tasks(struct work *w) {
    const struct cam_lifelong_plan *plan = w->plan;
    const struct cam_lifelong_arm *lifelong;
    size_t n_arms = 0;
    while (plan->arms[n_arms])
        n_arms++;
    w->tasks = calloc((n_arms + 1) * plan->n_seeds, sizeof *w->tasks);
    if (!w->tasks)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu runs", n_arms * plan->n_seeds);
    for (size_t a = 0; a < n_arms; a++)
        for (size_t s = 0; s < plan->n_seeds; s++)
            CAM_TRY(add_task(w, plan->arms[a], plan->settings->seed + (int64_t)s));
    w->n_asked = w->n_tasks;
    CAM_TRY(cam_lifelong_arm_find("lifelong", &lifelong));
    for (size_t i = 0; i < w->n_asked; i++)
        if (w->tasks[i].run.arm->final_size)
            CAM_TRY(add_task(w, lifelong, w->tasks[i].run.seed));
    for (size_t i = 0; i < w->n_tasks; i++)
        if (w->tasks[i].run.arm->final_size)
            w->tasks[i].needs = find_task(w, "lifelong", w->tasks[i].run.seed);
    return CAM_OK;
}

/* ---- processes ---- */

/* The child: talk goes to a log beside the workspace.  Never returns. */
static void run_child(struct task *task) {
    char path[CAM_PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s.log", task->run.dir);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log >= 0)
        dup2(log, STDERR_FILENO);
    cam_log_set_sink(NULL, NULL);
    enum cam_status status = cam_lifelong_run_one(&task->run);
    if (status == CAM_OK)
        status = cam_lifelong_save(&task->run);
    if (status != CAM_OK)
        cam_log(CAM_LOG_ERROR, "%s", cam_message());
    fflush(NULL);
    _exit(cam_status_exit_code(status));
}

static enum cam_status start(struct work *w, struct task *task) {
    say(w, "%s: %s", task->run.name, task->run.arm->what);
    fflush(NULL);
    task->process = fork();
    if (task->process < 0)
        return cam_fail_errno(CAM_ERR_OS, errno, "%s: cannot start a process", task->run.name);
    if (task->process == 0)
        run_child(task);
    task->state = RUNNING;
    return CAM_OK;
}

static void say_result(const struct work *w, const struct task *task) {
    const struct cam_lifelong_result *x = &task->run.result;
    say(w, "%s: final %.4f, learned %.4f, forgetting %.4f bits per byte; %.0f s", task->run.name,
        x->final_bpb, x->learned_bpb, x->forgetting, x->seconds);
}

static enum cam_status wait_one(struct work *w) {
    int how;
    pid_t process;
    while ((process = wait(&how)) < 0 && errno == EINTR)
        ;
    if (process < 0)
        return cam_fail_errno(CAM_ERR_OS, errno, "cannot wait for a run");
    for (size_t i = 0; i < w->n_tasks; i++) {
        struct task *task = &w->tasks[i];
        if (task->state != RUNNING || task->process != process)
            continue;
        if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
            return cam_fail(CAM_ERR_INTERNAL, "run %s ended with %s %d; see %s.log", task->run.name,
                            WIFEXITED(how) ? "exit code" : "signal",
                            WIFEXITED(how) ? WEXITSTATUS(how) : WTERMSIG(how), task->run.dir);
        CAM_TRY(cam_lifelong_load(&task->run));
        task->state = DONE;
        say_result(w, task);
        return CAM_OK;
    }
    return CAM_OK; /* somebody else's child */
}

/* Takes up the next task that can begin: loads its result if there is one.  *STARTED tells whether
 * a process was started, *LEFT whether anything is still waiting. */
static enum cam_status next_task(struct work *w, int *started, int *left) {
    *started = *left = 0;
    for (size_t i = 0; i < w->n_tasks && !*started; i++) {
        struct task *task = &w->tasks[i];
        if (task->state != WAITING)
            continue;
        if (task->needs && task->needs->state != DONE) {
            *left = 1;
            continue;
        }
        if (task->needs)
            task->run.subkeys = task->needs->run.result.subkeys;
        CAM_TRY(key_run(w, &task->run));
        enum cam_status status = cam_lifelong_load(&task->run);
        if (status == CAM_OK) {
            task->state = DONE;
            say_result(w, task);
        } else if (status == CAM_ERR_NOINPUT) {
            CAM_TRY(start(w, task));
            *started = 1;
        } else {
            return status;
        }
    }
    return CAM_OK;
}

static enum cam_status work(struct work *w, size_t *running) {
    for (int left = 1; left || *running;) {
        int started = 1;
        while (started && *running < w->plan->n_jobs) {
            CAM_TRY(next_task(w, &started, &left));
            *running += started != 0;
        }
        if (*running) {
            CAM_TRY(wait_one(w));
            --*running;
            left = 1;
        }
    }
    return CAM_OK;
}

/* After a failure: the other runs are stopped; they go on from their checkpoints next time. */
static void stop_all(const struct work *w) {
    for (size_t i = 0; i < w->n_tasks; i++)
        if (w->tasks[i].state == RUNNING)
            kill(w->tasks[i].process, SIGTERM);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
}

static enum cam_status gather(const struct work *w, struct cam_lifelong_result **results,
                              size_t *n_results) {
    *results = calloc(w->n_asked, sizeof **results);
    if (!*results)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu results", w->n_asked);
    for (size_t i = 0; i < w->n_asked; i++)
        (*results)[i] = w->tasks[i].run.result;
    *n_results = w->n_asked;
    return CAM_OK;
}

enum cam_status cam_lifelong_run(const struct cam_lifelong_plan *plan,
                                 struct cam_lifelong_result **results, size_t *n_results) {
    struct work w = {.plan = plan};
    size_t running = 0;
    CAM_TRY(cam_fs_make_dir(plan->dir));
    enum cam_status status = key_stream(&w);
    if (status == CAM_OK)
        status = list_tasks(&w);
    if (status == CAM_OK)
        status = work(&w, &running);
    if (status == CAM_OK)
        status = gather(&w, results, n_results);
    else if (w.tasks)
        stop_all(&w);
    free(w.tasks);
    return status;
}
