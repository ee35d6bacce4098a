/* talk.c - stderr, shared by log lines and a progress line that rewrites itself.
 *
 * Where stderr is a stream of the journal ($JOURNAL_STREAM names its device and inode) a line
 * begins with its level as sd-daemon(3) has it, "<4>", and without the name, which the journal
 * knows. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TERMINAL_SECONDS 0.2
#define LOG_SECONDS      60.0

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int is_terminal, is_journal;
static size_t width; /* of the progress line that stands on the terminal, 0 if none does */
static double shown_at;

/* Characters that fit on a line of the terminal: a longer one could not be rewritten. */
static size_t columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79;
}

static void wipe_line(void) {
    if (width)
        fprintf(stderr, "\r%*s\r", (int)width, "");
    width = 0;
}

static void on_line(void *context, enum cam_log_level level, const char *line) {
    static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
    static const int priorities[] = {3, 4, 6, 7};
    (void)context;
    pthread_mutex_lock(&mutex);
    wipe_line();
    if (is_journal)
        fprintf(stderr, "<%d>%s\n", priorities[level], line);
    else
        fprintf(stderr, "cambium: %s%s\n", words[level], line);
    pthread_mutex_unlock(&mutex);
}

static int is_journal_stream(int fd) {
    const char *named = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat info;
    return named && sscanf(named, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &info) == 0 &&
           info.st_dev == device && info.st_ino == inode;
}

void cam_talk_failure(const char *message) {
    char line[2048];
    if (is_journal)
        on_line(NULL, CAM_LOG_ERROR, cam_neutral_text(message, line, sizeof line));
    else
        fprintf(stderr, "cambium: %s\n", message);
}

void cam_talk_init(void) {
    is_terminal = isatty(STDERR_FILENO);
    is_journal = is_journal_stream(STDERR_FILENO);
    shown_at = cam_clock_seconds();
    cam_log_set_sink(on_line, NULL);
}

void cam_talk_progress(void *context, const struct cam_progress *p) {
    char line[240], domain[64];
    double now = cam_clock_seconds();
    (void)context;
    if (now - shown_at < (is_terminal ? TERMINAL_SECONDS : LOG_SECONDS))
        return;
    shown_at = now;
    cam_neutral_text(p->domain ? p->domain : "", domain, sizeof domain);
    snprintf(line, sizeof line,
             "step %s, %s documents, %s experts, %.3f bits per byte, %s tokens/s, %s",
             cam_cli_grouped(p->step), cam_cli_grouped(p->documents), cam_cli_grouped(p->experts),
             p->bits_per_byte, cam_cli_short(p->tokens_per_s), domain);
    if (!is_terminal) {
        cam_log(CAM_LOG_INFO, "%s", line);
        return;
    }
    pthread_mutex_lock(&mutex);
    size_t before = width, most = columns();
    if (strlen(line) > most)
        line[most] = '\0';
    width = strlen(line);
    fprintf(stderr, "\r%s%*s", line, (int)(before > width ? before - width : 0), "");
    fflush(stderr);
    pthread_mutex_unlock(&mutex);
}

void cam_talk_end(void) {
    pthread_mutex_lock(&mutex);
    if (width)
        fputc('\n', stderr);
    width = 0;
    pthread_mutex_unlock(&mutex);
}
