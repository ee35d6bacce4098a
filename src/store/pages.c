#include "store/pages.h"

#include <stdlib.h>

/* Open addressing with linear probing, at most 3/4 full; the hash is already uniform. */

void cam_pages_release(struct cam_pages *pages) {
    free(pages->slots);
    *pages = (struct cam_pages){0};
}

static size_t slot_of(const struct cam_pages *pages, struct cam_hash hash) {
    size_t i = (size_t)hash.low & (pages->capacity - 1);
    while (pages->slots[i].pack != CAM_NO_PACK && !cam_hash_equal(pages->slots[i].hash, hash))
        i = (i + 1) & (pages->capacity - 1);
    return i;
}

const struct cam_page_slot *cam_pages_find(const struct cam_pages *pages, struct cam_hash hash) {
    if (!pages->capacity)
        return NULL;
    const struct cam_page_slot *slot = &pages->slots[slot_of(pages, hash)];
    return slot->pack == CAM_NO_PACK ? NULL : slot;
}

struct cam_page_slot *cam_pages_slot(struct cam_pages *pages, struct cam_hash hash) {
    if (!pages->capacity)
        return NULL;
    struct cam_page_slot *slot = &pages->slots[slot_of(pages, hash)];
    return slot->pack == CAM_NO_PACK ? NULL : slot;
}

/* Moves all pages but those of DEAD packs into a table of CAPACITY slots. */
static enum cam_status rebuild(struct cam_pages *pages, size_t capacity,
                               const unsigned char *dead) {
    struct cam_pages made = {.slots = malloc(capacity * sizeof *made.slots), .capacity = capacity};
    if (!made.slots)
        return cam_fail(CAM_ERR_OS, "no memory for a table of %zu pages", capacity);
    for (size_t i = 0; i < capacity; i++)
        made.slots[i].pack = CAM_NO_PACK;
    for (size_t i = 0; i < pages->capacity; i++) {
        const struct cam_page_slot *s = &pages->slots[i];
        if (s->pack == CAM_NO_PACK || (dead && dead[s->pack]))
            continue;
        made.slots[slot_of(&made, s->hash)] = *s;
        made.n_pages++;
    }
    free(pages->slots);
    *pages = made;
    return CAM_OK;
}

enum cam_status cam_pages_add(struct cam_pages *pages, struct cam_hash hash, uint32_t pack,
                              uint64_t offset) {
    if ((pages->n_pages + 1) * 4 > pages->capacity * 3)
        CAM_TRY(rebuild(pages, pages->capacity ? 2 * pages->capacity : 1024, NULL));
    pages->slots[slot_of(pages, hash)] =
        (struct cam_page_slot){.hash = hash, .offset = offset, .pack = pack};
    pages->n_pages++;
    return CAM_OK;
}

enum cam_status cam_pages_drop(struct cam_pages *pages, const unsigned char *dead) {
    return pages->capacity ? rebuild(pages, pages->capacity, dead) : CAM_OK;
}
