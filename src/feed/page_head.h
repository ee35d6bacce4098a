/* page_head.h - what an HTML page says about itself, and which feeds it names.
 *
 * Taken from <title>, <meta> (Open Graph, article:, Dublin Core, schema.org), <link rel=canonical>,
 * <time datetime> and <html lang>, wherever in the page they stand; of several the first counts. */
#ifndef CAM_FEED_PAGE_HEAD_H
#define CAM_FEED_PAGE_HEAD_H

#include "base/buffer.h"
#include "base/status.h"
#include "feed/discover.h"

#include <stddef.h>

struct cam_page_head {
    struct cam_buffer title, url, author, published, updated, language; /* empty = absent */
    struct cam_feed_links feeds;
};

/* HTML is UTF-8; URLs are made absolute by <base>, else by BASE (may be NULL).  HEAD is initialised
 * here and must be released, on failure too (CAM_ERR_OS).  A field past MAX_FIELD_BYTES is absent.
 */
CAM_MUST_USE enum cam_status cam_page_head_read(const char *html, size_t n_bytes, const char *base,
                                                size_t max_field_bytes, struct cam_page_head *head);
void cam_page_head_release(struct cam_page_head *head);

#endif
