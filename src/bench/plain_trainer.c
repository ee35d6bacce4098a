#include "bench/plain_trainer.h"

#include "math/vector_inline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#define PARALLEL _Pragma("omp parallel for schedule(static)")
#else
#define PARALLEL
#endif

/* Inner loops are functions of their own: the compiler makes a version of each for AVX-512, AVX2
 * and plain x86-64, which it does not do for the body of a parallel loop. */

#define EPSILON 1e-6f /* of norms */

struct tensor {
    float *value, *grad, *m, *v; /* (rows, cols); value owns the allocation */
    size_t rows, cols;
    float lr_scale, decay;
};

struct block {
    struct tensor norm1, qkv, q_gain, k_gain, out, norm2, into, down;
    /* kept for backward */
    float *x1, *x2;     /* (N, D) the stream before each branch */
    float *h1, *h2;     /* (N, D) normalised */
    float *rms1, *rms2; /* (N) inverse */
    float *raw;         /* (N, (H + 2G) W) queries, keys, values */
    float *turned;      /* (N, (H + G) W) queries and keys after norm and rotation */
    float *rms;         /* (N, H + G) */
    float *weights;     /* (B, H, T, T) */
    float *mixed;       /* (N, H W) */
    float *pre, *gated; /* (N, 2F), (N, F) */
};

struct cam_plain {
    size_t n, t, vocabulary, width, heads, groups, size, hidden, n_blocks; /* size: of a head */
    struct tensor embedding, norm_final;
    struct block *blocks;
    float *cosine, *sine;                /* (T, W/2) */
    float *x, *h, *rms, *logits;         /* (N, D), (N, D), (N), (N, V) */
    float *dx, *dh, *d_mixed, *d_turned; /* scratch of the backward pass */
    float *d_raw, *d_pre, *d_gated;
    float *d_weights; /* (B, H, T) */
    void **owned;     /* every allocation */
    size_t n_owned, owned_capacity;
    int n_threads;
};

int cam_plain_has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* ---- matrix products: y (N, O) = x (N, I) w (I, O) ---- */

CAM_CLONES static void row_product(float *y, const float *x, const float *w, size_t n_in,
                                   size_t n_out) {
    for (size_t o = 0; o < n_out; o++)
        y[o] = 0;
    for (size_t i = 0; i < n_in; i++)
        for (size_t o = 0; o < n_out; o++)
            y[o] += x[i] * w[i * n_out + o];
}

/* y (I) += w (I, O) dy (O), a dot product a row. */
CAM_CLONES static void row_product_transposed(float *y, const float *dy, const float *w,
                                              size_t n_in, size_t n_out) {
    for (size_t i = 0; i < n_in; i++) {
        float sum = 0;
        for (size_t o = 0; o < n_out; o++)
            sum += dy[o] * w[i * n_out + o];
        y[i] += sum;
    }
}

/* dw (O) += sum over N of x[n] dy[n], x being one column of stride LD. */
CAM_CLONES static void row_gradient(float *dw, const float *x, const float *dy, size_t n, size_t ld,
                                    size_t n_out) {
    for (size_t k = 0; k < n; k++)
        for (size_t o = 0; o < n_out; o++)
            dw[o] += x[k * ld] * dy[k * n_out + o];
}

static void product(float *y, const float *x, const struct tensor *w, size_t n) {
    PARALLEL
    for (size_t k = 0; k < n; k++)
        row_product(y + k * w->cols, x + k * w->rows, w->value, w->rows, w->cols);
}

static void product_backward(float *dx, struct tensor *w, const float *dy, const float *x,
                             size_t n) {
    PARALLEL
    for (size_t k = 0; k < n; k++)
        row_product_transposed(dx + k * w->rows, dy + k * w->cols, w->value, w->rows, w->cols);
    PARALLEL
    for (size_t i = 0; i < w->rows; i++)
        row_gradient(w->grad + i * w->cols, x + i, dy, n, w->rows, w->cols);
}

