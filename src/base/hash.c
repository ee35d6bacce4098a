#include "base/hash.h"

#include <xxhash.h>

static struct cam_hash from_xxh(XXH128_hash_t h) {
    return (struct cam_hash){.high = h.high64, .low = h.low64};
}

struct cam_hash cam_hash_bytes(const void *bytes, size_t n_bytes) {
    return from_xxh(XXH3_128bits(bytes, n_bytes));
}

struct cam_hash cam_hash_keyed(const void *bytes, size_t n_bytes, uint64_t key) {
    return from_xxh(XXH3_128bits_withSeed(bytes, n_bytes, key));
}

void cam_hash_hex(struct cam_hash hash, char hex[CAM_HASH_HEX_BYTES]) {
    for (int i = 0; i < 32; i++)
        hex[i] = "0123456789abcdef"[(i < 16 ? hash.high : hash.low) >> (60 - 4 * (i % 16)) & 15];
    hex[32] = '\0';
}

int cam_hash_equal(struct cam_hash a, struct cam_hash b) {
    return a.high == b.high && a.low == b.low;
}

struct cam_hasher *cam_hasher_new(void) {
    XXH3_state_t *state = XXH3_createState();
    if (state)
        XXH3_128bits_reset(state);
    return (struct cam_hasher *)state;
}

void cam_hasher_add(struct cam_hasher *hasher, const void *bytes, size_t n_bytes) {
    XXH3_128bits_update((XXH3_state_t *)hasher, bytes, n_bytes);
}

struct cam_hash cam_hasher_value(const struct cam_hasher *hasher) {
    return from_xxh(XXH3_128bits_digest((const XXH3_state_t *)hasher));
}

void cam_hasher_free(struct cam_hasher *hasher) {
    XXH3_freeState((XXH3_state_t *)hasher);
}
