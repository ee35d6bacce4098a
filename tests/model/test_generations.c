/* The life of a pool in float, for every kind that has one: growth, opening, freezing, resume,
 * usage, provenance. */
#include "ff_rig.h"

/* As large as growth gets interesting: several blocks of sub-keys, several ranges of experts. */
static const struct cam_ff_config life_config = {.seed = 7,
                                                 .width = 32,
                                                 .heads = 4,
                                                 .top_k = 8,
                                                 .key_width = 32,
                                                 .subkeys = 60,
                                                 .subkeys_capacity = 150,
                                                 .pool_lr_scale = 2};

enum { TOKENS = 300 };

Test(generations, every_kind_with_a_pool_is_tested) {
    for (size_t i = 0; cam_ff_kinds[i]; i++)
        cr_assert(!cam_ff_kinds[i]->pool || cam_ff_kinds[i] == &cam_ff_peer ||
                      cam_ff_kinds[i] == &cam_ff_pkm,
                  "add %s to POOL_TEST in ff_rig.h", cam_ff_kinds[i]->name);
}

static cam_real *copy_output(const struct rig *rig) {
    cam_real *copy = malloc(rig->n * rig->width * sizeof *copy);
    memcpy(copy, rig->y, rig->n * rig->width * sizeof *copy);
    return copy;
}

static int same_output(const struct rig *rig, const cam_real *y) {
    return memcmp(rig->y, y, rig->n * rig->width * sizeof *y) == 0;
}

/* Grows by G with losses that single out the first tokens. */
static void grow(struct rig *rig, size_t g, uint64_t step) {
    cam_real loss[TOKENS];
    for (size_t t = 0; t < TOKENS; t++)
        loss[t] = t < 20 ? 5 + (cam_real)t : 1;
    struct cam_peer_growth growth = {.subkeys = g,
                                     .token_loss = loss,
                                     .seed = 3,
                                     .step = step,
                                     .ramp_steps = 20,
                                     .max_share_step = 0.02};
    size_t n_from_queries = 0;
    RIG_OK(cam_peer_grow(rig->ff, &growth, &n_from_queries));
    cr_assert_eq(n_from_queries, g);
}

/* Growth never hurts when it happens.  3 fills part of a block of sub-keys, 20 crosses
 * into the next.  Nobody's row moves or changes. */
POOL_TEST(generations, growth_keeps_every_output_bit) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 2);
    for (uint64_t step = 0; step < 3; step++)
        rig_step(&rig, step);
    static const size_t amounts[] = {1, 3, 20, 66};
    struct cam_hash old, now;
    const cam_real *row = cam_pool_row(&cam_peer_of(rig.ff)->pool, 3599);
    for (int training = 0; training < 2; training++) {
        rig_forward(&rig, training);
        cam_real *before = copy_output(&rig);
        rig_step(&rig, 3); /* growth looks at the last training pass */
        RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS, &old));
        for (size_t i = 0; i < 4 && training; i++) {
            rig_forward(&rig, 1);
            free(before);
            before = copy_output(&rig);
            grow(&rig, amounts[i], 10 + i);
            RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS, &now));
            cr_assert(cam_hash_equal(old, now));
            cr_assert_eq(cam_pool_row(&cam_peer_of(rig.ff)->pool, 3599), row);
            rig_forward(&rig, 0);
            cr_assert(same_output(&rig, before), "growing by %zu", amounts[i]);
            rig_forward(&rig, 1);
            cr_assert(same_output(&rig, before), "growing by %zu, training", amounts[i]);
        }
        free(before);
    }
    cr_assert_eq(cam_peer_subkeys(rig.ff), 150);
    cr_assert_eq(cam_peer_n_experts(rig.ff), 22500);
    struct cam_peer_growth one = {.subkeys = 1};
    cr_assert_eq(cam_peer_grow(rig.ff, &one, NULL), CAM_ERR_CONFIG);
    rig_release(&rig);
}

