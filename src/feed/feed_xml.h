/* feed_xml.h - one reader for every feed in XML: RSS 0.90 to 2.0, RSS 1.0 (RDF), Atom 0.3 and 1.0.
 *
 * One, because feeds mix them: Atom links in RSS, Dublin Core everywhere.  What a field is taken
 * from, best first:
 *   id         <id>, <guid>, rdf:about, dc:identifier.  Atom's is made absolute by xml:base, an
 *              RSS guid never is
 *   url        <link> (rel alternate, HTML before other types), else the id where it is a web
 *              address and not said to be no permalink, else the first enclosure.  A relative one
 *              with no base at all (a file) is relative to the feed's own <link>, else to
 *              its link rel self
 *   title      <title>, else dc:title, else media:title
 *   published  <published>, <issued>, <pubDate>, dcterms:issued; dc:date; <created>.  Of several of
 *              a kind the last counts
 *   updated    <updated>, <modified>, dcterms:modified; dc:date
 *   author     the entry's (dc:creator counts as one), that of its <source>, the feed's
 *   language   dc:language; xml:lang of the content, of the entry; the feed's <language>, xml:lang
 *   domain     the first category (term) or dc:subject
 *   text       content (content:encoded, Atom's, xhtml:body, fullitem); the longer of description
 *              and summary; dc:description, itunes:summary, media:description
 *
 * An entry without any id has none: the journal then knows it by its text.
 *
 * Text that may be plain or HTML is HTML if it looks so (markup.h).  A body that is no XML in the
 * middle delivers the entries before that place and then fails; one that is cut off
 * delivers nothing (N13: a cut transfer must never train half a feed). */
#ifndef CAM_FEED_FEED_XML_H
#define CAM_FEED_FEED_XML_H

#include "feed/feed.h"

CAM_MUST_USE enum cam_status cam_feed_xml_read(const struct cam_feed_input *input,
                                               const struct cam_feed_limits *limits,
                                               const struct cam_document_sink *sink);
CAM_MUST_USE enum cam_status cam_feed_xml_title(const struct cam_feed_input *input,
                                                const struct cam_feed_limits *limits,
                                                struct cam_buffer *title);

/* The local name of the root element of what looks like XML, in lower case: "rss", "feed", "rdf",
 * "html".  "" where there is none in the first 16 KiB. */
#define CAM_XML_ROOT_BYTES 24
void cam_feed_xml_root(const char *text, size_t n_text, char root[CAM_XML_ROOT_BYTES]);

#endif
