/* gunzip.h - a gzip stream decoded piece by piece, into a bounded buffer.
 *
 * Why not libcurl's decoder: it takes a stream whose data ends early for complete, so half a feed
 * would look like a whole one, and it unpacks whatever a server claims to have
 * packed, several times over (N10).  We decode gzip alone, once, and know whether it ended. */
#ifndef CAM_FEED_GUNZIP_H
#define CAM_FEED_GUNZIP_H

#include "base/buffer.h"
#include "base/status.h"

struct cam_gunzip;

CAM_MUST_USE enum cam_status cam_gunzip_new(struct cam_gunzip **gunzip);
void cam_gunzip_free(struct cam_gunzip *gunzip);

/* Decodes the next piece onto OUT.  CAM_ERR_DATA: OUT's limit would be passed (decoding stops
 * there, whatever else the stream holds); CAM_ERR_PROTOCOL: not gzip, or damaged. */
CAM_MUST_USE enum cam_status cam_gunzip_push(struct cam_gunzip *gunzip, const void *bytes,
                                             size_t n_bytes, struct cam_buffer *out);

/* Whether the stream is complete: its last member ended and its checksum was right. */
int cam_gunzip_is_complete(const struct cam_gunzip *gunzip);

#endif