POOL_TEST(generations, new_subkeys_have_the_old_length_and_fresh_moments) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 1);
    rig_step(&rig, 0);
    grow(&rig, 10, 1);
    const struct cam_peer *peer = cam_peer_of(rig.ff);
    for (int h = 0; h < 2; h++) {
        double sum[2] = {0, 0};
        for (size_t i = 0; i < 70; i++) {
            double square = 0;
            for (size_t k = 0; k < 32; k++)
                square += pow((double)peer->subkey[h]->value[i * 32 + k], 2);
            sum[i >= 60] += sqrt(square) / (i >= 60 ? 10 : 60);
        }
        cr_assert_float_eq(sum[1], sum[0], 1e-4);
        cr_assert_eq(peer->subkey[h]->rows, 70);
    }
    rig_release(&rig);
}

static double score_at(const struct cam_peer *peer, size_t query, size_t h, size_t i) {
    double sum = 0;
    for (size_t k = 0; k < 32; k++)
        sum += (double)peer->last.query[(query * 2 + h) * 32 + k] *
               (double)peer->subkey[h]->value[i * 32 + k];
    return sum;
}

/* How far sub-key I of H is from scoring at QUERY what the best of the first 60 does. */
static double off_best(const struct cam_peer *peer, size_t query, size_t h, size_t i) {
    double best = score_at(peer, query, h, 0);
    for (size_t old = 1; old < 60; old++)
        best = fmax(best, score_at(peer, query, h, old));
    return fabs(score_at(peer, query, h, i) - best);
}

/* Each new sub-key belongs to one query, of the head whose turn it is and mostly of a token with a
 * high loss, where it scores what the best old one does, in both codebooks. */
POOL_TEST(generations, new_subkeys_equal_the_best_old_one_at_a_query_of_high_loss) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 1);
    rig_forward(&rig, 1);
    grow(&rig, 12, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    size_t found = 0, high = 0;
    for (size_t i = 0; i < 12; i++) {
        for (size_t t = 0; t < TOKENS; t++) {
            size_t query = t * 4 + i % 4;
            if (off_best(peer, query, 0, 60 + i) < 1e-4 &&
                off_best(peer, query, 1, 60 + i) < 1e-4) {
                found++;
                high += t < 20;
            }
        }
    }
    cr_assert_eq(found, 12);
    cr_assert_geq(high, 7, "%zu of 12 from the 20 tokens with 84 %% of the weight", high);
    rig_release(&rig);
}

POOL_TEST(generations, opening_ends_open_and_moves_in_small_steps) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 2);
    rig_step(&rig, 0);
    grow(&rig, 15, 1);
    const struct cam_generation *g = cam_peer_generation(rig.ff, 1);
    struct cam_peer_opening opening = {0};
    cam_peer_open_step(rig.ff, &opening);
    cr_assert_eq(g->state, CAM_GENERATION_CLOSED, "nothing was measured yet");
    cr_assert_eq(opening.n_opening, 1);
    double before = 0, most = 0;
    int steps = 0;
    for (; steps < 400 && g->state != CAM_GENERATION_OPEN; steps++) {
        rig_step(&rig, (uint64_t)steps + 2);
        cam_peer_open_step(rig.ff, &opening);
        double share = fmax(g->pick_share, g->gate_share);
        most = fmax(most, share - before);
        before = share;
        cr_assert(g->bias <= 0);
    }
    cr_assert_eq(g->state, CAM_GENERATION_OPEN);
    cr_assert_eq(g->bias, 0);
    cr_assert_eq(opening.n_opening, 0);
    /* The batches differ, so shares are noisy; asked for were steps of 0.02. */
    cr_assert_lt(most, 0.08, "a step of %g", most);
    cr_assert_gt(before, 0.05, "new experts are in use: %g", before);
    rig_release(&rig);
}

POOL_TEST(generations, a_dropped_step_does_not_open_further) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 1);
    rig_step(&rig, 0);
    grow(&rig, 5, 1);
    rig_step(&rig, 1);
    cam_peer_open_step(rig.ff, NULL);
    double bias = cam_peer_generation(rig.ff, 1)->bias;
    rig_forward(&rig, 1);
    rig_backward(&rig); /* and no update */
    cam_peer_open_step(rig.ff, NULL);
    cr_assert_eq(cam_peer_generation(rig.ff, 1)->bias, bias);
    rig_release(&rig);
}

