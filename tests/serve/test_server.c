/* The control socket against clients that behave and clients that do not. */
#include "serve/server.h"

#include "run/service.h"
#include "run/tiny_world.h"
#include "serve/control.h"
#include "serve/intake.h"
#include "store/query.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct world w;
static struct cam_desk *desk;
static struct cam_server *server;
static pthread_t thread;

static void setup(void) {
    begin(&w, 1, "naive");
    cam_service_catch_signals();
    OK(cam_desk_new(&desk));
    OK(cam_server_start(w.workspace, desk, &server));
}

static void teardown(void) {
    cam_desk_close(desk);
    cam_server_stop(server);
    cam_desk_free(desk);
    end(&w);
}

TestSuite(server, .init = setup, .fini = teardown);

/* ---- the service, where a test needs one ---- */

static void *serve_main(void *context) {
    struct cam_service_options options = {.desk = desk};
    struct cam_service_report report;
    (void)context;
    OK(cam_service_run(w.workspace, w.trainer, &options, &report));
    return NULL;
}

static void start_service(void) {
    cr_assert_eq(pthread_create(&thread, NULL, serve_main, NULL), 0);
}

static void stop_service(void) {
    raise(SIGTERM);
    pthread_join(thread, NULL);
}

/* ---- clients ---- */

static struct cam_wire client(void) {
    struct cam_wire wire;
    OK(cam_control_connect(w.dir, &wire));
    return wire;
}

static json_t *change(const char *command, json_t *arguments) {
    struct cam_wire wire = client();
    json_t *result = NULL;
    OK(cam_control_ask(&wire, command, arguments));
    enum cam_status status = cam_control_answer(&wire, NULL, NULL, &result);
    cr_assert_eq(status, CAM_OK, "%s: %s", command, cam_message());
    cam_wire_release(&wire);
    return result;
}

static void refused(enum cam_status wanted, const char *words, const char *command,
                    json_t *arguments) {
    struct cam_wire wire = client();
    json_t *result = NULL;
    OK(cam_control_ask(&wire, command, arguments));
    enum cam_status status = cam_control_answer(&wire, NULL, NULL, &result);
    cr_assert_eq(status, wanted, "%s: %s: %s", command, cam_status_name(status), cam_message());
    cr_assert(strstr(cam_message(), words), "'%s' lacks '%s'", cam_message(), words);
    cam_wire_release(&wire);
}

static int64_t ask(const char *sql) {
    int64_t value;
    OK(cam_query_int(w.database, sql, NULL, -1, &value));
    return value;
}

static int64_t member(json_t *object, const char *key) {
    int64_t value = json_integer_value(json_object_get(object, key));
    json_decref(object);
    return value;
}

/* Waits for what another thread is about to do. */
static void until(const char *sql) {
    while (ask(sql) != 1)
        usleep(1000);
}

static void send_documents(struct cam_wire *wire, int n) {
    struct cam_document_sink sink = cam_intake_sink(wire);
    for (int i = 0; i < n; i++) {
        char text[64];
        snprintf(text, sizeof text, "Document number %d over the control socket.", i);
        struct cam_document document = {
            .title = "a title", .domain = "socket", .text = text, .text_bytes = strlen(text)};
        cr_assert_eq(sink.document(sink.context, &document), CAM_OK);
    }
}

Test(server, every_change_is_made_between_steps_and_answered) {
    ingest(&w, "tiny.ndjson");
    start_service();
    json_decref(change("feed.add", json_pack("{s:s,s:s,s:I}", "url", "http://192.0.2.1/f", "name",
                                             "a name", "interval_s", (json_int_t)86400)));
    cr_assert_eq(ask("SELECT count(*) FROM v1_feeds WHERE name = 'a name'"), 1);
    json_decref(change("feed.remove", json_pack("{s:s}", "url", "http://192.0.2.1/f")));
    cr_assert_eq(
        member(change("schedule.add", json_pack("{s:s,s:s}", "spec", "9h", "action", "verify")),
               "schedule"),
        1);
    json_decref(change("schedule.remove", json_pack("{s:i}", "schedule", 1)));
    json_decref(change("config", json_pack("{s:s,s:s}", "key", "feed.max_bytes", "value", "4096")));
    json_decref(change("config", json_pack("{s:s,s:s}", "key", "train.lr", "value", "0.001")));
    cr_assert_eq(ask("SELECT value = '0.001' FROM v1_settings WHERE key = 'train.lr'"), 1);
    cr_assert_gt(ask("SELECT count(*) FROM v1_trained"), 5,
                 "what filled a batch before the change was trained on");
    json_decref(change("eval", json_object()));
    json_t *saved = change("snapshot", json_pack("{s:s}", "tag", "kept"));
    cr_assert_eq(json_integer_value(json_object_get(saved, "documents")),
                 ask("SELECT count(*) FROM v1_trained"));
    json_decref(saved);
    json_decref(change("policy.use", json_pack("{s:s}", "name", "lifelong")));
    json_decref(change("policy.use",
                       json_pack("{s:s,s:s}", "name", "own", "text",
                                 "CREATE VIEW policy_settings (key, value) AS VALUES ('a', 1);")));
    cr_assert_eq(ask("SELECT name = 'own' FROM v1_policies WHERE in_force"), 1);
    json_t *rolled = change("rollback", json_pack("{s:s,s:b,s:s}", "snapshot", "kept", "requeue", 0,
                                                  "reason", "a test"));
    cr_assert_eq(json_integer_value(json_object_get(rolled, "lineage")), 2);
    json_decref(rolled);
    cr_assert_eq(ask("SELECT count(*) FROM v1_policies WHERE in_force AND name = 'naive'"), 1);
    stop_service();
}

