/* clean.h - bytes from outside become text we train on.
 *
 * Three strengths, each linear in the input and deterministic; all append to OUT, respect its limit
 * (CAM_ERR_DATA past it) and leave OUT as it was on failure.  BYTES may hold anything, NULs
 * included; it must not lie inside OUT.
 *
 *     cam_clean_utf8   only what every later step relies on: valid UTF-8, no control characters
 *     cam_clean_line   one line for a title or a name: NFC, runs of white space are one space
 *     cam_clean_text   a document: NFC, lines in order, nothing that means something is lost */
#ifndef CAM_TEXT_CLEAN_H
#define CAM_TEXT_CLEAN_H

#include "base/buffer.h"
#include "base/status.h"

#include <stddef.h>

/* Ill-formed UTF-8 becomes U+FFFD, one for each maximal ill-formed run (Unicode 15, table 3-8), and
 * is counted in *N_REPLACED (added to; may be NULL).  C0 and C1 controls but \n and \t, DEL, NUL
 * and every U+FEFF (byte order mark) are removed; \r\n and \r become \n.  Of a run of combining
 * marks the first 30 stay (Unicode's stream-safe bound; sorting longer runs takes quadratic time).
 */
CAM_MUST_USE enum cam_status cam_clean_utf8(const void *bytes, size_t n_bytes,
                                            struct cam_buffer *out, size_t *n_replaced);

/* As cam_clean_utf8, then NFC, white space runs (no-break space included) become one space, ends
 * trimmed. */
CAM_MUST_USE enum cam_status cam_clean_line(const void *bytes, size_t n_bytes,
                                            struct cam_buffer *out, size_t *n_replaced);

/* As cam_clean_utf8, then NFC; spaces and tabs at line ends go, at most two blank lines in a row
 * stay, none at the start or the end; no newline at the end.  Indentation and spaces inside a line
 * stay as they are (code).  Cleaning clean text changes nothing. */
CAM_MUST_USE enum cam_status cam_clean_text(const void *bytes, size_t n_bytes,
                                            struct cam_buffer *out, size_t *n_replaced);

#endif
