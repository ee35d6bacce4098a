/* Distillation from the average: the gradient against differences of the mixed loss, in double. */
#include "train/distill.h"

#include "base/rng.h"
#include "model/average.h"
#include "model/ff_peer.h"
#include "model/peer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OK(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())
#define T        8
#define N        (3 * T) /* three rows; the last two are replay */
#define V        40
#define SHARE    0.4

struct fixture {
    struct cam_model *model;
    struct cam_threads *threads;
    struct cam_arena arena;
    uint16_t tokens[N], targets[N];
    cam_real weights[N];
};

static void setup(struct fixture *f) {
    struct cam_model_shape shape = {.vocabulary = V,
                                    .width = 32,
                                    .n_blocks = 2,
                                    .heads = 4,
                                    .kv_heads = 2,
                                    .hidden = 20,
                                    .context = T,
                                    .peer_heads = 2,
                                    .peer_top_k = 4,
                                    .peer_key_width = 16,
                                    .peer_subkeys = 12,
                                    .peer_subkeys_capacity = 20,
                                    .pool_lr_scale = 1,
                                    .conv = 1,
                                    .ff = {"dense", "dense+peer"}};
    OK(cam_model_new(&shape, 7, &f->model));
    OK(cam_threads_new(2, &f->threads));
    cam_arena_init(&f->arena);
    for (size_t i = 0; i < N; i++) {
        f->tokens[i] = (uint16_t)(i * 7 % V);
        f->targets[i] = (uint16_t)(i * 11 % V);
        f->weights[i] = i == N - 1 ? 0 : (cam_real)(0.02 * (double)(1 + i % 3)); /* padding */
    }
}

static void teardown(struct fixture *f) {
    cam_model_free(f->model);
    cam_threads_free(f->threads);
    cam_arena_release(&f->arena);
}

static void disturb(struct fixture *f, uint64_t step) {
    for (size_t i = 0; i < f->model->params.n; i++) {
        struct cam_param *p = f->model->params.items[i];
        for (size_t j = 0; j < p->rows * p->cols; j++) {
            uint32_t word = cam_random_at(step, CAM_PURPOSE_TEST, j, (uint32_t)i).word[0];
            p->value[j] += (cam_real)(0.3 * (cam_random_unit(word) - 0.5));
        }
    }
}

static struct cam_pass forward(struct fixture *f, int training) {
    struct cam_pass pass = {
        .threads = f->threads, .arena = &f->arena, .n_tokens = N, .training = training};
    cam_model_forward(f->model, &pass, 3, f->tokens);
    return pass;
}

/* log softmax of a line of logits at I */
static double log_p(const cam_real *line, size_t i) {
    double sum = 0;
    for (size_t v = 0; v < V; v++)
        sum += exp((double)line[v]);
    return (double)line[i] - log(sum);
}

/* What the mixed gradient is the gradient of. */
static double objective(struct fixture *f, const cam_real *teacher) {
    double loss = 0;
    cam_arena_reset(&f->arena);
    forward(f, 1);
    for (size_t n = 0; n < N; n++) {
        const cam_real *line = f->model->logits + n * V;
        double a = n < T ? 0 : SHARE, soft = 0;
        for (size_t v = 0; v < V && n >= T; v++)
            soft -= (double)teacher[(n - T) * V + v] * log_p(line, v);
        loss += (double)f->weights[n] * ((1 - a) * -log_p(line, f->targets[n]) + a * soft);
    }
    return loss;
}

static cam_real *teach(struct fixture *f) {
    cam_arena_reset(&f->arena);
    const cam_real *taught =
        cam_distill_teach(f->model, f->threads, &f->arena, f->tokens + T, 2, T);
    cam_real *copy = malloc(2 * T * V * sizeof *copy);
    memcpy(copy, taught, 2 * T * V * sizeof *copy);
    return copy;
}

Test(distill, the_gradient_is_that_of_the_mixed_loss) {
    struct fixture f;
    cam_real nll[N];
    setup(&f);
    disturb(&f, 1);
    OK(cam_model_average_begin(f.model));
    disturb(&f, 2);
    cam_real *teacher = teach(&f);
    cam_arena_reset(&f.arena);
    cam_params_zero_grad(&f.model->params);
    struct cam_pass pass = forward(&f, 1);
    cam_model_loss(f.model, &pass, f.targets, f.weights, nll);
    cam_distill_mix(f.model, f.threads, teacher, f.targets, f.weights, T, 2 * T, SHARE);
    cam_model_backward(f.model, &pass);
    for (size_t i = 0; i < f.model->params.n; i++) {
        struct cam_param *p = f.model->params.items[i];
        size_t at = (i * 31 + 5) % (p->rows * p->cols);
        cam_real value = p->value[at], h = (cam_real)1e-5;
        p->value[at] = value + h;
        double above = objective(&f, teacher);
        p->value[at] = value - h;
        double below = objective(&f, teacher);
        p->value[at] = value;
        double expected = (above - below) / (2 * (double)h);
        cr_assert_float_eq((double)p->grad[at], expected, 1e-7 + 1e-5 * fabs(expected),
                           "%s: %g, %g", p->name, (double)p->grad[at], expected);
    }
    free(teacher);
    teardown(&f);
}

Test(distill, the_teacher_is_the_average_and_the_values_stay) {
    struct fixture f;
    setup(&f);
    disturb(&f, 1);
    cam_arena_reset(&f.arena);
    forward(&f, 0);
    cam_real then[V];
    memcpy(then, f.model->logits + (T + 3) * V, sizeof then);
    OK(cam_model_average_begin(f.model));
    disturb(&f, 2);
    const cam_real *value = f.model->embedding->value;
    cam_real *teacher = teach(&f);
    cr_assert_eq(f.model->embedding->value, value);
    for (size_t v = 0; v < V; v++)
        cr_assert_float_eq((double)teacher[3 * V + v], exp(log_p(then, v)), 1e-9);
    free(teacher);
    teardown(&f);
}
