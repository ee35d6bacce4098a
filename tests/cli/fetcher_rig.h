/* fetcher_rig.h - a workspace in a temporary folder, a scripted server, and the fetcher between
 * them. */
#ifndef CAM_TESTS_FETCHER_RIG_H
#define CAM_TESTS_FETCHER_RIG_H

#include "run/fetcher.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/history.h"
#include "store/query.h"
#include "store/workspace.h"
#include "support/httpd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const allow[] = {"127.0.0.0/8", NULL};
static char dir[64];
static struct cam_workspace *workspace;
static struct cam_database *database;
static struct cam_httpd *server;
static const char two[] = "{\"id\":\"1\",\"text\":\"The first document of the feed.\"}\n"
                          "{\"id\":\"2\",\"text\":\"The second document of the feed.\"}\n";

static inline void quiet(void *context, enum cam_log_level level, const char *line) {
    (void)context, (void)level, (void)line;
}

static inline void setup(void) {
    struct cam_settings settings;
    cam_log_set_sink(quiet, NULL);
    cam_settings_defaults(&settings);
    snprintf(dir, sizeof dir, "/tmp/cambium-fetcher.XXXXXX");
    cr_assert(mkdtemp(dir));
    cr_assert_eq(cam_workspace_open(dir, CAM_WORKSPACE_CREATE, &workspace), CAM_OK, "%s",
                 cam_message());
    cr_assert_eq(cam_settings_set(&settings, "probe.share", "0"), CAM_OK);
    cr_assert_eq(cam_settings_set(&settings, "feed.host_gap_ms", "0"), CAM_OK);
    cr_assert_eq(cam_workspace_finish_init(workspace, &settings), CAM_OK);
    database = cam_workspace_database(workspace);
    server = cam_httpd_start("127.0.0.1");
    cr_assert(server);
}

static inline void teardown(void) {
    char command[96];
    cam_httpd_stop(server);
    cam_workspace_close(workspace);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

static inline void add_feed(const char *path) {
    char url[256];
    cam_httpd_url(server, path, url, sizeof url);
    cr_assert_eq(cam_feeds_add(database, url, NULL, NULL, 3600, NULL), CAM_OK);
}

static inline struct cam_fetcher_round poll_round(void) {
    struct cam_fetcher_options options = {.allow = allow};
    struct cam_fetcher_round result;
    cr_assert_eq(cam_fetcher_round(database, &options, &result), CAM_OK, "%s", cam_message());
    return result;
}

static inline int64_t ask(const char *sql) {
    int64_t value;
    cr_assert_eq(cam_query_int(database, sql, NULL, -1, &value), CAM_OK, "%s", cam_message());
    return value;
}

/* Milliseconds from now until feed I_FEED is polled again. */
static inline int64_t next_poll_ms(size_t i_feed) {
    struct cam_feeds feeds;
    cr_assert_eq(cam_feeds_list(database, &feeds), CAM_OK);
    int64_t wait = feeds.feeds[i_feed].next_poll_at_ms - cam_clock_unix_ms();
    cam_feeds_release(&feeds);
    return wait;
}

/* N documents, the texts numbered from FROM; caller frees. */
static inline char *many(int from, int n) {
    char *text = calloc(1, 200 * (size_t)n + 1);
    size_t used = 0;
    for (int i = from; i < from + n; i++)
        used += (size_t)sprintf(text + used,
                                "{\"id\":\"%d\",\"text\":\"Number %d: %d hares and %d tortoises"
                                " went to market on day %d.\"}\n",
                                i, i, 7 * i, 11 * i + 3, i % 31);
    return text;
}

static char logged[8192];

static inline void keep_log(void *context, enum cam_log_level level, const char *line) {
    (void)context, (void)level;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%s\n", line);
}

struct rung {
    _Atomic int n;
};

static inline void ring(void *context) {
    struct rung *rung = context;
    rung->n++;
}

#endif
