/* change.h - the commands that change a workspace, each written once.
 *
 *     cambium eval --takes the lock-->  cam_change_run at a site of its own
 *                  --lock is held---->  control socket --> cam_change_run at the service's site
 *
 * So a command does and answers the same both ways.  A change reads its arguments from a JSON
 * object (they come over a socket: checked, bounded), writes rows through the functions of store/
 * and growth/, and gives back a JSON object.  Where it depends on the trainer it goes through the
 * site, because only the thread that owns the trainer may touch it:
 *
 *     feed.add         url, name?, format?, interval_s, ca?, poll?  {poll_failed}
 *     feed.import      feeds: [{url, name?}], interval_s           {}
 *     feed.remove      url                                         {}
 *     schedule.add     spec, action                                {schedule}
 *     schedule.remove  schedule                                    {}
 *     config           key, value                                  {}
 *     quarantine       documents: [number], release, reason        {}
 *     eval                                                         {evaluation}
 *     snapshot         tag?                     {id, documents, bytes_unique, bytes_shared}
 *     policy.use       name, text?                                 {}
 *     rollback         snapshot, requeue, reason   {lineage, trained, pending, set_aside,
 *                                                   model_hash, settings: {key: [before, after]}}
 *     forget           documents?: [number], source?, act, reason   {documents, changed, act,
 *                      snapshot, since: {documents, tokens, seconds}, and if act: position, lineage,
 *                      snapshots: [{id, tag, documents}], left: [text], model_hash, and the counts
 *                      of status}
 *     prune            keep_last, max_bytes (-1: none)   {removed, kept, compacted, bytes_before,
 *                      freed_bytes, over_budget, snapshots: [{id, tag, documents, goes, why}]}
 *
 * To add one: a row in the table in change.c, and a line above. */
#ifndef CAM_SERVE_CHANGE_H
#define CAM_SERVE_CHANGE_H

#include "base/status.h"
#include "run/trainer.h"
#include "store/workspace.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Reads what a control row led to, before the trainer does anything else. */
typedef enum cam_status cam_change_look_fn(void *context, struct cam_database *database);
/* Does something with the trainer, between two steps. */
typedef enum cam_status cam_change_work_fn(void *context, struct cam_trainer *trainer);

/* Where a change is made. */
struct cam_change_site {
    struct cam_workspace *workspace;
    int is_service; /* a fetcher runs beside */
    /* Waits until the trainer acted on the journal row at POSITION, then calls LOOK (may be NULL)
     * and gives the row's OUTCOME.  CAM_ERR_BUSY: the row stays, and the next run acts on it. */
    enum cam_status (*settle)(void *context, int64_t position, cam_change_look_fn *look,
                              void *look_context, char *outcome, size_t outcome_bytes);
    /* EVEN_PAUSED: WORK uses the trainer's store alone, so it need not wait for space. */
    enum cam_status (*between)(void *context, cam_change_work_fn *work, void *work_context,
                               int even_paused);
    void *context;
};

/* Makes change NAME.  *RESULT is the caller's reference.  CAM_ERR_PROTOCOL: no such change, or
 * other arguments than it takes; else as the functions it is made of. */
CAM_MUST_USE enum cam_status cam_change_run(const struct cam_change_site *site, const char *name,
                                            const json_t *arguments, json_t **result);

/* Whether change NAME uses the trainer, which takes a while to open.  0 for an unknown name. */
int cam_change_needs_trainer(const char *name, const json_t *arguments);

/* What a prune did or would do, as the result of the change; takes the reference of SNAPSHOTS, the
 * list that cam_change_list_pruned (a cam_prune_fn) filled. */
CAM_MUST_USE enum cam_status cam_change_pruned(const struct cam_prune_report *report,
                                               json_t *snapshots, json_t **result);
CAM_MUST_USE enum cam_status
cam_change_list_pruned(void *array, const struct cam_snapshot *snapshot, int goes, const char *why);

/* CAM_ERR_USAGE says what a snapshot's tag may look like. */
CAM_MUST_USE enum cam_status cam_change_check_tag(const char *tag);

#endif
