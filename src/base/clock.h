/* clock.h - the only place that asks for the time.
 *
 * Clock readings go into columns documented as clock and nowhere else: nothing the trainer does
 * depends on them. */
#ifndef CAM_BASE_CLOCK_H
#define CAM_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define CAM_RFC3339_BYTES 25

int64_t cam_clock_unix_ms(void);    /* wall clock, milliseconds since 1970; may jump */
double cam_clock_seconds(void);     /* monotonic, for durations */
double cam_clock_cpu_seconds(void); /* processor time of this process, all threads together */

/* For tests: where cam_clock_unix_ms looks from now on; NULL: the system's clock again.  FN is
 * called by any thread that asks for the time. */
typedef int64_t cam_clock_fn(void);
void cam_clock_replace(cam_clock_fn *fn);

/* "2026-11-21T09:30:00.000Z" needs 25 bytes; years 0000-9999, else "".  Returns OUT. */
char *cam_clock_rfc3339(int64_t unix_ms, char out[CAM_RFC3339_BYTES]);

/* A date and time as people write them; a leap second is the second after it. */
struct cam_clock_parts {
    int year, month, day, hour, minute, second, ms;
    int offset; /* minutes east of UTC */
};
/* Returns 0 and sets *UNIX_MS, or -1 where one of them cannot be (years 0 to 9999). */
int cam_clock_from_parts(const struct cam_clock_parts *parts, int64_t *unix_ms);
/* Parses RFC 3339 (any offset, optional fraction).  Returns 0 and sets *UNIX_MS, or -1. */
int cam_clock_parse_rfc3339(const char *text, int64_t *unix_ms);

#endif
