/* Products of operands rounded to bfloat16, by AMX or emulated (ctest runs both where it can),
 * against plain loops in double over rounded operands. */
#include "base/rng.h"
#include "math/blas.h"
#include "math/gemm.h"
#include "math/gemm_amx.h"
#include "math/gemm_rounded.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BF16 CAM_PRODUCTS_BF16

enum { MOST = 1200 * 160 };

static cam_real a[MOST], b[MOST], c[MOST], before[MOST], other[MOST];
static cam_real round_a[MOST], round_b[MOST];

static void draw(cam_real *to, uint64_t step) {
    for (size_t i = 0; i < MOST; i += 4) {
        float normal[4];
        cam_random_normal4(cam_random_at(7, CAM_PURPOSE_TEST, step, (uint32_t)i), normal);
        for (size_t j = 0; j < 4; j++)
            to[i + j] = (cam_real)normal[j];
    }
}

static void set_up(void) {
    cr_assert_eq(cam_blas_open(), CAM_OK);
    draw(a, 1);
    draw(b, 2);
    draw(before, 3);
    cam_round_to_bf16(a, MOST, round_a);
    cam_round_to_bf16(b, MOST, round_b);
}

TestSuite(bf16, .init = set_up);

static void need_amx(void) {
    if (!cam_amx_open())
        cr_skip_test("needs AMX with bf16 (and CAMBIUM_NO_AMX unset)");
}

static cam_real from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(cam_real x) {
    float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    return bits;
}

/* A product of one number with 1 shows how its factors are rounded. */
static cam_real through_product(cam_real x) {
    cam_real one = 1, y;
    cam_gemm(BF16, CAM_PLAIN, CAM_PLAIN, 1, 1, 1, 1, &x, 1, &one, 1, 0, &y, 1);
    return y;
}

Test(bf16, numbers_are_rounded_to_nearest_even) {
    static const uint32_t cases[][2] = {
        {0x3f800000, 0x3f800000}, /* 1 */
        {0x3f808000, 0x3f800000}, /* half way: to even, below */
        {0x3f818000, 0x3f820000}, /* and above */
        {0x3f808001, 0x3f810000}, {0x3f807fff, 0x3f800000},
        {0xbf818000, 0xbf820000}, {0x7f7fffff, 0x7f800000}, /* the largest number: infinity */
        {0x7f7f7fff, 0x7f7f0000}, {0x7f800000, 0x7f800000},
        {0xff800000, 0xff800000}, {0x00800000, 0x00800000}, /* the least that is not subnormal */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cam_real x = from_bits(cases[i][0]), rounded;
        cam_round_to_bf16(&x, 1, &rounded);
        cr_assert_eq(bits_of(rounded), cases[i][1], "%08x became %08x", cases[i][0],
                     bits_of(rounded));
        cr_assert_eq(bits_of(through_product(x)), cases[i][1], "%08x", cases[i][0]);
    }
}

Test(bf16, what_is_no_number_stays_none) {
    static const uint32_t cases[] = {0x7fc00000, 0x7f800001, 0xff80ffff, 0x7fffffff};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cam_real x = from_bits(cases[i]), rounded;
        cam_round_to_bf16(&x, 1, &rounded);
        cr_assert(isnan(rounded));
        cr_assert(isnan(through_product(x)));
    }
    a[3 * 100 + 70] = from_bits(0x7f800001);
    cam_gemm(BF16, CAM_PLAIN, CAM_PLAIN, 40, 50, 100, 1, a, 100, b, 50, 0, c, 50);
    for (size_t i = 0; i < 40; i++)
        for (size_t j = 0; j < 50; j++)
            cr_assert_eq(isnan(c[i * 50 + j]) != 0, i == 3, "%zu %zu", i, j);
}

struct form {
    enum cam_transpose ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    double alpha, beta;
};

static double expected_at(const struct form *f, size_t i, size_t j) {
    double old = (double)before[i * f->ldc + j], sum = 0;
    if (j >= f->n)
        return old;
    for (size_t l = 0; l < f->k; l++)
        sum += (double)(f->ta ? round_a[l * f->lda + i] : round_a[i * f->lda + l]) *
               (double)(f->tb ? round_b[j * f->ldb + l] : round_b[l * f->ldb + j]);
    return f->alpha * sum + (f->beta != 0 ? f->beta * old : 0);
}

