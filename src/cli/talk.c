/* talk.c - stderr, shared by log lines and a progress line that rewrites itself. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TERMINAL_SECONDS 0.2
#define LOG_SECONDS      60.0

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int is_terminal;
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
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    (void)context;
    pthread_mutex_lock(&mutex);
    wipe_line();
    fprintf(stderr, "cambium: %s%s\n", prefix[level], line);
    pthread_mutex_unlock(&mutex);
}

void cam_talk_init(void) {
    is_terminal = isatty(STDERR_FILENO);
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
