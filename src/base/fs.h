/* fs.h - files that survive crashes, through a table of operations a test can break.
 *
 * Everything the snapshot store writes goes through struct cam_fs, so a test can fail or "crash" at
 * the n-th operation.  The rule for a durable file: write PATH.tmp, fdatasync,
 * rename to PATH, fsync the folder.  A reader therefore sees the old file, the new one or none,
 * never half of one. */
#ifndef CAM_BASE_FS_H
#define CAM_BASE_FS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CAM_PATH_BYTES 4096

/* Each behaves as the system call of its name (-1 and errno on failure, short counts and EINTR
 * allowed, but not from close). */
struct cam_fs {
    int (*open)(void *context, const char *path, int flags, mode_t mode);
    ssize_t (*write)(void *context, int fd, const void *bytes, size_t n_bytes);
    ssize_t (*pread)(void *context, int fd, void *bytes, size_t n_bytes, int64_t offset);
    int (*fdatasync)(void *context, int fd);
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *path);
    int (*sync_dir)(void *context, const char *path); /* open, fsync, close */
    int (*close)(void *context, int fd);
    void *context;
};

/* The real system calls, or what replaces them.  Never NULL. */
const struct cam_fs *cam_fs_system(void);

/* For tests of whole programs: what cam_fs_system gives from now on (borrowed); NULL: the system
 * calls again.  Call it while nobody holds an older answer. */
void cam_fs_replace(const struct cam_fs *fs);

/* Writes or reads exactly N bytes; repeats after EINTR and short counts.
 * CAM_ERR_IO (CAM_ERR_FULL: no space) names PATH and the reason; reading past the end is
 * CAM_ERR_DATA ("truncated"). */
CAM_MUST_USE enum cam_status cam_fs_write_all(const struct cam_fs *fs, int fd, const char *path,
                                              const void *bytes, size_t n_bytes);
CAM_MUST_USE enum cam_status cam_fs_pread_all(const struct cam_fs *fs, int fd, const char *path,
                                              void *bytes, size_t n_bytes, int64_t offset);

/* A file that appears under PATH only when committed: begin opens PATH.tmp (0644, truncated,
 * symbolic links refused), commit makes it durable under its name, abandon removes it.  Commit and
 * abandon both close; after either the struct may be begun again. */
struct cam_fs_file {
    const struct cam_fs *fs;
    int fd; /* write here with cam_fs_write_all */
    char path[CAM_PATH_BYTES];
    char temporary[CAM_PATH_BYTES];
};
CAM_MUST_USE enum cam_status cam_fs_file_begin(struct cam_fs_file *file, const struct cam_fs *fs,
                                               const char *path);
CAM_MUST_USE enum cam_status cam_fs_file_commit(struct cam_fs_file *file);
void cam_fs_file_abandon(struct cam_fs_file *file);

/* Whole file into memory (caller frees *BYTES, which has a NUL after n_bytes that is not counted).
 * CAM_ERR_NOINPUT if there is none, CAM_ERR_DATA past LIMIT_BYTES or if it is not a regular file.
 */
CAM_MUST_USE enum cam_status cam_fs_read_file(const struct cam_fs *fs, const char *path,
                                              size_t limit_bytes, char **bytes, size_t *n_bytes);

/* Whether N_BYTES can be written to PATH now: writes them, makes them durable and removes PATH again
 * (CAM_ERR_FULL: no space). */
CAM_MUST_USE enum cam_status cam_fs_try_room(const struct cam_fs *fs, const char *path,
                                             size_t n_bytes);

/* mkdir -p for the last component only; an existing folder is success.  CAM_ERR_PERMISSION on a
 * read-only file system or missing rights. */
CAM_MUST_USE enum cam_status cam_fs_make_dir(const char *path);

/* "A/B"; CAM_ERR_DATA if that exceeds CAM_PATH_BYTES. */
CAM_MUST_USE enum cam_status cam_fs_join(char out[CAM_PATH_BYTES], const char *dir,
                                         const char *name);

/* Calls FN for every entry but "." and "..", in byte order of the names (so what follows does not
 * depend on the file system); stops at the first status that is not CAM_OK and returns it. */
typedef enum cam_status cam_fs_entry_fn(void *context, const char *name);
CAM_MUST_USE enum cam_status cam_fs_each_entry(const char *dir, cam_fs_entry_fn *fn, void *context);

#endif
