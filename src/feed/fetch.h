/* fetch.h - one conditional HTTP GET, distrustful of everything that answers.
 *
 * What is guarded (ids: fault table in docs): the body is bounded after decompression (N10); only
 * http and https, at most max_redirects hops, never from https back to http (N05); no address that
 * is not public unless the request allows it, checked on every socket (N06, N07); credentials stay
 * with the host they were given for and never reach a message (N14); a body cut short is an error,
 * never a result (N13).
 *
 * Proxy variables of the environment are ignored: through a proxy we connect to the proxy's address
 * instead of the feed's, and the guard against private addresses cannot see what lies behind it
 * (N08).  A proxy is used only where the request names one; then hosts written as private addresses
 * or as localhost are still refused, and names are the proxy's to judge.
 *
 * Calls block; any number of threads may fetch at once.  The library is libcurl; nothing outside
 * this file knows. */
#ifndef CAM_FEED_FETCH_H
#define CAM_FEED_FETCH_H

#include "base/buffer.h"
#include "base/status.h"

#include <stdatomic.h>
#include <stddef.h>

#define CAM_FETCH_MAX_RETRY_AFTER_S (7 * 24 * 3600)

struct cam_fetch_request {
    const char *url;
    const char *etag; /* validators of the last good fetch, byte for byte; NULL if none */
    const char *last_modified;
    const char *contact;      /* e.g. "https://example.org/bot"; part of the User-Agent; or NULL */
    const char *proxy;        /* "http://host:port", "socks5h://..."; NULL or "": none */
    const char *const *allow; /* private addresses that may be reached, see address.h; or NULL */
    const char *ca_file;      /* PEM file to trust instead of the system's, or NULL */
    const atomic_int *stop;   /* non-zero ends the transfer (CAM_STOPPED); or NULL */
    size_t max_bytes;         /* of the body, decompressed; default 32 MiB */
    size_t max_header_bytes;  /* of one answer; default 64 KiB */
    size_t max_headers;       /* lines of one answer; default 256 */
    int max_redirects;        /* default 5; 0 allows none */
    long total_ms;            /* all hops together; default 60 s */
    long connect_ms;          /* default 15 s */
    long low_speed_bytes;     /* slower than this many bytes a second ... */
    long low_speed_s;         /* ... for so long is a stalled server; default 16 B/s, 30 s */
};

/* Fills in the defaults; everything else 0. */
void cam_fetch_request_init(struct cam_fetch_request *request, const char *url);

/* Strings are owned by the result, NULL where the server sent none. */
struct cam_fetch_result {
    int http_status;  /* of the last answer; 0 if there was none */
    int not_modified; /* 304: the body is empty, the validators are those to keep */
    struct cam_buffer body;
    char *etag;
    char *last_modified;
    char *content_type;
    char *effective_url; /* after redirects, without credentials */
    char *moved_url;     /* where 301 and 308 alone led, without credentials, never to a host that
                            the credentials are not for; NULL: the address stays (302, 307) */
    long retry_after_s;  /* at most CAM_FETCH_MAX_RETRY_AFTER_S; -1 if the server named none */
    long max_age_s;      /* Cache-Control: max-age; -1 if none, or no-store or no-cache, which say
                            nothing about when to come back.  Validators are kept under either: a
                            304 is what such a server would rather send */
};

/* Fetches.  RESULT is always initialised and must be released; on failure its body and validators
 * are empty and http_status and retry_after_s still tell what the server said.
 *
 *   CAM_ERR_DATA         the URL, a validator or an answer is malformed, not http(s), over a limit
 *   CAM_ERR_UNAVAILABLE  unknown host, refused, timed out, cut short, 429, 5xx, other 4xx
 *   CAM_ERR_NOINPUT      404, 410        CAM_ERR_PERMISSION  401, 403, an address that is not
 * public CAM_ERR_PROTOCOL     TLS or HTTP broken, redirects refused or too many CAM_STOPPED *stop
 * became non-zero (noticed within a second) */
CAM_MUST_USE enum cam_status cam_fetch(const struct cam_fetch_request *request,
                                       struct cam_fetch_result *result);
void cam_fetch_result_release(struct cam_fetch_result *result);

/* Whether URL could be fetched at all: http or https, well formed.  CAM_ERR_DATA says what is
 * wrong, without showing credentials. */
CAM_MUST_USE enum cam_status cam_fetch_check_url(const char *url);

/* URL for people to read: user and password become "***".  Works on any string, valid URL or not;
 * at most OUT_BYTES with the NUL.  Returns OUT. */
char *cam_url_mask(const char *url, char *out, size_t out_bytes);

#endif
