/* This file alone is compiled with contraction allowed (src/CMakeLists.txt): it measures the
 * multiply-add unit, which the kernels leave alone for the sake of equal bits everywhere. */
#include "bench/peak.h"

#include "math/real.h"

/* What was computed must seem to be used. */
static _Thread_local volatile cam_real sink;

/* N sums in registers: enough of them to cover the latency of an operation on every port. */
static inline __attribute__((always_inline)) double run(size_t rounds, const int n) {
    cam_vec sum[16], half = (cam_vec){0} + (cam_real)0.5;
    for (int i = 0; i < n; i++)
        sum[i] = half * (cam_real)i;
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 16
        for (int i = 0; i < n; i++)
            sum[i] = sum[i] * half + half;
    for (int i = 1; i < n; i++)
        sum[0] += sum[i];
    sink = sum[0][0];
    return 2.0 * (double)rounds * n * CAM_LANES;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,prefer-vector-width=512"))) static double run_512(size_t rounds) {
    return run(rounds, 16);
}

__attribute__((target("avx2,fma"))) static double run_256(size_t rounds) {
    return run(rounds, 6); /* two registers each */
}
#endif

double cam_peak_fma(size_t rounds) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return run_512(rounds);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return run_256(rounds);
#endif
    return run(rounds, 2);
}
