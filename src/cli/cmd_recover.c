#include "cli/cli.h"

#include "run/recover.h"

#include <stdio.h>

static const char help[] =
    "usage: cambium recover [-C DIR] [--yes]\n"
    "\n"
    "  --yes  do it; without, say what would be recovered and what is gone\n"
    "\n"
    "For a workspace whose history.db is lost or cannot be read.  The snapshots hold the model, "
    "its\n"
    "optimiser, tokenizer, settings and policy: recover builds a new history.db around the newest\n"
    "one that verifies.  The old file is moved to history.db.damaged-N, never written to.  Gone "
    "is\n"
    "what history.db alone held: journal and texts, probes and scores, provenance, feeds, "
    "schedules,\n"
    "what was decided and why.  Documents fed again later are new ones.\n"
    "\n"
    "If there is a backup of history.db, or history.db.before-vN from a migration, that is "
    "better.\n"
    "If history.db can be read and only snapshots are bad, nothing needs to be recovered: the "
    "newest\n"
    "one that verifies is used, and what came after it is trained again.\n"
    "\n"
    "Examples:\n"
    "  cambium recover -C w\n"
    "  cambium recover -C w --yes && cambium verify -C w\n"
    "\n"
    "See also: cambium help verify, cambium help snapshots\n";

static void print_gone(const struct cam_recovery *r, int acted) {
    printf("%s  %s\n", acted ? "was wrong " : "is wrong  ", r->why);
    printf("model       snapshot %.12s: step %s, %s, model hash %s\n", r->from.id,
           cam_cli_grouped(r->from.step), cam_cli_counted(r->from.documents, "document"),
           r->from.model_hash);
    printf("snapshots   %lld kept ones are known again\n", (long long)r->n_snapshots);
    if (r->n_bad)
        printf("bad         %lld newer ones do not verify\n", (long long)r->n_bad);
    if (r->n_unreadable)
        printf(
            "unreadable  %lld manifests; copy snapshots/ and objects/ now if you may mend them\n",
            (long long)r->n_unreadable);
    printf(
        "gone        the journal and the texts of all documents (%s trained); what was pending,\n"
        "            quarantined or held out; probes and evaluations; steps and provenance;\n"
        "            feeds, schedules, decisions, policies not in force; which lineage forked\n"
        "            where; settings of scope \"now\", which are their defaults\n",
        cam_cli_grouped(r->from.documents));
    if (*r->moved_to)
        printf("old file    %s\n", r->moved_to);
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"yes", no_argument, NULL, 'y'}, {0}};
    struct cam_recovery *r = &(struct cam_recovery){0};
    int act = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'y')
            return cam_cli_bad(cli);
        act = 1;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    CAM_TRY(cam_recover(cli->dir, act, r));
    if (r->is_sound) {
        cam_cli_say("history.db can be read: nothing is recovered; cambium verify looks further");
        return CAM_OK;
    }
    print_gone(r, act);
    cam_cli_say(act ? "history.db was built anew; cambium verify checks it"
                    : "nothing was changed; cambium recover --yes does it");
    return CAM_OK;
}

const struct cam_command cam_command_recover = {
    "recover", "Build a new history.db from the snapshots when it is lost.", help, run};
