#include "bench/layer_bench.h"
#include "bench/torch_process.h"
#include "cli/bench_face.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_SIZES 16

struct options {
    struct cam_layer_config config;
    size_t subkeys[MAX_SIZES], n_sizes;
    int uniform, trained, growth, json;
};

struct measured {
    struct cam_layer_config config;
    struct cam_layer_result result;
};

static enum cam_status parse_routing(const char *text, struct options *o) {
    int both = strcmp(text, "both") == 0;
    o->uniform = both || strcmp(text, "uniform") == 0;
    o->trained = both || strcmp(text, "trained") == 0;
    return o->uniform || o->trained
               ? CAM_OK
               : cam_fail(CAM_ERR_USAGE, "--routing %.32s: must be uniform, trained or both", text);
}

static const char *row_optimiser(const struct options *o) {
    return o->config.rows_bf16
               ? (o->config.rows_adam
                      ? "in bfloat16, rounded by chance: Adam, two moments a number"
                      : "in bfloat16, rounded by chance: one second moment a row of "
                        "u and of v, no momentum, bias-corrected, clipped")
           : o->config.rows_adam
               ? "Adam, two moments a number, bias-corrected by the expert's own steps; in place"
               : "one second moment a row of u and of v, no momentum, bias-corrected, clipped; in "
                 "place";
}

static enum cam_status parse_rows(const char *text, struct options *o) {
    o->config.rows_adam = strcmp(text, "adam") == 0;
    if (!o->config.rows_adam && strcmp(text, "row") != 0)
        return cam_fail(CAM_ERR_USAGE, "--rows %.32s: must be row or adam", text);
    return CAM_OK;
}

static enum cam_status parse_optimizer(const char *text, struct options *o) {
    int muon = strcmp(text, "muon") == 0;
    if (!muon && strcmp(text, "adamw") != 0)
        return cam_fail(CAM_ERR_USAGE, "--optimizer %.32s: must be adamw or muon", text);
    o->config.optimizer = muon ? CAM_OPTIMIZER_MUON : CAM_OPTIMIZER_ADAMW;
    return CAM_OK;
}

static enum cam_status parse_size(const char *option, int64_t most, size_t *out) {
    int64_t number;
    CAM_TRY(cam_cli_number(option, optarg, 1, most, &number));
    *out = (size_t)number;
    return CAM_OK;
}

static enum cam_status parse_one(struct cam_cli *cli, int found, struct options *o) {
    struct cam_layer_config *c = &o->config;
    int64_t number;
    switch (found) {
    case 'e':
        return cam_bench_sizes(optarg, o->subkeys, MAX_SIZES, &o->n_sizes);
    case 'w':
        return parse_size("--width", 8192, &c->width);
    case 'h':
        return parse_size("--heads", 64, &c->heads);
    case 'k':
        return parse_size("--top-k", 64, &c->top_k);
    case 'd':
        return parse_size("--key-width", 1024, &c->key_width);
    case 't':
        return parse_size("--tokens", 1 << 20, &c->n_tokens);
    case 'n':
        CAM_TRY(cam_cli_number("--threads", optarg, 1, 256, &number));
        c->n_threads = (int)number;
        return CAM_OK;
    case 'r':
        return parse_size("--repeat", CAM_MAX_SAMPLES, &c->n_repeats);
    case 'o':
        return parse_routing(optarg, o);
    case 'm':
        return parse_optimizer(optarg, o);
    case 'a':
        return parse_rows(optarg, o);
    case 'g':
        o->growth = 1;
        return CAM_OK;
    case 'v':
        return *c->python ? CAM_OK : cam_bench_python(CAM_DEFAULT_PYTHON, c->python);
    case 'p':
        return cam_bench_python(optarg, c->python);
    case 'B':
        c->rows_bf16 = 1;
        return CAM_OK;
    case 'b':
        c->products = CAM_PRODUCTS_BF16;
        return CAM_OK;
    case 'j':
        o->json = 1;
        return CAM_OK;
    default:
        return cam_cli_bad(cli);
    }
}

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {{"experts", required_argument, NULL, 'e'},
                                          {"width", required_argument, NULL, 'w'},
                                          {"heads", required_argument, NULL, 'h'},
                                          {"top-k", required_argument, NULL, 'k'},
                                          {"key-width", required_argument, NULL, 'd'},
                                          {"tokens", required_argument, NULL, 't'},
                                          {"threads", required_argument, NULL, 'n'},
                                          {"repeat", required_argument, NULL, 'r'},
                                          {"routing", required_argument, NULL, 'o'},
                                          {"optimizer", required_argument, NULL, 'm'},
                                          {"rows", required_argument, NULL, 'a'},
                                          {"growth", no_argument, NULL, 'g'},
                                          {"vs-torch", no_argument, NULL, 'v'},
                                          {"python", required_argument, NULL, 'p'},
                                          {"bf16", no_argument, NULL, 'b'},
                                          {"bf16-rows", no_argument, NULL, 'B'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (struct options){.config = {.width = 256,
                                     .heads = 8,
                                     .top_k = 16,
                                     .key_width = 128,
                                     .n_tokens = 2048,
                                     .pool_lr_scale = 4,
                                     .n_threads = cores > 0 && cores <= 256 ? (int)cores : 1,
                                     .n_repeats = 7,
                                     .seed = 1},
                          .subkeys = {256, 1024},
                          .n_sizes = 2,
                          .uniform = 1};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1)
        CAM_TRY(parse_one(cli, found, o));
    return cam_cli_arguments(cli, 1, 1, "peer and no other argument");
}

