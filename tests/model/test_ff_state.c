/* The contract of model/ff.h, in float, for every kind and every pair that may share a slot: the
 * fast path against the readable one, the same bits for any number of threads, state that is saved,
 * loaded and left alone, no allocation once warm. */
#include "support/allocations.h"

#include "ff_compare.h"

enum { TOKENS = 300 }; /* several blocks of everything that works in blocks */

Test(ff_state, the_fast_path_is_the_reference) {
    if (rig_products() != CAM_PRODUCTS_FP32)
        cr_skip_test("the reference does not round to bfloat16");
    EACH_VARIANT(v) /* the last digit may decide which way a number in bfloat16 is rounded */
    compare_with_reference(v, v->pool_bf16 ? 1e-2 : 1e-4);
}

static double length(const cam_real *x, const cam_real *less, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pow((double)x[i] - (less ? (double)less[i] : 0), 2);
    return sqrt(sum);
}

/* 8 bits of mantissa: nearly all choices are the same, and where all are, outputs nearly agree. */
Test(ff_state, products_in_bfloat16_compute_nearly_the_same) {
    EACH_VARIANT(v) {
        struct rig rig[2];
        size_t n[2], same = 0, n_numbers = TOKENS * rig_config.width;
        uint32_t *choice[2];
        for (int i = 0; i < 2; i++) {
            rig_init_variant(&rig[i], v, 0, TOKENS, 2);
            rig[i].pass.products = i ? CAM_PRODUCTS_BF16 : CAM_PRODUCTS_FP32;
            rig_forward(&rig[i], 1);
            rig_backward(&rig[i]);
            choice[i] = rig_choices(&rig[i], &n[i]);
        }
        for (size_t i = 0; i < n[0]; i++)
            same += choice[0][i] == choice[1][i];
        cr_assert(10 * same >= 9 * n[0], "%s: %zu of %zu choices", v->slot, same, n[0]);
        double most = n[0] ? 0.3 : 0.02;
        cr_assert_neq(memcmp(rig[0].y, rig[1].y, n_numbers * sizeof(cam_real)), 0, "%s", v->slot);
        cr_assert_leq(length(rig[1].y, rig[0].y, n_numbers),
                      most * length(rig[0].y, NULL, n_numbers), "%s", v->slot);
        cr_assert_leq(length(rig[1].dx, rig[0].dx, n_numbers),
                      most * length(rig[0].dx, NULL, n_numbers), "%s", v->slot);
        for (int i = 0; i < 2; i++) {
            free(choice[i]);
            rig_release(&rig[i]);
        }
    }
}

/* Steps 0 to 3; pools grow after the first and open from then on. */
static void walk(struct rig *rig) {
    for (uint64_t step = 0; step < 4; step++) {
        rig_step(rig, step);
        struct cam_peer_growth growth = {.subkeys = 9, .seed = 3, .step = step};
        if (rig->ff->ops->pool && step == 0)
            RIG_OK(cam_peer_grow(rig->ff, &growth, NULL));
        else if (rig->ff->ops->pool)
            cam_peer_open_step(rig->ff, NULL);
    }
}

Test(ff_state, one_thread_and_two_give_the_same_bits) {
    EACH_VARIANT(v) {
        struct rig rig[2];
        struct rig_state state[2];
        size_t n_bytes = TOKENS * rig_config.width * sizeof(cam_real);
        for (int i = 0; i < 2; i++) {
            rig_init_variant(&rig[i], v, 0, TOKENS, i + 1);
            walk(&rig[i]);
            state[i] = rig_save(&rig[i]);
        }
        cr_assert_eq(memcmp(rig[0].y, rig[1].y, n_bytes), 0, "%s", v->slot);
        cr_assert_eq(memcmp(rig[0].dx, rig[1].dx, n_bytes), 0, "%s", v->slot);
        for (size_t p = 0; p < rig[0].params.n; p++) {
            const struct cam_param *a = rig[0].params.items[p], *b = rig[1].params.items[p];
            cr_assert_eq(memcmp(a->grad, b->grad, a->rows * a->cols * sizeof *a->grad), 0, "%s: %s",
                         v->slot, a->name);
        }
        cr_assert(rig_same(&state[0], &state[1]), "%s", v->slot);
        for (int i = 0; i < 2; i++) {
            free(state[i].bytes);
            rig_release(&rig[i]);
        }
    }
}

