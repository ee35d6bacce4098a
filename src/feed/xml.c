/* Namespaces are resolved here and not by expat, which refuses a document for a prefix that was not
 * declared; feeds forget to. */
#include "feed/xml.h"

#include "base/buffer.h"
#include "feed/encoding.h"
#include "feed/url.h"
#include "feed/xml_repair.h"

#include <ctype.h>
#include <expat.h>
#include <libxml/HTMLparser.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX_BYTES       24
#define MAX_BASE_BYTES     2048 /* a short xml:base in a long one must not multiply */
#define MAX_LANGUAGE_BYTES 36
#define MAX_STRINGS        10000
#define MAX_TAG_BYTES      256 /* of an unknown entity's name, and of names in messages */

struct binding {
    char prefix[PREFIX_BYTES]; /* "" for the default namespace */
    enum cam_xml_ns ns;
    size_t depth; /* of the element that declares it */
};

/* What xml:base or xml:lang is since DEPTH. */
struct scope {
    const char *value;
    size_t depth;
};

struct cam_xml {
    XML_Parser parser;
    const char *what;
    const struct cam_feed_limits *limits;
    const struct cam_xml_handler *handler;
    void *context;
    enum cam_status status; /* why the parser was stopped */
    int stopped;            /* the handler has seen enough */
    size_t depth;
    struct binding *bindings;
    size_t n_bindings, binding_room;
    struct scope *bases, *languages; /* max_depth + 1 each; [0] holds outside the root */
    size_t n_bases, n_languages;
    char **strings; /* owned: what scopes point to */
    size_t n_strings, string_room;
    struct cam_buffer scratch, repaired;
};

static void stop(struct cam_xml *xml, enum cam_status status) {
    if (status == CAM_OK || xml->status != CAM_OK || xml->stopped)
        return;
    if (status == CAM_STOPPED)
        xml->stopped = 1;
    xml->status = status;
    XML_StopParser(xml->parser, XML_FALSE);
}

unsigned long cam_xml_line(const struct cam_xml *xml) {
    return XML_GetCurrentLineNumber(xml->parser);
}

const char *cam_xml_base(const struct cam_xml *xml) {
    return xml->bases[xml->n_bases - 1].value;
}

const char *cam_xml_language(const struct cam_xml *xml) {
    return xml->languages[xml->n_languages - 1].value;
}

const char *cam_xml_local_name(const char *name) {
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

/* ---- namespaces ---- */

static const struct {
    const char *uri; /* in lower case */
    enum cam_xml_ns ns;
} uris[] = {
    {"http://www.w3.org/2005/atom", CAM_NS_CORE},
    {"http://purl.org/atom/ns#", CAM_NS_CORE},
    {"http://purl.org/rss/1.0/", CAM_NS_CORE},
    {"http://purl.org/net/rss1.1#", CAM_NS_CORE},
    {"http://my.netscape.com/rdf/simple/0.9/", CAM_NS_CORE},
    {"http://channel.netscape.com/rdf/simple/0.9/", CAM_NS_CORE},
    {"http://blogs.law.harvard.edu/tech/rss", CAM_NS_CORE},
    {"http://purl.org/rss/1.0/modules/rss091#", CAM_NS_CORE},
    {"http://example.com/newformat#", CAM_NS_CORE},
    {"http://example.com/necho", CAM_NS_CORE},
    {"http://purl.org/echo/", CAM_NS_CORE},
    {"uri/of/echo/namespace#", CAM_NS_CORE},
    {"http://purl.org/pie/", CAM_NS_CORE},
    {"http://www.w3.org/1999/xhtml", CAM_NS_XHTML},
    {"http://purl.org/dc/elements/1.1/", CAM_NS_DC},
    {"http://purl.org/dc/elements/1.0/", CAM_NS_DC},
    {"http://purl.org/dc/terms/", CAM_NS_DCTERMS},
    {"http://purl.org/rss/1.0/modules/content/", CAM_NS_CONTENT},
    {"http://www.itunes.com/dtds/podcast-1.0.dtd", CAM_NS_ITUNES},
    {"http://search.yahoo.com/mrss/", CAM_NS_MEDIA},
    {"http://search.yahoo.com/mrss", CAM_NS_MEDIA},
    {"http://www.w3.org/1999/02/22-rdf-syntax-ns#", CAM_NS_RDF},
    {"http://www.w3.org/xml/1998/namespace", CAM_NS_XML},
};

static const struct {
    const char *prefix;
    enum cam_xml_ns ns;
} usual[] = {
    {"atom", CAM_NS_CORE},     {"rss", CAM_NS_CORE},        {"xhtml", CAM_NS_XHTML},
    {"dc", CAM_NS_DC},         {"dcterms", CAM_NS_DCTERMS}, {"content", CAM_NS_CONTENT},
    {"itunes", CAM_NS_ITUNES}, {"media", CAM_NS_MEDIA},     {"rdf", CAM_NS_RDF},
    {"xml", CAM_NS_XML},
};

/* KNOWN: whether the URI is in the table. */
static enum cam_xml_ns ns_of_uri(const char *uri, int *known) {
    size_t n = strlen(uri);
    while (n && isspace((unsigned char)uri[n - 1]))
        n--;
    while (n && isspace((unsigned char)*uri))
        uri++, n--;
    *known = 1;
    if (n == 0 || strcasestr(uri, "backend.userland.com/rss"))
        return CAM_NS_CORE;
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++)
        if (strlen(uris[i].uri) == n && strncasecmp(uris[i].uri, uri, n) == 0)
            return uris[i].ns;
    *known = 0;
    return CAM_NS_OTHER;
}

