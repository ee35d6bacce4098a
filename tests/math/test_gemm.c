/* Products against plain loops in double, and what math/gemm.h promises about bits. */
#include "base/rng.h"
#include "math/blas.h"
#include "math/gemm.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 400 * 400 };

static cam_real a[MOST], b[MOST], c[MOST], before[MOST];

static void draw(cam_real *to, size_t n, uint64_t step) {
    for (size_t i = 0; i < n; i += 4) {
        float normal[4];
        cam_random_normal4(cam_random_at(6, CAM_PURPOSE_TEST, step, (uint32_t)i), normal);
        for (size_t j = 0; j < 4; j++)
            to[i + j] = (cam_real)normal[j];
    }
}

static void set_up(void) {
    cr_assert_eq(cam_blas_open(), CAM_OK);
    draw(a, MOST, 1);
    draw(b, MOST, 2);
    draw(before, MOST, 3);
}

TestSuite(gemm, .init = set_up);

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
        sum += (double)(f->ta ? a[l * f->lda + i] : a[i * f->lda + l]) *
               (double)(f->tb ? b[j * f->ldb + l] : b[l * f->ldb + j]);
    return f->alpha * sum + (f->beta != 0 ? f->beta * old : 0);
}

static void check_against_loops(const struct form *f, const char *what) {
    double worst = 0;
    for (size_t i = 0; i < f->m; i++)
        for (size_t j = 0; j < f->ldc; j++) {
            double error = fabs((double)c[i * f->ldc + j] - expected_at(f, i, j));
            worst = error <= worst ? worst : error;
        }
    cr_assert(worst <= (sizeof(cam_real) == 8 ? 1e-11 : 1e-5 * sqrt((double)f->k + 1)),
              "%s %zu x %zu x %zu, %d %d: off by %g", what, f->m, f->n, f->k, f->ta, f->tb, worst);
    cr_assert_eq(memcmp(c + f->m * f->ldc, before + f->m * f->ldc, 64 * sizeof *c), 0,
                 "%s wrote past the end", what);
}

static void run_both(const struct form *f) {
    memcpy(c, before, sizeof c);
    cam_gemm(CAM_PRODUCTS_FP32, f->ta, f->tb, f->m, f->n, f->k, (cam_real)f->alpha, a, f->lda, b,
             f->ldb, (cam_real)f->beta, c, f->ldc);
    check_against_loops(f, "product");
    memcpy(c, before, sizeof c);
    cam_gemm_blas(f->ta, f->tb, f->m, f->n, f->k, (cam_real)f->alpha, a, f->lda, b, f->ldb,
                  (cam_real)f->beta, c, f->ldc);
    check_against_loops(f, "OpenBLAS");
}

/* Every orientation at sizes below, at and above tiles, panels and vectors, strides of their own.
 */
Test(gemm, products_agree_with_plain_loops) {
    static const size_t sizes[] = {1, 13, 15, 29, 33, 67};
    for (size_t i = 0; i < 6 * 6 * 6; i++) {
        struct form f = {.ta = i % 2,
                         .tb = i / 2 % 2,
                         .m = sizes[i % 6],
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

/* Sizes that take several blocks and several steps of k. */
Test(gemm, large_products_agree_with_plain_loops) {
    for (int orientation = 0; orientation < 4; orientation++) {
        struct form f = {.ta = orientation & 1 ? CAM_TRANSPOSED : CAM_PLAIN,
                         .tb = orientation & 2 ? CAM_TRANSPOSED : CAM_PLAIN,
                         .m = 283,
                         .n = 301,
                         .k = 397,
                         .alpha = 1,
                         .beta = orientation % 2,
                         .ldc = 307};
        f.lda = f.ta ? f.m : f.k;
        f.ldb = f.tb ? f.k : f.n;
        run_both(&f);
    }
}

/* What C held does not matter with beta 0, and numbers that are none are passed on. */
Test(gemm, not_a_number_goes_where_it_belongs) {
    for (size_t i = 0; i < 40 * 40; i++)
        c[i] = (cam_real)NAN;
    a[7] = (cam_real)NAN; /* row 0 */
    cam_gemm(CAM_PRODUCTS_FP32, CAM_PLAIN, CAM_PLAIN, 40, 40, 40, 1, a, 40, b, 40, 0, c, 40);
    for (size_t i = 0; i < 40 * 40; i++)
        cr_assert_eq(isnan(c[i]) != 0, i < 40, "%zu", i);
}

Test(gemm, a_gram_matrix_is_the_product_and_symmetric) {
    static const size_t ns[] = {1, 5, 16, 33, 64, 100, 270}, ks[] = {1, 17, 64, 390};
    static cam_real expected[MOST];
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 4; j++) {
            size_t n = ns[i], k = ks[j];
            cam_gram(CAM_PRODUCTS_FP32, n, k, 2, a, k, c, n);
            cam_gemm(CAM_PRODUCTS_FP32, CAM_PLAIN, CAM_TRANSPOSED, n, n, k, 2, a, k, a, k, 0,
                     expected, n);
            for (size_t r = 0; r < n; r++)
                for (size_t q = 0; q < n; q++) {
                    cr_assert_float_eq((double)c[r * n + q], (double)expected[r * n + q], 1e-3);
                    cr_assert_eq(c[r * n + q], c[q * n + r]);
                }
        }
}

/* A row or a column alone, in another orientation, or split over threads: the same bits. */
Test(gemm, an_element_does_not_depend_on_the_product_it_is_in) {
    static cam_real turned[MOST], other[MOST];
    const size_t m = 200, n = 270, k = 390;
    if (!cam_gemm_own())
        cr_skip_test("needs AVX-512");
    cam_gemm(CAM_PRODUCTS_FP32, CAM_PLAIN, CAM_PLAIN, m, n, k, 1, a, k, b, n, 0, c, n);
    for (size_t i = 0; i < m; i += 37)
        for (size_t j = 0; j < n; j += 41) {
            cam_gemm(CAM_PRODUCTS_FP32, CAM_PLAIN, CAM_PLAIN, 1, 1, k, 1, a + i * k, k, b + j, n, 0,
                     other, 1);
            cr_assert_eq(other[0], c[i * n + j]);
        }
    for (size_t l = 0; l < k; l++)
        for (size_t i = 0; i < m; i++)
            turned[l * m + i] = a[i * k + l];
    cam_gemm(CAM_PRODUCTS_FP32, CAM_TRANSPOSED, CAM_PLAIN, m, n, k, 1, turned, m, b, n, 0, other,
             n);
    cr_assert_eq(memcmp(other, c, m * n * sizeof *c), 0, "turned");
    struct cam_arena arena;
    cam_arena_init(&arena);
    for (int n_threads = 1; n_threads < 4; n_threads++) {
        struct cam_threads *threads;
        cr_assert_eq(cam_threads_new(n_threads, &threads), CAM_OK);
        for (int ta = 0; ta < 2; ta++) {
            memset(other, 0xff, sizeof other);
            cam_gemm_threads(CAM_PRODUCTS_FP32, threads, &arena, ta ? CAM_TRANSPOSED : CAM_PLAIN,
                             CAM_PLAIN, m, n, k, 1, ta ? turned : a, ta ? m : k, b, n, 0, other, n);
            cr_assert_eq(memcmp(other, c, m * n * sizeof *c), 0, "%d threads", n_threads);
        }
        cam_threads_free(threads);
    }
    cr_assert(arena.used == 0 && arena.n_allocations == 1, "the arena is as before");
    cam_arena_release(&arena);
}
