/* ff_moe.c - the coarse mixture of experts by grouped products (see moe.h).
 *
 * Choices are sorted by expert; tokens are gathered in runs of up to ROWS of one expert, and a run
 * goes through both matrices while it is in the cache.  Which runs there are follows from the
 * choices alone, so 1 thread and 2 give the same bits.  Gradients of a matrix are one product over
 * all rows of its expert. */
#include "math/blas.h"
#include "math/vector.h"
#include "model/moe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 64  /* a block in phases over tokens */
#define ROWS   128 /* a run in phases over slots */

static enum cam_status check(const struct cam_ff_config *c) {
    if (c->moe_experts < CAM_MOE_CHOICES || c->moe_experts > CAM_MOE_MAX_EXPERTS)
        return cam_fail(CAM_ERR_CONFIG, "moe.experts %zu: must be %d to %d", c->moe_experts,
                        CAM_MOE_CHOICES, CAM_MOE_MAX_EXPERTS);
    if (!(c->moe_capacity > 0) || !(c->moe_balance >= 0))
        return cam_fail(CAM_ERR_CONFIG,
                        "moe.capacity %g must be more than 0, moe.balance %g not less",
                        c->moe_capacity, c->moe_balance);
    return CAM_OK;
}

static enum cam_status add_params(struct cam_moe *moe, struct cam_params *params) {
    const struct cam_ff_config *c = &moe->ff.config;
    const double scale = 1 / sqrt((double)c->width);
    char name[48];
    snprintf(name, sizeof name, "block%zu.moe.router", c->i_layer);
    CAM_TRY(
        cam_params_add(params, name, CAM_PART_QUERY, c->width, moe->n_experts, 0, &moe->router));
    cam_param_fill_normal(moe->router, c->seed, 0, c->width, scale);
    for (size_t e = 0; e < moe->n_experts; e++) {
        snprintf(name, sizeof name, "block%zu.moe.expert%zu.in", c->i_layer, e);
        CAM_TRY(cam_params_add(params, name, CAM_PART_TRUNK, c->width, 2 * moe->hidden, 0,
                               &moe->in[e]));
        moe->in[e]->n_groups = 2;
        moe->in[e]->group_cols[0] = moe->in[e]->group_cols[1] = moe->hidden;
        cam_param_fill_normal(moe->in[e], c->seed, 0, c->width, scale);
        snprintf(name, sizeof name, "block%zu.moe.expert%zu.out", c->i_layer, e);
        CAM_TRY(
            cam_params_add(params, name, CAM_PART_TRUNK, moe->hidden, c->width, 0, &moe->out[e]));
        /* out begins at zero: the stack starts as the identity. */
    }
    return CAM_OK;
}

void cam_moe_destroy(struct cam_ff *ff) {
    if (!ff)
        return;
    struct cam_moe *moe = cam_moe_of(ff);
    free(moe->in);
    free(moe->out);
    free(moe);
}

enum cam_status cam_moe_create(const struct cam_ff_config *config, struct cam_params *params,
                               struct cam_ff **ff) {
    CAM_TRY(check(config));
    CAM_TRY(cam_blas_open());
    struct cam_moe *moe = calloc(1, sizeof *moe);
    if (!moe)
        return cam_fail(CAM_ERR_OS, "out of memory for a mixture of experts");
    size_t half = config->hidden / 2;
    moe->ff = (struct cam_ff){.ops = cam_ff_path(&cam_ff_moe, config), .config = *config};
    moe->n_experts = config->moe_experts;
    moe->hidden = config->moe_hidden ? config->moe_hidden : half ? half : 1;
    moe->in = calloc(moe->n_experts, sizeof(struct cam_param *));
    moe->out = calloc(moe->n_experts, sizeof(struct cam_param *));
    enum cam_status status = CAM_OK;
    if (!moe->in || !moe->out)
        status = cam_fail(CAM_ERR_OS, "out of memory for %zu experts", moe->n_experts);
    if (status == CAM_OK)
        status = add_params(moe, params);
    if (status != CAM_OK) {
        cam_moe_destroy(&moe->ff);
        return status;
    }
    *ff = &moe->ff;
    return CAM_OK;
}