POOL_TEST(generations, T10_frozen_rows_are_bit_identical_after_noisy_steps) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 2);
    rig_step(&rig, 0);
    grow(&rig, 15, 1);
    for (int i = 0; i < 4; i++) {
        rig_step(&rig, (uint64_t)i);
        cam_peer_open_step(rig.ff, NULL);
    }
    cr_assert_eq(cam_peer_freeze(rig.ff, 1, CAM_PEER_SUBKEYS, 1), CAM_ERR_CONFIG);
    RIG_OK(cam_peer_freeze(rig.ff, 0, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, 1));
    struct cam_hash old, young, hash;
    RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, &old));
    RIG_OK(cam_peer_generation_hash(rig.ff, 1, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, &young));
    for (uint64_t step = 0; step < 20; step++)
        rig_step(&rig, step + 10);
    RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, &hash));
    cr_assert(cam_hash_equal(hash, old));
    RIG_OK(cam_peer_generation_hash(rig.ff, 1, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, &hash));
    cr_assert(!cam_hash_equal(hash, young));
    RIG_OK(cam_peer_freeze(rig.ff, 0, CAM_PEER_EXPERTS, 0));
    rig_step(&rig, 40);
    RIG_OK(cam_peer_generation_hash(rig.ff, 0, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, &hash));
    cr_assert(!cam_hash_equal(hash, old));
    rig_release(&rig);
}

POOL_TEST(generations, one_thread_and_two_give_the_same_bits) {
    struct rig rig[2];
    struct rig_state state[2];
    cam_real *dx[2];
    for (int i = 0; i < 2; i++) {
        rig_init(&rig[i], kind, &life_config, TOKENS, i + 1);
        for (uint64_t step = 0; step < 6; step++) {
            rig_step(&rig[i], step);
            if (step == 1)
                grow(&rig[i], 9, step);
            cam_peer_open_step(rig[i].ff, NULL);
        }
        state[i] = rig_save(&rig[i]);
        dx[i] = rig[i].dx;
    }
    cr_assert(rig_same(&state[0], &state[1]));
    cr_assert_eq(memcmp(dx[0], dx[1], TOKENS * 32 * sizeof(cam_real)), 0);
    for (int i = 0; i < 2; i++) {
        free(state[i].bytes);
        rig_release(&rig[i]);
    }
}

/* Resume equals never having stopped, in the middle of an opening and with frozen parts. */
POOL_TEST(generations, saving_and_restoring_equals_going_on) {
    struct rig a, b;
    rig_init(&a, kind, &life_config, TOKENS, 2);
    rig_step(&a, 0);
    grow(&a, 20, 1);
    for (uint64_t step = 1; step < 5; step++) {
        rig_step(&a, step);
        cam_peer_open_step(a.ff, NULL);
    }
    RIG_OK(cam_peer_freeze(a.ff, 0, CAM_PEER_EXPERTS | CAM_PEER_SUBKEYS, 1));
    struct rig_state saved = rig_save(&a);
    rig_init(&b, kind, &life_config, TOKENS, 2);
    RIG_OK(cam_peer_restore_shape(b.ff, cam_peer_subkeys(a.ff)));
    rig_load(&b, &saved);
    for (uint64_t step = 5; step < 9; step++) {
        rig_step(&a, step);
        cam_peer_open_step(a.ff, NULL);
        rig_step(&b, step);
        cam_peer_open_step(b.ff, NULL);
    }
    struct rig_state after_a = rig_save(&a), after_b = rig_save(&b);
    cr_assert(!rig_same(&saved, &after_a));
    cr_assert(rig_same(&after_a, &after_b));
    free(saved.bytes);
    free(after_a.bytes);
    free(after_b.bytes);
    rig_release(&a);
    rig_release(&b);
}

