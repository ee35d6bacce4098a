#include "feed/robots.h"

#include "base/buffer.h"
#include "feed/url.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_PATH_BYTES 8192 /* of a URL that is matched; the rest of it does not count */

struct cam_robots_rule {
    size_t start, n; /* of its pattern, normalised */
    int allows;
};

/* ---- paths ---- */

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* Appends a path so that equal ones have equal octets: escapes of unreserved characters are undone,
 * others get upper-case digits, octets beyond ASCII are escaped. */
static enum cam_status append_path(struct cam_buffer *out, const char *path, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)path[i];
        int high = c == '%' && i + 2 < n ? hex_digit(path[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(path[i + 2]) : -1;
        int is_escape = low >= 0;
        if (is_escape) {
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        int is_unreserved = c < 0x80 && (isalnum(c) || strchr("-._~", c)) && c;
        if (is_unreserved || (!is_escape && c > 0x20 && c < 0x7F))
            CAM_TRY(cam_buffer_append(out, &(char){(char)c}, 1));
        else
            CAM_TRY(cam_buffer_append_format(out, "%%%02X", c));
    }
    return CAM_OK;
}

/* Greedy with one point to come back to: a later '*' makes an earlier one's choice final. */
static int matches(const char *pattern, size_t n_pattern, const char *path, size_t n_path) {
    int to_end = n_pattern > 0 && pattern[n_pattern - 1] == '$';
    size_t p = 0, s = 0, star = SIZE_MAX, from = 0;
    n_pattern -= (size_t)to_end;
    for (;;) {
        if (p < n_pattern && pattern[p] == '*') {
            star = p++;
            from = s;
        } else if (p == n_pattern && (!to_end || s == n_path)) {
            return 1;
        } else if (p < n_pattern && s < n_path && pattern[p] == path[s]) {
            p++, s++;
        } else if (star != SIZE_MAX && from < n_path) {
            p = star + 1;
            s = ++from;
        } else {
            return 0;
        }
    }
}

/* Where path and query of URL begin, and how far they go. */
static const char *path_of(const char *url, size_t *n) {
    const char *scheme = strstr(url, "://");
    const char *authority = scheme ? scheme + 3 : url;
    const char *path = authority + strcspn(authority, "/?#");
    *n = strcspn(path, "#");
    return path;
}

int cam_robots_allow(const struct cam_robots *robots, const char *url) {
    struct cam_buffer path;
    size_t n, longest = 0;
    int allows = 1;
    const char *raw = path_of(url, &n);
    if (n > MAX_PATH_BYTES)
        n = MAX_PATH_BYTES;
    cam_buffer_init(&path, 3 * MAX_PATH_BYTES + 2);
    enum cam_status status = *raw == '/' ? CAM_OK : cam_buffer_append(&path, "/", 1);
    if (status == CAM_OK)
        status = append_path(&path, raw, n);
    if (status != CAM_OK || strcmp(path.data, "/robots.txt") == 0) {
        cam_buffer_release(&path);
        return status == CAM_OK; /* no memory: not asked */
    }
    for (size_t i = 0; i < robots->n_rules; i++) {
        const struct cam_robots_rule *rule = &robots->rules[i];
        if (rule->n < longest || (rule->n == longest && longest > 0 && !rule->allows) ||
            !matches(robots->patterns + rule->start, rule->n, path.data, path.size))
            continue;
        longest = rule->n;
        allows = rule->allows;
    }
    cam_buffer_release(&path);
    return allows;
}

char *cam_robots_url(const char *url, char *out, size_t out_bytes) {
    const char *begin = strstr(url, "://");
    size_t n = begin ? strcspn(begin + 3, "/?#\\") : 0;
    *out = '\0';
    if (!cam_url_is_http(url, strlen(url)) || n == 0)
        return out;
    const char *at = memrchr(begin + 3, '@', n);
    const char *host = at ? at + 1 : begin + 3;
    int used = snprintf(out, out_bytes, "%.*s%.*s/robots.txt", (int)(begin + 3 - url), url,
                        (int)(begin + 3 + n - host), host);
    if (used < 0 || (size_t)used >= out_bytes)
        *out = '\0';
    return out;
}

/* ---- reading ---- */

/* Rules of the groups for us and of those for everyone, apart until it is known which count. */
struct side {
    struct cam_robots_rule *rules;
    size_t n, capacity;
    struct cam_buffer patterns;
    int is_named, delay_s;
};

struct reader {
    const char *agent;
    struct side own, all;
    int in_own, in_all; /* the group that is open is theirs */
    int in_rules;       /* a rule was seen: the next User-agent begins another group */
};

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* The value names AGENT up to what is no part of a product's name ("cambium/1.0" does). */
static int names_agent(const char *value, size_t n, const char *agent) {
    size_t n_agent = strlen(agent);
    return n >= n_agent && strncasecmp(value, agent, n_agent) == 0 &&
           (n == n_agent || !(isalnum((unsigned char)value[n_agent]) || value[n_agent] == '-' ||
                              value[n_agent] == '_'));
}

static void begin_group(struct reader *r, const char *value, size_t n) {
    if (r->in_rules)
        r->in_own = r->in_all = r->in_rules = 0;
    if (names_agent(value, n, r->agent))
        r->in_own = r->own.is_named = 1;
    else if (n == 1 && *value == '*')
        r->in_all = r->all.is_named = 1;
}

static enum cam_status add_rule(struct side *side, int allows, const char *value, size_t n) {
    if (n == 0 || side->n == CAM_ROBOTS_MAX_RULES)
        return CAM_OK; /* an empty Disallow forbids nothing */
    if (side->n == side->capacity) {
        size_t capacity = side->capacity ? 2 * side->capacity : 16;
        struct cam_robots_rule *grown = realloc(side->rules, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory for the rules of a robots.txt");
        side->rules = grown;
        side->capacity = capacity;
    }
    size_t start = side->patterns.size;
    enum cam_status status =
        *value == '/' || *value == '*' ? CAM_OK : cam_buffer_append(&side->patterns, "/", 1);
    if (status == CAM_OK)
        status = append_path(&side->patterns, value, n);
    if (status != CAM_OK) { /* over the limit: this rule and those after it are passed over */
        side->patterns.size = start;
        return status == CAM_ERR_DATA ? CAM_OK : status;
    }
    side->rules[side->n++] = (struct cam_robots_rule){start, side->patterns.size - start, allows};
    return CAM_OK;
}

static enum cam_status add_to_groups(struct reader *r, int allows, const char *value, size_t n) {
    r->in_rules = 1;
    if (r->in_own)
        CAM_TRY(add_rule(&r->own, allows, value, n));
    return r->in_all ? add_rule(&r->all, allows, value, n) : CAM_OK;
}

static void note_delay(struct reader *r, const char *value, size_t n) {
    char digits[16];
    snprintf(digits, sizeof digits, "%.*s", (int)(n < 15 ? n : 15), value);
    double seconds = strtod(digits, NULL);
    int delay = seconds > CAM_ROBOTS_MAX_DELAY_S ? CAM_ROBOTS_MAX_DELAY_S
                : seconds > 0                    ? (int)(seconds + 0.999)
                                                 : 0;
    r->in_rules = 1;
    if (r->in_own)
        r->own.delay_s = delay;
    if (r->in_all)
        r->all.delay_s = delay;
}

static enum cam_status read_line(struct reader *r, const char *line, size_t n) {
    const char *comment = memchr(line, '#', n);
    if (comment)
        n = (size_t)(comment - line);
    const char *colon = memchr(line, ':', n);
    if (!colon)
        return CAM_OK;
    const char *key_end = colon, *value = colon + 1, *end = line + n;
    while (line < key_end && is_blank(*line))
        line++;
    while (key_end > line && is_blank(key_end[-1]))
        key_end--;
    while (value < end && is_blank(*value))
        value++;
    while (end > value && is_blank(end[-1]))
        end--;
    size_t n_key = (size_t)(key_end - line), n_value = (size_t)(end - value);
    if (n_key == 10 && strncasecmp(line, "user-agent", 10) == 0)
        begin_group(r, value, n_value);
    else if (n_key == 8 && strncasecmp(line, "disallow", 8) == 0)
        return add_to_groups(r, 0, value, n_value);
    else if (n_key == 5 && strncasecmp(line, "allow", 5) == 0)
        return add_to_groups(r, 1, value, n_value);
    else if (n_key == 11 && strncasecmp(line, "crawl-delay", 11) == 0)
        note_delay(r, value, n_value);
    return CAM_OK;
}

static enum cam_status read_lines(struct reader *r, const char *bytes, size_t n_bytes) {
    const char *at = bytes, *end = bytes + n_bytes;
    if (n_bytes >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0)
        at += 3;
    while (at < end) {
        size_t n = 0, left = (size_t)(end - at);
        while (n < left && at[n] != '\n' && at[n] != '\r')
            n++;
        CAM_TRY(read_line(r, at, n));
        at += n + (n < left);
    }
    return CAM_OK;
}

static void release_side(struct side *side) {
    free(side->rules);
    cam_buffer_release(&side->patterns);
}

enum cam_status cam_robots_read(const char *bytes, size_t n_bytes, const char *agent,
                                struct cam_robots *robots) {
    struct reader r = {.agent = agent};
    cam_buffer_init(&r.own.patterns, CAM_ROBOTS_MAX_PATTERN_BYTES);
    cam_buffer_init(&r.all.patterns, CAM_ROBOTS_MAX_PATTERN_BYTES);
    enum cam_status status =
        read_lines(&r, bytes, n_bytes < CAM_ROBOTS_MAX_BYTES ? n_bytes : CAM_ROBOTS_MAX_BYTES);
    struct side *ours = r.own.is_named ? &r.own : &r.all;
    struct cam_robots read = {.n_rules = ours->n, .delay_s = ours->delay_s};
    if (status == CAM_OK && !(read.patterns = cam_buffer_take(&ours->patterns)))
        status = cam_fail(CAM_ERR_OS, "no memory for the rules of a robots.txt");
    if (status == CAM_OK) {
        read.rules = ours->rules;
        ours->rules = NULL;
        *robots = read;
    }
    release_side(&r.own);
    release_side(&r.all);
    return status;
}

void cam_robots_release(struct cam_robots *robots) {
    free(robots->rules);
    free(robots->patterns);
    *robots = (struct cam_robots){0};
}
