#include "store/database.h"

#include "base/fs.h"
#include "base/log.h"
#include "store/migrations.h"
#include "store/rows.h"
#include "store/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BUSY_MS            10000
#define WAL_LIMIT_BYTES    (16 << 20) /* a WAL that grew past this is told of, and shrinks */
#define MESSAGE_BYTES      1024
#define CHECKPOINT_EVERY_N 64 /* calls between passive checkpoints that keep the WAL short */
#define BACKUPS_KEPT       3  /* of before migrations */

enum wrap { WRAP_NONE, WRAP_WRITE, WRAP_DURABLE };

/* Lives on the caller's stack while it waits. */
struct request {
    cam_database_fn *fn;
    void *context;
    enum wrap wrap;
    enum cam_status status;
    char message[MESSAGE_BYTES];
    int done;
    struct request *next;
};

struct cam_database {
    char path[CAM_PATH_BYTES];
    enum cam_database_mode mode;
    int immutable;   /* on a read-only file system */
    sqlite3 *sqlite; /* touched by the thread only, once it runs */
    pthread_t thread;
    int started;
    pthread_mutex_t mutex;
    pthread_cond_t work, finished;
    int64_t wal_told;              /* bytes it had when that was told of last; 0: it is short */
    struct request *first, **last; /* under mutex */
    int stop;                      /* under mutex */
};

int cam_database_schema_version(void) {
    return cam_migrations_newest();
}

enum cam_status cam_database_fail(sqlite3 *sqlite, int code, const char *doing) {
    const char *path = sqlite ? sqlite3_db_filename(sqlite, "main") : NULL;
    const char *name = path && *path ? path : "history.db";
    const char *words = sqlite ? sqlite3_errmsg(sqlite) : sqlite3_errstr(code);
    switch (code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return CAM_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return cam_fail(CAM_ERR_BUSY, "%s: %s: held by another program for more than %d s; %s",
                        name, doing, BUSY_MS / 1000, words);
    case SQLITE_FULL:
        return cam_fail(CAM_ERR_FULL, "%s: %s: the disk is full", name, doing);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return cam_fail(CAM_ERR_PERMISSION, "%s: %s: %s", name, doing, words);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return cam_fail(CAM_ERR_DATA,
                        "%s: %s: damaged (%s); keep a copy of the workspace, then put "
                        "history.db back from a backup, try: sqlite3 history.db .recover, or build "
                        "a new one from the snapshots: cambium recover",
                        name, doing, words);
    case SQLITE_IOERR:
        return cam_fail_errno(CAM_ERR_IO, sqlite ? sqlite3_system_errno(sqlite) : EIO, "%s: %s: %s",
                              name, doing, words);
    case SQLITE_CANTOPEN:
        return cam_fail(CAM_ERR_IO, "%s: %s: %s", name, doing, words);
    case SQLITE_NOMEM:
        return cam_fail(CAM_ERR_OS, "%s: %s: no memory", name, doing);
    case SQLITE_TOOBIG:
        return cam_fail(CAM_ERR_DATA, "%s: %s: %s", name, doing, words);
    default:
        return cam_fail(CAM_ERR_INTERNAL, "%s: %s: %s", name, doing, words);
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Makes an empty file first, so that the mode is 0644 whatever the umask: SQLite gives -wal and
 * -shm the mode of the database, and other users are meant to read all three. */
static enum cam_status create_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 && errno == EEXIST)
        return CAM_OK;
    if (fd < 0)
        return cam_fail_errno(errno == EACCES || errno == EROFS || errno == EPERM
                                  ? CAM_ERR_PERMISSION
                                  : CAM_ERR_CANTCREATE,
                              errno, "%s: cannot create", path);
    if (fchmod(fd, 0644) != 0) {
        int code = errno;
        close(fd);
        return cam_fail_errno(CAM_ERR_PERMISSION, code, "%s: cannot set its mode", path);
    }
    close(fd);
    return CAM_OK;
}

