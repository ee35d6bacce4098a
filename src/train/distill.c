#include "train/distill.h"

#include "math/vector.h"
#include "model/average.h"

#define ROWS 64 /* tokens a block */

struct job {
    cam_real *logits; /* (n, V) */
    size_t n, v;
    const cam_real *teacher;
    const uint16_t *targets;
    const cam_real *weights;
    cam_real share;
};

static size_t end_of(const struct job *job, size_t i_block) {
    size_t end = (i_block + 1) * ROWS;
    return end < job->n ? end : job->n;
}

static void softmax_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    for (size_t i = i_block * ROWS; i < end_of(job, i_block); i++)
        (void)cam_softmax(job->logits + i * job->v, job->v);
}

const cam_real *cam_distill_teach(struct cam_model *model, struct cam_threads *threads,
                                  struct cam_arena *arena, const uint16_t *tokens, size_t n_rows,
                                  size_t t) {
    struct cam_pass pass = {.threads = threads,
                            .arena = arena,
                            .n_tokens = n_rows * t,
                            .products = model->shape.products};
    cam_model_average_swap(model);
    cam_model_forward(model, &pass, n_rows, tokens);
    cam_model_average_swap(model);
    struct job job = {.logits = model->logits, .n = pass.n_tokens, .v = model->shape.vocabulary};
    cam_threads_run(threads, (job.n + ROWS - 1) / ROWS, softmax_block, &job);
    return job.logits;
}

/* The gradient of a token's logits is weight * (prediction - target): only the target changes. */
static void mix_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct job *job = context;
    for (size_t i = i_block * ROWS; i < end_of(job, i_block); i++) {
        cam_real *line = job->logits + i * job->v, share = job->share * job->weights[i];
        if (share == 0) /* padding */
            continue;
        cam_axpy(-share, job->teacher + i * job->v, line, job->v);
        line[job->targets[i]] += share;
    }
}

void cam_distill_mix(struct cam_model *model, struct cam_threads *threads, const cam_real *teacher,
                     const uint16_t *targets, const cam_real *weights, size_t from, size_t n,
                     double share) {
    size_t v = model->shape.vocabulary;
    struct job job = {.logits = model->logits + from * v,
                      .n = n,
                      .v = v,
                      .teacher = teacher,
                      .targets = targets + from,
                      .weights = weights + from,
                      .share = (cam_real)share};
    cam_threads_run(threads, (n + ROWS - 1) / ROWS, mix_block, &job);
}
