#include "run/feed_poll.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "store/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROOM_LOOK_MS 100 /* how often a full inbox is looked at */

static int asked_to_stop(const struct cam_feed_poll *p) {
    return p->options->stop && atomic_load(p->options->stop);
}

/* ---- begin ---- */

static void list_allowed(struct cam_feed_poll *p) {
    size_t n = 0;
    char *rest = NULL;
    for (size_t i = 0; p->options->allow && p->options->allow[i] && n < CAM_POLL_MAX_ALLOWED; i++)
        p->allow[n++] = p->options->allow[i];
    snprintf(p->hosts, sizeof p->hosts, "%s", p->settings.feed_allow_hosts);
    for (char *host = strtok_r(p->hosts, ", ", &rest); host && n < CAM_POLL_MAX_ALLOWED;
         host = strtok_r(NULL, ", ", &rest))
        p->allow[n++] = host;
    p->allow[n] = NULL;
}

/* The URL as it is fetched: credentials back in their place. */
static char *full_url(const struct cam_feed *feed) {
    const char *scheme = strstr(feed->url, "://");
    char *url = NULL;
    if (!feed->credentials || !scheme)
        return strdup(feed->url);
    if (asprintf(&url, "%.*s%s@%s", (int)(scheme + 3 - feed->url), feed->url, feed->credentials,
                 scheme + 3) < 0)
        return NULL;
    return url;
}

enum cam_status cam_feed_poll_new(struct cam_database *database,
                                  const struct cam_fetcher_options *options,
                                  const struct cam_settings *settings, struct cam_feed *feed,
                                  struct cam_feed_poll **poll) {
    struct cam_feed_poll *p = calloc(1, sizeof *p);
    if (!p || !(p->url = full_url(feed))) {
        free(p);
        return cam_fail(CAM_ERR_OS, "no memory for a poll");
    }
    p->database = database;
    p->options = options;
    p->settings = *settings;
    p->feed = *feed;
    *feed = (struct cam_feed){0};
    cam_url_mask(p->url, p->shown, sizeof p->shown);
    list_allowed(p);
    *poll = p;
    return CAM_OK;
}

void cam_feed_poll_free(struct cam_feed_poll *p) {
    if (!p)
        return;
    cam_feed_release(&p->feed);
    cam_fetch_result_release(&p->result);
    free(p->url);
    free(p);
}

/* ---- fetch ---- */

void cam_feed_poll_fetch(struct cam_feed_poll *p) {
    struct cam_fetch_request request;
    cam_fetch_request_init(&request, p->url);
    request.etag = p->feed.etag;
    request.last_modified = p->feed.last_modified;
    request.contact = p->settings.feed_contact;
    request.proxy = p->settings.feed_proxy;
    request.allow = p->allow;
    request.ca_file = p->feed.ca_file;
    request.stop = p->options->stop;
    request.max_bytes = (size_t)p->settings.feed_max_bytes;
    request.total_ms = (long)p->settings.feed_timeout * 1000;
    p->status = cam_fetch(&request, &p->result);
    if (p->status != CAM_OK)
        snprintf(p->message, sizeof p->message, "%s", cam_message());
}

/* ---- journal ---- */

/* Until the trainer has made room.  What is in the writer is journalled first, or it might wait for
 * itself. */
static enum cam_status wait_for_room(struct cam_feed_poll *p, size_t n_bytes) {
    int told = 0;
    while (p->waits_for_room && (p->room_documents < 1 || p->room_bytes < 1)) {
        struct cam_inbox inbox;
        if (asked_to_stop(p))
            return cam_fail(CAM_STOPPED, "%s: stopped while it waited for room", p->shown);
        CAM_TRY(cam_journal_writer_flush(p->writer));
        CAM_TRY(cam_journal_inbox(p->database, &inbox));
        p->room_documents = inbox.room_documents;
        p->room_bytes = inbox.room_bytes;
        if (!inbox.is_full)
            break;
        p->room_documents = 0;
        if (!told++) {
            cam_log(CAM_LOG_INFO,
                    "%s: %lld documents (%lld bytes) wait for training; the rest of the feed waits "
                    "for them",
                    p->shown, (long long)inbox.documents, (long long)inbox.bytes);
            if (p->options->polled)
                p->options->polled(p->options->context);
        }
        nanosleep(&(struct timespec){.tv_nsec = ROOM_LOOK_MS * 1000000L}, NULL);
    }
    p->room_documents--;
    p->room_bytes -= (int64_t)n_bytes;
    return CAM_OK;
}

