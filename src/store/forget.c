#include "store/forget.h"

#include "base/hash.h"
#include "base/log.h"
#include "store/admission_internal.h"
#include "store/decide.h"
#include "store/lineage_internal.h"
#include "store/rows.h"
#include "store/sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- the keyed hash ---- */

static enum cam_status find_key(sqlite3 *sqlite, int make, int *found, uint64_t *key) {
    sqlite3_stmt *s = NULL;
    char text[24];
    CAM_TRY(cam_sql_query(sqlite, &s, "SELECT value FROM meta WHERE key = 'forget_key'", ""));
    enum cam_status status = cam_sql_step(s, found);
    if (status == CAM_OK && *found)
        *key = strtoull(cam_sql_text(s, 0), NULL, 16);
    sqlite3_finalize(s);
    if (status != CAM_OK || *found || !make)
        return status;
    if (getrandom(key, sizeof *key, 0) != (ssize_t)sizeof *key)
        return cam_fail_errno(CAM_ERR_OS, errno, "no random bytes for the key of forgotten texts");
    snprintf(text, sizeof text, "%016llx", (unsigned long long)*key);
    return cam_sql_run(sqlite, "INSERT INTO meta VALUES ('forget_key', ?)", "t", text);
}

enum cam_status cam_forget_refuses(sqlite3 *sqlite, const char *text, size_t n_bytes,
                                   int *refused) {
    char hex[CAM_HASH_HEX_BYTES];
    int64_t any = 0, known = 0;
    int found = 0;
    uint64_t key = 0;
    *refused = 0;
    CAM_TRY(cam_sql_int(sqlite, 0, &any, "SELECT 1 FROM forgotten LIMIT 1", ""));
    if (!any)
        return CAM_OK;
    CAM_TRY(find_key(sqlite, 0, &found, &key));
    cam_hash_hex(cam_hash_keyed(text, n_bytes, key), hex);
    CAM_TRY(cam_sql_int(sqlite, 0, &known, "SELECT 1 FROM forgotten WHERE hash = ?", "t", hex));
    if (!known)
        return CAM_OK;
    *refused = 1;
    return cam_sql_run(sqlite, "UPDATE forgotten SET refused = refused + 1 WHERE hash = ?", "t",
                       hex);
}

/* ---- which documents ---- */

struct forgetting {
    const struct cam_forget_request *request;
    const char *snapshot; /* to go back to, "": stay */
    int act;
    int measured;  /* it is undone again, and that is no failure */
    int64_t first; /* journal row from which on they count; 0: none */
    struct cam_forget_plan plan;
    struct cam_forgot done;
};

static enum cam_status check_documents(sqlite3 *sqlite, const char *documents) {
    int64_t unknown = 0;
    CAM_TRY(cam_sql_int(sqlite, 0, &unknown,
                        "SELECT e.value FROM json_each(?) AS e WHERE NOT EXISTS (SELECT 1 FROM"
                        " documents AS d WHERE d.document = e.value) AND NOT EXISTS (SELECT 1 FROM"
                        " forgotten AS f WHERE f.document = e.value) LIMIT 1",
                        "t", documents));
    return unknown ? cam_fail(CAM_ERR_NOINPUT, "document %lld: there is none", (long long)unknown)
                   : CAM_OK;
}

#define FEEDS_NAMED                                                                                \
    "SELECT f.feed FROM feeds AS f WHERE f.url = ?1 OR f.url_display = ?1 OR f.name = ?1 OR"       \
    " CAST(f.feed AS TEXT) = ?1"

static enum cam_status choose_source(sqlite3 *sqlite, const char *source) {
    int64_t known = 0, n = 0;
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT OR IGNORE INTO temp.going SELECT document FROM documents WHERE"
                        " source = ?1 OR feed IN (" FEEDS_NAMED ")",
                        "t", source));
    CAM_TRY(cam_sql_int(sqlite, 0, &n, "SELECT count(*) FROM temp.going", ""));
    CAM_TRY(cam_sql_int(sqlite, 0, &known,
                        FEEDS_NAMED
                        " UNION ALL SELECT 1 FROM journal WHERE kind = 'forget' AND name"
                        " = ?1",
                        "t", source));
    return n || known
               ? CAM_OK
               : cam_fail(CAM_ERR_NOINPUT, "%.200s: no feed and no source of documents", source);
}

