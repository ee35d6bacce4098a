/* gemm.c - the scheme of Goto and van de Geijn (2008, "Anatomy of high-performance matrix
 * multiplication") for 32 vector registers, as BLIS has it (Van Zee and van de Geijn 2015).  C is
 * computed in tiles of up to 14 rows by two vectors, which stay in registers over a step of k.  The
 * rows of A that a tile needs lie in the first cache while all panels of B (32 columns) go past
 * them from the second, fetched ahead.  Compiled with contraction allowed (src/CMakeLists.txt):
 * multiplication and addition fuse here as they do in a BLAS, unlike in the row kernels. */
#include "math/gemm.h"

#include <stdatomic.h>
#include <string.h>

int cam_gemm_own(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") != 0;
#else
    return 0;
#endif
}

#if defined(__x86_64__) && defined(__GNUC__)
#define WIDE __attribute__((target("avx512f,fma,prefer-vector-width=512")))
#else
#define WIDE
#endif
/* The sanitizers check what copies operands; the kernels read the copies and write one tile of C.
 */
#if defined(__GNUC__) && !defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))
#else
#define UNCHECKED
#endif
#define INLINE __attribute__((always_inline)) UNCHECKED WIDE static inline

#define TILE_ROWS  14              /* 28 sums, 2 vectors of B and a number of A: 31 registers */
#define SLAB       16              /* rows of A copied for a tile: whole squares */
#define PANEL      (2 * CAM_LANES) /* columns of a tile */
#define STEP       CAM_GEMM_STEP
#define BLOCK      CAM_GEMM_BLOCK
#define A_STRIDE   (STEP + CAM_LANES) /* not a power of two: rows fall into different cache sets */
#define PACK_ROWS  32                 /* rows of A that a worker packs at a time */
#define SMALL      (1 << 15)          /* multiply-adds of a product not worth sharing */
#define MIN_BLOCKS 6                  /* of C, so that threads end at about the same time */
#define AHEAD      8                  /* rows of a panel between prefetch and use */

/* ---- copying operands ---- */

/* Of two rows, each pair of groups of H lanes: LOW has the first of each, HIGH the second. */
#define LOW(i, h)  ((i) & (h) ? CAM_LANES + (i) - (h) : (i))
#define HIGH(i, h) ((i) & (h) ? CAM_LANES + (i) : (i) + (h))
#define EIGHT(f, i, h)                                                                             \
    f(i, h), f(i + 1, h), f(i + 2, h), f(i + 3, h), f(i + 4, h), f(i + 5, h), f(i + 6, h),         \
        f(i + 7, h)
#ifdef CAM_DOUBLE
#define ALL(f, h) EIGHT(f, 0, h)
#else
#define ALL(f, h) EIGHT(f, 0, h), EIGHT(f, 8, h)
#endif
#define EXCHANGE(row, h)                                                                           \
    _Pragma("GCC unroll 8") for (int base = 0; base < CAM_LANES; base += 2 * (h))                  \
        _Pragma("GCC unroll 8") for (int i = base; i < base + (h); i++) {                          \
        cam_vec x = row[i], y = row[i + (h)];                                                      \
        row[i] = __builtin_shufflevector(x, y, ALL(LOW, h));                                       \
        row[i + (h)] = __builtin_shufflevector(x, y, ALL(HIGH, h));                                \
    }

/* A square of CAM_LANES rows, turned: halves, quarters, ... change places between rows. */
__attribute__((always_inline)) WIDE static inline void
turn_square(cam_real *to, size_t to_stride, const cam_real *from, size_t from_stride) {
    cam_vec row[CAM_LANES];
#pragma GCC unroll 16
    for (int i = 0; i < CAM_LANES; i++)
        row[i] = *(const cam_vec *)(from + (size_t)i * from_stride);
#ifndef CAM_DOUBLE
    EXCHANGE(row, 8)
#endif
    EXCHANGE(row, 4)
    EXCHANGE(row, 2)
    EXCHANGE(row, 1)
#pragma GCC unroll 16
    for (int i = 0; i < CAM_LANES; i++)
        *(cam_vec *)(to + (size_t)i * to_stride) = row[i];
}

/* to[r * to_stride + c] = from[c * from_stride + r] */
WIDE static void turn(cam_real *to, size_t to_stride, const cam_real *from, size_t from_stride,
                      size_t rows, size_t cols) {
    size_t whole_rows = rows / CAM_LANES * CAM_LANES, whole_cols = cols / CAM_LANES * CAM_LANES;
    for (size_t r = 0; r < whole_rows; r += CAM_LANES)
        for (size_t c = 0; c < whole_cols; c += CAM_LANES)
            turn_square(to + r * to_stride + c, to_stride, from + c * from_stride + r, from_stride);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < whole_rows ? whole_cols : 0; c < cols; c++)
            to[r * to_stride + c] = from[c * from_stride + r];
}

