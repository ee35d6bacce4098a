#include "bench/kernel_bench.h"

#include "base/clock.h"
#include "base/rng.h"
#include "bench/isolated.h"
#include "bench/limits.h"
#include "math/blas.h"
#include "math/gemm_amx.h"
#include "math/panel.h"
#include "math/topk.h"
#include "math/vector.h"
#include "math/vector_rows.h"
#include "model/ff_peer.h"
#include "model/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_SECONDS 0.01 /* a kernel is repeated until it takes so long */
#define MAX_ROUNDS     100000
#define SCORE_ROWS     64 /* rows of sub-key scores that a worker has in its cache */
#define TOKEN_BLOCK    16 /* tokens a block of gathers, as in the layer */
#define LARGE          ((double)(1 << 26))
#define SMALL_BLOCKS   64                /* small products a round */
#define ADAMW_NUMBERS  ((size_t)1 << 23) /* four arrays: more than a cache holds */
#define CACHED_NUMBERS ((size_t)1 << 15) /* a worker's share of kernels in cache */
#define DRAWN_NUMBERS  ((size_t)1 << 16) /* of an operand; then they repeat */

/* Slots of CAM_PURPOSE_BENCH. */
enum { SLOT_NUMBERS = 201, SLOT_ROWS, SLOT_LIMIT };

struct bench;

struct kernel {
    struct cam_kernel_row row;
    double amount; /* operations or bytes a round */
    void (*run)(struct bench *bench, const struct kernel *kernel);
    void (*prepare)(struct bench *bench); /* before each round, not timed; NULL: nothing */
    enum cam_transpose ta, tb;
    size_t m, n, k;
};

struct bench {
    const struct cam_kernel_config *config;
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_params params;
    struct cam_ff *ff;
    struct cam_pass pass;
    struct cam_table table, half_table;
    size_t state_bytes;
    double update_bytes;            /* of one update of the layer's rows */
    cam_real *a, *b, *c;            /* operands of products */
    cam_real *x, *y, *dy, *dx;      /* (N, D) */
    const cam_real **records;       /* (N * P * K + CAM_ROWS_AHEAD) drawn rows */
    cam_real *scores;               /* (workers, SCORE_ROWS, S) */
    cam_real *cached;               /* (workers, 4, CACHED_NUMBERS) */
    cam_real *value, *grad, *m, *v; /* ADAMW_NUMBERS each */
    cam_real *scattered;            /* (workers, S, dk) */
    uint32_t *list[2];              /* (workers, S) */
    const struct kernel *running;
    struct kernel kernels[CAM_MAX_KERNELS];
    size_t n_kernels;
};

const char *cam_kernel_limit_name(enum cam_kernel_limit limit) {
    static const char *const names[CAM_N_LIMITS] = {"multiply-adds", "products", "cache",
                                                    "sequential",    "random",   "random half"};
    return names[limit];
}

static struct kernel *add(struct bench *b, const char *name, enum cam_kernel_limit limit,
                          double amount, void (*run)(struct bench *, const struct kernel *)) {
    struct kernel *k = &b->kernels[b->n_kernels++];
    *k = (struct kernel){.amount = amount, .run = run};
    k->row.limit = limit;
    snprintf(k->row.name, sizeof k->row.name, "%s", name);
    return k;
}

static size_t picks(const struct bench *b) {
    return b->config->n_tokens * b->config->heads * b->config->top_k;
}

/* ---- products ---- */

static void run_product(struct bench *b, const struct kernel *k) {
    cam_gemm_threads(b->config->products, b->threads, &b->arena, k->ta, k->tb, k->m, k->n, k->k, 1,
                     b->a, k->ta ? k->m : k->k, b->b, k->tb ? k->k : k->n, 0, b->c, k->n);
}

