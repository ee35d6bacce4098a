/* vector_inline.h - the pieces kernels are made of, inlined into each processor's clone.
 *
 * Include only from .c files whose outer functions carry CAM_CLONES. */
#ifndef CAM_MATH_VECTOR_INLINE_H
#define CAM_MATH_VECTOR_INLINE_H

#include "math/real.h"

#include <math.h>

/* Compiles a function once per instruction set; the loader picks (ifunc).  By feature, not by
 * "arch=": that form matches the exact processor model and drops later ones to the plain variant.  Sanitizers run before
 * ifuncs can be resolved safely, so they get the plain variant, whose bits are the same. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CAM_CLONES
#endif
#define CAM_INLINE static inline __attribute__((always_inline))


#define CAM_LOAD(p)     (*(const cam_vec *)(p))
#define CAM_STORE(p, x) (*(cam_vec *)(p) = (x))

/* Folds lanes in halves: fixed order, whatever the register width. */
CAM_INLINE cam_real cam_lanes_sum(cam_vec x) {
    cam_real lane[CAM_LANES];
    __builtin_memcpy(lane, &x, sizeof lane);
    for (int half = CAM_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

CAM_INLINE cam_vec cam_splat(cam_real x) {
    return (cam_vec){0} + x;
}

/* One integer a lane, of the lane's size: what a comparison gives (-1 or 0). */
#ifdef CAM_DOUBLE
typedef int64_t cam_mask __attribute__((vector_size(64)));
#else
typedef int32_t cam_mask __attribute__((vector_size(64)));
#endif

/* Lane by lane, MASK ? a : b. */
CAM_INLINE cam_vec cam_select(cam_mask mask, cam_vec a, cam_vec b) {
    cam_mask x, y;
    __builtin_memcpy(&x, &a, sizeof x);
    __builtin_memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    __builtin_memcpy(&a, &x, sizeof a);
    return a;
}

CAM_INLINE cam_vec cam_max(cam_vec a, cam_vec b) {
    return cam_select(a > b, a, b);
}

/* exp(x), within 2 ulp in float (Cephes-style reduction and polynomial); libm's in double. */
CAM_INLINE cam_vec cam_exp(cam_vec x) {
#ifdef CAM_DOUBLE
    for (int i = 0; i < CAM_LANES; i++)
        x[i] = exp(x[i]);
    return x;
#else
    const cam_vec low = cam_splat(-87.3f), high = cam_splat(88.3f);
    x = cam_max(x, low);
    x = cam_select(x > high, high, x);
    cam_vec scaled = x * 1.44269504f;
    cam_vec half = cam_select(scaled < 0, cam_splat(-0.5f), cam_splat(0.5f));
    cam_mask n = __builtin_convertvector(scaled + half, cam_mask);
    cam_vec whole = __builtin_convertvector(n, cam_vec);
    cam_vec r = x - whole * 0.693359375f - whole * -2.12194440e-4f;
    cam_vec p = cam_splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    cam_mask bits = (n + 127) << 23;
    cam_vec power;
    __builtin_memcpy(&power, &bits, sizeof power);
    return p * power;
#endif
}

CAM_INLINE cam_vec cam_sqrt(cam_vec x) {
    for (int i = 0; i < CAM_LANES; i++)
        x[i] = sizeof(cam_real) == 8 ? (cam_real)sqrt((double)x[i]) : (cam_real)sqrtf((float)x[i]);
    return x;
}

#endif
