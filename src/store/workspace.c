#include "store/workspace.h"

#include "base/fs.h"
#include "store/decide.h"
#include "store/rows.h"
#include "store/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct cam_workspace {
    char dir[CAM_PATH_BYTES];
    int lock; /* -1: none */
    struct cam_database *database;
};

static enum cam_status no_workspace(const char *dir) {
    return cam_fail(CAM_ERR_NOINPUT, "no workspace in %s; run: cambium init -C %s", dir, dir);
}

static enum cam_status stop_at_manifest(void *context, const char *name) {
    size_t n = strlen(name), m = strlen(".manifest");
    (void)context;
    return n > m && strcmp(name + n - m, ".manifest") == 0 ? CAM_STOPPED : CAM_OK;
}

/* A workspace that lost its history.db is no place for an init. */
static enum cam_status no_database(const struct cam_workspace *w, const char *dir) {
    char path[CAM_PATH_BYTES];
    if (cam_fs_join(path, w->dir, "snapshots") == CAM_OK &&
        cam_fs_each_entry(path, stop_at_manifest, NULL) == CAM_STOPPED)
        return cam_fail(CAM_ERR_NOINPUT,
                        "no workspace in %s: history.db is gone, its snapshots are there; put it "
                        "back from a backup, or run: cambium recover -C %s",
                        dir, dir);
    return no_workspace(dir);
}

static pid_t read_owner(int fd) {
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? (pid_t)atol(text) : 0;
}

/* A lock of the whole file that belongs to the open file, not to the process, so that closing some
 * other descriptor of it does not let go.  Unlike flock(2) it can be asked about without being
 * taken. */