static void small_block(void *context, size_t i_block, size_t i_worker) {
    struct bench *b = context;
    const struct kernel *k = b->running;
    (void)i_block;
    size_t apart = k->m * k->n;
    cam_gemm(b->config->products, k->ta, k->tb, k->m, k->n, k->k, 1, b->a, k->ta ? k->m : k->k,
             b->b, k->tb ? k->k : k->n, 0, b->c + i_worker * apart, k->n);
}

static void small_blas_block(void *context, size_t i_block, size_t i_worker) {
    struct bench *b = context;
    const struct kernel *k = b->running;
    (void)i_block;
    cam_gemm_blas(k->ta, k->tb, k->m, k->n, k->k, 1, b->a, k->ta ? k->m : k->k, b->b,
                  k->tb ? k->k : k->n, 0, b->c + i_worker * k->m * k->n, k->n);
}

static void run_small_blas(struct bench *b, const struct kernel *k) {
    b->running = k;
    cam_threads_run(b->threads, SMALL_BLOCKS, small_blas_block, b);
}

static void run_small_product(struct bench *b, const struct kernel *k) {
    b->running = k;
    cam_threads_run(b->threads, SMALL_BLOCKS, small_block, b);
}

static void panel_block(void *context, size_t i_block, size_t i_worker) {
    struct bench *b = context;
    const struct kernel *k = b->running;
    (void)i_block;
    if (b->config->products == CAM_PRODUCTS_BF16) {
        cam_amx_panel_product(b->a, k->m, k->k, k->k, b->b, k->n, b->c + i_worker * k->m * k->n,
                              k->n);
        return;
    }
    cam_panel_product(b->a, k->m, k->k, k->k, b->b, k->n, b->c + i_worker * k->m * k->n, k->n);
}

static void run_panels(struct bench *b, const struct kernel *k) {
    b->running = k;
    cam_threads_run(b->threads, SMALL_BLOCKS, panel_block, b);
}

static void product(struct bench *b, const char *name, enum cam_transpose ta, enum cam_transpose tb,
                    size_t m, size_t n, size_t k, int small) {
    double work = (double)m * (double)n * (double)k;
    struct kernel *made = add(b, name, CAM_LIMIT_PRODUCTS, 2 * work * (small ? SMALL_BLOCKS : 1),
                              small ? run_small_product : run_product);
    made->ta = ta;
    made->tb = tb;
    made->m = m;
    made->n = n;
    made->k = k;
    made->row.large = work >= LARGE;
    snprintf(made->row.shape, sizeof made->row.shape, "%zu x %zu x %zu%s", m, n, k,
             ta   ? " (A^T)"
             : tb ? " (B^T)"
                  : "");
}

/* The last kernel is OpenBLAS's, in fp32 whatever the others are. */
static void as_blas(struct bench *b) {
    b->kernels[b->n_kernels - 1].run = run_small_blas;
    b->kernels[b->n_kernels - 1].row.limit = CAM_LIMIT_FMA;
}

