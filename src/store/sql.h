/* sql.h - the few lines around sqlite3_prepare/bind/step that every file of store/ needs.
 *
 * Values are bound, never pasted into SQL.  A format has one letter a parameter:
 *     i int64_t    n int    d double (NaN is NULL)    t const char * (NULL is NULL)
 *     b const void *, size_t
 *
 * Compiling a statement costs several times what running it does.  The thread that owns the writing
 * connection therefore keeps the statements it compiled (cam_sql_keep_*), found again by their
 * text; other threads and connections compile anew.  The functions are the same for both. */
#ifndef CAM_STORE_SQL_H
#define CAM_STORE_SQL_H

#include "base/status.h"

#include <sqlite3.h>
#include <stdint.h>

#define CAM_SQL_KEPT 128

CAM_MUST_USE enum cam_status cam_sql_prepare(sqlite3 *sqlite, const char *sql,
                                             sqlite3_stmt **statement);
/* Prepares and binds. */
CAM_MUST_USE enum cam_status cam_sql_query(sqlite3 *sqlite, sqlite3_stmt **statement,
                                           const char *sql, const char *format, ...);
/* Steps to the next row: *ROW is 0 at the end. */
CAM_MUST_USE enum cam_status cam_sql_step(sqlite3_stmt *statement, int *row);
/* Binds, runs to the end and resets: for repeated inserts. */
CAM_MUST_USE enum cam_status cam_sql_again(sqlite3_stmt *statement, const char *format, ...);
/* Prepares (or finds the kept one), binds, runs to the end. */
CAM_MUST_USE enum cam_status cam_sql_run(sqlite3 *sqlite, const char *sql, const char *format, ...);
/* First column of the first row; FALLBACK if there is none or it is NULL. */
CAM_MUST_USE enum cam_status cam_sql_int(sqlite3 *sqlite, int64_t fallback, int64_t *value,
                                         const char *sql, const char *format, ...);
/* As cam_sql_query, with a kept statement where there is one: give it back with cam_sql_done, never
 * with sqlite3_finalize.  While it is out the same text is compiled a second time. */
CAM_MUST_USE enum cam_status cam_sql_take(sqlite3 *sqlite, sqlite3_stmt **statement,
                                          const char *sql, const char *format, ...);
void cam_sql_done(sqlite3_stmt *statement); /* accepts NULL */
/* From now on this thread keeps the statements it compiles for SQLITE, the CAM_SQL_KEPT used last,
 * until it calls the second, which it must before the connection closes. */
CAM_MUST_USE enum cam_status cam_sql_keep_begin(sqlite3 *sqlite);
void cam_sql_keep_end(void);
/* Several statements without parameters. */
CAM_MUST_USE enum cam_status cam_sql_script(sqlite3 *sqlite, const char *sql);

const char *cam_sql_text(sqlite3_stmt *statement, int column); /* "" for NULL; borrowed */
/* malloc'd copy ("" for NULL); NULL if no memory. */
char *cam_sql_copy(sqlite3_stmt *statement, int column);

#endif