static enum cam_status check_file(const char *path, enum cam_database_mode mode) {
    struct stat info;
    if (lstat(path, &info) != 0)
        return cam_fail_errno(errno == EACCES ? CAM_ERR_PERMISSION : CAM_ERR_NOINPUT, errno,
                              "%s: cannot open", path);
    if (!S_ISREG(info.st_mode))
        return cam_fail(CAM_ERR_DATA, "%s: not a regular file (symbolic links are refused)", path);
    if (access(path, mode == CAM_DATABASE_READ ? R_OK : R_OK | W_OK) != 0)
        return cam_fail_errno(CAM_ERR_PERMISSION, errno, "%s: cannot open", path);
    return CAM_OK;
}

static int on_read_only_media(const char *path) {
    struct statvfs info;
    return statvfs(path, &info) == 0 && (info.f_flag & ST_RDONLY);
}

/* SQLite does not know the name of what it could not open. */
static enum cam_status fail_opening(sqlite3 *sqlite, int code, const char *path) {
    char doing[CAM_PATH_BYTES + 16];
    snprintf(doing, sizeof doing, "opening %s", path);
    return cam_database_fail(sqlite, code, doing);
}

/* A read-only connection.  On read-only media the WAL index cannot be made, but nobody can be
 * writing either, so the file may be taken as immutable. */
static enum cam_status open_reader(const char *path, int immutable, sqlite3 **sqlite) {
    sqlite3 *opened = NULL;
    int code;
    if (immutable) {
        /* URI names need %, ? and # escaped. */
        char escaped[3 * CAM_PATH_BYTES + 32] = "file:";
        size_t used = strlen(escaped);
        for (const char *s = path; *s; s++) {
            if (*s == '%' || *s == '?' || *s == '#')
                used += (size_t)snprintf(escaped + used, 4, "%%%02X", (unsigned char)*s);
            else
                escaped[used++] = *s;
        }
        snprintf(escaped + used, sizeof escaped - used, "?immutable=1");
        code = sqlite3_open_v2(escaped, &opened, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
    } else {
        code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READONLY, NULL);
    }
    enum cam_status status = CAM_OK;
    if (code != SQLITE_OK) {
        status = fail_opening(opened, code, path);
    } else {
        sqlite3_busy_timeout(opened, BUSY_MS);
        sqlite3_wal_autocheckpoint(opened, 0);
        status = cam_sql_script(opened, "PRAGMA query_only = 1");
    }
    if (status != CAM_OK)
        sqlite3_close(opened);
    else
        *sqlite = opened;
    return status;
}

static enum cam_status backup_to(sqlite3 *sqlite, const char *to) {
    sqlite3 *copy = NULL;
    int code = sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code == SQLITE_OK) {
        sqlite3_backup *backup = sqlite3_backup_init(copy, "main", sqlite, "main");
        if (backup) {
            sqlite3_backup_step(backup, -1);
            sqlite3_backup_finish(backup);
        }
        code = sqlite3_errcode(copy);
    }
    enum cam_status status = CAM_OK;
    if (code != SQLITE_OK && code != SQLITE_DONE)
        status = cam_database_fail(copy, code, "copying the database");
    sqlite3_close(copy);
    return status;
}

static enum cam_status sync_folder_of(const char *path) {
    char dir[CAM_PATH_BYTES];
    const struct cam_fs *fs = cam_fs_system();
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    if (fs->sync_dir(fs->context, slash ? (*dir ? dir : "/") : ".") != 0)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot sync the folder", dir);
    return CAM_OK;
}

