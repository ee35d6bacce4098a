#include "store/schedule.h"

#include "store/rows.h"
#include "store/sql.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS   60000
#define DAY_MINUTES 1440
#define CRON_DAYS                                                                                  \
    (366 * 28 + 1) /* every combination of date and weekday recurs within 28 years                 \
                    */

/* ---- reading a specification
 * ------------------------------------------------------------------------ */

static enum cam_status refuse(const char *text) {
    return cam_fail(CAM_ERR_CONFIG,
                    "schedule '%.64s': give 'N documents', a duration (30s, 15m, 6h, 2d) or five "
                    "cron fields (minute hour day month weekday, UTC)",
                    text);
}

/* A number of at most six digits at *S, which is stepped over; -1 if there is none. */
static long number(const char **s) {
    long value = 0;
    int n = 0;
    for (; isdigit((unsigned char)**s); (*s)++, n++) {
        if (n == 6)
            return -1;
        value = 10 * value + (**s - '0');
    }
    return n ? value : -1;
}

/* One element of a cron list: "*", "3", "1-5", each with "/2". */
static int cron_element(const char **s, long least, long most, uint64_t *bits) {
    long from = least, to = most, step = 1;
    int star = **s == '*';
    if (star) {
        (*s)++;
    } else {
        from = to = number(s);
        if (**s == '-') {
            (*s)++;
            to = number(s);
        } else if (**s == '/') {
            to = most; /* "5/10": from 5 on */
        }
    }
    if (**s == '/') {
        (*s)++;
        step = number(s);
    }
    if (from < least || to > most || from > to || step < 1)
        return 0;
    for (long i = from; i <= to; i += step)
        *bits |= UINT64_C(1) << i;
    return 1;
}

static int cron_field(const char **s, long least, long most, uint64_t *bits, int *any) {
    *bits = 0;
    while (**s == ' ' || **s == '\t')
        (*s)++;
    *any = **s == '*';
    for (;;) {
        if (!cron_element(s, least, most, bits))
            return 0;
        if (**s != ',')
            break;
        (*s)++;
    }
    return **s == ' ' || **s == '\t' || **s == '\0';
}

static enum cam_status parse_cron(const char *text, struct cam_schedule_spec *spec) {
    struct cam_schedule_spec c = {.unit = CAM_SCHEDULE_CRON};
    const char *s = text;
    int any;
    int good = cron_field(&s, 0, 59, &c.minutes, &any) && cron_field(&s, 0, 23, &c.hours, &any) &&
               cron_field(&s, 1, 31, &c.days, &c.any_day) &&
               cron_field(&s, 1, 12, &c.months, &any) &&
               cron_field(&s, 0, 7, &c.weekdays, &c.any_weekday);
    while (*s == ' ' || *s == '\t')
        s++;
    if (!good || *s)
        return refuse(text);
    if (c.weekdays >> 7 & 1) /* both 0 and 7 are Sunday */
        c.weekdays |= 1;
    *spec = c;
    return CAM_OK;
}

enum cam_status cam_schedule_parse(const char *text, struct cam_schedule_spec *spec) {
    const char *s = text;
    while (*s == ' ')
        s++;
    if (strncmp(s, "every ", 6) == 0)
        s += 6;
    const char *begin = s;
    long n = number(&s);
    int64_t unit = *s == 's' ? 1000 : *s == 'm' ? MINUTE_MS : *s == 'h' ? 3600000 : 86400000;
    if (n >= 1 && *s && strchr("smhd", *s) && !s[1]) {
        *spec = (struct cam_schedule_spec){.unit = CAM_SCHEDULE_DURATION, .every = n * unit};
        return CAM_OK;
    }
    while (*s == ' ')
        s++;
    if (n >= 1 && (strcmp(s, "documents") == 0 || strcmp(s, "document") == 0)) {
        *spec = (struct cam_schedule_spec){.unit = CAM_SCHEDULE_DOCUMENTS, .every = n};
        return CAM_OK;
    }
    return parse_cron(begin, spec);
}

/* ---- when
 * -------------------------------------------------------------------------------------------- */