Test(server, what_a_change_refuses_it_refuses_with_the_same_words) {
    start_service();
    refused(CAM_ERR_DATA, "begins with http://", "feed.add",
            json_pack("{s:s,s:i}", "url", "file:///etc/passwd", "interval_s", 60));
    refused(CAM_ERR_NOINPUT, "no such feed", "feed.remove", json_pack("{s:s}", "url", "http://x/"));
    refused(CAM_ERR_CONFIG, "cron", "schedule.add",
            json_pack("{s:s,s:s}", "spec", "never", "action", "verify"));
    refused(CAM_ERR_CONFIG, "did you mean", "config",
            json_pack("{s:s,s:s}", "key", "train.rl", "value", "1"));
    refused(CAM_ERR_USAGE, "a tag has", "snapshot", json_pack("{s:s}", "tag", "-x"));
    refused(CAM_ERR_NOINPUT, "there is none", "rollback",
            json_pack("{s:s,s:b,s:s}", "snapshot", "never", "requeue", 0, "reason", "a test"));
    refused(CAM_ERR_CONFIG, "CREATE VIEW", "policy.use",
            json_pack("{s:s,s:s}", "name", "bad", "text", "DROP TABLE journal;"));
    json_decref(change("snapshot", json_pack("{s:s}", "tag", "once")));
    refused(CAM_ERR_DATA, "the tag once", "snapshot", json_pack("{s:s}", "tag", "once"));
    stop_service();
}

Test(server, arguments_that_are_not_its_own_change_nothing) {
    int64_t rows = ask("SELECT count(*) FROM v1_journal");
    refused(CAM_ERR_PROTOCOL, "no change called", "stop", json_object());
    refused(CAM_ERR_PROTOCOL, "arguments", "eval", json_pack("{s:i}", "x", 1));
    refused(CAM_ERR_PROTOCOL, "arguments", "config", json_pack("{s:s}", "key", "seed"));
    refused(CAM_ERR_PROTOCOL, "arguments", "feed.add",
            json_pack("{s:s,s:s}", "url", "http://x/", "interval_s", "often"));
    refused(CAM_ERR_PROTOCOL, "path", "policy.use", json_pack("{s:s}", "name", "/etc/passwd"));
    refused(CAM_ERR_PROTOCOL, "source", "ingest", json_object());
    refused(CAM_ERR_PROTOCOL, "arguments", "eval", json_array());
    static const char *const bad[] = {"GET / HTTP/1.1\r\n\r\n", "{}\n", "{\"command\":7}\n", "\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cam_wire wire = client();
        json_t *result = NULL;
        cr_assert_gt(write(wire.fd, bad[i], strlen(bad[i])), 0);
        cr_assert_eq(cam_control_answer(&wire, NULL, NULL, &result), CAM_ERR_PROTOCOL);
        cam_wire_release(&wire);
    }
    char *long_text = calloc(1, CAM_SERVER_REQUEST_BYTES);
    memset(long_text, 'x', CAM_SERVER_REQUEST_BYTES - 1);
    refused(CAM_ERR_PROTOCOL, "exceeds the limit", "feed.remove",
            json_pack("{s:s}", "url", long_text));
    long_text[100000] = '\0';
    refused(CAM_ERR_CONFIG, "exceed the limit", "policy.use",
            json_pack("{s:s,s:s}", "name", "long", "text", long_text));
    free(long_text);
    cr_assert_eq(ask("SELECT count(*) FROM v1_journal"), rows);
}

