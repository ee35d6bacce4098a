/* model_freeze.c - which dense parameters the optimiser leaves alone (model.h).
 *
 * A parameter is frozen by its `frozen_rows`, which is no part of the state: whoever loads a state
 * says again what is frozen. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

/* The block P belongs to, by its name: "block3.attention.qkv". */
static size_t block_of(const struct cam_param *p) {
    return strncmp(p->name, "block", 5) == 0 ? (size_t)strtoul(p->name + 5, NULL, 10)
                                             : CAM_NO_BLOCK;
}

static int belongs(const struct cam_param *p, size_t i_block, enum cam_part part) {
    return p->part == part && block_of(p) == i_block;
}

size_t cam_model_freeze(struct cam_model *model, size_t i_block, enum cam_part part, int on) {
    size_t n = 0;
    for (size_t i = 0; i < model->params.n && part != CAM_PART_SUBKEY; i++) {
        struct cam_param *p = model->params.items[i];
        if (!belongs(p, i_block, part))
            continue;
        p->frozen_rows = on ? p->rows : 0;
        n++;
    }
    return n;
}

enum cam_status cam_model_part_hash(const struct cam_model *model, size_t i_block,
                                    enum cam_part part, struct cam_hash *hash) {
    struct cam_hasher *hasher = cam_hasher_new();
    if (!hasher)
        return cam_fail(CAM_ERR_OS, "out of memory for a hash");
    for (size_t i = 0; i < model->params.n; i++) {
        const struct cam_param *p = model->params.items[i];
        if (belongs(p, i_block, part))
            cam_hasher_add(hasher, p->value, p->rows * p->cols * sizeof(cam_real));
    }
    *hash = cam_hasher_value(hasher);
    cam_hasher_free(hasher);
    return CAM_OK;
}
