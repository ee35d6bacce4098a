#include "model/average.h"

#include "math/blas.h"
#include "math/vector.h"
#include "model/conv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 64 /* tokens a block in elementwise phases */

/* Gains, convolutions and the embedding are moved by AdamW beside the matrices' Muon and want larger
 * steps: with these, the first 200,000 tokens of a stream cost 2.651 bits a byte instead of 2.719
 * (docs/tuning.md). */
#define NORM_LR_SCALE      5
#define EMBEDDING_LR_SCALE 2

enum cam_status cam_model_shape_check(const struct cam_model_shape *s) {
    if (s->vocabulary < 2 || s->vocabulary > 65535)
        return cam_fail(CAM_ERR_CONFIG, "vocabulary %zu: must be 2 to 65535", s->vocabulary);
    if (s->n_blocks < 1 || s->n_blocks > CAM_MAX_BLOCKS)
        return cam_fail(CAM_ERR_CONFIG, "model.blocks %zu: must be 1 to %d", s->n_blocks,
                        CAM_MAX_BLOCKS);
    if (s->heads < 1 || s->width % s->heads || s->width / s->heads % 2)
        return cam_fail(CAM_ERR_CONFIG,
                        "model.width %zu: must be an even multiple of model.heads (%zu)", s->width,
                        s->heads);
    if (s->kv_heads < 1 || s->heads % s->kv_heads)
        return cam_fail(CAM_ERR_CONFIG, "model.kv_heads %zu: must divide model.heads (%zu)",
                        s->kv_heads, s->heads);
    if (s->width > 8192 || s->hidden < 1 || s->hidden > 65536 || s->context < 2 ||
        s->context > 8192)
        return cam_fail(CAM_ERR_CONFIG,
                        "model.width %zu (to 8192), model.hidden %zu (1 to 65536) or model.context "
                        "%zu (2 to 8192) is out of range",
                        s->width, s->hidden, s->context);
    return CAM_OK;
}

static enum cam_status bad_slot(const struct cam_model *model, size_t i_block) {
    char kinds[128] = "";
    for (size_t i = 0, n = 0; cam_ff_kinds[i] && n < sizeof kinds; i++)
        n += (size_t)snprintf(kinds + n, sizeof kinds - n, "%s%s", i ? ", " : "",
                              cam_ff_kinds[i]->name);
    return cam_fail(CAM_ERR_CONFIG,
                    "model.ff: \"%s\" in block %zu is neither a feed-forward kind (%s) nor two "
                    "different ones, at most one of them with a pool, as in dense+peer",
                    model->shape.ff[i_block], i_block, kinds);
}

/* Whether OPS may join what BLOCK has: parameters are named by kind, and what is kept of a pool by
 * block. */
static int fits(const struct cam_block *block, const struct cam_ff_ops *ops) {
    for (size_t i = 0; i < block->n_ff; i++)
        if (strcmp(block->ff[i]->ops->name, ops->name) == 0 ||
            (block->ff[i]->ops->pool && ops->pool))
            return 0;
    return block->n_ff < CAM_MAX_FF;
}

/* Creates the kinds of one slot from "dense+peer". */
static enum cam_status slot_create(struct cam_model *model, size_t i_block) {
    const struct cam_model_shape *s = &model->shape;
    struct cam_block *block = &model->blocks[i_block];
    struct cam_ff_config config = {.seed = model->seed,
                                   .i_layer = i_block,
                                   .width = s->width,
                                   .reference = s->reference,
                                   .hidden = s->hidden,
                                   .activation = s->activation,
                                   .moe_experts = s->moe_experts,
                                   .moe_hidden = s->moe_hidden,
                                   .moe_capacity = s->moe_capacity,
                                   .moe_balance = s->moe_balance,
                                   .heads = s->peer_heads,
                                   .top_k = s->peer_top_k,
                                   .key_width = s->peer_key_width,
                                   .subkeys = s->peer_subkeys,
                                   .subkeys_capacity = s->peer_subkeys_capacity,
                                   .pool_lr_scale = s->pool_lr_scale,
                                   .pool_adam = s->pool_adam,
                                   .pool_bf16 = s->pool_bf16};
    char kinds[sizeof s->ff[0]], *rest = kinds;
    snprintf(kinds, sizeof kinds, "%s", s->ff[i_block]);
    for (char *kind; (kind = strsep(&rest, "+"));) {
        const struct cam_ff_ops *ops = cam_ff_find(kind);
        if (!ops || !fits(block, ops))
            return bad_slot(model, i_block);
        CAM_TRY(ops->create(&config, &model->params, &block->ff[block->n_ff]));
        block->n_ff++;
    }
    return CAM_OK;
}