static int pass_document(void *context, const struct cam_document *document) {
    struct cam_feed_poll *p = context;
    if (++p->n_documents > p->settings.feed_max_documents)
        return cam_fail(CAM_ERR_DATA,
                        "%s: more than feed.max_documents (%lld) documents in one fetch; to take "
                        "more: cambium config feed.max_documents N",
                        p->shown, (long long)p->settings.feed_max_documents);
    CAM_TRY(wait_for_room(p, document->text_bytes));
    return p->sink.document(p->sink.context, document);
}

static int pass_rejected(void *context, const char *where, const char *why) {
    struct cam_feed_poll *p = context;
    return p->sink.rejected(p->sink.context, where, why);
}

/* A feed that was added without a name is called what it calls itself: the domain of entries that
 * name none. */
static enum cam_status learn_name(struct cam_feed_poll *p, const struct cam_feed_limits *limits) {
    struct cam_buffer title;
    const struct cam_fetch_result *r = &p->result;
    if (*p->feed.name || r->body.size == 0)
        return CAM_OK;
    cam_buffer_init(&title, CAM_DOMAIN_BYTES - 1);
    enum cam_status status =
        cam_feed_title(r->body.data, r->body.size, r->content_type, limits, &title);
    if (status == CAM_OK && title.size > 0)
        status =
            cam_feeds_add(p->database, p->feed.url, title.data, NULL, p->feed.interval_s, NULL);
    cam_buffer_release(&title);
    return status == CAM_ERR_DATA ? CAM_OK : status; /* no title, or one too long to be a name */
}

static struct cam_poll row_of(const struct cam_feed_poll *p) {
    const struct cam_fetch_result *r = &p->result;
    struct cam_feed_hints hints = {p->feed.ttl_s, p->feed.skip_hours, p->feed.skip_days};
    if (!r->not_modified)
        cam_feed_hints_read(r->body.data ? r->body.data : "", r->body.size, r->content_type,
                            &hints);
    return (struct cam_poll){
        .etag = r->etag,
        .last_modified = r->last_modified,
        .http_status = r->http_status,
        .n_bytes = (int64_t)r->body.size,
        .moved_url = r->moved_url,
        .ttl_s = hints.ttl_s,
        .skip_hours = hints.skip_hours,
        .skip_days = hints.skip_days,
        .next_poll_at_ms =
            cam_fetcher_next_ms(cam_clock_unix_ms(), p->feed.interval_s, &hints, r->max_age_s),
    };
}

/* Nothing at all is a feed without documents, unless it says it is XML, which needs a root. */
static int is_empty(const struct cam_fetch_result *r) {
    return r->body.size == 0 && !(r->content_type && strstr(r->content_type, "xml"));
}

/* What a reader delivered before it came to a broken place stands. */
static enum cam_status read_body(struct cam_feed_poll *p, const struct cam_feed_limits *limits,
                                 const struct cam_document_sink *sink) {
    const struct cam_fetch_result *r = &p->result;
    const struct cam_feed_input input = {.bytes = r->body.data ? r->body.data : "",
                                         .n_bytes = r->body.size,
                                         .content_type = r->content_type,
                                         .base = r->effective_url,
                                         .format = p->feed.format};
    char message[CAM_FETCHER_MESSAGE_BYTES];
    enum cam_status status = cam_feed_read_input(&input, limits, sink, NULL);
    if (status != CAM_ERR_DATA)
        return status;
    snprintf(message, sizeof message, "%s", cam_message());
    CAM_TRY(cam_journal_writer_flush(p->writer));
    return strstr(message, p->shown) ? cam_fail(CAM_ERR_DATA, "%s", message)
                                     : cam_fail(CAM_ERR_DATA, "%s: %s", p->shown, message);
}

