/* intake.h - the documents of an `ingest` on the control socket, at both ends (protocol: server.h).
 */
#ifndef CAM_SERVE_INTAKE_H
#define CAM_SERVE_INTAKE_H

#include "base/status.h"
#include "flow.h"
#include "serve/wire.h"
#include "store/journal.h"

#include <jansson.h>

/* The service's end: journals what comes until the end.  However it ends, documents that came whole
 * are journalled; *RESULT is the counts. */
CAM_MUST_USE enum cam_status cam_intake_serve(struct cam_wire *wire, struct cam_database *database,
                                              const json_t *arguments, json_t **result);

/* The client's end: a sink that sends to WIRE (borrowed).  Where sending fails, its status is
 * CAM_STOPPED and the service's answer says why. */
struct cam_document_sink cam_intake_sink(struct cam_wire *wire);
/* Says that nothing more comes just now: what was sent is journalled. */
CAM_MUST_USE enum cam_status cam_intake_idle(struct cam_wire *wire);
/* Says that there are no more; the answer comes next. */
CAM_MUST_USE enum cam_status cam_intake_end(struct cam_wire *wire);

/* Counts as JSON and back; CAM_ERR_PROTOCOL if one is missing. */
json_t *cam_intake_counts_json(const struct cam_admission_counts *counts, int64_t pending);
CAM_MUST_USE enum cam_status
cam_intake_counts_read(const json_t *json, struct cam_admission_counts *counts, int64_t *pending);

#endif
