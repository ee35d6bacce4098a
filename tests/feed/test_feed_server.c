/* The feed-server program: serves, answers 304, stays inside its directory, ends at SIGTERM. */
#include "feed/fetch.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call) cr_assert_eq((call), CAM_OK, "%s", cam_message())

static const char *const loopback[] = {"127.0.0.1", NULL};
static char base[128];

/* Starts the program on DIRECTORY and waits for the line that says it is ready. */
static pid_t start(const char *directory) {
    int out[2];
    char line[128];
    cr_assert_eq(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execl(CAM_FEED_SERVER, "feed-server", "--port", "0", directory, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *file = fdopen(out[0], "r");
    cr_assert_not_null(fgets(line, sizeof line, file));
    fclose(file);
    cr_assert_eq(sscanf(line, "listening on %127s", base), 1, "%s", line);
    return pid;
}

static enum cam_status get(const char *path, const char *etag, const char *last_modified,
                           struct cam_fetch_result *result) {
    struct cam_fetch_request request;
    char url[256];
    snprintf(url, sizeof url, "%s%s", base, path);
    cam_fetch_request_init(&request, url);
    request.allow = loopback;
    request.etag = etag;
    request.last_modified = last_modified;
    return cam_fetch(&request, result);
}

Test(feed_server, serves_and_revalidates) {
    struct cam_fetch_result first, again;
    pid_t pid = start(CAM_TEST_DATA "/feed");
    MUST(get("mixed.ndjson", NULL, NULL, &first));
    cr_assert_str_eq(first.content_type, "application/x-ndjson");
    cr_assert_eq(strncmp(first.body.data, "{\"id\":\"1\"", 9), 0);
    MUST(get("mixed.ndjson", first.etag, NULL, &again));
    cr_assert_eq(again.not_modified, 1);
    cam_fetch_result_release(&again);
    MUST(get("mixed.ndjson", NULL, first.last_modified, &again));
    cr_assert_eq(again.not_modified, 1);
    cam_fetch_result_release(&again);
    MUST(get("mixed.ndjson", "\"other\"", first.last_modified, &again));
    cr_assert_eq(again.not_modified, 0);
    cam_fetch_result_release(&again);
    cam_fetch_result_release(&first);
    static const char *const missing[] = {
        "", "none.xml", "../feed/mixed.ndjson", "%2e%2e/feed/mixed.ndjson", ".", "a//b"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        cr_assert_eq(get(missing[i], NULL, NULL, &again), CAM_ERR_NOINPUT, "%s", missing[i]);
        cam_fetch_result_release(&again);
    }
    int code = -1;
    kill(pid, SIGTERM);
    cr_assert_eq(waitpid(pid, &code, 0), pid);
    cr_assert(WIFEXITED(code) && WEXITSTATUS(code) == 0);
}
