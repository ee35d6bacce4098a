/* The whole feed is parsed before anything is delivered, because entries leave oldest first
 * although feeds list the newest first.  Parsing keeps what was written; markup is converted one
 * entry at a time at delivery.
 *
 * The state is small because feeds are flat: a feed has entries, an entry has fields, and only its
 * own children count (a title inside an <image> is none of the entry's).  While a field is open,
 * everything inside it goes into its buffer. */
#include "feed/feed_xml.h"

#include "feed/feed_xml_internal.h"
#include "feed/markup.h"
#include "feed/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHAT "XML feed"

/* ---- elements ---- */

static const struct {
    enum cam_xml_ns ns;
    enum code code;
    const char *name; /* in lower case */
} elements[] = {
    {CAM_NS_CORE, CODE_ENTRY, "item"},
    {CAM_NS_CORE, CODE_ENTRY, "entry"},
    {CAM_NS_CORE, CODE_TITLE, "title"},
    {CAM_NS_CORE, CODE_LINK, "link"},
    {CAM_NS_CORE, CODE_ENCLOSURE, "enclosure"},
    {CAM_NS_CORE, CODE_DESCRIPTION, "description"},
    {CAM_NS_CORE, CODE_ID, "guid"},
    {CAM_NS_CORE, CODE_ID, "id"},
    {CAM_NS_CORE, CODE_PUBLISHED, "pubdate"},
    {CAM_NS_CORE, CODE_PUBLISHED, "published"},
    {CAM_NS_CORE, CODE_PUBLISHED, "issued"},
    {CAM_NS_CORE, CODE_UPDATED, "updated"},
    {CAM_NS_CORE, CODE_UPDATED, "modified"},
    {CAM_NS_CORE, CODE_CREATED, "created"},
    {CAM_NS_CORE, CODE_CONTENT, "content"},
    {CAM_NS_CORE, CODE_SUMMARY, "summary"},
    {CAM_NS_CORE, CODE_SUMMARY, "abstract"},
    {CAM_NS_CORE, CODE_AUTHOR, "author"},
    {CAM_NS_CORE, CODE_AUTHOR, "managingeditor"},
    {CAM_NS_CORE, CODE_CATEGORY, "category"},
    {CAM_NS_CORE, CODE_LANGUAGE, "language"},
    {CAM_NS_CORE, CODE_SOURCE, "source"},
    {CAM_NS_CORE, CODE_BODY, "body"},
    {CAM_NS_CORE, CODE_ENCODED, "fullitem"},
    {CAM_NS_CORE, CODE_FEED, "channel"},
    {CAM_NS_CORE, CODE_FEED, "feed"},
    {CAM_NS_CORE, CODE_ROOT, "rss"},
    {CAM_NS_CORE, CODE_ROOT, "rdf"},
    {CAM_NS_RDF, CODE_ROOT, "rdf"},
    {CAM_NS_CONTENT, CODE_ENCODED, "encoded"},
    {CAM_NS_XHTML, CODE_BODY, "body"},
    {CAM_NS_DC, CODE_CREATOR, "creator"},
    {CAM_NS_DC, CODE_CREATOR, "author"},
    {CAM_NS_DC, CODE_DATE, "date"},
    {CAM_NS_DC, CODE_OTHER_TITLE, "title"},
    {CAM_NS_DC, CODE_OTHER_TEXT, "description"},
    {CAM_NS_DC, CODE_CATEGORY, "subject"},
    {CAM_NS_DC, CODE_LANGUAGE, "language"},
    {CAM_NS_DC, CODE_IDENTIFIER, "identifier"},
    {CAM_NS_DCTERMS, CODE_PUBLISHED, "issued"},
    {CAM_NS_DCTERMS, CODE_UPDATED, "modified"},
    {CAM_NS_DCTERMS, CODE_CREATED, "created"},
    {CAM_NS_ITUNES, CODE_OTHER_TEXT, "summary"},
    {CAM_NS_ITUNES, CODE_CREATOR, "author"},
    {CAM_NS_MEDIA, CODE_MEDIA_TITLE, "title"},
    {CAM_NS_MEDIA, CODE_MEDIA_TEXT, "description"},
};

