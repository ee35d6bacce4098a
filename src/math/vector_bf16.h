/* vector_bf16.h - rows of bfloat16 (the upper half of a float): the kernels of math/vector_rows.h
 * over such rows, and numbers put into them.
 *
 * Lengths are multiples of CAM_LANES.  Everything is computed in cam_real, in a fixed order, so
 * every processor gives the same bits. */
#ifndef CAM_MATH_VECTOR_BF16_H
#define CAM_MATH_VECTOR_BF16_H

#include "math/real.h"

typedef uint16_t cam_bf16;

/* As cam_rows_dot and cam_rows_sum; the addresses in ROWS are of bfloat16, and OFFSET counts those.
 */
void cam_bf16_rows_dot(const cam_real *x, const cam_real *const *rows, size_t n_rows, size_t offset,
                       size_t n, size_t record_bytes, cam_real *dot);
void cam_bf16_rows_sum(const cam_real *const *rows, const cam_real *coef, size_t n_rows,
                       size_t offset, size_t n, int add, cam_real *y);

void cam_bf16_read(const cam_bf16 *from, size_t n, cam_real *to);
/* To nearest, ties to even. */
void cam_bf16_write(const cam_real *from, size_t n, cam_bf16 *to);
/* Up or down by chance, so that the mean is right: a step far below the last bit is taken once in a
 * while (stochastic rounding; Gupta et al. 2015, section 3.2).  What is drawn is a function of KEY
 * and of the places, which begin at PLACE; numbers that need no rounding stay as they are. */
void cam_bf16_write_by_chance(const cam_real *from, size_t n, uint32_t key, size_t place,
                              cam_bf16 *to);
/* row += a * x, rounded in that way: the bits that a sum in cam_real, written by chance, has. */
void cam_bf16_row_add(cam_real a, const cam_real *x, size_t n, uint32_t key, size_t place,
                      cam_bf16 *row);

#endif
