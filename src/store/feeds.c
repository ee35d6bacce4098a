/* feeds.c - the feeds table: what to poll, and what the last poll left behind (journal.h).
 *
 * A URL is split when it comes in: feeds.url never holds credentials, feed_credentials is read by
 * the poller alone. */
#include "store/admission_internal.h"
#include "store/rows.h"
#include "store/sql.h"

#include "base/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_BYTES     4096
#define HOST_BYTES    256
#define DISPLAY_BYTES 1024

/* ---- URLs ---- */

struct parts {
    char url[URL_BYTES]; /* without credentials */
    char userinfo[URL_BYTES];
    char host[HOST_BYTES];
    char shown[DISPLAY_BYTES];
};

/* The authority ends at the first of "/?#"; its last '@' ends the credentials. */
static enum cam_status split_url(const char *url, struct parts *p) {
    size_t n = strlen(url);
    const char *scheme = strstr(url, "://"), *begin = scheme ? scheme + 3 : url;
    size_t n_authority = strcspn(begin, "/?#");
    const char *at = memrchr(begin, '@', n_authority);
    const char *host = at ? at + 1 : begin;
    if (n == 0 || n >= URL_BYTES)
        return cam_fail(CAM_ERR_DATA, "a feed's URL has 1 to %d bytes", URL_BYTES - 1);
    snprintf(p->userinfo, sizeof p->userinfo, "%.*s", at ? (int)(at - begin) : 0, begin);
    snprintf(p->url, sizeof p->url, "%.*s%s", (int)(begin - url), url, host);
    size_t n_host = (size_t)(begin + n_authority - host);
    const char *end = *host == '[' ? memchr(host, ']', n_host) : memchr(host, ':', n_host);
    if (end)
        n_host = (size_t)(end - host) + (*host == '[');
    if (n_host >= HOST_BYTES)
        return cam_fail(CAM_ERR_DATA, "a host's name has at most %d bytes", HOST_BYTES - 1);
    for (size_t i = 0; i < n_host; i++)
        p->host[i] = (char)tolower((unsigned char)host[i]);
    p->host[n_host] = '\0';
    cam_rows_masked_url(url, p->shown, sizeof p->shown);
    return CAM_OK;
}

/* ---- add, find, remove ---- */

struct add {
    const char *name, *format, *ca_file;
    int64_t interval_s;
    int64_t feed;
    int fulltext;
    struct parts parts;
};

static enum cam_status find_feed(sqlite3 *sqlite, const char *url, int64_t *feed) {
    return cam_sql_int(sqlite, 0, feed,
                       "SELECT feed FROM feeds WHERE url = ? AND removed IS NULL ORDER BY feed",
                       "t", url);
}

static enum cam_status store_credentials(sqlite3 *sqlite, const struct add *a) {
    if (!*a->parts.userinfo)
        return CAM_OK;
    CAM_TRY(cam_sql_run(sqlite, "UPDATE feeds SET url_display = ?2 WHERE feed = ?1", "it", a->feed,
                        a->parts.shown));
    return cam_sql_run(sqlite, "INSERT OR REPLACE INTO feed_credentials VALUES (?, ?)", "it",
                       a->feed, a->parts.userinfo);
}

static enum cam_status add_feed(sqlite3 *sqlite, void *context) {
    struct add *a = context;
    char name[256];
    int64_t position;
    cam_neutral_text(a->name ? a->name : "", name, sizeof name);
    CAM_TRY(find_feed(sqlite, a->parts.url, &a->feed));
    if (a->feed) {
        CAM_TRY(cam_sql_run(sqlite,
                            "UPDATE feeds SET name = CASE ?2 WHEN '' THEN name ELSE ?2 END, format "
                            "= coalesce(?3, format), interval_s = ?4 WHERE feed = ?1",
                            "itti", a->feed, name, a->format, a->interval_s));
        return store_credentials(sqlite, a);
    }
    CAM_TRY(cam_rows_journal(sqlite, "feed", 0, name, a->parts.shown, "", &position));
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO feeds (url, name, format, url_display, host, interval_s,"
                        " position) VALUES (?, ?, coalesce(?, ''), ?, ?, ?, ?)",
                        "tttttii", a->parts.url, name, a->format, a->parts.shown, a->parts.host,
                        a->interval_s, position));
    a->feed = sqlite3_last_insert_rowid(sqlite);
    return store_credentials(sqlite, a);
}

