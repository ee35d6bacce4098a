#include "cli/cli.h"

#include "base/log.h"
#include "cli/reach.h"

#include <stdio.h>

static const char help[] =
    "usage: cambium rollback [-C DIR] ID|TAG [--requeue | --set-aside] [--reason TEXT]\n"
    "\n"
    "  ID            a snapshot's id or its first digits (at least 4); a TAG; or \"latest\"\n"
    "  --set-aside   documents trained since, wholly or in part, are not trained again (default)\n"
    "  --requeue     they wait again, in their old order, for the next run\n"
    "  --reason TEXT why, for the history\n"
    "\n"
    "The model, its optimiser, settings and policy become those of the snapshot, bit for bit; "
    "what\n"
    "changed back is printed.  Schedules, feeds and settings of scope \"now\" (feeds, admission,\n"
    "service) stay.  Documents that waited at the snapshot and were not touched since still wait.\n"
    "What is left behind stays in the history as an abandoned lineage; nothing is erased.\n"
    "\n"
    "Examples:\n"
    "  cambium rollback -C w before-the-news\n"
    "  cambium rollback -C w 3f2a --requeue --reason 'policy was wrong'\n"
    "  sqlite3 -readonly w/history.db 'SELECT * FROM v1_lineages'\n"
    "\n"
    "See also: cambium help snapshots, cambium help snapshot\n";

/* A value may come from another program's hands. */
static const char *shown(const json_t *pair, size_t i, char *out, size_t n_bytes) {
    const char *text = json_string_value(json_array_get(pair, i));
    return cam_neutral_text(text ? text : "-", out, n_bytes);
}

static void print_settings(json_t *settings) {
    const char *key;
    json_t *pair;
    json_object_foreach(settings, key, pair) {
        char name[80], before[300], after[300];
        printf("%s went back from %s to %s\n", cam_neutral_text(key, name, sizeof name),
               shown(pair, 0, before, sizeof before), shown(pair, 1, after, sizeof after));
    }
}

static enum cam_status roll_back(const struct cam_cli *cli, const char *snapshot, int requeue,
                                 const char *reason) {
    json_t *done = NULL;
    CAM_TRY(cam_reach_change(
        cli, "rollback",
        json_pack("{s:s,s:b,s:s}", "snapshot", snapshot, "requeue", requeue, "reason", reason),
        &done));
    printf("lineage %lld: %s trained, %s pending, %s set aside\nmodel hash %s\n",
           (long long)json_integer_value(json_object_get(done, "lineage")),
           cam_cli_counted(json_integer_value(json_object_get(done, "trained")), "document"),
           cam_cli_grouped(json_integer_value(json_object_get(done, "pending"))),
           cam_cli_grouped(json_integer_value(json_object_get(done, "set_aside"))),
           json_string_value(json_object_get(done, "model_hash")));
    print_settings(json_object_get(done, "settings"));
    fflush(stdout);
    cam_cli_say("schedules, feeds and settings that take effect at once stay as they are");
    json_decref(done);
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"requeue", no_argument, NULL, 'q'},
                                          {"set-aside", no_argument, NULL, 'a'},
                                          {"reason", required_argument, NULL, 'r'},
                                          {0}};
    const char *reason = "person";
    int requeue = 0, set_aside = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'q')
            requeue = 1;
        else if (found == 'a')
            set_aside = 1;
        else if (found == 'r')
            reason = optarg;
        else
            return cam_cli_bad(cli);
    }
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "a snapshot's ID or TAG"));
    if (requeue && set_aside)
        return cam_fail(CAM_ERR_USAGE, "rollback: --requeue and --set-aside exclude each other");
    return roll_back(cli, cam_cli_argument(cli, 0), requeue, reason);
}

const struct cam_command cam_command_rollback = {"rollback", "Go back to a snapshot, exactly.",
                                                 help, run};
