/* pool.h - where experts live: one record an expert, never moved once appended.
 *
 * An expert is (layer, id, incarnation).  Its record is n_parts runs of `width` reals, e.g. u then
 * v (expert.h says what they mean; the last part is the expert's output side); beside it the pool
 * keeps the optimiser's state of each part and the usage counted since the last reset.  Records lie
 * in chunks of CAM_POOL_CHUNK experts (huge pages where the system grants them), so growing appends
 * and an id is a stable address.
 *
 * The shell numbering of product keys: expert (i, j) of S x S has the id below, so growing S
 * appends ids and renumbers nobody (Szudzik 2006). */
#ifndef CAM_MODEL_POOL_H
#define CAM_MODEL_POOL_H

#include "base/status.h"
#include "math/real.h"
#include "math/vector_bf16.h"
#include "model/ff.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_POOL_CHUNK_SHIFT 12
#define CAM_POOL_CHUNK       ((uint64_t)1 << CAM_POOL_CHUNK_SHIFT) /* experts */
#define CAM_MAX_SUBKEYS      65535                                 /* a pair fits in 32 bits */

#define CAM_EXPERT_MAX_PARTS 2

/* What the optimiser and the history keep of one expert. */
struct cam_expert_state {
    cam_real second[CAM_EXPERT_MAX_PARTS]; /* running mean square of the gradient of each part */
    uint32_t updates;                      /* since birth of this incarnation */
    uint32_t incarnation;
};

/* Over training passes; the first two since the last reset.  No padding: saved as it is. */
struct cam_expert_usage {
    uint32_t picks;
    float gate_mass;       /* sum of gates */
    uint32_t idle_windows; /* resets in a row before which there was no pick */
    uint32_t steps;        /* that picked it, since birth of this incarnation */
};

struct cam_pool {
    uint64_t seed;
    size_t i_layer, n_parts, width;
    size_t record; /* numbers of an expert: n_parts * width */
    int bf16; /* 1: rows hold bfloat16; not while they are swapped with their average (average.h) */
    uint64_t n_experts, capacity;
    size_t n_chunks;
    cam_real **rows; /* owned, as the next two: a pointer a chunk; with bf16, of those */
    struct cam_expert_state **state;
    struct cam_expert_usage **usage;
    cam_real **moments; /* NULL, or a chunk's first moments and then second ones, expert by expert:
                         * 2 * record reals each; zero until the expert trains */
    cam_real **average;  /* likewise, or NULL: see model/average.h */
    uint64_t n_averaged; /* experts that average holds */
    cam_real **centre;     /* likewise, or NULL: see model/anchor.h */
    cam_real **importance; /* likewise; one number an expert */
};

/* WIDTH: a multiple of 4.  CAPACITY: experts the pool may ever hold (only the chunk table is
 * allocated for them). */
CAM_MUST_USE enum cam_status cam_pool_init(struct cam_pool *pool, uint64_t seed, size_t i_layer,
                                           size_t n_parts, size_t width, uint64_t capacity);
void cam_pool_release(struct cam_pool *pool); /* accepts a zeroed one */

/* From now on every number of a record has two moments (Adam).  Call it before the pool grows.
 * They take address space for all experts, and memory, page by page, only for those that have
 * trained. */
CAM_MUST_USE enum cam_status cam_pool_keep_moments(struct cam_pool *pool);

/* From now on rows are bfloat16: half the memory and half of what a step moves.  Optimiser, average
 * and anchor stay cam_real.  Call it before the pool grows. */
void cam_pool_keep_bf16(struct cam_pool *pool);

enum cam_pool_fill {
    CAM_POOL_RANDOM,      /* all parts drawn */
    CAM_POOL_ZERO_OUTPUT, /* the last part 0, the others drawn: adds nothing until it learns */
    CAM_POOL_EMPTY        /* all zero: about to be loaded */
};

/* Appends experts up to N_EXPERTS in all; on failure the pool is as before. */
CAM_MUST_USE enum cam_status cam_pool_grow(struct cam_pool *pool, uint64_t n_experts,
                                           enum cam_pool_fill fill);

/* (Re)initialises one expert: parts uniform with variance 1/width, the last one likewise or zero; a
 * function of (seed, layer, id, incarnation) alone.  Its optimiser state and usage start anew. */
void cam_pool_reset_expert(struct cam_pool *pool, uint64_t expert, uint32_t incarnation,
                           enum cam_pool_fill fill);

/* model/average.h's part for one pool: room for a copy of the rows, the copy of those that have
 * none yet, no copy. */
CAM_MUST_USE enum cam_status cam_pool_average_begin(struct cam_pool *pool);
CAM_MUST_USE enum cam_status cam_pool_average_extend(struct cam_pool *pool);
void cam_pool_average_end(struct cam_pool *pool);
/* The average of EXPERT is what the expert is now; nothing where there is no average. */
void cam_pool_average_again(struct cam_pool *pool, uint64_t expert);
/* model/anchor.h's part: centres that pull nothing, importance 0, for all chunks there are. */
CAM_MUST_USE enum cam_status cam_pool_anchor_keep(struct cam_pool *pool, int centre,
                                                  int importance);

