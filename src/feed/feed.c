#include "feed/feed.h"

#include "base/log.h"
#include "feed/feed_formats.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

const struct cam_feed_format *const cam_feed_formats[] = {
    &cam_feed_format_atom,
    &cam_feed_format_ndjson,
    &cam_feed_format_text,
    NULL,
};

void cam_feed_limits_init(struct cam_feed_limits *limits) {
    *limits = (struct cam_feed_limits){
        .max_document_bytes = 4u << 20,
        .max_field_bytes = 8u << 10,
        .max_line_bytes = 16u << 20,
        .max_entries = 100000,
        .max_depth = 128,
        .max_attributes = 64,
    };
}

/* "Text/Plain; charset=x" -> "text/plain". */
static void media_type(const char *content_type, char *out, size_t out_bytes) {
    size_t n = 0;
    for (const char *c = content_type ? content_type : ""; *c && *c != ';' && n + 1 < out_bytes;
         c++)
        if (!isspace((unsigned char)*c))
            out[n++] = (char)tolower((unsigned char)*c);
    out[n] = '\0';
}

static enum cam_status find_format(const char *bytes, size_t n_bytes, const char *content_type,
                                   const struct cam_feed_format **format) {
    char type[128];
    enum cam_feed_sniff best = CAM_SNIFF_NO;
    media_type(content_type, type, sizeof type);
    for (size_t i = 0; cam_feed_formats[i]; i++) {
        enum cam_feed_sniff sniff = cam_feed_formats[i]->sniff(bytes, n_bytes, type);
        if (sniff > best) {
            best = sniff;
            *format = cam_feed_formats[i];
        }
    }
    if (best != CAM_SNIFF_NO)
        return CAM_OK;
    if (n_bytes == 0)
        return cam_fail(CAM_ERR_DATA, "empty: 0 bytes hold no feed");
    char head[33] = "", shown[64];
    memcpy(head, bytes, n_bytes < 32 ? n_bytes : 32);
    return cam_fail(CAM_ERR_DATA,
                    "no reader for content type \"%s\" beginning \"%s\"; Atom, NDJSON and plain "
                    "text are read",
                    type, cam_neutral_text(head, shown, sizeof shown));
}

enum cam_status cam_feed_read(const char *bytes, size_t n_bytes, const char *content_type,
                              const struct cam_feed_limits *limits,
                              const struct cam_document_sink *sink, const char **format_name) {
    const struct cam_feed_format *format = NULL;
    if (!bytes)
        bytes = "";
    CAM_TRY(find_format(bytes, n_bytes, content_type, &format));
    if (format_name)
        *format_name = format->name;
    return format->read(bytes, n_bytes, limits, sink);
}

enum cam_status cam_feed_title(const char *bytes, size_t n_bytes, const char *content_type,
                               const struct cam_feed_limits *limits, struct cam_buffer *title) {
    const struct cam_feed_format *format = NULL;
    if (!bytes)
        bytes = "";
    CAM_TRY(find_format(bytes, n_bytes, content_type, &format));
    return format->title ? format->title(bytes, n_bytes, limits, title) : CAM_OK;
}

const char *cam_feed_type_of_name(const char *file_name) {
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".ndjson", "application/x-ndjson"},
        {".jsonl", "application/x-ndjson"},
        {".atom", "application/atom+xml"},
        {".xml", "application/xml"},
        {".txt", "text/plain"},
        {".text", "text/plain"},
        {".md", "text/markdown"},
    };
    size_t n = strlen(file_name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t n_ending = strlen(types[i].ending);
        if (n >= n_ending && strcasecmp(file_name + n - n_ending, types[i].ending) == 0)
            return types[i].type;
    }
    return NULL;
}
