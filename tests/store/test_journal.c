#include "store_fixture.h"

static struct fixture f;

static void setup(void) {
    fixture_init(&f);
}

static void teardown(void) {
    fixture_release(&f);
}

TestSuite(journal, .init = setup, .fini = teardown);

static const char long_text[] = "A text long enough to be admitted, number one.";

static struct cam_document document(const char *guid, const char *text) {
    return (struct cam_document){
        .id = guid, .domain = "news", .title = "t", .text = text, .text_bytes = strlen(text)};
}

Test(journal, a_document_id_is_its_position_in_order) {
    fixture_documents(&f, "a", 0, 2);
    OK(cam_journal_control(f.database, CAM_ITEM_EVALUATE, NULL, NULL, "person", NULL));
    fixture_documents(&f, "b", 0, 1);
    ROWS(&f, "SELECT position, kind, document FROM v1_journal ORDER BY position",
         "1|document|1\n2|document|2\n3|evaluate|NULL\n4|document|4\n");
    struct cam_items items;
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 4 && items.at_end && items.end == 4);
    cr_assert(items.items[2].kind == CAM_ITEM_EVALUATE);
    cr_assert(items.items[3].document == 4 && strcmp(items.items[3].domain, "b") == 0);
    char text[160];
    fixture_text(text, "b", 0);
    cr_assert(strcmp(items.items[3].text, text) == 0);
    cam_items_release(&items);
}

Test(journal, reading_stops_at_the_limits_and_goes_on_from_end) {
    struct cam_items items;
    int64_t at = 0;
    int n = 0;
    fixture_documents(&f, "a", 0, 7);
    do {
        OK(cam_journal_read(f.database, at, 2, 1 << 20, &items));
        cr_assert(items.n_items <= 2 && (items.n_items > 0 || items.at_end));
        n += (int)items.n_items;
        at = items.end;
        int at_end = items.at_end;
        cam_items_release(&items);
        if (at_end)
            break;
    } while (1);
    cr_assert(n == 7);
    OK(cam_journal_read(f.database, 0, 100, 1, &items));
    cr_assert(items.n_items == 1, "at least one item, however long");
    cam_items_release(&items);
}

Test(journal, N02_same_text_again_is_counted_and_not_stored) {
    struct cam_document d = document("g", long_text);
    int64_t feed;
    OK(cam_feeds_add(f.database, "https://example.org/feed", "Example", "atom", 600, &feed));
    fixture_ingest(&f, feed, "https://example.org/feed", &d, 1);
    struct cam_admission_counts c = fixture_ingest(&f, feed, "https://example.org/feed", &d, 1);
    cr_assert(c.seen == 1 && c.duplicates == 1 && c.journalled == 0);
    ROWS(&f, "SELECT documents, duplicates FROM v1_feeds", "1|1\n");
}

Test(journal, P06_same_guid_with_new_text_is_a_revision) {
    struct cam_document d = document("g", long_text);
    fixture_ingest(&f, 0, "s", &d, 1);
    d.text = "The same entry, but it was rewritten by its author.";
    d.text_bytes = strlen(d.text);
    cr_assert(fixture_ingest(&f, 0, "s", &d, 1).revisions == 1);
    cr_assert(fixture_ingest(&f, 0, "other", &d, 1).duplicates == 1);
    ROWS(&f, "SELECT document, revises FROM v1_documents ORDER BY 1", "1|NULL\n2|1\n");
    /* Another source with that guid is another document. */
    d.text = "A third text that only shares its guid with the others.";
    d.text_bytes = strlen(d.text);
    cr_assert(fixture_ingest(&f, 0, "other", &d, 1).revisions == 0);
}

Test(journal, P14_unfit_texts_are_quarantined_with_a_reason) {
    char repeated[1000];
    memset(repeated, 'x', sizeof repeated);
    struct cam_document documents[] = {document("1", ""),
                                       document("2", "short"),
                                       document("3", "   \n  \n      \t       "),
                                       {.id = "4", .text = repeated, .text_bytes = sizeof repeated},
                                       document("5", long_text)};
    struct cam_admission_counts c = fixture_ingest(&f, 0, "s", documents, 5);
    cr_assert(c.journalled == 5 && c.quarantined == 4);
    ROWS(&f, "SELECT document, state, reason FROM v1_documents ORDER BY 1",
         "1|quarantined|empty\n"
         "2|quarantined|too short: 5 bytes, at least 16 needed\n"
         "3|quarantined|empty\n"
         "4|quarantined|one unit of 1 bytes repeated 1000 times\n"
         "5|pending|NULL\n");
    struct cam_items items;
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 1 && items.items[0].document == 5);
    cam_items_release(&items);
    fixture_counts_add_up(&f);
}

Test(journal, P14_longest_document_is_a_setting) {
    static char text[200];
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = (char)('a' + (i * i + i / 7) % 26);
    struct cam_document d = document("g", text);
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, "document.max_bytes", "100", "person",
                           NULL));
    cr_assert(fixture_ingest(&f, 0, "s", &d, 1).quarantined == 1);
}