/* Date of a day number since 1970-01-01 (era arithmetic, proleptic Gregorian, UTC: no DST). */
static void civil(int64_t day, int *month, int *day_of_month) {
    day += 719468;
    int64_t era = (day >= 0 ? day : day - 146096) / 146097;
    int64_t of_era = day - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t mp = (5 * of_year + 2) / 153;
    *day_of_month = (int)(of_year - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
}

/* Cron's rule: when both day fields are restricted, either of them suffices. */
static int day_matches(const struct cam_schedule_spec *c, int64_t day) {
    int month, day_of_month, weekday = (int)(((day + 4) % 7 + 7) % 7);
    civil(day, &month, &day_of_month);
    int date = c->days >> day_of_month & 1, week = c->weekdays >> weekday & 1;
    if (!(c->months >> month & 1))
        return 0;
    return c->any_day || c->any_weekday ? date && week : date || week;
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* First slot after AFTER_MS. */
static int64_t next_slot(const struct cam_schedule_spec *c, int64_t after_ms) {
    int64_t minute = floor_div(after_ms, MINUTE_MS) + 1;
    int64_t day = floor_div(minute, DAY_MINUTES), of_day = minute - day * DAY_MINUTES;
    for (int64_t n = 0; n < CRON_DAYS; n++, day++, of_day = 0) {
        if (!day_matches(c, day))
            continue;
        for (; of_day < DAY_MINUTES; of_day++)
            if ((c->hours >> (of_day / 60) & 1) && (c->minutes >> (of_day % 60) & 1))
                return (day * DAY_MINUTES + of_day) * MINUTE_MS;
    }
    return INT64_MAX;
}

/* Whether the clock was set back by so much that LAST tells nothing: more than a period, or for
 * CRON, whose slots must not come twice, more than a day. */
static int is_from_another_time(const struct cam_schedule_spec *spec, int64_t last_ms,
                                int64_t now_ms) {
    return spec->unit != CAM_SCHEDULE_DOCUMENTS &&
           last_ms - now_ms > (spec->unit == CAM_SCHEDULE_DURATION
                                   ? spec->every
                                   : (int64_t)DAY_MINUTES * MINUTE_MS);
}

int64_t cam_schedule_next_due(const struct cam_schedule_spec *spec, int64_t last_ms,
                              int64_t now_ms) {
    if (spec->unit == CAM_SCHEDULE_DOCUMENTS)
        return INT64_MAX;
    if (is_from_another_time(spec, last_ms, now_ms))
        last_ms = now_ms;
    /* A slot that lies in the future after the clock went back is waited for, not run twice. */
    int64_t due =
        spec->unit == CAM_SCHEDULE_DURATION ? last_ms + spec->every : next_slot(spec, last_ms);
    return due < now_ms ? now_ms : due;
}

/* ---- rows
 * -------------------------------------------------------------------------------------------- */

struct add {
    const char *spec, *action;
    int64_t every_documents, schedule;
};

static enum cam_status add_schedule(sqlite3 *sqlite, void *context) {
    struct add *a = context;
    int64_t position;
    CAM_TRY(cam_rows_journal(sqlite, "schedule", 0, a->action, a->spec, "", &position));
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO schedules (spec, action, every_documents, position,"
                        " last_due_at_ms) VALUES (?, ?, nullif(?, 0), ?, ?)",
                        "ttiii", a->spec, a->action, a->every_documents, position,
                        cam_clock_unix_ms()));
    a->schedule = sqlite3_last_insert_rowid(sqlite);
    return CAM_OK;
}

enum cam_status cam_schedule_add(struct cam_database *database, const char *spec,
                                 const char *action, int64_t *schedule) {
    static const char *const actions[] = {"evaluate", "snapshot", "prune", "verify"};
    struct cam_schedule_spec parsed;
    struct add a = {.spec = spec, .action = action};
    int known = 0;
    CAM_TRY(cam_schedule_parse(spec, &parsed));
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        known |= strcmp(action, actions[i]) == 0;
    if (!known)
        return cam_fail(CAM_ERR_CONFIG,
                        "schedule: %.32s is not evaluate, snapshot, prune or verify", action);
    if (parsed.unit == CAM_SCHEDULE_DOCUMENTS)
        a.every_documents = parsed.every;
    CAM_TRY(cam_database_write_durable(database, add_schedule, &a));
    if (schedule)
        *schedule = a.schedule;
    return CAM_OK;
}

static enum cam_status remove_schedule(sqlite3 *sqlite, void *context) {
    int64_t schedule = *(const int64_t *)context, position;
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)schedule);
    CAM_TRY(cam_rows_journal(sqlite, "schedule_removed", 0, "", text, "", &position));
    CAM_TRY(cam_sql_run(sqlite,
                        "UPDATE schedules SET removed = ?2 WHERE schedule = ?1 AND removed IS NULL",
                        "ii", schedule, position));
    if (sqlite3_changes(sqlite) == 0)
        return cam_fail(CAM_ERR_NOINPUT, "schedule %lld: there is none; see: cambium schedule list",
                        (long long)schedule);
    return CAM_OK;
}

