/* log.h - one line of talk to whoever runs the service, never data.
 *
 * The library calls cam_log(); the program decides where lines go (stderr by default).  Control
 * characters in the text are replaced before a line leaves, so a hostile title cannot drive a
 * terminal. */
#ifndef CAM_BASE_LOG_H
#define CAM_BASE_LOG_H

#include <stddef.h>

enum cam_log_level { CAM_LOG_ERROR, CAM_LOG_WARNING, CAM_LOG_INFO, CAM_LOG_DEBUG };

void cam_log(enum cam_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Lines less severe than LEVEL are dropped; default CAM_LOG_INFO. */
void cam_log_set_level(enum cam_log_level level);

/* Replaces where lines go; SINK gets one neutralised line without newline.  NULL: stderr. */
typedef void cam_log_sink(void *context, enum cam_log_level level, const char *line);
void cam_log_set_sink(cam_log_sink *sink, void *context);

/* Copies TEXT to OUT (OUT_BYTES with the NUL), C0, DEL, C1 and bidi control characters and invalid
 * UTF-8 replaced by '?'; newlines and tabs become spaces.  Returns OUT. */
char *cam_neutral_text(const char *text, char *out, size_t out_bytes);

#endif
