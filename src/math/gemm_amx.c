/* gemm_amx.c - tiles of 16 x 16 sums in registers of 1 KB, each product adding 32 steps of k (Intel
 * 64 and IA-32 Architectures Optimization Reference Manual, chapter "Intel AMX").  Both operands
 * are packed in strips of 32 lines (rows of op(A), columns of op(B)), 32 steps of k at a time, so
 * that a register is filled from 1 KB that lies in one piece; a block of 32 x 32 sums stays in four
 * registers and uses each packed tile twice.
 *
 * Instructions are spelled out: the intrinsics of gcc 12 do not tell the compiler that a tile load
 * reads memory. */
#include "math/gemm_amx.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(CAM_DOUBLE)

#include <assert.h>
#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,prefer-vector-width=512")))
/* The sanitizers check what packs operands; the tiles read what was packed. */
#if !defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))
#else
#define UNCHECKED
#endif

#define STRIP       CAM_AMX_STRIP
#define STEP        CAM_AMX_STEP
#define TILE_K      32                       /* steps of k a tile holds */
#define TILE_BYTES  1024                     /* 16 rows of 32 numbers */
#define PAIR_BYTES  ((size_t)2 * TILE_BYTES) /* a strip's two tiles */
#define OWN_LINES   128       /* lines that a block of C packs for itself at a time, at most */
#define BLOCK_LINES 256       /* of the other operand, where it is packed on the stack */
#define PACK_STEPS  64        /* of k that a worker packs at a time, where lines are columns */
#define SMALL       (1 << 16) /* multiply-adds of a product not worth sharing */
#define MIN_BLOCKS  4         /* of C, so that threads end at about the same time */

/* ---- the processor ---- */

static int usable;

/* CPUID leaf 7: AMX_BF16, AMX_TILE; its sub-leaf 1: AVX512_BF16. */
static int has_instructions(void) {
    unsigned a, b, c, d;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        !(d >> 22 & 1) || !(d >> 24 & 1))
        return 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}

/* Linux hands out the tile registers on request only, to the whole process. */
static int ask_system(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
}

static void open_once(void) {
    usable = !getenv("CAMBIUM_NO_AMX") && has_instructions() && ask_system();
}

int cam_amx_open(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_once);
    return usable;
}

/* ---- packing ---- */

/* One of the two factors.  A line is a row of op(A) or a column of op(B). */
struct operand {
    const float *x;
    size_t ld, lines;
    int apart;  /* the numbers of a line lie LD apart, those of the same k side by side */
    int across; /* rows of a tile are pairs of k, as the second factor wants them; else lines */
};

/* 16 lines of which one begins at FROM, 32 steps of k: a register has one line's pairs of k. */
WIDE static inline void read_along(const struct operand *o, const float *from, size_t lines,
                                   size_t k, __m512i row[16]) {
    __mmask16 low = (__mmask16)(k >= 16 ? 0xffff : (1u << k) - 1);
    __mmask16 high = (__mmask16)(k >= 32 ? 0xffff : k <= 16 ? 0 : (1u << (k - 16)) - 1);
    for (size_t i = 0; i < 16; i++, from += o->ld) {
        if (i >= lines) {
            row[i] = _mm512_setzero_si512();
            continue;
        }
        __m512 first = _mm512_maskz_loadu_ps(low, from);
        __m512 second = _mm512_maskz_loadu_ps(high, from + 16);
        row[i] = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    }
}

/* The same where lines are columns: a register has one pair of k, line by line. */
WIDE static inline void read_across(const struct operand *o, const float *from, size_t lines,
                                    size_t k, __m512i row[16]) {
    static const uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                       21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i interleave = _mm512_loadu_si512(order);
    __mmask16 in = (__mmask16)(lines >= 16 ? 0xffff : (1u << lines) - 1);
    for (size_t p = 0; p < 16; p++, from += 2 * o->ld) {
        __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
        if (2 * p < k)
            first = _mm512_maskz_loadu_ps(in, from);
        if (2 * p + 1 < k)
            second = _mm512_maskz_loadu_ps(in, from + o->ld);
        row[p] = _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(second, first));
    }
}

