/* journal.c - control rows in, items out.  Documents come in through admission.c. */
#include "store/journal.h"

#include "base/hash.h"
#include "store/decide.h"
#include "store/rows.h"
#include "store/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
    [CAM_ITEM_DOCUMENT] = "document", [CAM_ITEM_SETTING] = "setting",
    [CAM_ITEM_POLICY] = "policy",     [CAM_ITEM_EVALUATE] = "evaluate",
    [CAM_ITEM_SNAPSHOT] = "snapshot", [CAM_ITEM_FLUSH] = "flush",
    [CAM_ITEM_GROW] = "grow",         [CAM_ITEM_FREEZE] = "freeze",
    [CAM_ITEM_PRUNE] = "prune",       [CAM_ITEM_VERIFY] = "verify",
    [CAM_ITEM_FORGET] = "forget",
};
#define N_KINDS (sizeof kind_names / sizeof *kind_names)

/* ---- control rows
 * -------------------------------------------------------------------------------- */

struct control {
    enum cam_item_kind kind;
    const char *name, *value, *reason;
    int64_t position;
};

static enum cam_status journal_control(sqlite3 *sqlite, void *context) {
    struct control *c = context;
    return cam_rows_journal(sqlite, kind_names[c->kind], 0, c->name, c->value, c->reason,
                            &c->position);
}

/* Canonical text of a setting that may be changed now. */
static enum cam_status check_setting(const char *key, const char *value,
                                     char text[CAM_SETTING_TEXT_BYTES]) {
    const struct cam_setting *setting;
    struct cam_settings scratch;
    cam_settings_defaults(&scratch);
    CAM_TRY(cam_setting_find(key, &setting));
    if (setting->scope == CAM_SETTING_INIT)
        return cam_fail(CAM_ERR_CONFIG, "%s: fixed when the workspace was made", key);
    if (strcmp(key, "policy") == 0)
        return cam_fail(CAM_ERR_CONFIG, "policy: change it with: cambium policy use %.64s", value);
    if (strcmp(key, "feed.proxy") == 0 && strchr(value, '@'))
        return cam_fail(CAM_ERR_CONFIG,
                        "feed.proxy: no user or password here, because settings can be read by "
                        "everyone; run a proxy that needs none on this machine");
    CAM_TRY(cam_settings_set(&scratch, key, value));
    return cam_settings_get(&scratch, key, text);
}

enum cam_status cam_journal_control(struct cam_database *database, enum cam_item_kind kind,
                                    const char *name, const char *value, const char *reason,
                                    int64_t *position) {
    char text[CAM_SETTING_TEXT_BYTES];
    struct control c = {.kind = kind, .name = name, .value = value, .reason = reason};
    if (kind == CAM_ITEM_DOCUMENT || kind == CAM_ITEM_POLICY || kind == CAM_ITEM_FORGET ||
        (size_t)kind >= N_KINDS)
        return cam_fail(CAM_ERR_INTERNAL, "item kind %d is not a request", (int)kind);
    if (kind == CAM_ITEM_SETTING) {
        CAM_TRY(check_setting(name, value, text));
        if (strcmp(name, "policy.ignore") == 0)
            CAM_TRY(cam_decide_check_ignore(text));
        c.value = text;
    }
    CAM_TRY(cam_database_write_durable(database, journal_control, &c));
    if (position)
        *position = c.position;
    return CAM_OK;
}

struct verdict {
    int64_t document;
    const char *reason;
    int release;
};

static enum cam_status journal_verdict(sqlite3 *sqlite, void *context) {
    const struct verdict *v = context;
    sqlite3_stmt *s = NULL;
    int row = 0, may = 0;
    char state[32] = "";
    CAM_TRY(cam_sql_query(sqlite, &s, "SELECT state FROM living_states WHERE document = ?", "i",
                          v->document));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row)
        snprintf(state, sizeof state, "%s", cam_sql_text(s, 0));
    sqlite3_finalize(s);
    CAM_TRY(status);
    if (!row)
        return cam_fail(CAM_ERR_NOINPUT, "document %lld: there is none", (long long)v->document);
    may = strcmp(state, "quarantined") == 0 || (v->release && strcmp(state, "set_aside") == 0);
    if (!may)
        return cam_fail(CAM_ERR_DATA, "document %lld: is %s, not quarantined%s",
                        (long long)v->document, state, v->release ? " or set aside" : "");
    return cam_rows_journal(sqlite, v->release ? "release" : "drop", v->document, "", "", v->reason,
                            NULL);
}

