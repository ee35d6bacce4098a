/* The gradients of a PEER layer against finite differences, in double, and the rows' optimiser. */
#include "peer_rig.h"

#include <math.h>

#define STEP 1e-6

static double objective(struct rig *rig) {
    rig_forward(rig, 1);
    double sum = 0;
    for (size_t i = 0; i < rig->n * rig->width; i++)
        sum += (double)rig->y[i] * (double)rig->dy[i];
    return sum;
}

/* The experts picked, to make sure a difference did not step over a cut. */
static uint32_t *picked(const struct rig *rig) {
    const struct cam_peer *peer = cam_peer_of(rig->ff);
    size_t n_bytes = rig->n * peer->n_picks * sizeof(uint32_t);
    uint32_t *copy = malloc(n_bytes);
    memcpy(copy, peer->last.expert, n_bytes);
    return copy;
}

static void check_slope(struct rig *rig, const char *what, size_t at, cam_real *value,
                        double gradient, const uint32_t *picks) {
    const struct cam_peer *peer = cam_peer_of(rig->ff);
    size_t n_bytes = rig->n * peer->n_picks * sizeof(uint32_t);
    cam_real before = *value;
    *value = before + (cam_real)STEP;
    double up = objective(rig);
    cr_assert_eq(memcmp(picks, peer->last.expert, n_bytes), 0, "%s %zu changed a pick", what, at);
    *value = before - (cam_real)STEP;
    double down = objective(rig);
    cr_assert_eq(memcmp(picks, peer->last.expert, n_bytes), 0, "%s %zu changed a pick", what, at);
    *value = before;
    double slope = (up - down) / (2 * STEP);
    cr_assert(fabs(slope - gradient) <= 1e-6 * (1 + fabs(gradient)),
              "%s %zu: gradient %.12g, difference %.12g", what, at, gradient, slope);
}

static void check_gradients(struct rig *rig) {
    rig_forward(rig, 1);
    rig_backward(rig);
    uint32_t *picks = picked(rig);
    size_t n_x = rig->n * rig->width;
    cam_real *dx = malloc(n_x * sizeof *dx);
    memcpy(dx, rig->dx, n_x * sizeof *dx);
    cam_real du[64], dv[64];
    uint64_t expert = picks[1];
    cam_peer_expert_gradient(rig->ff, expert, du, dv);
    for (size_t i = 0; i < n_x; i += 3)
        check_slope(rig, "x", i, &rig->x[i], (double)dx[i], picks);
    for (size_t p = 0; p < rig->params.n; p++) {
        struct cam_param *param = rig->params.items[p];
        for (size_t i = 0; i < param->rows * param->cols; i += 7)
            check_slope(rig, param->name, i, &param->value[i], (double)param->grad[i], picks);
    }
    cam_real *row = cam_pool_row(&cam_peer_of(rig->ff)->pool, expert);
    for (size_t i = 0; i < rig->width; i++) {
        check_slope(rig, "u", i, &row[i], (double)du[i], picks);
        check_slope(rig, "v", i, &row[rig->width + i], (double)dv[i], picks);
    }
    free(dx);
    free(picks);
}

Test(peer, gradients_match_differences) {
    struct rig rig;
    rig_init(&rig, &rig_config, 19, 1);
    check_gradients(&rig);
    rig_release(&rig);
}

/* Picks of a token that do not fill whole vectors, one head, one block of tokens and a bit. */
Test(peer, gradients_match_differences_at_odd_sizes) {
    struct cam_ff_config config = rig_config;
    config.heads = 1;
    config.top_k = 3;
    config.width = 48;
    config.key_width = 32;
    struct rig rig;
    rig_init(&rig, &config, 17, 1);
    check_gradients(&rig);
    rig_release(&rig);
}

/* An opening generation's bias and experts with v = 0 are part of the same function. */
Test(peer, gradients_match_differences_while_a_generation_opens) {
    struct rig rig;
    rig_init(&rig, &rig_config, 19, 1);
    struct cam_peer_growth growth = {.subkeys = 5, .seed = 3, .step = 1};
    RIG_OK(cam_peer_grow(rig.ff, &growth, NULL));
    struct cam_peer *peer = cam_peer_of(rig.ff);
    peer->generation[1].state = CAM_GENERATION_OPENING;
    peer->generation[1].bias = -0.25;
    cam_peer_derive(peer);
    check_gradients(&rig);
    uint64_t picks[CAM_MAX_GENERATIONS];
    double mass[CAM_MAX_GENERATIONS];
    cam_peer_last_picks(rig.ff, picks, mass);
    cr_assert_gt(picks[1], 0, "the test should have met new experts");
    rig_release(&rig);
}

Test(peer, a_first_update_moves_a_row_by_one_learning_rate) {
    struct rig rig;
    rig_init(&rig, &rig_config, 19, 1);
    rig_forward(&rig, 1);
    rig_backward(&rig);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    uint64_t expert = peer->last.expert[0];
    cam_real du[32], dv[32], before[64], *row = cam_pool_row(&peer->pool, expert);
    cam_peer_expert_gradient(rig.ff, expert, du, dv);
    memcpy(before, row, sizeof before);
    struct cam_update update = {.lr = 1e-3, .grad_scale = 0.1, .beta2 = 0.999, .step = 1};
    cam_ff_peer.update(rig.ff, &rig.pass, &update);
    double square = 0;
    for (int i = 0; i < 32; i++)
        square += 0.01 * (double)du[i] * (double)du[i] / 32;
    for (int i = 0; i < 32; i++) {
        double expected = (double)before[i] - 2e-3 * 0.1 * (double)du[i] / (sqrt(square) + 1e-8);
        cr_assert_float_eq((double)row[i], expected, 1e-12);
    }
    cr_assert_eq(cam_pool_state(&peer->pool, expert)->updates, 1);
    rig_release(&rig);
}

/* Rows nobody picked, and their optimiser state, stay bit for bit. */
Test(peer, an_update_touches_only_picked_rows) {
    struct rig rig;
    rig_init(&rig, &rig_config, 5, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    uint64_t n_experts = cam_peer_n_experts(rig.ff);
    size_t n_bytes = (size_t)n_experts * 64 * sizeof(cam_real);
    cam_real *before = malloc(n_bytes);
    memcpy(before, cam_pool_row(&peer->pool, 0), n_bytes);
    rig_step(&rig, 1);
    size_t n_moved = 0;
    for (uint64_t e = 0; e < n_experts; e++) {
        int moved = memcmp(before + e * 64, cam_pool_row(&peer->pool, e), 64 * sizeof(cam_real));
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
Test(peer, T02_an_absurd_gradient_does_not_explode_a_row) {
    struct rig rig;
    rig_init(&rig, &rig_config, 19, 1);
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
        memcpy(before, row, sizeof before);
        struct cam_update update = {.lr = 1e-3, .grad_scale = 1, .beta2 = 0.999, .step = 1};
        cam_ff_peer.update(rig.ff, &rig.pass, &update);
        double square[2] = {0, 0};
        for (int i = 0; i < 64; i++)
            square[i / 32] += pow((double)row[i] - (double)before[i], 2) / 32;
        for (int part = 0; part < 2; part++) {
            if (absurd)
                cr_assert_eq(square[part], 0);
            else
                cr_assert(square[part] > 0 && sqrt(square[part]) <= 2 * 2e-3 * (1 + 1e-9));
        }
    }
    rig_release(&rig);
}
