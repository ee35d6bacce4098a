/* schedule.h - things that happen every so often, made part of the journal.
 *
 *     "100 documents"   every 100 documents trained: derived from the count, replayed exactly;
 *                       comes back from cam_history_commit_step as a decision
 *     "6h" "30m" "2d"   time passed since it was last due (s, m, h, d; least 1s)
 *     "0 3 * * 1-5"     cron with 5 fields, UTC; numbers, lists, ranges, steps
 *
 * When a time-based schedule is due it is journalled as a control row; a service that slept over
 * several slots journals one. */
#ifndef CAM_STORE_SCHEDULE_H
#define CAM_STORE_SCHEDULE_H

#include "base/status.h"
#include "store/database.h"

#include <stdint.h>

enum cam_schedule_unit { CAM_SCHEDULE_DOCUMENTS, CAM_SCHEDULE_DURATION, CAM_SCHEDULE_CRON };
struct cam_schedule_spec {
    enum cam_schedule_unit unit;
    int64_t every;                                   /* documents or milliseconds */
    uint64_t minutes, hours, days, months, weekdays; /* cron: bit i allows value i */
    int any_day, any_weekday;                        /* the field was "*": cron's either-day rule */
};

/* CAM_ERR_CONFIG says what is accepted.  A leading "every " is allowed. */
CAM_MUST_USE enum cam_status cam_schedule_parse(const char *text, struct cam_schedule_spec *spec);

/* When the schedule is due next, given when it was last due (its creation at first); pure.  For
 * DURATION: LAST + every, or NOW if that lies before it; a clock set back by more than one period
 * starts over at NOW + every.  For CRON: the first slot after LAST; slots missed before NOW
 * collapse into NOW; a clock set back by more than a day starts over from NOW.  Unix milliseconds;
 * INT64_MAX if never (DOCUMENTS, impossible dates). */
int64_t cam_schedule_next_due(const struct cam_schedule_spec *spec, int64_t last_ms,
                              int64_t now_ms);

/* ACTION "evaluate", "snapshot", "prune" or "verify". */
CAM_MUST_USE enum cam_status cam_schedule_add(struct cam_database *database, const char *spec,
                                              const char *action, int64_t *schedule);
CAM_MUST_USE enum cam_status cam_schedule_remove(struct cam_database *database, int64_t schedule);

struct cam_schedule {
    int64_t schedule;
    const char *spec, *action; /* borrowed for the call */
    int64_t last_due_at_ms;
};
typedef enum cam_status cam_schedule_fn(void *context, const struct cam_schedule *schedule);
CAM_MUST_USE enum cam_status cam_schedules_each(struct cam_database *database, cam_schedule_fn *fn,
                                                void *context);

/* Journals a control row for every time-based schedule due at NOW_MS that has none pending.
 * *NEXT_MS (may be NULL) is when to call again, *FIRED (may be NULL) how many were journalled. */
CAM_MUST_USE enum cam_status cam_schedules_fire(struct cam_database *database, int64_t now_ms,
                                                int64_t *fired, int64_t *next_ms);

#endif
