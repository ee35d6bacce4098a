/* Fetching, against a scripted server on a loopback port. */
#include "feed/fetch.h"
#include "support/httpd.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static const char *const loopback[] = {"127.0.0.1", NULL};

static struct cam_httpd *server;
static struct cam_fetch_request request;
static struct cam_fetch_result result;
static char url[512];

static void make(void) {
    server = cam_httpd_start("127.0.0.1");
    cr_assert_not_null(server);
}

static void drop(void) {
    cam_fetch_result_release(&result);
    cam_httpd_stop(server);
}

TestSuite(fetch, .init = make, .fini = drop);

/* A request for PATH of our server, which is allowed. */
static void aim(const char *path) {
    cam_fetch_request_init(&request, cam_httpd_url(server, path, url, sizeof url));
    request.allow = loopback;
}

static enum cam_status fetch(void) {
    cam_fetch_result_release(&result);
    return cam_fetch(&request, &result);
}

static void check_message(const char *part) {
    cr_assert(strstr(cam_message(), part), "\"%s\" lacks \"%s\"", cam_message(), part);
}

/* A failed fetch must look like nothing came. */
static void check_failed(enum cam_status expected) {
    enum cam_status status = fetch();
    cr_assert_eq(status, expected, "%s: %s", cam_status_name(status), cam_message());
    cr_assert_eq(result.body.size, 0);
    cr_assert_null(result.etag);
    cr_assert_null(result.last_modified);
    cr_assert_eq(result.not_modified, 0);
}

Test(fetch, body_headers_and_user_agent) {
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/feed",
                                            .body = "hello",
                                            .etag = "W/\"a b\"",
                                            .last_modified = "Tue, 05 Mar 2024 10:00:00 GMT",
                                            .content_type = "text/plain; charset=x"});
    aim("/feed#part");
    request.contact = "https://example.org/bot";
    MUST(fetch());
    cr_assert_eq(result.http_status, 200);
    cr_assert_eq(result.not_modified, 0);
    cr_assert_str_eq(result.body.data, "hello");
    cr_assert_str_eq(result.etag, "W/\"a b\"");
    cr_assert_str_eq(result.last_modified, "Tue, 05 Mar 2024 10:00:00 GMT");
    cr_assert_str_eq(result.content_type, "text/plain; charset=x");
    cr_assert_eq(result.retry_after_s, -1);
    cr_assert_str_eq(result.effective_url, cam_httpd_url(server, "/feed", url, sizeof url));
    const struct cam_httpd_request *sent = cam_httpd_request(server, 0);
    cr_assert_str_eq(sent->user_agent, "cambium/" CAM_VERSION " (+https://example.org/bot)");
    cr_assert_str_eq(sent->if_none_match, "");
    cr_assert_str_eq(sent->if_modified_since, "");
}

Test(fetch, an_empty_body_is_a_body) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed"});
    aim("/feed");
    MUST(fetch());
    cr_assert_eq(result.body.size, 0);
}

Test(fetch, N01_etag_gives_304_and_keeps_the_validator) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                    .body = "hello",
                                                    .etag = "W/\"weak \\ etag\"",
                                                    .hide_validators_on_304 = 1});
    aim("/feed");
    request.etag = "W/\"weak \\ etag\"";
    MUST(fetch());
    cr_assert_eq(result.http_status, 304);
    cr_assert_eq(result.not_modified, 1);
    cr_assert_eq(result.body.size, 0);
    cr_assert_str_eq(result.etag, "W/\"weak \\ etag\"");
    cr_assert_str_eq(cam_httpd_request(server, 0)->if_none_match, "W/\"weak \\ etag\"");
}

Test(fetch, N01_last_modified_gives_304) {
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/feed", .body = "hello", .last_modified = "odd but theirs"});
    aim("/feed");
    request.last_modified = "odd but theirs";
    MUST(fetch());
    cr_assert_eq(result.not_modified, 1);
    cr_assert_null(result.etag);
    cr_assert_str_eq(result.last_modified, "odd but theirs");
}

