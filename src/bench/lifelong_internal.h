/* lifelong_internal.h - shared by lifelong.c (which runs, in which process), lifelong_run.c (one
 * run) and lifelong_result.c (its file). */
#ifndef CAM_BENCH_LIFELONG_INTERNAL_H
#define CAM_BENCH_LIFELONG_INTERNAL_H

#include "base/fs.h"
#include "base/hash.h"
#include "bench/lifelong.h"

struct cam_lifelong_run {
    const struct cam_lifelong_plan *plan;
    const struct cam_lifelong_arm *arm;
    int64_t seed;
    int64_t subkeys;              /* to begin with; 0: what the settings say */
    char name[96];                /* "lifelong-s1" */
    char dir[CAM_PATH_BYTES];     /* the workspace */
    char file[CAM_PATH_BYTES];    /* the result */
    char key[CAM_HASH_HEX_BYTES]; /* of everything the result depends on but the binary */
    struct cam_lifelong_result result;
};

/* The settings of a run: the plan's, the benchmark's, the arm's, in this order. */
CAM_MUST_USE enum cam_status cam_lifelong_settings(const struct cam_lifelong_run *run,
                                                   struct cam_settings *settings);

/* Makes or resumes the workspace, walks it to the end and fills run->result. */
CAM_MUST_USE enum cam_status cam_lifelong_run_one(struct cam_lifelong_run *run);

/* The file of a finished run.  load: CAM_ERR_NOINPUT if there is none, CAM_ERR_DATA if it is
 * damaged or its key is another. */
CAM_MUST_USE enum cam_status cam_lifelong_save(const struct cam_lifelong_run *run);
CAM_MUST_USE enum cam_status cam_lifelong_load(struct cam_lifelong_run *run);

#endif
