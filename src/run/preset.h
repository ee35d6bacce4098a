/* preset.h - named sizes: settings that go together (measured figures in README, "presets").
 *
 * To add one: a table in preset.c. */
#ifndef CAM_RUN_PRESET_H
#define CAM_RUN_PRESET_H

#include "base/settings.h"
#include "base/status.h"
#include "model/model.h"
#include "train/step.h"

/* Sets what preset NAME fixes.  CAM_ERR_CONFIG lists the presets. */
CAM_MUST_USE enum cam_status cam_preset_apply(const char *name, struct cam_settings *settings);

/* The model's shape and the recipe that SETTINGS spell. */
CAM_MUST_USE enum cam_status cam_settings_shape(const struct cam_settings *settings,
                                                size_t vocabulary, struct cam_model_shape *shape);
enum cam_products cam_settings_products(const struct cam_settings *settings);
CAM_MUST_USE enum cam_status cam_settings_recipe(const struct cam_settings *settings,
                                                 struct cam_recipe *recipe);

#endif
