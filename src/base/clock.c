#include "base/clock.h"

#include <stdatomic.h>
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

/* VALUE in N digits at OUT.  Not printf: it is the dearest part of journalling a short document
 * where a library (libquadmath, behind OpenBLAS) has hooked itself into it. */
static void put(char *out, int value, int n) {
    for (int i = n - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
}

char *cam_clock_rfc3339(int64_t unix_ms, char out[CAM_RFC3339_BYTES]) {
    int64_t seconds = unix_ms / 1000, ms = unix_ms % 1000;
    if (ms < 0)
        ms += 1000, seconds--;
    time_t t = (time_t)seconds;
    struct tm tm;
    *out = '\0';
    if (!gmtime_r(&t, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099)
        return out;
    memcpy(out, "0000-00-00T00:00:00.000Z", CAM_RFC3339_BYTES);
    put(out, tm.tm_year + 1900, 4);
    put(out + 5, tm.tm_mon + 1, 2);
    put(out + 8, tm.tm_mday, 2);
    put(out + 11, tm.tm_hour, 2);
    put(out + 14, tm.tm_min, 2);
    put(out + 17, tm.tm_sec, 2);
    put(out + 20, (int)ms, 3);
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

int cam_clock_from_parts(const struct cam_clock_parts *p, int64_t *unix_ms) {
    if (p->year < 0 || p->year > 9999 || p->month < 1 || p->month > 12 || p->day < 1 ||
        p->day > days_in_month(p->year, p->month) || p->hour < 0 || p->hour > 23 || p->minute < 0 ||
        p->minute > 59 || p->second < 0 || p->second > 60 || p->ms < 0 || p->ms > 999 ||
        p->offset <= -24 * 60 || p->offset >= 24 * 60)
        return -1;
    int64_t hours = days_from_civil(p->year, p->month, p->day) * 24 + p->hour;
    *unix_ms = ((hours * 60 + p->minute - p->offset) * 60 + p->second) * 1000 + p->ms;
    return 0;
}

int cam_clock_parse_rfc3339(const char *text, int64_t *unix_ms) {
    struct cam_clock_parts p = {.year = digits(&text, 4)};
    if (p.year < 0 || *text++ != '-' || (p.month = digits(&text, 2)) < 0 || *text++ != '-' ||
        (p.day = digits(&text, 2)) < 0)
        return -1;
    if (*text != 'T' && *text != 't' && *text != ' ')
        return -1;
    text++;
    if ((p.hour = digits(&text, 2)) < 0 || *text++ != ':' || (p.minute = digits(&text, 2)) < 0 ||
        *text++ != ':' || (p.second = digits(&text, 2)) < 0)
        return -1;
    if (*text == '.') {
        int scale = 100;
        if (*++text < '0' || *text > '9')
            return -1;
        for (; *text >= '0' && *text <= '9'; text++, scale /= 10)
            p.ms += (*text - '0') * scale;
    }
    if (*text == '+' || *text == '-') {
        int sign = *text++ == '-' ? -1 : 1, h = digits(&text, 2), m;
        if (h < 0 || h > 23 || *text++ != ':' || (m = digits(&text, 2)) < 0 || m > 59)
            return -1;
        p.offset = sign * (h * 60 + m);
    } else if (*text == 'Z' || *text == 'z') {
        text++;
    } else {
        return -1;
    }
    return *text ? -1 : cam_clock_from_parts(&p, unix_ms);
}
