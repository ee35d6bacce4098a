/* Dates and addresses: what is read is a date, and what is resolved stays bounded. */
#include "base/clock.h"
#include "feed/date.h"
#include "feed/url.h"
#include "fuzz.h"

#include "base/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    char text[CAM_RFC3339_BYTES], base[128] = "http://";
    struct cam_buffer out;
    int64_t unix_ms, again;
    if (cam_date_parse((const char *)bytes, n_bytes, &unix_ms) == 0 &&
        *cam_clock_rfc3339(unix_ms, text))
        fuzz_expect(cam_date_parse(text, strlen(text), &again) == 0 && again == unix_ms);
    size_t n = n_bytes / 2 < 100 ? n_bytes / 2 : 100;
    if (n)
        memcpy(base + 7, bytes, n);
    cam_buffer_init(&out, 4096);
    enum cam_status status = cam_url_resolve(base, (const char *)bytes + n, n_bytes - n, &out);
    fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    fuzz_expect(status != CAM_OK || out.size <= n_bytes + 128);
    cam_buffer_release(&out);
    return 0;
}
