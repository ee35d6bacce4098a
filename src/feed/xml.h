/* xml.h - XML from strangers: expat with limits, namespaces that forgive, entities that cannot
 * hurt.
 *
 *   - A DOCTYPE with an internal subset is refused (entities can be bombs; expat stops one only
 *     after megabytes).  One without is passed over, as RSS 0.91 has one and XHTML-minded people
 *     write one, unless its system identifier is no web address.  Nothing is ever fetched.
 *   - HTML's entities (&nbsp; &eacute; ...) are known without a DTD; an unknown one stays in the
 *     text as it is written.
 *   - Namespaces are found by URI, in any case, with white space around; a prefix that nobody
 *     declared means what it usually means ("dc", "content" ...).
 *   - xml:base and xml:lang are kept for every element.
 *   - Text that is no XML is repaired once (see xml_repair.h) and read again.
 *   - Depth and attributes are limited; time is linear.
 *
 * Input is UTF-8 (see encoding.h), whatever its declaration says. */
#ifndef CAM_FEED_XML_H
#define CAM_FEED_XML_H

#include "base/status.h"
#include "feed/feed.h"

#include <stddef.h>

/* What a namespace is to us. */
enum cam_xml_ns {
    CAM_NS_CORE,  /* any of the feed formats' own, or none */
    CAM_NS_XHTML, /* XHTML */
    CAM_NS_DC,    /* Dublin Core elements */
    CAM_NS_DCTERMS,
    CAM_NS_CONTENT, /* RSS 1.0 module content */
    CAM_NS_ITUNES,
    CAM_NS_MEDIA, /* Media RSS */
    CAM_NS_RDF,
    CAM_NS_XML,
    CAM_NS_OTHER
};

struct cam_xml;

struct cam_xml_element {
    enum cam_xml_ns ns;
    const char *local;             /* the name behind its prefix, as written */
    const char *const *attributes; /* names as written and values in turn; ends with NULL */
    size_t depth;                  /* 1 for the root */
};

/* A status other than CAM_OK stops the parser, which returns it; CAM_STOPPED stops it as well, and
 * cam_xml_parse then returns CAM_OK with CAM_XML_WHOLE. */
struct cam_xml_handler {
    enum cam_status (*start)(void *context, struct cam_xml *xml, const struct cam_xml_element *e);
    enum cam_status (*end)(void *context, struct cam_xml *xml, const struct cam_xml_element *e);
    enum cam_status (*text)(void *context, struct cam_xml *xml, const char *text, size_t n_bytes);
    /* The text is read again from its beginning, repaired: forget everything. */
    void (*again)(void *context);
};

/* How the text ended. */
enum cam_xml_end {
    CAM_XML_WHOLE,
    CAM_XML_BROKEN, /* ill-formed in the middle; what came before was delivered */
    CAM_XML_CUT     /* it ends before the root element does */
};

/* WHAT names the format in messages.  LANGUAGE and BASE (either may be NULL) hold outside the root
 * element.  Everything is borrowed, LIMITS, HANDLER, BASE and LANGUAGE until it is freed. */
CAM_MUST_USE enum cam_status cam_xml_new(const char *what, const struct cam_feed_limits *limits,
                                         const char *base, const char *language,
                                         const struct cam_xml_handler *handler, void *context,
                                         struct cam_xml **xml);
void cam_xml_free(struct cam_xml *xml);

/* Parses TEXT and calls the handler.  With *END CAM_XML_BROKEN or CAM_XML_CUT for what is no XML
 * the result is CAM_ERR_DATA, naming line and column; other failures (limits, DOCTYPE, no memory,
 * the handler's) set CAM_XML_CUT.  What comes behind the root element is not looked at. */
CAM_MUST_USE enum cam_status cam_xml_parse(struct cam_xml *xml, const char *text, size_t n_text,
                                           enum cam_xml_end *end);

/* In a start or end handler.  Strings stay valid until cam_xml_free and are the same pointer while
 * they stay the same; "" for none. */
const char *cam_xml_base(const struct cam_xml *xml);
const char *cam_xml_language(const struct cam_xml *xml);
unsigned long cam_xml_line(const struct cam_xml *xml);

/* Value of an attribute without prefix, by name in any case, or NULL. */
const char *cam_xml_attribute(const struct cam_xml_element *element, const char *name);
/* Value of the attribute that is NS's NAME by its prefix. */
const char *cam_xml_attribute_ns(const struct cam_xml *xml, const struct cam_xml_element *element,
                                 enum cam_xml_ns ns, const char *name);

/* "dc:title" -> "title". */
const char *cam_xml_local_name(const char *name);

#endif