size_t cam_moe_capacity(const struct cam_moe *moe, size_t n_tokens, int training) {
    size_t n = CAM_MOE_CHOICES * n_tokens;
    if (!training)
        return n;
    double most = ceil(moe->ff.config.moe_capacity * (double)n / (double)moe->n_experts);
    return most < (double)n ? (size_t)most : n;
}

/* --- routing --- */

/* A run of slots [from, to) of one expert. */
struct run {
    size_t expert, from, to;
};

struct job {
    struct cam_moe *moe;
    int training;
    enum cam_products products;
    const struct run *run;
    const cam_real *x, *dy;
    cam_real *y, *dx;
    cam_real *dh;     /* (2N, F) by slot */
    cam_real *d_in;   /* (2N, D) by slot: gradient of the expert's input */
    cam_real *d_gate; /* (2N) by choice */
    cam_real *dr;     /* (N, E) gradient of the logits */
};

static size_t block_end(const struct job *job, size_t from) {
    size_t n = job->moe->last.n_tokens;
    return from + TOKENS < n ? from + TOKENS : n;
}

/* The two largest of R (N), equal ones by the lower index; two different ones whatever R holds. */
static void best_two(const cam_real *r, size_t n, uint32_t best[CAM_MOE_CHOICES]) {
    best[0] = r[1] > r[0];
    best[1] = !best[0];
    for (uint32_t e = 2; e < n; e++) {
        if (r[e] > r[best[0]]) {
            best[1] = best[0];
            best[0] = e;
        } else if (r[e] > r[best[1]]) {
            best[1] = e;
        }
    }
}

static void route_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    struct cam_moe_last *last = &job->moe->last;
    size_t E = job->moe->n_experts;
    for (size_t t = i_block * TOKENS; t < block_end(job, i_block * TOKENS); t++) {
        cam_real *r = last->p + t * E;
        uint32_t *best = last->expert + CAM_MOE_CHOICES * t;
        best_two(r, E, best);
        /* p_a / (p_a + p_b) without the underflow of p. */
        double odds = exp((double)r[best[1]] - (double)r[best[0]]);
        last->gate[CAM_MOE_CHOICES * t] = (cam_real)(1 / (1 + odds));
        last->gate[CAM_MOE_CHOICES * t + 1] = (cam_real)(odds / (1 + odds));
        if (job->training)
            cam_softmax(r, E);
    }
}

/* Slots of the choices that find room, sorted by expert. */
static void assign_slots(struct cam_moe *moe, size_t capacity) {
    struct cam_moe_last *last = &moe->last;
    size_t N = last->n_tokens, E = moe->n_experts;
    size_t wanted[CAM_MOE_MAX_EXPERTS] = {0}, taken[CAM_MOE_MAX_EXPERTS] = {0};
    for (size_t i = 0; i < CAM_MOE_CHOICES * N; i++)
        wanted[last->expert[i]]++;
    last->start[0] = 0;
    for (size_t e = 0; e < E; e++) {
        last->share[e] = (cam_real)((double)wanted[e] / (double)(CAM_MOE_CHOICES * N));
        size_t room = wanted[e] < capacity ? wanted[e] : capacity;
        last->start[e + 1] = last->start[e] + (uint32_t)room;
    }
    for (size_t c = 0; c < CAM_MOE_CHOICES; c++) {
        for (size_t i = c; i < CAM_MOE_CHOICES * N; i += CAM_MOE_CHOICES) {
            uint32_t e = last->expert[i];
            last->slot[i] = CAM_MOE_DROPPED;
            if (taken[e] == capacity)
                continue;
            last->slot[i] = last->start[e] + (uint32_t)taken[e]++;
            last->choice[last->slot[i]] = (uint32_t)i;
        }
    }
}

