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

/* What `ingest` may be told to take: also a folder, whose files are read in byte order of their
 * names, and those of its folders with them.  Names that begin with a dot and symbolic links are
 * passed over; a file that cannot be read is rejected and the next goes on. */
#define CAM_INPUT_MAX_DEPTH 16 /* nested folders */
struct cam_input {
    const char *path;                     /* "-": standard input */
    const char *format;                   /* or NULL */
    const struct cam_feed_limits *limits; /* NULL: the defaults */
    /* Called before waiting for a stream that has nothing to read now (may be NULL): what was
     * handed on so far can be made durable.  A status other than CAM_OK ends the read. */
    enum cam_status (*idle)(void *context);
    void *context; /* for idle */
};
CAM_MUST_USE enum cam_status cam_input_take(const struct cam_input *input,
                                            const struct cam_document_sink *sink);

/* What documents that name no domain are called: the file's name without folder and ending, "stdin"
 * for "-".  Returns OUT. */
char *cam_input_name(const char *path, char *out, size_t out_bytes);

#endif
