/* What a feed's head asks of those who poll it. */
#include "feed/feed.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct cam_feed_hints read_hints(const char *text) {
    struct cam_feed_hints hints;
    cam_feed_hints_read(text, strlen(text), NULL, &hints);
    return hints;
}

#define RSS(head)                                                                                  \
    "<?xml version=\"1.0\"?><rss version=\"2.0\"><channel><title>t</title>" head                   \
    "<item><title>x</title></item></channel></rss>"

Test(hints, ttl_is_minutes) {
    cr_assert_eq(read_hints(RSS("<ttl>90</ttl>")).ttl_s, 5400);
    cr_assert_eq(read_hints(RSS("<ttl> 5\n</ttl>")).ttl_s, 300);
    static const char *const absurd[] = {
        RSS("<ttl>0</ttl>"),
        RSS("<ttl>-5</ttl>"),
        RSS("<ttl>soon</ttl>"),
        RSS("<ttl/>"),
        RSS("<ttl>1e9</ttl>"),
        RSS("<ttl>99999999999999999999</ttl>"),
        RSS(""),
        RSS("<x><ttl>5</ttl></x>"),
    };
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++)
        cr_assert_eq(read_hints(absurd[i]).ttl_s, 0, "%s", absurd[i]);
}

Test(hints, hours_and_days_to_skip) {
    struct cam_feed_hints h = read_hints(
        RSS("<skipHours><hour>0</hour><hour>5</hour><hour>23</hour><hour>77</hour></skipHours>"
            "<skipDays><day>Saturday</day><day>sunday</day><day>Someday</day></skipDays>"));
    cr_assert_eq(h.skip_hours, 1u | 1u << 5 | 1u << 23);
    cr_assert_eq(h.skip_days, 1u | 1u << 6);
    cr_assert_eq(read_hints(RSS("<skipHours><hour>24</hour></skipHours>")).skip_hours, 1u,
                 "RSS 0.91 says 24 for midnight");
    cr_assert_eq(read_hints(RSS("<hour>3</hour><x><hour>3</hour></x>")).skip_hours, 0u);
}

Test(hints, the_syndication_module) {
    static const char rdf[] =
        "<rdf:RDF xmlns:rdf=\"r\" xmlns:sy=\"s\"><channel><sy:updatePeriod>daily</sy:updatePeriod>"
        "<sy:updateFrequency>4</sy:updateFrequency></channel><item/></rdf:RDF>";
    cr_assert_eq(read_hints(rdf).ttl_s, 21600);
    cr_assert_eq(read_hints(RSS("<sy:updatePeriod>\n hourly\t</sy:updatePeriod>")).ttl_s, 3600);
    cr_assert_eq(read_hints(RSS("<sy:updatePeriod>weekly</sy:updatePeriod><ttl>1</ttl>")).ttl_s, 60,
                 "ttl is the feed's own word");
    cr_assert_eq(read_hints("<feed><updatePeriod>daily</updatePeriod><entry/></feed>").ttl_s,
                 86400);
}

Test(hints, only_the_head_is_read) {
    cr_assert_eq(
        read_hints("<rss><channel><item><ttl>5</ttl></item><ttl>5</ttl></channel></rss>").ttl_s, 0);
    cr_assert_eq(read_hints("<rss><channel><ttl>5</ttl><item><<<&&& broken").ttl_s, 300);
    cr_assert_eq(read_hints("").ttl_s, 0);
    cr_assert_eq(read_hints("{\"ttl\": 5}").ttl_s, 0);
    cr_assert_eq(read_hints("<!DOCTYPE x [<!ENTITY a \"5\">]><rss><channel><ttl>&a;</ttl>").ttl_s,
                 0, "P01: no document type is read");
}

Test(hints, P03_deep_and_long_heads_cost_little) {
    size_t n = 4u << 20;
    char *text = malloc(n + 1);
    struct cam_feed_hints hints;
    memset(text, ' ', n);
    for (size_t i = 0; i + 3 <= n; i += 3)
        memcpy(text + i, "<a>", 3);
    text[n] = '\0';
    cam_feed_hints_read(text, n, NULL, &hints);
    cr_assert_eq(hints.ttl_s, 0);
    free(text);
}
