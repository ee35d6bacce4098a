#include "model/attention.h"

#include "math/blas.h"
#include "math/vector.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Query rows a tile: the products skip what lies right of the diagonal tile. */
#define TILE 64
/* Tokens a block in the elementwise phases. */
#define ROWS 64

enum cam_status cam_attention_create(struct cam_attention *a, struct cam_params *params,
                                     const char *prefix, size_t width, size_t heads,
                                     size_t kv_heads, size_t head_width,
                                     const cam_real *rotation) {
    *a = (struct cam_attention){.width = width, .heads = heads, .kv_heads = kv_heads,
                                .head_width = head_width, .rotation = rotation};
    char name[48];
    size_t columns = (heads + 2 * kv_heads) * head_width;
    snprintf(name, sizeof name, "%s.attention.qkv", prefix);
    CAM_TRY(cam_params_add(params, name, CAM_PART_TRUNK, width, columns, 0, &a->qkv));
    a->qkv->n_groups = 3;
    a->qkv->group_cols[0] = heads * head_width;
    a->qkv->group_cols[1] = a->qkv->group_cols[2] = kv_heads * head_width;
    snprintf(name, sizeof name, "%s.attention.out", prefix);
    CAM_TRY(cam_params_add(params, name, CAM_PART_TRUNK, heads * head_width, width, 0, &a->out));
    snprintf(name, sizeof name, "%s.attention.q_gain", prefix);
    CAM_TRY(cam_params_add(params, name, CAM_PART_NORM, 1, head_width, 0, &a->q_gain));
    snprintf(name, sizeof name, "%s.attention.k_gain", prefix);
    return cam_params_add(params, name, CAM_PART_NORM, 1, head_width, 0, &a->k_gain);
}

void cam_rotation_fill(cam_real *rotation, size_t t_max, size_t head_width) {
    size_t half = head_width / 2;
    for (size_t t = 0; t < t_max; t++)
        for (size_t i = 0; i < half; i++) {
            double angle = (double)t * pow(10000.0, -2.0 * (double)i / (double)head_width);
            rotation[t * head_width + i] = (cam_real)cos(angle);
            rotation[t * head_width + half + i] = (cam_real)sin(angle);
        }
}

/* Rotates pairs (i, i + W/2) of one head by the angles of its position; SIGN -1 undoes it. */
static void rotate(cam_real *x, const cam_real *table, size_t w, cam_real sign) {
    size_t half = w / 2;
    for (size_t i = 0; i < half; i++) {
        cam_real c = table[i], s = table[half + i] * sign, a = x[i], b = x[half + i];
        x[i] = a * c - b * s;
        x[half + i] = a * s + b * c;
    }
}

struct job {
    struct cam_attention *a;
    const struct cam_pass *pass;
    size_t t; /* tokens a sequence */
    cam_real *d_mixed, *d_q, *d_k, *d_raw, *gain_partial, *scratch;
};

/* Norm and rotation of queries and keys, ROWS tokens a block. */
static void prepare_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    struct cam_attention *a = job->a;
    size_t w = a->head_width, heads = a->heads, all = heads + a->kv_heads;
    size_t stride = (heads + 2 * a->kv_heads) * w, from = i_block * ROWS;
    size_t to = from + ROWS < job->pass->n_tokens ? from + ROWS : job->pass->n_tokens;
    for (size_t n = from; n < to; n++)
        for (size_t h = 0; h < all; h++) {
            int is_query = h < heads;
            cam_real *y = is_query ? a->q + (n * heads + h) * w
                                   : a->k + (n * a->kv_heads + h - heads) * w;
            a->inverse_rms[n * all + h] =
                cam_rmsnorm(a->raw + n * stride + h * w,
                            is_query ? a->q_gain->value : a->k_gain->value, y, w);
            rotate(y, a->rotation + n % job->t * w, w, 1);
        }
}

/* One (sequence, head): scores, softmax, weighted values, a tile of queries at a time. */
static void mix_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    struct cam_attention *a = job->a;
    size_t t = job->t, w = a->head_width, heads = a->heads, kv = a->kv_heads;
    size_t b = i_block / heads, h = i_block % heads, g = h / (heads / kv);
    size_t stride = (heads + 2 * kv) * w;
    const cam_real *q = a->q + b * t * heads * w + h * w, *k = a->k + b * t * kv * w + g * w;
    const cam_real *v = a->raw + b * t * stride + (heads + kv + g) * w;
    cam_real *p = a->weights + i_block * t * t, *o = a->mixed + b * t * heads * w + h * w;
    cam_real scale = (cam_real)(1.0 / sqrt((double)w));
    for (size_t row = 0; row < t; row += TILE) {
        size_t m = t - row < TILE ? t - row : TILE, n = row + m;
        cam_gemm(job->pass->products, CAM_PLAIN, CAM_TRANSPOSED, m, n, w, scale,
                 q + row * heads * w, heads * w, k, kv * w, 0, p + row * t, t);
        for (size_t i = 0; i < m; i++) {
            cam_real *line = p + (row + i) * t;
            cam_softmax(line, row + i + 1);
            memset(line + row + i + 1, 0, (n - row - i - 1) * sizeof *line);
        }
        cam_gemm(job->pass->products, CAM_PLAIN, CAM_PLAIN, m, w, n, 1, p + row * t, t, v, stride,
                 0, o + row * heads * w, heads * w);
    }
}

