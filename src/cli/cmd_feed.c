#include "cli/cli.h"

#include "base/log.h"
#include "cli/feed_opml.h"
#include "store/journal.h"
#include "store/query.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: cambium feed add URL [--name NAME] [--every DURATION] [--format FORMAT]\n"
    "       cambium feed list [--json]\n"
    "       cambium feed remove URL\n"
    "       cambium feed import-opml FILE [--every DURATION]\n"
    "\n"
    "  --name NAME       domain of entries that name none (default: what the feed calls itself)\n"
    "  --every DURATION  time between polls: 90s, 30m, 6h, 2d (default 1h)\n"
    "  --format FORMAT   atom, rss, jsonfeed, ndjson, html or text (default: found by looking)\n"
    "  --json            one object a line\n"
    "\n"
    "Adding a URL again changes its name and interval.  Private addresses are refused unless\n"
    "listed: cambium config feed.allow_hosts 127.0.0.1,feeds.intranet\n"
    "\n"
    "Examples:\n"
    "  cambium feed add https://example.org/feed.atom --every 6h\n"
    "  cambium feed list\n"
    "  cambium feed remove https://example.org/feed.atom\n"
    "\n"
    "See also: cambium help run, cambium help ingest\n";

struct options {
    const char *name, *format;
    int64_t interval_s;
    int json;
};

static enum cam_status add(struct cam_cli *cli, const struct options *o) {
    const struct cam_feed_format *format;
    struct cam_workspace *workspace = NULL;
    const char *url = cam_cli_argument(cli, 1);
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a URL: feed add URL"));
    CAM_TRY(cam_fetcher_check_url(url));
    if (o->format)
        CAM_TRY(cam_fetcher_format(o->format, &format));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_WRITE, &workspace));
    enum cam_status status = cam_feeds_add(cam_workspace_database(workspace), url, o->name,
                                           o->format, o->interval_s, NULL);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status drop(struct cam_cli *cli) {
    struct cam_workspace *workspace = NULL;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a URL: feed remove URL"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_WRITE, &workspace));
    enum cam_status status =
        cam_feeds_remove(cam_workspace_database(workspace), cam_cli_argument(cli, 1));
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status print_feed(void *context, const struct cam_value *v, size_t n) {
    const struct options *o = context;
    if (o->json)
        return cam_cli_print_row(v, n);
    char url[1024], name[256], error[512];
    printf("%s\n  %s, %s, every %s s, %s documents (%s trained), next poll %s\n",
           cam_neutral_text(v[1].text, url, sizeof url),
           *v[0].text ? cam_neutral_text(v[0].text, name, sizeof name) : "no name yet", v[2].text,
           v[3].text, v[4].text, v[5].text, *v[8].text ? v[8].text : "as soon as it runs");
    if (*v[7].text)
        printf("  last poll failed: %s\n", cam_neutral_text(v[7].text, error, sizeof error));
    return CAM_OK;
}

static enum cam_status list(struct cam_cli *cli, const struct options *o) {
    struct cam_workspace *workspace = NULL;
    struct options copy = *o;
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "nothing after list"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        cam_query(cam_workspace_database(workspace),
                  "SELECT name, url, state, interval_s, documents, trained, http_status, error,"
                  " next_poll_at, format, duplicates, revisions, held_out, rejected, polls,"
                  " failures FROM v1_feeds WHERE state <> 'removed' ORDER BY feed",
                  NULL, print_feed, &copy);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"name", required_argument, NULL, 'n'},
                                          {"every", required_argument, NULL, 'e'},
                                          {"format", required_argument, NULL, 'f'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    struct options o = {.interval_s = CAM_CLI_FEED_INTERVAL_S};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'n')
            o.name = optarg;
        else if (found == 'e')
            CAM_TRY(cam_cli_duration("--every", optarg, &o.interval_s));
        else if (found == 'f')
            o.format = optarg;
        else if (found == 'j')
            o.json = 1;
        else
            return cam_cli_bad(cli);
    }
    const char *verb = cam_cli_argument(cli, 0);
    if (verb && strcmp(verb, "add") == 0)
        return add(cli, &o);
    if (verb && strcmp(verb, "list") == 0)
        return list(cli, &o);
    if (verb && strcmp(verb, "remove") == 0)
        return drop(cli);
    if (verb && strcmp(verb, "import-opml") == 0)
        return cam_cli_import_opml(cli, o.interval_s);
    return cam_fail(CAM_ERR_USAGE,
                    "feed needs add, list, remove or import-opml; see: cambium help feed");
}

const struct cam_command cam_command_feed = {"feed", "Say which document feeds are read.", help,
                                             run};
