#include "store/policies.h"

#include "base/hash.h"
#include "store/decide.h"
#include "store/rows.h"
#include "store/sql.h"

#include <stdlib.h>
#include <string.h>

struct lookup {
    const char *name;
    char *text;
};

/* The newest stored text of that name. */
static enum cam_status find_stored(sqlite3 *sqlite, void *context) {
    struct lookup *l = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(sqlite, &s,
                          "SELECT text FROM policies WHERE name = ? ORDER BY position DESC LIMIT 1",
                          "t", l->name));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row && !(l->text = cam_sql_copy(s, 0)))
        status = cam_fail(CAM_ERR_OS, "no memory for a policy");
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_policies_find(struct cam_database *database, const char *name, char **text) {
    struct lookup l = {.name = name};
    CAM_TRY(cam_database_call(database, find_stored, &l));
    *text = l.text;
    return CAM_OK;
}

struct use {
    const char *name, *text;
    char hash[CAM_HASH_HEX_BYTES];
    int at_once;
    int64_t position;
};

/* The savepoint of the check is rolled back, so this writes nothing. */
static enum cam_status check(sqlite3 *sqlite, void *context) {
    const struct use *u = context;
    return cam_decide_check(sqlite, u->name, u->text);
}

static enum cam_status use(sqlite3 *sqlite, void *context) {
    struct use *u = context;
    struct cam_history_state at;
    CAM_TRY(cam_decide_check(sqlite, u->name, u->text));
    if (!u->at_once)
        CAM_TRY(cam_rows_journal(sqlite, "policy", 0, u->name, u->hash, "person", &u->position));
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO policies VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET"
                        " position = excluded.position",
                        "ttti", u->hash, u->name, u->text, u->position));
    if (!u->at_once)
        return CAM_OK;
    CAM_TRY(cam_rows_state(sqlite, &at));
    return cam_decide_use(sqlite, &at, u->name, u->hash, 0);
}

enum cam_status cam_policies_check(struct cam_database *database, const char *name,
                                   const char *text) {
    struct use u = {.name = name, .text = text};
    return cam_database_write(database, check, &u);
}

enum cam_status cam_policies_put(struct cam_database *database, const char *name, const char *text,
                                 int at_once, int64_t *position) {
    struct use u = {.name = name, .text = text, .at_once = at_once};
    /* The name is part of it: the same text under another name is another policy. */
    uint64_t key = cam_hash_bytes(name, strlen(name)).low;
    cam_hash_hex(cam_hash_keyed(text, strlen(text), key), u.hash);
    CAM_TRY(cam_database_write_durable(database, use, &u));
    *position = u.position;
    return CAM_OK;
}

struct number {
    const char *key;
    double fallback, value;
};

static enum cam_status read_number(sqlite3 *sqlite, void *context) {
    struct number *n = context;
    return cam_decide_number(sqlite, n->key, n->fallback, &n->value);
}

enum cam_status cam_policies_number(struct cam_database *database, const char *key, double fallback,
                                    double *value) {
    struct number n = {.key = key, .fallback = fallback};
    CAM_TRY(cam_database_call(database, read_number, &n));
    *value = n.value;
    return CAM_OK;
}

struct each {
    cam_stored_policy_fn *fn;
    void *context;
};

static enum cam_status each_stored(sqlite3 *sqlite, void *context) {
    const struct each *e = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "SELECT p.name, p.hash, p.text, p.hash = (SELECT v.value FROM"
                            " living_setting_values AS v WHERE v.key = 'policy_hash' ORDER BY"
                            " v.moment DESC LIMIT 1) FROM policies AS p ORDER BY p.name, p.hash",
                            &s));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        struct cam_stored_policy p = {.name = cam_sql_text(s, 0),
                                      .hash = cam_sql_text(s, 1),
                                      .text = cam_sql_text(s, 2),
                                      .in_force = sqlite3_column_int(s, 3)};
        status = e->fn(e->context, &p);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_policies_stored(struct cam_database *database, cam_stored_policy_fn *fn,
                                    void *context) {
    struct each e = {.fn = fn, .context = context};
    return cam_database_call(database, each_stored, &e);
}
