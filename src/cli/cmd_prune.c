#include "cli/cli.h"

#include "cli/reach.h"
#include "serve/change.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: cambium prune [-C DIR] [--keep-last N] [--max-bytes BYTES] [--yes] [--json]\n"
    "\n"
    "  --keep-last N      snapshots older than the newest N go (default: prune.keep_last, unless\n"
    "                     --max-bytes is given)\n"
    "  --max-bytes BYTES  the oldest go until the rest takes no more (also 500k, 20M, 3G)\n"
    "  --yes              do it; without, say what would be done\n"
    "  --json             one object: removed, kept, compacted, bytes_before, freed_bytes,\n"
    "                     over_budget, snapshots: [{id, tag, documents, goes, why}]\n"
    "\n"
    "Never removed: tagged snapshots, the newest that verifies, those at which the living history\n"
    "forked, and what the running checkpoints need.  Pages that nobody needs any more are given\n"
    "back, in part by rewriting files that hold others, too.  Killed half-way, it can be run "
    "again.\n"
    "Works on a full disk, where a small reserve in the workspace makes the room it needs, and\n"
    "beside a service that waits for space.\n"
    "\n"
    "Examples:\n"
    "  cambium prune -C w --keep-last 3\n"
    "  cambium prune -C w --max-bytes 2G --yes\n"
    "  cambium schedule add -C w 1d prune\n"
    "\n"
    "See also: cambium help snapshots, cambium help schedule\n";

struct options {
    int64_t keep_last, max_bytes;
    int act, json;
};

static enum cam_status parse_bytes(const char *text, int64_t *bytes) {
    char digits[24];
    size_t n = strlen(text);
    int64_t unit = 1, number;
    const char *at = n > 1 ? strchr("kKMGT", text[n - 1]) : NULL;
    if (at && *at)
        for (unit = 1024, n--; *at != 'k' && *at != 'K'; at--)
            unit *= 1024;
    if (n >= sizeof digits)
        return cam_fail(CAM_ERR_USAGE, "--max-bytes %.40s: too long", text);
    memcpy(digits, text, n);
    digits[n] = '\0';
    CAM_TRY(cam_cli_number("--max-bytes", digits, 0, INT64_MAX / unit, &number));
    *bytes = number * unit;
    return CAM_OK;
}

/* Without a rule of its own: that of scheduled prunes. */
static enum cam_status default_rule(struct cam_database *database, struct options *o) {
    if (o->keep_last >= 0 || o->max_bytes >= 0)
        return CAM_OK;
    CAM_TRY(cam_query_int(database,
                          "SELECT CAST(value AS INTEGER) FROM v1_settings WHERE key ="
                          " 'prune.keep_last'",
                          NULL, 8, &o->keep_last));
    CAM_TRY(cam_query_int(database,
                          "SELECT CAST(value AS INTEGER) FROM v1_settings WHERE key ="
                          " 'prune.max_bytes'",
                          NULL, 0, &o->max_bytes));
    if (o->max_bytes == 0)
        o->max_bytes = -1;
    return CAM_OK;
}

static enum cam_status try_in(struct cam_workspace *workspace, struct options *o, json_t **result) {
    struct cam_snapshots *snapshots;
    struct cam_prune_report report;
    CAM_TRY(default_rule(cam_workspace_database(workspace), o));
    struct cam_prune_rule rule = {.keep_last = o->keep_last, .max_bytes = o->max_bytes};
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(workspace), NULL,
                               cam_workspace_database(workspace), &snapshots));
    json_t *list = json_array();
    enum cam_status status =
        cam_snapshots_prune_by(snapshots, &rule, cam_change_list_pruned, list, &report);
    cam_snapshots_close(snapshots);
    if (status == CAM_OK)
        return cam_change_pruned(&report, list, result);
    json_decref(list);
    return status;
}

/* What would be done, from the outside: beside a service, too. */
static enum cam_status try_out(const struct cam_cli *cli, struct options *o, json_t **result) {
    struct cam_workspace *workspace;
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status = try_in(workspace, o, result);
    cam_workspace_close(workspace);
    return status;
}

/* The reserve goes first: on a full disk not even the lock could be taken. */
static enum cam_status act(const struct cam_cli *cli, struct options *o, json_t **result) {
    struct cam_workspace *workspace;
    cam_workspace_spend_reserve(cli->dir);
    if (o->keep_last < 0 && o->max_bytes < 0) {
        CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
        enum cam_status status = default_rule(cam_workspace_database(workspace), o);
        cam_workspace_close(workspace);
        CAM_TRY(status);
    }
    return cam_reach_change(cli, "prune",
                            json_pack("{s:I,s:I}", "keep_last", (json_int_t)o->keep_last,
                                      "max_bytes", (json_int_t)o->max_bytes),
                            result);
}

static const char *bytes_of(const json_t *result, const char *key) {
    return cam_cli_short((double)json_integer_value(json_object_get(result, key)));
}

static void print_lines(const json_t *result, int acted) {
    const json_t *list = json_object_get(result, "snapshots");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i);
        const char *tag = json_string_value(json_object_get(s, "tag"));
        int goes = json_is_true(json_object_get(s, "goes"));
        printf("%-7s %.12s  %s%s%s%s%s\n", goes ? acted ? "removed" : "remove" : "keep",
               json_string_value(json_object_get(s, "id")),
               cam_cli_counted(json_integer_value(json_object_get(s, "documents")), "document"),
               tag ? "  " : "", tag ? tag : "", goes ? "" : "  ",
               goes ? "" : json_string_value(json_object_get(s, "why")));
    }
    printf("%s %lld of %s, %s compacted: %sB of %sB on disk freed\n",
           acted ? "removed" : "would remove",
           (long long)json_integer_value(json_object_get(result, "removed")),
           cam_cli_counted((int64_t)json_array_size(list), "snapshot"),
           cam_cli_counted(json_integer_value(json_object_get(result, "compacted")), "file"),
           bytes_of(result, "freed_bytes"), bytes_of(result, "bytes_before"));
    if (json_is_true(json_object_get(result, "over_budget")))
        cam_cli_say("the snapshots that have to stay take more than --max-bytes");
    if (!acted)
        cam_cli_say("nothing was changed; cambium prune --yes does it");
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"keep-last", required_argument, NULL, 'k'},
                                          {"max-bytes", required_argument, NULL, 'b'},
                                          {"yes", no_argument, NULL, 'y'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    struct options o = {.keep_last = -1, .max_bytes = -1};
    json_t *result = NULL;
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'k')
            CAM_TRY(cam_cli_number("--keep-last", optarg, 0, 1000000000, &o.keep_last));
        else if (found == 'b')
            CAM_TRY(parse_bytes(optarg, &o.max_bytes));
        else if (found == 'y')
            o.act = 1;
        else if (found == 'j')
            o.json = 1;
        else
            return cam_cli_bad(cli);
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    CAM_TRY(o.act ? act(cli, &o, &result) : try_out(cli, &o, &result));
    if (o.json)
        return cam_cli_print_json(result);
    print_lines(result, o.act);
    json_decref(result);
    return CAM_OK;
}

const struct cam_command cam_command_prune = {
    "prune", "Remove old snapshots and give their space back.", help, run};
