#include "bench/layer_bench.h"

#include "base/clock.h"
#include "base/rng.h"
#include "bench/isolated.h"
#include "bench/limits.h"
#include "bench/torch_process.h"
#include "model/ff_peer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_BATCHES     4 /* inputs in turn, so that one step's rows are not the next one's */
#define WARM_STEPS    2
#define LEARNING_RATE 1e-3
#define NOISE         0.5 /* around a cluster's centre, which has length sqrt(D) */

/* Slots of CAM_PURPOSE_BENCH. */
enum { SLOT_X = 1, SLOT_DY, SLOT_CENTRE, SLOT_TARGET, SLOT_CHOICE, SLOT_LIMIT };

struct layer {
    const struct cam_layer_config *config;
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_params params;
    struct cam_ff *ff;
    struct cam_pass pass;
    struct cam_table table; /* the experts' records */
    size_t state_bytes;     /* of all experts */
    cam_real *x;            /* (N_BATCHES, N, D) */
    cam_real *dy;           /* (N, D) of timed steps */
    cam_real *y, *dx;       /* (N, D) */
    uint64_t n_steps;
};

struct phases {
    double forward, backward, rows, dense;
};

void cam_layer_flops(size_t width, size_t heads, size_t top_k, size_t key_width, size_t subkeys,
                     double *forward, double *step) {
    double D = (double)width, P = (double)heads, K = (double)top_k, dk = (double)key_width;
    double projection = 2 * D * P * 2 * dk, scores = 2 * P * 2 * dk * (double)subkeys;
    double experts = 2 * P * K * 2 * D, picked_keys = 2 * P * K * 2 * dk;
    *forward = projection + scores + experts;
    *step = 3 * projection + scores + 3 * experts + 2 * picked_keys;
}

void cam_layer_products(size_t width, size_t heads, size_t key_width, size_t subkeys,
                        double *forward, double *step) {
    double D = (double)width, P = (double)heads, dk = (double)key_width;
    double projection = 2 * D * P * 2 * dk, scores = 2 * P * 2 * dk * (double)subkeys;
    *forward = projection + scores;
    *step = 3 * projection + scores;
}

/* ---- inputs ---- */

static void fill_normal(cam_real *out, size_t n, uint64_t seed, uint64_t part, uint32_t slot,
                        double scale) {
    for (size_t i = 0; i < n; i += 4) {
        float normal[4];
        cam_random_normal4(cam_random_at(seed, CAM_PURPOSE_BENCH, part << 40 | i / 4, slot),
                           normal);
        for (size_t k = 0; k < 4 && i + k < n; k++)
            out[i + k] = (cam_real)(normal[k] * scale);
    }
}

/* The cluster of token T of batch B: number r with probability in proportion to 1 / (r + 1). */
static size_t cluster_of(uint64_t seed, size_t b, size_t t) {
    struct cam_random random = cam_random_at(seed, CAM_PURPOSE_BENCH, b << 40 | t, SLOT_CHOICE);
    double total = 0;
    for (size_t r = 0; r < CAM_ROUTING_CLUSTERS; r++)
        total += 1.0 / (double)(r + 1);
    double at = cam_random_unit(random.word[0]) * total;
    size_t r = 0;
    for (; r + 1 < CAM_ROUTING_CLUSTERS; r++) {
        at -= 1.0 / (double)(r + 1);
        if (at < 0)
            break;
    }
    return r;
}

/* Adds the centre of each token's cluster to noise that is there already. */
static enum cam_status add_centres(struct layer *l) {
    const struct cam_layer_config *c = l->config;
    size_t D = c->width;
    cam_real *centres = malloc(CAM_ROUTING_CLUSTERS * D * sizeof *centres);
    if (!centres)
        return cam_fail(CAM_ERR_OS, "out of memory for inputs");
    fill_normal(centres, CAM_ROUTING_CLUSTERS * D, c->seed, 0, SLOT_CENTRE, 1);
    for (size_t b = 0; b < N_BATCHES; b++) {
        for (size_t t = 0; t < c->n_tokens; t++) {
            const cam_real *centre = centres + cluster_of(c->seed, b, t) * D;
            cam_real *x = l->x + (b * c->n_tokens + t) * D;
            for (size_t i = 0; i < D; i++)
                x[i] += centre[i];
        }
    }
    free(centres);
    return CAM_OK;
}

