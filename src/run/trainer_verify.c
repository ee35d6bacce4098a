/* trainer_verify.c - is what was frozen still what it was? (see trainer.h) */
#include "run/trainer_internal.h"

#include "store/query.h"

#include <stdio.h>
#include <string.h>

struct frozen {
    struct cam_trainer *t;
    cam_problem_fn *fn;
    void *context;
    int64_t *problems;
};

static enum cam_status check_frozen(void *context, const struct cam_value *row, size_t n) {
    struct frozen *f = context;
    char hex[CAM_HASH_HEX_BYTES] = "missing", problem[320], place[64] = "", of[64] = "";
    (void)n;
    if (cam_trainer_part_hash(f->t, row[0].whole, row[1].text, row[2].whole, hex) != CAM_OK)
        snprintf(hex, sizeof hex, "missing");
    if (strcmp(hex, row[3].text) == 0)
        return CAM_OK;
    ++*f->problems;
    if (row[0].whole >= 0)
        snprintf(place, sizeof place, "block %lld, ", (long long)row[0].whole);
    if (row[2].whole >= 0)
        snprintf(of, sizeof of, " of generation %lld", (long long)row[2].whole);
    snprintf(problem, sizeof problem, "%s%.16s%s: frozen with content %.40s, now it is %s", place,
             row[1].text, of, row[3].text, hex);
    if (f->fn)
        f->fn(f->context, problem);
    return CAM_OK;
}

enum cam_status cam_trainer_verify(struct cam_trainer *trainer, cam_problem_fn *fn, void *context,
                                   int64_t *problems) {
    const char *why;
    int64_t found = (int64_t)cam_snapshots_skipped(trainer->snapshots, &why);
    if (found && fn)
        fn(context, why);
    struct frozen frozen = {trainer, fn, context, &found};
    char step[32];
    const char *const parameters[] = {step, NULL};
    /* Rows past the loaded state belong to a service that went on meanwhile. */
    snprintf(step, sizeof step, "%llu", (unsigned long long)trainer->state.step);
    CAM_TRY(cam_query(trainer->database,
                      "SELECT layer, part, generation, hash FROM (SELECT f.*, row_number() OVER"
                      " (PARTITION BY layer, part, generation ORDER BY moment DESC) AS n"
                      " FROM living_freezes AS f WHERE step <= CAST(?1 AS INTEGER))"
                      " WHERE n = 1 AND frozen ORDER BY layer, part, generation",
                      parameters, check_frozen, &frozen));
    *problems = found;
    return CAM_OK;
}