POOL_TEST(generations, S04_state_of_another_shape_is_refused) {
    struct rig a, b;
    rig_init(&a, kind, &life_config, TOKENS, 1);
    rig_step(&a, 0);
    grow(&a, 20, 1);
    struct rig_state saved = rig_save(&a);
    rig_init(&b, kind, &life_config, TOKENS, 1);
    saved.load = 1;
    cr_assert_eq(b.ff->ops->visit_state(b.ff, rig_visit, &saved), CAM_ERR_DATA);
    cr_assert_eq(cam_peer_restore_shape(b.ff, 151), CAM_ERR_CONFIG);
    free(saved.bytes);
    rig_release(&a);
    rig_release(&b);
}

POOL_TEST(generations, usage_adds_up) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 2);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    struct cam_peer_usage all, old, young;
    cam_peer_usage(rig.ff, CAM_ALL_GENERATIONS, &all);
    cr_assert(all.picks == 0 && all.used == 0 && all.dead == 3600);
    rig_step(&rig, 0);
    grow(&rig, 5, 0);
    peer->generation[1].bias = 0;
    peer->generation[1].state = CAM_GENERATION_OPEN;
    cam_peer_derive(peer);
    rig_step(&rig, 1);
    cam_peer_usage(rig.ff, CAM_ALL_GENERATIONS, &all);
    cam_peer_usage(rig.ff, 0, &old);
    cam_peer_usage(rig.ff, 1, &young);
    cr_assert_eq(all.picks, 2 * TOKENS * 4 * 8);
    cr_assert_float_eq(all.gate_mass, 2 * TOKENS * 4, 0.1);
    cr_assert_eq(old.picks + young.picks, all.picks);
    cr_assert_eq(old.used + young.used, all.used);
    cr_assert_eq(old.n_experts + young.n_experts, 65 * 65);
    cr_assert(young.picks > 0 && all.unevenness > 0);
    uint32_t counts[65 * 65], most = 0;
    for (uint64_t e = 0; e < 65 * 65; e++)
        counts[e] = cam_pool_usage(&peer->pool, e)->picks;
    double hub = 0;
    for (int i = 0; i < 43; i++) { /* 1 % of 4,225, rounded up */
        uint32_t *at = counts;
        for (uint64_t e = 0; e < 65 * 65; e++)
            at = counts[e] > *at ? &counts[e] : at;
        most = *at > most ? *at : most;
        hub += *at;
        *at = 0;
    }
    cr_assert_float_eq(all.hub_share, hub / (double)all.picks, 1e-12);
    uint64_t picks[CAM_MAX_GENERATIONS];
    double mass[CAM_MAX_GENERATIONS];
    cam_peer_last_picks(rig.ff, picks, mass);
    cr_assert_eq(picks[0] + picks[1], TOKENS * 4 * 8);
    cam_peer_usage_reset(rig.ff);
    cam_peer_usage(rig.ff, CAM_ALL_GENERATIONS, &all);
    cr_assert(all.picks == 0 && all.gate_mass == 0);
    rig_release(&rig);
}

POOL_TEST(generations, evenly_used_experts_have_no_unevenness) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    for (uint64_t e = 0; e < 3600; e++)
        *cam_pool_usage(&peer->pool, e) = (struct cam_expert_usage){.picks = 3, .gate_mass = 0.5f};
    struct cam_peer_usage usage;
    cam_peer_usage(rig.ff, CAM_ALL_GENERATIONS, &usage);
    cr_assert_float_eq(usage.unevenness, 0, 1e-9);
    cr_assert_float_eq(usage.hub_share, 0.01, 1e-9);
    for (uint64_t e = 1; e < 3600; e++)
        *cam_pool_usage(&peer->pool, e) = (struct cam_expert_usage){0};
    cam_peer_usage(rig.ff, CAM_ALL_GENERATIONS, &usage);
    cr_assert_float_eq(usage.unevenness, log(3600), 1e-9);
    cr_assert_float_eq(usage.hub_share, 1, 1e-9);
    rig_release(&rig);
}

/* |e(x)| of a pick in units of |v|. */
static double activation(const struct cam_peer *peer, size_t pick) {
    if (!peer->last.h)
        return 1;
    double h = (double)peer->last.h[pick];
    return fabs(0.5 * h * (1 + tanh(sqrt(2 / M_PI) * (h + 0.044715 * h * h * h))));
}

