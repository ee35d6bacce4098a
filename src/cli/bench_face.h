/* bench_face.h - what the parts of `cambium bench` share.
 *
 * To add one: a file bench_<name>.c with a function like those below, and a line in the table of
 * cmd_bench.c. */
#ifndef CAM_CLI_BENCH_FACE_H
#define CAM_CLI_BENCH_FACE_H

#include "bench/machine.h"
#include "bench/timing.h"
#include "cli/cli.h"

/* Parse CLI's options (the part's name is its first argument), measure, print. */
enum cam_status cam_bench_peer(struct cam_cli *cli);
enum cam_status cam_bench_train(struct cam_cli *cli);
enum cam_status cam_bench_kernels(struct cam_cli *cli);
enum cam_status cam_bench_ingest(struct cam_cli *cli);
enum cam_status cam_bench_lifelong(struct cam_cli *cli);
enum cam_status cam_bench_snapshot(struct cam_cli *cli);

/* "65536" or "64k" or "1M" (k and M: 1024 and its square) -> sub-keys, whose square it must be. */
CAM_MUST_USE enum cam_status cam_bench_experts(const char *text, size_t *subkeys);
/* A comma-separated list of such, at most MOST of them. */
CAM_MUST_USE enum cam_status cam_bench_sizes(const char *text, size_t *subkeys, size_t most,
                                             size_t *n);
/* Copies a path into the 256 bytes that a benchmark's config has for it. */
CAM_MUST_USE enum cam_status cam_bench_python(const char *path, char out[256]);

json_t *cam_bench_json_machine(const struct cam_machine *machine, int64_t n_threads);
/* median, low, high, each divided by UNIT; n. */
json_t *cam_bench_json_timing(struct cam_timing timing, double unit);
void cam_bench_print_machine(const struct cam_machine *machine, int64_t n_threads);

#endif
