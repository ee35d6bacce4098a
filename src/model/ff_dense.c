/* ff_dense.c - the ordinary feed-forward layer, SwiGLU (Shazeer 2020, eq. 5 without biases):
 * y = (silu(x Wg) * (x Wu)) Wd.  Wg and Wu lie side by side, so one product reads x once. */
#include "math/blas.h"
#include "math/vector.h"
#include "model/ff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 64

struct dense {
    struct cam_ff base;
    struct cam_param *in;  /* (D, 2F): gate, then up */
    struct cam_param *out; /* (F, D) */
    cam_real *pre;         /* (N, 2F) of the last pass */
    cam_real *h;           /* (N, F) */
    cam_real *dh;          /* (N, F), within backward */
    size_t n_tokens;
};

static enum cam_status dense_create(const struct cam_ff_config *config, struct cam_params *params,
                                    struct cam_ff **ff) {
    struct dense *d = calloc(1, sizeof *d);
    if (!d)
        return cam_fail(CAM_ERR_OS, "out of memory for a feed-forward layer");
    d->base.ops = &cam_ff_dense;
    d->base.config = *config;
    char name[48];
    snprintf(name, sizeof name, "block%zu.dense.in", config->i_layer);
    enum cam_status status = cam_params_add(params, name, CAM_PART_TRUNK, config->width,
                                            2 * config->hidden, 0, &d->in);
    snprintf(name, sizeof name, "block%zu.dense.out", config->i_layer);
    if (status == CAM_OK)
        status = cam_params_add(params, name, CAM_PART_TRUNK, config->hidden, config->width, 0,
                                &d->out);
    if (status != CAM_OK) {
        free(d);
        return status;
    }
    d->in->n_groups = 2;
    d->in->group_cols[0] = d->in->group_cols[1] = config->hidden;
    cam_param_fill_normal(d->in, config->seed, 0, config->width, 1 / sqrt((double)config->width));
    /* The residual branch begins at zero: the stack starts as the identity. */
    *ff = &d->base;
    return CAM_OK;
}

static void dense_destroy(struct cam_ff *ff) {
    free(ff);
}

static void activate_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct dense *d = context;
    size_t f = d->base.config.hidden, from = i_block * ROWS;
    size_t to = from + ROWS < d->n_tokens ? from + ROWS : d->n_tokens;
    for (size_t n = from; n < to; n++)
        cam_swiglu(d->pre + n * 2 * f, d->pre + n * 2 * f + f, d->h + n * f, f);
}

static void activate_backward_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct dense *d = context;
    size_t f = d->base.config.hidden, from = i_block * ROWS;
    size_t to = from + ROWS < d->n_tokens ? from + ROWS : d->n_tokens;
    for (size_t n = from; n < to; n++)
        cam_swiglu_backward(d->pre + n * 2 * f, d->pre + n * 2 * f + f, d->dh + n * f, f);
}

static void dense_forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                          cam_real *y) {
    struct dense *d = (struct dense *)ff;
    size_t n = pass->n_tokens, width = ff->config.width, f = ff->config.hidden;
    d->n_tokens = n;
    d->pre = cam_arena_alloc(pass->arena, n * 2 * f * sizeof(cam_real));
    d->h = cam_arena_alloc(pass->arena, n * f * sizeof(cam_real));
    cam_gemm_threads(pass->threads, CAM_PLAIN, CAM_PLAIN, n, 2 * f, width, 1, x, width,
                     d->in->value, 2 * f, 0, d->pre, 2 * f);
    cam_threads_run(pass->threads, (n + ROWS - 1) / ROWS, activate_block, d);
    cam_gemm_threads(pass->threads, CAM_PLAIN, CAM_PLAIN, n, width, f, 1, d->h, f, d->out->value,
                     width, 1, y, width);
}

static void dense_backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                           const cam_real *dy, cam_real *dx) {
    struct dense *d = (struct dense *)ff;
    size_t n = pass->n_tokens, width = ff->config.width, f = ff->config.hidden;
    d->dh = cam_arena_alloc(pass->arena, n * f * sizeof(cam_real));
    cam_gemm_threads(pass->threads, CAM_TRANSPOSED, CAM_PLAIN, f, width, n, 1, d->h, f, dy, width,
                     1, d->out->grad, width);
    cam_gemm_threads(pass->threads, CAM_PLAIN, CAM_TRANSPOSED, n, f, width, 1, dy, width,
                     d->out->value, width, 0, d->dh, f);
    cam_threads_run(pass->threads, (n + ROWS - 1) / ROWS, activate_backward_block, d);
    cam_gemm_threads(pass->threads, CAM_TRANSPOSED, CAM_PLAIN, width, 2 * f, n, 1, x, width,
                     d->pre, 2 * f, 1, d->in->grad, 2 * f);
    cam_gemm_threads(pass->threads, CAM_PLAIN, CAM_TRANSPOSED, n, width, 2 * f, 1, d->pre, 2 * f,
                     d->in->value, 2 * f, 1, dx, width);
}

static double dense_flops(const struct cam_ff *ff) {
    return 6.0 * (double)ff->config.width * (double)ff->config.hidden;
}

const struct cam_ff_ops cam_ff_dense = {
    .name = "dense",
    .create = dense_create,
    .destroy = dense_destroy,
    .forward = dense_forward,
    .backward = dense_backward,
    .flops = dense_flops,
};
