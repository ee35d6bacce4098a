#include "support/fault_io.h"

#include "base/fs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fault_plan plan = {.at = -1};
static struct fault_tally tally;
static unsigned turn;
static struct fault_log *recording; /* NULL: nothing is recorded */
static int last_code;               /* what SQLite asks for after a failure */

void fault_io_begin(const struct fault_plan *wanted) {
    plan = *wanted;
    tally = (struct fault_tally){0};
    turn = 0;
}

struct fault_tally fault_io_end(void) {
    plan = (struct fault_plan){.at = -1};
    return tally;
}

/* 1 with errno set if this operation is to fail. */
static int fails(enum fault_door door, enum fault_op op) {
    int failed = 0;
    pthread_mutex_lock(&mutex);
    if ((plan.doors & door) && (plan.ops & op)) {
        long number = tally.n_counted++;
        failed = plan.at >= 0 && number >= plan.at && number < plan.at + plan.n;
        tally.n_failed += failed;
    }
    int code = plan.code;
    if (failed && door == FAULT_SQLITE)
        last_code = code;
    pthread_mutex_unlock(&mutex);
    if (failed)
        errno = code;
    return failed;
}

/* How much of N bytes goes through at once: 0 means interrupted. */
static size_t piece_of(size_t n) {
    if (!plan.pieces)
        return n;
    pthread_mutex_lock(&mutex);
    unsigned now = turn++;
    pthread_mutex_unlock(&mutex);
    if (now % 3 == 0)
        return 0;
    return n > 1 ? n / 2 + 1 : n;
}

/* ---- recording ---- */

int fault_name_find(const struct fault_name *names, size_t n, const char *path) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i].path, path) == 0)
            return names[i].node;
    return -1;
}

static void name_set(struct fault_log *log, const char *path, int node) {
    for (size_t i = 0; i < log->n_names; i++)
        if (strcmp(log->names[i].path, path) == 0) {
            log->names[i].node = node;
            return;
        }
    log->names = realloc(log->names, (log->n_names + 1) * sizeof *log->names);
    log->names[log->n_names++] = (struct fault_name){strdup(path), node};
}

static void name_remove(struct fault_log *log, const char *path) {
    for (size_t i = 0; i < log->n_names; i++)
        if (strcmp(log->names[i].path, path) == 0) {
            free(log->names[i].path);
            log->names[i] = log->names[--log->n_names];
            return;
        }
}

static int file_add(struct fault_log *log, const char *path) {
    log->files = realloc(log->files, (log->n_files + 1) * sizeof *log->files);
    log->files[log->n_files] = (struct fault_file){.path = path ? strdup(path) : NULL};
    return (int)log->n_files++;
}

static struct fault_step *step_add(enum fault_door door, enum fault_op op, int node) {
    struct fault_log *log = recording;
    if (log->n_steps == log->capacity) {
        log->capacity = log->capacity ? 2 * log->capacity : 256;
        log->steps = realloc(log->steps, log->capacity * sizeof *log->steps);
    }
    struct fault_step *s = &log->steps[log->n_steps++];
    *s = (struct fault_step){.op = op, .door = door, .node = node};
    return s;
}

static int is_recorded(const char *path) {
    size_t n = recording ? strlen(recording->root) : 0, m = strlen(path);
    return recording && strncmp(path, recording->root, n) == 0 && path[n] == '/' &&
           !(m > 4 && strcmp(path + m - 4, "-shm") == 0);
}

/* PATH was opened for writing; EXISTED before. */
static void note_open(enum fault_door door, const char *path, int existed, int truncated) {
    pthread_mutex_lock(&mutex);
    if (is_recorded(path)) {
        int node = fault_name_find(recording->names, recording->n_names, path);
        if (node < 0 && !existed) {
            node = file_add(recording, NULL);
            name_set(recording, path, node);
            step_add(door, FAULT_OPEN, node)->path = strdup(path);
        } else if (truncated) {
            step_add(door, FAULT_TRUNCATE, node);
        }
    }
    pthread_mutex_unlock(&mutex);
}