enum cam_status cam_feeds_add(struct cam_database *database, const char *url, const char *name,
                              const char *format, int64_t interval_s, int64_t *feed) {
    struct add a = {.name = name, .format = format, .interval_s = interval_s};
    CAM_TRY(split_url(url, &a.parts));
    if (interval_s < 1 || interval_s > 366 * 86400)
        return cam_fail(CAM_ERR_DATA, "a feed's interval is 1 s to 366 days, not %lld s",
                        (long long)interval_s);
    CAM_TRY(cam_database_write_durable(database, add_feed, &a));
    if (feed)
        *feed = a.feed;
    return CAM_OK;
}

static enum cam_status look_up(sqlite3 *sqlite, void *context) {
    struct add *a = context;
    return find_feed(sqlite, a->parts.url, &a->feed);
}

enum cam_status cam_feeds_find(struct cam_database *database, const char *url, int64_t *feed) {
    struct add a = {0};
    CAM_TRY(split_url(url, &a.parts));
    CAM_TRY(cam_database_call(database, look_up, &a));
    *feed = a.feed;
    return CAM_OK;
}

static enum cam_status set_ca(sqlite3 *sqlite, void *context) {
    const struct add *a = context;
    return cam_sql_run(sqlite, "UPDATE feeds SET ca_file = ?2 WHERE feed = ?1", "it", a->feed,
                       a->ca_file);
}

enum cam_status cam_feeds_set_ca(struct cam_database *database, int64_t feed, const char *ca_file) {
    struct add a = {.feed = feed, .ca_file = ca_file};
    return cam_database_write_durable(database, set_ca, &a);
}

static enum cam_status set_fulltext(sqlite3 *sqlite, void *context) {
    const struct add *a = context;
    return cam_sql_run(sqlite, "UPDATE feeds SET fulltext = nullif(?2, -1) WHERE feed = ?1", "in",
                       a->feed, a->fulltext);
}

enum cam_status cam_feeds_set_fulltext(struct cam_database *database, int64_t feed, int fulltext) {
    struct add a = {.feed = feed, .fulltext = fulltext};
    return cam_database_write_durable(database, set_fulltext, &a);
}

static enum cam_status remove_feed(sqlite3 *sqlite, void *context) {
    struct add *a = context;
    int64_t position;
    CAM_TRY(find_feed(sqlite, a->parts.url, &a->feed));
    if (!a->feed)
        return cam_fail(CAM_ERR_NOINPUT, "%s: no such feed; see: cambium feed list",
                        a->parts.shown);
    CAM_TRY(cam_rows_journal(sqlite, "feed_removed", 0, "", a->parts.shown, "", &position));
    CAM_TRY(cam_sql_run(sqlite, "DELETE FROM feed_credentials WHERE feed = ?", "i", a->feed));
    return cam_sql_run(sqlite,
                       "UPDATE feeds SET removed = ?2, etag = NULL, last_modified = NULL WHERE feed"
                       " = ?1",
                       "ii", a->feed, position);
}

enum cam_status cam_feeds_remove(struct cam_database *database, const char *url) {
    struct add a = {0};
    CAM_TRY(split_url(url, &a.parts));
    return cam_database_write_durable(database, remove_feed, &a);
}

/* ---- lists ---- */

/* SQLite lets a bare column beside min() come from the row with the minimum: one feed a host. */
static const char columns_sql[] =
    "SELECT f.feed, f.url, c.userinfo, f.host, f.name, f.format, f.etag, f.last_modified,"
    " f.ca_file, f.interval_s, f.next_poll_at_ms, f.failures, f.gone, f.ttl_s, f.skip_hours,"
    " f.skip_days, coalesce(f.fulltext, -1) FROM feeds AS f LEFT JOIN feed_credentials AS c ON "
    "c.feed = f.feed ";
static const char all_sql[] = "WHERE f.removed IS NULL ORDER BY f.feed";
static const char one_sql[] = "WHERE f.removed IS NULL AND f.feed = ?1";
static const char due_sql[] =
    "WHERE f.feed IN (SELECT feed FROM (SELECT d.host, d.feed, min(d.next_poll_at_ms) AS due FROM"
    " feeds AS d LEFT JOIN feed_hosts AS h ON h.host = d.host WHERE d.removed IS NULL AND d.gone ="
    " 0 AND d.next_poll_at_ms <= ?1 AND coalesce(h.not_before_ms, 0) <= ?1 GROUP BY d.host ORDER BY"
    " due, d.feed LIMIT ?2)) ORDER BY f.next_poll_at_ms, f.feed";

struct listing {
    const char *where;
    int64_t first, second; /* its parameters */
    struct cam_feeds list;
    size_t capacity;
};

