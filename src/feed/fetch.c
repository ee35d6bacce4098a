/* Redirects are followed here, hop by hop, instead of by libcurl: each target is then judged like a
 * first address (scheme, never https to http), and credentials are attached only where host, port
 * and scheme are those they were given for. */
#include "feed/fetch.h"

#include "base/clock.h"
#include "feed/address.h"
#include "feed/gunzip.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_VALIDATOR_BYTES 1024  /* longer ones are not kept: cut, they would be lies */
#define MAX_DROPPED_BYTES   65536 /* read from the body of an error page before we hang up */
#define SHOWN_BYTES         300

enum problem {
    PROBLEM_NONE,
    PROBLEM_BODY,     /* over max_bytes */
    PROBLEM_HEADER,   /* over max_header_bytes or max_headers */
    PROBLEM_ENCODING, /* an encoding we did not ask for */
    PROBLEM_ADDRESS,  /* not public, not allowed */
    PROBLEM_OTHER,    /* cam_message() says it; `status` is the status */
};

struct transfer {
    const struct cam_fetch_request *request;
    struct cam_fetch_result *result;
    CURL *curl;
    struct curl_slist *headers;
    char shown[SHOWN_BYTES]; /* the request's URL, masked, for messages */
    char error[CURL_ERROR_SIZE];
    char refused[64];      /* the address that was refused */
    char *user, *password; /* of the request's URL */
    char *origin;          /* "scheme://host:port" they belong to */
    char *host;            /* of the current hop, without brackets */
    char *target;          /* of the current hop, without credentials */
    char *moved;           /* where permanent redirects led; NULL so far */
    int is_home;           /* the current hop goes where the credentials belong */
    int is_uncacheable;    /* no-store or no-cache */
    size_t header_bytes, n_headers, dropped_bytes;
    struct cam_gunzip *gunzip; /* NULL where the body comes as it is */
    char encoding[32];         /* Content-Encoding of the current answer */
    enum problem problem;
    enum cam_status status; /* for PROBLEM_OTHER */
    int enough;             /* hung up on an error page: not a failure */
    double deadline;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void cam_fetch_request_init(struct cam_fetch_request *request, const char *url) {
    *request = (struct cam_fetch_request){
        .url = url,
        .max_bytes = 32u << 20,
        .max_header_bytes = 64u << 10,
        .max_headers = 256,
        .max_redirects = 5,
        .total_ms = 60000,
        .connect_ms = 15000,
        .low_speed_bytes = 16,
        .low_speed_s = 30,
    };
}

static void free_strings(struct cam_fetch_result *result) {
    free(result->etag);
    free(result->last_modified);
    free(result->content_type);
    free(result->effective_url);
    result->etag = result->last_modified = result->content_type = result->effective_url = NULL;
}

void cam_fetch_result_release(struct cam_fetch_result *result) {
    free_strings(result);
    free(result->moved_url);
    result->moved_url = NULL;
    cam_buffer_release(&result->body);
}

/* ---- what libcurl calls ---- */

/* The first bytes of a body have come: decide how it is decoded. */
static enum problem begin_body(struct transfer *t) {
    if (!t->encoding[0] || strcasecmp(t->encoding, "identity") == 0 || t->gunzip)
        return PROBLEM_NONE;
    if (strcasecmp(t->encoding, "gzip") != 0 && strcasecmp(t->encoding, "x-gzip") != 0)
        return PROBLEM_ENCODING;
    t->status = cam_gunzip_new(&t->gunzip);
    return t->status == CAM_OK ? PROBLEM_NONE : PROBLEM_OTHER;
}

/* Stores a piece of the body, decoded; what is counted against the limit is what we keep, as
 * libcurl's own limits count what comes over the wire (F3). */
static enum problem keep_body(struct transfer *t, const char *bytes, size_t n_bytes) {
    enum problem problem = begin_body(t);
    if (problem != PROBLEM_NONE)
        return problem;
    t->status = t->gunzip ? cam_gunzip_push(t->gunzip, bytes, n_bytes, &t->result->body)
                          : cam_buffer_append(&t->result->body, bytes, n_bytes);
    return t->status == CAM_OK         ? PROBLEM_NONE
           : t->status == CAM_ERR_DATA ? PROBLEM_BODY
                                       : PROBLEM_OTHER;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context) {
    struct transfer *t = context;
    size_t n_bytes = size * n;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299) {
        t->dropped_bytes += n_bytes;
        t->enough = t->dropped_bytes > MAX_DROPPED_BYTES;
        return t->enough ? 0 : n_bytes;
    }
    t->problem = keep_body(t, bytes, n_bytes);
    return t->problem == PROBLEM_NONE ? n_bytes : 0;
}

