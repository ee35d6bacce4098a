/* feed.h - the reader seam: bytes that came from a feed or a file become documents.
 *
 * To add a format: write feed_<name>.c that defines `const struct cam_feed_format
 * cam_feed_format_<name>`, declare it in feed_formats.h, add it to the table in feed.c, put samples
 * in tests/data/feed/.  The contract suite in tests/feed/test_formats.c then runs over it.
 *
 * Contract of every reader:
 *   - documents reach the sink in journal order: formats that list the newest first (Atom) are
 *     delivered oldest first, line formats in file order;
 *   - a body that is broken as a whole delivers *nothing* and fails with CAM_ERR_DATA, naming the
 *     place (a cut transfer must never train half a feed); line formats judge each line alone;
 *   - an entry that cannot become a document goes to sink->rejected and the rest go on;
 *   - time and memory are linear in the input, and every limit below holds;
 *   - nothing is ever fetched because a document says so.
 * A sink status other than CAM_OK stops the reader, which returns it.  Readers are re-entrant. */
#ifndef CAM_FEED_FEED_H
#define CAM_FEED_FEED_H

#include "base/buffer.h"
#include "base/status.h"
#include "flow.h"

#include <stddef.h>

/* What a feed may ask of us.  Past a limit of one entry that entry is rejected, past a limit of the
 * whole input the read fails; the message names the limit. */
struct cam_feed_limits {
    size_t max_document_bytes; /* text and markup of one document, each; default 4 MiB */
    size_t max_field_bytes;    /* id, url, title ... of one document, each; default 8 KiB */
    size_t max_line_bytes;     /* one NDJSON line; default 16 MiB */
    size_t max_entries;        /* entries of one XML feed; default 100,000 */
    size_t max_depth;          /* nested XML elements; default 128 */
    size_t max_attributes;     /* of one XML element; default 64 */
};

void cam_feed_limits_init(struct cam_feed_limits *limits);

/* How sure a format is that it can read the bytes; the highest wins, the first in a tie. */
enum cam_feed_sniff { CAM_SNIFF_NO, CAM_SNIFF_MAYBE, CAM_SNIFF_LIKELY, CAM_SNIFF_SURE };

struct cam_feed_format {
    const char *name;
    /* CONTENT_TYPE: media type in lower case without parameters, "" if unknown. */
    enum cam_feed_sniff (*sniff)(const char *bytes, size_t n_bytes, const char *content_type);
    enum cam_status (*read)(const char *bytes, size_t n_bytes, const struct cam_feed_limits *limits,
                            const struct cam_document_sink *sink);
    /* The name the feed gives itself, cleaned, appended to TITLE (nothing if it has none).  NULL
     * where the format has no such thing. */
    enum cam_status (*title)(const char *bytes, size_t n_bytes,
                             const struct cam_feed_limits *limits, struct cam_buffer *title);
};

/* Finds the format of the bytes and reads them.  CONTENT_TYPE is the Content-Type header (may be
 * NULL) and a hint only, as servers are often wrong.  FORMAT_NAME (may be NULL) is set to a static
 * string as soon as the format is known, even when reading then fails.  Errors: CAM_ERR_DATA (no
 * format fits, broken input), whatever the sink returned. */
CAM_MUST_USE enum cam_status cam_feed_read(const char *bytes, size_t n_bytes,
                                           const char *content_type,
                                           const struct cam_feed_limits *limits,
                                           const struct cam_document_sink *sink,
                                           const char **format_name);

/* The name the feed gives itself; TITLE stays as it was where there is none. */
CAM_MUST_USE enum cam_status cam_feed_title(const char *bytes, size_t n_bytes,
                                            const char *content_type,
                                            const struct cam_feed_limits *limits,
                                            struct cam_buffer *title);

/* The content type that goes with a file name's ending (".ndjson", ".jsonl", ".atom", ".xml",
 * ".txt", ".md"), or NULL.  Static. */
const char *cam_feed_type_of_name(const char *file_name);

#endif
