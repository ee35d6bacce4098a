/* A whole run whose n-th operation on a file fails: the run says so or gets over it, what was saved
 * loads, and the next run ends with the bits and the history of one that never met trouble.
 *
 * Some n of a run's range; more with CAM_FAULT_CASES in the environment (the slow test). */
#include "fault/small_run.h"
#include "store/query.h"
#include "support/fault_io.h"

#include <errno.h>

static void setup(void) {
    fault_io_install();
    small_prepare();
}

static void teardown(void) {
    small_forget();
    fault_io_remove();
}

TestSuite(io_faults, .init = setup, .fini = teardown);

/* How many operations of the kind there are in a run without faults. */
static long count(unsigned doors, unsigned ops) {
    const struct fault_plan plan = {.doors = doors, .ops = ops, .at = -1};
    char dir[400];
    small_copy(dir);
    fault_io_begin(&plan);
    OK(small_run(dir));
    long n = fault_io_end().n_counted;
    small_expect(dir, 1, "no fault");
    return n;
}

/* May a run in which the fault fell end so?  See the tests. */
typedef void judge_fn(enum cam_status status, const char *what);

static void sweep(struct fault_plan plan, int most, judge_fn *judge) {
    long n = count(plan.doors, plan.ops), n_runs = 0, n_said = 0;
    long stride = n <= small_cases(most) ? 1 : n / small_cases(most) + 1;
    for (plan.at = stride / 2; plan.at < n; plan.at += stride) {
        char dir[400], what[600];
        small_copy(dir);
        fault_io_begin(&plan);
        enum cam_status status = small_run(dir);
        struct fault_tally tally = fault_io_end();
        snprintf(what, sizeof what, "operation %ld of %ld fails: %.500s", plan.at, n,
                 status == CAM_OK ? "no error" : cam_message());
        cr_assert_geq(tally.n_failed, 1, "%s", what);
        judge(status, what);
        small_expect(dir, status == CAM_OK, what);
        n_runs++;
        n_said += status != CAM_OK;
    }
    cr_log_info("%ld runs, %ld of which ended with an error", n_runs, n_said);
    cr_assert_geq(n_runs, n < most / 2 ? n : most / 2);
}

/* ---- an error of the device ---- */

/* Whatever the run says, it has to say why; that it claims nothing else is seen afterwards. */
static void says_which_file(enum cam_status status, const char *what) {
    if (status == CAM_OK)
        return; /* an old file that could not be removed, say; small_expect knows */
    cr_assert(status != CAM_ERR_INTERNAL && status != CAM_ERR_FULL, "%s", what);
    cr_assert(strstr(cam_message(), "/"), "%s", what);
}

Test(io_faults, C05_eio_at_the_nth_operation_of_the_store) {
    sweep((struct fault_plan){.doors = FAULT_STORE, .ops = FAULT_CHANGES, .n = 1, .code = EIO}, 12,
          says_which_file);
}

Test(io_faults, C05_eio_at_the_nth_operation_of_the_database) {
    sweep((struct fault_plan){.doors = FAULT_SQLITE, .ops = FAULT_CHANGES, .n = 1, .code = EIO}, 12,
          says_which_file);
}

Test(io_faults, C05_eio_at_the_nth_sync_of_the_database) {
    sweep((struct fault_plan){.doors = FAULT_SQLITE, .ops = FAULT_SYNC, .n = 1, .code = EIO}, 4,
          says_which_file);
}

Test(io_faults, C05_eio_while_reading) {
    sweep(
        (struct fault_plan){
            .doors = FAULT_STORE | FAULT_SQLITE, .ops = FAULT_READ, .n = 1, .code = EIO},
        6, says_which_file);
}

/* A device that is gone for good. */
Test(io_faults, C05_nothing_works_from_the_nth_operation_on) {
    sweep(
        (struct fault_plan){
            .doors = FAULT_STORE | FAULT_SQLITE, .ops = FAULT_ALL, .n = 1L << 40, .code = EIO},
        6, says_which_file);
}

/* ---- a full disk ---- */

/* Full while a few operations are tried: once it trains, the run waits and ends well. */
static void waits_for_space(enum cam_status status, const char *what) {
    cr_assert(status == CAM_OK || (status == CAM_ERR_FULL && !small_opened), "%s", what);
}

