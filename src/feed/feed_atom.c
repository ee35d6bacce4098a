/* Atom 1.0 (RFC 4287) through expat.
 *
 * The whole feed is parsed before anything is delivered: a feed cut in the middle must deliver
 * nothing, and entries leave oldest first although feeds list the newest first.  Parsing keeps the
 * raw content only; markup is converted one entry at a time at delivery.
 *
 * The state is small because Atom is flat: a feed (depth 1) has entries (2), an entry has fields
 * (3).  While a field is open, everything inside it goes into its buffer.  Unknown elements are
 * passed over with all they hold. */
#include "feed/draft.h"
#include "feed/feed_formats.h"
#include "feed/html.h"
#include "feed/markup.h"
#include "feed/xml_encoding.h"
#include "text/clean.h"

#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATOM     "http://www.w3.org/2005/Atom"
#define XML_LANG "http://www.w3.org/XML/1998/namespace lang"

enum kind { KIND_NONE, KIND_TEXT, KIND_HTML, KIND_XHTML };

struct content {
    struct cam_buffer body;
    struct cam_buffer language; /* its own xml:lang */
    enum kind kind;
};

struct entry {
    struct cam_buffer field[CAM_N_FIELDS];
    struct content content, summary;
    int64_t date_ms; /* what it is ordered by */
    int has_date;
    size_t i_entry; /* place in the file, from 0 */
    char *why;      /* owned: the reason if it cannot become a document */
};

struct atom {
    XML_Parser parser;
    const struct cam_feed_limits *limits;
    enum cam_status status; /* why the parser was stopped */
    int title_only;
    int done; /* title_only: stopped because the title is complete */
    size_t depth;
    struct cam_buffer title, author, language; /* of the feed */
    struct entry *entries;
    size_t n_entries, capacity;
    size_t entry_depth;  /* depth of <entry> (2, or 1 where it is the root); 0 outside entries */
    size_t author_depth; /* depth of the open <author>, or 0 */
    struct cam_buffer *into; /* the open field, or NULL */
    size_t into_depth;
    enum kind into_kind;
    struct cam_buffer ignored; /* where a field goes that the entry already has */
};

static struct entry *current(struct atom *atom) {
    return atom->entry_depth ? &atom->entries[atom->n_entries - 1] : NULL;
}

static void stop(struct atom *atom, enum cam_status status) {
    if (atom->status != CAM_OK || atom->done)
        return;
    atom->status = status;
    XML_StopParser(atom->parser, XML_FALSE);
}

/* A field went over its limit: its entry is lost, the rest of the feed is not. */
static void spoil(struct atom *atom, enum cam_status status) {
    struct entry *entry = current(atom);
    if (status == CAM_OK)
        return;
    if (status != CAM_ERR_DATA) {
        stop(atom, status);
        return;
    }
    if (entry && !entry->why) {
        entry->why = strdup(cam_message());
        if (!entry->why)
            stop(atom, cam_fail(CAM_ERR_OS, "out of memory for a feed entry"));
    }
    if (atom->into) {
        cam_buffer_clear(atom->into);
        cam_buffer_init(&atom->ignored, 0);
        atom->into = &atom->ignored;
    }
}

static const char *attribute(const char *const *attributes, const char *name) {
    for (; attributes[0]; attributes += 2)
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    return NULL;
}

static void set_once(struct atom *atom, struct cam_buffer *field, const char *value) {
    if (value && field->size == 0)
        spoil(atom, cam_buffer_append_text(field, value));
}

/* ---- entries ---- */

static void entry_init(struct entry *entry, const struct cam_feed_limits *limits, size_t i_entry) {
    *entry = (struct entry){.i_entry = i_entry};
    for (int i = 0; i < CAM_N_FIELDS; i++)
        cam_buffer_init(&entry->field[i], limits->max_field_bytes);
    cam_buffer_init(&entry->content.body, limits->max_document_bytes);
    cam_buffer_init(&entry->summary.body, limits->max_document_bytes);
    cam_buffer_init(&entry->content.language, limits->max_field_bytes);
    cam_buffer_init(&entry->summary.language, limits->max_field_bytes);
}

static void entry_release(struct entry *entry) {
    for (int i = 0; i < CAM_N_FIELDS; i++)
        cam_buffer_release(&entry->field[i]);
    cam_buffer_release(&entry->content.body);
    cam_buffer_release(&entry->summary.body);
    cam_buffer_release(&entry->content.language);
    cam_buffer_release(&entry->summary.language);
    free(entry->why);
}

