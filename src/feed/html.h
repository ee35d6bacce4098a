/* html.h - markup becomes lines of text.
 *
 * Paragraphs and headings are set apart by a blank line, other blocks and <br> start a line, list
 * items start with "- " or their number (two spaces of indentation for each level of nesting),
 * table rows are lines with tabs between cells, <pre> is kept as it is, white space elsewhere is
 * one space. Entities are decoded.  Dropped with all they hold: script, style, head, title, nav,
 * template, noscript, iframe, object, svg, canvas, audio, video, select, button, textarea, and
 * whatever is hidden (the attribute, aria-hidden, display:none).  Nothing is fetched or executed.
 *
 * Of a whole page, aside, footer, the header outside of the article, forms (but not one that holds
 * the page) and what has the role of navigation, banner, search and the like go as well.
 *
 * The main text of a page is what is left of it by a rule on the density of text and links, block
 * by block (Kohlschuetter, Fankhauser, Nejdl 2010, "Boilerplate detection using shallow text
 * features", algorithm 2): linear, no tree, no list of sites.  A block is what stands between two
 * breaks of block elements.  Where the page has <article> or <main> with at least a third of what
 * the rule keeps, only that counts.  Headings are kept with the text under them; short lines
 * between two kept blocks (list items, table rows, captions) are kept unless they are mostly links.
 *
 * HTML is what libxml2's SAX parser makes of it: no tree is built, time is linear in the input
 * (gumbo needs seconds for 100 KB of nested tags). */
#ifndef CAM_FEED_HTML_H
#define CAM_FEED_HTML_H

#include "base/buffer.h"
#include "base/status.h"

#define CAM_HTML_MAX_DEPTH 512

/* HTML must be valid UTF-8 without NUL (cam_clean_utf8).  Appends to TEXT, which is left as it was
 * on failure: CAM_ERR_DATA past TEXT's limit or CAM_HTML_MAX_DEPTH open elements.  Content of a
 * feed entry: nothing of it is boilerplate. */
CAM_MUST_USE enum cam_status cam_html_to_text(const char *html, size_t n_bytes,
                                              struct cam_buffer *text);

/* The same for a whole page, without what is around its content.  A page that is nothing else is
 * taken as it is. */
CAM_MUST_USE enum cam_status cam_html_page_to_text(const char *html, size_t n_bytes,
                                                   struct cam_buffer *text);

/* The main text of a page; nothing is appended where the rule finds none. */
CAM_MUST_USE enum cam_status cam_html_main_text(const char *html, size_t n_bytes,
                                                struct cam_buffer *text);

#endif
