/* buffer.h - a growing run of bytes with a hard maximum.
 *
 * Every buffer that holds outside data has a limit; appending past it fails with CAM_ERR_DATA and
 * leaves the content as it was.  `data` is always NUL-terminated once anything was appended, so
 * text can be handed to C functions; `size` does not count that NUL. */
#ifndef CAM_BASE_BUFFER_H
#define CAM_BASE_BUFFER_H

#include "base/status.h"

#include <stddef.h>

struct cam_buffer {
    char *data;      /* owned; NULL while empty */
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* `size` never exceeds this */
};

void cam_buffer_init(struct cam_buffer *buffer, size_t limit_bytes);
void cam_buffer_release(struct cam_buffer *buffer); /* frees; accepts a zeroed struct */
void cam_buffer_clear(struct cam_buffer *buffer);   /* size = 0, memory kept */

CAM_MUST_USE enum cam_status cam_buffer_reserve(struct cam_buffer *buffer, size_t extra_bytes);
CAM_MUST_USE enum cam_status cam_buffer_append(struct cam_buffer *buffer, const void *bytes,
                                               size_t n_bytes);
CAM_MUST_USE enum cam_status cam_buffer_append_text(struct cam_buffer *buffer, const char *text);
CAM_MUST_USE enum cam_status cam_buffer_append_format(struct cam_buffer *buffer,
                                                      const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Hands the bytes over: caller frees with free(3).  "" (allocated) when empty; NULL if no memory. */
char *cam_buffer_take(struct cam_buffer *buffer);

#endif
