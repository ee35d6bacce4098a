/* topk.h - the k largest of n numbers, exactly.
 *
 * One order everywhere: larger first, equal numbers by the lower index, not-a-number last (it
 * counts as minus infinity). */
#ifndef CAM_MATH_TOPK_H
#define CAM_MATH_TOPK_H

#include "math/real.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_TOP_K_MAX 128 /* largest k */

/* The first K in that order, 1 <= K <= min(N, CAM_TOP_K_MAX): their values and their indices. */
void cam_top_k(const cam_real *score, size_t n, size_t k, cam_real *top_score, uint32_t *top_index);
/* The same on any processor; cam_top_k takes a faster way where it can, with the same result. */
void cam_top_k_plain(const cam_real *score, size_t n, size_t k, cam_real *top_score,
                     uint32_t *top_index);

#endif
