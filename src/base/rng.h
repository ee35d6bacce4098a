/* rng.h - counter-based randomness: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers:
 * as easy as 1, 2, 3").
 *
 * A draw is a pure function of (seed, purpose, step, slot): nothing is stored, so nothing can get
 * out of step on resume, and thread count cannot matter.  Purposes are listed
 * here so that two uses can never share a stream by accident. */
#ifndef CAM_BASE_RNG_H
#define CAM_BASE_RNG_H

#include <stdint.h>

enum cam_purpose {
    CAM_PURPOSE_INIT_TRUNK = 1, /* slot: parameter number; step: element / 4 */
    CAM_PURPOSE_INIT_EXPERT,    /* step: expert id; slot: layer, incarnation */
    CAM_PURPOSE_INIT_SUBKEY,
    CAM_PURPOSE_REPLAY, /* which document and where; step: training step; slot: draw */
    CAM_PURPOSE_GROWTH, /* which sub-queries become sub-keys */
    CAM_PURPOSE_SAMPLE, /* text generation */
    CAM_PURPOSE_TEST,
    CAM_PURPOSE_FEED,  /* jitter of polls; never reaches the trainer */
    CAM_PURPOSE_BENCH, /* inputs of benchmarks, order of their documents */
    CAM_PURPOSE_ROUND_EXPERT, /* rows in bfloat16; step: training step; slot: layer */
};

struct cam_random {
    uint32_t word[4];
};

/* Four independent uniform words for this counter. */
struct cam_random cam_random_at(uint64_t seed, enum cam_purpose purpose, uint64_t step,
                                uint32_t slot);

/* Uniform in [0, 1) with 24 bits; two standard normals from one counter block (Box-Muller). */
double cam_random_unit(uint32_t word);
void cam_random_normal4(struct cam_random random, float normal[4]);

/* Uniform in [0, n), n >= 1, from the first two words (bias < n / 2^64). */
uint64_t cam_random_below(struct cam_random random, uint64_t n);

#endif
