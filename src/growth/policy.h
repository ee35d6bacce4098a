/* policy.h - a policy is a query: files of CREATE VIEW statements that decide.
 *
 * To add one: write policies/<name>.sql with `policy_settings(key, value)` and any of the decide_*
 * views that schema/README.md tables; it travels in the binary.  `policy use FILE` takes one from
 * disk.  Before use it is checked: only CREATE VIEW, only v1_ views and pure functions, no clock
 * columns, bounded work. */
#ifndef CAM_GROWTH_POLICY_H
#define CAM_GROWTH_POLICY_H

#include "base/status.h"
#include "store/database.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_POLICY_NAME_BYTES 64

/* Checks policy TEXT against DATABASE without changing it.  CAM_ERR_CONFIG names the statement. */
CAM_MUST_USE enum cam_status cam_policy_check(struct cam_database *database, const char *name,
                                              const char *text);

/* Journals a change to NAME_OR_FILE: a bundled policy's name, one stored before, or a file (its
 * name without folder and .sql).  Checked first; a bad one changes nothing.  In force when the
 * trainer calls cam_history_control_done for *POSITION (may be NULL). */
CAM_MUST_USE enum cam_status cam_policy_use(struct cam_database *database, const char *name_or_file,
                                            int64_t *position);

/* The two halves of that, for a caller who reads the file and another who uses it: whether
 * NAME_OR_FILE is a path (it has a "/" or ends with ".sql"), the name and text of such a file
 * (caller frees *TEXT), and the use of a text under a NAME. */
int cam_policy_is_file(const char *name_or_file);
CAM_MUST_USE enum cam_status cam_policy_read_file(const char *path,
                                                  char name[CAM_POLICY_NAME_BYTES], char **text);
CAM_MUST_USE enum cam_status cam_policy_use_text(struct cam_database *database, const char *name,
                                                 const char *text, int64_t *position);

/* `init`: stores the bundled policy NAME and puts it in force at once. */
CAM_MUST_USE enum cam_status cam_policy_init(struct cam_database *database, const char *name);

/* What NAME_OR_FILE would have decided at each of the newest N_STEPS steps of the past, oldest first.
 * A list, not another run: at each step it sees the history as it was.  Checked and bounded like a
 * policy in force; a bad one fails with CAM_ERR_CONFIG and changes nothing, as a good one. */
struct cam_policy_decision {
    int64_t step, documents; /* documents trained by then */
    const char *kind, *part; /* borrowed for the call, as the texts below */
    int layer;
    int64_t amount;
    const char *reason, *evidence;
};
typedef enum cam_status cam_policy_decision_fn(void *context,
                                               const struct cam_policy_decision *decision);
CAM_MUST_USE enum cam_status cam_policy_try(struct cam_database *database,
                                            const char *name_or_file, int64_t n_steps,
                                            cam_policy_decision_fn *fn, void *context);

/* Value of KEY in the policy's policy_settings, FALLBACK if it has none. */
CAM_MUST_USE enum cam_status cam_policy_number(struct cam_database *database, const char *key,
                                               double fallback, double *value);

/* Text of the policy called NAME: stored or bundled (caller frees).  CAM_ERR_NOINPUT lists them. */
CAM_MUST_USE enum cam_status cam_policy_text(struct cam_database *database, const char *name,
                                             char **text);

struct cam_policy {
    const char *name, *hash; /* borrowed for the call */
    const char *summary;     /* first comment line */
    int bundled, in_force;
};
typedef enum cam_status cam_policy_fn(void *context, const struct cam_policy *policy);
CAM_MUST_USE enum cam_status cam_policies_each(struct cam_database *database, cam_policy_fn *fn,
                                               void *context);

#endif
