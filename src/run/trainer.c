#include "run/trainer_internal.h"

#include "base/log.h"
#include "math/blas.h"
#include "run/made_by.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How far the trainer reads ahead of what it trains on. */
#define READ_ITEMS 64
#define READ_BYTES ((size_t)1 << 20)

static enum cam_status trainer_alloc(struct cam_workspace *workspace, struct cam_trainer **out) {
    struct cam_trainer *t = calloc(1, sizeof *t);
    if (!t)
        return cam_fail(CAM_ERR_OS, "out of memory for a trainer");
    t->workspace = workspace;
    t->database = cam_workspace_database(workspace);
    cam_arena_init(&t->arena);
    cam_arena_init(&t->check_arena);
    enum cam_status status =
        cam_snapshots_open(cam_workspace_dir(workspace), NULL, t->database, &t->snapshots);
    if (status != CAM_OK) {
        cam_trainer_close(t);
        return status;
    }
    *out = t;
    return CAM_OK;
}

void cam_trainer_close(struct cam_trainer *t) {
    if (!t)
        return;
    cam_queue_release(&t->queue);
    cam_replay_release(&t->replay);
    cam_packed_release(&t->packed);
    if (t->has_control) {
        free(t->control.name);
        free(t->control.value);
    }
    cam_model_free(t->model);
    cam_threads_free(t->threads);
    cam_encoder_free(t->encoder);
    cam_tokenizer_free(t->tokenizer);
    cam_buffer_release(&t->tokenizer_file);
    cam_arena_release(&t->arena);
    cam_arena_release(&t->check_arena);
    cam_snapshots_close(t->snapshots);
    free(t);
}

static enum cam_status first_state(struct cam_trainer *t, const struct cam_settings *settings,
                                   const struct cam_tokenizer *tokenizer) {
    struct cam_buffer file;
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    t->settings = *settings;
    t->state.version = CAM_TRAINER_STATE_VERSION;
    enum cam_status status = cam_tokenizer_write(tokenizer, &file);
    if (status == CAM_OK)
        status = cam_trainer_build(t, file.data, file.size);
    cam_buffer_release(&file);
    if (status != CAM_OK)
        return status;
    struct cam_generation_change changes[2 * CAM_MAX_BLOCKS];
    size_t n = 0, i_block = 0;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++) {
        struct cam_generation_change born = {.layer = (int)i_block, .event = CAM_CHANGE_BORN,
                                             .subkeys_to = (int64_t)cam_peer_subkeys(ff),
                                             .n_experts = (int64_t)cam_peer_n_experts(ff),
                                             .reason = "the initial pool"};
        changes[n++] = born;
        born.event = CAM_CHANGE_OPENED;
        changes[n++] = born;
    }
    if (n)
        CAM_TRY(cam_history_generations(t->database, 0, changes, n));
    return cam_trainer_save(t, CAM_SNAPSHOT_CHECKPOINT, NULL, 1, NULL);
}

enum cam_status cam_trainer_init(struct cam_workspace *workspace,
                                 const struct cam_settings *settings,
                                 const struct cam_tokenizer *tokenizer) {
    struct cam_trainer *t;
    CAM_TRY(trainer_alloc(workspace, &t));
    enum cam_status status = first_state(t, settings, tokenizer);
    cam_trainer_close(t);
    return status;
}

/* Loads the newest sound state and takes back what the history holds past it. */
static enum cam_status load_newest(struct cam_trainer *t, int writable) {
    struct cam_snapshot newest;
    CAM_TRY(cam_journal_settings(t->database, &t->settings));
    CAM_TRY(cam_snapshots_latest(t->snapshots, &newest));
    CAM_TRY(cam_trainer_load(t, newest.id));
    if (!writable)
        return CAM_OK;
    int64_t discarded = 0;
    CAM_TRY(cam_history_discard_after(t->database, newest.id, &discarded));
    if (discarded > 0)
        cam_log(CAM_LOG_INFO, "resuming from step %llu; %lld steps after it are done again",
                (unsigned long long)t->state.step, (long long)discarded);
    return CAM_OK;
}

enum cam_status cam_trainer_recover(struct cam_trainer *t) {
    if (cam_snapshots_settle(t->snapshots) != CAM_OK)
        cam_log(CAM_LOG_WARNING, "%s", cam_message());
    t->unsaved = CAM_OK;
    t->lost = 1;
    CAM_TRY(load_newest(t, cam_workspace_writable(t->workspace)));
    CAM_TRY(cam_trainer_apply_settings(t));
    CAM_TRY(cam_trainer_rewind(t));
    t->lost = 0;
    return CAM_OK;
}

