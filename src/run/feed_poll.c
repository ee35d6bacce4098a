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
    cam_entry_pages_release(&p->pages);
    free(p->url);
    free(p);
}

/* ---- fetch ---- */

static int wants_pages(const struct cam_feed_poll *p) {
    return p->desk && (p->feed.fulltext < 0 ? p->settings.feed_fulltext != 0 : p->feed.fulltext);
}

/* Nothing at all is a feed without documents, unless it says it is XML, which needs a root. */
static int is_empty(const struct cam_fetch_result *r) {
    return r->body.size == 0 && !(r->content_type && strstr(r->content_type, "xml"));
}

static struct cam_feed_input input_of(const struct cam_feed_poll *p) {
    const struct cam_fetch_result *r = &p->result;
    return (struct cam_feed_input){.bytes = r->body.data ? r->body.data : "",
                                   .n_bytes = r->body.size,
                                   .content_type = r->content_type,
                                   .base = r->effective_url,
                                   .format = p->feed.format};
}

static int collect_document(void *context, const struct cam_document *document) {
    struct cam_feed_poll *p = context;
    return p->pages.n < (size_t)p->settings.feed_max_documents
               ? cam_entry_pages_add(&p->pages, document)
               : CAM_OK;
}

static int ignore_rejected(void *context, const char *where, const char *why) {
    (void)context, (void)where, (void)why;
    return CAM_OK;
}

/* What is wrong with the feed is found again, and told, when it is journalled. */
static enum cam_status collect_entries(struct cam_feed_poll *p) {
    struct cam_feed_limits limits;
    const struct cam_feed_input input = input_of(p);
    const struct cam_document_sink sink = {collect_document, ignore_rejected, p};
    cam_feed_limits_init(&limits);
    limits.max_entries = (size_t)p->settings.feed_max_documents;
    enum cam_status status = cam_feed_read_input(&input, &limits, &sink, NULL);
    if (status == CAM_ERR_DATA)
        status = CAM_OK;
    for (size_t i = 0; status == CAM_OK && i < p->pages.n; i++)
        status = cam_feeds_know_entry(p->database, p->feed.feed, p->pages.entries[i].entry,
                                      &p->pages.entries[i].is_known);
    return status;
}

static void give_host_free(struct cam_feed_poll *p) {
    p->host_is_free = 1;
    cam_host_queue_end(p->host_queue, p->feed.host,
                       cam_clock_seconds() + (double)p->settings.feed_host_gap / 1000);
}

static enum cam_status fetch_pages(struct cam_feed_poll *p) {
    const struct cam_page_request request = {.settings = &p->settings,
                                             .allow = p->allow,
                                             .ca_file = p->feed.ca_file,
                                             .stop = p->options->stop};
    CAM_TRY(collect_entries(p));
    return cam_entry_pages_fetch(&p->pages, p->desk, &request, p->feed.host);
}

static enum cam_status fetch_feed(struct cam_feed_poll *p) {
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
    return cam_fetch(&request, &p->result);
}

size_t cam_feed_poll_bytes(const struct cam_feed_poll *p) {
    return p->result.body.size + p->pages.n_bytes;
}

void cam_feed_poll_fetch(struct cam_feed_poll *p) {
    p->status = fetch_feed(p);
    if (p->status == CAM_OK && wants_pages(p) && !p->result.not_modified && !is_empty(&p->result)) {
        give_host_free(p);
        p->status = fetch_pages(p);
    }
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

/* DOCUMENT with what its page said.  *LEFT: its page waits for the next poll, and so does it. */
static struct cam_document with_page(struct cam_feed_poll *p, const struct cam_document *document,
                                     struct cam_page_outcome *outcome, char entry[33], int *left) {
    struct cam_document d = *document;
    *outcome = (struct cam_page_outcome){.entry = cam_entry_hash(document, entry)};
    d.page = outcome;
    const struct cam_entry_page *found = cam_entry_pages_find(&p->pages, entry);
    *left = found && !found->is_done && !found->is_known;
    if (!found || !found->is_done)
        return d;
    outcome->was_asked = 1;
    outcome->http_status = found->page.http_status;
    outcome->problem = found->page.text ? NULL : found->page.problem;
    if (found->page.text) {
        d.text = found->page.text;
        d.text_bytes = found->page.n_bytes;
        d.n_replaced = found->page.n_replaced;
        d.html = NULL;
    }
    return d;
}

static int pass_document(void *context, const struct cam_document *document) {
    struct cam_feed_poll *p = context;
    struct cam_document d = *document;
    struct cam_page_outcome outcome;
    char entry[33];
    int left = 0;
    if (++p->n_documents > p->settings.feed_max_documents)
        return cam_fail(CAM_ERR_DATA,
                        "%s: more than feed.max_documents (%lld) documents in one fetch; to take "
                        "more: cambium config feed.max_documents N",
                        p->shown, (long long)p->settings.feed_max_documents);
    if (cam_entry_is_summary(document))
        d = with_page(p, document, &outcome, entry, &left);
    if (left)
        return CAM_OK;
    CAM_TRY(wait_for_room(p, d.text_bytes));
    return p->sink.document(p->sink.context, &d);
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
    int is_whole = p->pages.n_left == 0; /* else the next poll needs the feed again */
    int64_t asked_ms = cam_fetcher_retry_ms(p->pages.retry_after_s);
    return (struct cam_poll){
        .etag = is_whole ? r->etag : NULL,
        .last_modified = is_whole ? r->last_modified : NULL,
        .host_not_before_ms = asked_ms > 0 ? cam_clock_unix_ms() + asked_ms : 0,
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

/* What a reader delivered before it came to a broken place stands. */
static enum cam_status read_body(struct cam_feed_poll *p, const struct cam_feed_limits *limits,
                                 const struct cam_document_sink *sink) {
    const struct cam_feed_input input = input_of(p);
    char message[CAM_FETCHER_MESSAGE_BYTES];
    enum cam_status status = cam_feed_read_input(&input, limits, sink, NULL);
    if (status != CAM_ERR_DATA)
        return status;
    snprintf(message, sizeof message, "%s", cam_message());
    CAM_TRY(cam_journal_writer_flush(p->writer));
    return strncmp(message, p->shown, strlen(p->shown)) == 0
               ? cam_fail(CAM_ERR_DATA, "%s", message)
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
    if (c->forgotten > 0)
        cam_log(CAM_LOG_INFO, "%s: %lld refused, because they were forgotten", p->shown,
                (long long)c->forgotten);
    if (p->pages.n_done + p->pages.n_left > 0)
        cam_log(CAM_LOG_INFO,
                "%s: %zu page%s asked for (v1_pages says what came of it), %zu left "
                "for the next poll",
                p->shown, p->pages.n_done, p->pages.n_done == 1 ? "" : "s", p->pages.n_left);
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
    outcome->n_left = status == CAM_OK ? p->pages.n_left : 0;
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
