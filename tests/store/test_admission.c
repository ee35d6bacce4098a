/* What happens to a document at the door: quarantine, near duplicates, revisions, quotas. */
#include "store/simhash.h"
#include "store_fixture.h"

static struct fixture f;

static void setup(void) {
    fixture_init(&f);
}

static void teardown(void) {
    fixture_release(&f);
}

TestSuite(admission, .init = setup, .fini = teardown);

/* N words, of which every EVERY-th (0: none) is another one than in the same text of other SEEDs.
 */
static char *words(int n, int every, unsigned seed) {
    static const char *const common[] = {"river",  "stone",  "lantern", "harbour",
                                         "winter", "copper", "meadow",  "letter",
                                         "engine", "garden", "window",  "paper"};
    char *text = calloc(1, 20 * (size_t)n + 1);
    size_t used = 0;
    uint64_t state = 42;
    for (int i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (every && i % every == every / 2)
            used += (size_t)sprintf(text + used, "word%u ", seed);
        else
            used += (size_t)sprintf(text + used, "%s%d ", common[state >> 33 & 7],
                                    (int)(state >> 40) % 50);
    }
    return text;
}

static struct cam_document text_of(const char *guid, const char *text) {
    return (struct cam_document){
        .id = guid, .domain = "news", .text = text, .text_bytes = strlen(text)};
}

static struct cam_admission_counts give(int64_t feed, const char *source, const char *guid,
                                        const char *text) {
    struct cam_document d = text_of(guid, text);
    return fixture_ingest(&f, feed, source, &d, 1);
}

static int64_t add_feed(const char *url) {
    int64_t feed;
    OK(cam_feeds_add(f.database, url, "name", NULL, 3600, &feed));
    return feed;
}

static void set(const char *key, const char *value) {
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, key, value, "person", NULL));
}

/* ---- SimHash ---- */

static int distance(const char *a, const char *b) {
    size_t n;
    return cam_simhash_distance(cam_simhash(a, strlen(a), &n), cam_simhash(b, strlen(b), &n));
}

Test(simhash, only_words_count) {
    static const char text[] =
        "It was the best of times, it was the worst of times, it was the age "
        "of wisdom, it was the age of foolishness, it was the epoch of belief";
    static const char same[] =
        "IT WAS THE BEST OF TIMES \xe2\x80\x94 it was the worst of times; \n\n "
        "it was the age of \xe2\x80\x9cwisdom\xe2\x80\x9d it was the age of "
        "foolishness\tit was the epoch of belief!!!";
    size_t n;
    cr_assert_eq(distance(text, same), 0);
    cam_simhash(text, strlen(text), &n);
    cr_assert_eq(n, 29u, "%zu pairs of 30 words", n);
    cr_assert_gt(distance(text, "It was a bright cold day in April, and the clocks were striking "
                                "thirteen when Winston Smith slipped through the glass doors"),
                 10);
    cr_assert_gt(distance("one two three four five six seven eight nine ten",
                          "ten nine eight seven six five four three two one"),
                 10, "order counts");
}

Test(simhash, ideographs_are_words_and_broken_text_is_survived) {
    size_t n;
    cam_simhash("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x80\x82\xe6\x96\x87", 15, &n);
    cr_assert_eq(n, 3u);
    cam_simhash("\xe6\x97", 2, &n);
    cam_simhash("\xff\xff\xff", 3, &n);
    cam_simhash("", 0, &n);
    cr_assert_eq(n, 0u);
}

Test(simhash, more_than_255_pairs_are_counted_right) {
    char *once = words(200, 0, 0), *text = calloc(1, 5 * strlen(once) + 1);
    for (int i = 0; i < 5; i++)
        strcat(text, once);
    cr_assert_leq(distance(once, text), 2, "%d", distance(once, text));
    free(once);
    free(text);
}

/* ---- near duplicates ---- */

