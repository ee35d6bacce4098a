/* The SAX events drive a small typesetter: breaks, tabs and item marks are *pending* until text
 * arrives, so empty elements leave no trace and nothing has to be taken back. */
#include "feed/html.h"

#include <libxml/HTMLparser.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PIECE_BYTES       32768 /* libxml2 copies what is pushed; small pieces keep its buffer small */
#define MAX_INDENT_LEVELS 8

enum kind {
    KIND_BREAK,
    KIND_CELL,
    KIND_DROP,
    KIND_DROP_LINE,
    KIND_ITEM,
    KIND_LINE,
    KIND_LIST,
    KIND_PARAGRAPH,
    KIND_PRE,
    KIND_ROW,
    KIND_RULE
};

/* Sorted by name; everything else is inline. */
static const struct tag {
    const char *name;
    enum kind kind;
} tags[] = {
    {"address", KIND_LINE},    {"article", KIND_PARAGRAPH},
    {"aside", KIND_PARAGRAPH}, {"blockquote", KIND_PARAGRAPH},
    {"body", KIND_LINE},       {"br", KIND_BREAK},
    {"caption", KIND_LINE},    {"center", KIND_LINE},
    {"dd", KIND_LINE},         {"details", KIND_LINE},
    {"div", KIND_LINE},        {"dl", KIND_PARAGRAPH},
    {"dt", KIND_LINE},         {"fieldset", KIND_LINE},
    {"figcaption", KIND_LINE}, {"figure", KIND_PARAGRAPH},
    {"footer", KIND_LINE},     {"form", KIND_LINE},
    {"h1", KIND_PARAGRAPH},    {"h2", KIND_PARAGRAPH},
    {"h3", KIND_PARAGRAPH},    {"h4", KIND_PARAGRAPH},
    {"h5", KIND_PARAGRAPH},    {"h6", KIND_PARAGRAPH},
    {"head", KIND_DROP_LINE},  {"header", KIND_LINE},
    {"hr", KIND_RULE},         {"html", KIND_LINE},
    {"iframe", KIND_DROP},     {"legend", KIND_LINE},
    {"li", KIND_ITEM},         {"main", KIND_LINE},
    {"menu", KIND_LIST},       {"nav", KIND_DROP_LINE},
    {"noscript", KIND_DROP},   {"object", KIND_DROP},
    {"ol", KIND_LIST},         {"option", KIND_LINE},
    {"p", KIND_PARAGRAPH},     {"pre", KIND_PRE},
    {"script", KIND_DROP},     {"section", KIND_PARAGRAPH},
    {"select", KIND_DROP},     {"style", KIND_DROP},
    {"summary", KIND_LINE},    {"svg", KIND_DROP},
    {"table", KIND_PARAGRAPH}, {"tbody", KIND_LINE},
    {"td", KIND_CELL},         {"template", KIND_DROP},
    {"tfoot", KIND_LINE},      {"th", KIND_CELL},
    {"thead", KIND_LINE},      {"title", KIND_DROP},
    {"tr", KIND_ROW},          {"ul", KIND_LIST},
};

struct page {
    struct cam_buffer *out;
    size_t start; /* where our output begins in OUT */
    xmlParserCtxtPtr parser;
    enum cam_status status;
    int n_open;     /* open elements */
    int n_dropping; /* open elements of KIND_DROP */
    int n_pre, n_lists;
    int n_breaks; /* pending: newlines wanted before the next text, 0 to 2 */
    int n_tabs;   /* pending: cell borders */
    int n_cells;  /* cells begun in this row */
    int row_has_text;
    int fresh;      /* a cell or item has begun and has no text yet */
    int item;       /* pending: "- " */
    int space;      /* pending: one space */
    int pre_starts; /* the newline right after <pre> does not count */
};

static int compare_tag(const void *name, const void *tag) {
    return strcmp(name, ((const struct tag *)tag)->name);
}

static const struct tag *find_tag(const xmlChar *name) {
    return bsearch(name, tags, sizeof tags / sizeof *tags, sizeof *tags, compare_tag);
}

static void stop(struct page *page, enum cam_status status) {
    page->status = status;
    xmlStopParser(page->parser);
}

