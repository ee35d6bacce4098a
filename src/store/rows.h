/* rows.h - small row operations shared by the files of store/; all run on the database thread. */
#ifndef CAM_STORE_ROWS_H
#define CAM_STORE_ROWS_H

#include "base/clock.h"
#include "base/settings.h"
#include "base/status.h"
#include "store/history.h"

#include <sqlite3.h>
#include <stdint.h>

/* Now as RFC 3339 in OUT; returns OUT. */
char *cam_rows_now(char out[CAM_RFC3339_BYTES]);

/* Appends a journal row with body {"reason": REASON}; *POSITION (may be NULL) is its place. */
CAM_MUST_USE enum cam_status cam_rows_journal(sqlite3 *sqlite, const char *kind, int64_t document,
                                              const char *name, const char *value,
                                              const char *reason, int64_t *position);

/* Appends an event; control characters in MESSAGE are replaced.  Old events beyond 100,000 go. */
CAM_MUST_USE enum cam_status cam_rows_event(sqlite3 *sqlite, const char *level, const char *kind,
                                            const char *message, const char *body);

CAM_MUST_USE enum cam_status cam_rows_state(sqlite3 *sqlite, struct cam_history_state *state);

/* Begins a moment: raises the trainer's moment by one and returns the state with it. */
CAM_MUST_USE enum cam_status cam_rows_moment(sqlite3 *sqlite, struct cam_history_state *state);

CAM_MUST_USE enum cam_status cam_rows_settings(sqlite3 *sqlite, struct cam_settings *settings);

/* Compressed text of DOCUMENT into malloc'd *TEXT, checked against its size. */
CAM_MUST_USE enum cam_status cam_rows_text(const void *blob, size_t blob_bytes, int64_t document,
                                           int64_t expected_bytes, char **text, size_t *n_bytes);

/* URL for people: "user:password@" masked, control characters replaced.  Returns OUT. */
char *cam_rows_masked_url(const char *url, char *out, size_t out_bytes);

#endif
