#include "bench/limits.h"

#include "base/clock.h"
#include "base/rng.h"
#include "bench/peak.h"
#include "math/gemm_amx.h"
#include "math/vector_inline.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FMA_BLOCKS    32    /* more than threads: one that starts late does its share still */
#define FMA_ROUNDS    40000 /* about a millisecond a block */
#define TILE_ROUNDS   20000 /* likewise */
#define RECORDS_AHEAD 8     /* between prefetch and use */
#define RECORD_BLOCK  512   /* records a block */
#define READ_BLOCK    (1 << 20)
#define CACHE_BYTES   (256 << 10)
#define CACHE_ROUNDS  64

/* Integers: whatever bits the table holds, nothing traps or turns slow. */
typedef uint64_t words __attribute__((vector_size(64), aligned(8), may_alias));

/* What was read must seem to be used. */
static _Atomic uint64_t sink;

static void use(uint64_t value) {
    atomic_fetch_xor_explicit(&sink, value, memory_order_relaxed);
}

static void tile_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    ((double *)context)[i_block] = cam_amx_peak(TILE_ROUNDS);
}

static void fma_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    ((double *)context)[i_block] = cam_peak_fma(FMA_ROUNDS);
}

static double arithmetic(struct cam_threads *threads, cam_block_fn *block) {
    double flops[FMA_BLOCKS], all = 0;
    double start = cam_clock_seconds();
    cam_threads_run(threads, FMA_BLOCKS, block, flops);
    double seconds = cam_clock_seconds() - start;
    for (size_t i = 0; i < FMA_BLOCKS; i++)
        all += flops[i];
    return all / seconds;
}

double cam_limit_fma(struct cam_threads *threads) {
    return arithmetic(threads, fma_block);
}

double cam_limit_products(struct cam_threads *threads, enum cam_products products) {
    int tiles = products == CAM_PRODUCTS_BF16 && cam_amx_open();
    return arithmetic(threads, tiles ? tile_block : fma_block);
}

enum cam_status cam_table_add(struct cam_table *table, const void *bytes, size_t n_bytes) {
    struct cam_table_piece *pieces = realloc(table->pieces, (table->n_pieces + 1) * sizeof *pieces);
    if (!pieces)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu table pieces", table->n_pieces + 1);
    table->pieces = pieces;
    table->pieces[table->n_pieces++] = (struct cam_table_piece){bytes, n_bytes};
    return CAM_OK;
}

void cam_table_release(struct cam_table *table) {
    free(table->pieces);
    *table = (struct cam_table){0};
}

size_t cam_table_bytes(const struct cam_table *table) {
    size_t n = 0;
    for (size_t i = 0; i < table->n_pieces; i++)
        n += table->pieces[i].n_bytes;
    return n;
}

CAM_INLINE uint64_t fold_words(words x) {
    uint64_t all = 0;
    for (int i = 0; i < 8; i++)
        all ^= x[i];
    return all;
}

/* N_BYTES a multiple of 64. */
CAM_CLONES static uint64_t read_bytes(const char *bytes, size_t n_bytes) {
    words part[4] = {{0}, {0}, {0}, {0}};
    size_t i = 0;
    for (; i + 256 <= n_bytes; i += 256)
        for (size_t k = 0; k < 4; k++)
            part[k] ^= *(const words *)(bytes + i + 64 * k);
    for (; i < n_bytes; i += 64)
        part[0] ^= *(const words *)(bytes + i);
    return fold_words((part[0] ^ part[1]) ^ (part[2] ^ part[3]));
}

CAM_CLONES static uint64_t read_records(const char *const *records, size_t n, size_t n_ahead,
                                        size_t n_bytes) {
    words part[4] = {{0}, {0}, {0}, {0}};
    for (size_t i = 0; i < n; i++) {
        if (i + RECORDS_AHEAD < n_ahead)
            for (size_t b = 0; b < n_bytes; b += 64)
                __builtin_prefetch(records[i + RECORDS_AHEAD] + b, 0, 2);
        for (size_t b = 0; b < n_bytes; b += 64)
            part[b / 64 % 4] ^= *(const words *)(records[i] + b);
    }
    return fold_words((part[0] ^ part[1]) ^ (part[2] ^ part[3]));
}

