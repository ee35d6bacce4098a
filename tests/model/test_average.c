/* The average against plain arithmetic in double, through growth and freezing; scores come from
 * it and leave the values alone. */
#include "model/average.h"

#include "base/rng.h"
#include "model/ff_peer.h"
#include "model/peer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OK(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())
#define T        16
#define KEEP     0.875 /* exact in float */

struct fixture {
    struct cam_model *model;
    struct cam_threads *threads;
    struct cam_arena arena;
    uint16_t tokens[T];
};

static void setup(struct fixture *f, int n_threads) {
    struct cam_model_shape shape = {.vocabulary = 300, .width = 32, .n_blocks = 2,
                                    .heads = 4, .kv_heads = 2, .hidden = 20, .context = T,
                                    .peer_heads = 2, .peer_top_k = 4, .peer_key_width = 16,
                                    .peer_subkeys = 66, .peer_subkeys_capacity = 80,
                                    .pool_lr_scale = 1, .conv = 1, .ff = {"dense", "dense+peer"}};
    OK(cam_model_new(&shape, 7, &f->model));
    OK(cam_threads_new(n_threads, &f->threads));
    cam_arena_init(&f->arena);
    for (size_t i = 0; i < T; i++)
        f->tokens[i] = (uint16_t)(i * 37 % 300);
}

static void teardown(struct fixture *f) {
    cam_model_free(f->model);
    cam_threads_free(f->threads);
    cam_arena_release(&f->arena);
}

static struct cam_ff *pool(struct fixture *f) {
    size_t i_block = 0;
    return cam_model_find_pool(f->model, &i_block);
}

/* Moves every value by a draw of its own, as training would. */
static void disturb(struct fixture *f, uint64_t step) {
    for (size_t i = 0; i < f->model->params.n; i++) {
        struct cam_param *p = f->model->params.items[i];
        for (size_t j = p->frozen_rows * p->cols; j < p->rows * p->cols; j++)
            p->value[j] += (cam_real)(cam_random_unit(cam_random_at(step, CAM_PURPOSE_TEST, j,
                                                                    (uint32_t)i).word[0]) - 0.5);
    }
    struct cam_pool *p = &cam_peer_of(pool(f))->pool;
    for (uint64_t e = 0; e < p->n_experts; e++)
        if (!cam_peer_generation(pool(f), cam_peer_generation_of(pool(f), e))->frozen_experts)
            for (size_t j = 0; j < p->record; j++)
                cam_pool_row(p, e)[j] += (cam_real)(0.01 * (double)((e + j + step) % 7) - 0.03);
}

static void move_average(struct fixture *f) {
    cam_arena_reset(&f->arena);
    cam_model_average_step(f->model, f->threads, &f->arena, KEEP);
}

static double logit(struct fixture *f) {
    cam_arena_reset(&f->arena);
    struct cam_pass pass = {.threads = f->threads, .arena = &f->arena, .n_tokens = T};
    cam_model_forward(f->model, &pass, 1, f->tokens);
    return (double)f->model->logits[17];
}

static const cam_real *average_row(struct fixture *f, uint64_t expert) {
    const struct cam_pool *p = &cam_peer_of(pool(f))->pool;
    return p->average[expert >> CAM_POOL_CHUNK_SHIFT] +
           (expert & (CAM_POOL_CHUNK - 1)) * p->record;
}

Test(average, follows_the_definition_in_every_parameter_and_row) {
    struct fixture f;
    setup(&f, 2);
    cr_assert_not(cam_model_averages(f.model));
    OK(cam_model_average_begin(f.model));
    cr_assert(cam_model_averages(f.model));
    size_t n = f.model->params.n;
    double *expected = calloc(n + 1, sizeof *expected); /* of one element each; last: an expert's */
    const uint64_t expert = 4200; /* in the second chunk */
    for (size_t i = 0; i < n; i++)
        expected[i] = (double)f.model->params.items[i]->value[3];
    expected[n] = (double)cam_pool_row(&cam_peer_of(pool(&f))->pool, expert)[5];
    for (uint64_t step = 1; step <= 20; step++) {
        disturb(&f, step);
        move_average(&f);
        for (size_t i = 0; i < n; i++)
            expected[i] = KEEP * expected[i] +
                          (1 - KEEP) * (double)f.model->params.items[i]->value[3];
        expected[n] = KEEP * expected[n] +
                      (1 - KEEP) * (double)cam_pool_row(&cam_peer_of(pool(&f))->pool, expert)[5];
    }
    for (size_t i = 0; i < n; i++)
        cr_assert_float_eq((double)f.model->params.items[i]->average[3], expected[i], 1e-5, "%s",
                           f.model->params.items[i]->name);
    cr_assert_float_eq((double)average_row(&f, expert)[5], expected[n], 1e-5);
    free(expected);
    cam_model_average_end(f.model);
    cr_assert_not(cam_model_averages(f.model));
    teardown(&f);
}

