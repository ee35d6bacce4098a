/* RSS 0.90 to 2.0 and RSS 1.0 (RDF); the reader is that of all XML feeds.  XML that is nobody's
 * comes here too: the parser says what is wrong with it. */
#include "feed/feed_formats.h"
#include "feed/feed_xml.h"

#include <string.h>

static enum cam_feed_sniff sniff(const char *bytes, size_t n_bytes, const char *content_type) {
    char root[CAM_XML_ROOT_BYTES];
    cam_feed_xml_root(bytes, n_bytes, root);
    if (strcmp(root, "rss") == 0 || strcmp(root, "rdf") == 0 || strcmp(root, "channel") == 0)
        return CAM_SNIFF_SURE;
    if (strcmp(content_type, "application/rss+xml") == 0 ||
        strcmp(content_type, "application/rdf+xml") == 0)
        return *root || n_bytes == 0 ? CAM_SNIFF_LIKELY : CAM_SNIFF_NO;
    if (strcmp(root, "html") == 0)
        return CAM_SNIFF_NO;
    size_t head = n_bytes < 1024 ? n_bytes : 1024;
    return (*root && strstr(content_type, "xml")) || memmem(bytes, head, "<?xml", 5)
               ? CAM_SNIFF_MAYBE
               : CAM_SNIFF_NO;
}

const struct cam_feed_format cam_feed_format_rss = {
    .name = "rss",
    .sniff = sniff,
    .read = cam_feed_xml_read,
    .title = cam_feed_xml_title,
    .decoded = 1,
};
