/* fetcher.h - polls feeds into the journal: once for all, or for ever in a thread of its own.
 *
 * One poll: a conditional GET, the bytes through a reader of feed/ into a journal writer, and last,
 * in the transaction that journals the final documents, the poll's row.  So a validator is never
 * stored before what it stands for, and a crash anywhere means the next poll brings the rest again.
 *
 * Several feeds are fetched at a time (feed.concurrency), never two of one host, and a host has
 * feed.host_gap_ms of rest between two.  What was fetched is journalled by one thread, a feed after
 * the other: in the order of the feeds' numbers in a round, in the order of arrival in the thread.
 *
 * When a feed is polled again: after its interval, and not before the time its publisher asks for
 * (RSS ttl, sy:updatePeriod, Cache-Control max-age; at most a day), nor in hours and on days it
 * excludes (skipHours, skipDays).  One that fails is tried again after 1 minute, then 2, 4 ... up
 * to 6 hours, with jitter, so that many feeds of one dead host do not come back in step;
 * Retry-After is obeyed up to one day, for all feeds of the host; 410 ends the feed.  A permanent
 * redirect (301, 308) changes its address.  robots.txt is about crawlers that find pages by
 * themselves; a feed is published to be polled, so none is asked for.
 *
 * The thread fetches nothing while the inbox (v1_inbox) is full, and a feed that does not fit waits
 * in the middle for the trainer.  In a round whoever asked for it trains between two feeds.
 *
 * Nothing here touches the trainer: documents reach it by the journal. */
#ifndef CAM_RUN_FETCHER_H
#define CAM_RUN_FETCHER_H

#include "base/status.h"
#include "feed/feed.h"
#include "store/journal.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define CAM_FETCHER_MESSAGE_BYTES 1024

struct cam_fetcher_options {
    const char *const *allow; /* hosts, addresses, blocks that may be private, besides the setting
                                 feed.allow_hosts; ended by NULL; may be NULL; borrowed */
    const atomic_int *stop;   /* non-zero ends a transfer and the thread; may be NULL */
    void (*polled)(
        void *context); /* called in the fetcher's thread after every poll; may be NULL */
    enum cam_status (*drain)(void *context); /* in a round, between two feeds while the inbox is
                                                full, by the caller's thread; may be NULL */
    void *context;
};

/* What a round of polls came to. */
struct cam_fetcher_round {
    size_t n_polled, n_failed;
    size_t n_left;                      /* entries that wait for another poll (entry_pages.h) */
    struct cam_admission_counts counts; /* of all feeds together */
    enum cam_status failure;            /* of the first feed that failed, CAM_OK if none did */
    char message[CAM_FETCHER_MESSAGE_BYTES];
};

/* A feed's URL is http or https and well formed; files are for `ingest`.  CAM_ERR_DATA says so. */
CAM_MUST_USE enum cam_status cam_fetcher_check_url(const char *url);

/* Polls every feed that is not gone, due or not: a person asked.  A feed that fails does not stop
 * the others and is no failure of this function: see ROUND.  CAM_STOPPED when *stop was set. */
CAM_MUST_USE enum cam_status cam_fetcher_round(struct cam_database *database,
                                               const struct cam_fetcher_options *options,
                                               struct cam_fetcher_round *round);

/* Polls the feed just added, once.  If that needs leave to reach a private address, nobody was
 * asked, and the feed stays due. */
CAM_MUST_USE enum cam_status cam_fetcher_first_poll(struct cam_database *database,
                                                    const struct cam_fetcher_options *options,
                                                    int64_t feed, struct cam_fetcher_round *round);

/* The thread: polls feeds as they fall due.  Borrows DATABASE and OPTIONS until it is stopped. */
struct cam_fetcher;
CAM_MUST_USE enum cam_status cam_fetcher_start(struct cam_database *database,
                                               const struct cam_fetcher_options *options,
                                               struct cam_fetcher **fetcher);
/* Ends the thread (an open transfer within a second) and waits for it; accepts NULL. */
void cam_fetcher_stop(struct cam_fetcher *fetcher);

/* Milliseconds until a feed is tried again after its N_FAILURES-th failure in a row (>= 1):
 * doubling from 1 minute to 6 hours, of which a quarter is jitter drawn from JITTER, and at least
 * RETRY_AFTER_S (< 0: none; clamped to one day).  Pure. */
int64_t cam_fetcher_backoff_ms(int64_t n_failures, uint32_t jitter, long retry_after_s);

/* The same for what the server asked for alone: 0 to one day. */
int64_t cam_fetcher_retry_ms(long retry_after_s);

/* When a feed polled well at NOW_MS is polled again: after INTERVAL_S, what its hints and MAX_AGE_S
 * (< 0: none) ask for, up to one day, and outside what it excludes.  Pure. */
int64_t cam_fetcher_next_ms(int64_t now_ms, int64_t interval_s, const struct cam_feed_hints *hints,
                            long max_age_s);

/* The format called NAME.  CAM_ERR_CONFIG lists those there are. */
CAM_MUST_USE enum cam_status cam_fetcher_format(const char *name,
                                                const struct cam_feed_format **format);

#endif
