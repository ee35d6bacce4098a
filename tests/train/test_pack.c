/* Packing is a function of the documents' order alone; replay draws follow the list. */
#include "train/pack.h"
#include "train/replay.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define END 99

static void push(struct cam_queue *queue, int64_t position, size_t n) {
    struct cam_pending p = {.position = position, .document = position, .n_ids = n};
    p.ids = malloc(n * sizeof *p.ids);
    for (size_t i = 0; i < n; i++)
        p.ids[i] = (uint16_t)((size_t)position * 100 + i);
    cr_assert_eq(cam_queue_push(queue, &p), CAM_OK);
}

Test(pack, every_token_is_a_target_once_in_order) {
    struct cam_queue queue = {0};
    struct cam_packed packed;
    cr_assert_eq(cam_packed_init(&packed, 2, 4), CAM_OK);
    push(&queue, 1, 5);
    push(&queue, 2, 3);
    push(&queue, 4, 20);
    uint16_t seen[28];
    size_t n = 0;
    while (queue.n_tokens > 0) {
        cam_packed_clear(&packed);
        cr_assert_eq(cam_pack_new(&packed, &queue, 2, INT64_MAX, END), CAM_OK);
        for (size_t i = 0; i < 8; i++)
            if (packed.batch.weights[i] > 0) {
                uint16_t target = packed.batch.targets[i];
                cr_assert_eq(packed.batch.tokens[i], target % 100 ? target - 1 : END);
                seen[n++] = target;
            }
        cam_queue_consume(&queue, packed.n_new);
    }
    cr_assert_eq(n, 28);
    for (size_t i = 1; i < n; i++)
        cr_assert_gt(seen[i], seen[i - 1]);
    cr_assert_eq(queue.n, 0);
    cam_queue_release(&queue);
    cam_packed_release(&packed);
}

Test(pack, documents_past_a_control_row_wait) {
    struct cam_queue queue = {0};
    struct cam_packed packed;
    cr_assert_eq(cam_packed_init(&packed, 2, 4), CAM_OK);
    push(&queue, 1, 5);
    push(&queue, 7, 30);
    cr_assert_eq(cam_queue_tokens_before(&queue, 7), 5);
    cr_assert_eq(cam_pack_new(&packed, &queue, 2, 7, END), CAM_OK);
    cr_assert_eq(packed.n_new, 5);
    cr_assert_eq(packed.batch.weights[5], 0);
    cam_queue_release(&queue);
    cam_packed_release(&packed);
}

Test(pack, a_removed_document_leaves_the_stream) {
    struct cam_queue queue = {0};
    push(&queue, 1, 5);
    push(&queue, 2, 6);
    cam_queue_consume(&queue, 2);
    cr_assert_eq(queue.offset, 2);
    cam_queue_remove(&queue, 0);
    cr_assert_eq(queue.offset, 0);
    cr_assert_eq(queue.n_tokens, 6);
    cr_assert_eq(queue.items[0].document, 2);
    cam_queue_release(&queue);
}

Test(replay, draws_follow_length_and_repeat_exactly) {
    struct cam_replay replay = {0};
    cr_assert_eq(cam_replay_add(&replay, 10, 1000), CAM_OK);
    cr_assert_eq(cam_replay_add(&replay, 20, 3000), CAM_OK);
    size_t second = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        struct cam_replay_draw a = cam_replay_draw(&replay, 5, i, 0);
        struct cam_replay_draw b = cam_replay_draw(&replay, 5, i, 0);
        cr_assert(a.document == b.document && a.place == b.place);
        cr_assert(a.place >= 0 && a.place < 1);
        second += a.document == 20;
    }
    cr_assert(second > 2850 && second < 3150, "%zu of 4000", second);
    cam_replay_release(&replay);
}

Test(replay, rows_add_up_to_the_share) {
    size_t rows = 0;
    for (uint64_t step = 1; step <= 1000; step++)
        rows += cam_replay_rows(0.1, 8, step);
    cr_assert(rows == 800 || rows == 799);
    cr_assert_eq(cam_replay_rows(0, 8, 3), 0);
}
