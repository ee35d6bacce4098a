/* `feed import-opml FILE`: the feeds of another reader become feeds of this workspace. */
#include "cli/feed_opml.h"

#include "base/fs.h"
#include "base/log.h"
#include "feed/fetch.h"
#include "feed/opml.h"
#include "store/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPML_BYTES ((size_t)64 << 20)

struct import {
    struct cam_database *database;
    int64_t interval_s, n_feeds, n_ignored;
};

static enum cam_status take_feed(void *context, const char *url, const char *title) {
    struct import *import = context;
    import->n_feeds++;
    return cam_feeds_add(import->database, url, *title ? title : NULL, NULL, import->interval_s,
                         NULL);
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

static enum cam_status import_bytes(struct cam_cli *cli, const char *path, const char *bytes,
                                    size_t n_bytes, struct import *import) {
    struct cam_workspace *workspace = NULL;
    struct cam_feed_limits limits;
    const struct cam_opml_sink sink = {take_feed, tell_ignored, import};
    cam_feed_limits_init(&limits);
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_WRITE, &workspace));
    import->database = cam_workspace_database(workspace);
    enum cam_status status = cam_opml_read(bytes, n_bytes, &limits, &sink);
    cam_workspace_close(workspace);
    return status == CAM_ERR_DATA ? cam_context(status, "%s", path) : status;
}

enum cam_status cam_cli_import_opml(struct cam_cli *cli, int64_t interval_s) {
    struct import import = {.interval_s = interval_s};
    char *bytes = NULL;
    size_t n_bytes = 0;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a file: feed import-opml FILE"));
    const char *path = cam_cli_argument(cli, 1);
    CAM_TRY(cam_fs_read_file(cam_fs_system(), path, MAX_OPML_BYTES, &bytes, &n_bytes));
    enum cam_status status = import_bytes(cli, path, bytes, n_bytes, &import);
    free(bytes);
    CAM_TRY(status);
    cam_cli_say("%s: %lld feeds, %lld outlines ignored", path, (long long)import.n_feeds,
                (long long)import.n_ignored);
    return CAM_OK;
}
