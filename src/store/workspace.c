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
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct cam_workspace {
    char dir[CAM_PATH_BYTES];
    int lock; /* -1: none */
    struct cam_database *database;
};

static enum cam_status no_workspace(const char *dir) {
    return cam_fail(CAM_ERR_NOINPUT, "no workspace in %s; run: cambium init -C %s", dir, dir);
}

static pid_t read_owner(int fd) {
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? (pid_t)atol(text) : 0;
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
    if (flock(w->lock, LOCK_EX | LOCK_NB) != 0) {
        int code = errno;
        long owner = (long)read_owner(w->lock);
        close(w->lock);
        w->lock = -1;
        if (code != EWOULDBLOCK)
            return cam_fail_errno(CAM_ERR_IO, code, "%s: cannot take the lock", path);
        return cam_fail(CAM_ERR_BUSY,
                        "workspace %s is in use by process %ld; stop it or use another -C", w->dir,
                        owner);
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(w->lock, 0) != 0 || pwrite(w->lock, text, (size_t)n, 0) != n)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot write", path);
    return CAM_OK;
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

static enum cam_status open_parts(struct cam_workspace *w, const char *dir,
                                  enum cam_workspace_mode mode) {
    static const enum cam_database_mode modes[] = {CAM_DATABASE_CREATE, CAM_DATABASE_WRITE,
                                                   CAM_DATABASE_READ};
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
    CAM_TRY(cam_fs_join(path, w->dir, "history.db"));
    if (mode != CAM_WORKSPACE_CREATE && lstat(path, &info) != 0) {
        if (errno == ENOENT)
            return no_workspace(dir);
        return cam_fail_errno(CAM_ERR_PERMISSION, errno, "%s: cannot open", path);
    }
    if (mode != CAM_WORKSPACE_READ)
        CAM_TRY(take_lock(w));
    CAM_TRY(cam_database_open(path, modes[mode], &w->database));
    CAM_TRY(cam_database_call(w->database, read_complete, &complete));
    if (mode == CAM_WORKSPACE_CREATE && complete)
        return cam_fail(CAM_ERR_CANTCREATE, "%s: is a workspace already", dir);
    if (mode != CAM_WORKSPACE_CREATE && !complete)
        return no_workspace(dir);
    return CAM_OK;
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

static enum cam_status finish_init(sqlite3 *sqlite, void *context) {
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
    return cam_sql_run(sqlite, "INSERT OR REPLACE INTO meta VALUES ('complete', ?)", "t", now);
}

enum cam_status cam_workspace_finish_init(struct cam_workspace *workspace,
                                          const struct cam_settings *settings) {
    struct cam_settings copy = *settings;
    return cam_database_write_durable(workspace->database, finish_init, &copy);
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

pid_t cam_workspace_owner(const char *dir) {
    char path[CAM_PATH_BYTES];
    if (cam_fs_join(path, dir, "lock") != CAM_OK)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    pid_t owner = 0;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        owner = read_owner(fd);
    close(fd);
    return owner;
}
