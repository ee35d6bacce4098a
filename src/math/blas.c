#include "math/blas.h"

#include "math/gemm.h"
#include "math/gemm_amx.h"
#include "math/gemm_rounded.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cblas constants (the C interface of the BLAS Technical Forum). */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112, UPPER = 121 };

typedef void gemm_fn(int order, int ta, int tb, int m, int n, int k, cam_real alpha,
                     const cam_real *a, int lda, const cam_real *b, int ldb, cam_real beta,
                     cam_real *c, int ldc);

typedef void syrk_fn(int order, int part, int trans, int n, int k, cam_real alpha,
                     const cam_real *a, int lda, cam_real beta, cam_real *c, int ldc);

static gemm_fn *gemm;
static syrk_fn *syrk;
static int own; /* 1: products by math/gemm.h */
static int amx; /* 1: those in bfloat16 by math/gemm_amx.h */
static char core_name[64] = "none";
static char build_text[160];
static char open_error[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The kernel family this processor deserves, or NULL to let the library choose. */
static const char *wanted_core(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "SKYLAKEX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "HASWELL";
#endif
    return NULL;
}

static void *open_library(void) {
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library)
            return library;
    }
    return NULL;
}

/* Function pointers come out of dlsym as object pointers; POSIX says the bits are the same. */
static void symbol(void *library, const char *name, void *pointer) {
    void *found = dlsym(library, name);
    memcpy(pointer, &found, sizeof found);
}

static void open_once(void) {
    const char *core = wanted_core();
    if (core)
        setenv("OPENBLAS_CORETYPE", core, 0); /* a user's own choice wins */
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    void *library = open_library();
    if (!library) {
        strncpy(open_error, "OpenBLAS is missing (libopenblas.so.0); install libopenblas0-pthread",
                sizeof open_error - 1);
        return;
    }
    char *(*core_of)(void), *(*build_of)(void);
    void (*set_threads)(int);
    symbol(library, sizeof(cam_real) == 8 ? "cblas_dgemm" : "cblas_sgemm", &gemm);
    symbol(library, sizeof(cam_real) == 8 ? "cblas_dsyrk" : "cblas_ssyrk", &syrk);
    symbol(library, "openblas_get_corename", &core_of);
    symbol(library, "openblas_get_config", &build_of);
    symbol(library, "openblas_set_num_threads", &set_threads);
    if (!gemm || !syrk || !core_of || !set_threads) {
        gemm = NULL;
        strncpy(open_error, "libopenblas.so.0 lacks cblas_sgemm or openblas_get_corename",
                sizeof open_error - 1);
        return;
    }
    set_threads(1);
    own = cam_gemm_own();
    amx = cam_amx_open();
    snprintf(core_name, sizeof core_name, "%sOpenBLAS %s", own ? "own AVX-512, " : "", core_of());
    if (build_of)
        strncpy(build_text, build_of(), sizeof build_text - 1);
}

enum cam_status cam_blas_open(void) {
    pthread_once(&once, open_once);
    return gemm ? CAM_OK : cam_fail(CAM_ERR_OS, "%s", open_error);
}

const char *cam_blas_core(void) {
    return core_name;
}

const char *cam_blas_build(void) {
    return build_text;
}