/* to[r * to_stride + c] = from[r * from_stride + c] */
WIDE static void copy(cam_real *to, size_t to_stride, const cam_real *from, size_t from_stride,
                      size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++, to += to_stride, from += from_stride) {
        size_t c = 0;
        for (; c + CAM_LANES <= cols; c += CAM_LANES)
            *(cam_vec *)(to + c) = *(const cam_vec *)(from + c);
        for (; c < cols; c++)
            to[c] = from[c];
    }
}

/* ---- tiles ---- */

/* What a tile does with its sums. */
struct target {
    cam_real *c;
    size_t ldc;
    cam_real alpha, beta;
};

/* N_ROWS is a constant after inlining.  COLS < PANEL: the last columns of C. */
INLINE void tile(const cam_real *a, const cam_real *panel, size_t k, const struct target *target,
                 size_t cols, const int n_rows) {
    cam_vec sum[TILE_ROWS][2];
    cam_real *c = target->c;
    size_t ldc = target->ldc;
#pragma GCC unroll 14
    for (int i = 0; i < n_rows; i++) {
        __builtin_prefetch(c + (size_t)i * ldc, 1);
        __builtin_prefetch(c + (size_t)i * ldc + CAM_LANES, 1);
        sum[i][0] = sum[i][1] = (cam_vec){0};
    }
    for (size_t l = 0; l < k; l++) {
        cam_vec p0 = *(const cam_vec *)(panel + l * PANEL);
        cam_vec p1 = *(const cam_vec *)(panel + l * PANEL + CAM_LANES);
        __builtin_prefetch(panel + (l + AHEAD) * PANEL);
        __builtin_prefetch(panel + (l + AHEAD) * PANEL + CAM_LANES);
#pragma GCC unroll 14
        for (int i = 0; i < n_rows; i++) {
            cam_real x = a[(size_t)i * A_STRIDE + l];
            sum[i][0] += x * p0;
            sum[i][1] += x * p1;
        }
    }
    cam_real alpha = target->alpha, beta = target->beta;
#pragma GCC unroll 14
    for (int i = 0; i < n_rows; i++, c += ldc) {
        cam_vec low = alpha * sum[i][0], high = alpha * sum[i][1];
        if (cols == PANEL) {
            if (beta != 0) {
                low += beta * *(cam_vec *)c;
                high += beta * *(cam_vec *)(c + CAM_LANES);
            }
            *(cam_vec *)c = low;
            *(cam_vec *)(c + CAM_LANES) = high;
        } else {
            cam_real out[PANEL];
            *(cam_vec *)out = low;
            *(cam_vec *)(out + CAM_LANES) = high;
            for (size_t j = 0; j < cols; j++)
                c[j] = out[j] + (beta != 0 ? beta * c[j] : 0);
        }
    }
}

#define TILE(n)                                                                                    \
    UNCHECKED WIDE static void tile_##n(const cam_real *a, const cam_real *panel, size_t k,        \
                                        const struct target *target, size_t cols) {                \
        tile(a, panel, k, target, cols, n);                                                        \
    }
/* clang-format off */
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7)
TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
    /* clang-format on */

    static void (*const tiles[])(const cam_real *, const cam_real *, size_t, const struct target *,
                                 size_t) = {NULL,    tile_1,  tile_2,  tile_3,  tile_4,
                                            tile_5,  tile_6,  tile_7,  tile_8,  tile_9,
                                            tile_10, tile_11, tile_12, tile_13, tile_14};

/* ---- blocks ---- */

struct product {
    enum cam_transpose ta, tb;
    size_t m, n, k, lda, ldb;
    const cam_real *a, *b;
    struct target target;
    int gram;    /* 1: leave out what lies below the diagonal */
    size_t step; /* of k */
    /* Copies made before, or NULL: of op(A), step by step (m, A_STRIDE); of op(B), step by step,
     * panel by panel. */
    cam_real *packed_a, *packed_b;
};

struct scratch {
    cam_real a[SLAB * A_STRIDE] __attribute__((aligned(64)));
    cam_real b[(STEP + AHEAD) * BLOCK] __attribute__((aligned(64)));
};

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t panels_up(size_t n) {
    return (n + PANEL - 1) / PANEL * PANEL;
}

/* Columns [col, col + n) of op(B), steps [l, l + k): panels of PANEL columns, k by k; columns past
 * n are zero. */
