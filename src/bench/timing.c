#include "bench/timing.h"

#include <stdlib.h>
#include <string.h>

void cam_samples_add(struct cam_samples *samples, double value) {
    if (samples->n < CAM_MAX_SAMPLES)
        samples->value[samples->n++] = value;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct cam_timing cam_samples_timing(const struct cam_samples *samples) {
    struct cam_samples s = *samples;
    if (s.n == 0)
        return (struct cam_timing){0};
    qsort(s.value, s.n, sizeof *s.value, ascending);
    double median = (s.value[(s.n - 1) / 2] + s.value[s.n / 2]) / 2;
    return (struct cam_timing){median, s.value[0], s.value[s.n - 1], s.n};
}

struct cam_timing cam_timing_rate(struct cam_timing seconds, double amount) {
    if (seconds.n == 0 || !(seconds.low > 0))
        return (struct cam_timing){0};
    return (struct cam_timing){amount / seconds.median, amount / seconds.high, amount / seconds.low,
                               seconds.n};
}
