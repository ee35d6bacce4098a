/* Questions about a pool: how evenly it is used, and which experts did what. */
#include "math/vector_rows.h"
#include "model/peer.h"

#include <math.h>
#include <string.h>

static void expert_range(const struct cam_peer *peer, uint32_t generation, uint64_t *from,
                         uint64_t *to) {
    *from = 0;
    *to = peer->pool.n_experts;
    if (generation == CAM_ALL_GENERATIONS)
        return;
    if (generation >= peer->shape.n_generations) {
        *to = 0;
        return;
    }
    *from = peer->generation[generation].first_expert;
    *to = *from + peer->generation[generation].n_experts;
}

/* Experts of [FROM, TO) with more than LIMIT picks, and their picks. */
static uint64_t busier_than(const struct cam_pool *pool, uint64_t from, uint64_t to, uint32_t limit,
                            uint64_t *picks) {
    uint64_t n = 0;
    *picks = 0;
    for (uint64_t e = from; e < to; e++) {
        uint32_t p = cam_pool_usage(pool, e)->picks;
        n += p > limit;
        *picks += p > limit ? p : 0;
    }
    return n;
}

/* Picks of the N busiest experts: bisection on the least count among them needs no memory. */
static uint64_t busiest(const struct cam_pool *pool, uint64_t from, uint64_t to, uint64_t n) {
    uint32_t low = 0, high = UINT32_MAX; /* the least limit that at most n exceed */
    uint64_t picks = 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (busier_than(pool, from, to, middle, &picks) <= n)
            high = middle;
        else
            low = middle + 1;
    }
    uint64_t above = busier_than(pool, from, to, low, &picks);
    return picks + (n - above) * low;
}

void cam_peer_usage(const struct cam_ff *ff, uint32_t generation, struct cam_peer_usage *usage) {
    const struct cam_peer *peer = cam_peer_of(ff);
    uint64_t from, to;
    expert_range(peer, generation, &from, &to);
    *usage = (struct cam_peer_usage){.n_experts = to - from};
    double mass_log_mass = 0;
    for (uint64_t e = from; e < to; e++) {
        const struct cam_expert_usage *u = cam_pool_usage(&peer->pool, e);
        double mass = (double)u->gate_mass;
        usage->used += u->picks > 0;
        usage->picks += u->picks;
        usage->gate_mass += mass;
        mass_log_mass += mass > 0 ? mass * log(mass) : 0;
    }
    usage->dead = usage->n_experts - usage->used;
    double m = usage->gate_mass;
    if (m > 0) /* sum z log z = sum (mass log mass) / m - log m */
        usage->unevenness = log((double)usage->n_experts) + mass_log_mass / m - log(m);
    if (usage->picks)
        usage->hub_share = (double)busiest(&peer->pool, from, to, (usage->n_experts + 99) / 100) /
                           (double)usage->picks;
}

void cam_peer_usage_reset(struct cam_ff *ff) {
    struct cam_peer *peer = cam_peer_of(ff);
    for (uint64_t e = 0; e < peer->pool.n_experts; e++) {
        struct cam_expert_usage *u = cam_pool_usage(&peer->pool, e);
        uint32_t idle = u->picks ? 0 : u->idle_windows + (u->idle_windows < UINT32_MAX);
        *u = (struct cam_expert_usage){.idle_windows = idle, .steps = u->steps};
    }
}

uint64_t cam_peer_n_idle(const struct cam_ff *ff, uint32_t generation, uint32_t windows) {
    const struct cam_peer *peer = cam_peer_of(ff);
    uint64_t from, to, n = 0;
    expert_range(peer, generation, &from, &to);
    for (uint64_t e = from; e < to; e++) {
        const struct cam_expert_usage *u = cam_pool_usage(&peer->pool, e);
        n += u->picks == 0 && u->idle_windows + (uint64_t)1 >= windows;
    }
    return n;
}

void cam_peer_last_picks(const struct cam_ff *ff, uint64_t *picks, double *gate_mass) {
    const struct cam_peer *peer = cam_peer_of(ff);
    const struct cam_peer_last *last = &peer->last;
    size_t n = ff->config.heads * ff->config.top_k, M = peer->n_picks;
    memset(picks, 0, CAM_MAX_GENERATIONS * sizeof *picks);
    memset(gate_mass, 0, CAM_MAX_GENERATIONS * sizeof *gate_mass);
    for (size_t t = 0; t < last->n_tokens; t++) {
        for (size_t i = t * M; i < t * M + n; i++) {
            uint32_t g = cam_peer_generation_of(ff, last->expert[i]);
            picks[g]++;
            gate_mass[g] += (double)last->gate[i];
        }
    }
}