/* Nothing is saved or built upon that a failed call left half done. */
static enum cam_status find_the_way(struct cam_trainer *t) {
    return t->lost ? cam_trainer_recover(t) : CAM_OK;
}

enum cam_status cam_trainer_open(struct cam_workspace *workspace, struct cam_trainer **trainer) {
    struct cam_trainer *t;
    CAM_TRY(trainer_alloc(workspace, &t));
    enum cam_status status = cam_trainer_recover(t);
    if (status == CAM_OK && cam_workspace_writable(workspace))
        status = cam_made_by_note(workspace, t->model->shape.products);
    if (status == CAM_OK && cam_workspace_writable(workspace))
        status = cam_forget_clean(cam_workspace_dir(workspace), t->snapshots, t->database, NULL,
                                  NULL);
    if (status != CAM_OK) {
        cam_trainer_close(t);
        return status;
    }
    *trainer = t;
    return CAM_OK;
}

/* Puts one journal item in the queue, or at the head of the control line. */
static enum cam_status take_item(struct cam_trainer *t, struct cam_item *item) {
    if (item->kind != CAM_ITEM_DOCUMENT) {
        t->control = *item;
        t->has_control = 1;
        item->name = item->value = NULL; /* ours now */
        return CAM_OK;
    }
    /* The document in progress is gone (set aside by a rollback, say): the next starts afresh. */
    if (t->queue.n == 0 && t->queue.offset > 0 && item->position != t->state.position) {
        t->queue.offset = 0;
        t->state.offset = 0;
        memset(&t->state.front, 0, sizeof t->state.front);
    }
    struct cam_pending pending = {.position = item->position, .document = item->document,
                                  .bytes = (int64_t)item->text_bytes, .feed = item->feed};
    CAM_TRY(cam_trainer_encode(t, item->text, item->text_bytes, &pending.ids, &pending.n_ids));
    memcpy(pending.domain, item->domain, sizeof pending.domain);
    enum cam_status status = cam_queue_push(&t->queue, &pending);
    if (status != CAM_OK)
        free(pending.ids);
    return status;
}

/* Reads on until a control row or two batches' worth of tokens wait. */
static enum cam_status read_ahead(struct cam_trainer *t) {
    size_t batch = t->packed.batch.n_sequences * t->packed.batch.t;
    while (!t->has_control && t->queue.n_tokens < 2 * batch) {
        struct cam_items items;
        CAM_TRY(cam_journal_read(t->database, t->read_to, READ_ITEMS, READ_BYTES, &items));
        enum cam_status status = CAM_OK;
        int64_t end = items.end;
        for (size_t i = 0; i < items.n_items && status == CAM_OK && !t->has_control; i++) {
            int64_t position = items.items[i].position;
            status = take_item(t, &items.items[i]);
            if (t->has_control)
                end = position; /* read on from here once it was acted on */
        }
        int at_end = items.at_end && end == items.end;
        cam_items_release(&items);
        CAM_TRY(status);
        t->read_to = end;
        if (at_end)
            break;
    }
    return CAM_OK;
}

static enum cam_status act_on_control(struct cam_trainer *t) {
    struct cam_item control = t->control;
    t->has_control = 0;
    enum cam_status status = cam_trainer_control(t, &control);
    free(control.name);
    free(control.value);
    return status;
}

/* A save that failed while training went on is a failure of the trainer, once, even if somebody
 * who waited for it was told already: what is in memory is ahead of what the history promises. */
static enum cam_status saves_are_sound(struct cam_trainer *t) {
    enum cam_status status = t->unsaved;
    t->unsaved = CAM_OK;
    if (status != CAM_OK)
        status = cam_fail(status, "%s", t->why_unsaved);
    else
        status = cam_snapshots_poll(t->snapshots);
    if (status != CAM_OK)
        t->lost = 1;
    return status;
}

enum cam_status cam_trainer_settle(struct cam_trainer *t) {
    enum cam_status status = cam_snapshots_settle(t->snapshots);
    if (status != CAM_OK) {
        t->unsaved = status;
        snprintf(t->why_unsaved, sizeof t->why_unsaved, "%s", cam_message());
    }
    return status;
}

struct cam_snapshots *cam_trainer_snapshots(struct cam_trainer *t) {
    return t->snapshots;
}

