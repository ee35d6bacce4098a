/* Atom: fields, order, and refusing whole what is broken as a whole. */
#include "feed_support.h"

#define FEED(inside)      "<feed xmlns=\"http://www.w3.org/2005/Atom\">" inside "</feed>"
#define ENTRY(id, inside) "<entry><id>" id "</id>" inside "</entry>"

static struct collector c;

static void drop(void) {
    collector_release(&c);
}

TestSuite(atom, .fini = drop);

Test(atom, all_fields) {
    size_t n;
    const char *format = NULL;
    char *bytes = load_sample("basic.atom", &n);
    MUST(read_bytes(bytes, n, "application/atom+xml", &c, &format));
    free(bytes);
    cr_assert_str_eq(format, "atom");
    cr_assert_eq(c.n_documents, 3);
    cr_assert_eq(c.n_rejected, 0);
    const struct kept *d = c.document; /* oldest first, and by published before updated */
    cr_assert_str_eq(d[0].id, "urn:e:1");
    cr_assert_str_eq(d[0].title, "Oldest");
    cr_assert_str_eq(d[0].text, "Only a summary");
    cr_assert_str_eq(d[0].html, "<b>Only</b> a summary");
    cr_assert_str_eq(d[0].author, "The Editors");
    cr_assert_null(d[0].url);
    cr_assert_null(d[0].domain);
    cr_assert_str_eq(d[0].language, "en");
    cr_assert_str_eq(d[1].id, "urn:e:2");
    cr_assert_str_eq(d[1].title, "Mitte <2>");
    cr_assert_str_eq(d[1].url, "http://example.org/2");
    cr_assert_null(d[1].published);
    cr_assert_str_eq(d[1].updated, "2024-03-04T00:00:00Z");
    cr_assert_str_eq(d[1].language, "fr");
    cr_assert_str_eq(d[1].text, "Un arbre & deux\nbranches\n\n  if (x < 1)\n    y();");
    cr_assert_str_eq(d[1].html,
                     "<p>Un <em>arbre</em> &amp; deux<br>branches</p><pre>\n  if (x &lt; "
                     "1)\n    y();\n</pre>");
    cr_assert_str_eq(d[2].id, "urn:e:3");
    cr_assert_str_eq(d[2].url, "http://example.org/3");
    cr_assert_str_eq(d[2].author, "Ada");
    cr_assert_str_eq(d[2].domain, "wood");
    cr_assert_str_eq(d[2].published, "2024-03-05T10:00:00Z");
    cr_assert_str_eq(d[2].updated, "2024-03-06T00:00:00Z");
    cr_assert_str_eq(d[2].text, "Rings & bark\n\n- oak");
}

Test(atom, title_of_the_feed) {
    size_t n;
    struct cam_feed_limits limits;
    struct cam_buffer title;
    char *bytes = load_sample("basic.atom", &n);
    cam_feed_limits_init(&limits);
    cam_buffer_init(&title, 256);
    MUST(cam_feed_title(bytes, n, NULL, &limits, &title));
    cr_assert_str_eq(title.data, "Tree & Ring News");
    cam_buffer_clear(&title);
    MUST(cam_feed_title(FEED(""), sizeof(FEED("")) - 1, NULL, &limits, &title));
    cr_assert_eq(title.size, 0);
    cam_buffer_release(&title);
    free(bytes);
}

static void check_order(const char *feed, const char *ids) {
    char got[64] = "";
    MUST(read_string(feed, &c));
    for (size_t i = 0; i < c.n_documents; i++)
        strcat(got, c.document[i].id);
    cr_assert_str_eq(got, ids);
    collector_release(&c);
}

Test(atom, order_is_oldest_first) {
    check_order(FEED(ENTRY("a", "<published>2024-01-03T00:00:00Z</published>")
                         ENTRY("b", "<published>2024-01-01T00:00:00Z</published>")
                             ENTRY("c", "<published>2024-01-02T00:00:00Z</published>")),
                "bca");
    /* One instant in two spellings is a tie: the last in the file is the oldest. */
    check_order(FEED(ENTRY("a", "<published>2024-01-01T01:00:00+01:00</published>")
                         ENTRY("b", "<updated>2024-01-01T00:00:00Z</updated>")
                             ENTRY("c", "<published> 2024-01-01T00:00:00Z\n</published>")),
                "cba");
}

Test(atom, order_without_dates_is_reverse_file_order) {
    check_order(FEED(ENTRY("a", "") ENTRY("b", "") ENTRY("c", "")), "cba");
}