Test(fetch, N01_a_changed_feed_is_fetched_with_its_new_validator) {
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/feed", .body = "new", .etag = "\"2\""});
    aim("/feed");
    request.etag = "\"1\"";
    MUST(fetch());
    cr_assert_eq(result.not_modified, 0);
    cr_assert_str_eq(result.body.data, "new");
    cr_assert_str_eq(result.etag, "\"2\"");
}

Test(fetch, N01_304_without_validators_is_refused) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .status = 304});
    aim("/feed");
    check_failed(CAM_ERR_PROTOCOL);
}

Test(fetch, N15_validators_with_line_breaks_are_never_sent) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "x"});
    static const char *const bad[] = {"\"a\"\r\nX-Evil: 1", "\"a\"\nX-Evil: 1", "\"a\"\r", "\x01"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        aim("/feed");
        request.etag = bad[i];
        check_failed(CAM_ERR_DATA);
        check_message("validator");
        aim("/feed");
        request.last_modified = bad[i];
        check_failed(CAM_ERR_DATA);
    }
    cr_assert_eq(cam_httpd_n_requests(server), 0);
}

Test(fetch, N15_validators_too_long_or_odd_are_not_kept) {
    char *etag = malloc(3000);
    memset(etag, 'e', 2999);
    etag[2999] = '\0';
    cam_httpd_add(server,
                  &(struct cam_httpd_route){
                      .path = "/feed", .body = "x", .etag = etag, .last_modified = "tab\tinside"});
    aim("/feed");
    MUST(fetch());
    cr_assert_null(result.etag);
    cr_assert_null(result.last_modified);
    free(etag);
}

Test(fetch, N04_what_status_codes_mean) {
    static const struct {
        int http;
        enum cam_status status;
        const char *text;
    } cases[] = {
        {404, CAM_ERR_NOINPUT, "HTTP 404 Not Found; check the address (cambium feed list)"},
        {410, CAM_ERR_NOINPUT, "HTTP 410 Gone"},
        {401, CAM_ERR_PERMISSION, "HTTP 401 Unauthorized"},
        {403, CAM_ERR_PERMISSION, "HTTP 403 Forbidden"},
        {418, CAM_ERR_UNAVAILABLE, "HTTP 418"},
        {500, CAM_ERR_UNAVAILABLE, "HTTP 500 Internal Server Error"},
        {503, CAM_ERR_UNAVAILABLE, "HTTP 503"},
        {206, CAM_ERR_PROTOCOL, "HTTP 206"},
        {302, CAM_ERR_PROTOCOL, "HTTP 302"}, /* without a Location */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cam_httpd_add(server, &(struct cam_httpd_route){
                                  .path = "/feed", .status = cases[i].http, .body = "page"});
        aim("/feed");
        check_failed(cases[i].status);
        cr_assert_eq(result.http_status, cases[i].http);
        check_message(cases[i].text);
        check_message(url);
    }
}

Test(fetch, N04_an_endless_error_page_is_hung_up_on) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                    .status = 404,
                                                    .body = "0123456789",
                                                    .way = CAM_HTTPD_ENDLESS});
    aim("/feed");
    check_failed(CAM_ERR_NOINPUT);
}

Test(fetch, N03_retry_after) {
    static const struct {
        const char *value;
        long low, high;
    } cases[] = {
        {"120", 120, 120},
        {"0", 0, 0},
        {"99999999999999999999999", CAM_FETCH_MAX_RETRY_AFTER_S, CAM_FETCH_MAX_RETRY_AFTER_S},
        {"-5", -1, -1},
        {"soon", -1, -1},
        {"12 monkeys", -1, -1},
        {"Tue, 05 Mar 2024 10:00:00 GMT", 0, 0},
        {"Fri, 31 Dec 2100 23:59:59 GMT", CAM_FETCH_MAX_RETRY_AFTER_S, CAM_FETCH_MAX_RETRY_AFTER_S},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *headers[] = {"Retry-After", cases[i].value, NULL};
        cam_httpd_add(server, &(struct cam_httpd_route){
                                  .path = "/feed", .status = 429, .body = "", .headers = headers});
        aim("/feed");
        check_failed(CAM_ERR_UNAVAILABLE);
        cr_assert(result.retry_after_s >= cases[i].low && result.retry_after_s <= cases[i].high,
                  "%s: %ld", cases[i].value, result.retry_after_s);
    }
}

