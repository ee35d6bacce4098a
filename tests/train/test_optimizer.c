/* AdamW against its definition written plainly; Muon's direction against a singular value fact. */
#include "train/optimizer.h"

#include "math/blas.h"

#include <criterion/criterion.h>
#include <math.h>

static struct cam_threads *threads;
static struct cam_arena arena;

static void setup(void) {
    cr_assert_eq(cam_blas_open(), CAM_OK, "%s", cam_message());
    cr_assert_eq(cam_threads_new(2, &threads), CAM_OK);
    cam_arena_init(&arena);
}

static void teardown(void) {
    cam_threads_free(threads);
    cam_arena_release(&arena);
}

Test(optimizer, adamw_is_algorithm_2, .init = setup, .fini = teardown) {
    struct cam_params params;
    struct cam_param *p;
    cam_params_init(&params);
    cr_assert_eq(cam_params_add(&params, "w", CAM_PART_TRUNK, 7, 5, 0, &p), CAM_OK);
    cam_param_fill_normal(p, 1, 0, 7, 1);
    p->frozen_rows = 2;
    double x[35], m[35] = {0}, v[35] = {0};
    for (int i = 0; i < 35; i++)
        x[i] = p->value[i];
    for (int t = 1; t <= 10; t++) {
        for (int i = 0; i < 35; i++) {
            double g = p->grad[i] = sin(i * 1.3 + t);
            g *= 0.5;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.95 * v[i] + 0.05 * g * g;
            double step = m[i] / (1 - pow(0.9, t)) / (sqrt(v[i] / (1 - pow(0.95, t))) + 1e-8);
            if (i >= 10)
                x[i] -= 0.01 * (step + 0.1 * x[i]);
        }
        struct cam_optimizer o = {.kind = CAM_OPTIMIZER_ADAMW, .lr = 0.01, .beta1 = 0.9,
                                  .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1,
                                  .grad_scale = 0.5, .step = (uint64_t)t};
        cam_optimizer_step(&o, &params, threads, &arena);
    }
    for (int i = 0; i < 35; i++)
        cr_assert_float_eq(p->value[i], x[i], 1e-12, "element %d", i);
    cam_params_release(&params);
}

/* After one step from zero the matrix is -lr 0.2 sqrt(max) times a nearly orthogonal one: all its
 * singular values, here seen through norms of W v for unit v, lie in Muon's band around one. */
Test(optimizer, muon_steps_are_nearly_orthogonal, .init = setup, .fini = teardown) {
    struct cam_params params;
    struct cam_param *p;
    cam_params_init(&params);
    cr_assert_eq(cam_params_add(&params, "w", CAM_PART_TRUNK, 16, 40, 0, &p), CAM_OK);
    cam_param_fill_normal(p, 3, 0, 16, 1);
    for (int i = 0; i < 16 * 40; i++) {
        p->grad[i] = p->value[i];
        p->value[i] = 0;
    }
    struct cam_optimizer o = {.kind = CAM_OPTIMIZER_MUON, .lr = 1, .momentum = 0.95,
                              .grad_scale = 1, .step = 1};
    cam_optimizer_step(&o, &params, threads, &arena);
    double size = 0.2 * sqrt(40.0);
    for (int row = 0; row < 16; row++) {
        double norm = 0;
        for (int col = 0; col < 40; col++)
            norm += (double)p->value[row * 40 + col] * (double)p->value[row * 40 + col];
        norm = sqrt(norm) / size;
        cr_assert(norm > 0.6 && norm < 1.3, "row %d has norm %g", row, norm);
        for (int other = 0; other < row; other++) {
            double dot = 0;
            for (int col = 0; col < 40; col++)
                dot += (double)p->value[row * 40 + col] * (double)p->value[other * 40 + col];
            cr_assert_lt(fabs(dot) / size / size, 0.35, "rows %d and %d", row, other);
        }
    }
    cam_params_release(&params);
}
