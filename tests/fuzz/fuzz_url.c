/* What people type as a feed's address, and what servers redirect to: judged, masked, resolved. */
#include "feed/fetch.h"
#include "feed/url.h"
#include "fuzz.h"

#include "base/buffer.h"

#include <ctype.h>
#include <strings.h>

#define SECRET "s3cr3t-w0rd"

/* A password in front of whatever came must not survive masking. */
static void check_mask(const char *text) {
    char url[4300], out[256];
    fuzz_expect(cam_url_mask(text, out, sizeof out) == out && strlen(out) < sizeof out);
    if (strlen(text) > 4000 || strstr(text, "://") || strstr(text, SECRET))
        return;
    strcpy(url, "https://u:" SECRET "@");
    strcat(url, text);
    fuzz_expect(strstr(cam_url_mask(url, out, sizeof out), SECRET) == NULL);
    if (cam_fetch_check_url(url) != CAM_OK)
        fuzz_expect(strstr(cam_message(), SECRET) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    struct cam_buffer out;
    char *text = malloc(n_bytes + 1);
    if (!text)
        return 0;
    memcpy(text, bytes, n_bytes);
    text[n_bytes] = '\0';
    enum cam_status status = cam_fetch_check_url(text);
    fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    check_mask(text);
    char *reference = strchr(text, ' ');
    cam_buffer_init(&out, 4096);
    if (reference) {
        *reference++ = '\0';
        while (isspace((unsigned char)*reference)) /* resolving passes it over, too */
            reference++;
        status = cam_url_resolve(text, reference, strlen(reference), &out);
        fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
        if (status == CAM_OK && cam_url_is_http(text, strlen(text)) && out.size > 0 &&
            !cam_url_has_scheme(reference, strlen(reference))) /* "//" names no host */
            fuzz_expect(strncasecmp(out.data, "http:", 5) == 0 ||
                        strncasecmp(out.data, "https:", 6) == 0);
    }
    cam_buffer_release(&out);
    free(text);
    return 0;
}