/* ---- rows ---- */

CAM_CLONES static void row_add(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

CAM_CLONES static float row_norm(float *y, const float *x, const float *gain, size_t n) {
    float square = 0;
    for (size_t i = 0; i < n; i++)
        square += x[i] * x[i];
    float inverse = 1 / sqrtf(square / (float)n + EPSILON);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * inverse * gain[i];
    return inverse;
}

/* dx += */
CAM_CLONES static void row_norm_backward(float *dx, const float *dy, const float *x,
                                         const float *gain, float inverse, size_t n) {
    float along = 0;
    for (size_t i = 0; i < n; i++)
        along += dy[i] * gain[i] * x[i];
    along *= inverse * inverse / (float)n;
    for (size_t i = 0; i < n; i++)
        dx[i] += (dy[i] * gain[i] - x[i] * along) * inverse;
}

static void norm(float *y, float *rms, const float *x, const struct tensor *gain, size_t n) {
    size_t d = gain->cols;
    PARALLEL
    for (size_t k = 0; k < n; k++)
        rms[k] = row_norm(y + k * d, x + k * d, gain->value, d);
}

/* dx += */
static void norm_backward(float *dx, struct tensor *gain, const float *dy, const float *x,
                          const float *rms, size_t n) {
    size_t d = gain->cols;
    PARALLEL
    for (size_t k = 0; k < n; k++)
        row_norm_backward(dx + k * d, dy + k * d, x + k * d, gain->value, rms[k], d);
    PARALLEL
    for (size_t i = 0; i < d; i++)
        for (size_t k = 0; k < n; k++)
            gain->grad[i] += dy[k * d + i] * x[k * d + i] * rms[k];
}

CAM_CLONES static void row_softmax(float *x, size_t n) {
    float most = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - most);
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

/* ---- attention ---- */

static void rotate(const struct cam_plain *p, float *x, size_t at, float sign) {
    size_t half = p->size / 2;
    for (size_t i = 0; i < half; i++) {
        float c = p->cosine[at * half + i], s = sign * p->sine[at * half + i];
        float a = x[i], b = x[half + i];
        x[i] = a * c - b * s;
        x[half + i] = a * s + b * c;
    }
}

static void turn(const struct cam_plain *p, struct block *b) {
    size_t w = p->size, all = p->heads + p->groups, stride = (p->heads + 2 * p->groups) * w;
    PARALLEL
    for (size_t k = 0; k < p->n; k++) {
        for (size_t h = 0; h < all; h++) {
            float *y = b->turned + (k * all + h) * w;
            const float *gain = h < p->heads ? b->q_gain.value : b->k_gain.value;
            b->rms[k * all + h] = row_norm(y, b->raw + k * stride + h * w, gain, w);
            rotate(p, y, k % p->t, 1);
        }
    }
}

static void turn_backward(struct cam_plain *p, struct block *b) {
    size_t w = p->size, all = p->heads + p->groups, stride = (p->heads + 2 * p->groups) * w;
    PARALLEL
    for (size_t k = 0; k < p->n; k++) {
        for (size_t h = 0; h < all; h++) {
            float *d = p->d_turned + (k * all + h) * w, *d_raw = p->d_raw + k * stride + h * w;
            const float *gain = h < p->heads ? b->q_gain.value : b->k_gain.value;
            rotate(p, d, k % p->t, -1);
            memset(d_raw, 0, w * sizeof *d_raw);
            row_norm_backward(d_raw, d, b->raw + k * stride + h * w, gain, b->rms[k * all + h], w);
        }
    }
    for (size_t k = 0; k < p->n * all; k++) {
        float *gain = k % all < p->heads ? b->q_gain.grad : b->k_gain.grad;
        const float *raw = b->raw + k / all * stride + k % all * w, *d = p->d_turned + k * w;
        for (size_t i = 0; i < w; i++)
            gain[i] += d[i] * raw[i] * b->rms[k];
    }
}

/* One query: scores, softmax, the weighted sum of values.  Rows of keys and values lie LD apart. */
CAM_CLONES static void attend(float *mixed, float *weights, const float *q, const float *k,
                              const float *v, size_t n, size_t ld_k, size_t ld_v, size_t w) {
    float scale = 1 / sqrtf((float)w);
    for (size_t j = 0; j < n; j++) {
        float sum = 0;
        for (size_t i = 0; i < w; i++)
            sum += q[i] * k[j * ld_k + i];
        weights[j] = sum * scale;
    }
    row_softmax(weights, n);
    for (size_t i = 0; i < w; i++)
        mixed[i] = 0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < w; i++)
            mixed[i] += weights[j] * v[j * ld_v + i];
}

