/* RSS of every version: where the fields come from, and what feeds get wrong. */
#include "feed_support.h"

#define RSS(inside)  "<rss version=\"2.0\"><channel>" inside "</channel></rss>"
#define ITEM(inside) RSS("<item>" inside "</item>")

static struct collector c;

static void drop(void) {
    collector_release(&c);
}

TestSuite(rss, .fini = drop);

/* Reads one item. */
static const struct kept *one(const char *feed) {
    collector_release(&c);
    MUST(read_string(feed, &c));
    cr_assert_eq(c.n_rejected, 0, "%s", c.why[0]);
    cr_assert_eq(c.n_documents, 1, "%s", feed);
    return &c.document[0];
}

Test(rss, all_fields_of_rss_2) {
    size_t n;
    const char *format = NULL;
    char *bytes = load_sample("modules.rss", &n);
    MUST(read_bytes(bytes, n, "application/rss+xml", &c, &format));
    free(bytes);
    cr_assert_str_eq(format, "rss");
    cr_assert_eq(c.n_documents, 3);
    const struct kept *d = c.document;
    cr_assert_str_eq(d[2].id, "tag:example.org,2024:3");
    cr_assert_str_eq(d[2].url, "http://example.org/3?a=1&b=2");
    cr_assert_str_eq(d[2].title, "Rings & bark");
    cr_assert_str_eq(d[2].author, "Ada, Grace");
    cr_assert_str_eq(d[2].published, "2024-03-05T10:00:00Z");
    cr_assert_str_eq(d[2].updated, "2024-03-06T00:00:00Z");
    cr_assert_str_eq(d[2].language, "fr");
    cr_assert_str_eq(d[2].domain, "wood");
    cr_assert_str_eq(d[2].text, "The whole text.");
    cr_assert_str_eq(d[2].html, "<p>The <b>whole</b> text.</p>");
    cr_assert_str_eq(d[1].id, "http://example.org/2");
    cr_assert_str_eq(d[1].url, "http://example.org/2");
    cr_assert_str_eq(d[1].text, "Plain words,\nin two lines: 1 < 2 & so on");
    cr_assert_null(d[1].html);
    cr_assert_str_eq(d[1].language, "en-gb");
    cr_assert_str_eq(d[1].author, "editor@example.org (The Editor)");
    cr_assert_null(d[0].id);
    cr_assert_null(d[0].url);
    cr_assert_str_eq(d[0].title, "From Dublin");
    cr_assert_str_eq(d[0].text, "What the episode is about");
}

Test(rss, rss_1_is_rdf) {
    const struct kept *d =
        one("<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" "
            "xmlns=\"http://purl.org/rss/1.0/\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\">"
            "<channel rdf:about=\"http://x/\"><title>C</title></channel>"
            "<image><title>I</title></image>"
            "<item rdf:about=\"http://x/1\"><title>T</title><link>http://x/1.html</link>"
            "<description>D</description><dc:date>2024-01-02</dc:date></item></rdf:RDF>");
    cr_assert_str_eq(d->id, "http://x/1");
    cr_assert_str_eq(d->url, "http://x/1.html");
    cr_assert_str_eq(d->title, "T");
    cr_assert_str_eq(d->text, "D");
    cr_assert_str_eq(d->published, "2024-01-02T00:00:00Z");
    cr_assert_str_eq(d->updated, "2024-01-02T00:00:00Z");
}

