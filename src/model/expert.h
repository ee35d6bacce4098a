/* expert.h - the seam between a router and its experts: what one expert computes from its record.
 *
 * The router (peer_retrieve.c, peer_rows.c, peer_grow.c, peer_usage.c) finds each token's experts
 * and their gates, takes gradients of gates back to scores, queries and sub-keys, sorts picks by
 * expert, moves rows, grows, freezes and counts.  It knows of a record that it has `n_parts` runs
 * of D numbers, each with a second moment of its own, and nothing else.  An expert kind knows what
 * the numbers mean:
 *
 *     expert    record    e(x)             kind of layer
 *     neuron    u, v      gelu(u . x) v    peer
 *     value     v         v                pkm
 *
 * To add one: expert_<name>.c with a `const struct cam_expert_ops`; a layer for it as in ff_pkm.c
 * (a table of functions, most of them peer's) with a line in ff.c; its formula in the three places
 * marked "expert" in peer_reference.c.  An IA3 adapter (Liu 2022) is one part l and e(x) = l * x:
 * all it needs.  A LoRA adapter (Hu 2021) of rank r is two parts of r D numbers: its layer gives
 * the pool that width (cam_pool_init) and scratch.gradient room for it; e(x) = B (A x), of which
 * the forward pass keeps the r numbers A x a pick where a neuron keeps h. */
#ifndef CAM_MODEL_EXPERT_H
#define CAM_MODEL_EXPERT_H

#include "model/pool.h"

#include <stddef.h>
#include <stdint.h>

struct cam_peer;
struct cam_peer_scratch;
struct cam_peer_gather;

struct cam_expert_ops {
    const char *name;
    size_t n_parts; /* 1 to CAM_EXPERT_MAX_PARTS; the last one is the output side (pool.h) */

    /* Tokens [t0, t0 + n_tokens): y (N, D) += sum of gate * e(x) over each token's picks, whose
     * records are at ROW (cam_peer_rows).  May write last.h.  Runs in blocks of tokens. */
    void (*forward)(struct cam_peer *peer, size_t t0, size_t n_tokens, const cam_real *const *row,
                    const cam_real *x, cam_real *y, struct cam_peer_scratch *scratch);
    /* One token: d loss / d gate of each pick into scratch->dot; dx (D) += through the experts (not
     * through the router).  May write last.dh and last.ga for `gradient`. */
    void (*backward)(struct cam_peer *peer, size_t t, const cam_real *const *row,
                     const cam_real *dy, cam_real *dx, struct cam_peer_scratch *scratch);
    /* d loss / d record of an expert, by part (D each): summed over its N picks in their order. */
    void (*gradient)(const struct cam_peer *peer, const uint32_t *pick, size_t n,
                     struct cam_peer_gather *gather, cam_real *const gradient[]);
    /* How much of an expert a token switched on, from N numbers of last.h (for provenance); NULL:
     * all of it always, and h, dh, ga are not kept.  N is a multiple of CAM_LANES. */
    void (*activation)(const cam_real *h, size_t n, cam_real *a);
    /* Forward FLOPs a pick. */
    double (*flops)(size_t width);
};

extern const struct cam_expert_ops cam_expert_neuron, cam_expert_value;

#endif
