#include "model/param.h"

#include "base/hash.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const char *cam_part_name(enum cam_part part) {
    static const char *const names[CAM_N_PARTS] = {"embedding", "trunk", "norm", "query", "subkey"};
    return names[part];
}

void cam_params_init(struct cam_params *params) {
    *params = (struct cam_params){0};
}

static size_t param_bytes(const struct cam_param *p) {
    return p->rows_capacity * p->cols * sizeof(cam_real);
}

/* Zero pages that cost nothing until they are touched: room to grow without moving. */
static cam_real *map_zero(size_t n_bytes) {
    void *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void param_free(struct cam_param *p) {
    if (!p)
        return;
    cam_real *blocks[] = {p->value,   p->grad,   p->m,      p->v,
                          p->average, p->centre, p->fisher, p->importance};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i])
            munmap(blocks[i], param_bytes(p));
    free(p);
}

void cam_params_release(struct cam_params *params) {
    for (size_t i = 0; i < params->n; i++)
        param_free(params->items[i]);
    free(params->items);
    *params = (struct cam_params){0};
}

enum cam_status cam_params_add(struct cam_params *params, const char *name, enum cam_part part,
                               size_t rows, size_t cols, size_t rows_capacity,
                               struct cam_param **param) {
    struct cam_param **items = realloc(params->items, (params->n + 1) * sizeof *items);
    if (!items)
        return cam_fail(CAM_ERR_OS, "out of memory for parameter %s", name);
    params->items = items;
    struct cam_param *p = calloc(1, sizeof *p);
    if (p) {
        *p = (struct cam_param){.part = part,
                                .rows = rows,
                                .cols = cols,
                                .rows_capacity = rows_capacity > rows ? rows_capacity : rows,
                                .lr_scale = 1.0,
                                .decay = part == CAM_PART_TRUNK || part == CAM_PART_QUERY};
        snprintf(p->name, sizeof p->name, "%s", name);
        p->value = map_zero(param_bytes(p));
        p->grad = map_zero(param_bytes(p));
        p->m = map_zero(param_bytes(p));
        p->v = map_zero(param_bytes(p));
    }
    if (!p || !p->value || !p->grad || !p->m || !p->v) {
        param_free(p);
        return cam_fail(CAM_ERR_OS, "out of memory for parameter %s (%zu x %zu)", name, rows, cols);
    }
    params->items[params->n++] = p;
    *param = p;
    return CAM_OK;
}

enum cam_status cam_param_average_begin(struct cam_param *p) {
    p->average = map_zero(param_bytes(p));
    if (!p->average)
        return cam_fail(CAM_ERR_OS, "out of memory for the average of parameter %s (%zu x %zu)",
                        p->name, p->rows, p->cols);
    p->averaged_rows = 0;
    return CAM_OK;
}

void cam_param_average_extend(struct cam_param *p) {
    size_t from = p->averaged_rows * p->cols;
    memcpy(p->average + from, p->value + from, (p->rows * p->cols - from) * sizeof *p->value);
    p->averaged_rows = p->rows;
}

void cam_param_average_end(struct cam_param *p) {
    if (p->average)
        munmap(p->average, param_bytes(p));
    p->average = NULL;
    p->averaged_rows = 0;
}

/* *ARRAY is there, zeroed when new, or gone. */
static enum cam_status keep_array(const struct cam_param *p, int on, cam_real **array) {
    if (!on && *array) {
        munmap(*array, param_bytes(p));
        *array = NULL;
    }
    if (on && !*array && !(*array = map_zero(param_bytes(p))))
        return cam_fail(CAM_ERR_OS, "out of memory for the anchor of parameter %s (%zu x %zu)",
                        p->name, p->rows, p->cols);
    return CAM_OK;
}

enum cam_status cam_param_anchor_keep(struct cam_param *p, int centre, int fisher) {
    int is_new = centre && !p->centre;
    CAM_TRY(keep_array(p, centre, &p->centre));
    for (size_t i = 0; is_new && i < p->rows_capacity * p->cols; i++)
        p->centre[i] = (cam_real)NAN;
    CAM_TRY(keep_array(p, fisher, &p->fisher));
    return keep_array(p, fisher, &p->importance);
}

void cam_param_fill_normal(struct cam_param *param, uint64_t seed, size_t row_from, size_t row_to,
                           double scale) {
    uint32_t slot = (uint32_t)cam_hash_bytes(param->name, strlen(param->name)).low;
    float normal[4];
    for (size_t i = row_from * param->cols; i < row_to * param->cols; i++) {
        if (i % 4 == 0 || i == row_from * param->cols)
            cam_random_normal4(cam_random_at(seed, CAM_PURPOSE_INIT_TRUNK, i / 4, slot), normal);
        param->value[i] = (cam_real)(normal[i % 4] * scale);
    }
}

void cam_param_fill(struct cam_param *param, cam_real value) {
    for (size_t i = 0; i < param->rows * param->cols; i++)
        param->value[i] = value;
}

size_t cam_params_count(const struct cam_params *params) {
    size_t n = 0;
    for (size_t i = 0; i < params->n; i++)
        n += params->items[i]->rows * params->items[i]->cols;
    return n;
}

void cam_params_zero_grad(struct cam_params *params) {
    for (size_t i = 0; i < params->n; i++) {
        struct cam_param *p = params->items[i];
        memset(p->grad, 0, p->rows * p->cols * sizeof *p->grad);
    }
}
