/* The fetcher against a scripted server: what is written down after each kind of answer. */
#include "run/fetcher.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/query.h"
#include "store/workspace.h"
#include "support/httpd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const allow[] = {"127.0.0.1", NULL};
static char dir[64];
static struct cam_workspace *workspace;
static struct cam_database *database;
static struct cam_httpd *server;
static const char two[] = "{\"id\":\"1\",\"text\":\"The first document of the feed.\"}\n"
                          "{\"id\":\"2\",\"text\":\"The second document of the feed.\"}\n";

static void quiet(void *context, enum cam_log_level level, const char *line) {
    (void)context, (void)level, (void)line;
}

static void setup(void) {
    struct cam_settings settings;
    cam_log_set_sink(quiet, NULL);
    cam_settings_defaults(&settings);
    snprintf(dir, sizeof dir, "/tmp/cambium-fetcher.XXXXXX");
    cr_assert(mkdtemp(dir));
    cr_assert_eq(cam_workspace_open(dir, CAM_WORKSPACE_CREATE, &workspace), CAM_OK, "%s",
                 cam_message());
    cr_assert_eq(cam_settings_set(&settings, "probe.share", "0"), CAM_OK);
    cr_assert_eq(cam_workspace_finish_init(workspace, &settings), CAM_OK);
    database = cam_workspace_database(workspace);
    server = cam_httpd_start("127.0.0.1");
    cr_assert(server);
}

static void teardown(void) {
    char command[96];
    cam_httpd_stop(server);
    cam_workspace_close(workspace);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(fetcher, .init = setup, .fini = teardown);

static void add_feed(const char *path) {
    char url[256];
    cam_httpd_url(server, path, url, sizeof url);
    cr_assert_eq(cam_feeds_add(database, url, NULL, NULL, 3600, NULL), CAM_OK);
}

static struct cam_fetcher_round poll_round(void) {
    struct cam_fetcher_options options = {.allow = allow};
    struct cam_fetcher_round result;
    cr_assert_eq(cam_fetcher_round(database, &options, &result), CAM_OK, "%s", cam_message());
    return result;
}

static int64_t ask(const char *sql) {
    int64_t value;
    cr_assert_eq(cam_query_int(database, sql, NULL, -1, &value), CAM_OK, "%s", cam_message());
    return value;
}

/* Milliseconds from now until feed I_FEED is polled again. */
static int64_t next_poll_ms(size_t i_feed) {
    struct cam_feeds feeds;
    cr_assert_eq(cam_feeds_list(database, &feeds), CAM_OK);
    int64_t wait = feeds.feeds[i_feed].next_poll_at_ms - cam_clock_unix_ms();
    cam_feeds_release(&feeds);
    return wait;
}

Test(backoff, doubles_from_a_minute_to_six_hours_with_a_quarter_of_jitter) {
    for (int64_t n = 1; n < 80; n++) {
        int64_t most = n > 9 ? 6 * 3600 * 1000 : 60000LL << (n - 1);
        if (most > 6 * 3600 * 1000)
            most = 6 * 3600 * 1000;
        cr_assert_eq(cam_fetcher_backoff_ms(n, 0, -1), most, "%lld", (long long)n);
        int64_t least = cam_fetcher_backoff_ms(n, UINT32_MAX, -1);
        cr_assert(least >= most - most / 4 && least < most);
    }
}

Test(backoff, obeys_retry_after_up_to_a_day) {
    cr_assert_eq(cam_fetcher_backoff_ms(1, 0, 1), 60000, "never sooner than our own wait");
    cr_assert_eq(cam_fetcher_backoff_ms(1, 0, 7200), 7200 * 1000);
    cr_assert_eq(cam_fetcher_backoff_ms(1, 0, 7 * 86400), 86400LL * 1000);
    cr_assert_eq(cam_fetcher_backoff_ms(1, 0, 0), 60000);
}

Test(fetcher, journals_and_sends_validators_back) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f",
                                                    .body = two,
                                                    .etag = "\"v1\"",
                                                    .content_type = "application/x-ndjson"});
    add_feed("/f");
    struct cam_fetcher_round first = poll_round(), second = poll_round();
    cr_assert_eq(first.counts.journalled, 2);
    cr_assert_eq(first.n_failed, 0u);
    cr_assert_eq(second.counts.journalled, 0);
    cr_assert_str_eq(cam_httpd_request(server, 1)->if_none_match, "\"v1\"");
    cr_assert_eq(ask("SELECT http_status FROM v1_feeds"), 304);
    int64_t wait = next_poll_ms(0);
    cr_assert(wait > 3400 * 1000 && wait <= 3600 * 1000);
}

Test(fetcher, N13_a_cut_body_trains_nothing_and_keeps_the_validators) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f",
                                                    .body = two,
                                                    .etag = "\"v1\"",
                                                    .content_type = "application/x-ndjson"});
    add_feed("/f");
    poll_round();
    static const char three[] = "{\"id\":\"3\",\"text\":\"The third document of the feed.\"}\n"
                                "{\"id\":\"4\",\"text\":\"The fourth document of the feed.\"}\n";
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f",
                                                    .body = three,
                                                    .etag = "\"v2\"",
                                                    .content_type = "application/x-ndjson",
                                                    .way = CAM_HTTPD_CUT,
                                                    .cut_bytes = 60});
    struct cam_fetcher_round cut = poll_round();
    cr_assert_eq(cut.failure, CAM_ERR_UNAVAILABLE, "%s", cut.message);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 2);
    cr_assert_eq(ask("SELECT etag = '\"v1\"' FROM v1_feeds"), 1);
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f",
                                                    .body = three,
                                                    .etag = "\"v2\"",
                                                    .content_type = "application/x-ndjson"});
    cr_assert_eq(poll_round().counts.journalled, 2);
    cr_assert_eq(ask("SELECT etag = '\"v2\"' AND failures = 0 FROM v1_feeds"), 1);
}

