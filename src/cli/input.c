/* NDJSON is pushed through a reader piece by piece; the other formats need the whole file. */
#include "cli/input.h"

#include "base/buffer.h"
#include "feed/feed_formats.h"
#include "feed/feed_ndjson.h"
#include "run/fetcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 16)

struct input {
    const char *path; /* as given, for messages */
    int fd;
    char piece[PIECE_BYTES];
    size_t n; /* bytes in piece */
};

static enum cam_status open_input(struct input *in, const char *path) {
    struct stat info;
    in->path = strcmp(path, "-") == 0 ? "standard input" : path;
    in->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0)
        return cam_fail_errno(errno == EACCES ? CAM_ERR_PERMISSION : CAM_ERR_NOINPUT, errno,
                              "%s: cannot open", in->path);
    if (fstat(in->fd, &info) == 0 && S_ISDIR(info.st_mode))
        return cam_fail(CAM_ERR_NOINPUT, "%s: is a folder; name a file in it", in->path);
    return CAM_OK;
}

/* Fills the piece unless the input ends first: n = 0 at the end. */
static enum cam_status next_piece(struct input *in) {
    in->n = 0;
    while (in->n < PIECE_BYTES) {
        ssize_t got = read(in->fd, in->piece + in->n, PIECE_BYTES - in->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot read", in->path);
        if (got == 0)
            break;
        in->n += (size_t)got;
    }
    return CAM_OK;
}

/* The format that looks likeliest by name and first piece; NULL if none does. */
static const struct cam_feed_format *sniff(const struct input *in) {
    const char *type = cam_feed_type_of_name(in->path);
    const struct cam_feed_format *best = NULL;
    enum cam_feed_sniff most = CAM_SNIFF_NO;
    for (size_t i = 0; cam_feed_formats[i]; i++) {
        enum cam_feed_sniff now = cam_feed_formats[i]->sniff(in->piece, in->n, type ? type : "");
        if (now > most)
            most = now, best = cam_feed_formats[i];
    }
    return best;
}

static enum cam_status read_lines(struct input *in, const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    struct cam_ndjson_reader *reader = NULL;
    CAM_TRY(cam_ndjson_reader_new(limits, sink, &reader));
    enum cam_status status = CAM_OK;
    while (status == CAM_OK && in->n > 0) {
        status = cam_ndjson_reader_push(reader, in->piece, in->n);
        if (status == CAM_OK)
            status = next_piece(in);
    }
    if (status == CAM_OK)
        status = cam_ndjson_reader_finish(reader);
    cam_ndjson_reader_free(reader);
    return status;
}

static enum cam_status read_whole(struct input *in, const char *format,
                                  const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    struct cam_buffer bytes;
    cam_buffer_init(&bytes, CAM_INPUT_MAX_BYTES);
    enum cam_status status = CAM_OK;
    while (status == CAM_OK && in->n > 0) {
        status = cam_buffer_append(&bytes, in->piece, in->n);
        if (status == CAM_ERR_DATA)
            status = cam_fail(CAM_ERR_DATA,
                              "larger than %zu bytes, which only NDJSON may be (--format ndjson)",
                              CAM_INPUT_MAX_BYTES);
        if (status == CAM_OK)
            status = next_piece(in);
    }
    if (status == CAM_OK)
        status = cam_fetcher_read(bytes.data, bytes.size, format, cam_feed_type_of_name(in->path),
                                  limits, sink);
    cam_buffer_release(&bytes);
    return status;
}

static enum cam_status read_input(struct input *in, const char *format,
                                  const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    const struct cam_feed_format *found = NULL;
    if (format)
        CAM_TRY(cam_fetcher_format(format, &found));
    CAM_TRY(next_piece(in));
    if (!found)
        found = sniff(in);
    enum cam_status status = found == &cam_feed_format_ndjson
                                 ? read_lines(in, limits, sink)
                                 : read_whole(in, format, limits, sink);
    return status == CAM_ERR_DATA ? cam_context(status, "%s", in->path) : status;
}

enum cam_status cam_input_read(const char *path, const char *format,
                               const struct cam_feed_limits *limits,
                               const struct cam_document_sink *sink) {
    static struct input in; /* 64 KiB: not for the stack; commands are single-threaded */
    struct cam_feed_limits defaults;
    cam_feed_limits_init(&defaults);
    enum cam_status status = open_input(&in, path);
    if (status == CAM_OK)
        status = read_input(&in, format, limits ? limits : &defaults, sink);
    if (in.fd >= 0)
        close(in.fd);
    return status;
}

char *cam_input_name(const char *path, char *out, size_t out_bytes) {
    const char *slash = strrchr(path, '/');
    if (strcmp(path, "-") == 0)
        path = "stdin";
    snprintf(out, out_bytes, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(out, '.');
    if (dot && dot != out)
        *dot = '\0';
    return out;
}
