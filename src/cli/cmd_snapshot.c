#include "cli/cli.h"

#include "cli/reach.h"
#include "serve/change.h"

#include <stdio.h>

static const char help[] =
    "usage: cambium snapshot [-C DIR] [-t TAG]\n"
    "\n"
    "  -t TAG  a name for it, unique in the workspace; tagged snapshots are never pruned\n"
    "\n"
    "Keeps the whole trainer: model, optimiser, counters, settings, policy.  The request is\n"
    "journalled, so documents that came before it and fill a batch are trained first.  Costs the\n"
    "pages that changed since the snapshot before.\n"
    "\n"
    "Examples:\n"
    "  cambium snapshot -C w -t before-the-news\n"
    "  cambium rollback -C w before-the-news\n"
    "\n"
    "See also: cambium help snapshots, cambium help rollback\n";

static enum cam_status save(const struct cam_cli *cli, const char *tag) {
    json_t *saved = NULL;
    CAM_TRY(cam_reach_change(cli, "snapshot", json_pack("{s:s*}", "tag", tag), &saved));
    printf("%s%s%s after %s, %sB new, %sB shared\n",
           json_string_value(json_object_get(saved, "id")), tag ? " " : "", tag ? tag : "",
           cam_cli_counted(json_integer_value(json_object_get(saved, "documents")), "document"),
           cam_cli_short((double)json_integer_value(json_object_get(saved, "bytes_unique"))),
           cam_cli_short((double)json_integer_value(json_object_get(saved, "bytes_shared"))));
    json_decref(saved);
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    const char *tag = NULL;
    int found;
    while ((found = cam_cli_next(cli, "t:", NULL)) != -1) {
        if (found != 't')
            return cam_cli_bad(cli);
        tag = optarg;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    if (tag)
        CAM_TRY(cam_change_check_tag(tag));
    return save(cli, tag);
}

const struct cam_command cam_command_snapshot = {"snapshot", "Keep the whole trainer as it is now.",
                                                 help, run};
