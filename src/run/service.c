#include "run/service.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "growth/policy.h"
#include "store/query.h"
#include "store/schedule.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_MS          500 /* longest wait before signals and schedules are looked at again */
#define PUBLISH_SECONDS  1.0 /* least time between two lines about the same state */
#define FIRST_RETRY_MS   1000
#define LAST_RETRY_MS    60000
#define ROOM_BYTES       ((size_t)64 << 20) /* most that is tried before training goes on */
#define ONCE_TRIES       6                  /* 1 + 2 + ... + 32 s */
#define MAX_POLICY_BYTES 65536

static atomic_int stop_asked, reload_asked;

static void on_stop(int signal_number) {
    (void)signal_number;
    atomic_store(&stop_asked, 1);
}

static void on_hangup(int signal_number) {
    (void)signal_number;
    atomic_store(&reload_asked, 1);
}

void cam_service_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    action.sa_flags = (int)(SA_RESTART | SA_RESETHAND);
    sigaction(SIGINT, &action, NULL);
    action = (struct sigaction){.sa_handler = on_hangup, .sa_flags = SA_RESTART};
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

const atomic_int *cam_service_stop_flag(void) {
    return &stop_asked;
}

/* ---- the policy file ---- */

struct in_force {
    const char *wanted; /* name */
    int found;
};

static enum cam_status look_in_force(void *context, const struct cam_policy *policy) {
    struct in_force *look = context;
    if (policy->in_force && strcmp(policy->name, look->wanted) == 0)
        look->found = 1;
    return CAM_OK;
}

/* Whether the policy FILE names is in force with the very text of the file. */
static enum cam_status is_in_force(struct cam_database *database, const char *name_or_file,
                                   int *same) {
    char name[128], *stored = NULL, *text = NULL;
    const char *slash = strrchr(name_or_file, '/');
    size_t n_text = 0;
    int is_file = slash || strstr(name_or_file, ".sql");
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : name_or_file);
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".sql") == 0)
        name[n - 4] = '\0';
    struct in_force look = {.wanted = name};
    CAM_TRY(cam_policies_each(database, look_in_force, &look));
    *same = look.found;
    if (!look.found || !is_file)
        return CAM_OK;
    enum cam_status status = cam_policy_text(database, name, &stored);
    if (status == CAM_OK)
        status = cam_fs_read_file(cam_fs_system(), name_or_file, MAX_POLICY_BYTES, &text, &n_text);
    if (status == CAM_OK)
        *same = strcmp(stored, text) == 0;
    free(stored);
    free(text);
    return status;
}

static enum cam_status take_policy(struct cam_database *database, const char *name_or_file) {
    int same = 0;
    CAM_TRY(is_in_force(database, name_or_file, &same));
    return same ? CAM_OK : cam_policy_use(database, name_or_file, NULL);
}

/* A bad file changes nothing, and the service goes on with the policy it has. */
static void reload(struct cam_database *database, const char *policy) {
    if (!policy) {
        cam_log(CAM_LOG_INFO, "SIGHUP: no policy file was given with run --policy; nothing to "
                              "reload");
        return;
    }
    if (take_policy(database, policy) == CAM_OK)
        cam_log(CAM_LOG_INFO, "SIGHUP: policy %s taken again", policy);
    else
        cam_log(CAM_LOG_ERROR, "SIGHUP: the old policy stays: %s", cam_message());
}

/* ---- the loop ---- */

struct service {
    struct cam_workspace *workspace;
    struct cam_database *database;
    struct cam_trainer *trainer;
    const struct cam_service_options *options;
    struct cam_service_report *report;
    struct cam_desk *desk; /* NULL while a single command is settled */
    int64_t next_schedule_ms;
    int dirty;     /* something happened since the last checkpoint of ours */
    int n_full;    /* tries on a full disk without progress */
    int64_t stuck; /* step that was durable when the disk was found full last */
    char since[CAM_RFC3339_BYTES];
    const char *state; /* as published last */
    double published_at;
};

static void watch(const struct service *s, enum cam_service_event event, const char *text) {
    if (s->options->watch)
        s->options->watch(s->options->context, event, text);
}

