/* feed_formats.h - the formats there are; feed.c lists them in the order they are asked. */
#ifndef CAM_FEED_FEED_FORMATS_H
#define CAM_FEED_FEED_FORMATS_H

#include "feed/feed.h"

extern const struct cam_feed_format cam_feed_format_atom;
extern const struct cam_feed_format cam_feed_format_html;
extern const struct cam_feed_format cam_feed_format_jsonfeed;
extern const struct cam_feed_format cam_feed_format_ndjson;
extern const struct cam_feed_format cam_feed_format_rss;
extern const struct cam_feed_format cam_feed_format_text;

/* All of them; ends with NULL. */
extern const struct cam_feed_format *const cam_feed_formats[];

#endif
