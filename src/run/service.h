/* service.h - the loop that keeps a model learning: feeds and schedules into the journal, the
 * trainer along it, until there is nothing left (`--once`) or somebody says stop.
 *
 *     fetcher thread --documents--> journal <--control rows-- schedules, flush, other threads
 *                                      |
 *     this thread:   cam_trainer_advance, the desk, schedules, signals, checkpoint when idle, wait
 *
 * SIGTERM and SIGINT finish the step at hand, checkpoint and return CAM_OK; a second SIGINT ends
 * the process at once, which loses no more than the steps since the last checkpoint.  SIGHUP takes
 * the policy file again if it was given by path.  Signals are process-wide: one service a process.
 *
 * On a full disk training pauses: the trainer goes back to its newest durable state, tries again
 * after 1 s, 2 s ... up to a minute, and goes on from there with the same bits when there is space.
 * With `once` it gives up after six tries without progress (about a minute): CAM_ERR_FULL.
 */
#ifndef CAM_RUN_SERVICE_H
#define CAM_RUN_SERVICE_H

#include "base/status.h"
#include "run/desk.h"
#include "run/fetcher.h"
#include "run/trainer.h"
#include "store/workspace.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum cam_service_event {
    CAM_SERVICE_BEAT,   /* the loop went round once more; no text */
    CAM_SERVICE_STATUS, /* text: what it does, in one line */
    CAM_SERVICE_RELOADING,
    CAM_SERVICE_RELOADED,
    CAM_SERVICE_PAUSED, /* text: why */
    CAM_SERVICE_RESUMED,
    CAM_SERVICE_STOPPING,
};

struct cam_service_options {
    const char *const *feeds; /* URLs to add if they are not there; ended by NULL; may be NULL */
    const char *const *allow; /* see cam_fetcher_options */
    const char *policy;       /* policy or file to use from now on, NULL: what is in force */
    int64_t interval_s;       /* of the feeds added here */
    int once;                 /* poll every feed once, train until idle, return */
    int flush;                /* after the polls, train the tail below one batch */
    /* Called after every step; may be NULL. */
    void (*progress)(void *context, const struct cam_progress *progress);
    /* For a supervisor, on the service's thread; at rest BEAT comes twice a second.  May be NULL.
     */
    void (*watch)(void *context, enum cam_service_event event, const char *text);
    void *context;
    struct cam_desk *desk;  /* for other threads; closed when the service ends; may be NULL */
    int64_t first_retry_ms; /* after the disk was found full; 0: 1000 */
};

/* What is left over when the service returns. */
struct cam_service_report {
    struct cam_fetcher_round round; /* of --once; zero otherwise */
    int64_t pending_tokens;         /* wait for a full batch */
    int64_t pending_documents;
    int64_t steps; /* trained by this call */
    int stopped;   /* by a signal */
};

/* From here on SIGTERM, SIGINT and SIGHUP are kept for the service and SIGPIPE is an error code. */
void cam_service_catch_signals(void);
/* Non-zero once a signal asked to stop. */
const atomic_int *cam_service_stop_flag(void);

/* Runs until idle (once) or stopped.  A feed that failed is no failure here: see REPORT.  What it
 * does is published (cam_workspace_publish) as one JSON object: pid, since (RFC 3339), state
 * ("training", "idle", "paused", "stopping"), step, tokens_per_s, reason (or null). */
CAM_MUST_USE enum cam_status cam_service_run(struct cam_workspace *workspace,
                                             struct cam_trainer *trainer,
                                             const struct cam_service_options *options,
                                             struct cam_service_report *report);

/* Lets the trainer come to the end of the journal, so that a control row just journalled at
 * POSITION is acted on, and checkpoints.  Documents that wait before the row and fill batches are
 * trained first, as the order says.  OUTCOME (may be NULL) is what the history says about the row.
 * CAM_ERR_BUSY if a signal came first: the row stays and the next run acts on it. */
CAM_MUST_USE enum cam_status cam_service_settle(struct cam_workspace *workspace,
                                                struct cam_trainer *trainer, int64_t position,
                                                const struct cam_service_options *options,
                                                char *outcome, size_t outcome_bytes);

/* The message of a row that nobody acted on yet; takes its position as a long long. */
#define CAM_SERVICE_LEFT_WAITING                                                                   \
    "stopped before journal row %lld was reached; the next cambium run acts on it"

/* What the history says became of the control row at POSITION; "" while it waits. */
CAM_MUST_USE enum cam_status cam_service_outcome(struct cam_database *database, int64_t position,
                                                 char *outcome, size_t outcome_bytes);

#endif
