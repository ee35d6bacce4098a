/* timing.h - repeated durations and what is said of them.
 *
 * A machine that does other work gives a few slow samples, never a fast one by luck: so the median
 * is what is compared, and the lowest and highest show how quiet it was. */
#ifndef CAM_BENCH_TIMING_H
#define CAM_BENCH_TIMING_H

#include <stddef.h>

#define CAM_MAX_SAMPLES 1000

/* Of any quantity; all zero when nothing was measured. */
struct cam_timing {
    double median, low, high;
    size_t n;
};

struct cam_samples {
    double value[CAM_MAX_SAMPLES];
    size_t n;
};

/* Past CAM_MAX_SAMPLES further ones are dropped. */
void cam_samples_add(struct cam_samples *samples, double value);
struct cam_timing cam_samples_timing(const struct cam_samples *samples);

/* A rate from durations: AMOUNT over each; the lowest rate comes from the longest time. */
struct cam_timing cam_timing_rate(struct cam_timing seconds, double amount);

#endif
