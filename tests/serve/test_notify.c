/* What a service manager hears: from the function, and from the program. */
#include "serve/notify.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/cam-notify-XXXXXX";
static int manager = -1;

/* Listens as NAME ("@..." is abstract) and says so in the environment. */
static void listen_as(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    memcpy(address.sun_path, name, n);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM, 0);
    cr_assert_eq(bind(manager, (struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
                 0);
    setenv("NOTIFY_SOCKET", name, 1);
}

/* The next word, waited for. */
static const char *hear(void) {
    static char word[1024];
    ssize_t n = recv(manager, word, sizeof word - 1, 0);
    cr_assert_gt(n, 0);
    word[n] = '\0';
    return word;
}

static void hear_until(const char *wanted) {
    while (strncmp(hear(), wanted, strlen(wanted)) != 0)
        ;
}

static void setup(void) {
    cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(notify, .init = setup, .fini = teardown);

Test(notify, paths_and_abstract_names) {
    char name[64];
    snprintf(name, sizeof name, "%s/socket", dir);
    listen_as(name);
    cam_notify("READY=1");
    cr_assert_str_eq(hear(), "READY=1");
    close(manager);
    snprintf(name, sizeof name, "@%s", dir);
    listen_as(name);
    cam_notify("STATUS=it works");
    cr_assert_str_eq(hear(), "STATUS=it works");
    cam_notify_beat();
    cam_notify("STOPPING=1");
    cr_assert_str_eq(hear(), "STOPPING=1", "no watchdog was asked for");
}

Test(notify, nobody_there_is_no_failure) {
    char longest[300];
    static const char *const names[] = {"", "@", "relative", "/nowhere/socket"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        cam_notify("READY=1");
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    cam_notify("READY=1");
    unsetenv("NOTIFY_SOCKET");
    cam_notify("READY=1");
}

Test(notify, the_watchdog_of_another_process_is_not_fed) {
    char name[64];
    snprintf(name, sizeof name, "@%s", dir);
    listen_as(name);
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    cam_notify_beat();
    cam_notify("READY=1");
    cr_assert_str_eq(hear(), "READY=1");
}

#ifdef CAM_PROGRAM
static char log_path[64], workspace[64];

/* Starts the program with its stderr in a file that claims to be a stream of the journal. */
static pid_t start(const char *const *arguments) {
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0)
        return pid;
    struct stat info;
    char stream[64];
    int fd = open(log_path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    if (fd < 0 || fstat(fd, &info) != 0 || dup2(fd, STDERR_FILENO) < 0 ||
        dup2(fd, STDOUT_FILENO) < 0)
        _exit(120);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)info.st_dev,
             (unsigned long long)info.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    execv(CAM_PROGRAM, (char *const *)(uintptr_t)arguments);
    _exit(121);
}

static int end_of(pid_t pid) {
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void make_workspace(void) {
    static const char *const tiny[] = {"model.width=16",   "model.blocks=1",  "model.heads=1",
                                       "model.kv_heads=1", "model.hidden=16", "model.context=16",
                                       "model.ff=dense",   "threads=1",       NULL};
    const char *arguments[32] = {"cambium", "init", "-C", workspace};
    size_t n = 4;
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    snprintf(workspace, sizeof workspace, "%s/w", dir);
    for (size_t i = 0; tiny[i]; i++) {
        arguments[n++] = "--set";
        arguments[n++] = tiny[i];
    }
    cr_assert_eq(end_of(start(arguments)), 0);
}

/* Every line of the log begins with a level and holds no control character. */
static int lines_of_log(void) {
    char line[2048];
    int n = 0;
    FILE *file = fopen(log_path, "r");
    cr_assert_not_null(file);
    for (; fgets(line, sizeof line, file); n++) {
        cr_assert(line[0] == '<' && strchr("3467", line[1]) && line[2] == '>', "%s", line);
        for (const char *s = line; *s && *s != '\n'; s++)
            cr_assert((unsigned char)*s >= ' ', "%s", line);
    }
    fclose(file);
    return n;
}

Test(notify, C21_C22_the_service_says_how_it_is_from_start_to_end) {
    char name[64];
    const char *const run[] = {"cambium", "run", "-C", workspace, NULL};
    snprintf(name, sizeof name, "@%s", dir);
    listen_as(name);
    make_workspace();
    setenv("WATCHDOG_USEC", "1000", 1);
    pid_t pid = start(run);
    hear_until("READY=1");
    hear_until("STATUS=");
    hear_until("WATCHDOG=1");
    hear_until("WATCHDOG=1");
    cr_assert_eq(kill(pid, SIGHUP), 0);
    hear_until("RELOADING=1\nMONOTONIC_USEC=");
    hear_until("READY=1");
    cr_assert_eq(kill(pid, SIGTERM), 0);
    hear_until("STOPPING=1");
    cr_assert_eq(end_of(pid), 0);
    cr_assert_geq(lines_of_log(), 2);

    const char *const nowhere[] = {"cambium", "run", "-C", dir, NULL};
    cr_assert_eq(end_of(start(nowhere)), 66);
    cr_assert_eq(lines_of_log(), 1);
}
#endif
