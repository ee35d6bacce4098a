/* fault_io.h - every operation on a file, of the snapshot store and of SQLite, through one counter.
 *
 * While installed, the table of file operations (base/fs.h) and SQLite's default VFS lead through
 * here.  A plan makes the n-th operation fail; a recording keeps all of them, so that fault_disk.h
 * can say what a power cut after the k-th would have left.  Any thread may do the operations; the
 * functions below are for the thread of the test, while nobody else works on files.
 *
 * SQLite's shared memory is left alone: it holds nothing that recovery needs. */
#ifndef CAM_TESTS_FAULT_IO_H
#define CAM_TESTS_FAULT_IO_H

#include <stddef.h>
#include <stdint.h>

enum fault_op {
    FAULT_OPEN = 1, /* of a file that is to be written */
    FAULT_WRITE = 2,
    FAULT_SYNC = 4,
    FAULT_RENAME = 8,
    FAULT_UNLINK = 16,
    FAULT_SYNC_DIR = 32,
    FAULT_TRUNCATE = 64,
    FAULT_READ = 128,
    FAULT_CHANGES = 127, /* all but READ */
    FAULT_ALL = 255,
};

enum fault_door { FAULT_STORE = 1, FAULT_SQLITE = 2 };

struct fault_plan {
    unsigned doors, ops; /* which operations count */
    long at;             /* number of the first that fails, from 0; negative: none */
    long n;              /* how many of those that count fail, one after another */
    int code;            /* errno: EIO, ENOSPC ... */
    int pieces;          /* instead: reads and writes of the store come short or interrupted */
};

void fault_io_install(void);
void fault_io_remove(void);

/* From now on as PLAN says (copied), counting from 0. */
void fault_io_begin(const struct fault_plan *plan);
struct fault_tally {
    long n_counted, n_failed;
};
/* No more faults. */
struct fault_tally fault_io_end(void);

/* One recorded operation.  Files are numbered: a name may move from one to another. */
struct fault_step {
    enum fault_op op;
    int door;
    int node;       /* the file; -1 for SYNC_DIR */
    int64_t offset; /* WRITE; the new size for TRUNCATE */
    size_t n_bytes;
    char *bytes; /* WRITE */
    char *path;  /* OPEN: the name it made, NULL if it was there; RENAME: the old name */
    char *to;    /* RENAME: the new name; SYNC_DIR: the folder */
};
struct fault_log {
    char root[256]; /* absolute; paths in here are absolute, too */
    struct fault_step *steps;
    size_t n_steps, capacity;
    struct fault_file { /* as it was when the recording began, or empty */
        char *path;     /* its name then; NULL if it came later */
        char *bytes;
        size_t n_bytes;
    } * files;
    size_t n_files;
    /* Names now: of files[name[i].node]. */
    struct fault_name {
        char *path;
        int node;
    } * names;
    size_t n_names;
};

/* Records from now on what happens below ROOT; what is there counts as durable. */
void fault_io_record(struct fault_log *log, const char *root);
void fault_io_stop_recording(void);
void fault_log_release(struct fault_log *log);

/* The file called PATH among NAMES, or -1. */
int fault_name_find(const struct fault_name *names, size_t n, const char *path);

#endif
