/* peer_reference.c - layers of experts behind product keys in plain loops (see reference.h,
 * ff_peer.h): every one of the S*S experts is scored, and every one is looked at in the update. */
#include "model/peer.h"
#include "model/reference.h"

#include <string.h>

static int is_neuron(const struct cam_peer *peer) {
    return peer->expert == &cam_expert_neuron;
}

/* --- forward --- */

/* The sub-query of head P for codebook H: x Wq, then mean 0 and variance 1. */
static void make_query(struct cam_peer *peer, size_t t, size_t p, size_t h, const cam_real *x) {
    const struct cam_ff_config *c = &peer->ff.config;
    size_t dk = c->key_width, n_cols = peer->query->cols, column = (p * 2 + h) * dk;
    size_t at = (t * c->heads + p) * 2 + h;
    cam_real *q = peer->last.query + at * dk;
    double mean = 0, variance = 0;
    for (size_t k = 0; k < dk; k++) {
        q[k] = (cam_real)cam_reference_dot(x, peer->query->value + column + k, n_cols, c->width);
        mean += (double)q[k] / (double)dk;
    }
    for (size_t k = 0; k < dk; k++)
        variance += ((double)q[k] - mean) * ((double)q[k] - mean) / (double)dk;
    double factor = 1 / sqrt(variance + CAM_QUERY_EPSILON);
    for (size_t k = 0; k < dk; k++)
        q[k] = (cam_real)(((double)q[k] - mean) * factor);
    peer->last.factor[at] = (cam_real)factor;
}

/* Puts an expert behind all chosen so far that score as much: experts come by id. */
static void choose(cam_real score, uint32_t expert, uint32_t pair, size_t *n, size_t k,
                   cam_real *best, uint32_t *experts, uint32_t *pairs) {
    if (*n == k && !(score > best[k - 1]))
        return;
    size_t at = *n < k ? (*n)++ : k - 1;
    for (; at > 0 && score > best[at - 1]; at--) {
        best[at] = best[at - 1];
        experts[at] = experts[at - 1];
        pairs[at] = pairs[at - 1];
    }
    best[at] = score;
    experts[at] = expert;
    pairs[at] = pair;
}

/* Scores of one head: of sub-keys without (raw) and with their generation's bias. */
struct scores {
    cam_real *raw[2], *biased[2]; /* (S) */
};

static void score_subkeys(const struct cam_peer *peer, const cam_real *query, struct scores *s) {
    size_t dk = peer->ff.config.key_width;
    for (size_t h = 0; h < 2; h++)
        for (size_t i = 0; i < peer->shape.subkeys; i++) {
            s->raw[h][i] =
                (cam_real)cam_reference_dot(query + h * dk, peer->subkey[h]->value + i * dk, 1, dk);
            s->biased[h][i] = s->raw[h][i] + peer->bias[i];
        }
}

/* The least bias at which a pair with closed sub-keys (the first of them is CLOSED) would reach
 * CUT, with its sign turned; a pair of two carries it twice. */
static cam_real gap_to(const struct cam_peer *peer, const struct scores *s, size_t closed,
                       cam_real cut) {
    size_t S = peer->shape.subkeys;
    cam_real least = (cam_real)INFINITY;
    for (size_t i = 0; i < S; i++)
        for (size_t j = 0; j < S; j++) {
            int n_closed = (i >= closed) + (j >= closed);
            cam_real a = i >= closed ? s->raw[0][i] : s->biased[0][i];
            cam_real b = j >= closed ? s->raw[1][j] : s->biased[1][j];
            if (n_closed && (cut - (a + b)) / (cam_real)n_closed < least)
                least = (cut - (a + b)) / (cam_real)n_closed;
        }
    return least;
}

/* The K best of all experts for head P of token T, and the softmax of their scores. */
static void retrieve(struct cam_peer *peer, size_t t, size_t p, struct scores *s) {
    const struct cam_ff_config *c = &peer->ff.config;
    struct cam_peer_last *last = &peer->last;
    size_t K = c->top_k, at = t * peer->n_picks + p * K, n = 0;
    size_t closed = peer->shape.subkeys;
    cam_real *gate = last->gate + at;
    score_subkeys(peer, last->query + (t * c->heads + p) * 2 * c->key_width, s);
    for (uint64_t e = 0; e < peer->pool.n_experts; e++) {
        uint64_t i, j;
        cam_pair_of_expert(e, &i, &j);
        choose(s->biased[0][i] + s->biased[1][j], (uint32_t)e, (uint32_t)(i << 16 | j), &n, K, gate,
               last->expert + at, last->pair + at);
    }
    for (size_t g = peer->shape.n_generations; g-- > 0;)
        if (peer->generation[g].state == CAM_GENERATION_CLOSED)
            closed = peer->generation[g].subkeys_from;
    if (last->gap)
        last->gap[t * c->heads + p] = gap_to(peer, s, closed, gate[K - 1]);
    double sum = 0, best = (double)gate[0];
    for (size_t k = 0; k < K; k++)
        sum += exp((double)gate[k] - best);
    for (size_t k = 0; k < K; k++)
        gate[k] = (cam_real)(exp((double)gate[k] - best) / sum);
}

