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

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"read-data", no_argument, NULL, 'r'}, {0}};
    struct cam_cli_session session;
    int all = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'r')
            return cam_cli_bad(cli);
        all = 1;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    CAM_TRY(cam_cli_begin(cli, CAM_WORKSPACE_READ, &session));
    enum cam_status status = verify(&session, all);
    cam_cli_end(&session);
    return status;
}

const struct cam_command cam_command_verify = {
    "verify", "Check that what is stored is what was stored.", help, run};
