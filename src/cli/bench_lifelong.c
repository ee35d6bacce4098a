/* cambium bench lifelong: the benchmark's face. */
#include "bench/lifelong.h"
#include "cli/bench_face.h"
#include "cli/input.h"
#include "run/preset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SEEDS    100
#define MAX_JOBS     256
#define DEFAULT_DIR  "bench-lifelong"
#define DEFAULT_ARMS "joint,naive,dense-replay,fixed,grow-only,lifelong"

struct options {
    const char *stream, *probe, *arms, *preset, *dir, *svg;
    int64_t budget, seeds, jobs;
    int keep, json;
    struct cam_cli_list set;
};

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {
        {"probe", required_argument, NULL, 'p'},  {"arms", required_argument, NULL, 'a'},
        {"budget", required_argument, NULL, 'b'}, {"seeds", required_argument, NULL, 's'},
        {"preset", required_argument, NULL, 'P'}, {"set", required_argument, NULL, 'S'},
        {"dir", required_argument, NULL, 'd'},    {"keep", no_argument, NULL, 'k'},
        {"jobs", required_argument, NULL, 'J'},   {"svg", required_argument, NULL, 'v'},
        {"json", no_argument, NULL, 'j'},         {0}};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        switch (found) {
        case 'p':
            o->probe = optarg;
            break;
        case 'a':
            o->arms = optarg;
            break;
        case 'b':
            CAM_TRY(cam_cli_number("--budget", optarg, 1, INT64_MAX / 2, &o->budget));
            break;
        case 's':
            CAM_TRY(cam_cli_number("--seeds", optarg, 1, MAX_SEEDS, &o->seeds));
            break;
        case 'P':
            o->preset = optarg;
            break;
        case 'S':
            CAM_TRY(cam_cli_list_add(&o->set, "--set", optarg));
            break;
        case 'd':
            o->dir = optarg;
            break;
        case 'k':
            o->keep = 1;
            break;
        case 'J':
            CAM_TRY(cam_cli_number("--jobs", optarg, 1, MAX_JOBS, &o->jobs));
            break;
        case 'v':
            o->svg = optarg;
            break;
        case 'j':
            o->json = 1;
            break;
        default:
            return cam_cli_bad(cli);
        }
    }
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "lifelong and one STREAM"));
    o->stream = cam_cli_argument(cli, 1);
    return o->probe ? CAM_OK
                    : cam_fail(CAM_ERR_USAGE, "bench lifelong needs --probe FILE: text of the same "
                                              "domains that is not in the stream");
}

/* ---- what goes in ---- */

static enum cam_status read_stream(const char *path, struct cam_lifelong_stream *stream) {
    struct cam_document_sink sink = cam_lifelong_sink(stream);
    enum cam_status status = cam_input_read(path, NULL, NULL, &sink);
    if (status == CAM_OK && stream->n_documents == 0)
        return cam_fail(CAM_ERR_DATA, "%s: holds no document", path);
    return status == CAM_OK ? status : cam_context(status, "%s", path);
}

/* The probes' domains must be those of the stream. */
static enum cam_status match_domains(const struct options *o,
                                     const struct cam_lifelong_stream *stream,
                                     const struct cam_lifelong_stream *heldout) {
    for (size_t i = 0; i < stream->n_domains; i++) {
        int found = 0;
        for (size_t j = 0; j < heldout->n_domains; j++)
            found |= strcmp(stream->domains[i], heldout->domains[j]) == 0;
        if (!found)
            return cam_fail(CAM_ERR_DATA, "%s: has no text of domain %.64s", o->probe,
                            stream->domains[i]);
    }
    return CAM_OK;
}

static enum cam_status choose_settings(const struct options *o, struct cam_settings *settings) {
    cam_settings_defaults(settings);
    CAM_TRY(cam_preset_apply(o->preset ? o->preset : "nano", settings));
    if (!o->preset)
        CAM_TRY(cam_settings_set(settings, "peer.subkeys", "128"));
    for (size_t i = 0; i < o->set.n; i++)
        CAM_TRY(cam_cli_set(settings, o->set.items[i]));
    return CAM_OK;
}

static enum cam_status choose_arms(const struct options *o,
                                   const struct cam_lifelong_arm *arms[CAM_CLI_LIST_ITEMS]) {
    const char *at = o->arms ? o->arms : DEFAULT_ARMS;
    size_t n = 0;
    for (;; at++) {
        char name[64];
        size_t length = strcspn(at, ",");
        if (n + 1 == CAM_CLI_LIST_ITEMS)
            return cam_fail(CAM_ERR_USAGE, "--arms: at most %d", CAM_CLI_LIST_ITEMS - 1);
        snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), at);
        CAM_TRY(cam_lifelong_arm_find(name, &arms[n++]));
        at += length;
        if (*at != ',')
            break;
    }
    arms[n] = NULL;
    return CAM_OK;
}

/* ---- what comes out ---- */

static json_t *json_of(const struct cam_lifelong_result *x) {
    json_t *r = json_array();
    for (size_t i = 0; i <= x->n_domains; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < x->n_domains; j++)
            json_array_append_new(row, cam_cli_json_real(x->r[i][j]));
        json_array_append_new(r, row);
    }
    json_t *json = json_pack("{s:s,s:s,s:I,s:o}", "arm", x->arm->name, "what", x->arm->what, "seed",
                             (json_int_t)x->seed, "R", r);
    const struct {
        const char *key;
        double value;
    } reals[] = {{"final_bpb", x->final_bpb},
                 {"learned_bpb", x->learned_bpb},
                 {"forgetting", x->forgetting},
                 {"bwt", x->bwt},
                 {"fwt", x->fwt},
                 {"prequential_bpb", x->prequential_bpb},
                 {"flops_per_token", x->flops_per_token},
                 {"tokens_per_s", x->tokens_per_s},
                 {"seconds", x->seconds},
                 {"state_bytes", x->state_bytes}};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        json_object_set_new(json, reals[i].key, cam_cli_json_real(reals[i].value));
    json_object_set_new(json, "experts", json_integer((json_int_t)x->experts));
    json_object_set_new(json, "tokens", json_integer((json_int_t)x->tokens));
    json_object_set_new(json, "replay_tokens", json_integer((json_int_t)x->replay_tokens));
    return json;
}

