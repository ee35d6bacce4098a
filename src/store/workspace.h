/* workspace.h - one directory, one service at a time.
 *
 *     WORKSPACE/            0755
 *       history.db          0644, with -wal and -shm beside it
 *       lock                record-locked (open file description) by the process that may write;
 * holds its process id and, while it serves, a line about itself control.sock        0600; where a
 * running service takes changes (serve/server.h) objects/            pack-*.cpk, content-addressed
 * pages (store/snapshot.h) snapshots/          <id>.manifest
 *       reserve             space for pruning on a full disk
 *
 * Files are readable by other users on purpose (anyone may query the history); put a private
 * workspace below a private folder. */
#ifndef CAM_STORE_WORKSPACE_H
#define CAM_STORE_WORKSPACE_H

#include "base/settings.h"
#include "base/status.h"
#include "store/database.h"

#include <sys/types.h>

struct cam_workspace;

enum cam_workspace_mode {
    CAM_WORKSPACE_CREATE, /* init: a new workspace; CAM_ERR_CANTCREATE if there is one already */
    CAM_WORKSPACE_WRITE,  /* takes the lock; CAM_ERR_BUSY names the process that has it */
    CAM_WORKSPACE_LOCK,   /* takes the lock and opens no history.db, which may be damaged or gone */
    CAM_WORKSPACE_READ,   /* no lock, works beside a running service and on read-only media */
};

/* CAM_ERR_NOINPUT: "no workspace in DIR; run: cambium init -C DIR".  A workspace whose `init` was
 * cut short counts as none, and CREATE takes it over. */
CAM_MUST_USE enum cam_status cam_workspace_open(const char *dir, enum cam_workspace_mode mode,
                                                struct cam_workspace **workspace);
void cam_workspace_close(struct cam_workspace *workspace); /* accepts NULL */

/* First call of `init`: stores SETTINGS as the initial values and opens lineage 1. */
CAM_MUST_USE enum cam_status cam_workspace_begin_init(struct cam_workspace *workspace,
                                                      const struct cam_settings *settings);
/* Last call of `init`: marks the workspace complete, in one transaction with what
 * cam_workspace_begin_init does where that was not called before. */
CAM_MUST_USE enum cam_status cam_workspace_finish_init(struct cam_workspace *workspace,
                                                       const struct cam_settings *settings);

/* Writes down what computes from now on (build, kernels, processor: NOW, shorter than
 * CAM_MADE_BY_BYTES).  Where that is not what it was, an event says that bits may differ.  BEFORE
 * gets what it was, "" the first time. */
#define CAM_MADE_BY_BYTES 512
CAM_MUST_USE enum cam_status cam_workspace_made_by(struct cam_workspace *workspace, const char *now,
                                                   char before[CAM_MADE_BY_BYTES]);

const char *cam_workspace_dir(const struct cam_workspace *workspace);         /* borrowed */
/* Borrowed; NULL with CAM_WORKSPACE_LOCK. */
struct cam_database *cam_workspace_database(struct cam_workspace *workspace);

/* A file of 2 MB, CAM_RESERVE_NAME, stands in a workspace opened for writing, so that on a full
 * disk its removal makes room for what a prune has to write.  Makes it again where it
 * is missing and half as much again would be left; failures are ignored. */
#define CAM_RESERVE_NAME "reserve"
void cam_workspace_keep_reserve(struct cam_workspace *workspace);
/* Gives it up, before DIR is opened; nothing happens if there is none. */
void cam_workspace_spend_reserve(const char *dir);

/* 1: opened with the lock, so its history may be changed. */
int cam_workspace_writable(const struct cam_workspace *workspace);

/* Process that holds the lock of DIR, 0 if nobody does.  Disturbs nobody who is about to take it.
 */
pid_t cam_workspace_owner(const char *dir);

/* A line about the process that holds the lock, for whoever asks for the status.  It is written in
 * place, so it needs no space on a full disk and no transaction; it ends with the lock.  TEXT has
 * fewer than CAM_PUBLISHED_BYTES bytes and no line end.  Failures are ignored. */
#define CAM_PUBLISHED_BYTES 1024
void cam_workspace_publish(struct cam_workspace *workspace, const char *text);
/* What the process that holds the lock of DIR published; "" if nothing.  Returns its process id, 0
 * if nobody holds the lock. */
pid_t cam_workspace_published(const char *dir, char text[CAM_PUBLISHED_BYTES]);

#endif
