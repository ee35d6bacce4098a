/* entry_pages.h - the pages of a feed's entries that came with a summary only (feed.fulltext).
 *
 * Entries are known by a hash of their id, address and summary.  Those whose page was asked for in
 * an earlier poll are recognised and left alone.  Where a page cannot be had, is no HTML, may not
 * be asked for or says no more than the feed, the summary is kept, and v1_pages says why.
 *
 * A poll asks for at most CAM_PAGES_A_POLL pages, for CAM_PAGES_S seconds at most, and leaves a
 * host alone that failed or asked to wait.  What is left over is not journalled by this poll, and
 * the feed's validators are not stored, so the next poll brings it again. */
#ifndef CAM_RUN_ENTRY_PAGES_H
#define CAM_RUN_ENTRY_PAGES_H

#include "flow.h"
#include "run/page_desk.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_PAGES_A_POLL      100
#define CAM_PAGES_S           600.0
#define CAM_PAGES_BYTES       ((size_t)32 << 20) /* of texts that one poll holds */
#define CAM_SUMMARY_MAX_BYTES 4096               /* what is longer is taken for the whole text */

struct cam_entry_page {
    char entry[33]; /* its hash */
    char *url;      /* owned */
    size_t summary_bytes;
    int is_known; /* from an earlier poll */
    int is_done;  /* asked for: `page` says what came of it */
    struct cam_page page;
};

/* Zero is an empty one.  In the order in which the feed's entries are delivered. */
struct cam_entry_pages {
    struct cam_entry_page *entries; /* owned */
    size_t n, capacity;
    size_t next;    /* where the last one was found */
    size_t n_bytes; /* of texts */
    size_t n_done, n_left;
    long retry_after_s; /* what the feed's own host asked for; 0: nothing */
};

void cam_entry_pages_release(struct cam_entry_pages *pages);

/* Whether DOCUMENT's page would be asked for. */
int cam_entry_is_summary(const struct cam_document *document);
char *cam_entry_hash(const struct cam_document *document, char entry[33]); /* returns ENTRY */

/* Adds the entry of DOCUMENT if it is one whose page would be asked for. */
CAM_MUST_USE enum cam_status cam_entry_pages_add(struct cam_entry_pages *pages,
                                                 const struct cam_document *document);

/* Asks for the pages of those that are not known.  REQUEST has everything but url, host and
 * least_bytes; its ca_file is for FEED_HOST alone. */
CAM_MUST_USE enum cam_status cam_entry_pages_fetch(struct cam_entry_pages *pages,
                                                   struct cam_page_desk *desk,
                                                   const struct cam_page_request *request,
                                                   const char *feed_host);

/* The entry called ENTRY, or NULL. */
const struct cam_entry_page *cam_entry_pages_find(struct cam_entry_pages *pages, const char *entry);

#endif
