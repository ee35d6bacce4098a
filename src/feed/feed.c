#include "feed/feed.h"

#include "base/log.h"
#include "feed/discover.h"
#include "feed/encoding.h"
#include "feed/feed_formats.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct cam_feed_format *const cam_feed_formats[] = {
    &cam_feed_format_atom,
    &cam_feed_format_rss,
    &cam_feed_format_jsonfeed,
    &cam_feed_format_ndjson,
    &cam_feed_format_html,
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

const struct cam_feed_format *cam_feed_sniff_format(const struct cam_feed_input *input) {
    const struct cam_feed_format *found = NULL;
    enum cam_feed_sniff best = CAM_SNIFF_NO;
    char type[128];
    media_type(input->content_type, type, sizeof type);
    for (size_t i = 0; cam_feed_formats[i]; i++) {
        if (cam_feed_formats[i]->is_page && !input->accept_pages)
            continue;
        enum cam_feed_sniff sniff = cam_feed_formats[i]->sniff(input->bytes, input->n_bytes, type);
        if (sniff > best) {
            best = sniff;
            found = cam_feed_formats[i];
        }
    }
    return found;
}

enum cam_status cam_feed_find_format(const char *name, const struct cam_feed_format **format) {
    char known[128] = "";
    for (size_t i = 0; cam_feed_formats[i]; i++) {
        if (strcmp(cam_feed_formats[i]->name, name) == 0) {
            *format = cam_feed_formats[i];
            return CAM_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                 cam_feed_formats[i]->name);
    }
    return cam_fail(CAM_ERR_CONFIG, "format \"%.32s\" is not known; formats: %s", name, known);
}

/* A page in place of a feed: the feeds it names are the remedy. */
static enum cam_status page_instead(const struct cam_feed_input *input) {
    char named[512] = "", shown[200];
    struct cam_feed_links links;
    enum cam_status status =
        cam_feed_discover(input->bytes, input->n_bytes, input->content_type, input->base, &links);
    for (size_t i = 0, used = 0; i < links.n_links && i < 3 && used < sizeof named; i++)
        used += (size_t)snprintf(named + used, sizeof named - used, "%s%s", i ? ", " : "",
                                 cam_neutral_text(links.link[i].url, shown, sizeof shown));
    cam_feed_links_release(&links);
    if (status != CAM_OK && status != CAM_ERR_DATA)
        return status;
    if (*named)
        return cam_fail(CAM_ERR_DATA,
                        "an HTML page, not a feed; its feeds, to be given in its place: %s", named);
    return cam_fail(CAM_ERR_DATA, "an HTML page, not a feed, and it names none (to take the page "
                                  "itself as a document: --format html)");
}

static enum cam_status no_reader(const struct cam_feed_input *input) {
    char type[128], head[33] = "", shown[64];
    if (input->n_bytes == 0)
        return cam_fail(CAM_ERR_DATA, "empty: 0 bytes hold no feed");
    media_type(input->content_type, type, sizeof type);
    if (cam_feed_format_html.sniff(input->bytes, input->n_bytes, type) != CAM_SNIFF_NO)
        return page_instead(input);
    memcpy(head, input->bytes, input->n_bytes < 32 ? input->n_bytes : 32);
    return cam_fail(CAM_ERR_DATA,
                    "no reader for content type \"%s\" beginning \"%s\"; Atom, RSS, JSON Feed, "
                    "NDJSON and plain text are read",
                    type, cam_neutral_text(head, shown, sizeof shown));
}

/* An input that is UTF-8 as far as it can be told, its format, and what it takes to get there. */
struct prepared {
    struct cam_feed_input input;
    const struct cam_feed_format *format;
    struct cam_buffer decoded;
};

static int is_wide(const struct cam_encoding *encoding) {
    return encoding->unit > 1;
}

static enum cam_status decode(struct prepared *p, const struct cam_encoding *encoding) {
    size_t n_replaced = 0;
    CAM_TRY(cam_encoding_decode(p->input.bytes, p->input.n_bytes, encoding, &p->decoded,
                                &p->input.bytes, &p->input.n_bytes, &n_replaced));
    p->input.n_replaced = n_replaced;
    return CAM_OK;
}

