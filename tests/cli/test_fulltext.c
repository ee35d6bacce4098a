/* Pages of entries that come with a summary only, from a scripted server. */
#include "cli/fetcher_rig.h"

#define SUMMARY "A short summary of what the page of this entry goes on to tell."
#define ARTICLE                                                                                    \
    "The first paragraph of the article says at some length what happened on the river that "      \
    "morning, who stood on the bridge, and why the ferry did not leave when it should have."
#define SECOND                                                                                     \
    "The second paragraph goes on with what the harbour master wrote in his book, which is more "  \
    "than anybody else remembers of it, and ends with the weather, as such books always do."
#define PAGE                                                                                       \
    "<!doctype html><html><body><nav><a href=/>Home</a> <a href=/x>Other things</a></nav>"         \
    "<article><h1>Ferry</h1><p>" ARTICLE "</p><p>" SECOND "</p></article>"                         \
    "<footer><a href=/i>Imprint</a></footer></body></html>"

static char feed_body[8192], first_url[128], second_url[128];

/* An RSS feed of two entries with these pages on SERVER, and a third with all its text. */
static void serve_feed(const char *first, const char *second) {
    cam_httpd_url(server, first, first_url, sizeof first_url);
    cam_httpd_url(server, second, second_url, sizeof second_url);
    snprintf(feed_body, sizeof feed_body,
             "<rss version='2.0' xmlns:c='http://purl.org/rss/1.0/modules/content/'><channel>"
             "<title>River</title>"
             "<item><guid>1</guid><link>%s</link><description>" SUMMARY "</description></item>"
             "<item><guid>2</guid><link>%s</link><description>Another summary, of the second entry,"
             " rather short.</description></item>"
             "<item><guid>3</guid><link>%s</link><description>A summary.</description><c:encoded>"
             "All of the text of the third entry is in the feed itself.</c:encoded></item>"
             "</channel></rss>",
             first_url, second_url, second_url);
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                    .body = feed_body,
                                                    .etag = "\"1\"",
                                                    .content_type = "application/rss+xml"});
}

static void serve_page(const char *path, const char *body, const char *type) {
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = path, .body = body, .content_type = type});
}

static void serve_robots(const char *body) {
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/robots.txt", .body = body, .content_type = "text/plain"});
}

static size_t n_requests(const char *path) {
    size_t n = 0;
    for (size_t i = 0; i < cam_httpd_n_requests(server); i++)
        n += strcmp(cam_httpd_request(server, i)->path, path) == 0;
    return n;
}

static int64_t bytes_of(const char *guid) {
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT coalesce(max(bytes), 0) FROM v1_documents WHERE guid = '%s'",
             guid);
    return ask(sql);
}

/* What v1_pages says of the document with the guid. */
static int64_t problem_like(const char *guid, const char *pattern) {
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM v1_pages AS p JOIN v1_documents AS d USING (document) WHERE"
             " d.guid = '%s' AND coalesce(p.problem, '') LIKE '%s'",
             guid, pattern);
    return ask(sql);
}

static void setup_fulltext(void) {
    setup();
    cr_assert_eq(
        cam_journal_control(database, CAM_ITEM_SETTING, "feed.fulltext", "on", "person", NULL),
        CAM_OK);
}

TestSuite(fulltext, .init = setup_fulltext, .fini = teardown);

Test(fulltext, the_page_is_the_document_and_is_asked_for_once) {
    serve_feed("/1", "/2");
    serve_page("/1", PAGE, "text/html; charset=utf-8");
    serve_page("/2", "<p>gone home</p>", "text/html");
    add_feed("/feed");
    struct cam_fetcher_round first = poll_round();
    cr_assert_eq(first.counts.journalled, 3);
    cr_assert_geq(bytes_of("1"), (int64_t)(strlen(ARTICLE) + strlen(SECOND)));
    cr_assert_lt(bytes_of("1"), (int64_t)strlen(PAGE) - 100, "navigation and footer are not in it");
    cr_assert_eq(problem_like("1", ""), 1);
    cr_assert_eq(problem_like("2", "%main text%"), 1, "too short: the summary is kept");
    cr_assert_eq(ask("SELECT count(*) FROM v1_pages"), 2, "the third had all its text");
    cr_assert_eq(n_requests("/robots.txt"), 1u);
    /* A feed with another validator but the same entries: nothing is asked for, nothing is new. */
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                    .body = feed_body,
                                                    .etag = "\"2\"",
                                                    .content_type = "application/rss+xml"});
    struct cam_fetcher_round again = poll_round();
    cr_assert_eq(again.counts.journalled, 0);
    cr_assert_eq(again.counts.duplicates, 3);
    cr_assert_eq(n_requests("/1"), 1u);
    cr_assert_eq(n_requests("/2"), 1u);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents WHERE revises IS NOT NULL"), 0);
}

