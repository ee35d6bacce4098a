#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cam_command *const commands[] = {
#define CAM_COMMAND(name) &cam_command_##name,
#include "cli/commands.def"
#undef CAM_COMMAND
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static const char head[] =
    "cambium keeps a language model learning for life: it reads document feeds, trains on every\n"
    "document once, grows when its policy says so, and writes down what it did in history.db.\n"
    "\n"
    "usage: cambium [-C DIR] COMMAND [OPTIONS]\n"
    "       cambium help COMMAND | --help | --version\n"
    "\n"
    "  -C DIR  the workspace (default: $CAMBIUM_DIR, then the current folder)\n"
    "\n";

static const char tail[] =
    "\n"
    "A first session:\n"
    "  cambium -C w init --preset nano\n"
    "  cambium -C w run --feed https://example.org/feed.atom --once\n"
    "  cambium -C w status\n"
    "  sqlite3 -readonly w/history.db 'SELECT * FROM v1_documents LIMIT 5'\n";

static const struct cam_command *find_command(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_overview(FILE *to) {
    fputs(head, to);
    fputs("Commands:\n", to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs(tail, to);
}

static void print_help(const struct cam_command *command) {
    printf("%s\n\n%s", command->summary, command->help);
}

static enum cam_status no_command(const char *name) {
    size_t most = 0;
    const char *nearest = NULL;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        size_t same = 0;
        while (name[same] && name[same] == commands[i]->name[same])
            same++;
        if (same > most)
            most = same, nearest = commands[i]->name;
    }
    if (nearest && most > 1)
        return cam_fail(CAM_ERR_USAGE, "no command \"%.32s\"; did you mean %s?", name, nearest);
    return cam_fail(CAM_ERR_USAGE, "no command \"%.32s\"; see: cambium help", name);
}

static enum cam_status help(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stdout);
        return CAM_OK;
    }
    const struct cam_command *command = find_command(argv[1]);
    if (!command)
        return no_command(argv[1]);
    print_help(command);
    return CAM_OK;
}

/* Whether the command's arguments ask for its help (and not for the value of an option). */
static int wants_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 1;
    return 0;
}

static enum cam_status dispatch(int argc, char **argv) {
    const char *environment = getenv("CAMBIUM_DIR");
    struct cam_cli cli = {.dir = environment && *environment ? environment : "."};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            puts("cambium " CAM_VERSION);
            return CAM_OK;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help(1, argv);
        if (strncmp(argv[i], "-C", 2) != 0)
            return cam_fail(CAM_ERR_USAGE, "no option %.32s before a command; see: cambium help",
                            argv[i]);
        cli.dir = argv[i][2] ? argv[i] + 2 : argv[++i];
        if (!cli.dir)
            return cam_fail(CAM_ERR_USAGE, "-C needs a folder");
    }
    if (i >= argc) {
        print_overview(stderr);
        return cam_fail(CAM_ERR_USAGE, "no command given");
    }
    if (strcmp(argv[i], "help") == 0)
        return help(argc - i, argv + i);
    const struct cam_command *command = find_command(argv[i]);
    if (!command)
        return no_command(argv[i]);
    cli.argc = argc - i;
    cli.argv = argv + i;
    if (wants_help(cli.argc, cli.argv)) {
        print_help(command);
        return CAM_OK;
    }
    return command->run(&cli);
}

/* A reader that closed the pipe has seen enough: no error.  A full disk is one. */
static enum cam_status flush_output(enum cam_status status) {
    errno = 0;
    int failed = fflush(stdout) != 0 || ferror(stdout);
    if (!failed || errno == EPIPE || status != CAM_OK)
        return status;
    return cam_fail_errno(CAM_ERR_IO, errno, "cannot write the output");
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* an error code instead; other signals: cam_cli_begin */
    cam_talk_init();
    enum cam_status status = flush_output(dispatch(argc, argv));
    cam_talk_end();
    if (status != CAM_OK && status != CAM_STOPPED) {
        cam_talk_failure(*cam_message() ? cam_message() : cam_status_text(status));
        if (status == CAM_ERR_USAGE && argc > 1)
            fprintf(stderr, "usage: see cambium help%s\n",
                    strstr(cam_message(), "cambium help") ? "" : " COMMAND");
    }
    return cam_status_exit_code(status);
}
