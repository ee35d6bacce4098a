/* Gradients of the whole decoder against central differences, in double; causality; thread count. */
#include "model/model.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define VOCABULARY 19
#define SEQUENCES  2
#define T          70 /* more than one tile of attention, and not a multiple */
#define N          (SEQUENCES * T)

struct fixture {
    struct cam_model *model;
    struct cam_threads *threads;
    struct cam_arena arena;
    uint16_t tokens[N], targets[N];
    cam_real weights[N], nll[N];
};

static void setup(struct fixture *f, const char *ff, int n_threads) {
    struct cam_model_shape shape = {.vocabulary = VOCABULARY, .width = 32, .n_blocks = 2,
                                    .heads = 4, .kv_heads = 2, .hidden = 20, .context = T,
                                    .moe_experts = 3, .moe_capacity = 1.25, .moe_balance = 0.1,
                                    .peer_heads = 2, .peer_top_k = 4, .peer_key_width = 16,
                                    .peer_subkeys = 8, .peer_subkeys_capacity = 16,
                                    .pool_lr_scale = 1, .conv = 1};
    for (size_t i = 0; i < shape.n_blocks; i++)
        strcpy(shape.ff[i], ff);
    cr_assert_eq(cam_model_new(&shape, 7, &f->model), CAM_OK, "%s", cam_message());
    cr_assert_eq(cam_threads_new(n_threads, &f->threads), CAM_OK);
    cam_arena_init(&f->arena);
    for (size_t i = 0; i < N; i++) {
        struct cam_random r = cam_random_at(3, CAM_PURPOSE_TEST, i, 0);
        f->tokens[i] = (uint16_t)(r.word[0] % VOCABULARY);
        f->targets[i] = (uint16_t)(r.word[1] % VOCABULARY);
        f->weights[i] = (cam_real)(i % 5 == 0 ? 0 : 1.0 / N);
    }
    /* Branches start at zero; fill every parameter so that every path carries gradient. */
    for (size_t i = 0; i < f->model->params.n; i++) {
        struct cam_param *p = f->model->params.items[i];
        if (p->part == CAM_PART_NORM)
            for (size_t j = 0; j < p->cols; j++)
                p->value[j] = (cam_real)(1 + 0.1 * (double)(j % 3));
        else
            cam_param_fill_normal(p, 11, 0, p->rows, 0.4);
    }
}

static void teardown(struct fixture *f) {
    cam_model_free(f->model);
    cam_threads_free(f->threads);
    cam_arena_release(&f->arena);
}

static struct cam_pass start(struct fixture *f, int training) {
    cam_arena_reset(&f->arena);
    return (struct cam_pass){
        .threads = f->threads, .arena = &f->arena, .n_tokens = N, .training = training};
}

/* As backward sees it: with what the layers add to the loss themselves. */
static double loss(struct fixture *f) {
    struct cam_pass pass = start(f, 1);
    double sum = 0;
    cam_model_forward(f->model, &pass, SEQUENCES, f->tokens);
    cam_model_loss(f->model, &pass, f->targets, f->weights, f->nll);
    for (size_t i = 0; i < N; i++)
        sum += (double)f->weights[i] * (double)f->nll[i];
    for (size_t i = 0; i < f->model->shape.n_blocks; i++)
        for (size_t j = 0; j < f->model->blocks[i].n_ff; j++) {
            const struct cam_ff *ff = f->model->blocks[i].ff[j];
            if (ff->ops->auxiliary)
                sum += ff->ops->auxiliary(ff);
        }
    return sum;
}

static void differentiate(struct fixture *f) {
    struct cam_pass pass = start(f, 1);
    cam_params_zero_grad(&f->model->params);
    cam_model_forward(f->model, &pass, SEQUENCES, f->tokens);
    cam_model_loss(f->model, &pass, f->targets, f->weights, f->nll);
    cam_model_backward(f->model, &pass);
}

/* Compares up to 12 elements of every parameter, spread over it. */
static void check_gradients(const char *ff) {
    struct fixture f;
    setup(&f, ff, 1);
    differentiate(&f);
    for (size_t i = 0; i < f.model->params.n; i++) {
        struct cam_param *p = f.model->params.items[i];
        size_t n = p->rows * p->cols, stride = n / 12 + 1;
        for (size_t j = 0; j < n; j += stride) {
            double step = 1e-5, kept = p->value[j], analytic = p->grad[j];
            p->value[j] = kept + step;
            double up = loss(&f);
            p->value[j] = kept - step;
            double down = loss(&f);
            p->value[j] = kept;
            double numeric = (up - down) / (2 * step);
            cr_assert_lt(fabs(numeric - analytic), 1e-8 + 1e-5 * fabs(numeric),
                         "%s %s[%zu]: %.12g by differences, %.12g by hand", ff, p->name, j, numeric,
                         analytic);
        }
    }
    teardown(&f);
}

