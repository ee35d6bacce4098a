#include "cli/cli.h"

#include "base/log.h"
#include "cli/reach.h"
#include "growth/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: cambium policy list\n"
    "       cambium policy show NAME\n"
    "       cambium policy use NAME|FILE\n"
    "\n"
    "A policy is SQL: views decide_grow, decide_freeze, decide_evaluate ... over the v1_ views "
    "say\n"
    "what is to be done at the end of a step, and why.  `use` checks it first (only CREATE VIEW,\n"
    "no clock, bounded work) and journals the change: documents that came before it and fill a\n"
    "batch are trained under the old one.\n"
    "\n"
    "Examples:\n"
    "  cambium policy list -C w\n"
    "  cambium policy show lifelong > mine.sql\n"
    "  cambium policy use -C w mine.sql\n"
    "  sqlite3 -readonly w/history.db 'SELECT * FROM decide_grow'\n"
    "\n"
    "See also: schema/README.md for the decide_ views; cambium help log\n";

static enum cam_status print_policy(void *context, const struct cam_policy *policy) {
    char name[80], summary[200];
    (void)context;
    printf("%c %-16s %-9s %s\n", policy->in_force ? '*' : ' ',
           cam_neutral_text(policy->name, name, sizeof name), policy->bundled ? "bundled" : "own",
           cam_neutral_text(policy->summary ? policy->summary : "", summary, sizeof summary));
    return CAM_OK;
}

static enum cam_status print_all(const struct cam_cli *cli) {
    struct cam_workspace *workspace = NULL;
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        cam_policies_each(cam_workspace_database(workspace), print_policy, NULL);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status list(struct cam_cli *cli) {
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "nothing after list"));
    return print_all(cli);
}

static enum cam_status show(struct cam_cli *cli) {
    struct cam_workspace *workspace = NULL;
    char *text = NULL;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a NAME from policy list"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        cam_policy_text(cam_workspace_database(workspace), cam_cli_argument(cli, 1), &text);
    cam_workspace_close(workspace);
    if (status == CAM_OK)
        fputs(text, stdout);
    free(text);
    return status;
}

static enum cam_status use(struct cam_cli *cli) {
    char name[CAM_POLICY_NAME_BYTES];
    char *text = NULL;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a NAME or FILE"));
    const char *given = cam_cli_argument(cli, 1);
    if (cam_policy_is_file(given))
        CAM_TRY(cam_policy_read_file(given, name, &text));
    enum cam_status status = cam_reach_do(
        cli, "policy.use", json_pack("{s:s,s:s*}", "name", text ? name : given, "text", text));
    free(text);
    CAM_TRY(status);
    return print_all(cli);
}

static enum cam_status run(struct cam_cli *cli) {
    if (cam_cli_next(cli, "", NULL) != -1)
        return cam_cli_bad(cli);
    const char *verb = cam_cli_argument(cli, 0);
    if (verb && strcmp(verb, "list") == 0)
        return list(cli);
    if (verb && strcmp(verb, "show") == 0)
        return show(cli);
    if (verb && strcmp(verb, "use") == 0)
        return use(cli);
    return cam_fail(CAM_ERR_USAGE, "policy needs list, show or use; see: cambium help policy");
}

const struct cam_command cam_command_policy = {
    "policy", "Say what decides when to grow, freeze, evaluate.", help, run};
