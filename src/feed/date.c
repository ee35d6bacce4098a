/* ISO forms are read by position; everything else by what its words look like (a number with
 * colons is a time, a number past 31 a year, a word that begins as a month does is one), because
 * feeds put them in every order.  Both fill the same parts, which base/clock checks. */
#include "feed/date.h"

#include "base/clock.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DATE_BYTES 100
#define UNSET          (-1)
#define NO_OFFSET      (-100000)

static const struct {
    const char *name;
    int hours;
} zones[] = {
    {"adt", -3}, {"akdt", -8}, {"akst", -9}, {"ast", -4},  {"at", -4},  {"bst", 1},  {"cdt", -5},
    {"cest", 2}, {"cet", 1},   {"cst", -6},  {"ct", -6},   {"edt", -4}, {"eest", 3}, {"eet", 2},
    {"est", -5}, {"et", -5},   {"gmt", 0},   {"hst", -10}, {"jst", 9},  {"kst", 9},  {"mdt", -6},
    {"mest", 2}, {"met", 1},   {"msd", 4},   {"msk", 3},   {"mst", -7}, {"mt", -7},  {"pdt", -7},
    {"pst", -8}, {"pt", -8},   {"ut", 0},    {"utc", 0},   {"west", 1}, {"wet", 0},  {"z", 0},
};

/* Reads up to MAX digits at *TEXT and steps over them; UNSET and *TEXT unmoved with fewer than
 * MIN. */
static int number(const char **text, int min, int max) {
    int value = 0, n = 0;
    while (n < max && isdigit((unsigned char)(*text)[n]))
        value = value * 10 + ((*text)[n++] - '0');
    if (n < min)
        return UNSET;
    *text += n;
    return value;
}

static int count_digits(const char *text) {
    return (int)strspn(text, "0123456789");
}

/* "+01:00", "-0500", "+1": minutes east, or NO_OFFSET if it is none.  Steps over it. */
static int numeric_offset(const char **text) {
    const char *at = *text;
    int sign = *at == '-' ? -1 : 1;
    if (*at != '+' && *at != '-')
        return NO_OFFSET;
    at++;
    int n = count_digits(at), hours = number(&at, 1, n == 3 ? 1 : 2), minutes = 0;
    if (hours == UNSET)
        return NO_OFFSET;
    if (*at == ':')
        at++;
    if (isdigit((unsigned char)*at) && (minutes = number(&at, 2, 2)) == UNSET)
        return NO_OFFSET;
    *text = at;
    return sign * (hours * 60 + minutes);
}

/* A zone in letters or digits, N bytes of lower case at WORD.  Unknown names are UTC. */
static int zone_offset(const char *word) {
    if (strncmp(word, "etc/", 4) == 0)
        word += 4;
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
        if (strcmp(word, zones[i].name) == 0)
            return zones[i].hours * 60;
    if (strncmp(word, "gmt", 3) == 0 || strncmp(word, "utc", 3) == 0)
        word += 3;
    int offset = numeric_offset(&word);
    return offset == NO_OFFSET ? 0 : offset;
}

/* "10:14", "10:14:55.123": -1 if it is no time.  Steps over it. */
static int clock_time(struct cam_clock_parts *p, const char **text) {
    const char *at = *text;
    int hour = number(&at, 1, 2), minute, second = 0, ms = 0, scale = 100;
    if (hour == UNSET || *at++ != ':' || (minute = number(&at, 1, 2)) == UNSET)
        return -1;
    if (*at == ':') {
        at++;
        if ((second = number(&at, 1, 2)) == UNSET)
            return -1;
        if ((*at == '.' || *at == ',') && isdigit((unsigned char)at[1]))
            for (at++; isdigit((unsigned char)*at); at++, scale /= 10)
                ms += (*at - '0') * scale;
    }
    p->hour = hour, p->minute = minute, p->second = second, p->ms = ms;
    *text = at;
    return 0;
}

/* ---- by position: RFC 3339, W3CDTF, ISO 8601 ---- */

