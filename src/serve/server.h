/* server.h - the control socket of a running service: WORKSPACE/control.sock.
 *
 *     client --{"command": ..., "arguments": {...}}--> server
 *     client <--{"progress": {...}}*-- then {"ok": {...}} or {"error": {"status", "message"}}
 *
 * One request a connection, one JSON object a line (serve/wire.h); the commands are those of
 * serve/change.h, and status and message are what the command would give by itself.  `ingest` is
 * followed by the documents, cleaned and cut into documents by the client:
 *
 *     {"command": "ingest", "arguments": {"source": NAME}}
 *     {"document": {"text": ..., "id", "url", "title", "author", "published", "updated",
 *                   "language", "domain", "n_replaced"}}*     {"rejected": {"where", "why"}}*
 *     {"idle": true}                   nothing more just now: journals what came; any time may pass
 *     {"end": true}                                     -> {"ok": the counts}
 *
 * The file is 0600 and the peer's user must be the service's or root (SO_PEERCRED).  At most
 * CAM_SERVER_CLIENTS at a time, a thread each: a request has to come within CAM_SERVER_REQUEST_S, a
 * document and the reading of an answer within CAM_SERVER_DOCUMENT_S.  The threads journal rows and
 * wait; what the trainer has to do it does on its own thread, at its desk.  A client that goes away
 * changes nothing half-way: a row that was journalled is acted on, documents that came whole are
 * journalled, a rollback that had not begun is not done. */
#ifndef CAM_SERVE_SERVER_H
#define CAM_SERVE_SERVER_H

#include "base/status.h"
#include "run/desk.h"
#include "store/workspace.h"

#define CAM_SERVER_CLIENTS       16
#define CAM_SERVER_REQUEST_S     10.0
#define CAM_SERVER_REQUEST_BYTES ((size_t)512 << 10) /* of a request; a document may be longer */
#define CAM_SERVER_DOCUMENT_S    60.0
#define CAM_SOCKET_NAME          "control.sock"

struct cam_server;

/* Listens.  WORKSPACE is open for writing (its lock says that nobody listens already: a socket that
 * is there is that of a dead process and is replaced); it and DESK are borrowed until the server is
 * stopped.  CAM_ERR_CANTCREATE: something else has the name. */
CAM_MUST_USE enum cam_status cam_server_start(struct cam_workspace *workspace,
                                              struct cam_desk *desk, struct cam_server **server);
/* Ends every connection, removes the socket and waits for the threads; accepts NULL.  Close the
 * desk first, or those who wait there are waited for. */
void cam_server_stop(struct cam_server *server);

/* The longest message: a document whose every byte is escaped. */
size_t cam_server_message_bytes(void);

#endif
