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

enum cam_status cam_near_find(sqlite3 *sqlite, uint64_t simhash, int max_bits,
                              const struct cam_near_entry *entry, struct cam_near_match *match) {
    struct cam_near_match found = {0};
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(sqlite, &s,
                          "SELECT document, simhash FROM simhash_bands WHERE band IN (?, ?, ?, ?)"
                          " ORDER BY band, document LIMIT ?",
                          "iiiin", band_of(simhash, 0), band_of(simhash, 1), band_of(simhash, 2),
                          band_of(simhash, 3), MAX_CANDIDATES));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        int64_t document = sqlite3_column_int64(s, 0), version = 0;
        int distance = cam_simhash_distance(simhash, (uint64_t)sqlite3_column_int64(s, 1));
        if (distance <= max_bits && (!found.document || document < found.document)) {
            status = is_earlier_version(sqlite, entry, document, &version);
            if (status == CAM_OK && !version)
                found = (struct cam_near_match){document, distance};
        }
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    if (status == CAM_OK)
        *match = found;
    return status;
}

enum cam_status cam_near_add(sqlite3 *sqlite, int64_t document, uint64_t simhash) {
    return cam_sql_run(sqlite,
                       "INSERT INTO simhash_bands (band, document, simhash) VALUES (?3, ?1, ?2),"
                       " (?4, ?1, ?2), (?5, ?1, ?2), (?6, ?1, ?2)",
                       "iiiiii", document, (int64_t)simhash, band_of(simhash, 0),
                       band_of(simhash, 1), band_of(simhash, 2), band_of(simhash, 3));
}