static void put(struct page *page, const char *bytes, size_t n_bytes) {
    if (page->status != CAM_OK)
        return;
    enum cam_status status = cam_buffer_append(page->out, bytes, n_bytes);
    if (status != CAM_OK)
        stop(page, status);
}

/* Asks for N newlines before the next text.  A cell or item that has no text yet swallows the
 * request: <li><p>x</p> is "- x". */
static void want_break(struct page *page, int n) {
    if (page->fresh)
        return;
    if (page->n_breaks < n)
        page->n_breaks = n;
    page->space = 0;
}

static int at_line_start(const struct page *page) {
    return page->out->size == page->start || page->out->data[page->out->size - 1] == '\n';
}

/* Text is about to be written: what is pending goes before it. */
static void flush(struct page *page) {
    const struct cam_buffer *out = page->out;
    int n_there = 0;
    while (n_there < 2 && out->size > page->start + (size_t)n_there &&
           out->data[out->size - 1 - (size_t)n_there] == '\n')
        n_there++;
    if (out->size > page->start)
        for (int i = n_there; i < page->n_breaks; i++)
            put(page, "\n", 1);
    for (int i = 0; i < page->n_tabs; i++)
        put(page, "\t", 1);
    if (page->item) {
        for (int i = 1; i < page->n_lists && i < MAX_INDENT_LEVELS; i++)
            put(page, "  ", 2);
        put(page, "- ", 2);
    } else if (page->space && !page->n_tabs && !at_line_start(page)) {
        put(page, " ", 1);
    }
    page->n_breaks = page->n_tabs = page->item = page->fresh = page->space = 0;
    page->row_has_text = 1;
}

static void start_cell(struct page *page) {
    page->item = page->space = 0;
    page->fresh = 1;
    if (page->n_cells++ == 0)
        return;
    if (page->row_has_text)
        page->n_breaks = 0;
    page->n_tabs++;
}

static void start_item(struct page *page) {
    page->n_tabs = page->fresh = 0;
    want_break(page, 1);
    page->item = page->fresh = 1;
}

/* Rows and items follow each other without a blank line, whatever was in them. */
static void end_line(struct page *page) {
    page->n_tabs = page->n_cells = page->item = page->fresh = page->space = 0;
    page->n_breaks = 1;
}

static void start_row(struct page *page) {
    page->n_tabs = page->item = page->fresh = 0;
    want_break(page, 1);
    page->n_cells = page->row_has_text = 0;
}

static void on_start(void *context, const xmlChar *name, const xmlChar **attributes) {
    struct page *page = context;
    (void)attributes;
    if (++page->n_open > CAM_HTML_MAX_DEPTH) {
        if (page->status == CAM_OK)
            stop(page,
                 cam_fail(CAM_ERR_DATA, "HTML elements nested deeper than %d", CAM_HTML_MAX_DEPTH));
        return;
    }
    const struct tag *tag = find_tag(name);
    if (!tag || (page->n_dropping && tag->kind != KIND_DROP && tag->kind != KIND_DROP_LINE))
        return;
    switch (tag->kind) {
    case KIND_DROP_LINE:
        want_break(page, 1);
        page->n_dropping++;
        break;
    case KIND_DROP:
        page->n_dropping++;
        break;
    case KIND_BREAK:
        if (page->n_pre)
            put(page, "\n", 1);
        else
            want_break(page, page->n_breaks ? 2 : 1);
        break;
    case KIND_CELL:
        start_cell(page);
        break;
    case KIND_ROW:
        start_row(page);
        break;
    case KIND_ITEM:
        start_item(page);
        break;
    case KIND_LIST:
        want_break(page, page->n_lists++ ? 1 : 2);
        break;
    case KIND_PRE:
        want_break(page, 2);
        page->n_pre++;
        page->pre_starts = 1;
        break;
    case KIND_LINE:
        want_break(page, 1);
        break;
    case KIND_PARAGRAPH:
    case KIND_RULE:
        want_break(page, 2);
        break;
    }
}

