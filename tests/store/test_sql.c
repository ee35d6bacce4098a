/* Statements that the database thread keeps: the same rows, compiled once. */
#include "store/sql.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define OK(call) cr_assert((call) == CAM_OK, "%s: %s", #call, cam_message())

static sqlite3 *sqlite;

static void open_database(void) {
    cr_assert_eq(sqlite3_open(":memory:", &sqlite), SQLITE_OK);
    OK(cam_sql_script(sqlite, "CREATE TABLE t (n INTEGER, s TEXT)"));
    OK(cam_sql_keep_begin(sqlite));
}

static void close_database(void) {
    cam_sql_keep_end();
    cr_assert_eq(sqlite3_close(sqlite), SQLITE_OK, "a statement was left");
}

TestSuite(sql, .init = open_database, .fini = close_database);

static int n_statements(void) {
    int n = 0;
    for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(sqlite, s)) != NULL;)
        n++;
    return n;
}

Test(sql, a_kept_statement_is_compiled_once_and_forgets_its_values) {
    int64_t n = 0, null = 0;
    for (int64_t i = 0; i < 10; i++)
        OK(cam_sql_run(sqlite, "INSERT INTO t VALUES (?, ?)", "it", i, i % 2 ? "odd" : NULL));
    cr_assert_eq(n_statements(), 1);
    OK(cam_sql_int(sqlite, -1, &n, "SELECT sum(n) FROM t WHERE s IS ?", "t", "odd"));
    OK(cam_sql_int(sqlite, -1, &null, "SELECT sum(n) FROM t WHERE s IS ?", ""));
    cr_assert_eq(n, 1 + 3 + 5 + 7 + 9);
    cr_assert_eq(null, 0 + 2 + 4 + 6 + 8, "a value of the call before was still bound");
    cr_assert_eq(n_statements(), 2);
}

Test(sql, the_same_text_may_be_open_twice) {
    sqlite3_stmt *outer = NULL, *inner = NULL;
    int row = 0, n = 0;
    OK(cam_sql_run(sqlite, "INSERT INTO t (n) VALUES (1), (2), (3)", ""));
    OK(cam_sql_take(sqlite, &outer, "SELECT n FROM t WHERE n >= ? ORDER BY n", "n", 1));
    OK(cam_sql_step(outer, &row));
    for (; row; n++) {
        OK(cam_sql_take(sqlite, &inner, "SELECT n FROM t WHERE n >= ? ORDER BY n", "n", 3));
        cr_assert_neq(inner, outer);
        OK(cam_sql_step(inner, &row));
        cr_assert_eq(sqlite3_column_int(inner, 0), 3);
        cam_sql_done(inner);
        OK(cam_sql_step(outer, &row));
    }
    cam_sql_done(outer);
    cr_assert_eq(n, 3);
}

Test(sql, no_more_than_the_limit_are_kept_even_while_all_are_out) {
    static sqlite3_stmt *out[CAM_SQL_KEPT + 2];
    char sql[64];
    int64_t n = 0;
    for (int i = 0; i < CAM_SQL_KEPT + 2; i++) {
        snprintf(sql, sizeof sql, "SELECT %d", i);
        OK(cam_sql_take(sqlite, &out[i], sql, ""));
    }
    for (int i = 0; i < CAM_SQL_KEPT + 2; i++)
        cam_sql_done(out[i]);
    cr_assert_eq(n_statements(), CAM_SQL_KEPT);
    for (int i = 0; i < 3 * CAM_SQL_KEPT; i++) {
        snprintf(sql, sizeof sql, "SELECT %d", 1000 + i);
        OK(cam_sql_int(sqlite, -1, &n, sql, ""));
        cr_assert_eq(n, 1000 + i);
    }
    cr_assert_eq(n_statements(), CAM_SQL_KEPT);
}

Test(sql, a_changed_schema_or_a_failed_run_leaves_it_usable) {
    int64_t n = 0;
    OK(cam_sql_run(sqlite, "INSERT INTO t VALUES (?, ?)", "nt", 7, "x"));
    OK(cam_sql_int(sqlite, -1, &n, "SELECT n FROM t", ""));
    OK(cam_sql_script(sqlite, "DROP TABLE t"));
    cr_assert_eq(cam_sql_int(sqlite, -1, &n, "SELECT n FROM t", ""), CAM_ERR_INTERNAL);
    OK(cam_sql_script(sqlite, "CREATE TABLE t (other TEXT, n INTEGER UNIQUE)"));
    OK(cam_sql_run(sqlite, "INSERT INTO t VALUES (?, ?)", "tn", "x", 9));
    cr_assert_neq(cam_sql_run(sqlite, "INSERT INTO t VALUES (?, ?)", "tn", "y", 9), CAM_OK);
    OK(cam_sql_run(sqlite, "INSERT INTO t VALUES (?, ?)", "tn", "y", 10));
    OK(cam_sql_int(sqlite, -1, &n, "SELECT n FROM t", ""));
    cr_assert_eq(n, 9);
    OK(cam_sql_script(sqlite, "DROP TABLE t")); /* no statement holds it */
}