/* dq =, dk +=, dv += */
CAM_CLONES static void attend_backward(float *dq, float *dk, float *dv, float *d_weights,
                                       const float *d_mixed, const float *weights, const float *q,
                                       const float *k, const float *v, size_t n, size_t ld_k,
                                       size_t ld_v, size_t w) {
    float scale = 1 / sqrtf((float)w), along = 0;
    for (size_t j = 0; j < n; j++) {
        float sum = 0;
        for (size_t i = 0; i < w; i++)
            sum += d_mixed[i] * v[j * ld_v + i];
        d_weights[j] = sum;
        along += weights[j] * sum;
        for (size_t i = 0; i < w; i++)
            dv[j * ld_v + i] += weights[j] * d_mixed[i];
    }
    for (size_t i = 0; i < w; i++)
        dq[i] = 0;
    for (size_t j = 0; j < n; j++) {
        float d = weights[j] * (d_weights[j] - along) * scale;
        for (size_t i = 0; i < w; i++) {
            dq[i] += d * k[j * ld_k + i];
            dk[j * ld_k + i] += d * q[i];
        }
    }
}

static void attention(struct cam_plain *p, struct block *b) {
    size_t w = p->size, all = p->heads + p->groups, stride = (p->heads + 2 * p->groups) * w;
    product(b->raw, b->h1, &b->qkv, p->n);
    turn(p, b);
    PARALLEL
    for (size_t i = 0; i < p->n / p->t * p->heads; i++) {
        size_t s = i / p->heads, h = i % p->heads, g = h / (p->heads / p->groups);
        size_t first = s * p->t; /* token */
        for (size_t t = 0; t < p->t; t++)
            attend(b->mixed + (first + t) * p->heads * w + h * w,
                   b->weights + (i * p->t + t) * p->t, b->turned + ((first + t) * all + h) * w,
                   b->turned + (first * all + p->heads + g) * w,
                   b->raw + first * stride + (all + g) * w, t + 1, all * w, stride, w);
    }
}

static void attention_backward(struct cam_plain *p, struct block *b) {
    size_t w = p->size, all = p->heads + p->groups, stride = (p->heads + 2 * p->groups) * w;
    memset(p->d_turned, 0, p->n * all * w * sizeof(float));
    memset(p->d_raw, 0, p->n * stride * sizeof(float));
    PARALLEL
    for (size_t i = 0; i < p->n / p->t * p->groups; i++) {
        size_t s = i / p->groups, g = i % p->groups, each = p->heads / p->groups;
        size_t first = s * p->t;
        for (size_t h = g * each; h < (g + 1) * each; h++)
            for (size_t t = 0; t < p->t; t++)
                attend_backward(p->d_turned + ((first + t) * all + h) * w,
                                p->d_turned + (first * all + p->heads + g) * w,
                                p->d_raw + first * stride + (all + g) * w, p->d_weights + i * p->t,
                                p->d_mixed + (first + t) * p->heads * w + h * w,
                                b->weights + ((s * p->heads + h) * p->t + t) * p->t,
                                b->turned + ((first + t) * all + h) * w,
                                b->turned + (first * all + p->heads + g) * w,
                                b->raw + first * stride + (all + g) * w, t + 1, all * w, stride, w);
    }
    turn_backward(p, b);
}

