/* dense_reference.c - the ordinary feed-forward layer in plain loops (see reference.h, dense.h). */
#include "model/dense.h"
#include "model/reference.h"

void cam_reference_swiglu(const cam_real *x, const cam_real *w, const cam_real *v, size_t width,
                          size_t hidden, double scale, cam_real *pre, cam_real *h, cam_real *y) {
    for (size_t c = 0; c < 2 * hidden; c++)
        pre[c] = (cam_real)cam_reference_dot(x, w + c, 2 * hidden, width);
    for (size_t f = 0; f < hidden; f++)
        h[f] = (cam_real)(cam_reference_silu((double)pre[f]) * (double)pre[hidden + f]);
    for (size_t d = 0; d < width; d++)
        y[d] += (cam_real)(scale * cam_reference_dot(h, v + d, width, hidden));
}

void cam_reference_swiglu_backward(const cam_real *x, const cam_real *w, const cam_real *v,
                                   size_t width, size_t hidden, double scale, const cam_real *pre,
                                   const cam_real *h, const cam_real *dy, cam_real *dh,
                                   cam_real *dx, cam_real *dw, cam_real *dv) {
    for (size_t f = 0; f < hidden; f++) {
        dh[f] = (cam_real)(scale * cam_reference_dot(v + f * width, dy, 1, width));
        for (size_t d = 0; d < width; d++)
            dv[f * width + d] += (cam_real)(scale * (double)h[f] * (double)dy[d]);
    }
    for (size_t f = 0; f < hidden; f++) {
        double gate = (double)pre[f], up = (double)pre[hidden + f];
        double d_gate = (double)dh[f] * up * cam_reference_silu_slope(gate);
        double d_up = (double)dh[f] * cam_reference_silu(gate);
        for (size_t d = 0; d < width; d++) {
            const cam_real *row = w + d * 2 * hidden;
            dw[d * 2 * hidden + f] += (cam_real)(d_gate * (double)x[d]);
            dw[d * 2 * hidden + hidden + f] += (cam_real)(d_up * (double)x[d]);
            dx[d] += (cam_real)(d_gate * (double)row[f] + d_up * (double)row[hidden + f]);
        }
    }
}

/* One token of a GELU layer; W (D, F), V (F, D). */
static void gelu_token(const cam_real *x, const cam_real *w, const cam_real *v, size_t width,
                       size_t hidden, cam_real *pre, cam_real *h, cam_real *y) {
    for (size_t f = 0; f < hidden; f++) {
        pre[f] = (cam_real)cam_reference_dot(x, w + f, hidden, width);
        h[f] = (cam_real)cam_reference_gelu((double)pre[f]);
    }
    for (size_t d = 0; d < width; d++)
        y[d] += (cam_real)cam_reference_dot(h, v + d, width, hidden);
}

static void gelu_token_backward(const cam_real *x, const cam_real *w, const cam_real *v,
                                size_t width, size_t hidden, const cam_real *pre, const cam_real *h,
                                const cam_real *dy, cam_real *dx, cam_real *dw, cam_real *dv) {
    for (size_t f = 0; f < hidden; f++) {
        double d_pre = cam_reference_dot(v + f * width, dy, 1, width) *
                       cam_reference_gelu_slope((double)pre[f]);
        for (size_t d = 0; d < width; d++) {
            dv[f * width + d] += h[f] * dy[d];
            dw[d * hidden + f] += (cam_real)(d_pre * (double)x[d]);
            dx[d] += (cam_real)(d_pre * (double)w[d * hidden + f]);
        }
    }
}

static void forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                    cam_real *y) {
    struct cam_dense *layer = (struct cam_dense *)ff;
    size_t D = ff->config.width, F = ff->config.hidden, C = layer->in->cols;
    const cam_real *w = layer->in->value, *v = layer->out->value;
    layer->n_tokens = pass->n_tokens;
    layer->pre = cam_arena_alloc(pass->arena, pass->n_tokens * C * sizeof(cam_real));
    layer->h = cam_arena_alloc(pass->arena, pass->n_tokens * F * sizeof(cam_real));
    for (size_t t = 0; t < pass->n_tokens; t++) {
        cam_real *pre = layer->pre + t * C, *h = layer->h + t * F;
        if (ff->config.activation == CAM_ACTIVATION_GELU)
            gelu_token(x + t * D, w, v, D, F, pre, h, y + t * D);
        else
            cam_reference_swiglu(x + t * D, w, v, D, F, 1, pre, h, y + t * D);
    }
}

static void backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                     const cam_real *dy, cam_real *dx) {
    struct cam_dense *layer = (struct cam_dense *)ff;
    size_t D = ff->config.width, F = ff->config.hidden, C = layer->in->cols;
    const cam_real *w = layer->in->value, *v = layer->out->value;
    layer->dh = cam_arena_alloc(pass->arena, F * sizeof(cam_real));
    for (size_t t = 0; t < pass->n_tokens; t++) {
        const cam_real *pre = layer->pre + t * C, *h = layer->h + t * F;
        if (ff->config.activation == CAM_ACTIVATION_GELU)
            gelu_token_backward(x + t * D, w, v, D, F, pre, h, dy + t * D, dx + t * D,
                                layer->in->grad, layer->out->grad);
        else
            cam_reference_swiglu_backward(x + t * D, w, v, D, F, 1, pre, h, dy + t * D, layer->dh,
                                          dx + t * D, layer->in->grad, layer->out->grad);
    }
}

const struct cam_ff_ops cam_ff_dense_reference = {
    .name = "dense",
    .reference = &cam_ff_dense_reference,
    .create = cam_dense_create,
    .destroy = cam_dense_destroy,
    .forward = forward,
    .backward = backward,
    .flops = cam_dense_flops,
};