Test(fetch, unknown_host_and_refused_connection) {
    cam_fetch_request_init(&request, "http://no-such-host.invalid/feed");
    check_failed(CAM_ERR_UNAVAILABLE);
    check_message("no-such-host.invalid");
    aim("/feed");
    cam_httpd_stop(server);
    server = NULL;
    check_failed(CAM_ERR_UNAVAILABLE);
    server = cam_httpd_start("127.0.0.1");
}

Test(fetch, N10_the_body_limit_is_exact) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "0123456789"});
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/chunked", .body = "0123456789", .way = CAM_HTTPD_CHUNKED});
    static const char *const paths[] = {"/feed", "/chunked"};
    for (size_t i = 0; i < 2; i++) {
        aim(paths[i]);
        request.max_bytes = 10;
        MUST(fetch());
        cr_assert_str_eq(result.body.data, "0123456789");
        request.max_bytes = 9;
        check_failed(CAM_ERR_DATA);
        check_message("limit of 9 bytes");
    }
}

Test(fetch, N09_an_endless_body_stops_at_the_limit) {
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/feed", .body = "0123456789", .way = CAM_HTTPD_ENDLESS});
    aim("/feed");
    request.max_bytes = 1u << 20;
    check_failed(CAM_ERR_DATA);
}

Test(fetch, gzip_is_decoded) {
    size_t n;
    char *packed = cam_httpd_gzip("hello hello hello", 17, 0, &n);
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/feed", .body = packed, .n_bytes = n, .encoding = "gzip"});
    aim("/feed");
    MUST(fetch());
    cr_assert_str_eq(result.body.data, "hello hello hello");
    cr_assert(strstr(cam_httpd_request(server, 0)->accept_encoding, "gzip"));
    cam_httpd_stop(server);
    free(packed);
    server = cam_httpd_start("127.0.0.1");
}

Test(fetch, gzip_of_whole_pieces_and_of_several_members) {
    static const size_t sizes[] = {1, 32767, 32768, 32769, 65536, 1u << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n, n_more;
        char *packed = cam_httpd_gzip(NULL, 0, sizes[i], &n);
        char *more = cam_httpd_gzip("more", 4, 0, &n_more);
        char *both = malloc(n + n_more);
        memcpy(both, packed, n);
        memcpy(both + n, more, n_more);
        cam_httpd_add(server,
                      &(struct cam_httpd_route){
                          .path = "/feed", .body = packed, .n_bytes = n, .encoding = "gzip"});
        aim("/feed");
        MUST(fetch());
        cr_assert_eq(result.body.size, sizes[i]);
        cam_httpd_add(
            server, &(struct cam_httpd_route){
                        .path = "/feed", .body = both, .n_bytes = n + n_more, .encoding = "gzip"});
        MUST(fetch());
        cr_assert_eq(result.body.size, sizes[i] + 4);
        cr_assert_str_eq(result.body.data + sizes[i], "more");
        cam_httpd_stop(server);
        server = cam_httpd_start("127.0.0.1");
        free(packed);
        free(more);
        free(both);
    }
}

Test(fetch, N10_a_gzip_bomb_stops_at_the_limit) {
    size_t n;
    char *packed = cam_httpd_gzip(NULL, 0, (size_t)100 << 20, &n);
    cr_assert_lt(n, 1u << 20, "the wire carries less than the limit");
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/feed", .body = packed, .n_bytes = n, .encoding = "gzip"});
    aim("/feed");
    request.max_bytes = 1u << 20;
    check_failed(CAM_ERR_DATA);
    check_message("decompressed");
    cr_assert_eq(result.body.capacity, 0);
    cam_httpd_stop(server);
    free(packed);
    server = cam_httpd_start("127.0.0.1");
}