static void list_products(struct bench *b) {
    const struct cam_kernel_config *c = b->config;
    size_t N = c->n_tokens, D = c->width, F = c->hidden, V = c->vocabulary;
    size_t Q = c->heads * 2 * c->key_width;
    product(b, "gemm query", CAM_PLAIN, CAM_PLAIN, N, Q, D, 0);
    product(b, "gemm query weights", CAM_TRANSPOSED, CAM_PLAIN, D, Q, N, 0);
    product(b, "gemm query inputs", CAM_PLAIN, CAM_TRANSPOSED, N, D, Q, 0);
    product(b, "gemm q, k, v", CAM_PLAIN, CAM_PLAIN, N, 3 * D, D, 0);
    product(b, "gemm attention out", CAM_PLAIN, CAM_PLAIN, N, D, D, 0);
    product(b, "gemm SwiGLU in", CAM_PLAIN, CAM_PLAIN, N, 2 * F, D, 0);
    product(b, "gemm SwiGLU in weights", CAM_TRANSPOSED, CAM_PLAIN, D, 2 * F, N, 0);
    product(b, "gemm SwiGLU in inputs", CAM_PLAIN, CAM_TRANSPOSED, N, D, 2 * F, 0);
    product(b, "gemm SwiGLU out", CAM_PLAIN, CAM_PLAIN, N, D, F, 0);
    product(b, "gemm head", CAM_PLAIN, CAM_TRANSPOSED, N, V, D, 0);
    product(b, "gemm square", CAM_PLAIN, CAM_PLAIN, 4 * D, 4 * D, 4 * D, 0);
    product(b, "gemm sub-key scores", CAM_PLAIN, CAM_TRANSPOSED, TOKEN_BLOCK * c->heads,
            CAM_SUBKEY_BLOCK, c->key_width, 1);
    int panels = c->products == CAM_PRODUCTS_BF16 ? cam_amx_open() : cam_panel_fast();
    if (panels) { /* what the layer uses for them where it can */
        product(b, "panels sub-key scores", CAM_PLAIN, CAM_TRANSPOSED, TOKEN_BLOCK * c->heads,
                CAM_SUBKEY_BLOCK, c->key_width, 1);
        b->kernels[b->n_kernels - 1].run = run_panels;
    }
    product(b, "gemm attention", CAM_PLAIN, CAM_TRANSPOSED, 64, 256, 64, 1);
    product(b, "OpenBLAS attention", CAM_PLAIN, CAM_TRANSPOSED, 64, 256, 64, 1);
    as_blas(b);
    product(b, "gemm small square", CAM_PLAIN, CAM_PLAIN, D, D, D, 1);
    product(b, "OpenBLAS small square", CAM_PLAIN, CAM_PLAIN, D, D, D, 1);
    as_blas(b);
}

/* ---- retrieval ---- */

static void top_k_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_block;
    struct bench *b = context;
    size_t S = b->config->subkeys, k = b->config->top_k;
    const cam_real *rows = b->scores + i_worker * SCORE_ROWS * S;
    cam_real top[CAM_TOP_K_MAX];
    uint32_t index[CAM_TOP_K_MAX];
    for (size_t r = 0; r < SCORE_ROWS; r++)
        cam_top_k(rows + r * S, S, k, top, index);
}

static void product_top_k_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_block;
    struct bench *b = context;
    size_t S = b->config->subkeys, k = b->config->top_k;
    const cam_real *rows = b->scores + i_worker * SCORE_ROWS * S;
    uint32_t *const list[2] = {b->list[0] + i_worker * S, b->list[1] + i_worker * S};
    uint32_t pair[CAM_PEER_MAX_TOP_K];
    cam_real score[CAM_PEER_MAX_TOP_K];
    for (size_t r = 0; r + 1 < SCORE_ROWS; r += 2)
        cam_peer_product_top_k(rows + r * S, rows + (r + 1) * S, S, k, list, pair, score);
}

static void run_top_k(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, top_k_block, b);
}

static void run_product_top_k(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, product_top_k_block, b);
}

static void list_retrieval(struct bench *b) {
    const struct cam_kernel_config *c = b->config;
    double bytes = (double)SMALL_BLOCKS * SCORE_ROWS * (double)c->subkeys * sizeof(cam_real);
    struct kernel *k = add(b, "top-k", CAM_LIMIT_CACHE, bytes, run_top_k);
    snprintf(k->row.shape, sizeof k->row.shape, "%zu of %zu", c->top_k, c->subkeys);
    k = add(b, "product top-k", CAM_LIMIT_CACHE, bytes, run_product_top_k);
    snprintf(k->row.shape, sizeof k->row.shape, "%zu of %zu x %zu", c->top_k, c->subkeys,
             c->subkeys);
}

/* ---- expert rows ---- */

enum { DOTS = 1, SUMS = 2 };

