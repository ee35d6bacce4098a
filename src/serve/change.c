#include "serve/change.h"

#include "base/settings.h"
#include "growth/policy.h"
#include "run/fetcher.h"
#include "run/service.h"
#include "store/forget.h"
#include "store/history.h"
#include "store/journal.h"
#include "store/query.h"
#include "store/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTCOME_BYTES 512

/* json_unpack with an error of ours.  The format is json_unpack's. */
#define UNPACK(arguments, ...)                                                                     \
    do {                                                                                           \
        json_error_t unpack_error_;                                                                \
        if (json_unpack_ex((json_t *)(uintptr_t)(arguments), &unpack_error_, JSON_STRICT,          \
                           __VA_ARGS__) != 0)                                                      \
            return cam_fail(CAM_ERR_PROTOCOL, "arguments of a change: %s", unpack_error_.text);    \
    } while (0)

static struct cam_database *database_of(const struct cam_change_site *site) {
    return cam_workspace_database(site->workspace);
}

/* Settles the row at POSITION; a refusal is an error. */
static enum cam_status settle(const struct cam_change_site *site, int64_t position,
                              cam_change_look_fn *look, void *context) {
    static const char refused[] = "refused: ";
    char outcome[OUTCOME_BYTES] = "";
    CAM_TRY(site->settle(site->context, position, look, context, outcome, sizeof outcome));
    if (strncmp(outcome, refused, sizeof refused - 1) == 0)
        return cam_fail(CAM_ERR_DATA, "%s", outcome + sizeof refused - 1);
    return CAM_OK;
}

static enum cam_status give(json_t *made, json_t **result) {
    if (!made)
        return cam_fail(CAM_ERR_OS, "no memory for a result");
    *result = made;
    return CAM_OK;
}

/* ---- feeds and schedules ---- */

/* One GET tells whether the address is any good.  A running service makes it by itself: the feed is
 * due. */
static enum cam_status first_poll(const struct cam_change_site *site, int64_t feed, int *failed) {
    struct cam_fetcher_options options = {.stop = cam_service_stop_flag()};
    struct cam_fetcher_round round = {0};
    if (site->is_service)
        return CAM_OK;
    enum cam_status status = cam_fetcher_first_poll(database_of(site), &options, feed, &round);
    *failed = round.n_failed > 0;
    return status == CAM_STOPPED ? CAM_OK : status;
}

static enum cam_status feed_add(const struct cam_change_site *site, const json_t *arguments,
                                json_t **result) {
    const char *url, *name = NULL, *format = NULL, *ca = NULL;
    int fulltext = -1;
    const struct cam_feed_format *known_format;
    json_int_t interval_s;
    int64_t feed, known;
    int poll = 0, failed = 0;
    UNPACK(arguments, "{s:s, s?s, s?s, s:I, s?s, s?b, s?b}", "url", &url, "name", &name, "format",
           &format, "interval_s", &interval_s, "ca", &ca, "poll", &poll, "fulltext", &fulltext);
    CAM_TRY(cam_fetcher_check_url(url));
    if (format)
        CAM_TRY(cam_fetcher_format(format, &known_format));
    CAM_TRY(cam_feeds_find(database_of(site), url, &known));
    CAM_TRY(cam_feeds_add(database_of(site), url, name, format, interval_s, &feed));
    if (ca)
        CAM_TRY(cam_feeds_set_ca(database_of(site), feed, ca));
    if (fulltext >= 0)
        CAM_TRY(cam_feeds_set_fulltext(database_of(site), feed, fulltext));
    if (poll && !known)
        CAM_TRY(first_poll(site, feed, &failed));
    return give(json_pack("{s:b,s:b,s:b}", "poll_failed", failed, "known", known != 0, "served",
                          site->is_service),
                result);
}

