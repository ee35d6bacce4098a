/* How gradients reach the router and the rows of a pool.
 *
 * The first half of backward runs in token order.  The other half runs in expert order: picks are
 * sorted by expert, each range of ids is one thread's business, the gradient of an expert's record
 * is summed over its tokens and applied at once, so no gradient of a row is ever stored and nothing
 * needs an atomic.  Every order is fixed by shape: 1 thread and 2 give the same bits. */
#include "math/blas.h"
#include "math/vector.h"
#include "math/vector_rows.h"
#include "model/anchor.h"
#include "model/peer.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define GRADIENT_TOKENS 128 /* tokens whose sub-key gradients are summed on their own */
#define MAX_RANGES      128 /* of expert ids, in update */
#define UPDATE_AHEAD    8   /* picks between prefetch of an expert's row and its update */

void cam_peer_rows(const struct cam_peer *peer, const uint32_t *expert, size_t n,
                   const cam_real **row) {
    for (size_t i = 0; i < n; i++)
        row[i] = cam_pool_record(&peer->pool, expert[i]);
    for (size_t i = 0; i < CAM_ROWS_AHEAD; i++)
        row[n + i] = row[n - 1];
}

struct backward {
    struct cam_peer *peer;
    const cam_real *x, *dy;
    cam_real *dx, *dq; /* (N, D), (N, P, 2, dk) */
    cam_real **part;   /* a token block's sub-key gradients: (2, S, dk) each */
    size_t n_parts;
    struct cam_peer_scratch *scratch; /* one a worker */
};

/* Token T: through its experts to dx, and to d loss / d score of each pick in scratch->coef. */
static void token_backward(const struct backward *b, size_t t, const cam_real *const *row,
                           struct cam_peer_scratch *scratch) {
    const struct cam_ff_config *c = &b->peer->ff.config;
    size_t D = c->width, P = c->heads, K = c->top_k;
    const cam_real *gate = b->peer->last.gate + t * b->peer->n_picks, *d_gate = scratch->dot;
    b->peer->expert->backward(b->peer, t, row, b->dy + t * D, b->dx + t * D, scratch);
    for (size_t p = 0; p < P; p++) {
        cam_real mean = 0;
        for (size_t i = p * K; i < (p + 1) * K; i++)
            mean += gate[i] * d_gate[i];
        for (size_t i = p * K; i < (p + 1) * K; i++)
            scratch->coef[i] = gate[i] * (d_gate[i] - mean);
    }
}

/* Token T: from ds to dq, through the sub-keys and the normalisation; sub-key gradients to PART. */
static void token_router_backward(const struct backward *b, size_t t, const cam_real *ds,
                                  cam_real *part) {
    const struct cam_ff_config *c = &b->peer->ff.config;
    const struct cam_peer_last *last = &b->peer->last;
    size_t M = b->peer->n_picks, P = c->heads, K = c->top_k, dk = c->key_width;
    const cam_real *key[CAM_PEER_MAX_TOP_K];
    cam_real *sum[CAM_PEER_MAX_TOP_K];
    for (size_t r = 0; r < P * 2; r++) {
        size_t h = r % 2, at = (t * P * 2 + r) * dk;
        const uint32_t *pair = last->pair + t * M + r / 2 * K;
        for (size_t k = 0; k < K; k++) {
            size_t i = h ? pair[k] & 0xffff : pair[k] >> 16;
            key[k] = b->peer->subkey[h]->value + i * dk;
            sum[k] = part + (h * b->peer->shape.subkeys + i) * dk;
        }
        cam_rows_sum(key, ds + r / 2 * K, K, 0, dk, 0, b->dq + at);
        cam_rows_scatter(sum, ds + r / 2 * K, K, last->query + at, dk);
        cam_row_normalise_backward(last->query + at, last->factor[t * P * 2 + r], dk, b->dq + at);
    }
}

static void backward_block(void *context, size_t i_block, size_t i_worker) {
    const struct backward *b = context;
    struct cam_peer *peer = b->peer;
    struct cam_peer_scratch *scratch = &b->scratch[i_worker];
    size_t M = peer->n_picks, t0 = i_block * GRADIENT_TOKENS, t1 = t0 + GRADIENT_TOKENS;
    if (t1 > peer->last.n_tokens)
        t1 = peer->last.n_tokens;
    cam_real *part = b->part[i_block];
    memset(part, 0, 2 * peer->shape.subkeys * peer->ff.config.key_width * sizeof *part);
    for (size_t from = t0; from < t1; from += CAM_PEER_BLOCK_TOKENS) {
        size_t to = from + CAM_PEER_BLOCK_TOKENS < t1 ? from + CAM_PEER_BLOCK_TOKENS : t1;
        cam_peer_rows(peer, peer->last.expert + from * M, (to - from) * M, scratch->row);
        for (size_t t = from; t < to; t++) {
            token_backward(b, t, scratch->row + (t - from) * M, scratch);
            token_router_backward(b, t, scratch->coef, part);
        }
    }
}

