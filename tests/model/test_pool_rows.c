/* What the contract suite leaves open about pools, in double: gradients at odd sizes and while a
 * generation opens, and the rows' optimiser. */
#include "ff_gradient.h"

/* Picks of a token that do not fill whole vectors, one head, one block of tokens and a bit. */
POOL_TEST(pool_rows, gradients_match_differences_at_odd_sizes) {
    struct cam_ff_config config = rig_config;
    config.heads = 1;
    config.top_k = 3;
    config.width = 48;
    config.key_width = 32;
    struct rig rig;
    rig_init(&rig, kind, &config, 17, 1);
    check_gradients(&rig, kind);
    rig_release(&rig);
}

/* An opening generation's bias and experts with v = 0 are part of the same function. */
POOL_TEST(pool_rows, gradients_match_differences_while_a_generation_opens) {
    struct rig rig;
    rig_init(&rig, kind, &rig_config, 19, 1);
    struct cam_peer_growth growth = {.subkeys = 5, .seed = 3, .step = 1};
    RIG_OK(cam_peer_grow(rig.ff, &growth, NULL));
    struct cam_peer *peer = cam_peer_of(rig.ff);
    peer->generation[1].state = CAM_GENERATION_OPENING;
    peer->generation[1].bias = -0.25;
    cam_peer_derive(peer);
    check_gradients(&rig, kind);
    uint64_t picks[CAM_MAX_GENERATIONS];
    double mass[CAM_MAX_GENERATIONS];
    cam_peer_last_picks(rig.ff, picks, mass);
    cr_assert_gt(picks[1], 0, "the test should have met new experts");
    rig_release(&rig);
}

POOL_TEST(pool_rows, a_first_update_moves_a_row_by_one_learning_rate) {
    struct rig rig;
    rig_init(&rig, kind, &rig_config, 19, 1);
    rig_forward(&rig, 1);
    rig_backward(&rig);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    uint64_t expert = peer->last.expert[0];
    cam_real gradient[64], before[64], *row = cam_pool_row(&peer->pool, expert);
    cam_peer_expert_gradient(rig.ff, expert, gradient, gradient + peer->pool.record - 32);
    memcpy(before, row, peer->pool.record * sizeof *row);
    struct cam_update update = {.lr = 1e-3, .grad_scale = 0.1, .beta2 = 0.999, .step = 1};
    rig_update(&rig, &update);
    for (size_t part = 0; part < peer->pool.record; part += 32) {
        double square = 0;
        for (size_t i = part; i < part + 32; i++)
            square += 0.01 * (double)gradient[i] * (double)gradient[i] / 32;
        for (size_t i = part; i < part + 32; i++) {
            double step = 2e-3 * 0.1 * (double)gradient[i] / (sqrt(square) + 1e-8);
            cr_assert_float_eq((double)row[i], (double)before[i] - step, 1e-12);
        }
    }
    cr_assert_eq(cam_pool_state(&peer->pool, expert)->updates, 1);
    rig_release(&rig);
}

/* Four steps of one expert against Algorithm 1 of Kingma and Ba written plainly, where only steps
 * with a gradient count; experts nobody picked have no moments. */
