/* HTML pages: what they say about themselves, the feeds they name, their main text. */
#include "feed/discover.h"
#include "feed/html.h"
#include "feed/page_head.h"
#include "feed_support.h"

static struct collector c;

static void drop(void) {
    collector_release(&c);
}

TestSuite(page, .fini = drop);

static const struct kept *read_page(const char *bytes, size_t n, const char *base) {
    const struct cam_feed_input input = {
        .bytes = bytes, .n_bytes = n, .base = base, .accept_pages = 1};
    struct cam_feed_limits limits;
    struct cam_document_sink sink = collector_sink(&c);
    const char *format = NULL;
    collector_release(&c);
    cam_feed_limits_init(&limits);
    MUST(cam_feed_read_input(&input, &limits, &sink, &format));
    cr_assert_str_eq(format, "html");
    cr_assert_eq(c.n_documents, 1);
    return &c.document[0];
}

Test(page, article_with_everything_around_it) {
    size_t n;
    char *bytes = load_sample("article.html", &n);
    const struct kept *d = read_page(bytes, n, "http://example.org/got");
    free(bytes);
    cr_assert_str_eq(d->title, "How a tree grows");
    cr_assert_str_eq(d->url, "http://example.org/trees/growth");
    cr_assert_str_eq(d->author, "Ada Wood");
    cr_assert_str_eq(d->published, "2024-05-06T07:08:09Z");
    cr_assert_str_eq(d->language, "en");
    cr_assert_null(d->id);
    static const char *const in[] = {"How a tree grows\n\nA tree grows",
                                     "Each year the cambium adds one ring",
                                     "- early wood is light",
                                     "1. cut a thin slice",
                                     "Year\tWidth\n2021\t3 mm",
                                     "  for (int i = 0; i < n; i++)\n      width += ring[i];",
                                     "The last paragraph"};
    static const char *const out[] = {"Subscribe",     "Home",         "Cookie", "Related",
                                      "Copyright",     "hidden words", "var x",  "Log in",
                                      "Advertisement", "Share this"};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        cr_assert(strstr(d->text, in[i]), "lacks %s:\n%s", in[i], d->text);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        cr_assert_null(strstr(d->text, out[i]), "holds %s:\n%s", out[i], d->text);
}

Test(page, without_article_elements) {
    static const char page[] =
        "<html><head><title>T</title></head><body><div><a href='/'>Home</a> <a href='/n'>News</a> "
        "<a href='/s'>Sport</a></div><div class='x'><h1>A headline about rings</h1>"
        "<p>The first paragraph of the story is long enough to be told from the lines of the menu, "
        "as it has more than a few words in it and no link at all.</p>"
        "<p>The second one has <a href='/a'>a link</a>, but it is mostly text as well, so it has "
        "to "
        "stay where it is, between the first and the third.</p><h2>More</h2><ul><li>one</li><li>two"
        "</li></ul><p>The third paragraph ends the story with another good number of words, so "
        "that "
        "nobody could take it for a footer.</p></div>"
        "<div>Copyright 2024</div><div><a href='/i'>Imprint</a> | <a href='/p'>Privacy</a></div>"
        "</body></html>";
    const struct kept *d = read_page(page, sizeof page - 1, NULL);
    cr_assert_eq(strncmp(d->text, "A headline about rings\n\nThe first paragraph", 43), 0, "%s",
                 d->text);
    cr_assert(strstr(d->text, "More\n\n- one\n- two\n\nThe third"), "%s", d->text);
    cr_assert_null(strstr(d->text, "Sport"), "%s", d->text);
    cr_assert_null(strstr(d->text, "Imprint"), "%s", d->text);
    cr_assert_null(d->url);
}

Test(page, a_page_without_main_text_is_taken_as_it_is) {
    static const char page[] = "<html><body><nav>menu</nav><p>Few words.</p></body></html>";
    cr_assert_str_eq(read_page(page, sizeof page - 1, "http://x/")->text, "Few words.");
    cr_assert_str_eq(c.document[0].url, "http://x/");
    static const char around[] = "<html><body><footer>All there is</footer></body></html>";
    cr_assert_str_eq(read_page(around, sizeof around - 1, NULL)->text, "All there is");
}

Test(page, a_form_around_the_page_is_no_form) {
    static const char page[] = "<html><body><form><div><p>The page of a system that puts all of it "
                               "in a form, with so many words that they are the text of it.</p>"
                               "<form>Log in</form></div></form></body></html>";
    cr_assert(strstr(read_page(page, sizeof page - 1, NULL)->text, "puts all of it"));
}