/* ---- numbers ---- */

static struct cam_timing rate(const struct cam_layer_work *work, const struct measured *m) {
    return cam_timing_rate(work->seconds, (double)m->config.n_tokens);
}

static double a_second(double amount, const struct cam_layer_work *work, const struct measured *m) {
    return amount * (double)m->config.n_tokens / work->seconds.median;
}

/* Microseconds a token. */
static double us(struct cam_timing seconds, const struct measured *m) {
    return seconds.median / (double)m->config.n_tokens * 1e6;
}

/* Of processor time: what the ratio would be without other work on the machine, waiting apart. */
static double vs_torch_cpu(const struct cam_layer_result *r) {
    return r->has_torch ? r->torch_cpu.median / r->step_cpu.median : NAN;
}

static double vs_torch(const struct cam_layer_result *r) {
    return r->has_torch ? r->torch_seconds.median / r->step.seconds.median : NAN;
}

static const char *routing_name(const struct measured *m) {
    return m->config.routing == CAM_ROUTING_TRAINED ? "trained" : "uniform";
}

/* ---- JSON ---- */

static json_t *json_of_limits(const struct cam_layer_result *r) {
    return json_pack("{s:o,s:o,s:o,s:o}", "fma_gflops", cam_bench_json_timing(r->limit_fma, 1e9),
                     "products_gflops", cam_bench_json_timing(r->limit_products, 1e9),
                     "sequential_gb_per_s", cam_bench_json_timing(r->limit_sequential, 1e9),
                     "random_gb_per_s", cam_bench_json_timing(r->limit_random, 1e9));
}

static json_t *json_of_phases(const struct measured *m) {
    const struct cam_layer_result *r = &m->result;
    double unit = (double)m->config.n_tokens * 1e-6;
    return json_pack("{s:o,s:o,s:o,s:o}", "forward", cam_bench_json_timing(r->in_forward, unit),
                     "backward", cam_bench_json_timing(r->in_backward, unit), "rows",
                     cam_bench_json_timing(r->in_rows, unit), "dense",
                     cam_bench_json_timing(r->in_dense, unit));
}

static json_t *json_of_torch(const struct measured *m) {
    const struct cam_layer_result *r = &m->result;
    if (!r->has_torch)
        return json_null();
    double n = (double)m->config.n_tokens;
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:s}", "about", r->torch_about, "step_tokens_per_s",
                     cam_cli_json_real(n / r->torch_seconds.median), "step",
                     cam_bench_json_timing(cam_timing_rate(r->torch_seconds, n), 1), "rss_bytes",
                     cam_cli_json_real(r->torch_rss_bytes), "unique_rows",
                     cam_cli_json_real(r->torch_unique_rows), "optimizer",
                     "SparseAdam (experts), Adam (query, sub-keys)");
}

static json_t *json_of_growth(const struct measured *m) {
    const struct cam_layer_result *r = &m->result;
    if (!r->has_growth)
        return json_null();
    double grown = (double)m->config.grown_subkeys;
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "experts", cam_cli_json_real(grown * grown),
                     "seconds", cam_cli_json_real(r->growth_seconds), "growth_only_seconds",
                     cam_cli_json_real(r->growth_only_seconds), "output_change",
                     cam_cli_json_real(r->growth_change), "chunks_moved",
                     cam_cli_json_real(r->growth_rows_moved), "rss_bytes",
                     cam_cli_json_real(r->growth_rss_bytes));
}

