#include "run/fetcher.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "feed/feed_formats.h"
#include "feed/fetch.h"
#include "store/history.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_ALLOWED      64
#define FIRST_BACKOFF_MS ((int64_t)60 * 1000)
#define LAST_BACKOFF_MS  ((int64_t)6 * 3600 * 1000)
#define MAX_RETRY_S      (24 * 3600)
#define LOOK_AGAIN_MS    1000 /* how soon a feed added by someone else is noticed */

enum cam_status cam_fetcher_check_url(const char *url) {
    if (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0)
        return CAM_OK;
    char shown[300];
    return cam_fail(CAM_ERR_DATA,
                    "%s: a feed's URL begins with http:// or https://; to read a file: cambium "
                    "ingest FILE",
                    cam_url_mask(url, shown, sizeof shown));
}

int64_t cam_fetcher_backoff_ms(int64_t n_failures, uint32_t jitter, long retry_after_s) {
    int64_t wait = FIRST_BACKOFF_MS;
    for (int64_t i = 1; i < n_failures && wait < LAST_BACKOFF_MS; i++)
        wait *= 2;
    if (wait > LAST_BACKOFF_MS)
        wait = LAST_BACKOFF_MS;
    wait -= (int64_t)((double)(wait / 4) * cam_random_unit(jitter));
    int64_t asked = retry_after_s > MAX_RETRY_S ? MAX_RETRY_S : retry_after_s;
    return asked > 0 && asked * 1000 > wait ? asked * 1000 : wait;
}

enum cam_status cam_fetcher_format(const char *name, const struct cam_feed_format **format) {
    return cam_feed_find_format(name, format);
}

enum cam_status cam_fetcher_read(const char *bytes, size_t n_bytes, const char *format,
                                 const char *content_type, const struct cam_feed_limits *limits,
                                 const struct cam_document_sink *sink) {
    /* Nothing at all is a feed without documents, unless it says it is XML, which needs a root. */
    if (n_bytes == 0 && !(content_type && strstr(content_type, "xml")))
        return CAM_OK;
    const struct cam_feed_input input = {
        .bytes = bytes, .n_bytes = n_bytes, .content_type = content_type, .format = format};
    return cam_feed_read_input(&input, limits, sink, NULL);
}

/* ---- one poll ---- */

struct poll {
    struct cam_database *database;
    const struct cam_fetcher_options *options;
    const struct cam_feed *feed; /* borrowed */
    struct cam_settings settings;
    char shown[300];                    /* the URL without credentials */
    char hosts[CAM_SETTING_TEXT_BYTES]; /* feed.allow_hosts, cut into pieces */
    const char *allow[MAX_ALLOWED + 1]; /* those and the caller's */
    struct cam_document_sink sink;      /* the journal writer's */
    int64_t n_documents;
};

static void list_allowed(struct poll *p) {
    size_t n = 0;
    char *rest = NULL;
    for (size_t i = 0; p->options->allow && p->options->allow[i] && n < MAX_ALLOWED; i++)
        p->allow[n++] = p->options->allow[i];
    snprintf(p->hosts, sizeof p->hosts, "%s", p->settings.feed_allow_hosts);
    for (char *host = strtok_r(p->hosts, ", ", &rest); host && n < MAX_ALLOWED;
         host = strtok_r(NULL, ", ", &rest))
        p->allow[n++] = host;
    p->allow[n] = NULL;
}

static int count_document(void *context, const struct cam_document *document) {
    struct poll *p = context;
    if (++p->n_documents > p->settings.feed_max_documents)
        return cam_fail(CAM_ERR_DATA,
                        "%s: more than feed.max_documents (%lld) documents in one fetch; to take "
                        "more: cambium config feed.max_documents N",
                        p->shown, (long long)p->settings.feed_max_documents);
    return p->sink.document(p->sink.context, document);
}

static int pass_rejected(void *context, const char *where, const char *why) {
    struct poll *p = context;
    return p->sink.rejected(p->sink.context, where, why);
}

static int64_t next_after_failure(const struct poll *p, long retry_after_s) {
    int64_t now = cam_clock_unix_ms(), n = p->feed->n_failures + 1;
    uint64_t seed = cam_hash_bytes(p->feed->url, strlen(p->feed->url)).low;
    uint32_t word = cam_random_at(seed, CAM_PURPOSE_FEED, (uint64_t)n, 0).word[0];
    return now + cam_fetcher_backoff_ms(n, word, retry_after_s);
}

/* Writes down that the poll failed; the validators stay those of the last good one. */
static enum cam_status note_failure(struct poll *p, const struct cam_fetch_result *result,
                                    const char *message) {
    struct cam_journal_writer *writer = NULL;
    struct cam_poll row = {.http_status = result->http_status,
                           .error = message,
                           .n_bytes = (int64_t)result->body.size,
                           .next_poll_at_ms = next_after_failure(p, result->retry_after_s)};
    CAM_TRY(cam_journal_writer_open(p->database, p->feed->feed, p->feed->url, &writer));
    enum cam_status status = cam_journal_writer_finish(writer, &row, NULL);
    cam_journal_writer_free(writer);
    CAM_TRY(status);
    return cam_history_event(p->database, "warning", "feed_failed", message, NULL);
}