/* Says what the service does, to whoever asks for the status and to its supervisor. */
static void publish(struct service *s, const char *state, const char *reason) {
    double now = cam_clock_seconds();
    struct cam_progress p;
    char line[200];
    if (!s->desk || (s->state == state && now - s->published_at < PUBLISH_SECONDS))
        return;
    s->state = state;
    s->published_at = now;
    cam_trainer_progress(s->trainer, &p);
    json_t *json = json_pack("{s:I,s:s,s:s,s:I,s:f,s:s?}", "pid", (json_int_t)getpid(), "since",
                             s->since, "state", state, "step", (json_int_t)p.step, "tokens_per_s",
                             p.tokens_per_s, "reason", reason);
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(4));
    if (text && strlen(text) < CAM_PUBLISHED_BYTES)
        cam_workspace_publish(s->workspace, text);
    free(text);
    json_decref(json);
    snprintf(line, sizeof line, "%s; step %lld, %lld documents, %.0f tokens/s%s%.60s", state,
             (long long)p.step, (long long)p.documents, p.tokens_per_s, reason ? "; " : "",
             reason ? reason : "");
    watch(s, CAM_SERVICE_STATUS, line);
}

static void show_progress(const struct service *s) {
    struct cam_progress progress;
    if (!s->options->progress)
        return;
    cam_trainer_progress(s->trainer, &progress);
    s->options->progress(s->options->context, &progress);
}

static enum cam_status fire_schedules(struct service *s) {
    int64_t now = cam_clock_unix_ms();
    if (now < s->next_schedule_ms && s->next_schedule_ms <= now + 60000)
        return CAM_OK;
    CAM_TRY(cam_schedules_fire(s->database, now, NULL, &s->next_schedule_ms));
    if (s->next_schedule_ms > now + 60000) /* the clock may be set while we wait: a minute */
        s->next_schedule_ms = now + 60000;
    return CAM_OK;
}

static void take_hangup(struct service *s) {
    if (!atomic_exchange(&reload_asked, 0))
        return;
    watch(s, CAM_SERVICE_RELOADING, NULL);
    reload(s->database, s->options->policy);
    watch(s, CAM_SERVICE_RELOADED, NULL);
}

/* What others want, between two pieces of work; DID is the one before. */
static enum cam_status look_around(struct service *s, enum cam_advance did) {
    if (!s->desk)
        return CAM_OK;
    watch(s, CAM_SERVICE_BEAT, NULL);
    take_hangup(s);
    if (cam_desk_rung(s->desk))
        s->next_schedule_ms = 0;
    if (!s->options->once)
        CAM_TRY(fire_schedules(s));
    (void)cam_desk_attend(s->desk, s->trainer, did);
    return CAM_OK;
}

/* Advances until the journal has nothing more to give or a signal came. */
static enum cam_status work_until_idle(struct service *s) {
    enum cam_advance did = CAM_ADVANCE_IDLE;
    while (!atomic_load(&stop_asked)) {
        CAM_TRY(look_around(s, did));
        CAM_TRY(cam_trainer_advance(s->trainer, &did));
        if (did == CAM_ADVANCE_IDLE)
            break;
        s->dirty = 1;
        if (did == CAM_ADVANCE_STEP) {
            s->report->steps++;
            show_progress(s);
            publish(s, "training", NULL);
        }
    }
    return CAM_OK;
}

static enum cam_status checkpoint(struct service *s) {
    if (!s->dirty)
        return CAM_OK;
    CAM_TRY(cam_trainer_checkpoint(s->trainer));
    s->dirty = 0;
    return CAM_OK;
}

/* ---- a full disk ---- */

static void wait_for_space(struct service *s, int64_t ms) {
    double until = cam_clock_seconds() + (double)ms / 1000;
    for (double left; !atomic_load(&stop_asked) && (left = until - cam_clock_seconds()) > 0;) {
        watch(s, CAM_SERVICE_BEAT, NULL);
        (void)cam_desk_rung(s->desk); /* what it is about waits, too */
        if (cam_desk_attend(s->desk, s->trainer, CAM_ADVANCE_PAUSED))
            break; /* somebody pruned, say: try at once */
        cam_desk_wait(s->desk, left * 1000 < IDLE_MS ? (long)(left * 1000) + 1 : IDLE_MS);
    }
    s->next_schedule_ms = 0;
}

/* Whether a checkpoint, or a large part of one, could be written now. */
static enum cam_status try_room(const struct service *s) {
    struct cam_trainer_size size;
    char path[CAM_PATH_BYTES];
    cam_trainer_size(s->trainer, &size);
    CAM_TRY(cam_fs_join(path, cam_workspace_dir(s->workspace), "objects/room.cpk.tmp"));
    return cam_fs_try_room(cam_fs_system(), path,
                           size.bytes < ROOM_BYTES ? (size_t)size.bytes : ROOM_BYTES);
}

