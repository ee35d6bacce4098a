/* robots.txt: bounded whatever comes in, other agents' rules are not ours, and the matcher does
 * what a table of all prefixes says. */
#include "feed/robots.h"
#include "fuzz.h"

#include "base/buffer.h"

#include <stdio.h>

#define MAX_SIDE 48 /* of a pattern or a path that is compared with the table */

/* Whether PATTERN matches PATH, by filling in "the first i of one match the first j of the other";
 * without a '$' at the end it need not reach the path's end. */
static int matches_by_table(const char *pattern, size_t n_pattern, const char *path,
                            size_t n_path) {
    unsigned char table[MAX_SIDE + 2][MAX_SIDE + 2] = {{1}};
    int to_end = n_pattern > 0 && pattern[n_pattern - 1] == '$';
    n_pattern -= (size_t)to_end;
    for (size_t i = 1; i <= n_pattern; i++)
        for (size_t j = 0; j <= n_path; j++)
            table[i][j] = pattern[i - 1] == '*'
                              ? table[i - 1][j] || (j && table[i][j - 1])
                              : j && table[i - 1][j - 1] && pattern[i - 1] == path[j - 1];
    int any = table[n_pattern][n_path];
    for (size_t j = 0; !to_end && j < n_path; j++)
        any |= table[n_pattern][j];
    return any;
}

/* The first half of the bytes as a pattern, the other as a path, both of few letters. */
static void check_matcher(const uint8_t *bytes, size_t n_bytes) {
    char file[128] = "User-agent: *\nDisallow: /", url[128] = "http://host/";
    size_t n_pattern = n_bytes / 2 < MAX_SIDE ? n_bytes / 2 : MAX_SIDE;
    size_t n_path = n_bytes - n_bytes / 2 < MAX_SIDE ? n_bytes - n_bytes / 2 : MAX_SIDE;
    char *pattern = strchr(file, '/'), *path = strchr(url + 7, '/');
    struct cam_robots robots = {0};
    for (size_t i = 0; i < n_pattern; i++)
        pattern[1 + i] = "ab/*$"[bytes[i] % 5];
    for (size_t i = 0; i < n_path; i++)
        path[1 + i] = "ab/$"[bytes[n_bytes / 2 + i] % 4];
    if (cam_robots_read(file, strlen(file), "cambium", &robots) != CAM_OK)
        return;
    fuzz_expect(cam_robots_allow(&robots, url) ==
                !matches_by_table(pattern, 1 + n_pattern, path, 1 + n_path));
    cam_robots_release(&robots);
}

static void ask(const struct cam_robots *robots, const char *text, size_t n) {
    char url[4096], out[256];
    snprintf(url, sizeof url, "http://host%.*s", (int)(n < 4000 ? n : 4000), text);
    int allows = cam_robots_allow(robots, url);
    fuzz_expect(allows == 0 || allows == 1);
    fuzz_expect(strlen(cam_robots_url(url, out, sizeof out)) < sizeof out);
}

/* After a group of our own that allows everything, nothing that is said to others forbids. */
static void check_groups(const uint8_t *bytes, size_t n_bytes) {
    static const char first[] = "User-agent: cambium\nDisallow:\nUser-agent: other\nDisallow: /\n";
    struct cam_robots robots = {0};
    struct cam_buffer file;
    cam_buffer_init(&file, CAM_ROBOTS_MAX_BYTES);
    if (cam_buffer_append(&file, first, sizeof first - 1) == CAM_OK &&
        cam_buffer_append(&file, (const char *)bytes, n_bytes) == CAM_OK &&
        strlen(file.data) == file.size && /* else names may hide behind a NUL */
        !strcasestr(file.data + sizeof first - 1, "cambium") &&
        cam_robots_read(file.data, file.size, "cambium", &robots) == CAM_OK)
        fuzz_expect(robots.n_rules == 0 && cam_robots_allow(&robots, "http://host/a/b?c"));
    cam_robots_release(&robots);
    cam_buffer_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    struct cam_robots robots = {0};
    if (cam_robots_read((const char *)bytes, n_bytes, "cambium", &robots) != CAM_OK)
        return 0;
    fuzz_expect(robots.n_rules <= CAM_ROBOTS_MAX_RULES);
    fuzz_expect(robots.delay_s >= 0 && robots.delay_s <= CAM_ROBOTS_MAX_DELAY_S);
    fuzz_expect(cam_robots_allow(&robots, "https://host/robots.txt"));
    char text[1024];
    size_t n = n_bytes < sizeof text - 1 ? n_bytes : sizeof text - 1;
    memcpy(text, bytes + n_bytes - n, n);
    text[n] = '\0';
    ask(&robots, text, n);
    cam_robots_release(&robots);
    check_groups(bytes, n_bytes);
    check_matcher(bytes, n_bytes);
    return 0;
}
