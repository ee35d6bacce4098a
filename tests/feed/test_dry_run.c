/* The dry-run line is JSON with the promised keys, and safe to show. */
#include "feed/dry_run.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

Test(dry_run, keys_and_nulls) {
    struct cam_buffer out;
    struct cam_document document = {.id = "a", .text = "t", .text_bytes = 1};
    cam_buffer_init(&out, 4096);
    MUST(cam_dry_run_json(&document, &out));
    cr_assert_str_eq(
        out.data, "{\"id\":\"a\",\"url\":null,\"title\":null,\"published\":null,\"updated\":null,"
                  "\"author\":null,\"language\":null,\"domain\":null,\"text\":\"t\",\"html\":"
                  "null}");
    cam_buffer_release(&out);
}

Test(dry_run, P09_comes_back_and_holds_no_terminal_control) {
    static const char nasty[] = "q\" b\\ n\n t\t e\x1B]0; d\x7F c1\xC2\x9B bidi\xE2\x80\xAE\xE2\x81"
                                "\xA6 ls\xE2\x80\xA8 ok \xC3\xA9\xE2\x80\x94\xF0\x9F\x98\x80 %n";
    struct cam_buffer out;
    struct cam_document document = {
        .title = nasty, .text = nasty, .text_bytes = sizeof nasty - 1, .html = nasty};
    cam_buffer_init(&out, 4096);
    MUST(cam_dry_run_json(&document, &out));
    for (size_t i = 0; i < out.size; i++)
        cr_assert(out.data[i] < 0 || (out.data[i] >= 0x20 && out.data[i] != 0x7F));
    cr_assert_null(strstr(out.data, "\xC2\x9B"));
    cr_assert_null(strstr(out.data, "\xE2\x80\xAE"));
    cr_assert_null(strstr(out.data, "\xE2\x81\xA6"));
    cr_assert_not_null(strstr(out.data, "\xC3\xA9\xE2\x80\x94\xF0\x9F\x98\x80"));
    json_t *object = json_loadb(out.data, out.size, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(object);
    cr_assert_str_eq(json_string_value(json_object_get(object, "text")), nasty);
    cr_assert_str_eq(json_string_value(json_object_get(object, "html")), nasty);
    json_decref(object);
    cam_buffer_release(&out);
}

Test(dry_run, past_the_limit_nothing_changes) {
    struct cam_buffer out;
    struct cam_document document = {.text = "text", .text_bytes = 4};
    cam_buffer_init(&out, 40);
    MUST(cam_buffer_append_text(&out, "kept"));
    cr_assert_eq(cam_dry_run_json(&document, &out), CAM_ERR_DATA);
    cr_assert_str_eq(out.data, "kept");
    cam_buffer_release(&out);
}