static enum cam_status bind(struct cam_xml *xml, const char *prefix, const char *uri) {
    int known;
    struct binding binding = {.depth = xml->depth, .ns = ns_of_uri(uri, &known)};
    /* A feed's own idea of what the core is called; further in, a module that takes over. */
    if (!known && !*prefix && xml->depth == 1)
        binding.ns = CAM_NS_CORE;
    if (strlen(prefix) >= sizeof binding.prefix)
        return CAM_OK; /* nobody we know is called that */
    strcpy(binding.prefix, prefix);
    if (xml->n_bindings == xml->binding_room) {
        size_t room = xml->binding_room ? 2 * xml->binding_room : 32;
        struct binding *bindings = realloc(xml->bindings, room * sizeof *bindings);
        if (!bindings)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu namespaces", room);
        xml->bindings = bindings;
        xml->binding_room = room;
    }
    xml->bindings[xml->n_bindings++] = binding;
    return CAM_OK;
}

/* NS of the N bytes of prefix at PREFIX. */
static enum cam_xml_ns ns_of_prefix(const struct cam_xml *xml, const char *prefix, size_t n) {
    for (size_t i = xml->n_bindings; i-- > 0;)
        if (strncmp(xml->bindings[i].prefix, prefix, n) == 0 && !xml->bindings[i].prefix[n])
            return xml->bindings[i].ns;
    if (n == 0)
        return CAM_NS_CORE;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (strncasecmp(usual[i].prefix, prefix, n) == 0 && !usual[i].prefix[n])
            return usual[i].ns;
    return CAM_NS_OTHER;
}

static enum cam_xml_ns ns_of_name(const struct cam_xml *xml, const char *name) {
    const char *local = cam_xml_local_name(name);
    size_t n = local > name ? (size_t)(local - name) - 1 : 0;
    return n < PREFIX_BYTES ? ns_of_prefix(xml, name, n) : CAM_NS_OTHER;
}

const char *cam_xml_attribute(const struct cam_xml_element *element, const char *name) {
    for (const char *const *a = element->attributes; a[0]; a += 2)
        if (strcasecmp(a[0], name) == 0)
            return a[1];
    return NULL;
}

const char *cam_xml_attribute_ns(const struct cam_xml *xml, const struct cam_xml_element *element,
                                 enum cam_xml_ns ns, const char *name) {
    for (const char *const *a = element->attributes; a[0]; a += 2)
        if (strchr(a[0], ':') && strcasecmp(cam_xml_local_name(a[0]), name) == 0 &&
            ns_of_name(xml, a[0]) == ns)
            return a[1];
    return NULL;
}

/* ---- xml:base and xml:lang ---- */

/* A copy of TEXT that lives as long as the parser; the last few are looked through first.  NULL
 * where there are too many. */