Test(average, scores_come_from_it_and_leave_the_values_alone) {
    struct fixture f;
    setup(&f, 1);
    disturb(&f, 1); /* branches begin at zero */
    double before = logit(&f);
    cam_model_average_swap(f.model); /* none: nothing happens */
    cr_assert_eq(logit(&f), before);
    OK(cam_model_average_begin(f.model));
    for (uint64_t step = 2; step < 5; step++)
        disturb(&f, step);
    double now = logit(&f);
    cr_assert_neq(now, before);
    cam_model_average_swap(f.model);
    cr_assert_eq(logit(&f), before, "the average is what the values were when it began");
    cam_model_average_swap(f.model);
    cr_assert_eq(logit(&f), now);
    teardown(&f);
}

Test(average, grown_rows_begin_as_their_values_and_frozen_ones_stay_equal) {
    struct fixture f;
    setup(&f, 1);
    disturb(&f, 1);
    OK(cam_model_average_begin(f.model));
    disturb(&f, 2);
    /* A training pass, which growth looks at. */
    cam_arena_reset(&f.arena);
    struct cam_pass pass = {
        .threads = f.threads, .arena = &f.arena, .n_tokens = T, .training = 1};
    cam_model_forward(f.model, &pass, 1, f.tokens);
    cam_real loss[T];
    for (size_t i = 0; i < T; i++)
        loss[i] = (cam_real)i;
    size_t n_from_queries;
    struct cam_peer_growth growth = {.subkeys = 5, .token_loss = loss, .ramp_steps = 4};
    OK(cam_peer_grow(pool(&f), &growth, &n_from_queries));
    OK(cam_model_average_extend(f.model));
    struct cam_pool *p = &cam_peer_of(pool(&f))->pool;
    cr_assert_eq(p->n_experts, 71 * 71);
    size_t record = p->record * sizeof(cam_real);
    cr_assert_eq(memcmp(average_row(&f, 70 * 71), cam_pool_row(p, 70 * 71), record), 0);
    cr_assert_neq(memcmp(average_row(&f, 5), cam_pool_row(p, 5), record), 0);

    OK(cam_peer_freeze(pool(&f), 0, CAM_PEER_EXPERTS, 1));
    disturb(&f, 3);
    move_average(&f);
    for (uint64_t e = 0; e < 66 * 66; e += 31)
        cr_assert_eq(memcmp(average_row(&f, e), cam_pool_row(p, e), record), 0, "expert %d", (int)e);
    cr_assert_neq(memcmp(average_row(&f, 70 * 71), cam_pool_row(p, 70 * 71), record), 0);
    teardown(&f);
}

Test(average, a_recycled_expert_begins_anew_in_it) {
    struct fixture f;
    setup(&f, 1);
    OK(cam_model_average_begin(f.model));
    disturb(&f, 1);
    move_average(&f);
    struct cam_pool *p = &cam_peer_of(pool(&f))->pool;
    size_t record = p->record * sizeof(cam_real);
    cr_assert_neq(memcmp(average_row(&f, 4200), cam_pool_row(p, 4200), record), 0);
    OK(cam_peer_recycle(pool(&f), 4200));
    cr_assert_eq(memcmp(average_row(&f, 4200), cam_pool_row(p, 4200), record), 0);
    cr_assert_neq(memcmp(average_row(&f, 4201), cam_pool_row(p, 4201), record), 0);
    teardown(&f);
}

Test(average, one_and_two_threads_give_the_same_bits) {
    struct fixture f[2];
    double logits[2];
    for (int i = 0; i < 2; i++) {
        setup(&f[i], i + 1);
        disturb(&f[i], 1);
        OK(cam_model_average_begin(f[i].model));
        for (uint64_t step = 2; step < 6; step++) {
            disturb(&f[i], step);
            move_average(&f[i]);
        }
        cam_model_average_swap(f[i].model);
        logits[i] = logit(&f[i]);
        cr_assert(isfinite(logits[i]));
        teardown(&f[i]);
    }
    cr_assert_eq(logits[0], logits[1]);
}
