/* Product-key retrieval (He 2024, section 2.2; Lample 2019, 1907.05242): the K best of S*S pairs
 * from two rows of S scores.
 *
 * Sums of two lists sorted in descending order: a pair of ranks (r, s) has (r+1)(s+1) - 1 pairs
 * that score at least as much, so only those with (r+1)(s+1) <= K can be among the K best - 50 for
 * K = 16.  That argument does not settle *equal* sums, which rounding produces even from different
 * terms, and our order wants the lower id then.  So the fast way also looks whether any sum it
 * ranked, or any pair just outside the 50, ties; then, rarely, all pairs that reach the K-th sum
 * are ranked by id. */
#include "math/blas.h"
#include "math/gemm_amx.h"
#include "math/panel.h"
#include "math/topk.h"
#include "math/vector_rows.h"
#include "model/peer.h"

#include <math.h>
#include <string.h>

#define LIST_MAX       (CAM_PEER_MAX_TOP_K + 1)
#define CANDIDATES_MAX 400 /* pairs with (r+1)(s+1) <= 64: 280 */

struct row_list {
    cam_real score[LIST_MAX];
    uint32_t index[LIST_MAX];
    size_t n;
};

static size_t padded_subkeys(size_t subkeys) {
    return (subkeys + CAM_SUBKEY_BLOCK - 1) / CAM_SUBKEY_BLOCK * CAM_SUBKEY_BLOCK;
}

/* Numbers between rows of scores: a multiple of a page would put all rows into the same few sets of
 * the first cache. */
static size_t score_stride(size_t subkeys) {
    return padded_subkeys(subkeys) + CAM_LANES;
}

void cam_peer_scratch_init(const struct cam_peer *peer, struct cam_arena *arena,
                           struct cam_peer_scratch *s) {
    size_t n_rows = CAM_PEER_BLOCK_TOKENS * peer->ff.config.heads;
    size_t stride = score_stride(peer->shape.subkeys);
    for (int h = 0; h < 2; h++) {
        s->score[h] = cam_arena_alloc(arena, n_rows * stride * sizeof(cam_real));
        s->list[h] = cam_arena_alloc(arena, peer->shape.subkeys * sizeof(uint32_t));
    }
    s->row = cam_arena_alloc(arena, (CAM_PEER_BLOCK_TOKENS * peer->n_picks + CAM_ROWS_AHEAD) *
                                        sizeof(cam_real *));
    s->coef = cam_arena_alloc(arena, peer->n_picks * sizeof(cam_real));
    s->dot = cam_arena_alloc(arena, peer->n_picks * sizeof(cam_real));
    s->slope = cam_arena_alloc(arena, peer->n_picks * sizeof(cam_real));
}

/* Sub-keys of one row that can be part of a K-best pair when ties matter: those whose best sum
 * reaches CUT, and of equal ones the K first (any other is beaten by K lower ids). */
static size_t reachable(const cam_real *score, size_t subkeys, size_t k, cam_real best_other,
                        cam_real cut, uint32_t *list) {
    size_t n = 0;
    for (size_t i = 0; i < subkeys; i++) {
        if (!(score[i] + best_other >= cut))
            continue;
        size_t equal = 0;
        for (size_t m = 0; m < n && equal < k; m++)
            equal += score[list[m]] == score[i];
        if (equal < k)
            list[n++] = (uint32_t)i;
    }
    return n;
}

/* Puts (SUM, I, J) in its place among the COUNT best so far, at most K; returns the new count. */
static size_t place_pair(cam_real sum, uint32_t i, uint32_t j, size_t k, size_t count,
                         uint32_t *pair, cam_real *score) {
    uint64_t id = cam_expert_of_pair(i, j);
    size_t at = count;
    for (; at > 0; at--) {
        uint64_t other = cam_expert_of_pair(pair[at - 1] >> 16, pair[at - 1] & 0xffff);
        if (score[at - 1] > sum || (score[at - 1] == sum && other < id))
            break;
    }
    if (at == k)
        return count;
    count += count < k;
    for (size_t m = count - 1; m > at; m--) {
        score[m] = score[m - 1];
        pair[m] = pair[m - 1];
    }
    score[at] = sum;
    pair[at] = i << 16 | j;
    return count;
}

/* All pairs that reach CUT, the K-th best sum, ranked by sum and id. */
static void settle_ties(const cam_real *a, const cam_real *b, size_t subkeys, size_t k,
                        cam_real best_a, cam_real best_b, cam_real cut, uint32_t *const list[2],
                        uint32_t *pair, cam_real *score) {
    size_t n_a = reachable(a, subkeys, k, best_b, cut, list[0]);
    size_t n_b = reachable(b, subkeys, k, best_a, cut, list[1]);
    size_t count = 0;
    for (size_t x = 0; x < n_a; x++) {
        for (size_t y = 0; y < n_b; y++) {
            uint32_t i = list[0][x], j = list[1][y];
            if (a[i] + b[j] >= cut)
                count = place_pair(a[i] + b[j], i, j, k, count, pair, score);
        }
    }
}

