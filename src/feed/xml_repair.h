/* xml_repair.h - the common damage of feeds that are nearly XML, mended.
 *
 * Outside CDATA sections, comments and processing instructions:
 *   - "&" that begins no reference becomes "&amp;" (AT&T, ?a=1&b=2);
 *   - "<" that begins no tag becomes "&lt;" (a < b);
 *   - references to characters that XML forbids become what Windows meant by them (&#146;) or
 *     U+FFFD;
 * and everywhere, control characters, U+FFFE and U+FFFF go.  Linear; well-formed text stays as it
 * is. */
#ifndef CAM_FEED_XML_REPAIR_H
#define CAM_FEED_XML_REPAIR_H

#include "base/buffer.h"
#include "base/status.h"

/* TEXT is UTF-8.  *CHANGED says whether OUT (appended to) differs from it. */
CAM_MUST_USE enum cam_status cam_xml_repair(const char *text, size_t n_text, struct cam_buffer *out,
                                            int *changed);

#endif
