#include "base/rng.h"

#include <math.h>

struct cam_random cam_random_at(uint64_t seed, enum cam_purpose purpose, uint64_t step,
                                uint32_t slot) {
    uint32_t c0 = (uint32_t)step, c1 = (uint32_t)(step >> 32), c2 = slot, c3 = (uint32_t)purpose;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t)p1;
        c2 = n2;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (struct cam_random){{c0, c1, c2, c3}};
}

double cam_random_unit(uint32_t word) {
    return (double)(word >> 8) * (1.0 / 16777216.0);
}

void cam_random_normal4(struct cam_random random, float normal[4]) {
    for (int i = 0; i < 4; i += 2) {
        double u = 1.0 - cam_random_unit(random.word[i]); /* (0, 1] */
        double v = cam_random_unit(random.word[i + 1]);
        double r = sqrt(-2.0 * log(u));
        normal[i] = (float)(r * cos(6.283185307179586 * v));
        normal[i + 1] = (float)(r * sin(6.283185307179586 * v));
    }
}

uint64_t cam_random_below(struct cam_random random, uint64_t n) {
    uint64_t x = ((uint64_t)random.word[0] << 32) | random.word[1];
    __extension__ unsigned __int128 wide = (unsigned __int128)x * n;
    return (uint64_t)(wide >> 64);
}
