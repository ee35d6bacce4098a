/* Markup to text: the layout rules, and time and memory bounded whatever comes. */
#include "feed/html.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static struct cam_buffer out;

static void make(void) {
    cam_buffer_init(&out, 64u << 20);
}

static void drop(void) {
    cam_buffer_release(&out);
}

TestSuite(html, .init = make, .fini = drop);

static void check(const char *html, const char *text) {
    cam_buffer_clear(&out);
    MUST(cam_html_to_text(html, strlen(html), &out));
    cr_assert_str_eq(out.data ? out.data : "", text, "%s\ngives \"%s\"", html, out.data);
}

Test(html, paragraphs_and_headings_are_set_apart) {
    check("<h1>Title</h1><p>One\n  two <b>three</b>.</p><p>Four</p>five",
          "Title\n\nOne two three.\n\nFour\n\nfive");
    check("<div>a</div><div>b</div>", "a\nb");
    check("a<br>b<br><br>c", "a\nb\n\nc");
    check("<p></p><p> </p><div><p>x</p></div><p></p>", "x");
    check("just text", "just text");
    check("", "");
}

Test(html, white_space_is_one_space) {
    check("a <i> b </i> c<b>d</b>e", "a b cde");
    check("<p> a </p> b", "a\n\nb");
}

Test(html, lists) {
    check("<ul><li>one</li><li><p>two</p></li><li>three<ol><li>in</li></ol></li></ul>after",
          "- one\n- two\n- three\n  1. in\n\nafter");
    check("<ul><li></li><li>x</ul>", "- x");
    check("<ol><li>a<li>b<ul><li>c</ul><li>d</ol>e", "1. a\n2. b\n  - c\n3. d\n\ne");
}

Test(html, tables) {
    check("<table><tr><th>a<th>b</tr><tr><td><p>1</p></td><td></td><td>3</td></tr></table>x",
          "a\tb\n1\t\t3\n\nx");
    check("<table><tr><td></td><td>b</td></tr><tr><td>c</td></tr></table>", "\tb\nc");
}

Test(html, pre_is_verbatim) {
    check("<p>see</p><pre>\nint x;\n    if  (y)\n\tz();\n</pre>so",
          "see\n\nint x;\n    if  (y)\n\tz();\n\nso");
}

Test(html, code_in_two_languages_is_two_lines) {
    check("<pre><code>import x</code><code>require(x)</code></pre>b", "import x\nrequire(x)\n\nb");
    check("<pre>a <code>b</code> c <code>d</code>\n<code>e</code></pre>", "a b c d\ne");
    check("<code>a</code><code>b</code>", "ab");
}

Test(html, signs_that_link_a_heading_to_itself_are_dropped) {
    check("<h2>One<a href=\"#one\">\xC2\xB6</a></h2><dl><dt>two<a> \xC2\xB6 </a></dt></dl>",
          "One\n\ntwo");
    check("<h2><a href=\"#one\">#</a> One</h2><h2><a>C#</a></h2>", "One\n\nC#");
    check("<p><a>#</a>1 \xC2\xB6 2 <a>\xC2\xA7</a>", "#1 \xC2\xB6 2 \xC2\xA7");
}

Test(html, entities_are_decoded) {
    check("&lt;b&gt; &amp; &eacute; &#8212; &#x1F600; &nope; &", "<b> & \xC3\xA9 \xE2\x80\x94 "
                                                                 "\xF0\x9F\x98\x80 &nope; &");
}

Test(html, what_is_no_text_is_dropped) {
    check("<html><head><title>t</title><style>p{}</style></head><body>a<script>if (1 < 2) "
          "x('<p>no</p>')</script><nav><ul><li>menu</li></ul></nav><template><p>t</p></template>"
          "<noscript>n</noscript><!-- c -->b<style>i{}</style>c</body></html>",
          "a\nbc");
    check("a<iframe>no frames</iframe><audio>no sound</audio><object data=\"x\"><p>told instead</p>"
          "</object>b",
          "a\n\ntold instead\n\nb");
}

Test(html, what_is_hidden_is_dropped) {
    check("a<p hidden>b</p><div style=\"color:red; DISPLAY : none\"><p>c</p></div>"
          "<span aria-hidden=\"true\">d</span><i style=\"color:red\">e</i>",
          "a\n\ne");
    check("<body style=\"display:none\">waits for a script</body>", "waits for a script");
    check("<div hidden><script>x</script><p>y</div>z", "z");
}

Test(html, of_a_page_what_is_around_the_content_is_dropped) {
    static const char page[] =
        "<html><head><title>t</title></head><body><header>top</header><div role=navigation>n</div>"
        "<main><header><h1>H</h1></header><p>text</p><form>f</form><aside>s</aside></main>"
        "<footer>end</footer></body></html>";
    MUST(cam_html_page_to_text(page, sizeof page - 1, &out));
    cr_assert_str_eq(out.data, "H\n\ntext");
    check(page, "top\nn\n\nH\n\ntext\n\nf\n\ns\n\nend"); /* of an entry nothing is */
}

Test(html, pages_glued_together_are_read_on) {
    check("<html><body>one</body></html>\n<html><body>two</body></HTML >three</html",
          "one\ntwo\nthree");
}

Test(html, utf8_is_utf8_whatever_meta_says) {
    check("<meta charset=\"iso-8859-1\"><p>\xC3\xA9\xE2\x82\xAC", "\xC3\xA9\xE2\x82\xAC");
}

static char *repeat(const char *unit, size_t total, size_t *n) {
    size_t u = strlen(unit);
    char *bytes = malloc(total + u);
    for (*n = 0; *n < total; *n += u)
        memcpy(bytes + *n, unit, u);
    return bytes;
}

Test(html, P04_deep_nesting_is_refused) {
    static const char *const units[] = {"<div>", "<b>", "<table><tr><td>", "<ul><li>x"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t n;
        char *bytes = repeat(units[i], 1u << 20, &n);
        cam_buffer_clear(&out);
        MUST(cam_buffer_append_text(&out, "kept"));
        cr_assert_eq(cam_html_to_text(bytes, n, &out), CAM_ERR_DATA, "%s", units[i]);
        cr_assert_str_eq(out.data, "kept");
        free(bytes);
    }
}

/* Quadratic work on any of these would run into the test's time limit many times over. */
Test(html, P04_hostile_markup_is_linear) {
    static const char *const units[] = {"<",      "<!--",      "<a b=\"", "&amp",       "</i>",
                                        "<?",     "<![CDATA[", "<p",      "<!DOCTYPE ", "</html",
                                        "<p><i>", "\n",        "a"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t n;
        char *bytes = repeat(units[i], 1u << 20, &n);
        cam_buffer_clear(&out);
        enum cam_status status = cam_html_to_text(bytes, n, &out);
        cr_assert(status == CAM_OK || status == CAM_ERR_DATA, "%s", units[i]);
        free(bytes);
    }
}

Test(html, P04_one_line_of_12_megabytes) {
    size_t n;
    char *bytes = repeat("word word ", 12000000, &n);
    MUST(cam_html_to_text(bytes, n, &out));
    cr_assert_eq(out.size, n - 1);
    free(bytes);
}

Test(html, past_the_limit_nothing_changes) {
    struct cam_buffer small;
    cam_buffer_init(&small, 16);
    MUST(cam_buffer_append_text(&small, "kept"));
    cr_assert_eq(cam_html_to_text("<p>far too long for this</p>", 28, &small), CAM_ERR_DATA);
    cr_assert_str_eq(small.data, "kept");
    cam_buffer_release(&small);
}
