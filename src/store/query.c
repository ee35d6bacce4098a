#include "store/query.h"

#include "store/sql.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 64

struct query {
    const char *sql;
    const char *const *parameters;
    cam_query_fn *fn;
    void *context;
};

static void read_row(sqlite3_stmt *statement, struct cam_value *row, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int column = (int)i, type = sqlite3_column_type(statement, column);
        row[i] = (struct cam_value){.name = sqlite3_column_name(statement, column), .real = NAN};
        if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
            row[i].kind = type == SQLITE_INTEGER ? CAM_VALUE_INT : CAM_VALUE_REAL;
            row[i].whole = sqlite3_column_int64(statement, column);
            row[i].real = sqlite3_column_double(statement, column);
        } else if (type != SQLITE_NULL) {
            row[i].kind = CAM_VALUE_TEXT;
        }
        row[i].text = cam_sql_text(statement, column);
    }
}

static enum cam_status each_row(sqlite3_stmt *statement, const struct query *q) {
    struct cam_value row[MAX_COLUMNS];
    int n = sqlite3_column_count(statement), has_row = 0;
    if (n > MAX_COLUMNS)
        return cam_fail(CAM_ERR_INTERNAL, "a report has %d columns, at most %d are read", n,
                        MAX_COLUMNS);
    for (;;) {
        CAM_TRY(cam_sql_step(statement, &has_row));
        if (!has_row)
            return CAM_OK;
        read_row(statement, row, (size_t)n);
        CAM_TRY(q->fn(q->context, row, (size_t)n));
    }
}

static enum cam_status run(sqlite3 *sqlite, void *context) {
    const struct query *q = context;
    sqlite3_stmt *statement = NULL;
    CAM_TRY(cam_sql_prepare(sqlite, q->sql, &statement));
    int code = SQLITE_OK;
    for (int i = 0; q->parameters && q->parameters[i] && code == SQLITE_OK; i++)
        code = sqlite3_bind_text(statement, i + 1, q->parameters[i], -1, SQLITE_TRANSIENT);
    enum cam_status status = code == SQLITE_OK ? each_row(statement, q)
                                               : cam_database_fail(sqlite, code, "binding a value");
    sqlite3_finalize(statement);
    return status;
}

enum cam_status cam_query(struct cam_database *database, const char *sql,
                          const char *const *parameters, cam_query_fn *fn, void *context) {
    struct query q = {sql, parameters, fn, context};
    return cam_database_read(database, run, &q);
}

struct first {
    int64_t whole;
    char *text;
    size_t n_bytes;
    int seen;
};

static enum cam_status take_first(void *context, const struct cam_value *row, size_t n) {
    struct first *first = context;
    if (first->seen || n == 0)
        return CAM_OK;
    first->seen = 1;
    if (first->text)
        snprintf(first->text, first->n_bytes, "%s", row[0].text);
    else if (row[0].kind != CAM_VALUE_NULL)
        first->whole = row[0].whole;
    return CAM_OK;
}

enum cam_status cam_query_int(struct cam_database *database, const char *sql,
                              const char *const *parameters, int64_t fallback, int64_t *value) {
    struct first first = {.whole = fallback};
    CAM_TRY(cam_query(database, sql, parameters, take_first, &first));
    *value = first.whole;
    return CAM_OK;
}

enum cam_status cam_query_text(struct cam_database *database, const char *sql,
                               const char *const *parameters, char *text, size_t n_bytes) {
    struct first first = {.text = text, .n_bytes = n_bytes};
    if (n_bytes)
        text[0] = '\0';
    return cam_query(database, sql, parameters, take_first, &first);
}

static enum cam_status copy_first(void *context, const struct cam_value *row, size_t n) {
    char **copy = context;
    if (*copy || n == 0)
        return CAM_OK;
    *copy = strdup(row[0].text);
    return *copy ? CAM_OK : cam_fail(CAM_ERR_OS, "no memory for a text");
}

enum cam_status cam_query_copy(struct cam_database *database, const char *sql,
                               const char *const *parameters, char **text) {
    char *copy = NULL;
    enum cam_status status = cam_query(database, sql, parameters, copy_first, &copy);
    if (status == CAM_OK && !copy && !(copy = strdup("")))
        status = cam_fail(CAM_ERR_OS, "no memory for a text");
    if (status == CAM_OK)
        *text = copy;
    else
        free(copy);
    return status;
}
