/* A forget that is cut short anywhere: the workspace forgot the document, wholly, or has it as
 * before, wholly; asked again it ends with the bits of a run that never saw it. */
#include "fault/small_run.h"
#include "store/query.h"
#include "support/fault_disk.h"
#include "support/fault_io.h"

#include <errno.h>

static int64_t third;                       /* the document, which came after the snapshot "kept" */
static char without_it[CAM_HASH_HEX_BYTES]; /* the model that never saw it */
static const char *const gone = "SELECT count(*) = 0 FROM v1_documents WHERE document = %lld";

static int is_gone(struct world *w) {
    char sql[128];
    int64_t yes = -1;
    snprintf(sql, sizeof sql, gone, (long long)third);
    OK(cam_query_int(w->database, sql, NULL, -1, &yes));
    return yes == 1;
}

static enum cam_status forget(struct world *w) {
    char documents[32];
    struct cam_forget_plan plan;
    struct cam_forgot forgot = {0};
    snprintf(documents, sizeof documents, "[%lld]", (long long)third);
    struct cam_forget_request request = {.documents = documents, .reason = "test"};
    enum cam_status status = cam_trainer_forget(w->trainer, &request, &plan, &forgot, NULL, NULL);
    free(forgot.snapshots);
    return status;
}

/* What never saw it: its row is taken out before anything is trained on. */
static void never_saw_it(void) {
    struct world w = {.workspace = NULL};
    small_copy(w.dir);
    reopen(&w);
    OK(cam_query_int(w.database, "SELECT max(document) FROM v1_documents", NULL, 0, &third));
    OK(forget(&w));
    cr_assert(is_gone(&w));
    int64_t lineages = 0;
    OK(cam_query_int(w.database, "SELECT count(*) FROM v1_lineages", NULL, 0, &lineages));
    cr_assert_eq(lineages, 1, "nothing had been learned from it");
    advance(&w, 0);
    hash(&w, without_it);
    end(&w);
    cr_assert_str_neq(without_it, small_hash);
}

static void setup(void) {
    fault_io_install();
    small_prepare();
    never_saw_it();
}

static void teardown(void) {
    small_forget();
    fault_io_remove();
}

TestSuite(forget_faults, .init = setup, .fini = teardown);

/* The workspace in W->dir, whatever was left of it.  Removes it. */
static void done_or_not(struct world *w, int reported, const char *what) {
    char hex[CAM_HASH_HEX_BYTES], problem[300] = "";
    int64_t n_problems = 0, sums = 0;
    enum cam_status status = cam_workspace_open(w->dir, CAM_WORKSPACE_WRITE, &w->workspace);
    if (status == CAM_OK)
        status = cam_trainer_open(w->workspace, &w->trainer);
    cr_assert_eq(status, CAM_OK, "%s: does not open again: %s", what, cam_message());
    w->database = cam_workspace_database(w->workspace);
    cr_assert(!reported || is_gone(w), "%s: reported as forgotten, and there", what);
    int done = is_gone(w);
    advance(w, 0);
    hash(w, hex);
    cr_assert_str_eq(hex, done ? without_it : small_hash, "%s: other bits", what);
    OK(forget(w));
    advance(w, 0);
    hash(w, hex);
    cr_assert_str_eq(hex, without_it, "%s: other bits when asked again", what);
    OK(cam_trainer_verify(w->trainer, small_problem, problem, &n_problems));
    cr_assert_eq(n_problems, 0, "%s: %s", what, problem);
    OK(cam_query_int(w->database, "SELECT count(*) FROM meta WHERE key = 'forgetting'", NULL, -1,
                     &sums));
    cr_assert_eq(sums, 0, "%s: files are still to be purged", what);
    end(w);
}

/* A workspace that has learned from it. */
static void learned(struct world *w) {
    memset(w, 0, sizeof *w);
    small_copy(w->dir);
    reopen(w);
    advance(w, 0);
}

static long n_operations(void) {
    const struct fault_plan plan = {
        .doors = FAULT_STORE | FAULT_SQLITE, .ops = FAULT_ALL, .at = -1, .n = 1, .code = EIO};
    struct world w;
    learned(&w);
    fault_io_begin(&plan);
    OK(forget(&w));
    long n = fault_io_end().n_counted;
    shut(&w);
    done_or_not(&w, 1, "no fault");
    return n;
}

Test(forget_faults, C14_T12_a_forget_that_fails_half_way_is_done_or_not) {
    struct fault_plan plan = {
        .doors = FAULT_STORE | FAULT_SQLITE, .ops = FAULT_ALL, .n = 1, .code = EIO};
    long n = n_operations(), stride = n / small_cases(16) + 1, n_failed = 0, n_done = 0;
    for (plan.at = n - 1; plan.at >= 0; plan.at -= stride) {
        char what[700];
        struct world w;
        learned(&w);
        fault_io_begin(&plan);
        enum cam_status status = forget(&w);
        struct fault_tally tally = fault_io_end();
        snprintf(what, sizeof what, "operation %ld of %ld fails: %.500s", plan.at, n,
                 status == CAM_OK ? "no error" : cam_message());
        cr_assert_eq(tally.n_failed, 1, "%s", what);
        n_failed += status != CAM_OK;
        n_done += is_gone(&w);
        advance(&w, 0); /* the same trainer, as in a service that goes on */
        shut(&w);
        done_or_not(&w, status == CAM_OK, what);
    }
    cr_log_info("%ld operations, one in %ld failed: %ld said so, %ld had it done", n, stride,
                n_failed, n_done);
    cr_assert_gt(n_failed, 1);
}

Test(forget_faults, C14_T12_the_power_is_cut_while_it_forgets) {
    struct fault_log log = {.steps = NULL};
    struct world w;
    learned(&w);
    fault_io_record(&log, w.dir);
    OK(forget(&w));
    size_t done_at = log.n_steps;
    advance(&w, 0);
    fault_io_stop_recording();
    shut(&w);
    size_t stride = log.n_steps / (size_t)small_cases(12) + 1, n = 0;
    for (size_t k = stride / 2; k <= log.n_steps; k += stride, n++) {
        char what[64];
        struct world left = {.workspace = NULL};
        snprintf(what, sizeof what, "after operation %zu of %zu", k, log.n_steps);
        strcpy(left.dir, "/tmp/cam-fault-XXXXXX");
        cr_assert_not_null(mkdtemp(left.dir));
        fault_disk_after(&log, k, (unsigned)(k / stride % 4), left.dir);
        done_or_not(&left, k >= done_at, what);
    }
    cr_assert_geq(n, 3);
    small_remove(w.dir); /* its folders were looked at until now */
    fault_log_release(&log);
}