Test(fetcher, N02_the_same_body_for_ever_is_nothing_new) {
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/f", .body = two, .content_type = "application/x-ndjson"});
    add_feed("/f");
    for (int i = 0; i < 3; i++)
        poll_round();
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 2);
    cr_assert_eq(ask("SELECT duplicates FROM v1_feeds"), 4);
}

Test(fetcher, N03_retry_after_is_obeyed_and_clamped) {
    static const char *const day[] = {"Retry-After", "7200", NULL};
    static const char *const absurd[] = {"Retry-After", "999999999", NULL};
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/busy", .status = 503, .body = "busy", .headers = day});
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/absurd", .status = 429, .body = "busy", .headers = absurd});
    add_feed("/busy");
    add_feed("/absurd");
    struct cam_fetcher_round result = poll_round();
    cr_assert_eq(result.n_failed, 2u);
    cr_assert_eq(result.failure, CAM_ERR_UNAVAILABLE);
    int64_t busy = next_poll_ms(0), clamped = next_poll_ms(1);
    cr_assert(busy > 7000 * 1000 && busy <= 7200 * 1000, "%lld", (long long)busy);
    cr_assert(clamped > 86000LL * 1000 && clamped <= 86400LL * 1000, "%lld", (long long)clamped);
    cr_assert_eq(ask("SELECT count(*) FROM v1_events WHERE kind = 'feed_failed'"), 2);
}

Test(fetcher, N04_gone_is_not_polled_again) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f", .status = 410, .body = "gone"});
    add_feed("/f");
    struct cam_fetcher_round first = poll_round(), second = poll_round();
    cr_assert_eq(first.failure, CAM_ERR_NOINPUT);
    cr_assert(strstr(first.message, "410"));
    cr_assert_eq(second.n_polled, 0u);
    cr_assert_eq(ask("SELECT state = 'gone' FROM v1_feeds"), 1);
}

Test(fetcher, one_failure_does_not_stop_the_others) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/bad",
                                                    .body = "<feed><entry>",
                                                    .content_type = "application/atom+xml"});
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/good",
                                                    .body = two,
                                                    .content_type = "application/x-ndjson"});
    add_feed("/bad");
    add_feed("/good");
    struct cam_fetcher_round result = poll_round();
    cr_assert_eq(result.n_polled, 2u);
    cr_assert_eq(result.n_failed, 1u);
    cr_assert_eq(result.failure, CAM_ERR_DATA);
    cr_assert(strstr(result.message, "/bad"));
    cr_assert_eq(result.counts.journalled, 2);
    cr_assert_eq(ask("SELECT failures FROM v1_feeds WHERE url LIKE '%/bad'"), 1);
}

Test(fetcher, a_feed_without_a_name_takes_its_title) {
    static const char atom[] =
        "<?xml version=\"1.0\"?><feed xmlns=\"http://www.w3.org/2005/Atom\">"
        "<title>The Daily Test</title><id>urn:d</id><updated>2024-01-01T00:00:00Z</updated>"
        "<entry><title>One</title><id>urn:1</id><updated>2024-01-01T00:00:00Z</updated>"
        "<content type=\"text\">A document of the daily test feed.</content></entry></feed>";
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/a", .body = atom, .content_type = "application/atom+xml"});
    add_feed("/a");
    cr_assert_eq(poll_round().counts.journalled, 1);
    cr_assert_eq(ask("SELECT domain = 'The Daily Test' FROM v1_documents"), 1);
    cr_assert_eq(ask("SELECT name = 'The Daily Test' FROM v1_feeds"), 1);
}

Test(fetcher, files_are_no_feeds) {
    cr_assert_eq(cam_fetcher_check_url("file:///etc/passwd"), CAM_ERR_DATA);
    cr_assert_eq(cam_fetcher_check_url("/etc/passwd"), CAM_ERR_DATA);
    cr_assert_eq(cam_fetcher_check_url("gopher://x/"), CAM_ERR_DATA);
    cr_assert_eq(cam_fetcher_check_url("HTTP://example.org/"), CAM_OK);
    cr_assert_eq(cam_fetcher_check_url("https://example.org/"), CAM_OK);
}

/* ---- the thread ---- */

struct rung {
    _Atomic int n;
};

static void ring(void *context) {
    struct rung *rung = context;
    rung->n++;
}

Test(fetcher, the_thread_polls_what_is_due_and_stops, .timeout = 60) {
    struct rung rung = {0};
    struct cam_fetcher_options options = {.allow = allow, .polled = ring, .context = &rung};
    struct cam_fetcher *fetcher = NULL;
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/f", .body = two, .content_type = "application/x-ndjson"});
    add_feed("/f");
    cr_assert_eq(cam_fetcher_start(database, &options, &fetcher), CAM_OK);
    while (rung.n == 0)
        usleep(1000);
    cam_fetcher_stop(fetcher);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 2);
    cr_assert_eq(cam_httpd_n_requests(server), 1u, "polled before it was due again");
}

Test(fetcher, stopping_ends_a_hanging_transfer, .timeout = 60) {
    struct cam_fetcher_options options = {.allow = allow};
    struct cam_fetcher *fetcher = NULL;
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f", .way = CAM_HTTPD_HANG});
    add_feed("/f");
    cr_assert_eq(cam_fetcher_start(database, &options, &fetcher), CAM_OK);
    while (cam_httpd_n_requests(server) == 0)
        usleep(1000);
    cam_fetcher_stop(fetcher);
    cr_assert_eq(ask("SELECT failures FROM v1_feeds"), 0,
                 "being stopped is no failure of the feed");
}
