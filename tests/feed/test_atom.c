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
        {"UTF-8", "caf\xE9", NULL}, /* a wrong declaration */
        {"UTF-8", "\xED\xA0\x80", NULL},
        {"UTF-16", "cafe", NULL},
        {"UTF-7", "+ADw-script+AD4-", NULL},
        {"windows-1252", "\x81", NULL}, /* not assigned */
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

Test(atom, N13_broken_xml_delivers_nothing_and_names_the_place) {
    static const char broken[] = "<feed xmlns=\"http://www.w3.org/2005/Atom\">\n" ENTRY(
        "a", "<content>x</content>") "\n<entry><id>b</id></feed>";
    cr_assert_eq(read_string(broken, &c), CAM_ERR_DATA);
    cr_assert_eq(c.n_documents, 0);
    cr_assert(strstr(cam_message(), "line 3, column"), "%s", cam_message());
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
        "<!DOCTYPE feed SYSTEM \"file:///etc/passwd\">",
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
    cr_assert_eq(read_string(FEED(ENTRY("a", "<content>&undefined;</content>")), &c), CAM_ERR_DATA);
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

Test(atom, another_root_is_refused_by_name) {
    cr_assert_eq(read_string("<?xml version=\"1.0\"?><rss version=\"2.0\"></rss>", &c),
                 CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "<rss>"), "%s", cam_message());
}

Test(atom, the_sink_stops_the_reader) {
    c.stop_after = 1;
    cr_assert_eq(read_string(FEED(ENTRY("a", "") ENTRY("b", "")), &c), CAM_STOPPED);
    cr_assert_eq(c.n_documents, 1);
}
