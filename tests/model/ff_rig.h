/* ff_rig.h - one feed-forward slot with everything it needs to take steps, for tests. */
#ifndef CAM_TESTS_FF_RIG_H
#define CAM_TESTS_FF_RIG_H

#include "base/rng.h"
#include "model/ff_peer.h"
#include "model/moe.h"
#include "model/peer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RIG_MAX_FF = 2 };

struct rig {
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_params params;
    struct cam_ff *slot[RIG_MAX_FF]; /* as in a block: outputs add */
    size_t n_slot;
    struct cam_ff *ff; /* the one with a pool, else the last */
    struct cam_pass pass;
    size_t n, width;
    cam_real *x, *y, *dy, *dx; /* (n, width) */
};

/* For any kind; small, with sizes that fill no vector where a kind allows that. */
static const struct cam_ff_config rig_config = {.seed = 7,
                                                .width = 32,
                                                .hidden = 22,
                                                .moe_experts = 5,
                                                .moe_capacity = 1.25,
                                                .moe_balance = 0.5,
                                                .heads = 3,
                                                .top_k = 4,
                                                .key_width = 16,
                                                .subkeys = 12,
                                                .subkeys_capacity = 100,
                                                .pool_lr_scale = 2};

/* ctest runs the suites in float once more with products in bfloat16. */
static inline enum cam_products rig_products(void) {
    return getenv("CAM_TEST_BF16") ? CAM_PRODUCTS_BF16 : CAM_PRODUCTS_FP32;
}

#define RIG_OK(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

/* A test of what only layers with a pool do, once for each of them. */
#define POOL_TEST(suite, name)                                                                     \
    static void name(const char *kind);                                                            \
    Test(suite, peer_##name) {                                                                     \
        name("peer");                                                                              \
    }                                                                                              \
    Test(suite, pkm_##name) {                                                                      \
        name("pkm");                                                                               \
    }                                                                                              \
    static void name(const char *kind)

/* What the contract suites run over: every kind, dense also with GELU, every two kinds that may
 * share a slot, pools also with rows moved by Adam, and with rows in bfloat16. */
struct rig_variant {
    char slot[24];
    enum cam_activation activation;
    int pool_adam, pool_bf16;
};
enum { RIG_MAX_VARIANTS = 64 };

static inline size_t rig_variants(struct rig_variant variant[RIG_MAX_VARIANTS]) {
    size_t n = 0;
    memset(variant, 0, RIG_MAX_VARIANTS * sizeof *variant);
    for (size_t i = 0; cam_ff_kinds[i]; i++) {
        snprintf(variant[n++].slot, sizeof variant->slot, "%s", cam_ff_kinds[i]->name);
        for (size_t j = i + 1; cam_ff_kinds[j]; j++)
            if (!(cam_ff_kinds[i]->pool && cam_ff_kinds[j]->pool))
                snprintf(variant[n++].slot, sizeof variant->slot, "%.11s+%.11s",
                         cam_ff_kinds[i]->name, cam_ff_kinds[j]->name);
    }
    cr_assert_lt(n, RIG_MAX_VARIANTS);
    strcpy(variant[n].slot, "dense");
    variant[n++].activation = CAM_ACTIVATION_GELU;
    for (size_t i = 0; cam_ff_kinds[i]; i++)
        if (cam_ff_kinds[i]->pool) {
            snprintf(variant[n].slot, sizeof variant->slot, "%s", cam_ff_kinds[i]->name);
            variant[n++].pool_adam = 1;
            snprintf(variant[n].slot, sizeof variant->slot, "%s", cam_ff_kinds[i]->name);
            variant[n++].pool_bf16 = 1;
        }
    return n;
}

#define EACH_VARIANT(v)                                                                            \
    static struct rig_variant variants_[RIG_MAX_VARIANTS];                                         \
    size_t n_variants_ = rig_variants(variants_);                                                  \
    for (const struct rig_variant *v = variants_; v < variants_ + n_variants_; v++)

static inline void rig_fill(cam_real *x, size_t n, uint64_t step, double scale) {
    for (size_t i = 0; i < n; i += 4) {
        float normal[4];
        cam_random_normal4(cam_random_at(99, CAM_PURPOSE_TEST, step, (uint32_t)i), normal);
        for (size_t k = 0; k < 4 && i + k < n; k++)
            x[i + k] = (cam_real)(normal[k] * scale);
    }
}

static inline void rig_create_slot(struct rig *rig, const char *slot,
                                   const struct cam_ff_config *config) {
    char kinds[24], *rest = NULL;
    snprintf(kinds, sizeof kinds, "%s", slot);
    for (char *kind = strtok_r(kinds, "+", &rest); kind; kind = strtok_r(NULL, "+", &rest)) {
        const struct cam_ff_ops *ops = cam_ff_find(kind);
        cr_assert(ops && rig->n_slot < RIG_MAX_FF, "%s", slot);
        struct cam_ff **ff = &rig->slot[rig->n_slot++];
        RIG_OK(ops->create(config, &rig->params, ff));
        if (!rig->ff || !rig->ff->ops->pool)
            rig->ff = *ff;
    }
}