static enum cam_status feed_import(const struct cam_change_site *site, const json_t *arguments,
                                   json_t **result) {
    json_t *feeds;
    json_int_t interval_s;
    UNPACK(arguments, "{s:o, s:I}", "feeds", &feeds, "interval_s", &interval_s);
    for (size_t i = 0; i < json_array_size(feeds); i++) {
        const char *url, *name = NULL;
        UNPACK(json_array_get(feeds, i), "{s:s, s?s}", "url", &url, "name", &name);
        CAM_TRY(cam_fetcher_check_url(url));
        CAM_TRY(cam_feeds_add(database_of(site), url, name, NULL, interval_s, NULL));
    }
    return give(json_object(), result);
}

static enum cam_status feed_remove(const struct cam_change_site *site, const json_t *arguments,
                                   json_t **result) {
    const char *url;
    UNPACK(arguments, "{s:s}", "url", &url);
    CAM_TRY(cam_feeds_remove(database_of(site), url));
    return give(json_object(), result);
}

static enum cam_status schedule_add(const struct cam_change_site *site, const json_t *arguments,
                                    json_t **result) {
    const char *spec, *action;
    int64_t schedule;
    UNPACK(arguments, "{s:s, s:s}", "spec", &spec, "action", &action);
    CAM_TRY(cam_schedule_add(database_of(site), spec, action, &schedule));
    return give(json_pack("{s:I}", "schedule", (json_int_t)schedule), result);
}

static enum cam_status schedule_remove(const struct cam_change_site *site, const json_t *arguments,
                                       json_t **result) {
    json_int_t schedule;
    UNPACK(arguments, "{s:I}", "schedule", &schedule);
    CAM_TRY(cam_schedule_remove(database_of(site), schedule));
    return give(json_object(), result);
}

/* ---- quarantine ---- */

static enum cam_status judge(const struct cam_change_site *site, const json_t *arguments,
                             json_t **result) {
    json_t *documents;
    const char *reason;
    int release;
    UNPACK(arguments, "{s:o, s:b, s:s}", "documents", &documents, "release", &release, "reason",
           &reason);
    for (size_t i = 0; i < json_array_size(documents); i++) {
        int64_t document = json_integer_value(json_array_get(documents, i));
        CAM_TRY(release ? cam_journal_release(database_of(site), document, reason)
                        : cam_journal_drop(database_of(site), document, reason));
    }
    return give(json_object(), result);
}

/* ---- control rows ---- */

static enum cam_status config(const struct cam_change_site *site, const json_t *arguments,
                              json_t **result) {
    const char *key, *value;
    const struct cam_setting *setting;
    int64_t position;
    UNPACK(arguments, "{s:s, s:s}", "key", &key, "value", &value);
    CAM_TRY(cam_setting_find(key, &setting));
    CAM_TRY(
        cam_journal_control(database_of(site), CAM_ITEM_SETTING, key, value, "person", &position));
    if (setting->scope != CAM_SETTING_NOW)
        CAM_TRY(settle(site, position, NULL, NULL));
    return give(json_object(), result);
}

static enum cam_status look_evaluation(void *context, struct cam_database *database) {
    return cam_query_int(database, "SELECT max(evaluation) FROM v1_evaluations", NULL, 0, context);
}

static enum cam_status eval(const struct cam_change_site *site, const json_t *arguments,
                            json_t **result) {
    int64_t position, evaluation = 0;
    UNPACK(arguments, "{}");
    CAM_TRY(cam_journal_control(database_of(site), CAM_ITEM_EVALUATE, "cambium eval", NULL,
                                "person", &position));
    CAM_TRY(settle(site, position, look_evaluation, &evaluation));
    return give(json_pack("{s:I}", "evaluation", (json_int_t)evaluation), result);
}

