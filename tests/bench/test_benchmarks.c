/* The benchmarks themselves, at sizes that take no time: what they report must hang together. */
#include "bench/kernel_bench.h"
#include "bench/layer_bench.h"
#include "bench/model_bench.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define OK(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static const struct cam_layer_config small_layer = {.subkeys = 12,
                                                    .width = 32,
                                                    .heads = 2,
                                                    .top_k = 4,
                                                    .key_width = 16,
                                                    .n_tokens = 24,
                                                    .pool_lr_scale = 2,
                                                    .n_threads = 2,
                                                    .n_repeats = 2,
                                                    .seed = 3};

static void positive(struct cam_timing t, size_t n) {
    cr_assert_eq(t.n, n);
    cr_assert(t.low > 0 && t.low <= t.median && t.median <= t.high);
}

Test(layer, reports_a_step_and_its_parts) {
    struct cam_layer_result r;
    OK(cam_layer_bench(&small_layer, &r));
    struct cam_timing all[] = {r.forward.seconds, r.step.seconds,     r.in_forward,
                               r.in_backward,     r.in_rows,          r.in_dense,
                               r.limit_fma,       r.limit_sequential, r.limit_random};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        positive(all[i], 2);
    cr_assert_gt(r.step.share_of_limit, 0);
    cr_assert_leq(r.step.share_of_roofline, r.step.share_of_limit);
    cr_assert(r.unique_rows >= 1 && r.unique_rows <= 144);
    cr_assert(r.record_bytes == 2 * 32 * sizeof(cam_real));
    cr_assert(r.forward.bytes == 8 * r.record_bytes);
    double rows = 2 * r.unique_rows / 24 * (r.record_bytes + r.state_bytes);
    cr_assert_float_eq(r.step.bytes, 16 * r.record_bytes + rows, 1e-6);
    cr_assert_gt(r.rss_bytes, 1e5);
    cr_assert(!r.has_torch && !r.has_growth);
}

Test(layer, counts_operations_as_its_header_says) {
    double forward, step;
    cam_layer_flops(256, 8, 16, 128, 1024, &forward, &step);
    double projection = 2.0 * 256 * 8 * 2 * 128, scores = 2.0 * 8 * 2 * 128 * 1024;
    double experts = 2.0 * 8 * 16 * 2 * 256, keys = 2.0 * 2 * 8 * 16 * 2 * 128;
    cr_assert(forward == projection + scores + experts);
    cr_assert(step == 3 * projection + scores + 3 * experts + keys);
    cam_layer_products(256, 8, 128, 1024, &forward, &step);
    cr_assert(forward == projection + scores && step == 3 * projection + scores);
}

Test(layer, grows_without_moving_rows_or_changing_outputs) {
    struct cam_layer_config config = small_layer;
    struct cam_layer_result r;
    config.routing = CAM_ROUTING_TRAINED;
    config.optimizer = CAM_OPTIMIZER_MUON;
    config.grown_subkeys = 14;
    OK(cam_layer_bench(&config, &r));
    cr_assert(r.has_growth);
    cr_assert(r.growth_change <= 1e-5 && r.growth_rows_moved == 0);
    cr_assert(r.growth_seconds >= r.growth_only_seconds && r.growth_only_seconds > 0);
    cr_assert_gt(r.unevenness, 0);
}

Test(layer, passes_on_what_the_layer_refuses) {
    struct cam_layer_config config = small_layer;
    struct cam_layer_result r = {.unique_rows = 5};
    config.subkeys = 3; /* fewer than top_k */
    cr_assert_eq(cam_layer_bench(&config, &r), CAM_ERR_CONFIG);
    cr_assert(r.unique_rows == 5);
}

Test(layer, without_pytorch_says_what_is_missing) {
    struct cam_layer_config config = small_layer;
    struct cam_layer_result r;
    strcpy(config.python, "/no/such/python");
    cr_assert_eq(cam_layer_bench(&config, &r), CAM_ERR_UNAVAILABLE);
    cr_assert(strstr(cam_message(), "/no/such/python"), "%s", cam_message());
}

