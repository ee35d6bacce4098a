/* Fetching from servers that break HTTP, on purpose or not; and what a permanent move, a proxy and
 * Cache-Control come to.  Ids are those of the fault table. */
#include "feed/fetch.h"
#include "support/httpd.h"
#include "support/rawd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static const char *const loopback[] = {"127.0.0.0/8", NULL};
static struct cam_rawd *raw;
static struct cam_httpd *server;
static struct cam_fetch_request request;
static struct cam_fetch_result result;
static char url[512];

static void drop(void) {
    cam_fetch_result_release(&result);
    cam_rawd_stop(raw);
    cam_httpd_stop(server);
}

TestSuite(hostile, .fini = drop);

/* Fetches from a server that answers with BYTES. */
static enum cam_status fetch_raw(const char *bytes, size_t n_bytes, enum cam_rawd_end end) {
    cam_fetch_result_release(&result);
    cam_rawd_stop(raw);
    raw = cam_rawd_start(bytes, n_bytes, end);
    cam_fetch_request_init(&request, cam_rawd_url(raw, url, sizeof url));
    request.allow = loopback;
    request.total_ms = 20000;
    return cam_fetch(&request, &result);
}

static void check_failed(enum cam_status status, enum cam_status expected) {
    cr_assert_eq(status, expected, "%s: %s", cam_status_name(status), cam_message());
    cr_assert_eq(result.body.size, 0);
    cr_assert_null(result.etag);
}

Test(hostile, N11_a_content_length_that_is_too_short_ends_the_body) {
    MUST(fetch_raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0123456789", 0, CAM_RAWD_CLOSE));
    cr_assert_str_eq(result.body.data, "0123");
}

Test(hostile, N11_a_content_length_that_is_too_long_is_a_cut_body) {
    check_failed(fetch_raw("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 40\r\n\r\n0123", 0,
                           CAM_RAWD_CLOSE),
                 CAM_ERR_UNAVAILABLE);
}

Test(hostile, N11_broken_framing_is_refused) {
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "SMTP ready\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        enum cam_status status = fetch_raw(answers[i], 0, CAM_RAWD_CLOSE);
        cr_assert(status == CAM_ERR_PROTOCOL || status == CAM_ERR_UNAVAILABLE, "%zu: %s: %s", i,
                  cam_status_name(status), cam_message());
        cr_assert_eq(result.body.size, 0);
    }
}

Test(hostile, N11_one_header_of_64_KiB_and_a_hundred_thousand_headers_stop_early) {
    size_t n = 3u << 20, used;
    char *answer = malloc(n);
    used = (size_t)sprintf(answer, "HTTP/1.1 200 OK\r\nX-Long: ");
    memset(answer + used, 'x', 65536);
    sprintf(answer + used + 65536, "\r\n\r\nhello");
    check_failed(fetch_raw(answer, 0, CAM_RAWD_CLOSE), CAM_ERR_DATA);
    cam_rawd_stop(raw); /* it may be sending still */
    raw = NULL;
    used = (size_t)sprintf(answer, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 100000; i++)
        used += (size_t)sprintf(answer + used, "X: %d\r\n", i);
    sprintf(answer + used, "\r\nhello");
    check_failed(fetch_raw(answer, 0, CAM_RAWD_CLOSE), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "256 lines"), "%s", cam_message());
    cam_rawd_stop(raw); /* it may be sending still */
    raw = NULL;
    free(answer);
}

Test(hostile, N15_a_validator_with_control_characters_is_not_kept) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nETag: \"a\rX-Evil: 1\"\r\nLast-Modified: a\x01"
                                 "b\r\nContent-Length: 2\r\n\r\nok";
    enum cam_status status = fetch_raw(answer, 0, CAM_RAWD_CLOSE);
    if (status != CAM_OK) /* libcurl may refuse it as a whole */
        cr_assert(status == CAM_ERR_PROTOCOL || status == CAM_ERR_UNAVAILABLE);
    cr_assert_null(result.etag);
    cr_assert_null(result.last_modified);
}

Test(hostile, N09_headers_that_stall_and_bodies_that_drip_run_out_of_time) {
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nX-",
                                          "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx"};
    for (size_t i = 0; i < 2; i++) {
        cam_rawd_stop(raw);
        raw = cam_rawd_start(answers[i], 0, i ? CAM_RAWD_DRIP : CAM_RAWD_HOLD);
        cam_fetch_request_init(&request, cam_rawd_url(raw, url, sizeof url));
        request.allow = loopback;
        request.total_ms = 300;
        check_failed(cam_fetch(&request, &result), CAM_ERR_UNAVAILABLE);
    }
}

