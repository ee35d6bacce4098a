#include "run/page_desk.h"

#include "base/clock.h"
#include "feed/feed.h"
#include "feed/fetch.h"
#include "feed/robots.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AGENT            "cambium" /* as robots.txt files name us */
#define ROBOTS_URL_BYTES 600
#define KEPT_S           (24 * 3600.0)
#define KEPT_UNREACHED_S 600.0
#define MAX_ROBOTS_BYTES                                                                           \
    ((size_t)4 << 20) /* of one that is fetched; robots.h reads its beginning */
#define TOO_MANY_REQUESTS 429

struct known {
    char url[ROBOTS_URL_BYTES]; /* of the robots.txt; "": the slot is free */
    struct cam_robots robots;
    int is_unreached; /* nothing is allowed */
    double until;
    uint64_t used;
};

struct cam_page_desk {
    struct cam_host_queue *hosts;
    pthread_mutex_t mutex; /* guards all below */
    uint64_t n_uses;
    struct known known[CAM_PAGE_DESK_HOSTS];
};

enum cam_status cam_page_desk_new(struct cam_host_queue *hosts, struct cam_page_desk **desk) {
    struct cam_page_desk *made = calloc(1, sizeof *made);
    if (!made)
        return cam_fail(CAM_ERR_OS, "no memory to ask for pages");
    pthread_mutex_init(&made->mutex, NULL);
    made->hosts = hosts;
    *desk = made;
    return CAM_OK;
}

void cam_page_desk_free(struct cam_page_desk *desk) {
    if (!desk)
        return;
    for (size_t i = 0; i < CAM_PAGE_DESK_HOSTS; i++)
        cam_robots_release(&desk->known[i].robots);
    pthread_mutex_destroy(&desk->mutex);
    free(desk);
}

void cam_page_release(struct cam_page *page) {
    free(page->text);
    *page = (struct cam_page){0};
}

char *cam_page_host(const char *url, char host[CAM_HOST_BYTES]) {
    const char *scheme = strstr(url, "://"), *begin = scheme ? scheme + 3 : "";
    size_t n = strcspn(begin, "/?#\\"), i = 0;
    const char *at = memrchr(begin, '@', n), *from = at ? at + 1 : begin;
    n -= (size_t)(from - begin);
    const char *end = *from == '[' ? memchr(from, ']', n) : memchr(from, ':', n);
    if (end)
        n = (size_t)(end - from) + (*from == '[');
    for (; n < CAM_HOST_BYTES && i < n; i++)
        host[i] = (char)tolower((unsigned char)from[i]);
    host[i] = '\0';
    return host;
}

static struct cam_fetch_request request_of(const struct cam_page_request *r, const char *url) {
    struct cam_fetch_request request;
    cam_fetch_request_init(&request, url);
    request.contact = r->settings->feed_contact;
    request.proxy = r->settings->feed_proxy;
    request.allow = r->allow;
    request.ca_file = r->ca_file;
    request.stop = r->stop;
    request.total_ms = (long)r->settings->feed_timeout * 1000;
    return request;
}

/* ---- robots.txt ---- */

enum leave { LEAVE_UNKNOWN, LEAVE_GIVEN, LEAVE_DENIED, LEAVE_UNREACHED };

/* The entry of URL that is still good, or NULL.  Mutex held. */
static struct known *find_known(struct cam_page_desk *desk, const char *url) {
    for (size_t i = 0; i < CAM_PAGE_DESK_HOSTS; i++)
        if (strcmp(desk->known[i].url, url) == 0)
            return desk->known[i].until > cam_clock_seconds() ? &desk->known[i] : NULL;
    return NULL;
}

