/* ff_compare.h - the fast path of a slot against its readable twin, step by step. */
#ifndef CAM_TESTS_FF_COMPARE_H
#define CAM_TESTS_FF_COMPARE_H

#include "ff_rig.h"

/* Relative to the largest number: rounding of small ones is not at issue. */
static inline void expect_close(const char *slot, const char *what, const cam_real *fast,
                                const cam_real *plain, size_t n, double tolerance) {
    double most = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        cr_assert(isfinite((double)fast[i]) && isfinite((double)plain[i]), "%s: %s", slot, what);
        most = fmax(most, fabs((double)fast[i] - (double)plain[i]));
        size = fmax(size, fabs((double)plain[i]));
    }
    cr_assert(most <= tolerance * size, "%s: %s differs by %g of %g", slot, what, most, size);
}

static inline void expect_same_choices(const char *slot, const struct rig *fast,
                                       const struct rig *plain) {
    size_t n_fast, n_plain;
    uint32_t *a = rig_choices(fast, &n_fast), *b = rig_choices(plain, &n_plain);
    cr_assert_eq(n_fast, n_plain);
    for (size_t i = 0; i < n_fast; i++)
        cr_assert_eq(a[i], b[i], "%s: choice %zu is expert %u, exhaustively %u", slot, i, a[i],
                     b[i]);
    free(a);
    free(b);
}

static inline void expect_same_pool(const char *slot, const struct rig *fast,
                                    const struct rig *plain, double tolerance) {
    const struct cam_peer *a = cam_peer_of(fast->ff), *b = cam_peer_of(plain->ff);
    size_t n_generations = cam_peer_n_generations(fast->ff), record = a->pool.record;
    cam_real *rows = malloc(2 * record * sizeof *rows);
    cr_assert_eq(n_generations, cam_peer_n_generations(plain->ff));
    for (uint64_t e = 0; e < a->pool.n_experts; e++) {
        const struct cam_expert_state *s = cam_pool_state(&a->pool, e);
        const struct cam_expert_state *t = cam_pool_state(&b->pool, e);
        cam_pool_read(&a->pool, e, rows);
        cam_pool_read(&b->pool, e, rows + record);
        expect_close(slot, "a record", rows, rows + record, record, tolerance);
        expect_close(slot, "a second moment", s->second, t->second, a->pool.n_parts, tolerance);
        cr_assert_eq(s->updates, t->updates);
        cr_assert_eq(cam_pool_usage(&a->pool, e)->picks, cam_pool_usage(&b->pool, e)->picks);
        cr_assert_float_eq((double)cam_pool_usage(&a->pool, e)->gate_mass,
                           (double)cam_pool_usage(&b->pool, e)->gate_mass, 1e-4);
    }
    free(rows);
    for (size_t g = 0; g < n_generations; g++) {
        const struct cam_generation *x = cam_peer_generation(fast->ff, g);
        const struct cam_generation *y = cam_peer_generation(plain->ff, g);
        cr_assert_eq(x->state, y->state);
        cr_assert(fabs(x->bias - y->bias) <= 10 * tolerance * fabs(y->bias), "%s: bias %g and %g",
                  slot, x->bias, y->bias);
    }
}

static inline void expect_same_step(const char *slot, const struct rig *fast,
                                    const struct rig *plain, double tolerance) {
    size_t n = fast->n * fast->width;
    expect_same_choices(slot, fast, plain);
    expect_close(slot, "the output", fast->y, plain->y, n, tolerance);
    expect_close(slot, "the input's gradient", fast->dx, plain->dx, n, tolerance);
    for (size_t i = 0; i < fast->params.n; i++) {
        const struct cam_param *a = fast->params.items[i], *b = plain->params.items[i];
        size_t n_numbers = a->rows * a->cols;
        cr_assert_str_eq(a->name, b->name);
        expect_close(slot, a->name, a->grad, b->grad, n_numbers, tolerance);
        expect_close(slot, a->name, a->value, b->value, n_numbers, tolerance);
    }
    for (size_t i = 0; i < fast->n_slot; i++)
        if (fast->slot[i]->ops->auxiliary) {
            double a = fast->slot[i]->ops->auxiliary(fast->slot[i]);
            double b = plain->slot[i]->ops->auxiliary(plain->slot[i]);
            cr_assert(b > 0 && fabs(a - b) <= tolerance * b, "%s: loss %g and %g", slot, a, b);
        }
    if (fast->ff->ops->pool)
        expect_same_pool(slot, fast, plain, tolerance);
}

/* The second step is taken with a generation that is closed, the third with one that opens. */
static inline void compare_with_reference(const struct rig_variant *v, double tolerance) {
    struct rig fast, plain;
    rig_init_variant(&fast, v, 0, 37, 2);
    rig_init_variant(&plain, v, 1, 37, 1);
    for (size_t i = 0; i < fast.n_slot; i++) {
        cr_assert_neq(fast.slot[i]->ops, plain.slot[i]->ops);
        cr_assert_str_eq(fast.slot[i]->ops->name, plain.slot[i]->ops->name);
    }
    for (uint64_t step = 0; step < 4; step++) {
        struct rig *both[] = {&fast, &plain};
        for (int i = 0; i < 2; i++) {
            rig_step(both[i], step);
            if (!both[i]->ff->ops->pool)
                continue;
            struct cam_peer_growth growth = {.subkeys = 3, .seed = 3, .step = step};
            if (step == 0)
                RIG_OK(cam_peer_grow(both[i]->ff, &growth, NULL));
            else
                cam_peer_open_step(both[i]->ff, NULL);
        }
        expect_same_step(v->slot, &fast, &plain, tolerance);
    }
    rig_release(&fast);
    rig_release(&plain);
}

#endif
