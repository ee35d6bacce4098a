/* The fetcher with several feeds at once, slow servers and a trainer that does not keep up. */
#include "cli/fetcher_rig.h"

TestSuite(fetcher_load, .init = setup, .fini = teardown);

/* ---- several at once ---- */

Test(fetcher_load, a_round_journals_in_the_order_of_feeds_however_slow_they_are) {
    struct cam_httpd *others[3];
    char url[128], *bodies[4];
    for (int i = 0; i < 3; i++) {
        char address[16];
        snprintf(address, sizeof address, "127.0.0.%d", i + 2);
        others[i] = cam_httpd_start(address);
        cr_assert_not_null(others[i]);
    }
    for (int i = 0; i < 4; i++) {
        struct cam_httpd *one = i ? others[i - 1] : server;
        bodies[i] = many(100 * i, 5);
        cam_httpd_add(one, &(struct cam_httpd_route){.path = "/f",
                                                     .body = bodies[i],
                                                     .content_type = "application/x-ndjson",
                                                     .work_ms = 60 - 20 * i});
        cr_assert_eq(cam_feeds_add(database, cam_httpd_url(one, "/f", url, sizeof url), NULL, NULL,
                                   3600, NULL),
                     CAM_OK);
    }
    struct cam_fetcher_round result = poll_round();
    cr_assert_eq(result.n_polled, 4u);
    cr_assert_eq(result.counts.journalled, 20);
    cr_assert_eq(ask("SELECT count(*) FROM (SELECT feed, lag(feed) OVER (ORDER BY document) AS last"
                     " FROM v1_documents) WHERE feed < last"),
                 0);
    for (int i = 0; i < 3; i++)
        cam_httpd_stop(others[i]);
    cam_httpd_stop(server);
    server = NULL;
    for (int i = 0; i < 4; i++)
        free(bodies[i]);
}

Test(fetcher_load, N17_one_request_a_host_at_a_time) {
    static char paths[12][16];
    char *bodies[12];
    for (int i = 0; i < 12; i++) {
        snprintf(paths[i], sizeof paths[i], "/%d", i);
        bodies[i] = many(100 * i, 2);
        cam_httpd_add(server, &(struct cam_httpd_route){.path = paths[i],
                                                        .body = bodies[i],
                                                        .content_type = "application/x-ndjson",
                                                        .work_ms = 3});
        add_feed(paths[i]);
    }
    cr_assert_eq(poll_round().n_polled, 12u);
    cr_assert_eq(cam_httpd_n_requests(server), 12u);
    cr_assert_eq(cam_httpd_most(server), 1u);
    cam_httpd_stop(server);
    server = NULL;
    for (int i = 0; i < 12; i++)
        free(bodies[i]);
}

Test(fetcher_load, N17_a_host_rests_between_two_requests) {
    struct cam_fetcher_round result;
    cr_assert_eq(
        cam_journal_control(database, CAM_ITEM_SETTING, "feed.host_gap_ms", "150", "", NULL),
        CAM_OK);
    for (int i = 0; i < 3; i++) {
        static const char *const paths[] = {"/1", "/2", "/3"};
        add_feed(paths[i]); /* 404, which is as good */
    }
    double began = cam_clock_seconds();
    result = poll_round();
    cr_assert_eq(result.n_polled, 3u);
    cr_assert_geq(cam_clock_seconds() - began, 0.3);
}

Test(fetcher_load, N09_a_slow_server_holds_up_nobody_else) {
    struct rung rung = {0};
    struct cam_fetcher_options options = {.allow = allow, .polled = ring, .context = &rung};
    struct cam_fetcher *fetcher = NULL;
    struct cam_httpd *good = cam_httpd_start("127.0.0.2");
    char url[128];
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/hangs", .way = CAM_HTTPD_HANG});
    cam_httpd_add(good, &(struct cam_httpd_route){
                            .path = "/f", .body = two, .content_type = "application/x-ndjson"});
    add_feed("/hangs");
    cr_assert_eq(
        cam_feeds_add(database, cam_httpd_url(good, "/f", url, sizeof url), NULL, NULL, 3600, NULL),
        CAM_OK);
    cr_assert_eq(cam_fetcher_start(database, &options, &fetcher), CAM_OK);
    while (rung.n == 0 || cam_httpd_n_requests(server) == 0)
        usleep(1000);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 2, "while the first still hangs");
    cam_fetcher_stop(fetcher);
    cam_httpd_stop(good);
}

/* ---- backpressure ---- */

static int64_t settle(const char *sql, int64_t wanted) {
    int64_t got = ask(sql);
    for (int i = 0; i < 20000 && got != wanted; i++) {
        usleep(1000);
        got = ask(sql);
    }
    return got;
}

