#include "serve/intake.h"

#include "serve/server.h"
#include "store/history.h"
#include "text/clean.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- the service's end ---- */

struct intake {
    struct cam_journal_writer *writer;
    struct cam_document_sink sink;
    struct cam_buffer text;
};

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* The client has cleaned the text already; cleaning clean text changes nothing. */
static enum cam_status take_document(struct intake *in, const json_t *json) {
    const json_t *text = json_object_get(json, "text");
    if (!json_is_string(text))
        return cam_fail(CAM_ERR_PROTOCOL, "a document on the control socket has no text");
    json_int_t n_replaced = json_integer_value(json_object_get(json, "n_replaced"));
    cam_buffer_clear(&in->text);
    CAM_TRY(cam_clean_text(json_string_value(text), json_string_length(text), &in->text, NULL));
    struct cam_document document = {.id = text_of(json, "id"),
                                    .url = text_of(json, "url"),
                                    .title = text_of(json, "title"),
                                    .author = text_of(json, "author"),
                                    .published = text_of(json, "published"),
                                    .updated = text_of(json, "updated"),
                                    .language = text_of(json, "language"),
                                    .domain = text_of(json, "domain"),
                                    .text = in->text.data ? in->text.data : "",
                                    .text_bytes = in->text.size,
                                    .n_replaced = n_replaced > 0 ? (size_t)n_replaced : 0};
    return (enum cam_status)in->sink.document(in->sink.context, &document);
}

static enum cam_status take_rejected(struct intake *in, const json_t *json) {
    const char *where = text_of(json, "where"), *why = text_of(json, "why");
    return (enum cam_status)in->sink.rejected(in->sink.context, where ? where : "", why ? why : "");
}

/* One message; *END is set by the last, *IDLE by one after which any time may pass. */
static enum cam_status take_message(struct intake *in, const json_t *message, int *end, int *idle) {
    const json_t *document = json_object_get(message, "document");
    const json_t *rejected = json_object_get(message, "rejected");
    *end = json_is_true(json_object_get(message, "end"));
    *idle = json_is_true(json_object_get(message, "idle"));
    if (document)
        return take_document(in, document);
    if (rejected)
        return take_rejected(in, rejected);
    if (*idle)
        return cam_journal_writer_finish(in->writer, NULL, NULL);
    return *end
               ? CAM_OK
               : cam_fail(CAM_ERR_PROTOCOL,
                          "ingest on the control socket: neither document, rejected, idle nor end");
}

static enum cam_status take_all(struct intake *in, struct cam_wire *wire) {
    for (int end = 0, idle = 0; !end;) {
        json_t *message = NULL;
        enum cam_status status =
            cam_wire_receive(wire, idle ? -1 : CAM_SERVER_DOCUMENT_S, &message);
        if (status == CAM_ERR_BUSY)
            return cam_fail(CAM_ERR_BUSY,
                            "no document came for %.0f s; what came before is journalled, and a "
                            "second try finds it there",
                            CAM_SERVER_DOCUMENT_S);
        if (status == CAM_STOPPED)
            return wire->at_end
                       ? cam_fail(CAM_ERR_PROTOCOL,
                                  "ingest ended without its last message; what came before "
                                  "is journalled")
                       : cam_fail(CAM_ERR_BUSY,
                                  "the service ends; what came so far is journalled, and a "
                                  "second try finds it there");
        CAM_TRY(status);
        status = take_message(in, message, &end, &idle);
        json_decref(message);
        CAM_TRY(status);
    }
    return CAM_OK;
}

