#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int system_open(void *context, const char *path, int flags, mode_t mode) {
    (void)context;
    return open(path, flags, mode);
}

static ssize_t system_write(void *context, int fd, const void *bytes, size_t n_bytes) {
    (void)context;
    return write(fd, bytes, n_bytes);
}

static ssize_t system_pread(void *context, int fd, void *bytes, size_t n_bytes, int64_t offset) {
    (void)context;
    return pread(fd, bytes, n_bytes, (off_t)offset);
}

static int system_fdatasync(void *context, int fd) {
    (void)context;
    return fdatasync(fd);
}

static int system_rename(void *context, const char *from, const char *to) {
    (void)context;
    return rename(from, to);
}

static int system_unlink(void *context, const char *path) {
    (void)context;
    return unlink(path);
}

static int system_close(void *context, int fd) {
    (void)context;
    return close(fd);
}

static int system_sync_dir(void *context, const char *path) {
    (void)context;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = fsync(fd), saved = errno;
    close(fd);
    errno = saved;
    return result;
}

static const struct cam_fs *replaced;

void cam_fs_replace(const struct cam_fs *fs) {
    replaced = fs;
}

const struct cam_fs *cam_fs_system(void) {
    static const struct cam_fs fs = {
        .open = system_open,
        .write = system_write,
        .pread = system_pread,
        .fdatasync = system_fdatasync,
        .rename = system_rename,
        .unlink = system_unlink,
        .sync_dir = system_sync_dir,
        .close = system_close,
    };
    return replaced ? replaced : &fs;
}

/* Which status an errno of a file operation deserves. */
static enum cam_status status_of(int code) {
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return CAM_ERR_NOINPUT;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
        return CAM_ERR_PERMISSION;
    default:
        return CAM_ERR_IO;
    }
}

