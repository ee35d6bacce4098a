#include "store/rows.h"

#include "base/log.h"
#include "store/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define EVENTS_KEPT 100000

char *cam_rows_now(char out[CAM_RFC3339_BYTES]) {
    return cam_clock_rfc3339(cam_clock_unix_ms(), out);
}

enum cam_status cam_rows_journal(sqlite3 *sqlite, const char *kind, int64_t document,
                                 const char *name, const char *value, const char *reason,
                                 int64_t *position) {
    char now[CAM_RFC3339_BYTES];
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO journal (kind, document, name, value, body, journalled_at)"
                        " VALUES (?, nullif(?, 0), ?, ?, json_object('reason', ?), ?)",
                        "tittt"
                        "t",
                        kind, document, name ? name : "", value ? value : "", reason ? reason : "",
                        cam_rows_now(now)));
    if (position)
        *position = sqlite3_last_insert_rowid(sqlite);
    return CAM_OK;
}

enum cam_status cam_rows_event(sqlite3 *sqlite, const char *level, const char *kind,
                               const char *message, const char *body) {
    char now[CAM_RFC3339_BYTES], neutral[2048];
    cam_neutral_text(message, neutral, sizeof neutral);
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO events (level, kind, message, body, lineage, step, "
                        "happened_at) VALUES (?1, ?2, ?3, ?4, (SELECT lineage FROM trainer), "
                        "(SELECT step FROM trainer), ?5)",
                        "ttttt", level, kind, neutral, body ? body : "{}", cam_rows_now(now)));
    int64_t event = sqlite3_last_insert_rowid(sqlite);
    if (event % 1024 == 0 && event > EVENTS_KEPT)
        CAM_TRY(
            cam_sql_run(sqlite, "DELETE FROM events WHERE event <= ?", "i", event - EVENTS_KEPT));
    return CAM_OK;
}

enum cam_status cam_rows_state(sqlite3 *sqlite, struct cam_history_state *state) {
    sqlite3_stmt *statement = NULL;
    int row = 0;
    CAM_TRY(cam_sql_prepare(
        sqlite, "SELECT lineage, moment, step, position, \"offset\" FROM trainer", &statement));
    enum cam_status status = cam_sql_step(statement, &row);
    if (status == CAM_OK && !row)
        status = cam_fail(CAM_ERR_NOINPUT, "the workspace is not complete; run: cambium init");
    if (status == CAM_OK)
        *state = (struct cam_history_state){
            .lineage = sqlite3_column_int64(statement, 0),
            .moment = sqlite3_column_int64(statement, 1),
            .step = sqlite3_column_int64(statement, 2),
            .position = sqlite3_column_int64(statement, 3),
            .offset = sqlite3_column_int64(statement, 4),
        };
    sqlite3_finalize(statement);
    return status;
}

enum cam_status cam_rows_moment(sqlite3 *sqlite, struct cam_history_state *state) {
    CAM_TRY(cam_sql_script(sqlite, "UPDATE trainer SET moment = moment + 1"));
    return cam_rows_state(sqlite, state);
}

enum cam_status cam_rows_settings(sqlite3 *sqlite, struct cam_settings *settings) {
    sqlite3_stmt *statement = NULL;
    int row = 0;
    cam_settings_defaults(settings);
    CAM_TRY(cam_sql_prepare(sqlite, "SELECT key, value FROM living_settings", &statement));
    enum cam_status status = cam_sql_step(statement, &row);
    while (status == CAM_OK && row) {
        /* A value stored by an older version may be out of bounds now: the default stands. */
        const char *key = cam_sql_text(statement, 0);
        if (cam_settings_set(settings, key, cam_sql_text(statement, 1)) != CAM_OK)
            cam_log(CAM_LOG_WARNING, "stored setting ignored: %s", cam_message());
        status = cam_sql_step(statement, &row);
    }
    sqlite3_finalize(statement);
    return status;
}

enum cam_status cam_rows_text(const void *blob, size_t blob_bytes, int64_t document,
                              int64_t expected_bytes, char **text, size_t *n_bytes) {
    unsigned long long size = ZSTD_getFrameContentSize(blob, blob_bytes);
    if (expected_bytes < 0 || size != (unsigned long long)expected_bytes)
        return cam_fail(CAM_ERR_DATA, "document %lld: its stored text is damaged",
                        (long long)document);
    char *out = malloc((size_t)size + 1);
    if (!out)
        return cam_fail(CAM_ERR_OS, "document %lld: no memory for %llu bytes", (long long)document,
                        size);
    size_t got = ZSTD_decompress(out, (size_t)size, blob, blob_bytes);
    if (ZSTD_isError(got) || got != size) {
        free(out);
        return cam_fail(CAM_ERR_DATA, "document %lld: its stored text is damaged",
                        (long long)document);
    }
    out[size] = '\0';
    *text = out;
    *n_bytes = (size_t)size;
    return CAM_OK;
}

/* Credentials never leave the feeds table. */
char *cam_rows_masked_url(const char *url, char *out, size_t out_bytes) {
    char masked[2048];
    const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url;
    const char *end = scheme ? host + strcspn(host, "/?#") : host;
    const char *at = NULL;
    for (const char *c = host; c < end; c++)
        if (*c == '@')
            at = c;
    if (scheme && at)
        snprintf(masked, sizeof masked, "%.*s***%s", (int)(host - url), url, at);
    else
        snprintf(masked, sizeof masked, "%s", url);
    return cam_neutral_text(masked, out, out_bytes);
}
