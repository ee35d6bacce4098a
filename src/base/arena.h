/* arena.h - memory with one lifetime: everything of a training step, gone at once.
 *
 * A few large chunks; allocation moves an offset, reset rewinds it.  Chunks are kept, so once the
 * largest step was seen a steady-state step asks the system for nothing (a test counts it).
 * Blocks are 64-byte aligned (one cache line, one AVX-512 register) and not cleared.  Chunks
 * ask for huge pages: a step walks through tens of megabytes several times. */
#ifndef CAM_BASE_ARENA_H
#define CAM_BASE_ARENA_H

#include "base/status.h"

#include <stddef.h>

struct cam_arena_chunk;

struct cam_arena {
    struct cam_arena_chunk *first, *current;
    size_t used;         /* bytes handed out since the last reset */
    size_t n_allocations; /* times the system was asked for memory, for the whole life */
};

void cam_arena_init(struct cam_arena *arena);
void cam_arena_release(struct cam_arena *arena);
void cam_arena_reset(struct cam_arena *arena);

/* Returns N_BYTES of uninitialised memory, valid until the next reset; never NULL.  Where there is
 * none, control goes back to the cam_arena_catch that this thread is in; outside of one it aborts,
 * because a step has no half-way. */
void *cam_arena_alloc(struct cam_arena *arena, size_t n_bytes);

/* Memory for a while: what was handed out after the mark is taken back by the rewind, and the arena
 * is where it was.  Marks nest; a reset between the two is an error. */
struct cam_arena_mark {
    struct cam_arena_chunk *chunk;
    size_t chunk_used, used;
};
struct cam_arena_mark cam_arena_mark(const struct cam_arena *arena);
void cam_arena_rewind(struct cam_arena *arena, struct cam_arena_mark mark);

/* Runs FN.  CAM_ERR_OS if an arena found no memory on the way: FN was then left in its middle
 * (longjmp), so it must hold nothing that has to be released, and what it was changing is half
 * changed.  May be nested; each thread is on its own. */
typedef void cam_arena_fn(void *context);
CAM_MUST_USE enum cam_status cam_arena_catch(cam_arena_fn *fn, void *context);

/* Makes sure N_BYTES can be handed out without asking the system again. */
CAM_MUST_USE enum cam_status cam_arena_reserve(struct cam_arena *arena, size_t n_bytes);

#endif
