/* Product-key retrieval against ranking all S*S pairs. */
#include "base/rng.h"
#include "model/peer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { MAX_S = 80 };

struct pair_score {
    cam_real sum;
    uint64_t id;
};

static int by_order(const void *x, const void *y) {
    const struct pair_score *a = x, *b = y;
    if (a->sum != b->sum)
        return a->sum > b->sum ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void check(const cam_real *a, const cam_real *b, size_t subkeys, size_t k) {
    static struct pair_score all[MAX_S * MAX_S];
    for (size_t i = 0; i < subkeys; i++)
        for (size_t j = 0; j < subkeys; j++)
            all[i * subkeys + j] = (struct pair_score){a[i] + b[j], cam_expert_of_pair(i, j)};
    qsort(all, subkeys * subkeys, sizeof *all, by_order);
    uint32_t list0[MAX_S], list1[MAX_S], pair[CAM_PEER_MAX_TOP_K];
    cam_real score[CAM_PEER_MAX_TOP_K];
    cam_peer_product_top_k(a, b, subkeys, k, (uint32_t *const[2]){list0, list1}, pair, score);
    for (size_t m = 0; m < k; m++) {
        uint64_t id = cam_expert_of_pair(pair[m] >> 16, pair[m] & 0xffff);
        cr_assert(score[m] == all[m].sum && id == all[m].id,
                  "S %zu K %zu place %zu: expert %zu with %.9g, expected %zu with %.9g", subkeys, k,
                  m, (size_t)id, (double)score[m], (size_t)all[m].id, (double)all[m].sum);
    }
}

/* KIND 0: all different; 1: few levels, exact ties everywhere; 2: terms whose sums round to the
 * same number although the terms differ; 3: closed sub-keys at the end. */
static void draw(cam_real *score, size_t n, uint64_t step, int kind) {
    for (size_t i = 0; i < n; i++) {
        struct cam_random random = cam_random_at(2, CAM_PURPOSE_TEST, step, (uint32_t)i);
        cam_real unit = (cam_real)cam_random_unit(random.word[0]);
        score[i] = unit;
        if (kind == 1)
            score[i] = (cam_real)cam_random_below(random, 4);
        if (kind == 2)
            score[i] = 1 + (cam_real)cam_random_below(random, 40) *
                               (sizeof(cam_real) == 8 ? (cam_real)0x1p-52 : (cam_real)0x1p-23);
        if (kind == 3 && i >= n * 3 / 4)
            score[i] = unit + (cam_real)CAM_PEER_CLOSED_BIAS;
    }
}

Test(retrieval, agrees_with_ranking_all_pairs) {
    static const size_t sizes[] = {1, 4, 16, 17, 40, 64, 80};
    static const size_t counts[] = {1, 2, 3, 8, 16, 32, 64};
    cam_real a[MAX_S], b[MAX_S];
    for (uint64_t round = 0; round < 6; round++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
                for (int kind = 0; kind < 4 && counts[c] <= sizes[s]; kind++) {
                    uint64_t step = ((round * 16 + s) * 16 + c) * 16 + (uint64_t)kind * 2;
                    draw(a, sizes[s], step, kind);
                    draw(b, sizes[s], step + 1, kind);
                    check(a, b, sizes[s], counts[c]);
                }
}

Test(retrieval, all_equal_scores_give_the_lowest_ids) {
    cam_real a[MAX_S] = {0}, b[MAX_S] = {0};
    check(a, b, 80, 16);
    check(a, b, 80, 64);
}

Test(retrieval, T02_not_a_number_still_gives_experts_that_exist) {
    cam_real a[64], b[64], score[16];
    uint32_t list0[64], list1[64], pair[16];
    for (int i = 0; i < 64; i++)
        a[i] = b[i] = (cam_real)NAN;
    cam_peer_product_top_k(a, b, 64, 16, (uint32_t *const[2]){list0, list1}, pair, score);
    for (int m = 0; m < 16; m++)
        cr_assert(pair[m] >> 16 < 64 && (pair[m] & 0xffff) < 64);
}