static void gather_block(struct bench *b, size_t i_block, int parts) {
    const struct cam_kernel_config *c = b->config;
    size_t D = c->width, each = c->heads * c->top_k;
    size_t to =
        (i_block + 1) * TOKEN_BLOCK < c->n_tokens ? (i_block + 1) * TOKEN_BLOCK : c->n_tokens;
    /* Dots alone read half the record, so half of it is fetched. */
    size_t fetched = (parts & SUMS ? 2 : 1) * D * sizeof(cam_real);
    cam_real dot[CAM_PEER_MAX_TOP_K * 64];
    for (size_t i = 0; i < each; i++)
        dot[i] = (cam_real)0.01;
    for (size_t t = i_block * TOKEN_BLOCK; t < to; t++) {
        if (parts & DOTS)
            cam_rows_dot(b->x + t * D, b->records + t * each, each, 0, D, fetched, dot);
        if (parts & SUMS)
            cam_rows_sum(b->records + t * each, dot, each, D, D, 0, b->y + t * D);
    }
}

static void dots_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    gather_block(context, i_block, DOTS);
}

static void sums_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    gather_block(context, i_block, SUMS);
}

static void both_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    gather_block(context, i_block, DOTS | SUMS);
}

static void run_gather(struct bench *b, cam_block_fn *fn) {
    cam_threads_run(b->threads, (b->config->n_tokens + TOKEN_BLOCK - 1) / TOKEN_BLOCK, fn, b);
}

static void run_dots(struct bench *b, const struct kernel *k) {
    (void)k;
    run_gather(b, dots_block);
}

static void run_sums(struct bench *b, const struct kernel *k) {
    (void)k;
    run_gather(b, sums_block);
}

static void run_both(struct bench *b, const struct kernel *k) {
    (void)k;
    run_gather(b, both_block);
}

static void scatter_block(void *context, size_t i_block, size_t i_worker) {
    struct bench *b = context;
    const struct cam_kernel_config *c = b->config;
    cam_real *row[CAM_PEER_MAX_TOP_K], coef[CAM_PEER_MAX_TOP_K];
    for (size_t i = 0; i < SCORE_ROWS; i++) {
        for (size_t k = 0; k < c->top_k; k++) {
            size_t at = (i_block * SCORE_ROWS + i) * 7919 + k * 104729;
            row[k] = b->scattered + (i_worker * c->subkeys + at % c->subkeys) * c->key_width;
            coef[k] = (cam_real)1e-3;
        }
        cam_rows_scatter(row, coef, c->top_k, b->x, c->key_width);
    }
}

static void run_scatter(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, scatter_block, b);
}

/* A forward and a backward pass, whose gradients the update then has to sort and apply. */
static void prepare_update(struct bench *b) {
    size_t n = b->config->n_tokens * b->config->width;
    cam_arena_reset(&b->arena);
    cam_params_zero_grad(&b->params);
    memset(b->y, 0, n * sizeof *b->y);
    memset(b->dx, 0, n * sizeof *b->dx);
    b->ff->ops->forward(b->ff, &b->pass, b->x, b->y);
    b->ff->ops->backward(b->ff, &b->pass, b->x, b->dy, b->dx);
}

static void run_update(struct bench *b, const struct kernel *k) {
    (void)k;
    struct cam_update update = {.lr = 1e-6, .grad_scale = 1, .beta2 = 0.95, .step = 1};
    b->ff->ops->update(b->ff, &b->pass, &update);
}

/* Bytes of one update: every different row and its state, read and written. */
static void count_update(struct bench *b) {
    struct cam_peer_usage usage;
    prepare_update(b);
    cam_peer_usage_reset(b->ff);
    run_update(b, NULL);
    cam_peer_usage(b->ff, CAM_ALL_GENERATIONS, &usage);
    double state = (double)b->state_bytes / (double)cam_peer_n_experts(b->ff);
    b->update_bytes = 2 * (double)usage.used * ((double)b->table.record_bytes + state);
}