/* Into temp.going, with whatever has the same text. */
static enum cam_status choose(sqlite3 *sqlite, struct forgetting *f) {
    const struct cam_forget_request *r = f->request;
    CAM_TRY(cam_sql_script(sqlite, "DROP TABLE IF EXISTS temp.going;"
                                   "CREATE TEMP TABLE going (document INTEGER PRIMARY KEY)"));
    if (r->documents) {
        CAM_TRY(check_documents(sqlite, r->documents));
        CAM_TRY(cam_sql_run(sqlite,
                            "INSERT INTO temp.going SELECT document FROM documents WHERE document"
                            " IN (SELECT value FROM json_each(?))",
                            "t", r->documents));
    }
    if (r->source)
        CAM_TRY(choose_source(sqlite, r->source));
    CAM_TRY(cam_sql_script(
        sqlite, "INSERT OR IGNORE INTO temp.going SELECT d.document FROM documents AS d"
                " WHERE d.content_hash IN (SELECT x.content_hash FROM documents AS x JOIN"
                " temp.going AS g ON g.document = x.document)"));
    return cam_sql_int(sqlite, 0, &f->plan.documents, "SELECT count(*) FROM temp.going", "");
}

/* ---- taking them out ---- */

/* Their numbers and hashes: all that stays. */
static enum cam_status remember(sqlite3 *sqlite, int64_t position) {
    sqlite3_stmt *s = NULL;
    int row = 0, found = 0;
    uint64_t key = 0;
    char now[CAM_RFC3339_BYTES], hex[CAM_HASH_HEX_BYTES];
    CAM_TRY(find_key(sqlite, 1, &found, &key));
    CAM_TRY(
        cam_sql_query(sqlite, &s,
                      "SELECT d.document, d.bytes, x.text FROM temp.going AS g JOIN documents AS"
                      " d ON d.document = g.document JOIN document_texts AS x ON x.document ="
                      " d.document ORDER BY d.document",
                      ""));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        char *text = NULL;
        size_t n_bytes = 0;
        int64_t document = sqlite3_column_int64(s, 0);
        status = cam_rows_text(sqlite3_column_blob(s, 2), (size_t)sqlite3_column_bytes(s, 2),
                               document, sqlite3_column_int64(s, 1), &text, &n_bytes);
        if (status == CAM_OK) {
            cam_hash_hex(cam_hash_keyed(text, n_bytes, key), hex);
            status = cam_sql_run(sqlite, "INSERT OR IGNORE INTO forgotten VALUES (?, ?, ?, 0, ?)",
                                 "tiit", hex, document, position, cam_rows_now(now));
        }
        free(text);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

/* Rows about them, in every lineage.  secure_delete overwrites what they were with zeroes. */
static enum cam_status take_out(sqlite3 *sqlite, const char *source) {
    static const char *const tables[] = {"trained",        "holds",         "provenance",
                                         "probe_refusals", "simhash_bands", "entry_pages",
                                         "document_texts"};
    char sql[128];
    CAM_TRY(cam_sql_script(sqlite, "PRAGMA secure_delete = ON"));
    CAM_TRY(cam_sql_script(
        sqlite,
        "UPDATE documents SET near = NULL, reason = 'near duplicate of a document that was"
        " forgotten' WHERE near IN (SELECT document FROM temp.going);"
        "UPDATE documents SET revises = NULL WHERE revises IN (SELECT document FROM temp.going)"));
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        snprintf(sql, sizeof sql,
                 "DELETE FROM %s WHERE document IN (SELECT document FROM temp.going)", tables[i]);
        CAM_TRY(cam_sql_script(sqlite, sql));
    }
    if (source) /* arrivals of a probe's text that were refused */
        CAM_TRY(cam_sql_run(sqlite,
                            "DELETE FROM probe_refusals WHERE source = ?1 OR source IN (SELECT"
                            " x.url_display FROM feeds AS x WHERE x.feed IN (" FEEDS_NAMED "))",
                            "t", source));
    return cam_sql_script(
        sqlite, "DELETE FROM documents WHERE document IN (SELECT document FROM temp.going);"
                "DELETE FROM journal WHERE document IN (SELECT document FROM temp.going) OR"
                " position IN (SELECT document FROM temp.going)");
}

/* Where they count by themselves: a quarantined one from its release on. */
static enum cam_status own_part(sqlite3 *sqlite, int64_t *lowest, int64_t *first) {
    CAM_TRY(cam_sql_int(sqlite, 0, lowest, "SELECT min(document) FROM temp.going", ""));
    return cam_sql_int(
        sqlite, 0, first,
        "SELECT min(CASE d.admission WHEN 'quarantined' THEN (SELECT min(j.position)"
        " FROM journal AS j WHERE j.document = d.document AND j.kind = 'release')"
        " ELSE d.document END) FROM documents AS d JOIN temp.going AS g ON g.document"
        " = d.document",
        "");
}

