#include "run/trainer_internal.h"

#include "base/log.h"
#include "model/anchor.h"
#include "model/average.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct replay {
    struct cam_trainer *t;
    struct cam_arena *arena;
};

static void replay_batch(void *context) {
    const struct replay *r = context;
    const struct cam_batch *b = &r->t->packed.batch;
    struct cam_pass pass = {.threads = r->t->threads,
                            .arena = r->arena,
                            .n_tokens = b->n_sequences * b->t,
                            .training = 1,
                            .products = r->t->model->shape.products};
    cam_arena_reset(r->arena);
    cam_model_forward(r->t->model, &pass, b->n_sequences, b->tokens);
}

enum cam_status cam_trainer_replay_batch(struct cam_trainer *t, struct cam_arena *arena,
                                         const cam_real **logits) {
    struct replay r = {.t = t, .arena = arena};
    CAM_TRY(cam_arena_catch(replay_batch, &r));
    *logits = t->model->logits;
    return CAM_OK;
}

double cam_relative_change(const cam_real *a, const cam_real *b, size_t n) {
    double most = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]), s = fabs((double)a[i]);
        most = d > most ? d : most;
        size = s > size ? s : size;
    }
    return size > 0 ? most / size : most;
}

/* Grows the pool of one block and proves that the function is kept on the last batch. */
static enum cam_status grow_block(struct cam_trainer *t, struct cam_ff *ff, size_t i_block,
                                  size_t subkeys, const cam_real *token_loss,
                                  const struct cam_decision *decision) {
    size_t n = t->packed.batch.n_sequences * t->packed.batch.t * t->model->shape.vocabulary;
    size_t from_queries = 0;
    const cam_real *before, *after;
    CAM_TRY(cam_trainer_replay_batch(t, &t->arena, &before));
    struct cam_peer_growth growth = {.subkeys = subkeys, .token_loss = token_loss,
                                     .seed = (uint64_t)t->settings.seed, .step = t->state.step,
                                     .ramp_steps = (uint32_t)t->settings.grow_ramp};
    CAM_TRY(cam_peer_grow(ff, &growth, &from_queries));
    CAM_TRY(cam_model_average_extend(t->model));
    CAM_TRY(cam_model_anchor_extend(t->model));
    CAM_TRY(cam_trainer_replay_batch(t, &t->check_arena, &after));
    double change = cam_relative_change(before, after, n);
    const struct cam_generation *g = cam_peer_generation(ff, cam_peer_n_generations(ff) - 1);
    char reason[512];
    snprintf(reason, sizeof reason,
             "%s; %zu of %zu sub-keys from high-loss sub-queries; logits changed by %.1e",
             decision->reason, from_queries, subkeys * 2, change);
    struct cam_generation_change row = {.layer = (int)i_block,
                                        .generation = g->number,
                                        .event = CAM_CHANGE_BORN,
                                        .subkeys_from = g->subkeys_from,
                                        .subkeys_to = g->subkeys_to,
                                        .first_expert = (int64_t)g->first_expert,
                                        .n_experts = (int64_t)g->n_experts,
                                        .reason = reason,
                                        .decision = decision->decision};
    CAM_TRY(cam_history_generations(t->database, (int64_t)t->state.step, &row, 1));
    cam_log(CAM_LOG_INFO, "step %llu: block %zu grows to %zu experts (generation %u): %s",
            (unsigned long long)t->state.step, i_block, (size_t)cam_peer_n_experts(ff), g->number,
            decision->reason);
    return CAM_OK;
}

int cam_trainer_concerns(const struct cam_decision *decision, size_t i_block) {
    return decision->layer < 0 || (size_t)decision->layer == i_block;
}

