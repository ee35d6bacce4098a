#include "store_fixture.h"

#include "base/embed.h"
#include "store/database.h"

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct fixture f;

static void setup(void) {
    fixture_init(&f);
}

static void teardown(void) {
    fixture_release(&f);
}

TestSuite(database, .init = setup, .fini = teardown);

Test(database, reopens_with_what_was_written) {
    fixture_documents(&f, "a", 0, 3);
    fixture_reopen(&f);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_documents") == 3);
    cr_assert(fixture_int(&f, "PRAGMA user_version") == cam_database_schema_version());
    ROWS(&f, "PRAGMA journal_mode", "wal\n");
    ROWS(&f, "PRAGMA integrity_check", "ok\n");
}

static enum cam_status two_inserts_then_fail(sqlite3 *sqlite, void *context) {
    (void)context;
    cr_assert(sqlite3_exec(sqlite, "INSERT INTO meta VALUES ('x', '1')", 0, 0, 0) == SQLITE_OK);
    return cam_fail(CAM_ERR_DATA, "the message %d travels", 42);
}

Test(database, failed_write_leaves_nothing_and_carries_its_message) {
    FAILS(CAM_ERR_DATA, cam_database_write(f.database, two_inserts_then_fail, NULL));
    SAYS("the message 42 travels");
    cr_assert(fixture_int(&f, "SELECT count(*) FROM meta WHERE key = 'x'") == 0);
}

static enum cam_status leave_transaction_open(sqlite3 *sqlite, void *context) {
    (void)context;
    sqlite3_exec(sqlite, "BEGIN; INSERT INTO meta VALUES ('y', '1')", 0, 0, 0);
    return CAM_OK;
}

Test(database, forgotten_transaction_does_not_reach_the_next_caller) {
    OK(cam_database_call(f.database, leave_transaction_open, NULL));
    fixture_documents(&f, "a", 0, 1);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM meta WHERE key = 'y'") == 0);
}

static enum cam_status count_documents(sqlite3 *sqlite, void *context) {
    struct fixture_query q = {.sql = "SELECT count(*) FROM v1_documents", .out = context};
    return fixture_run_query(sqlite, &q);
}

static enum cam_status try_to_write(sqlite3 *sqlite, void *context) {
    (void)context;
    int code = sqlite3_exec(sqlite, "INSERT INTO meta VALUES ('z', '1')", 0, 0, 0);
    return code == SQLITE_OK ? CAM_OK : cam_database_fail(sqlite, code, "writing");
}

Test(database, reader_sees_rows_and_cannot_write) {
    char *out = calloc(1, FIXTURE_OUT);
    fixture_documents(&f, "a", 0, 2);
    OK(cam_database_read(f.database, count_documents, out));
    cr_assert(strcmp(out, "2\n") == 0);
    free(out);
    FAILS(CAM_ERR_PERMISSION, cam_database_read(f.database, try_to_write, NULL));
}

static void set_version(const char *dir, int version) {
    char path[300], sql[64];
    sqlite3 *sqlite;
    snprintf(path, sizeof path, "%s/history.db", dir);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
    cr_assert(sqlite3_open(path, &sqlite) == SQLITE_OK);
    cr_assert(sqlite3_exec(sqlite, sql, 0, 0, 0) == SQLITE_OK);
    sqlite3_close(sqlite);
}

Test(database, C12_newer_schema_is_refused) {
    fixture_close(&f);
    set_version(f.dir, 999);
    FAILS(CAM_ERR_CONFIG, cam_workspace_open(f.dir, CAM_WORKSPACE_WRITE, &f.workspace));
    SAYS("999");
    FAILS(CAM_ERR_CONFIG, cam_workspace_open(f.dir, CAM_WORKSPACE_READ, &f.workspace));
}

Test(database, C12_corrupt_file_is_refused_with_the_remedy) {
    char path[300];
    fixture_close(&f);
    snprintf(path, sizeof path, "%s/history.db", f.dir);
    FILE *file = fopen(path, "r+");
    fputs("this is not a database at all, not even close to one", file);
    fclose(file);
    FAILS(CAM_ERR_DATA, cam_workspace_open(f.dir, CAM_WORKSPACE_WRITE, &f.workspace));
    SAYS("recover");
}

Test(database, C12_deleted_file_is_no_workspace) {
    char path[300];
    fixture_close(&f);
    snprintf(path, sizeof path, "%s/history.db", f.dir);
    unlink(path);
    FAILS(CAM_ERR_NOINPUT, cam_workspace_open(f.dir, CAM_WORKSPACE_WRITE, &f.workspace));
    SAYS("cambium init");
}

