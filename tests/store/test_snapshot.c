#include "store_fixture.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define N_REGIONS 5

static struct fixture f;
static struct cam_snapshots *snapshots;
static struct cam_region regions[N_REGIONS];
static char *copies[N_REGIONS];

static void setup(void) {
    static const size_t sizes[N_REGIONS] = {10 * 4096, 1, 0, 4096 * 3 + 17, 64 * 4096};
    fixture_init(&f);
    for (size_t r = 0; r < N_REGIONS; r++) {
        regions[r].bytes = sizes[r];
        regions[r].data = malloc(sizes[r] + 1);
        copies[r] = calloc(1, sizes[r] + 1);
        snprintf(regions[r].name, sizeof regions[r].name, "layer%zu.weight", r);
        for (size_t i = 0; i < sizes[r]; i++)
            ((unsigned char *)regions[r].data)[i] =
                (unsigned char)(i * 2654435761u >> 11) ^ (unsigned char)r;
    }
    OK(cam_snapshots_open(f.dir, NULL, f.database, &snapshots));
}

static void teardown(void) {
    cam_snapshots_close(snapshots);
    for (size_t r = 0; r < N_REGIONS; r++) {
        free(regions[r].data);
        free(copies[r]);
    }
    fixture_release(&f);
}

TestSuite(snapshot, .init = setup, .fini = teardown);

static void reopen(void) {
    cam_snapshots_close(snapshots);
    OK(cam_snapshots_open(f.dir, NULL, f.database, &snapshots));
}

static enum cam_status place(void *context, const char *name, size_t bytes, void **to) {
    int *n = context;
    for (size_t r = 0; r < N_REGIONS; r++)
        if (strcmp(regions[r].name, name) == 0) {
            cr_assert(bytes == regions[r].bytes && (int)r == *n, "regions come in order");
            (*n)++;
            *to = copies[r];
            return CAM_OK;
        }
    return cam_fail(CAM_ERR_DATA, "region %s is not known", name);
}

static void loads_as_now(const char *id) {
    int n = 0;
    OK(cam_snapshot_load(snapshots, id, place, &n));
    cr_assert(n == N_REGIONS);
    for (size_t r = 0; r < N_REGIONS; r++)
        cr_assert(memcmp(copies[r], regions[r].data, regions[r].bytes) == 0, "region %zu", r);
}

static struct cam_snapshot save(enum cam_snapshot_kind kind, const char *tag) {
    struct cam_snapshot out;
    OK(cam_snapshot_save(snapshots, kind, tag, "00ff", regions, N_REGIONS, &out));
    return out;
}

static int n_files(const char *folder, char last[300]) {
    char path[300], command[700];
    snprintf(path, sizeof path, "%s/%s", f.dir, folder);
    snprintf(command, sizeof command, "ls %s | tail -1; ls %s | wc -l", path, path);
    FILE *pipe = popen(command, "r");
    char line[300] = "";
    int n = 0;
    if (last)
        *last = '\0';
    while (fgets(line, sizeof line, pipe)) {
        line[strcspn(line, "\n")] = '\0';
        if (last && strchr(line, '.'))
            snprintf(last, 300, "%.20s/%.200s", folder, line);
        n = atoi(line);
    }
    pclose(pipe);
    return n;
}

Test(snapshot, round_trip) {
    struct cam_snapshot one = save(CAM_SNAPSHOT_KEPT, "first");
    cr_assert(one.bytes_total == 10 * 4096 + 1 + 4096 * 3 + 17 + 64 * 4096);
    cr_assert(one.bytes_unique + one.bytes_shared == one.bytes_total);
    loads_as_now(one.id);
    reopen();
    loads_as_now(one.id);
    struct cam_snapshot found;
    char prefix[9];
    snprintf(prefix, sizeof prefix, "%.8s", one.id);
    const char *const names[] = {"first", "latest", prefix, one.id};
    for (size_t i = 0; i < 4; i++) {
        OK(cam_snapshot_find(snapshots, names[i], &found));
        cr_assert(strcmp(found.id, one.id) == 0 && found.living);
    }
    FAILS(CAM_ERR_NOINPUT, cam_snapshot_find(snapshots, "second", &found));
    FAILS(CAM_ERR_DATA, cam_snapshot_save(snapshots, CAM_SNAPSHOT_KEPT, "first", "00ff", regions,
                                          N_REGIONS, NULL));
    SAYS("in use");
}