static enum cam_status block_create(struct cam_model *model, size_t i_block) {
    const struct cam_model_shape *s = &model->shape;
    struct cam_block *block = &model->blocks[i_block];
    char prefix[32], name[48];
    snprintf(prefix, sizeof prefix, "block%zu", i_block);
    snprintf(name, sizeof name, "%s.norm1", prefix);
    CAM_TRY(cam_params_add(&model->params, name, CAM_PART_NORM, 1, s->width, 0, &block->norm1));
    CAM_TRY(cam_attention_create(&block->attention, &model->params, prefix, s->width, s->heads,
                                 s->kv_heads, s->width / s->heads, model->rotation));
    snprintf(name, sizeof name, "%s.norm2", prefix);
    CAM_TRY(cam_params_add(&model->params, name, CAM_PART_NORM, 1, s->width, 0, &block->norm2));
    if (s->conv) {
        snprintf(name, sizeof name, "%s.conv1", prefix);
        CAM_TRY(cam_params_add(&model->params, name, CAM_PART_NORM, CAM_CONV_WIDTH, s->width, 0,
                               &block->conv1));
        snprintf(name, sizeof name, "%s.conv2", prefix);
        CAM_TRY(cam_params_add(&model->params, name, CAM_PART_NORM, CAM_CONV_WIDTH, s->width, 0,
                               &block->conv2));
    }
    cam_param_fill(block->norm1, 1);
    cam_param_fill(block->norm2, 1);
    cam_param_fill(block->attention.q_gain, 1);
    cam_param_fill(block->attention.k_gain, 1);
    cam_param_fill_normal(block->attention.qkv, model->seed, 0, s->width,
                          1 / sqrt((double)s->width));
    return slot_create(model, i_block);
}

static enum cam_status model_create(struct cam_model *model) {
    const struct cam_model_shape *s = &model->shape;
    size_t w = s->width / s->heads;
    model->blocks = calloc(s->n_blocks, sizeof *model->blocks);
    model->rotation = calloc(s->context * w, sizeof *model->rotation);
    if (!model->blocks || !model->rotation)
        return cam_fail(CAM_ERR_OS, "out of memory for a model of %zu blocks", s->n_blocks);
    cam_rotation_fill(model->rotation, s->context, w);
    CAM_TRY(cam_params_add(&model->params, "embedding", CAM_PART_EMBEDDING, s->vocabulary,
                           s->width, 0, &model->embedding));
    cam_param_fill_normal(model->embedding, model->seed, 0, s->vocabulary, 0.02);
    for (size_t i = 0; i < s->n_blocks; i++)
        CAM_TRY(block_create(model, i));
    CAM_TRY(cam_params_add(&model->params, "norm_final", CAM_PART_NORM, 1, s->width, 0,
                           &model->norm_final));
    cam_param_fill(model->norm_final, 1);
    for (size_t i = 0; i < model->params.n; i++)
        if (model->params.items[i]->part == CAM_PART_NORM)
            model->params.items[i]->lr_scale = NORM_LR_SCALE;
    model->embedding->lr_scale = EMBEDDING_LR_SCALE;
    return CAM_OK;
}

enum cam_status cam_model_new(const struct cam_model_shape *shape, uint64_t seed,
                              struct cam_model **model) {
    CAM_TRY(cam_model_shape_check(shape));
    CAM_TRY(cam_blas_open());
    struct cam_model *m = calloc(1, sizeof *m);
    if (!m)
        return cam_fail(CAM_ERR_OS, "out of memory for a model");
    m->shape = *shape;
    m->seed = seed;
    cam_params_init(&m->params);
    enum cam_status status = model_create(m);
    if (status != CAM_OK) {
        cam_model_free(m);
        return status;
    }
    *model = m;
    return CAM_OK;
}

void cam_model_free(struct cam_model *model) {
    if (!model)
        return;
    for (size_t i = 0; model->blocks && i < model->shape.n_blocks; i++)
        for (size_t j = 0; j < model->blocks[i].n_ff; j++)
            model->blocks[i].ff[j]->ops->destroy(model->blocks[i].ff[j]);
    cam_params_release(&model->params);
    free(model->blocks);
    free(model->rotation);
    free(model);
}

