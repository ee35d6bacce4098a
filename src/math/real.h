/* real.h - the number type of the model: float, or double under CAM_DOUBLE.
 *
 * The library is compiled twice from one source.  The double build exists for the tests: finite
 * differences of the very code that trains. */
#ifndef CAM_MATH_REAL_H
#define CAM_MATH_REAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef CAM_DOUBLE
typedef double cam_real;
#define CAM_LANES 8
#else
typedef float cam_real;
#define CAM_LANES 16
#endif

/* The least multiple of CAM_LANES that holds N numbers. */
static inline size_t cam_lanes_up(size_t n) {
    return (n + CAM_LANES - 1) / CAM_LANES * CAM_LANES;
}

/* 64 bytes of reals; unaligned loads allowed.  The lane count is part of every result (sums are
 * kept per lane and folded in a fixed order), so all processors give the same bits. */
typedef cam_real cam_vec
    __attribute__((vector_size(64), aligned(sizeof(cam_real)), may_alias));

#endif