/* expert: y += gate * e(x) for one pick; RECORD is room for a record. */
static void expert_forward(struct cam_peer *peer, size_t pick, const cam_real *x, cam_real *y,
                           cam_real *record) {
    size_t D = peer->ff.config.width;
    cam_pool_read(&peer->pool, peer->last.expert[pick], record);
    const cam_real *v = is_neuron(peer) ? record + D : record;
    double weight = (double)peer->last.gate[pick];
    if (is_neuron(peer)) {
        peer->last.h[pick] = (cam_real)cam_reference_dot(record, x, 1, D);
        weight *= cam_reference_gelu((double)peer->last.h[pick]);
    }
    for (size_t d = 0; d < D; d++)
        y[d] += (cam_real)(weight * (double)v[d]);
}

void cam_peer_reference_forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                                cam_real *y) {
    struct cam_peer *peer = cam_peer_of(ff);
    const struct cam_ff_config *c = &ff->config;
    size_t D = c->width, n = c->heads * c->top_k, M = peer->n_picks;
    struct scores s;
    cam_peer_last_init(peer, pass);
    cam_real *record = cam_arena_alloc(pass->arena, peer->pool.record * sizeof *record);
    for (int h = 0; h < 2; h++) {
        s.raw[h] = cam_arena_alloc(pass->arena, peer->shape.subkeys * sizeof(cam_real));
        s.biased[h] = cam_arena_alloc(pass->arena, peer->shape.subkeys * sizeof(cam_real));
    }
    for (size_t t = 0; t < pass->n_tokens; t++) {
        for (size_t p = 0; p < c->heads; p++) {
            make_query(peer, t, p, 0, x + t * D);
            make_query(peer, t, p, 1, x + t * D);
            retrieve(peer, t, p, &s);
        }
        if (peer->last.h)
            memset(peer->last.h + t * M, 0, M * sizeof(cam_real));
        for (size_t i = t * M; i < t * M + n; i++)
            expert_forward(peer, i, x + t * D, y + t * D, record);
    }
}

/* --- backward --- */

/* expert: returns d loss / d gate of one pick; dx += through the expert. */
static double expert_backward(struct cam_peer *peer, size_t pick, const cam_real *dy, cam_real *dx,
                              cam_real *record) {
    struct cam_peer_last *last = &peer->last;
    size_t D = peer->ff.config.width;
    cam_pool_read(&peer->pool, last->expert[pick], record);
    if (!is_neuron(peer))
        return cam_reference_dot(record, dy, 1, D);
    double gate = (double)last->gate[pick], h = (double)last->h[pick];
    double v_dy = cam_reference_dot(record + D, dy, 1, D);
    double dh = gate * cam_reference_gelu_slope(h) * v_dy;
    for (size_t d = 0; d < D; d++)
        dx[d] += (cam_real)(dh * (double)record[d]);
    last->dh[pick] = (cam_real)dh;
    last->ga[pick] = (cam_real)(gate * cam_reference_gelu(h));
    return cam_reference_gelu(h) * v_dy;
}

/* Head P, codebook H: from the gradients of the K scores to sub-keys, query and x. */
static void query_backward(struct cam_peer *peer, size_t t, size_t p, size_t h,
                           const double *d_score, double *dq, const cam_real *x, cam_real *dx) {
    const struct cam_ff_config *c = &peer->ff.config;
    size_t dk = c->key_width, K = c->top_k, at = (t * c->heads + p) * 2 + h;
    size_t n_cols = peer->query->cols, column = (p * 2 + h) * dk;
    const uint32_t *pair = peer->last.pair + t * peer->n_picks + p * K;
    const cam_real *q = peer->last.query + at * dk;
    double mean = 0, along = 0;
    for (size_t m = 0; m < dk; m++) {
        dq[m] = 0;
        for (size_t k = 0; k < K; k++) {
            size_t i = h ? pair[k] & 0xffff : pair[k] >> 16;
            dq[m] += d_score[k] * (double)peer->subkey[h]->value[i * dk + m];
            peer->subkey[h]->grad[i * dk + m] += (cam_real)(d_score[k] * (double)q[m]);
        }
        mean += dq[m] / (double)dk;
        along += dq[m] * (double)q[m] / (double)dk;
    }
    for (size_t m = 0; m < dk; m++) {
        double raw = (double)peer->last.factor[at] * (dq[m] - mean - along * (double)q[m]);
        for (size_t d = 0; d < c->width; d++) {
            size_t w = d * n_cols + column + m;
            peer->query->grad[w] += (cam_real)(raw * (double)x[d]);
            dx[d] += (cam_real)(raw * (double)peer->query->value[w]);
        }
    }
}