/* Whether a pair outside the candidates, or two of the ranked ones, could tie with what was
 * chosen. */
static int tie_possible(const struct row_list *a, const struct row_list *b, size_t k,
                        const cam_real *sum, size_t n_sums) {
    for (size_t m = 0; m + 1 < n_sums; m++)
        if (sum[m] == sum[m + 1])
            return 1;
    for (size_t r = 0; r < a->n; r++) {
        size_t s = k / (r + 1); /* the first rank with (r+1)(s+1) > k */
        if (s < b->n && a->score[r] + b->score[s] >= sum[k - 1])
            return 1;
    }
    return 0;
}

void cam_peer_product_top_k(const cam_real *a, const cam_real *b, size_t subkeys, size_t k,
                            uint32_t *const list[2], uint32_t *pair, cam_real *score) {
    struct row_list top[2];
    cam_real sum[CANDIDATES_MAX], best[LIST_MAX];
    uint32_t candidate[CANDIDATES_MAX], chosen[LIST_MAX];
    size_t n = k + 1 < subkeys ? k + 1 : subkeys, n_sums = 0;
    top[0].n = top[1].n = n;
    cam_top_k(a, subkeys, n, top[0].score, top[0].index);
    cam_top_k(b, subkeys, n, top[1].score, top[1].index);
    for (size_t r = 0; r < k; r++) {
        for (size_t s = 0; s < k / (r + 1); s++) {
            sum[n_sums] = top[0].score[r] + top[1].score[s];
            candidate[n_sums++] = top[0].index[r] << 16 | top[1].index[s];
        }
    }
    size_t n_best = k + 1 < n_sums ? k + 1 : n_sums;
    cam_top_k(sum, n_sums, n_best, best, chosen);
    for (size_t m = 0; m < k; m++) {
        score[m] = best[m];
        pair[m] = candidate[chosen[m]];
    }
    /* Not-a-number or infinite rows keep what they got: the step will be dropped. */
    if (isfinite(best[k - 1]) && tie_possible(&top[0], &top[1], k, best, n_best))
        settle_ties(a, b, subkeys, k, top[0].score[0], top[1].score[0], best[k - 1], list, pair,
                    score);
}

struct packing {
    const struct cam_peer *peer;
    cam_real *const *panel;
    void *const *amx_panel;
};

static void pack_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct packing *p = context;
    size_t S = p->peer->shape.subkeys, dk = p->peer->ff.config.key_width;
    for (int h = 0; h < 2; h++)
        cam_panel_pack(p->peer->subkey[h]->value, S, dk, dk, i_block * CAM_PANEL_ROWS, p->panel[h]);
}

static void pack_amx_block(void *context, size_t i_block, size_t i_worker) {
    (void)i_worker;
    const struct packing *p = context;
    size_t S = p->peer->shape.subkeys, dk = p->peer->ff.config.key_width;
    for (int h = 0; h < 2; h++)
        cam_amx_panel_pack(p->peer->subkey[h]->value, S, dk, dk, i_block * CAM_AMX_STRIP,
                           p->amx_panel[h]);
}

/* Sub-keys in bfloat16. */
static void pack_amx(struct cam_peer *peer, const struct cam_pass *pass) {
    size_t padded = padded_subkeys(peer->shape.subkeys), dk = peer->ff.config.key_width;
    for (int h = 0; h < 2; h++)
        peer->last.amx_panel[h] = cam_arena_alloc(pass->arena, cam_amx_panel_bytes(padded, dk));
    struct packing packing = {.peer = peer, .amx_panel = peer->last.amx_panel};
    cam_threads_run(pass->threads, padded / CAM_AMX_STRIP, pack_amx_block, &packing);
}

void cam_peer_pack_subkeys(struct cam_peer *peer, const struct cam_pass *pass) {
    size_t padded = padded_subkeys(peer->shape.subkeys), dk = peer->ff.config.key_width;
    if (pass->products == CAM_PRODUCTS_BF16 && cam_amx_open())
        pack_amx(peer, pass);
    if (pass->products != CAM_PRODUCTS_FP32 || !cam_panel_fast())
        return;
    for (int h = 0; h < 2; h++)
        peer->last.panel[h] =
            cam_arena_alloc(pass->arena, cam_panel_reals(padded, dk) * sizeof(cam_real));
    struct packing packing = {.peer = peer, .panel = peer->last.panel};
    cam_threads_run(pass->threads, padded / CAM_PANEL_ROWS, pack_block, &packing);
}

/* Scores of N_ROWS queries: one row of SCORE[h] a query, score_stride apart.  Without panels,
 * sub-keys go in blocks of a fixed size, whatever S is, so that growth cannot move the bits of old
 * scores. */