/* The value if the header line is NAME's: trimmed, allocated; NULL otherwise or if it is longer
 * than a validator may be or holds control characters, which must never be sent back (N15). */
static char *header_value(const char *line, size_t n_bytes, const char *name) {
    size_t n_name = strlen(name);
    if (n_bytes <= n_name || line[n_name] != ':' || strncasecmp(line, name, n_name) != 0)
        return NULL;
    const char *from = line + n_name + 1, *to = line + n_bytes;
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    if (to == from || to - from > MAX_VALIDATOR_BYTES)
        return NULL;
    for (const char *c = from; c < to; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            return NULL;
    return strndup(from, (size_t)(to - from));
}

static void keep(char **slot, char *value) {
    if (!value)
        return;
    free(*slot);
    *slot = value;
}

/* Seconds of a Retry-After value: a number or an HTTP date; -1 if it is neither. */
static long retry_after(const char *value) {
    const time_t now = (time_t)(cam_clock_unix_ms() / 1000);
    long long seconds = -1;
    if (isdigit((unsigned char)value[0])) {
        char *end;
        errno = 0;
        seconds = strtoll(value, &end, 10);
        if (*end)
            seconds = -1;
    }
    if (seconds < 0) {
        time_t when = curl_getdate(value, NULL);
        if (when == (time_t)-1)
            return -1;
        seconds = when > now ? (long long)(when - now) : 0;
    }
    return seconds > CAM_FETCH_MAX_RETRY_AFTER_S ? CAM_FETCH_MAX_RETRY_AFTER_S : (long)seconds;
}

/* Content-Encoding, once: two of them are two layers, which we do not unpack. */
static void note_encoding(struct transfer *t, const char *line, size_t n_bytes) {
    char *value = header_value(line, n_bytes, "Content-Encoding");
    if (value)
        snprintf(t->encoding, sizeof t->encoding, "%s%s", t->encoding[0] ? "several, " : "", value);
    free(value);
}

/* Cache-Control: how long the answer is fresh, unless it says not to be cached at all. */
static void note_freshness(struct transfer *t, const char *line, size_t n_bytes) {
    char *value = header_value(line, n_bytes, "Cache-Control"), *rest = NULL;
    for (char *word = value ? strtok_r(value, ", \t", &rest) : NULL; word;
         word = strtok_r(NULL, ", \t", &rest)) {
        if (strcasecmp(word, "no-store") == 0 || strcasecmp(word, "no-cache") == 0)
            t->is_uncacheable = 1;
        if (strncasecmp(word, "max-age=", 8) != 0)
            continue;
        const char *digits = word + 8 + (word[8] == '"');
        if (isdigit((unsigned char)*digits)) {
            long long seconds = strtoll(digits, NULL, 10);
            t->result->max_age_s =
                seconds > CAM_FETCH_MAX_RETRY_AFTER_S ? CAM_FETCH_MAX_RETRY_AFTER_S : (long)seconds;
        }
    }
    if (t->is_uncacheable)
        t->result->max_age_s = -1;
    free(value);
}

static size_t on_header(char *line, size_t size, size_t n, void *context) {
    struct transfer *t = context;
    size_t n_bytes = size * n;
    t->header_bytes += n_bytes;
    t->n_headers++;
    if (t->header_bytes > t->request->max_header_bytes || t->n_headers > t->request->max_headers) {
        t->problem = PROBLEM_HEADER;
        return 0;
    }
    if (n_bytes >= 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* a new answer begins */
        free_strings(t->result);
        t->result->retry_after_s = t->result->max_age_s = -1;
        t->is_uncacheable = 0;
        t->encoding[0] = '\0';
    }
    note_encoding(t, line, n_bytes);
    note_freshness(t, line, n_bytes);
    keep(&t->result->etag, header_value(line, n_bytes, "ETag"));
    keep(&t->result->last_modified, header_value(line, n_bytes, "Last-Modified"));
    keep(&t->result->content_type, header_value(line, n_bytes, "Content-Type"));
    char *value = header_value(line, n_bytes, "Retry-After");
    if (value)
        t->result->retry_after_s = retry_after(value);
    free(value);
    return n_bytes;
}

static int has_proxy(const struct cam_fetch_request *request) {
    return request->proxy && *request->proxy;
}

static curl_socket_t on_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    struct transfer *t = context;
    (void)purpose;
    /* To a proxy is where the operator sent us; see check_behind_proxy. */
    if (!has_proxy(t->request) && !cam_address_is_public(&address->addr) &&
        !cam_address_is_allowed(&address->addr, t->host, t->request->allow)) {
        t->problem = PROBLEM_ADDRESS;
        cam_address_text(&address->addr, t->refused, sizeof t->refused);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int on_progress(void *context, curl_off_t total_down, curl_off_t down, curl_off_t total_up,
                       curl_off_t up) {
    struct transfer *t = context;
    (void)total_down, (void)down, (void)total_up, (void)up;
    return t->request->stop && atomic_load(t->request->stop) != 0;
}

/* ---- one hop ---- */

/* A part of the URL, decoded by FLAGS; allocated with malloc(3), NULL if it has none. */
static char *url_part(CURLU *url, CURLUPart part, unsigned flags) {
    char *value = NULL;
    if (curl_url_get(url, part, &value, flags) != CURLUE_OK)
        return NULL;
    char *copy = strdup(value);
    curl_free(value);
    return copy;
}

/* Refuses what is no http(s) URL, and the way from https back to http. */
static enum cam_status check_url(const struct transfer *t, CURLU *url, const char *text,
                                 int is_first) {
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, 0);
    char *scheme = code == CURLUE_OK ? url_part(url, CURLUPART_SCHEME, 0) : NULL;
    int is_http = scheme && strcmp(scheme, "http") == 0;
    int is_https = scheme && strcmp(scheme, "https") == 0;
    int is_other = scheme ? !is_http && !is_https : code == CURLUE_UNSUPPORTED_SCHEME;
    free(scheme);
    if (is_other)
        return is_first ? cam_fail(CAM_ERR_DATA, "%s: only http and https addresses are fetched",
                                   t->shown)
                        : cam_fail(CAM_ERR_PROTOCOL,
                                   "%s: redirected to something that is not http or https, refused",
                                   t->shown);
    if (!is_http && !is_https)
        return cam_fail(is_first ? CAM_ERR_DATA : CAM_ERR_PROTOCOL, "%s: not a valid address (%s)",
                        t->shown, curl_url_strerror(code));
    if (!is_first && is_http && strncmp(t->target, "https:", 6) == 0)
        return cam_fail(CAM_ERR_PROTOCOL, "%s: redirected from https to http, refused", t->shown);
    return CAM_OK;
}

/* "scheme://host:port", allocated; NULL if no memory. */
static char *origin_of(CURLU *url) {
    char *scheme = url_part(url, CURLUPART_SCHEME, 0);
    char *host = url_part(url, CURLUPART_HOST, 0);
    char *port = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    char *origin = NULL;
    if (scheme && host && port && asprintf(&origin, "%s://%s:%s", scheme, host, port) < 0)
        origin = NULL;
    free(scheme);
    free(host);
    free(port);
    return origin;
}

/* Takes the checked URL apart: target and host of this hop; on the first one the credentials and
 * the origin they belong to. */
static enum cam_status split_url(struct transfer *t, CURLU *url, int is_first) {
    if (is_first) {
        t->user = url_part(url, CURLUPART_USER, CURLU_URLDECODE);
        t->password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
        t->origin = origin_of(url);
    }
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    free(t->target);
    free(t->host);
    t->target = url_part(url, CURLUPART_URL, 0);
    t->host = url_part(url, CURLUPART_HOST, 0);
    char *origin = origin_of(url);
    if (!t->target || !t->host || !origin || !t->origin) {
        free(origin);
        return cam_fail(CAM_ERR_OS, "out of memory for a URL");
    }
    size_t n_host = strlen(t->host); /* "[::1]" -> "::1", the way allow lists spell it */
    if (t->host[0] == '[' && n_host > 2) {
        memmove(t->host, t->host + 1, n_host - 2);
        t->host[n_host - 2] = '\0';
    }
    t->is_home = strcmp(origin, t->origin) == 0;
    free(origin);
    curl_easy_setopt(t->curl, CURLOPT_USERNAME, t->is_home ? t->user : NULL);
    curl_easy_setopt(t->curl, CURLOPT_PASSWORD, t->is_home ? t->password : NULL);
    curl_easy_setopt(t->curl, CURLOPT_URL, t->target);
    return CAM_OK;
}

/* Through a proxy no socket shows where a request ends up.  What the URL itself says is checked:
 * addresses (libcurl has turned "0x7f.1" and its like into dotted form) and localhost. */
static enum cam_status check_behind_proxy(const struct transfer *t) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    const struct sockaddr *address = NULL;
    size_t n = strlen(t->host);
    if (!has_proxy(t->request))
        return CAM_OK;
    if (inet_pton(AF_INET, t->host, &in.sin_addr) == 1)
        address = (const struct sockaddr *)&in;
    else if (inet_pton(AF_INET6, t->host, &in6.sin6_addr) == 1)
        address = (const struct sockaddr *)&in6;
    int is_private = address ? !cam_address_is_public(address) &&
                                   !cam_address_is_allowed(address, t->host, t->request->allow)
                             : strcasecmp(t->host, "localhost") == 0 ||
                                   (n > 10 && strcasecmp(t->host + n - 10, ".localhost") == 0);
    if (is_private)
        return cam_fail(CAM_ERR_PERMISSION,
                        "%s: %s is not a public address, and is not asked for through a proxy",
                        t->shown, t->host);
    return CAM_OK;
}

