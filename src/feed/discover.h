/* discover.h - the feeds that an HTML page names: <link rel=alternate type=application/rss+xml>.
 *
 * For the page of a site given in place of its feed.  Types are those of RSS, Atom, RDF and JSON
 * Feed (and plain XML; plain JSON only where the address says "feed", as other things are JSON).
 * Only http and https; nothing is fetched here. */
#ifndef CAM_FEED_DISCOVER_H
#define CAM_FEED_DISCOVER_H

#include "base/status.h"

#include <stddef.h>

#define CAM_MAX_FEED_LINKS 32

struct cam_feed_link {
    char *url;   /* absolute */
    char *title; /* "" if it has none */
    char *type;  /* in lower case */
};

/* In the order of the page, each address once. */
struct cam_feed_links {
    struct cam_feed_link link[CAM_MAX_FEED_LINKS];
    size_t n_links;
};

/* HTML in any encoding (CONTENT_TYPE: the whole header, or NULL), got from BASE_URL (may be NULL:
 * then only absolute addresses are found).  LINKS is initialised here and must be released, on
 * failure too.  A page without feeds is success. */
CAM_MUST_USE enum cam_status cam_feed_discover(const char *html, size_t n_bytes,
                                               const char *content_type, const char *base_url,
                                               struct cam_feed_links *links);
void cam_feed_links_release(struct cam_feed_links *links);

#endif