static inline void rig_init(struct rig *rig, const char *slot, const struct cam_ff_config *config,
                            size_t n, int n_threads) {
    *rig = (struct rig){.n = n, .width = config->width};
    RIG_OK(cam_threads_new(n_threads, &rig->threads));
    cam_arena_init(&rig->arena);
    cam_params_init(&rig->params);
    rig_create_slot(rig, slot, config);
    /* Branches start at zero: fill what is, so that every path carries gradient. */
    for (size_t i = 0; i < rig->params.n; i++)
        if (rig->params.items[i]->value[0] == 0)
            cam_param_fill_normal(rig->params.items[i], 11, 0, rig->params.items[i]->rows, 0.3);
    rig->pass = (struct cam_pass){.threads = rig->threads,
                                  .arena = &rig->arena,
                                  .n_tokens = n,
                                  .training = 1,
                                  .products = rig_products()};
    cam_real **arrays[] = {&rig->x, &rig->y, &rig->dy, &rig->dx};
    for (int i = 0; i < 4; i++)
        *arrays[i] = aligned_alloc(64, n * config->width * sizeof(cam_real));
    rig_fill(rig->x, n * config->width, 0, 1);
    rig_fill(rig->dy, n * config->width, 1, 1);
}

static inline void rig_init_variant(struct rig *rig, const struct rig_variant *variant,
                                    int reference, size_t n, int n_threads) {
    struct cam_ff_config config = rig_config;
    config.activation = variant->activation;
    config.pool_adam = variant->pool_adam;
    config.pool_bf16 = variant->pool_bf16;
    config.reference = reference;
    rig_init(rig, variant->slot, &config, n, n_threads);
}

static inline void rig_release(struct rig *rig) {
    for (size_t i = 0; i < rig->n_slot; i++)
        rig->slot[i]->ops->destroy(rig->slot[i]);
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
    for (size_t i = 0; i < rig->n_slot; i++)
        rig->slot[i]->ops->forward(rig->slot[i], &rig->pass, rig->x, rig->y);
}

static inline void rig_backward(struct rig *rig) {
    cam_params_zero_grad(&rig->params);
    memset(rig->dx, 0, rig->n * rig->width * sizeof *rig->dx);
    for (size_t i = 0; i < rig->n_slot; i++)
        rig->slot[i]->ops->backward(rig->slot[i], &rig->pass, rig->x, rig->dy, rig->dx);
}

static inline void rig_update(struct rig *rig, const struct cam_update *update) {
    for (size_t i = 0; i < rig->n_slot; i++)
        if (rig->slot[i]->ops->update)
            rig->slot[i]->ops->update(rig->slot[i], &rig->pass, update);
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
    struct cam_update update = {.lr = 1e-2, .grad_scale = 1.0 / 64, .beta1 = 0.9, .beta2 = 0.99,
                                .step = step};
    rig_update(rig, &update);
}

/* What backward differentiates: sum of y * dy, and what the kinds add themselves. */
static inline double rig_objective(struct rig *rig) {
    rig_forward(rig, 1);
    double sum = 0;
    for (size_t i = 0; i < rig->n * rig->width; i++)
        sum += (double)rig->y[i] * (double)rig->dy[i];
    for (size_t i = 0; i < rig->n_slot; i++)
        if (rig->slot[i]->ops->auxiliary)
            sum += rig->slot[i]->ops->auxiliary(rig->slot[i]);
    return sum;
}

/* Which experts the last pass chose, of all kinds that choose, one after the other.  *N: how many;
 * the caller frees. */
static inline uint32_t *rig_choices(const struct rig *rig, size_t *n) {
    uint32_t *all = NULL;
    *n = 0;
    for (size_t i = 0; i < rig->n_slot; i++) {
        const struct cam_ff *ff = rig->slot[i];
        const uint32_t *chosen = NULL;
        size_t more = 0;
        if (ff->ops->pool) {
            chosen = cam_peer_of(ff)->last.expert;
            more = rig->pass.n_tokens * cam_peer_of(ff)->n_picks;
        } else if (strcmp(ff->ops->name, "moe") == 0) {
            chosen = cam_moe_of(ff)->last.expert;
            more = rig->pass.n_tokens * CAM_MOE_CHOICES;
        }
        all = realloc(all, (*n + more + 1) * sizeof *all);
        memcpy(all + *n, chosen ? chosen : all, more * sizeof *all);
        *n += more;
    }
    return all;
}

/* Regions of the slot's state and its parameters, copied or written back. */
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

static inline void rig_visit_all(struct rig *rig, struct rig_state *s) {
    for (size_t i = 0; i < rig->n_slot; i++)
        if (rig->slot[i]->ops->visit_state)
            RIG_OK(rig->slot[i]->ops->visit_state(rig->slot[i], rig_visit, s));
    for (size_t i = 0; i < rig->params.n; i++) {
        struct cam_param *p = rig->params.items[i];
        RIG_OK(rig_visit(s, p->name, p->value, p->rows * p->cols * sizeof(cam_real)));
    }
}

static inline struct rig_state rig_save(struct rig *rig) {
    struct rig_state s = {0};
    rig_visit_all(rig, &s);
    return s;
}

static inline void rig_load(struct rig *rig, struct rig_state *s) {
    s->load = 1;
    s->at = 0;
    rig_visit_all(rig, s);
    cr_assert_eq(s->at, s->n);
    s->load = 0;
}

static inline int rig_same(const struct rig_state *a, const struct rig_state *b) {
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

#endif
