/* embed.h - files of the source tree that travel inside the binary (schema, policies, tokenizer).
 *
 * Each list is generated at build time by tools/cmake/embed.cmake and ends with a NULL name. */
#ifndef CAM_BASE_EMBED_H
#define CAM_BASE_EMBED_H

#include <stddef.h>

struct cam_embedded {
    const char *name; /* file name without folder, e.g. "001_history.sql" */
    const unsigned char *data; /* followed by a NUL byte that size does not count */
    size_t size;
};

extern const struct cam_embedded cam_embedded_schema[];   /* schema/ *.sql, in name order */
extern const struct cam_embedded cam_embedded_policies[]; /* policies/ *.sql */
extern const struct cam_embedded cam_embedded_tokenizer[];/* src/text/default.bpe */
extern const struct cam_embedded cam_embedded_bench[];    /* src/bench/ *.py */

/* The entry called NAME, or NULL. */
const struct cam_embedded *cam_embedded_find(const struct cam_embedded *list, const char *name);

#endif
