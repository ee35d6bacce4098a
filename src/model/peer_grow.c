/* Generations: born closed, opened slowly, frozen and thawed.
 *
 * Why so carefully: new pairs take places among the K best and softmax mass from old experts even
 * when their own output is zero.  In a simulation with random keys, growing 64 sub-keys to 80 at
 * once changed the layer's output by 55 %. */
#include "base/rng.h"
#include "math/vector_rows.h"
#include "model/peer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_RAMP_STEPS     64
#define DEFAULT_MAX_SHARE_STEP 0.01
#define DRAW_ATTEMPTS          8  /* to find a sub-query not taken yet */
#define SLOWEST                16 /* the smallest opening step: this fraction of the nominal one */

void cam_peer_derive(struct cam_peer *peer) {
    size_t frozen = 0;
    for (size_t g = 0; g < peer->shape.n_generations; g++) {
        const struct cam_generation *generation = &peer->generation[g];
        for (size_t i = generation->subkeys_from; i < generation->subkeys_to; i++)
            peer->bias[i] = (cam_real)generation->bias;
        if (generation->frozen_subkeys && frozen == generation->subkeys_from)
            frozen = generation->subkeys_to;
    }
    peer->subkey[0]->frozen_rows = peer->subkey[1]->frozen_rows = frozen;
}

size_t cam_peer_n_generations(const struct cam_ff *ff) {
    return (size_t)cam_peer_of(ff)->shape.n_generations;
}

const struct cam_generation *cam_peer_generation(const struct cam_ff *ff, size_t i) {
    return &cam_peer_of(ff)->generation[i];
}

size_t cam_peer_subkeys(const struct cam_ff *ff) {
    return (size_t)cam_peer_of(ff)->shape.subkeys;
}

uint64_t cam_peer_n_experts(const struct cam_ff *ff) {
    return cam_peer_of(ff)->pool.n_experts;
}

uint32_t cam_peer_generation_of(const struct cam_ff *ff, uint64_t expert) {
    const struct cam_peer *peer = cam_peer_of(ff);
    size_t low = 0, high = peer->shape.n_generations; /* the last one that begins at or before */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (peer->generation[middle].first_expert <= expert)
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}

/* --- new sub-keys --- */

struct draw {
    const struct cam_peer_growth *growth;
    uint64_t counter; /* step and layer */
    size_t *token;    /* the quarter with the highest loss, highest first */
    double *weight;   /* running sums of their losses */
    size_t n_tokens;
    uint64_t *taken; /* token * heads + head of sub-keys made so far */
};

struct ranked {
    double loss;
    size_t token;
};

static int by_loss(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->loss != y->loss)
        return x->loss > y->loss ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static void draw_release(struct draw *draw) {
    free(draw->token);
    free(draw->weight);
    free(draw->taken);
}

static enum cam_status draw_init(const struct cam_peer *peer, const struct cam_peer_growth *growth,
                                 struct draw *draw) {
    size_t n = peer->last.n_tokens;
    *draw = (struct draw){.growth = growth,
                          .counter = growth->step | (uint64_t)peer->ff.config.i_layer << 48};
    if (!growth->token_loss || !peer->last.training || n == 0)
        return CAM_OK;
    struct ranked *ranked = malloc(n * sizeof *ranked);
    draw->n_tokens = (n + 3) / 4;
    draw->token = malloc(draw->n_tokens * sizeof *draw->token);
    draw->weight = malloc(draw->n_tokens * sizeof *draw->weight);
    draw->taken = malloc(growth->subkeys * sizeof *draw->taken);
    if (!ranked || !draw->token || !draw->weight || !draw->taken) {
        free(ranked);
        draw_release(draw);
        return cam_fail(CAM_ERR_OS, "out of memory for growing by %zu sub-keys", growth->subkeys);
    }
    for (size_t t = 0; t < n; t++) {
        double loss = (double)growth->token_loss[t];
        ranked[t] = (struct ranked){isfinite(loss) && loss > 0 ? loss : 0, t};
    }
    qsort(ranked, n, sizeof *ranked, by_loss);
    double sum = 0;
    for (size_t i = 0; i < draw->n_tokens; i++) {
        sum += ranked[i].loss + 1e-12;
        draw->token[i] = ranked[i].token;
        draw->weight[i] = sum;
    }
    free(ranked);
    return CAM_OK;
}

/* A (token, head) for the I-th new sub-key: heads in turn, tokens by loss, no pair twice as long as
 * a few attempts find another. */
