/* The power is cut after each operation of a snapshot and of a prune, and what was not synced is
 * lost, kept, or half of both.  Whatever is left, the workspace opens, its newest state is the old
 * one or the new one, and what was reported as done is done. */
#include "store/store_fixture.h"

#include "base/fs.h"
#include "base/log.h"
#include "support/fault_disk.h"

#include <sys/stat.h>

#define N_REGIONS 3
#define LOSSES    4 /* nothing synced, everything, and two draws */

static struct fixture f;
static struct cam_snapshots *snapshots;
static struct cam_region regions[N_REGIONS];
static struct fault_log recorded;

static void quiet(void *context, enum cam_log_level level, const char *line) {
    (void)context, (void)level, (void)line;
}

static void setup(void) {
    static const size_t sizes[N_REGIONS] = {3 * 4096 + 17, 100, 9 * 4096};
    cam_log_set_sink(quiet, NULL);
    fault_io_install();
    fixture_init(&f);
    for (size_t r = 0; r < N_REGIONS; r++) {
        regions[r].bytes = sizes[r];
        regions[r].data = malloc(sizes[r]);
        snprintf(regions[r].name, sizeof regions[r].name, "region%zu", r);
        for (size_t i = 0; i < sizes[r]; i++)
            ((unsigned char *)regions[r].data)[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    OK(cam_snapshots_open(f.dir, NULL, f.database, &snapshots));
    fixture_documents(&f, "a", 0, 6);
}

static void teardown(void) {
    cam_snapshots_close(snapshots);
    for (size_t r = 0; r < N_REGIONS; r++)
        free(regions[r].data);
    fault_log_release(&recorded);
    fixture_release(&f);
    fault_io_remove();
}

TestSuite(power_cut, .init = setup, .fini = teardown);

static void change(int by) {
    for (size_t r = 0; r < N_REGIONS; r++)
        for (size_t i = 0; i < regions[r].bytes; i += 3000)
            ((unsigned char *)regions[r].data)[i] += (unsigned char)by;
}

static struct cam_snapshot save(enum cam_snapshot_kind kind, const char *tag) {
    struct cam_snapshot out;
    OK(cam_snapshot_save(snapshots, kind, tag, "00ff", regions, N_REGIONS, &out));
    return out;
}

/* What the regions of a loaded snapshot differ from those in memory by: see change. */
struct loaded {
    char *data[N_REGIONS];
    size_t n;
};

static enum cam_status place(void *context, const char *name, size_t bytes, void **to) {
    struct loaded *l = context;
    cr_assert(l->n < N_REGIONS && strcmp(regions[l->n].name, name) == 0);
    cr_assert(bytes == regions[l->n].bytes);
    *to = l->data[l->n++] = malloc(bytes);
    return CAM_OK;
}

static void loads_changed_by(struct cam_snapshots *from, const char *id, int by) {
    struct loaded l = {.n = 0};
    OK(cam_snapshot_load(from, id, place, &l));
    cr_assert(l.n == N_REGIONS);
    for (size_t r = 0; r < N_REGIONS; r++) {
        for (size_t i = 0; i < regions[r].bytes; i++) {
            unsigned char now = ((unsigned char *)regions[r].data)[i];
            if (i % 3000 == 0)
                now = (unsigned char)(now - by);
            cr_assert((unsigned char)l.data[r][i] == now, "%s: byte %zu", regions[r].name, i);
        }
        free(l.data[r]);
    }
}

static void first_problem(void *context, const char *problem) {
    char *text = context;
    if (!*text)
        snprintf(text, 300, "%.299s", problem);
}

/* What is to hold of the workspace that was left after K operations. */
typedef void check_fn(struct fixture *left, struct cam_snapshots *found, size_t k);

static void check_left(size_t k, unsigned loss, check_fn *check) {
    struct fixture left;
    struct cam_snapshots *found;
    char problem[300] = "";
    int64_t n_problems;
    fixture_dir(&left);
    fault_disk_after(&recorded, k, loss, left.dir);
    enum cam_status status = cam_workspace_open(left.dir, CAM_WORKSPACE_WRITE, &left.workspace);
    cr_assert(status == CAM_OK, "after operation %zu, loss %u: %s", k, loss, cam_message());
    left.database = cam_workspace_database(left.workspace);
    status = cam_snapshots_open(left.dir, NULL, left.database, &found);
    cr_assert(status == CAM_OK, "after operation %zu, loss %u: %s", k, loss, cam_message());
    OK(cam_snapshots_verify(found, first_problem, problem, &n_problems));
    cr_assert(n_problems == 0, "after operation %zu, loss %u: %s", k, loss, problem);
    check(&left, found, k);
    cam_snapshots_close(found);
    fixture_release(&left);
}

/* Every operation on a file of the store; of SQLite's, every third and the syncs. */
static void sweep(check_fn *check) {
    size_t n_checked = 0;
    int all = getenv("CAM_FAULT_CASES") != NULL;
    for (size_t k = 0; k <= recorded.n_steps; k++) {
        const struct fault_step *s = k < recorded.n_steps ? &recorded.steps[k] : NULL;
        if (!all && s && s->door == FAULT_SQLITE && s->op != FAULT_SYNC && k % 3)
            continue;
        for (unsigned loss = 0; loss < (all ? LOSSES + 12 : LOSSES); loss++)
            check_left(k, loss, check);
        n_checked++;
    }
    cr_assert(n_checked > 5, "%zu of %zu operations", n_checked, recorded.n_steps);
}

/* ---- a snapshot ---- */

static struct cam_snapshot before, after;
static size_t done_at; /* operations when the save returned */

static void old_or_new(struct fixture *left, struct cam_snapshots *found, size_t k) {
    struct cam_snapshot newest;
    OK(cam_snapshots_latest(found, &newest));
    int is_new = strcmp(newest.id, after.id) == 0;
    cr_assert(is_new || strcmp(newest.id, before.id) == 0);
    cr_assert(is_new || k < done_at, "reported as saved, and gone after operation %zu", k);
    loads_changed_by(found, newest.id, is_new ? 0 : 1);
    cr_assert(fixture_int(left, "SELECT count(*) FROM v1_documents") == 6);
}

Test(power_cut, C03_C04_a_snapshot_is_whole_or_absent_after_every_operation) {
    fixture_step(&f, 1, 1);
    before = save(CAM_SNAPSHOT_KEPT, NULL);
    fault_io_record(&recorded, f.dir);
    change(1);
    fixture_step(&f, 2, 2);
    after = save(CAM_SNAPSHOT_KEPT, "kept");
    done_at = recorded.n_steps;
    fixture_step(&f, 3, 3);
    fault_io_stop_recording();
    sweep(old_or_new);
}

/* ---- a checkpoint, which takes the place of an older one ---- */

Test(power_cut, C04_checkpoints_that_replace_each_other_leave_one_after_every_operation) {
    for (int step = 1; step <= 2; step++) {
        fixture_step(&f, step, step);
        change(1);
        before = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    }
    fault_io_record(&recorded, f.dir);
    change(1);
    fixture_step(&f, 3, 3);
    after = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    done_at = recorded.n_steps;
    fault_io_stop_recording();
    sweep(old_or_new);
}

/* ---- a prune ---- */

static int kept_by; /* see loads_changed_by */

static void newest_and_tagged(struct fixture *left, struct cam_snapshots *found, size_t k) {
    struct cam_snapshot kept;
    int64_t removed;
    (void)k;
    OK(cam_snapshot_find(found, "kept", &kept));
    loads_changed_by(found, kept.id, kept_by);
    OK(cam_snapshot_find(found, "latest", &kept));
    loads_changed_by(found, kept.id, 0);
    OK(cam_snapshots_prune(found, 1, &removed, NULL));
    cr_assert(fixture_int(left, "SELECT count(*) FROM snapshots") == 2);
}

Test(power_cut, C14_prune_loses_nothing_that_is_kept_after_every_operation) {
    for (int step = 1; step <= 4; step++) {
        fixture_step(&f, step, step);
        change(1);
        save(CAM_SNAPSHOT_KEPT, step == 2 ? "kept" : NULL);
    }
    kept_by = 2;
    fault_io_record(&recorded, f.dir);
    OK(cam_snapshots_prune(snapshots, 1, NULL, NULL));
    fault_io_stop_recording();
    sweep(newest_and_tagged);
}

/* ---- documents ---- */

static void journalled_once(struct fixture *left, struct cam_snapshots *found, size_t k) {
    int64_t n = fixture_int(left, "SELECT count(*) FROM v1_documents");
    (void)found;
    cr_assert(n == 6 || n == 11, "a delivery is whole or absent: %lld", (long long)n);
    cr_assert(n == 11 || k < done_at, "reported as journalled, and gone after operation %zu", k);
    fixture_counts_add_up(left);
    fixture_documents(left, "b", 0, 5); /* fetched again: see C02 */
    cr_assert(fixture_int(left, "SELECT count(*) FROM v1_documents") == 11);
}

Test(power_cut, C02_a_delivery_is_whole_or_absent_after_every_operation) {
    fault_io_record(&recorded, f.dir);
    fixture_documents(&f, "b", 0, 5);
    done_at = recorded.n_steps;
    fault_io_stop_recording();
    sweep(journalled_once);
}
