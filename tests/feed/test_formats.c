/* What holds for every registered format, and how the right one is found. */
#include "base/rng.h"
#include "feed/feed_formats.h"
#include "feed_support.h"

static struct collector c;

static void drop(void) {
    collector_release(&c);
}

TestSuite(formats, .fini = drop);

static const char atom[] = "<?xml version=\"1.0\"?><feed xmlns=\"http://www.w3.org/2005/Atom\">"
                           "<entry><content>x</content></entry></feed>";
static const char rss[] = "<!-- <feed> --><rss version=\"2.0\"><channel><item><description>x"
                          "</description></item></channel></rss>";
static const char jsonfeed[] = "{\"version\":\"https://jsonfeed.org/version/1\",\"items\":[{"
                               "\"content_text\":\"<rss>\"}]}";
static const char ndjson[] = "{\"text\":\"about <feed xmlns='http://www.w3.org/2005/Atom'>\"}\n";
static const char text[] = "Plain words.\n";

static void check_format(const char *bytes, const char *content_type, const char *name) {
    const char *format = NULL;
    MUST(read_bytes(bytes, strlen(bytes), content_type, &c, &format));
    cr_assert_str_eq(format, name);
    cr_assert_eq(c.n_documents, 1);
    collector_release(&c);
}

Test(formats, are_found_by_content_before_type) {
    static const char *const types[] = {NULL, "", "text/plain", "application/octet-stream",
                                        "Text/Plain; charset=utf-8"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        check_format(atom, types[i], "atom");
        check_format(rss, types[i], "rss");
        check_format(jsonfeed, types[i], "jsonfeed");
        check_format(ndjson, types[i], "ndjson");
        check_format(text, types[i], "text");
    }
    check_format(atom, "application/atom+xml;type=feed", "atom");
    check_format(atom, "text/html", "atom");
    check_format(rss, "application/atom+xml", "rss");
    check_format(atom, "application/rss+xml", "atom");
    check_format(jsonfeed, "application/feed+json", "jsonfeed");
    check_format(ndjson, "application/atom+xml", "ndjson");
    check_format(ndjson, "application/x-ndjson", "ndjson");
    check_format("\xEF\xBB\xBF\n {\"text\":\"x\"}", NULL, "ndjson");
}

/* A mark and no XML declaration, on a server that says nothing. */
Test(formats, a_mark_before_utf8_hides_no_format) {
    static const char *const inputs[] = {rss, atom, jsonfeed, ndjson, text};
    static const char *const names[] = {"rss", "atom", "jsonfeed", "ndjson", "text"};
    char marked[1024];
    for (size_t i = 0; i < 5; i++) {
        snprintf(marked, sizeof marked, "\xEF\xBB\xBF%s", inputs[i]);
        check_format(marked, NULL, names[i]);
        check_format(marked, i < 2 ? "application/xml; charset=iso-8859-1" : NULL, names[i]);
    }
    cr_assert_eq(read_string("\xEF\xBB\xBF<!doctype html><p>login", &c), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "an HTML page"), "%s", cam_message());
}

Test(formats, markup_that_is_no_feed_is_not_trained_on) {
    cr_assert_eq(read_string("<html><body>login</body></html>", &c), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "an HTML page"), "%s", cam_message());
    cr_assert_eq(read_bytes("login", 5, "text/html", &c, NULL), CAM_ERR_DATA);
    cr_assert_eq(read_bytes("\0\1\2", 3, NULL, &c, NULL), CAM_ERR_DATA);
    cr_assert_eq(c.n_documents, 0);
}

Test(formats, P14_empty_input) {
    cr_assert_eq(read_bytes(NULL, 0, NULL, &c, NULL), CAM_ERR_DATA);
    cr_assert_eq(read_bytes("", 0, "application/atom+xml", &c, NULL), CAM_ERR_DATA);
    MUST(read_bytes("", 0, "application/x-ndjson", &c, NULL));
    MUST(read_bytes("\n\n", 2, "application/x-ndjson", &c, NULL));
    cr_assert_eq(c.n_documents, 0);
}

