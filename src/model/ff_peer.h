/* ff_peer.h - what can be asked of a layer of experts behind product keys (kinds peer and pkm,
 * those with ops->pool) beyond the feed-forward seam: growth, opening, freezing, usage, provenance.
 *
 * Parameter-efficient expert retrieval (He 2024, arXiv 2407.04153, section 2): a pool of E = S*S
 * experts of one hidden neuron, expert e being gelu(u_e . x) v_e; P heads each find K of them by
 * product keys.
 *
 *     q = x Wq                                   (N, P, 2, dk)
 *     each of the two sub-queries of a head is normalised (mean 0, variance 1; no gain or bias)
 *     score of sub-key i of codebook h:  q_h . c_hi + bias_i
 *     expert (i, j) scores the sum; the K best of all S*S are found exactly
 *     y += sum over heads and their K experts of softmax(scores) * gelu(u . x) * v
 *
 * Product-key memory (Lample et al. 2019, arXiv 1907.05242) is the same with a plain value an
 * expert, y += sum of softmax(scores) * v: half the record, no u.  (There each head has codebooks
 * of its own and queries are batch-normalised; here the heads share two codebooks and a score does
 * not depend on the batch, as for PEER.)  expert.h says how other kinds of expert follow.
 *
 * Parameters: block<i>.peer.query (D, P 2 dk: a head's two sub-queries side by side),
 * block<i>.peer.subkeys0 and .subkeys1 (S, dk); likewise block<i>.pkm.
 *
 * Sub-keys start as N(0, 1/dk), so scores start with a standard deviation of one (the 1/sqrt(dk)
 * lives in the initial values, not in the formula, which gives AdamW steps their usual relative
 * size).  bias_i is 0 except in generations that are not yet open.
 *
 * A generation is what one growth added: sub-keys [from, to) of both codebooks and experts
 * [from^2, to^2).  Its life:
 *
 *     cam_peer_grow --> CLOSED --first measured step--> OPENING --share settles, bias 0--> OPEN
 *
 * While CLOSED no new pair can be picked, so growth leaves every output bit as it was.  Opening
 * raises the bias in steps, each so small that the measured share of picks and of gate mass moves
 * by at most about `max_share_step`.
 *
 * FF is a layer made by cam_ff_peer.create or cam_ff_pkm.create everywhere.  "Last pass" is the
 * last forward pass through the layer; asking about it is allowed until its arena is reset. */
#ifndef CAM_MODEL_FF_PEER_H
#define CAM_MODEL_FF_PEER_H

#include "base/hash.h"
#include "base/status.h"
#include "model/ff.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_MAX_GENERATIONS  256
#define CAM_ALL_GENERATIONS  UINT32_MAX
#define CAM_PEER_MAX_TOP_K   64
#define CAM_PEER_CLOSED_BIAS (-1e30)

enum cam_generation_state { CAM_GENERATION_CLOSED, CAM_GENERATION_OPENING, CAM_GENERATION_OPEN };

/* Snapshots store these as they are: no pointers, no padding. */
struct cam_generation {
    uint32_t number, state;
    uint32_t subkeys_from, subkeys_to;
    uint64_t first_expert, n_experts;
    uint64_t born_step;
    uint32_t frozen_experts, frozen_subkeys; /* 0 or 1 */
    uint32_t ramp_steps, opening_steps;      /* asked for; taken so far */
    double max_share_step;
    double first_bias, bias;
    double pick_share, gate_share; /* of the last updated batch; measured until OPEN */
    double last_share, last_bias;  /* the controller's memory: as of the step before */
    uint32_t hold_steps, retreats; /* steps its bias is still held; times it was taken back */
};

size_t cam_peer_n_generations(const struct cam_ff *ff);
const struct cam_generation *cam_peer_generation(const struct cam_ff *ff, size_t i);
size_t cam_peer_subkeys(const struct cam_ff *ff);
uint64_t cam_peer_n_experts(const struct cam_ff *ff);
/* The generation an expert belongs to. */
uint32_t cam_peer_generation_of(const struct cam_ff *ff, uint64_t expert);

struct cam_peer_growth {
    size_t subkeys;             /* g: S becomes S + g */
    const cam_real *token_loss; /* (N) of the last training pass, or NULL: random sub-keys */
    uint64_t seed, step;        /* the draw is a function of them, the losses and the queries */
    uint32_t ramp_steps;        /* steps from the first bias to 0 if nothing slows it; 0: 64 */
    double max_share_step;      /* 0: 0.01 */
};

/* Appends one generation, CLOSED.  New sub-keys point between a sub-query of the last training
 * pass, drawn among the quarter of tokens with the highest loss, and a random direction, mixed so
 * that the new one scores at that query what the best old one does (a pure copy would beat every
 * old sub-key there and take its whole gate); they have the mean norm of the old ones.
 * *N_FROM_QUERIES (may be NULL): how many of the g came from sub-queries, the others are random.
 * CAM_ERR_CONFIG: past the capacity or CAM_MAX_GENERATIONS; CAM_ERR_OS: memory.  Nothing has
 * changed then. */
CAM_MUST_USE enum cam_status cam_peer_grow(struct cam_ff *ff, const struct cam_peer_growth *growth,
                                           size_t *n_from_queries);