Test(database, database_of_another_program_is_refused) {
    char path[300];
    sqlite3 *sqlite;
    struct cam_database *database = NULL;
    snprintf(path, sizeof path, "%s/other.db", f.dir);
    sqlite3_open(path, &sqlite);
    sqlite3_exec(sqlite, "CREATE TABLE t (x)", 0, 0, 0);
    sqlite3_close(sqlite);
    FAILS(CAM_ERR_DATA, cam_database_open(path, CAM_DATABASE_WRITE, &database));
    SAYS("another program");
}

Test(database, C13_changed_views_are_made_again_at_open) {
    fixture_close(&f);
    char path[300];
    sqlite3 *sqlite;
    snprintf(path, sizeof path, "%s/history.db", f.dir);
    sqlite3_open(path, &sqlite);
    cr_assert(sqlite3_exec(sqlite,
                           "DROP VIEW v1_steps; UPDATE meta SET value = 'old' WHERE key ="
                           " 'surface'",
                           0, 0, 0) == SQLITE_OK);
    sqlite3_close(sqlite);
    fixture_reopen(&f);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_steps") == 0);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM decide_evaluate") == 0, "policy views too");
}

Test(database, C15_second_service_is_told_the_process) {
    struct cam_workspace *second = NULL;
    char pid[32];
    FAILS(CAM_ERR_BUSY, cam_workspace_open(f.dir, CAM_WORKSPACE_WRITE, &second));
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    SAYS(pid);
    cr_assert(cam_workspace_owner(f.dir) == getpid());
    fixture_close(&f);
    cr_assert(cam_workspace_owner(f.dir) == 0);
}

Test(database, C15_reading_goes_on_beside_the_service) {
    struct cam_workspace *reader = NULL;
    struct cam_counts counts;
    fixture_documents(&f, "a", 0, 2);
    OK(cam_workspace_open(f.dir, CAM_WORKSPACE_READ, &reader));
    OK(cam_history_counts(cam_workspace_database(reader), &counts));
    cr_assert(counts.journalled == 2);
    FAILS(CAM_ERR_PERMISSION,
          cam_history_event(cam_workspace_database(reader), "info", "x", "y", NULL));
    cam_workspace_close(reader);
}

Test(database, init_refuses_an_existing_workspace_but_takes_over_a_half_made_one) {
    struct cam_workspace *again = NULL;
    fixture_close(&f);
    FAILS(CAM_ERR_CANTCREATE, cam_workspace_open(f.dir, CAM_WORKSPACE_CREATE, &again));
    struct fixture half;
    fixture_dir(&half);
    OK(cam_workspace_open(half.dir, CAM_WORKSPACE_CREATE, &half.workspace));
    fixture_close(&half);
    FAILS(CAM_ERR_NOINPUT, cam_workspace_open(half.dir, CAM_WORKSPACE_WRITE, &half.workspace));
    OK(cam_workspace_open(half.dir, CAM_WORKSPACE_CREATE, &half.workspace));
    fixture_release(&half);
}

/* Number of documents that the sqlite3 program sees as an unprivileged user, -1 if it fails. */
static int read_as_nobody(const char *dir) {
    int pipes[2], status;
    char path[300], text[64] = "";
    snprintf(path, sizeof path, "%s/history.db", dir);
    cr_assert(pipe(pipes) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct passwd *nobody = getpwnam("nobody");
        if (geteuid() == 0 && (!nobody || setgid(nobody->pw_gid) || setuid(nobody->pw_uid)))
            _exit(9);
        dup2(pipes[1], 1);
        execlp("sqlite3", "sqlite3", "-readonly", path, "SELECT count(*) FROM v1_documents",
               (char *)NULL);
        _exit(8);
    }
    close(pipes[1]);
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    close(pipes[0]);
    waitpid(child, &status, 0);
    return n > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? atoi(text) : -1;
}