void cam_gemm_blas(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                   cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                   cam_real beta, cam_real *c, size_t ldc) {
    gemm(ROW_MAJOR, ta ? TRANS : NO_TRANS, tb ? TRANS : NO_TRANS, (int)m, (int)n, (int)k, alpha, a,
         (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

const char *cam_products_name(enum cam_products products) {
    return products == CAM_PRODUCTS_BF16 ? "bf16" : "fp32";
}

/* Whether operands are to be rounded. */
static int rounds(enum cam_products products) {
    return products == CAM_PRODUCTS_BF16 && sizeof(cam_real) == sizeof(float);
}

int cam_products_fast(enum cam_products products) {
    return !rounds(products) || cam_amx_open();
}

void cam_products_core(enum cam_products products, char *text, size_t n_bytes) {
    snprintf(text, n_bytes, "%s%s",
             !rounds(products) ? ""
             : amx             ? "AMX bf16, "
                               : "emulated bf16, ",
             core_name);
}

void cam_gemm(enum cam_products products, enum cam_transpose ta, enum cam_transpose tb, size_t m,
              size_t n, size_t k, cam_real alpha, const cam_real *a, size_t lda, const cam_real *b,
              size_t ldb, cam_real beta, cam_real *c, size_t ldc) {
    if (rounds(products))
        (amx ? cam_amx_block : cam_gemm_rounded)(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c,
                                                 ldc);
    else
        (own ? cam_gemm_block : cam_gemm_blas)(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c,
                                               ldc);
}

void cam_gram(enum cam_products products, size_t n, size_t k, cam_real alpha, const cam_real *a,
              size_t lda, cam_real *c, size_t ldc) {
    if (rounds(products)) { /* both halves: they are the same bits */
        cam_gemm(products, CAM_PLAIN, CAM_TRANSPOSED, n, n, k, alpha, a, lda, a, lda, 0, c, ldc);
        return;
    }
    if (own) {
        cam_gemm_gram(n, k, alpha, a, lda, c, ldc);
        return;
    }
    syrk(ROW_MAJOR, UPPER, NO_TRANS, (int)n, (int)k, alpha, a, (int)lda, 0, c, (int)ldc);
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            c[i * ldc + j] = c[j * ldc + i];
}

struct product {
    enum cam_products products;
    enum cam_transpose ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    cam_real alpha, beta;
    const cam_real *a, *b;
    cam_real *c;
    size_t rows, cols, n_col_blocks; /* block shape */
};

static void product_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct product *p = context;
    size_t row = i_block / p->n_col_blocks * p->rows, col = i_block % p->n_col_blocks * p->cols;
    size_t m = p->m - row < p->rows ? p->m - row : p->rows;
    size_t n = p->n - col < p->cols ? p->n - col : p->cols;
    const cam_real *a = p->a + (p->ta ? row : row * p->lda);
    const cam_real *b = p->b + (p->tb ? col * p->ldb : col);
    cam_gemm(p->products, p->ta, p->tb, m, n, p->k, p->alpha, a, p->lda, b, p->ldb, p->beta,
             p->c + row * p->ldc + col, p->ldc);
}

void cam_gemm_threads(enum cam_products products, struct cam_threads *threads,
                      struct cam_arena *arena, enum cam_transpose ta, enum cam_transpose tb,
                      size_t m, size_t n, size_t k, cam_real alpha, const cam_real *a, size_t lda,
                      const cam_real *b, size_t ldb, cam_real beta, cam_real *c, size_t ldc) {
    if (rounds(products) && amx) {
        cam_amx_shared(threads, arena, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    if (own && !rounds(products)) {
        cam_gemm_shared(threads, arena, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    /* Enough rows to amortise packing B; a short C is cut by columns too, so that two cores have
     * something to do.  Only m and n enter: same blocks for any thread count. */
    size_t rows = 512, cols = n;
    while (rows > 64 && (m + rows - 1) / rows < 2)
        rows /= 2;
    if ((m + rows - 1) / rows < 2 && n >= 512)
        cols = (n / 2 + 63) / 64 * 64;
    struct product p = {.products = products,
                        .ta = ta,
                        .tb = tb,
                        .m = m,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = ldb,
                        .ldc = ldc,
                        .alpha = alpha,
                        .beta = beta,
                        .a = a,
                        .b = b,
                        .c = c,
                        .rows = rows,
                        .cols = cols,
                        .n_col_blocks = (n + cols - 1) / cols};
    cam_threads_run(threads, (m + rows - 1) / rows * p.n_col_blocks, product_block, &p);
}