/* Keeps history.db.before-vN beside the file; migration does not start without it. */
static enum cam_status backup_before(sqlite3 *sqlite, const char *path, int version) {
    char to[CAM_PATH_BYTES + 32], temporary[CAM_PATH_BYTES + 40];
    snprintf(to, sizeof to, "%s.before-v%d", path, cam_migrations_newest());
    snprintf(temporary, sizeof temporary, "%s.tmp", to);
    unlink(temporary);
    CAM_TRY(backup_to(sqlite, temporary));
    if (rename(temporary, to) != 0)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot rename", temporary);
    CAM_TRY(sync_folder_of(path));
    for (int v = cam_migrations_newest() - BACKUPS_KEPT; v > 0; v--) {
        snprintf(temporary, sizeof temporary, "%s.before-v%d", path, v);
        unlink(temporary);
    }
    cam_log(CAM_LOG_INFO, "%s: schema version %d is older; copied to %s before migrating", path,
            version, to);
    return CAM_OK;
}

static enum cam_status configure_writer(sqlite3 *sqlite) {
    int on = 1;
    sqlite3_busy_timeout(sqlite, BUSY_MS);
    sqlite3_extended_result_codes(sqlite, 1);
    CAM_TRY(cam_sql_script(sqlite, "PRAGMA journal_mode = WAL"));
    int code = sqlite3_file_control(sqlite, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
    if (code != SQLITE_OK)
        return cam_database_fail(sqlite, code, "making the WAL persistent");
    char pragmas[256];
    snprintf(pragmas, sizeof pragmas,
             "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
             "PRAGMA cache_size = -16384; PRAGMA journal_size_limit = %d;"
             /* SQLite 3.40 counts JSON functions as untrusted in views; policies are held to
              * their list of functions by decide.c's authorizer instead. */
             "PRAGMA trusted_schema = ON",
             WAL_LIMIT_BYTES);
    return cam_sql_script(sqlite, pragmas);
}

static enum cam_status open_writer(struct cam_database *db) {
    int code = sqlite3_open_v2(db->path, &db->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                               NULL); /* one thread at a time has it: no mutex a call */
    if (code != SQLITE_OK)
        return fail_opening(db->sqlite, code, db->path);
    sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    int version = 0;
    CAM_TRY(cam_migrations_check(db->sqlite, db->path, &version));
    CAM_TRY(configure_writer(db->sqlite));
    if (version > 0 && version < cam_migrations_newest())
        CAM_TRY(backup_before(db->sqlite, db->path, version));
    return cam_migrations_run(db->sqlite, version);
}

static enum cam_status open_read_only(struct cam_database *db) {
    int version = 0;
    db->immutable = on_read_only_media(db->path);
    CAM_TRY(open_reader(db->path, db->immutable, &db->sqlite));
    CAM_TRY(cam_migrations_check(db->sqlite, db->path, &version));
    if (version < cam_migrations_newest())
        return cam_fail(CAM_ERR_CONFIG,
                        "%s: schema version %d is older than %d; any writing command of this "
                        "cambium migrates it",
                        db->path, version, cam_migrations_newest());
    return CAM_OK;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static enum cam_status run_wrapped(struct cam_database *db, struct request *r) {
    sqlite3 *sqlite = db->sqlite;
    if (r->wrap == WRAP_NONE)
        return r->fn(sqlite, r->context);
    if (db->mode == CAM_DATABASE_READ)
        return cam_fail(CAM_ERR_PERMISSION, "%s: opened for reading only", db->path);
    if (r->wrap == WRAP_DURABLE)
        CAM_TRY(cam_sql_script(sqlite, "PRAGMA synchronous = FULL"));
    enum cam_status status = cam_sql_script(sqlite, "BEGIN IMMEDIATE");
    if (status == CAM_OK) {
        status = r->fn(sqlite, r->context);
        if (status == CAM_OK)
            status = cam_sql_script(sqlite, "COMMIT");
        if (status != CAM_OK && !sqlite3_get_autocommit(sqlite))
            sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    }
    if (r->wrap == WRAP_DURABLE)
        sqlite3_exec(sqlite, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
    return status;
}

static void serve(struct cam_database *db, struct request *r) {
    enum cam_status status = run_wrapped(db, r);
    if (status != CAM_OK)
        snprintf(r->message, sizeof r->message, "%s", cam_message());
    /* A function that left a transaction open must not pass it on to the next caller. */
    if (!sqlite3_get_autocommit(db->sqlite))
        sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_lock(&db->mutex);
    r->status = status;
    r->done = 1;
    pthread_cond_broadcast(&db->finished);
    pthread_mutex_unlock(&db->mutex);
}

/* On the database thread, between requests. */
static void tell_of_wal(struct cam_database *db, int64_t bytes) {
    char message[300];
    snprintf(message, sizeof message,
             "history.db-wal has grown to %lld MB: some program holds a read transaction open; "
             "end it (an open sqlite3 prompt?), and the file shrinks again",
             (long long)(bytes >> 20));
    db->wal_told = bytes;
    cam_log(CAM_LOG_WARNING, "%s", message);
    enum cam_status status = cam_sql_script(db->sqlite, "BEGIN IMMEDIATE");
    if (status == CAM_OK)
        status = cam_rows_event(db->sqlite, "warning", "wal", message, NULL);
    if (status == CAM_OK)
        status = cam_sql_script(db->sqlite, "COMMIT");
    if (!sqlite3_get_autocommit(db->sqlite))
        sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    if (status != CAM_OK)
        cam_log(CAM_LOG_WARNING, "that could not be recorded: %s", cam_message());
}

/* The WAL starts over when everything in it was copied and nobody reads it; as long as a reader
 * holds on it grows, which is told of once, and again whenever it has doubled. */
static void keep_wal_short(struct cam_database *db) {
    int in_log = 0, copied = 0;
    sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
    int64_t bytes = cam_database_wal_bytes(db);
    if (bytes > WAL_LIMIT_BYTES && in_log == copied) {
        sqlite3_busy_timeout(db->sqlite, 0);
        sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        sqlite3_busy_timeout(db->sqlite, BUSY_MS);
        bytes = cam_database_wal_bytes(db);
    }
    if (bytes <= WAL_LIMIT_BYTES)
        db->wal_told = 0;
    else if (bytes >= 2 * db->wal_told)
        tell_of_wal(db, bytes);
}

static void *database_thread(void *context) {
    struct cam_database *db = context;
    unsigned n_calls = 0;
    if (cam_sql_keep_begin(db->sqlite) != CAM_OK)
        cam_log(CAM_LOG_WARNING, "%s: %s; every statement is compiled anew", db->path,
                cam_message());
    for (;;) {
        pthread_mutex_lock(&db->mutex);
        while (!db->first && !db->stop)
            pthread_cond_wait(&db->work, &db->mutex);
        struct request *r = db->first;
        if (r) {
            db->first = r->next;
            if (!db->first)
                db->last = &db->first;
        }
        pthread_mutex_unlock(&db->mutex);
        if (!r)
            break;
        serve(db, r);
        if (db->mode != CAM_DATABASE_READ && ++n_calls % CHECKPOINT_EVERY_N == 0)
            keep_wal_short(db);
    }
    cam_sql_keep_end();
    return NULL;
}

static enum cam_status submit(struct cam_database *db, cam_database_fn *fn, void *context,
                              enum wrap wrap) {
    struct request r = {.fn = fn, .context = context, .wrap = wrap};
    pthread_mutex_lock(&db->mutex);
    *db->last = &r;
    db->last = &r.next;
    pthread_cond_signal(&db->work);
    while (!r.done)
        pthread_cond_wait(&db->finished, &db->mutex);
    pthread_mutex_unlock(&db->mutex);
    return r.status == CAM_OK ? CAM_OK : cam_fail(r.status, "%s", r.message);
}

enum cam_status cam_database_call(struct cam_database *db, cam_database_fn *fn, void *context) {
    return submit(db, fn, context, WRAP_NONE);
}

enum cam_status cam_database_write(struct cam_database *db, cam_database_fn *fn, void *context) {
    return submit(db, fn, context, WRAP_WRITE);
}

enum cam_status cam_database_write_durable(struct cam_database *db, cam_database_fn *fn,
                                           void *context) {
    return submit(db, fn, context, WRAP_DURABLE);
}

/* Counting its memory costs SQLite a process-wide mutex an allocation, and nobody asks for the sum.
 * Refused, harmlessly, where another part of the program has used SQLite before. */
static void configure_library(void) {
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum cam_status cam_database_open(const char *path, enum cam_database_mode mode,
                                  struct cam_database **database) {
    enum cam_status status = CAM_OK;
    static pthread_once_t configured = PTHREAD_ONCE_INIT;
    pthread_once(&configured, configure_library);
    struct cam_database *db = calloc(1, sizeof *db);
    if (!db)
        return cam_fail(CAM_ERR_OS, "%s: no memory", path);
    db->mode = mode;
    db->last = &db->first;
    snprintf(db->path, sizeof db->path, "%s", path);
    pthread_mutex_init(&db->mutex, NULL);
    pthread_cond_init(&db->work, NULL);
    pthread_cond_init(&db->finished, NULL);
    if (mode == CAM_DATABASE_CREATE)
        CAM_TRY_OUT(create_file(path));
    CAM_TRY_OUT(check_file(path, mode));
    CAM_TRY_OUT(mode == CAM_DATABASE_READ ? open_read_only(db) : open_writer(db));
    int code = pthread_create(&db->thread, NULL, database_thread, db);
    if (code != 0) {
        status = cam_fail_errno(CAM_ERR_OS, code, "%s: cannot start the database thread", path);
        goto out;
    }
    db->started = 1;
    *database = db;
    db = NULL;
out:
    cam_database_close(db);
    return status;
}

void cam_database_close(struct cam_database *db) {
    if (!db)
        return;
    if (db->started) {
        pthread_mutex_lock(&db->mutex);
        db->stop = 1;
        pthread_cond_signal(&db->work);
        pthread_mutex_unlock(&db->mutex);
        pthread_join(db->thread, NULL);
    }
    if (db->sqlite && db->mode != CAM_DATABASE_READ)
        sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    for (sqlite3_stmt *s; db->sqlite && (s = sqlite3_next_stmt(db->sqlite, NULL)) != NULL;)
        sqlite3_finalize(s); /* compiled once and kept (decide.c) */
    sqlite3_close(db->sqlite);
    pthread_cond_destroy(&db->finished);
    pthread_cond_destroy(&db->work);
    pthread_mutex_destroy(&db->mutex);
    free(db);
}

/* ---- beside the thread ------------------------------------------------------------------------
 */

enum cam_status cam_database_read(struct cam_database *db, cam_database_fn *fn, void *context) {
    sqlite3 *sqlite = NULL;
    CAM_TRY(open_reader(db->path, db->immutable, &sqlite));
    enum cam_status status = cam_sql_script(sqlite, "BEGIN");
    if (status == CAM_OK)
        status = fn(sqlite, context);
    sqlite3_close(sqlite);
    return status;
}

int64_t cam_database_wal_bytes(struct cam_database *db) {
    char path[CAM_PATH_BYTES + 8];
    struct stat info;
    snprintf(path, sizeof path, "%s-wal", db->path);
    return stat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

static enum cam_status backup_call(sqlite3 *sqlite, void *to) {
    return backup_to(sqlite, to);
}

enum cam_status cam_database_backup(struct cam_database *db, const char *to) {
    if (access(to, F_OK) == 0)
        return cam_fail(CAM_ERR_CANTCREATE, "%s: exists already", to);
    char path[CAM_PATH_BYTES];
    snprintf(path, sizeof path, "%s", to);
    return submit(db, backup_call, path, WRAP_NONE);
}
