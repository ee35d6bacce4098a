#include "base/embed.h"

#include <string.h>

const struct cam_embedded *cam_embedded_find(const struct cam_embedded *list, const char *name) {
    for (; list->name; list++)
        if (strcmp(list->name, name) == 0)
            return list;
    return NULL;
}
