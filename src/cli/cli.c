#include "cli/cli.h"

#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

#define MAX_LONGS 24

int cam_cli_next(struct cam_cli *cli, const char *shorts, const struct option *longs) {
    static const struct option none[] = {{0}};
    char all[64];
    opterr = 0;
    /* ":" first: a missing value is told apart from an unknown option. */
    snprintf(all, sizeof all, ":C:%s", shorts);
    for (;;) {
        int found = getopt_long(cli->argc, cli->argv, all, longs ? longs : none, NULL);
        if (found != 'C')
            return found == ':' ? '?' : found;
        cli->dir = optarg;
    }
}

enum cam_status cam_cli_bad(const struct cam_cli *cli) {
    int at = optind - 1;
    const char *given = at > 0 && at < cli->argc ? cli->argv[at] : "";
    if (optopt > 0 && optopt < 128 && given[0] == '-' && given[1] != '-' && given[1] != '\0' &&
        !strchr(given, optopt))
        given = "option";
    return cam_fail(CAM_ERR_USAGE,
                    "%s: %.64s is not an option or lacks its value; see: cambium help %s",
                    cli->argv[0], given, cli->argv[0]);
}

enum cam_status cam_cli_arguments(const struct cam_cli *cli, int least, int most,
                                  const char *what) {
    int n = cli->argc - optind;
    if (n >= least && n <= most)
        return CAM_OK;
    if (n > most && most == 0)
        return cam_fail(CAM_ERR_USAGE, "%s takes no argument \"%.64s\"; see: cambium help %s",
                        cli->argv[0], cli->argv[optind], cli->argv[0]);
    return cam_fail(CAM_ERR_USAGE, "%s needs %s; see: cambium help %s", cli->argv[0], what,
                    cli->argv[0]);
}

const char *cam_cli_argument(const struct cam_cli *cli, int i) {
    return optind + i < cli->argc ? cli->argv[optind + i] : NULL;
}

enum cam_status cam_cli_number(const char *option, const char *text, int64_t least, int64_t most,
                               int64_t *number) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < least || value > most)
        return cam_fail(CAM_ERR_USAGE, "%s %.32s: must be a whole number from %lld to %lld", option,
                        text, (long long)least, (long long)most);
    *number = value;
    return CAM_OK;
}

enum cam_status cam_cli_real(const char *option, const char *text, double least, double most,
                             double *number) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        return cam_fail(CAM_ERR_USAGE, "%s %.32s: must be a number from %g to %g", option, text,
                        least, most);
    *number = value;
    return CAM_OK;
}

enum cam_status cam_cli_duration(const char *option, const char *text, int64_t *seconds) {
    static const char units[] = "smhd";
    static const int64_t lengths[] = {1, 60, 3600, 86400};
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    const char *unit = *end && !end[1] ? strchr(units, *end) : NULL;
    if (end == text || errno || !unit || value < 1 || value > 366 * 86400)
        return cam_fail(CAM_ERR_USAGE, "%s %.32s: give a duration like 90s, 30m, 6h or 2d", option,
                        text);
    *seconds = value * lengths[unit - units];
    return CAM_OK;
}

enum cam_status cam_cli_set(struct cam_settings *settings, const char *text) {
    char key[128];
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof key)
        return cam_fail(CAM_ERR_USAGE, "--set %.64s: give KEY=VALUE, e.g. --set seed=7", text);
    snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    if (strcmp(key, "model.preset") == 0)
        return cam_fail(CAM_ERR_USAGE, "--set model.preset: use --preset %.32s", equals + 1);
    return cam_settings_set(settings, key, equals + 1);
}

enum cam_status cam_cli_list_add(struct cam_cli_list *list, const char *option, const char *text) {
    if (list->n == CAM_CLI_LIST_ITEMS)
        return cam_fail(CAM_ERR_USAGE, "%s may be given %d times at most", option,
                        CAM_CLI_LIST_ITEMS);
    list->items[list->n++] = text;
    list->items[list->n] = NULL;
    return CAM_OK;
}

/* ---- output ---- */

void cam_cli_say(const char *format, ...) {
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    cam_log(CAM_LOG_INFO, "%s", line);
}