enum cam_status cam_intake_serve(struct cam_wire *wire, struct cam_database *database,
                                 const json_t *arguments, json_t **result) {
    struct intake in = {0};
    struct cam_admission_counts counts = {0};
    struct cam_counts all;
    char message[512];
    const char *source = text_of(arguments, "source");
    if (!source)
        return cam_fail(CAM_ERR_PROTOCOL, "ingest on the control socket needs a source");
    CAM_TRY(cam_journal_writer_open(database, 0, source, &in.writer));
    in.sink = cam_journal_writer_sink(in.writer);
    cam_buffer_init(&in.text, cam_server_message_bytes());
    enum cam_status read = take_all(&in, wire);
    snprintf(message, sizeof message, "%s", cam_message());
    enum cam_status status = cam_journal_writer_finish(in.writer, NULL, &counts);
    cam_journal_writer_free(in.writer);
    cam_buffer_release(&in.text);
    if (read != CAM_OK)
        return cam_fail(read, "%s", message);
    CAM_TRY(status);
    CAM_TRY(cam_history_counts(database, &all));
    json_t *json = cam_intake_counts_json(&counts, all.pending);
    if (!json)
        return cam_fail(CAM_ERR_OS, "no memory for the counts");
    *result = json;
    return CAM_OK;
}

/* ---- the client's end ---- */

static int send_document(void *context, const struct cam_document *d) {
    return cam_wire_send(context, -1,
                         json_pack("{s:{s:s%,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:I}}",
                                   "document", "text", d->text, d->text_bytes, "id", d->id, "url",
                                   d->url, "title", d->title, "author", d->author, "published",
                                   d->published, "updated", d->updated, "language", d->language,
                                   "domain", d->domain, "n_replaced", (json_int_t)d->n_replaced));
}

static int send_rejected(void *context, const char *where, const char *why) {
    return cam_wire_send(context, -1,
                         json_pack("{s:{s:s,s:s}}", "rejected", "where", where, "why", why));
}

struct cam_document_sink cam_intake_sink(struct cam_wire *wire) {
    return (struct cam_document_sink){send_document, send_rejected, wire};
}

enum cam_status cam_intake_idle(struct cam_wire *wire) {
    return cam_wire_send(wire, -1, json_pack("{s:b}", "idle", 1));
}

enum cam_status cam_intake_end(struct cam_wire *wire) {
    enum cam_status status = cam_wire_send(wire, -1, json_pack("{s:b}", "end", 1));
    return status == CAM_STOPPED ? CAM_OK : status; /* the answer is there already */
}

/* ---- counts ---- */

#define COUNTS "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}"

json_t *cam_intake_counts_json(const struct cam_admission_counts *c, int64_t pending) {
    return json_pack(COUNTS, "seen", (json_int_t)c->seen, "journalled", (json_int_t)c->journalled,
                     "duplicates", (json_int_t)c->duplicates, "revisions", (json_int_t)c->revisions,
                     "quarantined", (json_int_t)c->quarantined, "held_out", (json_int_t)c->held_out,
                     "contaminations", (json_int_t)c->contaminations, "rejected",
                     (json_int_t)c->rejected, "forgotten", (json_int_t)c->forgotten, "pending",
                     (json_int_t)pending);
}

enum cam_status cam_intake_counts_read(const json_t *json, struct cam_admission_counts *counts,
                                       int64_t *pending) {
    json_int_t v[10];
    json_error_t error;
    if (json_unpack_ex((json_t *)(uintptr_t)json, &error, 0, COUNTS, "seen", &v[0], "journalled",
                       &v[1], "duplicates", &v[2], "revisions", &v[3], "quarantined", &v[4],
                       "held_out", &v[5], "contaminations", &v[6], "rejected", &v[7], "forgotten",
                       &v[8], "pending", &v[9]) != 0)
        return cam_fail(CAM_ERR_PROTOCOL, "the service's counts: %s", error.text);
    *counts = (struct cam_admission_counts){.seen = v[0],
                                            .journalled = v[1],
                                            .duplicates = v[2],
                                            .revisions = v[3],
                                            .quarantined = v[4],
                                            .held_out = v[5],
                                            .contaminations = v[6],
                                            .rejected = v[7],
                                            .forgotten = v[8]};
    *pending = v[9];
    return CAM_OK;
}
