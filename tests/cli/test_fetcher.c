/* The fetcher against a scripted server: what is written down after each kind of answer. */
#include "cli/fetcher_rig.h"

TestSuite(fetcher, .init = setup, .fini = teardown);

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

/* ---- when it is asked again ---- */

static int64_t hour_of(int64_t ms) {
    return ms / 3600000 % 24;
}

Test(backoff, next_poll_interval_and_hints) {
    struct cam_feed_hints hints = {0};
    const int64_t now = 1700000000000; /* Tuesday 2023-11-14, 22:13:20 */
    cr_assert_eq(cam_fetcher_next_ms(now, 600, &hints, -1), now + 600000);
    cr_assert_eq(cam_fetcher_next_ms(now, 600, &hints, 60), now + 600000, "never sooner");
    cr_assert_eq(cam_fetcher_next_ms(now, 600, &hints, 7200), now + 7200000);
    hints.ttl_s = 10800;
    cr_assert_eq(cam_fetcher_next_ms(now, 600, &hints, 7200), now + 10800000);
    cr_assert_eq(cam_fetcher_next_ms(now, 172800, &hints, 7200), now + 172800000LL);
    hints.ttl_s = 366 * 86400;
    cr_assert_eq(cam_fetcher_next_ms(now, 600, &hints, -1), now + 86400000, "a day at most");
}

Test(backoff, next_poll_excluded_hours_and_days) {
    const int64_t now = 1700000000000;
    struct cam_feed_hints hints = {.skip_hours = 1u << 22 | 1u << 23 | 1u};
    int64_t next = cam_fetcher_next_ms(now, 600, &hints, -1);
    cr_assert_eq(hour_of(next), 1);
    cr_assert_eq(next % 3600000, 0);
    hints.skip_days = 1u << 3; /* Wednesday */
    next = cam_fetcher_next_ms(now, 600, &hints, -1);
    cr_assert_eq((next / 86400000 + 4) % 7, 4, "Thursday");
    cr_assert_eq(hour_of(next), 1);
    hints = (struct cam_feed_hints){.skip_hours = 0xFFFFFF, .skip_days = 0x7F};
    cr_assert_eq(cam_fetcher_next_ms(now, 600, &hints, -1), now + 600000,
                 "who excludes everything has made a mistake");
}

Test(fetcher, hints_of_a_feed_are_stored_and_outlive_a_304) {
    static const char atom[] =
        "<?xml version=\"1.0\"?><feed xmlns=\"http://www.w3.org/2005/Atom\" xmlns:sy=\"s\">"
        "<title>T</title><id>urn:d</id><updated>2024-01-01T00:00:00Z</updated>"
        "<sy:updatePeriod>daily</sy:updatePeriod><sy:updateFrequency>4</sy:updateFrequency>"
        "<entry><title>One</title><id>urn:1</id><updated>2024-01-01T00:00:00Z</updated>"
        "<content type=\"text\">A document of the daily test feed.</content></entry></feed>";
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f",
                                                    .body = atom,
                                                    .etag = "\"v\"",
                                                    .content_type = "application/atom+xml"});
    add_feed("/f");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(poll_round().n_failed, 0u);
        int64_t wait = next_poll_ms(0);
        cr_assert(wait > 21500000 && wait <= 21600000, "%lld", (long long)wait);
    }
    cr_assert_eq(ask("SELECT http_status = 304 AND ttl_s = 21600 FROM v1_feeds"), 1);
}

/* ---- one GET, moves, credentials ---- */

Test(fetcher, the_first_poll_is_one_GET) {
    struct cam_fetcher_options options = {.allow = allow};
    struct cam_fetcher_round result;
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/f", .body = two, .content_type = "application/x-ndjson"});
    add_feed("/f");
    cr_assert_eq(cam_fetcher_first_poll(database, &options, 1, &result), CAM_OK);
    cr_assert_eq(result.counts.journalled, 2);
    cr_assert_eq(cam_httpd_n_requests(server), 1u);
    cr_assert(next_poll_ms(0) > 3400000, "the thread does not ask again");
    cr_assert_eq(cam_fetcher_first_poll(database, &options, 9, &result), CAM_ERR_NOINPUT);
}

Test(fetcher, a_first_poll_without_leave_leaves_the_feed_due) {
    struct cam_fetcher_options options = {0};
    struct cam_fetcher_round result;
    add_feed("/f");
    cr_assert_eq(cam_fetcher_first_poll(database, &options, 1, &result), CAM_OK);
    cr_assert_eq(result.failure, CAM_ERR_PERMISSION);
    cr_assert(next_poll_ms(0) <= 0);
    cr_assert_eq(cam_httpd_n_requests(server), 0u);
    cr_assert_eq(ask("SELECT failures = 1 AND error IS NOT NULL FROM v1_feeds"), 1);
}

