#include "store/migrations.h"

#include "base/embed.h"
#include "base/hash.h"
#include "base/settings.h"
#include "store/database.h"
#include "store/decide.h"
#include "store/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "007_name.sql" -> 7; 0 for files that are no migration. */
static int number_of(const char *name) {
    int number = 0;
    for (int i = 0; i < 3; i++) {
        if (name[i] < '0' || name[i] > '9')
            return 0;
        number = 10 * number + (name[i] - '0');
    }
    return name[3] == '_' ? number : 0;
}

int cam_migrations_newest(void) {
    int newest = 0;
    for (const struct cam_embedded *file = cam_embedded_schema; file->name; file++)
        if (number_of(file->name) > newest)
            newest = number_of(file->name);
    return newest;
}

enum cam_status cam_migrations_check(sqlite3 *sqlite, const char *path, int *version) {
    int64_t found = 0, application = 0, n_objects = 0;
    CAM_TRY(cam_sql_int(sqlite, 0, &found, "PRAGMA user_version", ""));
    CAM_TRY(cam_sql_int(sqlite, 0, &application, "PRAGMA application_id", ""));
    CAM_TRY(cam_sql_int(sqlite, 0, &n_objects, "SELECT count(*) FROM sqlite_schema", ""));
    if (application != CAM_APPLICATION_ID && (n_objects > 0 || found != 0))
        return cam_fail(CAM_ERR_DATA, "%s: a database of another program", path);
    if (found > cam_migrations_newest())
        return cam_fail(CAM_ERR_CONFIG,
                        "%s: has schema version %lld, this cambium knows up to %d; use the newer "
                        "cambium that wrote it",
                        path, (long long)found, cam_migrations_newest());
    *version = (int)found;
    return CAM_OK;
}

static enum cam_status drop_views(sqlite3 *sqlite) {
    for (;;) {
        sqlite3_stmt *statement = NULL;
        int row = 0;
        char *sql = NULL;
        CAM_TRY(cam_sql_prepare(sqlite,
                                "SELECT format('DROP VIEW \"%w\"', name) FROM sqlite_schema WHERE "
                                "type = 'view' LIMIT 1",
                                &statement));
        enum cam_status status = cam_sql_step(statement, &row);
        if (status == CAM_OK && row)
            sql = cam_sql_copy(statement, 0);
        sqlite3_finalize(statement);
        if (status != CAM_OK || !row)
            return status;
        if (!sql)
            return cam_fail(CAM_ERR_OS, "no memory for a statement");
        status = cam_sql_script(sqlite, sql);
        free(sql);
        CAM_TRY(status);
    }
}

/* Views and settings the binary brings, as one hash: a new binary refreshes them. */
static void surface_hash(char hex[CAM_HASH_HEX_BYTES]) {
    const struct cam_embedded *views = cam_embedded_find(cam_embedded_schema, "views.sql");
    uint64_t key = views ? views->size : 0;
    for (size_t i = 0; i < cam_setting_count(); i++) {
        const struct cam_setting *s = cam_setting_at(i);
        key = cam_hash_keyed(s->key, strlen(s->key), key).low;
        key = cam_hash_keyed(s->default_text, strlen(s->default_text), key + s->scope).low;
        key = cam_hash_keyed(s->help, strlen(s->help), key + s->type).low;
    }
    cam_hash_hex(
        cam_hash_keyed(views ? (const char *)views->data : "", views ? views->size : 0, key), hex);
}

static enum cam_status fill_setting_keys(sqlite3 *sqlite) {
    CAM_TRY(cam_sql_script(sqlite, "DELETE FROM setting_keys"));
    for (size_t i = 0; i < cam_setting_count(); i++) {
        const struct cam_setting *s = cam_setting_at(i);
        CAM_TRY(cam_sql_run(sqlite, "INSERT INTO setting_keys VALUES (?, ?, ?, ?, ?)", "ttttt",
                            s->key, cam_setting_type_name(s->type),
                            cam_setting_scope_name(s->scope), s->default_text, s->help));
    }
    return CAM_OK;
}

static enum cam_status migrate(sqlite3 *sqlite, int version, const char *surface) {
    CAM_TRY(drop_views(sqlite));
    for (const struct cam_embedded *file = cam_embedded_schema; file->name; file++)
        if (number_of(file->name) > version)
            CAM_TRY(cam_sql_script(sqlite, (const char *)file->data));
    const struct cam_embedded *views = cam_embedded_find(cam_embedded_schema, "views.sql");
    if (views)
        CAM_TRY(cam_sql_script(sqlite, (const char *)views->data));
    CAM_TRY(fill_setting_keys(sqlite));
    CAM_TRY(cam_decide_install_current(sqlite));
    CAM_TRY(cam_sql_run(sqlite, "INSERT OR REPLACE INTO meta VALUES ('surface', ?)", "t", surface));
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA user_version = %d; PRAGMA application_id = %d",
             cam_migrations_newest(), CAM_APPLICATION_ID);
    return cam_sql_script(sqlite, pragmas);
}

enum cam_status cam_migrations_run(sqlite3 *sqlite, int version) {
    char surface[CAM_HASH_HEX_BYTES];
    surface_hash(surface);
    if (version == cam_migrations_newest()) {
        int64_t current = 0;
        CAM_TRY(cam_sql_int(sqlite, 0, &current,
                            "SELECT 1 FROM meta WHERE key = 'surface' AND value = ?", "t",
                            surface));
        if (current)
            return CAM_OK;
    }
    CAM_TRY(cam_sql_script(sqlite, "BEGIN IMMEDIATE"));
    enum cam_status status = migrate(sqlite, version, surface);
    if (status == CAM_OK)
        status = cam_sql_script(sqlite, "COMMIT");
    if (status != CAM_OK)
        sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    return status;
}
