/* ff_dense.c - the ordinary feed-forward layer by matrix products (see dense.h).  Wg and Wu lie
 * side by side, so one product reads x once. */
#include "math/blas.h"
#include "math/vector.h"
#include "math/vector_rows.h"
#include "model/dense.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 64 /* tokens a block: their numbers fill whole vectors, whatever F is */

enum cam_status cam_dense_create(const struct cam_ff_config *config, struct cam_params *params,
                                 struct cam_ff **ff) {
    CAM_TRY(cam_blas_open());
    struct cam_dense *d = calloc(1, sizeof *d);
    if (!d)
        return cam_fail(CAM_ERR_OS, "out of memory for a feed-forward layer");
    d->ff = (struct cam_ff){.ops = cam_ff_path(&cam_ff_dense, config), .config = *config};
    int gated = config->activation == CAM_ACTIVATION_SWIGLU;
    char name[48];
    snprintf(name, sizeof name, "block%zu.dense.in", config->i_layer);
    enum cam_status status = cam_params_add(params, name, CAM_PART_TRUNK, config->width,
                                            (gated ? 2 : 1) * config->hidden, 0, &d->in);
    snprintf(name, sizeof name, "block%zu.dense.out", config->i_layer);
    if (status == CAM_OK)
        status =
            cam_params_add(params, name, CAM_PART_TRUNK, config->hidden, config->width, 0, &d->out);
    if (status != CAM_OK) {
        free(d);
        return status;
    }
    if (gated) {
        d->in->n_groups = 2;
        d->in->group_cols[0] = d->in->group_cols[1] = config->hidden;
    }
    cam_param_fill_normal(d->in, config->seed, 0, config->width, 1 / sqrt((double)config->width));
    /* The residual branch begins at zero: the stack starts as the identity. */
    *ff = &d->ff;
    return CAM_OK;
}

void cam_dense_destroy(struct cam_ff *ff) {
    free(ff);
}

static void activate_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct cam_dense *d = context;
    size_t f = d->ff.config.hidden, from = i_block * ROWS;
    size_t to = from + ROWS < d->n_tokens ? from + ROWS : d->n_tokens;
    if (d->ff.config.activation == CAM_ACTIVATION_GELU)
        cam_row_gelu(d->pre + from * f, cam_lanes_up((to - from) * f), d->h + from * f);
    else
        for (size_t n = from; n < to; n++)
            cam_swiglu(d->pre + n * 2 * f, d->pre + n * 2 * f + f, d->h + n * f, f);
}

static void activate_backward_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct cam_dense *d = context;
    size_t f = d->ff.config.hidden, from = i_block * ROWS;
    size_t to = from + ROWS < d->n_tokens ? from + ROWS : d->n_tokens;
    if (d->ff.config.activation == CAM_ACTIVATION_GELU) {
        cam_real *pre = d->pre + from * f; /* h is no longer needed */
        cam_row_gelu_slope(pre, cam_lanes_up((to - from) * f), d->h + from * f, pre);
        for (size_t i = 0; i < (to - from) * f; i++)
            pre[i] *= d->dh[from * f + i];
    } else {
        for (size_t n = from; n < to; n++)
            cam_swiglu_backward(d->pre + n * 2 * f, d->pre + n * 2 * f + f, d->dh + n * f, f);
    }
}

static void forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                    cam_real *y) {
    struct cam_dense *d = (struct cam_dense *)ff;
    size_t n = pass->n_tokens, width = ff->config.width, f = ff->config.hidden, c = d->in->cols;
    d->n_tokens = n;
    d->pre = cam_arena_alloc(pass->arena, cam_lanes_up(n * c) * sizeof(cam_real));
    d->h = cam_arena_alloc(pass->arena, cam_lanes_up(n * f) * sizeof(cam_real));
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_PLAIN, n, c, width,
                     1, x, width, d->in->value, c, 0, d->pre, c);
    for (size_t i = n * c; i < cam_lanes_up(n * c); i++)
        d->pre[i] = 0;
    cam_threads_run(pass->threads, (n + ROWS - 1) / ROWS, activate_block, d);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_PLAIN, n, width, f,
                     1, d->h, f, d->out->value, width, 1, y, width);
}

static void backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                     const cam_real *dy, cam_real *dx) {
    struct cam_dense *d = (struct cam_dense *)ff;
    size_t n = pass->n_tokens, width = ff->config.width, f = ff->config.hidden, c = d->in->cols;
    d->dh = cam_arena_alloc(pass->arena, n * f * sizeof(cam_real));
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_TRANSPOSED, CAM_PLAIN, f,
                     width, n, 1, d->h, f, dy, width, 1, d->out->grad, width);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_TRANSPOSED, n, f,
                     width, 1, dy, width, d->out->value, width, 0, d->dh, f);
    cam_threads_run(pass->threads, (n + ROWS - 1) / ROWS, activate_backward_block, d);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_TRANSPOSED, CAM_PLAIN, width,
                     c, n, 1, x, width, d->pre, c, 1, d->in->grad, c);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_TRANSPOSED, n,
                     width, c, 1, d->pre, c, d->in->value, c, 1, dx, width);
}

double cam_dense_flops(const struct cam_ff *ff) {
    const struct cam_dense *d = (const struct cam_dense *)ff;
    return 2.0 * (double)ff->config.width * (double)(d->in->cols + d->out->rows);
}

const struct cam_ff_ops cam_ff_dense = {
    .name = "dense",
    .reference = &cam_ff_dense_reference,
    .create = cam_dense_create,
    .destroy = cam_dense_destroy,
    .forward = forward,
    .backward = backward,
    .flops = cam_dense_flops,
};
