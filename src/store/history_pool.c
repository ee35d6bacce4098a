/* history_pool.c - what becomes of parts of the model: frozen, thawed, begun anew; and of documents
 * that taught it what it should not have learnt (history.h). */
#include "store/history.h"

#include "base/log.h"
#include "store/rows.h"
#include "store/sql.h"

#define REASON_BYTES 512

struct pool_moment {
    int64_t step, decision, document;
    const struct cam_freeze *freezes;
    const struct cam_recycled *recycled;
    size_t n;
    const char *reason;
    int done;
};

static enum cam_status write_freezes(sqlite3 *sqlite, void *context) {
    const struct pool_moment *m = context;
    struct cam_history_state at;
    CAM_TRY(cam_rows_moment(sqlite, &at));
    for (size_t i = 0; i < m->n; i++) {
        const struct cam_freeze *f = &m->freezes[i];
        char reason[REASON_BYTES];
        CAM_TRY(cam_sql_run(
            sqlite, "INSERT INTO freezes VALUES (?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?)",
            "iiintintit", at.lineage, at.moment, m->step, f->layer, f->part, f->generation,
            f->frozen, cam_neutral_text(f->reason ? f->reason : "", reason, sizeof reason),
            f->decision, f->hash));
    }
    return CAM_OK;
}

enum cam_status cam_history_freezes(struct cam_database *database, int64_t step,
                                    const struct cam_freeze *freezes, size_t n) {
    struct pool_moment m = {.step = step, .freezes = freezes, .n = n};
    return cam_database_write(database, write_freezes, &m);
}

static enum cam_status write_recycled(sqlite3 *sqlite, void *context) {
    const struct pool_moment *m = context;
    struct cam_history_state at;
    sqlite3_stmt *s = NULL;
    CAM_TRY(cam_rows_moment(sqlite, &at));
    CAM_TRY(cam_sql_prepare(sqlite, "INSERT INTO recycled VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", &s));
    enum cam_status status = CAM_OK;
    for (size_t i = 0; i < m->n && status == CAM_OK; i++) {
        const struct cam_recycled *r = &m->recycled[i];
        status = cam_sql_again(s, "iiiniiiii", at.lineage, at.moment, m->step, r->layer, r->expert,
                               r->incarnation, r->generation, r->idle_windows, m->decision);
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_history_recycled(struct cam_database *database, int64_t step, int64_t decision,
                                     const struct cam_recycled *experts, size_t n) {
    struct pool_moment m = {.step = step, .decision = decision, .recycled = experts, .n = n};
    return cam_database_write(database, write_recycled, &m);
}

/* A hold later than the training: the state of the document stays `trained`. */
static enum cam_status write_withdrawal(sqlite3 *sqlite, void *context) {
    struct pool_moment *m = context;
    struct cam_history_state at;
    int64_t can = 0;
    char reason[REASON_BYTES];
    CAM_TRY(cam_sql_int(sqlite, 0, &can,
                        "SELECT 1 FROM living_trained AS t WHERE t.document = ? AND NOT EXISTS"
                        " (SELECT 1 FROM living_holds AS h WHERE h.document = t.document AND"
                        " h.moment > t.moment)",
                        "i", m->document));
    m->done = can != 0;
    if (!can)
        return CAM_OK;
    CAM_TRY(cam_rows_moment(sqlite, &at));
    return cam_sql_run(sqlite, "INSERT INTO holds VALUES (?, ?, ?, ?, ?, 'quarantined', ?)",
                       "iiiiit", at.lineage, at.moment, m->document, at.position, m->step,
                       cam_neutral_text(m->reason ? m->reason : "", reason, sizeof reason));
}

enum cam_status cam_history_withdraw(struct cam_database *database, int64_t step, int64_t document,
                                     const char *reason, int *done) {
    struct pool_moment m = {.step = step, .document = document, .reason = reason};
    CAM_TRY(cam_database_write(database, write_withdrawal, &m));
    *done = m.done;
    return CAM_OK;
}
