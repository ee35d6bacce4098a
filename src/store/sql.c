#include "store/sql.h"

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
    enum cam_status status = query(sqlite, &statement, sql, format, args);
    va_end(args);
    int row = 1;
    while (status == CAM_OK && row)
        status = cam_sql_step(statement, &row);
    sqlite3_finalize(statement);
    return status;
}

enum cam_status cam_sql_int(sqlite3 *sqlite, int64_t fallback, int64_t *value, const char *sql,
                            const char *format, ...) {
    sqlite3_stmt *statement = NULL;
    va_list args;
    va_start(args, format);
    enum cam_status status = query(sqlite, &statement, sql, format, args);
    va_end(args);
    int row = 0;
    if (status == CAM_OK)
        status = cam_sql_step(statement, &row);
    if (status == CAM_OK)
        *value = row && sqlite3_column_type(statement, 0) != SQLITE_NULL
                     ? sqlite3_column_int64(statement, 0)
                     : fallback;
    sqlite3_finalize(statement);
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