static void check(const struct form *f, const char *what) {
    double worst = 0;
    for (size_t i = 0; i < f->m; i++)
        for (size_t j = 0; j < f->ldc; j++) {
            double error = fabs((double)c[i * f->ldc + j] - expected_at(f, i, j));
            worst = error <= worst ? worst : error;
        }
    cr_assert(worst <= 1e-5 * sqrt((double)f->k + 1), "%s %zu x %zu x %zu, %d %d: off by %g", what,
              f->m, f->n, f->k, f->ta, f->tb, worst);
    cr_assert_eq(memcmp(c + f->m * f->ldc, before + f->m * f->ldc, 64 * sizeof *c), 0,
                 "%s wrote past the end", what);
}

static void run_both(const struct form *f) {
    memcpy(c, before, sizeof c);
    cam_gemm(BF16, f->ta, f->tb, f->m, f->n, f->k, (cam_real)f->alpha, a, f->lda, b, f->ldb,
             (cam_real)f->beta, c, f->ldc);
    check(f, "product");
    memcpy(c, before, sizeof c);
    cam_gemm_rounded(f->ta, f->tb, f->m, f->n, f->k, (cam_real)f->alpha, a, f->lda, b, f->ldb,
                     (cam_real)f->beta, c, f->ldc);
    check(f, "emulation");
}

/* Every orientation at sizes below, at and above tiles and strips, strides of their own; alpha and
 * beta of every kind. */
Test(bf16, products_agree_with_plain_loops_over_rounded_operands) {
    static const size_t sizes[] = {1, 15, 17, 32, 33, 67};
    for (size_t i = 0; i < 6 * 6 * 6; i++) {
        struct form f = {.m = sizes[i % 6],
                         .n = sizes[i / 6 % 6],
                         .k = sizes[i / 36],
                         .alpha = i % 3 ? 1 : 0.5,
                         .beta = (double)(i % 5) / 2};
        for (int orientation = 0; orientation < 4; orientation++) {
            f.ta = orientation & 1 ? CAM_TRANSPOSED : CAM_PLAIN;
            f.tb = orientation & 2 ? CAM_TRANSPOSED : CAM_PLAIN;
            f.lda = (f.ta ? f.m : f.k) + i % 4;
            f.ldb = (f.tb ? f.k : f.n) + i % 3;
            f.ldc = f.n + i % 2;
            run_both(&f);
        }
    }
}

/* Several blocks and several steps of k. */
Test(bf16, large_products_agree_with_plain_loops_over_rounded_operands) {
    for (int i = 0; i < 8; i++) {
        struct form f = {.ta = i & 1 ? CAM_TRANSPOSED : CAM_PLAIN,
                         .tb = i & 2 ? CAM_TRANSPOSED : CAM_PLAIN,
                         .m = i < 4 ? 143 : 301,
                         .n = i < 4 ? 131 : 333,
                         .k = i < 4 ? 1123 : 397,
                         .alpha = i % 3 ? 1 : 0.25,
                         .beta = i % 2};
        f.lda = f.ta ? f.m : f.k;
        f.ldb = f.tb ? f.k : f.n;
        f.ldc = f.n + 3;
        run_both(&f);
    }
}

/* A row or a column alone, in another orientation, or split over threads: the same bits. */
Test(bf16, an_element_does_not_depend_on_the_product_it_is_in) {
    const size_t m = 150, n = 270, k = 600;
    if (!cam_amx_open() && !cam_gemm_own())
        cr_skip_test("needs AMX or AVX-512");
    cam_gemm(BF16, CAM_PLAIN, CAM_PLAIN, m, n, k, 1, a, k, b, n, 0, c, n);
    for (size_t i = 0; i < m; i += 37)
        for (size_t j = 0; j < n; j += 41) {
            cam_gemm(BF16, CAM_PLAIN, CAM_PLAIN, 1, 1, k, 1, a + i * k, k, b + j, n, 0, other, 1);
            cr_assert_eq(other[0], c[i * n + j]);
        }
    for (size_t l = 0; l < k; l++)
        for (size_t i = 0; i < m; i++)
            round_a[l * m + i] = a[i * k + l]; /* turned */
    cam_gemm(BF16, CAM_TRANSPOSED, CAM_PLAIN, m, n, k, 1, round_a, m, b, n, 0, other, n);
    cr_assert_eq(memcmp(other, c, m * n * sizeof *c), 0, "turned");
}

