/* An older history.db is brought up to date, whatever happens meanwhile. */
#include "store_fixture.h"

#include "base/embed.h"
#include "store/database.h"
#include "store/migrations.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64], path[128];

/* What the first released schema left behind: one feed and one document. */
static void make_old(void) {
    sqlite3 *sqlite;
    char sql[600];
    strcpy(dir, "/tmp/cam-migration-XXXXXX");
    cr_assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/history.db", dir);
    cr_assert(sqlite3_open(path, &sqlite) == SQLITE_OK);
    const struct cam_embedded *first = cam_embedded_find(cam_embedded_schema, "001_history.sql");
    cr_assert(first != NULL);
    cr_assert(sqlite3_exec(sqlite, (const char *)first->data, 0, 0, 0) == SQLITE_OK);
    snprintf(sql, sizeof sql,
             "PRAGMA user_version = 1; PRAGMA application_id = %d;"
             "INSERT INTO journal (kind, journalled_at) VALUES ('document', '');"
             "INSERT INTO feeds (url, url_display, interval_s, position) VALUES"
             " ('https://a:b@example.org/f', '', 60, 1);"
             "INSERT INTO documents (document, source, domain, content_hash, bytes, admission)"
             " VALUES (1, 's', 'd', 'h', 5, 'train')",
             CAM_APPLICATION_ID);
    cr_assert(sqlite3_exec(sqlite, sql, 0, 0, 0) == SQLITE_OK, "%s", sqlite3_errmsg(sqlite));
    sqlite3_close(sqlite);
}

static void remove_all(void) {
    nftw(dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static int64_t number(const char *file, const char *sql) {
    sqlite3 *sqlite;
    sqlite3_stmt *s;
    int64_t value = -1;
    cr_assert(sqlite3_open_v2(file, &sqlite, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    if (sqlite3_prepare_v2(sqlite, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(sqlite);
    return value;
}

static void is_migrated(void) {
    struct cam_database *database;
    OK(cam_database_open(path, CAM_DATABASE_WRITE, &database));
    cam_database_close(database);
    cr_assert(number(path, "PRAGMA user_version") == cam_database_schema_version());
    cr_assert(number(path, "SELECT count(*) FROM v1_documents") == 1 ||
                  number(path, "SELECT count(*) FROM documents") == 1,
              "the document is there");
    cr_assert(number(path, "SELECT count(*) FROM feed_credentials") == 1);
    sqlite3_stmt *s;
    sqlite3 *sqlite;
    cr_assert(sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    cr_assert(sqlite3_prepare_v2(sqlite, "PRAGMA integrity_check", -1, &s, NULL) == SQLITE_OK);
    cr_assert(sqlite3_step(s) == SQLITE_ROW);
    cr_assert(strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0);
    sqlite3_finalize(s);
    sqlite3_close(sqlite);
}

Test(migration, an_older_schema_is_copied_before_it_is_migrated) {
    char copy[160];
    make_old();
    is_migrated();
    snprintf(copy, sizeof copy, "%s.before-v%d", path, cam_database_schema_version());
    cr_assert(number(copy, "PRAGMA user_version") == 1, "the copy is the old one");
    cr_assert(number(copy, "SELECT count(*) FROM documents") == 1);
    remove_all();
}

Test(migration, only_the_newest_copies_are_kept) {
    char copy[160];
    int newest = cam_database_schema_version(), n = 0;
    make_old();
    for (int v = 1; v <= newest; v++) {
        snprintf(copy, sizeof copy, "%s.before-v%d", path, v);
        FILE *file = fopen(copy, "w");
        fputs("an earlier copy", file);
        fclose(file);
    }
    is_migrated();
    for (int v = 1; v <= newest; v++) {
        snprintf(copy, sizeof copy, "%s.before-v%d", path, v);
        n += access(copy, F_OK) == 0;
    }
    cr_assert(n == (newest < 3 ? newest : 3), "%d copies", n);
    remove_all();
}

/* ---- killed after the n-th statement ---- */

static int n_left;

static int count_down(unsigned kind, void *context, void *statement, void *text) {
    (void)kind, (void)context, (void)statement, (void)text;
    if (n_left-- == 0)
        raise(SIGKILL);
    return 0;
}

static int watch(sqlite3 *sqlite, char **message, const struct sqlite3_api_routines *api) {
    (void)message, (void)api;
    return sqlite3_trace_v2(sqlite, SQLITE_TRACE_STMT, count_down, NULL);
}

Test(migration, C13_killed_at_any_statement_it_is_the_old_one_or_the_new_one) {
    int n_killed = 0, n_old = 0;
    for (int n = 0;; n += n < 12 ? 3 : 13) {
        make_old();
        pid_t child = fork();
        if (child == 0) {
            struct cam_database *database;
            n_left = n;
            sqlite3_auto_extension((void (*)(void))watch);
            enum cam_status status = cam_database_open(path, CAM_DATABASE_WRITE, &database);
            _exit(status == CAM_OK ? 0 : 1);
        }
        int status;
        waitpid(child, &status, 0);
        if (WIFEXITED(status)) {
            cr_assert(WEXITSTATUS(status) == 0);
            remove_all();
            break;
        }
        n_killed++;
        int64_t version = number(path, "PRAGMA user_version");
        n_old += version == 1;
        cr_assert(version == 1 || version == cam_database_schema_version(), "version %lld",
                  (long long)version);
        is_migrated();
        remove_all();
    }
    cr_assert(n_killed >= 5 && n_old >= 3, "%d kills, %d of them before the commit", n_killed,
              n_old);
}