/* A tag goes on the command line of rollback, so it must not look like an option or an id. */
enum cam_status cam_change_check_tag(const char *tag) {
    size_t n = strlen(tag);
    if (n == 0 || n >= CAM_NAME_BYTES || tag[0] == '-' || strcmp(tag, "latest") == 0 ||
        strspn(tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != n)
        return cam_fail(CAM_ERR_USAGE,
                        "-t %.64s: a tag has 1 to %d of a-z A-Z 0-9 . _ - and is not \"latest\"",
                        tag, CAM_NAME_BYTES - 1);
    return CAM_OK;
}

struct saved {
    const char *tag;
    json_t *found;
};

static enum cam_status take_snapshot(void *context, const struct cam_value *v, size_t n) {
    struct saved *saved = context;
    (void)n;
    json_decref(saved->found);
    saved->found =
        json_pack("{s:s,s:I,s:I,s:I}", "id", v[0].text, "documents", (json_int_t)v[1].whole,
                  "bytes_unique", (json_int_t)v[2].whole, "bytes_shared", (json_int_t)v[3].whole);
    return saved->found ? CAM_OK : cam_fail(CAM_ERR_OS, "no memory for a result");
}

#define SNAPSHOT_COLUMNS "SELECT id, documents, bytes_unique, bytes_shared FROM v1_snapshots "
static enum cam_status look_snapshot(void *context, struct cam_database *database) {
    const struct saved *saved = context;
    const char *const tag[] = {saved->tag, NULL};
    return saved->tag
               ? cam_query(database, SNAPSHOT_COLUMNS "WHERE tag = ?1", tag, take_snapshot, context)
               : cam_query(database,
                           SNAPSHOT_COLUMNS "WHERE living ORDER BY lineage DESC, step DESC,"
                                            " saved_at DESC LIMIT 1",
                           NULL, take_snapshot, context);
}

static enum cam_status snapshot(const struct cam_change_site *site, const json_t *arguments,
                                json_t **result) {
    struct saved saved = {0};
    int64_t position;
    UNPACK(arguments, "{s?s}", "tag", &saved.tag);
    if (saved.tag)
        CAM_TRY(cam_change_check_tag(saved.tag));
    CAM_TRY(cam_journal_control(database_of(site), CAM_ITEM_SNAPSHOT, saved.tag, NULL, "person",
                                &position));
    enum cam_status status = settle(site, position, look_snapshot, &saved);
    if (status == CAM_OK && saved.found) {
        *result = saved.found;
        return CAM_OK;
    }
    json_decref(saved.found);
    return status != CAM_OK ? status
                            : cam_fail(CAM_ERR_INTERNAL, "the snapshot was saved and has no row");
}

/* A file's text travels with the request: the service may not see the file. */
static enum cam_status policy_use(const struct cam_change_site *site, const json_t *arguments,
                                  json_t **result) {
    const char *name, *text = NULL;
    int64_t position;
    UNPACK(arguments, "{s:s, s?s}", "name", &name, "text", &text);
    if (!text && cam_policy_is_file(name))
        return cam_fail(CAM_ERR_PROTOCOL, "policy.use: %.80s is a path; send the text", name);
    CAM_TRY(text ? cam_policy_use_text(database_of(site), name, text, &position)
                 : cam_policy_use(database_of(site), name, &position));
    CAM_TRY(settle(site, position, NULL, NULL));
    return give(json_object(), result);
}

/* ---- rollback ---- */

struct rolling {
    struct cam_database *database;
    const char *snapshot, *reason;
    enum cam_rollback_mode mode;
    int64_t lineage;
    struct cam_counts counts;
    json_t *settings; /* what went back: {key: [before, after]} */
};

/* What a rollback restores: settings of the trainer, and the policy by the text it had. */
static const char restored_sql[] =
    "SELECT key, value FROM v1_settings WHERE scope <> 'now'"
    " UNION ALL SELECT 'policy text', substr(hash, 1, 12) FROM v1_policies WHERE in_force";

/* CONTEXT is an object; the value of a key that changed becomes [before, after]. */
static enum cam_status take_before(void *context, const struct cam_value *v, size_t n) {
    (void)n;
    return json_object_set_new(context, v[0].text, json_string(v[1].text)) == 0
               ? CAM_OK
               : cam_fail(CAM_ERR_OS, "no memory for a result");
}

static enum cam_status take_after(void *context, const struct cam_value *v, size_t n) {
    const char *before = json_string_value(json_object_get(context, v[0].text));
    (void)n;
    if (before && strcmp(before, v[1].text) == 0)
        json_object_del(context, v[0].text);
    else if (json_object_set_new(context, v[0].text, json_pack("[s?,s]", before, v[1].text)) != 0)
        return cam_fail(CAM_ERR_OS, "no memory for a result");
    return CAM_OK;
}

/* A rollback that failed after its lineage was opened leaves the trainer behind the history. */
static enum cam_status roll_back(void *context, struct cam_trainer *trainer) {
    struct rolling *r = context;
    struct cam_history_state before, after;
    CAM_TRY(cam_history_state(r->database, &before));
    CAM_TRY(cam_query(r->database, restored_sql, NULL, take_before, r->settings));
    enum cam_status status =
        cam_trainer_rollback(trainer, r->snapshot, r->mode, r->reason, &r->lineage);
    if (status != CAM_OK) {
        char message[512];
        snprintf(message, sizeof message, "%s", cam_message());
        CAM_TRY(cam_history_state(r->database, &after));
        if (after.lineage != before.lineage)
            CAM_TRY(cam_trainer_recover(trainer));
        return cam_fail(status, "%s", message);
    }
    CAM_TRY(cam_trainer_checkpoint(trainer));
    CAM_TRY(cam_query(r->database, restored_sql, NULL, take_after, r->settings));
    return cam_history_counts(r->database, &r->counts);
}

static enum cam_status rollback(const struct cam_change_site *site, const json_t *arguments,
                                json_t **result) {
    struct rolling r = {.database = database_of(site)};
    int requeue;
    UNPACK(arguments, "{s:s, s:b, s:s}", "snapshot", &r.snapshot, "requeue", &requeue, "reason",
           &r.reason);
    r.mode = requeue ? CAM_ROLLBACK_REQUEUE : CAM_ROLLBACK_SET_ASIDE;
    r.settings = json_object();
    enum cam_status status = r.settings ? site->between(site->context, roll_back, &r, 0)
                                        : cam_fail(CAM_ERR_OS, "no memory for a result");
    if (status != CAM_OK) {
        json_decref(r.settings);
        return status;
    }
    if (json_object_get(r.settings, "policy")) /* another policy has another text */
        json_object_del(r.settings, "policy text");
    return give(json_pack("{s:I,s:I,s:I,s:I,s:s,s:o}", "lineage", (json_int_t)r.lineage, "trained",
                          (json_int_t)r.counts.trained, "pending", (json_int_t)r.counts.pending,
                          "set_aside", (json_int_t)r.counts.set_aside, "model_hash",
                          r.counts.model_hash, "settings", r.settings),
                result);
}

/* ---- forget ---- */

struct change_forget {
    struct cam_forget_request request;
    struct cam_forget_plan plan;
    struct cam_forgot forgot;
    struct cam_counts counts; /* afterwards */
    struct cam_database *database;
    json_t *left;
};

static void take_left(void *context, const char *what) {
    struct change_forget *f = context;
    (void)json_array_append_new(f->left, json_string(what)); /* the log has it, too */
}

/* One that failed after its lineage was opened leaves the trainer behind the history; it finds the
 * way at its next call. */
static enum cam_status forget_with(void *context, struct cam_trainer *trainer) {
    struct change_forget *f = context;
    return cam_trainer_forget(trainer, &f->request, &f->plan, &f->forgot, take_left, f);
}

static enum cam_status plan_with(void *context, struct cam_trainer *trainer) {
    struct change_forget *f = context;
    return cam_forget_plan(cam_trainer_snapshots(trainer), f->database, &f->request, &f->plan);
}

static enum cam_status plan_alone(const struct cam_change_site *site, struct change_forget *f) {
    struct cam_snapshots *snapshots;
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(site->workspace), NULL, f->database, &snapshots));
    enum cam_status status = cam_forget_plan(snapshots, f->database, &f->request, &f->plan);
    cam_snapshots_close(snapshots);
    return status;
}