/* As if the trainer had come to the end of the journal. */
static void train_all(void) {
    struct cam_history_state at;
    cr_assert_eq(cam_history_state(database, &at), CAM_OK);
    struct cam_step_commit commit = {.step = at.step + 1,
                                     .position = ask("SELECT max(position) FROM v1_journal"),
                                     .new_tokens = 1,
                                     .new_bytes = 1,
                                     .nll_new = 1,
                                     .grad_norm = 1,
                                     .learning_rate = 1};
    cr_assert_eq(cam_history_commit_step(database, &commit, NULL), CAM_OK, "%s", cam_message());
}

Test(fetcher_load, a_feed_that_does_not_fit_waits_for_the_trainer_and_loses_nothing) {
    struct rung rung = {0};
    struct cam_fetcher_options options = {.allow = allow, .polled = ring, .context = &rung};
    struct cam_fetcher *fetcher = NULL;
    char *body = many(0, 1500), sql[128];
    /* Full at 600 documents, about 38 KB: more than the 32 KiB a batch may need. */
    cr_assert_eq(
        cam_journal_control(database, CAM_ITEM_SETTING, "inbox.max_documents", "600", "", NULL),
        CAM_OK);
    cam_httpd_add(server, &(struct cam_httpd_route){.path = "/f",
                                                    .body = body,
                                                    .etag = "\"v\"",
                                                    .content_type = "application/x-ndjson"});
    add_feed("/f");
    cr_assert_eq(cam_fetcher_start(database, &options, &fetcher), CAM_OK);
    for (int part = 1; part <= 2; part++) {
        snprintf(sql, sizeof sql, "SELECT count(*) FROM v1_documents");
        cr_assert_eq(settle(sql, 600 * part), 600 * part);
        cr_assert_eq(ask("SELECT is_full FROM v1_inbox"), 1);
        cr_assert_eq(ask("SELECT etag IS NULL FROM v1_feeds"), 1, "not before all of it is there");
        usleep(300000);
        cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 600 * part, "the bound holds");
        train_all();
    }
    cr_assert_eq(settle("SELECT etag IS NOT NULL FROM v1_feeds", 1), 1);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 1500);
    cr_assert_eq(cam_httpd_n_requests(server), 1u);
    cam_fetcher_stop(fetcher);
    cam_httpd_stop(server);
    server = NULL;
    free(body);
}

Test(fetcher_load, nothing_is_fetched_while_the_inbox_is_full) {
    struct cam_fetcher_options options = {.allow = allow};
    struct cam_fetcher *fetcher = NULL;
    char *body = many(0, 600);
    logged[0] = '\0';
    cam_log_set_sink(keep_log, NULL);
    cr_assert_eq(
        cam_journal_control(database, CAM_ITEM_SETTING, "inbox.max_documents", "550", "", NULL),
        CAM_OK);
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/f", .body = body, .content_type = "application/x-ndjson"});
    add_feed("/f");
    cr_assert_eq(poll_round().counts.journalled, 600, "a round does not wait");
    add_feed("/g");
    cr_assert_eq(cam_fetcher_start(database, &options, &fetcher), CAM_OK);
    for (int i = 0; i < 5000 && !strstr(logged, "fetching pauses"); i++)
        usleep(1000);
    cr_assert_not_null(strstr(logged, "600 documents"), "%s", logged);
    cr_assert_eq(cam_httpd_n_requests(server), 1u);
    train_all();
    while (cam_httpd_n_requests(server) < 2)
        usleep(1000);
    cam_fetcher_stop(fetcher);
    cam_httpd_stop(server);
    server = NULL;
    free(body);
}

Test(fetcher_load, C21_stopping_while_a_feed_waits_loses_nothing) {
    struct cam_fetcher_options options = {.allow = allow};
    struct cam_fetcher *fetcher = NULL;
    char *body = many(0, 900);
    cr_assert_eq(
        cam_journal_control(database, CAM_ITEM_SETTING, "inbox.max_documents", "600", "", NULL),
        CAM_OK);
    cam_httpd_add(server, &(struct cam_httpd_route){
                              .path = "/f", .body = body, .content_type = "application/x-ndjson"});
    add_feed("/f");
    cr_assert_eq(cam_fetcher_start(database, &options, &fetcher), CAM_OK);
    cr_assert_eq(settle("SELECT count(*) FROM v1_documents", 600), 600);
    cam_fetcher_stop(fetcher);
    cr_assert_eq(ask("SELECT failures = 0 AND polls = 0 FROM v1_feeds"), 1);
    cr_assert_eq(poll_round().counts.journalled, 300, "the rest comes with the next poll");
    cam_httpd_stop(server);
    server = NULL;
    free(body);
}