Test(fetch, N11_a_header_flood_stops_at_the_limit) {
    static const char *headers[2 * 400 + 1];
    for (size_t i = 0; i < 400; i++) {
        headers[2 * i] = "X-Filler";
        headers[2 * i + 1] = "0123456789012345678901234567890123456789";
    }
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/feed", .body = "x", .headers = headers});
    aim("/feed");
    request.max_header_bytes = 8u << 10;
    check_failed(CAM_ERR_DATA);
    check_message("header");
    request.max_header_bytes = 64u << 10;
    check_failed(CAM_ERR_DATA);
    check_message("256 lines");
    request.max_headers = 500;
    MUST(fetch());
}

Test(fetch, N13_a_body_cut_short_is_an_error) {
    static const enum cam_httpd_way ways[] = {CAM_HTTPD_CUT, CAM_HTTPD_CUT_CHUNKED};
    size_t n;
    char *packed = cam_httpd_gzip(NULL, 0, 5000, &n);
    for (size_t i = 0; i < 2; i++) {
        cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                        .body = "0123456789",
                                                        .way = ways[i],
                                                        .cut_bytes = 5,
                                                        .etag = "\"new\""});
        aim("/feed");
        check_failed(CAM_ERR_UNAVAILABLE);
        cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                        .body = packed,
                                                        .n_bytes = n,
                                                        .encoding = "gzip",
                                                        .way = ways[i],
                                                        .cut_bytes = n - 4});
        check_failed(CAM_ERR_UNAVAILABLE);
    }
    cam_httpd_stop(server);
    free(packed);
    server = cam_httpd_start("127.0.0.1");
}

Test(fetch, N13_a_gzip_stream_cut_inside_a_whole_answer_is_an_error) {
    size_t n;
    char *packed = cam_httpd_gzip("hello hello hello", 17, 0, &n);
    static const size_t missing[] = {1, 4, 8, 9, 12};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed",
                                                        .body = packed,
                                                        .n_bytes = n - missing[i],
                                                        .encoding = "gzip"});
        aim("/feed");
        enum cam_status status = fetch();
        cr_expect_neq(status, CAM_OK, "%zu bytes missing: %zu came", missing[i], result.body.size);
    }
    cam_httpd_stop(server);
    free(packed);
    server = cam_httpd_start("127.0.0.1");
}

Test(fetch, N10_encodings_not_asked_for_are_refused) {
    static const char *const encodings[] = {"br", "zstd", "deflate", "gzip, gzip", "%n"};
    static const char *const twice[] = {"Content-Encoding", "gzip", NULL};
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        cam_httpd_add(server, &(struct cam_httpd_route){
                                  .path = "/feed", .body = "x", .encoding = encodings[i]});
        aim("/feed");
        check_failed(CAM_ERR_PROTOCOL);
        check_message(encodings[i]);
    }
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/feed", .body = "x", .encoding = "gzip", .headers = twice});
    check_failed(CAM_ERR_PROTOCOL);
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/feed", .body = "not packed", .encoding = "gzip"});
    check_failed(CAM_ERR_PROTOCOL);
    check_message("damaged");
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/feed", .body = "plain", .encoding = "identity"});
    MUST(fetch());
    cr_assert_str_eq(result.body.data, "plain");
}

Test(fetch, redirects_are_followed) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/a",
                                                    .status = 301,
                                                    .location = "/b",
                                                    .body = "moved",
                                                    .etag = "\"of the redirect\""});
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/b", .status = 307, .location = "c?x=1"});
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/c", .body = "here"});
    aim("/a");
    MUST(fetch());
    cr_assert_str_eq(result.body.data, "here");
    cr_assert_null(result.etag, "the validator belongs to the final answer");
    cr_assert_str_eq(result.effective_url, cam_httpd_url(server, "/c?x=1", url, sizeof url));
}

