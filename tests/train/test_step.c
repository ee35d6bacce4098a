/* A step learns; a bad step leaves every bit as it was; a steady state allocates nothing. */
#include "train/step.h"

#include "base/hash.h"
#include "model/anchor.h"
#include "model/average.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define T 32
#define B 4

struct fixture {
    struct cam_model *model;
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_recipe recipe;
    uint16_t tokens[B * T], targets[B * T];
    cam_real weights[B * T];
    struct cam_batch batch;
};

static void setup(struct fixture *f, const char *ff, enum cam_optimizer_kind optimizer) {
    struct cam_model_shape shape = {.vocabulary = 50, .width = 32, .n_blocks = 2, .heads = 2,
                                    .kv_heads = 1, .hidden = 48, .context = T, .peer_heads = 2,
                                    .peer_top_k = 4, .peer_key_width = 16, .peer_subkeys = 16,
                                    .peer_subkeys_capacity = 32, .pool_lr_scale = 4,
                                    .moe_experts = 4, .moe_capacity = 1.25, .moe_balance = 0.01};
    strcpy(shape.ff[0], "dense");
    strcpy(shape.ff[1], ff);
    cr_assert_eq(cam_model_new(&shape, 1, &f->model), CAM_OK, "%s", cam_message());
    cr_assert_eq(cam_threads_new(2, &f->threads), CAM_OK);
    cam_arena_init(&f->arena);
    f->recipe = (struct cam_recipe){.optimizer = optimizer, .lr = 5e-3, .lr_floor = 0.1,
                                    .warmup = 4, .hold = 0, .beta1 = 0.9, .beta2 = 0.95,
                                    .momentum = 0.95, .weight_decay = 0.1, .clip = 1};
    for (size_t i = 0; i < B * T; i++) {
        f->tokens[i] = (uint16_t)(i * 7 % 50);
        f->targets[i] = (uint16_t)((i + 1) * 7 % 50);
        f->weights[i] = 1;
    }
    f->batch = (struct cam_batch){.n_sequences = B, .t = T, .tokens = f->tokens,
                                  .targets = f->targets, .weights = f->weights};
}

static void teardown(struct fixture *f) {
    cam_model_free(f->model);
    cam_threads_free(f->threads);
    cam_arena_release(&f->arena);
}

static struct cam_step_report run(struct fixture *f, uint64_t step, double norm) {
    struct cam_step_report report;
    cam_step_run(f->model, f->threads, &f->arena, &f->recipe, &f->batch, step, norm, &report);
    return report;
}

static void learns(const char *ff, enum cam_optimizer_kind optimizer) {
    struct fixture f;
    setup(&f, ff, optimizer);
    double first = run(&f, 1, 0).loss, last = first;
    for (uint64_t step = 2; step <= 60; step++)
        last = run(&f, step, 0).loss;
    cr_assert_float_eq(first, log(50), 0.5);
    cr_assert_lt(last, 0.5 * first, "%s: from %g to %g", ff, first, last);
    teardown(&f);
}

Test(step, learns_with_adamw) {
    learns("dense", CAM_OPTIMIZER_ADAMW);
}

Test(step, learns_with_muon) {
    learns("dense", CAM_OPTIMIZER_MUON);
}

Test(step, learns_with_a_pool) {
    learns("peer", CAM_OPTIMIZER_ADAMW);
    learns("dense+peer", CAM_OPTIMIZER_MUON);
    learns("pkm", CAM_OPTIMIZER_ADAMW);
}

Test(step, learns_with_a_mixture) {
    learns("moe", CAM_OPTIMIZER_ADAMW);
    learns("moe", CAM_OPTIMIZER_MUON);
}

static enum cam_status hash_part(void *context, const char *name, void *data, size_t n_bytes) {
    (void)name;
    cam_hasher_add(context, data, n_bytes);
    return CAM_OK;
}

static struct cam_hash state_hash(struct fixture *f) {
    struct cam_hasher *hasher = cam_hasher_new();
    cr_assert_eq(cam_model_visit_state(f->model, hash_part, hasher), CAM_OK);
    struct cam_hash hash = cam_hasher_value(hasher);
    cam_hasher_free(hasher);
    return hash;
}

static void not_finite_leaves_the_exact_state(const char *ff) {
    struct fixture f;
    setup(&f, ff, CAM_OPTIMIZER_ADAMW);
    for (uint64_t step = 1; step <= 5; step++)
        run(&f, step, 0);
    struct cam_hash before = state_hash(&f);
    f.weights[3] = NAN;
    cr_assert_eq(run(&f, 6, 0).verdict, CAM_VERDICT_NOT_FINITE);
    cr_assert(cam_hash_equal(before, state_hash(&f)));
    f.weights[3] = 1;
    cr_assert_eq(run(&f, 6, 0).verdict, CAM_VERDICT_SOUND, "%s", ff);
    cr_assert(!cam_hash_equal(before, state_hash(&f)));
    teardown(&f);
}

