#include "base/hash.h"
#include "model/pool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(pool, shell_numbers_count_every_pair_once_in_shells) {
    enum { S = 300 };
    static unsigned char seen[S * S];
    memset(seen, 0, sizeof seen);
    for (uint64_t i = 0; i < S; i++) {
        for (uint64_t j = 0; j < S; j++) {
            uint64_t id = cam_expert_of_pair(i, j), a, b, shell = i > j ? i : j;
            cr_assert(id >= shell * shell && id < (shell + 1) * (shell + 1));
            cr_assert_eq(seen[id], 0);
            seen[id] = 1;
            cam_pair_of_expert(id, &a, &b);
            cr_assert(a == i && b == j);
        }
    }
}

Test(pool, shell_numbers_invert_at_the_far_end) {
    for (uint64_t back = 0; back < 1000; back++) {
        uint64_t id = (uint64_t)CAM_MAX_SUBKEYS * CAM_MAX_SUBKEYS + 2 * CAM_MAX_SUBKEYS - back, i,
                 j;
        cam_pair_of_expert(id, &i, &j);
        cr_assert(i <= CAM_MAX_SUBKEYS && j <= CAM_MAX_SUBKEYS);
        cr_assert_eq(cam_expert_of_pair(i, j), id);
    }
    cr_assert_eq(cam_square_root(UINT64_C(4503599761588225)), 67108865);
    cr_assert_eq(cam_square_root(UINT64_C(4503599761588224)), 67108864);
}

static struct cam_hash hash_of(const struct cam_pool *pool, uint64_t expert) {
    return cam_hash_bytes(cam_pool_row(pool, expert), 2 * pool->width * sizeof(cam_real));
}

Test(pool, growing_moves_and_changes_nobody) {
    struct cam_pool pool;
    cr_assert_eq(cam_pool_init(&pool, 5, 2, 2, 16, 10000), CAM_OK);
    cr_assert_eq(cam_pool_grow(&pool, 4000, CAM_POOL_RANDOM), CAM_OK);
    cam_real *row = cam_pool_row(&pool, 3999);
    struct cam_hash before = hash_of(&pool, 3999);
    cr_assert_eq(cam_pool_grow(&pool, 9000, CAM_POOL_ZERO_OUTPUT), CAM_OK);
    cr_assert_eq(cam_pool_row(&pool, 3999), row);
    cr_assert(cam_hash_equal(before, hash_of(&pool, 3999)));
    for (size_t i = 0; i < 16; i++)
        cr_assert_eq(cam_pool_row(&pool, 8999)[16 + i], 0);
    cam_pool_release(&pool);
}

Test(pool, past_its_capacity_it_refuses_and_stays) {
    struct cam_pool pool;
    cr_assert_eq(cam_pool_init(&pool, 5, 0, 2, 16, 100), CAM_OK);
    cr_assert_eq(cam_pool_grow(&pool, 100, CAM_POOL_RANDOM), CAM_OK);
    cr_assert_eq(cam_pool_grow(&pool, 101, CAM_POOL_RANDOM), CAM_ERR_CONFIG);
    cr_assert_eq(pool.n_experts, 100);
    cam_pool_release(&pool);
}

Test(pool, an_expert_is_a_function_of_layer_id_and_incarnation) {
    struct cam_pool a, b;
    cr_assert_eq(cam_pool_init(&a, 5, 0, 2, 16, 100), CAM_OK);
    cr_assert_eq(cam_pool_init(&b, 5, 1, 2, 16, 100), CAM_OK);
    cr_assert_eq(cam_pool_grow(&a, 64, CAM_POOL_RANDOM), CAM_OK);
    cr_assert_eq(cam_pool_grow(&b, 64, CAM_POOL_RANDOM), CAM_OK);
    struct cam_hash first = hash_of(&a, 7);
    cr_assert(!cam_hash_equal(first, hash_of(&a, 8)));
    cr_assert(!cam_hash_equal(first, hash_of(&b, 7)));
    cam_pool_reset_expert(&a, 7, 1, CAM_POOL_RANDOM);
    cr_assert(!cam_hash_equal(first, hash_of(&a, 7)));
    cam_pool_reset_expert(&a, 7, 0, CAM_POOL_RANDOM);
    cr_assert(cam_hash_equal(first, hash_of(&a, 7)));
    cam_pool_release(&a);
    cam_pool_release(&b);
}

Test(pool, rows_start_with_the_documented_spread) {
    struct cam_pool pool;
    cr_assert_eq(cam_pool_init(&pool, 5, 0, 2, 64, 1000), CAM_OK);
    cr_assert_eq(cam_pool_grow(&pool, 1000, CAM_POOL_RANDOM), CAM_OK);
    double square = 0;
    for (uint64_t e = 0; e < 1000; e++)
        for (size_t i = 0; i < 128; i++)
            square += pow((double)cam_pool_row(&pool, e)[i], 2) / 128000;
    cr_assert_float_eq(square * 64, 1, 0.02);
    cam_pool_release(&pool);
}