void cam_peer_reference_backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                                 const cam_real *dy, cam_real *dx) {
    struct cam_peer *peer = cam_peer_of(ff);
    const struct cam_ff_config *c = &ff->config;
    struct cam_peer_last *last = &peer->last;
    size_t D = c->width, K = c->top_k, N = last->n_tokens, M = peer->n_picks;
    double *dq = cam_arena_alloc(pass->arena, c->key_width * sizeof *dq);
    cam_real *record = cam_arena_alloc(pass->arena, peer->pool.record * sizeof *record);
    last->x = x;
    last->dy = dy;
    if (peer->expert->activation) {
        last->dh = cam_arena_alloc(pass->arena, N * M * sizeof(cam_real));
        last->ga = cam_arena_alloc(pass->arena, N * M * sizeof(cam_real));
    }
    for (size_t t = 0; t < N; t++)
        for (size_t p = 0; p < c->heads; p++) {
            double d_gate[CAM_PEER_MAX_TOP_K], d_score[CAM_PEER_MAX_TOP_K], mean = 0;
            const cam_real *gate = last->gate + t * M + p * K;
            for (size_t k = 0; k < K; k++) {
                d_gate[k] =
                    expert_backward(peer, t * M + p * K + k, dy + t * D, dx + t * D, record);
                mean += (double)gate[k] * d_gate[k];
            }
            for (size_t k = 0; k < K; k++)
                d_score[k] = (double)gate[k] * (d_gate[k] - mean);
            for (size_t h = 0; h < 2; h++)
                query_backward(peer, t, p, h, d_score, dq, x + t * D, dx + t * D);
        }
    last->differentiated = 1;
}

/* --- update --- */

/* expert: the gradient of one expert's record from all its picks, which are counted. */
static size_t expert_gradient(struct cam_peer *peer, uint64_t expert, double *gradient) {
    const struct cam_peer_last *last = &peer->last;
    const struct cam_ff_config *c = &peer->ff.config;
    size_t D = c->width, n = 0;
    memset(gradient, 0, peer->pool.record * sizeof *gradient);
    for (size_t t = 0; t < last->n_tokens; t++)
        for (size_t i = t * peer->n_picks; i < t * peer->n_picks + c->heads * c->top_k; i++) {
            if (last->expert[i] != expert)
                continue;
            n++;
            for (size_t d = 0; d < D && is_neuron(peer); d++) {
                gradient[d] += (double)last->dh[i] * (double)last->x[t * D + d];
                gradient[D + d] += (double)last->ga[i] * (double)last->dy[t * D + d];
            }
            for (size_t d = 0; d < D && !is_neuron(peer); d++)
                gradient[d] += (double)last->gate[i] * (double)last->dy[t * D + d];
            cam_pool_usage(&peer->pool, expert)->gate_mass += (float)last->gate[i];
        }
    cam_pool_usage(&peer->pool, expert)->picks += (uint32_t)n;
    return n;
}

/* RMSProp with one second moment for the part and Adam's bias correction by the expert's own count;
 * a step is at most CAM_ROW_CLIP learning rates long. */
static void move_part(const struct cam_update *update, double lr, const double *gradient, size_t n,
                      uint32_t n_updates, cam_real *second, cam_real *part) {
    double square = 0, g_scale = update->grad_scale;
    for (size_t d = 0; d < n; d++)
        square += g_scale * gradient[d] * g_scale * gradient[d] / (double)n;
    if (!isfinite(square))
        return;
    double moment = update->beta2 * (double)*second + (1 - update->beta2) * square;
    double corrected = moment / (1 - pow(update->beta2, n_updates));
    double root = sqrt(corrected) + CAM_ROW_EPSILON, length = sqrt(square) / root;
    double shorten = length > CAM_ROW_CLIP ? CAM_ROW_CLIP / length : 1;
    *second = (cam_real)moment;
    for (size_t d = 0; d < n; d++)
        part[d] -= (cam_real)(lr * shorten * g_scale * gradient[d] / root);
}

/* Adam (Kingma and Ba 2015, Algorithm 1), t counting the expert's own steps. */
static void move_part_by_adam(const struct cam_update *update, double lr, const double *gradient,
                              size_t n, uint32_t n_updates, cam_real *m, cam_real *v,
                              cam_real *part) {
    double square = 0;
    for (size_t d = 0; d < n; d++)
        square += gradient[d] * gradient[d];
    if (!isfinite(square * update->grad_scale))
        return;
    for (size_t d = 0; d < n; d++) {
        double g = update->grad_scale * gradient[d];
        m[d] = (cam_real)(update->beta1 * (double)m[d] + (1 - update->beta1) * g);
        v[d] = (cam_real)(update->beta2 * (double)v[d] + (1 - update->beta2) * g * g);
        double mean = (double)m[d] / (1 - pow(update->beta1, n_updates));
        double root = sqrt((double)v[d] / (1 - pow(update->beta2, n_updates)));
        part[d] -= (cam_real)(lr * mean / (root + CAM_ROW_EPSILON));
    }
}

