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
    "       cambium policy try NAME|FILE [--steps N] [--json]\n"
    "\n"
    "A policy is SQL: views decide_grow, decide_freeze, decide_evaluate ... over the v1_ views "
    "say\n"
    "what is to be done at the end of a step, and why.  `use` checks it first (only CREATE VIEW,\n"
    "no clock, bounded work) and journals the change: documents that came before it and fill a\n"
    "batch are trained under the old one.\n"
    "\n"
    "`try` lists what a policy would have decided at each of the newest N steps (1000) of the past,\n"
    "seeing at each what a policy saw then.  It is a list, not another run: the policy in force\n"
    "gives the decisions on record.  It changes nothing and works beside a running service.\n"
    "\n"
    "Examples:\n"
    "  cambium policy list -C w\n"
    "  cambium policy show lifelong > mine.sql\n"
    "  cambium policy try -C w mine.sql --steps 200\n"
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

struct trial {
    int json;
    int64_t n;
};

static enum cam_status print_decision(void *context, const struct cam_policy_decision *d) {
    struct trial *trial = context;
    char where[64] = "", amount[48] = "";
    trial->n++;
    if (trial->json)
        return cam_cli_print_json(
            json_pack("{s:I,s:I,s:s,s:i,s:I,s:o,s:o,s:o}", "step", (json_int_t)d->step, "documents",
                      (json_int_t)d->documents, "kind", d->kind, "layer", d->layer, "amount",
                      (json_int_t)d->amount, "part", cam_cli_json_text(d->part), "reason",
                      cam_cli_json_text(d->reason), "evidence", cam_cli_json_text(d->evidence)));
    if (d->layer >= 0)
        snprintf(where, sizeof where, " block %d", d->layer);
    if (d->amount)
        snprintf(amount, sizeof amount, " %lld", (long long)d->amount);
    printf("step %lld, %s: %s%s%s%s%s: %s\n", (long long)d->step,
           cam_cli_counted(d->documents, "document"), d->kind, *d->part ? " " : "", d->part, amount,
           where, d->reason);
    return CAM_OK;
}

static enum cam_status try(struct cam_cli *cli, int64_t n_steps, int json) {
    struct cam_workspace *workspace = NULL;
    struct trial trial = {.json = json};
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a NAME or FILE"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        cam_policy_try(cam_workspace_database(workspace), cam_cli_argument(cli, 1), n_steps,
                       print_decision, &trial);
    cam_workspace_close(workspace);
    if (status == CAM_OK)
        cam_cli_say("%lld decisions; nothing was changed", (long long)trial.n);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {
        {"steps", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'}, {0}};
    int64_t n_steps = 1000;
    int json = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 's')
            CAM_TRY(cam_cli_number("--steps", optarg, 1, 1000000000, &n_steps));
        else if (found == 'j')
            json = 1;
        else
            return cam_cli_bad(cli);
    }
    const char *verb = cam_cli_argument(cli, 0);
    if (verb && strcmp(verb, "list") == 0)
        return list(cli);
    if (verb && strcmp(verb, "show") == 0)
        return show(cli);
    if (verb && strcmp(verb, "use") == 0)
        return use(cli);
    if (verb && strcmp(verb, "try") == 0)
        return try(cli, n_steps, json);
    return cam_fail(CAM_ERR_USAGE, "policy needs list, show, use or try; see: cambium help policy");
}

const struct cam_command cam_command_policy = {
    "policy", "Say what decides when to grow, freeze, evaluate.", help, run};