/* The trainer goes back to what is on disk; the event tells whether the database has space, too. */
static enum cam_status try_again(struct service *s, const char *why) {
    struct cam_progress progress;
    char message[700];
    snprintf(message, sizeof message, "training paused, and goes on: %s", why);
    CAM_TRY(try_room(s));
    CAM_TRY(cam_trainer_recover(s->trainer));
    CAM_TRY(cam_history_event(s->database, "warning", "disk_full", message, NULL));
    cam_trainer_progress(s->trainer, &progress);
    if (progress.step > s->stuck)
        s->n_full = 0;
    s->stuck = progress.step;
    return CAM_OK;
}

/* After CAM_ERR_FULL.  CAM_OK: the trainer is sound again, or a signal asked to stop. */
static enum cam_status pause_until_space(struct service *s) {
    char why[600];
    enum cam_status status = CAM_ERR_FULL;
    int64_t first = s->options->first_retry_ms > 0 ? s->options->first_retry_ms : FIRST_RETRY_MS;
    snprintf(why, sizeof why, "%.590s", cam_message());
    cam_log(CAM_LOG_ERROR,
            "training pauses: %s; it goes on from the last checkpoint when there is "
            "space",
            why);
    s->dirty = 0; /* what is in memory is ahead of what could be written down */
    publish(s, "paused", why);
    watch(s, CAM_SERVICE_PAUSED, why);
    while (status == CAM_ERR_FULL) {
        int64_t wait = first << (s->n_full < 16 ? s->n_full : 16);
        if (s->options->once && s->n_full == ONCE_TRIES)
            return cam_fail(
                CAM_ERR_FULL,
                "%s; everything up to the last checkpoint is saved: make room, then run "
                "again",
                why);
        s->n_full++;
        wait_for_space(s, wait < LAST_RETRY_MS ? wait : LAST_RETRY_MS);
        if (atomic_load(&stop_asked))
            return CAM_OK;
        status = try_again(s, why);
    }
    CAM_TRY(status);
    cam_log(CAM_LOG_INFO, "there is space again: training goes on");
    watch(s, CAM_SERVICE_RESUMED, NULL);
    return CAM_OK;
}

/* Works until there is nothing left to do and all of it is saved, or a signal came. */
static enum cam_status work(struct service *s) {
    for (;;) {
        enum cam_status status = work_until_idle(s);
        if (status == CAM_OK)
            status = checkpoint(s);
        if (status != CAM_ERR_FULL)
            return status;
        CAM_TRY(pause_until_space(s));
        if (atomic_load(&stop_asked))
            return CAM_OK;
    }
}

/* ---- runs ---- */

static enum cam_status add_feeds(const struct service *s) {
    for (const char *const *url = s->options->feeds; url && *url; url++) {
        int64_t known;
        CAM_TRY(cam_fetcher_check_url(*url));
        CAM_TRY(cam_feeds_find(s->database, *url, &known));
        if (!known)
            CAM_TRY(cam_feeds_add(s->database, *url, NULL, NULL, s->options->interval_s, NULL));
    }
    return CAM_OK;
}

static enum cam_status drain(void *context) {
    cam_log(CAM_LOG_INFO, "the inbox is full (inbox.max_documents, inbox.max_bytes): what waits is "
                          "trained before the next feed is read");
    return work(context);
}

static enum cam_status run_once(struct service *s, struct cam_fetcher_options *fetching) {
    fetching->drain = drain;
    fetching->context = s;
    enum cam_status status = cam_fetcher_round(s->database, fetching, &s->report->round);
    if (status == CAM_STOPPED)
        return CAM_OK;
    CAM_TRY(status);
    CAM_TRY(fire_schedules(s));
    if (s->options->flush)
        CAM_TRY(cam_journal_control(s->database, CAM_ITEM_FLUSH, NULL, NULL, "run --flush", NULL));
    CAM_TRY(work(s));
    while (!atomic_load(&stop_asked) && !cam_desk_close_if_empty(s->desk)) {
        cam_desk_wait(s->desk, IDLE_MS);
        CAM_TRY(work(s));
    }
    return CAM_OK;
}

