/* feed_poll.h - one poll of one feed, in two parts: a fetch, which any thread may do, and what is
 * journalled of it, which one thread does at a time.
 *
 *     cam_feed_poll_new(...) -> cam_feed_poll_fetch (elsewhere) -> cam_feed_poll_finish -> free
 *
 * Private to run/: fetcher.c decides what is polled when, fetch_pool.c lends the threads. */
#ifndef CAM_RUN_FEED_POLL_H
#define CAM_RUN_FEED_POLL_H

#include "base/settings.h"
#include "feed/fetch.h"
#include "run/entry_pages.h"
#include "run/fetcher.h"
#include "run/page_desk.h"
#include "store/journal.h"

#include <stddef.h>

#define CAM_POLL_MAX_ALLOWED 64

struct cam_feed_poll {
    struct cam_database *database;             /* borrowed */
    const struct cam_fetcher_options *options; /* borrowed */
    struct cam_feed feed;                      /* owned */
    struct cam_settings settings;
    size_t tag;         /* the caller's */
    int waits_for_room; /* in the inbox; 0: the caller trains afterwards */
    int is_addition;    /* of a feed just added: if nobody was asked, it stays due */
    /* Where pages of entries are asked for; NULL: never.  The host of the feed is given free before
     * that (host_is_free), as its pages have turns of their own. */
    struct cam_page_desk *desk;
    struct cam_host_queue *host_queue;
    int host_is_free;

    char *url;                                   /* with credentials; owned */
    char shown[300];                             /* without */
    char hosts[CAM_SETTING_TEXT_BYTES];          /* feed.allow_hosts, cut into pieces */
    const char *allow[CAM_POLL_MAX_ALLOWED + 1]; /* those and the caller's */
    struct cam_fetch_result result;
    struct cam_entry_pages pages;
    enum cam_status status; /* of the fetch */
    char message[CAM_FETCHER_MESSAGE_BYTES];

    struct cam_journal_writer *writer; /* while it is journalled */
    struct cam_document_sink sink;     /* the writer's */
    int64_t n_documents, room_documents, room_bytes;
};

/* What a poll came to. */
struct cam_feed_outcome {
    struct cam_admission_counts counts;
    size_t n_left; /* entries that were not journalled, as their page waits for another poll */
    enum cam_status fault; /* what the feed did wrong, with a message; CAM_OK if nothing */
    char message[CAM_FETCHER_MESSAGE_BYTES];
};

/* Takes what FEED holds over (FEED is empty then).  Borrows DATABASE and OPTIONS. */
CAM_MUST_USE enum cam_status cam_feed_poll_new(struct cam_database *database,
                                               const struct cam_fetcher_options *options,
                                               const struct cam_settings *settings,
                                               struct cam_feed *feed, struct cam_feed_poll **poll);
void cam_feed_poll_fetch(struct cam_feed_poll *poll);
size_t cam_feed_poll_bytes(const struct cam_feed_poll *poll); /* held between fetch and finish */
/* A feed's fault is written down and is no failure here.  CAM_STOPPED: nothing is written down, the
 * next poll brings it all again. */
CAM_MUST_USE enum cam_status cam_feed_poll_finish(struct cam_feed_poll *poll,
                                                  struct cam_feed_outcome *outcome);
void cam_feed_poll_free(struct cam_feed_poll *poll); /* accepts NULL */

#endif
