/* decide.h - policy views inside history.db: checked, installed, asked.
 *
 * growth/policy.h is the public face; this is the part that speaks SQL.  Everything runs on the
 * database thread.  What a policy may read is a function of the trained history alone: views whose
 * rows depend on when documents arrive, clock columns, time and random functions are refused, so
 * replay decides the same. */
#ifndef CAM_STORE_DECIDE_H
#define CAM_STORE_DECIDE_H

#include "base/status.h"
#include "store/database.h"
#include "store/history.h"

#include <sqlite3.h>
#include <stdint.h>

#define CAM_DECIDE_INSTRUCTIONS 20000000 /* virtual-machine instructions a view may take */
#define CAM_DECIDE_ROWS         16       /* rows read of each view */

/* Checks TEXT and runs each of its views once, inside a savepoint that is rolled back.
 * CAM_ERR_CONFIG names the statement or view and what is wrong.  Needs an open transaction. */
CAM_MUST_USE enum cam_status cam_decide_check(sqlite3 *sqlite, const char *name, const char *text);

/* Replaces the policy views by those of TEXT, which has been checked. */
CAM_MUST_USE enum cam_status cam_decide_install(sqlite3 *sqlite, const char *text);

/* Installs the policy in force in the living history; none before init. */
CAM_MUST_USE enum cam_status cam_decide_install_current(sqlite3 *sqlite);

/* Puts the stored policy HASH called NAME in force at this state and installs it. */
CAM_MUST_USE enum cam_status cam_decide_use(sqlite3 *sqlite, const struct cam_history_state *state,
                                            const char *name, const char *hash, int64_t position);

/* Whether LIST (policy.ignore) names kinds of decisions alone; CAM_ERR_CONFIG says which there are.
 */
CAM_MUST_USE enum cam_status cam_decide_check_ignore(const char *list);

/* Reads every decide_* view but those whose kind is named in IGNORE (comma-separated; may be "").
 * A view that fails is an event and decides nothing. */
struct cam_decide_row {
    enum cam_decision_kind kind;
    int layer;
    int64_t amount;
    const char *part;              /* of freeze and thaw: one of cam_decide_parts; else "" */
    const char *reason, *evidence; /* borrowed for the call, as part */
};
typedef enum cam_status cam_decide_fn(void *context, const struct cam_decide_row *row);
CAM_MUST_USE enum cam_status cam_decide_ask(sqlite3 *sqlite, const char *ignore, cam_decide_fn *fn,
                                            void *context);

/* What policy TEXT would have decided at each of the newest N_STEPS steps of the living history,
 * oldest first: a list, not another run (what it decided would have changed nothing after).  At
 * each step it sees what a policy in force saw then, recorded decisions included, so the policy
 * that was in force gives the decisions on record.  Checked first like any other; CAM_ERR_CONFIG
 * names the view, and the step at which it failed or worked too long.  Reads only; runs on the
 * calling thread. */
struct cam_decide_tried {
    int64_t step, documents; /* trained by then */
    struct cam_decide_row row;
};
typedef enum cam_status cam_decide_tried_fn(void *context, const struct cam_decide_tried *tried);
CAM_MUST_USE enum cam_status cam_decide_try(struct cam_database *database, const char *name,
                                            const char *text, int64_t n_steps,
                                            cam_decide_tried_fn *fn, void *context);

/* policy_settings; FALLBACK if the key or the view is missing or not a number. */
CAM_MUST_USE enum cam_status cam_decide_number(sqlite3 *sqlite, const char *key, double fallback,
                                               double *value);

/* What can be frozen, the first what is meant where a policy does not say; ends with NULL. */
extern const char *const cam_decide_parts[];

const char *cam_decide_kind_name(enum cam_decision_kind kind); /* "grow", "freeze", ... */

#endif