Test(rss, an_enclosure_is_the_address_where_there_is_no_other) {
    const struct kept *d =
        one(ITEM("<enclosure url=\"http://x/1.mp3\" length=\"9\" type=\"audio/mpeg\"/>"
                 "<enclosure url=\"http://x/2.mp3\"/><description>About it</description>"));
    cr_assert_str_eq(d->url, "http://x/1.mp3");
    cr_assert_not(d->is_summary, "there is no page with the rest of it");
    d = one(ITEM("<enclosure url=\"http://x/1.mp3\"/><guid>http://x/page</guid>"
                 "<description>About it</description>"));
    cr_assert_str_eq(d->url, "http://x/page");
    cr_assert(d->is_summary);
    d = one(ITEM("<link>http://x/page</link><enclosure url=\"http://x/1.mp3\"/>"));
    cr_assert_str_eq(d->url, "http://x/page");
    d = one(
        ITEM("<enclosure url=\"http://x/1.mp3\"/><guid isPermaLink=\"false\">http://x/g</guid>"));
    cr_assert_str_eq(d->url, "http://x/1.mp3");
}

Test(rss, without_any_base_a_relative_link_is_the_sites) {
    cr_assert_str_eq(one(RSS("<link>http://x/a/</link><item><link>b</link></item>"))->url,
                     "http://x/a/b");
    cr_assert_str_eq(one(RSS("<item><link>/b</link></item><link>http://x/a/</link>"))->url,
                     "http://x/b");
    cr_assert_str_eq(
        one("<rss><channel><a:link xmlns:a=\"http://www.w3.org/2005/Atom\" rel=\"self\" "
            "href=\"http://x/feed/\"/><item><link>b</link></item></channel></rss>")
            ->url,
        "http://x/feed/b");
    cr_assert_str_eq(one(RSS("<link>javascript:x</link><item><link>/b</link></item>"))->url, "/b");
    cr_assert_str_eq(
        one("<rss xml:base=\"http://y/\"><channel><link>http://x/</link><item><link>b</link></item>"
            "</channel></rss>")
            ->url,
        "http://y/b");
}

Test(rss, old_versions) {
    static const char *const feeds[] = {
        "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" "
        "xmlns=\"http://my.netscape.com/rdf/simple/0.9/\"><channel/><item><title>T</title></item>"
        "</rdf:RDF>",
        "<!DOCTYPE rss PUBLIC \"-//Netscape Communications//DTD RSS 0.91//EN\" "
        "\"http://my.netscape.com/publish/formats/rss-0.91.dtd\"><rss version=\"0.91\"><channel>"
        "<item><title>T</title></item></channel></rss>",
        "<rss version=\"0.92\"><channel><item><title>T</title></item></channel></rss>",
        "<rss xmlns=\"http://backend.userland.com/RSS2\"><channel><item><title>T</title></item>"
        "</channel></rss>",
        "<rss><item><title>T</title></item></rss>",
        "<rss "
        "xmlns=\"http://nobody.knows/\"><channel><item><title>T</title></item></channel></rss>",
        "<Channel xmlns=\"http://purl.org/net/rss1.1#\"><items><item><title>T</title></item>"
        "</items></Channel>",
    };
    for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++)
        cr_assert_str_eq(one(feeds[i])->title, "T", "%s", feeds[i]);
}

Test(rss, P06_ids_and_links) {
    cr_assert_null(one(ITEM("<title>x</title>"))->id);
    cr_assert_null(one(ITEM("<guid> </guid>"))->id);
    cr_assert_str_eq(one(ITEM("<guid>http://g/</guid>"))->url, "http://g/");
    cr_assert_null(one(ITEM("<guid isPermaLink=\"false\">http://g/</guid>"))->url);
    cr_assert_null(one(ITEM("<guid>abc</guid>"))->url);
    cr_assert_str_eq(one(ITEM("<guid>http://g/</guid><link>http://l/</link>"))->url, "http://l/");
    cr_assert_str_eq(one(ITEM("<link>http://l/</link><image><link>http://i/</link></image>"))->url,
                     "http://l/");
    cr_assert_str_eq(one(ITEM("<atom:link xmlns:atom=\"http://www.w3.org/2005/Atom\" rel=\"self\" "
                              "href=\"http://s/\"/><link>http://l/</link>"))
                         ->url,
                     "http://l/");
}