static void list_rows(struct bench *b) {
    const struct cam_kernel_config *c = b->config;
    double half = (double)picks(b) * (double)c->width * sizeof(cam_real);
    struct kernel *k[5];
    k[0] = add(b, "gather, dots", CAM_LIMIT_RANDOM_HALF, half, run_dots);
    k[1] = add(b, "gather, weighted sum", CAM_LIMIT_RANDOM_HALF, half, run_sums);
    k[2] = add(b, "gather, dots then sum", CAM_LIMIT_RANDOM, 2 * half, run_both);
    for (int i = 0; i < 3; i++)
        snprintf(k[i]->row.shape, sizeof k[i]->row.shape, "%zu x %zu of %zu x %zu", c->n_tokens,
                 c->heads * c->top_k, c->subkeys * c->subkeys, c->width);
    k[3] = add(b, "sort and row optimiser", CAM_LIMIT_RANDOM, b->update_bytes, run_update);
    k[3]->prepare = prepare_update;
    snprintf(k[3]->row.shape, sizeof k[3]->row.shape, "%zu picks", picks(b));
    k[4] =
        add(b, "scatter to sub-keys", CAM_LIMIT_CACHE,
            2.0 * SMALL_BLOCKS * SCORE_ROWS * (double)(c->top_k * c->key_width) * sizeof(cam_real),
            run_scatter);
    snprintf(k[4]->row.shape, sizeof k[4]->row.shape, "%zu x %zu", c->top_k, c->key_width);
}

/* ---- elementwise ---- */

/* Each worker has four runs of CACHED_NUMBERS to itself. */
static cam_real *own(const struct bench *b, size_t i_worker, size_t i) {
    return b->cached + (i_worker * 4 + i) * CACHED_NUMBERS;
}

static void softmax_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_block;
    cam_real *x = own(context, i_worker, 0);
    for (size_t i = 0; i < CACHED_NUMBERS; i += 256)
        cam_softmax(x + i, 256);
}

static void exp_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_block;
    cam_real *x = own(context, i_worker, 1);
    cam_row_exp(x, CACHED_NUMBERS);
    for (size_t i = 0; i < CACHED_NUMBERS; i += 64) /* or it would grow without end */
        x[i] = 0;
}

static void norm_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_block;
    const struct bench *b = context;
    const cam_real *x = own(b, i_worker, 2);
    cam_real *y = own(b, i_worker, 3);
    size_t D = b->config->width;
    for (size_t i = 0; i + D <= CACHED_NUMBERS; i += D)
        cam_rmsnorm(x + i, x, y + i, D);
}

static void swiglu_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_block;
    const struct bench *b = context;
    const cam_real *x = own(b, i_worker, 2);
    cam_real *y = own(b, i_worker, 3);
    size_t half = CACHED_NUMBERS / 2;
    cam_swiglu(x, x + half, y, half);
}

static void run_softmax(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, softmax_block, b);
}

static void run_exp(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, exp_block, b);
}

static void run_norm(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, norm_block, b);
}

static void run_swiglu(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, swiglu_block, b);
}

static void adamw_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct bench *b = context;
    size_t n = ADAMW_NUMBERS / SMALL_BLOCKS, at = i_block * n;
    struct cam_adamw adamw = {.lr = (cam_real)1e-6,
                              .beta1 = (cam_real)0.9,
                              .beta2 = (cam_real)0.95,
                              .epsilon = (cam_real)1e-8,
                              .correction1 = 1,
                              .correction2 = 1,
                              .grad_scale = 1};
    cam_adamw_rows(&adamw, b->value + at, b->grad + at, b->m + at, b->v + at, n);
}

static void run_adamw(struct bench *b, const struct kernel *k) {
    (void)k;
    cam_threads_run(b->threads, SMALL_BLOCKS, adamw_block, b);
}

