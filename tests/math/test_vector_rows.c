/* Row kernels against plain loops in double. */
#include "base/rng.h"
#include "math/vector_rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 23, MAX_N = 336 };

static cam_real row_data[ROWS + CAM_ROWS_AHEAD][MAX_N] __attribute__((aligned(64)));
static const cam_real *row[ROWS + CAM_ROWS_AHEAD];
static cam_real x[MAX_N] __attribute__((aligned(64))), coef[ROWS];

static void draw(cam_real *to, size_t n, uint64_t step, double scale) {
    for (size_t i = 0; i < n; i++) {
        float normal[4];
        cam_random_normal4(cam_random_at(3, CAM_PURPOSE_TEST, step, (uint32_t)i), normal);
        to[i] = (cam_real)(normal[0] * scale);
    }
}

static void set_up(void) {
    for (size_t i = 0; i < ROWS + CAM_ROWS_AHEAD; i++) {
        draw(row_data[i], MAX_N, i, 1);
        row[i] = row_data[i];
    }
    draw(x, MAX_N, 100, 1);
    draw(coef, ROWS, 101, 1);
}

static const size_t lengths[] = {16, 32, 48, 64, 80, 128, 256, 304, 320};
#define EACH_LENGTH(n)                                                                             \
    for (size_t i_n = 0, n; i_n < sizeof lengths / sizeof *lengths && (n = lengths[i_n], 1); i_n++)

TestSuite(vector_rows, .init = set_up);

Test(vector_rows, dots_and_sums_agree_with_plain_loops) {
    EACH_LENGTH(n) {
        cam_real dot[ROWS], y[MAX_N];
        cam_rows_dot(x, row, ROWS, 16, n, 64, dot);
        for (size_t i = 0; i < ROWS; i++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += (double)x[k] * (double)row[i][16 + k];
            cr_assert_float_eq((double)dot[i], sum, 1e-4);
        }
        for (int add = 0; add < 2; add++) {
            memcpy(y, x, sizeof y);
            cam_rows_sum(row, coef, ROWS, 16, n, add, y);
            for (size_t k = 0; k < n; k++) {
                double sum = add ? (double)x[k] : 0;
                for (size_t i = 0; i < ROWS; i++)
                    sum += (double)coef[i] * (double)row[i][16 + k];
                cr_assert_float_eq((double)y[k], sum, 1e-4);
            }
        }
        cr_assert_float_eq((double)cam_row_sum_squares(x, n),
                           (double)cam_row_sum_squares(x, n - 16) +
                               (double)cam_row_sum_squares(x + n - 16, 16),
                           1e-3);
    }
}

/* Rows given in two portions sum to the same bits as in one: update relies on it. */
Test(vector_rows, a_sum_can_be_continued) {
    EACH_LENGTH(n) {
        cam_real once[MAX_N], twice[MAX_N];
        cam_rows_sum(row, coef, ROWS, 0, n, 0, once);
        cam_rows_sum(row, coef, 9, 0, n, 0, twice);
        cam_rows_sum(row + 9, coef + 9, ROWS - 9, 0, n, 1, twice);
        cr_assert_eq(memcmp(once, twice, n * sizeof *once), 0);
    }
}

Test(vector_rows, rows_that_repeat_are_scattered_to_in_order) {
    cam_real *to[] = {row_data[0], row_data[1], row_data[0]}, before[2][32];
    memcpy(before[0], row_data[0], sizeof before[0]);
    memcpy(before[1], row_data[1], sizeof before[1]);
    cam_rows_scatter(to, coef, 3, x, 32);
    for (size_t k = 0; k < 32; k++) {
        cr_assert_eq(row_data[0][k], (before[0][k] + coef[0] * x[k]) + coef[2] * x[k]);
        cr_assert_eq(row_data[1][k], before[1][k] + coef[1] * x[k]);
    }
}

Test(vector_rows, normalised_rows_have_mean_zero_and_variance_one) {
    EACH_LENGTH(n) {
        cam_real y[MAX_N];
        double mean = 0, square = 0;
        memcpy(y, x, sizeof y);
        cam_real factor = cam_row_normalise(y, n, (cam_real)1e-6);
        for (size_t k = 0; k < n; k++) {
            mean += (double)y[k] / (double)n;
            square += (double)y[k] * (double)y[k] / (double)n;
        }
        cr_assert_float_eq(mean, 0, 1e-5);
        cr_assert_float_eq(square, 1, 1e-4);
        cr_assert_float_eq((double)(y[0] - y[1]), (double)(factor * (x[0] - x[1])), 1e-5);
    }
}

Test(vector_rows, exp_is_right_over_the_whole_range) {
    cam_real y[32];
    double low = sizeof(cam_real) == 8 ? -700 : -87, high = -low;
    for (double at = low; at < high; at += 0.37) {
        for (int i = 0; i < 32; i++)
            y[i] = (cam_real)(at + i * 0.01);
        cam_real from[32];
        memcpy(from, y, sizeof y);
        cam_row_exp(y, 32);
        for (int i = 0; i < 32; i++) {
            double expected = exp((double)from[i]);
            cr_assert_float_eq((double)y[i] / expected, 1, sizeof(cam_real) == 8 ? 1e-14 : 4e-7);
        }
    }
    cam_real far[16] = {-(cam_real)INFINITY, -10000, (cam_real)NAN, 10000};
    cam_row_exp(far, 16);
    cr_assert(far[0] < 1e-37 && far[1] < 1e-37 && isnan(far[2]) && far[3] > 1e38);
    cr_assert_eq(far[4], 1);
}

Test(vector_rows, gelu_and_its_slope) {
    cam_real h[16], a[16], a2[16], slope[16];
    for (int i = 0; i < 16; i++)
        h[i] = (cam_real)(i - 8) * (cam_real)0.7;
    h[15] = 50;
    h[0] = -50;
    cam_row_gelu(h, 16, a);
    cam_row_gelu_slope(h, 16, a2, slope);
    for (int i = 0; i < 16; i++) {
        double z = (double)h[i], t = tanh(sqrt(2 / M_PI) * (z + 0.044715 * z * z * z));
        double dt = (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * z * z);
        cr_assert_eq(a[i], a2[i]);
        cr_assert_float_eq((double)a[i], 0.5 * z * (1 + t), 2e-6);
        cr_assert_float_eq((double)slope[i], 0.5 * (1 + t) + 0.5 * z * dt, 2e-6);
    }
}
