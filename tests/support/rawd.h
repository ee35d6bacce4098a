/* rawd.h - a server on a loopback port that answers every request with the same bytes, whatever
 * HTTP says about them; for answers that no proper server library would send.
 *
 *     struct cam_rawd *server = cam_rawd_start("HTTP/1.1 200 OK\r\n...", CAM_RAWD_CLOSE);
 *     ... fetch cam_rawd_url(server, url, sizeof url) ...
 *     cam_rawd_stop(server);
 *
 * One connection at a time.  Nothing here depends on time, but the DRIP, which goes on for ever. */
#ifndef CAM_TESTS_SUPPORT_RAWD_H
#define CAM_TESTS_SUPPORT_RAWD_H

#include <stddef.h>

struct cam_rawd;

/* What happens once the bytes are sent. */
enum cam_rawd_end {
    CAM_RAWD_CLOSE,
    CAM_RAWD_HOLD, /* silent until the client goes or the server stops */
    CAM_RAWD_DRIP, /* the last byte again and again, every 10 ms */
};

/* BYTES (N_BYTES; 0: strlen) are borrowed.  Aborts if it cannot listen. */
struct cam_rawd *cam_rawd_start(const char *bytes, size_t n_bytes, enum cam_rawd_end end);
void cam_rawd_stop(struct cam_rawd *server); /* accepts NULL */
char *cam_rawd_url(const struct cam_rawd *server, char *out, size_t out_bytes);
int cam_rawd_port(const struct cam_rawd *server);
size_t cam_rawd_n_requests(struct cam_rawd *server);
/* The newest request as it came, cut to OUT_BYTES. */
char *cam_rawd_request(struct cam_rawd *server, char *out, size_t out_bytes);

#endif
