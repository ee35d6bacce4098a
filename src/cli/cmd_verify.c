#include "cli/cli.h"

#include "store/snapshot.h"

#include <stdio.h>

static const char help[] =
    "usage: cambium verify [-C DIR] [--read-data]\n"
    "\n"
    "  --read-data  also read every page of every snapshot and every document's text\n"
    "\n"
    "Always: the newest state loads, each of its pages has its hash, and every frozen generation\n"
    "of experts is bit for bit what it was when it was frozen.  Problems go to stdout, one a "
    "line;\n"
    "exit code 65 if there are any.  Changes nothing.\n"
    "\n"
    "Examples:\n"
    "  cambium verify -C w\n"
    "  cambium verify -C w --read-data && echo all is well\n"
    "\n"
    "See also: cambium help snapshots, cambium help schedule\n";

static void print_problem(void *context, const char *problem) {
    (void)context;
    puts(problem);
}

static enum cam_status read_data(struct cam_cli_session *session, int64_t *problems) {
    struct cam_snapshots *snapshots = NULL;
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(session->workspace), NULL, session->database,
                               &snapshots));
    enum cam_status status = cam_snapshots_verify(snapshots, print_problem, NULL, problems);
    cam_snapshots_close(snapshots);
    return status;
}

static enum cam_status verify(struct cam_cli_session *session, int all) {
    int64_t frozen = 0, stored = 0;
    CAM_TRY(cam_trainer_verify(session->trainer, print_problem, NULL, &frozen));
    if (all)
        CAM_TRY(read_data(session, &stored));
    if (frozen + stored > 0)
        return cam_fail(CAM_ERR_DATA,
                        "%lld problem(s) found; see: cambium snapshots, cambium rollback",
                        (long long)(frozen + stored));
    cam_cli_say("no problem found%s", all ? "" : " (--read-data reads the older snapshots too)");
    return CAM_OK;
}

/* No state loads: what is wrong with each is all that can be said. */
static enum cam_status list_damage(struct cam_cli_session *session) {
    char why[1024];
    int64_t problems = 0;
    snprintf(why, sizeof why, "%s", cam_message());
    CAM_TRY(read_data(session, &problems));
    return cam_fail(CAM_ERR_DATA, "%lld problem(s) found; %s", (long long)problems, why);
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"read-data", no_argument, NULL, 'r'}, {0}};
    struct cam_cli_session session = {0};
    int all = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'r')
            return cam_cli_bad(cli);
        all = 1;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &session.workspace));
    enum cam_status status = cam_cli_attach(cli, &session);
    if (status == CAM_OK)
        status = verify(&session, all);
    else if (status == CAM_ERR_DATA)
        status = list_damage(&session);
    cam_cli_end(&session);
    return status;
}

const struct cam_command cam_command_verify = {
    "verify", "Check that what is stored is what was stored.", help, run};
