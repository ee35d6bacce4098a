/* JSON Feed 1.0 and 1.1. */
#include "feed_support.h"

#define V1 "\"version\":\"https://jsonfeed.org/version/1\""

static struct collector c;

static void drop(void) {
    collector_release(&c);
}

TestSuite(jsonfeed, .fini = drop);

static const char all[] =
    "{\n \"version\": \"https:\\/\\/jsonfeed.org\\/version\\/1.1\",\n \"title\": \"A &amp; B\",\n"
    " \"language\": \"de\", \"authors\": [{\"name\": \"The Editors\"}],\n \"items\": [\n"
    "  {\"id\": \"2\", \"url\": \"http://x/2\", \"external_url\": \"http://y/\", \"title\": "
    "\"Two\",\n"
    "   \"content_html\": \"<p>Zwei <a href='rel'>a</a></p>\", \"content_text\": \"Zwei\",\n"
    "   \"summary\": \"z\", \"date_published\": \"2024-01-02T00:00:00Z\",\n"
    "   \"date_modified\": \"2024-01-03T00:00:00+01:00\", \"tags\": [\"news\", \"x\"],\n"
    "   \"authors\": [{\"name\": \"Ada\"}, {\"url\": \"http://n/\"}, {\"name\": \"Grace\"}]},\n"
    "  {\"id\": 1, \"content_html\": \"<b>One</b>\", \"author\": {\"name\": \"Old\"},\n"
    "   \"language\": \"en\", \"date_published\": \"2024-01-01\"},\n"
    "  {\"id\": \"0\", \"summary\": \"only this\", \"external_url\": \"http://y/0\"},\n"
    "  7\n ]\n}\n";

Test(jsonfeed, all_fields) {
    const char *format = NULL;
    MUST(read_bytes(all, sizeof all - 1, "application/json", &c, &format));
    cr_assert_str_eq(format, "jsonfeed");
    cr_assert_eq(c.n_documents, 3);
    cr_assert_eq(c.n_rejected, 1);
    cr_assert_str_eq(c.where[0], "entry 4");
    const struct kept *d = c.document;
    cr_assert_str_eq(d[2].id, "2");
    cr_assert_str_eq(d[2].url, "http://x/2");
    cr_assert_str_eq(d[2].title, "Two");
    cr_assert_str_eq(d[2].text, "Zwei");
    cr_assert_str_eq(d[2].html, "<p>Zwei <a href='rel'>a</a></p>");
    cr_assert_str_eq(d[2].author, "Ada, Grace");
    cr_assert_str_eq(d[2].language, "de");
    cr_assert_str_eq(d[2].domain, "news");
    cr_assert_str_eq(d[2].published, "2024-01-02T00:00:00Z");
    cr_assert_str_eq(d[2].updated, "2024-01-02T23:00:00Z");
    cr_assert_str_eq(d[1].id, "1");
    cr_assert_str_eq(d[1].text, "One");
    cr_assert_str_eq(d[1].author, "Old");
    cr_assert_str_eq(d[1].language, "en");
    cr_assert_str_eq(d[0].text, "only this");
    cr_assert_str_eq(d[0].url, "http://y/0");
    cr_assert_str_eq(d[0].author, "The Editors");
}

static void check_format(const char *bytes, const char *type, const char *name) {
    const char *format = "";
    enum cam_status status = read_bytes(bytes, strlen(bytes), type, &c, &format);
    cr_assert(status == CAM_OK || status == CAM_ERR_DATA);
    cr_assert_str_eq(format, name, "%s", bytes);
    collector_release(&c);
}

Test(jsonfeed, is_told_from_ndjson) {
    check_format("{" V1 ",\"items\":[]}", NULL, "jsonfeed");
    check_format("\n {" V1 ",\"items\":[]}", "text/plain", "jsonfeed");
    check_format("{\"items\":[{\"x\":\"}\\\"\"}]," V1 "}", NULL, "jsonfeed");
    check_format("{\"title\":\"x\",\n\"items\":[]}", "application/json", "jsonfeed");
    check_format("{\"text\":\"https://jsonfeed.org/version/1\"}\n", NULL, "ndjson");
    check_format("{\"text\":{" V1 "}}\n", NULL, "ndjson");
    check_format("{\"text\":\"x\"}\n{" V1 "}\n", NULL, "ndjson");
    check_format("{\"items\":[],\"text\":\"x\"}\n", NULL, "ndjson");
}

Test(jsonfeed, broken_ones_deliver_nothing) {
    static const char *const bad[] = {
        "{" V1 "}", "{" V1 ",\"items\":{}}", "{" V1 ",\"items\":[{\"id\":\"1\"}",
        "{" V1 ",\"items\":[],\"items\":[]}", "{" V1 ",\"items\":[]} x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(read_string(bad[i], &c), CAM_ERR_DATA, "%s", bad[i]);
        cr_assert(strstr(cam_message(), "JSON Feed"), "%s", cam_message());
        cr_assert_eq(c.n_documents, 0);
    }
}

Test(jsonfeed, P05_nul_and_bad_utf8_cost_no_more_than_themselves) {
    MUST(read_string(
        "{" V1 ",\"items\":[{\"id\":\"a\\u0000b\",\"content_text\":\"x\xFFy \xC3\xA9\"}]}", &c));
    cr_assert_str_eq(c.document[0].id, "ab");
    cr_assert_str_eq(c.document[0].text, "x\xEF\xBF\xBDy \xC3\xA9");
    cr_assert_eq(c.document[0].n_replaced, 1);
}

Test(jsonfeed, title_of_the_feed) {
    struct cam_feed_limits limits;
    struct cam_buffer title;
    cam_feed_limits_init(&limits);
    cam_buffer_init(&title, 256);
    MUST(cam_feed_title(all, sizeof all - 1, NULL, &limits, &title));
    cr_assert_str_eq(title.data, "A &amp; B");
    cam_buffer_release(&title);
}
