/* url.h - relative references become absolute URLs (RFC 3986, section 5.2).
 *
 * Only against a base that is http or https: what a document calls its base decides what is shown
 * as a link, and "javascript:" must not get in that way.  Characters are kept as they are (IRIs,
 * spaces, wrong escapes); nothing is normalised but dot segments, as identity may hang on it.
 * Nothing here fetches. */
#ifndef CAM_FEED_URL_H
#define CAM_FEED_URL_H

#include "base/buffer.h"
#include "base/status.h"

#include <stddef.h>

/* Whether the bytes begin with "http://" or "https://", in any case. */
int cam_url_is_http(const char *bytes, size_t n_bytes);

/* Whether the bytes begin with a scheme of any kind ("mailto:", "tag:", "at:"). */
int cam_url_has_scheme(const char *bytes, size_t n_bytes);

/* Appends the REFERENCE, made absolute against BASE, to OUT: verbatim where it has a scheme of its
 * own or BASE is NULL, empty or not http(s).  White space around the reference goes.  OUT is left
 * as it was on failure (its limit: CAM_ERR_DATA). */
CAM_MUST_USE enum cam_status cam_url_resolve(const char *base, const char *reference,
                                             size_t n_reference, struct cam_buffer *out);

#endif