Test(rss, text_that_may_be_html) {
    cr_assert_str_eq(one(ITEM("<description>a &lt;b&gt;bold&lt;/b&gt; claim</description>"))->text,
                     "a bold claim");
    cr_assert_str_eq(one(ITEM("<description><![CDATA[<p>x</p>]]></description>"))->text, "x");
    cr_assert_str_eq(one(ITEM("<description><p>naked &amp; <i>x</i></p></description>"))->text,
                     "naked & x");
    cr_assert_str_eq(one(ITEM("<description>if a &lt; b then c</description>"))->text,
                     "if a < b then c");
    cr_assert_str_eq(one(ITEM("<description>the &lt;vector&gt; header</description>"))->text,
                     "the <vector> header");
    cr_assert_str_eq(one(ITEM("<title>AT&amp;amp;T</title>"))->title, "AT&T");
    cr_assert_str_eq(one(ITEM("<title>AT&amp;T</title>"))->title, "AT&T");
    cr_assert_str_eq(one(ITEM("<title>&lt;b&gt;x&lt;/b&gt;</title>"))->title, "x");
    cr_assert_str_eq(one(ITEM("<title>How &lt;video&gt; works</title>"))->title,
                     "How <video> works");
}

Test(rss, html_that_was_escaped_twice) {
    const struct kept *d = one(ITEM("<description>&amp;lt;p&amp;gt;One&amp;lt;/p&amp;gt;"
                                    "&amp;lt;p&amp;gt;Two&amp;lt;/p&amp;gt;</description>"));
    cr_assert_str_eq(d->text, "One\n\nTwo");
    /* What is about markup stays. */
    d = one(ITEM("<description>&lt;p&gt;use &amp;lt;p&amp;gt;&lt;/p&gt;</description>"));
    cr_assert_str_eq(d->text, "use <p>");
}

Test(rss, which_text_is_the_text) {
    const char *content = "xmlns:content=\"http://purl.org/rss/1.0/modules/content/\"";
    char feed[1024];
    snprintf(feed, sizeof feed,
             "<rss %s><item><description>short</description><content:encoded>long</content:encoded>"
             "</item></rss>",
             content);
    cr_assert_str_eq(one(feed)->text, "long");
    snprintf(feed, sizeof feed,
             "<rss %s><item><description>short</description><content:encoded> </content:encoded>"
             "</item></rss>",
             content);
    cr_assert_str_eq(one(feed)->text, "short");
    cr_assert_str_eq(one(ITEM("<summary>s</summary><description>longer</description>"))->text,
                     "longer");
    cr_assert_str_eq(
        one(ITEM("<body xmlns=\"http://www.w3.org/1999/xhtml\"><p>x</p></body>"))->text, "x");
    cr_assert_str_eq(one("<rss xmlns:media=\"http://search.yahoo.com/mrss/\"><item><media:group>"
                         "<media:title>T</media:title><media:description>About it"
                         "</media:description></media:group></item></rss>")
                         ->text,
                     "About it");
    cr_assert_str_eq(c.document[0].title, "T");
}

Test(rss, modules_with_the_same_names_do_not_count) {
    const struct kept *d = one(
        "<rss xmlns:x=\"http://x/\"><channel><item><x:title>no</x:title><title>yes</title>"
        "<x:description>no</x:description><description>words</description>"
        "<title xmlns=\"http://y/\">no</title><x:guid>no</x:guid><guid>g</guid></item></channel>"
        "</rss>");
    cr_assert_str_eq(d->title, "yes");
    cr_assert_str_eq(d->text, "words");
    cr_assert_str_eq(d->id, "g");
}

Test(rss, prefixes_that_nobody_declared) {
    const struct kept *d =
        one(ITEM("<dc:creator>Ada</dc:creator><content:encoded>&lt;p&gt;x&lt;/p&gt;"
                 "</content:encoded><foo:title>no</foo:title><media:thumbnail url=\"u\"/>"));
    cr_assert_str_eq(d->author, "Ada");
    cr_assert_str_eq(d->text, "x");
    cr_assert_null(d->title);
}