static enum cam_status set_target(struct transfer *t, const char *text, int is_first) {
    CURLU *url = curl_url();
    if (!url)
        return cam_fail(CAM_ERR_OS, "out of memory for a URL");
    enum cam_status status = check_url(t, url, text, is_first);
    if (status == CAM_OK)
        status = split_url(t, url, is_first);
    if (status == CAM_OK)
        status = check_behind_proxy(t);
    curl_url_cleanup(url);
    return status;
}

enum cam_status cam_fetch_check_url(const char *text) {
    struct transfer t = {0};
    CURLU *url = curl_url();
    if (!url)
        return cam_fail(CAM_ERR_OS, "out of memory for a URL");
    cam_url_mask(text, t.shown, sizeof t.shown);
    enum cam_status status = check_url(&t, url, text, 1);
    curl_url_cleanup(url);
    return status;
}

static enum cam_status add_validator(struct transfer *t, const char *header, const char *value) {
    if (!value || !*value)
        return CAM_OK;
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            return cam_fail(CAM_ERR_DATA,
                            "%s: the stored validator for %s holds a line break or control "
                            "character and is not sent; clear it",
                            t->shown, header);
    char *line = NULL;
    struct curl_slist *more = NULL;
    if (asprintf(&line, "%s: %s", header, value) >= 0)
        more = curl_slist_append(t->headers, line);
    free(line);
    if (!more)
        return cam_fail(CAM_ERR_OS, "out of memory for a request header");
    t->headers = more;
    return CAM_OK;
}

