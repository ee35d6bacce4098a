/* RFC 9309: whose rules count, which rule wins, and that no file takes long. */
#include "feed/robots.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int allowed(const char *text, const char *path) {
    struct cam_robots robots;
    char url[512] = "https://user:pw@example.org:8080";
    cr_assert_eq(cam_robots_read(text, strlen(text), "cambium", &robots), CAM_OK);
    int yes = cam_robots_allow(&robots, strcat(url, path));
    cam_robots_release(&robots);
    return yes;
}

Test(robots, N18_the_group_that_names_us_counts_and_else_the_one_for_all) {
    static const char text[] = "User-agent: *\nDisallow: /\n\nUser-Agent: Cambium/2.0 # us\n"
                               "user-agent: other\nDisallow: /private\n";
    cr_assert(allowed(text, "/a"));
    cr_assert(!allowed(text, "/private/x"));
    cr_assert(!allowed("User-agent: *\nDisallow: /\n\nUser-agent: cambiumbot\nAllow: /\n", "/a"));
    cr_assert(!allowed("User-agent: cambium\nDisallow: /a\nUser-agent: b\nAllow: /a\n"
                       "User-agent: CAMBIUM\nDisallow: /c\n",
                       "/c"),
              "groups of one name are one");
    cr_assert(allowed("Disallow: /\nUser-agent: *\nAllow: /\n", "/a"), "rules of nobody");
    cr_assert(allowed("User-agent: *\nDisallow:\n", "/a"), "an empty rule forbids nothing");
    cr_assert(allowed("", "/a") && allowed("<html>not found</html>", "/a"));
    cr_assert(!allowed("\xEF\xBB\xBFUser-agent:*\rDisallow:/a\r", "/a"), "mark, old line ends");
}

Test(robots, the_longest_rule_wins_and_allow_in_a_tie) {
    /* The examples of RFC 9309, section 5.2, and of its 2.2.3. */
    static const char text[] = "User-Agent: cambium\nAllow: /example/page/\nDisallow: "
                               "/example/page/disallowed.gif\n";
    cr_assert(allowed(text, "/example/page/"));
    cr_assert(!allowed(text, "/example/page/disallowed.gif"));
    cr_assert(allowed("User-agent: *\nDisallow: /a\nAllow: /a\n", "/a"));
    cr_assert(allowed("User-agent: *\nAllow: /a\nDisallow: /a\n", "/a"));
    static const char stars[] = "User-agent: *\nAllow: /this/*/exactly\nDisallow: /this/\n"
                                "Disallow: /*.gif$\n";
    cr_assert(allowed(stars, "/this/path/exactly/right"));
    cr_assert(!allowed(stars, "/this/path"));
    cr_assert(!allowed(stars, "/x.gif") && allowed(stars, "/x.gif?size=1"));
    cr_assert(!allowed("User-agent: *\nDisallow: /*/a*b$\n", "/x/a/b/a_b"));
    cr_assert(allowed("User-agent: *\nDisallow: /\n", "/robots.txt"));
    cr_assert(!allowed("User-agent: *\nDisallow: /\n", "") &&
              !allowed("User-agent: *\nDisallow: /\n", "?q"));
}

Test(robots, escapes_and_characters_are_the_same) {
    cr_assert(!allowed("User-agent: *\nDisallow: /a%3cd.html\n", "/a%3Cd.html"));
    cr_assert(!allowed("User-agent: *\nDisallow: /%7Ejoe/\n", "/~joe/index.html"));
    cr_assert(!allowed("User-agent: *\nDisallow: /b\xC3\xBC\n", "/b%C3%BC/1"));
    cr_assert(allowed("User-agent: *\nDisallow: /a%2Fb\n", "/a/b"), "a slash is not its escape");
    cr_assert(allowed("User-agent: *\nDisallow: /100%\n", "/100"));
}

Test(robots, crawl_delay_is_read_and_bounded) {
    struct cam_robots robots;
    static const char text[] = "User-agent: *\nCrawl-delay: 2.5\nUser-agent: z\nCrawl-delay: 9\n";
    cr_assert_eq(cam_robots_read(text, strlen(text), "cambium", &robots), CAM_OK);
    cr_assert_eq(robots.delay_s, 3);
    cam_robots_release(&robots);
    static const char absurd[] = "User-agent: cambium\nCrawl-delay: 1e300\n";
    cr_assert_eq(cam_robots_read(absurd, strlen(absurd), "cambium", &robots), CAM_OK);
    cr_assert_eq(robots.delay_s, CAM_ROBOTS_MAX_DELAY_S);
    cam_robots_release(&robots);
}

Test(robots, a_hostile_file_is_bounded_in_time_and_memory, .timeout = 60) {
    size_t n = 4 * CAM_ROBOTS_MAX_BYTES, used = 0;
    char *text = malloc(n + 64);
    struct cam_robots robots;
    used += (size_t)sprintf(text, "User-agent: *\n");
    while (used < n)
        used += (size_t)sprintf(text + used, "Disallow: /*a*a*a*a*a*a*a*a*a*b$\n");
    cr_assert_eq(cam_robots_read(text, used, "cambium", &robots), CAM_OK);
    cr_assert_leq(robots.n_rules, CAM_ROBOTS_MAX_RULES);
    char *url = malloc(9000);
    strcpy(url, "http://h/");
    memset(url + 9, 'a', 8000);
    url[8009] = '\0';
    cr_assert(cam_robots_allow(&robots, url));
    cam_robots_release(&robots);
    memset(text, '%', n);
    cr_assert_eq(cam_robots_read(text, n, "cambium", &robots), CAM_OK);
    cr_assert_eq(robots.n_rules, 0u);
    cam_robots_release(&robots);
    free(url);
    free(text);
}

Test(robots, it_lies_at_the_root_of_the_host) {
    char out[64];
    cr_assert_str_eq(cam_robots_url("https://u:p@h.example:81/a/b?c#d", out, sizeof out),
                     "https://h.example:81/robots.txt");
    cr_assert_str_eq(cam_robots_url("http://[::1]?q", out, sizeof out), "http://[::1]/robots.txt");
    cr_assert_str_eq(cam_robots_url("mailto:a@b", out, sizeof out), "");
    cr_assert_str_eq(cam_robots_url("http://", out, sizeof out), "");
    cr_assert_str_eq(
        cam_robots_url("http://a-name-that-is-far-too-long-for-what-there-is.example/x", out, 32),
        "");
}