Test(snapshot, unchanged_pages_are_shared) {
    struct cam_snapshot one = save(CAM_SNAPSHOT_KEPT, NULL);
    fixture_documents(&f, "a", 0, 3);
    fixture_step(&f, 1, 1);
    struct cam_snapshot two = save(CAM_SNAPSHOT_KEPT, NULL);
    cr_assert(two.bytes_unique == 0 && strcmp(one.id, two.id) != 0);
    cr_assert(strcmp(two.parent, one.id) == 0);
    cr_assert(n_files("objects", NULL) == 1);
    ((char *)regions[4].data)[20 * 4096 + 5]++;
    fixture_step(&f, 2, 2);
    reopen(); /* what is known comes from the manifests */
    struct cam_snapshot three = save(CAM_SNAPSHOT_KEPT, NULL);
    cr_assert(three.bytes_unique == 4096, "%lld", (long long)three.bytes_unique);
    loads_as_now(three.id);
    ((char *)regions[4].data)[20 * 4096 + 5]--;
    loads_as_now(one.id);
    loads_as_now(two.id);
}

Test(snapshot, saving_the_same_state_twice_is_one_snapshot) {
    struct cam_snapshot one = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    struct cam_snapshot two = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    cr_assert(strcmp(one.id, two.id) == 0);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM snapshots") == 1);
    loads_as_now(one.id);
}

static void change_all(void) {
    for (size_t r = 0; r < N_REGIONS; r++)
        for (size_t i = 0; i < regions[r].bytes; i += 512)
            ((char *)regions[r].data)[i]++;
}

Test(snapshot, two_checkpoints_stay_and_their_packs) {
    struct cam_snapshot last = {0};
    fixture_documents(&f, "a", 0, 8);
    for (int i = 1; i <= 6; i++) {
        fixture_step(&f, i, i);
        change_all();
        last = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    }
    cr_assert(fixture_int(&f, "SELECT count(*) FROM snapshots") == 2);
    cr_assert(n_files("snapshots", NULL) == 2);
    cr_assert(n_files("objects", NULL) <= 3, "%d", n_files("objects", NULL));
    loads_as_now(last.id);
    reopen();
    loads_as_now(last.id);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_snapshots") == 0);
}

Test(snapshot, C14_prune_keeps_what_is_needed) {
    int64_t removed, freed;
    fixture_documents(&f, "a", 0, 8);
    for (int i = 1; i <= 5; i++) {
        fixture_step(&f, i, i);
        change_all();
        save(CAM_SNAPSHOT_KEPT, i == 2 ? "keep" : NULL);
    }
    OK(cam_snapshots_prune(snapshots, 1, &removed, &freed));
    cr_assert(removed == 3 && freed > 0);
    OK(cam_snapshots_prune(snapshots, 1, &removed, &freed));
    cr_assert(removed == 0 && freed == 0, "idempotent");
    struct cam_snapshot found;
    OK(cam_snapshot_find(snapshots, "keep", &found));
    OK(cam_snapshot_check(snapshots, found.id));
    OK(cam_snapshot_find(snapshots, "latest", &found));
    loads_as_now(found.id);
    OK(cam_snapshots_prune(snapshots, 0, &removed, NULL));
    OK(cam_snapshot_find(snapshots, "latest", &found));
    loads_as_now(found.id);
}

Test(snapshot, C03_files_nobody_knows_are_reported_and_removed) {
    struct cam_snapshot one = save(CAM_SNAPSHOT_KEPT, NULL);
    static const char *const orphans[] = {"objects/pack-00000000000000000000000000000000.cpk",
                                          "objects/pack-11111111111111111111111111111111.cpk.tmp",
                                          "snapshots/22222222222222222222222222222222.manifest"};
    char path[300];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", f.dir, orphans[i]);
        FILE *file = fopen(path, "w");
        fputs("left behind", file);
        fclose(file);
    }
    snprintf(path, sizeof path, "%s/objects/notes.txt", f.dir);
    fclose(fopen(path, "w"));
    reopen();
    cr_assert(n_files("objects", NULL) == 2, "a file of someone else stays");
    cr_assert(n_files("snapshots", NULL) == 1);
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_events WHERE kind = 'orphan'") == 3);
    loads_as_now(one.id);
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

