/* snapshot_bench.h - what saving a pool costs: bytes, seconds, and how long training waits.
 *
 * A pool of PEER records with its optimiser state and usage, as the trainer saves it, in a
 * workspace of its own.  Between two checkpoints rows are touched: one number of the row, its
 * update count and its picks, as a training step does.  Rows are drawn uniformly, which spreads
 * them over as many pages as can be: training, which has favourites, touches fewer pages. */
#ifndef CAM_BENCH_SNAPSHOT_BENCH_H
#define CAM_BENCH_SNAPSHOT_BENCH_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct cam_snapshot_bench_config {
    uint64_t n_experts;
    size_t width;            /* reals of each of a record's two parts */
    uint64_t picks_per_step; /* tokens x heads x top-k */
    const char *dir;         /* where the workspace is made, and removed again */
};

enum cam_snapshot_case {
    CAM_SNAPSHOT_FIRST, /* nothing is on disk yet */
    CAM_SNAPSHOT_STEPS_1,
    CAM_SNAPSHOT_STEPS_20,
    CAM_SNAPSHOT_STEPS_200,
    CAM_SNAPSHOT_SHARE_1, /* 1 % of the rows, all different */
    CAM_SNAPSHOT_SHARE_100,
    CAM_N_SNAPSHOT_CASES
};

struct cam_snapshot_bench_row {
    uint64_t touched; /* rows */
    double pool_bytes, page_bytes, manifest_bytes;
    double stall_seconds; /* until the memory may change again */
    double stall_cpu;     /* processor seconds of that: what it takes on a quiet machine */
    double seconds;       /* until the checkpoint counts, durably */
};

const char *cam_snapshot_case_name(enum cam_snapshot_case which);

/* ROWS has CAM_N_SNAPSHOT_CASES entries. */
CAM_MUST_USE enum cam_status cam_snapshot_bench(const struct cam_snapshot_bench_config *config,
                                                struct cam_snapshot_bench_row *rows);

#endif
