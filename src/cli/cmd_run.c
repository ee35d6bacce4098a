#include "cli/cli.h"

#include "base/clock.h"
#include "base/log.h"
#include "serve/notify.h"
#include "serve/server.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: cambium run [-C DIR] [--feed URL]... [--once] [--flush] [--allow-host HOST]...\n"
    "\n"
    "  --feed URL         add this feed first, if it is not there yet\n"
    "  --once             poll every feed once, train until nothing is left to do, and end\n"
    "  --flush            also train the tail that is shorter than one batch\n"
    "  --allow-host HOST  a host, address or block (127.0.0.1, 10.0.0.0/8) that may be private,\n"
    "                     for this run; see also: cambium config feed.allow_hosts\n"
    "  --policy FILE      use this policy from now on; SIGHUP reads the file again\n"
    "\n"
    "Without --once it runs until SIGTERM or SIGINT, which finish the step, save everything and\n"
    "exit 0.  However it ends, the next run goes on with the same bits.  Meanwhile commands that\n"
    "change something (ingest, feed, eval, schedule, snapshot, rollback, policy, config) reach it "
    "over\n"
    "DIR/control.sock and act between two steps.  On a full disk training pauses and goes on when\n"
    "there is space.  Under systemd it speaks sd_notify, watchdog included: "
    "tools/cambium.service.\n"
    "\n"
    "Exit codes with --once when a feed fails (the others are read and trained all the same):\n"
    "  65 broken or over a limit   66 not found   69 unreachable   76 protocol   77 refused\n"
    "\n"
    "Examples:\n"
    "  cambium run -C w --feed https://example.org/feed.atom --once\n"
    "  cambium run -C w --once --flush\n"
    "  cambium run -C w >>run.log 2>&1 &\n"
    "\n"
    "See also: cambium help feed, cambium help schedule, cambium help status\n";

struct options {
    struct cam_cli_list feeds, allow;
    const char *policy;
    int once, flush;
};

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {
        {"feed", required_argument, NULL, 'f'},   {"allow-host", required_argument, NULL, 'a'},
        {"policy", required_argument, NULL, 'p'}, {"once", no_argument, NULL, 'o'},
        {"flush", no_argument, NULL, 'l'},        {0}};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'f') {
            CAM_TRY(cam_fetcher_check_url(optarg));
            CAM_TRY(cam_cli_list_add(&o->feeds, "--feed", optarg));
        } else if (found == 'a') {
            CAM_TRY(cam_cli_list_add(&o->allow, "--allow-host", optarg));
        } else if (found == 'p') {
            o->policy = optarg;
        } else if (found == 'o') {
            o->once = 1;
        } else if (found == 'l') {
            o->flush = 1;
        } else {
            return cam_cli_bad(cli);
        }
    }
    return cam_cli_arguments(cli, 0, 0, "no argument");
}

static void tell(const struct options *o, const struct cam_service_report *report,
                 const struct cam_progress *progress) {
    if (o->once && report->round.n_polled)
        cam_cli_say("%s polled, %s journalled",
                    cam_cli_counted((int64_t)report->round.n_polled, "feed"),
                    cam_cli_counted(report->round.counts.journalled, "document"));
    if (o->once && report->round.n_left)
        cam_cli_say(
            "%zu entr%s left for the next poll, as %s page%s could not be asked for in time",
            report->round.n_left, report->round.n_left == 1 ? "y is" : "ies are",
            report->round.n_left == 1 ? "its" : "their", report->round.n_left == 1 ? "" : "s");
    cam_cli_say("%s trained; %s and %s in all, %s", cam_cli_counted(report->steps, "step"),
                cam_cli_counted(progress->documents, "document"),
                cam_cli_counted(progress->tokens, "token"),
                cam_cli_counted(progress->experts, "expert"));
    if (report->stopped)
        cam_cli_say("stopped by a signal; everything is saved, the next run goes on from here");
    else if (report->pending_tokens > 0)
        cam_cli_say("%s of %s wait for a full batch; --flush trains them",
                    cam_cli_counted(report->pending_tokens, "token"),
                    cam_cli_counted(report->pending_documents, "document"));
}

/* For the service manager; the watchdog hears of the training loop only. */
static void on_event(void *context, enum cam_service_event event, const char *text) {
    char line[300];
    (void)context;
    switch (event) {
    case CAM_SERVICE_BEAT:
        cam_notify_beat();
        return;
    case CAM_SERVICE_STATUS:
    case CAM_SERVICE_PAUSED:
        snprintf(line, sizeof line, "STATUS=%s%s", event == CAM_SERVICE_PAUSED ? "paused: " : "",
                 text);
        cam_notify(line);
        return;
    case CAM_SERVICE_RELOADING:
        snprintf(line, sizeof line, "RELOADING=1\nMONOTONIC_USEC=%.0f", cam_clock_seconds() * 1e6);
        cam_notify(line);
        return;
    case CAM_SERVICE_RELOADED:
        cam_notify("READY=1");
        return;
    case CAM_SERVICE_STOPPING:
        cam_notify("STOPPING=1");
        return;
    case CAM_SERVICE_RESUMED:
        return; /* the next status says so */
    }
}

/* A service without its socket still learns; commands that change something wait until it ends. */
static void open_door(struct cam_cli_session *session, struct cam_desk *desk,
                      struct cam_server **server) {
    if (cam_server_start(session->workspace, desk, server) != CAM_OK)
        cam_log(CAM_LOG_WARNING, "%s; commands that change something are refused while this runs",
                cam_message());
}

static enum cam_status serve(struct cam_cli_session *session, const struct options *o) {
    struct cam_service_options options = {.feeds = o->feeds.items,
                                          .allow = o->allow.items,
                                          .policy = o->policy,
                                          .interval_s = CAM_CLI_FEED_INTERVAL_S,
                                          .once = o->once,
                                          .flush = o->flush,
                                          .progress = cam_talk_progress,
                                          .watch = on_event};
    struct cam_service_report report;
    struct cam_progress progress;
    struct cam_server *server = NULL;
    CAM_TRY(cam_desk_new(&options.desk));
    open_door(session, options.desk, &server);
    cam_notify("READY=1"); /* recovered, and listening */
    enum cam_status status =
        cam_service_run(session->workspace, session->trainer, &options, &report);
    cam_server_stop(server);
    cam_desk_free(options.desk);
    cam_talk_end();
    CAM_TRY(status);
    cam_trainer_progress(session->trainer, &progress);
    tell(o, &report, &progress);
    if (report.round.n_failed)
        return cam_fail(report.round.failure, "%zu of %zu feeds failed; the first: %s",
                        report.round.n_failed, report.round.n_polled, report.round.message);
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    struct options o = {0};
    struct cam_cli_session session;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(cam_cli_begin(cli, CAM_WORKSPACE_WRITE, &session));
    enum cam_status status = serve(&session, &o);
    cam_cli_end(&session);
    return status;
}

const struct cam_command cam_command_run = {"run", "Read the feeds and learn: for ever, or once.",
                                            help, run};
