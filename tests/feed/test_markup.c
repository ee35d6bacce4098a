/* Markup as bytes: guesses, references, links, base64, and XML that is mended. */
#include "feed/markup.h"
#include "feed/xml_repair.h"

#include <criterion/criterion.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static struct cam_buffer out;

static void make(void) {
    cam_buffer_init(&out, 1u << 20);
}

static void drop(void) {
    cam_buffer_release(&out);
}

TestSuite(markup, .init = make, .fini = drop);

Test(markup, what_looks_like_html) {
    static const struct {
        const char *text;
        int loose, strict;
    } cases[] = {
        {"plain", 0, 0},
        {"a < b and b > c", 0, 0},
        {"a <b and c", 0, 0},
        {"<p>x", 1, 0},
        {"<p>x</p>", 1, 1},
        {"x<br/>y", 1, 1},
        {"x &amp; y", 1, 1},
        {"x &#8212; y", 1, 1},
        {"x &nope; &y", 0, 0},
        {"?a=1&copy=2", 0, 0},
        {"the <vector> header", 0, 0},
        {"<vector> <b>x</b>", 1, 0},
        {"<!-- x -->", 1, 0},
        {"<B CLASS=x>y</B>", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        cr_expect_eq(cam_markup_is_html(cases[i].text, n, CAM_MARKUP_LOOSE), cases[i].loose, "%s",
                     cases[i].text);
        cr_expect_eq(cam_markup_is_html(cases[i].text, n, CAM_MARKUP_STRICT), cases[i].strict, "%s",
                     cases[i].text);
    }
}

Test(markup, references_are_decoded_once) {
    static const char text[] =
        "&amp;lt; &eacute;&#xE9;&#233; &#150; &copy=1 &; & &#0; &#x110000; &#;";
    MUST(cam_markup_decode(&out, text, sizeof text - 1));
    cr_assert_str_eq(out.data, "&lt; \xC3\xA9\xC3\xA9\xC3\xA9 \xE2\x80\x93 &copy=1 &; & &#0; "
                               "&#x110000; &#;");
}

static void check_resolve(const char *html, const char *base, const char *expected) {
    cam_buffer_clear(&out);
    MUST(cam_markup_resolve(&out, html, strlen(html), base));
    cr_expect_str_eq(out.data ? out.data : "", expected);
}

Test(markup, links_are_resolved) {
    check_resolve("<a HREF=b>x</a> <img src = 'i' alt=\"<>\"> href=\"no\" <a href>", "http://x/y/",
                  "<a HREF=http://x/y/b>x</a> <img src = 'http://x/y/i' alt=\"<>\"> href=\"no\" "
                  "<a href>");
    check_resolve("<a href=\"#f\"><a href='http://z/'><a href='mailto:a'>", "http://x/p?q",
                  "<a href=\"http://x/p?q#f\"><a href='http://z/'><a href='mailto:a'>");
    check_resolve("<a href=\"b", "http://x/", "<a href=\"http://x/b");
    check_resolve("<a href=\"b\">", "", "<a href=\"b\">");
    check_resolve("< a href=b> </a href=b> <", "http://x/", "< a href=b> </a href=b> <");
}

Test(markup, base64) {
    static const char text[] = " RXhhbXBs\nZSA8Yj5BdG9tPC9iPg== ";
    int is_base64 = 0;
    MUST(cam_markup_base64(&out, text, sizeof text - 1, &is_base64));
    cr_assert_str_eq(out.data, "Example <b>Atom</b>");
    cr_assert_eq(cam_markup_base64(&out, "no base64!", 10, &is_base64), CAM_ERR_DATA);
    cr_assert_eq(cam_markup_base64(&out, "AAAA", 4, &is_base64), CAM_ERR_DATA); /* three NULs */
    cr_assert_eq(cam_markup_base64(&out, "/////w==", 8, &is_base64), CAM_ERR_DATA);
    cr_assert_eq(is_base64, 1);
    cr_assert_eq(cam_markup_base64(&out, "hello", 5, &is_base64), CAM_ERR_DATA);
    cr_assert_eq(is_base64, 0);
}

static void check_repair(const char *xml, const char *expected) {
    int changed = 0;
    cam_buffer_clear(&out);
    MUST(cam_xml_repair(xml, strlen(xml), &out, &changed));
    cr_expect_str_eq(out.data ? out.data : "", expected);
    cr_expect_eq(changed, strcmp(xml, expected) != 0, "%s", xml);
}

Test(markup, xml_is_mended_where_it_is_broken) {
    check_repair("<a b=\"c\">&amp;&eacute;&#233;&#xE9;</a>",
                 "<a b=\"c\">&amp;&eacute;&#233;&#xE9;</a>");
    check_repair("a & b &c= &d;", "a &amp; b &amp;c= &d;");
    check_repair("<x>1 < 2 <3 <", "<x>1 &lt; 2 &lt;3 &lt;");
    check_repair("<![CDATA[a & b < c]]>&", "<![CDATA[a & b < c]]>&amp;");
    check_repair("<!-- & < --><? & ?>", "<!-- & < --><? & ?>");
    check_repair("<![CDATA[\x01&", "<![CDATA[&");
    check_repair("a\x02\xEF\xBF\xBE"
                 "b",
                 "ab");
    check_repair("&#146;&#X41;&#1;&#xD800;&#x;&#",
                 "&#8217;&#x41;\xEF\xBF\xBD\xEF\xBF\xBD&amp;#x;&amp;#");
}