/* A feed that was added without a name is called what it calls itself: the domain of entries that
 * name none. */
static enum cam_status learn_name(struct poll *p, const struct cam_fetch_result *result,
                                  const struct cam_feed_limits *limits) {
    struct cam_buffer title;
    if (*p->feed->name || result->body.size == 0)
        return CAM_OK;
    cam_buffer_init(&title, CAM_DOMAIN_BYTES - 1);
    enum cam_status status =
        cam_feed_title(result->body.data, result->body.size, result->content_type, limits, &title);
    if (status == CAM_OK && title.size > 0)
        status =
            cam_feeds_add(p->database, p->feed->url, title.data, NULL, p->feed->interval_s, NULL);
    cam_buffer_release(&title);
    return status == CAM_ERR_DATA ? CAM_OK : status; /* no title, or one too long to be a name */
}

static enum cam_status journal_body(struct poll *p, const struct cam_fetch_result *result,
                                    struct cam_admission_counts *counts) {
    struct cam_journal_writer *writer = NULL;
    struct cam_feed_limits limits;
    struct cam_poll row = {.etag = result->etag,
                           .last_modified = result->last_modified,
                           .http_status = result->http_status,
                           .n_bytes = (int64_t)result->body.size};
    cam_feed_limits_init(&limits);
    limits.max_entries = (size_t)p->settings.feed_max_documents;
    CAM_TRY(learn_name(p, result, &limits));
    CAM_TRY(cam_journal_writer_open(p->database, p->feed->feed, p->feed->url, &writer));
    p->sink = cam_journal_writer_sink(writer);
    struct cam_document_sink sink = {count_document, pass_rejected, p};
    enum cam_status status = CAM_OK;
    if (!result->not_modified)
        status = cam_fetcher_read(result->body.data, result->body.size, p->feed->format,
                                  result->content_type, &limits, &sink);
    if (status == CAM_ERR_DATA && !strstr(cam_message(), p->shown))
        status = cam_context(status, "%s", p->shown);
    row.next_poll_at_ms = cam_clock_unix_ms() + p->feed->interval_s * 1000;
    if (status == CAM_OK)
        status = cam_journal_writer_finish(writer, &row, counts);
    cam_journal_writer_free(writer);
    return status;
}

static void tell(const struct poll *p, const struct cam_fetch_result *result,
                 const struct cam_admission_counts *c) {
    if (result->not_modified) {
        cam_log(CAM_LOG_INFO, "%s: not modified, 0 documents", p->shown);
        return;
    }
    cam_log(CAM_LOG_INFO,
            "%s: %lld document%s (%lld held out, %lld quarantined), %lld known before, %lld "
            "rejected",
            p->shown, (long long)c->journalled, c->journalled == 1 ? "" : "s",
            (long long)c->held_out, (long long)c->quarantined, (long long)c->duplicates,
            (long long)c->rejected);
}

static enum cam_status fetch_and_journal(struct poll *p, struct cam_fetch_result *result,
                                         struct cam_admission_counts *counts) {
    struct cam_fetch_request request;
    cam_fetch_request_init(&request, p->feed->url);
    request.etag = p->feed->etag;
    request.last_modified = p->feed->last_modified;
    request.allow = p->allow;
    request.stop = p->options->stop;
    request.max_bytes = (size_t)p->settings.feed_max_bytes;
    CAM_TRY(cam_fetch(&request, result));
    return journal_body(p, result, counts);
}

/* Whether STATUS is the feed's fault: it is written down and the service goes on. */
static int is_feeds_fault(enum cam_status status) {
    return status == CAM_ERR_DATA || status == CAM_ERR_UNAVAILABLE || status == CAM_ERR_NOINPUT ||
           status == CAM_ERR_PERMISSION || status == CAM_ERR_PROTOCOL;
}

/* Polls FEED.  *FAULT is what the feed did wrong, with MESSAGE; the result is what we did. */
static enum cam_status poll_feed(struct cam_database *database,
                                 const struct cam_fetcher_options *options,
                                 const struct cam_feed *feed, struct cam_admission_counts *counts,
                                 enum cam_status *fault, char message[CAM_FETCHER_MESSAGE_BYTES]) {
    struct poll p = {.database = database, .options = options, .feed = feed};
    struct cam_fetch_result result = {0};
    cam_url_mask(feed->url, p.shown, sizeof p.shown);
    CAM_TRY(cam_journal_settings(database, &p.settings));
    list_allowed(&p);
    *fault = CAM_OK;
    enum cam_status status = fetch_and_journal(&p, &result, counts);
    if (status == CAM_OK) {
        tell(&p, &result, counts);
    } else if (is_feeds_fault(status)) {
        *fault = status;
        snprintf(message, CAM_FETCHER_MESSAGE_BYTES, "%s", cam_message());
        if (result.http_status == 410)
            snprintf(message, CAM_FETCHER_MESSAGE_BYTES,
                     "%s: gone (HTTP 410), not polled any more; see: cambium feed list", p.shown);
        cam_log(CAM_LOG_WARNING, "%s", message);
        status = note_failure(&p, &result, message);
    }
    cam_fetch_result_release(&result);
    return status;
}