/* A job over rows of N tokens. */
struct rows_job {
    struct cam_model *model;
    size_t n, d;
    const cam_real *x, *gain, *dy;
    cam_real *y, *inverse_rms, *dx, *partial;
    const uint16_t *targets;
    const cam_real *weights;
    cam_real *nll;
    int training;
};

static size_t rows_end(const struct rows_job *job, size_t from) {
    return from + ROWS < job->n ? from + ROWS : job->n;
}

static void norm_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct rows_job *job = context;
    size_t d = job->d;
    for (size_t n = i_block * ROWS; n < rows_end(job, i_block * ROWS); n++)
        job->inverse_rms[n] = cam_rmsnorm(job->x + n * d, job->gain, job->y + n * d, d);
}

static void norm_backward_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct rows_job *job = context;
    size_t d = job->d;
    cam_real *gain = job->partial + i_block * d;
    memset(gain, 0, d * sizeof *gain);
    for (size_t n = i_block * ROWS; n < rows_end(job, i_block * ROWS); n++)
        cam_rmsnorm_backward(job->x + n * d, job->gain, job->inverse_rms[n], job->dy + n * d,
                             job->dx + n * d, gain, d);
}

static void norm_forward(const struct cam_pass *pass, const struct cam_param *gain,
                         const cam_real *x, cam_real *y, cam_real *inverse_rms) {
    struct rows_job job = {.n = pass->n_tokens, .d = gain->cols, .x = x, .gain = gain->value,
                           .y = y, .inverse_rms = inverse_rms};
    cam_threads_run(pass->threads, (job.n + ROWS - 1) / ROWS, norm_block, &job);
}

static void norm_backward(const struct cam_pass *pass, struct cam_param *gain, const cam_real *x,
                          cam_real *inverse_rms, const cam_real *dy, cam_real *dx) {
    size_t n_blocks = (pass->n_tokens + ROWS - 1) / ROWS, d = gain->cols;
    struct rows_job job = {.n = pass->n_tokens, .d = d, .x = x, .gain = gain->value, .dy = dy,
                           .dx = dx, .inverse_rms = inverse_rms};
    job.partial = cam_arena_alloc(pass->arena, n_blocks * d * sizeof(cam_real));
    cam_threads_run(pass->threads, n_blocks, norm_backward_block, &job);
    for (size_t i = 0; i < n_blocks; i++)
        cam_axpy(1, job.partial + i * d, gain->grad, d);
}

static cam_real *alloc_rows(const struct cam_pass *pass, size_t width) {
    return cam_arena_alloc(pass->arena, pass->n_tokens * width * sizeof(cam_real));
}

/* Rows of the embedding start the residual stream. */
static void embed(struct cam_model *model, const struct cam_pass *pass, cam_real *x) {
    size_t d = model->shape.width;
    for (size_t n = 0; n < pass->n_tokens; n++)
        memcpy(x + n * d, model->embedding->value + model->tokens[n] * d, d * sizeof *x);
}

/* What a branch reads: the normalised stream, through the convolution if there is one. */
static cam_real *mix_neighbours(const struct cam_param *conv, const struct cam_pass *pass,
                                size_t n_sequences, cam_real *h) {
    if (!conv)
        return h;
    cam_real *c = alloc_rows(pass, conv->cols);
    cam_conv_forward(conv, pass, pass->n_tokens / n_sequences, h, c);
    return c;
}

static cam_real *mix_neighbours_backward(struct cam_param *conv, const struct cam_pass *pass,
                                         size_t n_sequences, const cam_real *h, cam_real *dc) {
    if (!conv)
        return dc;
    cam_real *dh = alloc_rows(pass, conv->cols);
    cam_conv_backward(conv, pass, pass->n_tokens / n_sequences, h, dc, dh);
    return dh;
}