static void list_elementwise(struct bench *b) {
    double bytes = (double)SMALL_BLOCKS * CACHED_NUMBERS * sizeof(cam_real);
    struct kernel *k = add(b, "softmax", CAM_LIMIT_CACHE, 2 * bytes, run_softmax);
    snprintf(k->row.shape, sizeof k->row.shape, "rows of 256");
    add(b, "exp", CAM_LIMIT_CACHE, 2 * bytes, run_exp);
    k = add(b, "RMSNorm", CAM_LIMIT_CACHE,
            2 * bytes * (double)(CACHED_NUMBERS / b->config->width * b->config->width) /
                CACHED_NUMBERS,
            run_norm);
    snprintf(k->row.shape, sizeof k->row.shape, "rows of %zu", b->config->width);
    add(b, "SwiGLU", CAM_LIMIT_CACHE, 1.5 * bytes, run_swiglu);
    k = add(b, "AdamW", CAM_LIMIT_SEQUENTIAL, 7.0 * ADAMW_NUMBERS * sizeof(cam_real), run_adamw);
    snprintf(k->row.shape, sizeof k->row.shape, "%zu numbers", ADAMW_NUMBERS);
}

/* ---- memory ---- */

static enum cam_status take(struct bench *b, size_t n, double scale, cam_real **out) {
    cam_real *made = aligned_alloc(64, (n * sizeof *made + 63) / 64 * 64);
    if (!made)
        return cam_fail(CAM_ERR_OS, "out of memory for the operands of kernels");
    for (size_t i = 0; i < n && i < DRAWN_NUMBERS; i += 4) {
        float normal[4];
        cam_random_normal4(cam_random_at(b->config->seed, CAM_PURPOSE_BENCH, i / 4, SLOT_NUMBERS),
                           normal);
        for (size_t k = 0; k < 4 && i + k < n; k++)
            made[i + k] = (cam_real)(normal[k] * scale);
    }
    for (size_t i = DRAWN_NUMBERS; i < n; i++)
        made[i] = made[i - DRAWN_NUMBERS];
    *out = made;
    return CAM_OK;
}

static enum cam_status note_state(void *context, const char *name, void *data, size_t n_bytes) {
    struct bench *b = context;
    if (strstr(name, ".rows.")) {
        CAM_TRY(cam_table_add(&b->table, data, n_bytes));
        return cam_table_add(&b->half_table, data, n_bytes);
    }
    if (strstr(name, ".optimiser."))
        b->state_bytes += n_bytes;
    return CAM_OK;
}

static enum cam_status make_layer(struct bench *b) {
    const struct cam_kernel_config *c = b->config;
    struct cam_ff_config config = {.seed = c->seed,
                                   .width = c->width,
                                   .heads = c->heads,
                                   .top_k = c->top_k,
                                   .key_width = c->key_width,
                                   .subkeys = c->subkeys,
                                   .subkeys_capacity = c->subkeys,
                                   .pool_lr_scale = 1};
    CAM_TRY(cam_ff_peer.create(&config, &b->params, &b->ff));
    CAM_TRY(b->ff->ops->visit_state(b->ff, note_state, b));
    b->table.record_bytes = cam_table_bytes(&b->table) / (c->subkeys * c->subkeys);
    b->half_table.record_bytes = b->table.record_bytes / 2;
    if (b->table.record_bytes != 2 * c->width * sizeof(cam_real))
        return cam_fail(CAM_ERR_INTERNAL, "records of %zu bytes are not rows of %zu numbers",
                        b->table.record_bytes, 2 * c->width);
    return CAM_OK;
}

static enum cam_status draw_records(struct bench *b) {
    size_t n = picks(b), n_all = b->config->subkeys * b->config->subkeys;
    size_t record = b->table.record_bytes, n_first = b->table.pieces[0].n_bytes / record;
    b->records = malloc((n + CAM_ROWS_AHEAD) * sizeof *b->records);
    if (!b->records)
        return cam_fail(CAM_ERR_OS, "out of memory for the operands of kernels");
    for (size_t i = 0; i < n + CAM_ROWS_AHEAD; i++) {
        size_t at = cam_random_below(
            cam_random_at(b->config->seed, CAM_PURPOSE_BENCH, i, SLOT_ROWS), n_all);
        b->records[i] = (const cam_real *)((const char *)b->table.pieces[at / n_first].bytes +
                                           at % n_first * record);
    }
    return CAM_OK;
}