static enum cam_status advance(struct cam_trainer *t, enum cam_advance *did) {
    CAM_TRY(saves_are_sound(t));
    CAM_TRY(read_ahead(t));
    int64_t limit = t->has_control ? t->control.position : INT64_MAX;
    int flush = t->has_control && t->control.kind == CAM_ITEM_FLUSH, done = 0;
    CAM_TRY(cam_trainer_step(t, limit, flush, &done));
    if (done) {
        *did = CAM_ADVANCE_STEP;
        if (t->state.step >= t->checkpoint_step + (uint64_t)t->settings.checkpoint_every)
            CAM_TRY(cam_trainer_save(t, CAM_SNAPSHOT_CHECKPOINT, NULL, 0, NULL));
        return CAM_OK;
    }
    if (t->has_control) {
        *did = CAM_ADVANCE_CONTROL;
        return act_on_control(t);
    }
    *did = CAM_ADVANCE_IDLE;
    return CAM_OK;
}

enum cam_status cam_trainer_advance(struct cam_trainer *t, enum cam_advance *did) {
    CAM_TRY(find_the_way(t));
    enum cam_status status = advance(t, did);
    t->lost = status != CAM_OK;
    return status;
}

void cam_trainer_progress(const struct cam_trainer *t, struct cam_progress *progress) {
    size_t n = t->packed.n_new + t->packed.n_replay;
    struct cam_trainer_size size;
    cam_trainer_size(t, &size);
    *progress = (struct cam_progress){
        .step = (int64_t)t->state.step,
        .documents = t->state.documents,
        .tokens = t->state.tokens,
        .experts = size.experts,
        .pending_tokens = (int64_t)cam_queue_tokens_before(&t->queue, INT64_MAX),
        .bits_per_byte = t->state.bits_per_byte,
        .tokens_per_s = t->last_seconds > 0 ? (double)n / t->last_seconds : 0,
        .domain = t->domain,
    };
}

enum cam_status cam_trainer_checkpoint(struct cam_trainer *t) {
    CAM_TRY(find_the_way(t));
    CAM_TRY(saves_are_sound(t));
    return cam_trainer_save(t, CAM_SNAPSHOT_CHECKPOINT, NULL, 1, NULL);
}

enum cam_status cam_trainer_snapshot(struct cam_trainer *t, const char *tag,
                                     struct cam_snapshot *out) {
    CAM_TRY(find_the_way(t));
    CAM_TRY(saves_are_sound(t));
    return cam_trainer_save(t, CAM_SNAPSHOT_KEPT, tag, 1, out);
}

enum cam_status cam_trainer_rollback(struct cam_trainer *t, const char *snapshot,
                                     enum cam_rollback_mode mode, const char *reason,
                                     int64_t *lineage) {
    struct cam_snapshot found;
    CAM_TRY(find_the_way(t));
    CAM_TRY(cam_trainer_settle(t));
    CAM_TRY(cam_snapshot_find(t->snapshots, snapshot, &found));
    CAM_TRY(cam_snapshot_check(t->snapshots, found.id));
    CAM_TRY(cam_history_rollback(t->database, found.id, mode, reason, lineage));
    t->lost = 1; /* until memory has followed */
    CAM_TRY(cam_trainer_load(t, found.id));
    CAM_TRY(cam_trainer_apply_settings(t));
    CAM_TRY(cam_trainer_rewind(t));
    t->lost = 0;
    return CAM_OK;
}

enum cam_status cam_trainer_forget(struct cam_trainer *t, const struct cam_forget_request *request,
                                   struct cam_forget_plan *plan, struct cam_forgot *forgot,
                                   cam_problem_fn *left, void *context) {
    CAM_TRY(find_the_way(t));
    CAM_TRY(cam_trainer_settle(t));
    CAM_TRY(cam_forget_plan(t->snapshots, t->database, request, plan));
    *forgot = (struct cam_forgot){0};
    CAM_TRY(cam_forget_act(t->database, request, plan, forgot));
    t->lost = 1; /* until memory has followed */
    if (*plan->snapshot) {
        CAM_TRY(cam_trainer_load(t, plan->snapshot));
        CAM_TRY(cam_trainer_apply_settings(t));
    }
    CAM_TRY(cam_trainer_rewind(t)); /* what was read ahead may be gone or be judged otherwise */
    t->lost = 0;
    return cam_forget_clean(cam_workspace_dir(t->workspace), t->snapshots, t->database, left,
                            context);
}

void cam_trainer_size(const struct cam_trainer *t, struct cam_trainer_size *size) {
    struct cam_model_size model;
    cam_model_size(t->model, &model);
    *size = (struct cam_trainer_size){.parameters = model.parameters,
                                      .active = model.active,
                                      .flops = cam_model_flops(t->model, t->model->shape.context),
                                      .bytes = model.bytes,
                                      .experts = (int64_t)model.pool_experts,
                                      .mixture_experts = (int64_t)model.mixture_experts};
}
