#include "cli/cli.h"

#include "base/log.h"
#include "cli/reach.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: cambium config [-C DIR] [KEY [VALUE]] [--json]\n"
    "\n"
    "  (nothing)  every setting: key, value, and what it does\n"
    "  KEY        its value\n"
    "  KEY VALUE  changes it; the change is journalled\n"
    "  --json     one object a line\n"
    "\n"
    "Scope `now` settings are in force at once.  `live` ones at their place in the journal, so\n"
    "documents that came before and fill a batch are trained first.  `init` ones are what the\n"
    "model is and never change: make a new workspace with cambium init --set KEY=VALUE.\n"
    "\n"
    "Examples:\n"
    "  cambium config -C w\n"
    "  cambium config -C w replay.share\n"
    "  cambium config -C w replay.share 0.25\n"
    "\n"
    "See also: cambium help init, cambium help policy\n";

static enum cam_status print_setting(void *context, const struct cam_value *v, size_t n) {
    const int *json = context;
    char value[120];
    if (*json)
        return cam_cli_print_row(v, n);
    printf("%-28s %-14s %-4s  %s\n", v[0].text, cam_neutral_text(v[1].text, value, sizeof value),
           v[3].text, v[4].text);
    return CAM_OK;
}

#define SETTINGS_SQL                                                                               \
    "SELECT key, value, default_value, scope, help, type, position FROM v1_settings"

static enum cam_status print_value(void *context, const struct cam_value *v, size_t n) {
    const int *json = context;
    char value[CAM_SETTING_TEXT_BYTES];
    if (*json)
        return cam_cli_print_row(v, n);
    puts(cam_neutral_text(v[1].text, value, sizeof value));
    return CAM_OK;
}

static enum cam_status show(const struct cam_cli *cli, const char *key, int json) {
    struct cam_workspace *workspace = NULL;
    const struct cam_setting *setting;
    const char *const parameters[] = {key, NULL};
    if (key)
        CAM_TRY(cam_setting_find(key, &setting));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    struct cam_database *database = cam_workspace_database(workspace);
    enum cam_status status =
        key ? cam_query(database, SETTINGS_SQL " WHERE key = ?1", parameters, print_value, &json)
            : cam_query(database, SETTINGS_SQL " ORDER BY key", NULL, print_setting, &json);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status change(const struct cam_cli *cli, const char *key, const char *value) {
    const struct cam_setting *setting;
    CAM_TRY(cam_setting_find(key, &setting));
    if (strcmp(key, "policy") == 0)
        return cam_fail(CAM_ERR_CONFIG, "policy: change it with cambium policy use %.64s", value);
    return cam_reach_do(cli, "config", json_pack("{s:s,s:s}", "key", key, "value", value));
}

/* By hand, because a value may begin with a minus sign: config replay.share -1. */
static enum cam_status run(struct cam_cli *cli) {
    const char *words[2] = {0};
    int json = 0, n = 0;
    for (int i = 1; i < cli->argc; i++) {
        const char *word = cli->argv[i];
        if (strncmp(word, "-C", 2) == 0) {
            cli->dir = word[2] ? word + 2 : cli->argv[++i];
            if (!cli->dir)
                return cam_fail(CAM_ERR_USAGE, "config: -C needs a folder");
        } else if (strcmp(word, "--json") == 0) {
            json = 1;
        } else if (n == 2 || (n == 0 && word[0] == '-')) {
            return cam_fail(CAM_ERR_USAGE,
                            "config takes KEY and VALUE at most, not %.64s; see: cambium help "
                            "config",
                            word);
        } else {
            words[n++] = word;
        }
    }
    return words[1] ? change(cli, words[0], words[1]) : show(cli, words[0], json);
}

const struct cam_command cam_command_config = {"config", "Show or change a setting.", help, run};
