#include "support/httpd.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define MAX_ROUTES   64
#define MAX_REQUESTS 256

struct cam_httpd {
    struct MHD_Daemon *daemon;
    const char *scheme;
    char host[64];
    int port;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t wake;
    int stopping;
    struct cam_httpd_route routes[MAX_ROUTES];
    size_t n_routes;
    struct cam_httpd_request requests[MAX_REQUESTS];
    size_t n_requests, n_working, most_working;
};

struct body {
    const char *bytes;
    size_t n_bytes;
    enum cam_httpd_way way;
    size_t cut_bytes;
};

static ssize_t read_body(void *context, uint64_t position, char *out, size_t room) {
    const struct body *body = context;
    size_t end = body->n_bytes;
    if (body->way == CAM_HTTPD_ENDLESS) {
        size_t at = (size_t)(position % body->n_bytes);
        size_t n = body->n_bytes - at < room ? body->n_bytes - at : room;
        memcpy(out, body->bytes + at, n);
        return (ssize_t)n;
    }
    int is_cut = body->way == CAM_HTTPD_CUT || body->way == CAM_HTTPD_CUT_CHUNKED;
    if (is_cut && body->cut_bytes < end)
        end = body->cut_bytes;
    if (position >= end)
        return is_cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    size_t n = end - (size_t)position < room ? end - (size_t)position : room;
    memcpy(out, body->bytes + position, n);
    return (ssize_t)n;
}

static struct MHD_Response *make_response(const struct cam_httpd_route *route, int status) {
    const char *bytes = route->body ? route->body : "";
    size_t n_bytes = route->n_bytes ? route->n_bytes : strlen(bytes);
    if (status == 304)
        n_bytes = 0;
    if (route->way == CAM_HTTPD_WHOLE || n_bytes == 0)
        return MHD_create_response_from_buffer(n_bytes, (void *)bytes, MHD_RESPMEM_MUST_COPY);
    struct body *body = malloc(sizeof *body);
    if (!body)
        abort();
    *body = (struct body){bytes, n_bytes, route->way, route->cut_bytes};
    uint64_t size = route->way == CAM_HTTPD_CUT ? n_bytes : MHD_SIZE_UNKNOWN;
    return MHD_create_response_from_callback(size, 4096, read_body, body, free);
}

static void add_header(struct MHD_Response *response, const char *name, const char *value) {
    if (value)
        MHD_add_response_header(response, name, value);
}

static enum MHD_Result answer(struct MHD_Connection *connection,
                              const struct cam_httpd_route *route,
                              const struct cam_httpd_request *request) {
    int status = route->status ? route->status : 200;
    if ((route->etag && strcmp(request->if_none_match, route->etag) == 0) ||
        (route->last_modified && !route->etag &&
         strcmp(request->if_modified_since, route->last_modified) == 0))
        status = 304;
    struct MHD_Response *response = make_response(route, status);
    if (!(status == 304 && route->hide_validators_on_304)) {
        add_header(response, "ETag", route->etag);
        add_header(response, "Last-Modified", route->last_modified);
    }
    add_header(response, "Content-Type", route->content_type);
    add_header(response, "Location", route->location);
    add_header(response, "Content-Encoding", route->encoding);
    for (const char *const *h = route->headers; h && *h; h += 2)
        add_header(response, h[0], h[1]);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static void copy_header(struct MHD_Connection *connection, const char *name, char out[256]) {
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    snprintf(out, 256, "%s", value ? value : "");
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **state) {
    struct cam_httpd *server = context;
    struct cam_httpd_route route = {.status = 404, .body = "no such route"};
    struct cam_httpd_request request;
    (void)method, (void)version, (void)upload, (void)upload_bytes, (void)state;
    snprintf(request.path, sizeof request.path, "%s", url);
    copy_header(connection, "Host", request.host);
    copy_header(connection, "User-Agent", request.user_agent);
    copy_header(connection, "If-None-Match", request.if_none_match);
    copy_header(connection, "If-Modified-Since", request.if_modified_since);
    copy_header(connection, "Authorization", request.authorization);
    copy_header(connection, "Accept-Encoding", request.accept_encoding);
    pthread_mutex_lock(&server->mutex);
    if (server->n_requests < MAX_REQUESTS)
        server->requests[server->n_requests++] = request;
    for (size_t i = server->n_routes; i-- > 0;)
        if (strcmp(server->routes[i].path, url) == 0) {
            route = server->routes[i];
            break;
        }
    if (++server->n_working > server->most_working)
        server->most_working = server->n_working;
    if (route.work_ms) {
        pthread_mutex_unlock(&server->mutex);
        usleep((unsigned)route.work_ms * 1000);
        pthread_mutex_lock(&server->mutex);
    }
    while (route.way == CAM_HTTPD_HANG && !server->stopping)
        pthread_cond_wait(&server->wake, &server->mutex);
    server->n_working--;
    pthread_mutex_unlock(&server->mutex);
    return route.way == CAM_HTTPD_HANG ? MHD_NO : answer(connection, &route, &request);
}

static struct cam_httpd *start(const char *address, const char *certificate, const char *key,
                               const char *priorities) {
    struct cam_httpd *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    int is_ipv6 = inet_pton(AF_INET6, address, &in6.sin6_addr) == 1;
    if (!is_ipv6)
        inet_pton(AF_INET, address, &in.sin_addr);
    server->scheme = key ? "https" : "http";
    snprintf(server->host, sizeof server->host, is_ipv6 ? "[%s]" : "%s",
             key ? "localhost" : address);
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->wake, NULL);
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
    const struct sockaddr *bound = is_ipv6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)certificate},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key},
                                   {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)priorities},
                                   {MHD_OPTION_END, 0, NULL}};
    server->daemon = MHD_start_daemon(
        flags | (is_ipv6 ? MHD_USE_IPv6 : 0) | (key ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request,
        server, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)1 << 20, MHD_OPTION_SOCK_ADDR, bound,
        MHD_OPTION_ARRAY, key ? tls : tls + 3, MHD_OPTION_END);
    if (!server->daemon) {
        free(server);
        return NULL;
    }
    server->port = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return server;
}