static enum cam_status make_inputs(struct layer *l) {
    const struct cam_layer_config *c = l->config;
    size_t n = c->n_tokens * c->width;
    int trained = c->routing == CAM_ROUTING_TRAINED;
    l->x = aligned_alloc(64, N_BATCHES * n * sizeof *l->x);
    l->y = aligned_alloc(64, n * sizeof *l->y);
    l->dy = aligned_alloc(64, n * sizeof *l->dy);
    l->dx = aligned_alloc(64, n * sizeof *l->dx);
    if (!l->x || !l->y || !l->dy || !l->dx)
        return cam_fail(CAM_ERR_OS, "out of memory for inputs of %zu tokens", c->n_tokens);
    for (size_t b = 0; b < N_BATCHES; b++)
        fill_normal(l->x + b * n, n, c->seed, b, SLOT_X, trained ? NOISE : 1);
    fill_normal(l->dy, n, c->seed, 0, SLOT_DY, 1 / (double)c->n_tokens);
    return trained ? add_centres(l) : CAM_OK;
}

/* ---- the layer ---- */

/* Rows go into the table the limits read; of the optimiser's state only the size matters. */
static enum cam_status note_state(void *context, const char *name, void *data, size_t n_bytes) {
    struct layer *l = context;
    if (strstr(name, ".rows."))
        return cam_table_add(&l->table, data, n_bytes);
    if (strstr(name, ".optimiser.") || strstr(name, ".moments."))
        l->state_bytes += n_bytes;
    return CAM_OK;
}

static enum cam_status note_table(struct layer *l) {
    uint64_t n_experts = cam_peer_n_experts(l->ff);
    cam_table_release(&l->table);
    l->state_bytes = 0;
    CAM_TRY(l->ff->ops->visit_state(l->ff, note_state, l));
    l->table.record_bytes = cam_table_bytes(&l->table) / (size_t)n_experts;
    if (l->table.record_bytes == 0 || l->table.record_bytes % 64)
        return cam_fail(CAM_ERR_INTERNAL, "records of %zu bytes cannot be read in lines of 64",
                        l->table.record_bytes);
    return CAM_OK;
}

static enum cam_status layer_init(struct layer *l, const struct cam_layer_config *c) {
    struct cam_ff_config config = {
        .seed = c->seed,
        .width = c->width,
        .heads = c->heads,
        .top_k = c->top_k,
        .key_width = c->key_width,
        .subkeys = c->subkeys,
        .subkeys_capacity = c->grown_subkeys > c->subkeys ? c->grown_subkeys : c->subkeys,
        .pool_lr_scale = c->pool_lr_scale,
        .pool_adam = c->rows_adam,
        .pool_bf16 = c->rows_bf16,
    };
    *l = (struct layer){.config = c};
    cam_arena_init(&l->arena);
    cam_params_init(&l->params);
    CAM_TRY(cam_threads_new(c->n_threads, &l->threads));
    CAM_TRY(cam_ff_peer.create(&config, &l->params, &l->ff));
    CAM_TRY(note_table(l));
    l->pass = (struct cam_pass){.threads = l->threads,
                                .arena = &l->arena,
                                .n_tokens = c->n_tokens,
                                .training = 1,
                                .products = c->products};
    return make_inputs(l);
}

static void layer_release(struct layer *l) {
    cam_ff_peer.destroy(l->ff);
    cam_params_release(&l->params);
    cam_arena_release(&l->arena);
    cam_threads_free(l->threads);
    cam_table_release(&l->table);
    free(l->x);
    free(l->y);
    free(l->dy);
    free(l->dx);
}

static const cam_real *batch_at(const struct layer *l, uint64_t i) {
    return l->x + i % N_BATCHES * l->config->n_tokens * l->config->width;
}

static double run_forward(struct layer *l, const cam_real *x, int training) {
    double start = cam_clock_seconds();
    cam_arena_reset(&l->arena);
    l->pass.training = training;
    memset(l->y, 0, l->config->n_tokens * l->config->width * sizeof *l->y);
    l->ff->ops->forward(l->ff, &l->pass, x, l->y);
    return cam_clock_seconds() - start;
}

