/* Anchors against their formulas in plain loops, in double: importance, the pull on dense parameters
 * and on expert rows, what is never pulled. */
#include "model/anchor.h"

#include "ff_rig.h"

#define OK(call) RIG_OK(call)

struct fixture {
    struct cam_model *model;
    struct cam_threads *threads;
    struct cam_arena arena;
};

static void setup(struct fixture *f, int n_threads) {
    struct cam_model_shape shape = {.vocabulary = 1100, .width = 32, .n_blocks = 2,
                                    .heads = 4, .kv_heads = 2, .hidden = 20, .context = 16,
                                    .peer_heads = 2, .peer_top_k = 4, .peer_key_width = 16,
                                    .peer_subkeys = 20, .peer_subkeys_capacity = 80,
                                    .pool_lr_scale = 1, .conv = 1, .ff = {"dense", "dense+peer"}};
    OK(cam_model_new(&shape, 7, &f->model));
    OK(cam_threads_new(n_threads, &f->threads));
    cam_arena_init(&f->arena);
}

static void teardown(struct fixture *f) {
    cam_model_free(f->model);
    cam_threads_free(f->threads);
    cam_arena_release(&f->arena);
}

static struct cam_pool *pool_of(struct fixture *f) {
    size_t i_block = 0;
    return &cam_peer_of(cam_model_find_pool(f->model, &i_block))->pool;
}

static double draw(uint64_t step, size_t i, size_t j) {
    return cam_random_unit(cam_random_at(step, CAM_PURPOSE_TEST, j, (uint32_t)i).word[0]) - 0.5;
}

/* Gradients of step STEP, and what the optimiser of each expert would know by then. */
static void backward(struct fixture *f, uint64_t step) {
    struct cam_pool *pool = pool_of(f);
    for (size_t i = 0; i < f->model->params.n; i++) {
        struct cam_param *p = f->model->params.items[i];
        for (size_t j = 0; j < p->rows * p->cols; j++)
            p->grad[j] = (cam_real)draw(step, i, j);
    }
    for (uint64_t e = 0; e < pool->n_experts; e++) {
        cam_pool_state(pool, e)->second[0] = (cam_real)(1 + draw(step, 98, (size_t)e));
        cam_pool_state(pool, e)->second[1] = (cam_real)(1 + draw(step, 99, (size_t)e));
        cam_pool_usage(pool, e)->steps = (uint32_t)(e % (step + 1));
    }
}

static void observe(struct fixture *f, uint64_t step, uint64_t n) {
    backward(f, step);
    cam_arena_reset(&f->arena);
    cam_model_anchor_observe(f->model, f->threads, &f->arena, n);
}

/* Moves every value by a draw of its own. */
static void disturb(struct fixture *f, uint64_t step) {
    for (size_t i = 0; i < f->model->params.n; i++) {
        struct cam_param *p = f->model->params.items[i];
        for (size_t j = 0; j < p->rows * p->cols; j++)
            p->value[j] += (cam_real)draw(step, i, j);
    }
}

/* Mean squared gradient of steps FROM to TO for element J of parameter I. */
static double mean_square(size_t i, size_t j, uint64_t from, uint64_t to) {
    double sum = 0;
    for (uint64_t step = from; step <= to; step++)
        sum += draw(step, i, j) * draw(step, i, j);
    return sum / (double)(to - from + 1);
}

static double expert_fisher(uint64_t e, uint64_t step) {
    double second = 1 + (draw(step, 98, (size_t)e) + draw(step, 99, (size_t)e)) / 2;
    return second * (double)(e % (step + 1)) / (double)step;
}