static enum cam_status keep(struct cam_xml *xml, const char *text, const char **kept) {
    for (size_t i = xml->n_strings; i-- > 0 && i + 8 > xml->n_strings;)
        if (strcmp(xml->strings[i], text) == 0) {
            *kept = xml->strings[i];
            return CAM_OK;
        }
    *kept = NULL;
    if (xml->n_strings == MAX_STRINGS)
        return CAM_OK;
    if (xml->n_strings == xml->string_room) {
        size_t room = xml->string_room ? 2 * xml->string_room : 16;
        char **strings = realloc(xml->strings, room * sizeof *strings);
        if (!strings)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu names in a feed", room);
        xml->strings = strings;
        xml->string_room = room;
    }
    char *copy = strdup(text);
    if (!copy)
        return cam_fail(CAM_ERR_OS, "out of memory for a name in a feed");
    *kept = xml->strings[xml->n_strings++] = copy;
    return CAM_OK;
}

static enum cam_status enter_base(struct cam_xml *xml, const char *value) {
    const char *kept = NULL;
    cam_buffer_clear(&xml->scratch);
    enum cam_status status =
        cam_url_resolve(cam_xml_base(xml), value, strlen(value), &xml->scratch);
    if (status == CAM_ERR_DATA || !xml->scratch.size ||
        !cam_url_is_http(xml->scratch.data, xml->scratch.size))
        return CAM_OK; /* too long, or no place on the web: as if it were not there */
    CAM_TRY(status);
    CAM_TRY(keep(xml, xml->scratch.data, &kept));
    if (kept)
        xml->bases[xml->n_bases++] = (struct scope){kept, xml->depth};
    return CAM_OK;
}

static enum cam_status enter_language(struct cam_xml *xml, const char *value) {
    const char *kept = NULL;
    if (strlen(value) >= MAX_LANGUAGE_BYTES)
        return CAM_OK;
    CAM_TRY(keep(xml, value, &kept));
    if (kept)
        xml->languages[xml->n_languages++] = (struct scope){kept, xml->depth};
    return CAM_OK;
}

/* The attributes that hold for everything inside. */
static enum cam_status enter(struct cam_xml *xml, const char *const *attributes) {
    int has_base = 0, has_language = 0; /* expat refuses doubles, but be sure of the stacks */
    for (const char *const *a = attributes; a[0]; a += 2) {
        if (a[0][0] != 'x')
            continue;
        if (strcmp(a[0], "xmlns") == 0)
            CAM_TRY(bind(xml, "", a[1]));
        else if (strncmp(a[0], "xmlns:", 6) == 0)
            CAM_TRY(bind(xml, a[0] + 6, a[1]));
        else if (strcmp(a[0], "xml:base") == 0 && !has_base++)
            CAM_TRY(enter_base(xml, a[1]));
        else if (strcmp(a[0], "xml:lang") == 0 && !has_language++)
            CAM_TRY(enter_language(xml, a[1]));
    }
    return CAM_OK;
}

static void leave(struct cam_xml *xml) {
    while (xml->n_bindings && xml->bindings[xml->n_bindings - 1].depth == xml->depth)
        xml->n_bindings--;
    if (xml->n_bases > 1 && xml->bases[xml->n_bases - 1].depth == xml->depth)
        xml->n_bases--;
    if (xml->n_languages > 1 && xml->languages[xml->n_languages - 1].depth == xml->depth)
        xml->n_languages--;
    xml->depth--;
}

/* ---- expat's events ---- */

static struct cam_xml_element element_of(const struct cam_xml *xml, const char *name,
                                         const char *const *attributes) {
    return (struct cam_xml_element){ns_of_name(xml, name), cam_xml_local_name(name), attributes,
                                    xml->depth};
}

static void XMLCALL on_start(void *context, const char *name, const char **attributes) {
    struct cam_xml *xml = context;
    size_t n = 0;
    if (xml->status != CAM_OK)
        return;
    while (attributes[2 * n])
        n++;
    if (++xml->depth > xml->limits->max_depth) {
        stop(xml, cam_fail(CAM_ERR_DATA, "%s: line %lu: elements nested deeper than %zu", xml->what,
                           cam_xml_line(xml), xml->limits->max_depth));
        return;
    }
    if (n > xml->limits->max_attributes) {
        stop(xml, cam_fail(CAM_ERR_DATA, "%s: line %lu: an element has more than %zu attributes",
                           xml->what, cam_xml_line(xml), xml->limits->max_attributes));
        return;
    }
    enum cam_status status = enter(xml, (const char *const *)attributes);
    if (status == CAM_OK) {
        struct cam_xml_element element = element_of(xml, name, (const char *const *)attributes);
        status = xml->handler->start(xml->context, xml, &element);
    }
    stop(xml, status);
}