Test(atom, an_entry_without_a_date_keeps_its_place) {
    check_order(FEED(ENTRY("a", "") ENTRY("b", "<updated>2024-01-03T00:00:00Z</updated>")
                         ENTRY("c", "<updated>not a date</updated>")
                             ENTRY("d", "<updated>2024-01-01T00:00:00Z</updated>") ENTRY("e", "")),
                "edcba");
}

Test(atom, an_empty_feed_has_no_documents) {
    MUST(read_string(FEED("<title>Nothing yet</title>"), &c));
    cr_assert_eq(c.n_documents, 0);
    cr_assert_eq(c.n_rejected, 0);
}

Test(atom, an_entry_document_is_one_entry) {
    MUST(read_string("<entry xmlns=\"http://www.w3.org/2005/Atom\" xml:lang=\"en\"><id>x</id>"
                     "<content>text</content></entry>",
                     &c));
    cr_assert_eq(c.n_documents, 1);
    cr_assert_str_eq(c.document[0].text, "text");
    cr_assert_str_eq(c.document[0].language, "en");
}

Test(atom, a_title_alone_is_a_document_without_text) {
    MUST(read_string(FEED(ENTRY("a", "<title>T</title><content src=\"http://x/\"/>")), &c));
    cr_assert_eq(c.n_documents, 1);
    cr_assert_eq(c.document[0].text_bytes, 0);
}

Test(atom, content_that_is_no_text_falls_back_to_the_summary) {
    MUST(read_string(FEED(ENTRY("a", "<content type=\"image/png\">aGVsbG8=</content>"
                                     "<summary>words</summary>")),
                     &c));
    cr_assert_str_eq(c.document[0].text, "words");
}

Test(atom, prefixes_cdata_and_utf16) {
    MUST(read_string("<a:feed xmlns:a=\"http://www.w3.org/2005/Atom\"><a:entry><a:id>1</a:id>"
                     "<a:content type=\"html\"><![CDATA[<p>x &amp; y</p>]]></a:content></a:entry>"
                     "</a:feed>",
                     &c));
    cr_assert_str_eq(c.document[0].text, "x & y");
    collector_release(&c);
    const char *ascii = "<?xml version=\"1.0\" encoding=\"UTF-16\"?>" FEED(ENTRY("1", ""));
    size_t n = strlen(ascii);
    char *wide = calloc(n + 1, 2);
    wide[0] = '\xFE', wide[1] = '\xFF';
    for (size_t i = 0; i < n; i++)
        wide[2 * i + 3] = ascii[i];
    MUST(read_bytes(wide, 2 * n + 2, NULL, &c, NULL));
    cr_assert_eq(c.n_documents, 1);
    free(wide);
}