/* ---- a round ---- */

static void add_counts(struct cam_admission_counts *sum, const struct cam_admission_counts *c) {
    sum->seen += c->seen;
    sum->journalled += c->journalled;
    sum->duplicates += c->duplicates;
    sum->revisions += c->revisions;
    sum->quarantined += c->quarantined;
    sum->held_out += c->held_out;
    sum->contaminations += c->contaminations;
    sum->rejected += c->rejected;
}

static int asked_to_stop(const struct cam_fetcher_options *options) {
    return options->stop && atomic_load(options->stop);
}

/* Polls the feeds of LIST that are due at NOW_MS (< 0: all). */
static enum cam_status poll_list(struct cam_database *database,
                                 const struct cam_fetcher_options *options,
                                 const struct cam_feeds *list, int64_t now_ms,
                                 struct cam_fetcher_round *round) {
    for (size_t i = 0; i < list->n_feeds; i++) {
        const struct cam_feed *feed = &list->feeds[i];
        struct cam_admission_counts counts = {0};
        enum cam_status fault;
        char message[CAM_FETCHER_MESSAGE_BYTES];
        if (feed->gone || (now_ms >= 0 && feed->next_poll_at_ms > now_ms))
            continue;
        if (asked_to_stop(options))
            return CAM_STOPPED;
        CAM_TRY(poll_feed(database, options, feed, &counts, &fault, message));
        add_counts(&round->counts, &counts);
        round->n_polled++;
        if (fault != CAM_OK && round->n_failed++ == 0) {
            round->failure = fault;
            memcpy(round->message, message, sizeof round->message);
        }
        if (options->polled)
            options->polled(options->context);
    }
    return CAM_OK;
}

static enum cam_status poll_all(struct cam_database *database,
                                const struct cam_fetcher_options *options, int64_t now_ms,
                                struct cam_fetcher_round *round) {
    struct cam_feeds list;
    *round = (struct cam_fetcher_round){0};
    CAM_TRY(cam_feeds_list(database, &list));
    enum cam_status status = poll_list(database, options, &list, now_ms, round);
    cam_feeds_release(&list);
    return status;
}

enum cam_status cam_fetcher_round(struct cam_database *database,
                                  const struct cam_fetcher_options *options,
                                  struct cam_fetcher_round *round) {
    return poll_all(database, options, -1, round);
}

/* ---- the thread ---- */

struct cam_fetcher {
    struct cam_database *database;
    struct cam_fetcher_options options;
    atomic_int stop; /* ours: the caller's may never be set */
    const atomic_int *callers_stop;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static int should_stop(const struct cam_fetcher *f) {
    return atomic_load(&f->stop) || (f->callers_stop && atomic_load(f->callers_stop));
}

static void sleep_a_while(struct cam_fetcher *f) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_AGAIN_MS / 1000;
    pthread_mutex_lock(&f->mutex);
    if (!should_stop(f))
        pthread_cond_timedwait(&f->wake, &f->mutex, &until);
    pthread_mutex_unlock(&f->mutex);
}

static void *fetcher_main(void *context) {
    struct cam_fetcher *f = context;
    while (!should_stop(f)) {
        struct cam_fetcher_round round;
        enum cam_status status = poll_all(f->database, &f->options, cam_clock_unix_ms(), &round);
        if (status != CAM_OK && status != CAM_STOPPED)
            cam_log(CAM_LOG_ERROR, "polling feeds: %s", cam_message());
        sleep_a_while(f);
    }
    return NULL;
}

enum cam_status cam_fetcher_start(struct cam_database *database,
                                  const struct cam_fetcher_options *options,
                                  struct cam_fetcher **fetcher) {
    struct cam_fetcher *f = calloc(1, sizeof *f);
    pthread_condattr_t attributes;
    if (!f)
        return cam_fail(CAM_ERR_OS, "no memory for the fetcher");
    f->database = database;
    f->options = *options;
    f->callers_stop = options->stop;
    f->options.stop = &f->stop;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int code = pthread_create(&f->thread, NULL, fetcher_main, f);
    if (code != 0) {
        free(f);
        return cam_fail_errno(CAM_ERR_OS, code, "cannot start the fetcher's thread");
    }
    *fetcher = f;
    return CAM_OK;
}

void cam_fetcher_stop(struct cam_fetcher *f) {
    if (!f)
        return;
    pthread_mutex_lock(&f->mutex);
    atomic_store(&f->stop, 1);
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->mutex);
    pthread_join(f->thread, NULL);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->mutex);
    free(f);
}
