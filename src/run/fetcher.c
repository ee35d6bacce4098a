#include "run/fetcher.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "feed/feed_formats.h"
#include "feed/fetch.h"
#include "run/feed_poll.h"
#include "run/fetch_pool.h"
#include "run/host_queue.h"
#include "run/page_desk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define FIRST_BACKOFF_MS ((int64_t)60 * 1000)
#define LAST_BACKOFF_MS  ((int64_t)6 * 3600 * 1000)
#define MAX_RETRY_S      (24 * 3600)
#define MAX_HINT_S       ((int64_t)24 * 3600)
#define HOUR_MS          ((int64_t)3600 * 1000)
#define ALL_HOURS        ((UINT32_C(1) << 24) - 1)
#define ALL_DAYS         ((UINT32_C(1) << 7) - 1)
#define LOOK_AGAIN_MS    1000 /* how soon a feed added by someone else is noticed */
#define FULL_LOOKS       60
#define OWN_FAILURE_S    60.0 /* rest for a host when it was us who could not write */
#define WINDOW           256  /* feeds of a round that may be ahead of the one to be journalled */
#define MAX_PARKED_BYTES ((size_t)64 << 20) /* of bodies that wait for it */

enum cam_status cam_fetcher_check_url(const char *url) {
    if (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0)
        return cam_fetch_check_url(url);
    char shown[300];
    return cam_fail(CAM_ERR_DATA,
                    "%s: a feed's URL begins with http:// or https://; to read a file: cambium "
                    "ingest FILE",
                    cam_url_mask(url, shown, sizeof shown));
}

int64_t cam_fetcher_retry_ms(long retry_after_s) {
    int64_t seconds = retry_after_s > MAX_RETRY_S ? MAX_RETRY_S : retry_after_s;
    return seconds > 0 ? seconds * 1000 : 0;
}

int64_t cam_fetcher_backoff_ms(int64_t n_failures, uint32_t jitter, long retry_after_s) {
    int64_t wait = FIRST_BACKOFF_MS;
    for (int64_t i = 1; i < n_failures && wait < LAST_BACKOFF_MS; i++)
        wait *= 2;
    if (wait > LAST_BACKOFF_MS)
        wait = LAST_BACKOFF_MS;
    wait -= (int64_t)((double)(wait / 4) * cam_random_unit(jitter));
    int64_t asked = cam_fetcher_retry_ms(retry_after_s);
    return asked > wait ? asked : wait;
}

/* Whether the publisher excludes the hour that AT_MS lies in.  One who excludes all of them has
 * made a mistake. */
static int is_excluded(int64_t at_ms, const struct cam_feed_hints *hints) {
    int64_t hour = at_ms / HOUR_MS, day = hour / 24;
    unsigned weekday = (unsigned)((day + 4) % 7); /* 1970-01-01 was a Thursday */
    int by_hour =
        (hints->skip_hours & ALL_HOURS) != ALL_HOURS && hints->skip_hours >> hour % 24 & 1;
    int by_day = (hints->skip_days & ALL_DAYS) != ALL_DAYS && hints->skip_days >> weekday & 1;
    return by_hour || by_day;
}

int64_t cam_fetcher_next_ms(int64_t now_ms, int64_t interval_s, const struct cam_feed_hints *hints,
                            long max_age_s) {
    int64_t asked_s = hints->ttl_s > max_age_s ? hints->ttl_s : max_age_s;
    if (asked_s > MAX_HINT_S)
        asked_s = MAX_HINT_S;
    int64_t next = now_ms + 1000 * (asked_s > interval_s ? asked_s : interval_s);
    for (int i = 0; i < 8 * 24 && is_excluded(next, hints); i++)
        next = (next / HOUR_MS + 1) * HOUR_MS;
    return next;
}

