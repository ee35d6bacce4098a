#include "run/recover.h"

#include "base/log.h"
#include "growth/policy.h"
#include "run/trainer_internal.h"
#include "store/manifest.h"
#include "store/rebuild.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_NAME "history.db.recovering"

struct recovering {
    struct cam_recovery *r;
    const char *dir;
    struct cam_workspace *lock;
    struct cam_manifest *manifests; /* of all snapshots, without their pages */
    size_t n_manifests;
    struct cam_trainer_state state; /* of r->from, as the next two */
    char *settings, *policy;
    size_t settings_bytes, policy_bytes;
};

static void release(struct recovering *v) {
    cam_workspace_close(v->lock);
    for (size_t i = 0; i < v->n_manifests; i++)
        cam_manifest_release(&v->manifests[i]);
    free(v->manifests);
    free(v->settings);
    free(v->policy);
}

/* ---- what is there ---- */

/* A database that opens, knows itself complete and passes SQLite's quick check is left alone. */
static enum cam_status look_at_database(struct recovering *v) {
    struct cam_workspace *workspace = NULL;
    struct stat info;
    char path[CAM_PATH_BYTES];
    CAM_TRY(cam_fs_join(path, v->dir, "history.db"));
    if (lstat(path, &info) != 0 && errno == ENOENT) {
        snprintf(v->r->why, sizeof v->r->why, "history.db is not there");
        return CAM_OK;
    }
    enum cam_status status = cam_workspace_open(v->dir, CAM_WORKSPACE_READ, &workspace);
    if (status == CAM_OK)
        status = cam_rebuild_check(cam_workspace_database(workspace));
    cam_workspace_close(workspace);
    if (status == CAM_OK) {
        v->r->is_sound = 1;
        return CAM_OK;
    }
    snprintf(v->r->why, sizeof v->r->why, "%.500s", cam_message());
    /* What another version wrote, a full memory or missing rights are no damage. */
    return status == CAM_ERR_DATA || status == CAM_ERR_IO || status == CAM_ERR_NOINPUT ||
                   status == CAM_ERR_INTERNAL
               ? CAM_OK
               : status;
}

static enum cam_status take_manifest(void *context, const char *name) {
    struct recovering *v = context;
    struct cam_manifest m = {0};
    char path[CAM_PATH_BYTES], relative[300];
    size_t n = strlen(name);
    if (n != CAM_SNAPSHOT_ID_BYTES - 1 + strlen(".manifest") ||
        strcmp(name + CAM_SNAPSHOT_ID_BYTES - 1, ".manifest") != 0)
        return CAM_OK;
    snprintf(relative, sizeof relative, "snapshots/%.200s", name);
    CAM_TRY(cam_fs_join(path, v->dir, relative));
    enum cam_status status = cam_manifest_read(&m, cam_fs_system(), path);
    if (status == CAM_OK && strncmp(m.info.id, name, CAM_SNAPSHOT_ID_BYTES - 1) != 0)
        status = cam_fail(CAM_ERR_DATA, "%s: holds another snapshot", path);
    if (status == CAM_ERR_OS)
        return status;
    if (status != CAM_OK) {
        cam_log(CAM_LOG_WARNING, "%s", cam_message());
        v->r->n_unreadable++;
        cam_manifest_release(&m);
        return CAM_OK;
    }
    free(m.pages);
    m.pages = NULL;
    struct cam_manifest *grown = realloc(v->manifests, (v->n_manifests + 1) * sizeof *grown);
    if (!grown) {
        cam_manifest_release(&m);
        return cam_fail(CAM_ERR_OS, "no memory for %zu manifests", v->n_manifests + 1);
    }
    v->manifests = grown;
    v->manifests[v->n_manifests++] = m;
    return CAM_OK;
}

/* Newest first: a later lineage goes before, whatever its step. */
static int by_age(const void *a, const void *b) {
    const struct cam_snapshot *x = &((const struct cam_manifest *)a)->info;
    const struct cam_snapshot *y = &((const struct cam_manifest *)b)->info;
    if (x->lineage != y->lineage)
        return x->lineage < y->lineage ? 1 : -1;
    if (x->moment != y->moment)
        return x->moment < y->moment ? 1 : -1;
    return strcmp(x->id, y->id);
}

static enum cam_status find_manifests(struct recovering *v) {
    char path[CAM_PATH_BYTES];
    CAM_TRY(cam_fs_join(path, v->dir, "snapshots"));
    CAM_TRY(cam_fs_each_entry(path, take_manifest, v));
    if (v->n_manifests == 0)
        return cam_fail(CAM_ERR_NOINPUT,
                        "%s: there is no snapshot to recover from (%lld manifests cannot be read)",
                        v->dir, (long long)v->r->n_unreadable);
    qsort(v->manifests, v->n_manifests, sizeof *v->manifests, by_age);
    return CAM_OK;
}

/* ---- the state to go on from ---- */