/* Adds the blocks' sub-key gradients in block order; one block here is CAM_SUBKEY_BLOCK rows of
 * one codebook. */
static void reduce_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct backward *b = context;
    size_t S = b->peer->shape.subkeys, dk = b->peer->ff.config.key_width;
    size_t h = i_block % 2, from = i_block / 2 * CAM_SUBKEY_BLOCK;
    size_t n = S - from < CAM_SUBKEY_BLOCK ? S - from : CAM_SUBKEY_BLOCK;
    for (size_t i = 0; i < b->n_parts; i++)
        cam_row_add(1, b->part[i] + (h * S + from) * dk, n * dk,
                    b->peer->subkey[h]->grad + from * dk);
}

void cam_peer_backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                       const cam_real *dy, cam_real *dx) {
    struct cam_peer *peer = cam_peer_of(ff);
    const struct cam_ff_config *c = &ff->config;
    struct cam_peer_last *last = &peer->last;
    struct cam_arena *arena = pass->arena;
    size_t N = last->n_tokens, D = c->width, Q = c->heads * 2 * c->key_width;
    size_t n_workers = (size_t)cam_threads_count(pass->threads);
    struct backward b = {.peer = peer, .x = x, .dy = dy, .dx = dx};
    b.n_parts = (N + GRADIENT_TOKENS - 1) / GRADIENT_TOKENS;
    b.part = cam_arena_alloc(arena, b.n_parts * sizeof *b.part);
    for (size_t i = 0; i < b.n_parts; i++)
        b.part[i] =
            cam_arena_alloc(arena, 2 * peer->shape.subkeys * c->key_width * sizeof(cam_real));
    b.dq = cam_arena_alloc(arena, N * Q * sizeof(cam_real));
    b.scratch = cam_arena_alloc(arena, n_workers * sizeof *b.scratch);
    for (size_t i = 0; i < n_workers; i++)
        cam_peer_scratch_init(peer, arena, &b.scratch[i]);
    if (peer->expert->activation) {
        last->dh = cam_arena_alloc(arena, N * peer->n_picks * sizeof(cam_real));
        last->ga = cam_arena_alloc(arena, N * peer->n_picks * sizeof(cam_real));
    }
    last->x = x;
    last->dy = dy;
    cam_threads_run(pass->threads, b.n_parts, backward_block, &b);
    size_t n_key_blocks = (peer->shape.subkeys + CAM_SUBKEY_BLOCK - 1) / CAM_SUBKEY_BLOCK;
    cam_threads_run(pass->threads, 2 * n_key_blocks, reduce_block, &b);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_TRANSPOSED, CAM_PLAIN, D, Q, N,
                     1, x, D, b.dq, Q, 1, peer->query->grad, Q);
    cam_gemm_threads(pass->products, pass->threads, pass->arena, CAM_PLAIN, CAM_TRANSPOSED, N, D, Q,
                     1, b.dq, Q, peer->query->value, Q, 1, dx, D);
    last->differentiated = 1;
}

void cam_peer_expert_gradient(const struct cam_ff *ff, uint64_t expert, cam_real *du,
                              cam_real *dv) {
    const struct cam_peer *peer = cam_peer_of(ff);
    const struct cam_peer_last *last = &peer->last;
    size_t n = ff->config.heads * ff->config.top_k, n_found = 0;
    uint32_t *pick = cam_arena_alloc(last->arena, last->n_tokens * n * sizeof *pick);
    struct cam_peer_gather *gather = cam_arena_alloc(last->arena, sizeof *gather);
    for (size_t t = 0; t < last->n_tokens; t++)
        for (size_t i = t * peer->n_picks; i < t * peer->n_picks + n; i++)
            if (last->expert[i] == expert)
                pick[n_found++] = (uint32_t)i;
    cam_real *const part[] = {peer->expert->n_parts > 1 ? du : dv, dv};
    for (size_t p = 0; p < peer->expert->n_parts; p++)
        memset(part[p], 0, ff->config.width * sizeof *dv);
    peer->expert->gradient(peer, pick, n_found, gather, part);
}