Test(fulltext, N18_robots_txt_denies_the_page_and_it_is_skipped_and_recorded) {
    serve_feed("/private/1", "/2");
    serve_robots("User-agent: *\nDisallow: /\n\nUser-agent: cambium\nDisallow: /private\n");
    serve_page("/private/1", PAGE, "text/html");
    serve_page("/2", PAGE, "text/html");
    add_feed("/feed");
    cr_assert_eq(poll_round().counts.journalled, 3);
    cr_assert_eq(n_requests("/private/1"), 0u);
    cr_assert_eq(bytes_of("1"), (int64_t)strlen(SUMMARY), "the summary is kept");
    cr_assert_eq(problem_like("1", "robots.txt of 127.0.0.1 forbids it"), 1);
    cr_assert_eq(n_requests("/2"), 1u);
    cr_assert_eq(problem_like("2", ""), 1);
    for (size_t i = 0; i < cam_httpd_n_requests(server); i++)
        cr_assert_eq(strncmp(cam_httpd_request(server, i)->user_agent, "cambium/", 8), 0);
}

Test(fulltext, N18_no_page_without_an_answer_about_robots_txt) {
    serve_feed("/1", "/2");
    serve_page("/1", PAGE, "text/html");
    serve_page("/2", PAGE, "text/html");
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/robots.txt", .status = 503, .body = "later"});
    add_feed("/feed");
    cr_assert_eq(poll_round().counts.journalled, 3);
    cr_assert_eq(n_requests("/1") + n_requests("/2"), 0u);
    cr_assert_eq(n_requests("/robots.txt"), 1u, "asked once for both");
    cr_assert_eq(problem_like("1", "robots.txt of 127.0.0.1 cannot be had%"), 1);
}

Test(fulltext, what_is_gone_or_no_page_leaves_the_summary) {
    serve_feed("/gone", "/pdf");
    serve_page("/pdf", "%PDF-1.4 not a page", "application/pdf");
    add_feed("/feed");
    cr_assert_eq(poll_round().counts.journalled, 3);
    cr_assert_eq(bytes_of("1"), (int64_t)strlen(SUMMARY));
    cr_assert_eq(problem_like("1", "%HTTP 404%"), 1);
    cr_assert_eq(problem_like("2", "%no HTML but application/pdf"), 1);
    cr_assert_eq(ask("SELECT http_status FROM v1_pages WHERE problem LIKE '%404%'"), 404);
    cr_assert_eq(ask("SELECT failures FROM v1_feeds"), 0, "the feed did nothing wrong");
}

Test(fulltext, a_host_that_is_busy_is_left_alone_and_the_rest_comes_with_the_next_poll) {
    static const char *const wait[] = {"Retry-After", "7200", NULL};
    serve_feed("/1", "/2");
    serve_page("/1", PAGE, "text/html");
    serve_page("/2", PAGE, "text/html");
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/2", .status = 503, .body = "busy", .headers = wait});
    add_feed("/feed"); /* the second entry is the older one, so its page is the first */
    struct cam_fetcher_round busy = poll_round();
    cr_assert_eq(busy.counts.journalled, 2, "the one that was busy, and the one with all its text");
    cr_assert_eq(n_requests("/1"), 0u);
    cr_assert_eq(ask("SELECT etag IS NULL FROM v1_feeds"), 1, "the feed is needed again");
    cr_assert_eq(ask("SELECT not_before_ms > 0 FROM feed_hosts"), 1);
    serve_page("/2", PAGE, "text/html");
    struct cam_fetcher_round later = poll_round();
    cr_assert_eq(later.counts.journalled, 1);
    cr_assert_eq(problem_like("1", ""), 1);
    cr_assert_eq(n_requests("/2"), 1u, "once is enough, whatever came of it");
    cr_assert_eq(ask("SELECT etag IS NOT NULL FROM v1_feeds"), 1);
}