POOL_TEST(generations, top_experts_are_those_with_the_largest_contribution) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    for (int training = 0; training < 2; training++) {
        rig_forward(&rig, training);
        static double weight[3600];
        memset(weight, 0, sizeof weight);
        for (size_t i = 10 * peer->n_picks; i < 90 * peer->n_picks; i++)
            weight[peer->last.expert[i]] += (double)peer->last.gate[i] * activation(peer, i);
        struct cam_peer_credit credit[25];
        cr_assert_eq(cam_peer_top_experts(rig.ff, 10, 90, 25, credit), 25);
        for (int i = 0; i < 25; i++) {
            size_t best = 0;
            for (size_t e = 0; e < 3600; e++)
                best = weight[e] > weight[best] ? e : best;
            cr_assert_eq(credit[i].expert, best);
            cr_assert_float_eq(credit[i].weight, weight[best], 1e-4);
            weight[best] = 0;
        }
        cr_assert_eq(cam_peer_top_experts(rig.ff, 299, 300, 25, credit), 25);
        cr_assert_eq(cam_peer_top_experts(rig.ff, 300, 400, 25, credit), 0);
    }
    rig_release(&rig);
}

POOL_TEST(generations, a_recycled_expert_is_a_new_incarnation_without_output) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 1);
    rig_step(&rig, 0);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    uint64_t expert = peer->last.expert[0];
    RIG_OK(cam_peer_recycle(rig.ff, expert));
    const struct cam_expert_state *state = cam_pool_state(&peer->pool, expert);
    cr_assert(state->incarnation == 1 && state->updates == 0 && state->second[0] == 0);
    const cam_real *output = cam_pool_row(&peer->pool, expert) + peer->pool.record - 32;
    for (size_t i = 0; i < 32; i++)
        cr_assert_eq(output[i], 0);
    RIG_OK(cam_peer_freeze(rig.ff, 0, CAM_PEER_EXPERTS, 1));
    cr_assert_eq(cam_peer_recycle(rig.ff, expert), CAM_ERR_CONFIG);
    cr_assert_eq(cam_peer_recycle(rig.ff, 3600), CAM_ERR_USAGE);
    rig_release(&rig);
}

/* T02: nothing of the state moves, and picks are experts that exist. */
POOL_TEST(generations, T02_not_a_number_in_the_input_is_survived) {
    struct rig rig;
    rig_init(&rig, kind, &life_config, TOKENS, 2);
    struct rig_state before = rig_save(&rig);
    rig.x[40] = (cam_real)NAN;
    rig.x[4000] = (cam_real)INFINITY;
    rig_forward(&rig, 1);
    rig_backward(&rig);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    for (size_t i = 0; i < TOKENS * peer->n_picks; i++)
        cr_assert_lt(peer->last.expert[i], 3600);
    struct rig_state after = rig_save(&rig);
    cr_assert(rig_same(&before, &after));
    free(before.bytes);
    free(after.bytes);
    rig_release(&rig);
}

POOL_TEST(generations, settings_out_of_range_are_refused) {
    static const struct cam_ff_config bad[] = {
        {.width = 30, .heads = 1, .top_k = 1, .key_width = 16, .subkeys = 4, .subkeys_capacity = 4},
        {.width = 32,
         .heads = 1,
         .top_k = 65,
         .key_width = 16,
         .subkeys = 70,
         .subkeys_capacity = 70},
        {.width = 32, .heads = 0, .top_k = 1, .key_width = 16, .subkeys = 4, .subkeys_capacity = 4},
        {.width = 32, .heads = 1, .top_k = 8, .key_width = 16, .subkeys = 4, .subkeys_capacity = 9},
        {.width = 32, .heads = 1, .top_k = 1, .key_width = 16, .subkeys = 9, .subkeys_capacity = 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cam_params params;
        struct cam_ff *ff = NULL;
        cam_params_init(&params);
        cr_assert_eq(cam_ff_find(kind)->create(&bad[i], &params, &ff), CAM_ERR_CONFIG, "case %zu",
                     i);
        cr_assert_null(ff);
        cam_params_release(&params);
    }
}