static void XMLCALL on_end(void *context, const char *name) {
    static const char *const none[] = {NULL};
    struct cam_xml *xml = context;
    if (xml->status != CAM_OK)
        return;
    struct cam_xml_element element = element_of(xml, name, none);
    stop(xml, xml->handler->end(xml->context, xml, &element));
    leave(xml);
}

static void XMLCALL on_text(void *context, const char *text, int n_bytes) {
    struct cam_xml *xml = context;
    if (xml->status == CAM_OK)
        stop(xml, xml->handler->text(xml->context, xml, text, (size_t)n_bytes));
}

/* An entity that nobody declared: people wrote it to be seen. */
static void XMLCALL on_skipped(void *context, const char *name, int is_parameter) {
    char text[MAX_TAG_BYTES];
    if (is_parameter)
        return;
    int n = snprintf(text, sizeof text, "&%.*s;", MAX_TAG_BYTES - 3, name);
    on_text(context, text, n);
}

static void XMLCALL on_doctype(void *context, const char *name, const char *system_id,
                               const char *public_id, int has_internal_subset) {
    struct cam_xml *xml = context;
    (void)name, (void)public_id;
    if (has_internal_subset)
        stop(xml, cam_fail(CAM_ERR_DATA,
                           "%s: line %lu: a DOCTYPE with declarations is refused (entities can be "
                           "bombs)",
                           xml->what, cam_xml_line(xml)));
    else if (system_id && strchr(system_id, ':') && !cam_url_is_http(system_id, strlen(system_id)))
        stop(xml, cam_fail(CAM_ERR_DATA,
                           "%s: line %lu: a DOCTYPE that points to no web address is refused",
                           xml->what, cam_xml_line(xml)));
}

/* ---- HTML's entities, as the external subset of every document ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char entities[16384];
static int n_entities;

static void write_entities(void) {
    xmlInitParser();
    for (unsigned code = 160; code < 10000; code++) {
        const htmlEntityDesc *entity = htmlEntityValueLookup(code);
        if (entity && n_entities < (int)sizeof entities - 64)
            n_entities +=
                sprintf(entities + n_entities, "<!ENTITY %.30s \"&#%u;\">", entity->name, code);
    }
}

/* Whatever a document points to, this is what it gets. */
static int XMLCALL on_external(XML_Parser parser, const char *context, const char *base,
                               const char *system_id, const char *public_id) {
    (void)base, (void)system_id, (void)public_id;
    if (context) /* a general entity: only a declaration we refuse could have made one */
        return XML_STATUS_ERROR;
    XML_Parser subset = XML_ExternalEntityParserCreate(parser, NULL, "UTF-8");
    if (!subset)
        return XML_STATUS_ERROR;
    enum XML_Status status = XML_Parse(subset, entities, n_entities, 1);
    XML_ParserFree(subset);
    return status == XML_STATUS_OK;
}

/* ---- a whole document ---- */

enum cam_status cam_xml_new(const char *what, const struct cam_feed_limits *limits,
                            const char *base, const char *language,
                            const struct cam_xml_handler *handler, void *context,
                            struct cam_xml **result) {
    struct cam_xml *xml = calloc(1, sizeof *xml);
    if (!xml)
        return cam_fail(CAM_ERR_OS, "out of memory for an XML reader");
    xml->what = what;
    xml->limits = limits;
    xml->handler = handler;
    xml->context = context;
    cam_buffer_init(&xml->scratch, MAX_BASE_BYTES);
    cam_buffer_init(&xml->repaired, 0);
    xml->bases = calloc(limits->max_depth + 2, sizeof *xml->bases);
    xml->languages = calloc(limits->max_depth + 2, sizeof *xml->languages);
    if (!xml->bases || !xml->languages) {
        cam_xml_free(xml);
        return cam_fail(CAM_ERR_OS, "out of memory for an XML reader");
    }
    xml->bases[0].value = base && cam_url_is_http(base, strlen(base)) ? base : "";
    xml->languages[0].value = language ? language : "";
    pthread_once(&once, write_entities);
    *result = xml;
    return CAM_OK;
}

