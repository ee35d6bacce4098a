#include "base/settings.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct cam_setting settings_table[] = {
#define CAM_SETTING(field, key, type, value, min, max, scope, help)                                \
    {key, CAM_SETTING_##type,  value, min,                                                         \
     max, CAM_SETTING_##scope, help,  offsetof(struct cam_settings, field)},
#include "base/settings.def"
#undef CAM_SETTING
};

size_t cam_setting_count(void) {
    return sizeof settings_table / sizeof *settings_table;
}

const struct cam_setting *cam_setting_at(size_t i) {
    return i < cam_setting_count() ? &settings_table[i] : NULL;
}

const char *cam_setting_type_name(enum cam_setting_type type) {
    static const char *const names[] = {"integer", "real", "boolean", "text"};
    return names[type];
}

const char *cam_setting_scope_name(enum cam_setting_scope scope) {
    static const char *const names[] = {"init", "live", "now"};
    return names[scope];
}

/* Edits to turn A into B (Levenshtein), cut at 63 characters each. */
static size_t distance(const char *a, const char *b) {
    size_t row[64];
    size_t n_b = strnlen(b, 63);
    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= 63 && a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n_b];
}

enum cam_status cam_setting_find(const char *key, const struct cam_setting **setting) {
    const struct cam_setting *nearest = &settings_table[0];
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < cam_setting_count(); i++) {
        if (strcmp(key, settings_table[i].key) == 0) {
            *setting = &settings_table[i];
            return CAM_OK;
        }
    }
    for (size_t i = 0; i < cam_setting_count(); i++) {
        size_t d = distance(key, settings_table[i].key);
        if (d < least)
            least = d, nearest = &settings_table[i];
    }
    return cam_fail(CAM_ERR_CONFIG, "%.64s: no such setting; did you mean %s?", key, nearest->key);
}

static int is_utf8_line(const char *text) {
    for (const unsigned char *s = (const unsigned char *)text; *s; s++)
        if (*s < 0x20 || *s == 0x7F)
            return 0;
    return 1;
}

static int parse_bool(const char *text, int64_t *value) {
    static const char *const no[] = {"0", "false", "no", "off"};
    static const char *const yes[] = {"1", "true", "yes", "on"};
    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(text, no[i]) == 0) {
            *value = 0;
            return 0;
        }
        if (strcasecmp(text, yes[i]) == 0) {
            *value = 1;
            return 0;
        }
    }
    return -1;
}

static int parse_int(const char *text, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || errno)
        return -1;
    int64_t factor = 1;
    if (*end == 'k' || *end == 'K')
        factor = 1024, end++;
    else if (*end == 'M')
        factor = 1024 * 1024, end++;
    else if (*end == 'G')
        factor = 1024 * 1024 * 1024, end++;
    int64_t product;
    if (*end || __builtin_mul_overflow((int64_t)number, factor, &product))
        return -1;
    *value = product;
    return 0;
}

static int parse_real(const char *text, double *value) {
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || *end || (errno && fabs(number) >= 1) || !isfinite(number))
        return -1;
    *value = number;
    return 0;
}

static enum cam_status refuse(const struct cam_setting *setting, const char *text) {
    if (setting->type == CAM_SETTING_BOOL)
        return cam_fail(CAM_ERR_CONFIG, "%s: %.64s is not true or false", setting->key, text);
    if (setting->type == CAM_SETTING_TEXT)
        return cam_fail(CAM_ERR_CONFIG, "%s: takes %.0f to %.0f bytes of text on one line",
                        setting->key, setting->min, setting->max);
    return cam_fail(CAM_ERR_CONFIG, "%s: %.64s is not %s from %.15g to %.15g", setting->key, text,
                    setting->type == CAM_SETTING_INT ? "a whole number" : "a number", setting->min,
                    setting->max);
}

enum cam_status cam_settings_set(struct cam_settings *settings, const char *key, const char *text) {
    const struct cam_setting *setting = NULL;
    CAM_TRY(cam_setting_find(key, &setting));
    char *field = (char *)settings + setting->offset;
    int64_t whole;
    double real;
    size_t n_bytes;
    switch (setting->type) {
    case CAM_SETTING_INT:
        if (parse_int(text, &whole) || (double)whole < setting->min || (double)whole > setting->max)
            return refuse(setting, text);
        memcpy(field, &whole, sizeof whole);
        break;
    case CAM_SETTING_BOOL:
        if (parse_bool(text, &whole))
            return refuse(setting, text);
        memcpy(field, &whole, sizeof whole);
        break;
    case CAM_SETTING_REAL:
        if (parse_real(text, &real) || real < setting->min || real > setting->max)
            return refuse(setting, text);
        memcpy(field, &real, sizeof real);
        break;
    case CAM_SETTING_TEXT:
        n_bytes = strlen(text);
        if (n_bytes >= CAM_SETTING_TEXT_BYTES || (double)n_bytes < setting->min ||
            (double)n_bytes > setting->max || !is_utf8_line(text))
            return refuse(setting, text);
        memcpy(field, text, n_bytes + 1);
        break;
    }
    return CAM_OK;
}

/* Shortest decimal form that reads back as the same double. */
static void print_real(double value, char text[CAM_SETTING_TEXT_BYTES]) {
    char decimal[64];
    for (int digits = 1; digits <= DBL_DECIMAL_DIG; digits++) {
        snprintf(decimal, sizeof decimal, "%.*g", digits, value);
        if (strtod(decimal, NULL) == value)
            break;
    }
    strcpy(text, decimal);
}

enum cam_status cam_settings_get(const struct cam_settings *settings, const char *key,
                                 char text[CAM_SETTING_TEXT_BYTES]) {
    const struct cam_setting *setting = NULL;
    CAM_TRY(cam_setting_find(key, &setting));
    const char *field = (const char *)settings + setting->offset;
    int64_t whole;
    double real;
    switch (setting->type) {
    case CAM_SETTING_INT:
        memcpy(&whole, field, sizeof whole);
        snprintf(text, CAM_SETTING_TEXT_BYTES, "%lld", (long long)whole);
        break;
    case CAM_SETTING_BOOL:
        memcpy(&whole, field, sizeof whole);
        snprintf(text, CAM_SETTING_TEXT_BYTES, "%s", whole ? "true" : "false");
        break;
    case CAM_SETTING_REAL:
        memcpy(&real, field, sizeof real);
        print_real(real, text);
        break;
    case CAM_SETTING_TEXT:
        snprintf(text, CAM_SETTING_TEXT_BYTES, "%s", field);
        break;
    }
    return CAM_OK;
}

void cam_settings_defaults(struct cam_settings *settings) {
    memset(settings, 0, sizeof *settings);
    for (size_t i = 0; i < cam_setting_count(); i++) {
        enum cam_status status =
            cam_settings_set(settings, settings_table[i].key, settings_table[i].default_text);
        (void)status; /* defaults are valid: a test checks every row */
    }
}
