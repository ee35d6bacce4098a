/* policies.h - the policies table: texts kept for ever, one of them in force.
 *
 * growth/policy.h is what the program calls; this is the part that speaks SQL (checking and asking
 * lives in decide.h). */
#ifndef CAM_STORE_POLICIES_H
#define CAM_STORE_POLICIES_H

#include "base/status.h"
#include "store/database.h"

#include <stdint.h>

#define CAM_POLICY_BYTES 65536 /* longest policy text */

struct cam_stored_policy {
    const char *name, *hash, *text; /* borrowed for the call */
    int in_force;
};
typedef enum cam_status cam_stored_policy_fn(void *context, const struct cam_stored_policy *policy);

/* Checks TEXT; changes nothing.  CAM_ERR_CONFIG names the statement or view. */
CAM_MUST_USE enum cam_status cam_policies_check(struct cam_database *database, const char *name,
                                                const char *text);
/* Checks and stores TEXT.  AT_ONCE: in force now (init); else journalled at *POSITION and in force
 * when the trainer is done with that row. */
CAM_MUST_USE enum cam_status cam_policies_put(struct cam_database *database, const char *name,
                                              const char *text, int at_once, int64_t *position);
/* Newest stored text called NAME (caller frees); *TEXT is NULL if there is none. */
CAM_MUST_USE enum cam_status cam_policies_find(struct cam_database *database, const char *name,
                                               char **text);
CAM_MUST_USE enum cam_status cam_policies_stored(struct cam_database *database,
                                                 cam_stored_policy_fn *fn, void *context);
/* policy_settings of the policy in force. */
CAM_MUST_USE enum cam_status cam_policies_number(struct cam_database *database, const char *key,
                                                 double fallback, double *value);

#endif