/* Two anchors: after steps 1 to 4, and 5 to 7. */
Test(anchor, importance_is_the_online_sum_of_normalised_fisher_estimates) {
    struct fixture f;
    const double decay = 0.6;
    setup(&f, 2);
    OK(cam_model_anchor_keep(f.model, CAM_ANCHOR_CENTRE | CAM_ANCHOR_FISHER));
    for (uint64_t step = 1; step <= 4; step++)
        observe(&f, step, step);
    cam_model_anchor_set(f.model, decay, 4);
    disturb(&f, 50);
    for (uint64_t step = 5; step <= 7; step++)
        observe(&f, step, step - 4);
    cam_model_anchor_set(f.model, decay, 7);
    for (size_t i = 0; i < f.model->params.n; i++) {
        const struct cam_param *p = f.model->params.items[i];
        size_t n = p->rows * p->cols;
        double mean[2] = {0, 0};
        for (size_t j = 0; j < n; j++) {
            mean[0] += mean_square(i, j, 1, 4) / (double)n;
            mean[1] += mean_square(i, j, 5, 7) / (double)n;
        }
        for (size_t j = 0; j < n; j += 7) {
            double expected = decay * mean_square(i, j, 1, 4) / mean[0] +
                              mean_square(i, j, 5, 7) / mean[1];
            cr_assert_float_eq((double)p->importance[j], expected, 1e-9, "%s", p->name);
            cr_assert_eq(p->fisher[j], 0);
        }
        cr_assert_eq(memcmp(p->centre, p->value, n * sizeof *p->value), 0);
    }
    struct cam_pool *pool = pool_of(&f);
    double mean[2] = {0, 0};
    for (uint64_t e = 0; e < pool->n_experts; e++) {
        mean[0] += expert_fisher(e, 4) / (double)pool->n_experts;
        mean[1] += expert_fisher(e, 7) / (double)pool->n_experts;
    }
    for (uint64_t e = 0; e < pool->n_experts; e++) {
        double expected = decay * expert_fisher(e, 4) / mean[0] + expert_fisher(e, 7) / mean[1];
        cr_assert_float_eq((double)*cam_pool_importance(pool, e), expected, 1e-9);
        cr_assert_eq(memcmp(cam_pool_centre(pool, e), cam_pool_row(pool, e),
                            pool->record * sizeof(cam_real)),
                     0);
    }
    teardown(&f);
}

Test(anchor, pulls_dense_parameters_as_defined_and_never_past_the_centre) {
    struct fixture f;
    setup(&f, 2);
    OK(cam_model_anchor_keep(f.model, CAM_ANCHOR_CENTRE | CAM_ANCHOR_FISHER));
    observe(&f, 1, 1);
    cam_model_anchor_set(f.model, 1, 1);
    struct cam_param *frozen = f.model->params.items[3];
    frozen->frozen_rows = frozen->rows;
    const struct cam_anchor_pull pulls[] = {
        {0.01, 0.5, 0}, {0.01, 0, 2}, {0.02, 0.3, 1}, {1, 1e12, 0}, {0.01, 0, 0}};
    for (size_t k = 0; k < sizeof pulls / sizeof *pulls; k++) {
        disturb(&f, 10 + k);
        double *before[64];
        for (size_t i = 0; i < f.model->params.n; i++) {
            const struct cam_param *p = f.model->params.items[i];
            before[i] = calloc(p->rows * p->cols, sizeof **before);
            for (size_t j = 0; j < p->rows * p->cols; j++)
                before[i][j] = (double)p->value[j];
        }
        cam_arena_reset(&f.arena);
        cam_model_anchor_pull(f.model, f.threads, &f.arena, &pulls[k]);
        for (size_t i = 0; i < f.model->params.n; i++) {
            const struct cam_param *p = f.model->params.items[i];
            for (size_t j = 0; j < p->rows * p->cols; j++) {
                double strength = pulls[k].lr * p->lr_scale *
                                  (pulls[k].l2 + pulls[k].ewc * (double)p->importance[j]);
                double centre = (double)p->centre[j], from = before[i][j];
                double expected = p == frozen
                                      ? from
                                      : from - strength / (1 + strength) * (from - centre);
                cr_assert_float_eq((double)p->value[j], expected, 1e-9, "%s", p->name);
                cr_assert_leq(fabs((double)p->value[j] - centre), fabs(from - centre) + 1e-12);
            }
            free(before[i]);
        }
    }
    teardown(&f);
}