static struct flock whole_file(void) {
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* The lock lives as long as the open file, so a killed process never leaves it behind; the process
 * id in it is for the message only. */
static enum cam_status take_lock(struct cam_workspace *w) {
    char path[CAM_PATH_BYTES], text[32];
    CAM_TRY(cam_fs_join(path, w->dir, "lock"));
    w->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (w->lock < 0)
        return cam_fail_errno(errno == EACCES || errno == EROFS || errno == EPERM || errno == ELOOP
                                  ? CAM_ERR_PERMISSION
                                  : CAM_ERR_IO,
                              errno, "%s: cannot take the lock", path);
    struct flock lock = whole_file();
    if (fcntl(w->lock, F_OFD_SETLK, &lock) != 0) {
        int code = errno;
        long owner = (long)read_owner(w->lock);
        close(w->lock);
        w->lock = -1;
        if (code != EAGAIN && code != EACCES)
            return cam_fail_errno(CAM_ERR_IO, code, "%s: cannot take the lock", path);
        return cam_fail(CAM_ERR_BUSY,
                        "workspace %s is in use by process %ld; stop it or use another -C", w->dir,
                        owner);
    }
    /* Written over what is there, which needs no space; on a full disk (where room is to be made
     * with the lock held) the message of the next one goes without the number. */
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if ((pwrite(w->lock, text, (size_t)n, 0) != n || ftruncate(w->lock, n) != 0) &&
        errno != ENOSPC && errno != EDQUOT)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot write", path);
    return CAM_OK;
}

#define RESERVE_BYTES ((off_t)2 << 20)

/* Whole or not there: a part of it would be worth little and never be completed.  Not as long as
 * space is short: who needs it may just have given it up. */
void cam_workspace_keep_reserve(struct cam_workspace *w) {
    char path[CAM_PATH_BYTES];
    struct statvfs info;
    if (w->lock < 0 || statvfs(w->dir, &info) != 0 ||
        info.f_bavail * info.f_frsize < (fsblkcnt_t)RESERVE_BYTES / 2 * 3 ||
        cam_fs_join(path, w->dir, CAM_RESERVE_NAME) != CAM_OK)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return;
    int code = posix_fallocate(fd, 0, RESERVE_BYTES);
    close(fd);
    if (code != 0)
        unlink(path);
}

void cam_workspace_spend_reserve(const char *dir) {
    char path[CAM_PATH_BYTES];
    if (cam_fs_join(path, dir, CAM_RESERVE_NAME) == CAM_OK)
        unlink(path);
}

static enum cam_status make_dirs(const char *dir) {
    static const char *const names[] = {"objects", "snapshots"};
    char path[CAM_PATH_BYTES];
    CAM_TRY(cam_fs_make_dir(dir));
    for (size_t i = 0; i < 2; i++) {
        CAM_TRY(cam_fs_join(path, dir, names[i]));
        CAM_TRY(cam_fs_make_dir(path));
    }
    return CAM_OK;
}

static enum cam_status read_complete(sqlite3 *sqlite, void *context) {
    return cam_sql_int(sqlite, 0, context, "SELECT 1 FROM meta WHERE key = 'complete'", "");
}

static enum cam_status read_steps(sqlite3 *sqlite, void *context) {
    return cam_sql_int(sqlite, 0, context, "SELECT max(step) FROM steps", "");
}

/* What an `init` that was cut short left of the database: all of it is made again.  Its snapshot
 * files have no row then and go when the store of snapshots is opened. */
static enum cam_status remove_database(const char *path) {
    static const char *const endings[] = {"-wal", "-shm", ""};
    char file[CAM_PATH_BYTES + 8];
    for (size_t i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s%s", path, endings[i]);
        if (unlink(file) != 0 && errno != ENOENT)
            return cam_fail_errno(CAM_ERR_CANTCREATE, errno,
                                  "%s: cannot remove what is left of an init that was cut short",
                                  file);
    }
    return CAM_OK;
}

/* With the lock held.  A database that is not marked complete is no workspace; CREATE begins anew.
 */
static enum cam_status create_database(struct cam_workspace *w, const char *path) {
    int64_t complete = 0, steps = 0;
    int existed = access(path, F_OK) == 0;
    CAM_TRY(cam_database_open(path, CAM_DATABASE_CREATE, &w->database));
    CAM_TRY(cam_database_call(w->database, read_complete, &complete));
    if (complete)
        return cam_fail(CAM_ERR_CANTCREATE, "%s: is a workspace already", w->dir);
    if (!existed)
        return CAM_OK;
    CAM_TRY(cam_database_call(w->database, read_steps, &steps));
    if (steps > 0)
        return cam_fail(
            CAM_ERR_CANTCREATE,
            "%s: was trained for %lld steps, so it is not what an init left that was cut "
            "short; move it away, or use another -C",
            path, (long long)steps);
    cam_database_close(w->database);
    w->database = NULL;
    CAM_TRY(remove_database(path));
    return cam_database_open(path, CAM_DATABASE_CREATE, &w->database);
}

static enum cam_status open_parts(struct cam_workspace *w, const char *dir,
                                  enum cam_workspace_mode mode) {
    char path[CAM_PATH_BYTES];
    struct stat info;
    int64_t complete = 0;
    if (mode == CAM_WORKSPACE_CREATE)
        CAM_TRY(make_dirs(dir));
    if (!realpath(dir, w->dir)) {
        if (errno == ENOENT || errno == ENOTDIR)
            return no_workspace(dir);
        return cam_fail_errno(errno == EACCES ? CAM_ERR_PERMISSION : CAM_ERR_IO, errno,
                              "%s: cannot open", dir);
    }
    if (mode == CAM_WORKSPACE_LOCK)
        return take_lock(w);
    CAM_TRY(cam_fs_join(path, w->dir, "history.db"));
    if (mode != CAM_WORKSPACE_CREATE && lstat(path, &info) != 0) {
        if (errno == ENOENT)
            return no_database(w, dir);
        return cam_fail_errno(CAM_ERR_PERMISSION, errno, "%s: cannot open", path);
    }
    if (mode != CAM_WORKSPACE_READ) {
        CAM_TRY(take_lock(w));
        cam_workspace_keep_reserve(w);
    }
    if (mode == CAM_WORKSPACE_CREATE)
        return create_database(w, path);
    CAM_TRY(cam_database_open(
        path, mode == CAM_WORKSPACE_WRITE ? CAM_DATABASE_WRITE : CAM_DATABASE_READ, &w->database));
    CAM_TRY(cam_database_call(w->database, read_complete, &complete));
    return complete ? CAM_OK : no_workspace(dir);
}

enum cam_status cam_workspace_open(const char *dir, enum cam_workspace_mode mode,
                                   struct cam_workspace **workspace) {
    struct cam_workspace *w = calloc(1, sizeof *w);
    if (!w)
        return cam_fail(CAM_ERR_OS, "%s: no memory", dir);
    w->lock = -1;
    enum cam_status status = open_parts(w, dir, mode);
    if (status == CAM_OK)
        *workspace = w;
    else
        cam_workspace_close(w);
    return status;
}

void cam_workspace_close(struct cam_workspace *w) {
    if (!w)
        return;
    cam_database_close(w->database);
    if (w->lock >= 0)
        close(w->lock);
    free(w);
}

static enum cam_status begin_init(sqlite3 *sqlite, void *context) {
    const struct cam_settings *settings = context;
    char now[CAM_RFC3339_BYTES], text[CAM_SETTING_TEXT_BYTES];
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT OR IGNORE INTO lineages (lineage, parent, fork_step, fork_moment,"
                        " fork_position, fork_offset, skip_to, reason, opened_at) VALUES (1, NULL,"
                        " 0, 0, 0, 0, 0, 'init', ?)",
                        "t", cam_rows_now(now)));
    CAM_TRY(cam_sql_script(sqlite,
                           "INSERT OR IGNORE INTO lineage_spans VALUES (1, 9223372036854775807);"
                           "INSERT OR IGNORE INTO trainer VALUES (1, 1, 0, 0, 0, 0, 0, 0)"));
    for (size_t i = 0; i < cam_setting_count(); i++) {
        const char *key = cam_setting_at(i)->key;
        CAM_TRY(cam_settings_get(settings, key, text));
        if (strcmp(key, "policy") != 0) /* cam_policy_init stores it with its hash */
            CAM_TRY(cam_sql_run(sqlite,
                                "INSERT OR REPLACE INTO setting_values VALUES (1, 0, ?, ?, 0)",
                                "tt", key, text));
    }
    return CAM_OK;
}

