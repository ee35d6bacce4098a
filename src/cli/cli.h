/* cli.h - what every subcommand shares.
 *
 * To add a command: see commands.def.  A command parses its options with cam_cli_next, writes data
 * to stdout and talk to stderr (cam_log, cam_cli_say), and returns a status: main prints the
 * message as "cambium: MESSAGE" and exits with the status's sysexits code.  A command that changes
 * something does it through cli/reach.h, so that it works beside a running service.  Text that came
 * from a document reaches stdout through cam_neutral_text or as JSON, never raw. */
#ifndef CAM_CLI_CLI_H
#define CAM_CLI_CLI_H

#include "base/status.h"
#include "run/service.h"
#include "store/query.h"
#include "store/workspace.h"

#include <getopt.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define CAM_CLI_FEED_INTERVAL_S 3600 /* between polls, unless said otherwise */

struct cam_cli {
    const char *dir; /* the workspace: -C, else $CAMBIUM_DIR, else "." */
    int argc;        /* of the command; argv[0] is its name */
    char **argv;
};

struct cam_command {
    const char *name;
    const char *summary; /* one sentence, for `cambium help` */
    const char *help;    /* usage, options, examples, see also */
    enum cam_status (*run)(struct cam_cli *cli);
};

#define CAM_COMMAND(name) extern const struct cam_command cam_command_##name;
#include "cli/commands.def"
#undef CAM_COMMAND

/* ---- options ---- */

/* The next option as getopt_long gives it, or -1 at the end.  SHORTS and LONGS list the command's
 * own; -C DIR is taken here.  '?' after a bad one: return the usage error with cam_cli_bad. */
int cam_cli_next(struct cam_cli *cli, const char *shorts, const struct option *longs);
CAM_MUST_USE enum cam_status cam_cli_bad(const struct cam_cli *cli);
/* Arguments that are left: between LEAST and MOST of them, else a usage error that says WHAT. */
CAM_MUST_USE enum cam_status cam_cli_arguments(const struct cam_cli *cli, int least, int most,
                                               const char *what);
const char *cam_cli_argument(const struct cam_cli *cli, int i); /* i-th one left, or NULL */

CAM_MUST_USE enum cam_status cam_cli_number(const char *option, const char *text, int64_t least,
                                            int64_t most, int64_t *number);
CAM_MUST_USE enum cam_status cam_cli_real(const char *option, const char *text, double least,
                                          double most, double *number);
/* "90s", "30m", "6h", "2d" -> seconds. */
CAM_MUST_USE enum cam_status cam_cli_duration(const char *option, const char *text,
                                              int64_t *seconds);

/* A list of texts given by a repeated option; borrows them.  `items` ends with NULL. */
#define CAM_CLI_LIST_ITEMS 64
struct cam_cli_list {
    const char *items[CAM_CLI_LIST_ITEMS + 1];
    size_t n;
};
CAM_MUST_USE enum cam_status cam_cli_list_add(struct cam_cli_list *list, const char *option,
                                              const char *text);

/* `--set KEY=VALUE`. */
CAM_MUST_USE enum cam_status cam_cli_set(struct cam_settings *settings, const char *text);

/* ---- output ---- */

/* One line of talk to stderr. */
void cam_cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Takes JSON over and prints it, one object a line, everything but ASCII escaped; NULL (no memory)
 * is an error. */
CAM_MUST_USE enum cam_status cam_cli_print_json(json_t *json);
json_t *cam_cli_json_real(double value);     /* null if it is not finite */
json_t *cam_cli_json_text(const char *text); /* null if it is NULL or "" */
/* A row of a query as one JSON object: column names are its keys. */
CAM_MUST_USE enum cam_status cam_cli_print_row(const struct cam_value *row, size_t n);
json_t *cam_cli_json_row(const struct cam_value *row, size_t n);
/* "1,234" and "1.2 M" style; each in one of a few static buffers, good for one printf. */
const char *cam_cli_grouped(int64_t n);
const char *cam_cli_counted(int64_t n, const char *noun); /* "1 document", "1,234 documents" */
const char *cam_cli_short(double n);

/* ---- progress: a line that rewrites itself on a terminal, a log line a minute elsewhere ---- */

void cam_talk_init(void); /* log lines and progress share stderr from here on */
/* For cam_service_options.progress. */
void cam_talk_progress(void *context, const struct cam_progress *progress);
void cam_talk_end(void); /* ends the line, if one is open */
/* What main says of a command that failed. */
void cam_talk_failure(const char *message);

/* ---- the workspace ---- */

/* Opens the workspace to read or write; main closes nothing: the command does. */
CAM_MUST_USE enum cam_status cam_cli_open(const struct cam_cli *cli, enum cam_workspace_mode mode,
                                          struct cam_workspace **workspace);

/* Workspace and trainer together. */
struct cam_cli_session {
    struct cam_workspace *workspace;
    struct cam_trainer *trainer;
    struct cam_database *database;
};
CAM_MUST_USE enum cam_status cam_cli_begin(const struct cam_cli *cli, enum cam_workspace_mode mode,
                                           struct cam_cli_session *session);
/* Opens the trainer of a session whose workspace is open. */
CAM_MUST_USE enum cam_status cam_cli_attach(const struct cam_cli *cli,
                                            struct cam_cli_session *session);
void cam_cli_end(struct cam_cli_session *session);

#endif
