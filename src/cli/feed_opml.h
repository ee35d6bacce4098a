/* feed_opml.h - part of the command `feed`. */
#ifndef CAM_CLI_FEED_OPML_H
#define CAM_CLI_FEED_OPML_H

#include "cli/cli.h"

/* The argument behind "import-opml" names the file; every feed in it is polled every INTERVAL_S. */
CAM_MUST_USE enum cam_status cam_cli_import_opml(struct cam_cli *cli, int64_t interval_s);

#endif