Test(step, T02_not_finite_leaves_the_exact_state) {
    not_finite_leaves_the_exact_state("dense+peer");
    not_finite_leaves_the_exact_state("dense+pkm");
    not_finite_leaves_the_exact_state("dense+moe");
}

/* A weight that is none shows in the loss, whatever kind holds it. */
Test(step, T02_a_broken_weight_is_refused_by_every_kind) {
    for (size_t i = 0; cam_ff_kinds[i]; i++) {
        struct fixture f;
        setup(&f, cam_ff_kinds[i]->name, CAM_OPTIMIZER_ADAMW);
        run(&f, 1, 0);
        struct cam_params *params = &f.model->params;
        struct cam_param *p = params->items[params->n - 2]; /* the last but norm_final */
        for (size_t k = 0; k < p->rows; k++)
            p->value[k * p->cols] = NAN;
        struct cam_hash before = state_hash(&f);
        cr_assert_eq(run(&f, 2, 0).verdict, CAM_VERDICT_NOT_FINITE, "%s", cam_ff_kinds[i]->name);
        cr_assert(cam_hash_equal(before, state_hash(&f)), "%s", cam_ff_kinds[i]->name);
        teardown(&f);
    }
}

Test(step, T01_explosion_leaves_the_exact_state) {
    struct fixture f;
    setup(&f, "dense+peer", CAM_OPTIMIZER_ADAMW);
    double norm = run(&f, 1, 0).grad_norm;
    struct cam_hash before = state_hash(&f);
    f.recipe.explode = 2;
    cr_assert_eq(run(&f, 2, norm / 1000).verdict, CAM_VERDICT_EXPLODED);
    cr_assert(cam_hash_equal(before, state_hash(&f)));
    cr_assert_eq(run(&f, 2, norm).verdict, CAM_VERDICT_SOUND);
    teardown(&f);
}

static void steady_state_allocates_nothing(const char *ff) {
    struct fixture f;
    setup(&f, ff, CAM_OPTIMIZER_MUON);
    run(&f, 1, 0);
    size_t warm = f.arena.n_allocations;
    for (uint64_t step = 2; step <= 8; step++)
        run(&f, step, 0);
    cr_assert_eq(f.arena.n_allocations, warm, "%s", ff);
    teardown(&f);
}

Test(step, every_mechanism_together_allocates_nothing) {
    struct fixture f;
    setup(&f, "dense+peer", CAM_OPTIMIZER_MUON);
    f.recipe.gate_experts = 20;
    f.recipe.anchor_l2 = f.recipe.anchor_ewc = 1;
    f.recipe.distill = 0.5;
    f.batch.n_replay_rows = 1;
    cr_assert_eq(cam_model_average_begin(f.model), CAM_OK);
    cr_assert_eq(cam_model_anchor_keep(f.model, CAM_ANCHOR_CENTRE | CAM_ANCHOR_FISHER), CAM_OK);
    size_t warm = 0;
    for (uint64_t step = 1; step <= 8; step++) {
        cr_assert_eq(run(&f, step, 0).verdict, CAM_VERDICT_SOUND);
        cam_model_anchor_observe(f.model, f.threads, &f.arena, step);
        cam_model_anchor_set(f.model, 0.9, step);
        warm = step == 1 ? f.arena.n_allocations : warm;
    }
    cr_assert_eq(f.arena.n_allocations, warm);
    teardown(&f);
}

Test(step, steady_state_allocates_nothing) {
    steady_state_allocates_nothing("dense+peer");
    steady_state_allocates_nothing("dense+pkm");
    steady_state_allocates_nothing("moe");
}

Test(step, learning_rate_rises_holds_and_falls_to_the_floor) {
    struct cam_recipe r = {.lr = 1, .lr_floor = 0.25, .warmup = 10, .hold = 100};
    cr_assert_float_eq(cam_recipe_lr(&r, 5), 0.5, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 10), 1, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 100), 1, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 400), 0.5, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 1000000), 0.25, 1e-12);
}

/* From the rate it had to a lower peak, then as from the beginning. */
Test(step, learning_rate_warms_up_again) {
    struct cam_recipe r = {
        .lr = 0.8, .lr_floor = 0.25, .warmup = 10, .hold = 100, .begin = 400, .from = 0.5};
    cr_assert_float_eq(cam_recipe_lr(&r, 400), 0.5, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 405), 0.65, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 410), 0.8, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 500), 0.8, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 800), 0.4, 1e-12);
    cr_assert_float_eq(cam_recipe_lr(&r, 1000000), 0.2, 1e-12);
}
