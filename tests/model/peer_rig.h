/* peer_rig.h - a small PEER layer with everything it needs to take steps, for tests. */
#ifndef CAM_TESTS_PEER_RIG_H
#define CAM_TESTS_PEER_RIG_H

#include "base/rng.h"
#include "model/ff_peer.h"
#include "model/peer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_params params;
    struct cam_ff *ff;
    struct cam_pass pass;
    size_t n, width;
    cam_real *x, *y, *dy, *dx; /* (n, width) */
};

static const struct cam_ff_config rig_config = {.seed = 7,
                                                .width = 32,
                                                .heads = 3,
                                                .top_k = 4,
                                                .key_width = 16,
                                                .subkeys = 12,
                                                .subkeys_capacity = 100,
                                                .pool_lr_scale = 2};

#define RIG_OK(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static inline void rig_fill(cam_real *x, size_t n, uint64_t step, double scale) {
    for (size_t i = 0; i < n; i += 4) {
        float normal[4];
        cam_random_normal4(cam_random_at(99, CAM_PURPOSE_TEST, step, (uint32_t)i), normal);
        for (size_t k = 0; k < 4 && i + k < n; k++)
            x[i + k] = (cam_real)(normal[k] * scale);
    }
}

static inline void rig_init(struct rig *rig, const struct cam_ff_config *config, size_t n,
                            int n_threads) {
    *rig = (struct rig){.n = n, .width = config->width};
    RIG_OK(cam_threads_new(n_threads, &rig->threads));
    cam_arena_init(&rig->arena);
    cam_params_init(&rig->params);
    RIG_OK(cam_ff_peer.create(config, &rig->params, &rig->ff));
    rig->pass = (struct cam_pass){rig->threads, &rig->arena, n, 1};
    cam_real **arrays[] = {&rig->x, &rig->y, &rig->dy, &rig->dx};
    for (int i = 0; i < 4; i++)
        *arrays[i] = aligned_alloc(64, n * config->width * sizeof(cam_real));
    rig_fill(rig->x, n * config->width, 0, 1);
    rig_fill(rig->dy, n * config->width, 1, 1);
}

static inline void rig_release(struct rig *rig) {
    cam_ff_peer.destroy(rig->ff);
    cam_params_release(&rig->params);
    cam_arena_release(&rig->arena);
    cam_threads_free(rig->threads);
    free(rig->x);
    free(rig->y);
    free(rig->dy);
    free(rig->dx);
}

static inline void rig_forward(struct rig *rig, int training) {
    cam_arena_reset(&rig->arena);
    rig->pass.training = training;
    memset(rig->y, 0, rig->n * rig->width * sizeof *rig->y);
    cam_ff_peer.forward(rig->ff, &rig->pass, rig->x, rig->y);
}

static inline void rig_backward(struct rig *rig) {
    cam_params_zero_grad(&rig->params);
    memset(rig->dx, 0, rig->n * rig->width * sizeof *rig->dx);
    cam_ff_peer.backward(rig->ff, &rig->pass, rig->x, rig->dy, rig->dx);
}

/* A whole step on inputs drawn for STEP; dense parameters move by plain gradient descent, except
 * frozen rows. */
static inline void rig_step(struct rig *rig, uint64_t step) {
    rig_fill(rig->x, rig->n * rig->width, 2 * step + 2, 1);
    rig_fill(rig->dy, rig->n * rig->width, 2 * step + 3, 1);
    rig_forward(rig, 1);
    rig_backward(rig);
    for (size_t i = 0; i < rig->params.n; i++) {
        struct cam_param *p = rig->params.items[i];
        for (size_t k = p->frozen_rows * p->cols; k < p->rows * p->cols; k++)
            p->value[k] -= (cam_real)1e-3 * p->grad[k];
    }
    struct cam_update update = {.lr = 1e-2, .grad_scale = 1.0 / 64, .beta2 = 0.99, .step = step};
    cam_ff_peer.update(rig->ff, &rig->pass, &update);
}

/* Regions of the layer's state, copied or written back. */
struct rig_state {
    char *bytes;
    size_t n, capacity, at;
    int load;
};

static inline enum cam_status rig_visit(void *context, const char *name, void *data, size_t n) {
    struct rig_state *s = context;
    (void)name;
    if (s->load) {
        cr_assert_leq(s->at + n, s->n);
        memcpy(data, s->bytes + s->at, n);
        s->at += n;
        return CAM_OK;
    }
    while (s->n + n > s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 4096;
        s->bytes = realloc(s->bytes, s->capacity);
    }
    memcpy(s->bytes + s->n, data, n);
    s->n += n;
    return CAM_OK;
}

static inline struct rig_state rig_save(struct rig *rig) {
    struct rig_state s = {0};
    RIG_OK(cam_ff_peer.visit_state(rig->ff, rig_visit, &s));
    for (size_t i = 0; i < rig->params.n; i++) {
        struct cam_param *p = rig->params.items[i];
        RIG_OK(rig_visit(&s, p->name, p->value, p->rows * p->cols * sizeof(cam_real)));
    }
    return s;
}

static inline void rig_load(struct rig *rig, struct rig_state *s) {
    s->load = 1;
    s->at = 0;
    RIG_OK(cam_ff_peer.visit_state(rig->ff, rig_visit, s));
    for (size_t i = 0; i < rig->params.n; i++) {
        struct cam_param *p = rig->params.items[i];
        RIG_OK(rig_visit(s, p->name, p->value, p->rows * p->cols * sizeof(cam_real)));
    }
    s->load = 0;
}

static inline int rig_same(const struct rig_state *a, const struct rig_state *b) {
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

#endif
