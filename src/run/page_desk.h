/* page_desk.h - asks for the pages of entries, as politely as for feeds and with leave of
 * robots.txt.
 *
 * A page is found by following a link, so robots.txt counts (RFC 9309; feed/robots.h): asked for
 * once a host, kept for a day (CAM_PAGE_DESK_HOSTS hosts at most, the one used longest ago goes
 * first).  No such file (4xx): everything is allowed; no answer, 429 or 5xx: nothing is, for ten
 * minutes.  A host gets one request at a time, with the rest that feeds give it or its Crawl-delay
 * between two.  Any number of threads. */
#ifndef CAM_RUN_PAGE_DESK_H
#define CAM_RUN_PAGE_DESK_H

#include "base/settings.h"
#include "base/status.h"
#include "run/host_queue.h"

#include <stdatomic.h>
#include <stddef.h>

#define CAM_PAGE_DESK_HOSTS    256
#define CAM_PAGE_PROBLEM_BYTES 300

struct cam_page_desk;

/* Borrows HOSTS until it is freed. */
CAM_MUST_USE enum cam_status cam_page_desk_new(struct cam_host_queue *hosts,
                                               struct cam_page_desk **desk);
void cam_page_desk_free(struct cam_page_desk *desk); /* accepts NULL */

struct cam_page_request {
    const char *url;  /* http or https, absolute */
    const char *host; /* its host, as cam_page_host gives it */
    const struct cam_settings *settings;
    const char *const *allow; /* see feed/fetch.h */
    const char *ca_file;      /* or NULL */
    const atomic_int *stop;   /* or NULL */
    size_t least_bytes;       /* shorter main texts are too short */
};

struct cam_page {
    char *text; /* owned: the main text, cleaned; NULL if there is a problem */
    size_t n_bytes, n_replaced;
    int http_status;                      /* 0: no answer, or not asked for */
    char problem[CAM_PAGE_PROBLEM_BYTES]; /* "" or why there is no text, one sentence */
    int host_is_tired;                    /* it failed or asked to wait: not now again */
    long retry_after_s;                   /* what it asked for; -1: nothing */
};

/* Fetches one.  A page that cannot be had is PAGE's problem, not a failure; failures are
 * CAM_STOPPED and CAM_ERR_OS.  Release PAGE in any case. */
CAM_MUST_USE enum cam_status cam_page_desk_fetch(struct cam_page_desk *desk,
                                                 const struct cam_page_request *request,
                                                 struct cam_page *page);
void cam_page_release(struct cam_page *page);

/* The host of URL as feeds spell theirs: lower case, without port and credentials; "" if there is
 * none or it is too long.  Returns HOST. */
char *cam_page_host(const char *url, char host[CAM_HOST_BYTES]);

#endif