/* What follows a training pass: gradients of DY, then everything moves. */
static void run_rest(struct layer *l, const cam_real *x, const cam_real *dy, struct phases *p) {
    const struct cam_layer_config *c = l->config;
    struct cam_update update = {
        .lr = LEARNING_RATE, .grad_scale = 1, .beta1 = 0.9, .beta2 = 0.95, .step = ++l->n_steps};
    struct cam_optimizer optimizer = {.kind = c->optimizer,
                                      .lr = LEARNING_RATE,
                                      .beta1 = 0.9,
                                      .beta2 = 0.95,
                                      .epsilon = 1e-8,
                                      .momentum = 0.95,
                                      .grad_scale = 1,
                                      .step = l->n_steps,
                                      .products = c->products};
    double start = cam_clock_seconds();
    cam_params_zero_grad(&l->params);
    memset(l->dx, 0, c->n_tokens * c->width * sizeof *l->dx);
    l->ff->ops->backward(l->ff, &l->pass, x, dy, l->dx);
    double differentiated = cam_clock_seconds();
    l->ff->ops->update(l->ff, &l->pass, &update);
    double rows = cam_clock_seconds();
    cam_optimizer_step(&optimizer, &l->params, l->threads, &l->arena);
    p->backward = differentiated - start;
    p->rows = rows - differentiated;
    p->dense = cam_clock_seconds() - rows;
}

static void run_step(struct layer *l, struct phases *p) {
    const cam_real *x = batch_at(l, l->n_steps);
    p->forward = run_forward(l, x, 1);
    run_rest(l, x, l->dy, p);
}

/* Teaches the layer a random output for each cluster: squared error, mean over tokens. */
static enum cam_status train(struct layer *l) {
    const struct cam_layer_config *c = l->config;
    size_t D = c->width, n = c->n_tokens * D;
    cam_real *target = malloc(CAM_ROUTING_CLUSTERS * D * sizeof *target);
    cam_real *dy = aligned_alloc(64, n * sizeof *dy);
    if (!target || !dy) {
        free(target);
        free(dy);
        return cam_fail(CAM_ERR_OS, "out of memory for targets");
    }
    fill_normal(target, CAM_ROUTING_CLUSTERS * D, c->seed, 0, SLOT_TARGET, 1);
    for (size_t step = 0; step < CAM_ROUTING_TRAIN_STEPS; step++) {
        struct phases ignored;
        const cam_real *x = batch_at(l, l->n_steps);
        size_t b = (size_t)(l->n_steps % N_BATCHES);
        run_forward(l, x, 1);
        for (size_t t = 0; t < c->n_tokens; t++) {
            const cam_real *wanted = target + cluster_of(c->seed, b, t) * D;
            for (size_t i = 0; i < D; i++)
                dy[t * D + i] = (l->y[t * D + i] - wanted[i]) / (cam_real)c->n_tokens;
        }
        run_rest(l, x, dy, &ignored);
    }
    free(target);
    free(dy);
    return CAM_OK;
}

/* ---- PyTorch ---- */

static size_t append_floats(float *out, size_t at, const cam_real *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[at + i] = (float)from[i];
    return at + n;
}

/* The same inputs, projection and sub-keys, hence the same picks; expert rows of its own. */
static enum cam_status start_torch(struct layer *l, struct cam_torch **torch) {
    const struct cam_layer_config *c = l->config;
    size_t n = c->n_tokens * c->width, at = 0, n_params = 0;
    char text[512];
    for (size_t i = 0; i < l->params.n; i++)
        n_params += l->params.items[i]->rows * l->params.items[i]->cols;
    float *data = malloc(((N_BATCHES + 1) * n + n_params) * sizeof *data);
    if (!data)
        return cam_fail(CAM_ERR_OS, "out of memory for PyTorch's inputs");
    at = append_floats(data, at, l->x, N_BATCHES * n);
    at = append_floats(data, at, l->dy, n);
    for (size_t i = 0; i < l->params.n; i++) { /* query, then the two codebooks */
        const struct cam_param *p = l->params.items[i];
        at = append_floats(data, at, p->value, p->rows * p->cols);
    }
    snprintf(text, sizeof text,
             "{\"mode\": \"layer\", \"threads\": %d, \"learning_rate\": %g, \"tokens\": %zu, "
             "\"batches\": %d, \"width\": %zu, \"heads\": %zu, \"top_k\": %zu, \"key_width\": %zu, "
             "\"subkeys\": %zu}",
             c->n_threads, LEARNING_RATE, c->n_tokens, N_BATCHES, c->width, c->heads, c->top_k,
             c->key_width, c->subkeys);
    enum cam_status status = cam_torch_start(c->python, c->n_threads, text, data, at, torch);
    free(data);
    return status;
}

/* ---- the measurement ---- */

struct tally {
    struct cam_samples forward, step, in_forward, in_backward, in_rows, in_dense;
    struct cam_samples fma, products, sequential, random, torch, step_cpu, torch_cpu;
};

