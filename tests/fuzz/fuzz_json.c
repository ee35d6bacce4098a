/* NDJSON in pieces (the first byte is their size) and JSON Feed whole. */
#include "feed/feed.h"
#include "feed/feed_ndjson.h"
#include "fuzz.h"

static void read_pieces(const char *bytes, size_t n_bytes, size_t piece,
                        const struct cam_feed_limits *limits) {
    const struct cam_document_sink sink = {fuzz_take_document, fuzz_take_rejected, NULL};
    struct cam_ndjson_reader *reader = NULL;
    if (cam_ndjson_reader_new(limits, &sink, &reader) != CAM_OK)
        return;
    for (size_t at = 0; at < n_bytes; at += piece)
        fuzz_expect(cam_ndjson_reader_push(reader, bytes + at,
                                           n_bytes - at < piece ? n_bytes - at : piece) == CAM_OK);
    fuzz_expect(cam_ndjson_reader_finish(reader) == CAM_OK);
    cam_ndjson_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    static const char *const formats[] = {NULL, "jsonfeed", "ndjson"};
    const struct cam_document_sink sink = {fuzz_take_document, fuzz_take_rejected, NULL};
    struct cam_feed_limits limits;
    if (n_bytes == 0)
        return 0;
    const char *text = (const char *)bytes + 1;
    cam_feed_limits_init(&limits);
    limits.max_line_bytes = 512;
    read_pieces(text, n_bytes - 1, 1 + bytes[0], &limits);
    for (size_t i = 0; i < 3; i++) {
        const struct cam_feed_input input = {
            .bytes = text, .n_bytes = n_bytes - 1, .base = "http://x/", .format = formats[i]};
        enum cam_status status = cam_feed_read_input(&input, &limits, &sink, NULL);
        fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    }
    return 0;
}
