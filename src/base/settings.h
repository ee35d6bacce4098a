/* settings.h - every option once: type, default, range, scope and help live in settings.def.
 *
 * This file knows nothing of the database: store/journal.h keeps the values in force and records
 * every change. */
#ifndef CAM_BASE_SETTINGS_H
#define CAM_BASE_SETTINGS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_SETTING_TEXT_BYTES 1024 /* longest value with its NUL */

enum cam_setting_type { CAM_SETTING_INT, CAM_SETTING_REAL, CAM_SETTING_BOOL, CAM_SETTING_TEXT };
enum cam_setting_scope { CAM_SETTING_INIT, CAM_SETTING_LIVE, CAM_SETTING_NOW };

struct cam_setting {
    const char *key;
    enum cam_setting_type type;
    const char *default_text;
    double min, max; /* value, or bytes of a TEXT; both inclusive */
    enum cam_setting_scope scope;
    const char *help;
    size_t offset; /* of the field in struct cam_settings */
};

#define CAM_FIELD_INT(name)  int64_t name;
#define CAM_FIELD_REAL(name) double name;
#define CAM_FIELD_BOOL(name) int64_t name;
#define CAM_FIELD_TEXT(name) char name[CAM_SETTING_TEXT_BYTES];

/* One field an option, named as in settings.def. */
struct cam_settings {
#define CAM_SETTING(field, key, type, value, min, max, scope, help) CAM_FIELD_##type(field)
#include "base/settings.def"
#undef CAM_SETTING
};

size_t cam_setting_count(void);
const struct cam_setting *cam_setting_at(size_t i);

/* The option called KEY.  CAM_ERR_CONFIG names the nearest existing key otherwise. */
CAM_MUST_USE enum cam_status cam_setting_find(const char *key, const struct cam_setting **setting);

void cam_settings_defaults(struct cam_settings *settings);

/* Parses TEXT for KEY.  CAM_ERR_CONFIG says what is accepted; SETTINGS keeps its old value then.
 * Whole numbers take suffixes k, M, G (powers of 1024); BOOL takes true/false/1/0/yes/no/on/off. */
CAM_MUST_USE enum cam_status cam_settings_set(struct cam_settings *settings, const char *key,
                                              const char *text);

/* The canonical text of a value: parsing it gives the same bits.  CAM_ERR_CONFIG: no such key. */
CAM_MUST_USE enum cam_status cam_settings_get(const struct cam_settings *settings, const char *key,
                                              char text[CAM_SETTING_TEXT_BYTES]);

const char *cam_setting_type_name(enum cam_setting_type type);
const char *cam_setting_scope_name(enum cam_setting_scope scope); /* "init", "live", "now" */

#endif