static struct cam_model_bench_config small_model(const char *slot) {
    struct cam_model_bench_config config = {.shape = {.vocabulary = 40,
                                                      .width = 32,
                                                      .n_blocks = 2,
                                                      .heads = 2,
                                                      .kv_heads = 1,
                                                      .hidden = 48,
                                                      .context = 16,
                                                      .peer_heads = 2,
                                                      .peer_top_k = 4,
                                                      .peer_key_width = 16,
                                                      .peer_subkeys = 8,
                                                      .peer_subkeys_capacity = 8,
                                                      .pool_lr_scale = 2},
                                            .recipe = {.optimizer = CAM_OPTIMIZER_ADAMW,
                                                       .lr = 5e-3,
                                                       .lr_floor = 0.1,
                                                       .beta1 = 0.9,
                                                       .beta2 = 0.95,
                                                       .momentum = 0.95,
                                                       .weight_decay = 0.1,
                                                       .clip = 1},
                                            .n_sequences = 3,
                                            .n_threads = 2,
                                            .n_repeats = 8,
                                            .seed = 1};
    strcpy(config.shape.ff[0], "dense");
    strcpy(config.shape.ff[1], slot);
    return config;
}

/* The plain trainer starts from the same numbers and sees the same batches: if one gradient of it
 * were wrong, ten steps later the losses would be apart. */
Test(model, plain_trainer_computes_the_same) {
    struct cam_model_bench_config config = small_model("dense");
    struct cam_model_bench_result r;
    config.plain = 1;
    OK(cam_model_bench(&config, &r));
    cr_assert(r.has_plain);
    positive(r.step, 8);
    positive(r.plain_seconds, 8);
    cr_assert_lt(r.loss, log(40));
    cr_assert_float_eq(r.loss, r.plain_loss, 1e-3 * r.loss, "%.6f, plain %.6f", r.loss,
                       r.plain_loss);
}

Test(model, reports_a_pool) {
    struct cam_model_bench_config config = small_model("dense+peer");
    struct cam_model_bench_result r;
    config.n_repeats = 1;
    OK(cam_model_bench(&config, &r));
    positive(r.in_update, 1);
    cr_assert(r.experts == 64 && r.parameters > 64 * 2 * 32);
    cr_assert(r.flops > 0 && r.share_of_peak > 0 && r.rss_bytes > 1e5);
    cr_assert(!r.has_torch && !r.has_plain);
}

Test(model, plain_trainer_refuses_a_pool) {
    struct cam_model_bench_config config = small_model("peer");
    struct cam_model_bench_result r;
    config.plain = 1;
    cr_assert_eq(cam_model_bench(&config, &r), CAM_ERR_CONFIG);
    cr_assert(strstr(cam_message(), "block 1 is peer"), "%s", cam_message());
}

Test(kernels, each_has_a_rate_and_a_limit) {
    struct cam_kernel_config config = {.n_tokens = 16,
                                       .width = 32,
                                       .hidden = 48,
                                       .vocabulary = 40,
                                       .heads = 2,
                                       .top_k = 4,
                                       .key_width = 16,
                                       .subkeys = 12,
                                       .n_threads = 2,
                                       .n_repeats = 1,
                                       .seed = 1};
    static struct cam_kernel_result r;
    OK(cam_kernel_bench(&config, &r));
    cr_assert_geq(r.n_rows, 15);
    for (int i = 0; i < CAM_N_LIMITS; i++)
        cr_assert(r.limits[i].n > 0 && r.limits[i].low > 0);
    for (size_t i = 0; i < r.n_rows; i++) {
        positive(r.rows[i].rate, 1);
        cr_assert_gt(r.rows[i].share, 0, "%s", r.rows[i].name);
    }
}
