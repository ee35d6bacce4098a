#include "model/pool.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* Of a chunk whose experts take EXPERT_BYTES each. */
static size_t chunk_bytes(size_t expert_bytes) {
    return (CAM_POOL_CHUNK * expert_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

enum cam_status cam_pool_init(struct cam_pool *pool, uint64_t seed, size_t i_layer, size_t n_parts,
                              size_t width, uint64_t capacity) {
    size_t n = (size_t)((capacity + CAM_POOL_CHUNK - 1) >> CAM_POOL_CHUNK_SHIFT);
    *pool = (struct cam_pool){.seed = seed,
                              .i_layer = i_layer,
                              .n_parts = n_parts,
                              .width = width,
                              .record = n_parts * width,
                              .capacity = capacity};
    pool->rows = calloc(n, sizeof *pool->rows);
    pool->state = calloc(n, sizeof *pool->state);
    pool->usage = calloc(n, sizeof *pool->usage);
    if (!pool->rows || !pool->state || !pool->usage) {
        cam_pool_release(pool);
        return cam_fail(CAM_ERR_OS, "out of memory for the table of %zu expert chunks", n);
    }
    return CAM_OK;
}

static size_t moment_bytes(const struct cam_pool *pool) {
    return CAM_POOL_CHUNK * 2 * pool->record * sizeof(cam_real);
}

enum cam_status cam_pool_keep_moments(struct cam_pool *pool) {
    size_t n = (size_t)((pool->capacity + CAM_POOL_CHUNK - 1) >> CAM_POOL_CHUNK_SHIFT);
    pool->moments = calloc(n, sizeof *pool->moments);
    return pool->moments ? CAM_OK : cam_fail(CAM_ERR_OS, "out of memory for %zu chunks", n);
}

void cam_pool_keep_bf16(struct cam_pool *pool) {
    pool->bf16 = 1;
}

void cam_pool_read(const struct cam_pool *pool, uint64_t expert, cam_real *values) {
    if (pool->bf16)
        cam_bf16_read(cam_pool_record(pool, expert), pool->record, values);
    else
        memcpy(values, cam_pool_row(pool, expert), pool->record * sizeof *values);
}

uint64_t cam_pool_rounding_key(const struct cam_pool *pool, uint64_t step) {
    struct cam_random random =
        cam_random_at(pool->seed, CAM_PURPOSE_ROUND_EXPERT, step, (uint32_t)pool->i_layer);
    return (uint64_t)random.word[0] << 32 | random.word[1];
}

void cam_pool_write(struct cam_pool *pool, uint64_t expert, uint64_t key, const cam_real *values) {
    if (!pool->bf16) {
        memcpy(cam_pool_row(pool, expert), values, pool->record * sizeof *values);
        return;
    }
    uint32_t own_key = cam_expert_rounding_key(key, expert);
    for (size_t at = 0; at < pool->record; at += pool->width)
        cam_bf16_write_by_chance(values + at, pool->width, own_key, at,
                                 (cam_bf16 *)cam_pool_record(pool, expert) + at);
}

static void chunk_release(struct cam_pool *pool, size_t i) {
    free(pool->rows[i]);
    free(pool->state[i]);
    free(pool->usage[i]);
    if (pool->moments && pool->moments[i])
        munmap(pool->moments[i], moment_bytes(pool));
    if (pool->moments)
        pool->moments[i] = NULL;
    pool->rows[i] = NULL;
    pool->state[i] = NULL;
    pool->usage[i] = NULL;
}

static void free_chunks(const struct cam_pool *pool, cam_real ***table) {
    for (size_t i = 0; *table && i < pool->n_chunks; i++)
        free((*table)[i]);
    free(*table);
    *table = NULL;
}

void cam_pool_release(struct cam_pool *pool) {
    cam_pool_average_end(pool);
    free_chunks(pool, &pool->centre);
    free_chunks(pool, &pool->importance);
    for (size_t i = 0; i < pool->n_chunks; i++)
        chunk_release(pool, i);
    free(pool->rows);
    free(pool->state);
    free(pool->usage);
    free(pool->moments);
    *pool = (struct cam_pool){0};
}

/* Zero pages that cost nothing until they are touched; small ones, so that few experts share one.
 */
static cam_real *map_moments(size_t n_bytes) {
    void *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Rows are read at random: with 4 KiB pages every one costs a walk of the page table.  Only
 * advice, so refusal does not matter. */
static cam_real *rows_new(size_t n_bytes) {
    cam_real *rows = aligned_alloc(HUGE_PAGE, n_bytes);
    if (rows)
        (void)madvise(rows, n_bytes, MADV_HUGEPAGE);
    return rows;
}

static enum cam_status chunk_add(struct cam_pool *pool) {
    size_t i = pool->n_chunks, n_bytes = chunk_bytes(cam_pool_record_bytes(pool));
    if (pool->moments)
        pool->moments[i] = map_moments(moment_bytes(pool));
    pool->rows[i] = rows_new(n_bytes);
    pool->state[i] = calloc(CAM_POOL_CHUNK, sizeof **pool->state);
    pool->usage[i] = calloc(CAM_POOL_CHUNK, sizeof **pool->usage);
    if (!pool->rows[i] || !pool->state[i] || !pool->usage[i] ||
        (pool->moments && !pool->moments[i])) {
        chunk_release(pool, i);
        return cam_fail(CAM_ERR_OS, "out of memory for experts %zu to %zu (%zu bytes)",
                        i << CAM_POOL_CHUNK_SHIFT, (i + 1) << CAM_POOL_CHUNK_SHIFT, n_bytes);
    }
    pool->n_chunks++;
    return CAM_OK;
}

enum cam_status cam_pool_grow(struct cam_pool *pool, uint64_t n_experts, enum cam_pool_fill fill) {
    if (n_experts > pool->capacity || n_experts < pool->n_experts)
        return cam_fail(CAM_ERR_CONFIG, "a pool of %llu experts cannot become %llu (limit %llu)",
                        (unsigned long long)pool->n_experts, (unsigned long long)n_experts,
                        (unsigned long long)pool->capacity);
    size_t before = pool->n_chunks;
    while (pool->n_chunks << CAM_POOL_CHUNK_SHIFT < n_experts) {
        enum cam_status status = chunk_add(pool);
        if (status != CAM_OK) {
            while (pool->n_chunks > before)
                chunk_release(pool, --pool->n_chunks);
            return status;
        }
    }
    for (uint64_t e = pool->n_experts; e < n_experts; e++)
        cam_pool_reset_expert(pool, e, 0, fill);
    pool->n_experts = n_experts;
    return CAM_OK;
}

/* Uniform with variance 1 / width: a normal distribution's logarithms and sines made growing by a
 * tenth of a million experts a matter of seconds.  Four numbers a counter: the counter is (expert,
 * quarter of the record), the slot names layer and incarnation. */
static void fill_uniform(const struct cam_pool *pool, uint64_t expert, uint32_t incarnation,
                         size_t from, size_t n, cam_real *row) {
    const double scale = sqrt(3.0 / (double)pool->width) / 2147483648.0;
    uint32_t slot = (uint32_t)pool->i_layer << 24 ^ incarnation;
    for (size_t i = 0; i < n; i += 4) {
        struct cam_random random = cam_random_at(pool->seed, CAM_PURPOSE_INIT_EXPERT,
                                                 expert | (uint64_t)((from + i) / 4) << 40, slot);
        for (size_t k = 0; k < 4; k++)
            row[i + k] = (cam_real)((double)(int32_t)random.word[k] * scale);
    }
}

/* N numbers are drawn, the others 0. */
static void fill_record(const struct cam_pool *pool, uint64_t expert, uint32_t incarnation,
                        size_t n) {
    char *record = cam_pool_record(pool, expert);
    size_t drawn_bytes = cam_pool_record_bytes(pool) / pool->record * n;
    memset(record + drawn_bytes, 0, cam_pool_record_bytes(pool) - drawn_bytes);
    if (!pool->bf16) {
        fill_uniform(pool, expert, incarnation, 0, n, (cam_real *)(void *)record);
        return;
    }
    cam_real values[4 * CAM_LANES];
    for (size_t i = 0; i < n; i += 4 * CAM_LANES) {
        size_t m = n - i < 4 * CAM_LANES ? n - i : 4 * CAM_LANES;
        fill_uniform(pool, expert, incarnation, i, m, values);
        cam_bf16_write(values, m, (cam_bf16 *)(void *)record + i);
    }
}

void cam_pool_reset_expert(struct cam_pool *pool, uint64_t expert, uint32_t incarnation,
                           enum cam_pool_fill fill) {
    size_t n_drawn = fill == CAM_POOL_EMPTY         ? 0
                     : fill == CAM_POOL_ZERO_OUTPUT ? pool->record - pool->width
                                                    : pool->record;
    fill_record(pool, expert, incarnation, n_drawn);
    if (pool->moments && cam_pool_state(pool, expert)->updates)
        memset(cam_pool_moments(pool, expert), 0, 2 * pool->record * sizeof(cam_real));
    *cam_pool_state(pool, expert) = (struct cam_expert_state){.incarnation = incarnation};
    *cam_pool_usage(pool, expert) = (struct cam_expert_usage){0};
    /* Another expert than the anchor knew: nothing to go back to.  (A chunk about to be filled for
     * the first time has no anchor yet.) */
    size_t i = (size_t)(expert >> CAM_POOL_CHUNK_SHIFT);
    if (pool->centre && pool->centre[i])
        *cam_pool_centre(pool, expert) = (cam_real)NAN;
    if (pool->importance && pool->importance[i])
        *cam_pool_importance(pool, expert) = 0;
}

enum cam_status cam_pool_average_begin(struct cam_pool *pool) {
    size_t n = (size_t)((pool->capacity + CAM_POOL_CHUNK - 1) >> CAM_POOL_CHUNK_SHIFT);
    pool->average = calloc(n, sizeof *pool->average);
    pool->n_averaged = 0;
    return pool->average ? CAM_OK
                         : cam_fail(CAM_ERR_OS, "out of memory for the table of %zu averages", n);
}

enum cam_status cam_pool_average_extend(struct cam_pool *pool) {
    for (size_t i = 0; i < pool->n_chunks; i++)
        if (!pool->average[i] &&
            !(pool->average[i] = rows_new(chunk_bytes(pool->record * sizeof(cam_real)))))
            return cam_fail(CAM_ERR_OS, "out of memory for the average of experts from %zu on",
                            i << CAM_POOL_CHUNK_SHIFT);
    for (; pool->n_averaged < pool->n_experts; pool->n_averaged++)
        cam_pool_average_again(pool, pool->n_averaged);
    return CAM_OK;
}

void cam_pool_average_again(struct cam_pool *pool, uint64_t expert) {
    if (pool->average)
        cam_pool_read(pool, expert,
                      pool->average[expert >> CAM_POOL_CHUNK_SHIFT] +
                          (size_t)(expert & (CAM_POOL_CHUNK - 1)) * pool->record);
}

void cam_pool_average_end(struct cam_pool *pool) {
    for (size_t i = 0; pool->average && i < pool->n_chunks; i++)
        free(pool->average[i]);
    free(pool->average);
    pool->average = NULL;
    pool->n_averaged = 0;
}

/* *TABLE is there with N_NUMBERS a chunk, those of new ones FILL, or gone. */
static enum cam_status keep_chunks(const struct cam_pool *pool, int on, size_t n_numbers,
                                   cam_real fill, cam_real ***table) {
    size_t n = (size_t)((pool->capacity + CAM_POOL_CHUNK - 1) >> CAM_POOL_CHUNK_SHIFT);
    if (!on) {
        free_chunks(pool, table);
        return CAM_OK;
    }
    if (!*table && !(*table = calloc(n, sizeof **table)))
        return cam_fail(CAM_ERR_OS, "out of memory for the table of %zu anchors", n);
    for (size_t i = 0; i < pool->n_chunks; i++) {
        if ((*table)[i])
            continue;
        cam_real *chunk = malloc(n_numbers * sizeof *chunk);
        if (!chunk)
            return cam_fail(CAM_ERR_OS, "out of memory for the anchor of experts from %zu on",
                            i << CAM_POOL_CHUNK_SHIFT);
        for (size_t k = 0; k < n_numbers; k++)
            chunk[k] = fill;
        (*table)[i] = chunk;
    }
    return CAM_OK;
}

enum cam_status cam_pool_anchor_keep(struct cam_pool *pool, int centre, int importance) {
    CAM_TRY(keep_chunks(pool, centre, CAM_POOL_CHUNK * pool->record, (cam_real)NAN,
                        &pool->centre));
    return keep_chunks(pool, importance, CAM_POOL_CHUNK, 0, &pool->importance);
}

static enum cam_status visit_part(struct cam_pool *pool, const char *prefix, const char *part,
                                  void **chunks, size_t expert_bytes, cam_state_visitor *visit,
                                  void *context) {
    for (size_t i = 0; i < pool->n_chunks; i++) {
        char name[96];
        uint64_t left = pool->n_experts - ((uint64_t)i << CAM_POOL_CHUNK_SHIFT);
        size_t n = left < CAM_POOL_CHUNK ? (size_t)left : CAM_POOL_CHUNK;
        snprintf(name, sizeof name, "%s.%s.%zu", prefix, part, i);
        CAM_TRY(visit(context, name, chunks[i], n * expert_bytes));
    }
    return CAM_OK;
}

/* Gives back the pages of [FROM, TO) of a chunk that lie wholly in it: they read as zero again. */
static void release_pages(char *chunk, size_t from, size_t to) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (from < to)
        (void)madvise(chunk + from, to - from, MADV_DONTNEED);
}

static void release_idle_moments(struct cam_pool *pool) {
    size_t n_bytes = 2 * pool->record * sizeof(cam_real);
    for (size_t i = 0; i < pool->n_chunks; i++) {
        size_t idle = 0; /* experts before e without an update */
        for (size_t e = 0; e <= CAM_POOL_CHUNK; e++) {
            if (e < CAM_POOL_CHUNK && pool->state[i][e].updates == 0) {
                idle++;
                continue;
            }
            release_pages((char *)pool->moments[i], (e - idle) * n_bytes, e * n_bytes);
            idle = 0;
        }
    }
}

enum cam_status cam_pool_visit(struct cam_pool *pool, const char *prefix, cam_state_visitor *visit,
                               void *context) {
    CAM_TRY(visit_part(pool, prefix, "rows", (void **)pool->rows, cam_pool_record_bytes(pool),
                       visit, context));
    CAM_TRY(visit_part(pool, prefix, "optimiser", (void **)pool->state, sizeof **pool->state, visit,
                       context));
    CAM_TRY(visit_part(pool, prefix, "usage", (void **)pool->usage, sizeof **pool->usage, visit,
                       context));
    if (pool->average)
        CAM_TRY(visit_part(pool, prefix, "average", (void **)pool->average,
                           pool->record * sizeof(cam_real), visit, context));
    if (pool->centre)
        CAM_TRY(visit_part(pool, prefix, "centre", (void **)pool->centre,
                           pool->record * sizeof(cam_real), visit, context));
    if (pool->importance)
        CAM_TRY(visit_part(pool, prefix, "importance", (void **)pool->importance,
                           sizeof(cam_real), visit, context));
    if (!pool->moments)
        return CAM_OK;
    CAM_TRY(visit_part(pool, prefix, "moments", (void **)pool->moments,
                       2 * pool->record * sizeof(cam_real), visit, context));
    release_idle_moments(pool);
    return CAM_OK;
}

uint64_t cam_square_root(uint64_t x) {
    uint64_t root = (uint64_t)sqrt((double)x);
    while (root * root > x)
        root--;
    while ((root + 1) * (root + 1) <= x)
        root++;
    return root;
}

void cam_pair_of_expert(uint64_t expert, uint64_t *i, uint64_t *j) {
    uint64_t shell = cam_square_root(expert), rest = expert - shell * shell;
    *i = rest < shell ? rest : shell;
    *j = rest < shell ? shell : rest - shell;
}
