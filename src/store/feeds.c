/* feeds.c - the feeds table: what to poll, and what the last poll left behind (journal.h). */
#include "store/journal.h"
#include "store/rows.h"
#include "store/sql.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_BYTES 4096

struct add {
    const char *url, *name, *format;
    int64_t interval_s;
    int64_t feed;
};

static enum cam_status find_feed(sqlite3 *sqlite, const char *url, int64_t *feed) {
    return cam_sql_int(sqlite, 0, feed, "SELECT feed FROM feeds WHERE url = ? AND removed IS NULL",
                       "t", url);
}

static enum cam_status add_feed(sqlite3 *sqlite, void *context) {
    struct add *a = context;
    char shown[1024], name[256];
    int64_t position;
    cam_rows_masked_url(a->url, shown, sizeof shown);
    cam_neutral_text(a->name ? a->name : "", name, sizeof name);
    CAM_TRY(find_feed(sqlite, a->url, &a->feed));
    if (a->feed)
        return cam_sql_run(sqlite,
                           "UPDATE feeds SET name = CASE ?2 WHEN '' THEN name ELSE ?2 END, format "
                           "= coalesce(?3, format), interval_s = ?4 WHERE feed = ?1",
                           "itti", a->feed, name, a->format, a->interval_s);
    CAM_TRY(cam_rows_journal(sqlite, "feed", 0, name, shown, "", &position));
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO feeds (url, name, format, url_display, interval_s, position)"
                        " VALUES (?, ?, coalesce(?, ''), ?, ?, ?)",
                        "ttttii", a->url, name, a->format, shown, a->interval_s, position));
    a->feed = sqlite3_last_insert_rowid(sqlite);
    return CAM_OK;
}

enum cam_status cam_feeds_add(struct cam_database *database, const char *url, const char *name,
                              const char *format, int64_t interval_s, int64_t *feed) {
    struct add a = {.url = url, .name = name, .format = format, .interval_s = interval_s};
    if (!*url || strlen(url) >= URL_BYTES)
        return cam_fail(CAM_ERR_DATA, "a feed's URL has 1 to %d bytes", URL_BYTES - 1);
    if (interval_s < 1 || interval_s > 366 * 86400)
        return cam_fail(CAM_ERR_DATA, "a feed's interval is 1 s to 366 days, not %lld s",
                        (long long)interval_s);
    CAM_TRY(cam_database_write_durable(database, add_feed, &a));
    if (feed)
        *feed = a.feed;
    return CAM_OK;
}

static enum cam_status remove_feed(sqlite3 *sqlite, void *context) {
    int64_t feed, position;
    char shown[1024];
    CAM_TRY(find_feed(sqlite, context, &feed));
    cam_rows_masked_url(context, shown, sizeof shown);
    if (!feed)
        return cam_fail(CAM_ERR_NOINPUT, "%s: no such feed; see: cambium feed list", shown);
    CAM_TRY(cam_rows_journal(sqlite, "feed_removed", 0, "", shown, "", &position));
    /* The credentials in the URL are of no more use. */
    return cam_sql_run(sqlite,
                       "UPDATE feeds SET removed = ?2, url = url_display, etag = NULL,"
                       " last_modified = NULL WHERE feed = ?1",
                       "ii", feed, position);
}

enum cam_status cam_feeds_remove(struct cam_database *database, const char *url) {
    char copy[URL_BYTES];
    snprintf(copy, sizeof copy, "%s", url);
    return cam_database_write_durable(database, remove_feed, copy);
}

static enum cam_status read_feed(sqlite3_stmt *s, struct cam_feed *f) {
    *f = (struct cam_feed){
        .feed = sqlite3_column_int64(s, 0),
        .url = cam_sql_copy(s, 1),
        .name = cam_sql_copy(s, 2),
        .format = cam_sql_copy(s, 3),
        .etag = sqlite3_column_type(s, 4) == SQLITE_NULL ? NULL : cam_sql_copy(s, 4),
        .last_modified = sqlite3_column_type(s, 5) == SQLITE_NULL ? NULL : cam_sql_copy(s, 5),
        .interval_s = sqlite3_column_int64(s, 6),
        .next_poll_at_ms = sqlite3_column_int64(s, 7),
        .n_failures = sqlite3_column_int64(s, 8),
        .gone = sqlite3_column_int(s, 9),
    };
    return f->url && f->name && f->format ? CAM_OK : cam_fail(CAM_ERR_OS, "no memory for feeds");
}

static enum cam_status list_feeds(sqlite3 *sqlite, void *context) {
    struct cam_feeds *list = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    size_t capacity = 0;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT feed, url, name, format, etag, last_modified, interval_s,"
                            " next_poll_at_ms, failures, gone FROM feeds WHERE removed IS NULL"
                            " ORDER BY feed",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        if (list->n_feeds == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            struct cam_feed *grown = realloc(list->feeds, capacity * sizeof *grown);
            if (!grown) {
                status = cam_fail(CAM_ERR_OS, "no memory for %zu feeds", capacity);
                break;
            }
            list->feeds = grown;
        }
        status = read_feed(s, &list->feeds[list->n_feeds++]);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_feeds_list(struct cam_database *database, struct cam_feeds *feeds) {
    struct cam_feeds list = {0};
    enum cam_status status = cam_database_call(database, list_feeds, &list);
    if (status == CAM_OK)
        *feeds = list;
    else
        cam_feeds_release(&list);
    return status;
}

void cam_feeds_release(struct cam_feeds *feeds) {
    for (size_t i = 0; i < feeds->n_feeds; i++) {
        struct cam_feed *f = &feeds->feeds[i];
        free(f->url), free(f->name), free(f->format), free(f->etag), free(f->last_modified);
    }
    free(feeds->feeds);
    *feeds = (struct cam_feeds){0};
}
