/* reach.h - how a changing command reaches its workspace: by the lock, or through the service that
 * holds it.
 *
 *     lock free                 the change is made here
 *     held by a running service the same change is asked for on its control socket
 *     held by anything else     CAM_ERR_BUSY, naming the process
 *
 * Both ways the change is that of serve/change.h, so result, messages and exit code are the same.
 */
#ifndef CAM_CLI_REACH_H
#define CAM_CLI_REACH_H

#include "cli/cli.h"
#include "serve/wire.h"
#include "store/journal.h"

#include <jansson.h>

/* Makes change NAME.  Takes the reference of ARGUMENTS; NULL (text that is not UTF-8) is
 * CAM_ERR_DATA. *RESULT is the caller's reference. */
CAM_MUST_USE enum cam_status cam_reach_change(const struct cam_cli *cli, const char *name,
                                              json_t *arguments, json_t **result);
/* The same where the result says nothing. */
CAM_MUST_USE enum cam_status cam_reach_do(const struct cam_cli *cli, const char *name,
                                          json_t *arguments);

/* Documents into the journal, for `ingest`. */
struct cam_reach_intake {
    struct cam_workspace *workspace;   /* NULL: through the service */
    struct cam_journal_writer *writer; /* NULL: through the service */
    struct cam_wire wire;
};
/* SOURCE as for cam_journal_writer_open.  End it whatever happens afterwards. */
CAM_MUST_USE enum cam_status cam_reach_intake_begin(const struct cam_cli *cli, const char *source,
                                                    struct cam_reach_intake *intake);
struct cam_document_sink cam_reach_intake_sink(struct cam_reach_intake *intake);
/* Nothing more comes just now: journals what did. */
CAM_MUST_USE enum cam_status cam_reach_intake_idle(struct cam_reach_intake *intake);
/* Journals what is pending; pending documents in all are *PENDING.  Call it also when the sink gave
 * CAM_STOPPED: then the service did not want more, and why is the error here. */
CAM_MUST_USE enum cam_status cam_reach_intake_finish(struct cam_reach_intake *intake,
                                                     struct cam_admission_counts *counts,
                                                     int64_t *pending);
void cam_reach_intake_end(struct cam_reach_intake *intake);

#endif
