#include "bench/machine.h"

#include "math/blas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void look_cpu(char *out, size_t n_bytes) {
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    snprintf(out, n_bytes, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon += strspn(colon, ": \t");
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, n_bytes, "%s", colon);
        break;
    }
    if (file)
        fclose(file);
}

/* The file holds "always [madvise] never": the word in brackets is in force. */
static void look_huge_pages(char *out, size_t n_bytes) {
    char line[128], *from = NULL;
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (file && fgets(line, sizeof line, file))
        from = strchr(line, '[');
    if (file)
        fclose(file);
    if (from)
        from[strcspn(from, "]")] = '\0';
    snprintf(out, n_bytes, "%s", from ? from + 1 : "unknown");
}

static void look_features(char *out, size_t n_bytes) {
    size_t used = 0;
    out[0] = '\0';
#if defined(__x86_64__)
    __builtin_cpu_init();
#define FEATURE(name)                                                                              \
    if (__builtin_cpu_supports(name) && used < n_bytes)                                            \
        used += (size_t)snprintf(out + used, n_bytes - used, "%s%s", used ? " " : "", name);
    FEATURE("avx2")
    FEATURE("fma")
    FEATURE("avx512f")
    FEATURE("avx512bw")
    FEATURE("avx512vl")
    FEATURE("avx512vnni")
    FEATURE("avx512bf16")
#if !defined(__clang__) /* clang 14, which builds the fuzzers, does not know these names */
    FEATURE("amx-tile")
    FEATURE("amx-bf16")
#endif
#undef FEATURE
#endif
    if (used == 0)
        snprintf(out, n_bytes, "none");
}

enum cam_status cam_machine_look(enum cam_products products, struct cam_machine *machine) {
    CAM_TRY(cam_blas_open());
    struct cam_machine m = {0};
    look_cpu(m.cpu, sizeof m.cpu);
    look_features(m.features, sizeof m.features);
    look_huge_pages(m.huge_pages, sizeof m.huge_pages);
    cam_products_core(products, m.blas_core, sizeof m.blas_core);
    long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES);
    m.n_cores = cores > 0 ? (int)cores : 1;
    m.memory_bytes = pages > 0 ? (double)pages * (double)sysconf(_SC_PAGESIZE) : 0;
    if (getloadavg(&m.load, 1) != 1)
        m.load = -1;
    *machine = m;
    return CAM_OK;
}