/* Rows become columns: 16 x 16 words of 32 bits. */
WIDE static inline void turn(__m512i row[16]) {
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        row[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        row[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        row[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        row[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(row[i], row[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(row[i], row[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        row[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        row[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t tiles_of(size_t k) {
    return (k + TILE_K - 1) / TILE_K;
}

static size_t strips_of(size_t lines) {
    return (lines + STRIP - 1) / STRIP;
}

/* Bytes of LINES packed lines of K steps. */
static size_t packed_bytes(size_t lines, size_t k) {
    return strips_of(lines) * tiles_of(k) * PAIR_BYTES;
}

/* Two tiles: the strip that begins at line LINE, steps of k from L on, of which K are left; lines
 * and steps that are not there are 0. */
WIDE static void pack_pair(const struct operand *o, size_t line, size_t l, size_t k, char *to) {
    for (size_t at = line; at < line + STRIP; at += 16, to += TILE_BYTES) {
        if (at >= o->lines) {
            memset(to, 0, TILE_BYTES);
            continue;
        }
        __m512i row[16];
        if (o->apart)
            read_across(o, o->x + l * o->ld + at, o->lines - at, k, row);
        else
            read_along(o, o->x + at * o->ld + l, o->lines - at, k, row);
        if (o->apart != o->across)
            turn(row);
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(to + 64 * i, row[i]);
    }
}

/* N lines from LINE on, steps [l, l + k), in the order in which they lie in memory; the strips of
 * TO are STRIP_BYTES apart. */
static void pack_lines(const struct operand *o, size_t line, size_t n, size_t l, size_t k,
                       size_t strip_bytes, char *to) {
    size_t n_strips = strips_of(n), n_tiles = tiles_of(k), n_all = n_strips * n_tiles;
    for (size_t i = 0; i < n_all; i++) {
        size_t strip = o->apart ? i % n_strips : i / n_tiles;
        size_t tile = o->apart ? i / n_strips : i % n_tiles;
        pack_pair(o, line + strip * STRIP, l + tile * TILE_K, k - tile * TILE_K,
                  to + strip * strip_bytes + tile * PAIR_BYTES);
    }
}

/* ---- tiles ---- */

/* Registers 0 to 3 are sums, 4 and 5 tiles of op(A), 6 and 7 of op(B). */
#define LOAD(register, from, stride)                                                               \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #register ::"r"(from), "r"((size_t)(stride))     \
                     : "memory")
#define STORE(register, to, stride)                                                                \
    __asm__ volatile("tilestored %%tmm" #register ", (%0,%1,1)" ::"r"(to), "r"((size_t)(stride))   \
                     : "memory")
#define ZERO(register)      __asm__ volatile("tilezero %%tmm" #register ::)
#define MULTIPLY(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)

/* All eight registers have 16 rows of 64 bytes. */
static void begin_tiles(void) {
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape __attribute__((aligned(64))) = {.palette = 1,
                                            .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                            .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    __asm__ volatile("ldtilecfg %0" ::"m"(shape));
}

/* Back to the state that a switch of threads need not save. */
static void end_tiles(void) {
    __asm__ volatile("tilerelease" ::);
}

/* What a block does with its sums. */
struct target {
    float *c;
    size_t ldc;
    float alpha, beta;
};

/* Sums of a block where they are neither 0 at first nor simply written to C. */
struct sums {
    float at[STRIP][STRIP] __attribute__((aligned(64)));
};

WIDE static void read_sums(const struct target *t, size_t rows, size_t cols, struct sums *s) {
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < rows; i++)
        memcpy(s->at[i], t->c + i * t->ldc, cols * sizeof(float));
}

WIDE static void write_sums(const struct target *t, size_t rows, size_t cols, int add,
                            const struct sums *s) {
    for (size_t i = 0; i < rows; i++) {
        float *c = t->c + i * t->ldc;
        for (size_t j = 0; j < cols; j++)
            c[j] = t->alpha * s->at[i][j] + (add ? t->beta * c[j] : 0);
    }
}

/* 32 x 32 elements of C over N_TILES tiles of k.  With alpha 1 the sums begin with C, so that a
 * later step of k goes on where the last one ended. */
UNCHECKED static void block(const char *a, const char *b, size_t n_tiles,
                            const struct target *target, size_t rows, size_t cols) {
    struct sums sums;
    const struct target *t = target;
    int whole = rows == STRIP && cols == STRIP, plain = t->alpha == 1;
    int goes_on = plain && t->beta == 1, direct = whole && plain && (goes_on || t->beta == 0);
    float *c = direct ? t->c : sums.at[0];
    size_t row_bytes = (direct ? t->ldc : STRIP) * sizeof(float);
    float *lower = (float *)((char *)c + 16 * row_bytes);
    if (direct) /* C is often too large for the cache */
        for (size_t i = 0; i < STRIP; i++) {
            __builtin_prefetch((char *)c + i * row_bytes, 1);
            __builtin_prefetch((char *)c + i * row_bytes + 64, 1);
        }
    if (goes_on) {
        if (!direct)
            read_sums(t, rows, cols, &sums);
        LOAD(0, c, row_bytes);
        LOAD(1, c + 16, row_bytes);
        LOAD(2, lower, row_bytes);
        LOAD(3, lower + 16, row_bytes);
    } else {
        ZERO(0);
        ZERO(1);
        ZERO(2);
        ZERO(3);
    }
    for (size_t i = 0; i < n_tiles; i++, a += PAIR_BYTES, b += PAIR_BYTES) {
        LOAD(6, b, 64);
        LOAD(4, a, 64);
        MULTIPLY(0, 4, 6);
        LOAD(7, b + TILE_BYTES, 64);
        MULTIPLY(1, 4, 7);
        LOAD(5, a + TILE_BYTES, 64);
        MULTIPLY(2, 5, 6);
        MULTIPLY(3, 5, 7);
    }
    STORE(0, c, row_bytes);
    STORE(1, c + 16, row_bytes);
    STORE(2, lower, row_bytes);
    STORE(3, lower + 16, row_bytes);
    if (!direct)
        write_sums(t, rows, cols, !goes_on && t->beta != 0, &sums);
}

/* ---- blocks ---- */

struct product {
    struct operand a, b;
    size_t k;
    struct target target;
};

static struct product product_of(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n,
                                 size_t k, float alpha, const float *a, size_t lda, const float *b,
                                 size_t ldb, float beta, float *c, size_t ldc) {
    return (struct product){
        .a = {.x = a, .ld = lda, .lines = m, .apart = ta == CAM_TRANSPOSED, .across = 0},
        .b = {.x = b, .ld = ldb, .lines = n, .apart = tb == CAM_PLAIN, .across = 1},
        .k = k,
        .target = {.c = c, .ldc = ldc, .alpha = alpha, .beta = beta}};
}

/* Rows [row, row + m) and columns [col, col + n) of C, one step of k from L on, which is packed. */
static void multiply(const struct product *p, size_t row, size_t m, size_t col, size_t n, size_t l,
                     const char *a, const char *b) {
    struct target target = p->target;
    size_t n_tiles = tiles_of(least(STEP, p->k - l)), strip = n_tiles * PAIR_BYTES;
    if (l > 0)
        target.beta = 1;
    begin_tiles();
    for (size_t j = 0; j < n; j += STRIP, b += strip) {
        for (size_t i = 0; i < m; i += STRIP) {
            target.c = p->target.c + (row + i) * target.ldc + col + j;
            block(a + i / STRIP * strip, b, n_tiles, &target, least(STRIP, m - i),
                  least(STRIP, n - j));
        }
    }
    end_tiles();
}

struct own_lines {
    char at[OWN_LINES * STEP * 2] __attribute__((aligned(64)));
};
struct block_lines {
    char at[BLOCK_LINES * STEP * 2] __attribute__((aligned(64)));
};

static void run_blocks(const struct product *p) {
    struct own_lines rows;
    struct block_lines cols;
    for (size_t col = 0; col < p->b.lines; col += BLOCK_LINES) {
        size_t n = least(BLOCK_LINES, p->b.lines - col);
        for (size_t l = 0; l < p->k; l += STEP) {
            size_t k = least(STEP, p->k - l);
            size_t strip = tiles_of(k) * PAIR_BYTES;
            pack_lines(&p->b, col, n, l, k, strip, cols.at);
            for (size_t row = 0; row < p->a.lines; row += OWN_LINES) {
                size_t m = least(OWN_LINES, p->a.lines - row);
                pack_lines(&p->a, row, m, l, k, strip, rows.at);
                multiply(p, row, m, col, n, l, rows.at, cols.at);
            }
        }
    }
}

void cam_amx_block(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                   cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                   cam_real beta, cam_real *c, size_t ldc) {
    struct product p = product_of(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    run_blocks(&p);
}

/* ---- over threads ---- */

/* One operand is packed once for all, by the first blocks of the job; the others are blocks of C
 * that pack their lines of the other, a step of k at a time, and use them while they are in the
 * cache. */
struct shared {
    struct product product;
    const struct operand *common, *own;
    char *packed;           /* step by step of k, strip by strip */
    size_t n_packs;         /* blocks that pack the common operand come first */
    atomic_size_t n_packed; /* of them, those that are done */
    size_t own_lines, common_lines, n_common_blocks; /* of blocks of C */
};

/* Where the step of k that begins at L is packed. */
static char *packed_step(const struct shared *s, size_t l) {
    return s->packed + packed_bytes(s->common->lines, l);
}

/* A strip; or, where the numbers of a line lie apart, PACK_STEPS of all lines. */
static void pack_common(const struct shared *s, size_t i_pack) {
    const struct operand *o = s->common;
    size_t k = s->product.k, line = 0, n = o->lines, from = 0, to = k;
    if (o->apart) {
        from = i_pack * PACK_STEPS;
        to = least(from + PACK_STEPS, k);
    } else {
        line = i_pack * STRIP;
        n = STRIP;
    }
    for (size_t l = from, steps; l < to; l += steps) {
        size_t begin = l / STEP * STEP, strip = tiles_of(least(STEP, k - begin)) * PAIR_BYTES;
        steps = least(begin + STEP, to) - l;
        pack_lines(o, line, n, l, steps, strip,
                   packed_step(s, begin) + line / STRIP * strip +
                       (l - begin) / TILE_K * PAIR_BYTES);
    }
}

static void shared_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    struct shared *s = context;
    const struct product *p = &s->product;
    if (i_block < s->n_packs) {
        pack_common(s, i_block);
        atomic_fetch_add_explicit(&s->n_packed, 1, memory_order_release);
        return;
    }
    cam_threads_await(&s->n_packed, s->n_packs);
    i_block -= s->n_packs;
    size_t own = i_block / s->n_common_blocks * s->own_lines;
    size_t other = i_block % s->n_common_blocks * s->common_lines;
    size_t n_own = least(s->own_lines, s->own->lines - own);
    size_t n_other = least(s->common_lines, s->common->lines - other);
    struct own_lines lines;
    for (size_t l = 0; l < p->k; l += STEP) {
        size_t k = least(STEP, p->k - l);
        size_t strip = tiles_of(k) * PAIR_BYTES;
        const char *packed = packed_step(s, l) + other / STRIP * strip;
        pack_lines(s->own, own, n_own, l, k, strip, lines.at);
        if (s->own == &p->a)
            multiply(p, own, n_own, other, n_other, l, lines.at, packed);
        else
            multiply(p, other, n_other, own, n_own, l, packed, lines.at);
    }
}

/* As many even parts of LINES as need be, of whole strips, each MOST at most. */
static size_t even(size_t lines, size_t most) {
    size_t n_parts = (lines + most - 1) / most, part = (lines + n_parts - 1) / n_parts;
    return strips_of(part) * STRIP;
}

static size_t cut(struct shared *s) {
    /* One strip stays in the first cache while all others go past it, unless packing just 32 lines
     * would read short pieces of many rows. */
    size_t most = s->own->apart ? least(OWN_LINES, s->own->lines / MIN_BLOCKS) : STRIP;
    s->own_lines = even(s->own->lines, most > STRIP ? most : STRIP);
    s->common_lines = strips_of(s->common->lines) * STRIP;
    size_t n_own_blocks = (s->own->lines + s->own_lines - 1) / s->own_lines;
    while ((s->common->lines + s->common_lines - 1) / s->common_lines * n_own_blocks < MIN_BLOCKS &&
           s->common_lines > STRIP)
        s->common_lines = even(s->common_lines, s->common_lines / 2);
    s->n_common_blocks = (s->common->lines + s->common_lines - 1) / s->common_lines;
    return n_own_blocks * s->n_common_blocks;
}

void cam_amx_shared(struct cam_threads *threads, struct cam_arena *arena, enum cam_transpose ta,
                    enum cam_transpose tb, size_t m, size_t n, size_t k, cam_real alpha,
                    const cam_real *a, size_t lda, const cam_real *b, size_t ldb, cam_real beta,
                    cam_real *c, size_t ldc) {
    struct shared s = {.product = product_of(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)};
    if (m * n * k < SMALL) {
        run_blocks(&s.product);
        return;
    }
    /* Activations are longer than weights; of two activations (the gradient of weights), the
     * narrower one. */
    int own_rows = !ta || m > n;
    s.common = own_rows ? &s.product.b : &s.product.a;
    s.own = own_rows ? &s.product.a : &s.product.b;
    struct cam_arena_mark mark = cam_arena_mark(arena);
    s.n_packs = s.common->apart ? (k + PACK_STEPS - 1) / PACK_STEPS : strips_of(s.common->lines);
    s.packed = cam_arena_alloc(arena, packed_bytes(s.common->lines, k));
    size_t n_blocks = cut(&s);
    cam_threads_run(threads, s.n_packs + n_blocks, shared_block, &s);
    cam_arena_rewind(arena, mark);
}

/* ---- panels ---- */

size_t cam_amx_panel_bytes(size_t n, size_t k) {
    return packed_bytes(n, k);
}

void cam_amx_panel_pack(const cam_real *set, size_t n, size_t k, size_t ld, size_t from,
                        void *packed) {
    struct operand rows = {.x = set, .ld = ld, .lines = n, .apart = 0, .across = 1};
    size_t strip = tiles_of(k) * PAIR_BYTES;
    pack_lines(&rows, from, STRIP, 0, k, strip, (char *)packed + from / STRIP * strip);
}

void cam_amx_panel_product(const cam_real *a, size_t m, size_t k, size_t lda, const void *packed,
                           size_t n, cam_real *c, size_t ldc) {
    char own[STRIP * CAM_AMX_PANEL_K * 2] __attribute__((aligned(64)));
    struct operand rows = {.x = a, .ld = lda, .lines = m, .apart = 0, .across = 0};
    size_t strip = tiles_of(k) * PAIR_BYTES;
    assert(k <= CAM_AMX_PANEL_K && ldc >= strips_of(n) * STRIP);
    begin_tiles();
    for (size_t i = 0; i < m; i += STRIP) {
        pack_lines(&rows, i, STRIP, 0, k, strip, own);
        for (size_t j = 0; j < n; j += STRIP) {
            struct target target = {.c = c + i * ldc + j, .ldc = ldc, .alpha = 1};
            block(own, (const char *)packed + j / STRIP * strip, tiles_of(k), &target,
                  least(STRIP, m - i), STRIP);
        }
    }
    end_tiles();
}

double cam_amx_peak(size_t rounds) {
    begin_tiles();
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
    ZERO(4);
    ZERO(6);
    for (size_t i = 0; i < rounds; i++) {
        MULTIPLY(0, 4, 6);
        MULTIPLY(1, 4, 6);
        MULTIPLY(2, 4, 6);
        MULTIPLY(3, 4, 6);
    }
    end_tiles();
    return (double)rounds * 4 * 2 * 16 * 16 * TILE_K;
}

#else

#include <stdlib.h>

int cam_amx_open(void) {
    return 0;
}

void cam_amx_block(enum cam_transpose ta, enum cam_transpose tb, size_t m, size_t n, size_t k,
                   cam_real alpha, const cam_real *a, size_t lda, const cam_real *b, size_t ldb,
                   cam_real beta, cam_real *c, size_t ldc) {
    (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)lda, (void)b,
        (void)ldb, (void)beta, (void)c, (void)ldc;
    abort();
}

void cam_amx_shared(struct cam_threads *threads, struct cam_arena *arena, enum cam_transpose ta,
                    enum cam_transpose tb, size_t m, size_t n, size_t k, cam_real alpha,
                    const cam_real *a, size_t lda, const cam_real *b, size_t ldb, cam_real beta,
                    cam_real *c, size_t ldc) {
    (void)threads, (void)arena;
    cam_amx_block(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

size_t cam_amx_panel_bytes(size_t n, size_t k) {
    (void)n, (void)k;
    return 0;
}

void cam_amx_panel_pack(const cam_real *set, size_t n, size_t k, size_t ld, size_t from,
                        void *packed) {
    (void)set, (void)n, (void)k, (void)ld, (void)from, (void)packed;
    abort();
}

void cam_amx_panel_product(const cam_real *a, size_t m, size_t k, size_t lda, const void *packed,
                           size_t n, cam_real *c, size_t ldc) {
    (void)a, (void)m, (void)k, (void)lda, (void)packed, (void)n, (void)c, (void)ldc;
    abort();
}

double cam_amx_peak(size_t rounds) {
    (void)rounds;
    return 0;
}

#endif