static void note_write(enum fault_door door, const char *path, int64_t offset, const void *bytes,
                       size_t n) {
    pthread_mutex_lock(&mutex);
    if (path && is_recorded(path)) {
        int node = fault_name_find(recording->names, recording->n_names, path);
        cr_assert(node >= 0, "%s is written and has no name", path);
        struct fault_step *s = step_add(door, FAULT_WRITE, node);
        s->offset = offset;
        s->n_bytes = n;
        s->bytes = malloc(n + 1);
        memcpy(s->bytes, bytes, n);
    }
    pthread_mutex_unlock(&mutex);
}

static void note_node(enum fault_door door, enum fault_op op, const char *path, int64_t size) {
    pthread_mutex_lock(&mutex);
    if (path && is_recorded(path))
        step_add(door, op, fault_name_find(recording->names, recording->n_names, path))->offset =
            size;
    pthread_mutex_unlock(&mutex);
}

static void note_rename(const char *from, const char *to) {
    pthread_mutex_lock(&mutex);
    if (is_recorded(from)) {
        int node = fault_name_find(recording->names, recording->n_names, from);
        struct fault_step *s = step_add(FAULT_STORE, FAULT_RENAME, node);
        s->path = strdup(from);
        s->to = strdup(to);
        name_remove(recording, from);
        name_set(recording, to, node);
    }
    pthread_mutex_unlock(&mutex);
}

static void note_unlink(enum fault_door door, const char *path) {
    pthread_mutex_lock(&mutex);
    if (is_recorded(path)) {
        int node = fault_name_find(recording->names, recording->n_names, path);
        step_add(door, FAULT_UNLINK, node)->path = strdup(path);
        name_remove(recording, path);
    }
    pthread_mutex_unlock(&mutex);
}

static void note_sync_dir(enum fault_door door, const char *path) {
    pthread_mutex_lock(&mutex);
    if (recording && strncmp(path, recording->root, strlen(recording->root)) == 0)
        step_add(door, FAULT_SYNC_DIR, -1)->to = strdup(path);
    pthread_mutex_unlock(&mutex);
}

static int take_file(const char *path, const struct stat *info, int flag, struct FTW *at) {
    (void)at;
    if (flag != FTW_F || !is_recorded(path))
        return 0;
    int node = file_add(recording, path);
    struct fault_file *f = &recording->files[node];
    f->n_bytes = (size_t)info->st_size;
    f->bytes = malloc(f->n_bytes + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && read(fd, f->bytes, f->n_bytes) == (ssize_t)f->n_bytes, "%s", path);
    close(fd);
    name_set(recording, path, node);
    return 0;
}

void fault_io_record(struct fault_log *log, const char *root) {
    *log = (struct fault_log){0};
    snprintf(log->root, sizeof log->root, "%s", root);
    recording = log;
    cr_assert(nftw(root, take_file, 16, FTW_PHYS) == 0);
}

void fault_io_stop_recording(void) {
    recording = NULL;
}

void fault_log_release(struct fault_log *log) {
    for (size_t i = 0; i < log->n_steps; i++) {
        free(log->steps[i].bytes);
        free(log->steps[i].path);
        free(log->steps[i].to);
    }
    for (size_t i = 0; i < log->n_files; i++) {
        free(log->files[i].path);
        free(log->files[i].bytes);
    }
    for (size_t i = 0; i < log->n_names; i++)
        free(log->names[i].path);
    free(log->steps);
    free(log->files);
    free(log->names);
    *log = (struct fault_log){0};
}

/* ---- the files of the store ---- */

#define MAX_FDS 1024
static char *fd_path[MAX_FDS];
static int64_t fd_offset[MAX_FDS];

static int is_for_writing(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY;
}

static int store_open(void *context, const char *path, int flags, mode_t mode) {
    (void)context;
    if (fails(FAULT_STORE, is_for_writing(flags) ? FAULT_OPEN : FAULT_READ))
        return -1;
    int existed = access(path, F_OK) == 0, fd = open(path, flags, mode);
    if (fd < 0)
        return fd;
    cr_assert(fd < MAX_FDS);
    pthread_mutex_lock(&mutex);
    free(fd_path[fd]);
    fd_path[fd] = is_for_writing(flags) ? strdup(path) : NULL;
    fd_offset[fd] = 0;
    pthread_mutex_unlock(&mutex);
    if (is_for_writing(flags))
        note_open(FAULT_STORE, path, existed, (flags & O_TRUNC) != 0);
    return fd;
}

