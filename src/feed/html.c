/* The SAX events drive a small typesetter: breaks, tabs and item marks are *pending* until text
 * arrives, so empty elements leave no trace and nothing has to be taken back. */
#include "feed/html.h"

#include "feed/html_blocks.h"

#include <ctype.h>
#include <libxml/HTMLparser.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PIECE_BYTES       32768 /* libxml2 copies what is pushed; small pieces keep its buffer small */
#define MAX_INDENT_LEVELS 8
#define MAX_LISTS         64
#define FORM_OF_PAGE      3 /* a form at this depth holds the page, as some systems have it */

enum kind {
    KIND_ANCHOR,
    KIND_BREAK,
    KIND_CELL,
    KIND_CODE,
    KIND_DROP,
    KIND_DROP_LINE,
    KIND_ITEM,
    KIND_LINE,
    KIND_LIST,
    KIND_NUMBERED,
    KIND_PARAGRAPH,
    KIND_PRE,
    KIND_ROW,
    KIND_RULE
};

enum { FLAG_AROUND = 1, FLAG_HEADER = 2, FLAG_FORM = 4, FLAG_MAIN = 8, FLAG_HEADING = 16 };

/* Sorted by name; everything else is inline. */
static const struct tag {
    const char *name;
    enum kind kind;
    unsigned flags;
} tags[] = {
    {"a", KIND_ANCHOR, 0},
    {"address", KIND_LINE, 0},
    {"article", KIND_PARAGRAPH, FLAG_MAIN},
    {"aside", KIND_PARAGRAPH, FLAG_AROUND},
    {"audio", KIND_DROP, 0},
    {"blockquote", KIND_PARAGRAPH, 0},
    {"body", KIND_LINE, 0},
    {"br", KIND_BREAK, 0},
    {"button", KIND_DROP, 0},
    {"canvas", KIND_DROP, 0},
    {"caption", KIND_LINE, 0},
    {"center", KIND_LINE, 0},
    {"code", KIND_CODE, 0},
    {"dd", KIND_LINE, 0},
    {"details", KIND_LINE, 0},
    {"dialog", KIND_LINE, FLAG_AROUND},
    {"div", KIND_LINE, 0},
    {"dl", KIND_PARAGRAPH, 0},
    {"dt", KIND_LINE, 0},
    {"fieldset", KIND_LINE, 0},
    {"figcaption", KIND_LINE, 0},
    {"figure", KIND_PARAGRAPH, 0},
    {"footer", KIND_LINE, FLAG_AROUND},
    {"form", KIND_LINE, FLAG_FORM},
    {"h1", KIND_PARAGRAPH, FLAG_HEADING},
    {"h2", KIND_PARAGRAPH, FLAG_HEADING},
    {"h3", KIND_PARAGRAPH, FLAG_HEADING},
    {"h4", KIND_PARAGRAPH, FLAG_HEADING},
    {"h5", KIND_PARAGRAPH, FLAG_HEADING},
    {"h6", KIND_PARAGRAPH, FLAG_HEADING},
    {"head", KIND_DROP_LINE, 0},
    {"header", KIND_LINE, FLAG_HEADER},
    {"hr", KIND_RULE, 0},
    {"html", KIND_LINE, 0},
    {"iframe", KIND_DROP, 0},
    {"legend", KIND_LINE, 0},
    {"li", KIND_ITEM, 0},
    {"listing", KIND_PRE, 0},
    {"main", KIND_LINE, FLAG_MAIN},
    {"menu", KIND_LIST, 0},
    {"nav", KIND_DROP_LINE, 0},
    {"noscript", KIND_DROP, 0},
    {"ol", KIND_NUMBERED, 0},
    {"option", KIND_LINE, 0},
    {"p", KIND_PARAGRAPH, 0},
    {"pre", KIND_PRE, 0},
    {"rp", KIND_DROP, 0},
    {"script", KIND_DROP, 0},
    {"section", KIND_PARAGRAPH, 0},
    {"select", KIND_DROP, 0},
    {"style", KIND_DROP, 0},
    {"summary", KIND_LINE, 0},
    {"svg", KIND_DROP, 0},
    {"table", KIND_PARAGRAPH, 0},
    {"tbody", KIND_LINE, 0},
    {"td", KIND_CELL, 0},
    {"template", KIND_DROP, 0},
    {"textarea", KIND_DROP, 0},
    {"tfoot", KIND_LINE, 0},
    {"th", KIND_CELL, 0},
    {"thead", KIND_LINE, 0},
    {"title", KIND_DROP, 0},
    {"tr", KIND_ROW, 0},
    {"ul", KIND_LIST, 0},
    {"video", KIND_DROP, 0},
    {"xmp", KIND_PRE, 0},
};

