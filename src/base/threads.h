/* threads.h - a fixed pool of workers that runs numbered blocks of one job at a time.
 *
 * Determinism contract: a job is split into blocks by *shape*, never by the number of threads;
 * blocks write disjoint outputs (or partial sums that the caller then adds in block order).  Which
 * thread runs which block is free, so 1 and 2 threads give the same bits. */
#ifndef CAM_BASE_THREADS_H
#define CAM_BASE_THREADS_H

#include "base/status.h"

#include <stdatomic.h>
#include <stddef.h>

struct cam_threads;

/* Runs block I_BLOCK on worker I_WORKER (0 .. n_threads-1, for scratch memory only). */
typedef void cam_block_fn(void *context, size_t i_block, size_t i_worker);

/* N_THREADS >= 1 counts the caller; 1 starts no thread. */
CAM_MUST_USE enum cam_status cam_threads_new(int n_threads, struct cam_threads **threads);
void cam_threads_free(struct cam_threads *threads);
int cam_threads_count(const struct cam_threads *threads);

/* Runs FN for every block in [0, N_BLOCKS) and returns when all are done.  Blocks are begun in
 * order.  Only one caller at a time; FN must not call cam_threads_run on the same pool. */
void cam_threads_run(struct cam_threads *threads, size_t n_blocks, cam_block_fn *fn, void *context);

/* For a block that needs what N earlier blocks of its job made, each of which adds one to *DONE (with
 * release) at its end: returns when all have.  They have begun, so this ends, and it saves the job
 * of its own and the barrier that the first part would need. */
void cam_threads_await(atomic_size_t *done, size_t n);

#endif
