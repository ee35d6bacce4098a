/* The contract of model/ff.h, in double, for every kind and every pair that may share a slot: what
 * backward says is what differences say, the fast path is what the readable one is, and a score
 * does not depend on the batch. */
#include "ff_compare.h"
#include "ff_gradient.h"

Test(ff_contract, gradients_match_differences) {
    EACH_VARIANT(v) {
        struct rig rig;
        rig_init_variant(&rig, v, 0, 19, 1);
        check_gradients(&rig, v->slot);
        rig_release(&rig);
    }
}

Test(ff_contract, gradients_of_the_reference_match_differences) {
    for (size_t i = 0; cam_ff_kinds[i]; i++) {
        struct cam_ff_config config = rig_config;
        struct rig rig;
        config.reference = 1;
        rig_init(&rig, cam_ff_kinds[i]->name, &config, 7, 1);
        check_gradients(&rig, cam_ff_kinds[i]->name);
        rig_release(&rig);
    }
}

Test(ff_contract, the_fast_path_is_the_reference) {
    EACH_VARIANT(v)
    compare_with_reference(v, 1e-10);
}

/* Sub-keys of both codebooks in groups of three equal ones: sums tie exactly and everywhere, also
 * at the cut, and the lower ids are taken.  More than one block of sub-keys. */
POOL_TEST(ff_contract, equal_scores_give_the_lower_experts) {
    struct cam_ff_config config = rig_config;
    struct rig rig[2];
    config.subkeys = 70;
    config.key_width = 32;
    for (int i = 0; i < 2; i++) {
        config.reference = i;
        rig_init(&rig[i], kind, &config, 9, 1);
        const struct cam_peer *peer = cam_peer_of(rig[i].ff);
        for (int h = 0; h < 2; h++)
            for (size_t k = 0; k < 70; k++)
                memcpy(peer->subkey[h]->value + k * 32, peer->subkey[h]->value + k / 3 * 3 * 32,
                       32 * sizeof(cam_real));
        rig_forward(&rig[i], 1);
    }
    expect_same_choices(kind, &rig[0], &rig[1]);
    rig_release(&rig[0]);
    rig_release(&rig[1]);
}

/* A batch, a part of it, and the part backwards: the same scores but for the last digits. */
Test(ff_contract, a_score_does_not_depend_on_the_batch) {
    enum { N = 41, PART = 7 };
    EACH_VARIANT(v) {
        struct rig rig;
        rig_init_variant(&rig, v, 0, N, 1);
        size_t D = rig.width;
        rig_forward(&rig, 0);
        cam_real *together = malloc(N * D * sizeof *together);
        memcpy(together, rig.y, N * D * sizeof *together);
        rig.n = rig.pass.n_tokens = PART;
        rig_forward(&rig, 0);
        expect_close(v->slot, "a part's output", rig.y, together, PART * D, 1e-13);
        for (size_t t = 0; t < PART / 2; t++)
            for (size_t d = 0; d < D; d++) {
                cam_real kept = rig.x[t * D + d];
                rig.x[t * D + d] = rig.x[(PART - 1 - t) * D + d];
                rig.x[(PART - 1 - t) * D + d] = kept;
            }
        rig_forward(&rig, 0);
        for (size_t t = 0; t < PART; t++)
            expect_close(v->slot, "another order's output", rig.y + t * D,
                         together + (PART - 1 - t) * D, D, 1e-13);
        free(together);
        rig_release(&rig);
    }
}

/* What a kind says of its size: a token's numbers are some of all, and cost at least one
 * multiply-add each. */
Test(ff_contract, sizes_are_plausible) {
    for (size_t i = 0; cam_ff_kinds[i]; i++) {
        struct rig rig;
        struct cam_ff_size size = {0};
        rig_init(&rig, cam_ff_kinds[i]->name, &rig_config, 1, 1);
        if (rig.ff->ops->size)
            rig.ff->ops->size(rig.ff, &size);
        double dense = (double)cam_params_count(&rig.params);
        double active = dense - size.idle + size.table_active;
        cr_assert(size.idle < dense && size.table_active <= size.table);
        cr_assert_geq(rig.ff->ops->flops(rig.ff), 2 * active);
        cr_assert_geq(size.table_bytes, size.table * sizeof(cam_real));
        cr_assert(rig.ff->ops->pool == (size.pool_experts > 0));
        rig_release(&rig);
    }
}

/* A slot's loss moves when its parameters follow the gradient: one step downhill. */
Test(ff_contract, a_small_step_lowers_the_objective) {
    EACH_VARIANT(v) {
        struct rig rig;
        rig_init_variant(&rig, v, 0, 19, 1);
        double before = rig_objective(&rig);
        rig_backward(&rig);
        for (size_t i = 0; i < rig.params.n; i++) {
            struct cam_param *p = rig.params.items[i];
            for (size_t k = 0; k < p->rows * p->cols; k++)
                p->value[k] -= (cam_real)1e-5 * p->grad[k];
        }
        struct cam_update update = {.lr = 1e-4, .grad_scale = 1, .beta2 = 0.99, .step = 1};
        rig_update(&rig, &update);
        cr_assert_lt(rig_objective(&rig), before, "%s", v->slot);
        rig_release(&rig);
    }
}
