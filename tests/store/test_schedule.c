#include "store_fixture.h"

#include "base/clock.h"
#include "store/schedule.h"

static int64_t ms(const char *text) {
    int64_t t;
    cr_assert(cam_clock_parse_rfc3339(text, &t) == 0);
    return t;
}

/* Next firing of SPEC, last due at LAST, asked at NOW, as text. */
static void next(const char *spec, const char *last, const char *now, const char *expected) {
    struct cam_schedule_spec parsed;
    char text[CAM_RFC3339_BYTES];
    OK(cam_schedule_parse(spec, &parsed));
    int64_t due = cam_schedule_next_due(&parsed, ms(last), ms(now));
    cam_clock_rfc3339(due, text);
    text[19] = '\0';
    cr_assert(strncmp(text, expected, 19) == 0, "%s: %s, not %s", spec, text, expected);
}

Test(schedule, cron_slots) {
    const char *t = "2026-11-21T09:30:00Z"; /* a Saturday */
    next("0 3 * * *", t, t, "2026-11-22T03:00:00");
    next("*/15 * * * *", t, t, "2026-11-21T09:45:00");
    next("30 9 * * *", t, t, "2026-11-22T09:30:00");
    next("0 3 * * 1-5", t, t, "2026-11-23T03:00:00");
    next("0 0 1 * *", t, t, "2026-12-01T00:00:00");
    next("0 0 * * 7", t, t, "2026-11-22T00:00:00");
    next("0 0 13 * 5", t, t, "2026-11-27T00:00:00"); /* either day suffices */
    next("5/20 9,11 * * *", t, t, "2026-11-21T09:45:00");
    next("every 0 12 24 12 *", t, t, "2026-12-24T12:00:00");
}

Test(schedule, C19_leap_days_and_impossible_dates) {
    const char *t = "2026-11-21T09:30:00Z";
    struct cam_schedule_spec parsed;
    next("0 0 29 2 *", t, t, "2028-02-29T00:00:00");
    next("0 0 31 4,5 *", t, t, "2027-05-31T00:00:00");
    OK(cam_schedule_parse("0 0 30 2 *", &parsed));
    cr_assert(cam_schedule_next_due(&parsed, ms(t), ms(t)) == INT64_MAX, "never");
}

Test(schedule, C20_missed_slots_collapse_into_one) {
    next("0 * * * *", "2026-11-21T09:00:00Z", "2026-11-21T13:20:00Z", "2026-11-21T13:20:00");
    next("0 * * * *", "2026-11-21T13:20:00Z", "2026-11-21T13:20:00Z", "2026-11-21T14:00:00");
    next("6h", "2026-11-21T00:00:00Z", "2026-11-23T01:00:00Z", "2026-11-23T01:00:00");
    next("6h", "2026-11-21T00:00:00Z", "2026-11-21T01:00:00Z", "2026-11-21T06:00:00");
}

Test(schedule, C19_a_clock_set_back_neither_doubles_nor_loses) {
    /* A small step back: waits for the old time. */
    next("6h", "2026-11-21T12:00:00Z", "2026-11-21T11:00:00Z", "2026-11-21T18:00:00");
    /* By days: begins anew from now. */
    next("6h", "2026-11-21T12:00:00Z", "2026-11-11T12:00:00Z", "2026-11-11T18:00:00");
    next("0 12 * * *", "2026-11-21T12:00:00Z", "2026-11-21T11:59:00Z", "2026-11-22T12:00:00");
    next("0 12 * * *", "2036-11-21T12:00:00Z", "2026-11-21T11:59:00Z", "2026-11-21T12:00:00");
}

Test(schedule, bad_specifications_are_refused) {
    static const char *const bad[] = {"",
                                      "6",
                                      "0h",
                                      "6x",
                                      "-1h",
                                      "60 * * * *",
                                      "* 24 * * *",
                                      "* * 0 * *",
                                      "* * * 13 *",
                                      "* * * * 8",
                                      "* * * *",
                                      "* * * * * *",
                                      "*/0 * * * *",
                                      "5-1 * * * *",
                                      "a b c d e",
                                      "0 documents",
                                      "9999999 documents",
                                      "1,,2 * * * *"};
    struct cam_schedule_spec spec;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FAILS(CAM_ERR_CONFIG, cam_schedule_parse(bad[i], &spec));
        SAYS("cron");
    }
}

static struct fixture f;

static void setup(void) {
    fixture_init(&f);
}

static void teardown(void) {
    fixture_release(&f);
}

TestSuite(schedules, .init = setup, .fini = teardown);

Test(schedules, T15_due_ones_are_journalled_once_while_one_waits) {
    int64_t id, fired, due, now = cam_clock_unix_ms();
    OK(cam_schedule_add(f.database, "every 1h", "evaluate", &id));
    OK(cam_schedule_add(f.database, "10 documents", "snapshot", NULL));
    OK(cam_schedules_fire(f.database, now, &fired, &due));
    cr_assert(fired == 0 && due > now && due <= now + 3600 * 1000 + 1000);
    OK(cam_schedules_fire(f.database, now + 5 * 3600 * 1000, &fired, &due));
    cr_assert(fired == 1, "three slots missed, one firing");
    OK(cam_schedules_fire(f.database, now + 9 * 3600 * 1000, &fired, &due));
    cr_assert(fired == 0, "the one before still waits");
    int64_t position = fixture_int(&f, "SELECT position FROM v1_journal WHERE kind = 'evaluate'");
    OK(cam_history_control_done(f.database, position, "done"));
    OK(cam_schedules_fire(f.database, now + 20 * 3600 * 1000, &fired, &due));
    cr_assert(fired == 1);
    ROWS(&f, "SELECT schedule, spec, action, every_documents, journalled FROM v1_schedules",
         "1|every 1h|evaluate|NULL|2\n2|10 documents|snapshot|10|0\n");
    OK(cam_schedule_remove(f.database, id));
    FAILS(CAM_ERR_NOINPUT, cam_schedule_remove(f.database, id));
    FAILS(CAM_ERR_CONFIG, cam_schedule_add(f.database, "1h", "explode", NULL));
}
