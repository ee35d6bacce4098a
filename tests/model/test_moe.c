/* What the mixture of experts promises beyond the contract of every kind: who is chosen, who is
 * dropped, what balance costs. */
#include "ff_rig.h"

#include "model/reference.h"

enum { TOKENS = 50 };

static void setup(struct rig *rig, double capacity, int reference) {
    struct cam_ff_config config = rig_config;
    config.moe_experts = 4;
    config.moe_capacity = capacity;
    config.reference = reference;
    rig_init(rig, "moe", &config, TOKENS, 2);
}

static int dropped(const struct rig *rig, size_t t, size_t c) {
    return cam_moe_of(rig->ff)->last.slot[CAM_MOE_CHOICES * t + c] == CAM_MOE_DROPPED;
}

/* r of token T, plainly. */
static void logits(const struct rig *rig, size_t t, double r[4]) {
    const struct cam_moe *moe = cam_moe_of(rig->ff);
    for (size_t e = 0; e < 4; e++)
        r[e] = cam_reference_dot(rig->x + t * rig->width, moe->router->value + e, 4, rig->width);
}

Test(moe, the_two_best_are_chosen_with_their_share) {
    struct rig rig;
    setup(&rig, 1.25, 0);
    rig_forward(&rig, 1);
    const struct cam_moe_last *last = &cam_moe_of(rig.ff)->last;
    for (size_t t = 0; t < TOKENS; t++) {
        double r[4];
        logits(&rig, t, r);
        size_t a = last->expert[2 * t], b = last->expert[2 * t + 1];
        for (size_t e = 0; e < 4; e++)
            cr_assert(e == a || e == b || (r[e] < r[b] && r[b] < r[a]));
        cr_assert_float_eq((double)last->gate[2 * t], 1 / (1 + exp(r[b] - r[a])), 1e-5);
        cr_assert_float_eq((double)last->gate[2 * t] + (double)last->gate[2 * t + 1], 1, 1e-6);
    }
    rig_release(&rig);
}

Test(moe, equal_logits_choose_the_lower_experts) {
    struct rig rig;
    for (int reference = 0; reference < 2; reference++) {
        setup(&rig, 100, reference);
        struct cam_param *router = cam_moe_of(rig.ff)->router;
        for (size_t d = 0; d < rig.width; d++) /* r_1 = r_2 = r_3, and r_0 far below */
            for (size_t e = 1; e < 4; e++)
                router->value[d * 4 + e] = router->value[d * 4 + 1];
        for (size_t d = 0; d < rig.width; d++)
            router->value[d * 4] = d ? 0 : -100;
        for (size_t t = 0; t < TOKENS; t++)
            rig.x[t * rig.width] = 1;
        rig_forward(&rig, 1);
        const struct cam_moe_last *last = &cam_moe_of(rig.ff)->last;
        for (size_t t = 0; t < TOKENS; t++) {
            cr_assert(last->expert[2 * t] == 1 && last->expert[2 * t + 1] == 2);
            cr_assert_eq(last->gate[2 * t], (cam_real)0.5);
        }
        rig_release(&rig);
    }
}

/* First choices of all tokens, then second ones, in token order, until an expert is full. */
Test(moe, capacity_drops_the_last_comers_in_training_only) {
    struct rig rig;
    setup(&rig, 0.6, 0);
    size_t room = 15; /* ceil(0.6 * 2 * 50 / 4) */
    cr_assert_eq(cam_moe_capacity(cam_moe_of(rig.ff), TOKENS, 1), room);
    rig_forward(&rig, 1);
    const struct cam_moe_last *last = &cam_moe_of(rig.ff)->last;
    size_t taken[4] = {0}, n_dropped = 0;
    for (size_t c = 0; c < 2; c++)
        for (size_t t = 0; t < TOKENS; t++) {
            size_t e = last->expert[2 * t + c];
            cr_assert_eq(dropped(&rig, t, c), taken[e] >= room, "token %zu, choice %zu", t, c);
            n_dropped += taken[e]++ >= room;
        }
    cr_assert_geq(n_dropped, 2 * TOKENS - 4 * room);
    rig_forward(&rig, 0);
    for (size_t t = 0; t < TOKENS; t++)
        cr_assert(!dropped(&rig, t, 0) && !dropped(&rig, t, 1));
    rig_release(&rig);
}