struct read_job {
    const struct cam_table *table;
    const char **records;
    size_t n_records;
    size_t blocks_a_piece;
    const char *cache;
};

static void sequential_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct read_job *job = context;
    const struct cam_table_piece *piece = &job->table->pieces[i_block / job->blocks_a_piece];
    size_t from = i_block % job->blocks_a_piece * READ_BLOCK;
    if (from >= piece->n_bytes)
        return;
    size_t n = piece->n_bytes - from < READ_BLOCK ? piece->n_bytes - from : READ_BLOCK;
    use(read_bytes((const char *)piece->bytes + from, n / 64 * 64));
}

double cam_limit_sequential(struct cam_threads *threads, const struct cam_table *table) {
    size_t most = 0;
    for (size_t i = 0; i < table->n_pieces; i++)
        most = table->pieces[i].n_bytes > most ? table->pieces[i].n_bytes : most;
    struct read_job job = {.table = table, .blocks_a_piece = (most + READ_BLOCK - 1) / READ_BLOCK};
    double start = cam_clock_seconds();
    cam_threads_run(threads, table->n_pieces * job.blocks_a_piece, sequential_block, &job);
    return (double)cam_table_bytes(table) / (cam_clock_seconds() - start);
}

static void random_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct read_job *job = context;
    size_t from = i_block * RECORD_BLOCK, left = job->n_records - from;
    use(read_records(job->records + from, left < RECORD_BLOCK ? left : RECORD_BLOCK, left,
                     job->table->record_bytes));
}

enum cam_status cam_limit_random(struct cam_threads *threads, const struct cam_table *table,
                                 size_t n_records, uint64_t seed, double *bytes_per_s) {
    size_t record = table->record_bytes, n_all = cam_table_bytes(table) / record;
    size_t n_first = table->pieces[0].n_bytes / record; /* records a piece */
    struct read_job job = {.table = table, .n_records = n_records};
    job.records = malloc(n_records * sizeof *job.records);
    if (!job.records)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu addresses", n_records);
    for (size_t i = 0; i < n_records; i++) {
        size_t at = cam_random_below(cam_random_at(seed, CAM_PURPOSE_BENCH, i, 0), n_all);
        job.records[i] = (const char *)table->pieces[at / n_first].bytes + at % n_first * record;
    }
    double start = cam_clock_seconds();
    cam_threads_run(threads, (n_records + RECORD_BLOCK - 1) / RECORD_BLOCK, random_block, &job);
    *bytes_per_s = (double)n_records * (double)record / (cam_clock_seconds() - start);
    free(job.records);
    return CAM_OK;
}

static void cache_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_block;
    const struct read_job *job = context;
    const char *own = job->cache + i_worker * CACHE_BYTES;
    for (int i = 0; i < CACHE_ROUNDS; i++)
        use(read_bytes(own, CACHE_BYTES));
}

double cam_limit_cache(struct cam_threads *threads) {
    size_t n_workers = (size_t)cam_threads_count(threads), n_blocks = 16 * n_workers;
    struct read_job job = {.cache = aligned_alloc(64, n_workers * CACHE_BYTES)};
    if (!job.cache)
        return 0;
    memset((void *)(uintptr_t)job.cache, 1, n_workers * CACHE_BYTES);
    double start = cam_clock_seconds();
    cam_threads_run(threads, n_blocks, cache_block, &job);
    double seconds = cam_clock_seconds() - start;
    free((void *)(uintptr_t)job.cache);
    return (double)n_blocks * CACHE_ROUNDS * CACHE_BYTES / seconds;
}