/* alpha E sum_e f_e P_e of a training pass. */
static double balance_loss(const struct cam_moe *moe) {
    const struct cam_moe_last *last = &moe->last;
    size_t N = last->n_tokens, E = moe->n_experts;
    double sum = 0;
    for (size_t t = 0; t < N; t++)
        for (size_t e = 0; e < E; e++)
            sum += (double)last->share[e] * (double)last->p[t * E + e];
    return moe->ff.config.moe_balance * (double)E * sum / (double)N;
}

/* --- forward --- */

static size_t list_runs(const struct cam_moe *moe, struct run *run) {
    size_t n = 0;
    for (size_t e = 0; e < moe->n_experts; e++)
        for (size_t from = moe->last.start[e], end = moe->last.start[e + 1]; from < end;
             from += ROWS)
            run[n++] = (struct run){e, from, from + ROWS < end ? from + ROWS : end};
    return n;
}

static struct run *alloc_runs(const struct cam_moe *moe, struct cam_arena *arena) {
    size_t most = moe->n_experts + CAM_MOE_CHOICES * moe->last.n_tokens / ROWS;
    return cam_arena_alloc(arena, most * sizeof(struct run));
}

static void forward_run(void *context, size_t i_run, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    struct cam_moe *moe = job->moe;
    struct cam_moe_last *last = &moe->last;
    const struct run *run = &job->run[i_run];
    size_t D = moe->ff.config.width, F = moe->hidden, n = run->to - run->from;
    for (size_t s = run->from; s < run->to; s++)
        memcpy(last->x + s * D, job->x + last->choice[s] / CAM_MOE_CHOICES * D,
               D * sizeof(cam_real));
    cam_gemm(job->products, CAM_PLAIN, CAM_PLAIN, n, 2 * F, D, 1, last->x + run->from * D, D,
             moe->in[run->expert]->value, 2 * F, 0, last->pre + run->from * 2 * F, 2 * F);
    for (size_t s = run->from; s < run->to; s++)
        cam_swiglu(last->pre + s * 2 * F, last->pre + s * 2 * F + F, last->h + s * F, F);
    cam_gemm(job->products, CAM_PLAIN, CAM_PLAIN, n, D, F, 1, last->h + run->from * F, F,
             moe->out[run->expert]->value, D, 0, last->o + run->from * D, D);
}

static void combine_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    const struct cam_moe_last *last = &job->moe->last;
    size_t D = job->moe->ff.config.width;
    for (size_t t = i_block * TOKENS; t < block_end(job, i_block * TOKENS); t++)
        for (size_t i = CAM_MOE_CHOICES * t; i < CAM_MOE_CHOICES * (t + 1); i++)
            if (last->slot[i] != CAM_MOE_DROPPED)
                cam_axpy(last->gate[i], last->o + last->slot[i] * D, job->y + t * D, D);
}

static void last_init(struct cam_moe *moe, const struct cam_pass *pass) {
    size_t N = pass->n_tokens, n = CAM_MOE_CHOICES * N, E = moe->n_experts, F = moe->hidden;
    size_t D = moe->ff.config.width;
    struct cam_arena *arena = pass->arena;
    struct cam_moe_last *last = &moe->last;
    *last = (struct cam_moe_last){.n_tokens = N};
    last->p = cam_arena_alloc(arena, N * E * sizeof(cam_real));
    last->expert = cam_arena_alloc(arena, n * sizeof(uint32_t));
    last->gate = cam_arena_alloc(arena, n * sizeof(cam_real));
    last->slot = cam_arena_alloc(arena, n * sizeof(uint32_t));
    last->choice = cam_arena_alloc(arena, n * sizeof(uint32_t));
    last->start = cam_arena_alloc(arena, (E + 1) * sizeof(uint32_t));
    last->share = cam_arena_alloc(arena, E * sizeof(cam_real));
    last->pre = cam_arena_alloc(arena, n * 2 * F * sizeof(cam_real));
    last->h = cam_arena_alloc(arena, n * F * sizeof(cam_real));
    last->o = cam_arena_alloc(arena, n * D * sizeof(cam_real));
    last->x = cam_arena_alloc(arena, n * D * sizeof(cam_real));
}

