/* near.c - the index of near duplicates.  A hash of 64 bits is cut into four bands of 16: two
 * hashes that differ in at most three bits have a band in common, so only documents that share a
 * band are compared (Manku, Jain and Das Sarma 2007, section 3). */
#include "store/admission_internal.h"
#include "store/simhash.h"
#include "store/sql.h"

#define N_BANDS   4
#define BAND_BITS 16
#define MAX_CANDIDATES                                                                             \
    4096 /* looked at for one document; a crafted heap must not stop the rest                      \
          */

static int64_t band_of(uint64_t simhash, int i) {
    return (int64_t)i << BAND_BITS | (int64_t)(simhash >> (BAND_BITS * i) & 0xFFFF);
}

static enum cam_status is_earlier_version(sqlite3 *sqlite, const struct cam_near_entry *entry,
                                          int64_t document, int64_t *yes) {
    *yes = 0;
    if (!entry->guid)
        return CAM_OK;
    return cam_sql_int(sqlite, 0, yes,
                       "SELECT feed IS nullif(?1, 0) AND guid IS ?2 AND (?1 <> 0 OR source = ?3)"
                       " FROM documents WHERE document = ?4",
                       "itti", entry->feed, entry->guid, entry->source, document);
}

/* Looks through one band; *N_LEFT counts down the candidates that may still be looked at. */
static enum cam_status find_in_band(sqlite3_stmt *s, uint64_t simhash, int max_bits,
                                    const struct cam_near_entry *entry, int *n_left,
                                    struct cam_near_match *found) {
    int row = 0;
    CAM_TRY(cam_sql_step(s, &row));
    for (; row && *n_left > 0; --*n_left) {
        int64_t document = sqlite3_column_int64(s, 0), version = 0;
        int distance = cam_simhash_distance(simhash, (uint64_t)sqlite3_column_int64(s, 1));
        if (distance <= max_bits && (!found->document || document < found->document)) {
            CAM_TRY(is_earlier_version(sqlite3_db_handle(s), entry, document, &version));
            if (!version)
                *found = (struct cam_near_match){document, distance};
        }
        CAM_TRY(cam_sql_step(s, &row));
    }
    return CAM_OK;
}

enum cam_status cam_near_find(sqlite3 *sqlite, uint64_t simhash, int max_bits,
                              const struct cam_near_entry *entry, int64_t before,
                              struct cam_near_match *match) {
    struct cam_near_match found = {0};
    int n_left = MAX_CANDIDATES;
    for (int i = 0; i < N_BANDS && n_left > 0; i++) {
        sqlite3_stmt *s = NULL;
        CAM_TRY(cam_sql_take(sqlite, &s,
                             "SELECT document, simhash FROM simhash_bands WHERE band = ? AND"
                             " document < ? ORDER BY document",
                             "ii", band_of(simhash, i), before));
        enum cam_status status = find_in_band(s, simhash, max_bits, entry, &n_left, &found);
        cam_sql_done(s);
        CAM_TRY(status);
    }
    *match = found;
    return CAM_OK;
}

enum cam_status cam_near_add(sqlite3 *sqlite, int64_t document, uint64_t simhash) {
    for (int i = 0; i < N_BANDS; i++)
        CAM_TRY(cam_sql_run(sqlite,
                            "INSERT INTO simhash_bands (band, document, simhash) VALUES (?, ?, ?)",
                            "iii", band_of(simhash, i), document, (int64_t)simhash));
    return CAM_OK;
}