static json_t *json_of_row(const struct measured *m) {
    const struct cam_layer_result *r = &m->result;
    const struct cam_layer_work *step = &r->step, *forward = &r->forward;
    double experts = (double)m->config.subkeys * (double)m->config.subkeys;
    json_t *row = json_pack(
        "{s:I,s:I,s:I,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "experts", (json_int_t)experts, "width",
        (json_int_t)m->config.width, "tokens", (json_int_t)m->config.n_tokens, "routing",
        routing_name(m), "forward_tokens_per_s", cam_cli_json_real(rate(forward, m).median),
        "step_tokens_per_s", cam_cli_json_real(rate(step, m).median), "gb_per_s",
        cam_cli_json_real(a_second(step->bytes, step, m) / 1e9), "gflops",
        cam_cli_json_real(a_second(step->flops, step, m) / 1e9), "share_of_limit",
        cam_cli_json_real(step->share_of_limit), "rss_bytes", cam_cli_json_real(r->rss_bytes),
        "vs_torch", cam_cli_json_real(vs_torch(r)));
    json_t *more = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "share_of_roofline",
        cam_cli_json_real(step->share_of_roofline), "forward_gb_per_s",
        cam_cli_json_real(a_second(forward->bytes, forward, m) / 1e9), "forward_gflops",
        cam_cli_json_real(a_second(forward->flops, forward, m) / 1e9), "forward_share_of_limit",
        cam_cli_json_real(forward->share_of_limit), "forward",
        cam_bench_json_timing(rate(forward, m), 1), "step", cam_bench_json_timing(rate(step, m), 1),
        "us_per_token", json_of_phases(m), "unique_rows", cam_cli_json_real(r->unique_rows),
        "unevenness", cam_cli_json_real(r->unevenness), "hub_share",
        cam_cli_json_real(r->hub_share), "limits", json_of_limits(r), "torch", json_of_torch(m),
        "growth", json_of_growth(m), "cpu_us_per_token",
        cam_bench_json_timing(r->step_cpu, (double)m->config.n_tokens * 1e-6), "vs_torch_cpu",
        cam_cli_json_real(vs_torch_cpu(r)));
    if (!row || !more || json_object_update(row, more) != 0) {
        json_decref(row);
        row = NULL;
    }
    json_decref(more);
    return row;
}

static const char *dense_optimiser(const struct options *o) {
    return o->config.optimizer == CAM_OPTIMIZER_MUON ? "Muon (query), AdamW (sub-keys)"
                                                     : "AdamW (query, sub-keys)";
}

static json_t *json_of_config(const struct options *o, const struct cam_machine *machine) {
    const struct cam_layer_config *c = &o->config;
    return json_pack(
        "{s:s,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:s}", "benchmark", "peer", "machine",
        cam_bench_json_machine(machine, c->n_threads), "width", (json_int_t)c->width, "heads",
        (json_int_t)c->heads, "top_k", (json_int_t)c->top_k, "key_width", (json_int_t)c->key_width,
        "tokens", (json_int_t)c->n_tokens, "repeat", (json_int_t)c->n_repeats, "optimizer_dense",
        dense_optimiser(o), "optimizer_rows", row_optimiser(o), "number",
        sizeof(cam_real) == 8 ? "fp64" : "fp32", "products", cam_products_name(c->products));
}

static enum cam_status print_json(const struct options *o, const struct cam_machine *machine,
                                  const struct measured *all, size_t n) {
    json_t *rows = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(rows, json_of_row(&all[i]));
    return cam_cli_print_json(
        json_pack("{s:o,s:o}", "config", json_of_config(o, machine), "rows", rows));
}

/* ---- table ---- */

static void print_head(const struct options *o, const struct cam_machine *machine) {
    const struct cam_layer_config *c = &o->config;
    cam_bench_print_machine(machine, c->n_threads);
    printf("layer      width %zu, %zu heads x %zu experts, keys 2 x %zu, %s tokens a step, %s%s\n",
           c->width, c->heads, c->top_k, c->key_width, cam_cli_grouped((int64_t)c->n_tokens),
           sizeof(cam_real) == 8 ? "fp64" : "fp32",
           c->products == CAM_PRODUCTS_BF16 ? ", products bf16" : "");
    printf("optimisers %s; experts: %s\n", dense_optimiser(o), row_optimiser(o));
    if (o->trained)
        printf("trained    inputs in %d clusters of size 1/rank, %d steps towards an output each\n",
               CAM_ROUTING_CLUSTERS, CAM_ROUTING_TRAIN_STEPS);
    printf("medians of %zu; lowest and highest in brackets\n\n", c->n_repeats);
}

