/* ff_gradient.h - backward against central differences of the objective; for the double library. */
#ifndef CAM_TESTS_FF_GRADIENT_H
#define CAM_TESTS_FF_GRADIENT_H

#include "ff_rig.h"

#define DIFFERENCE_STEP    1e-6
#define DIFFERENCES_A_PART 150 /* elements looked at of each parameter, about */

struct gradient_check {
    struct rig *rig;
    const char *slot;
    uint32_t *choices; /* of the pass that was differentiated */
    size_t n_choices;
};

static inline double objective_at(const struct gradient_check *check, const char *what, size_t at,
                                  cam_real *value, cam_real moved) {
    cam_real kept = *value;
    *value = moved;
    double objective = rig_objective(check->rig);
    *value = kept;
    size_t n;
    uint32_t *choices = rig_choices(check->rig, &n);
    cr_assert(n == check->n_choices && memcmp(choices, check->choices, n * sizeof *choices) == 0,
              "%s: %s %zu changed a choice of experts; draw other inputs", check->slot, what, at);
    free(choices);
    return objective;
}

static inline void check_slope(const struct gradient_check *check, const char *what, size_t at,
                               cam_real *value, double gradient) {
    double up = objective_at(check, what, at, value, *value + (cam_real)DIFFERENCE_STEP);
    double down = objective_at(check, what, at, value, *value - (cam_real)DIFFERENCE_STEP);
    double slope = (up - down) / (2 * DIFFERENCE_STEP);
    cr_assert(fabs(slope - gradient) <= 1e-6 * (1 + fabs(gradient)),
              "%s: %s %zu: gradient %.12g, difference %.12g", check->slot, what, at, gradient,
              slope);
}

/* Every number of the record of one expert that was picked. */
static inline void check_record(const struct gradient_check *check) {
    struct cam_peer *peer = cam_peer_of(check->rig->ff);
    size_t record = peer->pool.record, width = check->rig->width;
    cam_real *gradient = malloc(record * sizeof *gradient);
    rig_forward(check->rig, 1);
    rig_backward(check->rig);
    uint64_t expert = peer->last.expert[1];
    cam_peer_expert_gradient(check->rig->ff, expert, gradient, gradient + record - width);
    cam_real *row = cam_pool_row(&peer->pool, expert);
    for (size_t i = 0; i < record; i++)
        check_slope(check, "record of an expert", i, &row[i], (double)gradient[i]);
    free(gradient);
}

static inline void check_gradients(struct rig *rig, const char *slot) {
    struct gradient_check check = {.rig = rig, .slot = slot};
    rig_forward(rig, 1);
    rig_backward(rig);
    check.choices = rig_choices(rig, &check.n_choices);
    size_t n_x = rig->n * rig->width;
    for (size_t i = 0; i < n_x; i += n_x / DIFFERENCES_A_PART + 1)
        check_slope(&check, "x", i, &rig->x[i], (double)rig->dx[i]);
    for (size_t p = 0; p < rig->params.n; p++) {
        struct cam_param *param = rig->params.items[p];
        size_t n = param->rows * param->cols;
        for (size_t i = 0; i < n; i += n / DIFFERENCES_A_PART + 1)
            check_slope(&check, param->name, i, &param->value[i], (double)param->grad[i]);
    }
    if (rig->ff->ops->pool && !cam_peer_of(rig->ff)->pool.bf16) /* which has no small steps */
        check_record(&check);
    free(check.choices);
}

#endif