void cam_peer_count_picks(const struct cam_ff *ff, size_t from, size_t to, const cam_real *weights,
                          uint64_t *by_generation, uint64_t *sketch) {
    const struct cam_peer *peer = cam_peer_of(ff);
    const struct cam_peer_last *last = &peer->last;
    size_t n = ff->config.heads * ff->config.top_k, M = peer->n_picks;
    to = to < last->n_tokens ? to : last->n_tokens;
    for (size_t t = from; t < to; t++) {
        if (weights[t] == 0)
            continue;
        for (size_t i = t * M; i < t * M + n; i++) {
            uint32_t expert = last->expert[i];
            by_generation[cam_peer_generation_of(ff, expert)]++;
            sketch[expert * UINT64_C(0x9E3779B97F4A7C15) >> 58]++;
        }
    }
}

struct weighted {
    uint32_t expert;
    uint32_t place;
};

/* Stable order by expert: four passes of eight bits. */
static struct weighted *sort_by_expert(struct weighted *a, struct weighted *b, size_t n) {
    for (int shift = 0; shift < 32; shift += 8) {
        size_t start[257] = {0};
        for (size_t i = 0; i < n; i++)
            start[(a[i].expert >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++)
            start[i + 1] += start[i];
        for (size_t i = 0; i < n; i++)
            b[start[a[i].expert >> shift & 255]++] = a[i];
        struct weighted *swap = a;
        a = b;
        b = swap;
    }
    return a;
}

/* Experts come in increasing id, so an equal weight goes behind. */
static size_t place_credit(struct cam_peer_credit *credit, size_t count, size_t n, uint64_t expert,
                           double weight) {
    if (n == 0 || (count == n && weight <= credit[n - 1].weight))
        return count;
    count += count < n;
    size_t at = count - 1;
    for (; at > 0 && weight > credit[at - 1].weight; at--)
        credit[at] = credit[at - 1];
    credit[at] = (struct cam_peer_credit){.expert = expert, .weight = weight};
    return count;
}

size_t cam_peer_top_experts(const struct cam_ff *ff, size_t from, size_t to, size_t n,
                            struct cam_peer_credit *credit) {
    const struct cam_peer *peer = cam_peer_of(ff);
    const struct cam_peer_last *last = &peer->last;
    size_t M = peer->n_picks, per_token = ff->config.heads * ff->config.top_k, n_picks = 0;
    to = to < last->n_tokens ? to : last->n_tokens;
    if (from >= to || n == 0)
        return 0;
    struct weighted *a = cam_arena_alloc(last->arena, (to - from) * per_token * sizeof *a);
    struct weighted *b = cam_arena_alloc(last->arena, (to - from) * per_token * sizeof *b);
    cam_real *activation = cam_arena_alloc(last->arena, (to - from) * M * sizeof *activation);
    if (peer->expert->activation)
        peer->expert->activation(last->h + from * M, (to - from) * M, activation);
    else
        for (size_t i = 0; i < (to - from) * M; i++)
            activation[i] = 1;
    for (size_t t = from; t < to; t++)
        for (size_t i = 0; i < per_token; i++)
            a[n_picks++] = (struct weighted){last->expert[t * M + i], (uint32_t)(t * M + i)};
    a = sort_by_expert(a, b, n_picks);
    size_t count = 0;
    for (size_t i = 0; i < n_picks;) {
        uint32_t expert = a[i].expert;
        double weight = 0;
        for (; i < n_picks && a[i].expert == expert; i++)
            weight +=
                (double)last->gate[a[i].place] * fabs((double)activation[a[i].place - from * M]);
        count = place_credit(credit, count, n, expert, weight);
    }
    for (size_t i = 0; i < count; i++) {
        credit[i].generation = cam_peer_generation_of(ff, credit[i].expert);
        credit[i].incarnation = cam_pool_state(&peer->pool, credit[i].expert)->incarnation;
    }
    return count;
}