Test(admission, T05_near_duplicates_are_held_back_whatever_feed_they_come_from) {
    int64_t a = add_feed("https://a.example/feed"), b = add_feed("https://b.example/feed");
    char *first = words(400, 0, 0), *second = words(400, 0, 0), *other = words(400, 3, 7);
    memcpy(second, "LAKE", 4);
    cr_assert(give(a, "https://a.example/feed", "1", first).quarantined == 0);
    cr_assert(give(b, "https://b.example/feed", "1", second).quarantined == 1);
    cr_assert(give(b, "https://b.example/feed", "2", other).quarantined == 0);
    ROWS(&f, "SELECT document, state, near_duplicate_of FROM v1_documents ORDER BY 1",
         "3|pending|NULL\n4|quarantined|3\n5|pending|NULL\n");
    ROWS(&f,
         "SELECT document, reason LIKE 'near duplicate of document 3: % of 64 bits differ',"
         " near_duplicate_of, feed FROM v1_quarantine",
         "4|1|3|2\n");
    free(first), free(second), free(other);
}

Test(admission, T05_most_of_300_copies_of_a_trigger_are_held_back) {
    int64_t feed = add_feed("https://evil.example/feed");
    char *text = words(300, 0, 0);
    for (int i = 0; i < 300; i++) {
        char guid[16], *copy = strdup(text);
        char digits[8];
        snprintf(guid, sizeof guid, "g%d", i);
        snprintf(digits, sizeof digits, "%05d", i);
        memcpy(strchr(copy + 500, ' ') + 1, digits, 5); /* one word of each is its own */
        give(feed, "https://evil.example/feed", guid, copy);
        free(copy);
    }
    int64_t held = fixture_int(&f, "SELECT count(*) FROM v1_quarantine WHERE reason LIKE 'near %'");
    cr_assert(held >= 270, "%lld of 300", (long long)held);
    fixture_counts_add_up(&f);
    free(text);
}

Test(admission, near_duplicates_can_be_allowed) {
    char *first = words(400, 0, 0), *second = words(400, 0, 0);
    memcpy(second, "LAKE", 4);
    set("document.near_bits", "-1");
    give(0, "s", NULL, first);
    cr_assert(give(0, "s", NULL, second).quarantined == 0);
    free(first), free(second);
}

Test(admission, short_texts_have_no_near_duplicates) {
    give(0, "s", NULL, "A short text of a few words, number one.");
    cr_assert(give(0, "s", NULL, "A short text of a few words - number one!").quarantined == 0);
}

Test(admission, P06_a_revision_is_no_near_duplicate_of_what_it_revises) {
    int64_t feed = add_feed("https://a.example/feed");
    char *first = words(400, 0, 0), *second = words(400, 0, 0), *third = words(400, 0, 0);
    memcpy(second, "LAKE", 4);
    memcpy(third, "POND", 4);
    give(feed, "https://a.example/feed", "same", first);
    struct cam_admission_counts c = give(feed, "https://a.example/feed", "same", second);
    cr_assert(c.revisions == 1 && c.quarantined == 0);
    c = give(feed, "https://a.example/feed", "same", third);
    cr_assert(c.revisions == 1 && c.quarantined == 0);
    ROWS(&f, "SELECT document, revises, state FROM v1_documents ORDER BY 1",
         "2|NULL|pending\n3|2|pending\n4|3|pending\n");
    cr_assert(give(0, "elsewhere", "same", first).duplicates == 1);
    free(first), free(second), free(third);
}

Test(admission, what_is_held_back_is_a_function_of_the_journal) {
    struct fixture g;
    fixture_init(&g);
    struct cam_document documents[40];
    char *texts[40];
    for (int i = 0; i < 40; i++) {
        texts[i] = words(100 + 40 * (i % 5), i % 2 ? 90 : 7, (unsigned)i / 4);
        documents[i] = text_of(NULL, texts[i]);
    }
    fixture_ingest(&f, 0, "s", documents, 40);
    for (int i = 0; i < 40; i++) /* other transactions */
        fixture_ingest(&g, 0, "s", &documents[i], 1);
    char *one = fixture_rows(&f, "SELECT * FROM simhash_bands ORDER BY 1, 2");
    ROWS(&g, "SELECT * FROM simhash_bands ORDER BY 1, 2", one);
    free(one);
    one = fixture_rows(&f, "SELECT document, state, reason, near_duplicate_of FROM v1_documents");
    ROWS(&g, "SELECT document, state, reason, near_duplicate_of FROM v1_documents", one);
    free(one);
    for (int i = 0; i < 40; i++)
        free(texts[i]);
    fixture_release(&g);
}

/* ---- quotas ---- */

static void flood(int64_t feed, const char *source, int from, int n) {
    for (int i = 0; i < n; i++) {
        char text[160];
        fixture_text(text, source, from + i);
        struct cam_document d = text_of(NULL, text);
        fixture_ingest(&f, feed, source, &d, 1);
    }
}

