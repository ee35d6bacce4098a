#include "feed/page_head.h"

#include "feed/encoding.h"
#include "feed/url.h"

#include <ctype.h>
#include <libxml/HTMLparser.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PIECE_BYTES    32768
#define MAX_BASE_BYTES 2048

struct scan {
    struct cam_page_head *head;
    const char *base;           /* where the page was got from */
    struct cam_buffer own_base; /* what it says it is */
    xmlParserCtxtPtr parser;
    enum cam_status status;
    int has_og_title;
    int in_title, n_svg; /* pictures have titles too */
};

static const char *attribute(const xmlChar **attributes, const char *name) {
    for (; attributes && attributes[0]; attributes += 2)
        if (strcmp((const char *)attributes[0], name) == 0)
            return attributes[1] ? (const char *)attributes[1] : "";
    return NULL;
}

static void note(struct scan *scan, enum cam_status status) {
    if (status == CAM_OK || status == CAM_ERR_DATA || scan->status != CAM_OK)
        return; /* too long a field is as good as none */
    scan->status = status;
    xmlStopParser(scan->parser);
}

static void set_once(struct scan *scan, struct cam_buffer *field, const char *value) {
    if (value && *value && field->size == 0)
        note(scan, cam_buffer_append_text(field, value));
}

static const char *base_of(const struct scan *scan) {
    return scan->own_base.size ? scan->own_base.data : scan->base;
}

static void set_url(struct scan *scan, struct cam_buffer *field, const char *href) {
    if (href && *href && field->size == 0)
        note(scan, cam_url_resolve(base_of(scan), href, strlen(href), field));
    if (field->size && !cam_url_is_http(field->data, field->size))
        cam_buffer_clear(field);
}

/* Whether the words of LIST (white space between them) contain WORD, in any case. */
static int has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    while (list && *list) {
        while (isspace((unsigned char)*list))
            list++;
        size_t length = strcspn(list, " \t\r\n\f");
        if (length == n && strncasecmp(list, word, n) == 0)
            return 1;
        list += length;
    }
    return 0;
}

/* ---- feeds ---- */

static int is_feed_type(const char *type, const char *href) {
    static const char *const types[] = {
        "application/rss+xml",    "application/atom+xml",
        "application/feed+json",  "application/rdf+xml",
        "application/x-rss+xml",  "application/x-atom+xml",
        "application/x.atom+xml", "text/rss",
        "text/rss+xml",           "application/rss",
        "application/xml",        "text/xml",
    };
    size_t n = strcspn(type, "; \t");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strlen(types[i]) == n && strncasecmp(type, types[i], n) == 0)
            return 1;
    return n == strlen("application/json") && strncasecmp(type, "application/json", n) == 0 &&
           strcasestr(href, "feed");
}

