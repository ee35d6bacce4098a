/* markup.h - SAX events of inline XHTML written back as HTML, for readers that meet markup as XML.
 *
 * Names and attributes are those of expat's namespace mode ("URI name", separator one space); the
 * namespace is dropped.  Everything fails as cam_buffer_append does and may leave part of a tag
 * behind: the caller gives the whole text up. */
#ifndef CAM_FEED_MARKUP_H
#define CAM_FEED_MARKUP_H

#include "base/buffer.h"
#include "base/status.h"

/* "URI name" -> "name". */
const char *cam_markup_local_name(const char *name);

/* ATTRIBUTES: name, value, ..., NULL as expat gives them. */
CAM_MUST_USE enum cam_status cam_markup_start_tag(struct cam_buffer *out, const char *name,
                                                  const char *const *attributes);
/* Nothing for elements that HTML knows as void (<br>, <img> ...). */
CAM_MUST_USE enum cam_status cam_markup_end_tag(struct cam_buffer *out, const char *name);
/* Text with & < > " escaped. */
CAM_MUST_USE enum cam_status cam_markup_text(struct cam_buffer *out, const char *text,
                                             size_t n_bytes);

#endif