static int64_t n_problems;

static void note_problem(void *context, const char *text) {
    char *all = context;
    n_problems++;
    snprintf(all + strlen(all), 1000, "%s\n", text);
}

struct other {
    const char *folder, *known;
    char *found;
};

static enum cam_status take_other(void *context, const char *name) {
    struct other *o = context;
    char path[300];
    snprintf(path, sizeof path, "%.20s/%.200s", o->folder, name);
    if (strcmp(path, o->known) != 0)
        snprintf(o->found, 300, "%s", path);
    return CAM_OK;
}

/* The file of FOLDER that is not KNOWN. */
static void other_file(const char *folder, const char *known, char found[300]) {
    char path[300];
    struct other o = {folder, known, found};
    snprintf(path, sizeof path, "%s/%s", f.dir, folder);
    OK(cam_fs_each_entry(path, take_other, &o));
}

Test(snapshot, C09_a_flipped_bit_in_each_region_is_named_and_the_start_falls_back) {
    char pack[300], old_pack[300], problems[20000] = "";
    int64_t n;
    fixture_documents(&f, "a", 0, 3);
    struct cam_snapshot old = save(CAM_SNAPSHOT_KEPT, NULL);
    n_files("objects", old_pack);
    fixture_step(&f, 1, 1);
    /* A fresh pack that holds every region of the newer snapshot. */
    for (size_t r = 0; r < N_REGIONS; r++)
        for (size_t i = 0; i < regions[r].bytes; i += 4096)
            ((char *)regions[r].data)[i] ^= 0x55;
    struct cam_snapshot now = save(CAM_SNAPSHOT_KEPT, NULL);
    other_file("objects", old_pack, pack);
    char *text =
        fixture_rows(&f, "SELECT bytes_unique FROM v1_snapshots ORDER BY step DESC LIMIT 1");
    cr_assert(atoll(text) == now.bytes_total);
    free(text);
    long at = 0;
    for (size_t r = 0; r < N_REGIONS; r++) {
        if (regions[r].bytes == 0)
            continue;
        flip(pack, at + (long)regions[r].bytes / 2);
        enum cam_status status = cam_snapshot_check(snapshots, now.id);
        cr_assert(status == CAM_ERR_DATA);
        SAYS(pack);
        SAYS(regions[r].name);
        *problems = '\0';
        OK(cam_snapshots_verify(snapshots, note_problem, problems, &n));
        cr_assert(n == 1 && strstr(problems, regions[r].name), "%s", problems);
        struct cam_snapshot start;
        OK(cam_snapshots_latest(snapshots, &start));
        cr_assert(strcmp(start.id, old.id) == 0);
        flip(pack, at + (long)regions[r].bytes / 2);
        at += (long)regions[r].bytes;
    }
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_events WHERE kind = 'snapshot_bad'") >= 3);
    OK(cam_snapshots_verify(snapshots, note_problem, problems, &n));
    cr_assert(n == 0);
}

