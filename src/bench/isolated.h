/* isolated.h - a measurement in a process of its own, so that peak memory is that of the thing
 * measured and nothing of it lingers in the next one. */
#ifndef CAM_BENCH_ISOLATED_H
#define CAM_BENCH_ISOLATED_H

#include "base/status.h"

#include <stddef.h>

/* Fills RESULT (plain data: no pointers) from INPUT. */
typedef enum cam_status cam_isolated_fn(const void *input, void *result);

/* Runs FN in a forked child and copies its N_BYTES of RESULT, or its failure, back.  CAM_ERR_OS if
 * the child cannot be made or is killed (it says by which signal: 9 is how a system short of memory
 * ends a process).  The calling process must have no other threads. */
CAM_MUST_USE enum cam_status cam_isolated(cam_isolated_fn *fn, const void *input, void *result,
                                          size_t n_bytes);

/* Peak resident memory of this process so far. */
double cam_peak_memory_bytes(void);

#endif
