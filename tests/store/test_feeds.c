/* The feeds table: credentials apart, moves, what is due, ten thousand of them; the inbox. */
#include "store_fixture.h"

#include "base/clock.h"
#include "base/embed.h"

static struct fixture f;

static void setup(void) {
    fixture_init(&f);
}

static void teardown(void) {
    fixture_release(&f);
}

TestSuite(feeds, .init = setup, .fini = teardown);

static int64_t add(const char *url) {
    int64_t feed;
    OK(cam_feeds_add(f.database, url, NULL, NULL, 3600, &feed));
    return feed;
}

static void poll_feed(int64_t feed, const struct cam_poll *poll) {
    struct cam_journal_writer *writer;
    OK(cam_journal_writer_open(f.database, feed, "https://example.org/f", &writer));
    OK(cam_journal_writer_finish(writer, poll, NULL));
    cam_journal_writer_free(writer);
}

/* ---- credentials ---- */

Test(feeds, N14_credentials_are_in_one_table_that_no_view_reads) {
    int64_t feed = add("https://user:s%65cret@example.org:8443/f?x=a@b#c");
    struct cam_feeds list;
    OK(cam_feeds_get(f.database, feed, &list));
    cr_assert(list.n_feeds == 1);
    cr_assert_str_eq(list.feeds[0].url, "https://example.org:8443/f?x=a@b#c");
    cr_assert_str_eq(list.feeds[0].credentials, "user:s%65cret");
    cr_assert_str_eq(list.feeds[0].host, "example.org");
    cam_feeds_release(&list);
    char *tables = fixture_rows(&f, "SELECT * FROM feeds");
    cr_assert_null(strstr(tables, "cret"), "%s", tables);
    free(tables);
    tables = fixture_rows(&f, "SELECT * FROM v1_feeds, v1_journal, journal");
    cr_assert_null(strstr(tables, "cret"));
    cr_assert_not_null(strstr(tables, "https://***@example.org:8443/f?x=a@b"));
    free(tables);
    ROWS(&f,
         "SELECT count(*) FROM sqlite_schema WHERE type = 'view' AND sql LIKE '%feed_credentials%'",
         "0\n");
}

Test(feeds, N14_a_feed_is_known_by_its_url_without_credentials) {
    int64_t feed = add("https://user:one@example.org/f"), found;
    cr_assert_eq(add("https://user:two@example.org/f"), feed);
    cr_assert_eq(add("https://example.org/f"), feed);
    OK(cam_feeds_find(f.database, "https://someone:else@example.org/f", &found));
    cr_assert_eq(found, feed);
    OK(cam_feeds_find(f.database, "https://example.org/g", &found));
    cr_assert_eq(found, 0);
    ROWS(&f, "SELECT userinfo FROM feed_credentials", "user:two\n");
    OK(cam_feeds_remove(f.database, "https://example.org/f"));
    ROWS(&f, "SELECT count(*) FROM feed_credentials", "0\n");
    cr_assert_neq(add("https://example.org/f"), feed, "a removed feed stays removed");
}

static enum cam_status old_schema(sqlite3 *sqlite, void *context) {
    (void)context;
    static const char *const scripts[] = {
        "PRAGMA foreign_keys = OFF",
        "DROP INDEX feeds_url; DROP INDEX feeds_due; DROP INDEX documents_feed;"
        "DROP INDEX documents_admitted; DROP INDEX journal_settings; DROP TABLE feed_hosts;"
        "DROP TABLE feed_credentials; DROP TABLE simhash_bands",
        "ALTER TABLE feeds DROP COLUMN host; ALTER TABLE feeds DROP COLUMN ca_file;"
        "ALTER TABLE feeds DROP COLUMN ttl_s; ALTER TABLE feeds DROP COLUMN skip_hours;"
        "ALTER TABLE feeds DROP COLUMN skip_days; ALTER TABLE documents DROP COLUMN near",
        "CREATE UNIQUE INDEX feeds_url ON feeds (url) WHERE removed IS NULL",
        "INSERT INTO feeds (url, url_display, interval_s, position, removed) VALUES"
        " ('https://user:secret@Example.org:80/f?x=@y', 'https://***@example.org/f', 60, 1, NULL),"
        " ('http://[::1]:8/x@y', 'http://[::1]:8/x@y', 60, 1, NULL),"
        " ('http://***@gone/', 'http://***@gone/', 60, 1, 9),"
        " ('http://a@b:c@host?q', 'http://***@host?q', 60, 1, NULL)",
    };
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
        cr_assert(sqlite3_exec(sqlite, scripts[i], 0, 0, 0) == SQLITE_OK, "%s",
                  sqlite3_errmsg(sqlite));
    const struct cam_embedded *file = cam_embedded_schema;
    while (!strstr(file->name, "_fetching.sql"))
        file++;
    cr_assert(sqlite3_exec(sqlite, (const char *)file->data, 0, 0, 0) == SQLITE_OK, "%s",
              sqlite3_errmsg(sqlite));
    return CAM_OK;
}

