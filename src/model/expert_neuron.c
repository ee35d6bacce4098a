/* expert_neuron.c - an expert of PEER: one hidden neuron, e(x) = gelu(u . x) v (He 2024, eq. 1 to 3
 * of section 2).  h = u . x is kept from forward to backward. */
#include "model/peer.h"

#include <string.h>

/* All dots of a token, then one sum whose result stays in registers. */
static void forward(struct cam_peer *peer, size_t t0, size_t n_tokens, const cam_real *const *row,
                    const cam_real *x, cam_real *y, struct cam_peer_scratch *scratch) {
    const struct cam_peer_last *last = &peer->last;
    size_t D = peer->ff.config.width, M = peer->n_picks;
    size_t n = peer->ff.config.heads * peer->ff.config.top_k;
    for (size_t t = t0; t < t0 + n_tokens; t++, row += M) {
        cam_real *h = last->h + t * M;
        const cam_real *gate = last->gate + t * M;
        cam_peer_dots(&peer->pool, x + t * D, row, n, 0, h);
        memset(h + n, 0, (M - n) * sizeof *h);
        cam_row_gelu(h, M, scratch->coef);
        for (size_t i = 0; i < n; i++)
            scratch->coef[i] *= gate[i];
        cam_peer_sum(&peer->pool, row, scratch->coef, n, D, y + t * D);
    }
}

/* Leaves dh = d loss / d h and ga = gate * gelu(h). */
static void backward(struct cam_peer *peer, size_t t, const cam_real *const *row,
                     const cam_real *dy, cam_real *dx, struct cam_peer_scratch *scratch) {
    const struct cam_peer_last *last = &peer->last;
    size_t D = peer->ff.config.width, M = peer->n_picks;
    size_t n = peer->ff.config.heads * peer->ff.config.top_k;
    cam_real *dh = last->dh + t * M, *ga = last->ga + t * M, *dot = scratch->dot;
    const cam_real *gate = last->gate + t * M;
    cam_peer_dots(&peer->pool, dy, row, n, D, dot);
    memset(dot + n, 0, (M - n) * sizeof *dot);
    cam_row_gelu_slope(last->h + t * M, M, ga, scratch->slope);
    for (size_t i = 0; i < M; i++) {
        dh[i] = gate[i] * scratch->slope[i] * dot[i];
        dot[i] *= ga[i];
        ga[i] *= gate[i];
    }
    cam_peer_sum(&peer->pool, row, dh, n, 0, dx);
}

/* du = sum of dh x, dv = sum of ga dy. */
static void gradient(const struct cam_peer *peer, const uint32_t *pick, size_t n,
                     struct cam_peer_gather *gather, cam_real *const part[]) {
    const struct cam_peer_last *last = &peer->last;
    size_t D = peer->ff.config.width;
    for (size_t done = 0; done < n; done += CAM_PEER_GATHERED) {
        size_t m = n - done < CAM_PEER_GATHERED ? n - done : CAM_PEER_GATHERED;
        for (size_t i = 0; i < m; i++) {
            uint32_t at = pick[done + i];
            size_t offset = cam_peer_token_of(peer, at) * D;
            gather->x[i] = last->x + offset;
            gather->dy[i] = last->dy + offset;
            gather->dh[i] = last->dh[at];
            gather->ga[i] = last->ga[at];
        }
        cam_rows_sum(gather->x, gather->dh, m, 0, D, done > 0, part[0]);
        cam_rows_sum(gather->dy, gather->ga, m, 0, D, done > 0, part[1]);
    }
}

static double flops(size_t width) {
    return 4 * (double)width; /* u . x and the sum of v */
}

const struct cam_expert_ops cam_expert_neuron = {.name = "neuron",
                                                 .n_parts = 2,
                                                 .forward = forward,
                                                 .backward = backward,
                                                 .gradient = gradient,
                                                 .activation = cam_row_gelu,
                                                 .flops = flops};
