/* Plain text: the whole input is one document.  It is the format of last resort for what looks like
 * text; markup and JSON that nobody else claims are refused rather than trained on as text. */
#include "feed/draft.h"
#include "feed/feed_formats.h"

#include <string.h>

static enum cam_status read_text(const struct cam_feed_input *input,
                                 const struct cam_feed_limits *limits,
                                 const struct cam_document_sink *sink) {
    struct cam_draft draft;
    cam_draft_init(&draft, limits);
    draft.was_repaired = input->n_replaced > 0;
    enum cam_status status = cam_draft_set_text(&draft, input->bytes, input->n_bytes);
    status = status == CAM_OK ? cam_draft_deliver(&draft, "text", sink)
                              : cam_draft_reject(status, "text", sink);
    cam_draft_release(&draft);
    return status;
}

static enum cam_feed_sniff sniff(const char *bytes, size_t n_bytes, const char *content_type) {
    size_t head = n_bytes < 4096 ? n_bytes : 4096, at = 0;
    if (memchr(bytes, '\0', head))
        return CAM_SNIFF_NO;
    if (strcmp(content_type, "text/plain") == 0 || strcmp(content_type, "text/markdown") == 0)
        return CAM_SNIFF_MAYBE;
    if (*content_type && strcmp(content_type, "application/octet-stream") != 0)
        return CAM_SNIFF_NO;
    while (at < head && strchr(" \t\r\n", bytes[at]))
        at++;
    return at < head && bytes[at] != '<' ? CAM_SNIFF_MAYBE : CAM_SNIFF_NO;
}

const struct cam_feed_format cam_feed_format_text = {
    .name = "text",
    .sniff = sniff,
    .read = read_text,
    .decoded = 1,
};
