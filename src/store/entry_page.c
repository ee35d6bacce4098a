/* entry_page.c - entries that were told from their page once: the same again is nothing new.  A row
 * is written in the transaction that journals the document, so whatever crashes between the fetch
 * and the journal, the entry is either unknown and asked for again, or journalled once. */
#include "store/admission_internal.h"
#include "store/rows.h"
#include "store/sql.h"

#include "base/log.h"

#define PROBLEM_BYTES 300

enum cam_status cam_entry_page_find(sqlite3 *sqlite, int64_t feed, const char *entry, int *known) {
    int64_t found = 0;
    CAM_TRY(cam_sql_int(sqlite, 0, &found, "SELECT 1 FROM entry_pages WHERE feed = ? AND entry = ?",
                        "it", feed, entry));
    *known = found != 0;
    return CAM_OK;
}

enum cam_status cam_entry_page_add(sqlite3 *sqlite, int64_t feed, int64_t document,
                                   const struct cam_page_outcome *page) {
    char problem[PROBLEM_BYTES], now[CAM_RFC3339_BYTES];
    return cam_sql_run(
        sqlite,
        "INSERT INTO entry_pages (feed, entry, document, http_status, problem, fetched_at) VALUES"
        " (?, ?, nullif(?, 0), nullif(?, 0), ?, ?)",
        "itintt", feed, page->entry, document, page->http_status,
        page->problem ? cam_neutral_text(page->problem, problem, sizeof problem) : NULL,
        cam_rows_now(now));
}

struct lookup {
    int64_t feed;
    const char *entry;
    int known;
};

static enum cam_status look_up(sqlite3 *sqlite, void *context) {
    struct lookup *l = context;
    return cam_entry_page_find(sqlite, l->feed, l->entry, &l->known);
}

enum cam_status cam_feeds_know_entry(struct cam_database *database, int64_t feed, const char *entry,
                                     int *known) {
    struct lookup l = {.feed = feed, .entry = entry};
    CAM_TRY(cam_database_call(database, look_up, &l));
    *known = l.known;
    return CAM_OK;
}