static enum cam_status decide_grow(struct cam_trainer *t, const struct cam_decision *decision,
                                   char *outcome, size_t outcome_bytes) {
    size_t n = t->packed.batch.n_sequences * t->packed.batch.t, grown = 0;
    cam_real *loss = malloc(n * sizeof *loss); /* the arena that holds it is about to be reused */
    if (!loss)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu token losses", n);
    memcpy(loss, t->last.nll, n * sizeof *loss);
    enum cam_status status = CAM_OK;
    size_t i_block = 0;
    for (struct cam_ff *ff; status == CAM_OK && (ff = cam_trainer_pool(t, &i_block)); i_block++) {
        if (!cam_trainer_concerns(decision, i_block))
            continue;
        size_t cap = ff->config.subkeys_capacity, now = cam_peer_subkeys(ff);
        size_t room = cap > now ? cap - now : 0;
        size_t add = decision->amount > 0 ? (size_t)decision->amount : 0;
        if (add == 0 || room == 0) {
            snprintf(outcome, outcome_bytes, "refused: block %zu is at peer.max_subkeys (%zu)",
                     i_block, cap);
            continue;
        }
        status = grow_block(t, ff, i_block, add < room ? add : room, loss, decision);
        grown++;
    }
    free(loss);
    if (grown)
        snprintf(outcome, outcome_bytes, "done: %zu pool%s grew", grown, grown == 1 ? "" : "s");
    return status;
}

static enum cam_status prune(struct cam_trainer *t) {
    struct cam_prune_rule rule = {
        .keep_last = t->settings.prune_keep_last,
        .max_bytes = t->settings.prune_max_bytes > 0 ? t->settings.prune_max_bytes : -1,
        .act = 1};
    struct cam_prune_report report = {0};
    CAM_TRY(cam_snapshots_prune_by(t->snapshots, &rule, NULL, NULL, &report));
    if (report.over_budget)
        cam_log(CAM_LOG_WARNING,
                "the snapshots that have to stay take more than prune.max_bytes (%lld)",
                (long long)t->settings.prune_max_bytes);
    return CAM_OK;
}

static enum cam_status act(struct cam_trainer *t, const struct cam_decision *d, char *outcome,
                           size_t outcome_bytes) {
    int64_t number;
    snprintf(outcome, outcome_bytes, "done");
    switch (d->kind) {
    case CAM_DECIDE_GROW:
        return decide_grow(t, d, outcome, outcome_bytes);
    case CAM_DECIDE_FREEZE:
        return cam_trainer_freeze(t, d, 1, outcome, outcome_bytes);
    case CAM_DECIDE_THAW:
        return cam_trainer_freeze(t, d, 0, outcome, outcome_bytes);
    case CAM_DECIDE_RECYCLE:
        return cam_trainer_recycle(t, d, outcome, outcome_bytes);
    case CAM_DECIDE_QUARANTINE:
        return cam_trainer_withdraw(t, d, outcome, outcome_bytes);
    case CAM_DECIDE_HOLD:
    case CAM_DECIDE_RETREAT:
        return cam_trainer_hold(t, d, outcome, outcome_bytes);
    case CAM_DECIDE_ALARM:
        return cam_trainer_alarm(t, d, outcome, outcome_bytes);
    case CAM_DECIDE_EVALUATE:
        CAM_TRY(cam_trainer_evaluate(t, d->reason, &number));
        snprintf(outcome, outcome_bytes, "done: evaluation %lld", (long long)number);
        return CAM_OK;
    case CAM_DECIDE_SNAPSHOT: /* saved by the caller, last */
        return CAM_OK;
    case CAM_DECIDE_PRUNE: /* how many were removed differs when a crash makes it happen twice */
        return prune(t);
    case CAM_DECIDE_VERIFY:
        CAM_TRY(cam_snapshots_verify(t->snapshots, NULL, NULL, &number));
        snprintf(outcome, outcome_bytes, "done: %lld problems", (long long)number);
        return CAM_OK;
    case CAM_DECIDE_ANCHOR:
        return cam_trainer_anchor(t, d, outcome, outcome_bytes);
    case CAM_DECIDE_REWARM:
        return cam_trainer_rewarm(t, d, outcome, outcome_bytes);
    }
    return cam_fail(CAM_ERR_INTERNAL, "decision of unknown kind %d", (int)d->kind);
}

