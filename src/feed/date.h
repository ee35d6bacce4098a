/* date.h - the dates that feeds write, in one form.
 *
 * Read are RFC 3339 and W3CDTF (a year, a year and month, a day, with or without time, seconds,
 * fraction or zone), ISO 8601 without hyphens, RFC 822/2822 with what feeds make of it (no weekday,
 * a weekday that is wrong, one-digit days, two-digit years, no seconds, zone names, day and month
 * swapped), asctime, RFC 850, and slashes (2006/09/15, 9/15/2006).  A missing time is midnight, a
 * missing or unknown zone is UTC, a two-digit year is 1950 to 2049 (RFC 2822, 4.3).
 *
 * A date is data only: nothing is ordered by it across feeds, and one that cannot be read is
 * absent. */
#ifndef CAM_FEED_DATE_H
#define CAM_FEED_DATE_H

#include <stddef.h>
#include <stdint.h>

/* Returns 0 and sets *UNIX_MS, or -1 if the bytes are no date. */
int cam_date_parse(const char *bytes, size_t n_bytes, int64_t *unix_ms);

#endif
