#include "cli/reach.h"

#include "serve/change.h"
#include "serve/control.h"
#include "serve/intake.h"
#include "store/history.h"

#include <stdio.h>
#include <string.h>

/* Takes the lock, or connects to the service that has it (*WORKSPACE is NULL then).  A service may
 * end between the two, so the lock is tried once more. */
static enum cam_status reach(const struct cam_cli *cli, struct cam_workspace **workspace,
                             struct cam_wire *wire) {
    char busy[1024];
    *workspace = NULL;
    for (int tries = 0; tries < 2; tries++) {
        enum cam_status status = cam_cli_open(cli, CAM_WORKSPACE_WRITE, workspace);
        if (status != CAM_ERR_BUSY)
            return status;
        snprintf(busy, sizeof busy, "%s", cam_message());
        status = cam_control_connect(cli->dir, wire);
        if (status != CAM_ERR_UNAVAILABLE)
            return status;
    }
    return cam_fail(CAM_ERR_BUSY, "%s", busy);
}

/* Documents are trained because they come before the change in the journal. */
static void tell_progress(void *context, const struct cam_progress *progress) {
    int *told = context;
    if (!*told)
        cam_cli_say("documents that wait are trained first, in journal order");
    *told = 1;
    cam_talk_progress(NULL, progress);
}

/* ---- here ---- */

static enum cam_status settle_here(void *context, int64_t position, cam_change_look_fn *look,
                                   void *look_context, char *outcome, size_t outcome_bytes) {
    struct cam_cli_session *session = context;
    int told = 0;
    struct cam_service_options options = {.progress = tell_progress, .context = &told};
    enum cam_status status = cam_service_settle(session->workspace, session->trainer, position,
                                                &options, outcome, outcome_bytes);
    cam_talk_end();
    if (status == CAM_OK && look)
        status = look(look_context, session->database);
    return status;
}

static enum cam_status between_here(void *context, cam_change_work_fn *work, void *work_context,
                                    int even_paused) {
    struct cam_cli_session *session = context;
    (void)even_paused;
    return work(work_context, session->trainer);
}

static enum cam_status change_here(const struct cam_cli *cli, struct cam_workspace *workspace,
                                   const char *name, const json_t *arguments, json_t **result) {
    struct cam_cli_session session = {.workspace = workspace,
                                      .database = cam_workspace_database(workspace)};
    struct cam_change_site site = {.workspace = workspace,
                                   .settle = settle_here,
                                   .between = between_here,
                                   .context = &session};
    enum cam_status status = CAM_OK;
    if (cam_change_needs_trainer(name, arguments)) {
        cam_service_catch_signals(); /* what changes the model ends between steps */
        status = cam_cli_attach(cli, &session);
    }
    if (status == CAM_OK)
        status = cam_change_run(&site, name, arguments, result);
    cam_cli_end(&session);
    return status;
}

/* ---- there ---- */

struct waiting {
    const struct cam_cli *cli;
    int told;
};

/* What the service does before it comes to this command, and that it will come to it. */
static void tell_waiting(const struct cam_cli *cli) {
    struct cam_workspace *workspace;
    struct cam_counts counts = {0};
    char published[CAM_PUBLISHED_BYTES];
    long owner = (long)cam_workspace_published(cli->dir, published);
    int paused = strstr(published, "\"state\":\"paused\"") != NULL;
    if (cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace) == CAM_OK) {
        if (cam_history_counts(cam_workspace_database(workspace), &counts) != CAM_OK)
            counts.pending = 0;
        cam_workspace_close(workspace);
    }
    cam_cli_say("waiting for the service (process %ld)%s: %s documents wait to be trained on, and those "
                "journalled before this come first; if this command is ended, its request stays and "
                "is acted on",
                owner, paused ? ", which pauses because the disk is full (see: cambium prune)" : "",
                cam_cli_grouped(counts.pending));
}

static void tell_service_progress(void *context, const struct cam_progress *progress) {
    struct waiting *waiting = context;
    if (!waiting->told)
        tell_waiting(waiting->cli);
    waiting->told = 1;
    if (progress->step > 0)
        cam_talk_progress(NULL, progress);
}

static enum cam_status change_there(const struct cam_cli *cli, struct cam_wire *wire,
                                    const char *name, json_t *arguments, json_t **result) {
    struct waiting waiting = {.cli = cli};
    enum cam_status status = cam_control_ask(wire, name, json_incref(arguments));
    if (status == CAM_OK)
        status = cam_control_answer(wire, tell_service_progress, &waiting, result);
    cam_talk_end();
    cam_wire_release(wire);
    return status;
}

enum cam_status cam_reach_change(const struct cam_cli *cli, const char *name, json_t *arguments,
                                 json_t **result) {
    struct cam_workspace *workspace;
    struct cam_wire wire;
    if (!arguments)
        return cam_fail(CAM_ERR_DATA, "%s: the arguments are not UTF-8 text", cli->argv[0]);
    enum cam_status status = reach(cli, &workspace, &wire);
    if (status == CAM_OK)
        status = workspace ? change_here(cli, workspace, name, arguments, result)
                           : change_there(cli, &wire, name, arguments, result);
    json_decref(arguments);
    return status;
}

enum cam_status cam_reach_do(const struct cam_cli *cli, const char *name, json_t *arguments) {
    json_t *result = NULL;
    enum cam_status status = cam_reach_change(cli, name, arguments, &result);
    json_decref(result);
    return status;
}

/* ---- documents ---- */

enum cam_status cam_reach_intake_begin(const struct cam_cli *cli, const char *source,
                                       struct cam_reach_intake *intake) {
    *intake = (struct cam_reach_intake){.wire.fd = -1};
    CAM_TRY(reach(cli, &intake->workspace, &intake->wire));
    enum cam_status status =
        intake->workspace
            ? cam_journal_writer_open(cam_workspace_database(intake->workspace), 0, source,
                                      &intake->writer)
            : cam_control_ask(&intake->wire, "ingest", json_pack("{s:s}", "source", source));
    if (status != CAM_OK)
        cam_reach_intake_end(intake);
    return status;
}

struct cam_document_sink cam_reach_intake_sink(struct cam_reach_intake *intake) {
    return intake->writer ? cam_journal_writer_sink(intake->writer)
                          : cam_intake_sink(&intake->wire);
}

enum cam_status cam_reach_intake_idle(struct cam_reach_intake *intake) {
    return intake->writer ? cam_journal_writer_finish(intake->writer, NULL, NULL)
                          : cam_intake_idle(&intake->wire);
}

enum cam_status cam_reach_intake_finish(struct cam_reach_intake *intake,
                                        struct cam_admission_counts *counts, int64_t *pending) {
    struct cam_counts all;
    json_t *result = NULL;
    if (intake->writer) {
        CAM_TRY(cam_journal_writer_finish(intake->writer, NULL, counts));
        CAM_TRY(cam_history_counts(cam_workspace_database(intake->workspace), &all));
        *pending = all.pending;
        return CAM_OK;
    }
    enum cam_status status = cam_intake_end(&intake->wire);
    if (status == CAM_OK)
        status = cam_control_answer(&intake->wire, NULL, NULL, &result);
    if (status == CAM_OK)
        status = cam_intake_counts_read(result, counts, pending);
    json_decref(result);
    return status;
}

void cam_reach_intake_end(struct cam_reach_intake *intake) {
    cam_journal_writer_free(intake->writer);
    cam_workspace_close(intake->workspace);
    cam_wire_release(&intake->wire);
}