static enum cam_status drop_views(sqlite3 *sqlite, void *context) {
    char sql[256];
    (void)context;
    for (;;) {
        sqlite3_stmt *s;
        sqlite3_prepare_v2(sqlite, "SELECT name FROM sqlite_schema WHERE type = 'view'", -1, &s, 0);
        int row = sqlite3_step(s) == SQLITE_ROW;
        if (row)
            snprintf(sql, sizeof sql, "DROP VIEW \"%s\"", sqlite3_column_text(s, 0));
        sqlite3_finalize(s);
        if (!row)
            return CAM_OK;
        cr_assert(sqlite3_exec(sqlite, sql, 0, 0, 0) == SQLITE_OK);
    }
}

Test(feeds, N14_credentials_of_an_older_schema_are_moved_out) {
    OK(cam_database_call(f.database, drop_views, NULL));
    OK(cam_database_call(f.database, old_schema, NULL));
    ROWS(&f, "SELECT url, host FROM feeds ORDER BY feed",
         "https://Example.org:80/f?x=@y|example.org\n"
         "http://[::1]:8/x@y|[::1]\n"
         "http://***@gone/|\n"
         "http://host?q|host\n");
    ROWS(&f, "SELECT * FROM feed_credentials ORDER BY 1", "1|user:secret\n4|a@b:c\n");
}

/* ---- moves and validators ---- */

Test(feeds, a_permanent_move_changes_the_address) {
    int64_t feed = add("https://user:secret@example.org/old"), other = add("https://example.org/x");
    struct cam_poll poll = {.http_status = 200,
                            .etag = "\"a\"",
                            .moved_url = "https://example.org/new",
                            .next_poll_at_ms = 5};
    poll_feed(feed, &poll);
    ROWS(&f, "SELECT url FROM v1_feeds ORDER BY feed",
         "https://***@example.org/new\nhttps://example.org/x\n");
    ROWS(&f, "SELECT message FROM v1_events WHERE kind = 'feed_moved'",
         "feed 1 moved for good, to https://***@example.org/new\n");
    poll_feed(other, &poll);
    ROWS(&f, "SELECT url FROM v1_feeds WHERE feed = 2", "https://example.org/x\n");
    poll.moved_url = "https://example.org/third";
    poll.error = "broken";
    poll_feed(other, &poll);
    ROWS(&f, "SELECT url, failures FROM v1_feeds WHERE feed = 2", "https://example.org/x|1\n");
}

Test(feeds, N15_validators_are_kept_byte_for_byte_or_not_at_all) {
    int64_t feed = add("https://example.org/f");
    static const char *const good[] = {"\"a\"", "W/\"weak \\ etag\"", "unquoted",
                                       "\"\xc3\xa9\xff\""};
    static const char *const bad[] = {"\"a\"\r\nX: 1", "\"a\nb\"", "\"\x01\"", "\"\x7f\""};
    struct cam_feeds list;
    for (size_t i = 0; i < 4; i++) {
        poll_feed(feed, &(struct cam_poll){.http_status = 200, .etag = good[i]});
        OK(cam_feeds_get(f.database, feed, &list));
        cr_assert_str_eq(list.feeds[0].etag, good[i]);
        cam_feeds_release(&list);
        poll_feed(feed, &(struct cam_poll){.http_status = 200, .etag = bad[i]});
        OK(cam_feeds_get(f.database, feed, &list));
        cr_assert_null(list.feeds[0].etag);
        cam_feeds_release(&list);
    }
}

/* ---- what is due ---- */

Test(feeds, N17_one_feed_a_host_is_due_the_one_that_waits_longest) {
    struct cam_feeds due;
    int64_t a = add("https://a.example/1"), b = add("https://A.example/2");
    int64_t c = add("http://b.example:81/"), d = add("http://c.example/"),
            e = add("http://d.example");
    poll_feed(a, &(struct cam_poll){.http_status = 200, .next_poll_at_ms = 300});
    poll_feed(b, &(struct cam_poll){.http_status = 200, .next_poll_at_ms = 200});
    poll_feed(c, &(struct cam_poll){.http_status = 200, .next_poll_at_ms = 100});
    poll_feed(d, &(struct cam_poll){.http_status = 200, .next_poll_at_ms = 9000});
    poll_feed(e, &(struct cam_poll){.http_status = 410, .error = "gone", .next_poll_at_ms = 1});
    OK(cam_feeds_due(f.database, 1000, 10, &due));
    cr_assert_eq(due.n_feeds, 2u);
    cr_assert(due.feeds[0].feed == c && due.feeds[1].feed == b);
    cam_feeds_release(&due);
    OK(cam_feeds_due(f.database, 1000, 1, &due));
    cr_assert_eq(due.n_feeds, 1u);
    cam_feeds_release(&due);
}

