/* httpd.h - a scripted HTTP server on a loopback port, for tests.
 *
 *     struct cam_httpd *server = cam_httpd_start("127.0.0.1");
 *     cam_httpd_add(server, &(struct cam_httpd_route){.path = "/feed", .body = text, .etag =
 * "\"1\""});
 *     ... fetch cam_httpd_url(server, "/feed", url, sizeof url) ...
 *     cam_httpd_request(server, 0)->if_none_match
 *     cam_httpd_stop(server);
 *
 * Routes are matched by exact path, the latest added first; anything else is 404.  Nothing here
 * depends on time: a hanging route hangs until the server stops. */
#ifndef CAM_TESTS_SUPPORT_HTTPD_H
#define CAM_TESTS_SUPPORT_HTTPD_H

#include <stddef.h>

struct cam_httpd;

/* What happens with the body. */
enum cam_httpd_way {
    CAM_HTTPD_WHOLE,       /* sent with its length */
    CAM_HTTPD_CHUNKED,     /* sent without a length */
    CAM_HTTPD_CUT,         /* length announced, connection closed after cut_bytes */
    CAM_HTTPD_CUT_CHUNKED, /* chunked, connection closed after cut_bytes */
    CAM_HTTPD_ENDLESS,     /* chunked, the body again and again */
    CAM_HTTPD_HANG,        /* no answer until the server stops */
};

/* Pointers are borrowed and must outlive the server; zero means default or none. */
struct cam_httpd_route {
    const char *path;
    int status; /* 0: 200 */
    const char *body;
    size_t n_bytes; /* 0: strlen(body) */
    const char *content_type;
    const char *etag;          /* sent; an equal If-None-Match is answered with 304 */
    const char *last_modified; /* the same with If-Modified-Since */
    const char *location;
    const char *encoding;       /* Content-Encoding; the body is sent as it is */
    const char *const *headers; /* name, value, ..., NULL */
    enum cam_httpd_way way;
    size_t cut_bytes;
    int hide_validators_on_304;
    int work_ms; /* time the answer takes; requests that overlap are seen at cam_httpd_most */
};

/* What a client sent; "" where it sent nothing. */
struct cam_httpd_request {
    char path[256], host[256], user_agent[256], if_none_match[256], if_modified_since[256],
        authorization[256], accept_encoding[256];
};

/* Listens on a free port of ADDRESS ("127.0.0.1" or "::1"); NULL if it cannot. */
struct cam_httpd *cam_httpd_start(const char *address);
/* The same over TLS, with a certificate and its key as PEM text; NULL too if libmicrohttpd was
 * built without TLS. */
struct cam_httpd *cam_httpd_start_tls(const char *address, const char *certificate,
                                      const char *key);
/* The same with TLS 1.1 and nothing newer. */
struct cam_httpd *cam_httpd_start_old_tls(const char *address, const char *certificate,
                                          const char *key);
void cam_httpd_stop(struct cam_httpd *server); /* waits for every connection; accepts NULL */
int cam_httpd_port(const struct cam_httpd *server);
/* "http://ADDRESS:PORT" PATH (https and localhost over TLS).  Returns OUT. */
char *cam_httpd_url(const struct cam_httpd *server, const char *path, char *out, size_t out_bytes);
/* Copies ROUTE; aborts when there are more than 64. */
void cam_httpd_add(struct cam_httpd *server, const struct cam_httpd_route *route);

/* Requests so far (at most the first 256 are kept), in order of arrival. */
size_t cam_httpd_n_requests(struct cam_httpd *server);
const struct cam_httpd_request *cam_httpd_request(struct cam_httpd *server, size_t i_request);

/* Most requests that were being answered at the same time. */
size_t cam_httpd_most(struct cam_httpd *server);

/* Compresses (gzip); the caller frees.  N_ZEROS > 0 compresses that many zero bytes instead. */
char *cam_httpd_gzip(const char *bytes, size_t n_bytes, size_t n_zeros, size_t *n_out);

#endif
