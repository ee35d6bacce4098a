#include "bench/model_bench.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/rng.h"
#include "bench/isolated.h"
#include "bench/layer_bench.h"
#include "bench/limits.h"
#include "bench/plain_trainer.h"
#include "bench/torch_process.h"
#include "model/conv.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_BATCHES   4
#define WARM_STEPS  2
#define SLOT_TOKENS 101 /* of CAM_PURPOSE_BENCH */

struct rig {
    const struct cam_model_bench_config *config;
    struct cam_model *model;
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_batch batch[N_BATCHES];
    uint64_t n_steps;
    struct cam_torch *torch;
    struct cam_plain *plain;
};

static size_t tokens_a_step(const struct rig *rig) {
    return rig->config->n_sequences * rig->config->shape.context;
}

/* Low tokens are frequent, as in text; what they are does not change the work of a dense model. */
static enum cam_status make_batch(const struct rig *rig, uint64_t i_batch,
                                  struct cam_batch *batch) {
    size_t n = tokens_a_step(rig), t = rig->config->shape.context;
    *batch = (struct cam_batch){.n_sequences = rig->config->n_sequences, .t = t};
    batch->tokens = malloc(n * sizeof *batch->tokens);
    batch->targets = malloc(n * sizeof *batch->targets);
    batch->weights = malloc(n * sizeof *batch->weights);
    if (!batch->tokens || !batch->targets || !batch->weights)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        struct cam_random random =
            cam_random_at(rig->config->seed, CAM_PURPOSE_BENCH, i_batch << 40 | i, SLOT_TOKENS);
        double u = cam_random_unit(random.word[0]);
        batch->tokens[i] = (uint16_t)(u * u * u * (double)rig->config->shape.vocabulary);
        batch->weights[i] = 1;
    }
    for (size_t i = 0; i < n; i++)
        batch->targets[i] = batch->tokens[i + 1 < n ? i + 1 : 0];
    return CAM_OK;
}

static void rig_release(struct rig *rig) {
    cam_torch_stop(rig->torch);
    cam_plain_free(rig->plain);
    cam_model_free(rig->model);
    cam_threads_free(rig->threads);
    cam_arena_release(&rig->arena);
    for (size_t i = 0; i < N_BATCHES; i++) {
        free(rig->batch[i].tokens);
        free(rig->batch[i].targets);
        free(rig->batch[i].weights);
    }
}

/* ---- the others ---- */

static enum cam_status describe(const struct rig *rig, struct cam_buffer *out) {
    const struct cam_model_shape *s = &rig->config->shape;
    if (s->activation != CAM_ACTIVATION_SWIGLU)
        return cam_fail(CAM_ERR_CONFIG, "the PyTorch model knows SwiGLU only");
    CAM_TRY(cam_buffer_append_format(
        out,
        "{\"mode\": \"model\", \"threads\": %d, \"learning_rate\": %g, \"batches\": %d, "
        "\"sequences\": %zu, \"context\": %zu, \"vocabulary\": %zu, \"width\": %zu, "
        "\"attention_heads\": %zu, \"kv_heads\": %zu, \"hidden\": %zu, \"conv\": %d, \"taps\": %d, "
        "\"heads\": %zu, \"top_k\": %zu, \"key_width\": %zu, \"subkeys\": %zu, \"ff\": [",
        rig->config->n_threads, rig->config->recipe.lr, N_BATCHES, rig->config->n_sequences,
        s->context, s->vocabulary, s->width, s->heads, s->kv_heads, s->hidden, s->conv,
        CAM_CONV_WIDTH, s->peer_heads, s->peer_top_k, s->peer_key_width, s->peer_subkeys));
    for (size_t i = 0; i < s->n_blocks; i++) {
        if (strcmp(s->ff[i], "dense") != 0 && strcmp(s->ff[i], "peer") != 0 &&
            strcmp(s->ff[i], "dense+peer") != 0)
            return cam_fail(CAM_ERR_CONFIG,
                            "the PyTorch model knows dense, peer and dense+peer; block %zu is %s",
                            i, s->ff[i]);
        CAM_TRY(cam_buffer_append_format(out, "%s\"%s\"", i ? ", " : "", s->ff[i]));
    }
    return cam_buffer_append_text(out, "]}");
}

static enum cam_status start_torch(struct rig *rig) {
    size_t n = tokens_a_step(rig), at = 0;
    struct cam_buffer text;
    float *data = malloc(2 * N_BATCHES * n * sizeof *data);
    if (!data)
        return cam_fail(CAM_ERR_OS, "out of memory for PyTorch's inputs");
    for (size_t part = 0; part < 2; part++)
        for (size_t b = 0; b < N_BATCHES; b++)
            for (size_t i = 0; i < n; i++)
                data[at++] = (float)(part ? rig->batch[b].targets[i] : rig->batch[b].tokens[i]);
    cam_buffer_init(&text, 8192);
    enum cam_status status = describe(rig, &text);
    if (status == CAM_OK)
        status = cam_torch_start(rig->config->python, rig->config->n_threads, text.data, data, at,
                                 &rig->torch);
    cam_buffer_release(&text);
    free(data);
    return status;
}

