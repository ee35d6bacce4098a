/* Which encoding it is, and what becomes of it (N16). */
#include "feed/encoding.h"

#include <criterion/criterion.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static struct cam_buffer scratch;
static size_t n_replaced;

static void make(void) {
    cam_buffer_init(&scratch, 0);
}

static void drop(void) {
    cam_buffer_release(&scratch);
}

TestSuite(encoding, .init = make, .fini = drop);

/* The bytes as UTF-8, or NULL where they are refused. */
static const char *decode(const char *bytes, size_t n, const char *content_type) {
    static char copy[4096];
    struct cam_encoding encoding;
    const char *text;
    size_t n_text;
    if (cam_encoding_find(bytes, n, content_type, &encoding) != CAM_OK)
        return NULL;
    MUST(cam_encoding_decode(bytes, n, &encoding, &scratch, &text, &n_text, &n_replaced));
    cr_assert_lt(n_text, sizeof copy);
    memcpy(copy, text, n_text);
    copy[n_text] = '\0';
    return copy;
}

#define CHECK(bytes, type, expected)                                                               \
    do {                                                                                           \
        const char *got_ = decode(bytes, sizeof(bytes) - 1, type);                                 \
        cr_expect(got_ != NULL, "%s", cam_message());                                              \
        if (got_)                                                                                  \
            cr_expect_str_eq(got_, expected);                                                      \
    } while (0)
#define REFUSED(bytes, type) cr_expect_null(decode(bytes, sizeof(bytes) - 1, type), "%s", bytes)

#define DECLARED(name, text) "<?xml version=\"1.0\" encoding=\"" name "\"?>" text

Test(encoding, a_mark_is_stronger_than_a_header) {
    CHECK("\xEF\xBB\xBF\xC3\xA9", "text/xml; charset=iso-8859-1", "\xC3\xA9");
    CHECK("\xFE\xFF\0a\xD8\x3D\xDE\0", "text/xml; charset=utf-8", "a\xF0\x9F\x98\x80");
    CHECK("\xFF\xFE<\0a\0", NULL, "<a");
    CHECK("\0\0\xFE\xFF\0\0\0a", NULL, "a");
    CHECK("\xFF\xFE\0\0a\0\0\0", NULL, "a");
}

Test(encoding, wide_markup_needs_no_mark) {
    CHECK("<\0?\0x\0", NULL, "<?x");
    CHECK("\0<\0?\0x", NULL, "<?x");
    CHECK("\0\0\0<\0\0\0a", NULL, "<a");
    CHECK("<\0\0\0a\0\0\0", NULL, "<a");
}

Test(encoding, a_header_is_stronger_than_a_declaration) {
    CHECK(DECLARED("utf-8", "\xE9"), "text/xml; charset=iso-8859-1", DECLARED("utf-8", "\xC3\xA9"));
    CHECK(DECLARED("koi8-r", "\xCD"), "application/xml; charset=\"windows-1251\"",
          DECLARED("koi8-r", "\xD0\x9D"));
    /* A header that names nothing is passed over. */
    CHECK(DECLARED("iso-8859-1", "\xE9"), "text/xml; charset=none",
          DECLARED("iso-8859-1", "\xC3\xA9"));
    CHECK(DECLARED("iso-8859-1", "\xE9"), "text/xml", DECLARED("iso-8859-1", "\xC3\xA9"));
}

