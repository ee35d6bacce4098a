/* A draw is a function of (seed, step, slot), the mix and the list; sources share draws as the mix
 * says. */
#include "train/replay.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#define DRAWS 8000

static const struct cam_replay_mix by_bytes = {.balance = 1, .current = 1};

static void add(struct cam_replay *replay, const char *source, int64_t document, int64_t bytes) {
    cr_assert_eq(cam_replay_add(replay, source, document, bytes), CAM_OK);
}

/* Share of draws that fall on documents of [FROM, TO). */
static double share(const struct cam_replay *replay, const struct cam_replay_mix *mix,
                    const char *source, int64_t from, int64_t to) {
    size_t found = 0;
    for (uint64_t step = 0; step < DRAWS; step++) {
        struct cam_replay_draw draw;
        cr_assert(cam_replay_draw(replay, mix, source, 5, step, 0, &draw));
        cr_assert(draw.place >= 0 && draw.place < 1);
        found += draw.document >= from && draw.document < to;
    }
    return (double)found / DRAWS;
}

#define NEAR(value, expected) cr_assert(fabs((value) - (expected)) < 0.02, "%g", (double)(value))

Test(replay, documents_are_drawn_by_length_and_draws_repeat) {
    struct cam_replay replay = {0};
    add(&replay, "a", 10, 1000);
    add(&replay, "a", 20, 3000);
    NEAR(share(&replay, &by_bytes, NULL, 20, 21), 0.75);
    for (uint32_t slot = 0; slot < 100; slot++) {
        struct cam_replay_draw a, b;
        cr_assert(cam_replay_draw(&replay, &by_bytes, "a", 5, 3, slot, &a));
        cr_assert(cam_replay_draw(&replay, &by_bytes, "a", 5, 3, slot, &b));
        cr_assert(a.document == b.document && a.place == b.place);
    }
    cam_replay_release(&replay);
}

Test(replay, places_are_uniform_within_a_document) {
    struct cam_replay replay = {0};
    double sum = 0, squares = 0;
    add(&replay, "a", 1, 500);
    add(&replay, "a", 2, 10);
    for (uint64_t step = 0; step < DRAWS; step++) {
        struct cam_replay_draw draw;
        cr_assert(cam_replay_draw(&replay, &by_bytes, NULL, 9, step, 1, &draw));
        sum += draw.place;
        squares += draw.place * draw.place;
    }
    NEAR(sum / DRAWS, 0.5);
    NEAR(squares / DRAWS, 1.0 / 3);
    cam_replay_release(&replay);
}

Test(replay, sources_share_by_bytes_alike_or_between) {
    struct cam_replay replay = {0};
    struct cam_replay_mix alike = {.balance = 0, .current = 1},
                          between = {.balance = 0.5, .current = 1};
    for (int64_t i = 0; i < 9; i++)
        add(&replay, "large", i, 1000);
    add(&replay, "small", 100, 1000);
    NEAR(share(&replay, &by_bytes, NULL, 100, 101), 0.1);
    NEAR(share(&replay, &alike, NULL, 100, 101), 0.5);
    NEAR(share(&replay, &between, NULL, 100, 101), 0.25);
    cam_replay_source_set(&replay.sources[1], 3, 0);
    NEAR(share(&replay, &alike, NULL, 100, 101), 0.75);
    cam_replay_release(&replay);
}

Test(replay, the_source_being_learned_stands_back) {
    struct cam_replay replay = {0};
    struct cam_replay_mix mix = {.balance = 1, .current = 0}, half = {.balance = 1, .current = 0.5};
    struct cam_replay_draw draw;
    cr_assert_not(cam_replay_draw(&replay, &mix, "new", 1, 1, 0, &draw), "nothing to draw");
    add(&replay, "new", 1, 1000);
    cr_assert_eq(share(&replay, &mix, "new", 1, 2), 1, "the only source is replayed all the same");
    add(&replay, "old", 2, 1000);
    cr_assert_eq(share(&replay, &mix, "new", 1, 2), 0);
    cr_assert_eq(share(&replay, &mix, "old", 1, 2), 1);
    NEAR(share(&replay, &mix, "never seen", 1, 2), 0.5);
    NEAR(share(&replay, &half, "new", 1, 2), 1.0 / 3);
    cam_replay_source_set(&replay.sources[0], 0, 0);
    cam_replay_source_set(&replay.sources[1], 0, 0);
    cr_assert_not(cam_replay_draw(&replay, &mix, "new", 1, 1, 0, &draw), "every source weighs 0");
    cam_replay_release(&replay);
}