POOL_TEST(pool_rows, adam_is_algorithm_1_over_the_steps_an_expert_has) {
    struct cam_ff_config config = rig_config;
    struct rig rig;
    config.pool_adam = 1;
    rig_init(&rig, kind, &config, 19, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    size_t record = peer->pool.record;
    rig_forward(&rig, 1);
    uint64_t expert = peer->last.expert[0];
    cam_real gradient[64], *row = cam_pool_row(&peer->pool, expert);
    double x[64], m[64] = {0}, v[64] = {0};
    uint32_t t = 0;
    for (size_t i = 0; i < record; i++)
        x[i] = (double)row[i];
    for (uint64_t step = 0; step < 4; step++) {
        rig_forward(&rig, 1);
        rig_backward(&rig);
        int picked = 0;
        for (size_t i = 0; i < 19 * peer->n_picks; i++)
            picked |= i % peer->n_picks < 12 && peer->last.expert[i] == expert;
        cam_peer_expert_gradient(rig.ff, expert, gradient, gradient + record - 32);
        t += picked != 0;
        for (size_t i = 0; i < record && picked; i++) {
            double g = 0.1 * (double)gradient[i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.99 * v[i] + 0.01 * g * g;
            x[i] -= 2e-3 * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.99, t))) + 1e-8);
        }
        struct cam_update update = {
            .lr = 1e-3, .grad_scale = 0.1, .beta1 = 0.9, .beta2 = 0.99, .step = step};
        rig_update(&rig, &update);
    }
    cr_assert(t > 0 && cam_pool_state(&peer->pool, expert)->updates == t);
    for (size_t i = 0; i < record; i++)
        cr_assert_float_eq((double)row[i], x[i], 1e-12, "%zu", i);
    for (uint64_t e = 0; e < cam_peer_n_experts(rig.ff); e++)
        for (size_t i = 0; i < 2 * record && cam_pool_state(&peer->pool, e)->updates == 0; i++)
            cr_assert_eq(cam_pool_moments(&peer->pool, e)[i], 0);
    cam_pool_reset_expert(&peer->pool, expert, 1, CAM_POOL_RANDOM);
    for (size_t i = 0; i < 2 * record; i++)
        cr_assert_eq(cam_pool_moments(&peer->pool, expert)[i], 0, "a new incarnation begins anew");
    rig_release(&rig);
}

/* Rows nobody picked, and their optimiser state, stay bit for bit. */
POOL_TEST(pool_rows, an_update_touches_only_picked_rows) {
    struct rig rig;
    rig_init(&rig, kind, &rig_config, 5, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    uint64_t n_experts = cam_peer_n_experts(rig.ff);
    size_t record = peer->pool.record, n_bytes = (size_t)n_experts * record * sizeof(cam_real);
    cam_real *before = malloc(n_bytes);
    memcpy(before, cam_pool_row(&peer->pool, 0), n_bytes);
    rig_step(&rig, 1);
    size_t n_moved = 0;
    for (uint64_t e = 0; e < n_experts; e++) {
        int moved =
            memcmp(before + e * record, cam_pool_row(&peer->pool, e), record * sizeof(cam_real));
        cr_assert_eq(moved != 0, cam_pool_usage(&peer->pool, e)->picks > 0, "expert %zu",
                     (size_t)e);
        cr_assert_eq(moved != 0, cam_pool_state(&peer->pool, e)->updates > 0);
        n_moved += moved != 0;
    }
    cr_assert(n_moved > 10 && n_moved < n_experts);
    free(before);
    rig_release(&rig);
}

/* T02: a row's step is at most twice the learning rate however large one gradient is, and a
 * gradient that is not a number leaves the row alone. */
POOL_TEST(pool_rows, T02_an_absurd_gradient_does_not_explode_a_row) {
    struct rig rig;
    rig_init(&rig, kind, &rig_config, 19, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    for (uint64_t step = 0; step < 30; step++)
        rig_step(&rig, 1); /* the same batch: second moments settle */
    cam_real before[64];
    for (int absurd = 0; absurd < 2; absurd++) {
        rig_forward(&rig, 1);
        for (size_t i = 0; i < rig.n * rig.width; i++)
            rig.dy[i] = absurd ? (cam_real)NAN : rig.dy[i] * (cam_real)1e6;
        rig_backward(&rig);
        uint64_t expert = peer->last.expert[0];
        cam_real *row = cam_pool_row(&peer->pool, expert);
        memcpy(before, row, peer->pool.record * sizeof *row);
        struct cam_update update = {.lr = 1e-3, .grad_scale = 1, .beta2 = 0.999, .step = 1};
        rig_update(&rig, &update);
        double square[2] = {0, 0};
        for (size_t i = 0; i < peer->pool.record; i++)
            square[i / 32] += pow((double)row[i] - (double)before[i], 2) / 32;
        for (size_t part = 0; part < peer->pool.n_parts; part++) {
            if (absurd)
                cr_assert_eq(square[part], 0);
            else
                cr_assert(square[part] > 0 && sqrt(square[part]) <= 2 * 2e-3 * (1 + 1e-9));
        }
    }
    rig_release(&rig);
}