/* 1 - beta^n for n < n_terms; 1 beyond. */
struct correction {
    double *term;
    size_t n_terms;
};

struct row_step {
    double lr, grad_scale, beta1, beta2;
    struct correction first, second;
};

static double correct(const struct correction *c, uint32_t updates) {
    return updates < c->n_terms ? c->term[updates] : 1;
}

/* What to multiply the gradient of one part of a record (u or v) by: a second moment for all of it,
 * as RMSProp and Adafactor keep for rows, with Adam's bias correction by the expert's own count.
 * 0: leave the part alone. */
static cam_real row_factor(const struct row_step *step, const cam_real *gradient, size_t n,
                           uint32_t updates, cam_real *second) {
    double square =
        step->grad_scale * step->grad_scale * (double)cam_row_sum_squares(gradient, n) / (double)n;
    if (!isfinite(square))
        return 0;
    double moment = step->beta2 * (double)*second + (1 - step->beta2) * square;
    double denominator = sqrt(moment / correct(&step->second, updates)) + CAM_ROW_EPSILON;
    double size = sqrt(square) / denominator;
    double factor = step->lr * step->grad_scale / denominator;
    if (size > CAM_ROW_CLIP)
        factor *= CAM_ROW_CLIP / size;
    *second = (cam_real)moment;
    return (cam_real)-factor;
}

/* Adam (Kingma and Ba 2015, Algorithm 1) on a part, where rows are moved when they have a gradient
 * and "t" is the number of such steps of this expert. */
static void step_row_adam(const struct row_step *step, const cam_real *gradient, size_t n,
                          uint32_t updates, cam_real *m, cam_real *v, cam_real *row) {
    if (!isfinite(step->grad_scale * (double)cam_row_sum_squares(gradient, n)))
        return;
    struct cam_adamw adam = {.lr = (cam_real)step->lr,
                             .beta1 = (cam_real)step->beta1,
                             .beta2 = (cam_real)step->beta2,
                             .epsilon = (cam_real)CAM_ROW_EPSILON,
                             .correction1 = (cam_real)correct(&step->first, updates),
                             .correction2 = (cam_real)correct(&step->second, updates),
                             .grad_scale = (cam_real)step->grad_scale};
    cam_adamw_rows(&adam, row, gradient, m, v, n);
}

struct update {
    struct cam_peer *peer;
    struct row_step step;
    size_t n_token_blocks, n_ranges;
    unsigned range_shift;
    uint32_t *histogram;     /* (n_token_blocks, n_ranges), then where each begins */
    uint32_t *range_start;   /* (n_ranges + 1) */
    uint32_t *pick, *sorted; /* places of picks: by range; by expert */
    const struct cam_update *how;
    uint64_t rounding_key; /* of a pool in bfloat16 */
    int anchored;
    int gated;
    struct cam_peer_candidate last;       /* that may move, if gated */
    struct cam_peer_candidate *candidate; /* a range's from its range_start on */
    uint32_t *n_candidates;               /* (n_ranges) */
    struct update_scratch {
        uint32_t *start; /* (experts of a range + 1) */
        cam_real *gradient[CAM_EXPERT_MAX_PARTS];
        cam_real *record; /* of a pool in bfloat16, as cam_real */
        struct cam_peer_gather *gather;
    } * scratch;
};

static void count_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct update *u = context;
    const struct cam_peer *peer = u->peer;
    size_t n = peer->ff.config.heads * peer->ff.config.top_k, M = peer->n_picks;
    size_t t0 = i_block * GRADIENT_TOKENS, t1 = t0 + GRADIENT_TOKENS;
    uint32_t *count = u->histogram + i_block * u->n_ranges;
    memset(count, 0, u->n_ranges * sizeof *count);
    for (size_t t = t0; t < t1 && t < peer->last.n_tokens; t++)
        for (size_t i = t * M; i < t * M + n; i++)
            count[peer->last.expert[i] >> u->range_shift]++;
}

static void scatter_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct update *u = context;
    const struct cam_peer *peer = u->peer;
    size_t n = peer->ff.config.heads * peer->ff.config.top_k, M = peer->n_picks;
    size_t t0 = i_block * GRADIENT_TOKENS, t1 = t0 + GRADIENT_TOKENS;
    uint32_t *start = u->histogram + i_block * u->n_ranges;
    for (size_t t = t0; t < t1 && t < peer->last.n_tokens; t++)
        for (size_t i = t * M; i < t * M + n; i++)
            u->pick[start[peer->last.expert[i] >> u->range_shift]++] = (uint32_t)i;
}