Test(admission, T04_a_feed_that_floods_is_held_to_its_share) {
    int64_t loud = add_feed("https://loud.example/feed"), calm = add_feed("https://calm.example/f");
    set("feed.max_share", "0.5");
    set("feed.share_window", "20");
    flood(loud, "https://loud.example/feed", 0, 95);
    flood(calm, "https://calm.example/f", 0, 5);
    ROWS(&f,
         "SELECT f.url, sum(d.state = 'pending'), sum(d.state = 'quarantined') FROM v1_documents AS"
         " d JOIN v1_feeds AS f ON f.feed = d.feed GROUP BY f.feed",
         "https://loud.example/feed|10|85\nhttps://calm.example/f|5|0\n");
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_quarantine WHERE reason LIKE 'over quota:%'"
                              " AND reason LIKE '%feed.max_share is 0.5%'") == 85);
    ROWS(&f, "SELECT share > 0.6 AND share < 0.72, quarantined FROM v1_feeds WHERE feed = 1",
         "1|85\n");
    /* Others have written: there is room again. */
    flood(calm, "https://calm.example/f", 5, 5);
    flood(loud, "https://loud.example/feed", 95, 5);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_documents WHERE feed = 1 AND state ="
                              " 'pending'") <= 12);
    fixture_counts_add_up(&f);
}

Test(admission, T04_without_a_quota_the_share_is_seen) {
    int64_t a = add_feed("https://a.example/feed"), b = add_feed("https://b.example/feed");
    flood(a, "https://a.example/feed", 0, 19);
    flood(b, "https://b.example/feed", 0, 1);
    ROWS(&f, "SELECT round(share, 2), quarantined FROM v1_feeds ORDER BY feed", "0.95|0\n0.05|0\n");
}

Test(admission, T04_a_quota_is_the_same_in_one_transaction_or_many) {
    char texts[60][160];
    struct cam_document documents[60];
    struct fixture g;
    int64_t feed = add_feed("https://a.example/feed"), other;
    fixture_init(&g);
    OK(cam_feeds_add(g.database, "https://a.example/feed", "name", NULL, 3600, &other));
    for (int i = 0; i < 60; i++) {
        fixture_text(texts[i], "x", i * i);
        documents[i] = text_of(NULL, texts[i]);
    }
    for (int i = 0; i < 2; i++) {
        struct cam_database *database = i ? g.database : f.database;
        OK(cam_journal_control(database, CAM_ITEM_SETTING, "feed.max_share", "0.4", "", NULL));
        OK(cam_journal_control(database, CAM_ITEM_SETTING, "feed.share_window", "30", "", NULL));
    }
    fixture_ingest(&f, feed, "s", documents, 60);
    for (int i = 0; i < 60; i++)
        fixture_ingest(&g, other, "s", &documents[i], 1);
    char *one = fixture_rows(&f, "SELECT document, state, reason FROM v1_documents ORDER BY 1");
    ROWS(&g, "SELECT document, state, reason FROM v1_documents ORDER BY 1", one);
    cr_assert(strstr(one, "over quota") != NULL);
    free(one);
    fixture_release(&g);
}

/* ---- texts that are none ---- */

Test(admission, T03_P14_texts_that_say_one_thing_over_and_over) {
    size_t n = 5000000;
    char *text = malloc(n + 64);
    for (size_t i = 0; i < n; i += 5)
        memcpy(text + i, "spam ", 5);
    text[n - 1] = '\0'; /* one million times, the last without its space */
    cr_assert(give(0, "s", "unit", text).quarantined == 1);
    memmove(text + 20, text, n - 20);
    memcpy(text, "A headline of its own", 20); /* no unit repeated, and yet */
    text[4096] = '\0';
    cr_assert(give(0, "s", "head", text).quarantined == 1);
    ROWS(&f,
         "SELECT reason LIKE 'one unit of 5 bytes repeated %' OR reason LIKE 'repetitive: %'"
         " FROM v1_quarantine",
         "1\n1\n");
    free(text);
}

