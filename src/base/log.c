#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum cam_log_level threshold = CAM_LOG_INFO;
static cam_log_sink *log_sink;
static void *log_context;

void cam_log_set_level(enum cam_log_level level) {
    threshold = level;
}

void cam_log_set_sink(cam_log_sink *sink, void *context) {
    log_sink = sink;
    log_context = context;
}

/* Length of the well-formed UTF-8 sequence at S (at most N bytes), 0 if malformed; *CODE set. */
static size_t decode(const unsigned char *s, size_t n, unsigned *code) {
    if (s[0] < 0x80) {
        *code = s[0];
        return 1;
    }
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || length > n)
        return 0;
    unsigned value = s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3Fu);
    }
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *code = value;
    return length;
}

static int is_control(unsigned code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x200E && code <= 0x200F) ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

char *cam_neutral_text(const char *text, char *out, size_t out_bytes) {
    const unsigned char *s = (const unsigned char *)text;
    size_t n = strlen(text), at = 0, used = 0;
    while (at < n) {
        unsigned code = 0;
        size_t length = decode(s + at, n - at, &code);
        size_t step = length ? length : 1;
        int hide = !length || is_control(code);
        if (used + (hide ? 1 : step) >= out_bytes)
            break;
        if (hide)
            out[used++] = code == '\n' || code == '\t' ? ' ' : '?';
        else
            memcpy(out + used, s + at, step), used += step;
        at += step;
    }
    if (out_bytes)
        out[used] = '\0';
    return out;
}

void cam_log(enum cam_log_level level, const char *format, ...) {
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    if (level > threshold)
        return;
    char raw[2048], line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    cam_neutral_text(raw, line, sizeof line);
    if (log_sink)
        log_sink(log_context, level, line);
    else
        fprintf(stderr, "cambium: %s%s\n", prefix[level], line);
}