static enum code code_of(const struct cam_xml_element *e) {
    if (e->ns == CAM_NS_OTHER)
        return CODE_NONE;
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (elements[i].ns == e->ns && strcasecmp(elements[i].name, e->local) == 0)
            return elements[i].code;
    return CODE_NONE;
}

/* ---- entries ---- */

static struct cam_xml_entry *current(struct cam_xml_reader *r) {
    return r->entry_depth ? &r->entries[r->n_entries - 1] : NULL;
}

/* A field went over its limit: its entry is lost, the rest of the feed is not. */
static enum cam_status spoil(struct cam_xml_reader *r, enum cam_status status) {
    struct cam_xml_entry *entry = current(r);
    if (status != CAM_ERR_DATA)
        return status;
    if (!entry || entry->why)
        return CAM_OK;
    entry->why = strdup(cam_message());
    return entry->why ? CAM_OK : cam_fail(CAM_ERR_OS, "out of memory for a feed entry");
}

static enum cam_status set(struct cam_buffer *field, const char *value, size_t n) {
    cam_buffer_clear(field);
    return cam_buffer_append(field, value, n);
}

static enum cam_status set_once(struct cam_xml_reader *r, enum cam_field field, const char *value) {
    struct cam_buffer *buffer = &current(r)->field[field];
    if (!value || !*value || buffer->size)
        return CAM_OK;
    return spoil(r, cam_buffer_append_text(buffer, value));
}

/* ---- links, dates, ids ---- */

static enum link_rank rank_of_link(const struct cam_xml_element *e) {
    const char *rel = cam_xml_attribute(e, "rel"), *type = cam_xml_attribute(e, "type");
    if (rel && strcasecmp(rel, "enclosure") == 0)
        return LINK_ENCLOSURE;
    if (rel && *rel && strcasecmp(rel, "alternate") != 0 &&
        strcasecmp(rel, "http://www.iana.org/assignments/relation/alternate") != 0)
        return LINK_NONE;
    return !type || !*type || strcasestr(type, "html") ? LINK_PAGE : LINK_OTHER;
}

static enum cam_status set_link(struct cam_xml_reader *r, enum link_rank rank, const char *href,
                                size_t n) {
    struct cam_xml_entry *entry = current(r);
    while (n && isspace((unsigned char)href[n - 1]))
        n--;
    while (n && isspace((unsigned char)*href))
        href++, n--;
    /* Of two alike the last, but in Atom, which puts the best first, and of enclosures. */
    int first_counts = r->is_atom || rank == LINK_ENCLOSURE;
    if (!n || rank < entry->link_rank || (first_counts && rank == entry->link_rank))
        return CAM_OK;
    struct cam_buffer *url = &entry->field[CAM_FIELD_URL];
    cam_buffer_clear(url);
    entry->link_rank = rank;
    return spoil(r, cam_url_resolve(cam_xml_base(r->xml), href, n, url));
}

static enum cam_status set_date(struct cam_xml_reader *r, enum cam_field field, int *rank,
                                int new_rank) {
    if (cam_xml_is_blank(&r->value) || new_rank < *rank)
        return CAM_OK;
    *rank = new_rank;
    return spoil(r, set(&current(r)->field[field], r->value.data, r->value.size));
}

static enum cam_status close_date(struct cam_xml_reader *r) {
    struct cam_xml_entry *entry = current(r);
    int published = r->code == CODE_PUBLISHED ? 3 : r->code == CODE_DATE ? 2 : 1;
    int updated = r->code == CODE_UPDATED ? 2 : 1;
    if (r->code != CODE_UPDATED)
        CAM_TRY(set_date(r, CAM_FIELD_PUBLISHED, &entry->published_rank, published));
    if (r->code == CODE_UPDATED || r->code == CODE_DATE)
        CAM_TRY(set_date(r, CAM_FIELD_UPDATED, &entry->updated_rank, updated));
    return CAM_OK;
}

