/* Which snapshots go, what that gives back, and that nothing which is needed goes with them. */
#include "store_fixture.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define N_PAGES   64
#define N_SAVED   6
#define ALL_BYTES ((size_t)N_PAGES * 4096)

static struct fixture f;
static struct cam_snapshots *snapshots;
static char *data, *loaded;
static struct cam_region region = {.name = "rows", .bytes = ALL_BYTES};
static char *copies[N_SAVED];
static char ids[N_SAVED][CAM_SNAPSHOT_ID_BYTES];

static void fill_page(int page, int with) {
    memset(data + page * 4096, with & 0x7F, 4096);
    snprintf(data + page * 4096, 40, "page %d as of %d", page, with);
}

/* Each snapshot changes half of the pages, so every pack is shared in part by later ones. */
static void setup(void) {
    fixture_init(&f);
    data = calloc(1, ALL_BYTES);
    loaded = calloc(1, ALL_BYTES);
    region.data = data;
    OK(cam_snapshots_open(f.dir, NULL, f.database, &snapshots));
    fixture_documents(&f, "a", 0, N_SAVED + 2);
    for (int i = 0; i < N_SAVED; i++) {
        struct cam_snapshot saved;
        for (int page = 0; page < N_PAGES; page++)
            if (i == 0 || (page + i) % 2 == 0)
                fill_page(page, 100 * (i + 1) + page);
        fixture_step(&f, i + 1, i + 1);
        OK(cam_snapshot_save(snapshots, CAM_SNAPSHOT_KEPT, i == 1 ? "tagged" : NULL, NULL, &region,
                             1, &saved));
        memcpy(ids[i], saved.id, sizeof saved.id);
        copies[i] = malloc(ALL_BYTES);
        memcpy(copies[i], data, ALL_BYTES);
    }
}

static void teardown(void) {
    cam_snapshots_close(snapshots);
    for (int i = 0; i < N_SAVED; i++)
        free(copies[i]);
    free(data);
    free(loaded);
    fixture_release(&f);
}

TestSuite(prune, .init = setup, .fini = teardown);

static void reopen(void) {
    cam_snapshots_close(snapshots);
    OK(cam_snapshots_open(f.dir, NULL, f.database, &snapshots));
}

static enum cam_status place(void *context, const char *name, size_t bytes, void **to) {
    (void)context, (void)name;
    cr_assert(bytes == ALL_BYTES);
    *to = loaded;
    return CAM_OK;
}

/* LEFT: a letter for each that stays, '-' for the others. */
static void left_are(const char *left) {
    for (int i = 0; i < N_SAVED; i++) {
        struct cam_snapshot found;
        enum cam_status status = cam_snapshot_find(snapshots, ids[i], &found);
        cr_assert(status == (left[i] == '-' ? CAM_ERR_NOINPUT : CAM_OK), "snapshot %d of %s", i,
                  left);
        if (left[i] == '-')
            continue;
        OK(cam_snapshot_load(snapshots, ids[i], place, NULL));
        cr_assert(memcmp(loaded, copies[i], ALL_BYTES) == 0, "snapshot %d", i);
    }
}

static enum cam_status add_size(void *context, const char *name) {
    char path[400];
    struct stat info;
    snprintf(path, sizeof path, "%s/objects/%s", f.dir, name);
    cr_assert(stat(path, &info) == 0);
    *(int64_t *)context += info.st_size;
    return CAM_OK;
}

static int64_t bytes_of_packs(void) {
    char path[300];
    int64_t bytes = 0;
    snprintf(path, sizeof path, "%s/objects", f.dir);
    OK(cam_fs_each_entry(path, add_size, &bytes));
    return bytes;
}

static struct cam_prune_report prune(int64_t keep_last, int64_t max_bytes, int act) {
    struct cam_prune_rule rule = {.keep_last = keep_last, .max_bytes = max_bytes, .act = act};
    struct cam_prune_report report;
    OK(cam_snapshots_prune_by(snapshots, &rule, NULL, NULL, &report));
    return report;
}

Test(prune, tells_what_it_would_do_and_then_does_just_that) {
    int64_t before = bytes_of_packs();
    struct cam_prune_report plan = prune(2, -1, 0), done;
    cr_assert(plan.n_removed == 3 && plan.n_kept == 3 && plan.n_compacted > 0);
    left_are("012345");
    cr_assert(bytes_of_packs() == before, "nothing was changed");
    done = prune(2, -1, 1);
    cr_assert(done.n_removed == 3 && done.n_kept == 3 && done.n_compacted == plan.n_compacted);
    cr_assert(done.freed_bytes == plan.freed_bytes, "freed %lld, said %lld",
              (long long)done.freed_bytes, (long long)plan.freed_bytes);
    left_are("-1--45");
    reopen();
    left_are("-1--45");
    done = prune(2, -1, 1);
    cr_assert(done.n_removed == 0 && done.freed_bytes == 0, "idempotent");
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_events WHERE kind = 'pruned'") == 1);
}

Test(prune, partly_dead_packs_are_compacted) {
    prune(1, -1, 1);
    left_are("-1---5");
    /* All pages of the tagged one and all of the newest, whichever pack they were in. */
    cr_assert(bytes_of_packs() <= (int64_t)(2 * ALL_BYTES) * 4 / 3, "%lld bytes",
              (long long)bytes_of_packs());
    struct cam_snapshot saved;
    fill_page(3, 77);
    fixture_step(&f, N_SAVED + 1, N_SAVED + 1);
    OK(cam_snapshot_save(snapshots, CAM_SNAPSHOT_KEPT, NULL, NULL, &region, 1, &saved));
    cr_assert(saved.bytes_unique == 4096, "moved pages are known at their new place");
    OK(cam_snapshot_check(snapshots, saved.id));
}