/* The run goes back and comes to the same state again, which has the same id. */
Test(snapshot, C09_a_state_that_did_not_verify_is_written_again_and_shares_nothing_with_it) {
    char before[300], pack[300];
    int64_t discarded;
    struct cam_snapshot found;
    fixture_documents(&f, "a", 0, 3);
    struct cam_snapshot old = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    n_files("objects", before);
    fixture_step(&f, 1, 1);
    ((char *)regions[4].data)[7 * 4096] ^= 1;
    ((char *)regions[4].data)[9 * 4096] ^= 1;
    struct cam_snapshot lost = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    other_file("objects", before, pack);
    flip(pack, 10);
    reopen();
    OK(cam_snapshots_latest(snapshots, &found));
    cr_assert(strcmp(found.id, old.id) == 0);
    OK(cam_history_discard_after(f.database, old.id, &discarded));
    fixture_step(&f, 1, 1);
    struct cam_snapshot again = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    cr_assert(strcmp(again.id, lost.id) == 0 && again.bytes_unique >= 2 * 4096);
    loads_as_now(again.id);
    ((char *)regions[4].data)[11 * 4096] ^= 1;
    fixture_step(&f, 2, 2);
    struct cam_snapshot next = save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    cr_assert(next.bytes_unique == 4096);
    reopen();
    OK(cam_snapshots_latest(snapshots, &found));
    cr_assert(strcmp(found.id, next.id) == 0);
    loads_as_now(next.id);
    OK(cam_snapshot_check(snapshots, again.id));
}

Test(snapshot, C10_manifest_cut_to_any_length_is_rejected) {
    struct cam_snapshot one = save(CAM_SNAPSHOT_KEPT, NULL);
    char path[600];
    struct stat info;
    snprintf(path, sizeof path, "%s/snapshots/%s.manifest", f.dir, one.id);
    cr_assert(stat(path, &info) == 0);
    char *bytes;
    size_t n_bytes;
    OK(cam_fs_read_file(cam_fs_system(), path, 1 << 20, &bytes, &n_bytes));
    for (size_t length = 0; length < n_bytes; length += length < 420 ? 1 : 37) {
        cr_assert(truncate(path, (off_t)length) == 0);
        FAILS(CAM_ERR_DATA, cam_snapshot_check(snapshots, one.id));
        SAYS(one.id);
        FILE *file = fopen(path, "w");
        fwrite(bytes, 1, n_bytes, file);
        fclose(file);
    }
    for (size_t i = 0; i < n_bytes; i += 13) { /* any flipped byte as well */
        char name[300];
        snprintf(name, sizeof name, "snapshots/%s.manifest", one.id);
        flip(name, (long)i);
        FAILS(CAM_ERR_DATA, cam_snapshot_check(snapshots, one.id));
        flip(name, (long)i);
    }
    free(bytes);
    loads_as_now(one.id);
}

Test(snapshot, C10_pack_cut_short_is_rejected) {
    struct cam_snapshot one = save(CAM_SNAPSHOT_KEPT, NULL);
    char name[300], path[600];
    n_files("objects", name);
    snprintf(path, sizeof path, "%s/%s", f.dir, name);
    cr_assert(truncate(path, one.bytes_unique - 1) == 0);
    FAILS(CAM_ERR_DATA, cam_snapshot_check(snapshots, one.id));
    SAYS("layer4.weight");
}

Test(snapshot, C11_all_bad_refuses_to_start_with_instructions) {
    struct cam_snapshot start;
    char name[300];
    FAILS(CAM_ERR_NOINPUT, cam_snapshots_latest(snapshots, &start));
    save(CAM_SNAPSHOT_KEPT, NULL);
    save(CAM_SNAPSHOT_CHECKPOINT, NULL);
    n_files("objects", name);
    flip(name, 0);
    FAILS(CAM_ERR_DATA, cam_snapshots_latest(snapshots, &start));
    SAYS("backup");
    reopen();
    cr_assert(fixture_int(&f, "SELECT count(*) FROM snapshots") == 2, "nothing was changed");
}

Test(snapshot, S06_a_manifest_that_cannot_be_read_costs_no_pack) {
    struct cam_snapshot one = save(CAM_SNAPSHOT_KEPT, NULL);
    char name[300];
    snprintf(name, sizeof name, "snapshots/%s.manifest", one.id);
    flip(name, 100);
    reopen();
    cr_assert(n_files("objects", NULL) == 1, "its pages may still be wanted");
    flip(name, 100);
    reopen();
    loads_as_now(one.id);
}

/* ---- the n-th operation fails
 * ----------------------------------------------------------------------- */

static struct cam_fs broken;
static int left, crashed, short_writes;

/* 1 when this operation is to fail; once "crashed" every later one fails too. */
static int fails_now(void) {
    if (left-- == 0 || (crashed && left < 0)) {
        errno = EIO;
        return 1;
    }
    return 0;
}

