/* status.h - how functions fail.
 *
 * Every fallible function returns enum cam_status and leaves its outputs untouched on failure.
 * The message of the most recent failure is kept per thread, bounded, and names the thing, the
 * value or limit, and the remedy where there is one:
 *
 *     if (n > limit)
 *         return cam_fail(CAM_ERR_DATA, "%s: %zu bytes exceed feed.max_bytes (%zu)", url, n, limit);
 *     CAM_TRY(cam_thing_load(&thing, path));
 *
 * The library never prints and never exits: cli/ does. */
#ifndef CAM_BASE_STATUS_H
#define CAM_BASE_STATUS_H

enum cam_status {
#define CAM_STATUS(name, code, text) CAM_##name,
#include "base/status.def"
#undef CAM_STATUS
};

#define CAM_MUST_USE __attribute__((warn_unused_result))

/* Records a message (printf style, cut at 1,023 bytes) for this thread and returns STATUS. */
enum cam_status cam_fail(enum cam_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As cam_fail, with ": " and the text of errno VALUE appended.  CAM_ERR_IO becomes CAM_ERR_FULL
 * where VALUE says that the disk or a quota is full, so that a caller can tell what waiting may
 * cure. */
enum cam_status cam_fail_errno(enum cam_status status, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "CONTEXT: " before the current message of this thread; returns STATUS. */
enum cam_status cam_context(enum cam_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* This thread's last message; "" if none.  Borrowed, valid until the next failure. */
const char *cam_message(void);

/* sysexits(3) code, short name ("ERR_DATA") and meaning of STATUS. */
int cam_status_exit_code(enum cam_status status);
const char *cam_status_name(enum cam_status status);
const char *cam_status_text(enum cam_status status);
/* The status called NAME; CAM_ERR_INTERNAL if there is none of that name. */
enum cam_status cam_status_of_name(const char *name);

/* Forwards a failure to the caller. */
#define CAM_TRY(call)                                                                              \
    do {                                                                                           \
        enum cam_status cam_try_status_ = (call);                                                  \
        if (cam_try_status_ != CAM_OK)                                                             \
            return cam_try_status_;                                                                \
    } while (0)

/* Forwards a failure to the cleanup label `out`, through a local `enum cam_status status`. */
#define CAM_TRY_OUT(call)                                                                          \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != CAM_OK)                                                                      \
            goto out;                                                                              \
    } while (0)

#endif
