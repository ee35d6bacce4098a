#include "base/arena.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ALIGN       64
#define CHUNK_BYTES ((size_t)64 << 20)
#define HUGE_BYTES  ((size_t)2 << 20)

struct cam_arena_chunk {
    struct cam_arena_chunk *next;
    size_t capacity, used;
    char *data;
};

void cam_arena_init(struct cam_arena *arena) {
    *arena = (struct cam_arena){0};
}

void cam_arena_release(struct cam_arena *arena) {
    for (struct cam_arena_chunk *c = arena->first, *next; c; c = next) {
        next = c->next;
        free(c->data);
        free(c);
    }
    *arena = (struct cam_arena){0};
}

void cam_arena_reset(struct cam_arena *arena) {
    for (struct cam_arena_chunk *c = arena->first; c; c = c->next)
        c->used = 0;
    arena->current = arena->first;
    arena->used = 0;
}

static struct cam_arena_chunk *chunk_add(struct cam_arena *arena, size_t n_bytes) {
    size_t capacity = n_bytes > CHUNK_BYTES ? n_bytes : CHUNK_BYTES;
    capacity = (capacity + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    struct cam_arena_chunk *c = calloc(1, sizeof *c);
    char *data = aligned_alloc(HUGE_BYTES, capacity);
    if (!c || !data) {
        free(c);
        free(data);
        return NULL;
    }
    (void)madvise(data, capacity, MADV_HUGEPAGE); /* a wish: it works without */
    *c = (struct cam_arena_chunk){.capacity = capacity, .data = data};
    struct cam_arena_chunk **end = &arena->first;
    while (*end)
        end = &(*end)->next;
    *end = c;
    arena->n_allocations++;
    return c;
}

enum cam_status cam_arena_reserve(struct cam_arena *arena, size_t n_bytes) {
    for (struct cam_arena_chunk *c = arena->first; c; c = c->next)
        if (c->capacity - c->used >= n_bytes)
            return CAM_OK;
    if (!chunk_add(arena, n_bytes))
        return cam_fail(CAM_ERR_OS, "out of memory: %zu bytes for one step; lower train.rows",
                        n_bytes);
    if (!arena->current)
        arena->current = arena->first;
    return CAM_OK;
}

struct cam_arena_mark cam_arena_mark(const struct cam_arena *arena) {
    return (struct cam_arena_mark){.chunk = arena->current,
                                   .chunk_used = arena->current ? arena->current->used : 0,
                                   .used = arena->used};
}

/* Chunks after the current one were empty at the mark. */
void cam_arena_rewind(struct cam_arena *arena, struct cam_arena_mark mark) {
    for (struct cam_arena_chunk *c = mark.chunk ? mark.chunk->next : arena->first; c; c = c->next)
        c->used = 0;
    if (mark.chunk)
        mark.chunk->used = mark.chunk_used;
    arena->current = mark.chunk ? mark.chunk : arena->first;
    arena->used = mark.used;
}

/* The innermost cam_arena_catch of this thread.  A status handed up through every layer's forward
 * and backward pass would be checked a hundred times a step for what a step can meet once: the
 * first time it needs more than any before. */
static _Thread_local jmp_buf *catcher;
static _Thread_local size_t missing_bytes;

static _Noreturn void give_up(size_t n_bytes) {
    if (!catcher) {
        fprintf(stderr, "cambium: out of memory for %zu bytes of a step\n", n_bytes);
        abort();
    }
    missing_bytes = n_bytes;
    longjmp(*catcher, 1);
}

enum cam_status cam_arena_catch(cam_arena_fn *fn, void *context) {
    jmp_buf here;
    jmp_buf *const outer = catcher;
    if (setjmp(here) == 0) {
        catcher = &here;
        fn(context);
        catcher = outer;
        return CAM_OK;
    }
    catcher = outer;
    return cam_fail(CAM_ERR_OS, "out of memory: %zu bytes for one step; lower train.rows",
                    missing_bytes);
}

void *cam_arena_alloc(struct cam_arena *arena, size_t n_bytes) {
    n_bytes = (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct cam_arena_chunk *c = arena->current;
    while (c && c->capacity - c->used < n_bytes)
        c = c->next;
    if (!c)
        c = chunk_add(arena, n_bytes);
    if (!c)
        give_up(n_bytes);
    arena->current = c;
    void *block = c->data + c->used;
    c->used += n_bytes;
    arena->used += n_bytes;
    return block;
}