static int b_open(void *c, const char *path, int flags, mode_t mode) {
    return fails_now() ? -1 : cam_fs_system()->open(c, path, flags, mode);
}
static ssize_t b_write(void *c, int fd, const void *bytes, size_t n) {
    if (fails_now())
        return -1;
    if (short_writes && n > 1000) {
        static int turn;
        if (turn++ % 3 == 0) {
            errno = EINTR;
            return -1;
        }
        n = 1000;
    }
    return cam_fs_system()->write(c, fd, bytes, n);
}
static ssize_t b_pread(void *c, int fd, void *bytes, size_t n, int64_t at) {
    return cam_fs_system()->pread(c, fd, bytes, short_writes && n > 999 ? 999 : n, at);
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
static int b_sync_dir(void *c, const char *path) {
    return fails_now() ? -1 : cam_fs_system()->sync_dir(c, path);
}
static int b_close(void *c, int fd) {
    return cam_fs_system()->close(c, fd);
}

static void use_broken(void) {
    broken = (struct cam_fs){b_open,   b_write,    b_pread, b_fdatasync, b_rename,
                             b_unlink, b_sync_dir, b_close, NULL};
    left = 1 << 30;
    cam_snapshots_close(snapshots);
    OK(cam_snapshots_open(f.dir, &broken, f.database, &snapshots));
}

static enum cam_status count_one(void *context, const struct cam_snapshot *s) {
    (void)s;
    ++*(int *)context;
    return CAM_OK;
}

static void sweep_failures(int crash) {
    struct cam_snapshot good, out, start;
    int n_failed = 0;
    fixture_documents(&f, "a", 0, 60);
    fixture_step(&f, 1, 1);
    good = save(CAM_SNAPSHOT_KEPT, NULL);
    char *first = malloc(regions[4].bytes);
    memcpy(first, regions[4].data, regions[4].bytes);
    for (int n = 0;; n++) {
        change_all();
        fixture_step(&f, n + 2, n + 2);
        use_broken();
        left = n;
        crashed = crash;
        enum cam_status status =
            cam_snapshot_save(snapshots, CAM_SNAPSHOT_KEPT, NULL, "00ff", regions, N_REGIONS, &out);
        int done = left >= 0;
        left = 1 << 30;
        crashed = 0;
        cr_assert((status == CAM_OK) == done, "operation %d: no false success", n);
        reopen();
        OK(cam_snapshots_latest(snapshots, &start));
        if (done) {
            cr_assert(strcmp(start.id, out.id) == 0);
            loads_as_now(out.id);
            break;
        }
        n_failed++;
        cr_assert(strcmp(start.id, good.id) == 0, "operation %d", n);
        cr_assert(fixture_int(&f, "SELECT count(*) FROM snapshots") == 1);
        int k = 0;
        OK(cam_snapshot_load(snapshots, good.id, place, &k));
        cr_assert(memcmp(copies[4], first, regions[4].bytes) == 0);
        cr_assert(n_files("objects", NULL) == 1, "operation %d leaves nothing", n);
    }
    free(first);
    cr_assert(n_failed >= 8, "%d operations were failed", n_failed);
}

Test(snapshot, C05_nth_operation_fails_and_the_last_good_one_loads) {
    sweep_failures(0);
}

Test(snapshot, C04_crash_at_the_nth_operation_leaves_old_or_new) {
    sweep_failures(1);
}

Test(snapshot, C07_short_reads_and_writes_and_interrupts) {
    use_broken();
    short_writes = 1;
    struct cam_snapshot one = save(CAM_SNAPSHOT_KEPT, NULL);
    loads_as_now(one.id);
    short_writes = 0;
    loads_as_now(one.id);
}

/* ---- saved by another thread
 * ---------------------------------------------------------------------------------------------- */

Test(snapshot, what_is_saved_is_what_was_there_when_the_save_began) {
    struct cam_snapshot out;
    char *then = malloc(regions[4].bytes);
    for (int i = 0; i < 5; i++) {
        change_all();
        memcpy(then, regions[4].data, regions[4].bytes);
        OK(cam_snapshot_save_begin(snapshots, CAM_SNAPSHOT_KEPT, i == 2 ? "third" : NULL, regions,
                                   N_REGIONS, &out));
        change_all(); /* training goes on at once */
        int n = 0;
        OK(cam_snapshot_load(snapshots, out.id, place, &n)); /* waits for the thread */
        cr_assert(memcmp(copies[4], then, regions[4].bytes) == 0);
        OK(cam_snapshots_settle(snapshots));
        fixture_documents(&f, "a", i, 1);
        fixture_step(&f, i + 1, i + 1);
    }
    cr_assert(fixture_int(&f, "SELECT count(*) FROM v1_snapshots") == 5);
    free(then);
    reopen();
    OK(cam_snapshot_find(snapshots, "third", &out));
    OK(cam_snapshot_check(snapshots, out.id));
}

Test(snapshot, both_ways_of_saving_give_the_same_id_and_model_hash) {
    struct cam_snapshot one, two;
    char hex[CAM_HASH_HEX_BYTES];
    OK(cam_snapshot_save(snapshots, CAM_SNAPSHOT_KEPT, NULL, NULL, regions, N_REGIONS, &one));
    OK(cam_snapshot_save_begin(snapshots, CAM_SNAPSHOT_KEPT, NULL, regions, N_REGIONS, &two));
    OK(cam_snapshots_settle(snapshots));
    cr_assert(strcmp(one.id, two.id) == 0 && strcmp(one.model_hash, two.model_hash) == 0);
    OK(cam_regions_hash(regions, N_REGIONS, hex));
    cr_assert(strcmp(hex, one.model_hash) == 0);
    regions[1].apart = 1;
    ((char *)regions[1].data)[0]++;
    OK(cam_regions_hash(regions, N_REGIONS, hex));
    cr_assert(strcmp(hex, one.model_hash) != 0, "it counted before");
    char again[CAM_HASH_HEX_BYTES];
    ((char *)regions[1].data)[0]++;
    OK(cam_regions_hash(regions, N_REGIONS, again));
    cr_assert(strcmp(hex, again) == 0, "what is apart does not count");
    regions[1].apart = 0;
}

Test(snapshot, C05_a_failure_of_the_thread_is_told_once_and_leaves_the_last_good_one) {
    struct cam_snapshot good = save(CAM_SNAPSHOT_KEPT, NULL), out;
    fixture_documents(&f, "a", 0, 3);
    fixture_step(&f, 1, 1);
    use_broken();
    change_all();
    left = 2;
    crashed = 1;
    OK(cam_snapshot_save_begin(snapshots, CAM_SNAPSHOT_KEPT, NULL, regions, N_REGIONS, &out));
    OK(cam_snapshots_each(snapshots, 1, count_one, &(int){0})); /* waits, and does not tell */
    left = 1 << 30;
    crashed = 0;
    FAILS(CAM_ERR_IO, cam_snapshots_poll(snapshots));
    SAYS("not saved");
    OK(cam_snapshots_poll(snapshots));
    FAILS(CAM_ERR_NOINPUT, cam_snapshot_find(snapshots, out.id, &out));
    OK(cam_snapshots_latest(snapshots, &out));
    cr_assert(strcmp(out.id, good.id) == 0);
    OK(cam_snapshot_save_begin(snapshots, CAM_SNAPSHOT_KEPT, NULL, regions, N_REGIONS, &out));
    loads_as_now(out.id);
}

Test(snapshot, a_failed_save_does_not_poison_the_next) {
    struct cam_snapshot out;
    use_broken();
    left = 3; /* while the pack is being made durable */
    FAILS(CAM_ERR_IO,
          cam_snapshot_save(snapshots, CAM_SNAPSHOT_KEPT, NULL, "00ff", regions, N_REGIONS, &out));
    SAYS("not saved");
    left = 1 << 30;
    out = save(CAM_SNAPSHOT_KEPT, NULL); /* the same store: pages of the lost pack are not shared */
    loads_as_now(out.id);
    reopen();
    loads_as_now(out.id);
}
