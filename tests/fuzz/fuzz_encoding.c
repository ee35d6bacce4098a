/* Bytes in every encoding: what comes out is UTF-8.  The first byte picks the header. */
#include "feed/encoding.h"
#include "text/clean.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    static const char *const types[] = {NULL,
                                        "text/html",
                                        "x; charset=gb18030",
                                        "x; charset=shift_jis",
                                        "x; charset=iso-2022-jp",
                                        "x; charset=euc-kr",
                                        "x; charset=big5",
                                        "x; charset=euc-jp",
                                        "x; charset=windows-1252"};
    struct cam_encoding encoding;
    struct cam_buffer scratch, clean;
    const char *text;
    size_t n_text, n_replaced, n_more = 0;
    if (n_bytes == 0)
        return 0;
    const char *from = (const char *)bytes + 1;
    if (cam_encoding_find(from, n_bytes - 1, types[bytes[0] % 9], &encoding) != CAM_OK)
        return 0;
    cam_buffer_init(&scratch, 0);
    enum cam_status status =
        cam_encoding_decode(from, n_bytes - 1, &encoding, &scratch, &text, &n_text, &n_replaced);
    fuzz_expect(status == CAM_OK);
    cam_buffer_init(&clean, 16u << 20);
    fuzz_expect(cam_clean_utf8(text, n_text, &clean, &n_more) == CAM_OK && n_more == 0);
    fuzz_expect(cam_encoding_declaration(text, n_text) <= n_text);
    cam_buffer_release(&clean);
    cam_buffer_release(&scratch);
    return 0;
}