/* A file system in user space or on a network may be interrupted anywhere. */
static int open_again(const struct cam_fs *fs, const char *path, int flags) {
    int fd;
    do
        fd = fs->open(fs->context, path, flags, 0644);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int sync_again(const struct cam_fs *fs, int fd) {
    int result;
    do
        result = fs->fdatasync(fs->context, fd);
    while (result != 0 && errno == EINTR);
    return result;
}

static int sync_dir_again(const struct cam_fs *fs, const char *path) {
    int result;
    do
        result = fs->sync_dir(fs->context, path);
    while (result != 0 && errno == EINTR);
    return result;
}

enum cam_status cam_fs_write_all(const struct cam_fs *fs, int fd, const char *path,
                                 const void *bytes, size_t n_bytes) {
    const char *at = bytes;
    while (n_bytes > 0) {
        ssize_t n = fs->write(fs->context, fd, at, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return cam_fail_errno(CAM_ERR_IO, n < 0 ? errno : EIO, "%s: cannot write", path);
        at += n;
        n_bytes -= (size_t)n;
    }
    return CAM_OK;
}

enum cam_status cam_fs_pread_all(const struct cam_fs *fs, int fd, const char *path, void *bytes,
                                 size_t n_bytes, int64_t offset) {
    char *at = bytes;
    while (n_bytes > 0) {
        ssize_t n = fs->pread(fs->context, fd, at, n_bytes, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot read", path);
        if (n == 0)
            return cam_fail(CAM_ERR_DATA, "%s: truncated: %zu bytes missing at offset %lld", path,
                            n_bytes, (long long)offset);
        at += n;
        offset += n;
        n_bytes -= (size_t)n;
    }
    return CAM_OK;
}

enum cam_status cam_fs_join(char out[CAM_PATH_BYTES], const char *dir, const char *name) {
    int n = snprintf(out, CAM_PATH_BYTES, "%s/%s", dir, name);
    if (n < 0 || n >= CAM_PATH_BYTES)
        return cam_fail(CAM_ERR_DATA, "%.80s.../%.80s: the path exceeds %d bytes", dir, name,
                        CAM_PATH_BYTES - 1);
    return CAM_OK;
}

enum cam_status cam_fs_file_begin(struct cam_fs_file *file, const struct cam_fs *fs,
                                  const char *path) {
    char temporary[CAM_PATH_BYTES];
    int n = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (n < 0 || n >= (int)sizeof temporary)
        return cam_fail(CAM_ERR_DATA, "%.80s...: the path exceeds %d bytes", path,
                        CAM_PATH_BYTES - 5);
    int fd = open_again(fs, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return cam_fail_errno(status_of(errno), errno, "%s: cannot create", temporary);
    file->fs = fs;
    file->fd = fd;
    memcpy(file->temporary, temporary, sizeof temporary);
    snprintf(file->path, sizeof file->path, "%s", path);
    return CAM_OK;
}

enum cam_status cam_fs_file_commit(struct cam_fs_file *file) {
    const struct cam_fs *fs = file->fs;
    const char *doing = "sync";
    int failed = sync_again(fs, file->fd) != 0;
    int code = errno;
    /* close(2) may report a write error of its own (network file systems). */
    if (fs->close(fs->context, file->fd) != 0 && !failed)
        failed = 1, code = errno, doing = "close";
    file->fd = -1;
    if (!failed && fs->rename(fs->context, file->temporary, file->path) != 0)
        failed = 1, code = errno, doing = "rename";
    if (failed) {
        fs->unlink(fs->context, file->temporary);
        return cam_fail_errno(CAM_ERR_IO, code, "%s: cannot %s", file->temporary, doing);
    }
    char dir[CAM_PATH_BYTES];
    snprintf(dir, sizeof dir, "%s", file->path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    /* The name may or may not survive a power cut now; the caller must not count on it. */
    if (sync_dir_again(fs, slash ? (dir[0] ? dir : "/") : ".") != 0)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot sync the folder", dir);
    return CAM_OK;
}

void cam_fs_file_abandon(struct cam_fs_file *file) {
    if (file->fd < 0)
        return;
    file->fs->close(file->fs->context, file->fd);
    file->fs->unlink(file->fs->context, file->temporary);
    file->fd = -1;
}

enum cam_status cam_fs_read_file(const struct cam_fs *fs, const char *path, size_t limit_bytes,
                                 char **bytes, size_t *n_bytes) {
    enum cam_status status = CAM_OK;
    char *data = NULL;
    struct stat info;
    int fd = open_again(fs, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cam_fail_errno(status_of(errno), errno, "%s: cannot open", path);
    if (fstat(fd, &info) != 0) {
        status = cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot stat", path);
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        status = cam_fail(CAM_ERR_DATA, "%s: not a regular file", path);
        goto out;
    }
    if ((uint64_t)info.st_size > limit_bytes) {
        status = cam_fail(CAM_ERR_DATA, "%s: %lld bytes exceed the limit of %zu", path,
                          (long long)info.st_size, limit_bytes);
        goto out;
    }
    size_t size = (size_t)info.st_size;
    data = malloc(size + 1);
    if (!data) {
        status = cam_fail(CAM_ERR_OS, "%s: no memory for %zu bytes", path, size);
        goto out;
    }
    CAM_TRY_OUT(cam_fs_pread_all(fs, fd, path, data, size, 0));
    data[size] = '\0';
    *bytes = data;
    *n_bytes = size;
    data = NULL;
out:
    free(data);
    fs->close(fs->context, fd);
    return status;
}

enum cam_status cam_fs_try_room(const struct cam_fs *fs, const char *path, size_t n_bytes) {
    static const char zeros[1 << 16];
    enum cam_status status = CAM_OK;
    int fd = open_again(fs, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return cam_fail_errno(status_of(errno), errno, "%s: cannot create", path);
    while (status == CAM_OK && n_bytes > 0) {
        size_t n = n_bytes < sizeof zeros ? n_bytes : sizeof zeros;
        status = cam_fs_write_all(fs, fd, path, zeros, n);
        n_bytes -= n;
    }
    if (status == CAM_OK && sync_again(fs, fd) != 0)
        status = cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot sync", path);
    fs->close(fs->context, fd);
    fs->unlink(fs->context, path);
    return status;
}

enum cam_status cam_fs_make_dir(const char *path) {
    struct stat info;
    if (mkdir(path, 0755) == 0)
        return CAM_OK;
    int code = errno;
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return CAM_OK;
        return cam_fail(CAM_ERR_CANTCREATE, "%s: exists and is not a folder", path);
    }
    enum cam_status status = status_of(code);
    return cam_fail_errno(status == CAM_ERR_NOINPUT ? CAM_ERR_CANTCREATE : status, code,
                          "%s: cannot create the folder", path);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum cam_status cam_fs_each_entry(const char *path, cam_fs_entry_fn *fn, void *context) {
    enum cam_status status = CAM_OK;
    char **names = NULL;
    size_t n_names = 0, capacity = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return cam_fail_errno(status_of(errno), errno, "%s: cannot list", path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (n_names == capacity) {
            capacity = capacity ? 2 * capacity : 32;
            char **grown = realloc(names, capacity * sizeof *names);
            if (!grown) {
                status = cam_fail(CAM_ERR_OS, "%s: no memory for its names", path);
                goto out;
            }
            names = grown;
        }
        names[n_names] = strdup(entry->d_name);
        if (!names[n_names]) {
            status = cam_fail(CAM_ERR_OS, "%s: no memory for its names", path);
            goto out;
        }
        n_names++;
    }
    if (errno) {
        status = cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot list", path);
        goto out;
    }
    if (n_names > 1)
        qsort(names, n_names, sizeof *names, by_name);
    for (size_t i = 0; i < n_names; i++)
        CAM_TRY_OUT(fn(context, names[i]));
out:
    for (size_t i = 0; i < n_names; i++)
        free(names[i]);
    free(names);
    closedir(dir);
    return status;
}
