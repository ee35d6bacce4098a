#include "model/ff_peer.h"

#include "math/blas.h"
#include "model/peer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum cam_status check(const struct cam_ff_config *c) {
    if (c->width == 0 || c->width % 16 || c->key_width == 0 || c->key_width % 16)
        return cam_fail(CAM_ERR_CONFIG, "peer: width %zu and key width %zu must be multiples of 16",
                        c->width, c->key_width);
    if (c->heads == 0 || c->top_k == 0 || c->top_k > CAM_PEER_MAX_TOP_K)
        return cam_fail(CAM_ERR_CONFIG,
                        "peer: %zu heads x %zu experts; needs at least 1 and at "
                        "most %d experts a head",
                        c->heads, c->top_k, CAM_PEER_MAX_TOP_K);
    if (c->subkeys < c->top_k || c->subkeys > c->subkeys_capacity ||
        c->subkeys_capacity > CAM_MAX_SUBKEYS)
        return cam_fail(CAM_ERR_CONFIG,
                        "peer: %zu sub-keys must lie between the %zu experts a head and the "
                        "capacity %zu, which may be %d at most",
                        c->subkeys, c->top_k, c->subkeys_capacity, CAM_MAX_SUBKEYS);
    return CAM_OK;
}

static enum cam_status add_params(struct cam_peer *peer, struct cam_params *params) {
    const struct cam_ff_config *c = &peer->ff.config;
    const char *kind = peer->ff.ops->name;
    char name[48];
    snprintf(name, sizeof name, "block%zu.%s.query", c->i_layer, kind);
    size_t n_cols = c->heads * 2 * c->key_width;
    CAM_TRY(cam_params_add(params, name, CAM_PART_QUERY, c->width, n_cols, c->width, &peer->query));
    cam_param_fill_normal(peer->query, c->seed, 0, c->width, 1.0 / sqrt((double)c->width));
    /* Whole blocks: scores of rows not yet in use are computed and ignored. */
    size_t capacity =
        (c->subkeys_capacity + CAM_SUBKEY_BLOCK - 1) / CAM_SUBKEY_BLOCK * CAM_SUBKEY_BLOCK;
    for (int h = 0; h < 2; h++) {
        snprintf(name, sizeof name, "block%zu.%s.subkeys%d", c->i_layer, kind, h);
        CAM_TRY(cam_params_add(params, name, CAM_PART_SUBKEY, c->subkeys, c->key_width, capacity,
                               &peer->subkey[h]));
        cam_param_fill_normal(peer->subkey[h], c->seed, 0, c->subkeys,
                              1.0 / sqrt((double)c->key_width));
        peer->subkey[h]->decay = 0; /* their length is the sharpness of the gates */
    }
    return CAM_OK;
}

void cam_peer_destroy(struct cam_ff *ff) {
    if (!ff)
        return;
    struct cam_peer *peer = cam_peer_of(ff);
    cam_pool_release(&peer->pool);
    free(peer->generation);
    free(peer->bias);
    free(peer);
}

enum cam_status cam_peer_create(const struct cam_ff_config *config, const struct cam_ff_ops *ops,
                                const struct cam_expert_ops *expert, struct cam_params *params,
                                struct cam_ff **ff) {
    CAM_TRY(check(config));
    CAM_TRY(cam_blas_open());
    struct cam_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return cam_fail(CAM_ERR_OS, "out of memory for a pool");
    peer->ff = (struct cam_ff){.ops = cam_ff_path(ops, config), .config = *config};
    peer->expert = expert;
    peer->shape.subkeys = config->subkeys;
    peer->shape.n_generations = 1;
    peer->n_picks = cam_lanes_up(config->heads * config->top_k);
    peer->n_picks_inverse = ((uint64_t)1 << 40) / peer->n_picks + 1;
    uint64_t n_experts = (uint64_t)config->subkeys * config->subkeys;
    uint64_t capacity = (uint64_t)config->subkeys_capacity * config->subkeys_capacity;
    enum cam_status status = CAM_OK;
    peer->generation = calloc(CAM_MAX_GENERATIONS, sizeof *peer->generation);
    peer->bias = calloc(config->subkeys_capacity, sizeof *peer->bias);
    if (!peer->generation || !peer->bias)
        status = cam_fail(CAM_ERR_OS, "out of memory for a pool");
    if (status == CAM_OK)
        status = cam_pool_init(&peer->pool, config->seed, config->i_layer, expert->n_parts,
                               config->width, capacity);
    if (status == CAM_OK && config->pool_bf16)
        cam_pool_keep_bf16(&peer->pool);
    if (status == CAM_OK && config->pool_adam)
        status = cam_pool_keep_moments(&peer->pool);
    if (status == CAM_OK)
        status = cam_pool_grow(&peer->pool, n_experts, CAM_POOL_RANDOM);
    if (status == CAM_OK)
        status = add_params(peer, params);
    if (status != CAM_OK) {
        cam_peer_destroy(&peer->ff);
        return status;
    }
    peer->generation[0] = (struct cam_generation){.state = CAM_GENERATION_OPEN,
                                                  .subkeys_to = (uint32_t)config->subkeys,
                                                  .n_experts = n_experts};
    *ff = &peer->ff;
    return CAM_OK;
}

