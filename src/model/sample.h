/* sample.h - text from the model, a token at a time. */
#ifndef CAM_MODEL_SAMPLE_H
#define CAM_MODEL_SAMPLE_H

#include "model/model.h"

struct cam_sampler {
    double temperature; /* 0: always the likeliest */
    size_t top_k;       /* 0: all */
    double top_p;       /* nucleus (Holtzman et al. 2020); 1: all */
    uint64_t seed;
};

/* Predicts the token after IDS (N >= 1, the last CONTEXT of them count).  STEP numbers the draw. */
uint16_t cam_sample_next(struct cam_model *model, struct cam_threads *threads,
                         struct cam_arena *arena, const struct cam_sampler *sampler,
                         const uint16_t *ids, size_t n, uint64_t step);

#endif