void cam_attention_forward(struct cam_attention *a, const struct cam_pass *pass,
                           size_t n_sequences, const cam_real *x, cam_real *y) {
    size_t n = pass->n_tokens, t = n / n_sequences, w = a->head_width;
    size_t heads = a->heads, kv = a->kv_heads, stride = (heads + 2 * kv) * w;
    a->raw = cam_arena_alloc(pass->arena, n * stride * sizeof(cam_real));
    a->q = cam_arena_alloc(pass->arena, n * heads * w * sizeof(cam_real));
    a->k = cam_arena_alloc(pass->arena, n * kv * w * sizeof(cam_real));
    a->inverse_rms = cam_arena_alloc(pass->arena, n * (heads + kv) * sizeof(cam_real));
    a->weights = cam_arena_alloc(pass->arena, n * heads * t * sizeof(cam_real));
    a->mixed = cam_arena_alloc(pass->arena, n * heads * w * sizeof(cam_real));
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_PLAIN, n, stride,
                     a->width, 1, x, a->width, a->qkv->value, stride, 0, a->raw, stride);
    struct job job = {.a = a, .pass = pass, .t = t};
    cam_threads_run(pass->threads, (n + ROWS - 1) / ROWS, prepare_block, &job);
    cam_threads_run(pass->threads, n_sequences * heads, mix_block, &job);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_PLAIN, n, a->width,
                     heads * w, 1, a->mixed, heads * w, a->out->value, a->width, 1, y, a->width);
}

/* Gradients of one (sequence, head, tile) given its part of d_mixed; dk and dv accumulate. */
static void mix_tile_backward(const struct job *job, size_t b, size_t h, size_t row,
                              cam_real *scratch) {
    struct cam_attention *a = job->a;
    size_t t = job->t, w = a->head_width, heads = a->heads, kv = a->kv_heads;
    size_t g = h / (heads / kv), stride = (heads + 2 * kv) * w;
    size_t m = t - row < TILE ? t - row : TILE, n = row + m;
    const cam_real *k = a->k + b * t * kv * w + g * w;
    const cam_real *v = a->raw + b * t * stride + (heads + kv + g) * w;
    const cam_real *q = a->q + (b * t + row) * heads * w + h * w;
    const cam_real *p = a->weights + ((b * heads + h) * t + row) * t;
    const cam_real *o = a->mixed + (b * t + row) * heads * w + h * w;
    const cam_real *d_o = job->d_mixed + (b * t + row) * heads * w + h * w;
    cam_real *dq = job->d_q + (b * t + row) * heads * w + h * w;
    cam_real *dk = job->d_k + b * t * kv * w + g * w;
    cam_real *dv = job->d_raw + b * t * stride + (heads + kv + g) * w;
    cam_real scale = (cam_real)(1.0 / sqrt((double)w));

    cam_gemm(job->pass->products, CAM_TRANSPOSED, CAM_PLAIN, n, w, m, 1, p, t, d_o, heads * w, 1,
             dv, stride);
    cam_gemm(job->pass->products, CAM_PLAIN, CAM_TRANSPOSED, m, n, w, 1, d_o, heads * w, v, stride,
             0, scratch, t);
    for (size_t i = 0; i < m; i++) { /* softmax backward: dS = P * (dP - sum P dP) */
        cam_real along = cam_dot(d_o + i * heads * w, o + i * heads * w, w);
        for (size_t j = 0; j < n; j++)
            scratch[i * t + j] = p[i * t + j] * (scratch[i * t + j] - along) * scale;
    }
    cam_gemm(job->pass->products, CAM_PLAIN, CAM_PLAIN, m, w, n, 1, scratch, t, k, kv * w, 0, dq,
             heads * w);
    cam_gemm(job->pass->products, CAM_TRANSPOSED, CAM_PLAIN, n, w, m, 1, scratch, t, q, heads * w,
             1, dk, kv * w);
}