static enum cam_status add_entry(struct atom *atom) {
    if (atom->n_entries >= atom->limits->max_entries)
        return cam_fail(CAM_ERR_DATA, "Atom: more entries than the limit of %zu",
                        atom->limits->max_entries);
    if (atom->n_entries == atom->capacity) {
        size_t capacity = atom->capacity ? atom->capacity * 2 : 16;
        struct entry *entries = realloc(atom->entries, capacity * sizeof *entries);
        if (!entries)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu feed entries", capacity);
        atom->entries = entries;
        atom->capacity = capacity;
    }
    entry_init(&atom->entries[atom->n_entries], atom->limits, atom->n_entries);
    atom->n_entries++;
    atom->entry_depth = atom->depth;
    return CAM_OK;
}

static void finish_entry(struct atom *atom) {
    struct entry *entry = current(atom);
    const struct cam_buffer *published = &entry->field[CAM_FIELD_PUBLISHED];
    const struct cam_buffer *updated = &entry->field[CAM_FIELD_UPDATED];
    entry->has_date =
        cam_draft_parse_date(published->data, published->size, &entry->date_ms) == 0 ||
        cam_draft_parse_date(updated->data, updated->size, &entry->date_ms) == 0;
    atom->entry_depth = atom->author_depth = 0;
}

/* ---- elements ---- */

/* What type="..." of a text construct or of content says; KIND_NONE for what is no text. */
static enum kind kind_of(const char *const *attributes) {
    const char *type = attribute(attributes, "type");
    size_t n = type ? strlen(type) : 0;
    if (attribute(attributes, "src"))
        return KIND_NONE; /* the content is elsewhere, and we do not go there */
    if (!type || strcmp(type, "text") == 0)
        return KIND_TEXT;
    if (strcmp(type, "html") == 0 || strcmp(type, "text/html") == 0)
        return KIND_HTML;
    if (strcmp(type, "xhtml") == 0 || strcmp(type, "application/xhtml+xml") == 0)
        return KIND_XHTML;
    if (strncmp(type, "text/", 5) == 0 || (n > 4 && strcmp(type + n - 4, "/xml") == 0) ||
        (n > 4 && strcmp(type + n - 4, "+xml") == 0))
        return KIND_TEXT;
    return KIND_NONE;
}

/* Opens FIELD for what comes next; a field that is already there keeps its first value. */
static void open_field(struct atom *atom, struct cam_buffer *field, enum kind kind) {
    if (field->size || kind == KIND_NONE) {
        cam_buffer_init(&atom->ignored, 0);
        field = &atom->ignored;
    }
    atom->into = field;
    atom->into_depth = atom->depth;
    atom->into_kind = kind;
}

static void open_content(struct atom *atom, struct content *content,
                         const char *const *attributes) {
    if (content->body.size == 0) {
        content->kind = kind_of(attributes);
        set_once(atom, &content->language, attribute(attributes, XML_LANG));
    }
    open_field(atom, &content->body, kind_of(attributes));
}

static void start_in_entry(struct atom *atom, const char *local, const char *const *attributes) {
    struct entry *entry = current(atom);
    if (strcmp(local, "id") == 0) {
        open_field(atom, &entry->field[CAM_FIELD_ID], KIND_TEXT);
    } else if (strcmp(local, "title") == 0) {
        open_field(atom, &entry->field[CAM_FIELD_TITLE], kind_of(attributes));
    } else if (strcmp(local, "published") == 0) {
        open_field(atom, &entry->field[CAM_FIELD_PUBLISHED], KIND_TEXT);
    } else if (strcmp(local, "updated") == 0) {
        open_field(atom, &entry->field[CAM_FIELD_UPDATED], KIND_TEXT);
    } else if (strcmp(local, "content") == 0) {
        open_content(atom, &entry->content, attributes);
    } else if (strcmp(local, "summary") == 0) {
        open_content(atom, &entry->summary, attributes);
    } else if (strcmp(local, "author") == 0) {
        atom->author_depth = atom->depth;
    } else if (strcmp(local, "category") == 0) {
        set_once(atom, &entry->field[CAM_FIELD_DOMAIN], attribute(attributes, "term"));
    } else if (strcmp(local, "link") == 0) {
        const char *rel = attribute(attributes, "rel");
        if (!rel || strcmp(rel, "alternate") == 0)
            set_once(atom, &entry->field[CAM_FIELD_URL], attribute(attributes, "href"));
    }
}

