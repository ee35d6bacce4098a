/* feed-server [--port N] DIR: serves the files of a directory on 127.0.0.1, for demonstrations and
 * tests of feeds.
 *
 * Every answer carries an ETag (the content's hash) and Last-Modified; a client that has the
 * current version gets 304.  Files are read at each request, so replacing one is how a feed gets
 * new entries (write it beside and rename it).  Prints "listening on http://127.0.0.1:PORT/" when
 * ready, one line a request on stderr; SIGTERM and SIGINT end it. */
#include "base/buffer.h"
#include "base/hash.h"
#include "base/log.h"
#include "feed/feed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILE_BYTES ((size_t)256 << 20)

struct file {
    struct cam_buffer body;
    char etag[CAM_HASH_HEX_BYTES + 2];
    char last_modified[40];
};

/* No way out of the directory: "/a/b.xml" is fine, any part that begins with a dot is not. */
static int is_plain_path(const char *path) {
    return path[0] == '/' && path[1] && !strstr(path, "/.") && !strstr(path, "//");
}

static int read_all(int fd, struct cam_buffer *body) {
    char piece[65536];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? 0 : -1;
        if (cam_buffer_append(body, piece, (size_t)n) != CAM_OK)
            return -1;
    }
}

/* 0, or -1 where there is no such file.  FILE's body must be released either way. */
static int load(int directory, const char *path, struct file *file) {
    struct stat info;
    struct tm tm;
    cam_buffer_init(&file->body, MAX_FILE_BYTES);
    int fd = is_plain_path(path)
                 ? openat(directory, path + 1, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
                 : -1;
    if (fd < 0)
        return -1;
    int is_loaded =
        fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && read_all(fd, &file->body) == 0;
    close(fd);
    if (!is_loaded)
        return -1;
    char hex[CAM_HASH_HEX_BYTES];
    cam_hash_hex(cam_hash_bytes(file->body.data ? file->body.data : "", file->body.size), hex);
    snprintf(file->etag, sizeof file->etag, "\"%s\"", hex);
    gmtime_r(&info.st_mtime, &tm);
    strftime(file->last_modified, sizeof file->last_modified, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return 0;
}

/* Whether the client has this version: by ETag if it names one, else by date. */
static int is_current(struct MHD_Connection *connection, const struct file *file) {
    const char *etag = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match");
    const char *since =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-Modified-Since");
    if (etag)
        return strcmp(etag, file->etag) == 0;
    return since && strcmp(since, file->last_modified) == 0;
}

static enum MHD_Result reply(struct MHD_Connection *connection, const char *method,
                             const char *path, const struct file *file) {
    static const char missing[] = "no such file\n";
    int status = file ? is_current(connection, file) ? 304 : 200 : 404;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        status = 405;
    const char *body = status == 200 ? file->body.data : status == 304 ? "" : missing;
    size_t n_bytes = status == 200 ? file->body.size : status == 304 ? 0 : sizeof missing - 1;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(n_bytes, (void *)(body ? body : ""), MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    if (status == 200 || status == 304) {
        const char *type = cam_feed_type_of_name(path);
        MHD_add_response_header(response, "ETag", file->etag);
        MHD_add_response_header(response, "Last-Modified", file->last_modified);
        MHD_add_response_header(response, "Content-Type", type ? type : "application/octet-stream");
    }
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    char shown[256];
    fprintf(stderr, "%s %s %d\n", strcmp(method, "GET") == 0 ? "GET" : "other",
            cam_neutral_text(path, shown, sizeof shown), status);
    return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **state) {
    const int *directory = context;
    struct file file;
    (void)version, (void)upload, (void)upload_bytes, (void)state;
    int is_found = load(*directory, path, &file) == 0;
    enum MHD_Result result = reply(connection, method, path, is_found ? &file : NULL);
    cam_buffer_release(&file.body);
    return result;
}

static int usage(void) {
    fputs("usage: feed-server [--port N] DIR\n"
          "Serves DIR's files on 127.0.0.1 (port 0, the default: any free one).\n",
          stderr);
    return 64;
}

static int serve(int directory, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sigset_t signals;
    int caught;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the server's thread inherits the mask */
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request, &directory,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "feed-server: cannot listen on 127.0.0.1:%u; is the port taken?\n", port);
        return 69;
    }
    printf("listening on http://127.0.0.1:%u/\n",
           MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    sigwait(&signals, &caught);
    MHD_stop_daemon(daemon);
    return 0;
}

int main(int argc, char **argv) {
    long port = 0;
    int i = 1;
    if (i + 1 < argc && strcmp(argv[i], "--port") == 0) {
        char *end;
        port = strtol(argv[i + 1], &end, 10);
        if (*end || end == argv[i + 1] || port < 0 || port > 65535)
            return usage();
        i += 2;
    }
    if (i + 1 != argc || argv[i][0] == '-')
        return usage();
    int directory = open(argv[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        fprintf(stderr, "feed-server: %s: %s\n", argv[i], strerror(errno));
        return 66;
    }
    int code = serve(directory, (uint16_t)port);
    close(directory);
    return code;
}
