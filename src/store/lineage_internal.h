/* lineage_internal.h - what rollback (lineage.c) and forget (forget.c) share; on the database
 * thread, in their transactions. */
#ifndef CAM_STORE_LINEAGE_INTERNAL_H
#define CAM_STORE_LINEAGE_INTERNAL_H

#include "base/status.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

/* Every table whose rows replay makes again. */
extern const char *const cam_lineage_tables[];
extern const size_t cam_lineage_n_tables;

/* A state of the trainer to return to. */
struct cam_lineage_point {
    int64_t lineage, moment, step, position, offset, documents, tokens;
};

/* That of SNAPSHOT; "" is the beginning. */
CAM_MUST_USE enum cam_status cam_lineage_find_point(sqlite3 *sqlite, const char *snapshot,
                                                    struct cam_lineage_point *point);
/* The trainer is at POINT of LINEAGE. */
CAM_MUST_USE enum cam_status cam_lineage_set_trainer(sqlite3 *sqlite, int64_t lineage,
                                                     const struct cam_lineage_point *point);

struct cam_lineage_opening {
    const struct cam_lineage_point *point;
    const char *snapshot; /* its id */
    const char *mode, *reason;
    int64_t position;   /* journal row that says so */
    int64_t taken_back; /* control rows from the point up to here are not acted on again; 0: none */
};
/* Opens *LINEAGE at a point: the living chain ends there now. */
CAM_MUST_USE enum cam_status
cam_lineage_open(sqlite3 *sqlite, const struct cam_lineage_opening *opening, int64_t *lineage);

#endif