Test(hostile, N09_a_body_slower_than_the_least_speed_is_given_up) {
    raw = cam_rawd_start("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx", 0, CAM_RAWD_DRIP);
    cam_fetch_request_init(&request, cam_rawd_url(raw, url, sizeof url));
    request.allow = loopback;
    request.low_speed_bytes = 100000;
    request.low_speed_s = 1;
    request.total_ms = 200000; /* beyond the test's own limit */
    check_failed(cam_fetch(&request, &result), CAM_ERR_UNAVAILABLE);
}

Test(hostile, N07_a_name_is_judged_by_the_address_of_its_socket) {
    raw = cam_rawd_start("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret", 0, CAM_RAWD_CLOSE);
    snprintf(url, sizeof url, "http://localhost:%d/feed", cam_rawd_port(raw));
    cam_fetch_request_init(&request, url);
    check_failed(cam_fetch(&request, &result), CAM_ERR_PERMISSION);
    cr_assert(strstr(cam_message(), "not a public address"), "%s", cam_message());
    cr_assert_eq(cam_rawd_n_requests(raw), 0, "nothing was sent");
}

/* ---- proxies ---- */

static const char from_proxy[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy";

static enum cam_status fetch_through_proxy(const char *target) {
    static char proxy[64];
    cam_fetch_result_release(&result);
    if (!raw)
        raw = cam_rawd_start(from_proxy, 0, CAM_RAWD_CLOSE);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", cam_rawd_port(raw));
    cam_fetch_request_init(&request, target);
    request.proxy = proxy;
    return cam_fetch(&request, &result);
}

Test(hostile, N08_a_proxy_that_was_set_is_used_whatever_the_environment_says) {
    char sent[256];
    setenv("no_proxy", "*", 1);
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    MUST(fetch_through_proxy("http://feeds.example.org/news"));
    cr_assert_str_eq(result.body.data, "proxy");
    cam_rawd_request(raw, sent, sizeof sent);
    cr_assert(strncmp(sent, "GET http://feeds.example.org/news HTTP/1.1", 42) == 0, "%s", sent);
}

Test(hostile, N08_private_addresses_are_not_asked_for_through_a_proxy) {
    static const char *const targets[] = {"http://127.0.0.1/",       "http://localhost/",
                                          "http://a.localhost/",     "http://0x7f.1/",
                                          "http://2130706433/",      "http://[::1]/",
                                          "http://10.0.0.1/",        "http://[::]/",
                                          "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        enum cam_status status = fetch_through_proxy(targets[i]);
        cr_assert_eq(status, CAM_ERR_PERMISSION, "%s: %s", targets[i], cam_message());
    }
    cr_assert_eq(cam_rawd_n_requests(raw), 0);
}

Test(hostile, N08_a_redirect_behind_a_proxy_is_checked_too) {
    raw = cam_rawd_start("HTTP/1.1 302 Found\r\nLocation: http://192.168.0.1/\r\n"
                         "Content-Length: 0\r\n\r\n",
                         0, CAM_RAWD_CLOSE);
    cr_assert_eq(fetch_through_proxy("http://feeds.example.org/"), CAM_ERR_PERMISSION, "%s",
                 cam_message());
    cr_assert_eq(cam_rawd_n_requests(raw), 1);
}

/* ---- moves ---- */

static void redirect(const char *path, int status, const char *to) {
    cam_httpd_add(server,
                  &(struct cam_httpd_route){.path = path, .status = status, .location = to});
}

/* Where a fetch of PATH says that the feed has moved to; "" for nowhere. */
static const char *moved_to(const char *path, const char *credentials) {
    cam_fetch_result_release(&result);
    snprintf(url, sizeof url, "http://%s127.0.0.1:%d%s", credentials, cam_httpd_port(server), path);
    cam_fetch_request_init(&request, url);
    request.allow = loopback;
    MUST(cam_fetch(&request, &result));
    return result.moved_url ? result.moved_url : "";
}

Test(hostile, only_permanent_redirects_move_a_feed) {
    char here[128], b[160], c[160];
    server = cam_httpd_start("127.0.0.1");
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/end", .body = "x"});
    redirect("/301", 301, "/end");
    redirect("/308", 308, "/end");
    redirect("/302", 302, "/end");
    redirect("/307", 307, "/end");
    redirect("/301-301", 301, "/301");
    redirect("/301-302", 301, "/302");
    redirect("/302-301", 302, "/301");
    cam_httpd_url(server, "", here, sizeof here);
    snprintf(b, sizeof b, "%s/end", here);
    snprintf(c, sizeof c, "%s/302", here);
    cr_assert_str_eq(moved_to("/end", ""), "");
    cr_assert_str_eq(moved_to("/301", ""), b);
    cr_assert_str_eq(moved_to("/308", ""), b);
    cr_assert_str_eq(moved_to("/302", ""), "");
    cr_assert_str_eq(moved_to("/307", ""), "");
    cr_assert_str_eq(moved_to("/301-301", ""), b);
    cr_assert_str_eq(moved_to("/301-302", ""), c, "as far as it is permanent");
    cr_assert_str_eq(moved_to("/302-301", ""), "");
}

Test(hostile, N14_a_feed_with_credentials_moves_only_where_they_may_go) {
    char away[128], here[128];
    struct cam_httpd *other = cam_httpd_start("127.0.0.1");
    server = cam_httpd_start("127.0.0.1");
    cam_httpd_add(other, &(struct cam_httpd_route){.path = "/end", .body = "x"});
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/end", .body = "x"});
    redirect("/home", 301, "/end");
    redirect("/away", 301, cam_httpd_url(other, "/end", away, sizeof away));
    cam_httpd_url(server, "/end", here, sizeof here);
    cr_assert_str_eq(moved_to("/home", "user:secret@"), here, "without the credentials");
    cr_assert_str_eq(moved_to("/away", "user:secret@"), "");
    cr_assert_str_eq(moved_to("/away", ""), away);
    cam_httpd_stop(other);
}

/* ---- freshness ---- */

Test(hostile, N01_cache_control_says_when_to_come_back) {
    static const struct {
        const char *value;
        long max_age_s;
    } cases[] = {{"max-age=600", 600},
                 {"public, max-age=60, must-revalidate", 60},
                 {"max-age=\"90\"", 90},
                 {"MAX-AGE=7", 7},
                 {"max-age=0", 0},
                 {"max-age=99999999999999999999", CAM_FETCH_MAX_RETRY_AFTER_S},
                 {"max-age=-1", -1},
                 {"max-age=soon", -1},
                 {"s-maxage=500", -1},
                 {"no-store, max-age=600", -1},
                 {"max-age=600, no-cache", -1},
                 {"", -1}};
    server = cam_httpd_start("127.0.0.1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const headers[] = {"Cache-Control", cases[i].value, NULL};
        cam_httpd_add(server,
                      &(struct cam_httpd_route){
                          .path = "/feed", .body = "x", .etag = "\"v\"", .headers = headers});
        cr_assert_str_eq(moved_to("/feed", ""), "");
        cr_assert_eq(result.max_age_s, cases[i].max_age_s, "%s: %ld", cases[i].value,
                     result.max_age_s);
        cr_assert_str_eq(result.etag, "\"v\"", "validators are kept all the same");
    }
}

Test(hostile, a_contact_that_would_break_the_header_is_left_out) {
    static const char *const bad[] = {"a\r\nX-Evil: 1", "x) evil", "caf\xc3\xa9", ""};
    server = cam_httpd_start("127.0.0.1");
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "x"});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cam_fetch_result_release(&result);
        cam_fetch_request_init(&request, cam_httpd_url(server, "/feed", url, sizeof url));
        request.allow = loopback;
        request.contact = bad[i];
        MUST(cam_fetch(&request, &result));
        cr_assert_str_eq(cam_httpd_request(server, i)->user_agent, "cambium/" CAM_VERSION);
    }
}