/* One (sequence, key/value head): its query heads in order, so sums have one order. */
static void mix_backward_block(void *context, size_t i_block, size_t i_worker) {
    const struct job *job = context;
    struct cam_attention *a = job->a;
    size_t t = job->t, w = a->head_width, kv = a->kv_heads, group = a->heads / kv;
    size_t b = i_block / kv, g = i_block % kv, stride = (a->heads + 2 * kv) * w;
    for (size_t i = 0; i < t; i++) {
        memset(job->d_k + ((b * t + i) * kv + g) * w, 0, w * sizeof(cam_real));
        memset(job->d_raw + (b * t + i) * stride + (a->heads + kv + g) * w, 0,
               w * sizeof(cam_real));
    }
    for (size_t h = g * group; h < (g + 1) * group; h++)
        for (size_t row = 0; row < t; row += TILE)
            mix_tile_backward(job, b, h, row, job->scratch + i_worker * TILE * t);
}

/* Back through rotation and norm; gain gradients go to this block's partial sums. */
static void prepare_backward_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    struct cam_attention *a = job->a;
    size_t w = a->head_width, heads = a->heads, all = heads + a->kv_heads;
    size_t stride = (heads + 2 * a->kv_heads) * w, from = i_block * ROWS;
    size_t to = from + ROWS < job->pass->n_tokens ? from + ROWS : job->pass->n_tokens;
    cam_real *gain = job->gain_partial + i_block * 2 * w;
    memset(gain, 0, 2 * w * sizeof *gain);
    for (size_t n = from; n < to; n++)
        for (size_t h = 0; h < all; h++) {
            int is_query = h < heads;
            cam_real *d = is_query ? job->d_q + (n * heads + h) * w
                                   : job->d_k + (n * a->kv_heads + h - heads) * w;
            cam_real *d_raw = job->d_raw + n * stride + h * w;
            rotate(d, a->rotation + n % job->t * w, w, -1);
            memset(d_raw, 0, w * sizeof *d_raw);
            cam_rmsnorm_backward(a->raw + n * stride + h * w,
                                 is_query ? a->q_gain->value : a->k_gain->value,
                                 a->inverse_rms[n * all + h], d, d_raw, gain + (is_query ? 0 : w),
                                 w);
        }
}

void cam_attention_backward(struct cam_attention *a, const struct cam_pass *pass,
                            size_t n_sequences, const cam_real *x, const cam_real *dy,
                            cam_real *dx) {
    size_t n = pass->n_tokens, t = n / n_sequences, w = a->head_width;
    size_t heads = a->heads, kv = a->kv_heads, stride = (heads + 2 * kv) * w;
    size_t n_blocks = (n + ROWS - 1) / ROWS, workers = (size_t)cam_threads_count(pass->threads);
    struct job job = {.a = a, .pass = pass, .t = t};
    job.d_mixed = cam_arena_alloc(pass->arena, n * heads * w * sizeof(cam_real));
    job.d_q = cam_arena_alloc(pass->arena, n * heads * w * sizeof(cam_real));
    job.d_k = cam_arena_alloc(pass->arena, n * kv * w * sizeof(cam_real));
    job.d_raw = cam_arena_alloc(pass->arena, n * stride * sizeof(cam_real));
    job.gain_partial = cam_arena_alloc(pass->arena, n_blocks * 2 * w * sizeof(cam_real));
    job.scratch = cam_arena_alloc(pass->arena, workers * TILE * t * sizeof(cam_real));

    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_TRANSPOSED, CAM_PLAIN,
                     heads * w, a->width, n, 1, a->mixed, heads * w, dy, a->width, 1, a->out->grad,
                     a->width);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_TRANSPOSED, n,
                     heads * w, a->width, 1, dy, a->width, a->out->value, a->width, 0, job.d_mixed,
                     heads * w);
    cam_threads_run(pass->threads, n_sequences * kv, mix_backward_block, &job);
    cam_threads_run(pass->threads, n_blocks, prepare_backward_block, &job);
    for (size_t i = 0; i < n_blocks; i++) {
        cam_axpy(1, job.gain_partial + i * 2 * w, a->q_gain->grad, w);
        cam_axpy(1, job.gain_partial + i * 2 * w + w, a->k_gain->grad, w);
    }
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_TRANSPOSED, CAM_PLAIN,
                     a->width, stride, n, 1, x, a->width, job.d_raw, stride, 1, a->qkv->grad,
                     stride);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_TRANSPOSED, n,
                     a->width, stride, 1, job.d_raw, stride, a->qkv->value, stride, 1, dx,
                     a->width);
}
