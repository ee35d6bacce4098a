/* feed_ndjson.h - newline-delimited JSON, pushed piece by piece.
 *
 * One object a line: "text" (or "html", also spelt "content_html") and any of "id", "url",
 * "title", "published", "updated", "author", "language", "domain".  Unknown keys are ignored, null
 * is the same as absent, a number is accepted as id.  Blank lines are skipped.  A line that is not
 * such an object (syntax, duplicate keys, deep nesting, bad UTF-8, \u0000, a limit) goes to
 * sink->rejected as "line N" and the next line goes on.
 *
 *     cam_ndjson_reader_new(&limits, &sink, &reader);
 *     while ((n = read(...)) > 0) cam_ndjson_reader_push(reader, piece, n);
 *     cam_ndjson_reader_finish(reader);       the last line may lack its newline
 *     cam_ndjson_reader_free(reader);
 *
 * Lines that lie whole in a piece are parsed where they are; only a line across two pieces is
 * copied, so a file of any size takes the memory of its longest line. */
#ifndef CAM_FEED_FEED_NDJSON_H
#define CAM_FEED_FEED_NDJSON_H

#include "feed/feed.h"

struct cam_ndjson_reader;

/* Borrows SINK's context until it is freed; LIMITS and SINK themselves are copied. */
CAM_MUST_USE enum cam_status cam_ndjson_reader_new(const struct cam_feed_limits *limits,
                                                   const struct cam_document_sink *sink,
                                                   struct cam_ndjson_reader **reader);
CAM_MUST_USE enum cam_status cam_ndjson_reader_push(struct cam_ndjson_reader *reader,
                                                    const char *bytes, size_t n_bytes);
/* Reads the unfinished last line, if any.  Push may begin a new input afterwards. */
CAM_MUST_USE enum cam_status cam_ndjson_reader_finish(struct cam_ndjson_reader *reader);
void cam_ndjson_reader_free(struct cam_ndjson_reader *reader);

/* Whether the bytes begin with a whole line that is a JSON object by itself: then they are NDJSON,
 * whatever follows, unless that one object is a JSON Feed. */
int cam_ndjson_is_first_line(const char *bytes, size_t n_bytes);

#endif