/* Turns counts into starts: range by range, token block by token block. */
static void place_ranges(struct update *u) {
    uint32_t at = 0;
    for (size_t r = 0; r < u->n_ranges; r++) {
        u->range_start[r] = at;
        for (size_t b = 0; b < u->n_token_blocks; b++) {
            uint32_t n = u->histogram[b * u->n_ranges + r];
            u->histogram[b * u->n_ranges + r] = at;
            at += n;
        }
    }
    u->range_start[u->n_ranges] = at;
}

/* Picks of each expert of range I_RANGE: start[e + 1] is that of its expert e. */
static void count_range(const struct update *u, size_t i_range, uint32_t *start) {
    uint64_t first = (uint64_t)i_range << u->range_shift;
    memset(start, 0, (((size_t)1 << u->range_shift) + 1) * sizeof *start);
    for (uint32_t i = u->range_start[i_range]; i < u->range_start[i_range + 1]; i++)
        start[u->peer->last.expert[u->pick[i]] - first + 1]++;
}

/* Lists the experts of a range that the gate chooses from. */
static void list_candidates(void *context, size_t i_block, size_t i_worker) {
    const struct update *u = context;
    const struct cam_peer *peer = u->peer;
    const uint32_t *n_picks = u->scratch[i_worker].start + 1;
    uint64_t first = (uint64_t)i_block << u->range_shift, width = (uint64_t)1 << u->range_shift;
    struct cam_peer_candidate *list = u->candidate + u->range_start[i_block];
    uint32_t n = 0, g = first < peer->pool.n_experts ? cam_peer_generation_of(&peer->ff, first) : 0;
    count_range(u, i_block, u->scratch[i_worker].start);
    for (uint64_t e = first; e < first + width; e++) {
        if (!n_picks[e - first])
            continue;
        while (e >= peer->generation[g].first_expert + peer->generation[g].n_experts)
            g++;
        uint32_t steps = cam_pool_usage(&peer->pool, e)->steps;
        if (!peer->generation[g].frozen_experts)
            list[n++] = (struct cam_peer_candidate){
                cam_peer_gate_score(n_picks[e - first], steps, u->how->step), e};
    }
    u->n_candidates[i_block] = n;
}

/* Finds the last expert that may move when N_EXPERTS may. */
static void gate(struct update *u, const struct cam_pass *pass, size_t n_picks, size_t n_experts) {
    size_t n = 0;
    u->candidate = cam_arena_alloc(pass->arena, n_picks * sizeof *u->candidate);
    u->n_candidates = cam_arena_alloc(pass->arena, u->n_ranges * sizeof *u->n_candidates);
    cam_threads_run(pass->threads, u->n_ranges, list_candidates, u);
    for (size_t r = 0; r < u->n_ranges; n += u->n_candidates[r++])
        memmove(u->candidate + n, u->candidate + u->range_start[r],
                u->n_candidates[r] * sizeof *u->candidate);
    u->gated = n_experts < n;
    if (u->gated)
        u->last = cam_peer_gate_last(u->candidate, n, n_experts);
}

/* Back towards the anchor.  Only rows that the step moves are pulled: the others have not gone away
 * from it since they last were, and a pass over the whole pool would cost more than the step. */
static void pull_expert(const struct update *u, uint64_t expert, cam_real *row) {
    const struct cam_pool *pool = &u->peer->pool;
    const cam_real *centre = cam_pool_centre(pool, expert);
    double importance = pool->importance ? (double)*cam_pool_importance(pool, expert) : 0;
    double share =
        cam_anchor_share(u->step.lr, u->how->anchor_l2, u->how->anchor_ewc, importance);
    if (!isnan(*centre))
        cam_approach(centre, (cam_real)share, row, pool->record);
}

/* An expert's record, which is at ROW in cam_real, by the gradients of its parts. */
static void move_record(const struct update *u, uint64_t expert,
                        const struct update_scratch *scratch, cam_real *row) {
    struct cam_peer *peer = u->peer;
    size_t D = peer->ff.config.width;
    struct cam_expert_state *state = cam_pool_state(&peer->pool, expert);
    cam_real *m = peer->pool.moments ? cam_pool_moments(&peer->pool, expert) : NULL;
    for (size_t p = 0; p < peer->expert->n_parts; p++) {
        const cam_real *gradient = scratch->gradient[p];
        if (m) {
            step_row_adam(&u->step, gradient, D, state->updates, m + p * D,
                          m + peer->pool.record + p * D, row + p * D);
            continue;
        }
        cam_real factor = row_factor(&u->step, gradient, D, state->updates, &state->second[p]);
        if (factor != 0)
            cam_row_add(factor, gradient, D, row + p * D);
    }
    if (u->anchored)
        pull_expert(u, expert, row);
}