/* ---- feed-forward ---- */

CAM_CLONES static void row_swiglu(float *y, const float *pre, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = pre[i] / (1 + expf(-pre[i])) * pre[n + i];
}

CAM_CLONES static void row_swiglu_backward(float *d_pre, const float *dy, const float *pre,
                                           size_t n) {
    for (size_t i = 0; i < n; i++) {
        float s = 1 / (1 + expf(-pre[i]));
        d_pre[n + i] = dy[i] * pre[i] * s;
        d_pre[i] = dy[i] * pre[n + i] * s * (1 + pre[i] * (1 - s));
    }
}

static void block_forward(struct cam_plain *p, struct block *b) {
    size_t n = p->n, d = p->width, f = p->hidden;
    memcpy(b->x1, p->x, n * d * sizeof(float));
    norm(b->h1, b->rms1, b->x1, &b->norm1, n);
    attention(p, b);
    product(p->h, b->mixed, &b->out, n);
    row_add(p->x, p->h, n * d);
    memcpy(b->x2, p->x, n * d * sizeof(float));
    norm(b->h2, b->rms2, b->x2, &b->norm2, n);
    product(b->pre, b->h2, &b->into, n);
    PARALLEL
    for (size_t k = 0; k < n; k++)
        row_swiglu(b->gated + k * f, b->pre + k * 2 * f, f);
    product(p->h, b->gated, &b->down, n);
    row_add(p->x, p->h, n * d);
}

/* p->dx: the gradient at the block's output becomes that at its input. */
static void block_backward(struct cam_plain *p, struct block *b) {
    size_t n = p->n, d = p->width, f = p->hidden;
    memset(p->d_gated, 0, n * f * sizeof(float));
    product_backward(p->d_gated, &b->down, p->dx, b->gated, n);
    PARALLEL
    for (size_t k = 0; k < n; k++)
        row_swiglu_backward(p->d_pre + k * 2 * f, p->d_gated + k * f, b->pre + k * 2 * f, f);
    memset(p->dh, 0, n * d * sizeof(float));
    product_backward(p->dh, &b->into, p->d_pre, b->h2, n);
    norm_backward(p->dx, &b->norm2, p->dh, b->x2, b->rms2, n);
    memset(p->d_mixed, 0, n * b->out.rows * sizeof(float));
    product_backward(p->d_mixed, &b->out, p->dx, b->mixed, n);
    attention_backward(p, b);
    memset(p->dh, 0, n * d * sizeof(float));
    product_backward(p->dh, &b->qkv, p->d_raw, b->h1, n);
    norm_backward(p->dx, &b->norm1, p->dh, b->x1, b->rms1, n);
}

/* ---- ends of the model ---- */

static void embed(struct cam_plain *p, const uint16_t *tokens) {
    size_t d = p->width;
    for (size_t k = 0; k < p->n; k++)
        memcpy(p->x + k * d, p->embedding.value + tokens[k] * d, d * sizeof(float));
}

/* Mean loss; logits become its gradient. */
static double head(struct cam_plain *p, const uint16_t *targets) {
    size_t d = p->width, v = p->vocabulary;
    double total = 0;
    norm(p->h, p->rms, p->x, &p->norm_final, p->n);
    memset(p->logits, 0, p->n * v * sizeof(float));
    PARALLEL
    for (size_t k = 0; k < p->n; k++) {
        row_product_transposed(p->logits + k * v, p->h + k * d, p->embedding.value, v, d);
        row_softmax(p->logits + k * v, v);
    }
    for (size_t k = 0; k < p->n; k++) {
        float *line = p->logits + k * v;
        total -= log((double)line[targets[k]]);
        line[targets[k]] -= 1;
        for (size_t i = 0; i < v; i++)
            line[i] /= (float)p->n;
    }
    return total / (double)p->n;
}

