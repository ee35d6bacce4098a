/* markup.h - markup as bytes: is it any, what do its entities mean, where do its links lead.
 *
 * Everything is linear, appends to OUT and fails as cam_buffer_append does; on failure part of the
 * text may be left behind: the caller gives the whole up.  Input is valid UTF-8. */
#ifndef CAM_FEED_MARKUP_H
#define CAM_FEED_MARKUP_H

#include "base/buffer.h"
#include "base/status.h"

#include <stddef.h>

/* Whether text that may be plain or HTML (RSS does not say) is HTML.  LOOSE: it holds a tag that
 * HTML knows, a comment or a character reference.  STRICT: it holds an end tag, a <br> or a
 * reference, and no tag that HTML does not know ("the <vector> header" stays what it is). */
enum cam_markup_test { CAM_MARKUP_LOOSE, CAM_MARKUP_STRICT };
int cam_markup_is_html(const char *text, size_t n_bytes, enum cam_markup_test test);

/* Whether HTML that was escaped once too often is in the text: block tags, all of them known. */
int cam_markup_is_escaped_html(const char *text, size_t n_bytes);

/* Text with character references decoded once (&amp; &eacute; &#8212; &#146;); what is none stays.
 */
CAM_MUST_USE enum cam_status cam_markup_decode(struct cam_buffer *out, const char *text,
                                               size_t n_bytes);

/* Text with C1 controls (U+0080 to U+009F) as the characters that windows-1252 has there. */
CAM_MUST_USE enum cam_status cam_markup_windows(struct cam_buffer *out, const char *text,
                                                size_t n_bytes);

/* HTML with the relative URLs of href, src and their like resolved against BASE.  Without a base it
 * is copied. */
CAM_MUST_USE enum cam_status cam_markup_resolve(struct cam_buffer *out, const char *html,
                                                size_t n_bytes, const char *base);

/* SAX events of inline XHTML written back as HTML.  NAME and those of ATTRIBUTES (name, value, ...,
 * NULL) may have prefixes, which go, as namespace declarations do; links are resolved against BASE
 * (may be NULL). */
CAM_MUST_USE enum cam_status cam_markup_start_tag(struct cam_buffer *out, const char *name,
                                                  const char *const *attributes, const char *base);
/* Nothing for elements that HTML knows as void (<br>, <img> ...). */
CAM_MUST_USE enum cam_status cam_markup_end_tag(struct cam_buffer *out, const char *name);
/* Text with & < > " escaped. */
CAM_MUST_USE enum cam_status cam_markup_text(struct cam_buffer *out, const char *text,
                                             size_t n_bytes);

/* Appends the bytes that BASE64 (white space allowed) stands for.  CAM_ERR_DATA if it is none
 * (*IS_BASE64 0) or if what comes out is no UTF-8 text (*IS_BASE64 1). */
CAM_MUST_USE enum cam_status cam_markup_base64(struct cam_buffer *out, const char *base64,
                                               size_t n_bytes, int *is_base64);

#endif