static enum cam_status set_id(struct cam_xml_reader *r, int rank, const char *id, size_t n,
                              int resolve) {
    struct cam_xml_entry *entry = current(r);
    struct cam_buffer *field = &entry->field[CAM_FIELD_ID];
    if (rank <= entry->id_rank || n == 0)
        return CAM_OK;
    entry->id_rank = rank;
    cam_buffer_clear(field);
    /* By the address it was got from an id would change with it; by what the feed says, never. */
    const char *base = cam_xml_base(r->xml);
    if (resolve && base != r->input->base && !cam_url_has_scheme(id, n))
        return spoil(r, cam_url_resolve(base, id, n, field));
    return spoil(r, cam_buffer_append(field, id, n));
}

/* ---- opening fields ---- */

/* What type="..." and Atom 0.3's mode="..." say. */
static enum kind kind_of(const struct cam_xml_element *e, enum kind otherwise, int *is_base64) {
    const char *type = cam_xml_attribute(e, "type"), *mode = cam_xml_attribute(e, "mode");
    size_t n = type ? strlen(type) : 0;
    *is_base64 = mode && strcasecmp(mode, "base64") == 0;
    if (n == 0)
        return mode && strcasecmp(mode, "escaped") == 0 ? KIND_GUESS : otherwise;
    if (strcasecmp(type, "text") == 0 || strcasecmp(type, "text/plain") == 0 ||
        strcasecmp(type, "plain") == 0)
        return otherwise == KIND_GUESS ? KIND_GUESS : KIND_TEXT;
    if (strcasecmp(type, "html") == 0 || strcasecmp(type, "text/html") == 0)
        return KIND_HTML;
    if (mode && strcasecmp(mode, "escaped") == 0)
        return KIND_HTML;
    if (strcasecmp(type, "xhtml") == 0 || strcasecmp(type, "application/xhtml+xml") == 0 ||
        strcasecmp(type, "text/xhtml") == 0)
        return *is_base64 ? KIND_HTML : KIND_XHTML;
    if ((n > 4 && strcasecmp(type + n - 4, "/xml") == 0) ||
        (n > 4 && strcasecmp(type + n - 4, "+xml") == 0) || strncasecmp(type, "text/", 5) == 0)
        return otherwise == KIND_GUESS ? KIND_GUESS : KIND_TEXT;
    if (strncasecmp(type, "image/", 6) == 0 || strncasecmp(type, "audio/", 6) == 0 ||
        strncasecmp(type, "video/", 6) == 0)
        return KIND_NONE;
    *is_base64 |= strchr(type, '/') != NULL; /* by RFC 4287; what is not base64 is text after all */
    return KIND_GUESS;
}

static void open_field(struct cam_xml_reader *r, enum code code) {
    r->code = code;
    r->field_depth = r->depth;
    r->part = NULL;
    r->div_depth = 0;
    cam_buffer_clear(&r->value);
}

/* Opens PART for what comes next; one that has text already keeps it. */
static void open_part(struct cam_xml_reader *r, enum code code, struct cam_xml_part *part,
                      const struct cam_xml_element *e, enum kind otherwise) {
    open_field(r, code);
    if (!cam_xml_is_blank(&part->body))
        return;
    cam_buffer_clear(&part->body);
    part->kind = kind_of(e, otherwise, &part->is_base64);
    part->base = cam_xml_base(r->xml);
    part->language = cam_xml_language(r->xml);
    if (cam_xml_attribute(e, "src"))
        part->kind = KIND_NONE; /* the content is elsewhere, and we do not go there */
    if (part->kind != KIND_NONE)
        r->part = part;
}

static void open_person(struct cam_xml_reader *r, enum code code) {
    open_field(r, code);
    r->person_part = PERSON_TEXT;
    for (int i = 0; i < N_PERSON_PARTS; i++)
        cam_buffer_clear(&r->person[i]);
}

static enum cam_status add_entry(struct cam_xml_reader *r) {
    if (r->n_entries >= r->limits->max_entries)
        return cam_fail(CAM_ERR_DATA, WHAT ": more entries than the limit of %zu",
                        r->limits->max_entries);
    if (r->n_entries == r->capacity) {
        size_t capacity = r->capacity ? r->capacity * 2 : 16;
        struct cam_xml_entry *entries = realloc(r->entries, capacity * sizeof *entries);
        if (!entries)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu feed entries", capacity);
        r->entries = entries;
        r->capacity = capacity;
    }
    cam_xml_entry_init(&r->entries[r->n_entries], r->limits, r->n_entries);
    r->n_entries++;
    r->entry_depth = r->depth;
    return CAM_OK;
}

