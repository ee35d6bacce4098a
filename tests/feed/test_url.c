/* Relative references, by the examples of RFC 3986, section 5.4. */
#include "feed/url.h"

#include <criterion/criterion.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static void check(const char *base, const char *reference, const char *expected) {
    struct cam_buffer out;
    cam_buffer_init(&out, 4096);
    MUST(cam_buffer_append_text(&out, ">"));
    MUST(cam_url_resolve(base, reference, strlen(reference), &out));
    cr_expect_str_eq(out.data + 1, expected, "%s + %s = %s", base ? base : "", reference,
                     out.data + 1);
    cam_buffer_release(&out);
}

Test(url, rfc3986_normal_and_abnormal_examples) {
    static const char *const cases[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q#s"},
        {"g#s", "http://a/b/c/g#s"},
        {"g?y#s", "http://a/b/c/g?y#s"},
        {";x", "http://a/b/c/;x"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
        {"http:g", "http:g"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check("http://a/b/c/d;p?q", cases[i][0], cases[i][1]);
}

Test(url, as_feeds_have_them) {
    check("http://example.org", "x/y", "http://example.org/x/y");
    check("https://example.org?q", "/x", "https://example.org/x");
    check("HTTP://example.org/a", "b", "HTTP://example.org/b");
    check("http://example.org/", " /caf\xC3\xA9 au lait\n",
          "http://example.org/caf\xC3\xA9 au lait");
    check("http://example.org/", "tag:example.org,2004:1", "tag:example.org,2004:1");
    check("http://example.org/", "HTTP://EXAMPLE.org/%7Ea/../b", "HTTP://EXAMPLE.org/%7Ea/../b");
    check("http://example.org/x", "", "");
    check(NULL, "x", "x");
    check("", "x", "x");
    check("javascript:alert(1)/", "x", "x");
    check("file:///etc/", "passwd", "passwd");
    check("x/y", "z", "z");
}

Test(url, schemes) {
    cr_assert(cam_url_is_http("http://a", 8) && cam_url_is_http("HTTPS://a", 9));
    cr_assert(!cam_url_is_http("http:", 5) && !cam_url_is_http("ftp://a.b.c", 11));
    cr_assert(cam_url_has_scheme("mailto:x", 8) && !cam_url_has_scheme("a/b:c", 5));
    cr_assert(!cam_url_has_scheme("", 0) && !cam_url_has_scheme("1a:b", 4));
}

Test(url, past_the_limit_nothing_changes) {
    struct cam_buffer out;
    cam_buffer_init(&out, 16);
    MUST(cam_buffer_append_text(&out, "kept"));
    cr_assert_eq(cam_url_resolve("http://example.org/", "a-long-one", 10, &out), CAM_ERR_DATA);
    cr_assert_str_eq(out.data, "kept");
    cam_buffer_release(&out);
}
