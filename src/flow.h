/* flow.h - READ FIRST: the plain structs handed from stage to stage, and who owns each.
 *
 *     feed --> cam_document --> store/journal --> cam_admitted --> text/pack --> cam_batch
 *          --> train/step --> cam_step_report --> store/history --> growth/decide --> cam_decision
 *
 * One direction.  A struct here has no behaviour; the stage that makes it documents the fields. */
#ifndef CAM_FLOW_H
#define CAM_FLOW_H

#include <stddef.h>
#include <stdint.h>

/* What came of asking for the page of an entry whose feed gave no more than a summary of it. */
struct cam_page_outcome {
    const char *entry;   /* names the entry as the feed gave it: the same again is nothing new */
    int was_asked;       /* 0: not this time; the entry is only recognised */
    int http_status;     /* of the page; 0: no answer, or it was not asked for */
    const char *problem; /* why the text is the summary; NULL: it is the page's main text */
};

/* A document as a feed gave it, cleaned.  Made by feed/, owned by the feed reader that passes it
 * to the sink; the sink copies what it keeps.  All text is valid UTF-8, NUL-terminated; absent
 * fields are NULL.  Raw control characters other than \n and \t never survive in `text`. */
struct cam_document {
    const char *id; /* the feed's own id (guid); NULL if it has none */
    const char *url;
    const char *title;
    const char *author;
    const char *published; /* RFC 3339 as normalised by the parser, or NULL */
    const char *updated;
    const char *language;
    const char *domain; /* NDJSON "domain", else first category, else NULL (= feed name) */
    const char *text;   /* what is trained on: NFC, \n line ends, no markup */
    size_t text_bytes;
    const char *html;  /* the source markup where there was one (dry runs show it), or NULL */
    size_t n_replaced; /* invalid bytes replaced while cleaning */
    int is_summary;    /* the feed had no content for it, at most a summary; the rest is at url */
    const struct cam_page_outcome *page; /* set by the poll, not by readers; NULL: it has no page */
};

/* What a reader calls for every document, in journal order.  A status other than CAM_OK stops the
 * reader, which returns it. */
struct cam_document_sink {
    int (*document)(void *context, const struct cam_document *document); /* enum cam_status */
    /* An entry that could not become a document (malformed line, over a limit).  WHERE names it
     * ("line 12", "entry 3"), WHY is one sentence.  The reader goes on. */
    int (*rejected)(void *context, const char *where, const char *why);
    void *context;
};

#endif