Test(journal, P08_hostile_strings_are_stored_verbatim_and_shown_neutral) {
    struct cam_document d = document("'); DROP TABLE documents--", long_text);
    d.title = "a\x1b]0;evil\x07\xe2\x80\xae%n%s";
    d.author = "'; DELETE FROM journal; --";
    d.domain = "news\x1b[31m";
    fixture_ingest(&f, 0, "source\nwith newline", &d, 1);
    char *row =
        fixture_rows(&f, "SELECT guid, title_display, author, domain, source FROM v1_documents");
    cr_assert(strcmp(row, "'); DROP TABLE documents--|a?]0;evil??%n%s|'; DELETE FROM journal; --|"
                          "news?[31m|source with newline\n") == 0,
              "%s", row);
    free(row);
    row = fixture_rows(&f, "SELECT title FROM v1_documents");
    cr_assert(strncmp(row, d.title, strlen(d.title)) == 0, "the raw title is kept");
    free(row);
}

Test(journal, P06_guid_of_a_megabyte_is_cut) {
    char *guid = malloc((1 << 20) + 1);
    memset(guid, 'g', 1 << 20);
    guid[1 << 20] = '\0';
    struct cam_document d = document(guid, long_text);
    fixture_ingest(&f, 0, "s", &d, 1);
    cr_assert(fixture_int(&f, "SELECT length(guid) FROM documents") == 8192);
    free(guid);
}

static enum cam_status count_probe(void *context, const struct cam_probe_text *text) {
    int *n = context;
    cr_assert(text->text_bytes == strlen(text->text));
    (*n)++;
    return CAM_OK;
}

Test(journal, probe_draw_is_a_function_of_text_and_seed) {
    struct cam_settings settings;
    struct fixture g, h;
    int n = 0;
    cam_settings_defaults(&settings);
    settings.probe_share = 0.2;
    fixture_init_with(&g, &settings);
    fixture_init_with(&h, &settings);
    fixture_documents(&g, "a", 0, 200);
    for (int i = 0; i < 200; i++) /* one transaction each: the draw is the same */
        fixture_documents(&h, "a", i, 1);
    char *one = fixture_rows(&g, "SELECT document, admission FROM v1_documents ORDER BY 1");
    ROWS(&h, "SELECT document, admission FROM v1_documents ORDER BY 1", one);
    free(one);
    int64_t held = fixture_int(&g, "SELECT count(*) FROM v1_documents WHERE state = 'held_out'");
    cr_assert(held > 15 && held < 70, "%d of 200", (int)held);
    ROWS(&g, "SELECT admission FROM v1_documents WHERE document = 1", "train\n");
    OK(cam_journal_probes(g.database, INT64_MAX, count_probe, &n));
    cr_assert(n == held);
    n = 0;
    OK(cam_journal_probes(g.database, 1, count_probe, &n));
    cr_assert(n == 0, "probes past the cursor are not seen");
    fixture_counts_add_up(&g);
    fixture_release(&g);
    fixture_release(&h);
}

Test(journal, probe_of_a_domain_has_a_limit) {
    struct cam_settings settings;
    struct fixture g;
    cam_settings_defaults(&settings);
    settings.probe_share = 0.5;
    settings.probe_max_bytes = 500;
    fixture_init_with(&g, &settings);
    fixture_documents(&g, "a", 0, 100);
    int64_t bytes = fixture_int(&g, "SELECT bytes FROM v1_probes");
    cr_assert(bytes > 300 && bytes <= 500, "%d", (int)bytes);
    fixture_release(&g);
}

Test(journal, T08_text_of_a_probe_is_refused_from_elsewhere) {
    struct cam_document d = document("g", long_text);
    OK(cam_journal_probe(f.database, "file.txt", long_text, strlen(long_text)));
    for (int i = 0; i < 2; i++)
        cr_assert(fixture_ingest(&f, 0, "s", &d, 1).contaminations == 1);
    ROWS(&f, "SELECT name, kind, contaminated, refused FROM v1_probes", "file.txt|file|0|1\n");
    struct cam_counts c;
    OK(cam_history_counts(f.database, &c));
    cr_assert(c.journalled == 1 && c.held_out == 1 && c.pending == 0);
}

Test(journal, T08_probe_that_comes_late_is_marked) {
    struct cam_document d = document("g", long_text);
    fixture_ingest(&f, 0, "s", &d, 1);
    OK(cam_journal_probe(f.database, "late.txt", long_text, strlen(long_text)));
    ROWS(&f, "SELECT name, contaminated FROM v1_probes", "late.txt|1\n");
}

