#include "model/ff.h"

#include <string.h>

const struct cam_ff_ops *const cam_ff_kinds[] = {&cam_ff_dense, &cam_ff_moe, &cam_ff_pkm,
                                                 &cam_ff_peer, NULL};

const struct cam_ff_ops *cam_ff_find(const char *name) {
    for (size_t i = 0; cam_ff_kinds[i]; i++)
        if (strcmp(cam_ff_kinds[i]->name, name) == 0)
            return cam_ff_kinds[i];
    return NULL;
}
