/* peak.h - the arithmetic limit of one core. */
#ifndef CAM_BENCH_PEAK_H
#define CAM_BENCH_PEAK_H

#include <stddef.h>

/* ROUNDS rounds of independent multiply-adds in registers on the calling thread, with the widest
 * registers the processor has; returns the floating-point operations done (two each). */
double cam_peak_fma(size_t rounds);

#endif
