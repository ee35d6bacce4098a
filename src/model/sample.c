#include "model/sample.h"

#include "base/rng.h"
#include "math/vector.h"

#include <stdlib.h>
#include <string.h>

struct choice {
    cam_real p;
    uint16_t id;
};

static int likelier(const void *a, const void *b) {
    const struct choice *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? 1 : -1;
    return (int)x->id - (int)y->id;
}

/* Logits (V) to probabilities at this temperature. */
static void temper(cam_real *logits, size_t v, double temperature) {
    for (size_t i = 0; i < v; i++)
        logits[i] = (cam_real)((double)logits[i] / temperature);
    cam_softmax(logits, v);
}

static uint16_t likeliest(const cam_real *logits, size_t v) {
    size_t best = 0;
    for (size_t i = 1; i < v; i++)
        if (logits[i] > logits[best])
            best = i;
    return (uint16_t)best;
}

uint16_t cam_sample_next(struct cam_model *model, struct cam_threads *threads,
                         struct cam_arena *arena, const struct cam_sampler *sampler,
                         const uint16_t *ids, size_t n, uint64_t step) {
    size_t v = model->shape.vocabulary, t = n < model->shape.context ? n : model->shape.context;
    cam_arena_reset(arena);
    struct cam_pass pass = {
        .threads = threads, .arena = arena, .n_tokens = t, .products = model->shape.products};
    cam_model_forward(model, &pass, 1, ids + n - t);
    cam_real *logits = model->logits + (t - 1) * v;
    if (!(sampler->temperature > 0))
        return likeliest(logits, v);
    temper(logits, v, sampler->temperature);
    struct choice *choices = cam_arena_alloc(arena, v * sizeof *choices);
    for (size_t i = 0; i < v; i++)
        choices[i] = (struct choice){logits[i], (uint16_t)i};
    qsort(choices, v, sizeof *choices, likelier);
    size_t keep = sampler->top_k && sampler->top_k < v ? sampler->top_k : v;
    double mass = 0;
    for (size_t i = 0; i < keep; i++) {
        mass += (double)choices[i].p;
        if (mass >= sampler->top_p)
            keep = i + 1;
    }
    struct cam_random random = cam_random_at(sampler->seed, CAM_PURPOSE_SAMPLE, step, 0);
    double at = cam_random_unit(random.word[0]) * mass;
    for (size_t i = 0; i < keep; i++) {
        at -= (double)choices[i].p;
        if (at < 0)
            return choices[i].id;
    }
    return choices[keep - 1].id;
}