/* From the logits' gradient to that of the last block's output, p->dx. */
static void head_backward(struct cam_plain *p) {
    size_t d = p->width, v = p->vocabulary;
    PARALLEL
    for (size_t k = 0; k < p->n; k++)
        row_product(p->dh + k * d, p->logits + k * v, p->embedding.value, v, d);
    PARALLEL
    for (size_t i = 0; i < v; i++)
        row_gradient(p->embedding.grad + i * d, p->logits + i, p->h, p->n, v, d);
    memset(p->dx, 0, p->n * d * sizeof(float));
    norm_backward(p->dx, &p->norm_final, p->dh, p->x, p->rms, p->n);
}

static void embed_backward(struct cam_plain *p, const uint16_t *tokens) {
    size_t d = p->width;
    for (size_t k = 0; k < p->n; k++)
        row_add(p->embedding.grad + tokens[k] * d, p->dx + k * d, d);
}

/* ---- the optimiser ---- */

struct adamw {
    float lr, beta1, beta2, correction1, correction2, weight_decay, grad_scale;
};

CAM_CLONES static void row_adamw(const struct adamw *a, float lr, float decay, float *value,
                                 const float *grad, float *m, float *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float g = grad[i] * a->grad_scale;
        m[i] = a->beta1 * m[i] + (1 - a->beta1) * g;
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * g * g;
        value[i] -= lr * (m[i] / a->correction1 / (sqrtf(v[i] / a->correction2) + 1e-8f) +
                          decay * value[i]);
    }
}