static void score_rows(struct cam_peer *peer, const cam_real *query, size_t n_rows,
                       cam_real *const score[2]) {
    size_t dk = peer->ff.config.key_width, padded = padded_subkeys(peer->shape.subkeys);
    size_t stride = score_stride(peer->shape.subkeys);
    for (int h = 0; h < 2; h++) {
        const cam_real *q = query + (size_t)h * dk;
        if (peer->last.amx_panel[h]) {
            cam_amx_panel_product(q, n_rows, dk, 2 * dk, peer->last.amx_panel[h], padded, score[h],
                                  stride);
            continue;
        }
        if (peer->last.panel[h]) {
            cam_panel_product(q, n_rows, dk, 2 * dk, peer->last.panel[h], padded, score[h], stride);
            continue;
        }
        for (size_t i = 0; i < padded; i += CAM_SUBKEY_BLOCK)
            cam_gemm(peer->last.products, CAM_PLAIN, CAM_TRANSPOSED, n_rows, CAM_SUBKEY_BLOCK, dk,
                     1, q, 2 * dk, peer->subkey[h]->value + i * dk, dk, 0, score[h] + i, stride);
    }
}

/* The first sub-key whose bias is not zero; S when all generations are open. */
static size_t first_biased(const struct cam_peer *peer) {
    size_t i = peer->shape.subkeys;
    for (size_t g = peer->shape.n_generations; g-- > 0;)
        if (peer->generation[g].bias != 0)
            i = peer->generation[g].subkeys_from;
    return i;
}

static size_t first_closed(const struct cam_peer *peer) {
    size_t i = peer->shape.subkeys;
    for (size_t g = peer->shape.n_generations; g-- > 0;)
        if (peer->generation[g].state == CAM_GENERATION_CLOSED)
            i = peer->generation[g].subkeys_from;
    return i;
}

static cam_real greatest(const cam_real *x, size_t from, size_t to) {
    cam_real most = -(cam_real)INFINITY;
    for (size_t i = from; i < to; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* How far the best pair with a closed sub-key (scores new_a, new_b without their bias) stays below
 * the K-th pick CUT: minus the bias at which the first new expert would be picked here.  A pair of
 * two closed ones carries the bias twice. */
static cam_real gap_of(const cam_real *a, const cam_real *b, size_t closed, cam_real new_a,
                       cam_real new_b, cam_real cut) {
    cam_real with_a = new_a + greatest(b, 0, closed), with_b = greatest(a, 0, closed) + new_b;
    cam_real one = cut - (with_a > with_b ? with_a : with_b), both = (cut - (new_a + new_b)) / 2;
    return one < both ? one : both;
}

static void softmax_heads(cam_real *gate, size_t n_tokens, size_t n_picks, size_t heads, size_t k) {
    for (size_t r = 0; r < n_tokens * heads; r++) {
        cam_real *g = gate + r / heads * n_picks + r % heads * k, most = g[0];
        for (size_t m = 0; m < k; m++)
            g[m] -= most; /* best first */
    }
    cam_row_exp(gate, n_tokens * n_picks);
    for (size_t r = 0; r < n_tokens * heads; r++) {
        cam_real *g = gate + r / heads * n_picks + r % heads * k, sum = 0;
        for (size_t m = 0; m < k; m++)
            sum += g[m];
        for (size_t m = 0; m < k; m++)
            g[m] /= sum;
    }
    for (size_t t = 0; t < n_tokens; t++)
        memset(gate + t * n_picks + heads * k, 0, (n_picks - heads * k) * sizeof *gate);
}

void cam_peer_retrieve(struct cam_peer *peer, size_t t0, size_t n_tokens,
                       struct cam_peer_scratch *scratch) {
    const struct cam_ff_config *c = &peer->ff.config;
    struct cam_peer_last *last = &peer->last;
    size_t P = c->heads, K = c->top_k, dk = c->key_width, S = peer->shape.subkeys;
    size_t stride = score_stride(S), biased = first_biased(peer), closed = first_closed(peer);
    cam_real *query = last->query + t0 * P * 2 * dk;
    for (size_t i = 0; i < n_tokens * P * 2; i++)
        last->factor[t0 * P * 2 + i] =
            cam_row_normalise(query + i * dk, dk, (cam_real)CAM_QUERY_EPSILON);
    score_rows(peer, query, n_tokens * P, scratch->score);
    for (size_t r = 0; r < n_tokens * P; r++) {
        cam_real *a = scratch->score[0] + r * stride, *b = scratch->score[1] + r * stride;
        size_t t = t0 + r / P, at = t * peer->n_picks + r % P * K;
        cam_real new_a = last->gap ? greatest(a, closed, S) : 0;
        cam_real new_b = last->gap ? greatest(b, closed, S) : 0;
        for (size_t i = biased; i < S; i++) {
            a[i] += peer->bias[i];
            b[i] += peer->bias[i];
        }
        cam_peer_product_top_k(a, b, S, K, scratch->list, last->pair + at, last->gate + at);
        if (last->gap)
            last->gap[t * P + r % P] = gap_of(a, b, closed, new_a, new_b, last->gate[at + K - 1]);
        for (size_t m = at; m < at + K; m++)
            last->expert[m] =
                (uint32_t)cam_expert_of_pair(last->pair[m] >> 16, last->pair[m] & 0xffff);
    }
    softmax_heads(last->gate + t0 * peer->n_picks, n_tokens, peer->n_picks, P, K);
}
