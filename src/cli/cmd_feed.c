#include "cli/cli.h"

#include "base/log.h"
#include "cli/feed_opml.h"
#include "cli/reach.h"
#include "store/journal.h"
#include "store/query.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: cambium feed add URL [--name NAME] [--every DURATION] [--format FORMAT] [--ca FILE]\n"
    "                        [--fulltext on|off] [--later]\n"
    "       cambium feed list [--json]\n"
    "       cambium feed remove URL\n"
    "       cambium feed import-opml FILE [--every DURATION]\n"
    "\n"
    "  --name NAME       domain of entries that name none (default: what the feed calls itself)\n"
    "  --every DURATION  time between polls: 90s, 30m, 6h, 2d (default 1h); a publisher who asks\n"
    "                    for longer gets it, up to a day\n"
    "  --format FORMAT   atom, rss, jsonfeed, ndjson, html or text (default: found by looking)\n"
    "  --ca FILE         PEM certificates to trust for this feed instead of the system's\n"
    "  --fulltext on|off take the text of an entry's page where the feed has only a summary of it\n"
    "                    (default: the setting feed.fulltext)\n"
    "  --later           only write it down; the first poll is the next run's\n"
    "  --json            one object a line\n"
    "\n"
    "add asks the server once and journals what it has.  If that fails the feed stays, says why "
    "in\n"
    "the list, and is tried again: after a minute, then ever less often, down to every 6 hours; a\n"
    "feed that is gone (HTTP 410) is not.  Adding a URL again changes its name and interval.\n"
    "A user and password in the URL are kept apart from it and shown nowhere.  Private addresses\n"
    "are refused unless listed: cambium config feed.allow_hosts 127.0.0.1,feeds.intranet\n"
    "\n"
    "Examples:\n"
    "  cambium feed add https://example.org/feed.atom --every 6h\n"
    "  cambium feed list\n"
    "  cambium feed remove https://example.org/feed.atom\n"
    "\n"
    "See also: cambium help run, cambium help ingest, cambium help quarantine\n";

struct options {
    const char *name, *format, *ca;
    int64_t interval_s;
    int later, json, fulltext; /* -1: as the setting says */
};

/* The file by its whole path: the service runs elsewhere. */
static enum cam_status find_ca(const char *file, char path[PATH_MAX]) {
    if (!realpath(file, path))
        return cam_fail_errno(CAM_ERR_NOINPUT, errno, "--ca %s: cannot open", file);
    if (access(path, R_OK) != 0)
        return cam_fail_errno(CAM_ERR_PERMISSION, errno, "--ca %s: cannot read", file);
    return CAM_OK;
}

/* Where the poll was made here, its own line has said what it brought. */
static void say_added(const struct options *o, const json_t *result) {
    if (json_is_true(json_object_get(result, "poll_failed")))
        cam_cli_say("the feed was added, but its first poll failed; when it is asked again: "
                    "cambium feed list");
    else if (json_is_true(json_object_get(result, "known")))
        cam_cli_say("the feed was there already; what you gave was changed");
    else if (json_is_true(json_object_get(result, "served")))
        cam_cli_say("the feed was added; the running service polls it now: cambium feed list");
    else if (o->later)
        cam_cli_say("the feed was added; the next run polls it");
}

static enum cam_status parse_switch(const char *option, const char *text, int *on) {
    if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
        return cam_fail(CAM_ERR_USAGE, "%s %.32s: on or off", option, text);
    *on = strcmp(text, "on") == 0;
    return CAM_OK;
}

static enum cam_status add(struct cam_cli *cli, const struct options *o) {
    const struct cam_feed_format *format;
    const char *url = cam_cli_argument(cli, 1);
    char ca[PATH_MAX];
    json_t *result = NULL;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a URL: feed add URL"));
    CAM_TRY(cam_fetcher_check_url(url));
    if (o->format)
        CAM_TRY(cam_fetcher_format(o->format, &format));
    if (o->ca)
        CAM_TRY(find_ca(o->ca, ca));
    CAM_TRY(
        cam_reach_change(cli, "feed.add",
                         json_pack("{s:s,s:s*,s:s*,s:I,s:s*,s:b,s:o*}", "url", url, "name", o->name,
                                   "format", o->format, "interval_s", (json_int_t)o->interval_s,
                                   "ca", o->ca ? ca : NULL, "poll", !o->later, "fulltext",
                                   o->fulltext < 0 ? NULL : json_boolean(o->fulltext)),
                         &result));
    say_added(o, result);
    json_decref(result);
    return CAM_OK;
}