static enum cam_status want_text(size_t bytes, char **text, size_t *n, void **destination) {
    if (bytes > (size_t)1 << 24)
        return cam_fail(CAM_ERR_DATA, "a region of %zu bytes, at most 16 MB expected", bytes);
    *text = calloc(1, bytes + 1);
    *n = bytes;
    *destination = *text;
    return *text ? CAM_OK : cam_fail(CAM_ERR_OS, "no memory for %zu bytes", bytes);
}

static enum cam_status take_region(void *context, const char *name, size_t bytes,
                                   void **destination) {
    struct recovering *v = context;
    *destination = NULL;
    if (strcmp(name, "trainer") == 0 && bytes == sizeof v->state)
        *destination = &v->state;
    else if (strcmp(name, "settings") == 0 && !v->settings)
        return want_text(bytes, &v->settings, &v->settings_bytes, destination);
    else if (strcmp(name, "policy") == 0 && !v->policy)
        return want_text(bytes, &v->policy, &v->policy_bytes, destination);
    return CAM_OK;
}

/* The new database knows the rows, so the store can check them; opened for reading, it removes
 * nothing. */
static enum cam_status choose(struct recovering *v, const char *path) {
    struct cam_database *database = NULL;
    struct cam_snapshots *snapshots = NULL;
    CAM_TRY(cam_database_open(path, CAM_DATABASE_READ, &database));
    enum cam_status status = cam_snapshots_open(v->dir, NULL, database, &snapshots);
    for (size_t i = 0; i < v->n_manifests && status == CAM_OK && !*v->r->from.id; i++) {
        const char *id = v->manifests[i].info.id;
        if (cam_snapshot_check(snapshots, id) == CAM_OK) {
            v->r->from = v->manifests[i].info;
            status = cam_snapshot_load(snapshots, id, take_region, v);
        } else {
            cam_log(CAM_LOG_WARNING, "%s", cam_message());
            v->r->n_bad++;
        }
    }
    cam_snapshots_close(snapshots);
    cam_database_close(database);
    CAM_TRY(status);
    if (!*v->r->from.id)
        return cam_fail(CAM_ERR_DATA,
                        "%s: none of %zu snapshots verifies; put objects/ and snapshots/ back from "
                        "a backup",
                        v->dir, v->n_manifests);
    if (!v->settings || !v->policy || v->state.version != CAM_TRAINER_STATE_VERSION)
        return cam_fail(
            CAM_ERR_CONFIG,
            "snapshot %.12s: saved by an older cambium, without the settings that a new "
            "history.db needs; put history.db back from a backup",
            v->r->from.id);
    return CAM_OK;
}

/* ---- building ---- */

static enum cam_status remove_database(const char *path) {
    static const char *const endings[] = {"-wal", "-shm", ""};
    char file[CAM_PATH_BYTES + 8];
    for (size_t i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s%s", path, endings[i]);
        if (unlink(file) != 0 && errno != ENOENT)
            return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot remove", file);
    }
    return CAM_OK;
}

static enum cam_status first_rows(struct recovering *v, const char *path) {
    struct cam_database *database;
    CAM_TRY(remove_database(path));
    CAM_TRY(cam_database_open(path, CAM_DATABASE_CREATE, &database));
    enum cam_status status = cam_rebuild_snapshots(database, v->manifests, v->n_manifests);
    cam_database_close(database);
    return status;
}

static enum cam_status policy_name(const struct recovering *v, char name[CAM_NAME_BYTES]) {
    json_error_t error;
    json_t *settings = json_loadb(v->settings, v->settings_bytes, 0, &error);
    const char *text = json_string_value(json_object_get(settings, "policy"));
    if (text)
        snprintf(name, CAM_NAME_BYTES, "%s", text);
    json_decref(settings);
    return text ? CAM_OK : cam_fail(CAM_ERR_DATA, "the settings of the snapshot name no policy");
}

static enum cam_status last_rows(struct recovering *v, const char *path) {
    struct cam_database *database;
    char policy[CAM_NAME_BYTES];
    /* Journal rows to come must lie behind what the trainer read. */
    int64_t next = v->r->from.position + (v->r->from.offset > 0);
    CAM_TRY(policy_name(v, policy));
    CAM_TRY(cam_database_open(path, CAM_DATABASE_WRITE, &database));
    enum cam_status status =
        cam_rebuild_state(database, v->r->from.id, next + 1, v->settings, policy, v->policy);
    cam_database_close(database);
    return status;
}