static ssize_t store_write(void *context, int fd, const void *bytes, size_t n) {
    (void)context;
    size_t piece = piece_of(n);
    if (n > 0 && piece == 0) {
        errno = EINTR;
        return -1;
    }
    if (fails(FAULT_STORE, FAULT_WRITE))
        return -1;
    ssize_t done = write(fd, bytes, piece);
    if (done > 0) {
        note_write(FAULT_STORE, fd_path[fd], fd_offset[fd], bytes, (size_t)done);
        fd_offset[fd] += done;
    }
    return done;
}

static ssize_t store_pread(void *context, int fd, void *bytes, size_t n, int64_t offset) {
    (void)context;
    size_t piece = piece_of(n);
    if (n > 0 && piece == 0) {
        errno = EINTR;
        return -1;
    }
    return fails(FAULT_STORE, FAULT_READ) ? -1 : pread(fd, bytes, piece, (off_t)offset);
}

static int store_fdatasync(void *context, int fd) {
    (void)context;
    if (piece_of(1) == 0) {
        errno = EINTR;
        return -1;
    }
    if (fails(FAULT_STORE, FAULT_SYNC))
        return -1;
    note_node(FAULT_STORE, FAULT_SYNC, fd_path[fd], 0);
    return 0; /* nothing cuts the power of the machine that runs the test */
}

static int store_rename(void *context, const char *from, const char *to) {
    (void)context;
    if (fails(FAULT_STORE, FAULT_RENAME) || rename(from, to) != 0)
        return -1;
    note_rename(from, to);
    return 0;
}

static int store_unlink(void *context, const char *path) {
    (void)context;
    if (fails(FAULT_STORE, FAULT_UNLINK) || unlink(path) != 0)
        return -1;
    note_unlink(FAULT_STORE, path);
    return 0;
}

static int store_sync_dir(void *context, const char *path) {
    (void)context;
    if (piece_of(1) == 0) {
        errno = EINTR;
        return -1;
    }
    if (fails(FAULT_STORE, FAULT_SYNC_DIR))
        return -1;
    note_sync_dir(FAULT_STORE, path);
    return 0;
}

static int store_close(void *context, int fd) {
    (void)context;
    pthread_mutex_lock(&mutex);
    free(fd_path[fd]);
    fd_path[fd] = NULL;
    pthread_mutex_unlock(&mutex);
    return close(fd);
}

static const struct cam_fs store = {
    .open = store_open,
    .write = store_write,
    .pread = store_pread,
    .fdatasync = store_fdatasync,
    .rename = store_rename,
    .unlink = store_unlink,
    .sync_dir = store_sync_dir,
    .close = store_close,
};

/* ---- the files of SQLite: a VFS over the default one ---- */

static sqlite3_vfs *below;

struct shim_file {
    sqlite3_file base;
    char *path; /* NULL for a temporary file */
    /* The file of the VFS below follows. */
};

static sqlite3_file *real_of(sqlite3_file *file) {
    return (sqlite3_file *)(void *)((struct shim_file *)file + 1);
}

static const char *path_of(sqlite3_file *file) {
    return ((struct shim_file *)file)->path;
}

static int shim_close(sqlite3_file *file) {
    int code = real_of(file)->pMethods->xClose(real_of(file));
    free(((struct shim_file *)file)->path);
    return code;
}

static int shim_read(sqlite3_file *file, void *to, int n, sqlite3_int64 offset) {
    if (fails(FAULT_SQLITE, FAULT_READ))
        return SQLITE_IOERR_READ;
    return real_of(file)->pMethods->xRead(real_of(file), to, n, offset);
}