/* A kept snapshot is a state to resume from, so it comes after everything else a step decides is
 * done and written down: a crash right after it must not leave anything undone for ever. */
enum cam_status cam_trainer_decide(struct cam_trainer *t, const struct cam_decisions *decisions) {
    int save = 0;
    for (size_t i = 0; i < decisions->n_decisions; i++) {
        char outcome[256];
        CAM_TRY(act(t, &decisions->decisions[i], outcome, sizeof outcome));
        CAM_TRY(cam_history_outcome(t->database, decisions->decisions[i].decision, outcome));
        save |= decisions->decisions[i].kind == CAM_DECIDE_SNAPSHOT;
    }
    if (*t->way_back) /* what would be saved is what is left behind */
        return cam_trainer_go_back(t);
    return save ? cam_trainer_save(t, CAM_SNAPSHOT_KEPT, NULL, 0, NULL) : CAM_OK;
}

/* The row is done first, for the same reason; so a tag in use has to be found before. */
static enum cam_status control_snapshot(struct cam_trainer *t, const struct cam_item *item) {
    const char *tag = item->name && *item->name ? item->name : NULL;
    struct cam_snapshot found = {0};
    char outcome[256] = "done";
    enum cam_status looked = tag ? cam_snapshot_find(t->snapshots, tag, &found) : CAM_ERR_NOINPUT;
    int taken = looked == CAM_OK && strcmp(found.tag, tag) == 0;
    if (taken) {
        snprintf(outcome, sizeof outcome, "refused: the tag %.64s is that of snapshot %.8s", tag,
                 found.id);
        cam_log(CAM_LOG_WARNING, "journal row %lld: %s", (long long)item->position, outcome);
    }
    CAM_TRY(cam_history_control_done(t->database, item->position, outcome));
    return taken ? CAM_OK : cam_trainer_save(t, CAM_SNAPSHOT_KEPT, tag, 0, NULL);
}

enum cam_status cam_trainer_control(struct cam_trainer *t, const struct cam_item *item) {
    struct cam_decision asked = {.layer = -1, .reason = "asked for"};
    char outcome[256] = "done";
    int64_t number;
    enum cam_status status = CAM_OK;
    switch (item->kind) {
    case CAM_ITEM_EVALUATE:
        status = cam_trainer_evaluate_at(t, item->name && *item->name ? item->name : "asked for",
                                         item->position, &number);
        break;
    case CAM_ITEM_SNAPSHOT:
        return control_snapshot(t, item);
    case CAM_ITEM_PRUNE:
        asked.kind = CAM_DECIDE_PRUNE;
        status = act(t, &asked, outcome, sizeof outcome);
        break;
    case CAM_ITEM_VERIFY:
        asked.kind = CAM_DECIDE_VERIFY;
        status = act(t, &asked, outcome, sizeof outcome);
        break;
    case CAM_ITEM_GROW:
    case CAM_ITEM_FREEZE:
        snprintf(outcome, sizeof outcome, "refused: growing and freezing are the policy's to decide");
        break;
    case CAM_ITEM_SETTING:
    case CAM_ITEM_POLICY:
    case CAM_ITEM_FLUSH:
    case CAM_ITEM_FORGET:
    case CAM_ITEM_DOCUMENT:
        break;
    }
    if (status == CAM_ERR_DATA) { /* the row is done, and says how it ended */
        snprintf(outcome, sizeof outcome, "refused: %.200s", cam_message());
        cam_log(CAM_LOG_WARNING, "journal row %lld: %s", (long long)item->position, outcome);
        status = CAM_OK;
    }
    CAM_TRY(status);
    CAM_TRY(cam_history_control_done(t->database, item->position, outcome));
    return cam_trainer_apply_settings(t);
}