Test(fetch, N05_redirect_loops_end) {
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/loop", .status = 302, .location = "/loop"});
    aim("/loop");
    check_failed(CAM_ERR_PROTOCOL);
    check_message("more than 5 redirects");
    cr_assert_eq(cam_httpd_n_requests(server), 6);
    request.max_redirects = 0;
    check_failed(CAM_ERR_PROTOCOL);
    cr_assert_eq(cam_httpd_n_requests(server), 7);
}

Test(fetch, N05_redirects_to_other_schemes_are_refused) {
    static const char *const targets[] = {"file:///etc/passwd", "gopher://127.0.0.1/",
                                          "ftp://x/",           "dict://127.0.0.1:1/",
                                          "scp://x/",           "http://",
                                          "javascript:alert(1)"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        cam_httpd_add(server, &(struct cam_httpd_route){
                                  .path = "/feed", .status = 302, .location = targets[i]});
        aim("/feed");
        enum cam_status status = fetch();
        cr_assert(status == CAM_ERR_PROTOCOL || status == CAM_ERR_NOINPUT, "%s: %d %s", targets[i],
                  status, cam_message());
        cr_assert_eq(result.body.size, 0);
    }
}

Test(fetch, N05_only_http_is_fetched) {
    static const char *const bad[] = {"file:///etc/passwd",
                                      "ftp://example.org/",
                                      "gopher://x/",
                                      "unknown://x/",
                                      "",
                                      "http://",
                                      "http://a b/",
                                      "://"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cam_fetch_request_init(&request, bad[i]);
        check_failed(CAM_ERR_DATA);
    }
    cam_fetch_request_init(&request, "file:///etc/passwd");
    check_failed(CAM_ERR_DATA);
    check_message("only http and https");
}

Test(fetch, N06_private_addresses_are_refused_in_every_spelling) {
    static const char *const hosts[] = {
        "127.0.0.1",  "localhost",       "127.1",    "2130706433",         "0x7f.1",
        "0177.0.0.1", "0.0.0.0",         "[::1]",    "[::ffff:127.0.0.1]", "[::]",
        "10.0.0.1",   "169.254.169.254", "[fe80::1]"};
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "secret"});
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        snprintf(url, sizeof url, "http://%s:%d/feed", hosts[i], cam_httpd_port(server));
        cam_fetch_request_init(&request, url);
        check_failed(CAM_ERR_PERMISSION);
        check_message("not a public address");
    }
    cr_assert_eq(cam_httpd_n_requests(server), 0);
}

Test(fetch, N06_every_redirect_is_checked) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/secret", .body = "secret"});
    char target[128];
    snprintf(target, sizeof target, "http://127.0.0.2:%d/secret", cam_httpd_port(server));
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/feed", .status = 302, .location = target});
    aim("/feed");
    check_failed(CAM_ERR_PERMISSION);
    check_message("127.0.0.2");
    cr_assert_eq(cam_httpd_n_requests(server), 1);
}

Test(fetch, N06_allow_lists_open_what_they_name) {
    static const char *const lists[][2] = {
        {"127.0.0.1", NULL}, {"127.0.0.0/8", NULL}, {"localhost", NULL}};
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "x"});
    for (size_t i = 0; i < 3; i++) {
        snprintf(url, sizeof url, "http://%s:%d/feed", i == 2 ? "localhost" : "127.0.0.1",
                 cam_httpd_port(server));
        cam_fetch_request_init(&request, url);
        request.allow = lists[i];
        MUST(fetch());
    }
}

Test(fetch, N06_ipv6_loopback_is_refused_and_allowed) {
    static const char *const allow[] = {"::1", NULL};
    struct cam_httpd *six = cam_httpd_start("::1");
    if (!six)
        cr_skip_test("no IPv6 loopback here");
    cam_httpd_add(six, &(struct cam_httpd_route){.path = "/feed", .body = "six"});
    cam_fetch_request_init(&request, cam_httpd_url(six, "/feed", url, sizeof url));
    check_failed(CAM_ERR_PERMISSION);
    request.allow = allow;
    MUST(fetch());
    cr_assert_str_eq(result.body.data, "six");
    cam_httpd_stop(six);
}