CAM_CLONES static double row_squares(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* The parameters in turn: FN sees each. */
#define TENSORS_A_BLOCK 8
static size_t n_tensors(const struct cam_plain *p) {
    return 2 + p->n_blocks * TENSORS_A_BLOCK;
}

static struct tensor *tensor_at(struct cam_plain *p, size_t i) {
    if (i < 2)
        return i ? &p->norm_final : &p->embedding;
    struct block *b = &p->blocks[(i - 2) / TENSORS_A_BLOCK];
    struct tensor *all[TENSORS_A_BLOCK] = {&b->norm1, &b->qkv,   &b->q_gain, &b->k_gain,
                                           &b->out,   &b->norm2, &b->into,   &b->down};
    return all[(i - 2) % TENSORS_A_BLOCK];
}

static void move(struct cam_plain *p, const struct cam_recipe *recipe, uint64_t step) {
    double square = 0;
    for (size_t i = 0; i < n_tensors(p); i++) {
        const struct tensor *t = tensor_at(p, i);
        square += row_squares(t->grad, t->rows * t->cols);
    }
    double norm_of_all = sqrt(square), lr = cam_recipe_lr(recipe, step);
    int clips = recipe->clip > 0 && norm_of_all > recipe->clip;
    struct adamw a = {.beta1 = (float)recipe->beta1,
                      .beta2 = (float)recipe->beta2,
                      .correction1 = (float)(1 - pow(recipe->beta1, (double)step)),
                      .correction2 = (float)(1 - pow(recipe->beta2, (double)step)),
                      .grad_scale = clips ? (float)(recipe->clip / norm_of_all) : 1};
    for (size_t i = 0; i < n_tensors(p); i++) {
        struct tensor *t = tensor_at(p, i);
        PARALLEL
        for (size_t r = 0; r < t->rows; r++) {
            size_t at = r * t->cols;
            row_adamw(&a, (float)lr * t->lr_scale, t->decay * (float)recipe->weight_decay,
                      t->value + at, t->grad + at, t->m + at, t->v + at, t->cols);
        }
    }
}

double cam_plain_step(struct cam_plain *p, const struct cam_recipe *recipe,
                      const struct cam_batch *batch, uint64_t step) {
#ifdef _OPENMP
    omp_set_num_threads(p->n_threads);
#endif
    for (size_t i = 0; i < n_tensors(p); i++) {
        struct tensor *t = tensor_at(p, i);
        memset(t->grad, 0, t->rows * t->cols * sizeof(float));
    }
    embed(p, batch->tokens);
    for (size_t i = 0; i < p->n_blocks; i++)
        block_forward(p, &p->blocks[i]);
    double loss = head(p, batch->targets);
    head_backward(p);
    for (size_t i = p->n_blocks; i-- > 0;)
        block_backward(p, &p->blocks[i]);
    embed_backward(p, batch->tokens);
    move(p, recipe, step);
    return loss;
}

/* ---- memory ---- */

static enum cam_status take(struct cam_plain *p, size_t n, float **out) {
    if (p->n_owned == p->owned_capacity) {
        size_t capacity = p->owned_capacity ? 2 * p->owned_capacity : 64;
        void **owned = realloc(p->owned, capacity * sizeof *owned);
        if (!owned)
            return cam_fail(CAM_ERR_OS, "out of memory for the plain trainer");
        p->owned = owned;
        p->owned_capacity = capacity;
    }
    size_t n_bytes = (n * sizeof(float) + 63) / 64 * 64;
    float *made = aligned_alloc(64, n_bytes);
    if (!made)
        return cam_fail(CAM_ERR_OS, "out of memory for the plain trainer");
    memset(made, 0, n_bytes);
    p->owned[p->n_owned++] = made;
    *out = made;
    return CAM_OK;
}

/* The parameter of MODEL called "PREFIX.NAME", or NAME without a prefix. */
static enum cam_status copy_tensor(struct cam_plain *p, const struct cam_model *model, int i_block,
                                   const char *name, struct tensor *t) {
    char full[64];
    const struct cam_param *found = NULL;
    if (i_block >= 0)
        snprintf(full, sizeof full, "block%d.%s", i_block, name);
    else
        snprintf(full, sizeof full, "%s", name);
    for (size_t i = 0; i < model->params.n; i++)
        if (strcmp(model->params.items[i]->name, full) == 0)
            found = model->params.items[i];
    if (!found)
        return cam_fail(CAM_ERR_INTERNAL, "the model has no parameter %s", full);
    size_t n = found->rows * found->cols;
    *t = (struct tensor){.rows = found->rows,
                         .cols = found->cols,
                         .lr_scale = (float)found->lr_scale,
                         .decay = found->decay ? 1.0f : 0.0f};
    CAM_TRY(take(p, n, &t->value));
    CAM_TRY(take(p, n, &t->grad));
    CAM_TRY(take(p, n, &t->m));
    CAM_TRY(take(p, n, &t->v));
    for (size_t i = 0; i < n; i++)
        t->value[i] = (float)found->value[i];
    return CAM_OK;
}

static enum cam_status make_block(struct cam_plain *p, const struct cam_model *model, int i) {
    struct block *b = &p->blocks[i];
    CAM_TRY(copy_tensor(p, model, i, "norm1", &b->norm1));
    CAM_TRY(copy_tensor(p, model, i, "attention.qkv", &b->qkv));
    CAM_TRY(copy_tensor(p, model, i, "attention.q_gain", &b->q_gain));
    CAM_TRY(copy_tensor(p, model, i, "attention.k_gain", &b->k_gain));
    CAM_TRY(copy_tensor(p, model, i, "attention.out", &b->out));
    CAM_TRY(copy_tensor(p, model, i, "norm2", &b->norm2));
    CAM_TRY(copy_tensor(p, model, i, "dense.in", &b->into));
    CAM_TRY(copy_tensor(p, model, i, "dense.out", &b->down));
    if (b->into.cols != 2 * p->hidden)
        return cam_fail(CAM_ERR_CONFIG, "the plain trainer knows SwiGLU only");
    size_t n = p->n, d = p->width, all = p->heads + p->groups;
    CAM_TRY(take(p, n * d, &b->x1));
    CAM_TRY(take(p, n * d, &b->x2));
    CAM_TRY(take(p, n * d, &b->h1));
    CAM_TRY(take(p, n * d, &b->h2));
    CAM_TRY(take(p, n, &b->rms1));
    CAM_TRY(take(p, n, &b->rms2));
    CAM_TRY(take(p, n * b->qkv.cols, &b->raw));
    CAM_TRY(take(p, n * all * p->size, &b->turned));
    CAM_TRY(take(p, n * all, &b->rms));
    CAM_TRY(take(p, n * p->heads * p->t, &b->weights));
    CAM_TRY(take(p, n * b->out.rows, &b->mixed));
    CAM_TRY(take(p, n * 2 * p->hidden, &b->pre));
    return take(p, n * p->hidden, &b->gated);
}

static enum cam_status make(struct cam_plain *p, const struct cam_model *model) {
    size_t n = p->n, d = p->width, half = p->size / 2;
    p->blocks = calloc(p->n_blocks, sizeof *p->blocks);
    if (!p->blocks)
        return cam_fail(CAM_ERR_OS, "out of memory for the plain trainer");
    CAM_TRY(copy_tensor(p, model, -1, "embedding", &p->embedding));
    CAM_TRY(copy_tensor(p, model, -1, "norm_final", &p->norm_final));
    for (size_t i = 0; i < p->n_blocks; i++)
        CAM_TRY(make_block(p, model, (int)i));
    CAM_TRY(take(p, p->t * half, &p->cosine));
    CAM_TRY(take(p, p->t * half, &p->sine));
    for (size_t t = 0; t < p->t; t++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)t * pow(10000.0, -2.0 * (double)i / (double)p->size);
            p->cosine[t * half + i] = (float)cos(angle);
            p->sine[t * half + i] = (float)sin(angle);
        }
    }
    CAM_TRY(take(p, n * d, &p->x));
    CAM_TRY(take(p, n * d, &p->h));
    CAM_TRY(take(p, n, &p->rms));
    CAM_TRY(take(p, n * p->vocabulary, &p->logits));
    CAM_TRY(take(p, n * d, &p->dx));
    CAM_TRY(take(p, n * d, &p->dh));
    CAM_TRY(take(p, n * p->heads * p->size, &p->d_mixed));
    CAM_TRY(take(p, n * (p->heads + p->groups) * p->size, &p->d_turned));
    CAM_TRY(take(p, n * p->blocks[0].qkv.cols, &p->d_raw));
    CAM_TRY(take(p, n * 2 * p->hidden, &p->d_pre));
    CAM_TRY(take(p, n * p->hidden, &p->d_gated));
    return take(p, n * p->heads, &p->d_weights);
}