/* A name that is not taken. */
static enum cam_status move_aside(struct recovering *v) {
    static const char *const endings[] = {"", "-wal", "-shm"};
    char from[CAM_PATH_BYTES], to[CAM_PATH_BYTES], name[64];
    struct stat info;
    CAM_TRY(cam_fs_join(from, v->dir, "history.db"));
    if (lstat(from, &info) != 0)
        return CAM_OK;
    for (int i = 1;; i++) {
        snprintf(name, sizeof name, "history.db.damaged-%d", i);
        CAM_TRY(cam_fs_join(to, v->dir, name));
        if (lstat(to, &info) != 0)
            break;
    }
    for (size_t i = 0; i < 3; i++) {
        char a[CAM_PATH_BYTES + 8], b[CAM_PATH_BYTES + 8];
        snprintf(a, sizeof a, "%s%s", from, endings[i]);
        snprintf(b, sizeof b, "%s%s", to, endings[i]);
        if (rename(a, b) != 0 && errno != ENOENT)
            return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot rename", a);
    }
    memcpy(v->r->moved_to, to, sizeof to);
    return CAM_OK;
}

static enum cam_status put_in_place(struct recovering *v, const char *path) {
    char to[CAM_PATH_BYTES], file[CAM_PATH_BYTES + 8];
    static const char *const endings[] = {"-wal", "-shm"};
    for (size_t i = 0; i < 2; i++) { /* closed, so they hold nothing */
        snprintf(file, sizeof file, "%s%s", path, endings[i]);
        unlink(file);
    }
    CAM_TRY(move_aside(v));
    CAM_TRY(cam_fs_join(to, v->dir, "history.db"));
    if (rename(path, to) != 0)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot rename", path);
    return cam_fs_system()->sync_dir(NULL, v->dir) == 0
               ? CAM_OK
               : cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot sync the folder", v->dir);
}

/* Generations are in the model; their rows follow from it. */
static enum cam_status note_generations(struct cam_trainer *t) {
    size_t i_block = 0;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++)
        for (size_t i = 0; i < cam_peer_n_generations(ff); i++) {
            const struct cam_generation *g = cam_peer_generation(ff, i);
            struct cam_generation_change row = {.layer = (int)i_block,
                                                .generation = g->number,
                                                .event = CAM_CHANGE_BORN,
                                                .subkeys_from = g->subkeys_from,
                                                .subkeys_to = g->subkeys_to,
                                                .first_expert = (int64_t)g->first_expert,
                                                .n_experts = (int64_t)g->n_experts,
                                                .reason = "recovered from a snapshot"};
            CAM_TRY(cam_history_generations(t->database, (int64_t)t->state.step, &row, 1));
            row.event = CAM_CHANGE_OPENED;
            if (g->state == CAM_GENERATION_OPEN)
                CAM_TRY(cam_history_generations(t->database, (int64_t)t->state.step, &row, 1));
        }
    return CAM_OK;
}

/* The checkpoint makes the rows stay: what lies past a checkpoint is made again by replay. */
static enum cam_status begin_anew(struct recovering *v) {
    struct cam_workspace *workspace = NULL;
    struct cam_trainer *trainer = NULL;
    char message[300];
    cam_workspace_close(v->lock);
    v->lock = NULL;
    CAM_TRY(cam_workspace_open(v->dir, CAM_WORKSPACE_WRITE, &workspace));
    enum cam_status status = cam_trainer_open(workspace, &trainer);
    if (status == CAM_OK)
        status = note_generations(trainer);
    if (status == CAM_OK)
        status = cam_trainer_note_frozen(trainer, "recovered from a snapshot");
    if (status == CAM_OK)
        status = cam_trainer_checkpoint(trainer);
    snprintf(
        message, sizeof message,
        "history.db was built anew from snapshot %.12s (step %lld): what it held before is gone",
        v->r->from.id, (long long)v->r->from.step);
    if (status == CAM_OK)
        status = cam_history_event(trainer->database, "error", "recovered", message, NULL);
    cam_trainer_close(trainer);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status recover(struct recovering *v, int act) {
    char path[CAM_PATH_BYTES];
    CAM_TRY(cam_workspace_open(v->dir, CAM_WORKSPACE_LOCK, &v->lock));
    CAM_TRY(look_at_database(v));
    if (v->r->is_sound)
        return CAM_OK;
    CAM_TRY(find_manifests(v));
    CAM_TRY(cam_fs_join(path, v->dir, NEW_NAME));
    CAM_TRY(first_rows(v, path));
    enum cam_status status = choose(v, path);
    if (status == CAM_OK && act)
        status = last_rows(v, path);
    for (size_t i = 0; i < v->n_manifests; i++)
        v->r->n_snapshots += v->manifests[i].info.kind == CAM_SNAPSHOT_KEPT;
    if (status != CAM_OK || !act) {
        enum cam_status removed = remove_database(path);
        return status != CAM_OK ? status : removed;
    }
    CAM_TRY(put_in_place(v, path));
    return begin_anew(v);
}

enum cam_status cam_recover(const char *dir, int act, struct cam_recovery *recovery) {
    struct cam_recovery r = {0};
    struct recovering v = {.r = &r, .dir = dir};
    enum cam_status status = recover(&v, act);
    release(&v);
    if (status == CAM_OK)
        *recovery = r;
    return status;
}