Test(fulltext, a_poll_that_is_stopped_before_it_is_journalled_journals_once_later) {
    atomic_int stop = 0;
    struct cam_fetcher_options options = {.allow = allow, .stop = &stop};
    struct cam_fetcher_round round;
    serve_feed("/1", "/2");
    serve_page("/1", PAGE, "text/html");
    serve_page("/2", PAGE, "text/html");
    add_feed("/feed");
    stop = 1;
    cr_assert_eq(cam_fetcher_round(database, &options, &round), CAM_STOPPED);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 0);
    cr_assert_eq(ask("SELECT count(*) FROM v1_pages"), 0);
    cr_assert_eq(poll_round().counts.journalled, 2, "one page twice: the second is a duplicate");
    cr_assert_eq(poll_round().counts.journalled, 0);
    cr_assert_eq(ask("SELECT count(*) FROM v1_pages"), 2);
    cr_assert_eq(ask("SELECT count(*) FROM v1_pages WHERE document IS NULL"), 1);
}

Test(fulltext, a_feed_may_differ_from_the_setting) {
    struct cam_feeds feeds;
    serve_feed("/1", "/2");
    serve_page("/1", PAGE, "text/html");
    add_feed("/feed");
    cr_assert_eq(cam_feeds_list(database, &feeds), CAM_OK);
    int64_t feed = feeds.feeds[0].feed;
    cam_feeds_release(&feeds);
    cr_assert_eq(cam_feeds_set_fulltext(database, feed, 0), CAM_OK);
    cr_assert_eq(poll_round().counts.journalled, 3);
    cr_assert_eq(cam_httpd_n_requests(server), 1u, "the feed and nothing else");
    cr_assert_eq(ask("SELECT fulltext = 0 FROM v1_feeds"), 1);
    /* Switched on, the entries that are still in the feed become new versions. */
    cr_assert_eq(cam_feeds_set_fulltext(database, feed, 1), CAM_OK);
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                    .body = feed_body,
                                                    .etag = "\"2\"",
                                                    .content_type = "application/rss+xml"});
    struct cam_fetcher_round on = poll_round();
    cr_assert_eq(on.counts.journalled, 1);
    cr_assert_eq(on.counts.revisions, 1);
    /* And off again they are known. */
    cr_assert_eq(cam_feeds_set_fulltext(database, feed, 0), CAM_OK);
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                    .body = feed_body,
                                                    .etag = "\"3\"",
                                                    .content_type = "application/rss+xml"});
    cr_assert_eq(poll_round().counts.journalled, 0);
}

Test(fulltext, pages_lie_on_other_hosts_and_no_two_requests_meet) {
    struct cam_httpd *other = cam_httpd_start("127.0.0.2");
    cr_assert_not_null(other);
    serve_feed("/1", "/2");
    char page[128], *at = strstr(feed_body, first_url);
    cam_httpd_url(other, "/1", page, sizeof page);
    cr_assert_eq(strlen(page), strlen(first_url));
    memcpy(at, page, strlen(page));
    cam_httpd_add(
        other, &(struct cam_httpd_route){.path = "/1", .body = PAGE, .content_type = "text/html"});
    serve_page("/2", PAGE, "text/html");
    add_feed("/feed");
    cr_assert_eq(poll_round().counts.journalled, 2);
    cr_assert_eq(cam_httpd_n_requests(other), 2u, "its robots.txt and the page");
    cr_assert_eq(cam_httpd_most(server), 1u);
    cam_httpd_stop(other);
}

Test(fulltext, N06_a_page_at_a_private_address_is_not_asked_for) {
    serve_feed("/1", "/2");
    char *at = strstr(feed_body, "127.0.0.1");
    memcpy(at, "127.9.9.9", 9); /* not in the list below */
    static const char *const one[] = {"127.0.0.1", NULL};
    struct cam_fetcher_options options = {.allow = one};
    struct cam_fetcher_round round;
    add_feed("/feed");
    cr_assert_eq(cam_fetcher_round(database, &options, &round), CAM_OK);
    cr_assert_eq(round.counts.journalled, 3);
    cr_assert_eq(problem_like("1", "robots.txt of 127.9.9.9 cannot be had%"), 1);
}