/* The longest operands of any product in the list. */
static enum cam_status make_operands(struct bench *b) {
    size_t n_a = 1, n_b = 1, n_c = 1, n_workers = (size_t)b->config->n_threads;
    for (size_t i = 0; i < b->n_kernels; i++) {
        const struct kernel *k = &b->kernels[i];
        n_a = k->m * k->k > n_a ? k->m * k->k : n_a;
        n_b = k->k * k->n > n_b ? k->k * k->n : n_b;
        n_c = k->m * k->n * n_workers > n_c ? k->m * k->n * n_workers : n_c;
    }
    CAM_TRY(take(b, n_a, 1, &b->a));
    CAM_TRY(take(b, n_b, 1, &b->b));
    return take(b, n_c, 0, &b->c);
}

static enum cam_status make_rows(struct bench *b) {
    const struct cam_kernel_config *c = b->config;
    size_t n = c->n_tokens * c->width, n_workers = (size_t)c->n_threads;
    CAM_TRY(take(b, n, 1, &b->x));
    CAM_TRY(take(b, n, 0, &b->y));
    CAM_TRY(take(b, n, 1e-3, &b->dy));
    CAM_TRY(take(b, n, 0, &b->dx));
    CAM_TRY(take(b, n_workers * SCORE_ROWS * c->subkeys, 1, &b->scores));
    CAM_TRY(take(b, n_workers * 4 * CACHED_NUMBERS, 1, &b->cached));
    CAM_TRY(take(b, n_workers * c->subkeys * c->key_width, 0, &b->scattered));
    cam_real **adamw[] = {&b->value, &b->grad, &b->m, &b->v};
    for (int i = 0; i < 4; i++)
        CAM_TRY(take(b, ADAMW_NUMBERS, i == 3 ? 0 : 1, adamw[i]));
    for (int i = 0; i < 2; i++) {
        b->list[i] = calloc(n_workers * c->subkeys, sizeof *b->list[i]);
        if (!b->list[i])
            return cam_fail(CAM_ERR_OS, "out of memory for the operands of kernels");
    }
    return draw_records(b);
}

static enum cam_status bench_init(struct bench *b, const struct cam_kernel_config *config) {
    *b = (struct bench){.config = config};
    cam_arena_init(&b->arena);
    cam_params_init(&b->params);
    CAM_TRY(cam_threads_new(config->n_threads, &b->threads));
    b->pass = (struct cam_pass){.threads = b->threads,
                                .arena = &b->arena,
                                .n_tokens = config->n_tokens,
                                .training = 1,
                                .products = config->products};
    CAM_TRY(make_layer(b));
    CAM_TRY(make_rows(b));
    list_products(b);
    CAM_TRY(make_operands(b));
    count_update(b);
    list_retrieval(b);
    list_rows(b);
    list_elementwise(b);
    return CAM_OK;
}

static void bench_release(struct bench *b) {
    cam_ff_peer.destroy(b->ff);
    cam_params_release(&b->params);
    cam_arena_release(&b->arena);
    cam_threads_free(b->threads);
    cam_table_release(&b->table);
    cam_table_release(&b->half_table);
    cam_real *all[] = {b->a,      b->b,      b->c,     b->x,    b->y, b->dy, b->dx,
                       b->scores, b->cached, b->value, b->grad, b->m, b->v,  b->scattered};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(b->list[0]);
    free(b->list[1]);
    free(b->records);
}

/* ---- the measurement ---- */