Test(atom, N16_declared_encodings) {
    static const struct {
        const char *encoding, *bytes, *text;
    } cases[] = {
        {"ISO-8859-1", "caf\xE9", "caf\xC3\xA9"},
        {"windows-1252",
         "\x93"
         "caf\xE9\x94",
         "\xE2\x80\x9C"
         "caf\xC3\xA9\xE2\x80\x9D"},
        {"Windows-1251", "\xCC\xE8\xF0", "\xD0\x9C\xD0\xB8\xD1\x80"},
        {"KOI8-R", "\xED\xC9\xD2", "\xD0\x9C\xD0\xB8\xD1\x80"},
        {"UTF-8", "caf\xE9", "caf\xEF\xBF\xBD"}, /* a wrong declaration */
        {"UTF-16", "cafe", "cafe"},
        {"UTF-7", "+ADw-script+AD4-", NULL},
        {"windows-1252", "\x81", "\xEF\xBF\xBD"}, /* not assigned */
        {"../../tmp/x", "a", NULL},
        {"UTF-8//IGNORE", "a", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char feed[512];
        snprintf(
            feed, sizeof feed,
            "<?xml version=\"1.0\" encoding=\"%s\"?>" FEED(ENTRY("a", "<content>%s</content>")),
            cases[i].encoding, cases[i].bytes);
        enum cam_status status = read_string(feed, &c);
        cr_assert_eq(status, cases[i].text ? CAM_OK : CAM_ERR_DATA, "%s", cases[i].encoding);
        if (cases[i].text)
            cr_assert_str_eq(c.document[0].text, cases[i].text);
        collector_release(&c);
    }
}

Test(atom, N13_broken_xml_keeps_what_came_before_and_names_the_place) {
    static const char broken[] = "<feed xmlns=\"http://www.w3.org/2005/Atom\">\n" ENTRY(
        "a", "<content>x</content>") "\n<entry><id>b</id></feed>";
    cr_assert_eq(read_string(broken, &c), CAM_ERR_DATA);
    cr_assert_eq(c.n_documents, 1);
    cr_assert(strstr(cam_message(), "line 3, column"), "%s", cam_message());
    cr_assert(strstr(cam_message(), "the 1 entry before it was read"), "%s", cam_message());
}

Test(atom, N13_a_feed_cut_anywhere_delivers_nothing) {
    size_t n;
    char *bytes = load_sample("basic.atom", &n);
    while (n && strchr(" \n", bytes[n - 1]))
        n--;
    for (size_t cut = 1; cut < n; cut += 7) {
        cr_assert_eq(read_bytes(bytes, cut, "application/atom+xml", &c, NULL), CAM_ERR_DATA);
        cr_assert_eq(c.n_documents, 0, "cut at %zu", cut);
    }
    free(bytes);
}

Test(atom, P01_P02_doctype_is_refused) {
    static const char *const doctypes[] = {
        "<!DOCTYPE feed SYSTEM \"file:///etc/passwd\">", /* an address on the web is passed over */
        "<!DOCTYPE feed [<!ENTITY x SYSTEM \"http://127.0.0.1/\">]>",
        "<!DOCTYPE feed [<!ENTITY % p SYSTEM \"http://127.0.0.1/\"> %p;]>",
        "<!DOCTYPE feed [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\">]>",
    };
    for (size_t i = 0; i < sizeof doctypes / sizeof *doctypes; i++) {
        char feed[512];
        snprintf(feed, sizeof feed, "<?xml version=\"1.0\"?>\n%s%s", doctypes[i],
                 FEED(ENTRY("a", "<content>x</content>")));
        cr_assert_eq(read_string(feed, &c), CAM_ERR_DATA);
        cr_assert(strstr(cam_message(), "DOCTYPE"), "%s", cam_message());
        cr_assert_eq(c.n_documents, 0);
    }
    MUST(read_string(FEED(ENTRY("a", "<content>&undefined;</content>")), &c));
    cr_assert_str_eq(c.document[0].text, "&undefined;");
}

static enum cam_status read_repeated(const char *before, const char *unit, size_t times,
                                     const char *after) {
    size_t n_unit = strlen(unit), n = 0;
    char *bytes = malloc(strlen(before) + n_unit * times + strlen(after) + 1);
    n += (size_t)sprintf(bytes, "%s", before);
    for (size_t i = 0; i < times; i++, n += n_unit)
        memcpy(bytes + n, unit, n_unit);
    n += (size_t)sprintf(bytes + n, "%s", after);
    enum cam_status status = read_bytes(bytes, n, NULL, &c, NULL);
    free(bytes);
    return status;
}

Test(atom, P03_depth_attributes_and_fields_are_bounded) {
    const char *open = "<feed xmlns=\"http://www.w3.org/2005/Atom\">";
    cr_assert_eq(read_repeated(open, "<x>", 1000000, ""), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "deeper than 128"), "%s", cam_message());
    char attributes[2000] = "";
    for (int i = 0; i < 65; i++)
        sprintf(attributes + strlen(attributes), " a%d=\"\"", i);
    char element[2100];
    snprintf(element, sizeof element, "<x%s/>", attributes);
    cr_assert_eq(read_repeated(open, element, 1, "</feed>"), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "64 attributes"), "%s", cam_message());
    cr_assert_eq(read_repeated(open, "<entry/>", 100001, "</feed>"), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "100000"), "%s", cam_message());
    cr_assert_eq(c.n_documents, 0);
}

Test(atom, P06_a_field_over_its_limit_rejects_the_entry_alone) {
    MUST(
        read_repeated("<feed xmlns=\"http://www.w3.org/2005/Atom\">" ENTRY("new", "") "<entry><id>",
                      "0123456789", 100000, "</id></entry>" ENTRY("old", "") "</feed>"));
    cr_assert_eq(c.n_documents, 2);
    cr_assert_str_eq(c.document[0].id, "old");
    cr_assert_str_eq(c.document[1].id, "new");
    cr_assert_eq(c.n_rejected, 1);
    cr_assert_str_eq(c.where[0], "entry 2");
    cr_assert(strstr(c.why[0], "8192"), "%s", c.why[0]);
}