/* The first moment of each lineage that they have a part in, from row ?1 on: a step past it (or in
 * the middle of it), a control row behind it, a hold of the trainer's.  Whatever was opened after
 * such a moment has nothing but such moments. */
static const char tainted_sql[] =
    "INSERT INTO temp.tainted WITH RECURSIVE own AS (SELECT l.lineage, l.parent, l.fork_moment,"
    " (SELECT min(m) FROM (SELECT min(s.moment) AS m FROM steps AS s WHERE s.lineage = l.lineage "
    "AND"
    "  s.position + (s.\"offset\" > 0) >= ?1"
    "  UNION ALL SELECT min(c.moment) FROM controls AS c WHERE c.lineage = l.lineage AND c.position"
    "  > ?1"
    "  UNION ALL SELECT min(h.moment) FROM holds AS h WHERE h.lineage = l.lineage AND h.position >="
    "  ?1 AND h.moment > l.fork_moment)) AS moment FROM lineages AS l),"
    " chain AS (SELECT lineage, moment FROM own WHERE parent IS NULL UNION ALL SELECT o.lineage,"
    " CASE WHEN c.moment <= o.fork_moment THEN 0 ELSE o.moment END FROM own AS o JOIN chain AS c ON"
    " c.lineage = o.parent) SELECT lineage, moment FROM chain WHERE moment IS NOT NULL";

static enum cam_status find_tainted(sqlite3 *sqlite, struct forgetting *f) {
    CAM_TRY(cam_sql_script(sqlite, "DROP TABLE IF EXISTS temp.tainted;"
                                   "CREATE TEMP TABLE tainted (lineage INTEGER PRIMARY KEY, moment"
                                   " INTEGER NOT NULL)"));
    if (f->first)
        CAM_TRY(cam_sql_run(sqlite, tainted_sql, "i", f->first));
    return cam_sql_int(
        sqlite, 0, &f->plan.moment,
        "SELECT min(max(t.moment, l.fork_moment + 1)) FROM temp.tainted AS t JOIN"
        " lineage_spans AS s ON s.lineage = t.lineage AND t.moment <= s.moment_to JOIN"
        " lineages AS l ON l.lineage = t.lineage",
        "");
}

/* ---- a lineage without them ---- */

static enum cam_status delete_tainted(sqlite3 *sqlite) {
    char sql[256];
    for (size_t i = 0; i < cam_lineage_n_tables; i++) {
        const char *table = cam_lineage_tables[i];
        snprintf(sql, sizeof sql,
                 "DELETE FROM %s WHERE EXISTS (SELECT 1 FROM temp.tainted AS t WHERE t.lineage ="
                 " %s.lineage AND %s.moment >= t.moment)",
                 table, table, table);
        CAM_TRY(cam_sql_script(sqlite, sql));
    }
    return CAM_OK;
}

static enum cam_status list_snapshots(sqlite3 *sqlite, char **json) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_prepare(
        sqlite,
        "SELECT json_group_array(json_object('id', id, 'tag', tag, 'documents', documents)) FROM"
        " (SELECT s.id, s.tag, s.documents FROM snapshots AS s JOIN temp.tainted AS t ON t.lineage "
        "="
        " s.lineage AND s.moment >= t.moment WHERE s.kind = 'snapshot' ORDER BY s.number)",
        &s));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && !(*json = cam_sql_copy(s, 0)))
        status = cam_fail(CAM_ERR_OS, "no memory for a list of snapshots");
    sqlite3_finalize(s);
    return status;
}

/* What rollbacks set aside stays set aside; what the trainer held, it judges again. */
static enum cam_status carry_holds(sqlite3 *sqlite, int64_t lineage,
                                   const struct cam_lineage_point *p) {
    return cam_sql_run(
        sqlite,
        "INSERT OR IGNORE INTO holds SELECT ?1, ?2, h.document, h.position, ?3,"
        " h.state, h.reason FROM temp.aside AS h WHERE NOT EXISTS (SELECT 1 FROM"
        " living_trained AS t WHERE t.document = h.document) AND NOT EXISTS (SELECT 1"
        " FROM living_holds AS g WHERE g.document = h.document AND g.position >="
        " h.position) ORDER BY h.position DESC",
        "iii", lineage, p->moment, p->step);
}