Test(database, C17_nobody_reads_while_running_after_stop_and_after_kill) {
    fixture_documents(&f, "a", 0, 3);
    cr_assert(read_as_nobody(f.dir) == 3, "running");
    fixture_close(&f);
    cr_assert(read_as_nobody(f.dir) == 3, "stopped");
    pid_t child = fork();
    if (child == 0) {
        struct fixture g = f;
        g.workspace = NULL;
        if (cam_workspace_open(g.dir, CAM_WORKSPACE_WRITE, &g.workspace) != CAM_OK)
            _exit(1);
        g.database = cam_workspace_database(g.workspace);
        fixture_documents(&g, "b", 0, 2);
        raise(SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_assert(read_as_nobody(f.dir) == 5, "killed");
}

Test(database, C16_wal_shrinks_after_a_long_reader) {
    char path[300];
    sqlite3 *reader;
    sqlite3_stmt *s;
    snprintf(path, sizeof path, "%s/history.db", f.dir);
    cr_assert(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    sqlite3_exec(reader, "BEGIN", 0, 0, 0);
    sqlite3_prepare_v2(reader, "SELECT count(*) FROM journal", -1, &s, NULL);
    sqlite3_step(s);
    for (int i = 0; i < 20; i++)
        fixture_documents(&f, "a", 100 * i, 100);
    cr_assert(cam_database_wal_bytes(f.database) > 0);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM journal") == 2000, "the writer goes on");
    sqlite3_finalize(s);
    sqlite3_close(reader);
    fixture_close(&f);
    snprintf(path, sizeof path, "%s/history.db-wal", f.dir);
    struct stat info;
    cr_assert(stat(path, &info) == 0, "the WAL stays for other readers");
    cr_assert(info.st_size == 0);
}

static enum cam_status write_much(sqlite3 *sqlite, void *context) {
    (void)context;
    return sqlite3_exec(sqlite,
                        "INSERT OR REPLACE INTO meta VALUES ('much', hex(zeroblob(1000000)))", 0, 0,
                        0) == SQLITE_OK
               ? CAM_OK
               : cam_fail(CAM_ERR_IO, "%s", sqlite3_errmsg(sqlite));
}

static enum cam_status do_nothing(sqlite3 *sqlite, void *context) {
    (void)sqlite, (void)context;
    return CAM_OK;
}

static void pass_checkpoints(void) {
    for (int i = 0; i < 130; i++)
        OK(cam_database_call(f.database, do_nothing, NULL));
}

Test(database, C16_a_wal_that_cannot_shrink_is_told_of_and_shrinks_when_it_can) {
    char path[300];
    sqlite3 *reader;
    snprintf(path, sizeof path, "%s/history.db", f.dir);
    cr_assert(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM journal", 0, 0, 0);
    for (int i = 0; i < 10; i++)
        OK(cam_database_write(f.database, write_much, NULL));
    pass_checkpoints();
    cr_assert(cam_database_wal_bytes(f.database) > 16 << 20);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_events WHERE kind = 'wal'") == 1,
              "told once");
    sqlite3_exec(reader, "COMMIT", 0, 0, 0);
    sqlite3_close(reader);
    pass_checkpoints();
    cr_assert(cam_database_wal_bytes(f.database) < 16 << 20, "%lld bytes",
              (long long)cam_database_wal_bytes(f.database));
}

Test(database, C18_another_writer_is_waited_for) {
    char path[300];
    sqlite3 *other;
    snprintf(path, sizeof path, "%s/history.db", f.dir);
    pid_t child = fork();
    if (child == 0) {
        if (sqlite3_open(path, &other) != SQLITE_OK)
            _exit(1);
        sqlite3_busy_timeout(other, 5000);
        for (int i = 0; i < 20; i++) {
            sqlite3_exec(other, "BEGIN IMMEDIATE", 0, 0, 0);
            usleep(5000);
            sqlite3_exec(other, "COMMIT", 0, 0, 0);
        }
        _exit(0);
    }
    for (int i = 0; i < 20; i++)
        fixture_documents(&f, "a", i, 1);
    int status;
    waitpid(child, &status, 0);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM documents") == 20);
}

Test(database, C23_workspace_that_is_a_link_works_and_a_linked_database_does_not) {
    char link_path[300], path[300], real[300];
    fixture_close(&f);
    snprintf(link_path, sizeof link_path, "%s-link", f.dir);
    cr_assert(symlink(f.dir, link_path) == 0);
    OK(cam_workspace_open(link_path, CAM_WORKSPACE_WRITE, &f.workspace));
    fixture_close(&f);
    unlink(link_path);
    snprintf(path, sizeof path, "%s/history.db", f.dir);
    snprintf(real, sizeof real, "%s/real.db", f.dir);
    rename(path, real);
    cr_assert(symlink(real, path) == 0);
    FAILS(CAM_ERR_DATA, cam_workspace_open(f.dir, CAM_WORKSPACE_WRITE, &f.workspace));
    SAYS("symbolic");
}

Test(database, backup_is_a_whole_database) {
    char path[300];
    struct cam_database *copy;
    fixture_documents(&f, "a", 0, 3);
    snprintf(path, sizeof path, "%s/copy.db", f.dir);
    OK(cam_database_backup(f.database, path));
    FAILS(CAM_ERR_CANTCREATE, cam_database_backup(f.database, path));
    OK(cam_database_open(path, CAM_DATABASE_WRITE, &copy));
    struct cam_counts counts;
    OK(cam_history_counts(copy, &counts));
    cr_assert(counts.journalled == 3);
    cam_database_close(copy);
}