static void start_root(struct atom *atom, const char *name, const char *const *attributes) {
    if (strcmp(name, ATOM " feed") == 0) {
        set_once(atom, &atom->language, attribute(attributes, XML_LANG));
    } else if (strcmp(name, ATOM " entry") == 0) { /* an entry document, RFC 4287 section 2 */
        enum cam_status status = add_entry(atom);
        if (status != CAM_OK)
            stop(atom, status);
        else
            set_once(atom, &current(atom)->field[CAM_FIELD_LANGUAGE],
                     attribute(attributes, XML_LANG));
    } else {
        stop(atom, cam_fail(CAM_ERR_DATA, "Atom: the root element is <%.64s>, not <feed> in %s",
                            cam_markup_local_name(name), ATOM));
    }
}

static void start_in_feed(struct atom *atom, const char *local, const char *const *attributes) {
    if (strcmp(local, "entry") == 0) {
        enum cam_status status = add_entry(atom);
        if (status != CAM_OK)
            stop(atom, status);
        else
            set_once(atom, &current(atom)->field[CAM_FIELD_LANGUAGE],
                     attribute(attributes, XML_LANG));
    } else if (strcmp(local, "title") == 0) {
        open_field(atom, &atom->title, kind_of(attributes));
    } else if (strcmp(local, "author") == 0) {
        atom->author_depth = atom->depth;
    }
}

static size_t count_attributes(const char *const *attributes) {
    size_t n = 0;
    while (attributes[2 * n])
        n++;
    return n;
}

static void XMLCALL on_start(void *context, const char *name, const char **attributes) {
    struct atom *atom = context;
    const char *const *attrs = (const char *const *)attributes;
    if (atom->status != CAM_OK || atom->done)
        return;
    if (++atom->depth > atom->limits->max_depth) {
        stop(atom, cam_fail(CAM_ERR_DATA, "Atom: line %lu: elements nested deeper than %zu",
                            XML_GetCurrentLineNumber(atom->parser), atom->limits->max_depth));
        return;
    }
    if (count_attributes(attrs) > atom->limits->max_attributes) {
        stop(atom, cam_fail(CAM_ERR_DATA, "Atom: line %lu: an element has more than %zu attributes",
                            XML_GetCurrentLineNumber(atom->parser), atom->limits->max_attributes));
        return;
    }
    if (atom->into) { /* the <div> that wraps XHTML is not part of it */
        if (atom->into_kind == KIND_XHTML && atom->depth > atom->into_depth + 1 &&
            atom->into != &atom->ignored)
            spoil(atom, cam_markup_start_tag(atom->into, name, attrs));
        return;
    }
    if (atom->depth == 1) {
        start_root(atom, name, attrs);
        return;
    }
    if (strncmp(name, ATOM " ", sizeof ATOM) != 0)
        return;
    const char *local = name + sizeof ATOM;
    if (atom->author_depth && atom->depth == atom->author_depth + 1) {
        if (strcmp(local, "name") == 0)
            open_field(atom,
                       atom->entry_depth ? &current(atom)->field[CAM_FIELD_AUTHOR] : &atom->author,
                       KIND_TEXT);
    } else if (atom->entry_depth && atom->depth == atom->entry_depth + 1) {
        start_in_entry(atom, local, attrs);
    } else if (!atom->entry_depth && atom->depth == 2) {
        start_in_feed(atom, local, attrs);
    }
}

/* Titles with markup become text as soon as they are complete. */
static void convert_title(struct atom *atom, struct cam_buffer *title) {
    struct cam_buffer text;
    cam_buffer_init(&text, title->limit);
    enum cam_status status = cam_html_to_text(title->data ? title->data : "", title->size, &text);
    if (status == CAM_OK) {
        cam_buffer_clear(title);
        status = cam_buffer_append(title, text.data, text.size);
    }
    cam_buffer_release(&text);
    spoil(atom, status);
}

static void close_field(struct atom *atom) {
    struct cam_buffer *field = atom->into;
    int is_feed_title = field == &atom->title;
    int is_title =
        is_feed_title || (atom->entry_depth && field == &current(atom)->field[CAM_FIELD_TITLE]);
    if (is_title && atom->into_kind != KIND_TEXT)
        convert_title(atom, field);
    atom->into = NULL;
    if (is_feed_title && atom->title_only && atom->status == CAM_OK) {
        atom->done = 1;
        XML_StopParser(atom->parser, XML_FALSE);
    }
}

static void XMLCALL on_end(void *context, const char *name) {
    struct atom *atom = context;
    if (atom->status != CAM_OK || atom->done)
        return;
    if (atom->into && atom->depth == atom->into_depth)
        close_field(atom);
    else if (atom->into && atom->into_kind == KIND_XHTML && atom->depth > atom->into_depth + 1 &&
             atom->into != &atom->ignored)
        spoil(atom, cam_markup_end_tag(atom->into, name));
    else if (atom->author_depth == atom->depth)
        atom->author_depth = 0;
    else if (atom->entry_depth == atom->depth)
        finish_entry(atom);
    atom->depth--;
}

