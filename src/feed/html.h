/* html.h - markup becomes lines of text.
 *
 * Paragraphs and headings are set apart by a blank line, other blocks and <br> start a line, list
 * items start with "- " (two spaces of indentation for each level of nesting), table rows are lines
 * with tabs between cells, <pre> is kept as it is, white space elsewhere is one space.  Entities
 * are decoded.  Dropped with all they hold: script, style, head, title, nav, template, noscript,
 * iframe, object, svg, select.  Nothing is fetched or executed.
 *
 * HTML is what libxml2's SAX parser makes of it: no tree is built, time is linear in the input
 * (gumbo needs seconds for 100 KB of nested tags, FAULTS F4). */
#ifndef CAM_FEED_HTML_H
#define CAM_FEED_HTML_H

#include "base/buffer.h"
#include "base/status.h"

#define CAM_HTML_MAX_DEPTH 512

/* HTML must be valid UTF-8 without NUL (cam_clean_utf8).  Appends to TEXT, which is left as it was
 * on failure: CAM_ERR_DATA past TEXT's limit or CAM_HTML_MAX_DEPTH open elements. */
CAM_MUST_USE enum cam_status cam_html_to_text(const char *html, size_t n_bytes,
                                              struct cam_buffer *text);

#endif
