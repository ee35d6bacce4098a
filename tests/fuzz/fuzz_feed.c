/* XML feeds in any encoding; the first byte picks the base and the Content-Type. */
#include "feed/feed.h"
#include "fuzz.h"

#include "base/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    static const char *const types[] = {NULL, "application/xml; charset=iso-8859-1", "text/html",
                                        "application/rss+xml"};
    const struct cam_document_sink sink = {fuzz_take_document, fuzz_take_rejected, NULL};
    struct cam_feed_limits limits;
    struct cam_buffer title;
    if (n_bytes == 0)
        return 0;
    const struct cam_feed_input input = {.bytes = (const char *)bytes + 1,
                                         .n_bytes = n_bytes - 1,
                                         .content_type = types[bytes[0] % 4],
                                         .base = bytes[0] & 4 ? "http://example.org/a/b?c" : NULL,
                                         .format = bytes[0] & 8 ? "rss" : NULL};
    cam_feed_limits_init(&limits);
    enum cam_status status = cam_feed_read_input(&input, &limits, &sink, NULL);
    fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    cam_buffer_init(&title, 4096);
    status = cam_feed_title(input.bytes, input.n_bytes, input.content_type, &limits, &title);
    fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    cam_buffer_release(&title);
    return 0;
}