static void block_forward(struct cam_block *block, const struct cam_pass *pass,
                          size_t n_sequences, cam_real *x) {
    size_t d = block->norm1->cols, n = pass->n_tokens;
    block->x1 = alloc_rows(pass, d);
    block->h1 = alloc_rows(pass, d);
    block->x2 = alloc_rows(pass, d);
    block->h2 = alloc_rows(pass, d);
    block->rms1 = alloc_rows(pass, 1);
    block->rms2 = alloc_rows(pass, 1);
    memcpy(block->x1, x, n * d * sizeof *x);
    norm_forward(pass, block->norm1, block->x1, block->h1, block->rms1);
    block->c1 = mix_neighbours(block->conv1, pass, n_sequences, block->h1);
    cam_attention_forward(&block->attention, pass, n_sequences, block->c1, x);
    memcpy(block->x2, x, n * d * sizeof *x);
    norm_forward(pass, block->norm2, block->x2, block->h2, block->rms2);
    block->c2 = mix_neighbours(block->conv2, pass, n_sequences, block->h2);
    for (size_t i = 0; i < block->n_ff; i++)
        block->ff[i]->ops->forward(block->ff[i], pass, block->c2, x);
}

void cam_model_forward(struct cam_model *model, const struct cam_pass *pass, size_t n_sequences,
                       const uint16_t *tokens) {
    size_t d = model->shape.width, v = model->shape.vocabulary, n = pass->n_tokens;
    model->tokens = tokens;
    model->n_sequences = n_sequences;
    cam_real *x = alloc_rows(pass, d);
    embed(model, pass, x);
    for (size_t i = 0; i < model->shape.n_blocks; i++)
        block_forward(&model->blocks[i], pass, n_sequences, x);
    model->x_final = x;
    model->h_final = alloc_rows(pass, d);
    model->rms_final = alloc_rows(pass, 1);
    norm_forward(pass, model->norm_final, x, model->h_final, model->rms_final);
    model->logits = alloc_rows(pass, v);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_TRANSPOSED, n, v, d,
                     1, model->h_final, d, model->embedding->value, d, 0, model->logits, v);
}

static void loss_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct rows_job *job = context;
    size_t v = job->d;
    for (size_t n = i_block * ROWS; n < rows_end(job, i_block * ROWS); n++) {
        cam_real *line = job->y + n * v, at_target = line[job->targets[n]];
        job->nll[n] = cam_softmax(line, v) - at_target;
        if (!job->training)
            continue;
        line[job->targets[n]] -= 1;
        for (size_t i = 0; i < v; i++)
            line[i] *= job->weights[n];
    }
}

void cam_model_loss(struct cam_model *model, const struct cam_pass *pass, const uint16_t *targets,
                    const cam_real *weights, cam_real *nll) {
    struct rows_job job = {.n = pass->n_tokens, .d = model->shape.vocabulary, .y = model->logits,
                           .targets = targets, .weights = weights, .nll = nll,
                           .training = pass->training};
    cam_threads_run(pass->threads, (job.n + ROWS - 1) / ROWS, loss_block, &job);
}

/* dx (N, D) is the gradient at the block's output and becomes that at its input. */
static cam_real *block_backward(struct cam_block *block, const struct cam_pass *pass,
                                size_t n_sequences, cam_real *dx) {
    size_t d = block->norm1->cols, n = pass->n_tokens;
    cam_real *dh = alloc_rows(pass, d), *dx_in = alloc_rows(pass, d);
    block->dy = dx;
    memset(dh, 0, n * d * sizeof *dh);
    for (size_t i = 0; i < block->n_ff; i++)
        block->ff[i]->ops->backward(block->ff[i], pass, block->c2, dx, dh);
    memcpy(dx_in, dx, n * d * sizeof *dx); /* dx stays: sparse updates read it */
    cam_real *d_norm = mix_neighbours_backward(block->conv2, pass, n_sequences, block->h2, dh);
    norm_backward(pass, block->norm2, block->x2, block->rms2, d_norm, dx_in);
    memset(dh, 0, n * d * sizeof *dh);
    cam_attention_backward(&block->attention, pass, n_sequences, block->c1, dx_in, dh);
    d_norm = mix_neighbours_backward(block->conv1, pass, n_sequences, block->h1, dh);
    norm_backward(pass, block->norm1, block->x1, block->rms1, d_norm, dx_in);
    return dx_in;
}