static uint64_t draw_query(struct draw *draw, size_t i, size_t heads) {
    uint64_t found = 0;
    for (uint32_t attempt = 0; attempt < DRAW_ATTEMPTS; attempt++) {
        struct cam_random random = cam_random_at(draw->growth->seed, CAM_PURPOSE_GROWTH,
                                                 draw->counter, (uint32_t)i * 64 + attempt);
        double at = cam_random_unit(random.word[0]) * draw->weight[draw->n_tokens - 1];
        size_t k = 0;
        while (k + 1 < draw->n_tokens && draw->weight[k] <= at)
            k++;
        found = (uint64_t)draw->token[k] * heads + i % heads;
        size_t same = 0;
        for (size_t m = 0; m < i; m++)
            same += draw->taken[m] == found;
        if (!same)
            break;
    }
    draw->taken[i] = found;
    return found;
}

static double length(const cam_real *x, size_t n) {
    return sqrt((double)cam_row_sum_squares(x, n));
}

/* KEY (dk) = NORM times a unit vector: random when QUERY is NULL, else mixed with QUERY's direction
 * so that its score there equals the best old one. */
static void make_key(const struct cam_peer *peer, const struct draw *draw, size_t h, size_t row,
                     const cam_real *query, double norm, cam_real *key) {
    size_t dk = peer->ff.config.key_width, S = peer->shape.subkeys;
    for (size_t i = 0; i < dk; i += 4) {
        float normal[4];
        uint32_t slot = (uint32_t)(((row * 2 + h) * dk + i) / 4);
        cam_random_normal4(
            cam_random_at(draw->growth->seed, CAM_PURPOSE_INIT_SUBKEY, draw->counter, slot),
            normal);
        for (size_t m = 0; m < 4; m++)
            key[i + m] = (cam_real)normal[m];
    }
    double query_length = query ? length(query, dk) : 0, along = 0;
    if (query_length > 0) {
        double best = -INFINITY, inner = 0;
        for (size_t i = 0; i < S; i++) {
            double score = 0;
            for (size_t m = 0; m < dk; m++)
                score += (double)query[m] * (double)peer->subkey[h]->value[i * dk + m];
            best = score > best ? score : best;
        }
        for (size_t m = 0; m < dk; m++)
            inner += (double)query[m] * (double)key[m];
        cam_row_add((cam_real)(-inner / (query_length * query_length)), query, dk, key);
        along = fmin(1, fmax(0, best / (query_length * norm)));
    }
    double key_length = length(key, dk);
    for (size_t m = 0; m < dk; m++) {
        double unit = (double)key[m] / key_length * sqrt(1 - along * along);
        if (query_length > 0)
            unit += along * (double)query[m] / query_length;
        key[m] = (cam_real)(unit * norm);
    }
}

static double mean_length(const struct cam_param *subkey, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += length(subkey->value + i * subkey->cols, subkey->cols);
    return sum / (double)n;
}

static void append_subkeys(struct cam_peer *peer, struct draw *draw) {
    size_t S = peer->shape.subkeys, g = draw->growth->subkeys, dk = peer->ff.config.key_width;
    double norm[2] = {mean_length(peer->subkey[0], S), mean_length(peer->subkey[1], S)};
    for (size_t i = 0; i < g; i++) {
        const cam_real *query = NULL;
        if (draw->n_tokens)
            query = peer->last.query + draw_query(draw, i, peer->ff.config.heads) * 2 * dk;
        for (size_t h = 0; h < 2; h++)
            make_key(peer, draw, h, S + i, query ? query + h * dk : NULL, norm[h],
                     peer->subkey[h]->value + (S + i) * dk);
    }
    for (int h = 0; h < 2; h++) {
        struct cam_param *p = peer->subkey[h];
        size_t n_bytes = g * dk * sizeof(cam_real);
        memset(p->grad + S * dk, 0, n_bytes);
        memset(p->m + S * dk, 0, n_bytes);
        memset(p->v + S * dk, 0, n_bytes);
        p->rows = S + g;
    }
}

