#include "store/sql.h"

#include "base/hash.h"
#include "store/database.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum cam_status cam_sql_prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **statement) {
    int code = sqlite3_prepare_v2(sqlite, sql, -1, statement, NULL);
    return code == SQLITE_OK ? CAM_OK : cam_database_fail(sqlite, code, "preparing a statement");
}

static enum cam_status bind(sqlite3_stmt *statement, const char *format, va_list args) {
    int code = SQLITE_OK;
    for (int i = 1; *format && code == SQLITE_OK; i++, format++) {
        switch (*format) {
        case 'i':
            code = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
            break;
        case 'n':
            code = sqlite3_bind_int(statement, i, va_arg(args, int));
            break;
        case 'd': {
            double value = va_arg(args, double);
            code = isnan(value) ? sqlite3_bind_null(statement, i)
                                : sqlite3_bind_double(statement, i, value);
            break;
        }
        case 't':
            code =
                sqlite3_bind_text(statement, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'b': {
            const void *bytes = va_arg(args, const void *);
            size_t n_bytes = va_arg(args, size_t);
            code = sqlite3_bind_blob64(statement, i, bytes, n_bytes, SQLITE_STATIC);
            break;
        }
        default:
            return cam_fail(CAM_ERR_INTERNAL, "'%c' is no letter of a binding format", *format);
        }
    }
    if (code != SQLITE_OK)
        return cam_database_fail(sqlite3_db_handle(statement), code, "binding a value");
    return CAM_OK;
}

static enum cam_status query(sqlite3 *sqlite, sqlite3_stmt **statement, const char *sql,
                             const char *format, va_list args) {
    sqlite3_stmt *made = NULL;
    CAM_TRY(cam_sql_prepare(sqlite, sql, &made));
    enum cam_status status = bind(made, format, args);
    if (status != CAM_OK)
        sqlite3_finalize(made);
    else
        *statement = made;
    return status;
}

enum cam_status cam_sql_query(sqlite3 *sqlite, sqlite3_stmt **statement, const char *sql,
                              const char *format, ...) {
    va_list args;
    va_start(args, format);
    enum cam_status status = query(sqlite, statement, sql, format, args);
    va_end(args);
    return status;
}

/* ---- kept statements ---- */

struct kept {
    sqlite3_stmt *statement; /* NULL: the slot is free */
    uint64_t hash;           /* of its text */
    uint64_t used;           /* when, in uses of the table: the least goes first */
    int is_out;
};
struct keep {
    sqlite3 *sqlite;
    uint64_t n_uses;
    struct kept kept[CAM_SQL_KEPT];
};
static _Thread_local struct keep *keep; /* of this thread; NULL: it keeps none */

enum cam_status cam_sql_keep_begin(sqlite3 *sqlite) {
    keep = calloc(1, sizeof *keep);
    if (!keep)
        return cam_fail(CAM_ERR_OS, "no memory for compiled statements");
    keep->sqlite = sqlite;
    return CAM_OK;
}

void cam_sql_keep_end(void) {
    for (size_t i = 0; keep && i < CAM_SQL_KEPT; i++)
        sqlite3_finalize(keep->kept[i].statement);
    free(keep);
    keep = NULL;
}

/* The kept statement of SQL that is not out, or NULL; *SPARE is where a new one may go (the slot
 * that was used longest ago), NULL if all are out. */
static struct kept *find_kept(const char *sql, uint64_t hash, struct kept **spare) {
    *spare = NULL;
    for (size_t i = 0; i < CAM_SQL_KEPT; i++) {
        struct kept *k = &keep->kept[i];
        if (k->is_out)
            continue;
        if (k->statement && k->hash == hash && strcmp(sqlite3_sql(k->statement), sql) == 0)
            return k;
        if (!*spare || k->used < (*spare)->used)
            *spare = k;
    }
    return NULL;
}

static enum cam_status take(sqlite3 *sqlite, sqlite3_stmt **statement, const char *sql) {
    struct kept *spare = NULL;
    if (!keep || keep->sqlite != sqlite)
        return cam_sql_prepare(sqlite, sql, statement);
    uint64_t hash = cam_hash_bytes(sql, strlen(sql)).low;
    struct kept *k = find_kept(sql, hash, &spare);
    if (!k) {
        sqlite3_stmt *made = NULL;
        CAM_TRY(cam_sql_prepare(sqlite, sql, &made));
        *statement = made;
        if (!spare)
            return CAM_OK;
        sqlite3_finalize(spare->statement);
        k = spare;
        *k = (struct kept){.statement = made, .hash = hash};
    }
    k->is_out = 1;
    k->used = ++keep->n_uses;
    *statement = k->statement;
    return CAM_OK;
}

void cam_sql_done(sqlite3_stmt *statement) {
    for (size_t i = 0; statement && keep && i < CAM_SQL_KEPT; i++) {
        if (keep->kept[i].statement != statement)
            continue;
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        keep->kept[i].is_out = 0;
        return;
    }
    sqlite3_finalize(statement);
}

static enum cam_status take_bound(sqlite3 *sqlite, sqlite3_stmt **statement, const char *sql,
                                  const char *format, va_list args) {
    sqlite3_stmt *taken = NULL;
    CAM_TRY(take(sqlite, &taken, sql));
    enum cam_status status = bind(taken, format, args);
    if (status != CAM_OK)
        cam_sql_done(taken);
    else
        *statement = taken;
    return status;
}

enum cam_status cam_sql_take(sqlite3 *sqlite, sqlite3_stmt **statement, const char *sql,
                             const char *format, ...) {
    va_list args;
    va_start(args, format);
    enum cam_status status = take_bound(sqlite, statement, sql, format, args);
    va_end(args);
    return status;
}

/* ---- running ---- */

enum cam_status cam_sql_step(sqlite3_stmt *statement, int *row) {
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return cam_database_fail(sqlite3_db_handle(statement), code, "reading or writing rows");
    *row = code == SQLITE_ROW;
    return CAM_OK;
}

enum cam_status cam_sql_again(sqlite3_stmt *statement, const char *format, ...) {
    va_list args;
    va_start(args, format);
    enum cam_status status = bind(statement, format, args);
    va_end(args);
    int row = 1;
    while (status == CAM_OK && row)
        status = cam_sql_step(statement, &row);
    sqlite3_reset(statement);
    return status;
}

enum cam_status cam_sql_run(sqlite3 *sqlite, const char *sql, const char *format, ...) {
    sqlite3_stmt *statement = NULL;
    va_list args;
    va_start(args, format);
    enum cam_status status = take_bound(sqlite, &statement, sql, format, args);
    va_end(args);
    int row = 1;
    while (status == CAM_OK && row)
        status = cam_sql_step(statement, &row);
    cam_sql_done(statement);
    return status;
}

enum cam_status cam_sql_int(sqlite3 *sqlite, int64_t fallback, int64_t *value, const char *sql,
                            const char *format, ...) {
    sqlite3_stmt *statement = NULL;
    va_list args;
    va_start(args, format);
    enum cam_status status = take_bound(sqlite, &statement, sql, format, args);
    va_end(args);
    int row = 0;
    if (status == CAM_OK)
        status = cam_sql_step(statement, &row);
    if (status == CAM_OK)
        *value = row && sqlite3_column_type(statement, 0) != SQLITE_NULL
                     ? sqlite3_column_int64(statement, 0)
                     : fallback;
    cam_sql_done(statement);
    return status;
}

enum cam_status cam_sql_script(sqlite3 *sqlite, const char *sql) {
    int code = sqlite3_exec(sqlite, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? CAM_OK : cam_database_fail(sqlite, code, "running a script");
}

const char *cam_sql_text(sqlite3_stmt *statement, int column) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text ? (const char *)text : "";
}

char *cam_sql_copy(sqlite3_stmt *statement, int column) {
    return strdup(cam_sql_text(statement, column));
}
