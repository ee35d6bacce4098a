#include "cli/cli.h"

#include "base/clock.h"
#include "store/snapshot.h"

#include <stdio.h>

static const char help[] =
    "usage: cambium snapshots [-C DIR] [--json]\n"
    "\n"
    "  --json  one array: id, parent, tag, lineage, created, documents, bytes_unique,\n"
    "          bytes_shared, model_hash, step, living\n"
    "\n"
    "Oldest first.  bytes_unique is what the snapshot added to the disk when it was saved,\n"
    "bytes_shared what it has in common with earlier ones.\n"
    "\n"
    "Examples:\n"
    "  cambium snapshots -C w\n"
    "  cambium snapshots -C w --json | jq '.[-1].id'\n"
    "\n"
    "See also: cambium help snapshot, cambium help rollback\n";

static enum cam_status add_snapshot(void *context, const struct cam_snapshot *s) {
    char created[CAM_RFC3339_BYTES];
    json_array_append_new(
        context,
        json_pack("{s:s,s:o,s:o,s:I,s:s,s:I,s:I,s:I,s:s,s:I,s:b}", "id", s->id, "parent",
                  cam_cli_json_text(s->parent), "tag", cam_cli_json_text(s->tag), "lineage",
                  (json_int_t)s->lineage, "created", cam_clock_rfc3339(s->created_at_ms, created),
                  "documents", (json_int_t)s->documents, "bytes_unique",
                  (json_int_t)s->bytes_unique, "bytes_shared", (json_int_t)s->bytes_shared,
                  "model_hash", s->model_hash, "step", (json_int_t)s->step, "living", s->living));
    return CAM_OK;
}

static enum cam_status print_snapshot(void *context, const struct cam_snapshot *s) {
    char created[CAM_RFC3339_BYTES];
    (void)context;
    printf("%.12s  %s  lineage %lld%s, %s documents, %sB new, %sB shared%s%s\n", s->id,
           cam_clock_rfc3339(s->created_at_ms, created), (long long)s->lineage,
           s->living ? "" : " (abandoned)", cam_cli_grouped(s->documents),
           cam_cli_short((double)s->bytes_unique), cam_cli_short((double)s->bytes_shared),
           *s->tag ? "  " : "", s->tag);
    return CAM_OK;
}

static enum cam_status list(struct cam_workspace *workspace, int json) {
    struct cam_snapshots *snapshots = NULL;
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(workspace), NULL,
                               cam_workspace_database(workspace), &snapshots));
    json_t *array = json ? json_array() : NULL;
    enum cam_status status =
        cam_snapshots_each(snapshots, 0, json ? add_snapshot : print_snapshot, array);
    cam_snapshots_close(snapshots);
    if (status == CAM_OK && json)
        return cam_cli_print_json(array);
    json_decref(array);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
    struct cam_workspace *workspace = NULL;
    int json = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'j')
            return cam_cli_bad(cli);
        json = 1;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status = list(workspace, json);
    cam_workspace_close(workspace);
    return status;
}

const struct cam_command cam_command_snapshots = {"snapshots", "List the snapshots that are kept.",
                                                  help, run};
