#include "bench/snapshot_bench.h"
#include "cli/bench_face.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIZES 16

struct options {
    struct cam_snapshot_bench_config config;
    size_t subkeys[MAX_SIZES], n_sizes;
    int json;
};

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {
        {"experts", required_argument, NULL, 'e'}, {"width", required_argument, NULL, 'w'},
        {"picks", required_argument, NULL, 'p'},   {"dir", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},          {0}};
    const char *tmp = getenv("TMPDIR");
    int found;
    int64_t number;
    *o = (struct options){
        .config = {.width = 256, .picks_per_step = 16384, .dir = tmp && *tmp ? tmp : "/tmp"},
        .subkeys = {256, 512, 1024},
        .n_sizes = 3};
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'e') {
            CAM_TRY(cam_bench_sizes(optarg, o->subkeys, MAX_SIZES, &o->n_sizes));
        } else if (found == 'w') {
            CAM_TRY(cam_cli_number("--width", optarg, 4, 4096, &number));
            o->config.width = (size_t)number / 4 * 4;
        } else if (found == 'p') {
            CAM_TRY(cam_cli_number("--picks", optarg, 1, 1000000000, &number));
            o->config.picks_per_step = (uint64_t)number;
        } else if (found == 'd') {
            o->config.dir = optarg;
        } else if (found == 'j') {
            o->json = 1;
        } else {
            return cam_cli_bad(cli);
        }
    }
    return cam_cli_arguments(cli, 1, 1, "nothing after snapshot");
}

static double bytes_of(const struct cam_snapshot_bench_row *row) {
    return row->page_bytes + row->manifest_bytes;
}

static json_t *json_of(uint64_t n_experts, int which, const struct cam_snapshot_bench_row *row) {
    return json_pack("{s:I,s:s,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "experts", (json_int_t)n_experts,
                     "case", cam_snapshot_case_name((enum cam_snapshot_case)which), "rows_touched",
                     (json_int_t)row->touched, "pool_bytes", row->pool_bytes, "bytes",
                     bytes_of(row), "manifest_bytes", row->manifest_bytes, "share",
                     bytes_of(row) / row->pool_bytes, "stall_seconds", row->stall_seconds,
                     "stall_cpu_seconds", row->stall_cpu, "seconds", row->seconds);
}

static void print_row(uint64_t n_experts, int which, const struct cam_snapshot_bench_row *row) {
    printf("%9s %-10s %11s %10sB %10sB %9.2f %% %9.3f %9.3f %9.3f\n",
           cam_cli_grouped((int64_t)n_experts),
           cam_snapshot_case_name((enum cam_snapshot_case)which),
           cam_cli_grouped((int64_t)row->touched), cam_cli_short(row->pool_bytes),
           cam_cli_short(bytes_of(row)), 100 * bytes_of(row) / row->pool_bytes, row->stall_seconds,
           row->stall_cpu, row->seconds);
    fflush(stdout);
}

enum cam_status cam_bench_snapshot(struct cam_cli *cli) {
    struct cam_snapshot_bench_row rows[CAM_N_SNAPSHOT_CASES];
    struct cam_machine machine;
    struct options o;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(cam_machine_look(CAM_PRODUCTS_FP32, &machine));
    json_t *list = json_array();
    enum cam_status status = CAM_OK;
    if (!o.json) {
        cam_bench_print_machine(&machine, 1);
        printf("%9s %-10s %11s %11s %11s %11s %9s %9s %9s\n", "experts", "touched by", "rows",
               "pool", "written", "share", "stall s", "its CPU s", "in all s");
    }
    for (size_t i = 0; i < o.n_sizes && status == CAM_OK; i++) {
        o.config.n_experts = (uint64_t)(o.subkeys[i] * o.subkeys[i]);
        cam_cli_say("saving %s experts", cam_cli_grouped((int64_t)o.config.n_experts));
        status = cam_snapshot_bench(&o.config, rows);
        for (int k = 0; k < CAM_N_SNAPSHOT_CASES && status == CAM_OK; k++)
            if (o.json)
                json_array_append_new(list, json_of(o.config.n_experts, k, &rows[k]));
            else
                print_row(o.config.n_experts, k, &rows[k]);
    }
    if (status == CAM_OK && o.json)
        return cam_cli_print_json(
            json_pack("{s:{s:s,s:o,s:I,s:I},s:o}", "config", "benchmark", "snapshot", "machine",
                      cam_bench_json_machine(&machine, 1), "width", (json_int_t)o.config.width,
                      "picks_per_step", (json_int_t)o.config.picks_per_step, "rows", list));
    json_decref(list);
    return status;
}