static void on_end(void *context, const xmlChar *name) {
    struct page *page = context;
    page->n_open--;
    const struct tag *tag = find_tag(name);
    if (!tag || (page->n_dropping && tag->kind != KIND_DROP && tag->kind != KIND_DROP_LINE))
        return;
    switch (tag->kind) {
    case KIND_DROP_LINE:
    case KIND_DROP:
        page->n_dropping -= page->n_dropping > 0;
        break;
    case KIND_LIST:
        page->item = page->fresh = 0;
        page->n_lists -= page->n_lists > 0;
        want_break(page, page->n_lists ? 1 : 2);
        break;
    case KIND_ITEM:
    case KIND_ROW:
        end_line(page);
        break;
    case KIND_PRE:
        page->n_pre -= page->n_pre > 0;
        want_break(page, 2);
        break;
    case KIND_LINE:
        want_break(page, 1);
        break;
    case KIND_PARAGRAPH:
        want_break(page, 2);
        break;
    case KIND_BREAK:
    case KIND_CELL:
    case KIND_RULE:
        break;
    }
}

static void pre_text(struct page *page, const char *s, size_t n) {
    if (page->pre_starts && n && s[0] == '\n')
        s++, n--;
    page->pre_starts = 0;
    if (!n)
        return;
    flush(page);
    put(page, s, n);
}

static int is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

static void on_text(void *context, const xmlChar *text, int n_text) {
    struct page *page = context;
    const char *s = (const char *)text;
    size_t n = (size_t)n_text;
    if (page->n_dropping || page->status != CAM_OK)
        return;
    if (page->n_pre) {
        pre_text(page, s, n);
        return;
    }
    for (size_t at = 0; at < n;) {
        if (is_space(s[at])) {
            page->space = !page->n_breaks && !page->fresh;
            at++;
            continue;
        }
        size_t from = at;
        while (at < n && !is_space(s[at]))
            at++;
        flush(page);
        put(page, s + from, at - from);
    }
}

static void on_error(void *context, const char *format, ...) {
    (void)context; /* HTML is never refused for its syntax */
    (void)format;
}

/* Where the next </html> begins in the N bytes at S; N if there is none. */
static size_t find_html_end(const char *s, size_t n) {
    static const char end[] = "</html";
    for (size_t at = 0; at < n; at++) {
        const char *found = memchr(s + at, '<', n - at);
        if (!found)
            return n;
        at = (size_t)(found - s);
        if (n - at >= sizeof end - 1 && strncasecmp(found, end, sizeof end - 1) == 0)
            return at;
    }
    return n;
}

/* Gives the parser everything but </html> tags: it drops what comes after one, and pages glued
 * together or closed too early are common. */
static void push(struct page *page, const char *html, size_t n_bytes) {
    size_t at = 0;
    while (at < n_bytes) {
        size_t end = at + find_html_end(html + at, n_bytes - at);
        while (at < end && page->status == CAM_OK) {
            size_t n = end - at < PIECE_BYTES ? end - at : PIECE_BYTES;
            htmlParseChunk(page->parser, html + at, (int)n, 0);
            at += n;
        }
        if (page->status != CAM_OK || end == n_bytes)
            return;
        want_break(page, 1);
        const char *close = memchr(html + end, '>', n_bytes - end);
        at = close ? (size_t)(close - html) + 1 : n_bytes;
    }
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

enum cam_status cam_html_to_text(const char *html, size_t n_bytes, struct cam_buffer *text) {
    pthread_once(&once, xmlInitParser);
    struct page page = {.out = text, .start = text->size};
    htmlSAXHandler sax = {.startElement = on_start,
                          .endElement = on_end,
                          .characters = on_text,
                          .ignorableWhitespace = on_text,
                          .cdataBlock = on_text,
                          .error = on_error,
                          .fatalError = on_error,
                          .warning = on_error};
    page.parser = htmlCreatePushParserCtxt(&sax, &page, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
    if (!page.parser)
        return cam_fail(CAM_ERR_OS, "out of memory for an HTML parser");
    htmlCtxtUseOptions(page.parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
                                        HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
    push(&page, html, n_bytes);
    if (page.status == CAM_OK)
        htmlParseChunk(page.parser, NULL, 0, 1);
    if (page.parser->myDoc)
        xmlFreeDoc(page.parser->myDoc);
    htmlFreeParserCtxt(page.parser);
    if (page.status != CAM_OK && text->data) {
        text->size = page.start;
        text->data[page.start] = '\0';
    }
    return page.status;
}
