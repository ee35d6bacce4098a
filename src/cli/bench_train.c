#include "bench/model_bench.h"
#include "bench/plain_trainer.h"
#include "bench/torch_process.h"
#include "cli/bench_face.h"
#include "run/preset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *preset;
    struct cam_cli_list set, ff;
    size_t subkeys; /* 0: as the settings say */
    int64_t vocabulary, repeat, threads;
    int plain, bf16, json;
    char python[256];
};

struct measured {
    char ff[CAM_SETTING_TEXT_BYTES]; /* slots */
    struct cam_model_bench_config config;
    struct cam_model_bench_result result;
};

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {{"preset", required_argument, NULL, 'p'},
                                          {"set", required_argument, NULL, 's'},
                                          {"ff", required_argument, NULL, 'f'},
                                          {"experts", required_argument, NULL, 'e'},
                                          {"vocabulary", required_argument, NULL, 'v'},
                                          {"threads", required_argument, NULL, 'n'},
                                          {"repeat", required_argument, NULL, 'r'},
                                          {"vs-plain", no_argument, NULL, 'l'},
                                          {"vs-torch", no_argument, NULL, 't'},
                                          {"python", required_argument, NULL, 'y'},
                                          {"bf16", no_argument, NULL, 'b'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int found;
    *o = (struct options){.repeat = 9, .threads = cores > 0 && cores <= 256 ? cores : 1};
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        enum cam_status status = CAM_OK;
        if (found == 'p')
            o->preset = optarg;
        else if (found == 's')
            status = cam_cli_list_add(&o->set, "--set", optarg);
        else if (found == 'f')
            status = cam_cli_list_add(&o->ff, "--ff", optarg);
        else if (found == 'e')
            status = cam_bench_experts(optarg, &o->subkeys);
        else if (found == 'v')
            status = cam_cli_number("--vocabulary", optarg, 2, 65535, &o->vocabulary);
        else if (found == 'n')
            status = cam_cli_number("--threads", optarg, 1, 256, &o->threads);
        else if (found == 'r')
            status = cam_cli_number("--repeat", optarg, 1, CAM_MAX_SAMPLES, &o->repeat);
        else if (found == 'l')
            o->plain = 1;
        else if (found == 't')
            status = *o->python ? CAM_OK : cam_bench_python(CAM_DEFAULT_PYTHON, o->python);
        else if (found == 'y')
            status = cam_bench_python(optarg, o->python);
        else if (found == 'b')
            o->bf16 = 1;
        else if (found == 'j')
            o->json = 1;
        else
            return cam_cli_bad(cli);
        CAM_TRY(status);
    }
    return cam_cli_arguments(cli, 1, 1, "train and no other argument");
}

/* ---- the model ---- */

