/* pages.h - which pages are on disk already: hash -> pack and offset, in memory.
 *
 * Built from the manifests of living rows when the store opens; 32 bytes a page, so 8 MB a GB. */
#ifndef CAM_STORE_PAGES_H
#define CAM_STORE_PAGES_H

#include "base/hash.h"
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_NO_PACK UINT32_MAX

struct cam_page_slot {
    struct cam_hash hash;
    uint64_t offset;
    uint32_t pack; /* CAM_NO_PACK: free slot */
};
struct cam_pages {
    struct cam_page_slot *slots;
    size_t capacity; /* power of two, or 0 */
    size_t n_pages;
};

void cam_pages_release(struct cam_pages *pages); /* zeroed struct = empty table */

/* NULL if the page is not known.  Borrowed until the next add or drop. */
const struct cam_page_slot *cam_pages_find(const struct cam_pages *pages, struct cam_hash hash);
/* The same, for whoever keeps numbers of their own in `pack` and `offset`. */
struct cam_page_slot *cam_pages_slot(struct cam_pages *pages, struct cam_hash hash);
/* Adds a page that is not there. */
CAM_MUST_USE enum cam_status cam_pages_add(struct cam_pages *pages, struct cam_hash hash,
                                           uint32_t pack, uint64_t offset);
/* Forgets the pages of every pack for which DEAD[pack] is not 0. */
CAM_MUST_USE enum cam_status cam_pages_drop(struct cam_pages *pages, const unsigned char *dead);

#endif