/* A thread pool that has just run spins for a while: let it come to rest before others start. */
static void rest(void) {
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

static enum cam_status measure_round(struct layer *l, struct cam_torch *torch, size_t i_round,
                                     struct tally *tally) {
    const struct cam_layer_config *c = l->config;
    struct phases p;
    double start = cam_clock_seconds(), cpu = cam_clock_cpu_seconds(), value;
    run_step(l, &p);
    cam_samples_add(&tally->step, cam_clock_seconds() - start);
    cam_samples_add(&tally->step_cpu, (cam_clock_cpu_seconds() - cpu) / c->n_threads);
    cam_samples_add(&tally->in_forward, p.forward);
    cam_samples_add(&tally->in_backward, p.backward);
    cam_samples_add(&tally->in_rows, p.rows);
    cam_samples_add(&tally->in_dense, p.dense);
    cam_samples_add(&tally->forward, run_forward(l, batch_at(l, l->n_steps + 1), 0));
    cam_samples_add(&tally->fma, cam_limit_fma(l->threads));
    cam_samples_add(&tally->products, cam_limit_products(l->threads, c->products));
    cam_samples_add(&tally->sequential, cam_limit_sequential(l->threads, &l->table));
    CAM_TRY(cam_limit_random(l->threads, &l->table, c->n_tokens * c->heads * c->top_k,
                             c->seed + i_round * 1000003, &value));
    cam_samples_add(&tally->random, value);
    if (!torch)
        return CAM_OK;
    rest();
    CAM_TRY(cam_torch_step(torch, &value));
    cam_samples_add(&tally->torch, value);
    CAM_TRY(cam_torch_number(torch, "cpu_seconds", &value));
    cam_samples_add(&tally->torch_cpu, value / c->n_threads);
    rest();
    return CAM_OK;
}

static void share(struct cam_layer_work *work, const struct cam_layer_result *r, size_t n_tokens) {
    double tokens = (double)n_tokens;
    double operations = tokens * ((work->flops - work->products) / r->limit_fma.median +
                                  work->products / r->limit_products.median);
    double bytes = work->bytes * tokens / r->limit_random.median;
    work->share_of_limit = (operations + bytes) / work->seconds.median;
    work->share_of_roofline = (operations > bytes ? operations : bytes) / work->seconds.median;
}

static void summarise(const struct layer *l, const struct tally *tally,
                      struct cam_layer_result *r) {
    const struct cam_layer_config *c = l->config;
    double picked = (double)(c->heads * c->top_k) * r->record_bytes;
    r->forward.seconds = cam_samples_timing(&tally->forward);
    r->step.seconds = cam_samples_timing(&tally->step);
    r->in_forward = cam_samples_timing(&tally->in_forward);
    r->in_backward = cam_samples_timing(&tally->in_backward);
    r->in_rows = cam_samples_timing(&tally->in_rows);
    r->in_dense = cam_samples_timing(&tally->in_dense);
    r->limit_fma = cam_samples_timing(&tally->fma);
    r->limit_products = cam_samples_timing(&tally->products);
    r->limit_sequential = cam_samples_timing(&tally->sequential);
    r->limit_random = cam_samples_timing(&tally->random);
    r->torch_seconds = cam_samples_timing(&tally->torch);
    r->step_cpu = cam_samples_timing(&tally->step_cpu);
    r->torch_cpu = cam_samples_timing(&tally->torch_cpu);
    cam_layer_flops(c->width, c->heads, c->top_k, c->key_width, c->subkeys, &r->forward.flops,
                    &r->step.flops);
    cam_layer_products(c->width, c->heads, c->key_width, c->subkeys, &r->forward.products,
                       &r->step.products);
    r->forward.bytes = picked;
    r->step.bytes =
        2 * picked + 2 * (r->record_bytes + r->state_bytes) * r->unique_rows / (double)c->n_tokens;
    share(&r->forward, r, c->n_tokens);
    share(&r->step, r, c->n_tokens);
}

/* Largest difference of two runs of numbers over the largest number. */
static double relative_change(const cam_real *a, const cam_real *b, size_t n) {
    double most = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]), s = fabs((double)a[i]);
        most = d > most ? d : most;
        size = s > size ? s : size;
    }
    return size > 0 ? most / size : most;
}

/* What a trainer does when its policy says grow: a pass whose queries choose the new sub-keys, the
 * growth, a pass again, and the comparison. */
