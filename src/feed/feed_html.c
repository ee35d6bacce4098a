/* One HTML page is one document: its main text, or all of it but what is around its content where
 * the main text cannot be told.  Only where pages are accepted (ingest) or asked for (--format
 * html): a page in place of a feed is most often a login form. */
#include "feed/draft.h"
#include "feed/feed_formats.h"
#include "feed/feed_xml.h"
#include "feed/html.h"
#include "feed/page_head.h"
#include "text/clean.h"

#include <string.h>
#include <strings.h>

static enum cam_status set_fields(struct cam_draft *draft, const struct cam_page_head *head,
                                  const char *base) {
    const struct {
        enum cam_field field;
        const struct cam_buffer *value;
    } fields[] = {
        {CAM_FIELD_TITLE, &head->title},     {CAM_FIELD_URL, &head->url},
        {CAM_FIELD_AUTHOR, &head->author},   {CAM_FIELD_PUBLISHED, &head->published},
        {CAM_FIELD_UPDATED, &head->updated}, {CAM_FIELD_LANGUAGE, &head->language},
    };
    if (base)
        CAM_TRY(cam_draft_set(draft, CAM_FIELD_URL, base, strlen(base)));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].value->size)
            CAM_TRY(cam_draft_set(draft, fields[i].field, fields[i].value->data,
                                  fields[i].value->size));
    return CAM_OK;
}

static enum cam_status fill(struct cam_draft *draft, const struct cam_feed_input *input) {
    struct cam_page_head head;
    struct cam_buffer text;
    cam_buffer_init(&text, draft->limits->max_document_bytes);
    enum cam_status status = cam_page_head_read(input->bytes, input->n_bytes, input->base,
                                                draft->limits->max_field_bytes, &head);
    if (status == CAM_OK)
        status = set_fields(draft, &head, input->base);
    cam_page_head_release(&head);
    if (status == CAM_OK) /* checks the size, and makes it what html.h wants */
        status = cam_draft_set_html(draft, input->bytes, input->n_bytes);
    const char *html = draft->html.data ? draft->html.data : "";
    if (status == CAM_OK)
        status = cam_html_main_text(html, draft->html.size, &text);
    if (status == CAM_OK && text.size == 0 && !input->main_text_only)
        status = cam_html_page_to_text(html, draft->html.size, &text);
    if (status == CAM_OK)
        status = cam_draft_set_text(draft, text.data ? text.data : "", text.size);
    cam_buffer_release(&text);
    return status;
}

static enum cam_status read_html(const struct cam_feed_input *input,
                                 const struct cam_feed_limits *limits,
                                 const struct cam_document_sink *sink) {
    struct cam_draft draft;
    cam_draft_init(&draft, limits);
    draft.was_repaired = input->n_replaced > 0;
    enum cam_status status = fill(&draft, input);
    status = status == CAM_OK ? cam_draft_deliver(&draft, "page", sink)
                              : cam_draft_reject(status, "page", sink);
    cam_draft_release(&draft);
    return status;
}

static enum cam_status read_title(const struct cam_feed_input *input,
                                  const struct cam_feed_limits *limits, struct cam_buffer *title) {
    struct cam_page_head head;
    enum cam_status status = cam_page_head_read(input->bytes, input->n_bytes, input->base,
                                                limits->max_field_bytes, &head);
    if (status == CAM_OK && head.title.size)
        status = cam_clean_line(head.title.data, head.title.size, title, NULL);
    cam_page_head_release(&head);
    return status;
}

static enum cam_feed_sniff sniff(const char *bytes, size_t n_bytes, const char *content_type) {
    static const char doctype[] = "<!doctype html";
    char root[CAM_XML_ROOT_BYTES];
    size_t at = 0;
    cam_feed_xml_root(bytes, n_bytes, root);
    if (strcmp(root, "html") == 0)
        return CAM_SNIFF_SURE;
    while (at < n_bytes && bytes[at] && strchr(" \t\r\n", bytes[at]))
        at++;
    if (n_bytes - at >= sizeof doctype - 1 &&
        strncasecmp(bytes + at, doctype, sizeof doctype - 1) == 0)
        return CAM_SNIFF_SURE;
    return strcmp(content_type, "text/html") == 0 ||
                   strcmp(content_type, "application/xhtml+xml") == 0
               ? CAM_SNIFF_LIKELY
               : CAM_SNIFF_NO;
}

const struct cam_feed_format cam_feed_format_html = {
    .name = "html",
    .sniff = sniff,
    .read = read_html,
    .title = read_title,
    .decoded = 1,
    .is_page = 1,
};