static char *text_or_null(sqlite3_stmt *s, int column, int *is_lost) {
    if (sqlite3_column_type(s, column) == SQLITE_NULL)
        return NULL;
    char *copy = cam_sql_copy(s, column);
    *is_lost |= !copy;
    return copy;
}

void cam_feed_release(struct cam_feed *f) {
    free(f->url), free(f->credentials), free(f->host), free(f->name), free(f->format);
    free(f->etag), free(f->last_modified), free(f->ca_file);
    *f = (struct cam_feed){0};
}

static enum cam_status read_feed(sqlite3_stmt *s, struct cam_feed *f) {
    int is_lost = 0;
    *f = (struct cam_feed){
        .feed = sqlite3_column_int64(s, 0),
        .url = text_or_null(s, 1, &is_lost),
        .credentials = text_or_null(s, 2, &is_lost),
        .host = text_or_null(s, 3, &is_lost),
        .name = text_or_null(s, 4, &is_lost),
        .format = text_or_null(s, 5, &is_lost),
        .etag = text_or_null(s, 6, &is_lost),
        .last_modified = text_or_null(s, 7, &is_lost),
        .ca_file = text_or_null(s, 8, &is_lost),
        .interval_s = sqlite3_column_int64(s, 9),
        .next_poll_at_ms = sqlite3_column_int64(s, 10),
        .n_failures = sqlite3_column_int64(s, 11),
        .gone = sqlite3_column_int(s, 12),
        .ttl_s = sqlite3_column_int64(s, 13),
        .skip_hours = (uint32_t)sqlite3_column_int64(s, 14),
        .skip_days = (uint32_t)sqlite3_column_int64(s, 15),
        .fulltext = sqlite3_column_int(s, 16),
    };
    return is_lost ? cam_fail(CAM_ERR_OS, "no memory for feeds") : CAM_OK;
}

