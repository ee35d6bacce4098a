/* NDJSON: fields, bad lines that cost only themselves, pieces of any size. */
#include "feed/feed_ndjson.h"
#include "feed_support.h"

static struct collector c;

static void drop(void) {
    collector_release(&c);
}

TestSuite(ndjson, .fini = drop);

Test(ndjson, all_fields) {
    MUST(read_string("{\"id\":\"a1\",\"url\":\"http://x/y\",\"title\":\" A  title\\n\",\"author\":"
                     "\"N\",\"published\":\"2024-01-02T03:04:05+01:00\",\"updated\":\"2024-02-03\","
                     "\"language\":\"en\",\"domain\":\"news\",\"text\":\"one \\r\\ntwo\",\"other\":"
                     "[1]}\n",
                     &c));
    cr_assert_eq(c.n_documents, 1);
    const struct kept *d = &c.document[0];
    cr_assert_str_eq(d->id, "a1");
    cr_assert_str_eq(d->url, "http://x/y");
    cr_assert_str_eq(d->title, "A title");
    cr_assert_str_eq(d->author, "N");
    cr_assert_str_eq(d->published, "2024-01-02T02:04:05Z");
    cr_assert_str_eq(d->updated, "2024-02-03T00:00:00Z");
    cr_assert_str_eq(d->language, "en");
    cr_assert_str_eq(d->domain, "news");
    cr_assert_str_eq(d->text, "one\ntwo");
    cr_assert_null(d->html);
}

Test(ndjson, absent_null_and_empty_are_the_same) {
    MUST(read_string("{\"id\":null,\"title\":\"\",\"url\":\" \",\"text\":\"x\"}", &c));
    cr_assert_eq(c.n_documents, 1);
    cr_assert_null(c.document[0].id);
    cr_assert_null(c.document[0].title);
    cr_assert_null(c.document[0].url);
    cr_assert_null(c.document[0].published);
}

Test(ndjson, numbers_are_ids) {
    MUST(read_string("{\"id\":42,\"text\":\"x\"}\n", &c));
    cr_assert_str_eq(c.document[0].id, "42");
}

Test(ndjson, markup_becomes_text_and_is_shown) {
    MUST(read_string("{\"html\":\"<p>a</p><p>b &amp; c</p>\"}\n{\"content_html\":\"<i>d</i>\"}\n"
                     "{\"text\":\"t\",\"html\":\"<b>h</b>\"}",
                     &c));
    cr_assert_eq(c.n_documents, 3);
    cr_assert_str_eq(c.document[0].text, "a\n\nb & c");
    cr_assert_str_eq(c.document[0].html, "<p>a</p><p>b &amp; c</p>");
    cr_assert_str_eq(c.document[1].text, "d");
    cr_assert_str_eq(c.document[2].text, "t");
    cr_assert_str_eq(c.document[2].html, "<b>h</b>");
}

Test(ndjson, file_order_is_kept) {
    MUST(read_string("{\"text\":\"new\",\"published\":\"2024-01-02\"}\n"
                     "{\"text\":\"old\",\"published\":\"2020-01-02\"}\n",
                     &c));
    cr_assert_str_eq(c.document[0].text, "new");
    cr_assert_str_eq(c.document[1].text, "old");
}

Test(ndjson, P05_bad_lines_cost_only_themselves) {
    static const char *const bad[] = {
        "not json",
        "{\"text\":\"x\"",
        "[1]",
        "{\"text\":\"x\"} {}",
        "{\"id\":\"a\",\"id\":\"b\",\"text\":\"x\"}",
        "{\"text\":\"nul \\u0000\"}",
        "{\"text\":\"bad \xFF utf8\"}",
        "{\"text\":\"half \\uD800\"}",
        "{\"id\":99999999999999999999,\"text\":\"x\"}",
        "{\"title\":\"no text\"}",
        "{\"text\":7}",
        "{\"text\":\"x\",\"title\":{}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char input[256];
        snprintf(input, sizeof input, "{\"text\":\"before\"}\n%s\n\n{\"text\":\"after\"}\n",
                 bad[i]);
        MUST(read_string(input, &c));
        cr_assert_eq(c.n_documents, 2, "%s", bad[i]);
        cr_assert_eq(c.n_rejected, 1, "%s", bad[i]);
        cr_assert_str_eq(c.where[0], "line 2");
        cr_assert_neq(c.why[0][0], '\0');
        cr_assert_str_eq(c.document[1].text, "after");
        collector_release(&c);
    }
}

Test(ndjson, P05_deep_nesting_is_rejected) {
    size_t depth = 100000, n = 0;
    char *input = malloc(2 * depth + 64);
    n += (size_t)sprintf(input, "{\"text\":\"x\",\"deep\":");
    memset(input + n, '[', depth);
    memset(input + n + depth, ']', depth);
    n += 2 * depth;
    n += (size_t)sprintf(input + n, "}\n{\"text\":\"ok\"}\n");
    MUST(read_bytes(input, n, NULL, &c, NULL));
    cr_assert_eq(c.n_documents, 1);
    cr_assert_eq(c.n_rejected, 1);
    free(input);
}

