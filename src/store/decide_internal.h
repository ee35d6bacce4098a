/* decide_internal.h - shared by decide.c (asking) and decide_check.c (what a policy may contain).
 */
#ifndef CAM_STORE_DECIDE_INTERNAL_H
#define CAM_STORE_DECIDE_INTERNAL_H

#include "store/decide.h"

#include <stddef.h>

/* A kind of decision and the view that asks for it. */
struct cam_decide_kind {
    enum cam_decision_kind kind;
    const char *name, *view; /* view NULL: schedules and people ask, policies cannot */
    int needs_amount;        /* a column amount */
    int needs_layer;         /* a column layer */
    int has_part;            /* an optional column part */
};
extern const struct cam_decide_kind cam_decide_kinds[]; /* ends with a NULL name */

/* The decide_ views there are, or (NAMES) the kinds, in OUT: "a, b and c".  Returns OUT. */
char *cam_decide_list(int names, char *out, size_t out_bytes);

/* Bounds what SQLITE may do for the statements that follow: instructions, length of strings.
 * Returns what cam_decide_lift needs. */
struct cam_decide_bound {
    int64_t left;
};
int cam_decide_limit(sqlite3 *sqlite, struct cam_decide_bound *bound);
void cam_decide_lift(sqlite3 *sqlite, int old_length);
/* What went wrong, in words; borrowed. */
const char *cam_decide_words(sqlite3 *sqlite, int code);
/* Whether CODE is no memory, a full disk, a lost file: ours to report and to try again, never the
 * policy's fault.  A decision left out for it would never be made up for. */
int cam_decide_is_our_trouble(int code);

/* The column called NAME, or -1. */
int cam_decide_column(sqlite3_stmt *statement, const char *name);

/* As cam_decide_ask, of the temporary views: *VIEW and WHY say which failed and how ("" if none).
 */
CAM_MUST_USE enum cam_status cam_decide_ask_tried(sqlite3 *sqlite, cam_decide_fn *fn, void *context,
                                                  const char **view, char *why, size_t why_bytes);
/* Finalises what asking keeps compiled on a connection that is about to close. */
void cam_decide_forget(sqlite3 *sqlite);

/* As cam_decide_check, but the views are made as temporary ones and stay; HIDE is called once they
 * are there, before they are read. */
CAM_MUST_USE enum cam_status cam_decide_check_temporary(sqlite3 *sqlite, const char *name,
                                                        const char *text,
                                                        enum cam_status (*hide)(sqlite3 *sqlite));

/* Whether a policy's views are of that name. */
int cam_decide_is_policy_view(const char *name);

#endif
