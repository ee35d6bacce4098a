/* feed.h - the reader seam: bytes that came from a feed or a file become documents.
 *
 * To add a format: write feed_<name>.c that defines `const struct cam_feed_format
 * cam_feed_format_<name>`, declare it in feed_formats.h, add it to the table in feed.c, put samples
 * in tests/data/feed/.  The contract suite in tests/feed/test_formats.c then runs over it.
 *
 * Contract of every reader:
 *   - documents reach the sink in journal order: formats that list the newest first (Atom, RSS,
 * JSON Feed) are delivered oldest first, line formats in file order;
 *   - a body that ends too early as a whole delivers *nothing* and fails with CAM_ERR_DATA (a cut
 *     transfer must never train half a feed); one that is broken in the middle delivers the entries
 *     before that place and fails, naming it; line formats judge each line alone;
 *   - an entry that cannot become a document goes to sink->rejected and the rest go on;
 *   - bytes that the encoding does not define become U+FFFD and are counted in the document;
 *   - time and memory are linear in the input, and every limit below holds;
 *   - nothing is ever fetched because a document says so.
 * A sink status other than CAM_OK stops the reader, which returns it.  Readers are re-entrant. */
#ifndef CAM_FEED_FEED_H
#define CAM_FEED_FEED_H

#include "base/buffer.h"
#include "base/status.h"
#include "flow.h"

#include <stddef.h>
#include <stdint.h>

/* What a feed may ask of us.  Past a limit of one entry that entry is rejected, past a limit of the
 * whole input the read fails; the message names the limit. */
struct cam_feed_limits {
    size_t max_document_bytes; /* text and markup of one document, each; default 4 MiB */
    size_t max_field_bytes;    /* id, url, title ... of one document, each; default 8 KiB */
    size_t max_line_bytes;     /* one NDJSON line; default 16 MiB */
    size_t max_entries;        /* entries of one feed; default 100,000 */
    size_t max_depth;          /* nested XML elements; default 128 */
    size_t max_attributes;     /* of one XML element; default 64 */
};

void cam_feed_limits_init(struct cam_feed_limits *limits);

/* What is to be read, and what is known about it.  Everything is borrowed; but for the bytes, all
 * may be NULL or 0. */
struct cam_feed_input {
    const char *bytes;
    size_t n_bytes;
    const char *content_type; /* the whole header: a hint (servers are often wrong) and a charset */
    const char *base;         /* where it was got from: relative links are resolved against it */
    const char *language;     /* of the header Content-Language */
    const char *format;       /* its name; NULL or "": found by looking */
    int accept_pages;         /* an HTML page is a document, and not somebody's login form */
    int main_text_only;       /* of a page: no text where its main text cannot be told */
    size_t n_replaced;        /* for readers: bytes that were replaced when it became UTF-8 */
};

/* How sure a format is that it can read the bytes; the highest wins, the first in a tie. */
enum cam_feed_sniff { CAM_SNIFF_NO, CAM_SNIFF_MAYBE, CAM_SNIFF_LIKELY, CAM_SNIFF_SURE };

struct cam_feed_format {
    const char *name;
    /* CONTENT_TYPE: media type in lower case without parameters, "" if unknown.  The bytes may be
     * no more than the beginning. */
    enum cam_feed_sniff (*sniff)(const char *bytes, size_t n_bytes, const char *content_type);
    /* The bytes are UTF-8 without byte order mark where DECODED is set. */
    enum cam_status (*read)(const struct cam_feed_input *input,
                            const struct cam_feed_limits *limits,
                            const struct cam_document_sink *sink);
    /* The name the feed gives itself, cleaned, appended to TITLE (nothing if it has none).  NULL
     * where the format has no such thing. */
    enum cam_status (*title)(const struct cam_feed_input *input,
                             const struct cam_feed_limits *limits, struct cam_buffer *title);
    int decoded; /* any encoding is turned into UTF-8 before the reader sees it */
    int is_page; /* found by looking only where pages are accepted */
};

/* Finds the format of the input and reads it.  FORMAT_NAME (may be NULL) is set to a static string
 * as soon as the format is known, even when reading then fails.  Errors: CAM_ERR_DATA (no format
 * fits, broken input, an encoding that is not read), CAM_ERR_CONFIG (no such format), whatever the
 * sink returned. */
CAM_MUST_USE enum cam_status cam_feed_read_input(const struct cam_feed_input *input,
                                                 const struct cam_feed_limits *limits,
                                                 const struct cam_document_sink *sink,
                                                 const char **format_name);

/* The same for bytes of which only the Content-Type is known (may be NULL). */
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

/* The format called NAME.  CAM_ERR_CONFIG lists those there are. */
CAM_MUST_USE enum cam_status cam_feed_find_format(const char *name,
                                                  const struct cam_feed_format **format);

/* The format that looks likeliest by the first bytes, or NULL. */
const struct cam_feed_format *cam_feed_sniff_format(const struct cam_feed_input *input);

/* What a feed asks of those who poll it.  Hints only: they may be missing, and they may be absurd.
 */
struct cam_feed_hints {
    int64_t ttl_s;       /* least time between polls (RSS ttl, sy:updatePeriod); 0: not said */
    uint32_t skip_hours; /* bit h: do not poll in hour h, UTC (RSS skipHours) */
    uint32_t skip_days;  /* bit d: nor on day d, 0 = Sunday (RSS skipDays) */
};

/* Reads them from the head of an XML feed, up to its first entry; all zero for anything else.
 * CONTENT_TYPE may be NULL. */
void cam_feed_hints_read(const char *bytes, size_t n_bytes, const char *content_type,
                         struct cam_feed_hints *hints);

/* The content type that goes with a file name's ending (".ndjson", ".atom", ".html", ".txt" ...),
 * or NULL.  Static. */
const char *cam_feed_type_of_name(const char *file_name);

/* The order in which entries of one feed are delivered: oldest first; of equal dates the last in
 * the file first.  An entry without a date counts as old as the dated entry above it (below it, at
 * the top of the file), so it keeps its place. */
struct cam_feed_rank {
    int64_t date_ms;
    int has_date;
    size_t i_entry; /* place in the file, from 0 */
};
void cam_feed_order(struct cam_feed_rank *ranks, size_t n_ranks);

#endif
