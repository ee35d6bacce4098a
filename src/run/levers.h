/* levers.h - the numbers by which a policy steers training, between decisions.
 *
 * Each is a setting of the same name; where that is -1 the policy's policy_settings row says, and
 * where there is none the mechanism is off. */
#ifndef CAM_RUN_LEVERS_H
#define CAM_RUN_LEVERS_H

#include "base/settings.h"
#include "base/status.h"
#include "store/database.h"
#include "train/replay.h"

struct cam_levers {
    struct cam_replay_budget replay_budget;
    double replay_weight; /* times that a replayed token counts */
    struct cam_replay_mix replay_mix;
    double replay_half_life; /* documents; 0: none */
    double average_window;   /* steps; 0: no average */
    double average_share;    /* of all steps so far: the most that the window is; 0: no such limit */
    double gate_experts;     /* rows of a pool that a step may move; 0: all */
    double anchor_l2, anchor_ewc; /* strengths of the pull to an anchor; 0: none */
    double anchor_decay;          /* of importance, at an anchor */
    double distill_weight;        /* of the average in targets of replay; 0 without an average */
};

/* CAM_ERR_CONFIG names a lever whose value in the policy is out of bounds. */
CAM_MUST_USE enum cam_status cam_levers_read(struct cam_database *database,
                                             const struct cam_settings *settings,
                                             struct cam_levers *levers);

/* Weight and half-life of SOURCE: the policy's rows replay.weight.NAME and replay.half_life.NAME,
 * else 1 and the lever. */
CAM_MUST_USE enum cam_status cam_levers_source(struct cam_database *database,
                                               const struct cam_levers *levers,
                                               struct cam_replay_source *source);

#endif