/* What is kept follows what is asked for, and grown sub-keys and experts are not pulled. */
Test(anchor, what_came_after_it_is_not_pulled) {
    struct fixture f;
    setup(&f, 1);
    uint16_t tokens[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
    struct cam_pass pass = {
        .threads = f.threads, .arena = &f.arena, .n_tokens = 16, .training = 1};
    cam_model_forward(f.model, &pass, 1, tokens);
    OK(cam_model_anchor_keep(f.model, CAM_ANCHOR_CENTRE));
    cam_model_anchor_set(f.model, 1, 1);
    size_t i_block = 0;
    struct cam_ff *ff = cam_model_find_pool(f.model, &i_block);
    struct cam_peer *peer = cam_peer_of(ff);
    struct cam_peer_growth growth = {.subkeys = 60, .seed = 3, .step = 1};
    OK(cam_peer_grow(ff, &growth, NULL));
    OK(cam_model_anchor_extend(f.model));
    cr_assert(isnan(*cam_pool_centre(&peer->pool, 20 * 20)), "in the anchor's own chunk");
    cr_assert(isnan(*cam_pool_centre(&peer->pool, 80 * 80 - 1)), "in a new chunk");
    cr_assert_not(isnan(*cam_pool_centre(&peer->pool, 20 * 20 - 1)));
    OK(cam_peer_recycle(ff, 7));
    cr_assert(isnan(*cam_pool_centre(&peer->pool, 7)));
    struct cam_param *p = peer->subkey[0];
    for (size_t i = 0; i < p->rows * p->cols; i++)
        p->value[i] = 2;
    cam_model_anchor_pull(f.model, f.threads, &f.arena, &(struct cam_anchor_pull){0.1, 1, 0});
    for (size_t i = 0; i < p->rows * p->cols; i++)
        cr_assert_eq(p->value[i] == 2, i >= 20 * p->cols);
    OK(cam_model_anchor_keep(f.model, CAM_ANCHOR_FISHER));
    cr_assert(!p->centre && p->importance && !peer->pool.centre && peer->pool.importance);
    OK(cam_model_anchor_keep(f.model, 0));
    cr_assert(!p->importance && !p->fisher && !peer->pool.importance);
    teardown(&f);
}

/* ---- expert rows, in an update ---- */

enum { N_EXPERTS = 12 * 12 };

/* A step without and with an anchor, or with it in plain loops; expert 5 is unknown to it. */
static void step_rows(const char *kind, int anchored, int reference, int n_threads,
                      cam_real *rows, cam_real *centres, uint32_t *updates) {
    struct cam_ff_config config = rig_config;
    struct rig rig;
    config.reference = reference;
    rig_init(&rig, kind, &config, 40, n_threads);
    struct cam_pool *pool = &cam_peer_of(rig.ff)->pool;
    size_t n = N_EXPERTS * pool->record;
    if (anchored)
        OK(cam_pool_anchor_keep(pool, 1, 1));
    for (uint64_t e = 0; anchored && e < N_EXPERTS; e++) {
        for (size_t d = 0; d < pool->record; d++)
            cam_pool_centre(pool, e)[d] = (cam_real)(e == 5 ? NAN : draw(3, d, (size_t)e));
        *cam_pool_importance(pool, e) = (cam_real)(e % 4);
    }
    rig_forward(&rig, 1);
    rig_backward(&rig);
    struct cam_update update = {.lr = 1e-2, .grad_scale = 1.0 / 64, .beta2 = 0.99, .step = 1,
                                .anchor_l2 = 0.7, .anchor_ewc = 3};
    rig_update(&rig, &update);
    memcpy(rows, cam_pool_row(pool, 0), n * sizeof *rows);
    if (anchored)
        memcpy(centres, cam_pool_centre(pool, 0), n * sizeof *rows);
    for (uint64_t e = 0; e < N_EXPERTS; e++)
        updates[e] = cam_pool_state(pool, e)->updates;
    rig_release(&rig);
}

POOL_TEST(anchor, pulls_the_rows_that_a_step_moves_and_no_other) {
    enum { MOST = N_EXPERTS * 64 };
    size_t record = strcmp(kind, "peer") == 0 ? 64 : 32, n_pulled = 0;
    cam_real *array[5];
    uint32_t updates[N_EXPERTS];
    for (int i = 0; i < 5; i++)
        array[i] = calloc(MOST, sizeof **array);
    cam_real *free_rows = array[0], *rows = array[1], *centres = array[2];
    step_rows(kind, 0, 0, 1, free_rows, NULL, updates);
    step_rows(kind, 1, 0, 1, rows, centres, updates);
    step_rows(kind, 1, 0, 2, array[3], centres, updates);
    cr_assert_eq(memcmp(rows, array[3], MOST * sizeof *rows), 0);
    step_rows(kind, 1, 1, 1, array[4], centres, updates);
    for (size_t i = 0; i < MOST; i++)
        cr_assert_float_eq((double)rows[i], (double)array[4][i], 1e-9);
    for (uint64_t e = 0; e < N_EXPERTS; e++) {
        double f = 1e-2 * 2 * (0.7 + 3 * (double)(e % 4));
        int pulled = updates[e] > 0 && e != 5;
        n_pulled += (size_t)pulled;
        for (size_t i = (size_t)e * record; i < (e + 1) * record; i++) {
            double from = (double)free_rows[i];
            double expected = pulled ? from + f / (1 + f) * ((double)centres[i] - from) : from;
            cr_assert_float_eq((double)rows[i], expected, 1e-12);
        }
    }
    cr_assert(n_pulled > 10 && n_pulled < N_EXPERTS);
    for (int i = 0; i < 5; i++)
        free(array[i]);
}
