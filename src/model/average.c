#include "model/average.h"

#include "math/vector.h"
#include "model/peer.h"

#include <string.h>

/* Numbers a block; fixed. */
#define CHUNK 32768

static struct cam_pool *next_pool(struct cam_model *model, size_t *i_block, struct cam_peer **peer) {
    struct cam_ff *ff = cam_model_find_pool(model, i_block);
    if (!ff)
        return NULL;
    *peer = cam_peer_of(ff);
    return &(*peer)->pool;
}

int cam_model_averages(const struct cam_model *model) {
    return model->params.n > 0 && model->params.items[0]->average != NULL;
}

void cam_model_average_end(struct cam_model *model) {
    struct cam_peer *peer;
    struct cam_pool *pool;
    for (size_t i = 0; i < model->params.n; i++)
        cam_param_average_end(model->params.items[i]);
    for (size_t i = 0; (pool = next_pool(model, &i, &peer)); i++)
        cam_pool_average_end(pool);
}

enum cam_status cam_model_average_begin(struct cam_model *model) {
    struct cam_peer *peer;
    struct cam_pool *pool;
    enum cam_status status = CAM_OK;
    for (size_t i = 0; i < model->params.n && status == CAM_OK; i++)
        status = cam_param_average_begin(model->params.items[i]);
    for (size_t i = 0; status == CAM_OK && (pool = next_pool(model, &i, &peer)); i++)
        status = cam_pool_average_begin(pool);
    if (status == CAM_OK)
        status = cam_model_average_extend(model);
    if (status != CAM_OK)
        cam_model_average_end(model);
    return status;
}

enum cam_status cam_model_average_extend(struct cam_model *model) {
    struct cam_peer *peer;
    struct cam_pool *pool;
    if (!cam_model_averages(model))
        return CAM_OK;
    for (size_t i = 0; i < model->params.n; i++)
        cam_param_average_extend(model->params.items[i]);
    for (size_t i = 0; (pool = next_pool(model, &i, &peer)); i++)
        CAM_TRY(cam_pool_average_extend(pool));
    return CAM_OK;
}

/* A run of numbers that are averaged, or copied. */
struct run {
    const void *value; /* cam_real, or bfloat16 */
    cam_real *average;
    size_t n;
    int copied, bf16;
};

struct job {
    struct run *runs;
    cam_real share; /* 1 - keep */
};

static size_t add_run(struct run *runs, size_t n, const cam_real *value, cam_real *average,
                      size_t length, int copied) {
    for (size_t from = 0; from < length; from += CHUNK, n++)
        if (runs)
            runs[n] = (struct run){value + from, average + from,
                                   length - from < CHUNK ? length - from : CHUNK, copied, 0};
    return n;
}

static size_t add_bf16_run(struct run *runs, size_t n, const cam_bf16 *value, cam_real *average,
                           size_t length, int copied) {
    for (size_t from = 0; from < length; from += CHUNK, n++)
        if (runs)
            runs[n] = (struct run){value + from, average + from,
                                   length - from < CHUNK ? length - from : CHUNK, copied, 1};
    return n;
}

/* Experts [FROM, TO), which lie in one chunk or more. */
static size_t add_experts(struct run *runs, size_t n, const struct cam_pool *pool, uint64_t from,
                          uint64_t to, int copied) {
    while (from < to) {
        size_t i = (size_t)(from >> CAM_POOL_CHUNK_SHIFT);
        uint64_t end = (uint64_t)(i + 1) << CAM_POOL_CHUNK_SHIFT;
        end = end < to ? end : to;
        size_t at = (size_t)(from & (CAM_POOL_CHUNK - 1)) * pool->record;
        size_t length = (size_t)(end - from) * pool->record;
        if (pool->bf16)
            n = add_bf16_run(runs, n, cam_pool_record(pool, from), pool->average[i] + at, length,
                             copied);
        else
            n = add_run(runs, n, pool->rows[i] + at, pool->average[i] + at, length, copied);
        from = end;
    }
    return n;
}

static size_t list_runs(struct cam_model *model, struct run *runs) {
    struct cam_peer *peer;
    struct cam_pool *pool;
    size_t n = 0;
    for (size_t i = 0; i < model->params.n; i++) {
        const struct cam_param *p = model->params.items[i];
        size_t frozen = p->frozen_rows * p->cols;
        n = add_run(runs, n, p->value, p->average, frozen, 1);
        n = add_run(runs, n, p->value + frozen, p->average + frozen,
                    p->rows * p->cols - frozen, 0);
    }
    for (size_t i = 0; (pool = next_pool(model, &i, &peer)); i++)
        for (size_t g = 0; g < peer->shape.n_generations; g++) {
            const struct cam_generation *x = &peer->generation[g];
            n = add_experts(runs, n, pool, x->first_expert, x->first_expert + x->n_experts,
                            x->frozen_experts != 0);
        }
    return n;
}

static void approach(const cam_real *value, cam_real share, int copied, cam_real *average,
                     size_t n) {
    if (copied)
        memcpy(average, value, n * sizeof *average);
    else
        cam_approach(value, share, average, n);
}

static void average_block(void *context, size_t i, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    const struct run *run = &job->runs[i];
    if (!run->bf16) {
        approach(run->value, job->share, run->copied, run->average, run->n);
        return;
    }
    cam_real values[16 * CAM_LANES]; /* rows are whole vectors */
    for (size_t from = 0; from < run->n; from += sizeof values / sizeof *values) {
        size_t left = run->n - from, m = sizeof values / sizeof *values;
        m = left < m ? left : m;
        cam_bf16_read((const cam_bf16 *)run->value + from, m, values);
        approach(values, job->share, run->copied, run->average + from, m);
    }
}

void cam_model_average_step(struct cam_model *model, struct cam_threads *threads,
                            struct cam_arena *arena, double keep) {
    size_t n = list_runs(model, NULL);
    struct job job = {.runs = cam_arena_alloc(arena, (n + 1) * sizeof *job.runs),
                      .share = (cam_real)(1 - keep)};
    list_runs(model, job.runs);
    cam_threads_run(threads, n, average_block, &job);
}

void cam_model_average_swap(struct cam_model *model) {
    struct cam_peer *peer;
    struct cam_pool *pool;
    if (!cam_model_averages(model))
        return;
    for (size_t i = 0; i < model->params.n; i++) {
        struct cam_param *p = model->params.items[i];
        cam_real *value = p->value;
        p->value = p->average;
        p->average = value;
    }
    for (size_t i = 0; (pool = next_pool(model, &i, &peer)); i++) {
        cam_real **rows = pool->rows;
        pool->rows = pool->average;
        pool->average = rows;
        if (peer->ff.config.pool_bf16) /* averages are cam_real */
            pool->bf16 = !pool->bf16;
    }
}
