#include "cli/cli.h"

#include "store/journal.h"
#include "store/snapshot.h"

#include <stdio.h>
#include <string.h>

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

static enum cam_status find_newest(struct cam_cli_session *session, const char *tag,
                                   struct cam_snapshot *snapshot) {
    struct cam_snapshots *snapshots = NULL;
    char id[CAM_SNAPSHOT_ID_BYTES];
    CAM_TRY(cam_query_text(session->database,
                           "SELECT id FROM v1_snapshots WHERE living"
                           " ORDER BY lineage DESC, step DESC, saved_at DESC LIMIT 1",
                           NULL, id, sizeof id));
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(session->workspace), NULL, session->database,
                               &snapshots));
    enum cam_status status = cam_snapshot_find(snapshots, tag ? tag : id, snapshot);
    cam_snapshots_close(snapshots);
    return status;
}

static enum cam_status save(struct cam_cli_session *session, const char *tag) {
    struct cam_snapshot snapshot;
    int64_t position;
    CAM_TRY(
        cam_journal_control(session->database, CAM_ITEM_SNAPSHOT, tag, NULL, "person", &position));
    CAM_TRY(cam_cli_settle(session, position));
    CAM_TRY(find_newest(session, tag, &snapshot));
    printf("%s%s%s after %s documents, %sB new, %sB shared\n", snapshot.id, tag ? " " : "",
           tag ? tag : "", cam_cli_grouped(snapshot.documents),
           cam_cli_short((double)snapshot.bytes_unique),
           cam_cli_short((double)snapshot.bytes_shared));
    return CAM_OK;
}

/* A tag goes on the command line of rollback, so it must not look like an option or an id. */
static enum cam_status check_tag(const char *tag) {
    size_t n = strlen(tag);
    if (n == 0 || n >= CAM_NAME_BYTES || tag[0] == '-' || strcmp(tag, "latest") == 0 ||
        strspn(tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != n)
        return cam_fail(CAM_ERR_USAGE,
                        "-t %.64s: a tag has 1 to %d of a-z A-Z 0-9 . _ - and is not \"latest\"",
                        tag, CAM_NAME_BYTES - 1);
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    struct cam_cli_session session;
    const char *tag = NULL;
    int found;
    while ((found = cam_cli_next(cli, "t:", NULL)) != -1) {
        if (found != 't')
            return cam_cli_bad(cli);
        tag = optarg;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    if (tag)
        CAM_TRY(check_tag(tag));
    CAM_TRY(cam_cli_begin(cli, CAM_WORKSPACE_WRITE, &session));
    enum cam_status status = save(&session, tag);
    cam_cli_end(&session);
    return status;
}

const struct cam_command cam_command_snapshot = {"snapshot", "Keep the whole trainer as it is now.",
                                                 help, run};