static enum cam_status start_entry(struct cam_xml_reader *r, const struct cam_xml_element *e) {
    CAM_TRY(add_entry(r));
    current(r)->language = cam_xml_language(r->xml);
    const char *about = cam_xml_attribute_ns(r->xml, e, CAM_NS_RDF, "about");
    const char *href = cam_xml_attribute(e, "href"), *lastmod = cam_xml_attribute(e, "lastmod");
    if (about)
        CAM_TRY(set_id(r, 2, about, strlen(about), 0));
    CAM_TRY(set_once(r, CAM_FIELD_UPDATED, lastmod)); /* the last two are CDF's */
    return href ? set_link(r, LINK_OTHER, href, strlen(href)) : CAM_OK;
}

static enum cam_status start_link(struct cam_xml_reader *r, const struct cam_xml_element *e) {
    const char *href = cam_xml_attribute(e, "href");
    enum link_rank rank = rank_of_link(e);
    if (href && !*href && cam_xml_base(r->xml) != r->input->base)
        href = cam_xml_base(r->xml); /* RFC 3986, section 5.2.2: what xml:base says, itself */
    if (href)
        return rank ? set_link(r, rank, href, strlen(href)) : CAM_OK;
    open_field(r, rank ? CODE_LINK : CODE_NONE);
    r->link_rank = rank;
    return CAM_OK;
}

static enum cam_status start_enclosure(struct cam_xml_reader *r, const struct cam_xml_element *e) {
    const char *url = cam_xml_attribute(e, "url");
    return url ? set_link(r, LINK_ENCLOSURE, url, strlen(url)) : CAM_OK;
}

static enum cam_status start_category(struct cam_xml_reader *r, const struct cam_xml_element *e) {
    const char *term = cam_xml_attribute(e, "term");
    if (!term)
        open_field(r, CODE_CATEGORY);
    return set_once(r, CAM_FIELD_DOMAIN, term);
}

static enum cam_status start_child(struct cam_xml_reader *r, const struct cam_xml_element *e,
                                   enum code code) {
    struct cam_xml_entry *entry = current(r);
    enum kind otherwise = r->is_atom ? KIND_TEXT : KIND_GUESS;
    const char *permalink;
    switch (code) {
    case CODE_ID:
        permalink = cam_xml_attribute(e, "ispermalink");
        entry->is_no_permalink = permalink && strcasecmp(permalink, "false") == 0;
        open_field(r, code);
        return CAM_OK;
    case CODE_LINK:
        return start_link(r, e);
    case CODE_ENCLOSURE:
        return start_enclosure(r, e);
    case CODE_CATEGORY:
        return start_category(r, e);
    case CODE_SOURCE:
        r->source_depth = r->depth;
        return CAM_OK;
    case CODE_TITLE:
        open_part(r, code, &entry->part[PART_TITLE], e, otherwise);
        return CAM_OK;
    case CODE_OTHER_TITLE:
        open_part(r, code, &entry->part[PART_OTHER_TITLE], e, otherwise);
        return CAM_OK;
    case CODE_CONTENT:
        open_part(r, code, &entry->part[PART_CONTENT], e, otherwise);
        return CAM_OK;
    case CODE_ENCODED:
        open_part(r, code, &entry->part[PART_CONTENT], e, KIND_HTML);
        return CAM_OK;
    case CODE_BODY:
        open_part(r, code, &entry->part[PART_CONTENT], e, KIND_XHTML);
        return CAM_OK;
    case CODE_DESCRIPTION:
        open_part(r, code, &entry->part[PART_DESCRIPTION], e, KIND_GUESS);
        return CAM_OK;
    case CODE_SUMMARY:
        open_part(r, code, &entry->part[PART_SUMMARY], e, otherwise);
        return CAM_OK;
    case CODE_OTHER_TEXT:
        open_part(r, code, &entry->part[PART_OTHER], e, KIND_GUESS);
        return CAM_OK;
    case CODE_AUTHOR:
    case CODE_CREATOR:
        open_person(r, code);
        return CAM_OK;
    case CODE_IDENTIFIER:
    case CODE_LANGUAGE:
    case CODE_PUBLISHED:
    case CODE_UPDATED:
    case CODE_DATE:
    case CODE_CREATED:
        open_field(r, code);
        return CAM_OK;
    default:
        return CAM_OK;
    }
}

