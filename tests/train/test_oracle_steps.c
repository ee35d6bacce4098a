/* Ten optimiser steps against PyTorch, with the library in double and in float, by the fast path
 * and by plain loops: the gradients of each step are those of the parameters the last one left. */
#include "support/oracle.h"
#include "train/step.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Steps 1 and 10 are in the file. */
static void compare_step(const struct oracle *oracle, const char *optimizer, size_t step,
                         const struct oracle_subject *subject) {
    char prefix[32];
    if (step != 1 && step != ORACLE_STEPS)
        return;
    snprintf(prefix, sizeof prefix, "%s.step%zu", optimizer, step);
    oracle_compare_values(oracle, prefix, subject);
}

static enum cam_optimizer_kind optimizer_kind(const char *name) {
    return strcmp(name, "muon") == 0 ? CAM_OPTIMIZER_MUON : CAM_OPTIMIZER_ADAMW;
}

static void check_path(const char *name, const char *kind, const char *optimizer_name,
                       int reference) {
    struct oracle_layer l;
    oracle_layer_open(&l, name, kind, reference);
    const struct oracle *o = &l.oracle;
    const double *lr = oracle_find(o, "lr")->value;
    const double *grad_scale = oracle_find(o, "grad_scale")->value;
    struct cam_optimizer optimizer = {.kind = optimizer_kind(optimizer_name),
                                      .beta1 = oracle_number(o, "beta1"),
                                      .beta2 = oracle_number(o, "beta2"),
                                      .epsilon = oracle_number(o, "epsilon"),
                                      .weight_decay = oracle_number(o, "weight_decay"),
                                      .momentum = oracle_number(o, "momentum")};
    struct cam_ff *ff = l.subject.ff[0];
    for (size_t step = 1; step <= ORACLE_STEPS; step++) {
        oracle_layer_forward(&l, 1);
        oracle_layer_backward(&l);
        struct cam_update update = {.lr = lr[step - 1],
                                    .grad_scale = grad_scale[step - 1],
                                    .beta2 = optimizer.beta2,
                                    .step = step};
        if (ff->ops->update)
            ff->ops->update(ff, &l.pass, &update);
        optimizer.lr = lr[step - 1];
        optimizer.grad_scale = grad_scale[step - 1];
        optimizer.step = step;
        cam_optimizer_step(&optimizer, &l.params, l.threads, &l.arena);
        compare_step(o, optimizer_name, step, &l.subject);
    }
    oracle_layer_close(&l);
}

static void check_layer(const char *name, const char *kind, const char *optimizer_name) {
    for (int reference = 0; reference < 2; reference++)
        check_path(name, kind, optimizer_name, reference);
}

Test(oracle_steps, dense_swiglu_by_adamw) {
    check_layer("dense_swiglu", "dense", "adamw");
}

Test(oracle_steps, dense_swiglu_by_muon) {
    check_layer("dense_swiglu", "dense", "muon");
}

Test(oracle_steps, dense_gelu) {
    check_layer("dense_gelu", "dense", "muon");
}

Test(oracle_steps, moe) {
    check_layer("moe", "moe", "muon");
}

Test(oracle_steps, pkm) {
    check_layer("pkm", "pkm", "muon");
}

Test(oracle_steps, peer) {
    check_layer("peer", "peer", "muon");
}

/* As a run trains: warm-up and decay of the learning rate, weights, balance loss, clipping. */
static void check_model(int reference) {
    struct oracle_model m;
    oracle_model_open(&m, "model", (const char *const[]){"dense+peer", "moe"}, reference);
    const struct oracle *o = &m.oracle;
    struct cam_batch batch = {.n_sequences = m.n_sequences, .t = m.t, .tokens = m.tokens,
                              .targets = m.targets, .weights = m.weights};
    struct cam_recipe recipe = {.optimizer = CAM_OPTIMIZER_MUON,
                                .lr = oracle_number(o, "lr"),
                                .lr_floor = oracle_number(o, "lr_floor"),
                                .warmup = oracle_count(o, "warmup"),
                                .hold = oracle_count(o, "hold"),
                                .beta1 = oracle_number(o, "beta1"),
                                .beta2 = oracle_number(o, "beta2"),
                                .momentum = oracle_number(o, "momentum"),
                                .weight_decay = oracle_number(o, "weight_decay"),
                                .clip = oracle_number(o, "clip")};
    cam_real loss[ORACLE_STEPS], norm[ORACLE_STEPS];
    for (size_t step = 1; step <= ORACLE_STEPS; step++) {
        struct cam_step_report report;
        cam_step_run(m.model, m.threads, &m.arena, &recipe, &batch, step, 0, &report);
        cr_assert_eq(report.verdict, CAM_VERDICT_SOUND);
        loss[step - 1] = (cam_real)report.loss;
        norm[step - 1] = (cam_real)report.grad_norm;
        compare_step(o, "muon", step, &m.subject);
    }
    oracle_compare(o, "muon.loss", loss, 1, ORACLE_STEPS);
    oracle_compare(o, "muon.norm", norm, 1, ORACLE_STEPS);
    oracle_model_close(&m);
}

Test(oracle_steps, model) {
    check_model(0);
    check_model(1);
}
