/* trainer_protect.c - decisions that protect what is known, or renew what knows nothing: freeze and
 * thaw by part, anchor, re-warm, recycle, quarantine (see trainer.h). */
#include "run/trainer_internal.h"

#include "base/log.h"
#include "model/anchor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RECYCLED 1024  /* experts of a layer and decision: a row each */
#define MAX_PEAK     10000 /* of a learning rate, in thousandths of train.lr */

/* ---- freezing by part ---- */

static const struct part {
    const char *name; /* as in cam_decide_parts */
    unsigned pool;    /* of a generation: enum cam_peer_part; 0: dense parameters */
    enum cam_part dense;
} parts[] = {
    {"experts", CAM_PEER_EXPERTS, CAM_N_PARTS},
    {"subkeys", CAM_PEER_SUBKEYS, CAM_N_PARTS},
    {"queries", 0, CAM_PART_QUERY},
    {"norms", 0, CAM_PART_NORM},
    {"embeddings", 0, CAM_PART_EMBEDDING},
    {"trunk", 0, CAM_PART_TRUNK},
};

static const struct part *find_part(const char *name) {
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(parts[i].name, name) == 0)
            return &parts[i];
    return NULL;
}

static int is_frozen(const struct cam_generation *g, const struct part *part) {
    return part->pool == CAM_PEER_EXPERTS ? g->frozen_experts != 0 : g->frozen_subkeys != 0;
}

enum cam_status cam_trainer_part_hash(struct cam_trainer *t, int64_t layer, const char *name,
                                      int64_t generation, char hex[CAM_HASH_HEX_BYTES]) {
    const struct part *part = find_part(name);
    size_t i_block = layer < 0 ? CAM_NO_BLOCK : (size_t)layer;
    struct cam_hash hash;
    if (part && part->pool) {
        size_t at = i_block;
        struct cam_ff *ff = cam_trainer_pool(t, &at);
        if (!ff || at != i_block || generation < 0)
            return cam_fail(CAM_ERR_DATA, "block %lld has no pool", (long long)layer);
        CAM_TRY(cam_peer_generation_hash(ff, (size_t)generation, part->pool, &hash));
    } else {
        if (!part)
            return cam_fail(CAM_ERR_DATA, "%.40s: the model has no such part", name);
        CAM_TRY(cam_model_part_hash(t->model, i_block, part->dense, &hash));
    }
    cam_hash_hex(hash, hex);
    return CAM_OK;
}

static enum cam_status note_freeze(struct cam_trainer *t, const struct cam_decision *d,
                                   const struct part *part, int64_t layer, int64_t generation,
                                   int on) {
    char hex[CAM_HASH_HEX_BYTES];
    struct cam_freeze row = {.layer = (int)layer,
                             .part = part->name,
                             .generation = generation,
                             .frozen = on,
                             .reason = d->reason,
                             .decision = d->decision,
                             .hash = on ? hex : NULL};
    if (on)
        CAM_TRY(cam_trainer_part_hash(t, layer, part->name, generation, hex));
    return cam_history_freezes(t->database, (int64_t)t->state.step, &row, 1);
}

/* Generation d->amount of one pool.  Thawing its sub-keys thaws those of younger ones: a row each.
 * A refusal is the outcome, not a failure. */
static enum cam_status freeze_generation(struct cam_trainer *t, const struct cam_decision *d,
                                         const struct part *part, int on, size_t i_block,
                                         struct cam_ff *ff, size_t *n_changed, char *outcome,
                                         size_t outcome_bytes) {
    size_t n = cam_peer_n_generations(ff);
    unsigned char before[CAM_MAX_GENERATIONS];
    if (d->amount < 0 || (size_t)d->amount >= n)
        return CAM_OK;
    for (size_t i = 0; i < n; i++)
        before[i] = is_frozen(cam_peer_generation(ff, i), part) != 0;
    enum cam_status status = cam_peer_freeze(ff, (size_t)d->amount, part->pool, on);
    if (status == CAM_ERR_CONFIG) {
        snprintf(outcome, outcome_bytes, "refused: %.200s", cam_message());
        return CAM_OK;
    }
    CAM_TRY(status);
    for (size_t i = 0; i < n; i++) {
        if (is_frozen(cam_peer_generation(ff, i), part) == before[i])
            continue;
        CAM_TRY(note_freeze(t, d, part, (int64_t)i_block, (int64_t)i, on));
        ++*n_changed;
    }
    return CAM_OK;
}