static void forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                    cam_real *y) {
    struct cam_moe *moe = cam_moe_of(ff);
    size_t N = pass->n_tokens, E = moe->n_experts, D = ff->config.width;
    size_t n_blocks = (N + TOKENS - 1) / TOKENS;
    struct job job = {
        .moe = moe, .training = pass->training, .products = pass->products, .x = x, .y = y};
    last_init(moe, pass);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_PLAIN, N, E, D, 1,
                     x, D, moe->router->value, E, 0, moe->last.p, E);
    cam_threads_run(pass->threads, n_blocks, route_block, &job);
    assign_slots(moe, cam_moe_capacity(moe, N, pass->training));
    moe->balance = pass->training ? balance_loss(moe) : 0;
    struct run *run = alloc_runs(moe, pass->arena);
    job.run = run;
    cam_threads_run(pass->threads, list_runs(moe, run), forward_run, &job);
    cam_threads_run(pass->threads, n_blocks, combine_block, &job);
}

/* --- backward --- */

/* Through the expert, by slot: d_gate, d_in; o becomes its own gradient, and so does pre. */
static void backward_run(void *context, size_t i_run, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    struct cam_moe *moe = job->moe;
    struct cam_moe_last *last = &moe->last;
    const struct run *run = &job->run[i_run];
    size_t D = moe->ff.config.width, F = moe->hidden, n = run->to - run->from, from = run->from;
    for (size_t s = from; s < run->to; s++) {
        uint32_t i = last->choice[s];
        const cam_real *dy = job->dy + i / CAM_MOE_CHOICES * D;
        cam_real *o = last->o + s * D;
        job->d_gate[i] = cam_dot(o, dy, D);
        memset(o, 0, D * sizeof *o);
        cam_axpy(last->gate[i], dy, o, D);
    }
    cam_gemm(job->products, CAM_PLAIN, CAM_TRANSPOSED, n, F, D, 1, last->o + from * D, D,
             moe->out[run->expert]->value, D, 0, job->dh + from * F, F);
    for (size_t s = from; s < run->to; s++)
        cam_swiglu_backward(last->pre + s * 2 * F, last->pre + s * 2 * F + F, job->dh + s * F, F);
    cam_gemm(job->products, CAM_PLAIN, CAM_TRANSPOSED, n, D, 2 * F, 1, last->pre + from * 2 * F,
             2 * F, moe->in[run->expert]->value, 2 * F, 0, job->d_in + from * D, D);
}

/* Gradients of one matrix: in and out of an expert are two blocks. */
static void matrix_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    struct cam_moe *moe = job->moe;
    const struct cam_moe_last *last = &moe->last;
    size_t D = moe->ff.config.width, F = moe->hidden, e = i_block / 2, from = last->start[e];
    size_t n = last->start[e + 1] - from;
    if (n == 0)
        return;
    if (i_block % 2)
        cam_gemm(job->products, CAM_TRANSPOSED, CAM_PLAIN, F, D, n, 1, last->h + from * F, F,
                 last->o + from * D, D, 1, moe->out[e]->grad, D);
    else
        cam_gemm(job->products, CAM_TRANSPOSED, CAM_PLAIN, D, 2 * F, n, 1, last->x + from * D, D,
                 last->pre + from * 2 * F, 2 * F, 1, moe->in[e]->grad, 2 * F);
}