static enum cam_status open_lineage(sqlite3 *sqlite, struct forgetting *f) {
    struct cam_lineage_point p;
    struct cam_lineage_opening o = {.point = &p,
                                    .snapshot = f->snapshot,
                                    .mode = "forget",
                                    .position = f->done.position,
                                    .reason = f->request->reason};
    CAM_TRY(cam_lineage_find_point(sqlite, f->snapshot, &p));
    if (!*f->snapshot || p.moment >= f->plan.moment)
        return cam_fail(CAM_ERR_BUSY, "the history went on meanwhile; try again");
    CAM_TRY(cam_sql_script(sqlite, "DROP TABLE IF EXISTS temp.aside;"
                                   "CREATE TEMP TABLE aside AS SELECT * FROM living_holds WHERE"
                                   " state = 'set_aside'"));
    CAM_TRY(list_snapshots(sqlite, &f->done.snapshots));
    CAM_TRY(cam_lineage_open(sqlite, &o, &f->done.lineage));
    CAM_TRY(cam_sql_run(sqlite,
                        "UPDATE lineages SET branch = (SELECT coalesce(p.branch, p.lineage) FROM"
                        " lineages AS p WHERE p.lineage = ?2) WHERE lineage = ?1",
                        "ii", f->done.lineage, p.lineage));
    CAM_TRY(delete_tainted(sqlite));
    CAM_TRY(cam_sql_script(
        sqlite, "DELETE FROM snapshots WHERE EXISTS (SELECT 1 FROM temp.tainted AS t WHERE"
                " t.lineage = snapshots.lineage AND snapshots.moment >= t.moment)"));
    CAM_TRY(carry_holds(sqlite, f->done.lineage, &p));
    CAM_TRY(cam_lineage_set_trainer(sqlite, f->done.lineage, &p));
    CAM_TRY(cam_decide_install_current(sqlite));
    return cam_sql_script(sqlite, "DROP TABLE temp.aside");
}

static enum cam_status note(sqlite3 *sqlite, const struct forgetting *f) {
    char message[200];
    snprintf(message, sizeof message, "forgot %lld document%s%s; %lld judged otherwise without",
             (long long)f->plan.documents, f->plan.documents == 1 ? "" : "s",
             f->done.lineage ? ", and went back to before" : " that had no part in the model",
             (long long)f->plan.changed);
    CAM_TRY(cam_sql_script(sqlite, "INSERT OR REPLACE INTO meta VALUES ('forgetting', '1')"));
    return cam_rows_event(sqlite, "warning", "forget", message, NULL);
}

/* All of it; where it is only measured, the transaction is rolled back at the end. */
static enum cam_status forget(sqlite3 *sqlite, void *context) {
    struct forgetting *f = context;
    struct cam_admission_review review = {0};
    int64_t lowest = 0;
    CAM_TRY(choose(sqlite, f));
    if (f->plan.documents == 0)
        return cam_sql_int(sqlite, 0, &f->done.position, "SELECT max(position) FROM forgotten", "");
    CAM_TRY(own_part(sqlite, &lowest, &f->first));
    CAM_TRY(cam_rows_journal(sqlite, "forget", 0, f->request->source, f->request->documents,
                             f->request->reason, &f->done.position));
    CAM_TRY(remember(sqlite, f->done.position));
    CAM_TRY(take_out(sqlite, f->request->source));
    CAM_TRY(cam_admission_again(sqlite, lowest, &review));
    if (review.first && (!f->first || review.first < f->first))
        f->first = review.first;
    f->plan.changed = review.n;
    CAM_TRY(find_tainted(sqlite, f));
    if (!f->act) {
        f->measured = 1;
        return CAM_STOPPED;
    }
    if (*f->snapshot || f->plan.moment)
        CAM_TRY(open_lineage(sqlite, f));
    CAM_TRY(note(sqlite, f));
    return cam_sql_script(sqlite, "DROP TABLE temp.going; DROP TABLE temp.tainted");
}

enum cam_status cam_forget_act(struct cam_database *database,
                               const struct cam_forget_request *request,
                               const struct cam_forget_plan *plan, struct cam_forgot *forgot) {
    struct forgetting f = {.request = request, .snapshot = plan->snapshot, .act = 1};
    enum cam_status status = cam_database_write_durable(database, forget, &f);
    if (status != CAM_OK) {
        free(f.done.snapshots);
        return status;
    }
    f.done.documents = f.plan.documents;
    f.done.changed = f.plan.changed;
    *forgot = f.done;
    return CAM_OK;
}

