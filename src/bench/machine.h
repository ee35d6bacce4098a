/* machine.h - what a measurement was taken on: figures without it mean nothing. */
#ifndef CAM_BENCH_MACHINE_H
#define CAM_BENCH_MACHINE_H

#include "base/status.h"
#include "math/blas.h"

#include <stddef.h>

struct cam_machine {
    char cpu[128];       /* as the processor names itself; "unknown" elsewhere than Linux */
    char blas_core[96];  /* matrix kernels in use */
    char features[128];  /* of those our kernels look for, separated by blanks */
    char huge_pages[16]; /* "always", "madvise", "never" or "unknown" */
    int n_cores;         /* online */
    double load;         /* one-minute average of runnable processes, before the measurement */
    double memory_bytes;
};

/* For measurements with PRODUCTS.  Opens the BLAS library; its absence is the only failure. */
CAM_MUST_USE enum cam_status cam_machine_look(enum cam_products products,
                                              struct cam_machine *machine);

#endif