static void XMLCALL on_text(void *context, const char *text, int n_bytes) {
    struct atom *atom = context;
    if (atom->status != CAM_OK || !atom->into || atom->into == &atom->ignored)
        return;
    spoil(atom, atom->into_kind == KIND_XHTML
                    ? cam_markup_text(atom->into, text, (size_t)n_bytes)
                    : cam_buffer_append(atom->into, text, (size_t)n_bytes));
}

static void XMLCALL on_doctype(void *context, const char *name, const char *system_id,
                               const char *public_id, int has_internal_subset) {
    struct atom *atom = context;
    (void)name, (void)system_id, (void)public_id, (void)has_internal_subset;
    /* Expat stops an entity bomb only after megabytes of output (FAULTS F5), and no feed needs
     * one. */
    stop(atom, cam_fail(CAM_ERR_DATA, "Atom: line %lu: DOCTYPE is refused (entities can be bombs)",
                        XML_GetCurrentLineNumber(atom->parser)));
}

/* ---- the whole feed ---- */

static void atom_release(struct atom *atom) {
    for (size_t i = 0; i < atom->n_entries; i++)
        entry_release(&atom->entries[i]);
    free(atom->entries);
    cam_buffer_release(&atom->title);
    cam_buffer_release(&atom->author);
    cam_buffer_release(&atom->language);
    if (atom->parser)
        XML_ParserFree(atom->parser);
}

static enum cam_status parse(struct atom *atom, const char *bytes, size_t n_bytes,
                             const struct cam_feed_limits *limits) {
    atom->limits = limits;
    cam_buffer_init(&atom->title, limits->max_field_bytes);
    cam_buffer_init(&atom->author, limits->max_field_bytes);
    cam_buffer_init(&atom->language, limits->max_field_bytes);
    if (n_bytes > INT_MAX / 2)
        return cam_fail(CAM_ERR_DATA, "Atom: %zu bytes are too many", n_bytes);
    atom->parser = XML_ParserCreateNS(NULL, ' ');
    if (!atom->parser)
        return cam_fail(CAM_ERR_OS, "out of memory for an XML parser");
    XML_SetUserData(atom->parser, atom);
    XML_SetElementHandler(atom->parser, on_start, on_end);
    XML_SetCharacterDataHandler(atom->parser, on_text);
    XML_SetStartDoctypeDeclHandler(atom->parser, on_doctype);
    XML_SetUnknownEncodingHandler(atom->parser, cam_xml_encoding, NULL);
    /* One call for everything: expat rescans an unfinished token with every further piece. */
    enum XML_Status parsed = XML_Parse(atom->parser, bytes, (int)n_bytes, 1);
    if (atom->done)
        return CAM_OK;
    if (atom->status != CAM_OK)
        return atom->status;
    if (parsed != XML_STATUS_OK)
        return cam_fail(CAM_ERR_DATA, "Atom: line %lu, column %lu: %s",
                        XML_GetCurrentLineNumber(atom->parser),
                        XML_GetCurrentColumnNumber(atom->parser) + 1,
                        XML_ErrorString(XML_GetErrorCode(atom->parser)));
    return CAM_OK;
}

static int older_first(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->date_ms != y->date_ms)
        return x->date_ms < y->date_ms ? -1 : 1;
    return x->i_entry > y->i_entry ? -1 : x->i_entry < y->i_entry;
}

/* Oldest first; of equal dates the last in the file first.  An entry without a date counts as old
 * as the dated entry above it (below it, at the top of the file), so it keeps its place. */
static void sort_entries(struct atom *atom) {
    int64_t date_ms = 0;
    for (size_t i = 0; i < atom->n_entries; i++)
        if (atom->entries[i].has_date) {
            date_ms = atom->entries[i].date_ms;
            break;
        }
    for (size_t i = 0; i < atom->n_entries; i++) {
        struct entry *entry = &atom->entries[i];
        if (entry->has_date)
            date_ms = entry->date_ms;
        entry->date_ms = date_ms;
    }
    if (atom->n_entries)
        qsort(atom->entries, atom->n_entries, sizeof *atom->entries, older_first);
}

static int is_blank(const struct cam_buffer *buffer) {
    for (size_t i = 0; i < buffer->size; i++)
        if (!memchr(" \t\r\n", buffer->data[i], 4))
            return 0;
    return 1;
}