enum cam_status cam_fetcher_format(const char *name, const struct cam_feed_format **format) {
    return cam_feed_find_format(name, format);
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

static void warn_of_proxy(const struct cam_settings *settings) {
    if (*settings->feed_proxy)
        cam_log(CAM_LOG_WARNING,
                "feed.proxy is set: names that a feed makes us ask for are resolved "
                "by the proxy, which has to refuse private addresses itself");
}

static int asked_to_stop(const struct cam_fetcher_options *options) {
    return options->stop && atomic_load(options->stop);
}

/* Journals POLL, frees it and adds it to ROUND. */
static enum cam_status conclude(struct cam_feed_poll *poll, struct cam_fetcher_round *round) {
    struct cam_feed_outcome outcome;
    const struct cam_fetcher_options *options = poll->options;
    enum cam_status status = cam_feed_poll_finish(poll, &outcome);
    cam_feed_poll_free(poll);
    CAM_TRY(status);
    add_counts(&round->counts, &outcome.counts);
    round->n_polled++;
    round->n_left += outcome.n_left;
    if (outcome.fault != CAM_OK && round->n_failed++ == 0) {
        round->failure = outcome.fault;
        memcpy(round->message, outcome.message, sizeof round->message);
    }
    if (options->polled)
        options->polled(options->context);
    return CAM_OK;
}

enum slot_state { SLOT_WAITING, SLOT_FETCHING, SLOT_FETCHED, SLOT_OVER };

struct slot {
    enum slot_state state;
    struct cam_feed_poll *poll; /* once fetched */
};

/* A round fetches several feeds at a time and journals them in the order of the list, so that two
 * rounds over the same feeds give the same journal. */
struct walk {
    struct cam_database *database;
    const struct cam_fetcher_options *options;
    struct cam_settings settings;
    struct cam_feeds list;
    struct slot *slots;
    size_t next; /* the first that is not journalled */
    size_t parked_bytes;
    struct cam_host_queue hosts;
    struct cam_page_desk *desk;
    struct cam_fetch_pool *pool;
};

static enum cam_status start_slot(struct walk *w, size_t i) {
    struct cam_feed_poll *poll = NULL;
    enum cam_status status =
        cam_feed_poll_new(w->database, w->options, &w->settings, &w->list.feeds[i], &poll);
    if (status != CAM_OK)
        return status;
    poll->tag = i;
    poll->host_queue = &w->hosts;
    poll->desk = w->desk;
    status = cam_fetch_pool_submit(w->pool, poll);
    if (status != CAM_OK)
        cam_feed_poll_free(poll);
    else
        w->slots[i].state = SLOT_FETCHING;
    return status;
}

static enum cam_status start_slots(struct walk *w) {
    double now = cam_clock_seconds();
    size_t busy = cam_fetch_pool_busy(w->pool);
    for (size_t i = w->next; i < w->list.n_feeds && i < w->next + WINDOW; i++) {
        /* The one that all others wait for is never held back. */
        if (busy >= (size_t)w->settings.feed_concurrency ||
            (i > w->next && w->parked_bytes > MAX_PARKED_BYTES))
            return CAM_OK;
        int begun = 0;
        if (w->slots[i].state == SLOT_WAITING)
            CAM_TRY(cam_host_queue_try(&w->hosts, w->list.feeds[i].host, now, &begun));
        if (!begun)
            continue;
        CAM_TRY(start_slot(w, i));
        busy++;
    }
    return CAM_OK;
}

/* The caller is the trainer, too: what waits can only be trained here. */
static enum cam_status make_room(const struct walk *w) {
    struct cam_inbox inbox;
    if (!w->options->drain)
        return CAM_OK;
    CAM_TRY(cam_journal_inbox(w->database, &inbox));
    return inbox.is_full ? w->options->drain(w->options->context) : CAM_OK;
}

static enum cam_status journal_slots(struct walk *w, struct cam_fetcher_round *round) {
    for (; w->next < w->list.n_feeds && w->slots[w->next].state >= SLOT_FETCHED; w->next++) {
        struct slot *slot = &w->slots[w->next];
        if (slot->state == SLOT_FETCHED) {
            struct cam_feed_poll *poll = slot->poll;
            w->parked_bytes -= cam_feed_poll_bytes(poll);
            *slot = (struct slot){.state = SLOT_OVER};
            CAM_TRY(conclude(poll, round));
            CAM_TRY(make_room(w));
        }
    }
    return CAM_OK;
}

static enum cam_status walk_list(struct walk *w, struct cam_fetcher_round *round) {
    for (size_t i = 0; i < w->list.n_feeds; i++)
        if (w->list.feeds[i].gone)
            w->slots[i].state = SLOT_OVER;
    CAM_TRY(journal_slots(w, round));
    while (w->next < w->list.n_feeds) {
        if (asked_to_stop(w->options))
            return CAM_STOPPED;
        CAM_TRY(start_slots(w));
        struct cam_feed_poll *poll = cam_fetch_pool_take(
            w->pool, cam_host_queue_wait_ms(&w->hosts, cam_clock_seconds(), LOOK_AGAIN_MS));
        if (!poll)
            continue;
        if (!poll->host_is_free)
            cam_host_queue_end(&w->hosts, poll->feed.host,
                               cam_clock_seconds() + (double)w->settings.feed_host_gap / 1000);
        w->slots[poll->tag] = (struct slot){.state = SLOT_FETCHED, .poll = poll};
        w->parked_bytes += cam_feed_poll_bytes(poll);
        CAM_TRY(journal_slots(w, round));
    }
    return CAM_OK;
}

static void release_walk(struct walk *w) {
    cam_fetch_pool_free(w->pool);
    for (size_t i = 0; w->slots && i < w->list.n_feeds; i++)
        cam_feed_poll_free(w->slots[i].poll);
    free(w->slots);
    cam_page_desk_free(w->desk);
    cam_host_queue_release(&w->hosts);
    cam_feeds_release(&w->list);
}

static enum cam_status poll_list(struct walk *w, struct cam_fetcher_round *round) {
    *round = (struct cam_fetcher_round){0};
    CAM_TRY(cam_journal_settings(w->database, &w->settings));
    w->slots = calloc(w->list.n_feeds + 1, sizeof *w->slots);
    if (!w->slots)
        return cam_fail(CAM_ERR_OS, "no memory for %zu feeds", w->list.n_feeds);
    CAM_TRY(cam_page_desk_new(&w->hosts, &w->desk));
    CAM_TRY(cam_fetch_pool_new(&w->pool));
    warn_of_proxy(&w->settings);
    return walk_list(w, round);
}

enum cam_status cam_fetcher_round(struct cam_database *database,
                                  const struct cam_fetcher_options *options,
                                  struct cam_fetcher_round *round) {
    struct walk w = {.database = database, .options = options};
    cam_host_queue_init(&w.hosts);
    enum cam_status status = cam_feeds_list(database, &w.list);
    if (status == CAM_OK)
        status = poll_list(&w, round);
    release_walk(&w);
    return status;
}

enum cam_status cam_fetcher_first_poll(struct cam_database *database,
                                       const struct cam_fetcher_options *options, int64_t feed,
                                       struct cam_fetcher_round *round) {
    struct cam_feeds list;
    struct cam_settings settings;
    struct cam_feed_poll *poll = NULL;
    *round = (struct cam_fetcher_round){0};
    CAM_TRY(cam_journal_settings(database, &settings));
    CAM_TRY(cam_feeds_get(database, feed, &list));
    enum cam_status status =
        list.n_feeds ? cam_feed_poll_new(database, options, &settings, &list.feeds[0], &poll)
                     : cam_fail(CAM_ERR_NOINPUT, "feed %lld: there is none", (long long)feed);
    cam_feeds_release(&list);
    CAM_TRY(status);
    struct cam_host_queue hosts;
    struct cam_page_desk *desk = NULL;
    cam_host_queue_init(&hosts);
    status = cam_page_desk_new(&hosts, &desk);
    if (status == CAM_OK)
        status = cam_host_queue_enter(&hosts, poll->feed.host, NULL);
    if (status == CAM_OK) {
        poll->is_addition = 1;
        poll->host_queue = &hosts;
        poll->desk = desk;
        cam_feed_poll_fetch(poll);
        status = conclude(poll, round);
    } else {
        cam_feed_poll_free(poll);
    }
    cam_page_desk_free(desk);
    cam_host_queue_release(&hosts);
    return status;
}

/* ---- the thread ---- */

struct cam_fetcher {
    struct cam_database *database;
    struct cam_fetcher_options options;
    atomic_int stop; /* ours: the caller's may never be set */
    const atomic_int *callers_stop;
    pthread_t thread;
    struct cam_settings settings; /* as of this look */
    struct cam_host_queue hosts;
    struct cam_page_desk *desk;
    struct cam_fetch_pool *pool;
    int64_t
        in_flight[CAM_FETCH_POOL_MAX]; /* feeds whose poll is under way; their hosts may be free */
    size_t n_in_flight;
    int64_t looked_ms;         /* wall clock at the last look */
    int told_full, told_proxy; /* said already: the inbox is full, a proxy is used */
};

static int should_stop(const struct cam_fetcher *f) {
    return atomic_load(&f->stop) || (f->callers_stop && atomic_load(f->callers_stop));
}

static int is_in_flight(const struct cam_fetcher *f, int64_t feed) {
    for (size_t i = 0; i < f->n_in_flight; i++)
        if (f->in_flight[i] == feed)
            return 1;
    return 0;
}

static void leave_flight(struct cam_fetcher *f, int64_t feed) {
    for (size_t i = 0; i < f->n_in_flight; i++)
        if (f->in_flight[i] == feed)
            f->in_flight[i] = f->in_flight[--f->n_in_flight];
}

/* Its host has begun. */
static enum cam_status start_feed(struct cam_fetcher *f, struct cam_feed *feed) {
    struct cam_feed_poll *poll = NULL;
    int64_t number = feed->feed;
    CAM_TRY(cam_feed_poll_new(f->database, &f->options, &f->settings, feed, &poll));
    poll->waits_for_room = 1;
    poll->host_queue = &f->hosts;
    poll->desk = f->desk;
    enum cam_status status = cam_fetch_pool_submit(f->pool, poll);
    if (status != CAM_OK)
        cam_feed_poll_free(poll);
    else
        f->in_flight[f->n_in_flight++] = number;
    return status;
}

/* Starts what is due: of each host the feed that waits longest. */
static enum cam_status start_due(struct cam_fetcher *f) {
    struct cam_feeds due;
    double now = cam_clock_seconds();
    size_t busy = cam_fetch_pool_busy(f->pool), most = (size_t)f->settings.feed_concurrency;
    if (busy >= most)
        return CAM_OK;
    /* Hosts that are being asked or rest come back among the due ones: look past them. */
    CAM_TRY(cam_feeds_due(f->database, cam_clock_unix_ms(),
                          most + cam_host_queue_size(&f->hosts) + f->n_in_flight, &due));
    enum cam_status status = CAM_OK;
    for (size_t i = 0; i < due.n_feeds && busy < most && status == CAM_OK; i++) {
        char host[CAM_HOST_BYTES];
        int begun = 0;
        if (is_in_flight(f, due.feeds[i].feed))
            continue;
        snprintf(host, sizeof host, "%s", due.feeds[i].host);
        status = cam_host_queue_try(&f->hosts, host, now, &begun);
        if (status != CAM_OK || !begun)
            continue;
        status = start_feed(f, &due.feeds[i]);
        if (status != CAM_OK)
            cam_host_queue_end(&f->hosts, host, 0);
        busy++;
    }
    cam_feeds_release(&due);
    return status;
}

/* 1: the trainer has enough to do; said once each time. */
static enum cam_status is_full(struct cam_fetcher *f, int *full) {
    struct cam_inbox inbox;
    CAM_TRY(cam_journal_inbox(f->database, &inbox));
    *full = inbox.is_full;
    if (inbox.is_full && !f->told_full)
        cam_log(
            CAM_LOG_INFO,
            "%lld documents (%lld bytes) wait for training; fetching pauses (inbox.max_documents"
            " %lld, inbox.max_bytes %lld)",
            (long long)inbox.documents, (long long)inbox.bytes, (long long)inbox.max_documents,
            (long long)inbox.max_bytes);
    f->told_full = inbox.is_full;
    return CAM_OK;
}

static enum cam_status conclude_next(struct cam_fetcher *f) {
    struct cam_fetcher_round round = {0};
    char host[CAM_HOST_BYTES];
    struct cam_feed_poll *poll = cam_fetch_pool_take(
        f->pool, cam_host_queue_wait_ms(&f->hosts, cam_clock_seconds(), LOOK_AGAIN_MS));
    if (!poll)
        return CAM_OK;
    snprintf(host, sizeof host, "%s", poll->feed.host);
    leave_flight(f, poll->feed.feed);
    int host_is_free = poll->host_is_free;
    enum cam_status status = conclude(poll, &round);
    double rest = status == CAM_OK ? (double)f->settings.feed_host_gap / 1000 : OWN_FAILURE_S;
    if (!host_is_free)
        cam_host_queue_end(&f->hosts, host, cam_clock_seconds() + rest);
    else if (status != CAM_OK)
        cam_host_queue_rest(&f->hosts, host, cam_clock_seconds() + rest);
    return status;
}

/* One look at what is due and one poll journalled, or a wait. */
static enum cam_status look(struct cam_fetcher *f) {
    int full = 0;
    int64_t now = cam_clock_unix_ms(), before = f->looked_ms;
    CAM_TRY(cam_journal_settings(f->database, &f->settings));
    if (!f->told_proxy)
        warn_of_proxy(&f->settings);
    f->told_proxy = 1;
    f->looked_ms = now;
    if (now < before || before == 0)
        CAM_TRY(cam_feeds_mend_clock(f->database, now));
    CAM_TRY(is_full(f, &full));
    if (!full)
        CAM_TRY(start_due(f));
    return conclude_next(f);
}

static void *fetcher_main(void *context) {
    struct cam_fetcher *f = context;
    while (!should_stop(f)) {
        enum cam_status status = look(f);
        if (status == CAM_OK || status == CAM_STOPPED)
            continue;
        cam_log(CAM_LOG_ERROR, "polling feeds: %s", cam_message());
        /* What could not be written down would be fetched again: not every second on a full disk.
         */
        for (int i = 0; !should_stop(f) && i < (status == CAM_ERR_FULL ? FULL_LOOKS : 1); i++)
            nanosleep(&(struct timespec){.tv_sec = LOOK_AGAIN_MS / 1000}, NULL);
    }
    return NULL;
}

static void free_fetcher(struct cam_fetcher *f) {
    cam_fetch_pool_free(f->pool);
    cam_page_desk_free(f->desk);
    cam_host_queue_release(&f->hosts);
    free(f);
}

enum cam_status cam_fetcher_start(struct cam_database *database,
                                  const struct cam_fetcher_options *options,
                                  struct cam_fetcher **fetcher) {
    struct cam_fetcher *f = calloc(1, sizeof *f);
    if (!f)
        return cam_fail(CAM_ERR_OS, "no memory for the fetcher");
    f->database = database;
    f->options = *options;
    f->callers_stop = options->stop;
    f->options.stop = &f->stop;
    cam_host_queue_init(&f->hosts);
    enum cam_status status = cam_page_desk_new(&f->hosts, &f->desk);
    if (status == CAM_OK)
        status = cam_fetch_pool_new(&f->pool);
    int code = status == CAM_OK ? pthread_create(&f->thread, NULL, fetcher_main, f) : 0;
    if (code != 0)
        status = cam_fail_errno(CAM_ERR_OS, code, "cannot start the fetcher's thread");
    if (status != CAM_OK) {
        free_fetcher(f);
        return status;
    }
    *fetcher = f;
    return CAM_OK;
}

void cam_fetcher_stop(struct cam_fetcher *f) {
    if (!f)
        return;
    atomic_store(&f->stop, 1);
    cam_fetch_pool_wake(f->pool);
    pthread_join(f->thread, NULL);
    free_fetcher(f);
}
