#include "feed/gunzip.h"

#include <stdlib.h>
#include <zlib.h>

#define GZIP_ONLY (15 + 16) /* window bits, and a gzip header is required */

struct cam_gunzip {
    z_stream stream;
    int is_member_open; /* bytes of a member have come and its end has not */
    int n_members;
    unsigned char piece[32768];
};

enum cam_status cam_gunzip_new(struct cam_gunzip **gunzip) {
    struct cam_gunzip *g = calloc(1, sizeof *g);
    if (!g || inflateInit2(&g->stream, GZIP_ONLY) != Z_OK) {
        free(g);
        return cam_fail(CAM_ERR_OS, "out of memory for a gzip decoder");
    }
    *gunzip = g;
    return CAM_OK;
}

void cam_gunzip_free(struct cam_gunzip *gunzip) {
    if (!gunzip)
        return;
    inflateEnd(&gunzip->stream);
    free(gunzip);
}

/* Decodes until the input of this push is used up; a further member may follow the first. */
static enum cam_status decode(struct cam_gunzip *g, struct cam_buffer *out) {
    do {
        g->is_member_open = 1;
        g->stream.next_out = g->piece;
        g->stream.avail_out = sizeof g->piece;
        int code = inflate(&g->stream, Z_NO_FLUSH);
        if (code == Z_MEM_ERROR)
            return cam_fail(CAM_ERR_OS, "out of memory for a gzip decoder");
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
            return cam_fail(CAM_ERR_PROTOCOL, "the gzip stream is damaged (%s)",
                            g->stream.msg ? g->stream.msg : "bad data");
        CAM_TRY(cam_buffer_append(out, g->piece, sizeof g->piece - g->stream.avail_out));
        if (code == Z_STREAM_END) {
            g->is_member_open = 0;
            g->n_members++;
            inflateReset(&g->stream);
            if (g->stream.avail_in == 0)
                return CAM_OK;
        } else if (code == Z_BUF_ERROR) {
            return CAM_OK; /* all input used, all output taken */
        }
    } while (g->stream.avail_in || g->stream.avail_out == 0);
    return CAM_OK;
}

enum cam_status cam_gunzip_push(struct cam_gunzip *g, const void *bytes, size_t n_bytes,
                                struct cam_buffer *out) {
    const unsigned char *next = bytes;
    while (n_bytes) {
        unsigned n = n_bytes < 1u << 30 ? (unsigned)n_bytes : 1u << 30;
        g->stream.next_in = (unsigned char *)next;
        g->stream.avail_in = n;
        CAM_TRY(decode(g, out));
        next += n;
        n_bytes -= n;
    }
    return CAM_OK;
}

int cam_gunzip_is_complete(const struct cam_gunzip *g) {
    return g->n_members > 0 && !g->is_member_open;
}