/* The same in place: a copy in between would cost more than all else, as loads of the record would
 * wait for stores to the copy that seem to hit it (the lower 12 bits of addresses). */
static void move_bf16_record(const struct update *u, uint64_t expert,
                             const struct update_scratch *scratch) {
    struct cam_peer *peer = u->peer;
    size_t D = peer->ff.config.width;
    struct cam_expert_state *state = cam_pool_state(&peer->pool, expert);
    cam_bf16 *row = cam_pool_record(&peer->pool, expert);
    uint32_t key = cam_expert_rounding_key(u->rounding_key, expert);
    for (size_t p = 0; p < peer->expert->n_parts; p++) {
        cam_real factor =
            row_factor(&u->step, scratch->gradient[p], D, state->updates, &state->second[p]);
        if (factor != 0)
            cam_bf16_row_add(factor, scratch->gradient[p], D, key, p * D, row + p * D);
    }
}

static void update_expert(const struct update *u, uint64_t expert, const uint32_t *pick, size_t n,
                          int frozen, const struct update_scratch *scratch) {
    struct cam_peer *peer = u->peer;
    const struct cam_peer_last *last = &peer->last;
    struct cam_expert_usage *usage = cam_pool_usage(&peer->pool, expert);
    usage->picks += (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        usage->gate_mass += (float)last->gate[pick[i]];
    int held = frozen || (u->gated && !cam_peer_gate_passes(&u->last, expert,
                                                            cam_peer_gate_score((uint32_t)n,
                                                                                usage->steps,
                                                                                u->how->step)));
    usage->steps += usage->steps < UINT32_MAX;
    if (held)
        return;
    struct cam_expert_state *state = cam_pool_state(&peer->pool, expert);
    peer->expert->gradient(peer, pick, n, scratch->gather, scratch->gradient);
    state->updates += state->updates < UINT32_MAX;
    if (!peer->pool.bf16) {
        move_record(u, expert, scratch, cam_pool_row(&peer->pool, expert));
    } else if (peer->pool.moments || u->anchored) {
        cam_pool_read(&peer->pool, expert, scratch->record);
        move_record(u, expert, scratch, scratch->record);
        cam_pool_write(&peer->pool, expert, u->rounding_key, scratch->record);
    } else {
        move_bf16_record(u, expert, scratch);
    }
}

/* Fetches what update_expert will read of the expert that owns pick AT.  Always inlined: gcc takes a
 * function that does nothing but fetch for one without effect, and drops its calls. */
__attribute__((always_inline)) static inline void prefetch_expert(const struct update *u, uint32_t at) {
    const struct cam_pool *pool = &u->peer->pool;
    uint64_t expert = u->peer->last.expert[at];
    const char *row = cam_pool_record(pool, expert);
    for (size_t i = 0; i < cam_pool_record_bytes(pool); i += 64)
        __builtin_prefetch(row + i, 0, 2);
    const char *moments = pool->moments ? (const char *)cam_pool_moments(pool, expert) : NULL;
    for (size_t i = 0; moments && i < 2 * pool->record * sizeof(cam_real); i += 64)
        __builtin_prefetch(moments + i, 0, 2);
    __builtin_prefetch(cam_pool_state(pool, expert));
    __builtin_prefetch(cam_pool_usage(pool, expert));
}

static void update_range(void *context, size_t i_block, size_t i_worker) {
    const struct update *u = context;
    struct cam_peer *peer = u->peer;
    const struct update_scratch *scratch = &u->scratch[i_worker];
    uint64_t first = (uint64_t)i_block << u->range_shift, width = (uint64_t)1 << u->range_shift;
    uint32_t from = u->range_start[i_block], to = u->range_start[i_block + 1];
    uint32_t *start = scratch->start;
    count_range(u, i_block, start);
    for (uint64_t e = 0; e < width; e++)
        start[e + 1] += start[e];
    for (uint32_t i = from; i < to; i++)
        u->sorted[from + start[peer->last.expert[u->pick[i]] - first]++] = u->pick[i];
    /* Now start[e] is where e ends and e + 1 begins. */
    uint32_t begin = 0;
    uint32_t g = peer->pool.n_experts > first ? cam_peer_generation_of(&peer->ff, first) : 0;
    for (uint64_t e = 0; e < width; e++) {
        uint32_t n = start[e] - begin;
        if (n) {
            uint32_t ahead = from + start[e] + UPDATE_AHEAD;
            if (ahead < to)
                prefetch_expert(u, u->sorted[ahead]);
            while (first + e >= peer->generation[g].first_expert + peer->generation[g].n_experts)
                g++;
            update_expert(u, first + e, u->sorted + from + begin, n,
                          peer->generation[g].frozen_experts != 0, scratch);
        }
        begin = start[e];
    }
}

/* Until the terms are one. */
static struct correction correction_table(double beta, struct cam_arena *arena) {
    double decay = beta > 0 && beta < 1 ? log(beta) : -40, power = 1;
    struct correction c = {.n_terms = (size_t)(-40 / decay) + 2};
    if (c.n_terms > 100000)
        c.n_terms = 100000;
    c.term = cam_arena_alloc(arena, c.n_terms * sizeof *c.term);
    for (size_t n = 0; n < c.n_terms; n++, power *= beta)
        c.term[n] = n ? 1 - power : 1;
    return c;
}

void cam_peer_update(struct cam_ff *ff, const struct cam_pass *pass,
                     const struct cam_update *update) {
    struct cam_peer *peer = cam_peer_of(ff);
    struct cam_arena *arena = pass->arena;
    if (!peer->last.differentiated)
        return;
    size_t n_picks = peer->last.n_tokens * peer->n_picks, D = ff->config.width;
    assert((uint64_t)n_picks * peer->n_picks < (uint64_t)1 << 40); /* see cam_peer_token_of */
    struct update u = {.peer = peer,
                       .how = update,
                       .rounding_key = cam_pool_rounding_key(&peer->pool, update->step),
                       .anchored =
                           peer->pool.centre && (update->anchor_l2 > 0 || update->anchor_ewc > 0),
                       .step = {.lr = update->lr * ff->config.pool_lr_scale,
                                .grad_scale = update->grad_scale,
                                .beta1 = update->beta1,
                                .beta2 = update->beta2}};
    while (((peer->pool.n_experts - 1) >> u.range_shift) >= MAX_RANGES)
        u.range_shift++;
    u.n_ranges = (size_t)((peer->pool.n_experts - 1) >> u.range_shift) + 1;
    u.n_token_blocks = (peer->last.n_tokens + GRADIENT_TOKENS - 1) / GRADIENT_TOKENS;
    u.step.second = correction_table(update->beta2, arena);
    if (peer->pool.moments)
        u.step.first = correction_table(update->beta1, arena);
    u.histogram = cam_arena_alloc(arena, u.n_token_blocks * u.n_ranges * sizeof(uint32_t));
    u.range_start = cam_arena_alloc(arena, (u.n_ranges + 1) * sizeof(uint32_t));
    u.pick = cam_arena_alloc(arena, n_picks * sizeof(uint32_t));
    u.sorted = cam_arena_alloc(arena, n_picks * sizeof(uint32_t));
    size_t n_workers = (size_t)cam_threads_count(pass->threads);
    u.scratch = cam_arena_alloc(arena, n_workers * sizeof *u.scratch);
    for (size_t i = 0; i < n_workers; i++) {
        u.scratch[i].start =
            cam_arena_alloc(arena, (((size_t)1 << u.range_shift) + 1) * sizeof(uint32_t));
        for (size_t p = 0; p < peer->expert->n_parts; p++)
            u.scratch[i].gradient[p] = cam_arena_alloc(arena, D * sizeof(cam_real));
        if (peer->pool.bf16)
            u.scratch[i].record = cam_arena_alloc(arena, peer->pool.record * sizeof(cam_real));
        u.scratch[i].gather = cam_arena_alloc(arena, sizeof(struct cam_peer_gather));
    }
    cam_threads_run(pass->threads, u.n_token_blocks, count_block, &u);
    place_ranges(&u);
    cam_threads_run(pass->threads, u.n_token_blocks, scatter_block, &u);
    if (update->gate_experts)
        gate(&u, pass, n_picks, update->gate_experts);
    cam_threads_run(pass->threads, u.n_ranges, update_range, &u);
    cam_peer_measure_opening(peer);
    peer->last.differentiated = 0;
}
