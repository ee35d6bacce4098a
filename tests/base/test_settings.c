#include "base/settings.h"

#include <criterion/criterion.h>
#include <string.h>

Test(settings, every_default_is_valid_and_prints_as_itself) {
    struct cam_settings s;
    char text[CAM_SETTING_TEXT_BYTES];
    cam_settings_defaults(&s);
    for (size_t i = 0; i < cam_setting_count(); i++) {
        const struct cam_setting *setting = cam_setting_at(i);
        cr_assert(cam_settings_set(&s, setting->key, setting->default_text) == CAM_OK, "%s: %s",
                  setting->key, cam_message());
        cr_assert(cam_settings_get(&s, setting->key, text) == CAM_OK);
        struct cam_settings again = s;
        cr_assert(cam_settings_set(&again, setting->key, text) == CAM_OK);
        cr_assert(memcmp(&again, &s, sizeof s) == 0, "%s: %s does not read back", setting->key,
                  text);
        cr_assert(strlen(setting->help) > 0);
    }
    cr_assert(cam_setting_at(cam_setting_count()) == NULL);
}

Test(settings, keys_are_unique) {
    for (size_t i = 0; i < cam_setting_count(); i++)
        for (size_t j = 0; j < i; j++)
            cr_assert(strcmp(cam_setting_at(i)->key, cam_setting_at(j)->key) != 0);
}

static void refused(const char *key, const char *text, const char *word) {
    struct cam_settings s, before;
    cam_settings_defaults(&s);
    before = s;
    cr_assert(cam_settings_set(&s, key, text) == CAM_ERR_CONFIG, "%s %s", key, text);
    cr_assert(strstr(cam_message(), word), "%s", cam_message());
    cr_assert(memcmp(&s, &before, sizeof s) == 0, "a refused value changes nothing");
}

Test(settings, bad_values_are_refused_with_the_limits) {
    refused("probe.share", "0.6", "0 to 0.5");
    refused("probe.share", "nan", "number");
    refused("probe.share", "0.1x", "number");
    refused("probe.share", "", "number");
    refused("threads", "0", "1 to 256");
    refused("threads", "2.5", "whole");
    refused("threads", "99999999999999999999", "whole");
    refused("feed.max_bytes", "9999999999G", "whole");
    refused("policy", "", "1 to 64");
    refused("policy", "two\nlines", "one line");
}

Test(settings, unknown_key_names_the_nearest) {
    refused("prob.share", "1", "probe.share");
    refused("thread", "1", "threads");
}

Test(settings, suffixes_are_powers_of_1024) {
    struct cam_settings s;
    cam_settings_defaults(&s);
    cr_assert(cam_settings_set(&s, "feed.max_bytes", "2M") == CAM_OK);
    cr_assert(s.feed_max_bytes == 2 << 20);
    cr_assert(cam_settings_set(&s, "feed.max_bytes", "64k") == CAM_OK);
    cr_assert(s.feed_max_bytes == 64 << 10);
}
