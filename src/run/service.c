#include "run/service.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "growth/policy.h"
#include "store/query.h"
#include "store/schedule.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDLE_MS          500 /* longest wait before signals and schedules are looked at again */
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

/* ---- waiting ---- */

struct alarm_clock {
    pthread_mutex_t mutex;
    pthread_cond_t rung;
    int is_rung;
};

static void alarm_init(struct alarm_clock *alarm) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&alarm->mutex, NULL);
    pthread_cond_init(&alarm->rung, &attributes);
    pthread_condattr_destroy(&attributes);
    alarm->is_rung = 0;
}

static void alarm_release(struct alarm_clock *alarm) {
    pthread_cond_destroy(&alarm->rung);
    pthread_mutex_destroy(&alarm->mutex);
}

/* Called by the fetcher: the journal may have grown. */
static void alarm_ring(void *context) {
    struct alarm_clock *alarm = context;
    pthread_mutex_lock(&alarm->mutex);
    alarm->is_rung = 1;
    pthread_cond_signal(&alarm->rung);
    pthread_mutex_unlock(&alarm->mutex);
}

static void alarm_wait(struct alarm_clock *alarm, long ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&alarm->mutex);
    int code = 0;
    while (!alarm->is_rung && code == 0)
        code = pthread_cond_timedwait(&alarm->rung, &alarm->mutex, &until);
    alarm->is_rung = 0;
    pthread_mutex_unlock(&alarm->mutex);
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

/* A bad file changes nothing, and the service goes on with the policy it has (FAULTS C22). */
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
    struct cam_database *database;
    struct cam_trainer *trainer;
    const struct cam_service_options *options;
    struct cam_service_report *report;
    int64_t next_schedule_ms;
    int dirty; /* something happened since the last checkpoint of ours */
};

static void show_progress(const struct service *s) {
    struct cam_progress progress;
    if (!s->options || !s->options->progress)
        return;
    cam_trainer_progress(s->trainer, &progress);
    s->options->progress(s->options->context, &progress);
}

/* Advances until the journal has nothing more to give or a signal came. */
static enum cam_status work_until_idle(struct service *s) {
    enum cam_advance did = CAM_ADVANCE_STEP;
    while (did != CAM_ADVANCE_IDLE && !atomic_load(&stop_asked)) {
        CAM_TRY(cam_trainer_advance(s->trainer, &did));
        if (did == CAM_ADVANCE_IDLE)
            break;
        s->dirty = 1;
        if (did == CAM_ADVANCE_STEP) {
            s->report->steps++;
            show_progress(s);
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

static enum cam_status fire_schedules(struct service *s) {
    int64_t now = cam_clock_unix_ms();
    if (now < s->next_schedule_ms)
        return CAM_OK;
    CAM_TRY(cam_schedules_fire(s->database, now, NULL, &s->next_schedule_ms));
    /* The clock may be set while we wait, and `schedule add` needs the lock we hold: a minute. */
    if (s->next_schedule_ms > now + 60000)
        s->next_schedule_ms = now + 60000;
    return CAM_OK;
}

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

static enum cam_status run_once(struct service *s, const struct cam_fetcher_options *fetching) {
    enum cam_status status = cam_fetcher_round(s->database, fetching, &s->report->round);
    if (status == CAM_STOPPED)
        return CAM_OK;
    CAM_TRY(status);
    CAM_TRY(fire_schedules(s));
    if (s->options->flush)
        CAM_TRY(cam_journal_control(s->database, CAM_ITEM_FLUSH, NULL, NULL, "run --flush", NULL));
    return work_until_idle(s);
}

static enum cam_status serve(struct service *s, struct alarm_clock *alarm) {
    if (s->options->flush)
        CAM_TRY(cam_journal_control(s->database, CAM_ITEM_FLUSH, NULL, NULL, "run --flush", NULL));
    while (!atomic_load(&stop_asked)) {
        CAM_TRY(fire_schedules(s));
        if (atomic_exchange(&reload_asked, 0))
            reload(s->database, s->options->policy);
        CAM_TRY(work_until_idle(s));
        CAM_TRY(checkpoint(s));
        if (!atomic_load(&stop_asked))
            alarm_wait(alarm, IDLE_MS);
    }
    return CAM_OK;
}

static enum cam_status run_for_ever(struct service *s, struct cam_fetcher_options *fetching) {
    struct cam_fetcher *fetcher = NULL;
    struct alarm_clock alarm;
    alarm_init(&alarm);
    fetching->polled = alarm_ring;
    fetching->context = &alarm;
    enum cam_status status = cam_fetcher_start(s->database, fetching, &fetcher);
    if (status == CAM_OK)
        status = serve(s, &alarm);
    cam_fetcher_stop(fetcher);
    alarm_release(&alarm);
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

enum cam_status cam_service_run(struct cam_workspace *workspace, struct cam_trainer *trainer,
                                const struct cam_service_options *options,
                                struct cam_service_report *report) {
    struct cam_fetcher_options fetching = {.allow = options->allow, .stop = &stop_asked};
    *report = (struct cam_service_report){0};
    struct service s = {.database = cam_workspace_database(workspace),
                        .trainer = trainer,
                        .options = options,
                        .report = report,
                        .dirty = 1};
    CAM_TRY(add_feeds(&s));
    if (options->policy)
        CAM_TRY(take_policy(s.database, options->policy));
    CAM_TRY(options->once ? run_once(&s, &fetching) : run_for_ever(&s, &fetching));
    CAM_TRY(checkpoint(&s));
    return report_rest(&s);
}

enum cam_status cam_service_settle(struct cam_workspace *workspace, struct cam_trainer *trainer,
                                   int64_t position, const struct cam_service_options *options,
                                   char *outcome, size_t outcome_bytes) {
    struct cam_service_report report = {0};
    struct service s = {.database = cam_workspace_database(workspace),
                        .trainer = trainer,
                        .options = options,
                        .report = &report};
    char row[32], found[1024];
    const char *const parameters[] = {row, NULL};
    snprintf(row, sizeof row, "%lld", (long long)position);
    CAM_TRY(work_until_idle(&s));
    CAM_TRY(checkpoint(&s));
    CAM_TRY(cam_query_text(s.database,
                           "SELECT outcome FROM v1_journal WHERE position = CAST(?1 AS INTEGER)",
                           parameters, found, sizeof found));
    if (atomic_load(&stop_asked) && !*found)
        return cam_fail(CAM_ERR_BUSY,
                        "stopped before journal row %lld was reached; the next cambium run acts on "
                        "it",
                        (long long)position);
    if (outcome)
        snprintf(outcome, outcome_bytes, "%s", found);
    return CAM_OK;
}