static enum cam_status journal_body(struct cam_feed_poll *p, struct cam_admission_counts *counts) {
    struct cam_feed_limits limits;
    const struct cam_fetch_result *r = &p->result;
    enum cam_status status = CAM_OK;
    cam_feed_limits_init(&limits);
    limits.max_entries = (size_t)p->settings.feed_max_documents;
    CAM_TRY(learn_name(p, &limits));
    CAM_TRY(cam_journal_writer_open(p->database, p->feed.feed, p->url, &p->writer));
    p->sink = cam_journal_writer_sink(p->writer);
    struct cam_document_sink sink = {pass_document, pass_rejected, p};
    if (!r->not_modified && !is_empty(r))
        status = read_body(p, &limits, &sink);
    if (status == CAM_OK) {
        struct cam_poll row = row_of(p);
        status = cam_journal_writer_finish(p->writer, &row, counts);
    }
    cam_journal_writer_free(p->writer);
    p->writer = NULL;
    return status;
}

static void tell(const struct cam_feed_poll *p, const struct cam_admission_counts *c) {
    if (p->result.not_modified) {
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

/* ---- failures ---- */

static int64_t next_after_failure(const struct cam_feed_poll *p) {
    int64_t now = cam_clock_unix_ms(), n = p->feed.n_failures + 1;
    uint64_t seed = cam_hash_bytes(p->feed.url, strlen(p->feed.url)).low;
    uint32_t word = cam_random_at(seed, CAM_PURPOSE_FEED, (uint64_t)n, 0).word[0];
    int nobody_was_asked = p->status == CAM_ERR_PERMISSION && p->result.http_status == 0;
    if (p->is_addition && nobody_was_asked)
        return now;
    return now + cam_fetcher_backoff_ms(n, word, p->result.retry_after_s);
}

/* Writes down that the poll failed; the validators stay those of the last good one. */
static enum cam_status note_failure(struct cam_feed_poll *p, const char *message) {
    struct cam_journal_writer *writer = NULL;
    const struct cam_fetch_result *r = &p->result;
    struct cam_poll row = {.http_status = r->http_status,
                           .error = message,
                           .n_bytes = (int64_t)r->body.size,
                           .keep_hints = 1,
                           .next_poll_at_ms = next_after_failure(p)};
    if (r->retry_after_s > 0)
        row.host_not_before_ms = cam_clock_unix_ms() + cam_fetcher_retry_ms(r->retry_after_s);
    CAM_TRY(cam_journal_writer_open(p->database, p->feed.feed, p->url, &writer));
    enum cam_status status = cam_journal_writer_finish(writer, &row, NULL);
    cam_journal_writer_free(writer);
    CAM_TRY(status);
    return cam_history_event(p->database, "warning", "feed_failed", message, NULL);
}

/* Whether STATUS is the feed's fault: it is written down and the service goes on. */
static int is_feeds_fault(enum cam_status status) {
    return status == CAM_ERR_DATA || status == CAM_ERR_UNAVAILABLE || status == CAM_ERR_NOINPUT ||
           status == CAM_ERR_PERMISSION || status == CAM_ERR_PROTOCOL;
}

enum cam_status cam_feed_poll_finish(struct cam_feed_poll *p, struct cam_feed_outcome *outcome) {
    *outcome = (struct cam_feed_outcome){0};
    enum cam_status status = p->status == CAM_OK ? journal_body(p, &outcome->counts)
                                                 : cam_fail(p->status, "%s", p->message);
    if (status == CAM_OK)
        tell(p, &outcome->counts);
    if (status == CAM_OK || !is_feeds_fault(status))
        return status;
    outcome->fault = status;
    snprintf(outcome->message, sizeof outcome->message, "%s", cam_message());
    if (p->result.http_status == 410)
        snprintf(outcome->message, sizeof outcome->message,
                 "%s: gone (HTTP 410), not polled any more; see: cambium feed list", p->shown);
    cam_log(CAM_LOG_WARNING, "%s", outcome->message);
    return note_failure(p, outcome->message);
}