Test(rss, links_are_resolved) {
    const struct cam_feed_input input = {
        .bytes = ITEM("<link>/a</link><description>&lt;a href=\"b?x=1&amp;amp;y=2\" title=\"t\"&gt;"
                      "x&lt;/a&gt;&lt;img src='c d.png'&gt;</description>"),
        .n_bytes = sizeof(ITEM("<link>/a</link><description>&lt;a href=\"b?x=1&amp;amp;y=2\" "
                               "title=\"t\"&gt;x&lt;/a&gt;&lt;img src='c d.png'&gt;"
                               "</description>")) -
                   1,
        .base = "http://example.org/feeds/rss"};
    struct cam_feed_limits limits;
    struct cam_document_sink sink = collector_sink(&c);
    cam_feed_limits_init(&limits);
    MUST(cam_feed_read_input(&input, &limits, &sink, NULL));
    cr_assert_str_eq(c.document[0].url, "http://example.org/a");
    cr_assert_str_eq(c.document[0].html,
                     "<a href=\"http://example.org/feeds/b?x=1&amp;y=2\" title=\"t\">x</a>"
                     "<img src='http://example.org/feeds/c d.png'>");
}

Test(rss, html_entities_without_a_dtd) {
    cr_assert_str_eq(one(ITEM("<title>caf&eacute;&nbsp;&mdash; &unknown; &hearts;</title>"))->title,
                     "caf\xC3\xA9 \xE2\x80\x94 &unknown; \xE2\x99\xA5");
    cr_assert_str_eq(one("<?xml version=\"1.0\" standalone=\"yes\"?>" ITEM(
                             "<description>&eacute;<p title=\"&ouml;\">x</p></description>"))
                         ->text,
                     "\xC3\xA9\n\nx");
}

Test(rss, what_is_nearly_xml_is_repaired) {
    cr_assert_str_eq(one(ITEM("<title>AT&T & ?a=1&b=2 &copy;</title>"))->title,
                     "AT&T & ?a=1&b=2 \xC2\xA9");
    cr_assert_str_eq(one(ITEM("<title>ab\x01"
                              "cd\x0B</title>"))
                         ->title,
                     "abcd");
    cr_assert_str_eq(one(ITEM("<title>a < b, a<1</title>"))->title, "a < b, a<1");
    cr_assert_str_eq(one(ITEM("<title>it&#146;s &#0;</title>"))->title,
                     "it\xE2\x80\x99s \xEF\xBF\xBD");
    cr_assert_str_eq(
        one(ITEM("<title>AT&T</title><description><![CDATA[x &y <z]]></description>"))->text,
        "x &y <z");
    cr_assert_str_eq(one("\n \n<?xml version=\"1.0\"?>" ITEM("<title>T</title>"))->title, "T");
    cr_assert_str_eq(one("\xEF\xBB\xBF<?xml version=\"1.0\"?>" ITEM("<title>T</title>"))->title,
                     "T");
    cr_assert_str_eq(one(ITEM("<title>T</title>") "\n<br />Warning: line 3")->title, "T");
}

Test(rss, N16_replaced_bytes_are_counted_where_they_are) {
    MUST(read_string("<?xml version=\"1.0\" encoding=\"utf-8\"?>" RSS(
                         "<item><title>a\xFF</title><description>b\xFE\xFE</description></item>"
                         "<item><title>good</title></item>"),
                     &c));
    cr_assert_eq(c.n_documents, 2);
    cr_assert_eq(c.document[0].n_replaced, 0);
    cr_assert_eq(c.document[1].n_replaced, 3);
    cr_assert_str_eq(c.document[1].text, "b\xEF\xBF\xBD\xEF\xBF\xBD");
}

