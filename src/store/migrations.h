/* migrations.h - brings a database to the schema this binary was built with. */
#ifndef CAM_STORE_MIGRATIONS_H
#define CAM_STORE_MIGRATIONS_H

#include "base/status.h"

#include <sqlite3.h>

#define CAM_APPLICATION_ID 0x43414D42 /* "CAMB" in the database header */

/* Highest number of the embedded NNN_*.sql files. */
int cam_migrations_newest(void);

/* CAM_ERR_CONFIG if SQLITE was written by a newer version, CAM_ERR_DATA if it is another program's
 * database; *VERSION is its user_version (0: empty). */
CAM_MUST_USE enum cam_status cam_migrations_check(sqlite3 *sqlite, const char *path, int *version);

/* One transaction: drops all views, runs the missing scripts in order, creates the views of
 * views.sql and of the policy in force.  A crash leaves the old version or the new one.
 * Does nothing when version and views are current. */
CAM_MUST_USE enum cam_status cam_migrations_run(sqlite3 *sqlite, int version);

#endif