static enum cam_status print_json(const struct options *o, const struct cam_lifelong_stream *stream,
                                  const struct cam_lifelong_result *results, size_t n) {
    json_t *domains = json_array(), *arms = json_array();
    for (size_t i = 0; i < stream->n_domains; i++)
        json_array_append_new(domains, cam_cli_json_text(stream->domains[i]));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(arms, json_of(&results[i]));
    return cam_cli_print_json(
        json_pack("{s:s,s:o,s:o}", "stream", o->stream, "domains", domains, "arms", arms));
}

/* Mean and standard error of one figure over the seeds of an arm. */
static void print_figure(const struct cam_lifelong_result *x, size_t n, size_t offset) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        mean += *(const double *)((const char *)&x[i] + offset) / (double)n;
    for (size_t i = 0; i < n; i++)
        square += pow(*(const double *)((const char *)&x[i] + offset) - mean, 2);
    char text[32] = "-";
    if (isfinite(mean) && n > 1)
        snprintf(text, sizeof text, "%.3f+-%.3f", mean, sqrt(square / (double)(n - 1) / (double)n));
    else if (isfinite(mean))
        snprintf(text, sizeof text, "%.3f", mean);
    printf(" %*s", n > 1 ? 13 : 10, text);
}

static void print_table(const struct cam_lifelong_result *results, size_t n) {
    static const struct {
        const char *name;
        size_t offset;
    } figures[] = {{"final", offsetof(struct cam_lifelong_result, final_bpb)},
                   {"learned", offsetof(struct cam_lifelong_result, learned_bpb)},
                   {"forgetting", offsetof(struct cam_lifelong_result, forgetting)},
                   {"bwt", offsetof(struct cam_lifelong_result, bwt)},
                   {"fwt", offsetof(struct cam_lifelong_result, fwt)},
                   {"prequent.", offsetof(struct cam_lifelong_result, prequential_bpb)}};
    size_t seeds = 1;
    while (seeds < n && results[seeds].arm == results[0].arm)
        seeds++;
    printf("%-14s", "arm");
    for (size_t f = 0; f < sizeof figures / sizeof *figures; f++)
        printf(" %*s", seeds > 1 ? 13 : 10, figures[f].name);
    printf(" %10s %9s %8s %8s %8s\n", "experts", "MFLOP/tok", "MB", "tok/s", "seconds");
    for (size_t i = 0; i < n; i += seeds) {
        const struct cam_lifelong_result *x = &results[i];
        printf("%-14s", x->arm->name);
        for (size_t f = 0; f < sizeof figures / sizeof *figures; f++)
            print_figure(x, seeds, figures[f].offset);
        printf(" %10s %9.2f %8.1f %8.0f %8.0f\n", cam_cli_grouped(x->experts),
               x->flops_per_token / 1e6, x->state_bytes / 1e6, x->tokens_per_s, x->seconds);
    }
}

/* ---- all of it ---- */

static void say(void *context, const char *line) {
    (void)context;
    cam_cli_say("%s", line);
}

static enum cam_status measure(const struct options *o, const struct cam_lifelong_stream *stream,
                               const struct cam_lifelong_stream *heldout) {
    const struct cam_lifelong_arm *arms[CAM_CLI_LIST_ITEMS];
    struct cam_settings settings;
    struct cam_lifelong_result *results = NULL;
    size_t n = 0;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    CAM_TRY(choose_arms(o, arms));
    CAM_TRY(choose_settings(o, &settings));
    struct cam_lifelong_plan plan = {.stream = stream,
                                     .heldout = heldout,
                                     .dir = o->dir ? o->dir : DEFAULT_DIR,
                                     .arms = arms,
                                     .settings = &settings,
                                     .n_seeds = (size_t)(o->seeds ? o->seeds : 1),
                                     .n_jobs = o->jobs          ? (size_t)o->jobs
                                               : processors > 0 ? (size_t)processors
                                                                : 1,
                                     .keep = o->keep,
                                     .say = say};
    enum cam_status status = cam_lifelong_run(&plan, &results, &n);
    if (status == CAM_OK && o->svg)
        status = cam_lifelong_heat_map(stream, results, n, o->svg);
    if (status == CAM_OK && o->json)
        status = print_json(o, stream, results, n);
    else if (status == CAM_OK)
        print_table(results, n);
    free(results);
    return status;
}

enum cam_status cam_bench_lifelong(struct cam_cli *cli) {
    struct options o = {0};
    struct cam_lifelong_stream stream = {0}, heldout = {0};
    CAM_TRY(parse(cli, &o));
    enum cam_status status = read_stream(o.stream, &stream);
    if (status == CAM_OK)
        status = read_stream(o.probe, &heldout);
    if (status == CAM_OK)
        status = match_domains(&o, &stream, &heldout);
    if (status == CAM_OK) {
        cam_lifelong_budget(&stream, (size_t)o.budget);
        cam_lifelong_cap_probes(&heldout);
        status = measure(&o, &stream, &heldout);
    }
    cam_lifelong_stream_release(&heldout);
    cam_lifelong_stream_release(&stream);
    return status;
}
