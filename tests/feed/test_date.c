/* Dates as feeds write them, and what is none. */
#include "feed/date.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *read_date(const char *text) {
    static char normal[CAM_RFC3339_BYTES];
    int64_t unix_ms = 0;
    if (cam_date_parse(text, strlen(text), &unix_ms) != 0)
        return "none";
    return cam_clock_rfc3339(unix_ms, normal);
}

static void check(const char *text, const char *expected) {
    char whole[CAM_RFC3339_BYTES];
    const char *got = read_date(text);
    if (strcmp(expected, "none") == 0)
        snprintf(whole, sizeof whole, "none");
    else
        snprintf(whole, sizeof whole, "%.19s%s", expected,
                 expected[19] == '.' ? expected + 19 : ".000Z");
    cr_expect_str_eq(got, whole, "\"%s\" is %s, not %s", text, got, whole);
}

Test(date, rfc3339_and_w3cdtf) {
    check("2003-12-31T10:14:55Z", "2003-12-31T10:14:55Z");
    check("2003-12-31T10:14:55-08:00", "2003-12-31T18:14:55Z");
    check("2003-12-31T10:14:55.250+05:30", "2003-12-31T04:44:55.250Z");
    check("2003-12-31t10:14:55z", "2003-12-31T10:14:55Z");
    check("2003-12-31T10:14Z", "2003-12-31T10:14:00Z");
    check("2003-12-31T10:14", "2003-12-31T10:14:00Z");
    check("2003-12-31 10:14:55", "2003-12-31T10:14:55Z");
    check("2003-12-31 10:14:55 +0100", "2003-12-31T09:14:55Z");
    check("2003-12-31T10:14:55 EST", "2003-12-31T15:14:55Z");
    check("2003-12-31", "2003-12-31T00:00:00Z");
    check("2003-12", "2003-12-01T00:00:00Z");
    check("2003", "2003-01-01T00:00:00Z");
    check(" \n2003-12-31\t", "2003-12-31T00:00:00Z");
}

Test(date, iso8601_without_hyphens) {
    check("20031231", "2003-12-31T00:00:00Z");
    check("20031231T101455Z", "2003-12-31T10:14:55Z");
    check("20031231101455", "2003-12-31T10:14:55Z");
    check("2003335", "2003-12-01T00:00:00Z");
    check("2004-335", "2004-11-30T00:00:00Z");
    check("2003-012-31T10:14:55+00:00", "2003-12-31T10:14:55Z");
}

Test(date, rfc822) {
    check("Thu, 01 Jan 2004 19:48:21 GMT", "2004-01-01T19:48:21Z");
    check("Thu, 01 Jan 2004 19:48:21 +0200", "2004-01-01T17:48:21Z");
    check("Thu, 01 Jan 2004 19:48:21 -03:30", "2004-01-01T23:18:21Z");
    check("Thu, 01 Jan 2004 19:48:21 EST", "2004-01-02T00:48:21Z");
    check("Thu, 01 Jan 2004 19:48:21 GMT-05:00", "2004-01-02T00:48:21Z");
    check("Thu, 01 Jan 2004 19:48:21 Etc/GMT", "2004-01-01T19:48:21Z");
    check("Thu, 01 Jan 2004 19:48:21 Z", "2004-01-01T19:48:21Z");
}

Test(date, rfc822_as_feeds_write_it) {
    check("01 Jan 2004 19:48:21 GMT", "2004-01-01T19:48:21Z");     /* no weekday */
    check("Fri, 1 Jan 2004 19:48:21 GMT", "2004-01-01T19:48:21Z"); /* a wrong one, one digit */
    check("Thursday, 01 January 2004 19:48 GMT", "2004-01-01T19:48:00Z");
    check("Thu,01 Jan 04 19:48:21 GMT", "2004-01-01T19:48:21Z"); /* two-digit years */
    check("Thu, 01 Jan 99 19:48:21 GMT", "1999-01-01T19:48:21Z");
    check("Thu, 01 Jan 2004 19:48:21", "2004-01-01T19:48:21Z");     /* no zone */
    check("Thu, 01 Jan 2004", "2004-01-01T00:00:00Z");              /* no time */
    check("Thu, Jan 01 2004 19:48:21 GMT", "2004-01-01T19:48:21Z"); /* swapped */
    check("thu, 01 JAN 2004 19:48:21 gmt", "2004-01-01T19:48:21Z");
    check("Thu, 01 Jan 2004 7:48:21 PM", "2004-01-01T19:48:21Z");
    check("January 1st, 2004 12:00am", "2004-01-01T00:00:00Z");
    check("Thu, 01 Jan 2004 19:48:21 XYZ", "2004-01-01T19:48:21Z"); /* a zone nobody knows */
}

Test(date, other_forms) {
    check("Sun Jan  4 16:29:06 2004", "2004-01-04T16:29:06Z");
    check("Sun Jan  4 16:29:06 PST 2004", "2004-01-05T00:29:06Z");
    check("Sunday, 04-Jan-04 16:29:06 GMT", "2004-01-04T16:29:06Z");
    check("04-Jan-2004 16:29", "2004-01-04T16:29:00Z");
    check("Fri, 2006/09/15 08:19:53 EDT", "2006-09-15T12:19:53Z");
    check("2006/09/15", "2006-09-15T00:00:00Z");
    check("9/15/2006 08:19", "2006-09-15T08:19:00Z");
    check("15/09/2006", "2006-09-15T00:00:00Z");
}

Test(date, P15_what_is_none) {
    static const char *const none[] = {"",
                                       " ",
                                       "yesterday",
                                       "2003-02-29",
                                       "2003-13-01",
                                       "2003-12-31T25:00:00Z",
                                       "31",
                                       "Thu, 32 Jan 2004 00:00:00 GMT",
                                       "Thu, 01 Foo 2004",
                                       "2004-01-01T10:00:00Zjunk!",
                                       "12:30",
                                       "99999999999999999999",
                                       "-1",
                                       "Jan",
                                       "1 2 3 4 5 6 7",
                                       "a b c d e f g h i j k l m n o p q r s t u v w x y z"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        check(none[i], "none");
    check("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z");
    check("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z");
    char longer[300];
    memset(longer, '1', sizeof longer);
    int64_t unix_ms;
    cr_expect_neq(cam_date_parse(longer, sizeof longer, &unix_ms), 0);
    cr_expect_neq(cam_date_parse("2003\0", 5, &unix_ms), 0);
}
