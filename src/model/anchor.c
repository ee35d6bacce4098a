#include "model/anchor.h"

#include "model/peer.h"

#include <string.h>

/* Numbers a block; fixed. */
#define CHUNK 32768

static struct cam_pool *next_pool(struct cam_model *model, size_t *i_block) {
    struct cam_ff *ff = cam_model_find_pool(model, i_block);
    return ff ? &cam_peer_of(ff)->pool : NULL;
}

enum cam_status cam_model_anchor_keep(struct cam_model *model, unsigned parts) {
    int centre = (parts & CAM_ANCHOR_CENTRE) != 0, fisher = (parts & CAM_ANCHOR_FISHER) != 0;
    struct cam_pool *pool;
    for (size_t i = 0; i < model->params.n; i++)
        CAM_TRY(cam_param_anchor_keep(model->params.items[i], centre, fisher));
    for (size_t i = 0; (pool = next_pool(model, &i)); i++)
        CAM_TRY(cam_pool_anchor_keep(pool, centre, fisher));
    return CAM_OK;
}

enum cam_status cam_model_anchor_extend(struct cam_model *model) {
    struct cam_pool *pool;
    for (size_t i = 0; (pool = next_pool(model, &i)); i++)
        CAM_TRY(cam_pool_anchor_keep(pool, pool->centre != NULL, pool->importance != NULL));
    return CAM_OK;
}

/* A run of one parameter's numbers. */
struct piece {
    struct cam_param *param;
    size_t from, to;
};

struct job {
    struct piece *pieces;
    double share; /* observe */
    const struct cam_anchor_pull *pull;
};

/* All rows, or those that are not FROZEN. */
static size_t list_pieces(const struct cam_params *params, int frozen, struct piece *pieces) {
    size_t n = 0;
    for (size_t i = 0; i < params->n; i++) {
        struct cam_param *p = params->items[i];
        size_t from = frozen ? 0 : p->frozen_rows * p->cols, end = p->rows * p->cols;
        for (; from < end; from += CHUNK, n++)
            if (pieces)
                pieces[n] = (struct piece){p, from, from + CHUNK < end ? from + CHUNK : end};
    }
    return n;
}

static void run_pieces(struct cam_model *model, struct cam_threads *threads,
                       struct cam_arena *arena, int frozen,
                       void (*block)(void *context, size_t i, size_t i_worker), struct job *job) {
    size_t n = list_pieces(&model->params, frozen, NULL);
    job->pieces = cam_arena_alloc(arena, (n + 1) * sizeof *job->pieces);
    list_pieces(&model->params, frozen, job->pieces);
    cam_threads_run(threads, n, block, job);
}

static void observe_block(void *context, size_t i, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    const struct piece *piece = &job->pieces[i];
    const cam_real *grad = piece->param->grad, share = (cam_real)job->share;
    cam_real *fisher = piece->param->fisher;
    for (size_t k = piece->from; k < piece->to; k++)
        fisher[k] += share * (grad[k] * grad[k] - fisher[k]);
}

void cam_model_anchor_observe(struct cam_model *model, struct cam_threads *threads,
                              struct cam_arena *arena, uint64_t n) {
    struct job job = {.share = 1 / (double)n};
    if (model->params.n && model->params.items[0]->fisher)
        run_pieces(model, threads, arena, 1, observe_block, &job);
}

/* importance := decay * importance + estimate / its mean; the estimate starts anew. */
static void set_param(struct cam_param *p, double decay) {
    size_t n = p->rows * p->cols;
    double mean = 0;
    if (p->centre)
        memcpy(p->centre, p->value, n * sizeof *p->centre);
    if (!p->fisher)
        return;
    for (size_t i = 0; i < n; i++)
        mean += (double)p->fisher[i] / (double)n;
    double scale = mean > 0 && isfinite(mean) ? 1 / mean : 0;
    for (size_t i = 0; i < n; i++) {
        p->importance[i] =
            (cam_real)(decay * (double)p->importance[i] + scale * (double)p->fisher[i]);
        p->fisher[i] = 0;
    }
}

/* What an expert's own optimiser knows of its gradient, over all steps: those that did not pick it
 * gave none. */
static double row_estimate(const struct cam_pool *pool, uint64_t expert, uint64_t step) {
    const struct cam_expert_state *state = cam_pool_state(pool, expert);
    const cam_real *second = pool->moments ? cam_pool_moments(pool, expert) + pool->record : NULL;
    double sum = 0;
    for (size_t i = 0; !second && i < pool->n_parts; i++)
        sum += (double)state->second[i] / (double)pool->n_parts;
    for (size_t i = 0; second && i < pool->record; i++)
        sum += (double)second[i] / (double)pool->record;
    return sum * (double)cam_pool_usage(pool, expert)->steps / (double)step;
}

static void set_pool(struct cam_pool *pool, double decay, uint64_t step) {
    double mean = 0;
    for (uint64_t e = 0; pool->centre && e < pool->n_experts; e++)
        cam_pool_read(pool, e, cam_pool_centre(pool, e));
    if (!pool->importance || step == 0)
        return;
    for (uint64_t e = 0; e < pool->n_experts; e++)
        mean += row_estimate(pool, e, step) / (double)pool->n_experts;
    double scale = mean > 0 && isfinite(mean) ? 1 / mean : 0;
    for (uint64_t e = 0; e < pool->n_experts; e++) {
        cam_real *importance = cam_pool_importance(pool, e);
        *importance =
            (cam_real)(decay * (double)*importance + scale * row_estimate(pool, e, step));
    }
}

void cam_model_anchor_set(struct cam_model *model, double decay, uint64_t step) {
    struct cam_pool *pool;
    for (size_t i = 0; i < model->params.n; i++)
        set_param(model->params.items[i], decay);
    for (size_t i = 0; (pool = next_pool(model, &i)); i++)
        set_pool(pool, decay, step);
}

static void pull_block(void *context, size_t i, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    const struct piece *piece = &job->pieces[i];
    const struct cam_param *p = piece->param;
    double rate = job->pull->lr * p->lr_scale;
    for (size_t k = piece->from; k < piece->to; k++) {
        double importance = p->importance ? (double)p->importance[k] : 0;
        double share = cam_anchor_share(rate, job->pull->l2, job->pull->ewc, importance);
        if (!isnan(p->centre[k]))
            p->value[k] += (cam_real)share * (p->centre[k] - p->value[k]);
    }
}

void cam_model_anchor_pull(struct cam_model *model, struct cam_threads *threads,
                           struct cam_arena *arena, const struct cam_anchor_pull *pull) {
    struct job job = {.pull = pull};
    if (model->params.n && model->params.items[0]->centre && (pull->l2 > 0 || pull->ewc > 0))
        run_pieces(model, threads, arena, 0, pull_block, &job);
}