struct forward {
    struct cam_peer *peer;
    const cam_real *x;
    cam_real *y;
    struct cam_peer_scratch *scratch; /* one a worker */
};

static void forward_block(void *context, size_t i_block, size_t i_worker) {
    struct forward *f = context;
    size_t t0 = i_block * CAM_PEER_BLOCK_TOKENS, n = f->peer->last.n_tokens - t0;
    if (n > CAM_PEER_BLOCK_TOKENS)
        n = CAM_PEER_BLOCK_TOKENS;
    struct cam_peer_scratch *scratch = &f->scratch[i_worker];
    cam_peer_retrieve(f->peer, t0, n, scratch);
    cam_peer_rows(f->peer, f->peer->last.expert + t0 * f->peer->n_picks, n * f->peer->n_picks,
                  scratch->row);
    f->peer->expert->forward(f->peer, t0, n, scratch->row, f->x, f->y, scratch);
}

static int any_closed(const struct cam_peer *peer) {
    return peer->generation[peer->shape.n_generations - 1].state == CAM_GENERATION_CLOSED;
}

void cam_peer_last_init(struct cam_peer *peer, const struct cam_pass *pass) {
    const struct cam_ff_config *c = &peer->ff.config;
    struct cam_arena *arena = pass->arena;
    size_t N = pass->n_tokens, M = peer->n_picks, P = c->heads;
    struct cam_peer_last *last = &peer->last;
    *last = (struct cam_peer_last){
        .arena = arena, .n_tokens = N, .training = pass->training, .products = pass->products};
    last->query = cam_arena_alloc(arena, N * P * 2 * c->key_width * sizeof(cam_real));
    last->factor = cam_arena_alloc(arena, N * P * 2 * sizeof(cam_real));
    last->expert = cam_arena_alloc(arena, N * M * sizeof(uint32_t));
    last->pair = cam_arena_alloc(arena, N * M * sizeof(uint32_t));
    last->gate = cam_arena_alloc(arena, N * M * sizeof(cam_real));
    if (peer->expert->activation)
        last->h = cam_arena_alloc(arena, N * M * sizeof(cam_real));
    if (pass->training && any_closed(peer))
        last->gap = cam_arena_alloc(arena, N * P * sizeof(cam_real));
    if (M > P * c->top_k) { /* places without a pick */
        memset(last->expert, 0, N * M * sizeof(uint32_t));
        memset(last->gate, 0, N * M * sizeof(cam_real));
    }
}

void cam_peer_forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                      cam_real *y) {
    struct cam_peer *peer = cam_peer_of(ff);
    size_t N = pass->n_tokens, D = ff->config.width, Q = peer->query->cols;
    size_t n_workers = (size_t)cam_threads_count(pass->threads);
    cam_peer_last_init(peer, pass);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_PLAIN, N, Q, D, 1,
                     x, D, peer->query->value, Q, 0, peer->last.query, Q);
    cam_peer_pack_subkeys(peer, pass);
    struct forward f = {.peer = peer, .x = x, .y = y};
    f.scratch = cam_arena_alloc(pass->arena, n_workers * sizeof *f.scratch);
    for (size_t i = 0; i < n_workers; i++)
        cam_peer_scratch_init(peer, pass->arena, &f.scratch[i]);
    cam_threads_run(pass->threads, (N + CAM_PEER_BLOCK_TOKENS - 1) / CAM_PEER_BLOCK_TOKENS,
                    forward_block, &f);
}