/* The reference is asked, too: it has the same state. */
Test(ff_state, saved_and_loaded_gives_the_same_outputs) {
    EACH_VARIANT(v)
    for (int reference = 0; reference < 2; reference++) {
        struct rig a, b;
        size_t n = reference ? 11 : TOKENS, n_bytes = n * rig_config.width * sizeof(cam_real);
        rig_init_variant(&a, v, reference, n, 2);
        rig_init_variant(&b, v, reference, n, 2);
        walk(&a);
        struct rig_state saved = rig_save(&a);
        if (b.ff->ops->pool)
            RIG_OK(cam_peer_restore_shape(b.ff, cam_peer_subkeys(a.ff)));
        rig_load(&b, &saved);
        for (int training = 0; training < 2; training++) {
            memcpy(b.x, a.x, n_bytes);
            rig_forward(&a, training);
            rig_forward(&b, training);
            cr_assert_eq(memcmp(a.y, b.y, n_bytes), 0, "%s", v->slot);
        }
        free(saved.bytes);
        rig_release(&a);
        rig_release(&b);
    }
}

Test(ff_state, what_is_not_updated_does_not_change) {
    EACH_VARIANT(v) {
        struct rig rig;
        rig_init_variant(&rig, v, 0, TOKENS, 2);
        walk(&rig);
        struct rig_state before = rig_save(&rig);
        rig_forward(&rig, 0);
        rig_forward(&rig, 1);
        rig_backward(&rig);
        struct rig_state after = rig_save(&rig);
        cr_assert(rig_same(&before, &after), "%s", v->slot);
        free(before.bytes);
        free(after.bytes);
        rig_release(&rig);
    }
}

static int any_not_finite(const cam_real *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite((double)x[i]))
            return 1;
    return 0;
}

/* T02: not-a-number shows in the output, or in the gradients, by which a step is judged
 * (train/step.h), and changes nothing else. */
Test(ff_state, T02_not_a_number_shows_and_changes_no_state) {
    EACH_VARIANT(v)
    for (int where = 0; where < 2; where++) {
        struct rig rig;
        rig_init_variant(&rig, v, 0, TOKENS, 2);
        walk(&rig);
        struct rig_state before = rig_save(&rig);
        *(where ? &rig.dy[40] : &rig.x[40]) = (cam_real)NAN;
        rig_forward(&rig, 1);
        rig_backward(&rig);
        cr_assert(where || any_not_finite(rig.y + rig.width, rig.width), "%s", v->slot);
        int shows = 0;
        for (size_t i = 0; i < rig.params.n; i++)
            shows |= any_not_finite(rig.params.items[i]->grad,
                                    rig.params.items[i]->rows * rig.params.items[i]->cols);
        cr_assert(shows, "%s", v->slot);
        struct rig_state after = rig_save(&rig);
        cr_assert(rig_same(&before, &after), "%s", v->slot);
        free(before.bytes);
        free(after.bytes);
        rig_release(&rig);
    }
}

/* One thread: when a second one first takes part is a matter of timing. */
Test(ff_state, a_steady_step_allocates_nothing) {
    count_allocations(1);
    EACH_VARIANT(v) {
        struct rig rig;
        rig_init_variant(&rig, v, 0, TOKENS, 1);
        walk(&rig);
        size_t before = atomic_load(&n_allocations), from_system = rig.arena.n_allocations;
        cr_assert_gt(before, 0, "nothing is counted");
        for (uint64_t step = 4; step < 8; step++) {
            rig_step(&rig, step);
            if (rig.ff->ops->pool)
                cam_peer_open_step(rig.ff, NULL);
            rig_forward(&rig, 0);
        }
        cr_assert_eq(atomic_load(&n_allocations), before, "%s: %zu allocations", v->slot,
                     atomic_load(&n_allocations) - before);
        cr_assert_eq(rig.arena.n_allocations, from_system, "%s", v->slot);
        rig_release(&rig);
    }
    count_allocations(0);
}

/* What is not frozen moves, what is frozen does not: by the parameters' frozen rows and the pools'
 * frozen generations. */
POOL_TEST(ff_state, T10_frozen_rows_keep_their_bits_in_both_paths) {
    for (int reference = 0; reference < 2; reference++) {
        struct cam_ff_config config = rig_config;
        struct rig rig;
        struct cam_hash before, after;
        config.reference = reference;
        rig_init(&rig, kind, &config, 30, 2);
        walk(&rig);
        RIG_OK(cam_peer_freeze(rig.ff, 0, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, 1));
        RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS, &before));
        walk(&rig);
        RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS, &after));
        cr_assert(cam_hash_equal(before, after));
        RIG_OK(cam_peer_freeze(rig.ff, 0, CAM_PEER_EXPERTS, 0));
        rig_step(&rig, 20);
        RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS, &after));
        cr_assert(!cam_hash_equal(before, after));
        rig_release(&rig);
    }
}
