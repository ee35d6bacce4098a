#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 1024

static _Thread_local char message[MESSAGE_BYTES];

enum cam_status cam_fail(enum cam_status status, const char *format, ...) {
    char text[MESSAGE_BYTES]; /* arguments may point into `message` */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, sizeof text);
    return status;
}

enum cam_status cam_fail_errno(enum cam_status status, int errno_value, const char *format, ...) {
    char text[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (status == CAM_ERR_IO && (errno_value == ENOSPC || errno_value == EDQUOT))
        status = CAM_ERR_FULL;
    return cam_fail(status, "%s: %s", text, strerror(errno_value));
}

enum cam_status cam_context(enum cam_status status, const char *format, ...) {
    char text[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return cam_fail(status, "%s: %s", text, message);
}

const char *cam_message(void) {
    return message;
}

static const struct {
    int code;
    const char *name;
    const char *text;
} table[] = {
#define CAM_STATUS(name, code, text) {code, #name, text},
#include "base/status.def"
#undef CAM_STATUS
};

enum cam_status cam_status_of_name(const char *name) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0)
            return (enum cam_status)i;
    return CAM_ERR_INTERNAL;
}

int cam_status_exit_code(enum cam_status status) {
    return table[status].code;
}

const char *cam_status_name(enum cam_status status) {
    return table[status].name;
}

const char *cam_status_text(enum cam_status status) {
    return table[status].text;
}