/* "cambium/0.1.0 (+CONTACT)"; a contact that would break the header is left out. */
static void write_agent(const char *contact, char *agent, size_t agent_bytes) {
    int is_plain = contact && *contact;
    for (const char *c = contact; is_plain && *c; c++)
        is_plain = *c >= 0x20 && *c < 0x7F && *c != '(' && *c != ')';
    if (is_plain)
        snprintf(agent, agent_bytes, "cambium/%s (+%s)", CAM_VERSION, contact);
    else
        snprintf(agent, agent_bytes, "cambium/%s", CAM_VERSION);
}

static enum cam_status set_options(struct transfer *t) {
    const struct cam_fetch_request *request = t->request;
    CURL *curl = t->curl;
    char agent[512];
    write_agent(request->contact, agent, sizeof agent);
    CAM_TRY(add_validator(t, "If-None-Match", request->etag));
    CAM_TRY(add_validator(t, "If-Modified-Since", request->last_modified));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, agent);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, has_proxy(request) ? request->proxy : "");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, has_proxy(request) ? "" : "*"); /* see fetch.h */
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L); /* see gunzip.h */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, request->connect_ms);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, request->low_speed_bytes);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, request->low_speed_s);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* a hanging name server holds nobody up */
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->error);
    if (request->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
    return CAM_OK;
}