Test(hostile, N12_a_protocol_as_old_as_TLS_1_1_is_refused) {
    char pem[2][8192] = {{0}};
    static const char *const files[] = {CAM_TEST_DATA "/feed/tls-localhost.pem",
                                        CAM_TEST_DATA "/feed/tls-test-only-key.pem"};
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(files[i], "r");
        cr_assert_not_null(file);
        cr_assert_gt(fread(pem[i], 1, sizeof pem[i] - 1, file), 0);
        fclose(file);
    }
    server = cam_httpd_start_old_tls("127.0.0.1", pem[0], pem[1]);
    if (!server)
        cr_skip_test("libmicrohttpd without TLS 1.1");
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = "x"});
    cam_fetch_request_init(&request, cam_httpd_url(server, "/feed", url, sizeof url));
    request.allow = loopback;
    request.ca_file = files[0];
    check_failed(cam_fetch(&request, &result), CAM_ERR_PROTOCOL);
    cr_assert(strstr(cam_message(), "TLS"), "%s", cam_message());
    cr_assert_eq(cam_httpd_n_requests(server), 0);
}

Test(hostile, addresses_that_cannot_be_fetched_are_told_beforehand) {
    static const char *const bad[] = {
        "ftp://example.org/", "http://", "http://a b/",         "https://user:p/ss@host/",
        "http://host:99999/", "",        "javascript:alert(1)", "http://[::1/"};
    cr_assert_eq(cam_fetch_check_url("https://user:p%2Fss@example.org:8443/feed?x=y#z"), CAM_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(cam_fetch_check_url(bad[i]), CAM_ERR_DATA, "%s", bad[i]);
        cr_assert_null(strstr(cam_message(), "p/ss"), "N14");
    }
}