static int is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Day N of the year. */
static int set_ordinal(struct cam_clock_parts *p, int n) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (int month = 0; month < 12 && n > 0; month++) {
        int length = days[month] + (month == 1 && is_leap(p->year));
        if (n <= length) {
            p->month = month + 1, p->day = n;
            return 0;
        }
        n -= length;
    }
    return -1;
}

static int iso_date(struct cam_clock_parts *p, const char **text) {
    const char *at = *text;
    int n = count_digits(at);
    p->month = p->day = 1;
    if (n != 4 && n != 7 && n != 8 && n != 14)
        return -1;
    p->year = number(&at, 4, 4);
    if (n == 7) {
        if (set_ordinal(p, number(&at, 3, 3)) != 0)
            return -1;
    } else if (n >= 8) {
        p->month = number(&at, 2, 2), p->day = number(&at, 2, 2);
    } else if (*at == '-' || *at == '/') {
        char separator = *at++;
        int n_month = count_digits(at);
        if (n_month == 3 && separator == '-' && at[3] != '-') {
            if (set_ordinal(p, number(&at, 3, 3)) != 0)
                return -1;
        } else if ((p->month = number(&at, 1, n_month == 3 ? 3 : 2)) == UNSET) {
            return -1; /* three digits: a zero too many, as Google once wrote */
        } else if (*at == separator) {
            at++;
            if ((p->day = number(&at, 1, 2)) == UNSET)
                return -1;
        }
    }
    *text = at;
    return p->month >= 1 && p->month <= 12 ? 0 : -1;
}

static int iso_time(struct cam_clock_parts *p, const char **text) {
    const char *at = *text;
    int n = count_digits(at);
    if (n == 4 || n == 6) {
        p->hour = number(&at, 2, 2), p->minute = number(&at, 2, 2);
        p->second = n == 6 ? number(&at, 2, 2) : 0;
    } else if (clock_time(p, &at) != 0) {
        return -1;
    }
    *text = at;
    return 0;
}

static int parse_iso(const char *text, struct cam_clock_parts *p) {
    if (iso_date(p, &text) != 0)
        return -1;
    int glued = isdigit((unsigned char)*text) != 0;
    if (*text == 't' || *text == ' ')
        text++;
    else if (*text && !glued)
        return -1;
    while (*text == ' ')
        text++;
    if (!*text)
        return 0;
    if (iso_time(p, &text) != 0)
        return -1;
    while (*text == ' ')
        text++;
    if (!*text)
        return 0;
    if (*text == '+' || *text == '-') {
        p->offset = numeric_offset(&text);
        return p->offset == NO_OFFSET || *text ? -1 : 0;
    }
    for (const char *c = text; *c; c++)
        if (!isalpha((unsigned char)*c) && !strchr("/+-:0123456789", *c))
            return -1;
    p->offset = zone_offset(text);
    return 0;
}

/* ---- by looks: RFC 822 and its kin ---- */

static int month_of(const char *word) {
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    for (int i = 0; i < 12; i++)
        if (strncmp(word, names + (size_t)3 * (size_t)i, 3) == 0)
            return i + 1;
    return UNSET;
}

static int is_weekday(const char *word) {
    static const char names[] = "montuewedthufrisatsun";
    for (size_t i = 0; i < 7; i++)
        if (strncmp(word, names + 3 * i, 3) == 0)
            return 1;
    return 0;
}

static void set_year(struct cam_clock_parts *p, int value, int n_digits) {
    p->year = n_digits > 2 ? value : value + (value < 50 ? 2000 : 1900);
}

/* "15", "15th", "2004", "04". */
static int take_number(struct cam_clock_parts *p, const char *word) {
    int n = count_digits(word);
    const char *after = word + n;
    if (n > 4 || (*after && strcmp(after, ".") != 0 && strcmp(after, "st") != 0 &&
                  strcmp(after, "nd") != 0 && strcmp(after, "rd") != 0 && strcmp(after, "th") != 0))
        return -1;
    int value = atoi(word);
    if (n >= 3 || value > 31 || value == 0 || p->day != UNSET) {
        if (p->year != UNSET)
            return -1;
        set_year(p, value, n);
    } else {
        p->day = value;
    }
    return 0;
}

