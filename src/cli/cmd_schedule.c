#include "cli/cli.h"

#include "base/log.h"
#include "cli/reach.h"
#include "store/schedule.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: cambium schedule add SPEC ACTION\n"
    "       cambium schedule list [--json]\n"
    "       cambium schedule remove NUMBER\n"
    "\n"
    "  SPEC    \"100 documents\" (counted, so it is replayed exactly), \"6h\" or \"30m\" or "
    "\"2d\"\n"
    "          (since it was last due), or a cron line of 5 fields in UTC: \"0 3 * * 1-5\"\n"
    "  ACTION  evaluate, snapshot, prune (by prune.keep_last and prune.max_bytes) or verify\n"
    "\n"
    "A service that slept over several times does the action once.\n"
    "\n"
    "Examples:\n"
    "  cambium schedule add \"every 200 documents\" evaluate\n"
    "  cambium schedule add 6h snapshot\n"
    "  cambium schedule list\n"
    "\n"
    "See also: cambium help run, cambium help eval, cambium help snapshot\n";

static enum cam_status add(struct cam_cli *cli) {
    struct cam_schedule_spec spec;
    json_t *result = NULL;
    CAM_TRY(cam_cli_arguments(cli, 3, 3,
                              "SPEC and ACTION: schedule add \"100 documents\" "
                              "evaluate"));
    CAM_TRY(cam_schedule_parse(cam_cli_argument(cli, 1), &spec));
    CAM_TRY(cam_reach_change(cli, "schedule.add",
                             json_pack("{s:s,s:s}", "spec", cam_cli_argument(cli, 1), "action",
                                       cam_cli_argument(cli, 2)),
                             &result));
    printf("schedule %lld\n", (long long)json_integer_value(json_object_get(result, "schedule")));
    json_decref(result);
    return CAM_OK;
}

static enum cam_status drop(struct cam_cli *cli) {
    int64_t schedule;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a NUMBER from schedule list"));
    CAM_TRY(cam_cli_number("schedule remove", cam_cli_argument(cli, 1), 1, INT64_MAX, &schedule));
    return cam_reach_do(cli, "schedule.remove",
                        json_pack("{s:I}", "schedule", (json_int_t)schedule));
}

static enum cam_status print_schedule(void *context, const struct cam_value *v, size_t n) {
    const int *json = context;
    char spec[128];
    if (*json)
        return cam_cli_print_row(v, n);
    printf("%4s  %-24s %-10s done %s, last due %s\n", v[0].text,
           cam_neutral_text(v[1].text, spec, sizeof spec), v[2].text,
           cam_cli_counted(v[3].whole + v[4].whole, "time"), *v[5].text ? v[5].text : "not yet");
    return CAM_OK;
}

static enum cam_status list(struct cam_cli *cli, int json) {
    struct cam_workspace *workspace = NULL;
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "nothing after list"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        cam_query(cam_workspace_database(workspace),
                  "SELECT schedule, spec, action, decisions, journalled, last_due_at"
                  " FROM v1_schedules WHERE removed IS NULL ORDER BY schedule",
                  NULL, print_schedule, &json);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
    int json = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'j')
            return cam_cli_bad(cli);
        json = 1;
    }
    const char *verb = cam_cli_argument(cli, 0);
    if (verb && strcmp(verb, "add") == 0)
        return add(cli);
    if (verb && strcmp(verb, "list") == 0)
        return list(cli, json);
    if (verb && strcmp(verb, "remove") == 0)
        return drop(cli);
    return cam_fail(CAM_ERR_USAGE,
                    "schedule needs add, list or remove; see: cambium help schedule");
}

const struct cam_command cam_command_schedule = {
    "schedule", "Evaluate, snapshot, prune or verify every so often.", help, run};