static void keep(struct cam_page_desk *desk, const char *url, const struct cam_robots *robots,
                 int is_unreached) {
    pthread_mutex_lock(&desk->mutex);
    struct known *slot = &desk->known[0];
    for (size_t i = 0; i < CAM_PAGE_DESK_HOSTS; i++) {
        if (strcmp(desk->known[i].url, url) == 0) {
            slot = &desk->known[i];
            break;
        }
        if (desk->known[i].used < slot->used)
            slot = &desk->known[i];
    }
    cam_robots_release(&slot->robots);
    *slot =
        (struct known){.robots = *robots,
                       .is_unreached = is_unreached,
                       .until = cam_clock_seconds() + (is_unreached ? KEPT_UNREACHED_S : KEPT_S),
                       .used = ++desk->n_uses};
    snprintf(slot->url, sizeof slot->url, "%s", url);
    pthread_mutex_unlock(&desk->mutex);
}

static enum leave leave_of(struct cam_page_desk *desk, const char *robots_url, const char *url,
                           int *delay_s) {
    enum leave leave = LEAVE_UNKNOWN;
    pthread_mutex_lock(&desk->mutex);
    struct known *known = find_known(desk, robots_url);
    if (known) {
        known->used = ++desk->n_uses;
        *delay_s = known->robots.delay_s;
        leave = known->is_unreached                     ? LEAVE_UNREACHED
                : cam_robots_allow(&known->robots, url) ? LEAVE_GIVEN
                                                        : LEAVE_DENIED;
    }
    pthread_mutex_unlock(&desk->mutex);
    return leave;
}

static enum cam_status fetch_robots(struct cam_page_desk *desk, const struct cam_page_request *r,
                                    const char *robots_url) {
    struct cam_fetch_request request = request_of(r, robots_url);
    struct cam_fetch_result result;
    struct cam_robots robots = {0};
    request.max_bytes = MAX_ROBOTS_BYTES;
    enum cam_status status = cam_fetch(&request, &result);
    int is_absent = result.http_status >= 300 && result.http_status < 500 &&
                    result.http_status != TOO_MANY_REQUESTS;
    int is_unreached = status != CAM_OK && !is_absent;
    if (status == CAM_OK)
        status = cam_robots_read(result.body.data ? result.body.data : "", result.body.size, AGENT,
                                 &robots);
    cam_fetch_result_release(&result);
    if (status == CAM_ERR_OS || status == CAM_STOPPED)
        return status;
    keep(desk, robots_url, &robots, is_unreached);
    return CAM_OK;
}

/* ---- pages ---- */

struct capture {
    struct cam_page *page;
    enum cam_status status;
};

static int take_text(void *context, const struct cam_document *document) {
    struct capture *c = context;
    if (document->text_bytes == 0)
        return CAM_OK;
    c->page->text = strdup(document->text);
    if (!c->page->text)
        return cam_fail(CAM_ERR_OS, "no memory for a page");
    c->page->n_bytes = document->text_bytes;
    c->page->n_replaced = document->n_replaced;
    return CAM_OK;
}

static int take_rejected(void *context, const char *where, const char *why) {
    struct capture *c = context;
    (void)where;
    snprintf(c->page->problem, sizeof c->page->problem, "%s", why);
    return CAM_OK;
}

static int is_html(const char *content_type) {
    size_t n = content_type ? strcspn(content_type, "; \t") : 0;
    return n == 0 || (n == 9 && strncasecmp(content_type, "text/html", 9) == 0) ||
           (n == 21 && strncasecmp(content_type, "application/xhtml+xml", 21) == 0);
}

static enum cam_status read_page(const struct cam_page_request *r,
                                 const struct cam_fetch_result *result, struct cam_page *page) {
    struct cam_feed_limits limits;
    struct capture capture = {.page = page};
    const struct cam_document_sink sink = {take_text, take_rejected, &capture};
    const struct cam_feed_input input = {.bytes = result->body.data ? result->body.data : "",
                                         .n_bytes = result->body.size,
                                         .content_type = result->content_type,
                                         .base = result->effective_url,
                                         .format = "html",
                                         .main_text_only = 1};
    if (!is_html(result->content_type)) {
        snprintf(page->problem, sizeof page->problem, "the page is no HTML but %.100s",
                 result->content_type);
        return CAM_OK;
    }
    cam_feed_limits_init(&limits);
    enum cam_status status = cam_feed_read_input(&input, &limits, &sink, NULL);
    if (status == CAM_ERR_DATA) {
        snprintf(page->problem, sizeof page->problem, "%s", cam_message());
        status = CAM_OK;
    }
    if (status == CAM_OK && !*page->problem && page->n_bytes < r->least_bytes)
        snprintf(page->problem, sizeof page->problem,
                 "the page's main text has %zu bytes, no more than the feed gave", page->n_bytes);
    if (status != CAM_OK || *page->problem) {
        free(page->text);
        page->text = NULL;
        page->n_bytes = 0;
    }
    return status;
}

