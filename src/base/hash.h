/* hash.h - content hashes (XXH3, 128 bits) and their hexadecimal form.
 *
 * XXH3 is not cryptographic: it finds accidents, not attackers (README, "Limits"). */
#ifndef CAM_BASE_HASH_H
#define CAM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define CAM_HASH_HEX_BYTES 33 /* 32 digits and the NUL */

struct cam_hash {
    uint64_t high, low;
};

struct cam_hash cam_hash_bytes(const void *bytes, size_t n_bytes);
/* The same under a key, for decisions that outsiders must not predict (probe draws). */
struct cam_hash cam_hash_keyed(const void *bytes, size_t n_bytes, uint64_t key);
void cam_hash_hex(struct cam_hash hash, char hex[CAM_HASH_HEX_BYTES]);
int cam_hash_equal(struct cam_hash a, struct cam_hash b);

/* Hash of a sequence of parts: begin, add any number of runs, end. */
struct cam_hasher;
struct cam_hasher *cam_hasher_new(void); /* NULL if no memory */
void cam_hasher_add(struct cam_hasher *hasher, const void *bytes, size_t n_bytes);
struct cam_hash cam_hasher_value(const struct cam_hasher *hasher);
void cam_hasher_free(struct cam_hasher *hasher);

#endif
