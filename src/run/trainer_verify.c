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

/* The place of generation NUMBER in FF, or -1. */
static int find_generation(struct cam_ff *ff, uint32_t number) {
    for (size_t i = 0; i < cam_peer_n_generations(ff); i++)
        if (cam_peer_generation(ff, i)->number == number)
            return (int)i;
    return -1;
}

static enum cam_status check_frozen(void *context, const struct cam_value *row, size_t n) {
    struct frozen *f = context;
    struct cam_hash hash;
    char hex[CAM_HASH_HEX_BYTES] = "missing", problem[256];
    size_t layer = (size_t)row[0].whole, i_block = layer;
    struct cam_ff *ff = cam_trainer_pool(f->t, &i_block);
    int at = ff && i_block == layer ? find_generation(ff, (uint32_t)row[1].whole) : -1;
    (void)n;
    if (at >= 0) {
        CAM_TRY(cam_peer_generation_hash(ff, (size_t)at, &hash));
        cam_hash_hex(hash, hex);
    }
    if (strcmp(hex, row[2].text) == 0)
        return CAM_OK;
    ++*f->problems;
    snprintf(problem, sizeof problem,
             "block %zu, generation %lld: frozen with content %s, now it is %s", layer,
             (long long)row[1].whole, row[2].text, hex);
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
                      "SELECT layer, generation, frozen_hash FROM v1_generations"
                      " WHERE frozen_hash IS NOT NULL AND frozen_step <= CAST(?1 AS INTEGER)"
                      " ORDER BY layer, generation",
                      parameters, check_frozen, &frozen));
    *problems = found;
    return CAM_OK;
}