void cam_xml_free(struct cam_xml *xml) {
    if (!xml)
        return;
    for (size_t i = 0; i < xml->n_strings; i++)
        free(xml->strings[i]);
    free(xml->strings);
    free(xml->bindings);
    free(xml->bases);
    free(xml->languages);
    cam_buffer_release(&xml->scratch);
    cam_buffer_release(&xml->repaired);
    if (xml->parser)
        XML_ParserFree(xml->parser);
    free(xml);
}

/* Makes the parser new.  The declaration is not part of what it sees: the encoding is known. */
static enum cam_status begin(struct cam_xml *xml) {
    if (xml->parser)
        XML_ParserFree(xml->parser);
    xml->parser = XML_ParserCreate("UTF-8");
    if (!xml->parser)
        return cam_fail(CAM_ERR_OS, "out of memory for an XML parser");
    xml->depth = xml->n_bindings = 0;
    xml->n_bases = xml->n_languages = 1;
    XML_SetUserData(xml->parser, xml);
    XML_SetElementHandler(xml->parser, on_start, on_end);
    XML_SetCharacterDataHandler(xml->parser, on_text);
    XML_SetStartDoctypeDeclHandler(xml->parser, on_doctype);
    XML_SetSkippedEntityHandler(xml->parser, on_skipped);
    XML_SetExternalEntityRefHandler(xml->parser, on_external);
    XML_SetParamEntityParsing(xml->parser, XML_PARAM_ENTITY_PARSING_ALWAYS);
    XML_UseForeignDTD(xml->parser, XML_TRUE);
    return CAM_OK;
}

static enum cam_xml_end how_it_ended(const struct cam_xml *xml, size_t n_text) {
    switch (XML_GetErrorCode(xml->parser)) {
    case XML_ERROR_JUNK_AFTER_DOC_ELEMENT: /* whatever it is, it is behind the feed */
        return CAM_XML_WHOLE;
    case XML_ERROR_NO_ELEMENTS:
    case XML_ERROR_UNCLOSED_TOKEN:
    case XML_ERROR_UNCLOSED_CDATA_SECTION:
    case XML_ERROR_PARTIAL_CHAR:
        return CAM_XML_CUT;
    default:
        return XML_GetCurrentByteIndex(xml->parser) >= (XML_Index)n_text ? CAM_XML_CUT
                                                                         : CAM_XML_BROKEN;
    }
}

static enum cam_status parse_once(struct cam_xml *xml, const char *text, size_t n_text,
                                  enum cam_xml_end *end) {
    CAM_TRY(begin(xml));
    *end = CAM_XML_CUT;
    /* One call for everything: expat rescans an unfinished token with every further piece. */
    enum XML_Status parsed = XML_Parse(xml->parser, text, (int)n_text, 1);
    if (xml->stopped || (parsed == XML_STATUS_OK && xml->status == CAM_OK)) {
        *end = CAM_XML_WHOLE;
        return CAM_OK;
    }
    CAM_TRY(xml->status);
    if (XML_GetErrorCode(xml->parser) == XML_ERROR_NO_MEMORY)
        return cam_fail(CAM_ERR_OS, "out of memory for an XML parser");
    *end = how_it_ended(xml, n_text);
    if (*end == CAM_XML_WHOLE)
        return CAM_OK;
    return cam_fail(CAM_ERR_DATA, "%s: line %lu, column %lu: %s", xml->what, cam_xml_line(xml),
                    XML_GetCurrentColumnNumber(xml->parser) + 1,
                    XML_ErrorString(XML_GetErrorCode(xml->parser)));
}

enum cam_status cam_xml_parse(struct cam_xml *xml, const char *text, size_t n_text,
                              enum cam_xml_end *end) {
    size_t skip = cam_encoding_declaration(text, n_text);
    int changed = 0;
    *end = CAM_XML_CUT;
    if (n_text > INT_MAX / 8)
        return cam_fail(CAM_ERR_DATA, "%s: %zu bytes are too many", xml->what, n_text);
    enum cam_status status = parse_once(xml, text + skip, n_text - skip, end);
    if (status != CAM_ERR_DATA || xml->status != CAM_OK)
        return status;
    xml->repaired.limit = 6 * n_text; /* "&" becomes "&amp;" */
    cam_buffer_clear(&xml->repaired);
    CAM_TRY(cam_xml_repair(text + skip, n_text - skip, &xml->repaired, &changed));
    if (!changed)
        return status;
    xml->handler->again(xml->context);
    return parse_once(xml, xml->repaired.data ? xml->repaired.data : "", xml->repaired.size, end);
}
