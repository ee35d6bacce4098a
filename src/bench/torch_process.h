/* torch_process.h - PyTorch as a peer: a Python process that runs the same step when asked.
 *
 * The script (torch_step.py) travels inside the binary.  The process gets as many threads as we use
 * and the environment it is fastest in: OPENBLAS_CORETYPE as our own library found it,
 * ATEN_CPU_CAPABILITY by CPUID, and the OpenMP build of OpenBLAS (Debian: libopenblas0-openmp)
 * first in LD_LIBRARY_PATH where it is installed. */
#ifndef CAM_BENCH_TORCH_PROCESS_H
#define CAM_BENCH_TORCH_PROCESS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_DEFAULT_PYTHON "/usr/bin/python3"

struct cam_torch;

/* Starts PYTHON on the script.  CONFIG is one JSON object (see the script's head); DATA, N_NUMBERS
 * floats, is what the script reads its inputs from.  Returns when it is ready to take steps.
 * CAM_ERR_UNAVAILABLE: there is no such Python, or it has no torch (the message names the package).
 */
CAM_MUST_USE enum cam_status cam_torch_start(const char *python, int n_threads, const char *config,
                                             const float *data, size_t n_numbers,
                                             struct cam_torch **torch);
void cam_torch_stop(struct cam_torch *torch); /* accepts NULL */

/* "1.13.1, 2 threads, avx512, OpenBLAS openmp": what answers.  Borrowed. */
const char *cam_torch_about(const struct cam_torch *torch);

/* One training step; seconds as the script's own clock saw them. */
CAM_MUST_USE enum cam_status cam_torch_step(struct cam_torch *torch, double *seconds);
/* A number the script knows by NAME: "cpu_seconds", "rss_bytes", "unique_rows", "loss". */
CAM_MUST_USE enum cam_status cam_torch_number(struct cam_torch *torch, const char *name,
                                              double *number);

#endif