enum cam_status cam_schedule_remove(struct cam_database *database, int64_t schedule) {
    return cam_database_write_durable(database, remove_schedule, &schedule);
}

struct each {
    cam_schedule_fn *fn;
    void *context;
};

static enum cam_status each_schedule(sqlite3 *sqlite, void *context) {
    const struct each *e = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT schedule, spec, action, last_due_at_ms FROM schedules WHERE"
                            " removed IS NULL ORDER BY schedule",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        struct cam_schedule schedule = {.schedule = sqlite3_column_int64(s, 0),
                                        .spec = cam_sql_text(s, 1),
                                        .action = cam_sql_text(s, 2),
                                        .last_due_at_ms = sqlite3_column_int64(s, 3)};
        status = e->fn(e->context, &schedule);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_schedules_each(struct cam_database *database, cam_schedule_fn *fn,
                                   void *context) {
    struct each e = {.fn = fn, .context = context};
    return cam_database_call(database, each_schedule, &e);
}

struct fire {
    sqlite3 *sqlite;
    int64_t now_ms, fired, next_ms;
};

/* Fires if due, unless the row of its last firing still waits for the trainer. */
static enum cam_status fire_one(void *context, const struct cam_schedule *schedule) {
    struct fire *f = context;
    struct cam_schedule_spec spec;
    int64_t waiting = 0;
    char reason[48];
    CAM_TRY(cam_schedule_parse(schedule->spec, &spec));
    int64_t due = cam_schedule_next_due(&spec, schedule->last_due_at_ms, f->now_ms);
    if (is_from_another_time(&spec, schedule->last_due_at_ms, f->now_ms)) /* begin anew, once */
        CAM_TRY(cam_sql_run(f->sqlite,
                            "UPDATE schedules SET last_due_at_ms = ?2 WHERE schedule = ?1", "ii",
                            schedule->schedule, f->now_ms));
    if (due > f->now_ms) {
        f->next_ms = due < f->next_ms ? due : f->next_ms;
        return CAM_OK;
    }
    snprintf(reason, sizeof reason, "schedule %lld", (long long)schedule->schedule);
    CAM_TRY(cam_sql_int(f->sqlite, 0, &waiting,
                        "SELECT 1 FROM journal AS j WHERE j.kind = ?1 AND json_extract(j.body,"
                        " '$.reason') = ?2 AND j.position > (SELECT position FROM trainer) AND NOT"
                        " EXISTS (SELECT 1 FROM living_controls AS c WHERE c.position ="
                        " j.position) LIMIT 1",
                        "tt", schedule->action, reason));
    if (!waiting) {
        CAM_TRY(cam_rows_journal(f->sqlite, schedule->action, 0, "", "", reason, NULL));
        f->fired++;
    }
    CAM_TRY(cam_sql_run(f->sqlite, "UPDATE schedules SET last_due_at_ms = ?2 WHERE schedule = ?1",
                        "ii", schedule->schedule, f->now_ms));
    due = cam_schedule_next_due(&spec, f->now_ms, f->now_ms);
    f->next_ms = due < f->next_ms ? due : f->next_ms;
    return CAM_OK;
}

static enum cam_status fire_all(sqlite3 *sqlite, void *context) {
    struct fire *f = context;
    struct each e = {.fn = fire_one, .context = f};
    f->sqlite = sqlite;
    return each_schedule(sqlite, &e);
}

enum cam_status cam_schedules_fire(struct cam_database *database, int64_t now_ms, int64_t *fired,
                                   int64_t *next_ms) {
    struct fire f = {.now_ms = now_ms, .next_ms = INT64_MAX};
    CAM_TRY(cam_database_write(database, fire_all, &f));
    if (fired)
        *fired = f.fired;
    if (next_ms)
        *next_ms = f.next_ms;
    return CAM_OK;
}
