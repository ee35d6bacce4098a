#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static cam_clock_fn *_Atomic replaced;

void cam_clock_replace(cam_clock_fn *fn) {
    atomic_store(&replaced, fn);
}

int64_t cam_clock_unix_ms(void) {
    cam_clock_fn *fn = atomic_load(&replaced);
    struct timespec t;
    if (fn)
        return fn();
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

double cam_clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double cam_clock_cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

char *cam_clock_rfc3339(int64_t unix_ms, char out[CAM_RFC3339_BYTES]) {
    int64_t seconds = unix_ms / 1000, ms = unix_ms % 1000;
    if (ms < 0)
        ms += 1000, seconds--;
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[64] = "";
    if (gmtime_r(&t, &tm) && tm.tm_year >= -1900 && tm.tm_year <= 8099)
        snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
    memcpy(out, text, CAM_RFC3339_BYTES - 1);
    out[CAM_RFC3339_BYTES - 1] = '\0';
    return out;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (era arithmetic, no tables). */
static int64_t days_from_civil(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* Reads exactly N digits at *TEXT and steps over them; -1 if they are not digits. */
static int digits(const char **text, int n) {
    int value = 0;
    for (int i = 0; i < n; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return -1;
        value = value * 10 + (**text - '0');
    }
    return value;
}

static int days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

int cam_clock_parse_rfc3339(const char *text, int64_t *unix_ms) {
    int year = digits(&text, 4), month, day, hour, minute, second, ms = 0, offset = 0;
    if (year < 0 || *text++ != '-' || (month = digits(&text, 2)) < 1 || month > 12 ||
        *text++ != '-' || (day = digits(&text, 2)) < 1 || day > days_in_month(year, month))
        return -1;
    if (*text != 'T' && *text != 't' && *text != ' ')
        return -1;
    text++;
    if ((hour = digits(&text, 2)) < 0 || hour > 23 || *text++ != ':' ||
        (minute = digits(&text, 2)) < 0 || minute > 59 || *text++ != ':' ||
        (second = digits(&text, 2)) < 0 || second > 60)
        return -1;
    if (*text == '.') {
        int scale = 100;
        if (*++text < '0' || *text > '9')
            return -1;
        for (; *text >= '0' && *text <= '9'; text++, scale /= 10)
            ms += (*text - '0') * scale;
    }
    if (*text == '+' || *text == '-') {
        int sign = *text++ == '-' ? -1 : 1, h = digits(&text, 2), m;
        if (h < 0 || h > 23 || *text++ != ':' || (m = digits(&text, 2)) < 0 || m > 59)
            return -1;
        offset = sign * (h * 60 + m);
    } else if (*text == 'Z' || *text == 'z') {
        text++;
    } else {
        return -1;
    }
    if (*text)
        return -1;
    int64_t minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset;
    *unix_ms = (minutes * 60 + second) * 1000 + ms;
    return 0;
}