static enum cam_status serve(struct service *s) {
    if (s->options->flush)
        CAM_TRY(cam_journal_control(s->database, CAM_ITEM_FLUSH, NULL, NULL, "run --flush", NULL));
    while (!atomic_load(&stop_asked)) {
        CAM_TRY(work(s));
        publish(s, "idle", NULL);
        if (!atomic_load(&stop_asked))
            cam_desk_wait(s->desk, IDLE_MS);
    }
    return CAM_OK;
}

static void ring(void *desk) {
    cam_desk_ring(desk);
}

static enum cam_status run_for_ever(struct service *s, struct cam_fetcher_options *fetching) {
    struct cam_fetcher *fetcher = NULL;
    fetching->polled = ring;
    fetching->context = s->desk;
    CAM_TRY(cam_fetcher_start(s->database, fetching, &fetcher));
    enum cam_status status = serve(s);
    cam_fetcher_stop(fetcher);
    return status;
}

static enum cam_status report_rest(struct service *s) {
    struct cam_progress progress;
    struct cam_counts counts;
    cam_trainer_progress(s->trainer, &progress);
    CAM_TRY(cam_history_counts(s->database, &counts));
    s->report->pending_tokens = progress.pending_tokens;
    s->report->pending_documents = counts.pending;
    s->report->stopped = atomic_load(&stop_asked);
    return CAM_OK;
}

/* A disk that is full when a signal came is no failure: what is not saved is done again. */
static enum cam_status last_checkpoint(struct service *s) {
    enum cam_status status = checkpoint(s);
    if (status != CAM_ERR_FULL || !atomic_load(&stop_asked))
        return status;
    cam_log(CAM_LOG_ERROR,
            "the steps since the last checkpoint are not saved and will be done "
            "again: %s",
            cam_message());
    return CAM_OK;
}

static enum cam_status run_all(struct service *s) {
    struct cam_fetcher_options fetching = {.allow = s->options->allow, .stop = &stop_asked};
    publish(s, "training", NULL);
    CAM_TRY(add_feeds(s));
    if (s->options->policy)
        CAM_TRY(take_policy(s->database, s->options->policy));
    CAM_TRY(s->options->once ? run_once(s, &fetching) : run_for_ever(s, &fetching));
    publish(s, "stopping", NULL);
    watch(s, CAM_SERVICE_STOPPING, NULL);
    CAM_TRY(last_checkpoint(s));
    return report_rest(s);
}

enum cam_status cam_service_run(struct cam_workspace *workspace, struct cam_trainer *trainer,
                                const struct cam_service_options *options,
                                struct cam_service_report *report) {
    struct cam_desk *own = NULL;
    *report = (struct cam_service_report){0};
    struct service s = {.workspace = workspace,
                        .database = cam_workspace_database(workspace),
                        .trainer = trainer,
                        .options = options,
                        .report = report,
                        .desk = options->desk,
                        .dirty = 1};
    if (!s.desk)
        CAM_TRY(cam_desk_new(&own));
    if (own)
        s.desk = own;
    cam_clock_rfc3339(cam_clock_unix_ms(), s.since);
    enum cam_status status = run_all(&s);
    cam_desk_close(s.desk);
    cam_desk_free(own);
    return status;
}

/* ---- one command ---- */

enum cam_status cam_service_outcome(struct cam_database *database, int64_t position, char *outcome,
                                    size_t outcome_bytes) {
    char row[32];
    const char *const parameters[] = {row, NULL};
    snprintf(row, sizeof row, "%lld", (long long)position);
    return cam_query_text(database,
                          "SELECT outcome FROM v1_journal WHERE position = CAST(?1 AS INTEGER)",
                          parameters, outcome, outcome_bytes);
}

enum cam_status cam_service_settle(struct cam_workspace *workspace, struct cam_trainer *trainer,
                                   int64_t position, const struct cam_service_options *options,
                                   char *outcome, size_t outcome_bytes) {
    struct cam_service_report report = {0};
    struct service s = {.workspace = workspace,
                        .database = cam_workspace_database(workspace),
                        .trainer = trainer,
                        .options = options,
                        .report = &report};
    char found[1024];
    CAM_TRY(work_until_idle(&s));
    CAM_TRY(checkpoint(&s));
    CAM_TRY(cam_service_outcome(s.database, position, found, sizeof found));
    if (atomic_load(&stop_asked) && !*found)
        return cam_fail(CAM_ERR_BUSY, CAM_SERVICE_LEFT_WAITING, (long long)position);
    if (outcome)
        snprintf(outcome, outcome_bytes, "%s", found);
    return CAM_OK;
}
