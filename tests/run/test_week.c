/* Weeks of schedules and polls under a clock of our own: no wait, no time zone, no luck. */
#include "base/clock.h"
#include "run/service.h"
#include "run/tiny_world.h"
#include "store/query.h"
#include "store/schedule.h"

#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static struct world w;
static struct cam_desk *desk;
static _Atomic int64_t now_ms;

static int64_t at(const char *text) {
    int64_t ms;
    cr_assert_eq(cam_clock_parse_rfc3339(text, &ms), 0);
    return ms;
}

/* Whoever looks at the clock rings, so the service never sleeps. */
static int64_t our_clock(void) {
    if (desk)
        cam_desk_ring(desk);
    return atomic_load(&now_ms);
}

static int64_t ask(const char *sql) {
    int64_t value;
    OK(cam_query_int(w.database, sql, NULL, -1, &value));
    return value;
}

static int64_t fired(int schedule) {
    char sql[160];
    snprintf(
        sql, sizeof sql,
        "SELECT count(*) FROM v1_journal WHERE reason = 'schedule %d' AND outcome LIKE 'done%%'",
        schedule);
    return ask(sql);
}

/* ---- schedules ---- */

/* A clock that is set, and how often each schedule is to have been acted on by then. */
static const struct leg {
    const char *from, *until; /* the clock jumps to FROM and goes on to UNTIL */
    int sixth_hours, nights, leap_days;
} legs[] = {
    /* A week with a leap day, on which the local time zone changes to summer time. */
    {"2028-02-26T00:00:00Z", "2028-03-04T00:00:00Z", 28, 7, 1},
    /* Suspended for 20 hours: three slots of the one and one of the other come once each. */
    {"2028-03-04T20:00:00Z", "2028-03-04T20:10:00Z", 29, 8, 1},
    /* Back by an hour: nothing twice, and the next six hours count from the last time. */
    {"2028-03-04T19:00:00Z", "2028-03-05T01:50:00Z", 29, 8, 1},
    {"2028-03-05T02:00:00Z", "2028-03-05T03:10:00Z", 30, 9, 1},
    /* Back by years, as when a wrong clock is put right: both begin anew. */
    {"2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", 34, 10, 1},
    /* And forward again. */
    {"2028-03-05T04:00:00Z", "2028-03-05T04:10:00Z", 35, 11, 2},
};
#define N_LEGS (sizeof legs / sizeof *legs)

static size_t i_leg;
static int settled; /* beats since the last leg's end: what it fired is acted on by now */

static void check_leg(const struct leg *leg) {
    cr_assert_eq(fired(1), leg->sixth_hours, "until %s: %lld evaluations", leg->until,
                 (long long)fired(1));
    cr_assert_eq(fired(2), leg->nights, "until %s: %lld verifications", leg->until,
                 (long long)fired(2));
    cr_assert_eq(fired(3), leg->leap_days, "until %s: %lld prunings", leg->until,
                 (long long)fired(3));
}

static void let_time_pass(void *context, enum cam_service_event event, const char *text) {
    (void)context, (void)text;
    if (event != CAM_SERVICE_BEAT || i_leg == N_LEGS)
        return;
    if (atomic_load(&now_ms) < at(legs[i_leg].until)) {
        atomic_fetch_add(&now_ms, 10 * MINUTE);
        settled = 0;
        return;
    }
    if (++settled < 8)
        return;
    check_leg(&legs[i_leg]);
    settled = 0;
    if (++i_leg == N_LEGS)
        raise(SIGTERM);
    else
        atomic_store(&now_ms, at(legs[i_leg].from));
}

Test(week, C19_C20_schedules_neither_double_nor_lose_whatever_the_clock_does) {
    struct cam_service_options options = {.watch = let_time_pass};
    struct cam_service_report report;
    setenv("TZ", "AAA0BBB,59/2,300/2", 1); /* summer time begins on 29 February */
    tzset();
    atomic_store(&now_ms, at(legs[0].from));
    cam_clock_replace(our_clock);
    begin(&w, 1, "naive");
    OK(cam_schedule_add(w.database, "6h", "evaluate", NULL));
    OK(cam_schedule_add(w.database, "0 3 * * *", "verify", NULL));
    OK(cam_schedule_add(w.database, "0 0 29 2 *", "prune", NULL));
    OK(cam_schedule_add(w.database, "every 3 documents", "snapshot", NULL));
    ingest(&w, "tiny.ndjson");
    advance(&w, 0); /* a firing waits for the documents before it, so let there be none */
    OK(cam_desk_new(&desk));
    cam_service_catch_signals();
    options.desk = desk;
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    cr_assert_eq(i_leg, N_LEGS);
    int64_t trained = ask("SELECT count(*) FROM v1_trained");
    cr_assert_gt(trained, 9);
    cr_assert_eq(ask("SELECT count(*) FROM v1_decisions WHERE origin = 'schedule 4'"), trained / 3);
    cr_assert_eq(ask("SELECT count(*) FROM (SELECT position, lag(position) OVER (ORDER BY step) AS"
                     " before FROM v1_steps) WHERE before > position"),
                 0, "the order of training is the journal's");
    end(&w);
    cam_desk_free(desk);
}

/* An evaluation that takes longer than its period is not asked for again meanwhile. */
Test(week, T15_a_schedule_that_waits_is_not_journalled_twice) {
    int64_t n, next;
    atomic_store(&now_ms, at("2028-02-26T00:00:00Z"));
    cam_clock_replace(our_clock);
    begin(&w, 1, "naive");
    OK(cam_schedule_add(w.database, "10m", "evaluate", NULL));
    for (int i = 0; i < 12; i++) {
        atomic_fetch_add(&now_ms, 10 * MINUTE);
        OK(cam_schedules_fire(w.database, our_clock(), &n, &next));
        cr_assert_eq(n, i == 0);
        cr_assert_eq(next, our_clock() + 10 * MINUTE);
    }
    advance(&w, 0);
    cr_assert_eq(fired(1), 1);
    atomic_fetch_add(&now_ms, 10 * MINUTE);
    OK(cam_schedules_fire(w.database, our_clock(), &n, &next));
    cr_assert_eq(n, 1);
    end(&w);
}