static enum cam_status finish_init(sqlite3 *sqlite, void *context) {
    char now[CAM_RFC3339_BYTES];
    CAM_TRY(begin_init(sqlite, context));
    return cam_sql_run(sqlite, "INSERT OR REPLACE INTO meta VALUES ('complete', ?)", "t",
                       cam_rows_now(now));
}

enum cam_status cam_workspace_begin_init(struct cam_workspace *workspace,
                                         const struct cam_settings *settings) {
    struct cam_settings copy = *settings;
    CAM_TRY(cam_decide_check_ignore(copy.policy_ignore));
    return cam_database_write_durable(workspace->database, begin_init, &copy);
}

enum cam_status cam_workspace_finish_init(struct cam_workspace *workspace,
                                          const struct cam_settings *settings) {
    struct cam_settings copy = *settings;
    return cam_database_write_durable(workspace->database, finish_init, &copy);
}

struct made_by {
    const char *now;
    char *before;
};

static enum cam_status note_made_by(sqlite3 *sqlite, void *context) {
    struct made_by *m = context;
    sqlite3_stmt *s = NULL;
    char message[2 * CAM_MADE_BY_BYTES + 128];
    int row = 0;
    CAM_TRY(cam_sql_prepare(sqlite, "SELECT value FROM meta WHERE key = 'made_by'", &s));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row)
        snprintf(m->before, CAM_MADE_BY_BYTES, "%s", cam_sql_text(s, 0));
    sqlite3_finalize(s);
    CAM_TRY(status);
    if (strcmp(m->before, m->now) == 0)
        return CAM_OK;
    CAM_TRY(cam_sql_run(sqlite, "INSERT OR REPLACE INTO meta VALUES ('made_by', ?)", "t", m->now));
    snprintf(message, sizeof message, "bits may differ from here on: was [%s], is [%s]", m->before,
             m->now);
    return *m->before ? cam_rows_event(sqlite, "warning", "made_by", message, NULL) : CAM_OK;
}

enum cam_status cam_workspace_made_by(struct cam_workspace *workspace, const char *now,
                                      char before[CAM_MADE_BY_BYTES]) {
    struct made_by m = {.now = now, .before = before};
    *before = '\0';
    return cam_database_write(workspace->database, note_made_by, &m);
}

const char *cam_workspace_dir(const struct cam_workspace *workspace) {
    return workspace->dir;
}

struct cam_database *cam_workspace_database(struct cam_workspace *workspace) {
    return workspace->database;
}

int cam_workspace_writable(const struct cam_workspace *workspace) {
    return workspace->lock >= 0;
}

void cam_workspace_publish(struct cam_workspace *workspace, const char *text) {
    char record[CAM_PUBLISHED_BYTES + 32];
    int n = snprintf(record, sizeof record, "%ld\n%-*.*s\n", (long)getpid(),
                     CAM_PUBLISHED_BYTES - 1, CAM_PUBLISHED_BYTES - 1, text);
    if (workspace->lock >= 0 && n > 0 && pwrite(workspace->lock, record, (size_t)n, 0) < 0)
        return; /* what is there stays; the status says less than it might */
}

pid_t cam_workspace_published(const char *dir, char text[CAM_PUBLISHED_BYTES]) {
    char path[CAM_PATH_BYTES], record[CAM_PUBLISHED_BYTES + 32];
    struct flock lock = whole_file();
    pid_t owner = 0;
    ssize_t n = 0;
    *text = '\0';
    if (cam_fs_join(path, dir, "lock") != CAM_OK)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    lock.l_type = F_RDLCK; /* all that may be asked about with a descriptor for reading */
    if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        n = pread(fd, record, sizeof record - 1, 0);
    close(fd);
    if (n <= 0)
        return 0;
    record[n] = '\0';
    owner = (pid_t)atol(record);
    const char *line = strchr(record, '\n');
    size_t length = line ? strcspn(++line, "\n") : 0;
    if (length >= CAM_PUBLISHED_BYTES || (line && !line[length] && length > 0))
        length = 0; /* not whole */
    while (length > 0 && line[length - 1] == ' ')
        length--;
    if (length > 0)
        memcpy(text, line, length);
    text[length] = '\0';
    return owner;
}

pid_t cam_workspace_owner(const char *dir) {
    char text[CAM_PUBLISHED_BYTES];
    return cam_workspace_published(dir, text);
}