/* ---- the plan ---- */

struct price {
    const struct cam_snapshot *from; /* NULL: from the beginning */
    struct cam_forget_plan *plan;
    int64_t whole; /* everything since is there to be trained on again */
};

static enum cam_status ask_price(sqlite3 *sqlite, void *context) {
    struct price *p = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(
        sqlite, &s,
        "SELECT t.documents - coalesce(s.documents, 0), t.tokens - coalesce(s.tokens, 0), (SELECT"
        " total(h.step_seconds) FROM living_steps AS h WHERE h.moment > coalesce(s.moment, -1)),"
        " (SELECT count(*) FROM living_trained AS d JOIN document_texts AS x ON x.document ="
        " d.document WHERE d.rank > coalesce(s.documents, 0)) FROM trainer AS t LEFT JOIN snapshots"
        " AS s ON s.id = ?",
        "t", p->from ? p->from->id : ""));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row) {
        p->plan->since_documents = sqlite3_column_int64(s, 0);
        p->plan->since_tokens = sqlite3_column_int64(s, 1);
        p->plan->since_seconds = sqlite3_column_double(s, 2);
        p->whole = sqlite3_column_int64(s, 3) == p->plan->since_documents;
    }
    sqlite3_finalize(s);
    return status;
}

struct candidates {
    int64_t before; /* moment */
    struct cam_snapshot *rows;
    size_t n;
};

static enum cam_status take_candidate(void *context, const struct cam_snapshot *row) {
    struct candidates *c = context;
    if (!row->living || row->moment >= c->before)
        return CAM_OK;
    struct cam_snapshot *grown = realloc(c->rows, (c->n + 1) * sizeof *grown);
    if (!grown)
        return cam_fail(CAM_ERR_OS, "no memory for %zu snapshots", c->n + 1);
    c->rows = grown;
    c->rows[c->n++] = *row;
    return CAM_OK;
}

/* Newest first. */
static int by_moment(const void *a, const void *b) {
    const struct cam_snapshot *x = a, *y = b;
    return x->moment == y->moment ? strcmp(x->id, y->id) : x->moment < y->moment ? 1 : -1;
}

static enum cam_status find_way_back(struct cam_snapshots *snapshots, struct cam_database *database,
                                     struct cam_forget_plan *plan) {
    struct candidates c = {.before = plan->moment};
    struct price price = {.plan = plan};
    enum cam_status status = cam_snapshots_each(snapshots, 1, take_candidate, &c);
    if (c.n)
        qsort(c.rows, c.n, sizeof *c.rows, by_moment);
    for (size_t i = 0; i < c.n && status == CAM_OK && !*plan->snapshot; i++) {
        if (cam_snapshot_check(snapshots, c.rows[i].id) != CAM_OK) {
            cam_log(CAM_LOG_WARNING, "%s", cam_message());
            continue;
        }
        price.from = &c.rows[i];
        status = cam_database_call(database, ask_price, &price);
        if (!price.whole)
            break; /* still more of it is missing before */
        memcpy(plan->snapshot, c.rows[i].id, sizeof plan->snapshot);
    }
    free(c.rows);
    CAM_TRY(status);
    if (*plan->snapshot)
        return CAM_OK;
    price.from = NULL;
    CAM_TRY(cam_database_call(database, ask_price, &price));
    return cam_fail(
        CAM_ERR_NOINPUT,
        "no snapshot from before %s counted is left%s; only training everything anew without %s"
        " would do: %lld document%s, %lld tokens, some %.3g seconds at the speed so far (cambium "
        "init"
        " another workspace, and ingest the rest)",
        plan->documents == 1 ? "the document" : "the documents",
        c.n ? " that can be gone on from (they do not verify, or texts since then are gone)" : "",
        plan->documents == 1 ? "it" : "them", (long long)plan->since_documents,
        plan->since_documents == 1 ? "" : "s", (long long)plan->since_tokens, plan->since_seconds);
}

enum cam_status cam_forget_plan(struct cam_snapshots *snapshots, struct cam_database *database,
                                const struct cam_forget_request *request,
                                struct cam_forget_plan *plan) {
    struct forgetting f = {.request = request};
    enum cam_status status = cam_database_write(database, forget, &f);
    if (!(status == CAM_STOPPED && f.measured))
        CAM_TRY(status);
    *plan = f.plan;
    return plan->moment ? find_way_back(snapshots, database, plan) : CAM_OK;
}