/* "2006/09/15", "15/09/2006", "9/15/2006": with both up to 12, the month is first, as Americans
 * have it. */
static int take_slashes(struct cam_clock_parts *p, const char *word) {
    int part[3], n_first = count_digits(word), n_last = 0;
    for (int i = 0; i < 3; i++) {
        n_last = count_digits(word);
        if ((part[i] = number(&word, 1, 4)) == UNSET || (i < 2 && *word++ != '/'))
            return -1;
    }
    if (n_first > 2) {
        p->year = part[0], p->month = part[1], p->day = part[2];
    } else {
        int day_first = part[0] > 12;
        set_year(p, part[2], n_last);
        p->month = part[!!day_first], p->day = part[!day_first];
    }
    return *word ? -1 : 0;
}

static int take_time(struct cam_clock_parts *p, const char *word) {
    if (clock_time(p, &word) != 0)
        return -1;
    if (strncmp(word, "pm", 2) == 0 && p->hour < 12)
        p->hour += 12;
    else if (strncmp(word, "am", 2) == 0 && p->hour == 12)
        p->hour = 0;
    else if (*word)
        p->offset = zone_offset(word);
    return 0;
}

static int take_letters(struct cam_clock_parts *p, const char *word, int *has_time) {
    if (p->month == UNSET && (p->month = month_of(word)) != UNSET)
        return 0;
    if (is_weekday(word))
        return 0;
    if (*has_time && strcmp(word, "pm") == 0)
        p->hour += p->hour < 12 ? 12 : 0;
    else if (*has_time && strcmp(word, "am") == 0)
        p->hour = p->hour == 12 ? 0 : p->hour;
    else if (*has_time && p->offset == 0)
        p->offset = zone_offset(word);
    return 0;
}

static int take_word(struct cam_clock_parts *p, const char *word, int *has_time) {
    if (isdigit((unsigned char)*word)) {
        if (strchr(word, ':')) {
            *has_time = 1;
            return take_time(p, word);
        }
        return strchr(word, '/') ? take_slashes(p, word) : take_number(p, word);
    }
    if (*word == '+' || *word == '-') {
        p->offset = zone_offset(word);
        return 0;
    }
    return isalpha((unsigned char)*word) ? take_letters(p, word, has_time) : 0;
}

static int parse_words(char *text, struct cam_clock_parts *p) {
    char *rest = NULL;
    int has_time = 0, n_words = 0;
    *p = (struct cam_clock_parts){.year = UNSET, .month = UNSET, .day = UNSET};
    for (char *c = text; *c; c++) /* 01-Jan-04 is three words; -0500 and 2004-05 are one */
        if (*c == '-' && c > text &&
            (isalpha((unsigned char)c[-1]) || isalpha((unsigned char)c[1])) &&
            (isdigit((unsigned char)c[-1]) || month_of(c - text < 3 ? text : c - 3) != UNSET))
            *c = ' ';
    for (char *word = strtok_r(text, " ,\t\r\n", &rest); word;
         word = strtok_r(NULL, " ,\t\r\n", &rest))
        if (++n_words > 12 || take_word(p, word, &has_time) != 0)
            return -1;
    return 0;
}

int cam_date_parse(const char *bytes, size_t n_bytes, int64_t *unix_ms) {
    char text[MAX_DATE_BYTES];
    struct cam_clock_parts parts = {0};
    while (n_bytes && isspace((unsigned char)bytes[n_bytes - 1]))
        n_bytes--;
    while (n_bytes && isspace((unsigned char)*bytes))
        bytes++, n_bytes--;
    if (n_bytes == 0 || n_bytes >= sizeof text || memchr(bytes, '\0', n_bytes))
        return -1;
    for (size_t i = 0; i < n_bytes; i++)
        text[i] = (char)tolower((unsigned char)bytes[i]);
    text[n_bytes] = '\0';
    if (parse_iso(text, &parts) == 0)
        return cam_clock_from_parts(&parts, unix_ms);
    if (parse_words(text, &parts) == 0)
        return cam_clock_from_parts(&parts, unix_ms);
    return -1;
}
