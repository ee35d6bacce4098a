/* limits.h - what the machine can do at most, measured beside what it is compared with.
 *
 * All on every thread of the pool.  Units: floating-point operations a second (a multiply-add is
 * two), bytes a second. */
#ifndef CAM_BENCH_LIMITS_H
#define CAM_BENCH_LIMITS_H

#include "base/status.h"
#include "base/threads.h"
#include "math/blas.h"

#include <stddef.h>
#include <stdint.h>

/* Independent multiply-adds that never leave the registers, in the model's number type. */
double cam_limit_fma(struct cam_threads *threads);
/* The same for dense products of that kind: tile products in registers where bfloat16 has them. */
double cam_limit_products(struct cam_threads *threads, enum cam_products products);

/* A table of records that lie somewhere: pieces of equal size but the last.  Borrows them. */
struct cam_table_piece {
    const void *bytes;
    size_t n_bytes;
};
struct cam_table {
    struct cam_table_piece *pieces; /* owned */
    size_t n_pieces;
    size_t record_bytes; /* a multiple of 64 */
};
CAM_MUST_USE enum cam_status cam_table_add(struct cam_table *table, const void *bytes,
                                           size_t n_bytes);
void cam_table_release(struct cam_table *table);
size_t cam_table_bytes(const struct cam_table *table);

/* Reading the table from end to end. */
double cam_limit_sequential(struct cam_threads *threads, const struct cam_table *table);
/* Reading N_RECORDS of its records drawn evenly by (SEED, draw), each fetched whole a few records
 * ahead of its use.  CAM_ERR_OS: memory for their addresses. */
CAM_MUST_USE enum cam_status cam_limit_random(struct cam_threads *threads,
                                              const struct cam_table *table, size_t n_records,
                                              uint64_t seed, double *bytes_per_s);
/* Reading, over and over, a buffer that stays in each core's second-level cache. */
double cam_limit_cache(struct cam_threads *threads);

#endif