struct cam_peer_opening {
    size_t n_opening;              /* generations not yet open after this call */
    double pick_share, gate_share; /* of the last updated batch, all of those together */
    double bias;                   /* of the oldest of them from now on; 0 if none */
};
/* Once after every training step (after update): moves the biases of generations that are not open
 * one step on.  *OPENING may be NULL. */
void cam_peer_open_step(struct cam_ff *ff, struct cam_peer_opening *opening);

/* Holds the bias of every generation that is not open for STEPS calls of cam_peer_open_step more;
 * returns how many there are. */
size_t cam_peer_hold(struct cam_ff *ff, uint32_t steps);
/* Takes the bias of every opening generation back by SHARE (at most 1) of the way from 0 to its first
 * one, from where it opens again; returns how many there are. */
size_t cam_peer_retreat(struct cam_ff *ff, double share);

enum cam_peer_part { CAM_PEER_EXPERTS = 1, CAM_PEER_SUBKEYS = 2 };
/* Freezes (ON = 1) or thaws parts of generation I.  Sub-keys freeze from the front only: with an
 * older generation's thawed, CAM_ERR_CONFIG; thawing them thaws those of all younger ones. */
CAM_MUST_USE enum cam_status cam_peer_freeze(struct cam_ff *ff, size_t i, unsigned parts, int on);
/* Content of PARTS of generation I: its expert rows, then its sub-keys. */
CAM_MUST_USE enum cam_status cam_peer_generation_hash(const struct cam_ff *ff, size_t i,
                                                      unsigned parts, struct cam_hash *hash);
/* Gives an expert its next incarnation: u (if it has one) drawn anew, v = 0.  CAM_ERR_CONFIG if
 * frozen. */
CAM_MUST_USE enum cam_status cam_peer_recycle(struct cam_ff *ff, uint64_t expert);

/* Experts of GENERATION (or CAM_ALL_GENERATIONS) that were not picked since the last reset nor in
 * the WINDOWS - 1 usage windows before it, or longer. */
uint64_t cam_peer_n_idle(const struct cam_ff *ff, uint32_t generation, uint32_t windows);

struct cam_peer_idle {
    uint64_t expert;
    uint32_t generation, incarnation, idle_windows;
};
/* Experts that were not picked for WINDOWS whole usage windows or longer, nor since, nor in the
 * last pass, and are not frozen: the N longest idle, equal ones by id.  Writes at most N, in order
 * of their ids, and returns how many.  CAM_ERR_OS: no memory. */
CAM_MUST_USE enum cam_status cam_peer_find_idle(const struct cam_ff *ff, uint32_t windows, size_t n,
                                                struct cam_peer_idle *idle, size_t *n_found);

/* Usage since the last reset, over updated training passes. */
struct cam_peer_usage {
    uint64_t n_experts, used, dead; /* used + dead = n_experts */
    uint64_t picks;
    double gate_mass;
    double unevenness; /* log E + sum z log z, z the share of gate mass; 0 is even */
    double hub_share;  /* of picks, the busiest 1 % of experts (at least one) */
};
/* GENERATION: a number or CAM_ALL_GENERATIONS. */
void cam_peer_usage(const struct cam_ff *ff, uint32_t generation, struct cam_peer_usage *usage);
/* Ends a usage window: counts begin anew, and an expert without a pick was idle for one more. */
void cam_peer_usage_reset(struct cam_ff *ff);

/* Picks and gate mass of the last pass, training or not, by generation: arrays of
 * CAM_MAX_GENERATIONS. */
void cam_peer_last_picks(const struct cam_ff *ff, uint64_t *picks, double *gate_mass);

/* Adds the picks of those tokens in [FROM, TO) of the last pass whose WEIGHTS are not 0: to
 * BY_GENERATION (CAM_MAX_GENERATIONS), and to SKETCH, sets into which experts fall by a hash of their
 * ids.  Half the summed differences of two sketches' shares bound from below what share of picks
 * went to other experts. */
#define CAM_PEER_SKETCH 64
void cam_peer_count_picks(const struct cam_ff *ff, size_t from, size_t to, const cam_real *weights,
                          uint64_t *by_generation, uint64_t *sketch);

struct cam_peer_credit {
    uint64_t expert;
    uint32_t generation, incarnation;
    double weight; /* sum of gate * |activation|; a plain value's activation is 1 */
};
/* The experts that did most for tokens [FROM, TO) of the last pass (training or not), heaviest
 * first, equal ones by id; writes at most N and returns how many.  Scratch comes from the arena of
 * that pass. */
size_t cam_peer_top_experts(const struct cam_ff *ff, size_t from, size_t to, size_t n,
                            struct cam_peer_credit *credit);

/* Makes a fresh layer ready to be loaded with the state of one that had grown to SUBKEYS. */
CAM_MUST_USE enum cam_status cam_peer_restore_shape(struct cam_ff *ff, size_t subkeys);

/* The gradient of one expert in the last backward pass: du (D), dv (D); exactly what update uses,
 * before scaling.  A kind without u leaves DU alone.  X and DY of that backward must still be
 * there; scratch comes from the arena of that pass. */
void cam_peer_expert_gradient(const struct cam_ff *ff, uint64_t expert, cam_real *du, cam_real *dv);

#endif