/* Formats are found by ASCII bytes: what has wider ones is decoded first, anything else only when a
 * format wants it; a mark before UTF-8 has done its work when it was seen. */
static enum cam_status prepare(struct prepared *p) {
    struct cam_encoding encoding;
    const struct cam_feed_input *input = &p->input;
    CAM_TRY(cam_encoding_find(input->bytes, input->n_bytes, input->content_type, &encoding));
    int wide = is_wide(&encoding);
    if (wide) {
        CAM_TRY(decode(p, &encoding));
    } else {
        p->input.bytes += encoding.n_mark;
        p->input.n_bytes -= encoding.n_mark;
        encoding.n_mark = 0;
    }
    if (input->format && *input->format)
        CAM_TRY(cam_feed_find_format(input->format, &p->format));
    else if (!(p->format = cam_feed_sniff_format(input)))
        return no_reader(input);
    return !wide && p->format->decoded ? decode(p, &encoding) : CAM_OK;
}

enum cam_status cam_feed_read_input(const struct cam_feed_input *input,
                                    const struct cam_feed_limits *limits,
                                    const struct cam_document_sink *sink,
                                    const char **format_name) {
    struct prepared p = {.input = *input};
    if (!p.input.bytes)
        p.input.bytes = "";
    cam_buffer_init(&p.decoded, 0);
    enum cam_status status = prepare(&p);
    if (format_name && p.format)
        *format_name = p.format->name;
    if (status == CAM_OK)
        status = p.format->read(&p.input, limits, sink);
    cam_buffer_release(&p.decoded);
    return status;
}

enum cam_status cam_feed_read(const char *bytes, size_t n_bytes, const char *content_type,
                              const struct cam_feed_limits *limits,
                              const struct cam_document_sink *sink, const char **format_name) {
    const struct cam_feed_input input = {
        .bytes = bytes, .n_bytes = n_bytes, .content_type = content_type};
    return cam_feed_read_input(&input, limits, sink, format_name);
}

enum cam_status cam_feed_title(const char *bytes, size_t n_bytes, const char *content_type,
                               const struct cam_feed_limits *limits, struct cam_buffer *title) {
    struct prepared p = {
        .input = {.bytes = bytes ? bytes : "", .n_bytes = n_bytes, .content_type = content_type}};
    cam_buffer_init(&p.decoded, 0);
    enum cam_status status = prepare(&p);
    if (status == CAM_OK && p.format->title)
        status = p.format->title(&p.input, limits, title);
    cam_buffer_release(&p.decoded);
    return status;
}

static int older_first(const void *a, const void *b) {
    const struct cam_feed_rank *x = a, *y = b;
    if (x->date_ms != y->date_ms)
        return x->date_ms < y->date_ms ? -1 : 1;
    return x->i_entry > y->i_entry ? -1 : x->i_entry < y->i_entry;
}

void cam_feed_order(struct cam_feed_rank *ranks, size_t n_ranks) {
    int64_t date_ms = 0;
    for (size_t i = 0; i < n_ranks; i++)
        if (ranks[i].has_date) {
            date_ms = ranks[i].date_ms;
            break;
        }
    for (size_t i = 0; i < n_ranks; i++) {
        if (ranks[i].has_date)
            date_ms = ranks[i].date_ms;
        ranks[i].date_ms = date_ms;
    }
    if (n_ranks)
        qsort(ranks, n_ranks, sizeof *ranks, older_first);
}

const char *cam_feed_type_of_name(const char *file_name) {
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".ndjson", "application/x-ndjson"},
        {".jsonl", "application/x-ndjson"},
        {".atom", "application/atom+xml"},
        {".rss", "application/rss+xml"},
        {".rdf", "application/rdf+xml"},
        {".xml", "application/xml"},
        {".json", "application/json"},
        {".html", "text/html"},
        {".htm", "text/html"},
        {".xhtml", "application/xhtml+xml"},
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
