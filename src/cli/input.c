/* NDJSON is pushed through a reader piece by piece, as the pieces come: its input may never end.
 * The other formats need the whole file. */
#include "cli/input.h"

#include "base/buffer.h"
#include "base/fs.h"
#include "feed/feed_formats.h"
#include "feed/feed_ndjson.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
    enum cam_status (*idle)(void *context);
    void *context;
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

/* Adds what there is now to the piece, waiting only while there is nothing; *N_GOT = 0 at the end.
 */
static enum cam_status read_some(struct input *in, size_t *n_got) {
    struct pollfd ready = {.fd = in->fd, .events = POLLIN};
    if (in->idle && poll(&ready, 1, 0) == 0)
        CAM_TRY(in->idle(in->context));
    for (;;) {
        ssize_t got = read(in->fd, in->piece + in->n, PIECE_BYTES - in->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot read", in->path);
        *n_got = (size_t)got;
        in->n += (size_t)got;
        return CAM_OK;
    }
}

/* Fills the piece unless the input ends first: n = 0 at the end. */
static enum cam_status next_piece(struct input *in) {
    size_t n_got = 1;
    in->n = 0;
    while (in->n < PIECE_BYTES && n_got > 0)
        CAM_TRY(read_some(in, &n_got));
    return CAM_OK;
}

/* The first piece: as much of it as tells the format.  A line that is a whole object is NDJSON,
 * whatever comes; all else is read on. */
static enum cam_status first_piece(struct input *in) {
    size_t n_got = 1;
    in->n = 0;
    while (in->n < PIECE_BYTES && n_got > 0) {
        CAM_TRY(read_some(in, &n_got));
        if (n_got > 0 && cam_ndjson_is_first_line(in->piece, in->n))
            break;
    }
    return CAM_OK;
}

/* The format that looks likeliest by name and first piece; NULL if none does. */
static const struct cam_feed_format *sniff(const struct input *in) {
    const struct cam_feed_input input = {.bytes = in->piece,
                                         .n_bytes = in->n,
                                         .content_type = cam_feed_type_of_name(in->path),
                                         .accept_pages = 1};
    return cam_feed_sniff_format(&input);
}

static enum cam_status read_lines(struct input *in, const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    struct cam_ndjson_reader *reader = NULL;
    CAM_TRY(cam_ndjson_reader_new(limits, sink, &reader));
    enum cam_status status = CAM_OK;
    while (status == CAM_OK && in->n > 0) {
        size_t n_got = 0;
        status = cam_ndjson_reader_push(reader, in->piece, in->n);
        in->n = 0;
        if (status == CAM_OK)
            status = read_some(in, &n_got);
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
    const char *type = cam_feed_type_of_name(in->path);
    const struct cam_feed_input input = {.bytes = bytes.data ? bytes.data : "",
                                         .n_bytes = bytes.size,
                                         .content_type = type,
                                         .format = format,
                                         .accept_pages = 1};
    /* Nothing at all is no documents, unless it says it is XML, which needs a root. */
    if (status == CAM_OK && (bytes.size > 0 || (type && strstr(type, "xml"))))
        status = cam_feed_read_input(&input, limits, sink, NULL);
    cam_buffer_release(&bytes);
    return status;
}

static enum cam_status read_input(struct input *in, const char *format,
                                  const struct cam_feed_limits *limits,
                                  const struct cam_document_sink *sink) {
    const struct cam_feed_format *found = NULL;
    if (format)
        CAM_TRY(cam_feed_find_format(format, &found));
    CAM_TRY(first_piece(in));
    if (!found)
        found = sniff(in);
    enum cam_status status = found == &cam_feed_format_ndjson
                                 ? read_lines(in, limits, sink)
                                 : read_whole(in, format, limits, sink);
    return status == CAM_ERR_DATA ? cam_context(status, "%s", in->path) : status;
}

static enum cam_status read_file(const struct cam_input *input,
                                 const struct cam_document_sink *sink) {
    static struct input in; /* 64 KiB: not for the stack; commands are single-threaded */
    struct cam_feed_limits defaults;
    cam_feed_limits_init(&defaults);
    in.idle = input->idle;
    in.context = input->context;
    enum cam_status status = open_input(&in, input->path);
    if (status == CAM_OK)
        status = read_input(&in, input->format, input->limits ? input->limits : &defaults, sink);
    if (in.fd >= 0)
        close(in.fd);
    return status;
}

/* ---- folders ---- */

struct walk {
    const struct cam_input *input;
    const struct cam_document_sink *sink;
    const char *folder; /* the one being read */
    int depth;
};

static enum cam_status walk_folder(const struct walk *above, const char *folder);

/* A file that cannot be read costs itself only. */
static enum cam_status reject(const struct walk *walk, const char *path, enum cam_status status) {
    char why[1024];
    if (status != CAM_ERR_DATA && status != CAM_ERR_NOINPUT && status != CAM_ERR_PERMISSION)
        return status;
    size_t n = strlen(path);
    const char *message = cam_message(), *rest = message;
    if (strncmp(message, path, n) == 0 && strncmp(message + n, ": ", 2) == 0)
        rest += n + 2; /* PATH is told beside it */
    snprintf(why, sizeof why, "%s", rest);
    return walk->sink->rejected
               ? (enum cam_status)walk->sink->rejected(walk->sink->context, path, why)
               : CAM_OK;
}

static enum cam_status walk_entry(void *context, const char *name) {
    struct walk *walk = context;
    char path[CAM_PATH_BYTES];
    struct stat info;
    if (*name == '.')
        return CAM_OK;
    CAM_TRY(cam_fs_join(path, walk->folder, name));
    if (lstat(path, &info) != 0)
        return reject(walk, path,
                      cam_fail_errno(CAM_ERR_NOINPUT, errno, "%s: cannot look at it", path));
    if (S_ISDIR(info.st_mode))
        return reject(walk, path, walk_folder(walk, path));
    if (!S_ISREG(info.st_mode)) /* links as well: what they point to may be anywhere */
        return CAM_OK;
    struct cam_input file = *walk->input;
    file.path = path;
    return reject(walk, path, read_file(&file, walk->sink));
}

static enum cam_status walk_folder(const struct walk *above, const char *folder) {
    struct walk walk = {above->input, above->sink, folder, above->depth + 1};
    if (walk.depth > CAM_INPUT_MAX_DEPTH)
        return cam_fail(CAM_ERR_DATA, "%s: folders nested deeper than %d", folder,
                        CAM_INPUT_MAX_DEPTH);
    return cam_fs_each_entry(folder, walk_entry, &walk);
}

enum cam_status cam_input_take(const struct cam_input *input,
                               const struct cam_document_sink *sink) {
    struct stat info;
    struct walk top = {.input = input, .sink = sink};
    if (strcmp(input->path, "-") != 0 && stat(input->path, &info) == 0 && S_ISDIR(info.st_mode))
        return walk_folder(&top, input->path);
    return read_file(input, sink);
}

enum cam_status cam_input_read(const char *path, const char *format,
                               const struct cam_feed_limits *limits,
                               const struct cam_document_sink *sink) {
    const struct cam_input input = {.path = path, .format = format, .limits = limits};
    return read_file(&input, sink);
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
