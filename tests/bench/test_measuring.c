/* Medians and rates, limits, processes to measure in, and the talk with PyTorch. */
#include "bench/isolated.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "bench/timing.h"
#include "bench/torch_process.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define OK(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

Test(timing, median_and_range_of_odd_and_even_counts) {
    struct cam_samples s = {0};
    cr_assert_eq(cam_samples_timing(&s).n, 0);
    double values[] = {5, 1, 3};
    for (size_t i = 0; i < 3; i++)
        cam_samples_add(&s, values[i]);
    struct cam_timing t = cam_samples_timing(&s);
    cr_assert(t.median == 3 && t.low == 1 && t.high == 5 && t.n == 3);
    cam_samples_add(&s, 4);
    cr_assert(cam_samples_timing(&s).median == 3.5);
}

Test(timing, a_rate_turns_the_range_around) {
    struct cam_timing seconds = {.median = 2, .low = 1, .high = 4, .n = 3};
    struct cam_timing rate = cam_timing_rate(seconds, 8);
    cr_assert(rate.median == 4 && rate.low == 2 && rate.high == 8 && rate.n == 3);
    cr_assert_eq(cam_timing_rate((struct cam_timing){0}, 8).n, 0);
}

Test(timing, more_samples_than_there_is_room_for_are_dropped) {
    struct cam_samples s = {0};
    for (size_t i = 0; i < CAM_MAX_SAMPLES + 5; i++)
        cam_samples_add(&s, 1);
    cr_assert_eq(cam_samples_timing(&s).n, CAM_MAX_SAMPLES);
}

Test(limits, are_positive_and_read_a_table_with_a_short_last_piece) {
    struct cam_threads *threads;
    struct cam_table table = {.record_bytes = 128};
    double rate = 0;
    char *bytes = aligned_alloc(64, 3 * 4096);
    memset(bytes, 1, 3 * 4096);
    OK(cam_threads_new(2, &threads));
    OK(cam_table_add(&table, bytes, 4096));
    OK(cam_table_add(&table, bytes + 4096, 4096));
    OK(cam_table_add(&table, bytes + 8192, 128));
    cr_assert_eq(cam_table_bytes(&table), 2 * 4096 + 128);
    cr_assert_gt(cam_limit_fma(threads), 1e6);
    cr_assert_gt(cam_limit_products(threads, CAM_PRODUCTS_FP32), 1e6);
    cr_assert_gt(cam_limit_products(threads, CAM_PRODUCTS_BF16), 1e6);
    cr_assert_gt(cam_limit_sequential(threads, &table), 0);
    cr_assert_gt(cam_limit_cache(threads), 1e6);
    OK(cam_limit_random(threads, &table, 1000, 1, &rate));
    cr_assert_gt(rate, 0);
    cam_table_release(&table);
    cr_assert_eq(table.n_pieces, 0);
    cam_threads_free(threads);
    free(bytes);
}

Test(machine, names_what_it_is) {
    struct cam_machine m;
    OK(cam_machine_look(CAM_PRODUCTS_FP32, &m));
    cr_assert(*m.cpu && *m.blas_core && *m.features && *m.huge_pages);
    cr_assert_geq(m.n_cores, 1);
    cr_assert_gt(m.memory_bytes, 0);
}

/* ---- processes ---- */

static enum cam_status square(const void *input, void *result) {
    *(double *)result = *(const double *)input * *(const double *)input;
    return CAM_OK;
}

static enum cam_status refuse(const void *input, void *result) {
    (void)input;
    (void)result;
    return cam_fail(CAM_ERR_CONFIG, "no such thing as %d", 7);
}

static enum cam_status fall(const void *input, void *result) {
    (void)input;
    (void)result;
    raise(SIGKILL);
    return CAM_OK;
}

Test(isolated, brings_the_result_back) {
    double three = 3, nine = 0;
    OK(cam_isolated(square, &three, &nine, sizeof nine));
    cr_assert(nine == 9);
    cr_assert_gt(cam_peak_memory_bytes(), 1e5);
}

Test(isolated, brings_a_failure_back_with_its_message) {
    double untouched = 5;
    cr_assert_eq(cam_isolated(refuse, NULL, &untouched, sizeof untouched), CAM_ERR_CONFIG);
    cr_assert_str_eq(cam_message(), "no such thing as 7");
    cr_assert(untouched == 5);
}

Test(isolated, tells_of_a_process_that_was_killed) {
    double untouched = 5;
    cr_assert_eq(cam_isolated(fall, NULL, &untouched, sizeof untouched), CAM_ERR_OS);
    cr_assert(strstr(cam_message(), "signal 9"), "%s", cam_message());
}

/* ---- PyTorch ---- */

static const char fake[] = CAM_SOURCE_DIR "/tests/bench/fake_torch.sh";
static const float data[3] = {1, 2, 3};

Test(torch, takes_steps_and_answers_with_numbers) {
    struct cam_torch *torch = NULL;
    double value = 0;
    OK(cam_torch_start(fake, 3, "{}", data, 3, &torch));
    cr_assert(strstr(cam_torch_about(torch), "fake, 3 3 threads"), "%s", cam_torch_about(torch));
    OK(cam_torch_step(torch, &value));
    cr_assert(value == 0.25);
    OK(cam_torch_number(torch, "rss_bytes", &value));
    cr_assert(value == 42);
    cr_assert_eq(cam_torch_number(torch, "loss", &value), CAM_ERR_UNAVAILABLE);
    cam_torch_stop(torch);
}

static void cannot_start(const char *python, const char *config, const char *because) {
    struct cam_torch *torch = NULL;
    cr_assert_eq(cam_torch_start(python, 1, config, data, 3, &torch), CAM_ERR_UNAVAILABLE);
    cr_assert(strstr(cam_message(), because), "%s", cam_message());
    cr_assert_null(torch);
}

Test(torch, that_is_missing_or_falls_over_is_unavailable) {
    cannot_start("/no/such/python", "{}", "/no/such/python");
    cannot_start(fake, "missing", "install python3-torch");
    cannot_start(fake, "dies", "ended");
    cannot_start(fake, "babbles", "hello");
    cam_torch_stop(NULL);
}