Test(formats, text_is_one_clean_document) {
    MUST(read_string("\xEF\xBB\xBF"
                     "A title\r\n\r\n  code\x01 \r\nbad \xFF\r\n",
                     &c));
    cr_assert_eq(c.n_documents, 1);
    cr_assert_str_eq(c.document[0].text, "A title\n\n  code\nbad \xEF\xBF\xBD");
    cr_assert_eq(c.document[0].n_replaced, 1);
    cr_assert_null(c.document[0].title);
}

Test(formats, wide_encodings_are_decoded_before_anything_is_looked_for) {
    static const char *const inputs[] = {rss, atom, jsonfeed, text};
    static const char *const names[] = {"rss", "atom", "jsonfeed", "text"};
    for (size_t i = 0; i < 4; i++) {
        size_t n = strlen(inputs[i]);
        char *wide = calloc(n + 1, 2);
        const char *format = NULL;
        memcpy(wide, "\xFF\xFE", 2);
        for (size_t k = 0; k < n; k++)
            wide[2 * k + 2] = inputs[i][k];
        MUST(read_bytes(wide, 2 * n + 2, NULL, &c, &format));
        cr_assert_str_eq(format, names[i]);
        cr_assert_eq(c.n_documents, 1);
        collector_release(&c);
        free(wide);
    }
}

Test(formats, text_in_another_encoding) {
    MUST(read_bytes("caf\xE9", 4, "text/plain; charset=iso-8859-1", &c, NULL));
    cr_assert_str_eq(c.document[0].text, "caf\xC3\xA9");
    cr_assert_eq(c.document[0].n_replaced, 0);
    cr_assert_eq(read_bytes("a", 1, "text/plain; charset=utf-7", &c, NULL), CAM_ERR_DATA);
}

Test(formats, an_unknown_name_lists_those_there_are) {
    const struct cam_feed_format *format = NULL;
    cr_assert_eq(cam_feed_find_format("word", &format), CAM_ERR_CONFIG);
    cr_assert(strstr(cam_message(), "atom, rss, jsonfeed, ndjson, html, text"), "%s",
              cam_message());
    MUST(cam_feed_find_format("rss", &format));
    cr_assert_eq(format, &cam_feed_format_rss);
}

Test(formats, type_of_name) {
    cr_assert_str_eq(cam_feed_type_of_name("a/b.NDJSON"), "application/x-ndjson");
    cr_assert_str_eq(cam_feed_type_of_name("b.atom"), "application/atom+xml");
    cr_assert_str_eq(cam_feed_type_of_name("c.txt"), "text/plain");
    cr_assert_str_eq(cam_feed_type_of_name("c.RSS"), "application/rss+xml");
    cr_assert_str_eq(cam_feed_type_of_name("c.html"), "text/html");
    cr_assert_null(cam_feed_type_of_name("d"));
}

/* Damaged input of every kind, given to every format: no crash, a status, valid documents. */
static void damage(char *bytes, size_t n, uint32_t round) {
    struct cam_random random = cam_random_at(11, CAM_PURPOSE_TEST, round, 0);
    for (uint32_t i = 0; i <= random.word[0] % 4; i++) {
        struct cam_random where = cam_random_at(11, CAM_PURPOSE_TEST, round, i + 1);
        bytes[where.word[0] % n] = "\0<>&\"'{}[]\\\xFF\xC3 \n/!x;"[where.word[1] % 20];
    }
}

Test(formats, damaged_input_is_survived) {
    static const char *const samples[] = {"basic.atom", "modules.rss", "mixed.ndjson", "small.json",
                                          "article.html"};
    struct cam_feed_limits limits;
    cam_feed_limits_init(&limits);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        size_t n;
        char *bytes = load_sample(samples[i], &n), *copy = malloc(n);
        for (uint32_t round = 0; round < 500; round++) {
            memcpy(copy, bytes, n);
            damage(copy, n, round);
            for (size_t k = 0; cam_feed_formats[k]; k++) {
                struct cam_document_sink sink = collector_sink(&c);
                const struct cam_feed_input input = {.bytes = copy,
                                                     .n_bytes = n,
                                                     .base = "http://example.org/",
                                                     .format = cam_feed_formats[k]->name};
                enum cam_status status = cam_feed_read_input(&input, &limits, &sink, NULL);
                cr_assert(status == CAM_OK || status == CAM_ERR_DATA, "%s", cam_message());
                collector_release(&c);
            }
        }
        free(bytes);
        free(copy);
    }
}
