/* OPML: only http and https come out, whatever goes in. */
#include "feed/opml.h"
#include "feed/url.h"
#include "fuzz.h"

static enum cam_status take(void *context, const char *url, const char *title) {
    (void)context, (void)title;
    fuzz_expect(cam_url_is_http(url, strlen(url)) && !strpbrk(url, " \t\r\n"));
    return CAM_OK;
}

static enum cam_status ignore(void *context, const char *url, const char *why) {
    (void)context, (void)url, (void)why;
    return CAM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    const struct cam_opml_sink sink = {take, ignore, NULL};
    struct cam_feed_limits limits;
    cam_feed_limits_init(&limits);
    enum cam_status status = cam_opml_read((const char *)bytes, n_bytes, &limits, &sink);
    fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    return 0;
}