static enum cam_status start_in_entry(struct cam_xml_reader *r, const struct cam_xml_element *e,
                                      enum code code) {
    struct cam_xml_entry *entry = current(r);
    if (r->source_depth) {
        if (e->depth == r->source_depth + 1 && code == CODE_AUTHOR)
            open_person(r, CODE_AUTHOR);
        return CAM_OK;
    }
    if (code == CODE_MEDIA_TEXT)
        open_part(r, code, &entry->part[PART_OTHER], e, KIND_GUESS);
    else if (code == CODE_MEDIA_TITLE)
        open_part(r, code, &entry->part[PART_OTHER_TITLE], e, KIND_GUESS);
    else if (e->depth == r->entry_depth + 1)
        return start_child(r, e, code);
    return CAM_OK;
}

static enum cam_status start_site(struct cam_xml_reader *r, const struct cam_xml_element *e) {
    const char *href = cam_xml_attribute(e, "href"), *rel = cam_xml_attribute(e, "rel");
    if (!href)
        open_field(r, CODE_LINK);
    else if (rank_of_link(e) == LINK_PAGE || (!r->site.size && rel && strcasecmp(rel, "self") == 0))
        return spoil(r, set(&r->site, href, strlen(href)));
    return CAM_OK;
}

static enum cam_status start_in_feed(struct cam_xml_reader *r, const struct cam_xml_element *e,
                                     enum code code) {
    if (code == CODE_ENTRY)
        return start_entry(r, e);
    if (code == CODE_FEED)
        r->feed_depth = e->depth;
    else if (e->depth != r->feed_depth + 1 || !r->feed_depth)
        return CAM_OK;
    else if (code == CODE_TITLE)
        open_part(r, code, &r->title, e, r->is_atom ? KIND_TEXT : KIND_GUESS);
    else if (code == CODE_LINK)
        return start_site(r, e);
    else if (code == CODE_LANGUAGE)
        open_field(r, code);
    else if (code == CODE_AUTHOR || code == CODE_CREATOR)
        open_person(r, code);
    return CAM_OK;
}

static enum cam_status start_root(struct cam_xml_reader *r, const struct cam_xml_element *e,
                                  enum code code) {
    r->feed_language = cam_xml_language(r->xml);
    r->is_atom = strcasecmp(e->local, "feed") == 0 || strcasecmp(e->local, "entry") == 0;
    if (code == CODE_ENTRY) /* an entry document, RFC 4287 section 2 */
        return start_entry(r, e);
    if (code == CODE_FEED)
        r->feed_depth = e->depth;
    else if (strcasecmp(e->local, "rss") != 0 && strcasecmp(e->local, "rdf") != 0)
        return cam_fail(CAM_ERR_DATA,
                        WHAT ": the root element is <%.64s>; RSS begins with <rss> or "
                             "<rdf:RDF>, Atom with <feed>",
                        e->local);
    return CAM_OK;
}

/* ---- inside a field ---- */

/* The text so far becomes markup, as elements follow. */
static enum cam_status turn_into_markup(struct cam_xml_reader *r, struct cam_xml_part *part) {
    struct cam_buffer text = part->body;
    int keep = part->kind == KIND_HTML || (text.size && memchr(text.data, '<', text.size));
    part->kind = KIND_XHTML;
    if (keep || text.size == 0)
        return CAM_OK;
    cam_buffer_init(&part->body, text.limit);
    enum cam_status status = cam_markup_text(&part->body, text.data, text.size);
    cam_buffer_release(&text);
    return spoil(r, status);
}

