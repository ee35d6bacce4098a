#include "base/rng.h"
#include "math/topk.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* The definition: each number's rank is how many come before it. */
static void by_definition(const cam_real *score, size_t n, size_t k, cam_real *top,
                          uint32_t *index) {
    for (size_t i = 0; i < n; i++) {
        cam_real s = isnan(score[i]) ? -(cam_real)INFINITY : score[i];
        size_t rank = 0;
        for (size_t j = 0; j < n; j++) {
            cam_real other = isnan(score[j]) ? -(cam_real)INFINITY : score[j];
            rank += other > s || (other == s && j < i);
        }
        if (rank < k) {
            top[rank] = s;
            index[rank] = (uint32_t)i;
        }
    }
}

static void check(const cam_real *score, size_t n, size_t k) {
    cam_real expected[CAM_TOP_K_MAX], got[CAM_TOP_K_MAX];
    uint32_t expected_index[CAM_TOP_K_MAX], got_index[CAM_TOP_K_MAX];
    by_definition(score, n, k, expected, expected_index);
    for (int plain = 0; plain < 2; plain++) {
        (plain ? cam_top_k_plain : cam_top_k)(score, n, k, got, got_index);
        for (size_t i = 0; i < k; i++)
            cr_assert(got[i] == expected[i] && got_index[i] == expected_index[i],
                      "n %zu k %zu place %zu: %g at %u, expected %g at %u", n, k, i, (double)got[i],
                      got_index[i], (double)expected[i], expected_index[i]);
    }
}

/* LEVELS > 0: only so many different values, so that ties abound. */
static void draw(cam_real *score, size_t n, uint64_t step, uint64_t levels) {
    for (size_t i = 0; i < n; i++) {
        struct cam_random random = cam_random_at(1, CAM_PURPOSE_TEST, step, (uint32_t)i);
        score[i] = levels ? (cam_real)cam_random_below(random, levels)
                          : (cam_real)cam_random_unit(random.word[0]);
    }
}

Test(topk, agrees_with_the_definition) {
    static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 50, 63, 64, 65, 100, 128, 129, 333, 1000};
    static const size_t counts[] = {1, 2, 5, 16, 17, 24, 25, 33, 48, 49, 65, 128};
    static const uint64_t levels[] = {0, 1, 3, 40};
    cam_real score[1000];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            for (size_t l = 0; l < 4 && counts[c] <= sizes[s]; l++) {
                draw(score, sizes[s], s * 100 + c * 10 + l, levels[l]);
                check(score, sizes[s], counts[c]);
            }
}

Test(topk, infinities_and_not_a_number_have_their_place) {
    cam_real score[128];
    draw(score, 128, 5, 0);
    for (size_t i = 0; i < 128; i += 3)
        score[i] = (cam_real)NAN;
    score[4] = (cam_real)INFINITY;
    score[5] = -(cam_real)INFINITY;
    check(score, 128, 16);
    check(score, 128, 100);
    for (size_t i = 0; i < 128; i++)
        score[i] = (cam_real)NAN;
    check(score, 128, 17);
    for (size_t i = 0; i < 128; i++)
        score[i] = (cam_real)INFINITY;
    check(score, 128, 17);
}