Test(page, encodings) {
    static const char page[] =
        "<html><head><meta charset='windows-1251'><title>\xCC\xE8\xF0</title>"
        "<body>\xCC\xE8\xF0";
    cr_assert_str_eq(read_page(page, sizeof page - 1, NULL)->title, "\xD0\x9C\xD0\xB8\xD1\x80");
    cr_assert_str_eq(c.document[0].text, "\xD0\x9C\xD0\xB8\xD1\x80");
}

static struct cam_feed_links discover(const char *html, const char *base) {
    struct cam_feed_links links;
    MUST(cam_feed_discover(html, strlen(html), NULL, base, &links));
    return links;
}

Test(page, feeds_are_discovered) {
    struct cam_feed_links links = discover(
        "<html><head><base href=\"/sub/\"><link rel=\"alternate\" type=\"application/rss+xml\" "
        "title=\"All &amp; more\" href=\"rss\"><LINK REL='Alternate home' "
        "TYPE='Application/Atom+XML; "
        "x' HREF='http://y/atom'><link rel=stylesheet type=text/css href=s.css>"
        "<link rel=\"alternate\" hreflang=\"de\" href=\"/de\">"
        "<link rel=alternate type=application/json href=\"/wp-json/1\">"
        "<link rel=alternate type=application/json href=\"/feed.json\">"
        "<link rel=alternate type=application/rss+xml href=\"rss\">"
        "<link rel=alternate type=application/rss+xml href=\"file:///etc/passwd\">"
        "<link rel=alternate type=application/rss+xml href=\"javascript:x\">"
        "</head><body><link rel=alternate type=application/feed+json href=late></body></html>",
        "http://x/page");
    cr_assert_eq(links.n_links, 4);
    cr_assert_str_eq(links.link[0].url, "http://x/sub/rss");
    cr_assert_str_eq(links.link[0].title, "All & more");
    cr_assert_str_eq(links.link[0].type, "application/rss+xml");
    cr_assert_str_eq(links.link[1].url, "http://y/atom");
    cr_assert_str_eq(links.link[2].url, "http://x/feed.json");
    cr_assert_str_eq(links.link[3].url, "http://x/sub/late");
    cam_feed_links_release(&links);
}

Test(page, discovery_is_bounded_and_needs_a_base) {
    char page[20000] = "";
    size_t n = 0;
    for (int i = 0; i < 100; i++)
        n +=
            (size_t)sprintf(page + n, "<link rel=alternate type=text/xml href=\"http://x/%d\">", i);
    struct cam_feed_links links = discover(page, NULL);
    cr_assert_eq(links.n_links, CAM_MAX_FEED_LINKS);
    cam_feed_links_release(&links);
    links = discover("<link rel=alternate type=application/rss+xml href=rss>", NULL);
    cr_assert_eq(links.n_links, 0);
    cam_feed_links_release(&links);
    links = discover("", "http://x/");
    cr_assert_eq(links.n_links, 0);
    cam_feed_links_release(&links);
}

Test(page, a_page_in_place_of_a_feed_is_refused) {
    cr_assert_eq(read_string("<!DOCTYPE html><html><body>Please log in</body></html>", &c),
                 CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "an HTML page, not a feed"), "%s", cam_message());
    cr_assert_eq(c.n_documents, 0);
}

Test(page, a_page_in_place_of_a_feed_names_its_feeds) {
    const char page[] =
        "<!DOCTYPE html><html><link rel=alternate type=application/rss+xml href=/rss>"
        "<link rel=alternate type=application/atom+xml href=http://y/a></html>";
    const struct cam_feed_input input = {
        .bytes = page, .n_bytes = sizeof page - 1, .base = "http://x/page"};
    struct cam_feed_limits limits;
    struct cam_document_sink sink = collector_sink(&c);
    cam_feed_limits_init(&limits);
    cr_assert_eq(cam_feed_read_input(&input, &limits, &sink, NULL), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "http://x/rss, http://y/a"), "%s", cam_message());
}

Test(page, P04_main_text_is_linear) {
    static const char *const units[] = {
        "<p>word word</p>", "<a href=x>y</a><br>", "<li>x", "<h1>h</h1>", "<div>", "w "};
    struct cam_buffer out;
    cam_buffer_init(&out, 64u << 20);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t n_unit = strlen(units[i]), n = 0, total = 1u << 20;
        char *page = malloc(total + n_unit);
        for (; n < total; n += n_unit)
            memcpy(page + n, units[i], n_unit);
        cam_buffer_clear(&out);
        enum cam_status status = cam_html_main_text(page, n, &out);
        cr_assert(status == CAM_OK || status == CAM_ERR_DATA, "%s", units[i]);
        free(page);
    }
    cam_buffer_release(&out);
}