Test(replay, documents_age_by_their_sources_half_life) {
    struct cam_replay replay = {0}, later = {0};
    for (int64_t i = 0; i < 20; i++)
        add(&replay, i < 10 ? "news" : "book", i, 100);
    cam_replay_source_set(&replay.sources[0], 1, 5);
    /* The newest of ten counts 1, the oldest 2^(-9/5); all have waited ten documents more. */
    double all = 0, newest = 0;
    for (int i = 0; i < 10; i++) {
        all += exp2(-i / 5.0);
        newest += i < 3 ? exp2(-i / 5.0) : 0;
    }
    struct cam_replay_mix only_news = {.balance = 1, .current = 0};
    NEAR(share(&replay, &only_news, "book", 7, 10), newest / all);
    NEAR(share(&replay, &by_bytes, NULL, 0, 10), all * 0.25 / (all * 0.25 + 10));
    /* A half-life known from the start draws the same as one set later: a resumed run's list. */
    for (int64_t i = 0; i < 20; i++) {
        add(&later, i < 10 ? "news" : "book", i, 100);
        if (i == 0)
            cam_replay_source_set(&later.sources[0], 1, 5);
    }
    for (uint64_t step = 0; step < 200; step++) {
        struct cam_replay_draw a, b;
        cr_assert(cam_replay_draw(&replay, &by_bytes, "book", 1, step, 0, &a));
        cr_assert(cam_replay_draw(&later, &by_bytes, "book", 1, step, 0, &b));
        cr_assert(a.document == b.document && a.place == b.place);
    }
    cam_replay_release(&replay);
    cam_replay_release(&later);
}

Test(replay, many_sources_are_told_apart) {
    struct cam_replay replay = {0};
    char name[32];
    for (int64_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "source %d", (int)(i * 7919 % 1000));
        add(&replay, name, i, 10);
    }
    cr_assert_eq(replay.n_sources, 1000);
    for (size_t i = 0; i < replay.n_sources; i++)
        cr_assert_eq(replay.sources[i].n, 3);
    struct cam_replay_mix mix = {.balance = 0, .current = 0};
    cr_assert_eq(share(&replay, &mix, "source 0", 0, 1), 0);
    cam_replay_release(&replay);
}

Test(replay, rows_add_up_to_the_share) {
    struct cam_replay_budget budget = {.share = 0.1}, none = {0};
    struct cam_replay_account account = {0};
    for (uint64_t step = 1; step <= 1000; step++)
        cam_replay_rows(&budget, 3, 8, step, &account);
    cr_assert(account.rows == 800 || account.rows == 799);
    cr_assert_eq(cam_replay_rows(&none, 3, 8, 3, &account), 0);
}

/* Rows of 200 steps of 2 rows while N sources could be drawn; *STEP and *ACCOUNT go on. */
static size_t spend(const struct cam_replay_budget *budget, size_t n_sources, uint64_t *step,
                    struct cam_replay_account *account) {
    size_t rows = 0;
    for (int i = 0; i < 200; i++) {
        size_t n = cam_replay_rows(budget, n_sources, 2, ++*step, account);
        cr_assert_lt(n, 2, "a row must stay new");
        cr_assert_leq((double)account->rows, 0.1 * 2 * (double)*step);
        rows += n;
    }
    return rows;
}

Test(replay, every_other_source_asks_for_its_rows_within_the_budget) {
    struct cam_replay_budget budget = {.share = 0.1, .each = 0.03};
    struct cam_replay_account account = {0};
    uint64_t step = 0;
    /* 3 % of 400 rows for a source: none counts as one; then the budget that was saved pays for
     * more than 10 %, and when it is used up 10 % is all there is. */
    static const struct {
        size_t n_sources, rows;
    } stages[] = {{0, 12}, {1, 12}, {2, 24}, {5, 60}, {9, 92}, {9, 40}};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        size_t rows = spend(&budget, stages[i].n_sources, &step, &account);
        cr_assert_float_eq((double)rows, (double)stages[i].rows, 1, "stage %zu: %zu", i, rows);
    }
    cr_assert_float_eq((double)account.rows, 240, 1);
    struct cam_replay_budget much = {.share = 0.9, .each = 0.9};
    struct cam_replay_account fresh = {0};
    for (uint64_t i = 1; i <= 10; i++)
        cr_assert_lt(cam_replay_rows(&much, 4, 2, i, &fresh), 2);
}

Test(replay, others_are_those_that_could_be_drawn) {
    struct cam_replay replay = {0};
    struct cam_replay_mix mix = {.balance = 0, .current = 0};
    add(&replay, "a", 1, 10);
    add(&replay, "b", 2, 10);
    add(&replay, "c", 3, 10);
    cr_assert_eq(cam_replay_others(&replay, &mix, NULL), 3);
    cr_assert_eq(cam_replay_others(&replay, &mix, "b"), 2);
    cr_assert_eq(cam_replay_others(&replay, &mix, "new"), 3);
    cam_replay_source_set(&replay.sources[0], 0, 0);
    cr_assert_eq(cam_replay_others(&replay, &mix, "b"), 1);
    cam_replay_release(&replay);
}
