/* encoding.h - which encoding bytes are in, and the same as UTF-8.
 *
 * Evidence, strongest first (RFC 7303 as practised):
 *   1. a byte order mark, or the pattern of zero bytes that UTF-16 and UTF-32 markup begins with;
 *   2. the charset of the Content-Type header;
 *   3. the XML declaration;
 *   4. for HTML, <meta charset> in the first 4 KiB;
 *   5. none: UTF-8, or windows-1252 where not one sequence of the bytes is UTF-8.
 * A header that names what nobody knows is passed over (servers send "none" and worse); a document
 * that does so about itself is refused, and so is UTF-7, whoever names it.  A document that says
 * UTF-16 and is not is read as if it had said nothing.
 *
 * Names are looked up in a closed list (WHATWG's, the part that feeds use), so a name in a document
 * never makes the C library load a converter of its choice.  Bytes that the encoding does not
 * define become U+FFFD and are counted. */
#ifndef CAM_FEED_ENCODING_H
#define CAM_FEED_ENCODING_H

#include "base/buffer.h"
#include "base/status.h"

#include <stddef.h>

struct cam_encoding {
    const char *name;   /* for iconv; static.  "UTF-8" is done without it */
    size_t n_mark;      /* bytes of the byte order mark */
    size_t unit;        /* bytes skipped after one that cannot be decoded: 1, 2 or 4 */
    const char *source; /* "byte order mark", "header", "declaration", "meta" or "default" */
};

/* CONTENT_TYPE: the whole header, may be NULL.  CAM_ERR_DATA: refused, see above. */
CAM_MUST_USE enum cam_status cam_encoding_find(const char *bytes, size_t n_bytes,
                                               const char *content_type,
                                               struct cam_encoding *encoding);

/* Sets *TEXT and *N_TEXT to the bytes as valid UTF-8 without byte order mark: the input itself
 * where it is that already, else SCRATCH's content (cleared first; initialised by the caller with
 * any limit, which is raised to what N_BYTES can need).  *N_REPLACED counts U+FFFD put in.
 * CAM_ERR_OS: no memory, no such converter on this system. */
CAM_MUST_USE enum cam_status cam_encoding_decode(const char *bytes, size_t n_bytes,
                                                 const struct cam_encoding *encoding,
                                                 struct cam_buffer *scratch, const char **text,
                                                 size_t *n_text, size_t *n_replaced);

/* Length of the XML declaration that TEXT (UTF-8) begins with, white space before it included; 0 if
 * it has none. */
size_t cam_encoding_declaration(const char *text, size_t n_text);

#endif
