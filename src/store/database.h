/* database.h - history.db and the one thread that writes it.
 *
 * One connection both writes and checkpoints (SQLite before 3.51.3 has a WAL-reset race when two
 * connections do), and one thread owns it: callers hand over a function and wait.  All
 * others read through their own read-only connections.  The WAL is persistent, so
 * `sqlite3 -readonly history.db` works for other users while a service runs, is stopped or was
 * killed. */
#ifndef CAM_STORE_DATABASE_H
#define CAM_STORE_DATABASE_H

#include "base/status.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

struct cam_database;

enum cam_database_mode {
    CAM_DATABASE_CREATE, /* make it if there is none */
    CAM_DATABASE_WRITE,  /* must exist; migrates an older schema, after a backup (3 are kept) */
    CAM_DATABASE_READ,   /* must exist; never changes a byte; older schema refused */
};

/* Opens PATH, brings the schema up to date, (re)creates the v1_ views and starts the thread.
 * CAM_ERR_NOINPUT: no such file.  CAM_ERR_DATA: not a database, or corrupt.  CAM_ERR_CONFIG: made
 * by a newer cambium.  CAM_ERR_PERMISSION / CAM_ERR_IO / CAM_ERR_FULL / CAM_ERR_BUSY as their names
 * say. */
CAM_MUST_USE enum cam_status cam_database_open(const char *path, enum cam_database_mode mode,
                                               struct cam_database **database);
void cam_database_close(struct cam_database *database); /* accepts NULL; checkpoints */

/* What runs on the database thread.  It must not call cam_database_* itself. */
typedef enum cam_status cam_database_fn(sqlite3 *sqlite, void *context);

/* Runs FN on the database thread and waits; returns its status with its message as cam_message() of
 * the calling thread.  Callers are served in order of arrival. */
CAM_MUST_USE enum cam_status cam_database_call(struct cam_database *database, cam_database_fn *fn,
                                               void *context);

/* The same inside BEGIN IMMEDIATE ... COMMIT; any status but CAM_OK rolls back.  `write` survives a
 * crash of the program, `write_durable` also a power cut once it has returned. */
CAM_MUST_USE enum cam_status cam_database_write(struct cam_database *database, cam_database_fn *fn,
                                                void *context);
CAM_MUST_USE enum cam_status cam_database_write_durable(struct cam_database *database,
                                                        cam_database_fn *fn, void *context);

/* Runs FN on the calling thread with a read-only connection of its own, inside one read
 * transaction (one consistent state).  For servers and reports: never waits for the trainer. */
CAM_MUST_USE enum cam_status cam_database_read(struct cam_database *database, cam_database_fn *fn,
                                               void *context);

/* Bytes of the write-ahead log now.  Past 16 MB it means that a reader holds a transaction open:
 * that is logged and becomes an event, and once the reader is gone the file shrinks. */
int64_t cam_database_wal_bytes(struct cam_database *database);

/* Turns a result code of SQLITE's last call into a status with SQLite's own words. */
CAM_MUST_USE enum cam_status cam_database_fail(sqlite3 *sqlite, int code, const char *doing);

/* Copies the database to TO (a new file) with SQLite's backup interface. */
CAM_MUST_USE enum cam_status cam_database_backup(struct cam_database *database, const char *to);

/* Newest schema version this binary knows. */
int cam_database_schema_version(void);

#endif