Test(journal, settings_of_both_scopes) {
    struct cam_settings s;
    int64_t position;
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, "probe.share", "0.25", "person", NULL));
    OK(cam_journal_control(f.database, CAM_ITEM_SETTING, "checkpoint.every_steps", "7", "person",
                           &position));
    OK(cam_journal_settings(f.database, &s));
    cr_assert(s.probe_share == 0.25, "at once");
    cr_assert(s.checkpoint_every != 7, "not before the trainer is there");
    struct cam_items items;
    OK(cam_journal_read(f.database, 0, 10, 1, &items));
    cr_assert(items.n_items == 1 && items.items[0].kind == CAM_ITEM_SETTING);
    cr_assert(strcmp(items.items[0].name, "checkpoint.every_steps") == 0);
    cam_items_release(&items);
    OK(cam_history_control_done(f.database, position, "done"));
    OK(cam_journal_settings(f.database, &s));
    cr_assert(s.checkpoint_every == 7);
    OK(cam_journal_read(f.database, 0, 10, 1, &items));
    cr_assert(items.n_items == 0, "done rows are not given again");
    cam_items_release(&items);
    FAILS(CAM_ERR_CONFIG, cam_journal_control(f.database, CAM_ITEM_SETTING, "seed", "3", "", NULL));
    FAILS(CAM_ERR_CONFIG,
          cam_journal_control(f.database, CAM_ITEM_SETTING, "prob.share", "3", "", NULL));
    SAYS("did you mean probe.share");
    FAILS(CAM_ERR_CONFIG,
          cam_journal_control(f.database, CAM_ITEM_SETTING, "probe.share", "7", "", NULL));
}

Test(journal, quarantined_document_can_be_released_or_dropped) {
    struct cam_document documents[] = {document("1", "too short"), document("2", "short too"),
                                       document("3", long_text)};
    fixture_ingest(&f, 0, "s", documents, 3);
    FAILS(CAM_ERR_DATA, cam_journal_release(f.database, 3, "person"));
    FAILS(CAM_ERR_NOINPUT, cam_journal_release(f.database, 99, "person"));
    OK(cam_journal_release(f.database, 1, "person"));
    OK(cam_journal_drop(f.database, 2, "person"));
    ROWS(&f, "SELECT document, state FROM v1_documents ORDER BY 1",
         "1|pending\n2|set_aside\n3|pending\n");
    struct cam_items items;
    OK(cam_journal_read(f.database, 0, 10, 1 << 20, &items));
    cr_assert(items.n_items == 2);
    cr_assert(items.items[0].document == 3 && items.items[0].position == 3);
    cr_assert(items.items[1].document == 1 && items.items[1].position == 4);
    cam_items_release(&items);
    fixture_counts_add_up(&f);
}

Test(journal, C02_validators_come_with_the_documents_or_not_at_all) {
    struct cam_document d = document("g", long_text);
    struct cam_journal_writer *w;
    struct cam_feeds feeds;
    int64_t feed;
    OK(cam_feeds_add(f.database, "https://user:secret@example.org/f", NULL, NULL, 600, &feed));
    OK(cam_journal_writer_open(f.database, feed, "https://user:secret@example.org/f", &w));
    struct cam_document_sink sink = cam_journal_writer_sink(w);
    cr_assert(sink.document(sink.context, &d) == CAM_OK);
    cam_journal_writer_free(w); /* as a crash before the end would */
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_documents") == 0);
    struct cam_poll poll = {.etag = "\"abc\"",
                            .last_modified = "bad\r\nX-Injected: 1",
                            .http_status = 200,
                            .next_poll_at_ms = 123456};
    OK(cam_journal_writer_open(f.database, feed, "https://user:secret@example.org/f", &w));
    sink = cam_journal_writer_sink(w);
    cr_assert(sink.document(sink.context, &d) == CAM_OK);
    cr_assert(sink.rejected(sink.context, "line 2", "not an object") == CAM_OK);
    OK(cam_journal_writer_finish(w, &poll, NULL));
    cam_journal_writer_free(w);
    OK(cam_feeds_list(f.database, &feeds));
    cr_assert(feeds.n_feeds == 1 && strcmp(feeds.feeds[0].etag, "\"abc\"") == 0);
    cr_assert(feeds.feeds[0].last_modified == NULL, "N15: never a header again");
    cam_feeds_release(&feeds);
    ROWS(&f, "SELECT url, documents, rejected FROM v1_feeds", "https://***@example.org/f|1|1\n");
    ROWS(&f, "SELECT source FROM v1_documents", "https://***@example.org/f\n");
    OK(cam_feeds_remove(f.database, "https://user:secret@example.org/f"));
    FAILS(CAM_ERR_NOINPUT, cam_feeds_remove(f.database, "https://user:secret@example.org/f"));
    cr_assert(strstr(cam_message(), "secret") == NULL, "N14");
}

Test(journal, damaged_text_is_noticed) {
    char *text;
    size_t n;
    fixture_documents(&f, "a", 0, 2);
    OK(cam_journal_text(f.database, 2, &text, &n));
    cr_assert(n == strlen(text));
    free(text);
    FAILS(CAM_ERR_NOINPUT, cam_journal_text(f.database, 3, &text, &n));
    free(fixture_rows(&f, "UPDATE document_texts SET text = (SELECT text FROM document_texts WHERE "
                          "document = 1) WHERE document = 2"));
    FAILS(CAM_ERR_DATA, cam_journal_text(f.database, 2, &text, &n));
}
