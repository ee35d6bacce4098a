/* Ten days of one feed against a scripted server, under a clock of our own. */
#include "base/clock.h"
#include "run/fetcher.h"
#include "run/tiny_world.h"
#include "store/workspace.h"
#include "support/httpd.h"

#include <stdatomic.h>

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static const char *const allow[] = {"127.0.0.1", NULL};
static const char body[] = "{\"id\":\"1\",\"text\":\"The only document of the feed.\"}\n";
static struct world w;
static struct cam_httpd *server;
static _Atomic int64_t now_ms;

static int64_t our_clock(void) {
    return atomic_load(&now_ms);
}

/* Milliseconds until the feed is due; 0 or less: now. */
static int64_t due_in(void) {
    struct cam_feeds feeds;
    OK(cam_feeds_list(w.database, &feeds));
    int64_t wait = feeds.feeds[0].next_poll_at_ms - our_clock();
    cam_feeds_release(&feeds);
    return wait;
}

/* Lets LENGTH pass, polling whenever the feed is due; returns how often it was. */
static int pass(int64_t length) {
    const struct cam_fetcher_options options = {.allow = allow};
    int64_t until = our_clock() + length;
    int n = 0;
    for (int64_t wait; (wait = due_in()) <= until - our_clock(); n++) {
        struct cam_fetcher_round round;
        if (wait > 0)
            atomic_fetch_add(&now_ms, wait);
        OK(cam_fetcher_round(w.database, &options, &round));
        cr_assert_eq(round.n_polled, 1u);
    }
    atomic_store(&now_ms, until);
    return n;
}

static void answer(int status, const char *const *headers) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f",
                                                    .status = status,
                                                    .body = status == 200 ? body : "busy",
                                                    .headers = headers,
                                                    .content_type = "application/x-ndjson"});
}

Test(poll_week, polls_keep_their_times_through_failures_and_a_clock_that_jumps) {
    static const char *const later[] = {"Retry-After", "43200", NULL};
    char url[256];
    begin(&w, 1, "naive");
    atomic_store(&now_ms, INT64_C(1835395200000)); /* 2028-02-29T00:00:00Z */
    cam_clock_replace(our_clock);
    server = cam_httpd_start("127.0.0.1");
    cr_assert(server);
    cam_httpd_url(server, "/f", url, sizeof url);
    OK(cam_feeds_add(w.database, url, NULL, NULL, 6 * 3600, NULL));
    answer(200, NULL);
    cr_assert_eq(pass(7 * DAY), 1 + 28);
    /* A server that is down for a day: 1, 2, 4 ... minutes, and never a rest of more than 6 hours.
     */
    answer(503, NULL);
    int n = pass(DAY);
    cr_assert(n >= 9 && n <= 16, "%d polls of a server that is down", n);
    cr_assert_leq(due_in(), 6 * HOUR);
    /* It says when to come back: one poll, and then that long not. */
    answer(503, later);
    pass(due_in());
    cr_assert_gt(due_in(), 11 * HOUR);
    cr_assert_eq(pass(11 * HOUR), 0);
    answer(200, NULL);
    cr_assert_geq(pass(DAY), 2);
    /* Suspended for three days: one poll, not twelve. */
    atomic_fetch_add(&now_ms, 3 * DAY);
    cr_assert_eq(pass(HOUR), 1);
    cam_httpd_stop(server);
    end(&w);
}
