#include "feed/markup.h"

#include <string.h>

const char *cam_markup_local_name(const char *name) {
    const char *space = strrchr(name, ' ');
    return space ? space + 1 : name;
}

static int is_void(const char *local) {
    static const char *const names[] = {"area",  "base", "br",   "col",    "embed", "hr", "img",
                                        "input", "link", "meta", "source", "track", "wbr"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(local, names[i]) == 0)
            return 1;
    return 0;
}

enum cam_status cam_markup_text(struct cam_buffer *out, const char *text, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes;) {
        size_t from = at;
        while (at < n_bytes && text[at] != '&' && text[at] != '<' && text[at] != '>' &&
               text[at] != '"')
            at++;
        CAM_TRY(cam_buffer_append(out, text + from, at - from));
        if (at == n_bytes)
            break;
        char c = text[at++];
        CAM_TRY(cam_buffer_append_text(out, c == '&'   ? "&amp;"
                                            : c == '<' ? "&lt;"
                                            : c == '>' ? "&gt;"
                                                       : "&quot;"));
    }
    return CAM_OK;
}

enum cam_status cam_markup_start_tag(struct cam_buffer *out, const char *name,
                                     const char *const *attributes) {
    CAM_TRY(cam_buffer_append(out, "<", 1));
    CAM_TRY(cam_buffer_append_text(out, cam_markup_local_name(name)));
    for (; attributes[0]; attributes += 2) {
        CAM_TRY(cam_buffer_append(out, " ", 1));
        CAM_TRY(cam_buffer_append_text(out, cam_markup_local_name(attributes[0])));
        CAM_TRY(cam_buffer_append(out, "=\"", 2));
        CAM_TRY(cam_markup_text(out, attributes[1], strlen(attributes[1])));
        CAM_TRY(cam_buffer_append(out, "\"", 1));
    }
    return cam_buffer_append(out, ">", 1);
}

enum cam_status cam_markup_end_tag(struct cam_buffer *out, const char *name) {
    const char *local = cam_markup_local_name(name);
    return is_void(local) ? CAM_OK : cam_buffer_append_format(out, "</%s>", local);
}