Test(model, gradients_dense) {
    check_gradients("dense");
}

Test(model, gradients_dense_and_peer) {
    check_gradients("dense+peer");
}

Test(model, gradients_moe_and_pkm) {
    check_gradients("moe+pkm");
}

Test(model, later_tokens_do_not_change_earlier_predictions) {
    struct fixture f;
    cam_real before[N];
    setup(&f, "dense", 1);
    loss(&f);
    memcpy(before, f.nll, sizeof before);
    f.tokens[T - 10] = (uint16_t)((f.tokens[T - 10] + 1) % VOCABULARY);
    loss(&f);
    for (size_t i = 0; i < T - 10; i++)
        cr_assert_eq(f.nll[i], before[i], "token %zu saw the future", i);
    cr_assert_neq(f.nll[T - 10], before[T - 10]);
    for (size_t i = T; i < N; i++)
        cr_assert_eq(f.nll[i], before[i], "sequences mix at %zu", i);
    teardown(&f);
}

Test(model, one_and_two_threads_give_the_same_bits) {
    struct fixture one, two;
    setup(&one, "dense", 1);
    setup(&two, "dense", 2);
    differentiate(&one);
    differentiate(&two);
    cr_assert_eq(memcmp(one.nll, two.nll, sizeof one.nll), 0);
    for (size_t i = 0; i < one.model->params.n; i++) {
        struct cam_param *a = one.model->params.items[i], *b = two.model->params.items[i];
        cr_assert_eq(memcmp(a->grad, b->grad, a->rows * a->cols * sizeof *a->grad), 0, "%s",
                     a->name);
    }
    teardown(&one);
    teardown(&two);
}

Test(model, impossible_shapes_are_refused_by_name) {
    struct cam_model_shape shape = {.vocabulary = 10, .width = 30, .n_blocks = 1, .heads = 4,
                                    .kv_heads = 2, .hidden = 8, .context = 8, .ff = {"dense"}};
    struct cam_model *model = NULL;
    cr_assert_eq(cam_model_new(&shape, 1, &model), CAM_ERR_CONFIG);
    cr_assert(strstr(cam_message(), "model.width"));
    shape.width = 32;
    static const char *const slots[] = {"nonsense",   "dense+nonsense", "dense+dense",
                                        "peer+pkm",   "dense+moe+peer", "+",
                                        "dense+peer+"};
    shape.peer_heads = shape.peer_top_k = 1;
    shape.peer_key_width = shape.peer_subkeys = shape.peer_subkeys_capacity = 16;
    shape.moe_experts = 2;
    shape.moe_capacity = 1;
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        strcpy(shape.ff[0], slots[i]);
        cr_assert_eq(cam_model_new(&shape, 1, &model), CAM_ERR_CONFIG, "%s", slots[i]);
        cr_assert(strstr(cam_message(), slots[i]) && strstr(cam_message(), "dense, moe, pkm, peer"),
                  "%s", cam_message());
        cr_assert_null(model);
    }
}

/* Counted by hand for one block without convolution. */
Test(model, sizes_count_what_a_token_reads) {
    struct cam_model_shape shape = {.vocabulary = 10, .width = 32, .n_blocks = 1, .heads = 4,
                                    .kv_heads = 2, .hidden = 20, .context = 8, .moe_experts = 6,
                                    .moe_capacity = 1, .peer_heads = 2, .peer_top_k = 4,
                                    .peer_key_width = 16, .peer_subkeys = 8,
                                    .peer_subkeys_capacity = 16};
    const double rest = 10 * 32 + 3 * 32 + 32 * 64 + 32 * 32 + 2 * 8; /* embedding to gains */
    const double router = 32 * 2 * 2 * 16 + 2 * 8 * 16, expert = 3 * 32 * 10;
    const struct {
        const char *slot;
        double parameters, active;
        size_t pool, mixture;
    } expected[] = {
        {"dense", 3 * 32 * 20, 3 * 32 * 20, 0, 0},
        {"moe", 32 * 6 + 6 * expert, 32 * 6 + 2 * expert, 0, 6},
        {"peer", router + 64 * 64, router + 8 * 64, 64, 0},
        {"dense+pkm", 3 * 32 * 20 + router + 64 * 32, 3 * 32 * 20 + router + 8 * 32, 64, 0},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct cam_model *model;
        struct cam_model_size size;
        strcpy(shape.ff[0], expected[i].slot);
        cr_assert_eq(cam_model_new(&shape, 1, &model), CAM_OK, "%s", cam_message());
        cam_model_size(model, &size);
        cr_assert_eq(size.parameters, rest + expected[i].parameters, "%s", expected[i].slot);
        cr_assert_eq(size.active, rest + expected[i].active, "%s", expected[i].slot);
        cr_assert_eq(size.pool_experts, expected[i].pool);
        cr_assert_eq(size.mixture_experts, expected[i].mixture);
        cam_model_free(model);
    }
}
