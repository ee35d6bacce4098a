/* Packing is a function of the documents' order alone. */
#include "train/pack.h"

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

Test(pack, replay_fills_a_row_with_what_it_is_given) {
    struct cam_packed packed;
    uint16_t first[3] = {11, 12, END}, second[9] = {21, 22, 23, 24, 25, 26, 27, 28, END};
    size_t used = 0;
    cr_assert_eq(cam_packed_init(&packed, 2, 6), CAM_OK);
    cam_packed_clear(&packed);
    cr_assert_eq(cam_pack_replay(&packed, 1, &used, 5, first, 3, 1, 4, END), CAM_OK);
    cr_assert_eq(used, 2);
    cr_assert_eq(cam_pack_replay(&packed, 1, &used, 6, second, 9, 2, 4, END), CAM_OK);
    cr_assert_eq(used, 6);
    cr_assert_eq(packed.n_replay, 6);
    static const uint16_t targets[6] = {12, END, 23, 24, 25, 26}, tokens[6] = {11, 12, 22, 23, 24, 25};
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(packed.batch.targets[6 + i], targets[i]);
        cr_assert_eq(packed.batch.tokens[6 + i], tokens[i]);
        cr_assert_eq(packed.batch.weights[6 + i], 4);
        cr_assert_eq(packed.batch.weights[i], 0);
    }
    cr_assert_eq(packed.n_spans, 2);
    cr_assert_eq(packed.spans[1].from, 8);
    cam_packed_release(&packed);
}