Test(bf16, any_number_of_threads_gives_the_same_bits) {
    struct cam_arena arena;
    cam_arena_init(&arena);
    for (int orientation = 0; orientation < 4; orientation++) {
        enum cam_transpose ta = orientation & 1 ? CAM_TRANSPOSED : CAM_PLAIN;
        enum cam_transpose tb = orientation & 2 ? CAM_TRANSPOSED : CAM_PLAIN;
        const size_t m = 150, n = 270, k = 600;
        for (int n_threads = 1; n_threads < 4; n_threads++) {
            struct cam_threads *threads;
            cr_assert_eq(cam_threads_new(n_threads, &threads), CAM_OK);
            memcpy(c, before, sizeof c);
            cam_gemm_threads(BF16, threads, &arena, ta, tb, m, n, k, 1, a, ta ? m : k, b,
                             tb ? k : n, 1, c, n);
            if (n_threads == 1)
                memcpy(other, c, sizeof c);
            cr_assert_eq(memcmp(other, c, sizeof c), 0, "%d threads, %d", n_threads, orientation);
            cam_threads_free(threads);
        }
        struct form f = {ta, tb, m, n, k, ta ? m : k, tb ? k : n, n, 1, 1};
        check(&f, "shared product");
    }
    cr_assert_eq(arena.used, 0, "the arena is as before");
    cam_arena_release(&arena);
}

Test(bf16, a_gram_matrix_is_the_product_and_symmetric) {
    const size_t n = 83, k = 300;
    cam_gram(BF16, n, k, 2, a, k, c, n);
    cam_gemm(BF16, CAM_PLAIN, CAM_TRANSPOSED, n, n, k, 2, a, k, a, k, 0, other, n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            cr_assert_float_eq(c[i * n + j], other[i * n + j], 1e-4);
            cr_assert_eq(c[i * n + j], c[j * n + i]);
        }
}

/* Scores of many sub-keys and of few, of one query and of many: the same bits. */
Test(bf16, panels_agree_with_products) {
    need_amx();
    static char packed[160 * 64 * 2 * 4] __attribute__((aligned(64)));
    static const size_t ns[] = {1, 31, 32, 130}, ms[] = {1, 32, 37}, ks[] = {8, 33, 64};
    for (size_t i = 0; i < 4 * 3 * 3; i++) {
        size_t n = ns[i % 4], m = ms[i / 4 % 3], k = ks[i / 12];
        cr_assert(cam_amx_panel_bytes(n, k) <= sizeof packed);
        for (size_t from = 0; from < n; from += CAM_AMX_STRIP)
            cam_amx_panel_pack(b, n, k, k, from, packed);
        memset(c, 0xff, sizeof c);
        cam_amx_panel_product(a, m, k, 80, packed, n, c, 160);
        cam_gemm(BF16, CAM_PLAIN, CAM_TRANSPOSED, m, n, k, 1, a, 80, b, k, 0, other, n);
        for (size_t row = 0; row < m; row++) {
            cr_assert_eq(memcmp(c + row * 160, other + row * n, n * sizeof *c), 0, "%zu", row);
            for (size_t j = n; j < (n + 31) / 32 * 32; j++)
                cr_assert_eq(c[row * 160 + j], 0, "rows past the set are 0");
        }
    }
}

Test(bf16, the_kernels_in_use_are_named) {
    char text[128];
    cam_products_core(CAM_PRODUCTS_FP32, text, sizeof text);
    cr_assert_str_eq(text, cam_blas_core());
    cam_products_core(BF16, text, sizeof text);
    cr_assert_eq(strncmp(text, cam_amx_open() ? "AMX bf16, " : "emulated bf16, ", 10), 0, "%s",
                 text);
    cr_assert_eq(cam_products_fast(BF16), cam_amx_open());
    cr_assert(cam_products_fast(CAM_PRODUCTS_FP32));
}
