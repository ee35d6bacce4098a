/* opml.h - a list of feeds as other readers export it (OPML 1.0 to 2.0).
 *
 * An <outline> with an xmlUrl is a feed, however deep it is nested; one without is a folder.  What
 * some readers put there to be run (exec:, "|script", filter commands) and addresses that are not
 * http or https are never acted on, only reported. */
#ifndef CAM_FEED_OPML_H
#define CAM_FEED_OPML_H

#include "base/status.h"
#include "feed/feed.h"

struct cam_opml_sink {
    /* TITLE: one clean line, "" if it has none.  A status other than CAM_OK stops the reader. */
    enum cam_status (*feed)(void *context, const char *url, const char *title);
    /* An outline that is no feed we may read; URL may hold anything (show it neutralised). */
    enum cam_status (*ignored)(void *context, const char *url, const char *why);
    void *context;
};

/* Reads BYTES in any encoding.  Limits are those of feeds: max_entries outlines, max_depth,
 * max_field_bytes an address.  A file that is no XML in the middle hands on what came before and
 * fails with CAM_ERR_DATA, as does one whose root is not <opml>. */
CAM_MUST_USE enum cam_status cam_opml_read(const char *bytes, size_t n_bytes,
                                           const struct cam_feed_limits *limits,
                                           const struct cam_opml_sink *sink);

#endif