enum cam_status cam_peer_grow(struct cam_ff *ff, const struct cam_peer_growth *growth,
                              size_t *n_from_queries) {
    struct cam_peer *peer = cam_peer_of(ff);
    size_t S = peer->shape.subkeys, g = growth->subkeys, n = peer->shape.n_generations;
    if (g == 0 || g > ff->config.subkeys_capacity - S)
        return cam_fail(CAM_ERR_CONFIG,
                        "peer: cannot grow by %zu sub-keys: %zu of %zu (peer.max_subkeys) are in "
                        "use",
                        g, S, ff->config.subkeys_capacity);
    if (n == CAM_MAX_GENERATIONS)
        return cam_fail(CAM_ERR_CONFIG,
                        "peer: a layer has at most %d generations; grow by more "
                        "at a time",
                        CAM_MAX_GENERATIONS);
    struct draw draw;
    CAM_TRY(draw_init(peer, growth, &draw));
    enum cam_status status =
        cam_pool_grow(&peer->pool, (uint64_t)(S + g) * (S + g), CAM_POOL_ZERO_OUTPUT);
    if (status != CAM_OK) {
        draw_release(&draw);
        return status;
    }
    append_subkeys(peer, &draw);
    if (n_from_queries)
        *n_from_queries = draw.n_tokens ? g : 0;
    draw_release(&draw);
    double share_step = growth->max_share_step;
    peer->generation[n] = (struct cam_generation){
        .number = (uint32_t)n,
        .state = CAM_GENERATION_CLOSED,
        .subkeys_from = (uint32_t)S,
        .subkeys_to = (uint32_t)(S + g),
        .first_expert = (uint64_t)S * S,
        .n_experts = (uint64_t)(S + g) * (S + g) - (uint64_t)S * S,
        .born_step = growth->step,
        .ramp_steps = growth->ramp_steps ? growth->ramp_steps : DEFAULT_RAMP_STEPS,
        .max_share_step = share_step > 0 ? share_step : DEFAULT_MAX_SHARE_STEP,
        .first_bias = CAM_PEER_CLOSED_BIAS,
        .bias = CAM_PEER_CLOSED_BIAS,
        .last_bias = CAM_PEER_CLOSED_BIAS};
    peer->shape.subkeys = S + g;
    peer->shape.n_generations = n + 1;
    cam_peer_derive(peer);
    return CAM_OK;
}

/* --- opening --- */

static int by_value(const void *a, const void *b) {
    cam_real x = *(const cam_real *)a, y = *(const cam_real *)b;
    return (x > y) - (x < y);
}

/* The bias at which about RHO of the (token, head) rows would pick a first closed expert. */
static double first_bias(struct cam_peer_last *last, size_t heads, double rho) {
    size_t n = last->n_tokens * heads, at = (size_t)(rho * (double)n);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(last->gap[i]))
            last->gap[i] = 0;
    qsort(last->gap, n, sizeof *last->gap, by_value);
    double bias = (double)last->gap[at < n ? at : n - 1];
    return bias < 0 ? bias : 0;
}

void cam_peer_measure_opening(struct cam_peer *peer) {
    size_t n = peer->shape.n_generations, first = n;
    for (size_t g = n; g-- > 0;)
        if (peer->generation[g].state != CAM_GENERATION_OPEN)
            first = g;
    if (first == n)
        return;
    struct cam_peer_last *last = &peer->last;
    uint64_t picks[CAM_MAX_GENERATIONS];
    double mass[CAM_MAX_GENERATIONS];
    cam_peer_last_picks(&peer->ff, picks, mass);
    double rows = (double)last->n_tokens * (double)peer->ff.config.heads;
    for (size_t g = first; g < n; g++) {
        struct cam_generation *generation = &peer->generation[g];
        generation->pick_share = (double)picks[g] / (rows * (double)peer->ff.config.top_k);
        generation->gate_share = mass[g] / rows;
        /* A row that takes one new expert gives it 1/K of its picks, or a few. */
        double rho = generation->max_share_step * (double)peer->ff.config.top_k / 4;
        if (generation->state == CAM_GENERATION_CLOSED && last->gap)
            generation->first_bias = first_bias(last, peer->ff.config.heads, rho);
    }
    last->measured = 1;
}

/* The next bias of a generation that is opening: as far as the share may rise, judging by how it
 * rose last time.  The share grows faster than linearly, at about its own size a unit of score. */
static void open_further(struct cam_generation *g) {
    double share = fmax(g->pick_share, g->gate_share);
    double nominal = -g->first_bias / g->ramp_steps, slope = share;
    if (g->bias > g->last_bias)
        slope = fmax(slope, 1.25 * (share - g->last_share) / (g->bias - g->last_bias));
    double step = slope > 0 ? fmin(nominal, g->max_share_step / slope) : nominal;
    step = fmax(step, nominal / SLOWEST);
    g->last_share = share;
    g->last_bias = g->bias;
    g->bias = fmin(0, g->bias + step);
    if (g->bias > g->first_bias * 1e-9)
        g->bias = 0;
    g->opening_steps++;
}

