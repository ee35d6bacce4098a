/* share.c - how much of what was admitted lately came from one feed. */
#include "store/admission_internal.h"
#include "store/sql.h"

#include <stdlib.h>

static void push(struct cam_share *share, int64_t n_bytes, int is_own) {
    if (share->n == share->capacity) {
        int64_t gone = share->bytes[share->oldest];
        share->total -= gone < 0 ? -gone : gone;
        share->own -= gone < 0 ? -gone : 0;
        share->oldest = (share->oldest + 1) % share->capacity;
        share->n--;
    }
    share->bytes[(share->oldest + share->n++) % share->capacity] = is_own ? -n_bytes : n_bytes;
    share->total += n_bytes;
    share->own += is_own ? n_bytes : 0;
}

enum cam_status cam_share_load(sqlite3 *sqlite, int64_t feed, int64_t window, int64_t before,
                               struct cam_share *share) {
    struct cam_share loaded = {.capacity = (size_t)window};
    sqlite3_stmt *s = NULL;
    int row = 0;
    loaded.bytes = calloc(loaded.capacity, sizeof *loaded.bytes);
    if (!loaded.bytes)
        return cam_fail(CAM_ERR_OS, "no memory for the share of a feed");
    enum cam_status status =
        cam_sql_query(sqlite, &s,
                      "SELECT bytes, feed IS ?1 FROM (SELECT document, bytes, feed FROM documents"
                      " WHERE admission = 'train' AND document < ?3 ORDER BY document DESC LIMIT"
                      " ?2) ORDER BY document",
                      "iii", feed, window, before);
    if (status == CAM_OK)
        status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        push(&loaded, sqlite3_column_int64(s, 0), sqlite3_column_int(s, 1));
        status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    if (status != CAM_OK)
        cam_share_release(&loaded);
    else
        *share = loaded;
    return status;
}

void cam_share_release(struct cam_share *share) {
    free(share->bytes);
    *share = (struct cam_share){0};
}

double cam_share_with(const struct cam_share *share, int64_t n_bytes) {
    double n = (double)share->n + 1, total = (double)(share->total + n_bytes);
    if (n < (double)share->capacity)
        total *= (double)share->capacity / n;
    return total > 0 ? (double)(share->own + n_bytes) / total : 0;
}

void cam_share_add(struct cam_share *share, int64_t n_bytes) {
    push(share, n_bytes, 1);
}
