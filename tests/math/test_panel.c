/* Products with packed panels against plain loops in double. */
#include "base/rng.h"
#include "math/panel.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { MAX_M = 37, MAX_N = 130, MAX_K = 64, LDA = MAX_K + 16, LDC = 192 };

static cam_real a[MAX_M * LDA], set[MAX_N * MAX_K], c[MAX_M * LDC];
static cam_real packed[LDC * MAX_K] __attribute__((aligned(64)));

static void draw(cam_real *to, size_t n, uint64_t step) {
    for (size_t i = 0; i < n; i++) {
        float normal[4];
        cam_random_normal4(cam_random_at(5, CAM_PURPOSE_TEST, step, (uint32_t)i), normal);
        to[i] = (cam_real)normal[0];
    }
}

static void pack(size_t n, size_t k) {
    for (size_t from = 0; from < n; from += CAM_PANEL_ROWS)
        cam_panel_pack(set, n, k, k, from, packed);
}

static void set_up(void) {
    draw(a, MAX_M * LDA, 1);
    draw(set, MAX_N * MAX_K, 2);
}

TestSuite(panel, .init = set_up);

Test(panel, products_agree_with_plain_loops) {
    static const size_t ms[] = {1, 3, 4, 9, 10, 14, 37}, ns[] = {1, 31, 32, 33, 64, 130},
                        ks[] = {1, 16, 64};
    for (size_t im = 0; im < 7; im++)
        for (size_t in = 0; in < 6; in++)
            for (size_t ik = 0; ik < 3; ik++) {
                size_t m = ms[im], n = ns[in], k = ks[ik];
                pack(n, k);
                memset(c, 0xff, sizeof c);
                cam_panel_product(a, m, k, LDA, packed, n, c, LDC);
                for (size_t i = 0; i < m; i++)
                    for (size_t j = 0; j < n; j++) {
                        double sum = 0;
                        for (size_t l = 0; l < k; l++)
                            sum += (double)a[i * LDA + l] * (double)set[j * k + l];
                        cr_assert_float_eq((double)c[i * LDC + j], sum, 1e-4, "%zu %zu %zu", i, j,
                                           k);
                    }
            }
}

Test(panel, a_result_does_not_depend_on_the_size_of_the_set_or_the_product) {
    static cam_real few[MAX_M * LDC];
    pack(MAX_N, MAX_K);
    cam_panel_product(a, MAX_M, MAX_K, LDA, packed, MAX_N, c, LDC);
    pack(17, MAX_K);
    for (size_t i = 0; i < MAX_M; i++)
        cam_panel_product(a + i * LDA, 1, MAX_K, LDA, packed, 17, few + i * LDC, LDC);
    for (size_t i = 0; i < MAX_M; i++)
        cr_assert_eq(memcmp(c + i * LDC, few + i * LDC, 17 * sizeof *c), 0, "row %zu", i);
}

Test(panel, rows_past_the_set_are_zero) {
    pack(33, MAX_K);
    cam_panel_product(a, 2, MAX_K, LDA, packed, 33, c, LDC);
    for (size_t j = 33; j < 64; j++)
        cr_assert_eq(c[j], 0);
}