static void open_one(struct cam_generation *g) {
    if (g->state == CAM_GENERATION_CLOSED) {
        if (g->first_bias == CAM_PEER_CLOSED_BIAS)
            return; /* not measured yet */
        g->bias = g->last_bias = g->first_bias;
        g->state = CAM_GENERATION_OPENING;
    } else if (g->state == CAM_GENERATION_OPENING && g->hold_steps) {
        g->hold_steps--;
    } else if (g->state == CAM_GENERATION_OPENING) {
        open_further(g);
    }
    if (g->bias == 0)
        g->state = CAM_GENERATION_OPEN;
}

void cam_peer_open_step(struct cam_ff *ff, struct cam_peer_opening *opening) {
    struct cam_peer *peer = cam_peer_of(ff);
    struct cam_peer_opening sum = {0};
    for (size_t i = peer->shape.n_generations; i-- > 0;) {
        struct cam_generation *g = &peer->generation[i];
        if (g->state == CAM_GENERATION_OPEN)
            continue;
        sum.pick_share += g->pick_share;
        sum.gate_share += g->gate_share;
        if (peer->last.measured)
            open_one(g);
        sum.n_opening += g->state != CAM_GENERATION_OPEN;
        sum.bias = g->bias;
    }
    if (peer->last.measured)
        cam_peer_derive(peer);
    peer->last.measured = 0;
    if (opening)
        *opening = sum;
}

size_t cam_peer_hold(struct cam_ff *ff, uint32_t steps) {
    struct cam_peer *peer = cam_peer_of(ff);
    size_t n = 0;
    for (size_t i = 0; i < peer->shape.n_generations; i++) {
        struct cam_generation *g = &peer->generation[i];
        if (g->state == CAM_GENERATION_OPEN)
            continue;
        g->hold_steps = steps > g->hold_steps ? steps : g->hold_steps;
        n++;
    }
    return n;
}

size_t cam_peer_retreat(struct cam_ff *ff, double share) {
    struct cam_peer *peer = cam_peer_of(ff);
    size_t n = 0;
    for (size_t i = 0; i < peer->shape.n_generations; i++) {
        struct cam_generation *g = &peer->generation[i];
        if (g->state != CAM_GENERATION_OPENING)
            continue;
        g->bias = fmax(g->first_bias, g->bias + g->first_bias * fmin(share, 1));
        g->last_bias = g->bias; /* the share is learnt anew from here */
        g->retreats++;
        n++;
    }
    cam_peer_derive(peer);
    return n;
}

/* --- freezing --- */

enum cam_status cam_peer_freeze(struct cam_ff *ff, size_t i, unsigned parts, int on) {
    struct cam_peer *peer = cam_peer_of(ff);
    if (i >= peer->shape.n_generations)
        return cam_fail(CAM_ERR_USAGE, "peer: there is no generation %zu (%zu exist)", i,
                        (size_t)peer->shape.n_generations);
    if (parts & CAM_PEER_SUBKEYS) {
        for (size_t g = 0; g < i && on; g++)
            if (!peer->generation[g].frozen_subkeys)
                return cam_fail(CAM_ERR_CONFIG,
                                "peer: sub-keys freeze oldest first; freeze those of generation "
                                "%zu before %zu",
                                g, i);
        peer->generation[i].frozen_subkeys = on != 0;
        for (size_t g = i + 1; g < peer->shape.n_generations && !on; g++)
            peer->generation[g].frozen_subkeys = 0;
    }
    if (parts & CAM_PEER_EXPERTS)
        peer->generation[i].frozen_experts = on != 0;
    cam_peer_derive(peer);
    return CAM_OK;
}

enum cam_status cam_peer_generation_hash(const struct cam_ff *ff, size_t i, unsigned parts,
                                         struct cam_hash *hash) {
    const struct cam_peer *peer = cam_peer_of(ff);
    if (i >= peer->shape.n_generations)
        return cam_fail(CAM_ERR_USAGE, "peer: there is no generation %zu (%zu exist)", i,
                        (size_t)peer->shape.n_generations);
    const struct cam_generation *g = &peer->generation[i];
    struct cam_hasher *hasher = cam_hasher_new();
    if (!hasher)
        return cam_fail(CAM_ERR_OS, "out of memory for a hash");
    uint64_t end = parts & CAM_PEER_EXPERTS ? g->first_expert + g->n_experts : 0;
    for (uint64_t e = g->first_expert; e < end; e++)
        cam_hasher_add(hasher, cam_pool_record(&peer->pool, e), cam_pool_record_bytes(&peer->pool));
    for (int h = 0; h < 2 && parts & CAM_PEER_SUBKEYS; h++)
        cam_hasher_add(hasher, peer->subkey[h]->value + g->subkeys_from * ff->config.key_width,
                       (g->subkeys_to - g->subkeys_from) * ff->config.key_width * sizeof(cam_real));
    *hash = cam_hasher_value(hasher);
    cam_hasher_free(hasher);
    return CAM_OK;
}