Test(feeds, N03_a_host_that_asked_for_rest_is_left_alone_with_all_its_feeds) {
    struct cam_feeds due;
    int64_t a = add("https://a.example/1");
    add("https://a.example/2");
    int64_t c = add("https://b.example/");
    poll_feed(a, &(struct cam_poll){.http_status = 429,
                                    .error = "busy",
                                    .keep_hints = 1,
                                    .next_poll_at_ms = 5000,
                                    .host_not_before_ms = 5000});
    OK(cam_feeds_due(f.database, 4999, 10, &due));
    cr_assert(due.n_feeds == 1 && due.feeds[0].feed == c);
    cam_feeds_release(&due);
    fixture_reopen(&f);
    OK(cam_feeds_due(f.database, 5000, 10, &due));
    cr_assert_eq(due.n_feeds, 2u, "and not for ever; it survives a restart");
    cam_feeds_release(&due);
}

Test(feeds, C19_a_clock_set_back_stops_no_feed) {
    const int64_t now = 1700000000000, day = 86400000;
    struct cam_feeds due;
    int64_t a = add("https://a.example/"), b = add("https://b.example/");
    poll_feed(a, &(struct cam_poll){.http_status = 200, .next_poll_at_ms = now + 400 * day});
    poll_feed(b, &(struct cam_poll){.http_status = 429,
                                    .error = "busy",
                                    .next_poll_at_ms = now + day,
                                    .host_not_before_ms = now + 400 * day});
    OK(cam_feeds_mend_clock(f.database, now));
    OK(cam_feeds_due(f.database, now, 10, &due));
    cr_assert(due.n_feeds == 1 && due.feeds[0].feed == a);
    cam_feeds_release(&due);
    OK(cam_feeds_due(f.database, now + day, 10, &due));
    cr_assert_eq(due.n_feeds, 2u);
    cam_feeds_release(&due);
}

static enum cam_status ten_thousand(sqlite3 *sqlite, void *context) {
    (void)context;
    return sqlite3_exec(
               sqlite,
               "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i <"
               " 10000) INSERT INTO feeds (url, url_display, host, interval_s, position)"
               " SELECT 'http://h.example/' || i, 'http://h.example/' || i, 'h.example',"
               " 3600, i FROM n",
               0, 0, 0) == SQLITE_OK
               ? CAM_OK
               : CAM_ERR_INTERNAL;
}

Test(feeds, N17_ten_thousand_feeds_are_listed_and_the_due_one_is_found_by_index) {
    struct cam_feeds list;
    OK(cam_database_write(f.database, ten_thousand, NULL));
    OK(cam_feeds_list(f.database, &list));
    cr_assert_eq(list.n_feeds, 10000u);
    cam_feeds_release(&list);
    OK(cam_feeds_due(f.database, 1, 100, &list));
    cr_assert_eq(list.n_feeds, 1u, "of one host");
    cam_feeds_release(&list);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_feeds WHERE share = 0") == 10000);
    char *plan = fixture_rows(&f, "EXPLAIN QUERY PLAN SELECT d.host, d.feed, min(d.next_poll_at_ms)"
                                  " FROM feeds AS d WHERE d.removed IS NULL AND d.gone = 0 AND"
                                  " d.next_poll_at_ms <= 1 GROUP BY d.host");
    cr_assert(strstr(plan, "USING INDEX feeds_due") ||
                  strstr(plan, "USING COVERING INDEX feeds_due"),
              "%s", plan);
    free(plan);
    plan = fixture_rows(&f, "EXPLAIN QUERY PLAN SELECT * FROM v1_feeds");
    cr_assert_null(strstr(plan, "SCAN d\n"), "%s", plan);
    free(plan);
    plan = fixture_rows(&f, "EXPLAIN QUERY PLAN SELECT * FROM living_settings");
    cr_assert_null(strstr(plan, "SCAN j\n"), "%s", plan);
    free(plan);
}

/* ---- the inbox ---- */

Test(feeds, the_inbox_is_what_waits_for_the_trainer) {
    struct cam_inbox inbox;
    fixture_documents(&f, "a", 0, 10);
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, "inbox.max_documents", "500", "", NULL));
    OK(cam_journal_inbox(f.database, &inbox));
    cr_assert(inbox.documents == 10 && inbox.bytes > 600 && !inbox.is_full);
    cr_assert(inbox.room_documents == 490 && inbox.room_bytes == 67108864 - inbox.bytes);
    fixture_documents(&f, "a", 10, 490);
    OK(cam_journal_inbox(f.database, &inbox));
    cr_assert(inbox.documents == 500 && inbox.is_full && inbox.room_documents == 0);
    fixture_step(&f, 1, 1);
    OK(cam_journal_inbox(f.database, &inbox));
    cr_assert(inbox.documents == 499 && !inbox.is_full);
    ROWS(&f, "SELECT documents, max_documents, is_full FROM v1_inbox", "499|500|0\n");
}

Test(feeds, the_inbox_is_not_full_while_the_trainer_cannot_fill_a_batch) {
    struct cam_inbox inbox;
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, "inbox.max_documents", "1", "", NULL));
    fixture_documents(&f, "a", 0, 5);
    OK(cam_journal_inbox(f.database, &inbox));
    cr_assert(inbox.documents == 5 && !inbox.is_full && inbox.room_documents > 0 &&
              inbox.room_bytes > 0);
}