static enum cam_status finish_with(void *context, struct cam_trainer *trainer) {
    struct change_forget *f = context;
    CAM_TRY(cam_trainer_checkpoint(trainer));
    return cam_history_counts(f->database, &f->counts);
}

/* The rest is trained on again before the answer comes. */
static enum cam_status forget_and_settle(const struct cam_change_site *site,
                                         struct change_forget *f, json_t *result) {
    const struct cam_counts *c = &f->counts;
    CAM_TRY(site->between(site->context, forget_with, f, 0));
    if (f->forgot.position)
        CAM_TRY(settle(site, f->forgot.position, NULL, NULL));
    CAM_TRY(site->between(site->context, finish_with, f, 0));
    json_error_t error;
    json_t *snapshots = json_loads(f->forgot.snapshots ? f->forgot.snapshots : "[]", 0, &error);
    json_t *more =
        json_pack("{s:I,s:I,s:O,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "position",
                  (json_int_t)f->forgot.position, "lineage", (json_int_t)f->forgot.lineage, "left",
                  f->left, "snapshots", snapshots, "model_hash", c->model_hash, "journalled",
                  (json_int_t)c->journalled, "trained", (json_int_t)c->trained, "pending",
                  (json_int_t)c->pending, "quarantined", (json_int_t)c->quarantined, "held_out",
                  (json_int_t)c->held_out, "set_aside", (json_int_t)c->set_aside);
    int failed = !more || json_object_update(result, more) != 0;
    json_decref(more);
    return failed ? cam_fail(CAM_ERR_OS, "no memory for a result") : CAM_OK;
}

