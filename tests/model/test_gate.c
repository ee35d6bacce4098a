/* The sparse-update gate against its definition in plain loops, in double. */
#include "ff_rig.h"

#define ALLOWED 9

static struct cam_update update_of(uint64_t step, size_t gate_experts) {
    return (struct cam_update){.lr = 1e-2,
                               .grad_scale = 1.0 / 64,
                               .beta2 = 0.99,
                               .step = step,
                               .gate_experts = gate_experts};
}

/* One step on inputs drawn for STEP; dense parameters stay. */
static void gated_step(struct rig *rig, uint64_t step, size_t gate_experts) {
    rig_fill(rig->x, rig->n * rig->width, 2 * step + 2, 1);
    rig_fill(rig->dy, rig->n * rig->width, 2 * step + 3, 1);
    rig_forward(rig, 1);
    rig_backward(rig);
    struct cam_update update = update_of(step, gate_experts);
    rig_update(rig, &update);
}

/* How often the last pass picked EXPERT. */
static uint32_t picks_of(const struct cam_peer *peer, uint64_t expert) {
    uint32_t n = 0;
    for (size_t t = 0; t < peer->last.n_tokens; t++)
        for (size_t i = 0; i < peer->ff.config.heads * peer->ff.config.top_k; i++)
            n += peer->last.expert[t * peer->n_picks + i] == expert;
    return n;
}

/* Every row that moved scores at least what every picked row that stayed does, equal ones by id;
 * and as many moved as may. */