static void pack_b(const struct product *p, size_t col, size_t n, size_t l, size_t k,
                   cam_real *to) {
    for (size_t j = 0; j < n; j += PANEL, to += k * PANEL) {
        size_t cols = least(PANEL, n - j);
        if (cols < PANEL)
            memset(to, 0, k * PANEL * sizeof *to);
        if (p->tb)
            turn(to, PANEL, p->b + (col + j) * p->ldb + l, p->ldb, k, cols);
        else
            copy(to, PANEL, p->b + l * p->ldb + col + j, p->ldb, k, cols);
    }
}

/* Rows [row, row + m) of op(A), steps [l, l + k); returns where the first of them is. */
static const cam_real *pack_a(const struct product *p, size_t row, size_t m, size_t l, size_t k,
                              cam_real *to) {
    if (!p->ta) {
        copy(to, A_STRIDE, p->a + row * p->lda + l, p->lda, m, k);
        return to;
    }
    /* Turning goes by squares: take whole ones, beginning with an earlier row at the end. */
    size_t first = row + SLAB <= p->m ? row : p->m > SLAB ? p->m - SLAB : 0;
    turn(to, A_STRIDE, p->a + l * p->lda + first, p->lda, least(SLAB, p->m), k);
    return to + (row - first) * A_STRIDE;
}

/* One step of k into a block of C; tiles are as even as can be. */
static void multiply(const struct product *p, size_t from, size_t m, size_t col, size_t n, size_t l,
                     const cam_real *panels, cam_real *slab) {
    struct target target = p->target;
    size_t n_tiles = (m + TILE_ROWS - 1) / TILE_ROWS, k = least(p->step, p->k - l);
    if (l > 0)
        target.beta = 1;
    for (size_t t = 0, row = from, rows; t < n_tiles; t++, row += rows) {
        rows = (from + m - row) / (n_tiles - t);
        const cam_real *a = p->packed_a ? p->packed_a + (l / p->step * p->m + row) * A_STRIDE
                                        : pack_a(p, row, rows, l, k, slab);
        for (size_t j = 0; j < n; j += PANEL) {
            if (p->gram && col + j + PANEL <= row)
                continue;
            target.c = p->target.c + row * target.ldc + col + j;
            tiles[rows](a, panels + j * k, k, &target, least(PANEL, n - j));
        }
    }
}

/* Rows [row, row + m) and columns [col, col + n) of C; without packed B, n is BLOCK at most. */
UNCHECKED static void run(const struct product *p, size_t row, size_t m, size_t col, size_t n) {
    struct scratch s;
    for (size_t l = 0; l < p->k; l += p->step) {
        size_t k = least(p->step, p->k - l);
        const cam_real *panels = s.b;
        if (p->packed_b)
            panels = p->packed_b + panels_up(p->n) * l + col * k;
        else
            pack_b(p, col, n, l, k, s.b);
        multiply(p, row, m, col, n, l, panels, s.a);
    }
}

static void run_blocks(const struct product *p) {
    size_t rows = p->step < p->k ? BLOCK : p->m;
    for (size_t col = 0; col < p->n; col += BLOCK)
        for (size_t row = 0; row < p->m; row += rows)
            run(p, row, least(rows, p->m - row), col, least(BLOCK, p->n - col));
}

/* Steps are even: the last should not be much shorter. */
static size_t step_of(size_t k) {
    size_t n_steps = (k + STEP - 1) / STEP;
    size_t step = k / (n_steps ? n_steps : 1) / CAM_LANES * CAM_LANES + CAM_LANES;
    return least(step, STEP);
}

void cam_gemm_block(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                    cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                    cam_real beta, cam_real *c, size_t ldc) {
    struct product p = {.ta = ta,
                        .tb = tb,
                        .m = m,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = ldb,
                        .a = a,
                        .b = b,
                        .step = step_of(k),
                        .target = {.c = c, .ldc = ldc, .alpha = alpha, .beta = beta}};
    run_blocks(&p);
}

void cam_gemm_gram(size_t n, size_t k, cam_real alpha, const cam_real *a, size_t lda, cam_real *c,
                   size_t ldc) {
    struct product p = {.tb = CAM_TRANSPOSED,
                        .m = n,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = lda,
                        .a = a,
                        .b = a,
                        .gram = 1,
                        .step = step_of(k),
                        .target = {.c = c, .ldc = ldc, .alpha = alpha}};
    run_blocks(&p);
    for (size_t row = CAM_LANES; row < n; row += CAM_LANES)
        turn(c + row * ldc, ldc, c + row, ldc, least(CAM_LANES, n - row), row);
    for (size_t row = 0; row < n; row++)
        for (size_t col = row / CAM_LANES * CAM_LANES; col < row; col++)
            c[row * ldc + col] = c[col * ldc + row];
}