static enum cam_status curl_failure(struct transfer *t, CURLcode code) {
    const char *why = t->error[0] ? t->error : curl_easy_strerror(code);
    int is_written_out = t->host && strcmp(t->host, t->refused) == 0;
    switch (t->problem) {
    case PROBLEM_BODY:
        return cam_fail(CAM_ERR_DATA, "%s: the decompressed body exceeds the limit of %zu bytes",
                        t->shown, t->request->max_bytes);
    case PROBLEM_HEADER:
        return cam_fail(CAM_ERR_DATA,
                        "%s: the answer's header exceeds the limit of %zu bytes or %zu lines",
                        t->shown, t->request->max_header_bytes, t->request->max_headers);
    case PROBLEM_ENCODING:
        return cam_fail(CAM_ERR_PROTOCOL, "%s: content encoding %s was not asked for", t->shown,
                        t->encoding);
    case PROBLEM_OTHER:
        return cam_context(t->status, "%s", t->shown);
    case PROBLEM_ADDRESS:
        if (code == CURLE_COULDNT_CONNECT)
            return cam_fail(
                CAM_ERR_PERMISSION,
                "%s: %s%s%s%s is not a public address; if that is meant to be: run --allow-host, "
                "or cambium config feed.allow_hosts",
                t->shown, is_written_out ? "" : t->host, is_written_out ? "" : " is at ",
                t->refused, is_written_out ? "" : ", which");
        break;
    case PROBLEM_NONE:
        break;
    }
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return cam_fail(CAM_STOPPED, "%s: stopped", t->shown);
    case CURLE_OUT_OF_MEMORY:
        return cam_fail(CAM_ERR_OS, "%s: out of memory", t->shown);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        return cam_fail(CAM_ERR_PROTOCOL, "%s: TLS: %s", t->shown, why);
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return cam_fail(CAM_ERR_PROTOCOL, "%s: %s", t->shown, why);
    default: /* names, connections, time-outs, transfers cut short: later may be better */
        return cam_fail(CAM_ERR_UNAVAILABLE, "%s: %s", t->shown, why);
    }
}

static enum cam_status run_hop(struct transfer *t) {
    double left_s = t->deadline - cam_clock_seconds();
    if (left_s <= 0)
        return cam_fail(CAM_ERR_UNAVAILABLE, "%s: no answer within %ld ms", t->shown,
                        t->request->total_ms);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, (long)(left_s * 1000) + 1);
    t->header_bytes = t->n_headers = t->dropped_bytes = 0;
    t->problem = PROBLEM_NONE;
    t->enough = 0;
    t->error[0] = '\0';
    cam_buffer_clear(&t->result->body);
    cam_gunzip_free(t->gunzip);
    t->gunzip = NULL;
    CURLcode code = curl_easy_perform(t->curl);
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    t->result->http_status = (int)status;
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && t->enough))
        return curl_failure(t, code);
    if (t->gunzip && !cam_gunzip_is_complete(t->gunzip))
        return cam_fail(CAM_ERR_UNAVAILABLE, "%s: the gzip stream ends early", t->shown);
    return CAM_OK;
}

/* ---- what the answer means ---- */