static enum cam_status rig_init(struct rig *rig, const struct cam_model_bench_config *config) {
    *rig = (struct rig){.config = config};
    cam_arena_init(&rig->arena);
    CAM_TRY(cam_threads_new(config->n_threads, &rig->threads));
    CAM_TRY(cam_model_new(&config->shape, config->seed, &rig->model));
    for (size_t i = 0; i < N_BATCHES; i++)
        CAM_TRY(make_batch(rig, i, &rig->batch[i]));
    if (config->plain)
        CAM_TRY(cam_plain_new(rig->model, config->n_sequences, config->shape.context,
                              config->n_threads, &rig->plain));
    return *config->python ? start_torch(rig) : CAM_OK;
}

/* ---- the measurement ---- */

struct tally {
    struct cam_samples step, in_forward, in_backward, in_update, fma, products, torch, plain,
        step_cpu, torch_cpu, plain_cpu;
};

static void rest(void) {
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

/* One step of each, on the same batch. */
static enum cam_status step_all(struct rig *rig, struct tally *tally,
                                struct cam_model_bench_result *r) {
    const struct cam_batch *batch = &rig->batch[rig->n_steps++ % N_BATCHES];
    struct cam_step_report report;
    double start = cam_clock_seconds(), cpu = cam_clock_cpu_seconds(), seconds;
    int n_threads = rig->config->n_threads;
    cam_step_run(rig->model, rig->threads, &rig->arena, &rig->config->recipe, batch, rig->n_steps,
                 0, &report);
    cam_samples_add(&tally->step, cam_clock_seconds() - start);
    cam_samples_add(&tally->step_cpu, (cam_clock_cpu_seconds() - cpu) / n_threads);
    if (report.verdict != CAM_VERDICT_SOUND)
        return cam_fail(CAM_ERR_INTERNAL, "step %llu of the benchmark was not sound",
                        (unsigned long long)rig->n_steps);
    r->loss = report.loss;
    cam_samples_add(&tally->fma, cam_limit_fma(rig->threads));
    cam_samples_add(&tally->products,
                    cam_limit_products(rig->threads, rig->config->shape.products));
    if (rig->torch) {
        rest();
        CAM_TRY(cam_torch_step(rig->torch, &seconds));
        cam_samples_add(&tally->torch, seconds);
        CAM_TRY(cam_torch_number(rig->torch, "cpu_seconds", &seconds));
        cam_samples_add(&tally->torch_cpu, seconds / n_threads);
    }
    if (rig->plain) {
        rest();
        start = cam_clock_seconds();
        cpu = cam_clock_cpu_seconds();
        r->plain_loss = cam_plain_step(rig->plain, &rig->config->recipe, batch, rig->n_steps);
        cam_samples_add(&tally->plain, cam_clock_seconds() - start);
        cam_samples_add(&tally->plain_cpu, (cam_clock_cpu_seconds() - cpu) / n_threads);
    }
    if (rig->torch || rig->plain)
        rest();
    return CAM_OK;
}

/* The calls of cam_step_run one by one, with the clock between them. */
static void step_apart(struct rig *rig, struct tally *tally) {
    const struct cam_recipe *recipe = &rig->config->recipe;
    const struct cam_batch *batch = &rig->batch[rig->n_steps++ % N_BATCHES];
    size_t n = tokens_a_step(rig);
    struct cam_optimizer optimizer = {.kind = recipe->optimizer,
                                      .lr = cam_recipe_lr(recipe, rig->n_steps),
                                      .beta1 = recipe->beta1,
                                      .beta2 = recipe->beta2,
                                      .epsilon = 1e-8,
                                      .weight_decay = recipe->weight_decay,
                                      .momentum = recipe->momentum,
                                      .grad_scale = 1,
                                      .step = rig->n_steps,
                                      .products = rig->config->shape.products};
    struct cam_update update = {
        .lr = optimizer.lr, .grad_scale = 1, .beta1 = recipe->beta1, .beta2 = recipe->beta2,
        .step = rig->n_steps};
    cam_arena_reset(&rig->arena);
    struct cam_pass pass = {.threads = rig->threads,
                            .arena = &rig->arena,
                            .n_tokens = n,
                            .training = 1,
                            .products = rig->config->shape.products};
    cam_real *nll = cam_arena_alloc(&rig->arena, n * sizeof *nll);
    cam_real *weights = cam_arena_alloc(&rig->arena, n * sizeof *weights);
    for (size_t i = 0; i < n; i++)
        weights[i] = 1 / (cam_real)n;
    double start = cam_clock_seconds();
    cam_params_zero_grad(&rig->model->params);
    cam_model_forward(rig->model, &pass, batch->n_sequences, batch->tokens);
    cam_model_loss(rig->model, &pass, batch->targets, weights, nll);
    double passed = cam_clock_seconds();
    cam_model_backward(rig->model, &pass);
    double differentiated = cam_clock_seconds();
    cam_grad_norm(&rig->model->params, rig->threads, &rig->arena);
    cam_model_update(rig->model, &pass, &update);
    cam_optimizer_step(&optimizer, &rig->model->params, rig->threads, &rig->arena);
    cam_samples_add(&tally->in_forward, passed - start);
    cam_samples_add(&tally->in_backward, differentiated - passed);
    cam_samples_add(&tally->in_update, cam_clock_seconds() - differentiated);
}

/* Also counts parameters and experts. */
static void count_step(struct rig *rig, struct cam_model_bench_result *r) {
    const struct cam_model_shape *s = &rig->config->shape;
    double all = 3 * cam_model_flops(rig->model, s->context), others = 0;
    struct cam_model_size size;
    cam_model_size(rig->model, &size);
    r->parameters = size.parameters;
    r->experts = (double)size.pool_experts;
    for (size_t i = 0; i < CAM_MAX_FF * s->n_blocks; i++) {
        const struct cam_block *block = &rig->model->blocks[i / CAM_MAX_FF];
        const struct cam_ff *ff = i % CAM_MAX_FF < block->n_ff ? block->ff[i % CAM_MAX_FF] : NULL;
        if (!ff || strcmp(ff->ops->name, "peer") != 0)
            continue;
        double forward, step, products;
        cam_layer_flops(s->width, s->peer_heads, s->peer_top_k, s->peer_key_width, s->peer_subkeys,
                        &forward, &step);
        all += step - 3 * forward;
        cam_layer_products(s->width, s->peer_heads, s->peer_key_width, s->peer_subkeys, &forward,
                           &products);
        others += step - products;
    }
    r->flops = all;
    r->products = all - others;
}

static enum cam_status measure(struct rig *rig, struct cam_model_bench_result *r) {
    struct tally tally = {0}, ignored = {0};
    for (int i = 0; i < WARM_STEPS; i++)
        CAM_TRY(step_all(rig, &ignored, r));
    r->rss_bytes = rig->plain ? 0 : cam_peak_memory_bytes();
    for (size_t i = 0; i < rig->config->n_repeats; i++)
        CAM_TRY(step_all(rig, &tally, r));
    for (size_t i = 0; i < rig->config->n_repeats; i++)
        step_apart(rig, &tally);
    r->step = cam_samples_timing(&tally.step);
    r->in_forward = cam_samples_timing(&tally.in_forward);
    r->in_backward = cam_samples_timing(&tally.in_backward);
    r->in_update = cam_samples_timing(&tally.in_update);
    r->limit_fma = cam_samples_timing(&tally.fma);
    r->torch_seconds = cam_samples_timing(&tally.torch);
    r->plain_seconds = cam_samples_timing(&tally.plain);
    r->step_cpu = cam_samples_timing(&tally.step_cpu);
    r->torch_cpu = cam_samples_timing(&tally.torch_cpu);
    r->plain_cpu = cam_samples_timing(&tally.plain_cpu);
    r->limit_products = cam_samples_timing(&tally.products);
    count_step(rig, r);
    r->share_of_peak =
        ((r->flops - r->products) / r->limit_fma.median + r->products / r->limit_products.median) *
        (double)tokens_a_step(rig) / r->step.median;
    r->has_plain = rig->plain != NULL;
    r->has_torch = rig->torch != NULL;
    if (!rig->torch)
        return CAM_OK;
    memcpy(r->torch_about, cam_torch_about(rig->torch), strlen(cam_torch_about(rig->torch)) + 1);
    CAM_TRY(cam_torch_number(rig->torch, "loss", &r->torch_loss));
    return cam_torch_number(rig->torch, "rss_bytes", &r->torch_rss_bytes);
}

static enum cam_status bench(const void *input, void *output) {
    struct rig rig;
    enum cam_status status = rig_init(&rig, input);
    if (status == CAM_OK)
        status = measure(&rig, output);
    rig_release(&rig);
    return status;
}

enum cam_status cam_model_bench(const struct cam_model_bench_config *config,
                                struct cam_model_bench_result *result) {
    struct cam_model_bench_result measured;
    CAM_TRY(cam_isolated(bench, config, &measured, sizeof measured));
    *result = measured;
    return CAM_OK;
}
