#include "bench/kernel_bench.h"
#include "cli/bench_face.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct options {
    struct cam_kernel_config config;
    int json;
};

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {
        {"experts", required_argument, NULL, 'e'}, {"width", required_argument, NULL, 'w'},
        {"tokens", required_argument, NULL, 't'},  {"threads", required_argument, NULL, 'n'},
        {"repeat", required_argument, NULL, 'r'},  {"bf16", no_argument, NULL, 'b'},
        {"json", no_argument, NULL, 'j'},          {0}};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t width = 256, tokens = 2048, repeat = 7;
    int64_t threads = cores > 0 && cores <= 256 ? cores : 1;
    int found;
    *o = (struct options){
        .config = {.heads = 8, .top_k = 16, .key_width = 128, .subkeys = 512, .seed = 1}};
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        enum cam_status status = CAM_OK;
        if (found == 'e')
            status = cam_bench_experts(optarg, &o->config.subkeys);
        else if (found == 'w')
            status = cam_cli_number("--width", optarg, 16, 2048, &width);
        else if (found == 't')
            status = cam_cli_number("--tokens", optarg, 1, 65536, &tokens);
        else if (found == 'n')
            status = cam_cli_number("--threads", optarg, 1, 256, &threads);
        else if (found == 'r')
            status = cam_cli_number("--repeat", optarg, 1, CAM_MAX_SAMPLES, &repeat);
        else if (found == 'b')
            o->config.products = CAM_PRODUCTS_BF16;
        else if (found == 'j')
            o->json = 1;
        else
            return cam_cli_bad(cli);
        CAM_TRY(status);
    }
    o->config.width = (size_t)width;
    o->config.hidden = (size_t)width * 43 / 16; /* 688 of 256 */
    o->config.vocabulary = 256;
    o->config.n_tokens = (size_t)tokens;
    o->config.n_threads = (int)threads;
    o->config.n_repeats = (size_t)repeat;
    return cam_cli_arguments(cli, 1, 1, "kernels and no other argument");
}

static const char *unit_of(const struct cam_kernel_row *row) {
    return row->limit <= CAM_LIMIT_PRODUCTS ? "GFLOP/s" : "GB/s";
}

static json_t *json_of_row(const struct cam_kernel_row *row) {
    return json_pack("{s:s,s:o,s:s,s:o,s:s,s:o,s:b}", "kernel", row->name, "shape",
                     cam_cli_json_text(row->shape), "unit", unit_of(row), "rate",
                     cam_bench_json_timing(row->rate, 1e9), "limit",
                     cam_kernel_limit_name(row->limit), "share_of_limit",
                     cam_cli_json_real(row->share), "large", row->large);
}

static enum cam_status print_json(const struct options *o, const struct cam_machine *machine,
                                  const struct cam_kernel_result *result) {
    const struct cam_kernel_config *c = &o->config;
    json_t *limits = json_object(), *rows = json_array();
    for (int i = 0; i < CAM_N_LIMITS; i++)
        json_object_set_new(limits, cam_kernel_limit_name((enum cam_kernel_limit)i),
                            cam_bench_json_timing(result->limits[i], 1e9));
    for (size_t i = 0; i < result->n_rows; i++)
        json_array_append_new(rows, json_of_row(&result->rows[i]));
    return cam_cli_print_json(
        json_pack("{s:{s:s,s:o,s:I,s:I,s:I,s:I,s:s},s:o,s:o}", "config", "benchmark", "kernels",
                  "machine", cam_bench_json_machine(machine, c->n_threads), "width",
                  (json_int_t)c->width, "tokens", (json_int_t)c->n_tokens, "experts",
                  (json_int_t)(c->subkeys * c->subkeys), "repeat", (json_int_t)c->n_repeats,
                  "products", cam_products_name(c->products), "limits", limits, "rows", rows));
}

static void print_table(const struct options *o, const struct cam_machine *machine,
                        const struct cam_kernel_result *result) {
    cam_bench_print_machine(machine, o->config.n_threads);
    for (int i = 0; i < CAM_N_LIMITS; i++)
        printf("%s %s %.1f (%.1f-%.1f) %s\n", i ? "          " : "limits    ",
               cam_kernel_limit_name((enum cam_kernel_limit)i), result->limits[i].median / 1e9,
               result->limits[i].low / 1e9, result->limits[i].high / 1e9,
               i <= CAM_LIMIT_PRODUCTS ? "GFLOP/s" : "GB/s");
    printf("\n%-24s %-30s %10s %17s  %-8s %6s %s\n", "kernel", "shape", "median", "low-high", "",
           "share", "of");
    for (size_t i = 0; i < result->n_rows; i++) {
        const struct cam_kernel_row *row = &result->rows[i];
        char range[40];
        snprintf(range, sizeof range, "%.1f-%.1f", row->rate.low / 1e9, row->rate.high / 1e9);
        printf("%-24s %-30s %10.1f %17s  %-8s %4.0f %% %s%s\n", row->name, row->shape,
               row->rate.median / 1e9, range, unit_of(row), 100 * row->share,
               cam_kernel_limit_name(row->limit), row->large ? ", large" : "");
    }
    printf("\nlarge: a product of 2^26 multiply-adds or more; random half: records of half the "
           "size\n");
}

enum cam_status cam_bench_kernels(struct cam_cli *cli) {
    struct options o;
    struct cam_machine machine;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(cam_machine_look(o.config.products, &machine));
    struct cam_kernel_result *result = calloc(1, sizeof *result);
    if (!result)
        return cam_fail(CAM_ERR_OS, "out of memory for results");
    cam_cli_say("measuring kernels; the pool has %s experts",
                cam_cli_grouped((int64_t)(o.config.subkeys * o.config.subkeys)));
    enum cam_status status = cam_kernel_bench(&o.config, result);
    if (status == CAM_OK && o.json)
        status = print_json(&o, &machine, result);
    else if (status == CAM_OK)
        print_table(&o, &machine, result);
    free(result);
    return status;
}