/* The dense parameters of one block, or (I_BLOCK = n_blocks) of none. */
static enum cam_status freeze_dense(struct cam_trainer *t, const struct cam_decision *d,
                                    const struct part *part, int on, size_t i_block,
                                    size_t *n_changed) {
    int outside = i_block == t->model->shape.n_blocks;
    uint64_t *bits = &t->state.frozen[outside ? CAM_MAX_BLOCKS : i_block];
    uint64_t bit = (uint64_t)1 << part->dense;
    if ((*bits & bit) == (on ? bit : 0) ||
        cam_model_freeze(t->model, outside ? CAM_NO_BLOCK : i_block, part->dense, on) == 0)
        return CAM_OK;
    *bits = on ? *bits | bit : *bits & ~bit;
    ++*n_changed;
    return note_freeze(t, d, part, outside ? -1 : (int64_t)i_block, -1, on);
}

enum cam_status cam_trainer_note_frozen(struct cam_trainer *t, const char *reason) {
    const struct cam_decision none = {.reason = (char *)(uintptr_t)reason};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        size_t i_block = 0;
        for (struct cam_ff *ff; parts[p].pool && (ff = cam_trainer_pool(t, &i_block)); i_block++)
            for (size_t i = 0; i < cam_peer_n_generations(ff); i++)
                if (is_frozen(cam_peer_generation(ff, i), &parts[p]))
                    CAM_TRY(note_freeze(t, &none, &parts[p], (int64_t)i_block, (int64_t)i, 1));
        for (size_t i = 0; !parts[p].pool && i <= CAM_MAX_BLOCKS; i++)
            if (t->state.frozen[i] & (uint64_t)1 << parts[p].dense)
                CAM_TRY(note_freeze(t, &none, &parts[p],
                                    i == CAM_MAX_BLOCKS ? -1 : (int64_t)i, -1, 1));
    }
    return CAM_OK;
}

enum cam_status cam_trainer_freeze(struct cam_trainer *t, const struct cam_decision *d, int on,
                                   char *outcome, size_t outcome_bytes) {
    const struct part *part = find_part(d->part);
    size_t n_blocks = t->model->shape.n_blocks, n_changed = 0;
    if (!part)
        return cam_fail(CAM_ERR_INTERNAL, "decision %lld: no part %s", (long long)d->decision,
                        d->part);
    snprintf(outcome, outcome_bytes, "nothing to %s", on ? "freeze" : "thaw");
    for (size_t i = 0; part->pool && i < n_blocks; i++) {
        size_t at = i;
        struct cam_ff *ff = cam_trainer_pool(t, &at);
        if (ff && at == i && cam_trainer_concerns(d, i))
            CAM_TRY(freeze_generation(t, d, part, on, i, ff, &n_changed, outcome, outcome_bytes));
    }
    /* The embedding is no block's, whatever the layer asked for. */
    for (size_t i = 0; !part->pool && i <= n_blocks; i++)
        if (d->layer < 0 || part->dense == CAM_PART_EMBEDDING ||
            (i < n_blocks && cam_trainer_concerns(d, i)))
            CAM_TRY(freeze_dense(t, d, part, on, i, &n_changed));
    if (n_changed == 0)
        return CAM_OK;
    snprintf(outcome, outcome_bytes, "done: %s %s in %zu place%s", d->part,
             on ? "frozen" : "thawed", n_changed, n_changed == 1 ? "" : "s");
    cam_log(CAM_LOG_INFO, "step %llu: %s: %s", (unsigned long long)t->state.step, outcome,
            d->reason);
    return CAM_OK;
}