enum cam_status cam_peer_recycle(struct cam_ff *ff, uint64_t expert) {
    struct cam_peer *peer = cam_peer_of(ff);
    if (expert >= peer->pool.n_experts)
        return cam_fail(CAM_ERR_USAGE, "peer: there is no expert %llu (%llu exist)",
                        (unsigned long long)expert, (unsigned long long)peer->pool.n_experts);
    uint32_t g = cam_peer_generation_of(ff, expert);
    if (peer->generation[g].frozen_experts)
        return cam_fail(CAM_ERR_CONFIG, "peer: expert %llu is frozen with generation %u",
                        (unsigned long long)expert, g);
    uint32_t incarnation = cam_pool_state(&peer->pool, expert)->incarnation + 1;
    cam_pool_reset_expert(&peer->pool, expert, incarnation, CAM_POOL_ZERO_OUTPUT);
    cam_pool_average_again(&peer->pool, expert);
    return CAM_OK;
}

/* --- dead experts --- */

/* A bit an expert: picked in the last pass. */
static uint64_t *picked_in_last_pass(const struct cam_peer *peer) {
    const struct cam_peer_last *last = &peer->last;
    size_t per_token = peer->ff.config.heads * peer->ff.config.top_k;
    uint64_t *bits = calloc((size_t)(peer->pool.n_experts / 64) + 1, sizeof *bits);
    for (size_t t = 0; bits && t < last->n_tokens; t++)
        for (size_t i = t * peer->n_picks; i < t * peer->n_picks + per_token; i++)
            bits[last->expert[i] / 64] |= (uint64_t)1 << last->expert[i] % 64;
    return bits;
}

/* In order of id, experts not PICKED nor counted: those of thawed generations idle for LEAST
 * windows or more; writes the first ROOM of them, those idle for exactly LEAST only while *EQUAL
 * lasts, and returns how many there are in all. */
static size_t gather_idle(const struct cam_peer *peer, const uint64_t *picked, uint32_t least,
                          size_t *equal, size_t room, struct cam_peer_idle *idle) {
    size_t n = 0;
    for (size_t g = 0; g < peer->shape.n_generations; g++) {
        const struct cam_generation *generation = &peer->generation[g];
        uint64_t end = generation->first_expert + generation->n_experts;
        for (uint64_t e = generation->first_expert; e < end && !generation->frozen_experts; e++) {
            const struct cam_expert_usage *u = cam_pool_usage(&peer->pool, e);
            if (u->picks || u->idle_windows < least || picked[e / 64] >> e % 64 & 1)
                continue;
            if (equal && u->idle_windows == least && (*equal)-- == 0) {
                *equal = 0;
                continue;
            }
            if (n < room)
                idle[n] = (struct cam_peer_idle){.expert = e,
                                                 .generation = (uint32_t)g,
                                                 .incarnation =
                                                     cam_pool_state(&peer->pool, e)->incarnation,
                                                 .idle_windows = u->idle_windows};
            n++;
        }
    }
    return n;
}

enum cam_status cam_peer_find_idle(const struct cam_ff *ff, uint32_t windows, size_t n,
                                   struct cam_peer_idle *idle, size_t *n_found) {
    const struct cam_peer *peer = cam_peer_of(ff);
    uint64_t *picked = picked_in_last_pass(peer);
    if (!picked)
        return cam_fail(CAM_ERR_OS, "out of memory for a mark on each of %llu experts",
                        (unsigned long long)peer->pool.n_experts);
    /* The least number of windows that at most N experts exceed, by bisection. */
    uint32_t low = windows, high = UINT32_MAX;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (gather_idle(peer, picked, middle + 1, NULL, 0, NULL) <= n)
            high = middle;
        else
            low = middle + 1;
    }
    size_t equal = low < UINT32_MAX ? n - gather_idle(peer, picked, low + 1, NULL, 0, NULL) : n;
    *n_found = gather_idle(peer, picked, low, &equal, n, idle);
    free(picked);
    return CAM_OK;
}
