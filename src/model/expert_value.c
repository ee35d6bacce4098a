/* expert_value.c - an expert of a product-key memory: a value, e(x) = v (Lample et al. 2019,
 * 1907.05242, eq. 2). */
#include "model/peer.h"

static void forward(struct cam_peer *peer, size_t t0, size_t n_tokens, const cam_real *const *row,
                    const cam_real *x, cam_real *y, struct cam_peer_scratch *scratch) {
    size_t D = peer->ff.config.width, M = peer->n_picks;
    size_t n = peer->ff.config.heads * peer->ff.config.top_k;
    (void)x, (void)scratch;
    for (size_t t = t0; t < t0 + n_tokens; t++, row += M)
        cam_peer_sum(&peer->pool, row, peer->last.gate + t * M, n, 0, y + t * D);
}

static void backward(struct cam_peer *peer, size_t t, const cam_real *const *row,
                     const cam_real *dy, cam_real *dx, struct cam_peer_scratch *scratch) {
    size_t n = peer->ff.config.heads * peer->ff.config.top_k;
    (void)t, (void)dx;
    cam_peer_dots(&peer->pool, dy, row, n, 0, scratch->dot);
}

/* dv = sum of gate dy. */
static void gradient(const struct cam_peer *peer, const uint32_t *pick, size_t n,
                     struct cam_peer_gather *gather, cam_real *const part[]) {
    const struct cam_peer_last *last = &peer->last;
    size_t D = peer->ff.config.width;
    for (size_t done = 0; done < n; done += CAM_PEER_GATHERED) {
        size_t m = n - done < CAM_PEER_GATHERED ? n - done : CAM_PEER_GATHERED;
        for (size_t i = 0; i < m; i++) {
            gather->dy[i] = last->dy + cam_peer_token_of(peer, pick[done + i]) * D;
            gather->ga[i] = last->gate[pick[done + i]];
        }
        cam_rows_sum(gather->dy, gather->ga, m, 0, D, done > 0, part[0]);
    }
}

static double flops(size_t width) {
    return 2 * (double)width;
}

const struct cam_expert_ops cam_expert_value = {.name = "value",
                                                .n_parts = 1,
                                                .forward = forward,
                                                .backward = backward,
                                                .gradient = gradient,
                                                .flops = flops};