enum cam_status cam_journal_release(struct cam_database *database, int64_t document,
                                    const char *reason) {
    struct verdict v = {.document = document, .reason = reason, .release = 1};
    return cam_database_write_durable(database, journal_verdict, &v);
}

enum cam_status cam_journal_drop(struct cam_database *database, int64_t document,
                                 const char *reason) {
    struct verdict v = {.document = document, .reason = reason};
    return cam_database_write_durable(database, journal_verdict, &v);
}

/* ---- reading
 * --------------------------------------------------------------------------------------- */

struct reading {
    int64_t after;
    size_t max_items, max_bytes, capacity;
    struct cam_items list;
    sqlite3_stmt *rows, *barred, *done, *skipped;
};

static const char rows_sql[] =
    "SELECT j.position, j.kind, coalesce(j.document, j.position), j.name, j.value, d.domain,"
    " coalesce(d.feed, 0), d.bytes, d.admission, (SELECT x.text FROM document_texts AS x WHERE"
    " x.document = d.document) AS text,"
    " (SELECT k.scope FROM setting_keys AS k WHERE k.key = j.name AND j.kind = 'setting')"
    " FROM journal AS j LEFT JOIN documents AS d ON d.document = coalesce(j.document, j.position)"
    " WHERE j.position > ? ORDER BY j.position";
/* Trained already, or held when met at this position. */
static const char barred_sql[] =
    "SELECT EXISTS (SELECT 1 FROM living_trained WHERE document = ?1) OR EXISTS (SELECT 1 FROM"
    " living_holds WHERE document = ?1 AND position >= ?2)";
/* Acted on between a fork and its rollback: not repeated. */
static const char skipped_sql[] =
    "SELECT EXISTS (SELECT 1 FROM lineage_skips AS k JOIN trainer AS t ON t.lineage = k.lineage"
    " WHERE ? BETWEEN k.position_from + 1 AND k.position_to)";
static const char done_sql[] = "SELECT EXISTS (SELECT 1 FROM living_controls WHERE position = ?)";

static enum cam_status ask(sqlite3_stmt *s, int64_t a, int64_t b, int *yes) {
    int row = 0;
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, a);
    if (sqlite3_bind_parameter_count(s) > 1)
        sqlite3_bind_int64(s, 2, b);
    CAM_TRY(cam_sql_step(s, &row));
    *yes = row && sqlite3_column_int(s, 0);
    sqlite3_reset(s);
    return CAM_OK;
}

/* Which item the current row is: *KIND, or *SKIP if the trainer has nothing to do with it. */
static enum cam_status classify(struct reading *r, enum cam_item_kind *kind, int *skip) {
    int64_t position = sqlite3_column_int64(r->rows, 0);
    const char *name = cam_sql_text(r->rows, 1);
    int released = strcmp(name, "release") == 0;
    *skip = 1;
    if (released || strcmp(name, "document") == 0) {
        *kind = CAM_ITEM_DOCUMENT;
        if (!released && strcmp(cam_sql_text(r->rows, 8), "train") != 0)
            return CAM_OK;
        return ask(r->barred, sqlite3_column_int64(r->rows, 2), position, skip);
    }
    for (size_t i = 1; i < N_KINDS; i++) {
        if (strcmp(name, kind_names[i]) != 0)
            continue;
        *kind = (enum cam_item_kind)i;
        if (i == CAM_ITEM_SETTING && strcmp(cam_sql_text(r->rows, 10), "live") != 0)
            return CAM_OK;
        CAM_TRY(ask(r->skipped, position, 0, skip));
        return *skip ? CAM_OK : ask(r->done, position, 0, skip);
    }
    return CAM_OK;
}