struct cam_httpd *cam_httpd_start_tls(const char *address, const char *certificate,
                                      const char *key) {
    return start(address, certificate, key, "NORMAL");
}

struct cam_httpd *cam_httpd_start_old_tls(const char *address, const char *certificate,
                                          const char *key) {
    return start(address, certificate, key, "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT");
}

struct cam_httpd *cam_httpd_start(const char *address) {
    return start(address, NULL, NULL, "NORMAL");
}

void cam_httpd_stop(struct cam_httpd *server) {
    if (!server)
        return;
    pthread_mutex_lock(&server->mutex);
    server->stopping = 1;
    pthread_cond_broadcast(&server->wake);
    pthread_mutex_unlock(&server->mutex);
    MHD_stop_daemon(server->daemon);
    pthread_mutex_destroy(&server->mutex);
    pthread_cond_destroy(&server->wake);
    free(server);
}

int cam_httpd_port(const struct cam_httpd *server) {
    return server->port;
}

char *cam_httpd_url(const struct cam_httpd *server, const char *path, char *out, size_t out_bytes) {
    snprintf(out, out_bytes, "%s://%s:%d%s", server->scheme, server->host, server->port, path);
    return out;
}

void cam_httpd_add(struct cam_httpd *server, const struct cam_httpd_route *route) {
    pthread_mutex_lock(&server->mutex);
    if (server->n_routes == MAX_ROUTES)
        abort();
    server->routes[server->n_routes++] = *route;
    pthread_mutex_unlock(&server->mutex);
}

size_t cam_httpd_n_requests(struct cam_httpd *server) {
    pthread_mutex_lock(&server->mutex);
    size_t n = server->n_requests;
    pthread_mutex_unlock(&server->mutex);
    return n;
}

const struct cam_httpd_request *cam_httpd_request(struct cam_httpd *server, size_t i_request) {
    return &server->requests[i_request]; /* written once, before it was counted */
}

size_t cam_httpd_most(struct cam_httpd *server) {
    pthread_mutex_lock(&server->mutex);
    size_t most = server->most_working;
    pthread_mutex_unlock(&server->mutex);
    return most;
}

char *cam_httpd_gzip(const char *bytes, size_t n_bytes, size_t n_zeros, size_t *n_out) {
    static char zeros[65536];
    z_stream z = {0};
    size_t left = n_zeros ? n_zeros : n_bytes;
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    size_t room = left / 500 + n_bytes + 4096; /* deflate is at most 1,030 to 1 */
    char *out = malloc(room);
    if (!out)
        abort();
    z.next_out = (unsigned char *)out;
    z.avail_out = (unsigned)room;
    int code;
    do {
        size_t n = left < sizeof zeros || !n_zeros ? left : sizeof zeros;
        z.next_in = (unsigned char *)(n_zeros ? zeros : bytes);
        z.avail_in = (unsigned)n;
        left -= n;
        code = deflate(&z, left ? Z_NO_FLUSH : Z_FINISH);
        if (code == Z_STREAM_ERROR || z.avail_in)
            abort();
    } while (code != Z_STREAM_END);
    *n_out = z.total_out;
    deflateEnd(&z);
    return out;
}