Test(admission, P14_N16_bytes_that_were_no_text) {
    struct cam_document d =
        text_of("b", "ab \xef\xbf\xbd\xef\xbf\xbd cd \xef\xbf\xbd ef \xef\xbf\xbd"
                     "\xef\xbf\xbd\xef\xbf\xbd gh");
    d.n_replaced = 6;
    cr_assert(fixture_ingest(&f, 0, "s", &d, 1).quarantined == 1);
    d = text_of("c",
                "A good sentence with one broken \xef\xbf\xbd character in the middle of it all.");
    d.n_replaced = 1;
    cr_assert(fixture_ingest(&f, 0, "s", &d, 1).quarantined == 0);
    ROWS(&f, "SELECT reason FROM v1_quarantine", "binary: 6 runs of bytes in it were no text\n");
}

/* ---- hostile fields ---- */

Test(admission, P07_ids_that_look_like_paths_touch_no_file) {
    static const char *const ids[] = {
        "../../etc/passwd", "/", "CON", "a\nb", ".", "..", "", "%2e%2e"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char text[160];
        fixture_text(text, "p", (int)i);
        cr_assert(give(0, "s", ids[i], text).journalled == 1);
    }
    ROWS(&f, "SELECT guid FROM v1_documents WHERE document = 1", "../../etc/passwd\n");
    ROWS(&f, "SELECT count(*) FROM v1_documents WHERE guid IS NULL", "1\n");
    char command[512];
    snprintf(command, sizeof command, "test -z \"$(find '%s' -name 'passwd*' -o -name 'CON*')\"",
             f.dir);
    cr_assert(system(command) == 0);
}

Test(admission, P09_P17_controls_and_formats_are_kept_raw_and_shown_neutral) {
    static const char text[] = "A text long enough to be admitted, with %n%s%n%s%x in it.";
    struct cam_document d = {.id = "%n%s",
                             .url = "http://x/\x1b]0;evil\x07%n",
                             .title = "\x1b[31m%s%n\x9b"
                                      "31m\xe2\x80\xae"
                                      "gpj.exe",
                             .author = "%s%s%s%n",
                             .domain = "%n%n\x1b[2J",
                             .published = "%n",
                             .text = text,
                             .text_bytes = sizeof text - 1};
    fixture_ingest(&f, 0, "%n%s\x1b[0m", &d, 1);
    ROWS(&f, "SELECT guid, author, url_display, title_display, domain, source FROM v1_documents",
         "%n%s|%s%s%s%n|http://x/?]0;evil?%n|?[31m%s%n?31m?gpj.exe|%n%n?[2J|%n%s?[0m\n");
    char *raw = fixture_rows(&f, "SELECT url FROM v1_documents");
    cr_assert(strncmp(raw, d.url, strlen(d.url)) == 0);
    free(raw);
}

Test(admission, P15_dates_are_data_and_order_is_arrival) {
    static const char *const dates[] = {"1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "yesterday",
                                        NULL};
    for (int i = 0; i < 4; i++) {
        char text[160];
        fixture_text(text, "d", i);
        struct cam_document d = text_of(NULL, text);
        d.published = d.updated = dates[i];
        fixture_ingest(&f, 0, "s", &d, 1);
    }
    ROWS(&f, "SELECT document, published FROM v1_documents ORDER BY document",
         "1|1970-01-01T00:00:00Z\n2|9999-12-31T23:59:59Z\n3|yesterday\n4|NULL\n");
}

/* ---- the way back ---- */

Test(admission, a_released_document_is_trained_once_at_its_new_place) {
    char *first = words(400, 0, 0), *second = words(400, 0, 0);
    memcpy(second, "LAKE", 4);
    give(0, "s", NULL, first);
    give(0, "s", NULL, second);
    OK(cam_journal_release(f.database, 2, "looked at it"));
    FAILS(CAM_ERR_DATA, cam_journal_release(f.database, 2, "again"));
    FAILS(CAM_ERR_DATA, cam_journal_drop(f.database, 2, "too late"));
    struct cam_items items;
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 2 && items.items[1].document == 2 && items.items[1].position == 3);
    cam_items_release(&items);
    fixture_step(&f, 1, 1);
    fixture_step_nll(&f, 2, 3, 2, 5, 0, NULL);
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 0, "once");
    cam_items_release(&items);
    ROWS(&f, "SELECT count(*) FROM v1_quarantine", "0\n");
    ROWS(&f, "SELECT kind, document, reason FROM v1_journal WHERE position = 3",
         "release|2|looked at it\n");
    fixture_counts_add_up(&f);
    free(first), free(second);
}