/* Score of every expert for the gate; -INFINITY for those that are frozen or not picked. */
static void gate_scores(const struct cam_peer *peer, uint64_t step, double *score) {
    const struct cam_peer_last *last = &peer->last;
    size_t per_token = peer->ff.config.heads * peer->ff.config.top_k;
    for (uint64_t e = 0; e < peer->pool.n_experts; e++) {
        size_t n = 0;
        for (size_t t = 0; t < last->n_tokens; t++)
            for (size_t i = 0; i < per_token; i++)
                n += last->expert[t * peer->n_picks + i] == e;
        uint32_t steps = cam_pool_usage(&peer->pool, e)->steps;
        int frozen = (int)peer->generation[cam_peer_generation_of(&peer->ff, e)].frozen_experts;
        score[e] = n && !frozen ? (double)n * log((double)step / ((double)steps + 1)) : -INFINITY;
    }
}

/* Whether fewer than N experts come before this one: by score, then by id. */
static int among_first(const double *score, uint64_t n_experts, uint64_t expert, size_t n) {
    size_t n_before = 0;
    for (uint64_t e = 0; e < n_experts; e++)
        n_before += score[e] > score[expert] || (score[e] == score[expert] && e < expert);
    return n_before < n;
}

/* Towards the centre, if the anchor knows the expert. */
static void pull_to_anchor(struct cam_peer *peer, const struct cam_update *update, uint64_t e,
                           cam_real *record) {
    const struct cam_pool *pool = &peer->pool;
    double strength = update->anchor_l2;
    if (!pool->centre || isnan(cam_pool_centre(pool, e)[0]))
        return;
    if (pool->importance)
        strength += update->anchor_ewc * (double)*cam_pool_importance(pool, e);
    double f = update->lr * peer->ff.config.pool_lr_scale * strength;
    for (size_t d = 0; d < pool->record; d++) {
        cam_real *x = record + d;
        *x += (cam_real)(f / (1 + f) * ((double)cam_pool_centre(pool, e)[d] - (double)*x));
    }
}

void cam_peer_reference_update(struct cam_ff *ff, const struct cam_pass *pass,
                               const struct cam_update *update) {
    struct cam_peer *peer = cam_peer_of(ff);
    size_t D = ff->config.width;
    double *gradient = cam_arena_alloc(pass->arena, peer->pool.record * sizeof *gradient);
    double *score = cam_arena_alloc(pass->arena, peer->pool.n_experts * sizeof *score);
    cam_real *record = cam_arena_alloc(pass->arena, peer->pool.record * sizeof *record);
    uint64_t key = cam_pool_rounding_key(&peer->pool, update->step);
    if (!peer->last.differentiated)
        return;
    if (update->gate_experts)
        gate_scores(peer, update->step, score);
    for (uint64_t e = 0; e < peer->pool.n_experts; e++) {
        const struct cam_generation *g = &peer->generation[cam_peer_generation_of(ff, e)];
        if (expert_gradient(peer, e, gradient) == 0)
            continue;
        struct cam_expert_usage *usage = cam_pool_usage(&peer->pool, e);
        usage->steps += usage->steps < UINT32_MAX;
        if (g->frozen_experts ||
            (update->gate_experts &&
             !among_first(score, peer->pool.n_experts, e, update->gate_experts)))
            continue;
        struct cam_expert_state *state = cam_pool_state(&peer->pool, e);
        state->updates += state->updates < UINT32_MAX;
        cam_real *m = peer->pool.moments ? cam_pool_moments(&peer->pool, e) : NULL;
        cam_pool_read(&peer->pool, e, record);
        for (size_t part = 0; m && part < peer->expert->n_parts; part++)
            move_part_by_adam(update, update->lr * ff->config.pool_lr_scale, gradient + part * D, D,
                              state->updates, m + part * D, m + peer->pool.record + part * D,
                              record + part * D);
        for (size_t part = 0; !m && part < peer->expert->n_parts; part++)
            move_part(update, update->lr * ff->config.pool_lr_scale, gradient + part * D, D,
                      state->updates, &state->second[part], record + part * D);
        pull_to_anchor(peer, update, e, record);
        cam_pool_write(&peer->pool, e, key, record);
    }
    cam_peer_measure_opening(peer);
    peer->last.differentiated = 0;
}