static int shim_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 offset) {
    if (fails(FAULT_SQLITE, FAULT_WRITE))
        return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    int code = real_of(file)->pMethods->xWrite(real_of(file), from, n, offset);
    if (code == SQLITE_OK)
        note_write(FAULT_SQLITE, path_of(file), offset, from, (size_t)n);
    return code;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size) {
    if (fails(FAULT_SQLITE, FAULT_TRUNCATE))
        return SQLITE_IOERR_TRUNCATE;
    int code = real_of(file)->pMethods->xTruncate(real_of(file), size);
    if (code == SQLITE_OK)
        note_node(FAULT_SQLITE, FAULT_TRUNCATE, path_of(file), size);
    return code;
}

static int shim_sync(sqlite3_file *file, int flags) {
    (void)flags;
    if (fails(FAULT_SQLITE, FAULT_SYNC))
        return SQLITE_IOERR_FSYNC;
    note_node(FAULT_SQLITE, FAULT_SYNC, path_of(file), 0);
    return SQLITE_OK;
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size) {
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}
static int shim_lock(sqlite3_file *file, int lock) {
    return real_of(file)->pMethods->xLock(real_of(file), lock);
}
static int shim_unlock(sqlite3_file *file, int lock) {
    return real_of(file)->pMethods->xUnlock(real_of(file), lock);
}
static int shim_reserved(sqlite3_file *file, int *held) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), held);
}
static int shim_control(sqlite3_file *file, int op, void *argument) {
    return real_of(file)->pMethods->xFileControl(real_of(file), op, argument);
}
static int shim_sector(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}
/* No promise about power cuts: SQLite then syncs whatever has to be. */
static int shim_traits(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file)) &
           ~SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}
static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **to) {
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, to);
}
static int shim_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}
static void shim_shm_barrier(sqlite3_file *file) {
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}
static int shim_shm_unmap(sqlite3_file *file, int delete_too) {
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete_too);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_traits,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static int shim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                     int *flags_out) {
    (void)vfs;
    struct shim_file *f = (struct shim_file *)file;
    f->base.pMethods = NULL;
    f->path = NULL;
    int writes = (flags & SQLITE_OPEN_READWRITE) != 0;
    if (path && fails(FAULT_SQLITE, writes ? FAULT_OPEN : FAULT_READ))
        return SQLITE_CANTOPEN;
    int existed = path && access(path, F_OK) == 0;
    int code = below->xOpen(below, path, real_of(file), flags, flags_out);
    if (code != SQLITE_OK)
        return code;
    if (path && writes) {
        f->path = strdup(path);
        note_open(FAULT_SQLITE, path, existed, 0);
    }
    f->base.pMethods = &shim_methods;
    return SQLITE_OK;
}

static int shim_delete(sqlite3_vfs *vfs, const char *path, int sync_dir) {
    (void)vfs;
    if (fails(FAULT_SQLITE, FAULT_UNLINK))
        return SQLITE_IOERR_DELETE;
    int code = below->xDelete(below, path, 0);
    if (code == SQLITE_OK) {
        char folder[1024];
        note_unlink(FAULT_SQLITE, path);
        snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
        if (sync_dir)
            note_sync_dir(FAULT_SQLITE, folder);
    }
    return code;
}

static int shim_error(sqlite3_vfs *vfs, int n, char *text) {
    (void)vfs, (void)n, (void)text;
    return last_code;
}

void fault_io_install(void) {
    static sqlite3_vfs shim;
    if (!below) {
        cr_assert(sqlite3_initialize() == SQLITE_OK);
        below = sqlite3_vfs_find(NULL);
        shim = *below; /* whatever is not said here is done by the one below, with its own data */
        shim.zName = "fault";
        shim.pNext = NULL;
        shim.szOsFile = (int)sizeof(struct shim_file) + below->szOsFile;
        shim.xOpen = shim_open;
        shim.xDelete = shim_delete;
        shim.xGetLastError = shim_error;
    }
    cr_assert(sqlite3_vfs_register(&shim, 1) == SQLITE_OK);
    cam_fs_replace(&store);
}

void fault_io_remove(void) {
    cr_assert(sqlite3_vfs_register(below, 1) == SQLITE_OK);
    cam_fs_replace(NULL);
}
