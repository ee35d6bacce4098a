/* robots.h - what a robots.txt lets us ask for (RFC 9309).
 *
 * The group that names us counts, or else that of "*"; several groups of a name are one.  Of the
 * rules that match a path the longest wins, Allow in a tie; '*' stands for anything and a '$' at
 * the end for the end; a path nobody mentions is allowed, and so is /robots.txt itself.  Paths are
 * compared by octets after "%7E" and "~" were made the same (section 2.2.2).  Lines that say
 * nothing we know are passed over.  Beside the RFC: Crawl-delay, which many write, is read.
 *
 * The file is outside data: what lies beyond CAM_ROBOTS_MAX_BYTES is not read (the RFC asks for 500
 * KiB at least), beyond CAM_ROBOTS_MAX_RULES rules or bytes of patterns the rest is passed over,
 * and matching takes time in proportion to path times pattern, both of which are bounded. */
#ifndef CAM_FEED_ROBOTS_H
#define CAM_FEED_ROBOTS_H

#include "base/status.h"

#include <stddef.h>

#define CAM_ROBOTS_MAX_BYTES         ((size_t)512 << 10)
#define CAM_ROBOTS_MAX_RULES         2000
#define CAM_ROBOTS_MAX_PATTERN_BYTES ((size_t)64 << 10) /* of all rules together */
#define CAM_ROBOTS_MAX_DELAY_S       60

/* Zero allows everything. */
struct cam_robots {
    struct cam_robots_rule *rules; /* owned */
    size_t n_rules;
    char *patterns; /* owned; the rules point into it */
    int delay_s;    /* Crawl-delay, at most CAM_ROBOTS_MAX_DELAY_S; 0: not said */
};

/* Reads the rules for AGENT, a product name without version ("cambium").  Never fails for what the
 * bytes are; CAM_ERR_OS: no memory. */
CAM_MUST_USE enum cam_status cam_robots_read(const char *bytes, size_t n_bytes, const char *agent,
                                             struct cam_robots *robots);
void cam_robots_release(struct cam_robots *robots);

/* Whether URL (http or https, absolute) may be asked for.  Only its path and query count. */
int cam_robots_allow(const struct cam_robots *robots, const char *url);

/* "scheme://host:port/robots.txt" for URL, without credentials, into OUT; "" if it does not fit or
 * URL is not http(s).  Returns OUT. */
char *cam_robots_url(const char *url, char *out, size_t out_bytes);

#endif
