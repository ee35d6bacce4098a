/* manifest.h - the file that says which pages make a snapshot.
 *
 * Little-endian, in this order; every count is checked against the file's size before memory is
 * taken, every name before it is used:
 *
 *     "CAMSNAP1"  version u32  kind u32  file bytes u64
 *     id 40  parent 40  tag 64  model hash 64                     (NUL-padded)
 *     lineage moment step position offset documents tokens saved bytes unique shared   (i64 each)
 *     packs u64  regions u64  pages u64
 *     packs:   name 48
 *     regions: name 64, bytes u64                                 (pages follow from the size)
 *     pages:   hash 16, offset u64, pack u32
 *     XXH3-128 of all that, 16 */
#ifndef CAM_STORE_MANIFEST_H
#define CAM_STORE_MANIFEST_H

#include "base/fs.h"
#include "base/hash.h"
#include "base/status.h"
#include "store/snapshot.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_PACK_NAME_BYTES 48 /* "pack-" 32 digits ".cpk" and NULs */

struct cam_manifest_region {
    char name[CAM_REGION_NAME_BYTES];
    uint64_t bytes;
    uint64_t first_page; /* index into pages */
};
struct cam_manifest_page {
    struct cam_hash hash;
    uint64_t offset; /* in the pack */
    uint32_t pack;   /* index into packs */
};
struct cam_manifest {
    struct cam_snapshot info;
    int64_t tokens;
    char (*packs)[CAM_PACK_NAME_BYTES];
    size_t n_packs;
    struct cam_manifest_region *regions;
    size_t n_regions;
    struct cam_manifest_page *pages;
    size_t n_pages;
};

void cam_manifest_release(struct cam_manifest *manifest);

/* Identity of the content: what is in it, whose state it is; not where the pages lie. */
CAM_MUST_USE enum cam_status cam_manifest_identify(struct cam_manifest *manifest);

CAM_MUST_USE enum cam_status cam_manifest_write(const struct cam_manifest *manifest,
                                                const struct cam_fs *fs, const char *path);
/* CAM_ERR_DATA, naming PATH, if it is cut short, changed or not a manifest.  CAM_ERR_NOINPUT: there
 * is no such file. */
CAM_MUST_USE enum cam_status cam_manifest_read(struct cam_manifest *manifest,
                                               const struct cam_fs *fs, const char *path);

static inline uint64_t cam_pages_of(uint64_t bytes) {
    return bytes / CAM_SNAPSHOT_PAGE_BYTES + (bytes % CAM_SNAPSHOT_PAGE_BYTES != 0);
}

#endif