static enum cam_status sum_own(void *context, const struct cam_snapshot *s) {
    int64_t *own = context;
    if (strcmp(s->id, ids[3]) == 0)
        *own = s->bytes_own;
    return CAM_OK;
}

Test(prune, what_one_costs_is_what_its_removal_gives_back) {
    int64_t own = 0;
    OK(cam_snapshots_measure(snapshots, 0, sum_own, &own));
    cr_assert(own > 0 && own < (int64_t)ALL_BYTES);
    struct cam_prune_report report = prune(3, -1, 0); /* 0 and 2 go, 1 is tagged */
    cr_assert(report.n_removed == 2);
    report = prune(2, -1, 0);
    cr_assert(report.n_removed == 3 && report.freed_bytes >= own);
}

Test(prune, a_budget_removes_the_oldest_until_it_is_met) {
    struct cam_prune_report report = prune(-1, (int64_t)(ALL_BYTES * 5 / 2) + 40960, 1);
    cr_assert(report.n_removed > 0 && report.n_removed < 4 && !report.over_budget);
    cr_assert(bytes_of_packs() <= (int64_t)(ALL_BYTES * 5 / 2) * 4 / 3);
    report = prune(-1, 1000, 1);
    cr_assert(report.over_budget && report.n_kept == 2, "tagged and newest stay");
    left_are("-1---5");
}

static void flip(const char *name, long at) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", f.dir, name);
    int fd = open(path, O_RDWR);
    char byte;
    cr_assert(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 4;
    cr_assert(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

Test(prune, C14_the_newest_that_verifies_stays_when_newer_ones_are_bad) {
    char name[300];
    snprintf(name, sizeof name, "snapshots/%s.manifest", ids[5]);
    flip(name, 200);
    reopen();
    prune(0, -1, 1);
    reopen();
    struct cam_snapshot start;
    OK(cam_snapshots_latest(snapshots, &start));
    cr_assert(strcmp(start.id, ids[4]) == 0);
    OK(cam_snapshot_load(snapshots, ids[4], place, NULL));
    cr_assert(memcmp(loaded, copies[4], ALL_BYTES) == 0);
}

Test(prune, what_a_running_checkpoint_needs_stays) {
    struct cam_snapshot saved;
    fill_page(9, 5);
    fixture_step(&f, N_SAVED + 1, N_SAVED + 1);
    OK(cam_snapshot_save(snapshots, CAM_SNAPSHOT_CHECKPOINT, NULL, NULL, &region, 1, &saved));
    prune(0, -1, 1);
    reopen();
    OK(cam_snapshot_load(snapshots, saved.id, place, NULL));
    cr_assert(memcmp(loaded, data, ALL_BYTES) == 0);
}

/* ---- the n-th operation fails, and all after it ---- */

static struct cam_fs broken;
static int left;

static int fails_now(void) {
    if (left-- > 0)
        return 0;
    errno = EIO;
    return 1;
}
static int b_open(void *c, const char *path, int flags, mode_t mode) {
    return fails_now() ? -1 : cam_fs_system()->open(c, path, flags, mode);
}
static ssize_t b_write(void *c, int fd, const void *bytes, size_t n) {
    return fails_now() ? -1 : cam_fs_system()->write(c, fd, bytes, n);
}
static int b_fdatasync(void *c, int fd) {
    return fails_now() ? -1 : cam_fs_system()->fdatasync(c, fd);
}
static int b_rename(void *c, const char *from, const char *to) {
    return fails_now() ? -1 : cam_fs_system()->rename(c, from, to);
}
static int b_unlink(void *c, const char *path) {
    return fails_now() ? -1 : cam_fs_system()->unlink(c, path);
}

Test(prune, C14_killed_at_any_operation_it_loses_nothing_and_ends_the_same) {
    struct cam_prune_rule rule = {.keep_last = 2, .max_bytes = -1, .act = 1};
    int n_failed = 0;
    broken = *cam_fs_system();
    broken.open = b_open, broken.write = b_write, broken.fdatasync = b_fdatasync;
    broken.rename = b_rename, broken.unlink = b_unlink;
    for (int n = 0, done = 0; !done; n++) {
        cam_snapshots_close(snapshots);
        left = 1 << 30;
        OK(cam_snapshots_open(f.dir, &broken, f.database, &snapshots));
        left = n;
        enum cam_status status = cam_snapshots_prune_by(snapshots, &rule, NULL, NULL, NULL);
        done = left > 0;
        cr_assert(!done || status == CAM_OK);
        n_failed += !done;
        left = 1 << 30;
        reopen();
        struct cam_snapshot found;
        left_are(cam_snapshot_find(snapshots, ids[0], &found) == CAM_OK ? "012345" : "-1--45");
        OK(cam_snapshots_latest(snapshots, &found));
        cr_assert(strcmp(found.id, ids[5]) == 0);
    }
    cr_assert(n_failed >= 15, "%d operations were failed", n_failed);
    left_are("-1--45");
    cr_assert(bytes_of_packs() <= (int64_t)(3 * ALL_BYTES) * 4 / 3);
}