static enum cam_status start_in_field(struct cam_xml_reader *r, const struct cam_xml_element *e) {
    struct cam_xml_part *part = r->part;
    if (r->code == CODE_AUTHOR && e->depth == r->field_depth + 1) {
        r->person_part = strcasecmp(e->local, "name") == 0    ? PERSON_NAME
                         : strcasecmp(e->local, "email") == 0 ? PERSON_EMAIL
                         : strcasecmp(e->local, "uri") == 0 || strcasecmp(e->local, "url") == 0 ||
                                 strcasecmp(e->local, "homepage") == 0
                             ? PERSON_URI
                             : N_PERSON_PARTS;
        return CAM_OK;
    }
    if (!part || (current(r) && current(r)->why))
        return CAM_OK;
    int is_div = strcasecmp(e->local, "div") == 0;
    if (is_div && !r->div_depth && e->depth == r->field_depth + 1 &&
        cam_xml_is_blank(&part->body) &&
        part->kind != KIND_TEXT) { /* wraps XHTML, and with some tools what is escaped as well */
        cam_buffer_clear(&part->body);
        r->div_depth = e->depth;
        return CAM_OK;
    }
    if (part->kind != KIND_XHTML)
        CAM_TRY(turn_into_markup(r, part));
    return spoil(r,
                 cam_markup_start_tag(&part->body, e->local, e->attributes, cam_xml_base(r->xml)));
}

static enum cam_status end_in_field(struct cam_xml_reader *r, const struct cam_xml_element *e) {
    if (r->code == CODE_AUTHOR && e->depth == r->field_depth + 1)
        r->person_part = PERSON_TEXT;
    if (!r->part || (current(r) && current(r)->why))
        return CAM_OK;
    if (e->depth == r->div_depth) {
        r->div_depth = r->depth + 1000000; /* a second <div> is part of it */
        return CAM_OK;
    }
    return spoil(r, cam_markup_end_tag(&r->part->body, e->local));
}

static enum cam_status on_text(void *context, struct cam_xml *xml, const char *text,
                               size_t n_bytes) {
    struct cam_xml_reader *r = context;
    (void)xml;
    if (r->code == CODE_NONE || (current(r) && current(r)->why))
        return CAM_OK;
    if (r->part)
        return spoil(r, r->part->kind == KIND_XHTML
                            ? cam_markup_text(&r->part->body, text, n_bytes)
                            : cam_buffer_append(&r->part->body, text, n_bytes));
    if (r->code == CODE_AUTHOR || r->code == CODE_CREATOR)
        return r->person_part == N_PERSON_PARTS
                   ? CAM_OK
                   : spoil(r, cam_buffer_append(&r->person[r->person_part], text, n_bytes));
    return r->depth == r->field_depth ? spoil(r, cam_buffer_append(&r->value, text, n_bytes))
                                      : CAM_OK;
}

/* ---- closing fields ---- */

static enum cam_status close_person(struct cam_xml_reader *r) {
    struct cam_xml_entry *entry = current(r);
    struct cam_buffer *author = !entry            ? &r->author
                                : r->source_depth ? &entry->source_author
                                                  : &entry->field[CAM_FIELD_AUTHOR];
    static const enum person_part order[] = {PERSON_NAME, PERSON_TEXT, PERSON_EMAIL, PERSON_URI};
    const struct cam_buffer *best = NULL;
    for (size_t i = 0; i < N_PERSON_PARTS && !best; i++)
        if (!cam_xml_is_blank(&r->person[order[i]]))
            best = &r->person[order[i]];
    if (!best)
        return CAM_OK;
    if (author->size && (!entry || r->source_depth || entry->author_code != r->code))
        return CAM_OK; /* one voice is enough */
    if (entry && !r->source_depth)
        entry->author_code = r->code;
    if (author->size)
        CAM_TRY(spoil(r, cam_buffer_append(author, ", ", 2)));
    return spoil(r, cam_buffer_append(author, best->data, best->size));
}

static enum cam_status close_in_feed(struct cam_xml_reader *r, const char *text, size_t n) {
    if (r->code == CODE_LANGUAGE && n)
        return spoil(r, set(&r->language, r->value.data, r->value.size));
    if (r->code == CODE_LINK && n)
        return spoil(r, set(&r->site, text, n));
    if (r->code == CODE_TITLE && r->title_only && !cam_xml_is_blank(&r->title.body))
        return CAM_STOPPED;
    return CAM_OK;
}