/* ---- documents ---- */

Test(server, documents_come_over_the_socket_and_are_counted) {
    struct cam_wire wire = client();
    struct cam_admission_counts counts;
    int64_t pending;
    json_t *result = NULL;
    OK(cam_control_ask(&wire, "ingest", json_pack("{s:s}", "source", "a file")));
    send_documents(&wire, 300);
    send_documents(&wire, 1);
    struct cam_document_sink sink = cam_intake_sink(&wire);
    cr_assert_eq(sink.rejected(sink.context, "line 7", "is broken"), CAM_OK);
    OK(cam_intake_end(&wire));
    OK(cam_control_answer(&wire, NULL, NULL, &result));
    OK(cam_intake_counts_read(result, &counts, &pending));
    cr_assert_eq(counts.seen, 302);
    cr_assert_eq(counts.journalled, 300);
    cr_assert_eq(counts.duplicates, 1);
    cr_assert_eq(counts.rejected, 1);
    cr_assert_eq(pending + counts.held_out, 300);
    json_decref(result);
    cam_wire_release(&wire);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents WHERE domain = 'socket'"), 300);
}

Test(server, H05_a_client_that_goes_away_leaves_whole_documents) {
    static const char half[] = "{\"document\":{\"text\":\"Half a document that never";
    struct cam_wire wire = client();
    OK(cam_control_ask(&wire, "ingest", json_pack("{s:s}", "source", "a file")));
    send_documents(&wire, 5);
    cr_assert_gt(write(wire.fd, half, sizeof half - 1), 0);
    cam_wire_release(&wire);
    until("SELECT count(*) = 5 FROM v1_documents");
    json_decref(change("config", json_pack("{s:s,s:s}", "key", "feed.max_bytes", "value", "4096")));
}

Test(server, a_stream_that_pauses_is_journalled_so_far_and_goes_on) {
    struct cam_wire wire = client();
    json_t *result = NULL;
    OK(cam_control_ask(&wire, "ingest", json_pack("{s:s}", "source", "a stream")));
    send_documents(&wire, 2);
    OK(cam_intake_idle(&wire));
    until("SELECT count(*) = 2 FROM v1_documents");
    send_documents(&wire, 4);
    OK(cam_intake_end(&wire));
    OK(cam_control_answer(&wire, NULL, NULL, &result));
    cr_assert_eq(member(result, "journalled"), 4);
    cam_wire_release(&wire);
}

Test(server, a_message_that_is_no_document_ends_the_ingest_and_says_so) {
    struct cam_wire wire = client();
    json_t *result = NULL;
    OK(cam_control_ask(&wire, "ingest", json_pack("{s:s}", "source", "a file")));
    send_documents(&wire, 2);
    OK(cam_wire_send(&wire, 10, json_pack("{s:{s:i}}", "document", "text", 7)));
    cr_assert_eq(cam_control_answer(&wire, NULL, NULL, &result), CAM_ERR_PROTOCOL);
    cam_wire_release(&wire);
    cr_assert_eq(ask("SELECT count(*) FROM v1_documents"), 2);
}

/* ---- waiting ---- */

Test(server, a_row_that_nobody_reaches_waits_for_the_next_run) {
    struct cam_wire wire = client();
    json_t *result = NULL;
    OK(cam_control_ask(&wire, "eval", json_object()));
    until("SELECT count(*) = 1 FROM v1_journal WHERE kind = 'evaluate'");
    cam_desk_close(desk);
    cr_assert_eq(cam_control_answer(&wire, NULL, NULL, &result), CAM_ERR_BUSY);
    cr_assert(strstr(cam_message(), "the next cambium run acts on it"), "%s", cam_message());
    cam_wire_release(&wire);
    advance(&w, 0);
    cr_assert_eq(
        ask("SELECT count(*) FROM v1_journal WHERE kind = 'evaluate' AND outcome = 'done'"), 1);
}

Test(server, H05_a_rollback_nobody_waits_for_is_not_begun) {
    OK(cam_trainer_snapshot(w.trainer, "kept", NULL));
    struct cam_wire wire = client();
    OK(cam_control_ask(
        &wire, "rollback",
        json_pack("{s:s,s:b,s:s}", "snapshot", "kept", "requeue", 0, "reason", "x")));
    while (!cam_desk_rung(desk)) /* not there yet */
        usleep(1000);
    cam_wire_release(&wire);
    while (!cam_desk_close_if_empty(desk))
        usleep(1000);
    cr_assert_eq(ask("SELECT max(lineage) FROM v1_lineages"), 1);
}