enum cam_status cam_plain_new(const struct cam_model *model, size_t n_sequences, size_t t,
                              int n_threads, struct cam_plain **plain) {
    const struct cam_model_shape *s = &model->shape;
    for (size_t i = 0; i < s->n_blocks; i++)
        if (strcmp(s->ff[i], "dense") != 0 || s->conv)
            return cam_fail(CAM_ERR_CONFIG,
                            "the plain trainer knows dense slots without a convolution only; block "
                            "%zu is %s%s",
                            i, s->ff[i], s->conv ? " with one" : "");
    struct cam_plain *p = calloc(1, sizeof *p);
    if (!p)
        return cam_fail(CAM_ERR_OS, "out of memory for the plain trainer");
    *p = (struct cam_plain){.n = n_sequences * t,
                            .t = t,
                            .vocabulary = s->vocabulary,
                            .width = s->width,
                            .heads = s->heads,
                            .groups = s->kv_heads,
                            .size = s->width / s->heads,
                            .hidden = s->hidden,
                            .n_blocks = s->n_blocks,
                            .n_threads = n_threads};
    enum cam_status status = make(p, model);
    if (status != CAM_OK) {
        cam_plain_free(p);
        return status;
    }
    *plain = p;
    return CAM_OK;
}

void cam_plain_free(struct cam_plain *plain) {
    if (!plain)
        return;
    for (size_t i = 0; i < plain->n_owned; i++)
        free(plain->owned[i]);
    free(plain->owned);
    free(plain->blocks);
    free(plain);
}