/* dx through the experts, and dr: through the gates, and from the balance loss. */
static void token_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    const struct cam_moe *moe = job->moe;
    const struct cam_moe_last *last = &moe->last;
    size_t D = moe->ff.config.width, E = moe->n_experts;
    double weight = moe->ff.config.moe_balance * (double)E / (double)last->n_tokens;
    for (size_t t = i_block * TOKENS; t < block_end(job, i_block * TOKENS); t++) {
        const cam_real *p = last->p + t * E;
        cam_real *dr = job->dr + t * E;
        double d_gate[CAM_MOE_CHOICES], mean = 0;
        for (size_t e = 0; e < E; e++)
            mean += (double)last->share[e] * (double)p[e];
        for (size_t e = 0; e < E; e++)
            dr[e] = (cam_real)(weight * (double)p[e] * ((double)last->share[e] - mean));
        for (size_t c = 0; c < CAM_MOE_CHOICES; c++) {
            size_t i = CAM_MOE_CHOICES * t + c;
            int dropped = last->slot[i] == CAM_MOE_DROPPED;
            d_gate[c] = dropped ? 0 : (double)job->d_gate[i];
            if (!dropped)
                cam_axpy(1, job->d_in + last->slot[i] * D, job->dx + t * D, D);
        }
        const cam_real *gate = last->gate + CAM_MOE_CHOICES * t;
        cam_real d = (cam_real)((double)gate[0] * (double)gate[1] * (d_gate[0] - d_gate[1]));
        dr[last->expert[CAM_MOE_CHOICES * t]] += d;
        dr[last->expert[CAM_MOE_CHOICES * t + 1]] -= d;
    }
}

static void backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                     const cam_real *dy, cam_real *dx) {
    struct cam_moe *moe = cam_moe_of(ff);
    struct cam_arena *arena = pass->arena;
    size_t N = pass->n_tokens, n = CAM_MOE_CHOICES * N, E = moe->n_experts, D = ff->config.width;
    struct run *run = alloc_runs(moe, arena);
    struct job job = {.moe = moe, .products = pass->products, .run = run, .dy = dy, .dx = dx};
    job.dh = cam_arena_alloc(arena, n * moe->hidden * sizeof(cam_real));
    job.d_in = cam_arena_alloc(arena, n * D * sizeof(cam_real));
    job.d_gate = cam_arena_alloc(arena, n * sizeof(cam_real));
    job.dr = cam_arena_alloc(arena, N * E * sizeof(cam_real));
    cam_threads_run(pass->threads, list_runs(moe, run), backward_run, &job);
    cam_threads_run(pass->threads, 2 * E, matrix_block, &job);
    cam_threads_run(pass->threads, (N + TOKENS - 1) / TOKENS, token_block, &job);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_TRANSPOSED, CAM_PLAIN, D, E, N,
                     1, x, D, job.dr, E, 1, moe->router->grad, E);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_TRANSPOSED, N, D, E,
                     1, job.dr, E, moe->router->value, E, 1, dx, D);
}

double cam_moe_auxiliary(const struct cam_ff *ff) {
    return cam_moe_of(ff)->balance;
}

double cam_moe_flops(const struct cam_ff *ff) {
    const struct cam_moe *moe = cam_moe_of(ff);
    double D = (double)ff->config.width;
    return 2 * D * (double)moe->n_experts + CAM_MOE_CHOICES * 6 * D * (double)moe->hidden;
}

void cam_moe_size(const struct cam_ff *ff, struct cam_ff_size *size) {
    const struct cam_moe *moe = cam_moe_of(ff);
    double expert = 3 * (double)ff->config.width * (double)moe->hidden;
    *size = (struct cam_ff_size){.mixture_experts = moe->n_experts,
                                 .idle = (double)(moe->n_experts - CAM_MOE_CHOICES) * expert};
}

const struct cam_ff_ops cam_ff_moe = {
    .name = "moe",
    .reference = &cam_ff_moe_reference,
    .create = cam_moe_create,
    .destroy = cam_moe_destroy,
    .forward = forward,
    .backward = backward,
    .auxiliary = cam_moe_auxiliary,
    .flops = cam_moe_flops,
    .size = cam_moe_size,
};
