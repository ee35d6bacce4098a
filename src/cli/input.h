/* input.h - documents from a file or standard input, for ingest, score and init. */
#ifndef CAM_CLI_INPUT_H
#define CAM_CLI_INPUT_H

#include "base/status.h"
#include "feed/feed.h"
#include "flow.h"

/* Bytes of a file that has to be in memory whole (Atom, text); NDJSON may be of any length. */
#define CAM_INPUT_MAX_BYTES ((size_t)256 << 20)

/* Reads PATH ("-": standard input) as FORMAT (NULL: found by name and content) and hands every
 * document to SINK.  No bytes at all are no documents, which is fine.  LIMITS NULL: the defaults.
 * CAM_ERR_NOINPUT: no such file.  CAM_ERR_DATA: broken as a whole. */
CAM_MUST_USE enum cam_status cam_input_read(const char *path, const char *format,
                                            const struct cam_feed_limits *limits,
                                            const struct cam_document_sink *sink);

/* What documents that name no domain are called: the file's name without folder and ending, "stdin"
 * for "-".  Returns OUT. */
char *cam_input_name(const char *path, char *out, size_t out_bytes);

#endif
