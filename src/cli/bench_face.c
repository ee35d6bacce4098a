#include "cli/bench_face.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SUBKEYS 8192

enum cam_status cam_bench_experts(const char *text, size_t *subkeys) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10), unit = 1;
    if (end != text && (*end == 'k' || *end == 'M'))
        unit = *end++ == 'k' ? 1024 : 1024 * 1024;
    if (end == text || *text == '-' || *end || errno || n == 0 ||
        n > (unsigned long long)MAX_SUBKEYS * MAX_SUBKEYS / unit)
        return cam_fail(CAM_ERR_USAGE, "--experts %.32s: must be a whole number from 1 to %d", text,
                        MAX_SUBKEYS * MAX_SUBKEYS);
    n *= unit;
    unsigned long long root = (unsigned long long)sqrt((double)n);
    while (root * root > n)
        root--;
    while ((root + 1) * (root + 1) <= n)
        root++;
    if (root * root != n)
        return cam_fail(CAM_ERR_USAGE,
                        "--experts %.32s: product keys need a square; the nearest are %llu and "
                        "%llu",
                        text, root * root, (root + 1) * (root + 1));
    *subkeys = (size_t)root;
    return CAM_OK;
}

enum cam_status cam_bench_sizes(const char *text, size_t *subkeys, size_t most, size_t *n) {
    char one[32];
    size_t found = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (found == most || length >= sizeof one)
            return cam_fail(CAM_ERR_USAGE, "--experts: at most %zu sizes of at most %zu digits",
                            most, sizeof one - 1);
        memcpy(one, at, length);
        one[length] = '\0';
        CAM_TRY(cam_bench_experts(one, &subkeys[found++]));
        at += length;
        if (!*at)
            break;
    }
    *n = found;
    return CAM_OK;
}

enum cam_status cam_bench_python(const char *path, char out[256]) {
    if (strlen(path) == 0 || strlen(path) >= 256)
        return cam_fail(CAM_ERR_USAGE, "--python: a path of 1 to 255 bytes");
    snprintf(out, 256, "%s", path);
    return CAM_OK;
}

json_t *cam_bench_json_machine(const struct cam_machine *m, int64_t n_threads) {
    return json_pack("{s:o,s:i,s:I,s:s,s:s,s:s,s:o,s:o}", "cpu", cam_cli_json_text(m->cpu), "cores",
                     m->n_cores, "threads", (json_int_t)n_threads, "blas_core", m->blas_core,
                     "features", m->features, "huge_pages", m->huge_pages, "memory_bytes",
                     cam_cli_json_real(m->memory_bytes), "load", cam_cli_json_real(m->load));
}

json_t *cam_bench_json_timing(struct cam_timing t, double unit) {
    if (t.n == 0)
        return json_null();
    return json_pack("{s:o,s:o,s:o,s:I}", "median", cam_cli_json_real(t.median / unit), "low",
                     cam_cli_json_real(t.low / unit), "high", cam_cli_json_real(t.high / unit), "n",
                     (json_int_t)t.n);
}

void cam_bench_print_machine(const struct cam_machine *m, int64_t n_threads) {
    printf("machine    %s, %lld of %d cores, %sB of memory, load %.2f\n", m->cpu,
           (long long)n_threads, m->n_cores, cam_cli_short(m->memory_bytes), m->load);
    printf("kernels    %s; %s; huge pages: %s\n", m->blas_core, m->features,
           m->huge_pages);
}
