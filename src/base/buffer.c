#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cam_buffer_init(struct cam_buffer *buffer, size_t limit_bytes) {
    *buffer = (struct cam_buffer){.limit = limit_bytes};
}

void cam_buffer_release(struct cam_buffer *buffer) {
    free(buffer->data);
    *buffer = (struct cam_buffer){.limit = buffer->limit};
}

void cam_buffer_clear(struct cam_buffer *buffer) {
    buffer->size = 0;
    if (buffer->data)
        buffer->data[0] = '\0';
}

enum cam_status cam_buffer_reserve(struct cam_buffer *buffer, size_t extra_bytes) {
    if (extra_bytes > buffer->limit - buffer->size)
        return cam_fail(CAM_ERR_DATA, "%zu bytes exceed the limit of %zu",
                        buffer->size + extra_bytes, buffer->limit);
    size_t need = buffer->size + extra_bytes + 1;
    if (need <= buffer->capacity)
        return CAM_OK;
    size_t capacity = buffer->capacity ? buffer->capacity * 2 : 256;
    if (capacity < need)
        capacity = need;
    char *data = realloc(buffer->data, capacity);
    if (!data)
        return cam_fail(CAM_ERR_OS, "out of memory for a buffer of %zu bytes", capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return CAM_OK;
}

enum cam_status cam_buffer_append(struct cam_buffer *buffer, const void *bytes, size_t n_bytes) {
    CAM_TRY(cam_buffer_reserve(buffer, n_bytes));
    if (n_bytes)
        memcpy(buffer->data + buffer->size, bytes, n_bytes);
    buffer->size += n_bytes;
    buffer->data[buffer->size] = '\0';
    return CAM_OK;
}

enum cam_status cam_buffer_append_text(struct cam_buffer *buffer, const char *text) {
    return cam_buffer_append(buffer, text, strlen(text));
}

enum cam_status cam_buffer_append_format(struct cam_buffer *buffer, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    enum cam_status status =
        n < 0 ? cam_fail(CAM_ERR_INTERNAL, "bad format") : cam_buffer_reserve(buffer, (size_t)n);
    if (status == CAM_OK) {
        vsnprintf(buffer->data + buffer->size, (size_t)n + 1, format, again);
        buffer->size += (size_t)n;
    }
    va_end(again);
    return status;
}

char *cam_buffer_take(struct cam_buffer *buffer) {
    char *data = buffer->data ? buffer->data : calloc(1, 1);
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
    return data;
}
