/* draft.h - a document in the making, shared by the format readers.
 *
 * Each setter cleans what it is given and holds it against the limits, so every format treats a
 * field the same way.  One draft is reused for all documents of a feed: memory is allocated for the
 * largest and kept.
 *
 *     cam_draft_init(&draft, &limits);
 *     for each entry: cam_draft_clear(&draft); set ...; cam_draft_deliver(&draft, where, &sink);
 *     cam_draft_release(&draft);
 *
 * A setter that fails with CAM_ERR_DATA has found an entry over a limit; its message is the reason
 * to give to sink->rejected (cam_draft_reject does that). */
#ifndef CAM_FEED_DRAFT_H
#define CAM_FEED_DRAFT_H

#include "base/buffer.h"
#include "feed/feed.h"
#include "flow.h"

enum cam_field {
    CAM_FIELD_ID,
    CAM_FIELD_URL,
    CAM_FIELD_TITLE,
    CAM_FIELD_AUTHOR,
    CAM_FIELD_PUBLISHED,
    CAM_FIELD_UPDATED,
    CAM_FIELD_LANGUAGE,
    CAM_FIELD_DOMAIN,
    CAM_N_FIELDS
};

struct cam_draft {
    const struct cam_feed_limits *limits;  /* borrowed */
    struct cam_buffer field[CAM_N_FIELDS]; /* empty = absent */
    struct cam_buffer text;
    struct cam_buffer html;
    struct cam_buffer scratch, meant;
    int has_text;
    int has_html;
    int is_summary; /* see flow.h; the reader sets it */
    size_t n_replaced;
    int was_repaired; /* bytes of the input were replaced before it was cut into fields: the U+FFFD
                         in this document are counted */
};

void cam_draft_init(struct cam_draft *draft, const struct cam_feed_limits *limits);
void cam_draft_release(struct cam_draft *draft);
void cam_draft_clear(struct cam_draft *draft);

/* Id and url keep their characters (trimmed); title, author, language and domain become one clean
 * line; dates become RFC 3339 in UTC, and a date that is none is absent (see date.h). */
CAM_MUST_USE enum cam_status cam_draft_set(struct cam_draft *draft, enum cam_field field,
                                           const char *bytes, size_t n_bytes);
/* Plain text / markup of the document.  Where both are set, the text is the one trained on. */
CAM_MUST_USE enum cam_status cam_draft_set_text(struct cam_draft *draft, const char *bytes,
                                                size_t n_bytes);
CAM_MUST_USE enum cam_status cam_draft_set_html(struct cam_draft *draft, const char *bytes,
                                                size_t n_bytes);

/* Hands the document to SINK (converting markup first if there is no text).  An entry over a limit
 * is reported as rejected at WHERE, which is success. */
CAM_MUST_USE enum cam_status cam_draft_deliver(struct cam_draft *draft, const char *where,
                                               const struct cam_document_sink *sink);

/* Tells SINK that the entry at WHERE was rejected because of cam_message(), if STATUS is
 * CAM_ERR_DATA; any other status is returned unchanged. */
CAM_MUST_USE enum cam_status cam_draft_reject(enum cam_status status, const char *where,
                                              const struct cam_document_sink *sink);

#endif