static json_t *planned(const struct cam_forget_plan *p, int act) {
    return json_pack("{s:I,s:I,s:b,s:s,s:{s:I,s:I,s:f}}", "documents", (json_int_t)p->documents,
                     "changed", (json_int_t)p->changed, "act", act, "snapshot", p->snapshot,
                     "since", "documents", (json_int_t)p->since_documents, "tokens",
                     (json_int_t)p->since_tokens, "seconds", p->since_seconds);
}

static enum cam_status forget_by(const struct cam_change_site *site, struct change_forget *f,
                                 int act, json_t **result) {
    if (!act) {
        CAM_TRY(site->is_service ? site->between(site->context, plan_with, f, 1)
                                 : plan_alone(site, f));
        return give(planned(&f->plan, 0), result);
    }
    json_t *made = json_object();
    if (!made)
        return cam_fail(CAM_ERR_OS, "no memory for a result");
    enum cam_status status = forget_and_settle(site, f, made);
    json_t *plan = status == CAM_OK ? planned(&f->plan, 1) : NULL;
    if (status == CAM_OK && json_object_update(made, plan) != 0)
        status = cam_fail(CAM_ERR_OS, "no memory for a result");
    json_decref(plan);
    if (status == CAM_OK)
        return give(made, result);
    json_decref(made);
    return status;
}

static enum cam_status forget(const struct cam_change_site *site, const json_t *arguments,
                              json_t **result) {
    struct change_forget f = {.database = database_of(site)};
    json_t *documents = NULL;
    int act;
    UNPACK(arguments, "{s?o, s?s, s:b, s:s}", "documents", &documents, "source", &f.request.source,
           "act", &act, "reason", &f.request.reason);
    char *numbers = documents ? json_dumps(documents, JSON_COMPACT) : NULL;
    f.left = json_array();
    f.request.documents = numbers;
    enum cam_status status = f.left && (numbers || !documents)
                                 ? forget_by(site, &f, act, result)
                                 : cam_fail(CAM_ERR_OS, "no memory for a change");
    json_decref(f.left);
    free(f.forgot.snapshots);
    free(numbers);
    return status;
}

/* ---- prune ---- */

struct pruning {
    struct cam_prune_rule rule;
    struct cam_prune_report report;
    json_t *snapshots;
};

enum cam_status cam_change_list_pruned(void *context, const struct cam_snapshot *s, int goes,
                                       const char *why) {
    json_t *entry = json_pack("{s:s,s:s*,s:I,s:b,s:s}", "id", s->id, "tag", *s->tag ? s->tag : NULL,
                              "documents", (json_int_t)s->documents, "goes", goes, "why", why);
    return json_array_append_new(context, entry) == 0
               ? CAM_OK
               : cam_fail(CAM_ERR_OS, "no memory for a result");
}

