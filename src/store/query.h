/* query.h - reads the public v1_ views for people: reports and commands.
 *
 * Runs on the calling thread with a read-only connection of its own (cam_database_read), so it
 * never waits for the trainer and sees one consistent state. */
#ifndef CAM_STORE_QUERY_H
#define CAM_STORE_QUERY_H

#include "base/status.h"
#include "store/database.h"

#include <stddef.h>
#include <stdint.h>

enum cam_value_kind { CAM_VALUE_NULL, CAM_VALUE_INT, CAM_VALUE_REAL, CAM_VALUE_TEXT };

/* Borrowed for the call.  `text` is what SQLite prints for the value, "" for NULL. */
struct cam_value {
    const char *name; /* of the column */
    enum cam_value_kind kind;
    int64_t whole; /* INT; REAL rounded towards zero */
    double real;   /* INT and REAL; NaN for NULL */
    const char *text;
};

typedef enum cam_status cam_query_fn(void *context, const struct cam_value *row, size_t n);

/* Runs the SELECT in SQL with PARAMETERS (text, bound to ?1, ?2 ...; ended by NULL; may be NULL)
 * and calls FN for every row; a status other than CAM_OK ends it and is returned. */
CAM_MUST_USE enum cam_status cam_query(struct cam_database *database, const char *sql,
                                       const char *const *parameters, cam_query_fn *fn,
                                       void *context);

/* First column of the first row; FALLBACK if there is none or it is NULL. */
CAM_MUST_USE enum cam_status cam_query_int(struct cam_database *database, const char *sql,
                                           const char *const *parameters, int64_t fallback,
                                           int64_t *value);

/* The same as text, cut to N_BYTES with its NUL; "" if there is none. */
CAM_MUST_USE enum cam_status cam_query_text(struct cam_database *database, const char *sql,
                                            const char *const *parameters, char *text,
                                            size_t n_bytes);

/* The same whole, as malloc'd text of the caller's. */
CAM_MUST_USE enum cam_status cam_query_copy(struct cam_database *database, const char *sql,
                                            const char *const *parameters, char **text);

#endif