/* The other choice's gate stays what it was. */
Test(moe, a_dropped_choice_adds_nothing) {
    struct rig rig;
    setup(&rig, 0.6, 0);
    rig_forward(&rig, 1);
    const struct cam_moe *moe = cam_moe_of(rig.ff);
    size_t seen[3] = {0};
    for (size_t t = 0; t < TOKENS; t++) {
        cam_real y[32] = {0}, pre[64], h[32];
        for (size_t c = 0; c < 2; c++)
            if (!dropped(&rig, t, c)) {
                size_t e = moe->last.expert[2 * t + c];
                cam_reference_swiglu(rig.x + t * 32, moe->in[e]->value, moe->out[e]->value, 32,
                                     moe->hidden, (double)moe->last.gate[2 * t + c], pre, h, y);
            }
        for (size_t d = 0; d < 32; d++)
            cr_assert_float_eq((double)rig.y[t * 32 + d], (double)y[d], 1e-4);
        seen[dropped(&rig, t, 0) + dropped(&rig, t, 1)]++;
    }
    cr_assert(seen[0] && seen[1] && seen[2], "%zu, %zu, %zu", seen[0], seen[1], seen[2]);
    rig_release(&rig);
}

Test(moe, the_balance_loss_is_as_defined_and_one_at_best) {
    struct rig rig;
    setup(&rig, 0.6, 0);
    rig_forward(&rig, 1);
    double f[4] = {0}, mean[4] = {0}, sum = 0;
    for (size_t t = 0; t < TOKENS; t++) {
        double r[4], total = 0;
        logits(&rig, t, r);
        for (size_t e = 0; e < 4; e++)
            total += exp(r[e]);
        for (size_t e = 0; e < 4; e++)
            mean[e] += exp(r[e]) / total / TOKENS;
        for (size_t c = 0; c < 2; c++)
            f[cam_moe_of(rig.ff)->last.expert[2 * t + c]] += 0.5 / TOKENS;
    }
    for (size_t e = 0; e < 4; e++)
        sum += f[e] * mean[e];
    cr_assert_float_eq(rig.ff->ops->auxiliary(rig.ff), 0.5 * 4 * sum, 1e-5);
    struct cam_param *router = cam_moe_of(rig.ff)->router;
    memset(router->value, 0, router->rows * router->cols * sizeof *router->value);
    rig_forward(&rig, 1);
    cr_assert_float_eq(rig.ff->ops->auxiliary(rig.ff), 0.5, 1e-5);
    rig_forward(&rig, 0);
    cr_assert_eq(rig.ff->ops->auxiliary(rig.ff), 0, "only training pays for balance");
    rig_release(&rig);
}

/* A router that sends everything to one expert, moved by the balance loss alone. */
Test(moe, the_balance_loss_spreads_tokens) {
    struct rig rig;
    setup(&rig, 1.25, 0);
    struct cam_moe *moe = cam_moe_of(rig.ff);
    memset(rig.dy, 0, TOKENS * rig.width * sizeof *rig.dy);
    for (size_t t = 0; t < TOKENS; t++)
        rig.x[t * rig.width] = 2;
    moe->router->value[0] = 3;
    rig_forward(&rig, 1);
    cr_assert_float_eq((double)moe->last.share[0], 0.5, 1e-6, "all choose expert 0");
    for (int step = 0; step < 300; step++) {
        rig_forward(&rig, 1);
        rig_backward(&rig);
        for (size_t i = 0; i < moe->router->rows * moe->router->cols; i++)
            moe->router->value[i] -= (cam_real)0.1 * moe->router->grad[i];
    }
    rig_forward(&rig, 1);
    for (size_t e = 0; e < 4; e++)
        cr_assert(fabs((double)moe->last.share[e] - 0.25) < 0.1, "expert %zu has %g", e,
                  (double)moe->last.share[e]);
    rig_release(&rig);
}

/* moe.hidden = 0: what a token does costs what a dense layer costs, but for the router. */
Test(moe, two_half_experts_cost_what_dense_costs) {
    struct rig moe, dense;
    setup(&moe, 1.25, 0);
    rig_init(&dense, "dense", &rig_config, TOKENS, 1);
    double router = 2 * 32 * 4;
    cr_assert_eq(cam_moe_of(moe.ff)->hidden, rig_config.hidden / 2);
    cr_assert_eq(moe.ff->ops->flops(moe.ff), dense.ff->ops->flops(dense.ff) + router);
    rig_release(&moe);
    rig_release(&dense);
}

Test(moe, settings_out_of_range_are_refused) {
    static const struct {
        size_t experts;
        double capacity, balance;
    } bad[] = {{1, 1, 0}, {129, 1, 0}, {4, 0, 0}, {4, NAN, 0}, {4, 1, -1}, {4, 1, NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cam_ff_config config = rig_config;
        struct cam_params params;
        struct cam_ff *ff = NULL;
        config.moe_experts = bad[i].experts;
        config.moe_capacity = bad[i].capacity;
        config.moe_balance = bad[i].balance;
        cam_params_init(&params);
        cr_assert_eq(cam_ff_moe.create(&config, &params, &ff), CAM_ERR_CONFIG, "case %zu", i);
        cr_assert_null(ff);
        cam_params_release(&params);
    }
}