static char *copy_lower(const char *text) {
    char *copy = strdup(text);
    for (char *c = copy; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

static void add_feed(struct scan *scan, const xmlChar **attributes) {
    struct cam_feed_links *feeds = &scan->head->feeds;
    const char *href = attribute(attributes, "href"), *type = attribute(attributes, "type");
    const char *title = attribute(attributes, "title");
    struct cam_buffer url;
    if (!href || !type || !is_feed_type(type, href) || feeds->n_links == CAM_MAX_FEED_LINKS)
        return;
    cam_buffer_init(&url, scan->head->url.limit);
    note(scan, cam_url_resolve(base_of(scan), href, strlen(href), &url));
    int is_new = url.size && cam_url_is_http(url.data, url.size);
    for (size_t i = 0; i < feeds->n_links && is_new; i++)
        is_new = strcmp(feeds->link[i].url, url.data) != 0;
    if (is_new) {
        struct cam_feed_link *link = &feeds->link[feeds->n_links++];
        *link = (struct cam_feed_link){cam_buffer_take(&url), strdup(title ? title : ""),
                                       copy_lower(type)};
        if (!link->url || !link->title || !link->type)
            note(scan, cam_fail(CAM_ERR_OS, "out of memory for the feeds of a page"));
    }
    cam_buffer_release(&url);
}

void cam_feed_links_release(struct cam_feed_links *links) {
    for (size_t i = 0; i < links->n_links; i++)
        free(links->link[i].url), free(links->link[i].title), free(links->link[i].type);
    *links = (struct cam_feed_links){.n_links = 0};
}

/* ---- what the page says ---- */

static void meta(struct scan *scan, const xmlChar **attributes) {
    static const struct {
        const char *name;
        size_t field; /* offset in struct cam_page_head */
    } names[] = {
        {"author", offsetof(struct cam_page_head, author)},
        {"article:author", offsetof(struct cam_page_head, author)},
        {"dc.creator", offsetof(struct cam_page_head, author)},
        {"article:published_time", offsetof(struct cam_page_head, published)},
        {"datepublished", offsetof(struct cam_page_head, published)},
        {"dc.date", offsetof(struct cam_page_head, published)},
        {"dcterms.date", offsetof(struct cam_page_head, published)},
        {"date", offsetof(struct cam_page_head, published)},
        {"pubdate", offsetof(struct cam_page_head, published)},
        {"article:modified_time", offsetof(struct cam_page_head, updated)},
        {"datemodified", offsetof(struct cam_page_head, updated)},
        {"last-modified", offsetof(struct cam_page_head, updated)},
    };
    static const char *const keys[] = {"property", "name", "itemprop"};
    const char *content = attribute(attributes, "content"), *key = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !key; i++)
        key = attribute(attributes, keys[i]);
    if (!key || !content)
        return;
    if (strcasecmp(key, "og:url") == 0)
        set_url(scan, &scan->head->url, content);
    if (strcasecmp(key, "og:title") == 0 && *content && !scan->has_og_title) {
        cam_buffer_clear(&scan->head->title); /* <title> has the name of the site in it */
        set_once(scan, &scan->head->title, content);
        scan->has_og_title = 1;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(key, names[i].name) == 0 &&
            !(strstr(key, "author") && cam_url_is_http(content, strlen(content))))
            set_once(scan, (struct cam_buffer *)((char *)scan->head + names[i].field), content);
}

static void on_start(void *context, const xmlChar *name, const xmlChar **attributes) {
    struct scan *scan = context;
    struct cam_page_head *head = scan->head;
    const char *tag = (const char *)name, *rel;
    if (strcmp(tag, "html") == 0) {
        set_once(scan, &head->language, attribute(attributes, "lang"));
    } else if (strcmp(tag, "svg") == 0) {
        scan->n_svg++;
    } else if (strcmp(tag, "title") == 0) {
        scan->in_title = !scan->n_svg && head->title.size == 0;
    } else if (strcmp(tag, "base") == 0) {
        const char *href = attribute(attributes, "href");
        if (href && scan->own_base.size == 0)
            note(scan, cam_url_resolve(scan->base, href, strlen(href), &scan->own_base));
    } else if (strcmp(tag, "meta") == 0) {
        meta(scan, attributes);
    } else if (strcmp(tag, "time") == 0) {
        set_once(scan, &head->published, attribute(attributes, "datetime"));
    } else if (strcmp(tag, "link") == 0 && (rel = attribute(attributes, "rel")) != NULL) {
        if (has_word(rel, "canonical"))
            set_url(scan, &head->url, attribute(attributes, "href"));
        if (has_word(rel, "feed") || (has_word(rel, "alternate") && !has_word(rel, "stylesheet")))
            add_feed(scan, attributes);
    }
}

static void on_end(void *context, const xmlChar *name) {
    struct scan *scan = context;
    if (strcmp((const char *)name, "title") == 0)
        scan->in_title = 0;
    else if (strcmp((const char *)name, "svg") == 0)
        scan->n_svg -= scan->n_svg > 0;
}

static void on_text(void *context, const xmlChar *text, int n) {
    struct scan *scan = context;
    if (scan->in_title)
        note(scan, cam_buffer_append(&scan->head->title, text, (size_t)n));
}

static void on_error(void *context, const char *format, ...) {
    (void)context; /* HTML is never refused for its syntax */
    (void)format;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static enum cam_status scan_page(struct scan *scan, const char *html, size_t n_bytes) {
    htmlSAXHandler sax = {.startElement = on_start,
                          .endElement = on_end,
                          .characters = on_text,
                          .error = on_error,
                          .fatalError = on_error,
                          .warning = on_error};
    pthread_once(&once, xmlInitParser);
    scan->parser = htmlCreatePushParserCtxt(&sax, scan, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
    if (!scan->parser)
        return cam_fail(CAM_ERR_OS, "out of memory for an HTML parser");
    htmlCtxtUseOptions(scan->parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR |
                                         HTML_PARSE_NOWARNING | HTML_PARSE_NONET |
                                         HTML_PARSE_IGNORE_ENC);
    for (size_t at = 0; at < n_bytes && scan->status == CAM_OK;) {
        size_t n = n_bytes - at < PIECE_BYTES ? n_bytes - at : PIECE_BYTES;
        htmlParseChunk(scan->parser, html + at, (int)n, 0);
        at += n;
    }
    if (scan->status == CAM_OK)
        htmlParseChunk(scan->parser, NULL, 0, 1);
    if (scan->parser->myDoc)
        xmlFreeDoc(scan->parser->myDoc);
    htmlFreeParserCtxt(scan->parser);
    return scan->status;
}

enum cam_status cam_page_head_read(const char *html, size_t n_bytes, const char *base,
                                   size_t max_field_bytes, struct cam_page_head *head) {
    struct cam_buffer *const fields[] = {&head->title,     &head->url,     &head->author,
                                         &head->published, &head->updated, &head->language};
    struct scan scan = {.head = head, .base = base};
    head->feeds = (struct cam_feed_links){.n_links = 0};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        cam_buffer_init(fields[i], max_field_bytes);
    cam_buffer_init(&scan.own_base, MAX_BASE_BYTES);
    enum cam_status status = scan_page(&scan, html, n_bytes);
    cam_buffer_release(&scan.own_base);
    return status;
}

void cam_page_head_release(struct cam_page_head *head) {
    cam_buffer_release(&head->title);
    cam_buffer_release(&head->url);
    cam_buffer_release(&head->author);
    cam_buffer_release(&head->published);
    cam_buffer_release(&head->updated);
    cam_buffer_release(&head->language);
    cam_feed_links_release(&head->feeds);
}

enum cam_status cam_feed_discover(const char *html, size_t n_bytes, const char *content_type,
                                  const char *base_url, struct cam_feed_links *links) {
    struct cam_encoding encoding;
    struct cam_buffer decoded;
    struct cam_page_head head = {.feeds = {.n_links = 0}};
    const char *text;
    size_t n_text, n_replaced;
    *links = (struct cam_feed_links){.n_links = 0};
    if (!html)
        html = "";
    CAM_TRY(cam_encoding_find(html, n_bytes, content_type, &encoding));
    cam_buffer_init(&decoded, 0);
    enum cam_status status =
        cam_encoding_decode(html, n_bytes, &encoding, &decoded, &text, &n_text, &n_replaced);
    if (status == CAM_OK)
        status = cam_page_head_read(text, n_text, base_url, 8192, &head);
    if (status == CAM_OK) {
        *links = head.feeds;
        head.feeds.n_links = 0;
    }
    cam_page_head_release(&head);
    cam_buffer_release(&decoded);
    return status;
}