Test(ndjson, P06_a_field_over_its_limit_rejects_the_line) {
    struct cam_feed_limits limits;
    struct cam_document_sink sink = collector_sink(&c);
    cam_feed_limits_init(&limits);
    limits.max_field_bytes = 8;
    limits.max_document_bytes = 16;
    const char *input = "{\"id\":\"123456789\",\"text\":\"x\"}\n"
                        "{\"id\":\"12345678\",\"text\":\"x\"}\n"
                        "{\"text\":\"1234567890123456\"}\n{\"text\":\"12345678901234567\"}\n";
    MUST(cam_feed_read(input, strlen(input), NULL, &limits, &sink, NULL));
    cr_assert_eq(c.n_documents, 2);
    cr_assert_eq(c.n_rejected, 2);
    cr_assert_str_eq(c.where[0], "line 1");
    cr_assert(strstr(c.why[0], "id") && strstr(c.why[0], "8"), "%s", c.why[0]);
    cr_assert_str_eq(c.where[1], "line 4");
    cr_assert(strstr(c.why[1], "text"), "%s", c.why[1]);
}

Test(ndjson, P15_a_date_that_is_none_is_absent) {
    MUST(read_string("{\"text\":\"x\",\"published\":\"yesterday\",\"updated\":\"2023-02-29\"}\n"
                     "{\"text\":\"x\",\"published\":\"9999-12-31T23:59:59Z\"}\n"
                     "{\"text\":\"x\",\"published\":\"1970-01-01T00:00:00.250Z\"}\n",
                     &c));
    cr_assert_null(c.document[0].published);
    cr_assert_null(c.document[0].updated);
    cr_assert_str_eq(c.document[1].published, "9999-12-31T23:59:59Z");
    cr_assert_str_eq(c.document[2].published, "1970-01-01T00:00:00.250Z");
}

Test(ndjson, P17_formats_and_escapes_are_inert) {
    MUST(read_string("{\"id\":\"%n%s\",\"title\":\"%s%n\\u001b]0;x\\u0007\",\"text\":\"%n %s\"}\n"
                     "{\"%n%s\":1}\n%n%s\n",
                     &c));
    cr_assert_str_eq(c.document[0].id, "%n%s");
    cr_assert_str_eq(c.document[0].title, "%s%n]0;x");
    cr_assert_str_eq(c.document[0].text, "%n %s");
    cr_assert_eq(c.n_rejected, 2);
}

Test(ndjson, the_sink_stops_the_reader) {
    c.stop_after = 1;
    cr_assert_eq(read_string("{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n", &c),
                 CAM_STOPPED);
    cr_assert_eq(c.n_documents, 1);
}

static const char stream[] = "\xEF\xBB\xBF{\"text\":\"one\"}\r\n\n{\"text\":\"a longer second "
                             "line\"}\nbad\n{\"text\":\"last\"}";

Test(ndjson, pieces_of_any_size_give_the_same) {
    for (size_t piece = 1; piece <= sizeof stream; piece++) {
        struct cam_feed_limits limits;
        struct cam_document_sink sink = collector_sink(&c);
        struct cam_ndjson_reader *reader;
        cam_feed_limits_init(&limits);
        MUST(cam_ndjson_reader_new(&limits, &sink, &reader));
        for (size_t at = 0; at < sizeof stream - 1; at += piece) {
            size_t left = sizeof stream - 1 - at;
            MUST(cam_ndjson_reader_push(reader, stream + at, left < piece ? left : piece));
        }
        MUST(cam_ndjson_reader_finish(reader));
        MUST(cam_ndjson_reader_finish(reader)); /* twice is once */
        cam_ndjson_reader_free(reader);
        cr_assert_eq(c.n_documents, 3, "piece %zu", piece);
        cr_assert_str_eq(c.document[1].text, "a longer second line");
        cr_assert_str_eq(c.document[2].text, "last");
        cr_assert_eq(c.n_rejected, 1);
        cr_assert_str_eq(c.where[0], "line 4");
        collector_release(&c);
    }
}

Test(ndjson, a_line_over_the_limit_is_skipped_however_it_comes) {
    static const char input[] = "{\"text\":\"ok\"}\n{\"text\":\"0123456789012345678901234567\"}\n"
                                "{\"text\":\"on\"}\n";
    for (size_t piece = 1; piece <= sizeof input; piece++) {
        struct cam_feed_limits limits;
        struct cam_document_sink sink = collector_sink(&c);
        struct cam_ndjson_reader *reader;
        cam_feed_limits_init(&limits);
        limits.max_line_bytes = 20;
        MUST(cam_ndjson_reader_new(&limits, &sink, &reader));
        for (size_t at = 0; at < sizeof input - 1; at += piece) {
            size_t left = sizeof input - 1 - at;
            MUST(cam_ndjson_reader_push(reader, input + at, left < piece ? left : piece));
        }
        MUST(cam_ndjson_reader_finish(reader));
        cam_ndjson_reader_free(reader);
        cr_assert_eq(c.n_documents, 2, "piece %zu", piece);
        cr_assert_str_eq(c.document[1].text, "on");
        cr_assert_eq(c.n_rejected, 1);
        cr_assert_str_eq(c.where[0], "line 2");
        collector_release(&c);
    }
}