Test(io_faults, C06_enospc_in_a_snapshot) {
    sweep(
        (struct fault_plan){
            .doors = FAULT_STORE, .ops = FAULT_OPEN | FAULT_WRITE, .n = 3, .code = ENOSPC},
        6, waits_for_space);
}

Test(io_faults, C06_enospc_in_the_wal) {
    sweep((struct fault_plan){.doors = FAULT_SQLITE, .ops = FAULT_WRITE, .n = 3, .code = ENOSPC}, 8,
          waits_for_space);
}

/* ---- a rollback ---- */

static const char *const rolled_back = "SELECT count(*) FROM v1_lineages WHERE lineage = 2";

/* A trainer at the end of a run, of which an operation fails while it is rolled back. */
static int64_t roll_back_with(const struct fault_plan *plan, enum cam_status *status,
                              char end_hash[CAM_HASH_HEX_BYTES], struct fault_tally *tally) {
    struct world w = {.workspace = NULL};
    char problem[300] = "";
    int64_t rolled = 0, n_problems = 0;
    small_copy(w.dir);
    reopen(&w);
    advance(&w, 0);
    fault_io_begin(plan);
    *status = cam_trainer_rollback(w.trainer, "kept", CAM_ROLLBACK_REQUEUE, "test", NULL);
    *tally = fault_io_end();
    advance(&w, 0); /* the same trainer, as in a service that goes on */
    hash(&w, end_hash);
    OK(cam_query_int(w.database, rolled_back, NULL, -1, &rolled));
    shut(&w);
    reopen(&w);
    advance(&w, 0);
    char again[CAM_HASH_HEX_BYTES];
    hash(&w, again);
    cr_assert_str_eq(again, end_hash);
    OK(cam_trainer_verify(w.trainer, small_problem, problem, &n_problems));
    cr_assert_eq(n_problems, 0, "%s", problem);
    end(&w);
    return rolled;
}

Test(io_faults, C14_a_rollback_that_fails_half_way_is_done_or_not_and_training_goes_on) {
    struct fault_plan plan = {
        .doors = FAULT_STORE | FAULT_SQLITE, .ops = FAULT_ALL, .at = -1, .n = 1, .code = EIO};
    char clean[CAM_HASH_HEX_BYTES], hex[CAM_HASH_HEX_BYTES];
    enum cam_status status;
    struct fault_tally tally;
    cr_assert_eq(roll_back_with(&plan, &status, clean, &tally), 1);
    OK(status);
    long n = tally.n_counted, stride = n / small_cases(8) + 1, n_failed = 0;
    for (plan.at = n - 1; plan.at >= 0; plan.at -= stride) {
        int64_t rolled = roll_back_with(&plan, &status, hex, &tally);
        cr_assert(tally.n_failed == 1 && (status != CAM_OK || rolled), "operation %ld", plan.at);
        cr_assert_str_eq(hex, rolled ? clean : small_hash, "operation %ld of %ld", plan.at, n);
        n_failed += status != CAM_OK;
    }
    cr_log_info("%ld operations, one in %ld failed, %ld rollbacks failed", n, stride, n_failed);
    cr_assert_gt(n_failed, 1);
}

/* ---- pieces ---- */

Test(io_faults, C07_short_writes_short_reads_and_interrupts) {
    const struct fault_plan plan = {.at = -1, .pieces = 1};
    char dir[400];
    small_copy(dir);
    fault_io_begin(&plan);
    OK(small_run(dir));
    fault_io_end();
    small_expect(dir, 1, "in pieces");
}

/* ---- resuming ---- */

Test(io_faults, C28_resumed_once_twice_and_three_times_without_a_step_between) {
    for (int times = 1; times <= 3; times++) {
        struct world w = {.workspace = NULL};
        small_copy(w.dir);
        reopen(&w);
        for (int round = 0; round < 4; round++) {
            advance(&w, 5 + round);
            for (int i = 0; i < times; i++) {
                shut(&w);
                reopen(&w);
            }
        }
        shut(&w);
        small_expect(w.dir, 0, "resumed again and again");
    }
}