Test(fetcher, N05_a_permanent_redirect_is_followed_once_and_remembered) {
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/old", .status = 301, .location = "/new"});
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/now", .status = 302, .location = "/new2"});
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/new", .body = two, .content_type = "application/x-ndjson"});
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/new2",
                                                    .body = two,
                                                    .content_type = "application/x-ndjson"});
    add_feed("/old");
    add_feed("/now");
    poll_round();
    cr_assert_eq(cam_httpd_n_requests(server), 4u);
    poll_round();
    cr_assert_eq(cam_httpd_n_requests(server), 7u, "the moved one is asked at its new address");
    cr_assert_eq(ask("SELECT count(*) FROM v1_feeds WHERE url LIKE '%/new' OR url LIKE '%/now'"),
                 2);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 2);
}

Test(fetcher, a_move_to_something_that_is_no_feed_is_not_remembered) {
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/old", .status = 301, .location = "/login"});
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/login",
                                                    .body = "<feed><entry>",
                                                    .content_type = "application/atom+xml"});
    add_feed("/old");
    cr_assert_eq(poll_round().n_failed, 1u);
    cr_assert_eq(ask("SELECT count(*) FROM v1_feeds WHERE url LIKE '%/old'"), 1);
}

Test(fetcher, N14_credentials_are_sent_and_shown_nowhere) {
    char url[256];
    cam_log_set_sink(keep_log, NULL);
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/f", .body = two, .content_type = "application/x-ndjson"});
    snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%d/f", cam_httpd_port(server));
    cr_assert_eq(cam_feeds_add(database, url, NULL, NULL, 3600, NULL), CAM_OK);
    poll_round();
    cr_assert_str_eq(cam_httpd_request(server, 0)->authorization, "Basic dXNlcjpzZWNyZXQ=");
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f", .status = 403, .body = "no"});
    cr_assert_null(strstr(poll_round().message, "secret"));
    cr_assert_null(strstr(logged, "secret"), "%s", logged);
    cr_assert_not_null(strstr(logged, "http://***@127.0.0.1"));
    cr_assert_eq(ask("SELECT count(*) FROM v1_feeds, v1_events, v1_documents WHERE"
                     " v1_feeds.error || message || v1_feeds.url || source LIKE '%secret%'"),
                 0);
}

/* ---- failures ---- */

Test(fetcher, N03_a_host_that_asks_for_rest_gets_it) {
    static const char *const rest[] = {"Retry-After", "7200", NULL};
    struct cam_feeds due;
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/busy", .status = 429, .body = "busy", .headers = rest});
    add_feed("/busy");
    poll_round();
    add_feed("/other");
    cr_assert_eq(cam_feeds_due(database, cam_clock_unix_ms(), 10, &due), CAM_OK);
    cr_assert_eq(due.n_feeds, 0u, "another feed of that host");
    cam_feeds_release(&due);
    cr_assert_eq(cam_feeds_due(database, cam_clock_unix_ms() + 7200001, 10, &due), CAM_OK);
    cr_assert_eq(due.n_feeds, 1u);
    cam_feeds_release(&due);
}

Test(fetcher, N04_failures_are_seen_and_never_the_end) {
    static const int codes[] = {404, 401, 403, 500, 503, 418};
    for (size_t i = 0; i < 6; i++) {
        static char paths[6][16];
        snprintf(paths[i], sizeof paths[i], "/%d", codes[i]);
        cam_httpd_add(
            server, &(struct cam_httpd_route){.path = paths[i], .status = codes[i], .body = "no"});
        add_feed(paths[i]);
    }
    for (int n = 1; n <= 12; n++)
        cr_assert_eq(poll_round().n_failed, 6u, "still asked");
    cr_assert_eq(ask("SELECT count(*) FROM v1_feeds WHERE state = 'active' AND failures = 12 AND"
                     " error LIKE '%HTTP%' AND next_poll_at IS NOT NULL"),
                 6);
    for (size_t i = 0; i < 6; i++)
        cr_assert(next_poll_ms(i) > 4 * 3600000LL && next_poll_ms(i) <= 6 * 3600000LL);
    cr_assert_eq(ask("SELECT count(*) FROM v1_events WHERE kind = 'feed_failed'"), 72);
}

Test(fetcher, N10_a_bomb_is_written_down_as_the_feeds_fault) {
    size_t n;
    char *packed = cam_httpd_gzip(NULL, 0, (size_t)64 << 20, &n);
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/f", .body = packed, .n_bytes = n, .encoding = "gzip"});
    add_feed("/f");
    cr_assert_eq(poll_round().failure, CAM_ERR_DATA);
    cr_assert_eq(ask("SELECT error LIKE '%decompressed%' FROM v1_feeds"), 1);
    cam_httpd_stop(server);
    server = NULL;
    free(packed);
}