enum cam_status cam_peer_visit_state(struct cam_ff *ff, cam_state_visitor *visit, void *context) {
    struct cam_peer *peer = cam_peer_of(ff);
    char prefix[32], name[64];
    snprintf(prefix, sizeof prefix, "block%zu.%s", ff->config.i_layer, ff->ops->name);
    snprintf(name, sizeof name, "%s.shape", prefix);
    CAM_TRY(visit(context, name, &peer->shape, sizeof peer->shape));
    if (peer->shape.subkeys != peer->subkey[0]->rows || peer->shape.n_generations == 0 ||
        peer->shape.n_generations > CAM_MAX_GENERATIONS) {
        size_t loaded = (size_t)peer->shape.subkeys;
        peer->shape.subkeys = peer->subkey[0]->rows;
        peer->shape.n_generations = 1;
        return cam_fail(CAM_ERR_DATA, "%s: stored with %zu sub-keys, this layer has %zu", name,
                        loaded, peer->subkey[0]->rows);
    }
    snprintf(name, sizeof name, "%s.generations", prefix);
    CAM_TRY(visit(context, name, peer->generation, CAM_MAX_GENERATIONS * sizeof *peer->generation));
    CAM_TRY(cam_pool_visit(&peer->pool, prefix, visit, context));
    cam_peer_derive(peer);
    return CAM_OK;
}

enum cam_status cam_peer_restore_shape(struct cam_ff *ff, size_t subkeys) {
    struct cam_peer *peer = cam_peer_of(ff);
    if (subkeys < peer->shape.subkeys || subkeys > ff->config.subkeys_capacity)
        return cam_fail(CAM_ERR_CONFIG,
                        "peer: cannot become %zu sub-keys (has %zu, peer.max_subkeys is %zu)",
                        subkeys, (size_t)peer->shape.subkeys, ff->config.subkeys_capacity);
    CAM_TRY(cam_pool_grow(&peer->pool, (uint64_t)subkeys * subkeys, CAM_POOL_EMPTY));
    peer->shape.subkeys = subkeys;
    peer->subkey[0]->rows = peer->subkey[1]->rows = subkeys;
    return CAM_OK;
}

/* Query projection, scores of all sub-keys, experts. */
double cam_peer_flops(const struct cam_ff *ff) {
    const struct cam_ff_config *c = &ff->config;
    double P = (double)c->heads, D = (double)c->width, dk = (double)c->key_width;
    return 2 * (D * P * 2 * dk + P * 2 * dk * (double)cam_peer_subkeys(ff)) +
           P * (double)c->top_k * cam_peer_of(ff)->expert->flops(c->width);
}

void cam_peer_size(const struct cam_ff *ff, struct cam_ff_size *size) {
    const struct cam_peer *peer = cam_peer_of(ff);
    double n = (double)peer->pool.n_experts, record = (double)peer->pool.record;
    *size =
        (struct cam_ff_size){.table = n * record,
                             .table_active = (double)(ff->config.heads * ff->config.top_k) * record,
                             .table_bytes = n * (double)cam_pool_expert_bytes(&peer->pool),
                             .pool_experts = (size_t)peer->pool.n_experts};
}

static enum cam_status create(const struct cam_ff_config *config, struct cam_params *params,
                              struct cam_ff **ff) {
    return cam_peer_create(config, &cam_ff_peer, &cam_expert_neuron, params, ff);
}

const struct cam_ff_ops cam_ff_peer = {.name = "peer",
                                       .pool = 1,
                                       .reference = &cam_ff_peer_reference,
                                       .create = create,
                                       .destroy = cam_peer_destroy,
                                       .forward = cam_peer_forward,
                                       .backward = cam_peer_backward,
                                       .update = cam_peer_update,
                                       .visit_state = cam_peer_visit_state,
                                       .flops = cam_peer_flops,
                                       .size = cam_peer_size};

const struct cam_ff_ops cam_ff_peer_reference = {.name = "peer",
                                                 .pool = 1,
                                                 .reference = &cam_ff_peer_reference,
                                                 .create = create,
                                                 .destroy = cam_peer_destroy,
                                                 .forward = cam_peer_reference_forward,
                                                 .backward = cam_peer_reference_backward,
                                                 .update = cam_peer_reference_update,
                                                 .visit_state = cam_peer_visit_state,
                                                 .flops = cam_peer_flops,
                                                 .size = cam_peer_size};
