/* Rows of bfloat16: reading, rounding, and the kernels over them against the same in cam_real. */
#include "base/rng.h"
#include "math/vector_bf16.h"
#include "math/vector_rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { N = 40 * CAM_LANES, ROWS = 9 };

static cam_real numbers[ROWS][N];
static cam_bf16 rows[ROWS][N];

static void draw(void) {
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < N; i += 4) {
            float normal[4];
            cam_random_normal4(cam_random_at(8, CAM_PURPOSE_TEST, r, (uint32_t)i), normal);
            for (size_t k = 0; k < 4; k++)
                numbers[r][i + k] = (cam_real)normal[k];
        }
}

TestSuite(vector_bf16, .init = draw);

static cam_real from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return (cam_real)x;
}

Test(vector_bf16, numbers_are_written_to_the_nearest) {
    static const uint32_t cases[][2] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81},
        {0xbf807fff, 0xbf80}, {0x7f7fffff, 0x7f80}, {0xff800000, 0xff80}, {0x80000000, 0x8000}};
    cam_real x[CAM_LANES] = {0};
    cam_bf16 y[CAM_LANES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        x[0] = from_bits(cases[i][0]);
        cam_bf16_write(x, CAM_LANES, y);
        cr_assert_eq(y[0], cases[i][1], "%08x became %04x", cases[i][0], y[0]);
    }
}

Test(vector_bf16, what_needs_no_rounding_is_the_same_after_any_draw) {
    cam_real back[N];
    cam_bf16 again[N];
    cam_bf16_write(numbers[0], N, rows[0]);
    cam_bf16_read(rows[0], N, back);
    for (uint32_t key = 0; key < 50; key++) {
        cam_bf16_write_by_chance(back, N, key, 0, again);
        cr_assert_eq(memcmp(again, rows[0], sizeof again), 0);
    }
    back[3] = (cam_real)NAN;
    back[4] = (cam_real)INFINITY;
    back[5] = from_bits(0x7f800001); /* none, by its lower half alone */
    cam_bf16_write_by_chance(back, N, 7, 0, again);
    cam_bf16_read(again, N, back);
    cr_assert(isnan(back[3]) && back[4] == (cam_real)INFINITY && isnan(back[5]));
}

/* A quarter of the way from one number to the next goes up a quarter of the time, at every place.
 */
Test(vector_bf16, the_mean_of_many_draws_is_the_number) {
    enum { DRAWS = 20000 };
    cam_real x[3 * CAM_LANES], sum[3 * CAM_LANES] = {0};
    cam_bf16 y[3 * CAM_LANES];
    for (size_t i = 0; i < 3 * CAM_LANES; i++)
        x[i] = from_bits(i % 2 ? 0x3f804000 : 0xbf80c000);
    for (uint32_t d = 0; d < DRAWS; d++) {
        uint32_t key = cam_random_at(1, CAM_PURPOSE_TEST, d, 0).word[0];
        cam_bf16_write_by_chance(x, 3 * CAM_LANES, key, 0, y);
        for (size_t i = 0; i < 3 * CAM_LANES; i++) {
            cr_assert(y[i] == (i % 2 ? 0x3f80 : 0xbf80) || y[i] == (i % 2 ? 0x3f81 : 0xbf81));
            sum[i] += y[i] & 1;
        }
    }
    for (size_t i = 0; i < 3 * CAM_LANES; i++)
        cr_assert_float_eq((double)sum[i] / DRAWS, i % 2 ? 0.25 : 0.75, 0.02, "%zu: %g", i,
                           (double)sum[i] / DRAWS);
}

/* The same bits as in cam_real over the same numbers: for sums; dots fold otherwise. */
Test(vector_bf16, kernels_agree_with_those_over_reals) {
    static const size_t lengths[] = {CAM_LANES, 3 * CAM_LANES, 16 * CAM_LANES, 37 * CAM_LANES};
    cam_real widened[ROWS][N], coef[ROWS], y[N], z[N], dot[ROWS], expected[ROWS];
    const cam_real *at[ROWS + CAM_ROWS_AHEAD], *wide[ROWS + CAM_ROWS_AHEAD];
    for (size_t r = 0; r < ROWS + CAM_ROWS_AHEAD; r++) {
        size_t row = r < ROWS ? r : ROWS - 1;
        cam_bf16_write(numbers[row], N, rows[row]);
        cam_bf16_read(rows[row], N, widened[row]);
        at[r] = (const void *)rows[row];
        wide[r] = widened[row];
    }
    for (size_t r = 0; r < ROWS; r++)
        coef[r] = numbers[r][1];
    for (size_t i = 0; i < 4; i++) {
        size_t n = lengths[i], offset = i % 2 ? 2 * CAM_LANES : 0;
        cam_bf16_rows_dot(numbers[0], at, ROWS, offset, n, 64, dot);
        cam_rows_dot(numbers[0], wide, ROWS, offset, n, 64, expected);
        for (size_t r = 0; r < ROWS; r++)
            cr_assert_float_eq((double)dot[r], (double)expected[r], 1e-4);
        for (int add = 0; add < 2; add++) {
            memcpy(y, numbers[2], sizeof y);
            memcpy(z, numbers[2], sizeof z);
            cam_bf16_rows_sum(at, coef, ROWS, offset, n, add, y);
            cam_rows_sum(wide, coef, ROWS, offset, n, add, z);
            cr_assert_eq(memcmp(y, z, sizeof y), 0);
        }
    }
}

Test(vector_bf16, a_sum_in_place_has_the_bits_of_one_by_a_copy) {
    cam_real copy[N];
    cam_bf16 in_place[N], written[N];
    cam_bf16_write(numbers[0], N, in_place);
    cam_bf16_read(in_place, N, copy);
    cam_row_add((cam_real)0.001, numbers[1], N - 5 * CAM_LANES, copy);
    cam_bf16_write_by_chance(copy, N - 5 * CAM_LANES, 77, 32, written);
    cam_bf16_row_add((cam_real)0.001, numbers[1], N - 5 * CAM_LANES, 77, 32, in_place);
    cr_assert_eq(memcmp(in_place, written, (N - 5 * CAM_LANES) * sizeof *written), 0);
}
