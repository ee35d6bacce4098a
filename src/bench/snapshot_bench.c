#include "bench/snapshot_bench.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"
#include "growth/policy.h"
#include "model/pool.h"
#include "store/history.h"
#include "store/snapshot.h"
#include "store/workspace.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_REGIONS 4096

struct bench {
    const struct cam_snapshot_bench_config *config;
    char dir[CAM_PATH_BYTES];
    struct cam_workspace *workspace;
    struct cam_snapshots *snapshots;
    struct cam_pool pool;
    struct cam_region *regions;
    size_t n_regions;
    unsigned char *touched;
    uint64_t n_draws;
    int64_t step;
};

const char *cam_snapshot_case_name(enum cam_snapshot_case which) {
    static const char *const names[] = {"first", "1 step", "20 steps", "200 steps", "1 %", "100 %"};
    return names[which];
}

static enum cam_status take_region(void *context, const char *name, void *data, size_t n_bytes) {
    struct bench *b = context;
    if (b->n_regions == MAX_REGIONS)
        return cam_fail(CAM_ERR_CONFIG, "more than %d chunks of experts", MAX_REGIONS);
    struct cam_region *region = &b->regions[b->n_regions++];
    *region = (struct cam_region){.data = data, .bytes = n_bytes};
    snprintf(region->name, sizeof region->name, "%s", name);
    return CAM_OK;
}

static enum cam_status open_all(struct bench *b) {
    struct cam_settings settings;
    int n = snprintf(b->dir, sizeof b->dir, "%s/cambium-bench-XXXXXX", b->config->dir);
    if (n < 0 || n >= (int)sizeof b->dir || !mkdtemp(b->dir))
        return cam_fail_errno(CAM_ERR_CANTCREATE, errno, "%.200s: cannot make a folder in it",
                              b->config->dir);
    cam_settings_defaults(&settings);
    CAM_TRY(cam_workspace_open(b->dir, CAM_WORKSPACE_CREATE, &b->workspace));
    CAM_TRY(cam_workspace_finish_init(b->workspace, &settings));
    CAM_TRY(cam_policy_init(cam_workspace_database(b->workspace), "naive"));
    CAM_TRY(cam_snapshots_open(b->dir, NULL, cam_workspace_database(b->workspace), &b->snapshots));
    CAM_TRY(cam_pool_init(&b->pool, 1, 0, 2, b->config->width, b->config->n_experts));
    CAM_TRY(cam_pool_grow(&b->pool, b->config->n_experts, CAM_POOL_RANDOM));
    b->regions = calloc(MAX_REGIONS, sizeof *b->regions);
    b->touched = calloc((size_t)b->config->n_experts, 1);
    if (!b->regions || !b->touched)
        return cam_fail(CAM_ERR_OS, "no memory for a benchmark of %llu experts",
                        (unsigned long long)b->config->n_experts);
    return cam_pool_visit(&b->pool, "block0.peer", take_region, b);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *at) {
    (void)info, (void)flag, (void)at;
    return remove(path);
}

static void close_all(struct bench *b) {
    cam_snapshots_close(b->snapshots);
    cam_workspace_close(b->workspace);
    cam_pool_release(&b->pool);
    free(b->regions);
    free(b->touched);
    if (*b->dir && strstr(b->dir, "XXXXXX") == NULL)
        nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void touch(struct bench *b, uint64_t expert) {
    cam_pool_row(&b->pool, expert)[0] += (cam_real)0.001;
    cam_pool_state(&b->pool, expert)->updates++;
    cam_pool_usage(&b->pool, expert)->picks++;
}

static uint64_t draw(struct bench *b) {
    return cam_random_below(cam_random_at(1, CAM_PURPOSE_BENCH, b->n_draws++, 0),
                            b->config->n_experts);
}

/* PICKS draws with repetition, or (DIFFERENT) so many different rows.  Returns how many rows. */
static uint64_t touch_some(struct bench *b, uint64_t picks, int different) {
    uint64_t n = b->config->n_experts, touched = 0;
    memset(b->touched, 0, (size_t)n);
    for (uint64_t i = 0; different ? touched < picks : i < picks; i++) {
        uint64_t expert = different && picks == n ? i : draw(b);
        if (b->touched[expert])
            continue;
        b->touched[expert] = 1;
        touched++;
        touch(b, expert);
    }
    return touched;
}

static uint64_t touch_for(struct bench *b, enum cam_snapshot_case which) {
    uint64_t n = b->config->n_experts, picks = b->config->picks_per_step;
    switch (which) {
    case CAM_SNAPSHOT_FIRST:
        return n;
    case CAM_SNAPSHOT_STEPS_1:
        return touch_some(b, picks, 0);
    case CAM_SNAPSHOT_STEPS_20:
        return touch_some(b, 20 * picks, 0);
    case CAM_SNAPSHOT_STEPS_200:
        return touch_some(b, 200 * picks, 0);
    case CAM_SNAPSHOT_SHARE_1:
        return touch_some(b, (n + 99) / 100, 1);
    case CAM_SNAPSHOT_SHARE_100:
    case CAM_N_SNAPSHOT_CASES:
        break;
    }
    return touch_some(b, n, 1);
}

static enum cam_status save(struct bench *b, struct cam_snapshot_bench_row *row) {
    struct cam_step_commit step = {.step = ++b->step, .nll_new = NAN, .nll_replay = NAN};
    struct cam_snapshot saved;
    char path[CAM_PATH_BYTES], name[CAM_SNAPSHOT_ID_BYTES + 32];
    struct stat info;
    CAM_TRY(cam_history_commit_step(cam_workspace_database(b->workspace), &step, NULL));
    double from = cam_clock_seconds(), cpu_from = cam_clock_cpu_seconds();
    CAM_TRY(cam_snapshot_save_begin(b->snapshots, CAM_SNAPSHOT_CHECKPOINT, NULL, b->regions,
                                    b->n_regions, &saved));
    row->stall_seconds = cam_clock_seconds() - from;
    row->stall_cpu = cam_clock_cpu_seconds() - cpu_from;
    CAM_TRY(cam_snapshots_settle(b->snapshots));
    row->seconds = cam_clock_seconds() - from;
    snprintf(name, sizeof name, "snapshots/%s.manifest", saved.id);
    CAM_TRY(cam_fs_join(path, b->dir, name));
    if (stat(path, &info) != 0)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s", path);
    row->manifest_bytes = (double)info.st_size;
    row->page_bytes = (double)saved.bytes_unique;
    row->pool_bytes = (double)saved.bytes_total;
    return CAM_OK;
}

enum cam_status cam_snapshot_bench(const struct cam_snapshot_bench_config *config,
                                   struct cam_snapshot_bench_row *rows) {
    struct bench *b = calloc(1, sizeof *b);
    if (!b)
        return cam_fail(CAM_ERR_OS, "no memory for a benchmark");
    b->config = config;
    enum cam_status status = open_all(b);
    for (int i = 0; i < CAM_N_SNAPSHOT_CASES && status == CAM_OK; i++) {
        rows[i] =
            (struct cam_snapshot_bench_row){.touched = touch_for(b, (enum cam_snapshot_case)i)};
        status = save(b, &rows[i]);
    }
    close_all(b);
    free(b);
    return status;
}