static enum cam_status fill(struct cam_draft *draft, const struct atom *atom,
                            const struct entry *entry) {
    if (entry->why)
        return cam_fail(CAM_ERR_DATA, "%s", entry->why);
    for (int i = 0; i < CAM_N_FIELDS; i++)
        if (entry->field[i].size)
            CAM_TRY(cam_draft_set(draft, (enum cam_field)i, entry->field[i].data,
                                  entry->field[i].size));
    if (!entry->field[CAM_FIELD_AUTHOR].size && atom->author.size)
        CAM_TRY(cam_draft_set(draft, CAM_FIELD_AUTHOR, atom->author.data, atom->author.size));
    if (!entry->field[CAM_FIELD_LANGUAGE].size && atom->language.size)
        CAM_TRY(cam_draft_set(draft, CAM_FIELD_LANGUAGE, atom->language.data, atom->language.size));
    const struct content *content =
        is_blank(&entry->content.body) ? &entry->summary : &entry->content;
    if (is_blank(&content->body))
        return CAM_OK; /* a title alone: a document without text, admission decides about it */
    if (content->language.size)
        CAM_TRY(cam_draft_set(draft, CAM_FIELD_LANGUAGE, content->language.data,
                              content->language.size));
    return content->kind == KIND_TEXT
               ? cam_draft_set_text(draft, content->body.data, content->body.size)
               : cam_draft_set_html(draft, content->body.data, content->body.size);
}

static enum cam_status deliver(struct atom *atom, const struct cam_document_sink *sink) {
    struct cam_draft draft;
    enum cam_status status = CAM_OK;
    cam_draft_init(&draft, atom->limits);
    for (size_t i = 0; i < atom->n_entries && status == CAM_OK; i++) {
        char where[32];
        snprintf(where, sizeof where, "entry %zu", atom->entries[i].i_entry + 1);
        cam_draft_clear(&draft);
        status = fill(&draft, atom, &atom->entries[i]);
        status = status == CAM_OK ? cam_draft_deliver(&draft, where, sink)
                                  : cam_draft_reject(status, where, sink);
    }
    cam_draft_release(&draft);
    return status;
}

static enum cam_status read_atom(const char *bytes, size_t n_bytes,
                                 const struct cam_feed_limits *limits,
                                 const struct cam_document_sink *sink) {
    struct atom atom = {0};
    enum cam_status status = parse(&atom, bytes, n_bytes, limits);
    if (status == CAM_OK) {
        sort_entries(&atom);
        status = deliver(&atom, sink);
    }
    atom_release(&atom);
    return status;
}

static enum cam_status read_title(const char *bytes, size_t n_bytes,
                                  const struct cam_feed_limits *limits, struct cam_buffer *title) {
    struct atom atom = {.title_only = 1};
    enum cam_status status = parse(&atom, bytes, n_bytes, limits);
    if (status == CAM_OK && atom.title.size)
        status = cam_clean_line(atom.title.data, atom.title.size, title, NULL);
    atom_release(&atom);
    return status;
}

/* Where the document begins: behind a byte order mark and white space. */
static size_t skip_blank(const char *bytes, size_t n_bytes) {
    size_t at = n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < n_bytes && memchr(" \t\r\n", bytes[at], 4))
        at++;
    return at;
}

static enum cam_feed_sniff sniff(const char *bytes, size_t n_bytes, const char *content_type) {
    int is_declared = strcmp(content_type, "application/atom+xml") == 0;
    size_t at = skip_blank(bytes, n_bytes), head = n_bytes < 4096 ? n_bytes : 4096;
    if (n_bytes >= 2 && (memcmp(bytes, "\xFE\xFF", 2) == 0 || memcmp(bytes, "\xFF\xFE", 2) == 0))
        return CAM_SNIFF_LIKELY; /* UTF-16 is XML here; expat decodes it */
    if (at < n_bytes ? bytes[at] != '<' : !is_declared)
        return CAM_SNIFF_NO;
    if (memmem(bytes, head, ATOM, sizeof ATOM - 1))
        return CAM_SNIFF_SURE;
    if (is_declared)
        return CAM_SNIFF_LIKELY;
    /* Not clearly anybody's, but XML: the parser will say what is wrong with it. */
    return memmem(bytes, head, "<?xml", 5) || memmem(bytes, head, "<feed", 5) ? CAM_SNIFF_MAYBE
                                                                              : CAM_SNIFF_NO;
}

const struct cam_feed_format cam_feed_format_atom = {
    .name = "atom",
    .sniff = sniff,
    .read = read_atom,
    .title = read_title,
};