/* Visits rows, optimiser state, usage, average, anchor and moments, chunk by chunk; names begin with PREFIX.
 * Moments of experts that never trained take no memory afterwards, although loading may have
 * written them. */
CAM_MUST_USE enum cam_status cam_pool_visit(struct cam_pool *pool, const char *prefix,
                                            cam_state_visitor *visit, void *context);

static inline size_t cam_pool_record_bytes(const struct cam_pool *pool) {
    return pool->record * (pool->bf16 ? sizeof(cam_bf16) : sizeof(cam_real));
}

/* Where an expert's record is, whatever its numbers are. */
static inline void *cam_pool_record(const struct cam_pool *pool, uint64_t expert) {
    return (char *)pool->rows[expert >> CAM_POOL_CHUNK_SHIFT] +
           (size_t)(expert & (CAM_POOL_CHUNK - 1)) * cam_pool_record_bytes(pool);
}

/* What rounding by chance draws from in training step STEP. */
uint64_t cam_pool_rounding_key(const struct cam_pool *pool, uint64_t step);
/* An expert's part of it, for math/vector_bf16.h; its parts are rounded from place part * width on.
 * (Steele, Lea and Flood 2014: the mixer of SplitMix; a counter each would cost a fifth of the
 * update.) */
static inline uint32_t cam_expert_rounding_key(uint64_t key, uint64_t expert) {
    key += (expert + 1) * 0x9e3779b97f4a7c15;
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9;
    key = (key ^ key >> 27) * 0x94d049bb133111eb;
    return (uint32_t)(key ^ key >> 31);
}

/* The record of an expert whose numbers may be bfloat16, copied to VALUES (record), and back: in
 * bfloat16 rounded by chance with that step's KEY. */
void cam_pool_read(const struct cam_pool *pool, uint64_t expert, cam_real *values);
void cam_pool_write(struct cam_pool *pool, uint64_t expert, uint64_t key, const cam_real *values);

/* The record itself, of a pool without bf16. */
static inline cam_real *cam_pool_row(const struct cam_pool *pool, uint64_t expert) {
    return pool->rows[expert >> CAM_POOL_CHUNK_SHIFT] +
           (size_t)(expert & (CAM_POOL_CHUNK - 1)) * pool->record;
}

static inline struct cam_expert_state *cam_pool_state(const struct cam_pool *pool,
                                                      uint64_t expert) {
    return pool->state[expert >> CAM_POOL_CHUNK_SHIFT] + (expert & (CAM_POOL_CHUNK - 1));
}

/* The first moments of an expert's record; the second ones follow. */
static inline cam_real *cam_pool_moments(const struct cam_pool *pool, uint64_t expert) {
    return pool->moments[expert >> CAM_POOL_CHUNK_SHIFT] +
           (size_t)(expert & (CAM_POOL_CHUNK - 1)) * 2 * pool->record;
}

/* What an anchor keeps of an expert, where it keeps it. */
static inline cam_real *cam_pool_centre(const struct cam_pool *pool, uint64_t expert) {
    return pool->centre[expert >> CAM_POOL_CHUNK_SHIFT] +
           (size_t)(expert & (CAM_POOL_CHUNK - 1)) * pool->record;
}
static inline cam_real *cam_pool_importance(const struct cam_pool *pool, uint64_t expert) {
    return pool->importance[expert >> CAM_POOL_CHUNK_SHIFT] + (expert & (CAM_POOL_CHUNK - 1));
}

/* Bytes of an expert with everything kept of it once it has trained. */
static inline size_t cam_pool_expert_bytes(const struct cam_pool *pool) {
    size_t copies = (pool->moments ? 2 : 0) + (pool->average != NULL) + (pool->centre != NULL);
    return cam_pool_record_bytes(pool) + pool->record * sizeof(cam_real) * copies +
           (pool->importance ? sizeof(cam_real) : 0) + sizeof(struct cam_expert_state) +
           sizeof(struct cam_expert_usage);
}

static inline struct cam_expert_usage *cam_pool_usage(const struct cam_pool *pool,
                                                      uint64_t expert) {
    return pool->usage[expert >> CAM_POOL_CHUNK_SHIFT] + (expert & (CAM_POOL_CHUNK - 1));
}

/* Shell numbering; i, j <= CAM_MAX_SUBKEYS. */
static inline uint64_t cam_expert_of_pair(uint64_t i, uint64_t j) {
    return i >= j ? i * i + i + j : j * j + i;
}
/* floor(sqrt(x)), the shell of an expert. */
uint64_t cam_square_root(uint64_t x);
void cam_pair_of_expert(uint64_t expert, uint64_t *i, uint64_t *j);

#endif
