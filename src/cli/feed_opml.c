/* `feed import-opml FILE`: the feeds of another reader become feeds of this workspace. */
#include "cli/feed_opml.h"

#include "base/fs.h"
#include "base/log.h"
#include "cli/reach.h"
#include "feed/fetch.h"
#include "feed/opml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPML_BYTES ((size_t)64 << 20)

#define BATCH_FEEDS 500 /* added at a time: a request to a running service is bounded */

struct import {
    const struct cam_cli *cli;
    json_t *feeds; /* not added yet */
    int64_t interval_s, n_feeds, n_ignored;
};

static enum cam_status add_batch(struct import *import) {
    json_t *feeds = import->feeds;
    import->feeds = NULL;
    if (!feeds)
        return CAM_OK;
    return cam_reach_do(
        import->cli, "feed.import",
        json_pack("{s:o,s:I}", "feeds", feeds, "interval_s", (json_int_t)import->interval_s));
}

static enum cam_status take_feed(void *context, const char *url, const char *title) {
    struct import *import = context;
    import->n_feeds++;
    if (!import->feeds)
        import->feeds = json_array();
    if (json_array_append_new(
            import->feeds, json_pack("{s:s,s:s*}", "url", url, "name", *title ? title : NULL)) != 0)
        return cam_fail(CAM_ERR_OS, "no memory for %lld feeds", (long long)import->n_feeds);
    return json_array_size(import->feeds) < BATCH_FEEDS ? CAM_OK : add_batch(import);
}

static enum cam_status tell_ignored(void *context, const char *url, const char *why) {
    struct import *import = context;
    char shown[300], masked[300];
    import->n_ignored++;
    cam_cli_say("ignored %s: %s",
                cam_neutral_text(cam_url_mask(url, masked, sizeof masked), shown, sizeof shown),
                why);
    return CAM_OK;
}

/* What was read before a file turned out broken is added. */
static enum cam_status import_bytes(const char *path, const char *bytes, size_t n_bytes,
                                    struct import *import) {
    struct cam_feed_limits limits;
    char message[1024];
    const struct cam_opml_sink sink = {take_feed, tell_ignored, import};
    cam_feed_limits_init(&limits);
    enum cam_status read = cam_opml_read(bytes, n_bytes, &limits, &sink);
    snprintf(message, sizeof message, "%s", cam_message());
    enum cam_status status = add_batch(import);
    if (read == CAM_OK)
        return status;
    return read == CAM_ERR_DATA ? cam_fail(read, "%s: %s", path, message)
                                : cam_fail(read, "%s", message);
}

enum cam_status cam_cli_import_opml(struct cam_cli *cli, int64_t interval_s) {
    struct import import = {.cli = cli, .interval_s = interval_s};
    char *bytes = NULL;
    size_t n_bytes = 0;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a file: feed import-opml FILE"));
    const char *path = cam_cli_argument(cli, 1);
    CAM_TRY(cam_fs_read_file(cam_fs_system(), path, MAX_OPML_BYTES, &bytes, &n_bytes));
    enum cam_status status = import_bytes(path, bytes, n_bytes, &import);
    free(bytes);
    CAM_TRY(status);
    cam_cli_say("%s: %lld feeds, %lld outlines ignored", path, (long long)import.n_feeds,
                (long long)import.n_ignored);
    return CAM_OK;
}