static enum cam_status fetch_page(const struct cam_page_request *r, struct cam_page *page) {
    struct cam_fetch_request request = request_of(r, r->url);
    struct cam_fetch_result result;
    request.max_bytes = (size_t)r->settings->feed_max_bytes;
    enum cam_status status = cam_fetch(&request, &result);
    page->http_status = result.http_status;
    page->retry_after_s = result.retry_after_s;
    page->host_is_tired =
        status == CAM_ERR_UNAVAILABLE && (result.http_status == 0 || result.http_status >= 500 ||
                                          result.http_status == TOO_MANY_REQUESTS);
    if (status == CAM_OK)
        status = read_page(r, &result, page);
    else if (status != CAM_ERR_OS && status != CAM_STOPPED) {
        snprintf(page->problem, sizeof page->problem, "%s", cam_message());
        status = CAM_OK;
    }
    cam_fetch_result_release(&result);
    return status;
}

/* The host rests after every request; a robots.txt is one. */
static void end_turn(struct cam_page_desk *desk, const struct cam_page_request *r, int delay_s) {
    double gap = (double)r->settings->feed_host_gap / 1000;
    cam_host_queue_end(desk->hosts, r->host, cam_clock_seconds() + (gap > delay_s ? gap : delay_s));
}

/* Leave for the page, asking the host for its robots.txt if need be. */
static enum cam_status get_leave(struct cam_page_desk *desk, const struct cam_page_request *r,
                                 enum leave *leave, int *delay_s) {
    char robots_url[ROBOTS_URL_BYTES];
    cam_robots_url(r->url, robots_url, sizeof robots_url);
    *leave = *robots_url ? leave_of(desk, robots_url, r->url, delay_s) : LEAVE_UNREACHED;
    if (*leave != LEAVE_UNKNOWN)
        return CAM_OK;
    CAM_TRY(cam_host_queue_enter(desk->hosts, r->host, r->stop));
    *leave = leave_of(desk, robots_url, r->url, delay_s); /* another thread may have asked */
    enum cam_status status = *leave == LEAVE_UNKNOWN ? fetch_robots(desk, r, robots_url) : CAM_OK;
    if (status == CAM_OK && *leave == LEAVE_UNKNOWN)
        *leave = leave_of(desk, robots_url, r->url, delay_s);
    end_turn(desk, r, *delay_s);
    if (status == CAM_OK && *leave == LEAVE_UNKNOWN) /* put out at once by 256 other hosts */
        *leave = LEAVE_UNREACHED;
    return status;
}

enum cam_status cam_page_desk_fetch(struct cam_page_desk *desk, const struct cam_page_request *r,
                                    struct cam_page *page) {
    enum leave leave;
    int delay_s = 0;
    *page = (struct cam_page){.retry_after_s = -1};
    CAM_TRY(get_leave(desk, r, &leave, &delay_s));
    if (leave == LEAVE_DENIED)
        snprintf(page->problem, sizeof page->problem, "robots.txt of %.200s forbids it", r->host);
    if (leave == LEAVE_UNREACHED)
        snprintf(page->problem, sizeof page->problem,
                 "robots.txt of %.200s cannot be had, so it is not asked for", r->host);
    if (leave != LEAVE_GIVEN)
        return CAM_OK;
    CAM_TRY(cam_host_queue_enter(desk->hosts, r->host, r->stop));
    enum cam_status status = fetch_page(r, page);
    end_turn(desk, r, delay_s);
    return status;
}