static enum cam_status take_feed(sqlite3_stmt *s, struct listing *l) {
    if (l->list.n_feeds == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 16;
        struct cam_feed *grown = realloc(l->list.feeds, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory for %zu feeds", capacity);
        l->list.feeds = grown;
        l->capacity = capacity;
    }
    return read_feed(s, &l->list.feeds[l->list.n_feeds++]);
}

static enum cam_status list_feeds(sqlite3 *sqlite, void *context) {
    struct listing *l = context;
    char sql[1536];
    sqlite3_stmt *s = NULL;
    int row = 0;
    snprintf(sql, sizeof sql, "%s%s", columns_sql, l->where);
    CAM_TRY(cam_sql_prepare(sqlite, sql, &s));
    if (sqlite3_bind_parameter_count(s) > 0)
        sqlite3_bind_int64(s, 1, l->first);
    if (sqlite3_bind_parameter_count(s) > 1)
        sqlite3_bind_int64(s, 2, l->second);
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        status = take_feed(s, l);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status list_where(struct cam_database *database, struct listing *l,
                                  struct cam_feeds *feeds) {
    enum cam_status status = cam_database_call(database, list_feeds, l);
    if (status == CAM_OK)
        *feeds = l->list;
    else
        cam_feeds_release(&l->list);
    return status;
}

enum cam_status cam_feeds_list(struct cam_database *database, struct cam_feeds *feeds) {
    struct listing l = {.where = all_sql};
    return list_where(database, &l, feeds);
}

enum cam_status cam_feeds_get(struct cam_database *database, int64_t feed,
                              struct cam_feeds *feeds) {
    struct listing l = {.where = one_sql, .first = feed};
    return list_where(database, &l, feeds);
}

enum cam_status cam_feeds_due(struct cam_database *database, int64_t now_ms, size_t most,
                              struct cam_feeds *feeds) {
    struct listing l = {.where = due_sql, .first = now_ms, .second = (int64_t)most};
    return list_where(database, &l, feeds);
}

/* A poll is put off by an interval or a day, and then past the days a feed excludes. */
static enum cam_status mend_clock(sqlite3 *sqlite, void *context) {
    int64_t now_ms = *(const int64_t *)context;
    CAM_TRY(cam_sql_run(sqlite,
                        "UPDATE feeds SET next_poll_at_ms = ?1 WHERE removed IS NULL AND"
                        " next_poll_at_ms > ?1 + (max(interval_s, 86400) + 8 * 86400) * 1000",
                        "i", now_ms));
    return cam_sql_run(sqlite, "DELETE FROM feed_hosts WHERE not_before_ms > ?1 + 2 * 86400000",
                       "i", now_ms);
}

enum cam_status cam_feeds_mend_clock(struct cam_database *database, int64_t now_ms) {
    return cam_database_write(database, mend_clock, &now_ms);
}

void cam_feeds_release(struct cam_feeds *feeds) {
    for (size_t i = 0; i < feeds->n_feeds; i++)
        cam_feed_release(&feeds->feeds[i]);
    free(feeds->feeds);
    *feeds = (struct cam_feeds){0};
}

/* ---- what a poll leaves behind ---- */

/* NULL instead of a validator that could not be sent back as one header line. */
static const char *header_safe(const char *s) {
    for (const char *c = s; c && *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            return NULL;
    return s;
}

/* The feed lives elsewhere from now on (301, 308): the old address is not asked again.  Where
 * another feed has that address already, nothing changes. */
static enum cam_status store_move(sqlite3 *sqlite, int64_t feed, const char *url) {
    struct parts parts;
    int64_t other = 0, has_credentials = 0;
    char message[2 * DISPLAY_BYTES + 64];
    if (split_url(url, &parts) != CAM_OK || *parts.userinfo)
        return CAM_OK;
    CAM_TRY(find_feed(sqlite, parts.url, &other));
    if (other)
        return CAM_OK;
    CAM_TRY(cam_sql_int(sqlite, 0, &has_credentials,
                        "SELECT 1 FROM feed_credentials WHERE feed = ?", "i", feed));
    if (has_credentials) {
        const char *scheme = strstr(parts.shown, "://");
        char shown[DISPLAY_BYTES];
        if (!scheme)
            return CAM_OK;
        snprintf(shown, sizeof shown, "%.*s***@%s", (int)(scheme + 3 - parts.shown), parts.shown,
                 scheme + 3);
        memcpy(parts.shown, shown, sizeof shown);
    }
    snprintf(message, sizeof message, "feed %lld moved for good, to %s", (long long)feed,
             parts.shown);
    CAM_TRY(cam_rows_event(sqlite, "info", "feed_moved", message, NULL));
    return cam_sql_run(sqlite,
                       "UPDATE feeds SET url = ?2, url_display = ?3, host = ?4 WHERE feed = ?1",
                       "ittt", feed, parts.url, parts.shown, parts.host);
}

static enum cam_status store_asked(sqlite3 *sqlite, int64_t feed, const struct cam_poll *poll) {
    if (poll->host_not_before_ms > 0)
        CAM_TRY(cam_sql_run(sqlite,
                            "INSERT INTO feed_hosts SELECT host, ?2 FROM feeds WHERE feed = ?1 AND"
                            " host <> '' ON CONFLICT (host) DO UPDATE SET not_before_ms ="
                            " excluded.not_before_ms",
                            "ii", feed, poll->host_not_before_ms));
    if (poll->keep_hints)
        return CAM_OK;
    return cam_sql_run(sqlite,
                       "UPDATE feeds SET ttl_s = ?2, skip_hours = ?3, skip_days = ?4 WHERE feed ="
                       " ?1",
                       "iiii", feed, poll->ttl_s, (int64_t)poll->skip_hours,
                       (int64_t)poll->skip_days);
}

enum cam_status cam_feeds_store_poll(sqlite3 *sqlite, int64_t feed, const struct cam_poll *poll) {
    char now[CAM_RFC3339_BYTES], error[DISPLAY_BYTES];
    /* Validators describe the body that was journalled: kept as they are when none arrived. */
    int keep = poll->error || poll->http_status == 304;
    CAM_TRY(cam_sql_run(
        sqlite,
        "UPDATE feeds SET etag = CASE WHEN ?2 THEN coalesce(?3, etag) ELSE ?3 END,"
        " last_modified = CASE WHEN ?2 THEN coalesce(?4, last_modified) ELSE ?4 END,"
        " http_status = nullif(?5, 0), error = ?6, gone = gone OR ?5 = 410,"
        " failures = CASE WHEN ?6 IS NULL THEN 0 ELSE failures + 1 END, polls = polls + 1,"
        " bytes_fetched = bytes_fetched + ?7, polled_at = ?8, next_poll_at_ms = ?9"
        " WHERE feed = ?1",
        "inttntiti", feed, keep, poll->error ? NULL : header_safe(poll->etag),
        poll->error ? NULL : header_safe(poll->last_modified), poll->http_status,
        poll->error ? cam_neutral_text(poll->error, error, sizeof error) : NULL, poll->n_bytes,
        cam_rows_now(now), poll->next_poll_at_ms));
    CAM_TRY(store_asked(sqlite, feed, poll));
    return !poll->error && poll->moved_url ? store_move(sqlite, feed, poll->moved_url) : CAM_OK;
}