/* ---- over threads ---- */

struct shared {
    struct product product;
    size_t n_packs;                  /* blocks that pack come first */
    atomic_size_t packed;            /* of them, those that are done */
    size_t rows, cols, n_col_blocks; /* of the blocks of C */
};

/* So many even parts of N, multiples of UNIT, each MOST at most (and UNIT at least). */
static size_t even(size_t n, size_t most, size_t unit) {
    size_t n_parts = (n + most - 1) / most, part = (n + n_parts - 1) / n_parts;
    return (part + unit - 1) / unit * unit;
}

static void pack_rows_of_a(const struct product *p, size_t row) {
    size_t m = least(PACK_ROWS, p->m - row);
    for (size_t l = 0; l < p->k; l += p->step)
        turn(p->packed_a + (l / p->step * p->m + row) * A_STRIDE, A_STRIDE, p->a + l * p->lda + row,
             p->lda, m, least(p->step, p->k - l));
}

static void pack_panel_of_b(const struct product *p, size_t col) {
    size_t n = least(PANEL, p->n - col);
    for (size_t l = 0; l < p->k; l += p->step) {
        size_t k = least(p->step, p->k - l);
        pack_b(p, col, n, l, k, p->packed_b + panels_up(p->n) * l + col * k);
    }
}

static void shared_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct shared *s = context;
    const struct product *p = &s->product;
    if (i_block < s->n_packs) {
        if (p->packed_a)
            pack_rows_of_a(p, i_block * PACK_ROWS);
        else
            pack_panel_of_b(p, i_block * PANEL);
        atomic_fetch_add_explicit(&s->packed, 1, memory_order_release);
        return;
    }
    cam_threads_await(&s->packed, s->n_packs);
    i_block -= s->n_packs;
    size_t row = i_block / s->n_col_blocks * s->rows, col = i_block % s->n_col_blocks * s->cols;
    run(p, row, least(s->rows, p->m - row), col, least(s->cols, p->n - col));
}

/* Blocks of C.  With A plain (activations), B (weights) is packed once for all, and blocks are rows
 * of C; a C of few rows is cut by columns too.  With A turned (gradients of weights), A is, and
 * blocks are tall and pack their own columns of B a step at a time. */
static size_t cut(struct shared *s) {
    const struct product *p = &s->product;
    if (p->ta) {
        s->rows = even(p->m, 2 * BLOCK, 1);
        s->cols = BLOCK;
    } else {
        s->rows = even(p->m, BLOCK, 1);
        s->cols = panels_up(p->n);
    }
    size_t n_row_blocks = (p->m + s->rows - 1) / s->rows;
    while ((p->n + s->cols - 1) / s->cols * n_row_blocks < MIN_BLOCKS && s->cols > 2 * PANEL)
        s->cols = even(s->cols, s->cols / 2, PANEL);
    s->n_col_blocks = (p->n + s->cols - 1) / s->cols;
    return n_row_blocks * s->n_col_blocks;
}

void cam_gemm_shared(struct cam_threads *threads, struct cam_arena *arena, enum cam_transpose ta,
                     enum cam_transpose tb, size_t m, size_t n, size_t k, cam_real alpha,
                     const cam_real *a, size_t lda, const cam_real *b, size_t ldb, cam_real beta,
                     cam_real *c, size_t ldc) {
    struct shared s = {.product = {.ta = ta,
                                   .tb = tb,
                                   .m = m,
                                   .n = n,
                                   .k = k,
                                   .lda = lda,
                                   .ldb = ldb,
                                   .a = a,
                                   .b = b,
                                   .step = step_of(k),
                                   .target = {.c = c, .ldc = ldc, .alpha = alpha, .beta = beta}}};
    struct product *p = &s.product;
    if (m * n * k < SMALL) {
        run_blocks(p);
        return;
    }
    struct cam_arena_mark mark = cam_arena_mark(arena);
    if (ta) {
        size_t n_steps = (k + p->step - 1) / p->step;
        p->packed_a = cam_arena_alloc(arena, n_steps * m * A_STRIDE * sizeof *p->packed_a);
        s.n_packs = (m + PACK_ROWS - 1) / PACK_ROWS;
    } else {
        p->packed_b = cam_arena_alloc(arena, panels_up(n) * k * sizeof *p->packed_b);
        s.n_packs = (n + PANEL - 1) / PANEL;
    }
    size_t n_blocks = cut(&s);
    cam_threads_run(threads, s.n_packs + n_blocks, shared_block, &s);
    cam_arena_rewind(arena, mark);
}