Test(fetch, N08_proxy_variables_are_ignored) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "direct"});
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    setenv("all_proxy", "http://127.0.0.1:1/", 1);
    aim("/feed");
    MUST(fetch());
    cr_assert_str_eq(result.body.data, "direct");
}

Test(fetch, N09_a_silent_server_times_out) {
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .way = CAM_HTTPD_HANG});
    aim("/feed");
    request.total_ms = 200;
    check_failed(CAM_ERR_UNAVAILABLE);
}

static atomic_int stop;

static void *set_stop_when_asked(void *context) {
    (void)context;
    while (cam_httpd_n_requests(server) == 0)
        sched_yield();
    atomic_store(&stop, 1);
    return NULL;
}

Test(fetch, C21_stop_ends_a_transfer) {
    pthread_t thread;
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .way = CAM_HTTPD_HANG});
    aim("/feed");
    request.stop = &stop;
    request.total_ms = 250000; /* beyond the test's own limit */
    pthread_create(&thread, NULL, set_stop_when_asked, NULL);
    check_failed(CAM_STOPPED);
    pthread_join(thread, NULL);
}

Test(fetch, N14_credentials_are_sent_home_and_shown_nowhere) {
    char target[128], with[256];
    struct cam_httpd *other = cam_httpd_start("127.0.0.1");
    cam_httpd_add(other, &(struct cam_httpd_route){.path = "/there", .body = "x"});
    cam_httpd_url(other, "/there", target, sizeof target);
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/home", .status = 302, .location = "/b"});
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/b", .body = "x"});
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/away", .status = 302, .location = target});
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/no", .status = 403});
    static const char *const paths[] = {"/home", "/away", "/no"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(with, sizeof with, "http://user:s%%65cret@127.0.0.1:%d%s", cam_httpd_port(server),
                 paths[i]);
        cam_fetch_request_init(&request, with);
        request.allow = loopback;
        enum cam_status status = fetch();
        cr_assert_eq(status, i == 2 ? CAM_ERR_PERMISSION : CAM_OK, "%s", cam_message());
        if (status == CAM_OK)
            cr_assert_null(strchr(result.effective_url, '@'));
    }
    check_message("http://***@127.0.0.1");
    cr_assert_null(strstr(cam_message(), "cret"));
    cr_assert_eq(cam_httpd_n_requests(server), 4);
    for (size_t i = 0; i < 4; i++) /* base64 of user:secret */
        cr_assert_str_eq(cam_httpd_request(server, i)->authorization, "Basic dXNlcjpzZWNyZXQ=");
    cr_assert_eq(cam_httpd_n_requests(other), 1);
    cr_assert_str_eq(cam_httpd_request(other, 0)->authorization, "");
    cam_httpd_stop(other);
}

/* ---- TLS ---- */

static char *load(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/feed/%s", CAM_TEST_DATA, name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 8192);
    cr_assert_gt(fread(text, 1, 8191, file), 0);
    fclose(file);
    return text;
}

/* Replaces the plain server by one with CERTIFICATE. */
static void use_tls(const char *certificate) {
    char *pem = load(certificate), *key = load("tls-test-only-key.pem");
    cam_httpd_stop(server);
    server = cam_httpd_start_tls("127.0.0.1", pem, key);
    free(pem);
    free(key);
    if (!server) {
        server = cam_httpd_start("127.0.0.1");
        cr_skip_test("libmicrohttpd without TLS");
    }
}

static const char ca_file[] = CAM_TEST_DATA "/feed/tls-localhost.pem";

Test(fetch, N12_tls_with_a_trusted_certificate) {
    use_tls("tls-localhost.pem");
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "safe"});
    aim("/feed");
    request.ca_file = ca_file;
    MUST(fetch());
    cr_assert_str_eq(result.body.data, "safe");
}