static enum cam_status prune_with(void *context, struct cam_trainer *trainer) {
    struct pruning *p = context;
    return cam_snapshots_prune_by(cam_trainer_snapshots(trainer), &p->rule, cam_change_list_pruned,
                                  p->snapshots, &p->report);
}

/* Without a service nobody has the store open. */
static enum cam_status prune_alone(const struct cam_change_site *site, struct pruning *p) {
    struct cam_snapshots *snapshots;
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(site->workspace), NULL, database_of(site),
                               &snapshots));
    enum cam_status status = cam_snapshots_prune_by(snapshots, &p->rule, cam_change_list_pruned,
                                                    p->snapshots, &p->report);
    cam_snapshots_close(snapshots);
    return status;
}

enum cam_status cam_change_pruned(const struct cam_prune_report *r, json_t *snapshots,
                                  json_t **result) {
    return give(json_pack("{s:I,s:I,s:I,s:I,s:I,s:b,s:o}", "removed", (json_int_t)r->n_removed,
                          "kept", (json_int_t)r->n_kept, "compacted", (json_int_t)r->n_compacted,
                          "bytes_before", (json_int_t)r->bytes_before, "freed_bytes",
                          (json_int_t)r->freed_bytes, "over_budget", r->over_budget, "snapshots",
                          snapshots),
                result);
}

static enum cam_status prune(const struct cam_change_site *site, const json_t *arguments,
                             json_t **result) {
    struct pruning p = {.rule.act = 1};
    json_int_t keep_last, max_bytes;
    UNPACK(arguments, "{s:I, s:I}", "keep_last", &keep_last, "max_bytes", &max_bytes);
    p.rule.keep_last = keep_last < 0 ? -1 : keep_last;
    p.rule.max_bytes = max_bytes < 0 ? -1 : max_bytes;
    p.snapshots = json_array();
    if (!p.snapshots)
        return cam_fail(CAM_ERR_OS, "no memory for a result");
    enum cam_status status =
        site->is_service ? site->between(site->context, prune_with, &p, 1) : prune_alone(site, &p);
    cam_workspace_keep_reserve(site->workspace);
    if (status == CAM_OK)
        return cam_change_pruned(&p.report, p.snapshots, result);
    json_decref(p.snapshots);
    return status;
}

/* ---- the table ---- */

typedef enum cam_status change_fn(const struct cam_change_site *site, const json_t *arguments,
                                  json_t **result);

static const struct change {
    const char *name;
    change_fn *run;
    int needs_trainer;
} changes[] = {
    {"feed.add", feed_add, 0},
    {"feed.import", feed_import, 0},
    {"feed.remove", feed_remove, 0},
    {"schedule.add", schedule_add, 0},
    {"schedule.remove", schedule_remove, 0},
    {"quarantine", judge, 0},
    {"config", config, 0}, /* depends on the setting */
    {"eval", eval, 1},
    {"snapshot", snapshot, 1},
    {"policy.use", policy_use, 1},
    {"rollback", rollback, 1},
    {"forget", forget, 1}, /* if it is to act */
    {"prune", prune, 0},   /* its store alone */
};

static const struct change *find(const char *name) {
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (strcmp(changes[i].name, name) == 0)
            return &changes[i];
    return NULL;
}

int cam_change_needs_trainer(const char *name, const json_t *arguments) {
    const struct change *change = find(name);
    const char *key = json_string_value(json_object_get(arguments, "key"));
    const struct cam_setting *setting;
    if (change && change->run == config)
        return key && cam_setting_find(key, &setting) == CAM_OK &&
               setting->scope != CAM_SETTING_NOW;
    if (change && change->run == forget)
        return json_is_true(json_object_get(arguments, "act"));
    return change && change->needs_trainer;
}

enum cam_status cam_change_run(const struct cam_change_site *site, const char *name,
                               const json_t *arguments, json_t **result) {
    const struct change *change = find(name);
    if (!change)
        return cam_fail(CAM_ERR_PROTOCOL, "there is no change called \"%.40s\"", name);
    return change->run(site, arguments, result);
}
