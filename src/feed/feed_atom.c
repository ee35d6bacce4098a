/* Atom 1.0 (RFC 4287) and 0.3; the reader is that of all XML feeds. */
#include "feed/feed_formats.h"
#include "feed/feed_xml.h"

#include <string.h>

static enum cam_feed_sniff sniff(const char *bytes, size_t n_bytes, const char *content_type) {
    char root[CAM_XML_ROOT_BYTES];
    cam_feed_xml_root(bytes, n_bytes, root);
    if (strcmp(root, "feed") == 0 || strcmp(root, "entry") == 0)
        return CAM_SNIFF_SURE;
    if (strcmp(content_type, "application/atom+xml") == 0)
        return *root || n_bytes == 0 ? CAM_SNIFF_LIKELY : CAM_SNIFF_NO;
    return CAM_SNIFF_NO;
}

const struct cam_feed_format cam_feed_format_atom = {
    .name = "atom",
    .sniff = sniff,
    .read = cam_feed_xml_read,
    .title = cam_feed_xml_title,
    .decoded = 1,
};