enum cam_status cam_cli_print_json(json_t *json) {
    if (!json)
        return cam_fail(CAM_ERR_OS, "out of memory for JSON");
    char *text = json_dumps(json, JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17));
    json_decref(json);
    if (!text)
        return cam_fail(CAM_ERR_OS, "out of memory for JSON");
    puts(text);
    free(text);
    return CAM_OK;
}

json_t *cam_cli_json_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *cam_cli_json_text(const char *text) {
    if (!text || !*text)
        return json_null();
    json_t *json = json_string(text);
    if (json)
        return json;
    char shown[4096]; /* not UTF-8 */
    return json_string(cam_neutral_text(text, shown, sizeof shown));
}

json_t *cam_cli_json_row(const struct cam_value *row, size_t n) {
    json_t *object = json_object();
    for (size_t i = 0; object && i < n; i++) {
        json_t *value = row[i].kind == CAM_VALUE_INT    ? json_integer(row[i].whole)
                        : row[i].kind == CAM_VALUE_REAL ? cam_cli_json_real(row[i].real)
                        : row[i].kind == CAM_VALUE_NULL ? json_null()
                                                        : json_string(row[i].text);
        json_object_set_new(object, row[i].name, value ? value : json_null());
    }
    return object;
}

enum cam_status cam_cli_print_row(const struct cam_value *row, size_t n) {
    return cam_cli_print_json(cam_cli_json_row(row, n));
}

#define N_SLOTS    16
#define SLOT_BYTES 32
static char *slot(void) {
    static char slots[N_SLOTS][SLOT_BYTES];
    static int next;
    next = (next + 1) % N_SLOTS;
    return slots[next];
}

const char *cam_cli_grouped(int64_t n) {
    char digits[SLOT_BYTES], *out = slot();
    snprintf(digits, sizeof digits, "%lld", (long long)(n < 0 ? -n : n));
    size_t length = strlen(digits), used = 0;
    if (n < 0)
        out[used++] = '-';
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

const char *cam_cli_counted(int64_t n, const char *noun) {
    const char *digits = cam_cli_grouped(n);
    char *out = slot();
    snprintf(out, SLOT_BYTES, "%s %s%s", digits, noun, n == 1 ? "" : "s");
    return out;
}

const char *cam_cli_short(double n) {
    static const char *const units[] = {"", " k", " M", " G", " T"};
    size_t i = 0;
    for (; fabs(n) >= 999.5 && i < 4; i++)
        n /= 1000;
    char *out = slot();
    snprintf(out, SLOT_BYTES, i == 0 || fabs(n) >= 99.5 ? "%.0f%s" : "%.1f%s", n, units[i]);
    return out;
}

/* ---- the workspace ---- */

enum cam_status cam_cli_open(const struct cam_cli *cli, enum cam_workspace_mode mode,
                             struct cam_workspace **workspace) {
    return cam_workspace_open(cli->dir, mode, workspace);
}

enum cam_status cam_cli_attach(const struct cam_cli *cli, struct cam_cli_session *session) {
    session->database = cam_workspace_database(session->workspace);
    enum cam_status status = cam_trainer_open(session->workspace, &session->trainer);
    if (status == CAM_ERR_NOINPUT) /* settings and lineage, but no first state */
        status = cam_fail(CAM_ERR_NOINPUT,
                          "%s: its init was cut short; remove the folder and run: cambium init -C "
                          "%s",
                          cam_workspace_dir(session->workspace), cli->dir);
    return status;
}

enum cam_status cam_cli_begin(const struct cam_cli *cli, enum cam_workspace_mode mode,
                              struct cam_cli_session *session) {
    struct cam_cli_session made = {0};
    if (mode != CAM_WORKSPACE_READ) /* what changes the model ends between steps */
        cam_service_catch_signals();
    CAM_TRY(cam_workspace_open(cli->dir, mode, &made.workspace));
    enum cam_status status = cam_cli_attach(cli, &made);
    if (status != CAM_OK) {
        cam_cli_end(&made);
        return status;
    }
    *session = made;
    return CAM_OK;
}

void cam_cli_end(struct cam_cli_session *session) {
    cam_trainer_close(session->trainer);
    cam_workspace_close(session->workspace);
    *session = (struct cam_cli_session){0};
}
