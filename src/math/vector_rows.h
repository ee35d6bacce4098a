/* vector_rows.h - kernels over many short rows that lie scattered in memory (experts, sub-keys).
 *
 * Lengths are counted in reals and must be multiples of CAM_LANES.  Sums are kept per lane and
 * folded in a fixed order, and nothing is contracted, so every processor gives the same bits.
 * Pointers need the alignment of a real only; 64 bytes are faster. */
#ifndef CAM_MATH_VECTOR_ROWS_H
#define CAM_MATH_VECTOR_ROWS_H

#include "math/real.h"

#include <stddef.h>

#define CAM_ROWS_AHEAD 6 /* rows between prefetch and use */

/* dot[i] = x . (rows[i] + offset), N reals each.  RECORD_BYTES > 0: rows hold at least
 * N_ROWS + CAM_ROWS_AHEAD pointers, and while row i is read so many bytes from rows[i + AHEAD] on
 * are fetched into the cache. */
void cam_rows_dot(const cam_real *x, const cam_real *const *rows, size_t n_rows, size_t offset,
                  size_t n, size_t record_bytes, cam_real *dot);

/* y = sum of coef[i] * (rows[i] + offset), in the order of i, added to what y held when ADD. */
void cam_rows_sum(const cam_real *const *rows, const cam_real *coef, size_t n_rows, size_t offset,
                  size_t n, int add, cam_real *y);

/* rows[i] += coef[i] * x, in the order of i (rows may repeat). */
void cam_rows_scatter(cam_real *const *rows, const cam_real *coef, size_t n_rows, const cam_real *x,
                      size_t n);

cam_real cam_row_sum_squares(const cam_real *x, size_t n);
/* y += a * x */
void cam_row_add(cam_real a, const cam_real *x, size_t n, cam_real *y);

/* x = (x - mean) / sqrt(variance + epsilon) in place (LayerNorm without gain and bias); returns
 * the factor.  The backward turns d (gradient of the result X) into the gradient of the input. */
cam_real cam_row_normalise(cam_real *x, size_t n, cam_real epsilon);
void cam_row_normalise_backward(const cam_real *x, cam_real factor, size_t n, cam_real *d);

/* x = exp(x) in place, relative error a few roundings; below the range of normal numbers it stays
 * at their lower end. */
void cam_row_exp(cam_real *x, size_t n);

/* a = gelu(h), the tanh form (Hendrycks and Gimpel 2016, eq. 3), and its derivative. */
void cam_row_gelu(const cam_real *h, size_t n, cam_real *a);
void cam_row_gelu_slope(const cam_real *h, size_t n, cam_real *a, cam_real *slope);

#endif