static enum cam_status take_item(struct reading *r, enum cam_item_kind kind) {
    if (r->list.n_items == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 16;
        struct cam_item *grown = realloc(r->list.items, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory for %zu journal rows", capacity);
        r->list.items = grown;
        r->capacity = capacity;
    }
    struct cam_item item = {
        .position = sqlite3_column_int64(r->rows, 0),
        .kind = kind,
        .document = kind == CAM_ITEM_DOCUMENT ? sqlite3_column_int64(r->rows, 2) : 0,
        .feed = sqlite3_column_int64(r->rows, 6),
        .name = cam_sql_copy(r->rows, 3),
        .value = cam_sql_copy(r->rows, 4),
    };
    snprintf(item.domain, sizeof item.domain, "%s", cam_sql_text(r->rows, 5));
    enum cam_status status = CAM_OK;
    if (!item.name || !item.value)
        status = cam_fail(CAM_ERR_OS, "no memory for journal row %lld", (long long)item.position);
    else if (kind == CAM_ITEM_DOCUMENT)
        status = cam_rows_text(sqlite3_column_blob(r->rows, 9),
                               (size_t)sqlite3_column_bytes(r->rows, 9), item.document,
                               sqlite3_column_int64(r->rows, 7), &item.text, &item.text_bytes);
    if (status != CAM_OK)
        free(item.name), free(item.value);
    else
        r->list.items[r->list.n_items++] = item;
    return status;
}

static enum cam_status read_rows(struct reading *r) {
    size_t n_bytes = 0;
    int row = 0;
    r->list.end = r->after;
    for (;;) {
        enum cam_item_kind kind = CAM_ITEM_DOCUMENT;
        int skip;
        CAM_TRY(cam_sql_step(r->rows, &row));
        if (!row) {
            r->list.at_end = 1;
            return CAM_OK;
        }
        CAM_TRY(classify(r, &kind, &skip));
        if (!skip) {
            size_t more = kind == CAM_ITEM_DOCUMENT ? (size_t)sqlite3_column_int64(r->rows, 7) : 0;
            if (r->list.n_items == r->max_items ||
                (r->list.n_items > 0 && n_bytes + more > r->max_bytes))
                return CAM_OK;
            CAM_TRY(take_item(r, kind));
            n_bytes += more;
        }
        r->list.end = sqlite3_column_int64(r->rows, 0);
    }
}

static enum cam_status read_items(sqlite3 *sqlite, void *context) {
    struct reading *r = context;
    enum cam_status status = CAM_OK;
    CAM_TRY_OUT(cam_sql_query(sqlite, &r->rows, rows_sql, "i", r->after));
    CAM_TRY_OUT(cam_sql_prepare(sqlite, barred_sql, &r->barred));
    CAM_TRY_OUT(cam_sql_prepare(sqlite, done_sql, &r->done));
    CAM_TRY_OUT(cam_sql_prepare(sqlite, skipped_sql, &r->skipped));
    status = read_rows(r);
out:
    sqlite3_finalize(r->rows);
    sqlite3_finalize(r->barred);
    sqlite3_finalize(r->done);
    sqlite3_finalize(r->skipped);
    return status;
}

enum cam_status cam_journal_read(struct cam_database *database, int64_t after, size_t max_items,
                                 size_t max_bytes, struct cam_items *items) {
    struct reading r = {
        .after = after, .max_items = max_items ? max_items : 1, .max_bytes = max_bytes};
    enum cam_status status = cam_database_call(database, read_items, &r);
    if (status == CAM_OK)
        *items = r.list;
    else
        cam_items_release(&r.list);
    return status;
}

void cam_items_release(struct cam_items *items) {
    for (size_t i = 0; i < items->n_items; i++) {
        free(items->items[i].text);
        free(items->items[i].name);
        free(items->items[i].value);
    }
    free(items->items);
    *items = (struct cam_items){0};
}

struct text_of {
    int64_t document;
    char *text;
    size_t n_bytes;
};

static enum cam_status read_text(sqlite3 *sqlite, void *context) {
    struct text_of *t = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(sqlite, &s,
                          "SELECT x.text, d.bytes, d.content_hash FROM documents AS d JOIN "
                          "document_texts AS x ON x.document = d.document WHERE d.document = ?",
                          "i", t->document));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && !row)
        status = cam_fail(CAM_ERR_NOINPUT, "document %lld: there is none", (long long)t->document);
    if (status == CAM_OK)
        status = cam_rows_text(sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0),
                               t->document, sqlite3_column_int64(s, 1), &t->text, &t->n_bytes);
    if (status == CAM_OK) {
        char hex[CAM_HASH_HEX_BYTES];
        cam_hash_hex(cam_hash_bytes(t->text, t->n_bytes), hex);
        if (strcmp(hex, cam_sql_text(s, 2)) != 0) {
            free(t->text);
            t->text = NULL;
            status = cam_fail(CAM_ERR_DATA, "document %lld: its text does not match its hash",
                              (long long)t->document);
        }
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_journal_text(struct cam_database *database, int64_t document, char **text,
                                 size_t *n_bytes) {
    struct text_of t = {.document = document};
    CAM_TRY(cam_database_call(database, read_text, &t));
    *text = t.text;
    *n_bytes = t.n_bytes;
    return CAM_OK;
}

struct probes {
    int64_t up_to;
    cam_probe_text_fn *fn;
    void *context;
};

static enum cam_status read_probes(sqlite3 *sqlite, void *context) {
    const struct probes *p = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(sqlite, &s,
                          "SELECT p.probe, p.name, d.document, x.text, d.bytes FROM probes AS p"
                          " JOIN documents AS d ON d.probe = p.probe JOIN document_texts AS x ON"
                          " x.document = d.document WHERE d.document <= ? ORDER BY p.probe,"
                          " d.document",
                          "i", p->up_to));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        char *text = NULL;
        struct cam_probe_text t = {.probe = sqlite3_column_int64(s, 0),
                                   .name = cam_sql_text(s, 1),
                                   .document = sqlite3_column_int64(s, 2)};
        status = cam_rows_text(sqlite3_column_blob(s, 3), (size_t)sqlite3_column_bytes(s, 3),
                               t.document, sqlite3_column_int64(s, 4), &text, &t.text_bytes);
        t.text = text;
        if (status == CAM_OK)
            status = p->fn(p->context, &t);
        free(text);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_journal_probes(struct cam_database *database, int64_t up_to,
                                   cam_probe_text_fn *fn, void *context) {
    struct probes p = {.up_to = up_to, .fn = fn, .context = context};
    return cam_database_call(database, read_probes, &p);
}

/* ---- the inbox ---- */

static enum cam_status read_inbox(sqlite3 *sqlite, void *context) {
    struct cam_inbox *inbox = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    int64_t least = 0;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT documents, bytes, max_documents, max_bytes, batch_bytes,"
                            " is_full FROM v1_inbox",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row) {
        *inbox = (struct cam_inbox){.documents = sqlite3_column_int64(s, 0),
                                    .bytes = sqlite3_column_int64(s, 1),
                                    .max_documents = sqlite3_column_int64(s, 2),
                                    .max_bytes = sqlite3_column_int64(s, 3),
                                    .is_full = sqlite3_column_int(s, 5)};
        least = sqlite3_column_int64(s, 4);
    }
    sqlite3_finalize(s);
    inbox->room_documents = inbox->max_documents - inbox->documents;
    inbox->room_bytes = inbox->max_bytes - inbox->bytes;
    /* Less than a batch: the trainer waits for more, however many documents that takes. */
    if (!inbox->is_full && inbox->room_documents < 1)
        inbox->room_documents = 1;
    if (!inbox->is_full && inbox->room_bytes < 1)
        inbox->room_bytes = least - inbox->bytes > 0 ? least - inbox->bytes : 1;
    return status;
}

enum cam_status cam_journal_inbox(struct cam_database *database, struct cam_inbox *inbox) {
    return cam_database_call(database, read_inbox, inbox);
}

static enum cam_status read_settings(sqlite3 *sqlite, void *context) {
    return cam_rows_settings(sqlite, context);
}

enum cam_status cam_journal_settings(struct cam_database *database, struct cam_settings *settings) {
    struct cam_settings *read = malloc(sizeof *read);
    if (!read)
        return cam_fail(CAM_ERR_OS, "no memory for settings");
    enum cam_status status = cam_database_call(database, read_settings, read);
    if (status == CAM_OK)
        *settings = *read;
    free(read);
    return status;
}
