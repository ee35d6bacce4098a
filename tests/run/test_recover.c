/* history.db is lost or damaged: what the snapshots hold is enough to go on. */
#include "run/recover.h"

#include "run/tiny_world.h"
#include "run/trainer_internal.h"
#include "store/query.h"

#include <fcntl.h>
#include <sys/stat.h>

static struct world w;

static int64_t ask(const char *sql) {
    int64_t value;
    OK(cam_query_int(w.database, sql, NULL, -1, &value));
    return value;
}

/* A kept snapshot at step 20, a newer checkpoint at step 30. */
static void train(char before[CAM_HASH_HEX_BYTES]) {
    begin_with(&w, 1, "lifelong", "train.lr", "0.003");
    ingest_few(&w, "tiny.ndjson", 8);
    advance(&w, 20);
    OK(cam_trainer_snapshot(w.trainer, "kept", NULL));
    advance(&w, 10);
    OK(cam_trainer_checkpoint(w.trainer));
    hash(&w, before);
    shut(&w);
}

static void path_of(const char *name, char path[600]) {
    snprintf(path, 600, "%s/%.150s", w.dir, name);
}

static void lose(const char *name) {
    char path[600];
    path_of(name, path);
    unlink(path);
}

/* Trains on in the new history. */
static void goes_on(const char *expected) {
    char now[CAM_HASH_HEX_BYTES];
    int64_t problems;
    reopen(&w);
    hash(&w, now);
    cr_assert_str_eq(now, expected, "the model is that of the checkpoint");
    cr_assert_float_eq(w.trainer->settings.train_lr, 0.003, 1e-9);
    cr_assert_eq(ask("SELECT count(*) FROM v1_policies WHERE in_force AND name = 'lifelong'"), 1);
    cr_assert_eq(ask("SELECT count(*) FROM v1_generations"), 1);
    int64_t step = (int64_t)w.trainer->state.step;
    ingest(&w, "tiny.ndjson");
    cr_assert_gt(advance(&w, 0), 5);
    cr_assert_gt((int64_t)w.trainer->state.step, step);
    OK(cam_trainer_checkpoint(w.trainer));
    struct cam_counts counts;
    OK(cam_history_counts(w.database, &counts));
    cr_assert_eq(counts.journalled, counts.trained + counts.pending + counts.quarantined +
                                        counts.held_out + counts.set_aside);
    OK(cam_trainer_verify(w.trainer, NULL, NULL, &problems));
    cr_assert_eq(problems, 0);
    OK(cam_trainer_rollback(w.trainer, "kept", CAM_ROLLBACK_REQUEUE, "test", NULL));
    cr_assert_eq(w.trainer->state.step, 20);
    end(&w);
}

Test(recover, C12_a_lost_history_is_built_anew_from_the_snapshots) {
    char before[CAM_HASH_HEX_BYTES], path[600];
    struct cam_recovery r;
    struct stat info;
    train(before);
    OK(cam_recover(w.dir, 1, &r));
    cr_assert(r.is_sound, "a sound one is left alone");
    lose("history.db");
    lose("history.db-wal");
    lose("history.db-shm");
    cr_assert_eq(cam_workspace_open(w.dir, CAM_WORKSPACE_WRITE, &w.workspace), CAM_ERR_NOINPUT);
    cr_assert(strstr(cam_message(), "cambium recover"), "%s", cam_message());
    OK(cam_recover(w.dir, 0, &r));
    path_of("history.db", path);
    cr_assert(stat(path, &info) != 0, "without --yes nothing is made");
    cr_assert(!r.is_sound && r.from.step == 30 && r.n_snapshots == 1);
    OK(cam_recover(w.dir, 1, &r));
    cr_assert_str_empty(r.moved_to);
    goes_on(before);
}

Test(recover, C12_a_damaged_history_is_moved_aside_whole) {
    char before[CAM_HASH_HEX_BYTES], path[600], bytes[64];
    struct cam_recovery r;
    train(before);
    path_of("history.db", path);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pwrite(fd, "this is no database any more", 28, 0), 28);
    close(fd);
    OK(cam_recover(w.dir, 1, &r));
    cr_assert(strstr(r.moved_to, "history.db.damaged-1"), "%s", r.moved_to);
    fd = open(r.moved_to, O_RDONLY);
    cr_assert_eq(pread(fd, bytes, 28, 0), 28);
    close(fd);
    cr_assert_eq(memcmp(bytes, "this is no database any more", 28), 0);
    goes_on(before);
}

static enum cam_status newest_pack(void *context, const char *name) {
    char path[600], relative[300];
    struct stat info;
    snprintf(relative, sizeof relative, "objects/%.80s", name);
    path_of(relative, path);
    cr_assert_eq(stat(path, &info), 0);
    struct {
        char path[600];
        struct timespec at;
    } *best = context;
    if (info.st_mtim.tv_sec > best->at.tv_sec ||
        (info.st_mtim.tv_sec == best->at.tv_sec && info.st_mtim.tv_nsec > best->at.tv_nsec)) {
        memcpy(best->path, path, sizeof path);
        best->at = info.st_mtim;
    }
    return CAM_OK;
}

Test(recover, C12_bad_newer_snapshots_are_passed_over) {
    char before[CAM_HASH_HEX_BYTES], path[600];
    struct cam_recovery r;
    struct {
        char path[600];
        struct timespec at;
    } pack = {0};
    train(before);
    path_of("objects", path);
    OK(cam_fs_each_entry(path, newest_pack, &pack));
    cr_assert_eq(truncate(pack.path, 100), 0);
    lose("history.db");
    OK(cam_recover(w.dir, 1, &r));
    cr_assert(r.n_bad >= 1 && r.from.step < 30, "%lld bad", (long long)r.n_bad);
    reopen(&w);
    cr_assert_eq((int64_t)w.trainer->state.step, r.from.step);
    end(&w);
}

Test(recover, C11_nothing_to_recover_from_is_said_and_nothing_changed) {
    char before[CAM_HASH_HEX_BYTES], command[700];
    struct cam_recovery r;
    train(before);
    lose("history.db");
    snprintf(command, sizeof command, "rm %s/objects/*", w.dir);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(cam_recover(w.dir, 1, &r), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "backup"), "%s", cam_message());
    snprintf(command, sizeof command, "test ! -e %s/history.db", w.dir);
    cr_assert_eq(system(command), 0);
    snprintf(command, sizeof command, "rm %s/snapshots/*", w.dir);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(cam_recover(w.dir, 1, &r), CAM_ERR_NOINPUT);
    nftw(w.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