static const char *reason(int status) {
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {410, "Gone"},
        {429, "Too Many Requests"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return status >= 500 ? "server error" : status >= 400 ? "refused" : "unexpected answer";
}

static enum cam_status http_failure(const struct transfer *t) {
    int status = t->result->http_status;
    const char *text = reason(status);
    if (status == 404 || status == 410)
        return cam_fail(CAM_ERR_NOINPUT, "%s: HTTP %d %s; check the address (cambium feed list)",
                        t->shown, status, text);
    if (status == 401 || status == 403)
        return cam_fail(CAM_ERR_PERMISSION, "%s: HTTP %d %s; check the credentials", t->shown,
                        status, text);
    if (status >= 400 && t->result->retry_after_s >= 0)
        return cam_fail(CAM_ERR_UNAVAILABLE, "%s: HTTP %d %s; asked to wait %ld s", t->shown,
                        status, text, t->result->retry_after_s);
    return cam_fail(status >= 400 ? CAM_ERR_UNAVAILABLE : CAM_ERR_PROTOCOL, "%s: HTTP %d %s",
                    t->shown, status, text);
}

/* 304 confirms the validators we sent; a server need not repeat them. */
static enum cam_status accept_not_modified(struct transfer *t) {
    struct cam_fetch_result *result = t->result;
    if (!t->headers)
        return cam_fail(CAM_ERR_PROTOCOL, "%s: HTTP 304 to a request without validators", t->shown);
    result->not_modified = 1;
    cam_buffer_clear(&result->body);
    if (!result->etag && t->request->etag && !(result->etag = strdup(t->request->etag)))
        return cam_fail(CAM_ERR_OS, "out of memory for a validator");
    if (!result->last_modified && t->request->last_modified &&
        !(result->last_modified = strdup(t->request->last_modified)))
        return cam_fail(CAM_ERR_OS, "out of memory for a validator");
    return CAM_OK;
}

static int is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The hop just chosen is where the feed lives from now on, if every redirect so far was permanent
 * and its credentials may go there. */
static enum cam_status note_moved(struct transfer *t, int is_permanent) {
    char *moved = NULL;
    if (!is_permanent || (t->user && !t->is_home))
        return CAM_OK;
    moved = strdup(t->target);
    if (!moved)
        return cam_fail(CAM_ERR_OS, "out of memory for a URL");
    free(t->moved);
    t->moved = moved;
    return CAM_OK;
}

static enum cam_status run(struct transfer *t) {
    int is_permanent = 1;
    CAM_TRY(set_target(t, t->request->url, 1));
    CAM_TRY(set_options(t));
    for (int i_hop = 0;; i_hop++) {
        char *next = NULL;
        CAM_TRY(run_hop(t));
        curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &next);
        if (!is_redirect(t->result->http_status) || !next)
            break;
        if (i_hop >= t->request->max_redirects)
            return cam_fail(CAM_ERR_PROTOCOL, "%s: more than %d redirects", t->shown,
                            t->request->max_redirects);
        is_permanent &= t->result->http_status == 301 || t->result->http_status == 308;
        CAM_TRY(set_target(t, next, 0));
        CAM_TRY(note_moved(t, is_permanent));
    }
    int status = t->result->http_status;
    if (status == 304)
        CAM_TRY(accept_not_modified(t));
    else if (status < 200 || status > 299 || status == 206) /* a part was never asked for */
        return http_failure(t);
    t->result->effective_url = strdup(t->target);
    if (!t->result->effective_url)
        return cam_fail(CAM_ERR_OS, "out of memory for a URL");
    t->result->moved_url = t->moved;
    t->moved = NULL;
    return CAM_OK;
}

enum cam_status cam_fetch(const struct cam_fetch_request *request,
                          struct cam_fetch_result *result) {
    *result = (struct cam_fetch_result){.retry_after_s = -1, .max_age_s = -1};
    cam_buffer_init(&result->body, request->max_bytes);
    struct transfer t = {.request = request, .result = result};
    cam_url_mask(request->url, t.shown, sizeof t.shown);
    pthread_once(&once, init_curl);
    t.curl = curl_easy_init();
    if (!t.curl)
        return cam_fail(CAM_ERR_OS, "%s: out of memory for a transfer", t.shown);
    t.deadline = cam_clock_seconds() + (double)request->total_ms / 1000;
    enum cam_status status = run(&t);
    curl_easy_cleanup(t.curl);
    curl_slist_free_all(t.headers);
    cam_gunzip_free(t.gunzip);
    free(t.user);
    free(t.password);
    free(t.origin);
    free(t.host);
    free(t.target);
    free(t.moved);
    if (status != CAM_OK) {
        free_strings(result);
        cam_buffer_release(&result->body);
    }
    return status;
}

/* ---- masking ---- */

/* Where the credentials in URL end (at their '@'), or NULL.  A password with an unescaped '/' is no
 * valid URL, but it is typed, and the message about it must not show it: what looks like a host and
 * a port that is no number is taken for credentials too. */
static const char *credentials_end(const char *authority) {
    size_t n = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', n);
    if (at)
        return at;
    const char *colon = memchr(authority, ':', n);
    if (!colon || *authority == '[' ||
        strspn(colon + 1, "0123456789") == n - (size_t)(colon + 1 - authority))
        return NULL;
    return strrchr(authority, '@');
}

char *cam_url_mask(const char *url, char *out, size_t out_bytes) {
    const char *scheme_end = strstr(url, "://");
    const char *authority = scheme_end ? scheme_end + 3 : url;
    const char *at = credentials_end(authority);
    if (at)
        snprintf(out, out_bytes, "%.*s***%s", (int)(authority - url), url, at);
    else
        snprintf(out, out_bytes, "%s", url);
    return out;
}