Test(atom, P06_content_over_its_limit_rejects_the_entry_alone) {
    MUST(read_repeated("<feed xmlns=\"http://www.w3.org/2005/Atom\"><entry><content>", "0123456789",
                       500000, "</content></entry>" ENTRY("ok", "") "</feed>"));
    cr_assert_eq(c.n_documents, 1);
    cr_assert_eq(c.n_rejected, 1);
}

/* The one entry of a feed with ATTRIBUTES and INSIDE. */
static const struct kept *one(const char *attributes, const char *inside) {
    char feed[4096];
    snprintf(feed, sizeof feed, "<feed xmlns=\"http://www.w3.org/2005/Atom\" %s>%s</feed>",
             attributes, inside);
    collector_release(&c);
    MUST(read_string(feed, &c));
    cr_assert_eq(c.n_rejected, 0, "%s", c.why[0]);
    cr_assert_eq(c.n_documents, 1, "%s", feed);
    return &c.document[0];
}

Test(atom, text_constructs) {
    static const struct {
        const char *content, *text, *html;
    } cases[] = {
        {"<content>a &lt;b&gt; &amp;amp;</content>", "a <b> &amp;", NULL},
        {"<content type=\"html\">a &lt;b&gt;c&lt;/b&gt; &amp;amp;</content>", "a c &",
         "a <b>c</b> &amp;"},
        {"<content type=\"xhtml\"><div xmlns=\"http://www.w3.org/1999/xhtml\">a <b>c</b> &lt;"
         "</div></content>",
         "a c <", "a <b>c</b> &lt;"},
        {"<content type=\"xhtml\" xmlns:x=\"http://www.w3.org/1999/xhtml\"><x:div><x:p>a</x:p>"
         "<x:br/></x:div></content>",
         "a", "<p>a</p><br>"},
        {"<content type=\"xhtml\"><div>one</div><div>two</div></content>", "one\n\ntwo",
         "one<div>two</div>"},
        {"<content type=\"html\"><div>&lt;i&gt;x&lt;/i&gt;</div></content>", "x", "<i>x</i>"},
        {"<content type=\"text/html\" mode=\"escaped\">&lt;i&gt;x&lt;/i&gt;</content>", "x",
         "<i>x</i>"},
        {"<content>naked <b>x</b> &amp; y</content>", "naked x & y", "naked <b>x</b> &amp; y"},
        {"<content type=\"application/octet-stream\">\n RXhhbXBsZSA8Yj5BdG9tPC9iPg==\n</content>",
         "Example Atom", "Example <b>Atom</b>"},
        {"<content type=\"text/html\" mode=\"base64\">PHA+eDwvcD4=</content>", "x", "<p>x</p>"},
        {"<content type=\"image/png\">AAAA</content><summary>s</summary>", "s", NULL},
        {"<content type=\"application/octet-stream\">/wD/</content>", "", NULL},
        {"<content type=\"\">evil</content>", "evil", NULL},
        {"<content type=\"application/json\">{\"a\":1}</content>", "{\"a\":1}", NULL},
        {"<content type=\"video/mp4\">aGVsbG8=</content>", "", NULL},
        {"<content type=\"html\">don&amp;#146;t don&#x92;t</content>",
         "don\xE2\x80\x99t don\xE2\x80\x99t", "don&#146;t don\xE2\x80\x99t"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char entry[1024];
        snprintf(entry, sizeof entry, "<entry>%s</entry>", cases[i].content);
        const struct kept *d = one("", entry);
        cr_assert_str_eq(d->text, cases[i].text, "%s: %s", cases[i].content, d->text);
        if (cases[i].html)
            cr_assert_str_eq(d->html, cases[i].html);
        else
            cr_assert_null(d->html);
    }
}

Test(atom, version_0_3) {
    static const char feed[] =
        "<feed version=\"0.3\" xmlns=\"http://purl.org/atom/ns#\" xml:lang=\"en_US\"><entry>"
        "<title type=\"text/html\" mode=\"escaped\">A &amp;amp; B</title><id>tag:x,1</id>"
        "<link rel=\"service.edit\" href=\"http://x/e\"/><link rel=\"alternate\" "
        "type=\"text/html\" "
        "href=\"http://x/1\"/><issued>2003-12-31T10:14:55-08:00</issued>"
        "<modified>2004-01-01T00:00:00Z</modified><created>2001-01-01</created>"
        "<author><name>Ada</name><url>http://x/</url></author>"
        "<content type=\"application/xhtml+xml\"><p xmlns=\"http://www.w3.org/1999/xhtml\">x</p>"
        "</content></entry></feed>";
    MUST(read_string(feed, &c));
    const struct kept *d = &c.document[0];
    cr_assert_str_eq(d->title, "A & B");
    cr_assert_str_eq(d->url, "http://x/1");
    cr_assert_str_eq(d->published, "2003-12-31T18:14:55Z");
    cr_assert_str_eq(d->updated, "2004-01-01T00:00:00Z");
    cr_assert_str_eq(d->author, "Ada");
    cr_assert_str_eq(d->language, "en-US");
    cr_assert_str_eq(d->html, "<p>x</p>");
}

Test(atom, bases) {
    const struct kept *d = one("xml:base=\"http://x/a/\"",
                               "<entry xml:base=\"b/\"><id>rel</id><link href=\"../l\"/>"
                               "<content type=\"html\" xml:base=\"/c/\">&lt;a href=\"d\"&gt;"
                               "x&lt;/a&gt;</content></entry>");
    cr_assert_str_eq(d->id, "http://x/a/b/rel");
    cr_assert_str_eq(d->url, "http://x/a/l");
    cr_assert_str_eq(d->html, "<a href=\"http://x/c/d\">x</a>");
    d = one("xml:base=\"http://x/\"", "<entry><content type=\"xhtml\"><div><p xml:base=\"p/\">"
                                      "<img src=\"i.png\"/></p><a href=\"q\">y</a></div></content>"
                                      "</entry>");
    cr_assert_str_eq(d->html, "<p><img src=\"http://x/p/i.png\"></p><a href=\"http://x/q\">y</a>");
    d = one("xml:base=\"javascript:alert(1)\"", "<entry><id>1</id><link href=\"l\"/></entry>");
    cr_assert_str_eq(d->url, "l");
    cr_assert_str_eq(d->id, "1");
    d = one("xml:base=\"http://x/a\"", "<entry><link href=\"\"/></entry>");
    cr_assert_str_eq(d->url, "http://x/a");
    d = one("", "<entry><link href=\"\"/><link rel=\"enclosure\" href=\"http://x/a.ogg\"/>"
                "<link rel=\"enclosure\" href=\"http://x/b.ogg\"/><summary>s</summary></entry>");
    cr_assert_str_eq(d->url, "http://x/a.ogg");
    cr_assert_not(d->is_summary);
}

Test(atom, languages) {
    cr_assert_str_eq(
        one("xml:lang=\"en\"", "<entry><content xml:lang=\"fr\">x</content></entry>")->language,
        "fr");
    cr_assert_null(
        one("xml:lang=\"en\"", "<entry><content xml:lang=\"\">x</content></entry>")->language);
    cr_assert_str_eq(
        one("xml:lang=\"en\"", "<entry xml:lang=\"de\"><title>t</title></entry>")->language, "de");
}

Test(atom, authors) {
    cr_assert_str_eq(one("", "<author><name>F</name></author><entry><author><name>A</name></author>"
                             "<author><email>b@x</email></author></entry>")
                         ->author,
                     "A, b@x");
    cr_assert_str_eq(one("", "<author><name>F</name></author><entry><source><author><name>S</name>"
                             "</author><id>no</id><title>no</title></source><id>i</id></entry>")
                         ->author,
                     "S");
    cr_assert_str_eq(c.document[0].id, "i");
    cr_assert_null(c.document[0].title);
    cr_assert_str_eq(one("", "<author><name>F</name></author><entry/>")->author, "F");
}

Test(atom, links) {
    cr_assert_str_eq(one("",
                         "<entry><link rel=\"self\" href=\"http://s/\"/><link rel=\"alternate\" "
                         "type=\"application/pdf\" href=\"http://p/\"/><link href=\"http://a/\"/>"
                         "<link rel=\"alternate\" hreflang=\"de\" href=\"http://b/\"/></entry>")
                         ->url,
                     "http://a/");
    cr_assert_str_eq(one("", "<entry><link rel=\"enclosure\">http://e/</link>"
                             "<link rel=\"alternate\">http://a/</link></entry>")
                         ->url,
                     "http://a/");
    cr_assert_null(one("", "<entry><link rel=\"self\" href=\"http://s/\"/></entry>")->url);
    cr_assert_str_eq(one("", "<entry><id>http://i/</id></entry>")->url, "http://i/");
}

Test(atom, the_sink_stops_the_reader) {
    c.stop_after = 1;
    cr_assert_eq(read_string(FEED(ENTRY("a", "") ENTRY("b", "")), &c), CAM_STOPPED);
    cr_assert_eq(c.n_documents, 1);
}