void cam_model_backward(struct cam_model *model, const struct cam_pass *pass) {
    size_t d = model->shape.width, v = model->shape.vocabulary, n = pass->n_tokens;
    cam_real *dh = alloc_rows(pass, d), *dx = alloc_rows(pass, d);
    memset(dx, 0, n * d * sizeof *dx);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_PLAIN, n, d, v, 1,
                     model->logits, v, model->embedding->value, d, 0, dh, d);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_TRANSPOSED, CAM_PLAIN, v, d, n,
                     1, model->logits, v, model->h_final, d, 1, model->embedding->grad, d);
    norm_backward(pass, model->norm_final, model->x_final, model->rms_final, dh, dx);
    for (size_t i = model->shape.n_blocks; i-- > 0;)
        dx = block_backward(&model->blocks[i], pass, model->n_sequences, dx);
    for (size_t i = 0; i < n; i++)
        cam_axpy(1, dx + i * d, model->embedding->grad + model->tokens[i] * d, d);
}

void cam_model_update(struct cam_model *model, const struct cam_pass *pass,
                      const struct cam_update *update) {
    for (size_t i = 0; i < model->shape.n_blocks; i++)
        for (size_t j = 0; j < model->blocks[i].n_ff; j++) {
            struct cam_ff *ff = model->blocks[i].ff[j];
            if (ff->ops->update)
                ff->ops->update(ff, pass, update);
        }
}

struct cam_ff *cam_model_find_pool(struct cam_model *model, size_t *i_block) {
    for (; *i_block < model->shape.n_blocks; ++*i_block)
        for (size_t j = 0; j < model->blocks[*i_block].n_ff; j++)
            if (model->blocks[*i_block].ff[j]->ops->pool)
                return model->blocks[*i_block].ff[j];
    return NULL;
}

void cam_model_size(const struct cam_model *model, struct cam_model_size *size) {
    double dense = (double)cam_params_count(&model->params);
    const struct cam_param *p = model->params.items[0];
    double copies = 4 + (p->average != NULL) + (p->centre != NULL) + 2 * (p->fisher != NULL);
    *size = (struct cam_model_size){
        .parameters = dense, .active = dense, .bytes = dense * copies * sizeof(cam_real)};
    for (size_t i = 0; i < model->shape.n_blocks; i++)
        for (size_t j = 0; j < model->blocks[i].n_ff; j++) {
            const struct cam_ff *ff = model->blocks[i].ff[j];
            struct cam_ff_size own = {0};
            if (ff->ops->size)
                ff->ops->size(ff, &own);
            size->parameters += own.table;
            size->active += own.table_active - own.idle;
            size->bytes += own.table_bytes;
            size->pool_experts += own.pool_experts;
            size->mixture_experts += own.mixture_experts;
        }
}

double cam_model_flops(const struct cam_model *model, size_t t) {
    const struct cam_model_shape *s = &model->shape;
    double d = (double)s->width, w = d / (double)s->heads;
    double attention = 2 * d * w * (double)(s->heads + 2 * s->kv_heads) + 2 * d * d +
                       2 * d * (double)t; /* causal: half of 4 D T */
    double total = 2 * d * (double)s->vocabulary;
    for (size_t i = 0; i < s->n_blocks; i++) {
        total += attention;
        for (size_t j = 0; j < model->blocks[i].n_ff; j++)
            total += model->blocks[i].ff[j]->ops->flops(model->blocks[i].ff[j]);
    }
    return total;
}

enum cam_status cam_model_visit_state(struct cam_model *model, cam_state_visitor *visit,
                                      void *context) {
    static const char *const suffix[] = {"value",  "m",      "v",         "average",
                                         "centre", "fisher", "importance"};
    for (size_t i = 0; i < model->params.n; i++) {
        struct cam_param *p = model->params.items[i];
        cam_real *data[] = {p->value,  p->m,      p->v,         p->average,
                            p->centre, p->fisher, p->importance};
        for (size_t j = 0; j < sizeof data / sizeof *data; j++) {
            char name[64];
            if (!data[j])
                continue;
            snprintf(name, sizeof name, "%s.%s", p->name, suffix[j]);
            CAM_TRY(visit(context, name, data[j], p->rows * p->cols * sizeof(cam_real)));
        }
    }
    for (size_t i = 0; i < model->shape.n_blocks; i++)
        for (size_t j = 0; j < model->blocks[i].n_ff; j++) {
            struct cam_ff *ff = model->blocks[i].ff[j];
            if (ff->ops->visit_state)
                CAM_TRY(ff->ops->visit_state(ff, visit, context));
        }
    return CAM_OK;
}