void cam_trainer_apply_frozen(struct cam_trainer *t) {
    for (size_t i = 0; i <= t->model->shape.n_blocks; i++) {
        int outside = i == t->model->shape.n_blocks;
        uint64_t bits = t->state.frozen[outside ? CAM_MAX_BLOCKS : i];
        for (int part = 0; part < CAM_N_PARTS; part++)
            cam_model_freeze(t->model, outside ? CAM_NO_BLOCK : i, (enum cam_part)part,
                             bits >> part & 1);
    }
}

/* ---- anchors ---- */

static void observe(void *context) {
    struct cam_trainer *t = context;
    cam_model_anchor_observe(t->model, t->threads, &t->check_arena, t->state.observed + 1);
}

enum cam_status cam_trainer_observe(struct cam_trainer *t) {
    const struct cam_levers *l = &t->levers;
    uint64_t keep = l->anchor_ewc > 0 ? CAM_ANCHOR_FISHER : 0;
    if (l->anchor_ewc > 0 || l->anchor_l2 > 0)
        keep |= t->state.anchors & CAM_ANCHOR_CENTRE;
    if (keep != t->state.anchors) {
        CAM_TRY(cam_model_anchor_keep(t->model, (unsigned)keep));
        t->state.anchors = keep;
        t->state.observed = 0;
    }
    if (!(keep & CAM_ANCHOR_FISHER))
        return CAM_OK;
    CAM_TRY(cam_arena_catch(observe, t));
    t->state.observed++;
    return CAM_OK;
}

enum cam_status cam_trainer_anchor(struct cam_trainer *t, const struct cam_decision *d,
                                   char *outcome, size_t outcome_bytes) {
    const struct cam_levers *l = &t->levers;
    if (l->anchor_l2 <= 0 && l->anchor_ewc <= 0) {
        snprintf(outcome, outcome_bytes,
                 "refused: anchor.l2 and anchor.ewc are 0: nothing would be pulled to it");
        return CAM_OK;
    }
    t->state.anchors |= CAM_ANCHOR_CENTRE;
    CAM_TRY(cam_model_anchor_keep(t->model, (unsigned)t->state.anchors));
    cam_model_anchor_set(t->model, l->anchor_decay, t->state.step);
    t->state.observed = 0;
    snprintf(outcome, outcome_bytes, "done: l2 %g, ewc %g, decay %g", l->anchor_l2, l->anchor_ewc,
             l->anchor_decay);
    cam_log(CAM_LOG_INFO, "step %llu: anchor set (%s): %s", (unsigned long long)t->state.step,
            outcome, d->reason);
    return CAM_OK;
}

/* ---- learning rate ---- */

/* The schedule begins anew after this step and rises from the rate of now (Ibrahim et al. 2024,
 * arXiv 2403.08763, section 4), to a peak of its own: a policy may lower it from round to round. */
enum cam_status cam_trainer_rewarm(struct cam_trainer *t, const struct cam_decision *d,
                                   char *outcome, size_t outcome_bytes) {
    if (d->amount < 1 || d->amount > MAX_PEAK) {
        snprintf(outcome, outcome_bytes, "refused: a peak of %lld thousandths; 1 to %d",
                 (long long)d->amount, MAX_PEAK);
        return CAM_OK;
    }
    t->state.rewarm_from = cam_recipe_lr(&t->recipe, t->state.step);
    t->state.rewarm_step = t->state.step;
    t->state.rewarm_peak = d->amount;
    CAM_TRY(cam_trainer_apply_settings(t));
    snprintf(outcome, outcome_bytes, "done: from %.3g to a peak of %.3g", t->state.rewarm_from,
             t->recipe.lr);
    cam_log(CAM_LOG_INFO, "step %llu: learning rate warms up again, %s: %s",
            (unsigned long long)t->state.step, outcome + strlen("done: "), d->reason);
    return CAM_OK;
}