static void trim(struct cam_buffer *value, const char **text, size_t *n) {
    *text = value->data ? value->data : "";
    *n = value->size;
    while (*n && isspace((unsigned char)(*text)[*n - 1]))
        --*n;
    while (*n && isspace((unsigned char)**text))
        ++*text, --*n;
}

static enum cam_status close_field(struct cam_xml_reader *r) {
    const char *text;
    size_t n;
    trim(&r->value, &text, &n);
    if (r->code == CODE_AUTHOR || r->code == CODE_CREATOR)
        return close_person(r);
    if (!current(r))
        return close_in_feed(r, text, n);
    switch (r->code) {
    case CODE_ID:
        return set_id(r, 3, text, n, r->is_atom);
    case CODE_IDENTIFIER:
        return set_id(r, 1, text, n, 0);
    case CODE_LINK:
        return set_link(r, r->link_rank, text, n);
    case CODE_CATEGORY:
        return n && current(r)->field[CAM_FIELD_DOMAIN].size == 0
                   ? spoil(r, set(&current(r)->field[CAM_FIELD_DOMAIN], text, n))
                   : CAM_OK;
    case CODE_LANGUAGE:
        return n ? spoil(r, set(&current(r)->field[CAM_FIELD_LANGUAGE], text, n)) : CAM_OK;
    case CODE_PUBLISHED:
    case CODE_UPDATED:
    case CODE_DATE:
    case CODE_CREATED:
        return close_date(r);
    default:
        return CAM_OK;
    }
}

static enum cam_status on_start(void *context, struct cam_xml *xml,
                                const struct cam_xml_element *e) {
    struct cam_xml_reader *r = context;
    r->depth = e->depth;
    r->xml = xml;
    if (r->code != CODE_NONE)
        return start_in_field(r, e);
    enum code code = code_of(e);
    if (e->depth == 1)
        return start_root(r, e, code);
    return r->entry_depth ? start_in_entry(r, e, code) : start_in_feed(r, e, code);
}

static enum cam_status on_end(void *context, struct cam_xml *xml, const struct cam_xml_element *e) {
    struct cam_xml_reader *r = context;
    enum cam_status status = CAM_OK;
    (void)xml;
    if (r->code != CODE_NONE && e->depth == r->field_depth) {
        status = close_field(r);
        r->code = CODE_NONE;
        r->part = NULL;
    } else if (r->code != CODE_NONE) {
        status = end_in_field(r, e);
    } else if (e->depth == r->source_depth) {
        r->source_depth = 0;
    } else if (e->depth == r->entry_depth) {
        r->entry_depth = 0;
    }
    r->depth = e->depth - 1;
    return status;
}

/* ---- the whole feed ---- */

static void reader_init(struct cam_xml_reader *r) {
    cam_xml_part_init(&r->title, r->limits->max_field_bytes);
    cam_buffer_init(&r->author, r->limits->max_field_bytes);
    cam_buffer_init(&r->language, r->limits->max_field_bytes);
    cam_buffer_init(&r->site, r->limits->max_field_bytes);
    cam_buffer_init(&r->value, r->limits->max_field_bytes);
    for (int i = 0; i < N_PERSON_PARTS; i++)
        cam_buffer_init(&r->person[i], r->limits->max_field_bytes);
}

static void reader_release(struct cam_xml_reader *r) {
    for (size_t i = 0; i < r->n_entries; i++)
        cam_xml_entry_release(&r->entries[i]);
    free(r->entries);
    cam_buffer_release(&r->title.body);
    cam_buffer_release(&r->author);
    cam_buffer_release(&r->language);
    cam_buffer_release(&r->site);
    cam_buffer_release(&r->value);
    for (int i = 0; i < N_PERSON_PARTS; i++)
        cam_buffer_release(&r->person[i]);
}

static void start_again(void *context) {
    struct cam_xml_reader *r = context;
    reader_release(r);
    *r = (struct cam_xml_reader){
        .limits = r->limits, .input = r->input, .title_only = r->title_only, .feed_language = ""};
    reader_init(r);
}

