/* HTML as an entry's content, as a page, its head and feeds, and the helpers on markup. */
#include "feed/discover.h"
#include "feed/html.h"
#include "feed/markup.h"
#include "text/clean.h"
#include "fuzz.h"

static void convert(const struct cam_buffer *html) {
    static enum cam_status (*const to_text[])(const char *, size_t, struct cam_buffer *) = {
        cam_html_to_text, cam_html_page_to_text, cam_html_main_text};
    const char *bytes = html->data ? html->data : "";
    struct cam_buffer out;
    int is_base64;
    cam_buffer_init(&out, 1u << 20);
    for (size_t i = 0; i < 3; i++) {
        cam_buffer_clear(&out);
        enum cam_status status = to_text[i](bytes, html->size, &out);
        fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    }
    cam_buffer_clear(&out);
    fuzz_expect(cam_markup_decode(&out, bytes, html->size) != CAM_ERR_OS);
    cam_buffer_clear(&out);
    fuzz_expect(cam_markup_resolve(&out, bytes, html->size, "http://x/y/") != CAM_ERR_OS);
    cam_buffer_clear(&out);
    fuzz_expect(cam_markup_base64(&out, bytes, html->size, &is_base64) != CAM_ERR_OS);
    (void)cam_markup_is_html(bytes, html->size, CAM_MARKUP_STRICT);
    (void)cam_markup_is_escaped_html(bytes, html->size);
    cam_buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    struct cam_feed_links links;
    struct cam_buffer html;
    enum cam_status status =
        cam_feed_discover((const char *)bytes, n_bytes, "text/html", "http://x/", &links);
    fuzz_expect(status == CAM_OK || status == CAM_ERR_DATA);
    cam_feed_links_release(&links);
    cam_buffer_init(&html, 1u << 20);
    if (cam_clean_utf8(bytes, n_bytes, &html, NULL) == CAM_OK)
        convert(&html);
    cam_buffer_release(&html);
    return 0;
}
