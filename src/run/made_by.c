#include "run/made_by.h"

#include "base/log.h"
#include "math/blas.h"

#include <stdio.h>
#include <string.h>

#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

/* Kernels and the mathematical library choose their code by these. */
static void list_features(char *out, size_t n_bytes) {
    *out = '\0';
#if defined(__x86_64__) && defined(__GNUC__)
    const struct {
        const char *name;
        int has;
    } features[] = {
        {"avx2", __builtin_cpu_supports("avx2")},
        {"fma", __builtin_cpu_supports("fma")},
        {"avx512f", __builtin_cpu_supports("avx512f")},
        {"avx512bw", __builtin_cpu_supports("avx512bw")},
        {"avx512dq", __builtin_cpu_supports("avx512dq")},
        {"avx512vl", __builtin_cpu_supports("avx512vl")},
    };
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        size_t n = strlen(out);
        if (features[i].has)
            snprintf(out + n, n_bytes - n, " %s", features[i].name);
    }
#else
    snprintf(out, n_bytes, " other");
#endif
}

static const char *libc_version(void) {
#if defined(__GLIBC__)
    return gnu_get_libc_version();
#else
    return "?";
#endif
}

void cam_made_by(enum cam_products products, char text[CAM_MADE_BY_BYTES]) {
    char features[64], kernels[96];
    list_features(features, sizeof features);
    cam_products_core(products, kernels, sizeof kernels);
    snprintf(text, CAM_MADE_BY_BYTES,
             "cambium %s, %s, compiler %.60s; libc %.20s; %.160s, kernels %.95s; processor%s",
             CAM_VERSION, sizeof(cam_real) == 8 ? "double" : "float", __VERSION__, libc_version(),
             cam_blas_build(), kernels, features);
}

enum cam_status cam_made_by_note(struct cam_workspace *workspace, enum cam_products products) {
    char now[CAM_MADE_BY_BYTES], before[CAM_MADE_BY_BYTES];
    cam_made_by(products, now);
    CAM_TRY(cam_workspace_made_by(workspace, now, before));
    if (*before && strcmp(before, now) != 0)
        cam_log(CAM_LOG_WARNING,
                "bits may differ from here on: this workspace was trained by [%s], this is [%s]",
                before, now);
    if (!cam_products_fast(products))
        cam_log(CAM_LOG_WARNING,
                "model.bf16 is on, but there is no AMX here (or the system does not "
                "hand it out): it is emulated, slower than without");
    return CAM_OK;
}
