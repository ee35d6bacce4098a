#include "feed/url.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* A run of bytes; data NULL: the part is absent, which is not the same as empty. */
struct part {
    const char *data;
    size_t n;
};

struct url {
    struct part scheme, authority, path, query; /* without their delimiters */
    struct part fragment;
};

int cam_url_is_http(const char *bytes, size_t n_bytes) {
    return (n_bytes > 7 && strncasecmp(bytes, "http://", 7) == 0) ||
           (n_bytes > 8 && strncasecmp(bytes, "https://", 8) == 0);
}

static size_t scheme_length(const char *bytes, size_t n_bytes) {
    size_t n = 0;
    while (n < n_bytes && (isalnum((unsigned char)bytes[n]) || (n && strchr("+-.", bytes[n]))))
        n++;
    return n && n < n_bytes && bytes[n] == ':' && isalpha((unsigned char)bytes[0]) ? n : 0;
}

int cam_url_has_scheme(const char *bytes, size_t n_bytes) {
    return scheme_length(bytes, n_bytes) > 0;
}

static size_t span_until(const char *s, size_t n, const char *stops) {
    size_t i = 0;
    while (i < n && !(s[i] && strchr(stops, s[i])))
        i++;
    return i;
}

static struct url split(const char *s, size_t n) {
    struct url url = {0};
    size_t length = scheme_length(s, n);
    if (length) {
        url.scheme = (struct part){s, length};
        s += length + 1, n -= length + 1;
    }
    if (n >= 2 && s[0] == '/' && s[1] == '/') {
        length = span_until(s + 2, n - 2, "/?#");
        url.authority = (struct part){s + 2, length};
        s += length + 2, n -= length + 2;
    }
    length = span_until(s, n, "?#");
    url.path = (struct part){s, length};
    s += length, n -= length;
    if (n && *s == '?') {
        length = span_until(s + 1, n - 1, "#");
        url.query = (struct part){s + 1, length};
        s += length + 1, n -= length + 1;
    }
    if (n && *s == '#')
        url.fragment = (struct part){s + 1, n - 1};
    return url;
}

static int begins(const char *s, size_t n, const char *with) {
    size_t length = strlen(with);
    return n >= length && memcmp(s, with, length) == 0;
}

/* Section 5.2.4, on OUT's bytes from START on, in place. */
static void remove_dot_segments(struct cam_buffer *out, size_t start) {
    char *to = out->data + start, *first = to;
    const char *s = to;
    size_t n = out->size - start;
    while (n) {
        if (begins(s, n, "../")) {
            s += 3, n -= 3;
        } else if (begins(s, n, "./") || begins(s, n, "/./")) {
            s += 2, n -= 2;
        } else if (n == 2 && begins(s, n, "/.")) {
            *to++ = '/', n = 0;
        } else if (begins(s, n, "/../") || (n == 3 && begins(s, n, "/.."))) {
            while (to > first && *--to != '/')
                ;
            if (n == 3)
                *to++ = '/', n = 0;
            else
                s += 3, n -= 3;
        } else if ((n == 1 && *s == '.') || (n == 2 && begins(s, n, ".."))) {
            n = 0;
        } else {
            size_t length = 1 + span_until(s + 1, n - 1, "/");
            memmove(to, s, length);
            to += length, s += length, n -= length;
        }
    }
    out->size = (size_t)(to - out->data);
    *to = '\0';
}

static enum cam_status append(struct cam_buffer *out, const char *before, struct part part) {
    if (!part.data)
        return CAM_OK;
    CAM_TRY(cam_buffer_append_text(out, before));
    return cam_buffer_append(out, part.data, part.n);
}

/* The path of REFERENCE as seen from BASE, dot segments removed. */
static enum cam_status append_path(struct cam_buffer *out, const struct url *base,
                                   const struct url *reference) {
    size_t start = out->size;
    if (reference->path.n == 0 || reference->path.data[0] != '/') {
        size_t n = base->path.n;
        while (n && base->path.data[n - 1] != '/')
            n--;
        CAM_TRY(n ? cam_buffer_append(out, base->path.data, n) : cam_buffer_append(out, "/", 1));
    }
    CAM_TRY(cam_buffer_append(out, reference->path.data, reference->path.n));
    remove_dot_segments(out, start);
    return CAM_OK;
}

static enum cam_status resolve(const struct url *base, const struct url *reference,
                               struct cam_buffer *out) {
    CAM_TRY(append(out, "", base->scheme));
    CAM_TRY(cam_buffer_append(out, ":", 1));
    if (reference->authority.data) {
        CAM_TRY(append(out, "//", reference->authority));
        CAM_TRY(append(out, "", reference->path));
        CAM_TRY(append(out, "?", reference->query));
    } else {
        CAM_TRY(append(out, "//", base->authority));
        if (reference->path.n == 0) {
            CAM_TRY(append(out, "", base->path));
            CAM_TRY(append(out, "?", reference->query.data ? reference->query : base->query));
        } else {
            CAM_TRY(append_path(out, base, reference));
            CAM_TRY(append(out, "?", reference->query));
        }
    }
    return append(out, "#", reference->fragment);
}

enum cam_status cam_url_resolve(const char *base, const char *reference, size_t n_reference,
                                struct cam_buffer *out) {
    size_t before = out->size, n_base = base ? strlen(base) : 0;
    while (n_reference && isspace((unsigned char)reference[n_reference - 1]))
        n_reference--;
    while (n_reference && isspace((unsigned char)*reference))
        reference++, n_reference--;
    struct url relative = split(reference, n_reference);
    if (relative.scheme.data || n_reference == 0 || !cam_url_is_http(base ? base : "", n_base))
        return cam_buffer_append(out, reference, n_reference);
    struct url absolute = split(base, n_base);
    enum cam_status status = resolve(&absolute, &relative, out);
    if (status != CAM_OK && out->data) {
        out->size = before;
        out->data[before] = '\0';
    }
    return status;
}
