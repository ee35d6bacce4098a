#include "base/fs.h"
#include "bench/ingest_bench.h"
#include "cli/bench_face.h"
#include "feed/feed.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_FILES      16
#define MAX_FILE_BYTES ((size_t)1 << 30)

struct options {
    int64_t documents, bytes, repeat;
    int n_files, json;
};

struct measured {
    const char *name;
    size_t n_bytes;
    struct cam_ingest_result result;
};

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {{"documents", required_argument, NULL, 'd'},
                                          {"bytes", required_argument, NULL, 'b'},
                                          {"repeat", required_argument, NULL, 'r'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    int found;
    *o = (struct options){.documents = 4000, .bytes = 4096, .repeat = 3};
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        enum cam_status status = CAM_OK;
        if (found == 'd')
            status = cam_cli_number("--documents", optarg, 1, 1000000, &o->documents);
        else if (found == 'b')
            status = cam_cli_number("--bytes", optarg, 64, 1 << 20, &o->bytes);
        else if (found == 'r')
            status = cam_cli_number("--repeat", optarg, 1, CAM_MAX_SAMPLES, &o->repeat);
        else if (found == 'j')
            o->json = 1;
        else
            return cam_cli_bad(cli);
        CAM_TRY(status);
    }
    CAM_TRY(cam_cli_arguments(cli, 1, 1 + MAX_FILES, "ingest and up to 16 files"));
    while (cam_cli_argument(cli, 1 + o->n_files))
        o->n_files++;
    return CAM_OK;
}

/* The I-th stream: of a file, or one of the two that are made up. */
static enum cam_status load(const struct cam_cli *cli, const struct options *o, int i,
                            struct cam_ingest_stream *stream, const char **name) {
    if (o->n_files == 0) {
        enum cam_ingest_form form = i == 0 ? CAM_INGEST_NDJSON : CAM_INGEST_ATOM;
        *name = "made up";
        return cam_ingest_stream_make(form, (size_t)o->documents, (size_t)o->bytes, 1, stream);
    }
    *name = cam_cli_argument(cli, 1 + i);
    CAM_TRY(
        cam_fs_read_file(cam_fs_system(), *name, MAX_FILE_BYTES, &stream->bytes, &stream->n_bytes));
    stream->content_type = cam_feed_type_of_name(*name);
    return CAM_OK;
}

static json_t *json_of_row(const struct measured *m) {
    const struct cam_ingest_result *r = &m->result;
    double bytes = (double)m->n_bytes;
    return json_pack(
        "{s:o,s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "stream", cam_cli_json_text(m->name), "format",
        r->format, "bytes", (json_int_t)m->n_bytes, "documents", (json_int_t)r->n_documents,
        "journalled", (json_int_t)r->n_journalled, "quarantined", (json_int_t)r->n_quarantined,
        "read_mb_per_s", cam_bench_json_timing(cam_timing_rate(r->read, bytes), 1e6),
        "read_cpu_mb_per_s", cam_bench_json_timing(cam_timing_rate(r->read_cpu, bytes), 1e6),
        "journal_mb_per_s", cam_bench_json_timing(cam_timing_rate(r->journal, bytes), 1e6),
        "journal_cpu_mb_per_s", cam_bench_json_timing(cam_timing_rate(r->journal_cpu, bytes), 1e6));
}

static void print_rate(const char *name, struct cam_timing clock, struct cam_timing cpu,
                       double bytes) {
    struct cam_timing rate = cam_timing_rate(clock, bytes);
    printf("  %-10s %6.1f MB/s (%.1f-%.1f), %.1f MB a second of processor time\n", name,
           rate.median / 1e6, rate.low / 1e6, rate.high / 1e6,
           cam_timing_rate(cpu, bytes).median / 1e6);
}

static void print_row(const struct measured *m) {
    const struct cam_ingest_result *r = &m->result;
    printf("%s, %s: %sB, %s documents, %s journalled, %s of them quarantined\n", r->format, m->name,
           cam_cli_short((double)m->n_bytes), cam_cli_grouped(r->n_documents),
           cam_cli_grouped(r->n_journalled), cam_cli_grouped(r->n_quarantined));
    print_rate("reading", r->read, r->read_cpu, (double)m->n_bytes);
    print_rate("journalled", r->journal, r->journal_cpu, (double)m->n_bytes);
}

static enum cam_status measure_all(const struct cam_cli *cli, const struct options *o,
                                   json_t *rows) {
    int n = o->n_files ? o->n_files : 2;
    for (int i = 0; i < n; i++) {
        struct cam_ingest_stream stream = {0};
        struct measured m = {0};
        CAM_TRY(load(cli, o, i, &stream, &m.name));
        m.n_bytes = stream.n_bytes;
        enum cam_status status = cam_ingest_bench(&stream, (size_t)o->repeat, &m.result);
        cam_ingest_stream_release(&stream);
        if (status != CAM_OK)
            return cam_context(status, "%s", m.name);
        if (o->json)
            json_array_append_new(rows, json_of_row(&m));
        else
            print_row(&m);
    }
    return CAM_OK;
}

enum cam_status cam_bench_ingest(struct cam_cli *cli) {
    struct options o;
    struct cam_machine machine;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(cam_machine_look(CAM_PRODUCTS_FP32, &machine));
    if (!o.json) {
        cam_bench_print_machine(&machine, 1);
        printf("medians of %lld; lowest and highest in brackets\n\n", (long long)o.repeat);
    }
    json_t *rows = json_array();
    enum cam_status status = measure_all(cli, &o, rows);
    if (status != CAM_OK || !o.json) {
        json_decref(rows);
        return status;
    }
    return cam_cli_print_json(json_pack("{s:{s:s,s:o,s:I},s:o}", "config", "benchmark", "ingest",
                                        "machine", cam_bench_json_machine(&machine, 1), "repeat",
                                        (json_int_t)o.repeat, "rows", rows));
}
