#include "train/step.h"

#include "model/anchor.h"
#include "model/average.h"
#include "train/distill.h"

#include <math.h>

double cam_recipe_lr(const struct cam_recipe *r, uint64_t step) {
    uint64_t n = step - r->begin;
    if (n < r->warmup)
        return r->from + (r->lr - r->from) * (double)n / (double)r->warmup;
    if (r->hold == 0 || n <= r->hold)
        return r->lr;
    double share = sqrt((double)r->hold / (double)n);
    return r->lr * (share > r->lr_floor ? share : r->lr_floor);
}

/* The loss is the sum over tokens divided by the batch's places, filled or not: the tail of a
 * flush moves the model in proportion to what it holds. */
static cam_real *scaled_weights(const struct cam_batch *batch, struct cam_arena *arena) {
    size_t n = batch->n_sequences * batch->t;
    cam_real *w = cam_arena_alloc(arena, n * sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = batch->weights[i] / (cam_real)n;
    return w;
}

void cam_step_run(struct cam_model *model, struct cam_threads *threads, struct cam_arena *arena,
                  const struct cam_recipe *recipe, const struct cam_batch *batch, uint64_t step,
                  double norm_so_far, struct cam_step_report *report) {
    size_t n = batch->n_sequences * batch->t;
    cam_arena_reset(arena);
    struct cam_pass pass = {.threads = threads,
                            .arena = arena,
                            .n_tokens = n,
                            .training = 1,
                            .products = model->shape.products};
    *report = (struct cam_step_report){.lr = cam_recipe_lr(recipe, step)};
    report->nll = cam_arena_alloc(arena, n * sizeof *report->nll);
    const cam_real *weights = scaled_weights(batch, arena);

    size_t replayed = batch->n_replay_rows, first = n - replayed * batch->t;
    const cam_real *teacher = NULL;
    if (recipe->distill > 0 && replayed && cam_model_averages(model))
        teacher = cam_distill_teach(model, threads, arena, batch->tokens + first, replayed,
                                    batch->t);
    cam_params_zero_grad(&model->params);
    cam_model_forward(model, &pass, batch->n_sequences, batch->tokens);
    cam_model_loss(model, &pass, batch->targets, weights, report->nll);
    if (teacher)
        cam_distill_mix(model, threads, teacher, batch->targets, weights, first, n - first,
                        recipe->distill);
    double filled = 0;
    for (size_t i = 0; i < n; i++) {
        report->loss += (double)batch->weights[i] * (double)report->nll[i];
        filled += (double)batch->weights[i];
    }
    report->loss /= filled > 0 ? filled : 1;
    if (!isfinite(report->loss)) {
        report->verdict = CAM_VERDICT_NOT_FINITE;
        return;
    }
    if (recipe->most_loss > 0 && report->loss > recipe->most_loss) {
        report->verdict = CAM_VERDICT_SPIKED;
        return;
    }
    cam_model_backward(model, &pass);
    report->grad_norm = cam_grad_norm(&model->params, threads, arena);
    if (!isfinite(report->grad_norm)) {
        report->verdict = CAM_VERDICT_NOT_FINITE;
        return;
    }
    if (recipe->explode > 0 && norm_so_far > 0 &&
        report->grad_norm > recipe->explode * norm_so_far) {
        report->verdict = CAM_VERDICT_EXPLODED;
        return;
    }
    double scale = recipe->clip > 0 && report->grad_norm > recipe->clip
                       ? recipe->clip / report->grad_norm
                       : 1;
    struct cam_optimizer optimizer = {.kind = recipe->optimizer,
                                      .lr = report->lr,
                                      .beta1 = recipe->beta1,
                                      .beta2 = recipe->beta2,
                                      .epsilon = 1e-8,
                                      .weight_decay = recipe->weight_decay,
                                      .momentum = recipe->momentum,
                                      .grad_scale = scale,
                                      .step = step,
                                      .products = model->shape.products};
    struct cam_update update = {
        .lr = report->lr, .grad_scale = scale, .beta1 = recipe->beta1, .beta2 = recipe->beta2,
        .step = step, .gate_experts = recipe->gate_experts, .anchor_l2 = recipe->anchor_l2,
        .anchor_ewc = recipe->anchor_ewc};
    cam_model_update(model, &pass, &update); /* reads the trunk's values: before they move */
    cam_optimizer_step(&optimizer, &model->params, threads, arena);
    cam_model_anchor_pull(model, threads, arena,
                          &(struct cam_anchor_pull){report->lr, recipe->anchor_l2,
                                                    recipe->anchor_ewc});
}