struct list {
    int is_numbered, n_items;
};

struct page {
    struct cam_buffer *out;
    size_t start; /* where our output begins in OUT */
    xmlParserCtxtPtr parser;
    enum cam_status status;
    int is_page; /* drop what is around the content */
    struct cam_html_blocks *blocks;
    int n_open;     /* open elements */
    int drop_depth; /* of the outermost element that is dropped, or 0 */
    int n_pre, n_lists, n_anchors, n_main, n_headings;
    struct list list[MAX_LISTS];
    int n_breaks; /* pending: newlines wanted before the next text, 0 to 2 */
    int n_tabs;   /* pending: cell borders */
    int n_cells;  /* cells begun in this row */
    int row_has_text;
    int block;       /* pending: a block begins with the next text */
    int fresh;       /* a cell or item has begun and has no text yet */
    int item;        /* pending: "- " */
    int space;       /* pending: one space */
    int pre_starts;  /* the newline right after <pre> does not count */
    size_t code_end; /* where the last <code> of a <pre> ended; 0: nowhere */
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

/* ---- blocks ---- */

static void begin_block(struct page *page) {
    struct cam_html_blocks *blocks = page->blocks;
    page->block = 0;
    if (!blocks || page->status != CAM_OK)
        return;
    if (blocks->n_blocks == blocks->capacity) {
        size_t capacity = blocks->capacity ? 2 * blocks->capacity : 64;
        struct cam_html_block *block = realloc(blocks->block, capacity * sizeof *block);
        if (!block) {
            stop(page, cam_fail(CAM_ERR_OS, "out of memory for %zu blocks of a page", capacity));
            return;
        }
        blocks->block = block;
        blocks->capacity = capacity;
    }
    blocks->block[blocks->n_blocks++] = (struct cam_html_block){
        .start = page->out->size,
        .end = page->out->size,
        .is_heading = page->n_headings > 0,
        .is_pre = page->n_pre > 0,
        .in_main = page->n_main > 0,
    };
}

/* Words of a run without white space; scripts that have none count two characters a word. */
static unsigned count_words(const char *s, size_t n) {
    unsigned n_wide = 0;
    for (size_t i = 0; i < n; i++) /* U+3000 to U+D7FF: kana, ideographs, hangul */
        n_wide += (unsigned char)s[i] >= 0xE3 && (unsigned char)s[i] <= 0xED;
    return n_wide > 2 ? (n_wide + 1) / 2 : 1;
}

/* The N bytes at S were put into the current block. */
static void note_words(struct page *page, const char *s, size_t n) {
    if (!page->blocks || !page->blocks->n_blocks)
        return;
    struct cam_html_block *block = &page->blocks->block[page->blocks->n_blocks - 1];
    unsigned n_words = count_words(s, n);
    block->end = page->out->size;
    block->n_words += n_words;
    if (page->n_anchors > 0)
        block->n_link_words += n_words;
}

/* ---- what is pending ---- */

/* Asks for N newlines before the next text.  A cell or item that has no text yet swallows the
 * request: <li><p>x</p> is "- x". */
static void want_line(struct page *page, int n) {
    if (page->fresh)
        return;
    if (page->n_breaks < n)
        page->n_breaks = n;
    page->space = 0;
}

static void want_break(struct page *page, int n) {
    page->block = 1;
    want_line(page, n);
}

static int at_line_start(const struct page *page) {
    return page->out->size == page->start || page->out->data[page->out->size - 1] == '\n';
}

static void put_item_mark(struct page *page) {
    char mark[24];
    struct list *list =
        page->n_lists > 0 && page->n_lists <= MAX_LISTS ? &page->list[page->n_lists - 1] : NULL;
    for (int i = 1; i < page->n_lists && i < MAX_INDENT_LEVELS; i++)
        put(page, "  ", 2);
    if (list && list->is_numbered)
        snprintf(mark, sizeof mark, "%d. ", ++list->n_items);
    put(page, list && list->is_numbered ? mark : "- ",
        list && list->is_numbered ? strlen(mark) : 2);
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
    if ((page->block || out->size == page->start) && at_line_start(page))
        begin_block(page);
    for (int i = 0; i < page->n_tabs; i++)
        put(page, "\t", 1);
    if (page->item)
        put_item_mark(page);
    else if (page->space && !page->n_tabs && !at_line_start(page))
        put(page, " ", 1);
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
    page->block = 1;
}

static void start_row(struct page *page) {
    page->n_tabs = page->item = page->fresh = 0;
    want_break(page, 1);
    page->n_cells = page->row_has_text = 0;
}

static void start_list(struct page *page, int is_numbered) {
    want_break(page, page->n_lists ? 1 : 2);
    if (page->n_lists < MAX_LISTS)
        page->list[page->n_lists] = (struct list){is_numbered, 0};
    page->n_lists++;
}

/* ---- what is dropped ---- */

static const char *attribute(const xmlChar **attributes, const char *name) {
    for (; attributes && attributes[0]; attributes += 2)
        if (strcmp((const char *)attributes[0], name) == 0)
            return attributes[1] ? (const char *)attributes[1] : "";
    return NULL;
}

/* "display:none" or "visibility:hidden" among the style's declarations, spaces or not. */
static int hides(const char *style) {
    char packed[512];
    size_t n = 0;
    for (; *style && n + 1 < sizeof packed; style++)
        if (!isspace((unsigned char)*style))
            packed[n++] = (char)tolower((unsigned char)*style);
    packed[n] = '\0';
    return strstr(packed, "display:none") || strstr(packed, "visibility:hidden");
}

static int is_hidden(const xmlChar **attributes) {
    if (!attributes)
        return 0;
    const char *aria = attribute(attributes, "aria-hidden"),
               *style = attribute(attributes, "style");
    return attribute(attributes, "hidden") || (aria && strcasecmp(aria, "true") == 0) ||
           (style && hides(style));
}

/* Whether the element is around the content of a page rather than in it. */
static int is_around(const struct page *page, const struct tag *tag, const xmlChar **attributes) {
    static const char *const roles[] = {"navigation", "banner",      "contentinfo",   "search",
                                        "dialog",     "alertdialog", "complementary", "menu",
                                        "menubar",    "toolbar"};
    unsigned flags = tag ? tag->flags : 0;
    const char *role = attribute(attributes, "role");
    if (flags & FLAG_AROUND || (flags & FLAG_HEADER && !page->n_main) ||
        (flags & FLAG_FORM && page->n_open > FORM_OF_PAGE))
        return 1;
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        if (strcasecmp(role, roles[i]) == 0)
            return 1;
    return 0;
}

static int is_dropped(const struct page *page, const struct tag *tag, const xmlChar **attributes) {
    if (tag && (tag->kind == KIND_DROP || tag->kind == KIND_DROP_LINE))
        return 1;
    if (page->n_open <= 2) /* <html> and <body> hide themselves until a script shows them */
        return 0;
    return is_hidden(attributes) || (page->is_page && is_around(page, tag, attributes));
}

/* ---- the parser's events ---- */

static void start_tag(struct page *page, const struct tag *tag) {
    page->n_main += (tag->flags & FLAG_MAIN) != 0;
    page->n_headings += (tag->flags & FLAG_HEADING) != 0;
    switch (tag->kind) {
    case KIND_ANCHOR:
        page->n_anchors++;
        break;
    case KIND_CODE: /* the same in another language, or the next line */
        if (page->n_pre && page->code_end == page->out->size && !at_line_start(page))
            put(page, "\n", 1);
        break;
    case KIND_BREAK:
        if (page->n_pre)
            put(page, "\n", 1);
        else
            want_line(page, page->n_breaks ? 2 : 1);
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
    case KIND_NUMBERED:
        start_list(page, tag->kind == KIND_NUMBERED);
        break;
    case KIND_PRE:
        want_break(page, 2);
        page->n_pre++;
        page->pre_starts = 1;
        break;
    case KIND_LINE:
        want_break(page, 1);
        break;
    default:
        want_break(page, 2);
        break;
    }
}

static int is_inline(const struct tag *tag) {
    return tag->kind == KIND_DROP || tag->kind == KIND_ANCHOR || tag->kind == KIND_CODE;
}

static void on_start(void *context, const xmlChar *name, const xmlChar **attributes) {
    struct page *page = context;
    if (++page->n_open > CAM_HTML_MAX_DEPTH) {
        if (page->status == CAM_OK)
            stop(page,
                 cam_fail(CAM_ERR_DATA, "HTML elements nested deeper than %d", CAM_HTML_MAX_DEPTH));
        return;
    }
    if (page->drop_depth)
        return;
    const struct tag *tag = find_tag(name);
    if (is_dropped(page, tag, attributes)) {
        page->drop_depth = page->n_open;
        if (tag && !is_inline(tag))
            want_break(page, 1);
    } else if (tag) {
        start_tag(page, tag);
    }
}

static void end_tag(struct page *page, const struct tag *tag) {
    page->n_main -= (tag->flags & FLAG_MAIN) != 0 && page->n_main > 0;
    page->n_headings -= (tag->flags & FLAG_HEADING) != 0 && page->n_headings > 0;
    switch (tag->kind) {
    case KIND_ANCHOR:
        page->n_anchors -= page->n_anchors > 0;
        break;
    case KIND_LIST:
    case KIND_NUMBERED:
        page->item = page->fresh = 0;
        page->n_lists -= page->n_lists > 0;
        want_break(page, page->n_lists ? 1 : 2);
        break;
    case KIND_ITEM:
    case KIND_ROW:
        end_line(page);
        break;
    case KIND_CODE:
        page->code_end = page->n_pre ? page->out->size : 0;
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
    default:
        break;
    }
}

static void on_end(void *context, const xmlChar *name) {
    struct page *page = context;
    const struct tag *tag = find_tag(name);
    int depth = page->n_open;
    page->n_open -= depth > 0;
    if (page->drop_depth && depth > page->drop_depth)
        return;
    if (!page->drop_depth) {
        if (tag)
            end_tag(page, tag);
    } else {
        page->drop_depth = 0;
        if (tag && !is_inline(tag))
            want_break(page, 1);
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
    note_words(page, s, n);
}

static int is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

/* The sign behind a heading that links to itself. */
static int is_self_link(const struct page *page, const char *s, size_t n) {
    static const char *const signs[] = {"\xC2\xB6", "#", "\xC2\xA7", "\xF0\x9F\x94\x97"};
    while (n && is_space(s[n - 1]))
        n--;
    while (n && is_space(*s))
        s++, n--;
    for (size_t i = 0; page->n_anchors && i < sizeof signs / sizeof *signs; i++)
        if (n == strlen(signs[i]) && memcmp(s, signs[i], n) == 0)
            return i == 0 || page->n_headings; /* nobody links a pilcrow but for this */
    return 0;
}

static void on_text(void *context, const xmlChar *text, int n_text) {
    struct page *page = context;
    const char *s = (const char *)text;
    size_t n = (size_t)n_text;
    if (page->drop_depth || page->status != CAM_OK || is_self_link(page, s, n))
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
        note_words(page, s + from, at - from);
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

static enum cam_status set_text(const char *html, size_t n_bytes, int is_page,
                                struct cam_buffer *text, struct cam_html_blocks *blocks) {
    pthread_once(&once, xmlInitParser);
    struct page page = {.out = text, .start = text->size, .is_page = is_page, .blocks = blocks};
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

enum cam_status cam_html_to_text(const char *html, size_t n_bytes, struct cam_buffer *text) {
    return set_text(html, n_bytes, 0, text, NULL);
}

enum cam_status cam_html_set(const char *html, size_t n_bytes, struct cam_buffer *text,
                             struct cam_html_blocks *blocks) {
    return set_text(html, n_bytes, 1, text, blocks);
}

enum cam_status cam_html_page_to_text(const char *html, size_t n_bytes, struct cam_buffer *text) {
    size_t before = text->size;
    CAM_TRY(set_text(html, n_bytes, 1, text, NULL));
    return text->size > before ? CAM_OK : set_text(html, n_bytes, 0, text, NULL);
}
