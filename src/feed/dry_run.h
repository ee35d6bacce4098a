/* dry_run.h - the line that `ingest --dry-run --json` writes for a document. */
#ifndef CAM_FEED_DRY_RUN_H
#define CAM_FEED_DRY_RUN_H

#include "base/buffer.h"
#include "base/status.h"
#include "flow.h"

/* Appends one JSON object without newline: id, url, title, published, updated, author, language,
 * domain, text, html; absent fields are null.  Control characters, C1 and bidi controls are
 * escaped, so that a terminal can be shown the line; all else is UTF-8.  OUT is left
 * as it was on failure (its limit: CAM_ERR_DATA). */
CAM_MUST_USE enum cam_status cam_dry_run_json(const struct cam_document *document,
                                              struct cam_buffer *out);

#endif