Test(server, stopping_ends_clients_that_say_nothing) {
    struct cam_wire silent = client(), sender = client();
    json_t *result = NULL;
    OK(cam_control_ask(&sender, "ingest", json_pack("{s:s}", "source", "a file")));
    send_documents(&sender, 3);
    cam_desk_close(desk);
    cam_server_stop(server);
    server = NULL;
    cr_assert_eq(cam_control_answer(&silent, NULL, NULL, &result), CAM_ERR_UNAVAILABLE);
    enum cam_status status = cam_control_answer(&sender, NULL, NULL, &result);
    cr_assert(status == CAM_ERR_BUSY || status == CAM_ERR_UNAVAILABLE, "%s", cam_message());
    cam_wire_release(&silent);
    cam_wire_release(&sender);
    cr_assert_eq(cam_control_connect(w.dir, &silent), CAM_ERR_UNAVAILABLE);
}

Test(server, H01_too_many_clients_are_turned_away_and_the_rest_served) {
    struct cam_wire many[CAM_SERVER_CLIENTS], late;
    json_t *result = NULL;
    for (int i = 0; i < CAM_SERVER_CLIENTS; i++)
        many[i] = client();
    late = client();
    cr_assert_eq(cam_control_answer(&late, NULL, NULL, &result), CAM_ERR_BUSY);
    cr_assert(strstr(cam_message(), "too many"), "%s", cam_message());
    cam_wire_release(&late);
    for (int i = 0; i < CAM_SERVER_CLIENTS; i++)
        cam_wire_release(&many[i]);
    for (enum cam_status status = CAM_ERR_BUSY; status != CAM_OK; json_decref(result)) {
        result = NULL;
        late = client();
        OK(cam_control_ask(&late, "config",
                           json_pack("{s:s,s:s}", "key", "feed.max_bytes", "value", "4096")));
        status = cam_control_answer(&late, NULL, NULL, &result);
        cr_assert(status == CAM_OK || status == CAM_ERR_BUSY, "%s", cam_message());
        cam_wire_release(&late);
    }
}

/* ---- the socket itself ---- */

static void socket_path(char path[CAM_PATH_BYTES]) {
    OK(cam_fs_join(path, w.dir, CAM_SOCKET_NAME));
}

Test(server, only_its_user_may_connect) {
    char path[CAM_PATH_BYTES];
    struct stat info;
    socket_path(path);
    cr_assert_eq(stat(path, &info), 0);
    cr_assert(S_ISSOCK(info.st_mode));
    cr_assert_eq(info.st_mode & 0777, 0600);
    cam_server_stop(server);
    cr_assert_neq(stat(path, &info), 0, "a service that ended leaves no socket");
    server = NULL;
}

Test(server, the_socket_of_a_dead_process_is_replaced_and_nothing_else) {
    char path[CAM_PATH_BYTES], aside[CAM_PATH_BYTES + 8];
    struct cam_server *second = NULL;
    socket_path(path);
    snprintf(aside, sizeof aside, "%s.dead", path);
    cr_assert_eq(link(path, aside), 0);
    cam_server_stop(server);
    server = NULL;
    cr_assert_eq(rename(aside, path), 0);
    OK(cam_server_start(w.workspace, desk, &second));
    json_decref(change("config", json_pack("{s:s,s:s}", "key", "feed.max_bytes", "value", "4096")));
    cam_server_stop(second);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(cam_server_start(w.workspace, desk, &second), CAM_ERR_CANTCREATE);
    cr_assert(strstr(cam_message(), "no socket"), "%s", cam_message());
    cr_assert_eq(access(path, F_OK), 0, "what is there stays there");
}

Test(server, a_path_longer_than_a_sockets_address_is_no_hindrance) {
    char folder[CAM_PATH_BYTES];
    cam_server_stop(server);
    shut(&w);
    char outer[sizeof w.dir];
    strcpy(outer, w.dir);
    snprintf(folder, sizeof folder, "%s.moved", outer);
    cr_assert_eq(rename(outer, folder), 0);
    cr_assert_eq(mkdir(outer, 0755), 0);
    snprintf(w.dir, sizeof w.dir, "%.100s/%0200d", outer, 7);
    cr_assert_eq(rename(folder, w.dir), 0);
    reopen(&w);
    OK(cam_server_start(w.workspace, desk, &server));
    json_decref(change("config", json_pack("{s:s,s:s}", "key", "feed.max_bytes", "value", "4096")));
    cam_desk_close(desk);
    cam_server_stop(server);
    server = NULL;
    shut(&w);
    strcpy(w.dir, outer); /* teardown removes all of it */
    nftw(w.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