static void print_row(const struct measured *m) {
    const struct cam_layer_result *r = &m->result;
    const struct cam_layer_work *step = &r->step, *forward = &r->forward;
    struct cam_timing f = rate(forward, m), s = rate(step, m);
    printf("%s experts, %s routing: %s different rows a step, unevenness %.2f, hub share %.3f\n",
           cam_cli_grouped((int64_t)(m->config.subkeys * m->config.subkeys)), routing_name(m),
           cam_cli_grouped((int64_t)r->unique_rows), r->unevenness, r->hub_share);
    printf("  forward  %9s tokens/s (%s-%s)  %6.1f GFLOP/s %6.2f GB/s  %3.0f %% of the limit\n",
           cam_cli_grouped((int64_t)f.median), cam_cli_grouped((int64_t)f.low),
           cam_cli_grouped((int64_t)f.high), a_second(forward->flops, forward, m) / 1e9,
           a_second(forward->bytes, forward, m) / 1e9, 100 * forward->share_of_limit);
    printf("  step     %9s tokens/s (%s-%s)  %6.1f GFLOP/s %6.2f GB/s  %3.0f %% of the limit, "
           "%.0f %% of the roofline\n",
           cam_cli_grouped((int64_t)s.median), cam_cli_grouped((int64_t)s.low),
           cam_cli_grouped((int64_t)s.high), a_second(step->flops, step, m) / 1e9,
           a_second(step->bytes, step, m) / 1e9, 100 * step->share_of_limit,
           100 * step->share_of_roofline);
    printf(
        "           us a token: forward %.1f, backward %.1f, rows %.1f, query and sub-keys %.1f\n",
        us(r->in_forward, m), us(r->in_backward, m), us(r->in_rows, m), us(r->in_dense, m));
    printf("           %.1f us of processor time a token and thread\n", us(r->step_cpu, m));
    printf(
        "  limits   %.0f GFLOP/s multiply-adds, %.0f in products, %.1f GB/s sequential, %.1f GB/s "
        "random records of %.0f bytes\n",
        r->limit_fma.median / 1e9, r->limit_products.median / 1e9, r->limit_sequential.median / 1e9,
        r->limit_random.median / 1e9, r->record_bytes);
    printf("  memory   %sB at most\n", cam_cli_short(r->rss_bytes));
    if (r->has_torch)
        printf("  PyTorch  %9s tokens/s, %sB, %s different rows a step (%s; SparseAdam, Adam): "
               "ours is %.1f times as fast (%.1f in processor time)\n",
               cam_cli_grouped((int64_t)((double)m->config.n_tokens / r->torch_seconds.median)),
               cam_cli_short(r->torch_rss_bytes), cam_cli_grouped((int64_t)r->torch_unique_rows),
               r->torch_about, vs_torch(r), vs_torch_cpu(r));
    if (r->has_growth)
        printf("  growth   to %s experts in %.2f s with its check (%.2f s without): outputs "
               "changed by %.1e, %.0f chunks moved\n",
               cam_cli_grouped((int64_t)(m->config.grown_subkeys * m->config.grown_subkeys)),
               r->growth_seconds, r->growth_only_seconds, r->growth_change, r->growth_rows_moved);
    printf("\n");
}

/* What a pool's size costs: tokens a second at the last size over those at the first. */
static void print_ratio(const struct measured *all, size_t n) {
    const struct measured *first = &all[0], *last = NULL;
    for (size_t i = 1; i < n; i++)
        if (all[i].config.routing == first->config.routing)
            last = &all[i];
    if (last)
        printf("step at %s experts over %s: %.2f\n",
               cam_cli_grouped((int64_t)(last->config.subkeys * last->config.subkeys)),
               cam_cli_grouped((int64_t)(first->config.subkeys * first->config.subkeys)),
               rate(&last->result.step, last).median / rate(&first->result.step, first).median);
}

/* ---- */

static enum cam_status measure(const struct options *o, size_t subkeys, enum cam_routing routing,
                               struct measured *m) {
    m->config = o->config;
    m->config.subkeys = subkeys;
    m->config.routing = routing;
    if (o->growth) {
        m->config.grown_subkeys = (size_t)ceil((double)subkeys * sqrt(1.1));
        if (m->config.grown_subkeys == subkeys)
            m->config.grown_subkeys++;
    }
    cam_cli_say("measuring %s experts, %s routing", cam_cli_grouped((int64_t)(subkeys * subkeys)),
                routing_name(m));
    return cam_layer_bench(&m->config, &m->result);
}

enum cam_status cam_bench_peer(struct cam_cli *cli) {
    struct options o;
    struct cam_machine machine;
    struct measured all[2 * MAX_SIZES];
    size_t n = 0;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(cam_machine_look(o.config.products, &machine));
    if (!o.json)
        print_head(&o, &machine);
    for (size_t i = 0; i < o.n_sizes; i++) {
        for (int trained = 0; trained < 2; trained++) {
            if (!(trained ? o.trained : o.uniform))
                continue;
            CAM_TRY(measure(&o, o.subkeys[i], trained ? CAM_ROUTING_TRAINED : CAM_ROUTING_UNIFORM,
                            &all[n]));
            if (!o.json)
                print_row(&all[n]);
            n++;
        }
    }
    if (o.json)
        return print_json(&o, &machine, all, n);
    print_ratio(all, n);
    return CAM_OK;
}