static const struct cam_xml_handler handler = {on_start, on_end, on_text, start_again};

/* Fails with WHY after some entries were kept. */
static enum cam_status broken_after(size_t n_entries) {
    char why[512];
    snprintf(why, sizeof why, "%s", cam_message());
    return cam_fail(CAM_ERR_DATA, "%s; the %zu %s before it %s read", why, n_entries,
                    n_entries == 1 ? "entry" : "entries", n_entries == 1 ? "was" : "were");
}

enum cam_status cam_feed_xml_read(const struct cam_feed_input *input,
                                  const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    struct cam_xml_reader r = {.limits = limits, .input = input};
    struct cam_xml *xml = NULL;
    enum cam_xml_end end = CAM_XML_CUT;
    CAM_TRY(cam_xml_new(WHAT, limits, input->base, input->language, &handler, &r, &xml));
    start_again(&r);
    enum cam_status status = cam_xml_parse(xml, input->bytes, input->n_bytes, &end);
    if (status == CAM_OK) {
        status = cam_xml_entries_deliver(&r, r.n_entries, sink);
    } else if (status == CAM_ERR_DATA && end == CAM_XML_BROKEN) {
        size_t n_whole = r.n_entries - (r.entry_depth > 0);
        status = n_whole ? broken_after(n_whole) : status;
        char why[1024];
        snprintf(why, sizeof why, "%s", cam_message());
        enum cam_status delivered = cam_xml_entries_deliver(&r, n_whole, sink);
        status = delivered == CAM_OK ? cam_fail(status, "%s", why) : delivered;
    }
    reader_release(&r);
    cam_xml_free(xml);
    return status;
}

enum cam_status cam_feed_xml_title(const struct cam_feed_input *input,
                                   const struct cam_feed_limits *limits, struct cam_buffer *title) {
    struct cam_xml_reader r = {.limits = limits, .input = input, .title_only = 1};
    struct cam_xml *xml = NULL;
    enum cam_xml_end end = CAM_XML_CUT;
    CAM_TRY(cam_xml_new(WHAT, limits, input->base, input->language, &handler, &r, &xml));
    start_again(&r);
    enum cam_status status = cam_xml_parse(xml, input->bytes, input->n_bytes, &end);
    if (status == CAM_OK && !cam_xml_is_blank(&r.title.body))
        status = cam_xml_feed_title(&r, title);
    reader_release(&r);
    cam_xml_free(xml);
    return status;
}

/* The end of what stands at AT before the root element (declaration, comment, DOCTYPE), or N. */
static size_t skip_prolog(const char *text, size_t n, size_t at) {
    const char *end = ">", *found;
    if (text[at + 1] == '?') {
        end = "?>";
    } else if (n - at >= 4 && memcmp(text + at, "<!--", 4) == 0) {
        end = "-->";
    } else if ((found = memchr(text + at, '>', n - at)) != NULL &&
               memchr(text + at, '[', (size_t)(found - text) - at)) {
        end = "]>"; /* a DOCTYPE with declarations: the parser will refuse it */
    }
    found = memmem(text + at, n - at, end, strlen(end));
    return found ? (size_t)(found - text) + strlen(end) : n;
}

void cam_feed_xml_root(const char *text, size_t n_text, char root[CAM_XML_ROOT_BYTES]) {
    size_t at = 0, n = n_text < 16384 ? n_text : 16384, from, length = 0;
    *root = '\0';
    for (;;) {
        while (at < n && isspace((unsigned char)text[at]))
            at++;
        if (n - at < 2 || text[at] != '<')
            return;
        if (text[at + 1] != '?' && text[at + 1] != '!')
            break;
        at = skip_prolog(text, n, at);
    }
    for (from = ++at; at < n && text[at] && !strchr(" \t\r\n/>", text[at]); at++)
        if (text[at] == ':')
            from = at + 1;
    for (; from < at && length + 1 < CAM_XML_ROOT_BYTES; from++)
        root[length++] = (char)tolower((unsigned char)text[from]);
    root[length] = '\0';
}