static enum cam_status measure_growth(struct layer *l, struct cam_layer_result *r) {
    const struct cam_layer_config *c = l->config;
    size_t n = c->n_tokens * c->width, n_pieces = l->table.n_pieces;
    const cam_real *x = batch_at(l, 0);
    cam_real *before = malloc(n * sizeof *before), *loss = malloc(c->n_tokens * sizeof *loss);
    const void **piece = malloc(n_pieces * sizeof *piece);
    enum cam_status status = CAM_OK;
    if (!before || !loss || !piece)
        status = cam_fail(CAM_ERR_OS, "out of memory for the check of growth");
    for (size_t i = 0; status == CAM_OK && i < n_pieces; i++)
        piece[i] = l->table.pieces[i].bytes;
    for (size_t t = 0; status == CAM_OK && t < c->n_tokens; t++)
        loss[t] = (cam_real)(1 + t % 7);
    if (status == CAM_OK) {
        struct cam_peer_growth growth = {.subkeys = c->grown_subkeys - c->subkeys,
                                         .token_loss = loss,
                                         .seed = c->seed,
                                         .step = l->n_steps};
        double start = cam_clock_seconds();
        run_forward(l, x, 1);
        memcpy(before, l->y, n * sizeof *before);
        double passed = cam_clock_seconds();
        status = cam_peer_grow(l->ff, &growth, NULL);
        r->growth_only_seconds = cam_clock_seconds() - passed;
        if (status == CAM_OK) {
            run_forward(l, x, 0);
            r->growth_change = relative_change(before, l->y, n);
        }
        r->growth_seconds = cam_clock_seconds() - start;
    }
    if (status == CAM_OK)
        status = note_table(l);
    for (size_t i = 0; status == CAM_OK && i < n_pieces; i++)
        r->growth_rows_moved += l->table.pieces[i].bytes != piece[i];
    r->growth_rss_bytes = cam_peak_memory_bytes();
    r->has_growth = status == CAM_OK;
    free(before);
    free(loss);
    free(piece);
    return status;
}

static enum cam_status measure(struct layer *l, struct cam_torch *torch,
                               struct cam_layer_result *r) {
    struct tally tally = {0};
    struct cam_peer_usage usage;
    struct phases ignored;
    double value;
    cam_peer_usage_reset(l->ff);
    for (int i = 0; i < WARM_STEPS; i++) {
        run_step(l, &ignored);
        if (torch)
            CAM_TRY(cam_torch_step(torch, &value));
        if (i > 0) /* in the first step both still have the same query and sub-keys */
            continue;
        cam_peer_usage(l->ff, CAM_ALL_GENERATIONS, &usage);
        if (torch)
            CAM_TRY(cam_torch_number(torch, "unique_rows", &r->torch_unique_rows));
    }
    r->unique_rows = (double)usage.used;
    r->unevenness = usage.unevenness;
    r->hub_share = usage.hub_share;
    for (size_t i = 0; i < l->config->n_repeats; i++)
        CAM_TRY(measure_round(l, torch, i, &tally));
    r->rss_bytes = cam_peak_memory_bytes();
    r->record_bytes = (double)l->table.record_bytes;
    r->state_bytes = (double)l->state_bytes / (double)cam_peer_n_experts(l->ff);
    summarise(l, &tally, r);
    if (!torch)
        return CAM_OK;
    r->has_torch = 1;
    snprintf(r->torch_about, sizeof r->torch_about, "%s", cam_torch_about(torch));
    return cam_torch_number(torch, "rss_bytes", &r->torch_rss_bytes);
}

static enum cam_status bench(const void *input, void *output) {
    const struct cam_layer_config *config = input;
    struct cam_layer_result *result = output;
    struct layer layer;
    struct cam_torch *torch = NULL;
    enum cam_status status = layer_init(&layer, config);
    if (status == CAM_OK && config->routing == CAM_ROUTING_TRAINED)
        status = train(&layer);
    if (status == CAM_OK && *config->python)
        status = start_torch(&layer, &torch);
    if (status == CAM_OK)
        status = measure(&layer, torch, result);
    cam_torch_stop(torch);
    if (status == CAM_OK && config->grown_subkeys > config->subkeys)
        status = measure_growth(&layer, result);
    layer_release(&layer);
    return status;
}

enum cam_status cam_layer_bench(const struct cam_layer_config *config,
                                struct cam_layer_result *result) {
    struct cam_layer_result measured;
    CAM_TRY(cam_isolated(bench, config, &measured, sizeof measured));
    *result = measured;
    return CAM_OK;
}
