#include "feed/opml.h"

#include "base/buffer.h"
#include "feed/encoding.h"
#include "feed/url.h"
#include "feed/xml.h"
#include "text/clean.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct opml {
    const struct cam_feed_limits *limits;
    const struct cam_opml_sink *sink;
    struct cam_buffer title;
    size_t n_seen; /* outlines so far */
    size_t n_done; /* of them, handed on before the text was read again */
};

/* Why the outline is not taken, or NULL. */
static const char *objection(const struct cam_xml_element *e, const char *url, size_t n) {
    static const char *const commands[] = {"filtercmd", "filter", "exec", "command"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (cam_xml_attribute(e, commands[i]))
            return "it names a command to run, and nothing in a list is run";
    if (strncasecmp(url, "exec:", 5) == 0 || *url == '|' || strncasecmp(url, "filter:", 7) == 0)
        return "it is a command to run, and nothing in a list is run";
    if (!cam_url_is_http(url, n))
        return "only http and https are read";
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)url[i] <= ' ' || url[i] == 0x7F)
            return "white space or a control character is in it";
    return NULL;
}

static enum cam_status take(struct opml *opml, const struct cam_xml_element *e, const char *url) {
    const char *title = cam_xml_attribute(e, "title"), *why;
    while (isspace((unsigned char)*url))
        url++;
    size_t n = strlen(url);
    struct cam_buffer address;
    cam_buffer_init(&address, opml->limits->max_field_bytes);
    while (n && isspace((unsigned char)url[n - 1]))
        n--;
    enum cam_status status = cam_buffer_append(&address, url, n);
    if (status == CAM_ERR_DATA) {
        cam_buffer_release(&address);
        return opml->sink->ignored(opml->sink->context, "(an outline)",
                                   "its address is longer than any may be");
    }
    if (!title || !*title)
        title = cam_xml_attribute(e, "text");
    cam_buffer_clear(&opml->title);
    if (status == CAM_OK && title)
        status = cam_clean_line(title, strlen(title), &opml->title, NULL);
    if (status == CAM_ERR_DATA) {
        cam_buffer_clear(&opml->title);
        status = CAM_OK;
    }
    if (status == CAM_OK)
        status =
            (why = objection(e, address.data ? address.data : "", address.size)) != NULL
                ? opml->sink->ignored(opml->sink->context, address.data ? address.data : "", why)
                : opml->sink->feed(opml->sink->context, address.data,
                                   opml->title.size ? opml->title.data : "");
    cam_buffer_release(&address);
    return status;
}

static enum cam_status on_start(void *context, struct cam_xml *xml,
                                const struct cam_xml_element *e) {
    struct opml *opml = context;
    (void)xml;
    if (e->depth == 1 && strcasecmp(e->local, "opml") != 0)
        return cam_fail(CAM_ERR_DATA, "OPML: the root element is <%.64s>, not <opml>", e->local);
    if (strcasecmp(e->local, "outline") != 0)
        return CAM_OK;
    if (++opml->n_seen > opml->limits->max_entries)
        return cam_fail(CAM_ERR_DATA, "OPML: more outlines than the limit of %zu",
                        opml->limits->max_entries);
    if (opml->n_seen <= opml->n_done)
        return CAM_OK;
    opml->n_done = opml->n_seen;
    const char *url = cam_xml_attribute(e, "xmlurl");
    return url && *url ? take(opml, e, url) : CAM_OK;
}

static enum cam_status on_end(void *context, struct cam_xml *xml, const struct cam_xml_element *e) {
    (void)context, (void)xml, (void)e;
    return CAM_OK;
}

static enum cam_status on_text(void *context, struct cam_xml *xml, const char *text, size_t n) {
    (void)context, (void)xml, (void)text, (void)n;
    return CAM_OK;
}

static void again(void *context) {
    struct opml *opml = context;
    opml->n_seen = 0;
}

static enum cam_status parse(struct opml *opml, const char *text, size_t n_text) {
    static const struct cam_xml_handler handler = {on_start, on_end, on_text, again};
    struct cam_xml *xml = NULL;
    enum cam_xml_end end;
    CAM_TRY(cam_xml_new("OPML", opml->limits, NULL, NULL, &handler, opml, &xml));
    enum cam_status status = cam_xml_parse(xml, text, n_text, &end);
    cam_xml_free(xml);
    return status;
}

enum cam_status cam_opml_read(const char *bytes, size_t n_bytes,
                              const struct cam_feed_limits *limits,
                              const struct cam_opml_sink *sink) {
    struct opml opml = {.limits = limits, .sink = sink};
    struct cam_encoding encoding;
    struct cam_buffer decoded;
    const char *text;
    size_t n_text, n_replaced;
    if (!bytes)
        bytes = "";
    CAM_TRY(cam_encoding_find(bytes, n_bytes, NULL, &encoding));
    cam_buffer_init(&decoded, 0);
    cam_buffer_init(&opml.title, limits->max_field_bytes);
    enum cam_status status =
        cam_encoding_decode(bytes, n_bytes, &encoding, &decoded, &text, &n_text, &n_replaced);
    if (status == CAM_OK)
        status = parse(&opml, text, n_text);
    cam_buffer_release(&opml.title);
    cam_buffer_release(&decoded);
    return status;
}