/* ---- recycling ---- */

static enum cam_status recycle_pool(struct cam_trainer *t, const struct cam_decision *d,
                                    struct cam_ff *ff, size_t i_block, size_t *n_recycled) {
    size_t n = 0, most = d->amount < MAX_RECYCLED ? (size_t)d->amount : MAX_RECYCLED;
    struct cam_peer_idle *idle = malloc((most + 1) * sizeof *idle);
    struct cam_recycled *rows = malloc((most + 1) * sizeof *rows);
    enum cam_status status = CAM_OK;
    if (!idle || !rows)
        status = cam_fail(CAM_ERR_OS, "out of memory for %zu experts to recycle", most);
    if (status == CAM_OK)
        status = cam_peer_find_idle(ff, (uint32_t)t->settings.recycle_idle, most, idle, &n);
    for (size_t i = 0; status == CAM_OK && i < n; i++) {
        status = cam_peer_recycle(ff, idle[i].expert);
        rows[i] = (struct cam_recycled){.layer = (int)i_block,
                                        .expert = (int64_t)idle[i].expert,
                                        .incarnation = (int64_t)idle[i].incarnation + 1,
                                        .generation = idle[i].generation,
                                        .idle_windows = idle[i].idle_windows};
    }
    if (status == CAM_OK && n)
        status = cam_history_recycled(t->database, (int64_t)t->state.step, d->decision, rows, n);
    *n_recycled += n;
    free(idle);
    free(rows);
    return status;
}

/* The experts are not picked on the last batch, so what it computes stays; measured all the same.
 */
enum cam_status cam_trainer_recycle(struct cam_trainer *t, const struct cam_decision *d,
                                    char *outcome, size_t outcome_bytes) {
    size_t n_logits = t->packed.batch.n_sequences * t->packed.batch.t * t->model->shape.vocabulary;
    size_t n_recycled = 0, i_block = 0;
    const cam_real *before, *after;
    CAM_TRY(cam_trainer_replay_batch(t, &t->arena, &before));
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++)
        if (cam_trainer_concerns(d, i_block) && d->amount > 0)
            CAM_TRY(recycle_pool(t, d, ff, i_block, &n_recycled));
    snprintf(outcome, outcome_bytes,
             "nothing to recycle: no thawed expert was idle for %lld windows",
             (long long)t->settings.recycle_idle);
    if (n_recycled == 0)
        return CAM_OK;
    CAM_TRY(cam_trainer_replay_batch(t, &t->check_arena, &after));
    snprintf(outcome, outcome_bytes, "done: %zu experts recycled; logits changed by %.1e",
             n_recycled, cam_relative_change(before, after, n_logits));
    cam_log(CAM_LOG_INFO, "step %llu: %s: %s", (unsigned long long)t->state.step, outcome,
            d->reason);
    return CAM_OK;
}

/* ---- quarantine ---- */

enum cam_status cam_trainer_withdraw(struct cam_trainer *t, const struct cam_decision *d,
                                     char *outcome, size_t outcome_bytes) {
    int done = 0;
    CAM_TRY(cam_history_withdraw(t->database, (int64_t)t->state.step, d->amount, d->reason, &done));
    if (!done) {
        snprintf(outcome, outcome_bytes, "nothing to do: document %lld is not among the replayed",
                 (long long)d->amount);
        return CAM_OK;
    }
    snprintf(outcome, outcome_bytes, "done: document %lld is not replayed any more",
             (long long)d->amount);
    cam_log(CAM_LOG_WARNING, "step %llu: %s: %s", (unsigned long long)t->state.step, outcome,
            d->reason);
    return cam_trainer_list_replay(t);
}