POOL_TEST(gate, moves_the_first_rows_by_tf_idf_and_no_other) {
    struct rig rig;
    rig_init(&rig, kind, &rig_config, 7, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    uint64_t n_experts = cam_peer_n_experts(rig.ff);
    size_t record = peer->pool.record;
    uint32_t *steps = calloc(n_experts, sizeof *steps); /* that picked each, our own count */
    double *score = calloc(n_experts, sizeof *score);
    int *moved = calloc(n_experts, sizeof *moved);
    cam_real *rows = malloc(n_experts * record * sizeof *rows);
    for (uint64_t step = 1; step <= 12; step++) {
        size_t n_moved = 0, n_picked = 0;
        memcpy(rows, cam_pool_row(&peer->pool, 0), n_experts * record * sizeof *rows);
        gated_step(&rig, step, ALLOWED);
        for (uint64_t e = 0; e < n_experts; e++) {
            uint32_t n = picks_of(peer, e);
            score[e] = n ? n * log((double)step / (steps[e] + 1.0)) : -1;
            moved[e] =
                memcmp(rows + e * record, cam_pool_row(&peer->pool, e), record * sizeof *rows) != 0;
            n_moved += (size_t)moved[e];
            n_picked += n > 0;
            steps[e] += n > 0;
            cr_assert_eq(cam_pool_usage(&peer->pool, e)->steps, steps[e]);
        }
        cr_assert_gt(n_picked, ALLOWED);
        cr_assert_eq(n_moved, ALLOWED);
        for (uint64_t a = 0; a < n_experts; a++)
            for (uint64_t b = 0; b < n_experts; b++)
                if (moved[a] && !moved[b] && score[b] >= 0)
                    cr_assert(score[a] > score[b] || (score[a] == score[b] && a < b),
                              "step %d: %d (%g) moved, %d (%g) did not", (int)step, (int)a,
                              score[a], (int)b, score[b]);
    }
    free(steps);
    free(score);
    free(moved);
    free(rows);
    rig_release(&rig);
}

/* Rows of a pool as bytes. */
static void rows_after(const char *kind, int reference, int n_threads, size_t gate_experts,
                       cam_real *rows) {
    struct cam_ff_config config = rig_config;
    struct rig rig;
    config.reference = reference;
    rig_init(&rig, kind, &config, 150, n_threads);
    for (uint64_t step = 1; step <= 5; step++)
        gated_step(&rig, step, gate_experts);
    struct cam_pool *pool = &cam_peer_of(rig.ff)->pool;
    memcpy(rows, cam_pool_row(pool, 0), (size_t)pool->n_experts * pool->record * sizeof *rows);
    rig_release(&rig);
}

enum { MAX_NUMBERS = 12 * 12 * 64 };

POOL_TEST(gate, gives_the_same_rows_with_two_threads_and_in_plain_loops) {
    cam_real *one = calloc(MAX_NUMBERS, sizeof *one), *other = calloc(MAX_NUMBERS, sizeof *one);
    rows_after(kind, 0, 1, 20, one);
    rows_after(kind, 0, 2, 20, other);
    cr_assert_eq(memcmp(one, other, MAX_NUMBERS * sizeof *one), 0);
    rows_after(kind, 1, 1, 20, other);
    for (size_t i = 0; i < MAX_NUMBERS; i++)
        cr_assert_float_eq((double)one[i], (double)other[i], 1e-9, "number %d", (int)i);
    free(one);
    free(other);
}

POOL_TEST(gate, that_lets_all_pass_changes_no_bit) {
    cam_real *open = calloc(MAX_NUMBERS, sizeof *open), *wide = calloc(MAX_NUMBERS, sizeof *wide);
    rows_after(kind, 0, 1, 0, open);
    rows_after(kind, 0, 1, 144, wide);
    cr_assert_eq(memcmp(open, wide, MAX_NUMBERS * sizeof *open), 0);
    free(open);
    free(wide);
}

/* Frozen rows take no room in the gate; a new incarnation was picked by no step. */
POOL_TEST(gate, counts_thawed_rows_only_and_forgets_with_an_incarnation) {
    struct rig rig;
    rig_init(&rig, kind, &rig_config, 7, 1);
    struct cam_peer *peer = cam_peer_of(rig.ff);
    struct cam_peer_growth growth = {.subkeys = 8, .seed = 3, .step = 1};
    rig_step(&rig, 1);
    RIG_OK(cam_peer_grow(rig.ff, &growth, NULL));
    peer->generation[1].state = CAM_GENERATION_OPEN;
    peer->generation[1].bias = 0;
    cam_peer_derive(peer);
    RIG_OK(cam_peer_freeze(rig.ff, 0, CAM_PEER_EXPERTS, 1));
    size_t n_moved = 0;
    for (uint64_t e = 144; e < 400; e++)
        n_moved += cam_pool_state(&peer->pool, e)->updates;
    cr_assert_eq(n_moved, 0);
    gated_step(&rig, 2, 3);
    for (uint64_t e = 0; e < 400; e++)
        n_moved += e >= 144 && cam_pool_state(&peer->pool, e)->updates > 0;
    cr_assert_eq(n_moved, 3);
    uint64_t expert = 399;
    while (cam_pool_usage(&peer->pool, expert)->steps == 0)
        expert--;
    RIG_OK(cam_peer_recycle(rig.ff, expert));
    cr_assert_eq(cam_pool_usage(&peer->pool, expert)->steps, 0);
    rig_release(&rig);
}

/* Selection against sorting, with many equal scores. */
static int by_order(const void *a, const void *b) {
    const struct cam_peer_candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->expert < y->expert ? -1 : x->expert > y->expert;
}

Test(gate, selection_finds_what_sorting_does) {
    enum { MOST = 200 };
    struct cam_peer_candidate list[MOST], sorted[MOST];
    for (uint64_t draw = 0; draw < 300; draw++) {
        size_t n = 1 + cam_random_at(1, CAM_PURPOSE_TEST, draw, 0).word[0] % MOST;
        for (size_t i = 0; i < n; i++)
            list[i] = (struct cam_peer_candidate){
                cam_random_at(2, CAM_PURPOSE_TEST, draw, (uint32_t)i).word[0] % (1 + draw % 40), i};
        memcpy(sorted, list, sizeof list);
        qsort(sorted, n, sizeof *sorted, by_order);
        size_t k = 1 + cam_random_at(3, CAM_PURPOSE_TEST, draw, 0).word[0] % n;
        struct cam_peer_candidate last = cam_peer_gate_last(list, n, k);
        cr_assert_eq(last.expert, sorted[k - 1].expert);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(cam_peer_gate_passes(&last, sorted[i].expert, sorted[i].score), i < k);
    }
}
