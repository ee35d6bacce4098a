#include "model/conv.h"

#include "math/vector.h"

#include <string.h>

#define ROWS 64 /* rows a block */

struct job {
    const cam_real *w, *x, *dy;
    cam_real *y, *dx, *partial;
    size_t n, t, d;
};

static void forward_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    size_t d = job->d, from = i_block * ROWS, to = from + ROWS < job->n ? from + ROWS : job->n;
    for (size_t n = from; n < to; n++) {
        cam_real *y = job->y + n * d;
        memcpy(y, job->x + n * d, d * sizeof *y);
        for (size_t k = 0; k < CAM_CONV_WIDTH && k <= n % job->t; k++)
            cam_multiply_add(job->w + k * d, job->x + (n - k) * d, y, d);
    }
}

static void backward_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    size_t d = job->d, from = i_block * ROWS, to = from + ROWS < job->n ? from + ROWS : job->n;
    cam_real *dw = job->partial + i_block * CAM_CONV_WIDTH * d;
    memset(dw, 0, CAM_CONV_WIDTH * d * sizeof *dw);
    for (size_t n = from; n < to; n++) {
        cam_real *dx = job->dx + n * d;
        size_t at = n % job->t;
        memcpy(dx, job->dy + n * d, d * sizeof *dx);
        for (size_t k = 0; k < CAM_CONV_WIDTH && at + k < job->t; k++)
            cam_multiply_add(job->w + k * d, job->dy + (n + k) * d, dx, d);
        for (size_t k = 0; k < CAM_CONV_WIDTH && k <= at; k++)
            cam_multiply_add(job->dy + n * d, job->x + (n - k) * d, dw + k * d, d);
    }
}

void cam_conv_forward(const struct cam_param *w, const struct cam_pass *pass, size_t t,
                      const cam_real *x, cam_real *y) {
    struct job job = {.w = w->value, .x = x, .y = y, .n = pass->n_tokens, .t = t, .d = w->cols};
    cam_threads_run(pass->threads, (job.n + ROWS - 1) / ROWS, forward_block, &job);
}

void cam_conv_backward(struct cam_param *w, const struct cam_pass *pass, size_t t,
                       const cam_real *x, const cam_real *dy, cam_real *dx) {
    size_t n_blocks = (pass->n_tokens + ROWS - 1) / ROWS, size = CAM_CONV_WIDTH * w->cols;
    struct job job = {.w = w->value, .x = x, .dy = dy, .dx = dx, .n = pass->n_tokens, .t = t,
                      .d = w->cols};
    job.partial = cam_arena_alloc(pass->arena, n_blocks * size * sizeof(cam_real));
    cam_threads_run(pass->threads, n_blocks, backward_block, &job);
    for (size_t i = 0; i < n_blocks; i++)
        cam_axpy(1, job.partial + i * size, w->grad, size);
}