static double time_rounds(struct bench *b, const struct kernel *k, size_t rounds) {
    double seconds = 0, start;
    for (size_t i = 0; k->prepare && i < rounds; i++) {
        k->prepare(b);
        start = cam_clock_seconds();
        k->run(b, k);
        seconds += cam_clock_seconds() - start;
    }
    if (k->prepare)
        return seconds;
    start = cam_clock_seconds();
    for (size_t i = 0; i < rounds; i++)
        k->run(b, k);
    return cam_clock_seconds() - start;
}

static enum cam_status measure_limit(struct bench *b, enum cam_kernel_limit limit, uint64_t seed,
                                     double *rate) {
    switch (limit) {
    case CAM_LIMIT_FMA:
        *rate = cam_limit_fma(b->threads);
        return CAM_OK;
    case CAM_LIMIT_PRODUCTS:
        *rate = cam_limit_products(b->threads, b->config->products);
        return CAM_OK;
    case CAM_LIMIT_CACHE:
        *rate = cam_limit_cache(b->threads);
        return CAM_OK;
    case CAM_LIMIT_SEQUENTIAL:
        *rate = cam_limit_sequential(b->threads, &b->table);
        return CAM_OK;
    case CAM_LIMIT_RANDOM:
        return cam_limit_random(b->threads, &b->table, picks(b), seed, rate);
    case CAM_LIMIT_RANDOM_HALF:
        return cam_limit_random(b->threads, &b->half_table, picks(b), seed, rate);
    case CAM_N_LIMITS:
        break;
    }
    return cam_fail(CAM_ERR_INTERNAL, "no limit number %d", (int)limit);
}

/* In turn with its limit: what else the machine does then slows both. */
static enum cam_status measure_kernel(struct bench *b, const struct kernel *k,
                                      struct cam_samples *limits, struct cam_kernel_row *row) {
    struct cam_samples samples = {0}, own_limit = {0};
    time_rounds(b, k, 1); /* warm */
    double once = time_rounds(b, k, 1), wanted = once > 0 ? SAMPLE_SECONDS / once : MAX_ROUNDS;
    size_t rounds = 1;
    if (!k->prepare && wanted > 1)
        rounds = wanted > MAX_ROUNDS ? MAX_ROUNDS : (size_t)wanted;
    for (size_t i = 0; i < b->config->n_repeats; i++) {
        double rate;
        cam_samples_add(&samples, time_rounds(b, k, rounds) / (double)rounds);
        CAM_TRY(measure_limit(b, k->row.limit, b->config->seed + i * 1000003, &rate));
        cam_samples_add(&own_limit, rate);
        cam_samples_add(&limits[k->row.limit], rate);
    }
    *row = k->row;
    row->rate = cam_timing_rate(cam_samples_timing(&samples), k->amount);
    row->share = row->rate.median / cam_samples_timing(&own_limit).median;
    return CAM_OK;
}

static enum cam_status measure(struct bench *b, struct cam_kernel_result *result) {
    struct cam_samples limits[CAM_N_LIMITS] = {0};
    for (size_t i = 0; i < b->n_kernels; i++)
        CAM_TRY(measure_kernel(b, &b->kernels[i], limits, &result->rows[result->n_rows++]));
    for (int i = 0; i < CAM_N_LIMITS; i++)
        result->limits[i] = cam_samples_timing(&limits[i]);
    return CAM_OK;
}

static enum cam_status run(const void *input, void *output) {
    struct bench b;
    enum cam_status status = bench_init(&b, input);
    if (status == CAM_OK)
        status = measure(&b, output);
    bench_release(&b);
    return status;
}

enum cam_status cam_kernel_bench(const struct cam_kernel_config *config,
                                 struct cam_kernel_result *result) {
    struct cam_kernel_result *measured = calloc(1, sizeof *measured);
    if (!measured)
        return cam_fail(CAM_ERR_OS, "out of memory for results");
    enum cam_status status = cam_isolated(run, config, measured, sizeof *measured);
    if (status == CAM_OK)
        *result = *measured;
    free(measured);
    return status;
}