Test(fetch, N12_bad_certificates_are_refused) {
    use_tls("tls-localhost.pem");
    aim("/feed"); /* self-signed */
    check_failed(CAM_ERR_PROTOCOL);
    check_message("TLS");
    snprintf(url, sizeof url, "https://127.0.0.1:%d/feed", cam_httpd_port(server));
    request.ca_file = ca_file; /* for localhost, not for 127.0.0.1 */
    check_failed(CAM_ERR_PROTOCOL);
    use_tls("tls-expired.pem");
    aim("/feed");
    request.ca_file = CAM_TEST_DATA "/feed/tls-expired.pem";
    check_failed(CAM_ERR_PROTOCOL);
    check_message("TLS");
    cr_assert_eq(cam_httpd_n_requests(server), 0);
}

Test(fetch, N05_https_never_redirects_to_http) {
    char target[128];
    struct cam_httpd *plain = cam_httpd_start("127.0.0.1");
    use_tls("tls-localhost.pem");
    cam_httpd_url(plain, "/feed", target, sizeof target);
    cam_httpd_add(plain, &(struct cam_httpd_route){.path = "/feed", .body = "plain"});
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = "/feed", .status = 301, .location = target});
    aim("/feed");
    request.ca_file = ca_file;
    check_failed(CAM_ERR_PROTOCOL);
    check_message("from https to http");
    cr_assert_eq(cam_httpd_n_requests(plain), 0);
    cam_httpd_stop(plain);
}

Test(fetch, N14_credentials_do_not_cross_schemes) {
    char target[128], with[256];
    struct cam_httpd *plain = cam_httpd_start("127.0.0.1");
    use_tls("tls-localhost.pem");
    cam_httpd_url(server, "/feed", target, sizeof target);
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "x"});
    cam_httpd_add(plain,
                  &(struct cam_httpd_route){.path = "/up", .status = 301, .location = target});
    snprintf(with, sizeof with, "http://user:secret@localhost:%d/up", cam_httpd_port(plain));
    cam_fetch_request_init(&request, with);
    request.allow = loopback;
    request.ca_file = ca_file;
    MUST(fetch());
    cr_assert_str_eq(cam_httpd_request(server, 0)->authorization, "");
    cam_httpd_stop(plain);
}

/* ---- many at once ---- */

static void *fetch_often(void *context) {
    for (int i = 0; i < 8; i++) {
        struct cam_fetch_request mine;
        struct cam_fetch_result got;
        cam_fetch_request_init(&mine, context);
        mine.allow = loopback;
        if (cam_fetch(&mine, &got) != CAM_OK || got.body.size != 5)
            return NULL;
        cam_fetch_result_release(&got);
    }
    return context;
}

Test(fetch, threads_do_not_disturb_each_other) {
    pthread_t threads[4];
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "hello"});
    aim("/feed");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, fetch_often, url), 0);
    for (int i = 0; i < 4; i++) {
        void *done = NULL;
        pthread_join(threads[i], &done);
        cr_assert_eq(done, url);
    }
}

Test(fetch, N14_masked_addresses) {
    static const char *const cases[][2] = {
        {"http://host/feed", "http://host/feed"},
        {"https://user:secret@host:8/feed?a=b", "https://***@host:8/feed?a=b"},
        {"https://token@host/", "https://***@host/"},
        {"https://user:p@ss@host/", "https://***@host/"},
        {"https://user:p/ss@host/feed", "https://***@host/feed"},
        {"user:secret@host", "***@host"},
        {"http://host/@name/feed", "http://host/@name/feed"},
        {"http://host:80/@name", "http://host:80/@name"},
        {"http://[::1]:80/@name", "http://[::1]:80/@name"},
        {"", ""},
        {"%n%s", "%n%s"},
    };
    char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_str_eq(cam_url_mask(cases[i][0], out, sizeof out), cases[i][1]);
    cr_assert_str_eq(cam_url_mask("http://user:secret@host/feed", out, 12), "http://***@");
}