Test(encoding, declarations) {
    CHECK(DECLARED("ISO-8859-1", "caf\xE9 \x93x\x94"), NULL,
          DECLARED("ISO-8859-1", "caf\xC3\xA9 \xE2\x80\x9Cx\xE2\x80\x9D"));
    CHECK(DECLARED("Windows-1251", "\xCC\xE8\xF0"), NULL,
          DECLARED("Windows-1251", "\xD0\x9C\xD0\xB8\xD1\x80"));
    CHECK(DECLARED("KOI8-R", "\xED\xC9\xD2"), NULL, DECLARED("KOI8-R", "\xD0\x9C\xD0\xB8\xD1\x80"));
    CHECK(DECLARED("x-mac-cyrillic", "\x8C\xE8\xF0"), NULL,
          DECLARED("x-mac-cyrillic", "\xD0\x9C\xD0\xB8\xD1\x80"));
    CHECK(DECLARED("Shift_JIS", "\x93\xFA\x96\x7B"), NULL,
          DECLARED("Shift_JIS", "\xE6\x97\xA5\xE6\x9C\xAC"));
    CHECK(DECLARED("EUC-JP", "\xC6\xFC\xCB\xDC"), NULL,
          DECLARED("EUC-JP", "\xE6\x97\xA5\xE6\x9C\xAC"));
    CHECK(DECLARED("gb2312", "\xD6\xD0\xCE\xC4"), NULL,
          DECLARED("gb2312", "\xE4\xB8\xAD\xE6\x96\x87"));
    CHECK(DECLARED("big5", "\xA4\xA4\xA4\xE5"), NULL, DECLARED("big5", "\xE4\xB8\xAD\xE6\x96\x87"));
    CHECK(DECLARED("euc-kr", "\xC7\xD1\xB1\xDB"), NULL,
          DECLARED("euc-kr", "\xED\x95\x9C\xEA\xB8\x80"));
    cr_expect_eq(n_replaced, 0);
    /* It says UTF-16 in bytes that are not. */
    CHECK(DECLARED("UTF-16", "caf\xC3\xA9"), NULL, DECLARED("UTF-16", "caf\xC3\xA9"));
}

Test(encoding, pages_say_it_in_meta) {
    CHECK("<html><meta charset=windows-1251><p>\xCC", "text/html",
          "<html><meta charset=windows-1251><p>\xD0\x9C");
    CHECK("<!DOCTYPE html><head><META HTTP-EQUIV='Content-Type' CONTENT='text/html; "
          "charset=ISO-8859-1'>\xE9",
          NULL,
          "<!DOCTYPE html><head><META HTTP-EQUIV='Content-Type' CONTENT='text/html; "
          "charset=ISO-8859-1'>\xC3\xA9");
    /* In a feed it is somebody's text. */
    CHECK("<rss><![CDATA[<meta charset=windows-1251>]]>\xC3\xA9</rss>", NULL,
          "<rss><![CDATA[<meta charset=windows-1251>]]>\xC3\xA9</rss>");
}

Test(encoding, nothing_is_said) {
    CHECK("caf\xC3\xA9", NULL, "caf\xC3\xA9");
    CHECK("caf\xE9 \x80", NULL, "caf\xC3\xA9 \xE2\x82\xAC"); /* not one sequence of it is UTF-8 */
    CHECK("caf\xC3\xA9 \xE9", NULL, "caf\xC3\xA9 \xEF\xBF\xBD");
    cr_expect_eq(n_replaced, 1);
    CHECK("", NULL, "");
}

Test(encoding, N16_what_is_not_read) {
    REFUSED(DECLARED("UTF-7", "+ADw-script+AD4-"), NULL);
    REFUSED("+ADw-script+AD4-", "text/html; charset=utf-7");
    REFUSED(DECLARED("unicode-1-1-utf-7", ""), NULL);
    REFUSED(DECLARED("../../tmp/x", "a"), NULL);
    REFUSED(DECLARED("UTF-8//IGNORE", "a"), NULL);
    REFUSED(DECLARED("x-user-defined", "a"), NULL);
    REFUSED(
        DECLARED("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""),
        NULL);
    cr_expect(strstr(cam_message(), "not read"), "%s", cam_message());
}

Test(encoding, N16_bytes_that_mean_nothing_are_replaced_and_counted) {
    CHECK(DECLARED("UTF-8", "a\xE9z"), NULL, DECLARED("UTF-8", "a\xEF\xBF\xBDz"));
    cr_expect_eq(n_replaced, 1);
    CHECK(DECLARED("UTF-8", "\xC0\xAF"), NULL, DECLARED("UTF-8", "\xEF\xBF\xBD\xEF\xBF\xBD"));
    CHECK(DECLARED("UTF-8", "\xED\xA0\x80"), NULL,
          DECLARED("UTF-8", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD")); /* a surrogate */
    CHECK(DECLARED("windows-1252", "a\x81z"), NULL, DECLARED("windows-1252", "a\xEF\xBF\xBDz"));
    cr_expect_eq(n_replaced, 1);
    CHECK("\xFE\xFF\0a\xD8\0\0b", NULL,
          "a\xEF\xBF\xBD"
          "b");                                    /* half a pair */
    CHECK("\xFE\xFF\0a\0", NULL, "a\xEF\xBF\xBD"); /* an odd length */
    CHECK(DECLARED("shift_jis", "\x93"), NULL, DECLARED("shift_jis", "\xEF\xBF\xBD"));
}
