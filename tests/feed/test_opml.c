/* Lists of feeds: what is taken, and what is never acted on (P13). */
#include "feed/opml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static char taken[4096], ignored[4096];

static enum cam_status take(void *context, const char *url, const char *title) {
    (void)context;
    snprintf(taken + strlen(taken), sizeof taken - strlen(taken), "%s=%s;", title, url);
    return CAM_OK;
}

static enum cam_status ignore(void *context, const char *url, const char *why) {
    (void)context;
    cr_assert_neq(*why, '\0');
    snprintf(ignored + strlen(ignored), sizeof ignored - strlen(ignored), "%s;", url);
    return CAM_OK;
}

static enum cam_status read_opml(const char *opml) {
    struct cam_feed_limits limits;
    const struct cam_opml_sink sink = {take, ignore, NULL};
    *taken = *ignored = '\0';
    cam_feed_limits_init(&limits);
    return cam_opml_read(opml, strlen(opml), &limits, &sink);
}

Test(opml, nested_outlines) {
    MUST(read_opml(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><opml version=\"1.1\"><head>"
        "<title>x</title></head><body>"
        "<outline text=\"Folder\"><outline text=\"a\" title=\"A\" type=\"rss\" "
        "xmlUrl=\"http://a/f?x=1&amp;y=2\"/><outline text=\"in\"><outline text=\"caf\xE9\" "
        "xmlURL=\" https://b/ \"/></outline></outline>"
        "<outline type=\"rss\" xmlUrl=\"http://c/\" htmlUrl=\"http://c/h\"/>"
        "<outline text=\"no feed\"/></body></opml>"));
    cr_assert_str_eq(taken, "A=http://a/f?x=1&y=2;caf\xC3\xA9=https://b/;=http://c/;");
    cr_assert_str_eq(ignored, "");
}

Test(opml, P13_commands_are_ignored) {
    MUST(read_opml(
        "<opml><body><outline xmlUrl=\"exec:rm -rf ~\"/><outline xmlUrl=\"|script\"/>"
        "<outline xmlUrl=\"filter:cmd:http://x/\"/><outline xmlUrl=\"file:///etc/passwd\"/>"
        "<outline xmlUrl=\"javascript:x\"/><outline xmlUrl=\"feed.xml\"/>"
        "<outline xmlUrl=\"http://f/\" filtercmd=\"sh\"/>"
        "<outline xmlUrl=\"http://a b/\"/><outline xmlUrl=\"http://good/\"/></body>"
        "</opml>"));
    cr_assert_str_eq(taken, "=http://good/;");
    cr_assert_str_eq(ignored, "exec:rm -rf ~;|script;filter:cmd:http://x/;file:///etc/passwd;"
                              "javascript:x;feed.xml;http://f/;http://a b/;");
}

Test(opml, nearly_xml_is_repaired_and_taken_once) {
    MUST(read_opml("<opml><body><outline xmlUrl=\"http://a/\"/><outline text=\"B & C\" "
                   "xmlUrl=\"http://b/?x=1&y=2\"/></body></opml>"));
    cr_assert_str_eq(taken, "=http://a/;B & C=http://b/?x=1&y=2;");
}

Test(opml, what_is_no_list) {
    cr_assert_eq(read_opml("<rss/>"), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "<rss>"), "%s", cam_message());
    cr_assert_eq(read_opml(""), CAM_ERR_DATA);
    cr_assert_eq(read_opml("<opml><body><outline xmlUrl=\"http://a/\"/></opml>"), CAM_ERR_DATA);
    cr_assert_str_eq(taken, "=http://a/;");
    cr_assert_eq(read_opml("<!DOCTYPE opml [<!ENTITY x \"y\">]><opml/>"), CAM_ERR_DATA);
}

Test(opml, P03_is_bounded) {
    static char deep[200000];
    size_t n = (size_t)sprintf(deep, "<opml><body>");
    while (n < sizeof deep - 100)
        n += (size_t)sprintf(deep + n, "<outline>");
    cr_assert_eq(read_opml(deep), CAM_ERR_DATA);
    cr_assert(strstr(cam_message(), "deeper"), "%s", cam_message());
}
