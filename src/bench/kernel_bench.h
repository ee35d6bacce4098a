/* kernel_bench.h - each kernel by itself, on all threads, at the shapes training gives it, beside
 * the limit that binds it.
 *
 * To add one: a function that runs it once and a line in one of the list_ functions of
 * kernel_bench.c. */
#ifndef CAM_BENCH_KERNEL_BENCH_H
#define CAM_BENCH_KERNEL_BENCH_H

#include "base/status.h"
#include "bench/timing.h"
#include "math/blas.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_MAX_KERNELS 40

struct cam_kernel_config {
    size_t n_tokens, width, hidden, vocabulary; /* of products and rows */
    size_t heads, top_k, key_width, subkeys;    /* of the PEER layer whose rows are gathered */
    enum cam_products products;
    int n_threads;
    size_t n_repeats;
    uint64_t seed;
};

/* What binds a kernel.  Products: multiply-adds, or tile products in bfloat16; rows in cache:
 * reading the second-level cache; the others: memory. */
enum cam_kernel_limit {
    CAM_LIMIT_FMA,
    CAM_LIMIT_PRODUCTS, /* of the kind asked for */
    CAM_LIMIT_CACHE,
    CAM_LIMIT_SEQUENTIAL,
    CAM_LIMIT_RANDOM,      /* whole records of the table */
    CAM_LIMIT_RANDOM_HALF, /* half records */
    CAM_N_LIMITS
};
const char *cam_kernel_limit_name(enum cam_kernel_limit limit);

struct cam_kernel_row {
    char name[32], shape[48];
    enum cam_kernel_limit limit;
    struct cam_timing
        rate; /* FMA, PRODUCTS: operations a second; otherwise bytes read and written a second */
    double share; /* of the limit, measured in turn with it */
    int large;    /* a product of 2^26 multiply-adds or more */
};

struct cam_kernel_result {
    struct cam_timing limits[CAM_N_LIMITS]; /* over all kernels that they bind */
    struct cam_kernel_row rows[CAM_MAX_KERNELS];
    size_t n_rows;
};

CAM_MUST_USE enum cam_status cam_kernel_bench(const struct cam_kernel_config *config,
                                              struct cam_kernel_result *result);

#endif
