/* Messages between two ends of a socket, one of which does not behave. */
#include "serve/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT 4096

static struct cam_wire wire;
static int other;

static void setup(void) {
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cam_wire_init(&wire, fds[0], -1, LIMIT);
    other = fds[1];
}

static void teardown(void) {
    cam_wire_release(&wire);
    if (other >= 0)
        close(other);
}

TestSuite(wire, .init = setup, .fini = teardown);

static void say(const char *text) {
    cr_assert_eq(write(other, text, strlen(text)), (ssize_t)strlen(text));
}

static void expect_n(long long n) {
    json_t *message = NULL;
    enum cam_status status = cam_wire_receive(&wire, 10, &message);
    cr_assert_eq(status, CAM_OK, "%s", cam_message());
    cr_assert_eq(json_integer_value(json_object_get(message, "n")), n);
    json_decref(message);
}

static void expect_status(enum cam_status wanted, double seconds) {
    json_t *message = NULL;
    enum cam_status status = cam_wire_receive(&wire, seconds, &message);
    cr_assert_eq(status, wanted, "%s: %s", cam_status_name(status), cam_message());
    cr_assert_null(message);
}

Test(wire, messages_come_whole_whatever_the_pieces) {
    say("{\"n\":1}\n{\"n\":2}\n{\"n\"");
    expect_n(1);
    expect_n(2);
    say(":3}");
    say("\n{\"n\":4}\n");
    expect_n(3);
    expect_n(4);
    close(other);
    other = -1;
    expect_status(CAM_STOPPED, 10);
}

Test(wire, what_is_sent_is_received) {
    char line[128] = "";
    cr_assert_eq(cam_wire_send(&wire, 10, json_pack("{s:s}", "text", "a\nb \xC3\xA4")), CAM_OK);
    cr_assert_gt(read(other, line, sizeof line - 1), 0);
    cr_assert_str_eq(line, "{\"text\":\"a\\nb \xC3\xA4\"}\n");
}

Test(wire, H01_nothing_but_bounded_objects_is_taken) {
    static const char *const bad[] = {"nonsense\n",
                                      "[1]\n",
                                      "\"text\"\n",
                                      "{\"a\":1}}\n",
                                      "{\"a\":1,\"a\":2}\n",
                                      "\n",
                                      "{\"a\":\"\\u0000\"}\n",
                                      "{\"a\":\"\xFF\"}\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        say(bad[i]);
        expect_status(CAM_ERR_PROTOCOL, 10);
    }
    char *deep = malloc(LIMIT);
    memset(deep, '[', LIMIT - 2);
    strcpy(deep + LIMIT - 2, "\n");
    say(deep);
    expect_status(CAM_ERR_PROTOCOL, 10);
    memset(deep, ' ', LIMIT - 1);
    deep[LIMIT - 1] = '\0';
    say(deep);
    say("  ");
    expect_status(CAM_ERR_PROTOCOL, 10);
    cr_assert(strstr(cam_message(), "exceeds the limit"), "%s", cam_message());
    free(deep);
}

Test(wire, H01_a_silent_peer_is_given_up) {
    say("{\"n\":");
    expect_status(CAM_ERR_BUSY, 0.05);
    cr_assert_not(cam_wire_hung_up(&wire));
    cr_assert_eq(shutdown(other, SHUT_WR), 0);
    cr_assert_not(cam_wire_hung_up(&wire), "it still listens");
    close(other);
    other = -1;
    cr_assert(cam_wire_hung_up(&wire));
    cr_assert_eq(cam_wire_send(&wire, 10, json_object()), CAM_STOPPED);
}

Test(wire, H01_a_peer_that_does_not_read_is_given_up) {
    enum cam_status status = CAM_OK;
    char *text = calloc(1, LIMIT);
    memset(text, 'x', LIMIT - 1);
    for (int i = 0; i < 100000 && status == CAM_OK; i++)
        status = cam_wire_send(&wire, 0.05, json_pack("{s:s}", "text", text));
    cr_assert_eq(status, CAM_ERR_BUSY);
    free(text);
}

Test(wire, waiting_ends_when_it_is_to_stop) {
    int stop[2];
    cr_assert_eq(pipe(stop), 0);
    wire.stop_fd = stop[0];
    cr_assert_eq(write(stop[1], "x", 1), 1);
    expect_status(CAM_STOPPED, -1);
    say("{\"n\":5}\n");
    expect_n(5);
    close(stop[0]);
    close(stop[1]);
}