/* The shape that comparisons with others use: nothing they would have to be taught. */
static enum cam_status set_default_shape(struct cam_settings *settings) {
    static const char *const pairs[][2] = {
        {"model.width", "256"},       {"model.blocks", "4"},       {"model.heads", "4"},
        {"model.kv_heads", "4"},      {"model.hidden", "688"},     {"model.context", "256"},
        {"model.conv", "false"},      {"model.ff", "dense"},       {"peer.heads", "8"},
        {"peer.top_k", "16"},         {"peer.key_width", "128"},   {"peer.subkeys", "1024"},
        {"peer.max_subkeys", "1024"}, {"train.rows", "8"},         {"train.optimizer", "adamw"},
        {"train.lr", "0.001"},        {"train.warmup_steps", "0"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        CAM_TRY(cam_settings_set(settings, pairs[i][0], pairs[i][1]));
    return CAM_OK;
}

/* A name with a pool goes into the block in the middle, dense ones around it; "dense" and lists are
 * what settings take. */
static void spell_slots(const char *text, int64_t n_blocks, char out[CAM_SETTING_TEXT_BYTES]) {
    size_t used = 0;
    if (strchr(text, ',') || strcmp(text, "dense") == 0) {
        snprintf(out, CAM_SETTING_TEXT_BYTES, "%s", text);
        return;
    }
    out[0] = '\0';
    for (int64_t i = 0; i < n_blocks && used < CAM_SETTING_TEXT_BYTES; i++)
        used += (size_t)snprintf(out + used, CAM_SETTING_TEXT_BYTES - used, "%s%s", i ? "," : "",
                                 i == n_blocks / 2 ? text : "dense");
}

static enum cam_status configure(const struct options *o, const char *ff, struct measured *m) {
    struct cam_settings settings;
    char number[32];
    cam_settings_defaults(&settings);
    CAM_TRY(o->preset ? cam_preset_apply(o->preset, &settings) : set_default_shape(&settings));
    for (size_t i = 0; i < o->set.n; i++)
        CAM_TRY(cam_cli_set(&settings, o->set.items[i]));
    settings.model_bf16 |= o->bf16;
    if (o->subkeys) {
        snprintf(number, sizeof number, "%zu", o->subkeys);
        CAM_TRY(cam_settings_set(&settings, "peer.subkeys", number));
        CAM_TRY(cam_settings_set(&settings, "peer.max_subkeys", number));
    }
    if (ff) {
        spell_slots(ff, settings.model_blocks, m->ff);
        CAM_TRY(cam_settings_set(&settings, "model.ff", m->ff));
    }
    CAM_TRY(cam_settings_get(&settings, "model.ff", m->ff));
    int64_t vocabulary = o->vocabulary ? o->vocabulary : o->preset ? 4096 : 256;
    m->config = (struct cam_model_bench_config){.n_sequences = (size_t)settings.train_rows,
                                                .n_threads = (int)o->threads,
                                                .n_repeats = (size_t)o->repeat,
                                                .seed = (uint64_t)settings.seed,
                                                .plain = o->plain};
    memcpy(m->config.python, o->python, sizeof o->python);
    CAM_TRY(cam_settings_shape(&settings, (size_t)vocabulary, &m->config.shape));
    return cam_settings_recipe(&settings, &m->config.recipe);
}

/* ---- numbers ---- */

static double tokens(const struct measured *m) {
    return (double)(m->config.n_sequences * m->config.shape.context);
}

static double gflops(const struct measured *m) {
    return m->result.flops * tokens(m) / m->result.step.median / 1e9;
}

static double ratio(struct cam_timing theirs, struct cam_timing ours) {
    return theirs.n ? theirs.median / ours.median : NAN;
}

static const char *dense_optimiser(const struct measured *m) {
    return m->config.recipe.optimizer == CAM_OPTIMIZER_MUON ? "Muon (matrices), AdamW (the rest)"
                                                            : "AdamW";
}

static const char *row_optimiser(const struct measured *m) {
    return !(m->result.experts > 0) ? "none"
           : m->config.shape.pool_bf16
               ? "in bfloat16, one second moment a row of each part, no momentum"
               : "one second moment a row of each part, no momentum";
}

static const char *torch_optimiser(const struct measured *m) {
    return m->result.experts > 0 ? "AdamW, SparseAdam (experts)" : "AdamW";
}

/* ---- JSON ---- */

static json_t *json_of_torch(const struct measured *m) {
    const struct cam_model_bench_result *r = &m->result;
    if (!r->has_torch)
        return json_null();
    return json_pack(
        "{s:s,s:s,s:o,s:o,s:o}", "about", r->torch_about, "optimizer", torch_optimiser(m), "step",
        cam_bench_json_timing(cam_timing_rate(r->torch_seconds, tokens(m)), 1), "loss",
        cam_cli_json_real(r->torch_loss), "rss_bytes", cam_cli_json_real(r->torch_rss_bytes));
}

static json_t *json_of_plain(const struct measured *m) {
    const struct cam_model_bench_result *r = &m->result;
    if (!r->has_plain)
        return json_null();
    return json_pack("{s:b,s:s,s:o,s:o}", "openmp", cam_plain_has_openmp(), "optimizer", "AdamW",
                     "step", cam_bench_json_timing(cam_timing_rate(r->plain_seconds, tokens(m)), 1),
                     "loss", cam_cli_json_real(r->plain_loss));
}

static json_t *json_of_phases(const struct measured *m) {
    const struct cam_model_bench_result *r = &m->result;
    double unit = tokens(m) * 1e-6;
    return json_pack("{s:o,s:o,s:o}", "forward", cam_bench_json_timing(r->in_forward, unit),
                     "backward", cam_bench_json_timing(r->in_backward, unit), "update",
                     cam_bench_json_timing(r->in_update, unit));
}

static json_t *json_of_row(const struct measured *m) {
    const struct cam_model_bench_result *r = &m->result;
    struct cam_timing step = cam_timing_rate(r->step, tokens(m));
    return json_pack(
        "{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}",
        "ff", m->ff, "parameters", cam_cli_json_real(r->parameters), "experts",
        json_integer((json_int_t)r->experts), "tokens", json_integer((json_int_t)tokens(m)),
        "tokens_per_s", cam_cli_json_real(step.median), "step", cam_bench_json_timing(step, 1),
        "us_per_token", json_of_phases(m), "mflop_per_token", cam_cli_json_real(r->flops / 1e6),
        "optimizer_dense", dense_optimiser(m), "optimizer_rows", row_optimiser(m), "gflops",
        cam_cli_json_real(gflops(m)), "fma_gflops", cam_bench_json_timing(r->limit_fma, 1e9),
        "products_gflops", cam_bench_json_timing(r->limit_products, 1e9), "share_of_peak",
        cam_cli_json_real(r->share_of_peak), "rss_bytes",
        r->rss_bytes > 0 ? cam_cli_json_real(r->rss_bytes) : json_null(), "vs_torch",
        cam_cli_json_real(ratio(r->torch_seconds, r->step)), "vs_plain",
        cam_cli_json_real(ratio(r->plain_seconds, r->step)), "torch", json_of_torch(m), "plain",
        json_of_plain(m), "cpu_us_per_token", cam_bench_json_timing(r->step_cpu, tokens(m) * 1e-6),
        "vs_torch_cpu", cam_cli_json_real(ratio(r->torch_cpu, r->step_cpu)), "vs_plain_cpu",
        cam_cli_json_real(ratio(r->plain_cpu, r->step_cpu)));
}

static json_t *json_of_config(const struct measured *m, const struct cam_machine *machine) {
    const struct cam_model_shape *s = &m->config.shape;
    return json_pack("{s:s,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:s}", "benchmark", "train",
                     "machine", cam_bench_json_machine(machine, m->config.n_threads), "width",
                     (json_int_t)s->width, "blocks", (json_int_t)s->n_blocks, "heads",
                     (json_int_t)s->heads, "kv_heads", (json_int_t)s->kv_heads, "hidden",
                     (json_int_t)s->hidden, "context", (json_int_t)s->context, "vocabulary",
                     (json_int_t)s->vocabulary, "conv", s->conv, "sequences",
                     (json_int_t)m->config.n_sequences, "repeat", (json_int_t)m->config.n_repeats,
                     "products", cam_products_name(s->products));
}

/* ---- table ---- */

static void print_head(const struct measured *m, const struct cam_machine *machine) {
    const struct cam_model_shape *s = &m->config.shape;
    cam_bench_print_machine(machine, m->config.n_threads);
    printf("model      width %zu, %zu blocks, %zu heads (%zu for keys), hidden %zu, %s tokens, %zu "
           "sequences of %zu%s%s\n",
           s->width, s->n_blocks, s->heads, s->kv_heads, s->hidden,
           cam_cli_grouped((int64_t)s->vocabulary), m->config.n_sequences, s->context,
           s->conv ? ", convolutions" : "",
           s->products == CAM_PRODUCTS_BF16 ? ", products bf16" : "");
    printf("medians of %zu; lowest and highest in brackets\n\n", m->config.n_repeats);
}

static void print_other(const char *name, struct cam_timing seconds, struct cam_timing cpu,
                        double loss, const char *how, const struct measured *m) {
    struct cam_timing rate = cam_timing_rate(seconds, tokens(m));
    printf("  %-8s %8s tokens/s (%s-%s), loss %.4f (%s): ours is %.2f times as fast (%.2f in "
           "processor time)\n",
           name, cam_cli_grouped((int64_t)rate.median), cam_cli_grouped((int64_t)rate.low),
           cam_cli_grouped((int64_t)rate.high), loss, how, ratio(seconds, m->result.step),
           ratio(cpu, m->result.step_cpu));
}

static void print_row(const struct measured *m) {
    const struct cam_model_bench_result *r = &m->result;
    struct cam_timing step = cam_timing_rate(r->step, tokens(m));
    double each = 1e6 / tokens(m);
    char how[400];
    printf("%s: %s parameters, %s experts, %s%s%s\n", m->ff, cam_cli_short(r->parameters),
           cam_cli_grouped((int64_t)r->experts), dense_optimiser(m),
           r->experts > 0 ? "; rows: " : "", r->experts > 0 ? row_optimiser(m) : "");
    printf("  step     %8s tokens/s (%s-%s), loss %.4f; %.2f MFLOP a token, %.1f GFLOP/s, %.0f %% "
           "of the peak of %.0f\n",
           cam_cli_grouped((int64_t)step.median), cam_cli_grouped((int64_t)step.low),
           cam_cli_grouped((int64_t)step.high), r->loss, r->flops / 1e6, gflops(m),
           100 * r->share_of_peak, r->limit_products.median / 1e9);
    printf("           us a token: forward %.1f, backward %.1f, update %.1f; %.1f us of "
           "processor time and thread\n",
           r->in_forward.median * each, r->in_backward.median * each, r->in_update.median * each,
           r->step_cpu.median * each);
    if (r->rss_bytes > 0)
        printf("  memory   %sB at most\n", cam_cli_short(r->rss_bytes));
    if (r->has_torch) {
        snprintf(how, sizeof how, "%s; %s; %sB", r->torch_about, torch_optimiser(m),
                 cam_cli_short(r->torch_rss_bytes));
        print_other("PyTorch", r->torch_seconds, r->torch_cpu, r->torch_loss, how, m);
    }
    if (r->has_plain)
        print_other("plain C", r->plain_seconds, r->plain_cpu, r->plain_loss,
                    cam_plain_has_openmp() ? "loops, OpenMP; AdamW" : "loops, one thread; AdamW",
                    m);
    printf("\n");
}

/* ---- */

static enum cam_status measure(const struct options *o, struct measured *all, size_t n) {
    struct cam_machine machine;
    CAM_TRY(cam_machine_look(all[0].config.shape.products, &machine));
    if (!o->json)
        print_head(&all[0], &machine);
    json_t *rows = json_array();
    for (size_t i = 0; i < n; i++) {
        cam_cli_say("measuring %s", all[i].ff);
        enum cam_status status = cam_model_bench(&all[i].config, &all[i].result);
        if (status != CAM_OK) {
            json_decref(rows);
            return status;
        }
        if (o->json)
            json_array_append_new(rows, json_of_row(&all[i]));
        else
            print_row(&all[i]);
    }
    if (o->json)
        return cam_cli_print_json(
            json_pack("{s:o,s:o}", "config", json_of_config(&all[0], &machine), "rows", rows));
    json_decref(rows);
    return CAM_OK;
}

enum cam_status cam_bench_train(struct cam_cli *cli) {
    struct options o;
    CAM_TRY(parse(cli, &o));
    size_t n = o.ff.n ? o.ff.n : 1;
    struct measured *all = calloc(n, sizeof *all);
    if (!all)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu measurements", n);
    enum cam_status status = CAM_OK;
    for (size_t i = 0; status == CAM_OK && i < n; i++)
        status = configure(&o, o.ff.n ? o.ff.items[i] : NULL, &all[i]);
    if (status == CAM_OK)
        status = measure(&o, all, n);
    free(all);
    return status;
}