static enum cam_status drop(struct cam_cli *cli) {
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a URL: feed remove URL"));
    return cam_reach_do(cli, "feed.remove", json_pack("{s:s}", "url", cam_cli_argument(cli, 1)));
}

enum column {
    NAME,
    URL,
    STATE,
    INTERVAL_S,
    DOCUMENTS,
    TRAINED,
    HTTP_STATUS,
    ERROR,
    NEXT_POLL_AT,
    FORMAT,
    DUPLICATES,
    REVISIONS,
    HELD_OUT,
    REJECTED,
    POLLS,
    FAILURES,
    POLLED_AT,
    QUARANTINED,
    SHARE
};
#define LIST_SQL                                                                                   \
    "SELECT name, url, state, interval_s, documents, trained, http_status, error, next_poll_at,"   \
    " format, duplicates, revisions, held_out, rejected, polls, failures, polled_at, quarantined," \
    " share, ttl_s, ca_file, bytes_fetched, fulltext FROM v1_feeds WHERE state <> 'removed' "      \
    "ORDER BY feed"

static enum cam_status print_feed(void *context, const struct cam_value *v, size_t n) {
    const struct options *o = context;
    if (o->json)
        return cam_cli_print_row(v, n);
    char url[1024], name[256], error[512];
    int is_gone = strcmp(v[STATE].text, "gone") == 0;
    const char *state = is_gone                    ? "gone, not polled any more"
                        : v[FAILURES].whole > 0    ? "failing"
                        : v[POLLS].whole == 0      ? "not polled yet"
                        : v[HTTP_STATUS].whole > 0 ? "good"
                                                   : "active";
    printf("%s\n  %s: %s, every %s s, %s (%s trained, %s quarantined), share %.1f %%\n",
           cam_neutral_text(v[URL].text, url, sizeof url),
           *v[NAME].text ? cam_neutral_text(v[NAME].text, name, sizeof name) : "no name yet", state,
           v[INTERVAL_S].text, cam_cli_counted(v[DOCUMENTS].whole, "document"), v[TRAINED].text,
           v[QUARANTINED].text, 100 * v[SHARE].real);
    if (!is_gone)
        printf("  polled %s, next poll %s\n", cam_cli_counted(v[POLLS].whole, "time"),
               *v[NEXT_POLL_AT].text ? v[NEXT_POLL_AT].text : "as soon as it runs");
    if (*v[ERROR].text)
        printf("  failed %s in a row: %s\n", cam_cli_counted(v[FAILURES].whole, "time"),
               cam_neutral_text(v[ERROR].text, error, sizeof error));
    return CAM_OK;
}

static enum cam_status list(struct cam_cli *cli, const struct options *o) {
    struct cam_workspace *workspace = NULL;
    struct options copy = *o;
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "nothing after list"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        cam_query(cam_workspace_database(workspace), LIST_SQL, NULL, print_feed, &copy);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {
        {"name", required_argument, NULL, 'n'},     {"every", required_argument, NULL, 'e'},
        {"format", required_argument, NULL, 'f'},   {"ca", required_argument, NULL, 'c'},
        {"fulltext", required_argument, NULL, 't'}, {"later", no_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},           {0}};
    struct options o = {.interval_s = CAM_CLI_FEED_INTERVAL_S, .fulltext = -1};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'n')
            o.name = optarg;
        else if (found == 'e')
            CAM_TRY(cam_cli_duration("--every", optarg, &o.interval_s));
        else if (found == 'f')
            o.format = optarg;
        else if (found == 'c')
            o.ca = optarg;
        else if (found == 't')
            CAM_TRY(parse_switch("--fulltext", optarg, &o.fulltext));
        else if (found == 'l')
            o.later = 1;
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