Test(rss, N13_entries_before_a_broken_place_are_kept) {
    static const char broken[] = "<rss><channel>\n<item><title>new</title></item>\n"
                                 "<item><title>older</title></item>\n"
                                 "<item><title>half</item>\n</channel></rss>";
    cr_assert_eq(read_string(broken, &c), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "line 4") && strstr(cam_message(), "2 entries"), "%s",
              cam_message());
    cr_assert_eq(c.n_documents, 2);
    cr_assert_str_eq(c.document[0].title, "older");
    cr_assert_str_eq(c.document[1].title, "new");
}

Test(rss, N13_a_feed_cut_anywhere_delivers_nothing) {
    size_t n;
    char *bytes = load_sample("modules.rss", &n);
    while (n && strchr(" \n", bytes[n - 1]))
        n--;
    for (size_t cut = 1; cut < n; cut += 7) {
        cr_assert_eq(read_bytes(bytes, cut, "application/rss+xml", &c, NULL), CAM_ERR_DATA);
        cr_assert_eq(c.n_documents, 0, "cut at %zu", cut);
    }
    free(bytes);
}

Test(rss, P01_P02_doctypes) {
    static const char *const refused[] = {
        "<!DOCTYPE rss [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE rss [<!ENTITY % p SYSTEM \"http://127.0.0.1/\"> %p;]>",
        "<!DOCTYPE rss [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>",
        "<!DOCTYPE rss SYSTEM \"file:///etc/passwd\">",
        "<!DOCTYPE rss PUBLIC \"x\" \"http://x/\" []>",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char feed[512];
        snprintf(feed, sizeof feed, "%s%s", refused[i], ITEM("<title>&x;</title>"));
        cr_assert_eq(read_string(feed, &c), CAM_ERR_DATA, "%s", refused[i]);
        cr_assert(strstr(cam_message(), "DOCTYPE"), "%s", cam_message());
        cr_assert_eq(c.n_documents, 0);
    }
    cr_assert_str_eq(
        one("<!DOCTYPE rss SYSTEM \"http://127.0.0.1:1/x.dtd\">" ITEM("<title>&x;&eacute;</title>"))
            ->title,
        "&x;\xC3\xA9");
}

Test(rss, P03_a_long_base_does_not_multiply) {
    size_t n = 0, room = 1u << 20;
    char *feed = malloc(room);
    n += (size_t)sprintf(feed, "<rss xml:base=\"http://x/");
    memset(feed + n, 'a', 1500), n += 1500;
    n += (size_t)sprintf(feed + n, "/\"><channel>");
    for (int i = 0; i < 12000; i++)
        n += (size_t)sprintf(feed + n, "<item xml:base=\"%d\"></item>", i);
    n += (size_t)sprintf(feed + n, "</channel></rss>");
    struct cam_feed_limits limits;
    struct cam_document_sink sink = collector_sink(&c);
    cam_feed_limits_init(&limits);
    limits.max_entries = 10;
    cr_assert_eq(cam_feed_read(feed, n, NULL, &limits, &sink, NULL), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "10"), "%s", cam_message());
    free(feed);
}

Test(rss, another_root_is_refused_by_name) {
    cr_assert_eq(read_string("<?xml version=\"1.0\"?><opml version=\"2.0\"></opml>", &c),
                 CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "<opml>"), "%s", cam_message());
}

Test(rss, title_of_the_feed) {
    struct cam_feed_limits limits;
    struct cam_buffer title;
    const char feed[] = RSS("<image><title>no</title></image><title>Tree &amp;amp; Ring</title>");
    cam_feed_limits_init(&limits);
    cam_buffer_init(&title, 256);
    MUST(cam_feed_title(feed, sizeof feed - 1, NULL, &limits, &title));
    cr_assert_str_eq(title.data, "Tree & Ring");
    cam_buffer_release(&title);
}
