/* N07 with a name server of our own, asked by the C library's resolver as ever: a name that is at a
 * public address first and at a private one afterwards.  All in a network namespace of its own,
 * where the public address is one of the loopback device's, so nothing leaves the machine. */
#include "feed/fetch.h"
#include "support/httpd.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUBLIC  "93.184.215.14"
#define PRIVATE "127.0.0.1"
#define SKIPPED 77

/* ---- the name server: A is what `answer` says, AAAA is empty ---- */

static _Atomic(const char *) answer = PUBLIC;
static atomic_int n_asked; /* for an A record */

static void reply(int fd, unsigned char *packet, size_t n, struct sockaddr_in *to) {
    size_t at = 12;
    while (at < n && packet[at])
        at += packet[at] + 1u;
    at += 5; /* the root label, type, class */
    if (at > n)
        return;
    int is_a = packet[at - 3] == 1;
    packet[2] = 0x84, packet[3] = 0;                /* an answer, from the one who knows */
    packet[6] = 0, packet[7] = (unsigned char)is_a; /* answers */
    memset(packet + 8, 0, 4);                       /* nothing else */
    if (is_a) {
        static const unsigned char head[] = {0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4}; /* TTL 0 */
        memcpy(packet + at, head, sizeof head);
        inet_pton(AF_INET, answer, packet + at + sizeof head);
        at += sizeof head + 4;
        n_asked++;
    }
    sendto(fd, packet, at, 0, (struct sockaddr *)to, sizeof *to);
}

static void *serve_names(void *context) {
    int fd = *(int *)context;
    for (;;) {
        unsigned char packet[1024];
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from, &size);
        if (n < 17)
            return NULL;
        reply(fd, packet, (size_t)n, &from);
    }
}

/* ---- the namespace ---- */

static int write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (!file)
        return -1;
    fputs(text, file);
    return fclose(file);
}

static int bring_up(const char *device, const char *address) {
    struct ifreq request = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), code = 0;
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(&request.ifr_addr, &in, sizeof in);
    code |= ioctl(fd, SIOCSIFADDR, &request);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    code |= ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return code;
}

/* Network and files of our own; 0, or -1 where the system does not let us. */
static int enter_namespace(void) {
    char resolv[] = "/tmp/cambium-resolv.XXXXXX", names[] = "/tmp/cambium-nsswitch.XXXXXX", map[32];
    unsigned user = (unsigned)getuid();
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0)
            return -1;
        snprintf(map, sizeof map, "0 %u 1", user);
        if (write_text("/proc/self/uid_map", map) != 0)
            return -1;
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return -1;
    close(mkstemp(resolv));
    close(mkstemp(names));
    write_text(resolv, "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n");
    write_text(names, "hosts: dns\n");
    int code = mount(resolv, "/etc/resolv.conf", NULL, MS_BIND, NULL) |
               mount(names, "/etc/nsswitch.conf", NULL, MS_BIND, NULL) |
               bring_up("lo", "127.0.0.1") | bring_up("lo:1", PUBLIC);
    unlink(resolv);
    unlink(names);
    return code ? -1 : 0;
}

/* ---- the test ---- */

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%d: %s: %s\n", __LINE__, #what, cam_message());                       \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static enum cam_status fetch(const char *url, int *http_status) {
    struct cam_fetch_request request;
    struct cam_fetch_result result;
    cam_fetch_request_init(&request, url);
    request.total_ms = 20000;
    enum cam_status status = cam_fetch(&request, &result);
    *http_status = result.http_status;
    cam_fetch_result_release(&result);
    return status;
}

static int run(void) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(53)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), status = 0;
    char url[128], hop[128];
    pthread_t thread;
    inet_pton(AF_INET, "127.0.0.1", &in.sin_addr);
    CHECK(bind(fd, (struct sockaddr *)&in, sizeof in) == 0);
    CHECK(pthread_create(&thread, NULL, serve_names, &fd) == 0);
    struct cam_httpd *outside = cam_httpd_start(PUBLIC), *inside = cam_httpd_start(PRIVATE);
    CHECK(outside && inside);
    cam_httpd_add(outside, &(struct cam_httpd_route){.path = "/f", .body = "public"});
    snprintf(hop, sizeof hop, "http://rebind.example:%d/secret", cam_httpd_port(inside));
    cam_httpd_add(outside, &(struct cam_httpd_route){
                               .path = "/hop", .status = 302, .body = "", .location = hop});
    cam_httpd_add(inside, &(struct cam_httpd_route){.path = "/secret", .body = "private"});

    /* The name is at a public address: it is asked for, by that address. */
    snprintf(url, sizeof url, "http://rebind.example:%d/f", cam_httpd_port(outside));
    CHECK(fetch(url, &status) == CAM_OK && status == 200);
    CHECK(n_asked > 0);
    CHECK(cam_httpd_n_requests(outside) == 1);

    /* The same name, now private, where a server is listening: nobody is asked. */
    answer = PRIVATE;
    int before = n_asked;
    CHECK(fetch(hop, &status) == CAM_ERR_PERMISSION && status == 0);
    CHECK(strstr(cam_message(), PRIVATE) != NULL);
    CHECK(n_asked > before);
    CHECK(cam_httpd_n_requests(inside) == 0);

    /* And where a public host redirects to it. */
    snprintf(url, sizeof url, "http://" PUBLIC ":%d/hop", cam_httpd_port(outside));
    CHECK(fetch(url, &status) == CAM_ERR_PERMISSION);
    CHECK(cam_httpd_n_requests(outside) == 2);
    CHECK(cam_httpd_n_requests(inside) == 0);
    cam_httpd_stop(outside);
    cam_httpd_stop(inside);
    shutdown(fd, SHUT_RDWR);
    return 0;
}

Test(rebinding, N07_a_real_resolvers_second_answer_is_refused_before_anything_is_sent) {
    int state = 0;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        _exit(enter_namespace() != 0 ? SKIPPED : run());
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_assert(WIFEXITED(state));
    if (WEXITSTATUS(state) == SKIPPED)
        cr_skip_test("no network namespace for this user: not checked");
    cr_assert_eq(WEXITSTATUS(state), 0);
}
