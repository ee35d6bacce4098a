/* history.h - what the trainer writes down, and how it is taken back.
 *
 * Moments.  Every transaction here is one *moment*, numbered densely along the living chain of
 * lineages.  A snapshot remembers its moment, so recovery is exact: rows past the snapshot's moment
 * are deleted and made again by replay with the same ids (`cam_history_discard_after`).  Ids
 * (evaluation, decision) are dense counters derived from living rows, never AUTOINCREMENT.
 *
 * Lineages.  Lineage 1 begins at init.  A rollback opens a new one forked at a snapshot; rows of
 * the abandoned branch stay, and lineage_spans lists what is living: a row lives if `h.lineage =
 * s.lineage AND h.moment <= s.moment_to`.
 *
 * All functions run on the database thread and wait.  Pointers inside arguments are borrowed. */
#ifndef CAM_STORE_HISTORY_H
#define CAM_STORE_HISTORY_H

#include "base/status.h"
#include "store/database.h"

#include <stddef.h>
#include <stdint.h>

#define CAM_NAME_BYTES 64

/* ---- one training step --------------------------------------------------------------------- */

struct cam_trained_document {
    int64_t document;
    int64_t first_step, last_step;
    int64_t tokens, bytes;
    double nll; /* prequential: nats, before the updates; NaN: not measured */
};
struct cam_provenance {
    int64_t document;
    int layer;
    int64_t expert;
    int64_t incarnation;
    int64_t generation;
    double weight; /* share of the document's gate mass in this layer */
};
struct cam_usage { /* one window: the steps since the previous usage rows */
    int layer;
    int64_t generation;
    int64_t window_steps;
    int64_t picks;
    double gate_mass;
    int64_t used_experts, n_experts;
    double unevenness; /* log E + sum z log z, nats */
    double hub_share;
    int64_t idle_experts; /* not picked for recycle.idle_windows windows or more */
};
struct cam_quarantine {
    int64_t document;
    int64_t position; /* of the item that brought it */
    const char *reason;
};
enum cam_generation_event {
    CAM_CHANGE_BORN,
    CAM_CHANGE_OPENING,
    CAM_CHANGE_OPENED,
};
struct cam_generation_change {
    int layer;
    int64_t generation; /* 0: the initial pool */
    enum cam_generation_event event;
    int64_t subkeys_from, subkeys_to;
    int64_t first_expert, n_experts;
    const char *reason;
    int64_t decision; /* that caused it, 0 if none */
};

#define CAM_PART_BYTES 16

/* A part of the model stops moving or moves again. */
struct cam_freeze {
    int layer;          /* -1: what belongs to no block */
    const char *part;   /* experts, subkeys, queries, norms, embeddings or trunk */
    int64_t generation; /* of experts and sub-keys; -1: the part has none */
    int frozen;         /* 0: thawed */
    const char *reason;
    int64_t decision;
    const char *hash; /* content at freezing; NULL when thawed */
};

/* Where a generation that opens stands. */
struct cam_opening {
    int layer;
    int64_t generation;
    int64_t opening_steps;
    double bias;                   /* from this step on; 0: open */
    double pick_share, gate_share; /* of this step's batch */
};

/* A dead expert began anew. */
struct cam_recycled {
    int layer;
    int64_t expert, incarnation, generation;
    int64_t idle_windows; /* in a row without a pick */
};

struct cam_step_commit {
    int64_t step; /* previous step + 1 */
    /* The cursor: every journal row up to `position` is consumed, and `offset` units of the next
     * item (what cam_journal_read gives for AFTER = position). */
    int64_t position, offset;
    int64_t new_tokens, new_bytes, replay_tokens;
    double nll_new, nll_replay; /* sums in nats; NaN: none */
    double grad_norm, learning_rate;
    double seconds;                               /* clock column */
    const struct cam_trained_document *documents; /* finished in this step */
    size_t n_documents;
    const struct cam_provenance *provenance;
    size_t n_provenance;
    const struct cam_usage *usage;
    size_t n_usage;
    const struct cam_quarantine *quarantines;
    size_t n_quarantines;
    const struct cam_generation_change *generations; /* state changes in this step */
    size_t n_generations;
    const struct cam_opening *openings;
    size_t n_openings;
    int decide; /* evaluate the policy and document-count schedules at this step's end */
};

enum cam_decision_kind {
    CAM_DECIDE_GROW,    /* amount = sub-keys to add; layer -1: all */
    CAM_DECIDE_FREEZE,  /* part; amount = generation of experts and sub-keys; layer -1: all */
    CAM_DECIDE_THAW,    /* the same */
    CAM_DECIDE_ANCHOR,  /* anchor.* say how strong */
    CAM_DECIDE_RECYCLE, /* amount = experts of a layer at most; layer -1: all */
    CAM_DECIDE_EVALUATE,
    CAM_DECIDE_SNAPSHOT,
    CAM_DECIDE_REWARM,     /* amount = the new peak, in thousandths of train.lr */
    CAM_DECIDE_QUARANTINE, /* amount = document, trained already: not replayed any more */
    CAM_DECIDE_HOLD,       /* amount = steps for which opening generations hold; layer -1: all */
    CAM_DECIDE_RETREAT,    /* amount = thousandths of their way; layer -1: all */
    CAM_DECIDE_ALARM,      /* amount = evaluation */
    CAM_DECIDE_PRUNE,
    CAM_DECIDE_VERIFY,
};
struct cam_decision {
    int64_t decision; /* id */
    enum cam_decision_kind kind;
    int layer;
    int64_t amount;
    char part[CAM_PART_BYTES]; /* of freeze and thaw, else "" */
    char *reason;              /* owned by the list */
    char *evidence;            /* JSON, owned by the list */
};
struct cam_decisions {
    struct cam_decision *decisions;
    size_t n_decisions;
};
void cam_decisions_release(struct cam_decisions *decisions);

/* One transaction, one moment.  DECISIONS (NULL unless commit->decide) is overwritten; release it.
 * A policy that fails or works too long is a recorded "no decision" (an event), not a failure.
 * Either everything is in the database or nothing (CAM_ERR_FULL when the disk is full: the caller
 * may pause and call again with the same arguments). */
CAM_MUST_USE enum cam_status cam_history_commit_step(struct cam_database *database,
                                                     const struct cam_step_commit *commit,
                                                     struct cam_decisions *decisions);

/* ---- what happens between steps; one moment each -------------------------------------------- */

CAM_MUST_USE enum cam_status
cam_history_generations(struct cam_database *database, int64_t step,
                        const struct cam_generation_change *generations, size_t n_generations);
/* Parts freeze or thaw. */
CAM_MUST_USE enum cam_status cam_history_freezes(struct cam_database *database, int64_t step,
                                                 const struct cam_freeze *freezes, size_t n);
/* Experts of one or more layers began anew because of DECISION. */
CAM_MUST_USE enum cam_status cam_history_recycled(struct cam_database *database, int64_t step,
                                                  int64_t decision,
                                                  const struct cam_recycled *experts, size_t n);
/* DOCUMENT, which has been trained on, is quarantined: cam_history_trained leaves it out from now
 * on, and a rollback to before it holds it.  *DONE = 0: not trained, or withdrawn before; nothing
 * is written then. */
CAM_MUST_USE enum cam_status cam_history_withdraw(struct cam_database *database, int64_t step,
                                                  int64_t document, const char *reason, int *done);
/* What came of a decision: "done", "refused: at the cap", ... */
CAM_MUST_USE enum cam_status cam_history_outcome(struct cam_database *database, int64_t decision,
                                                 const char *outcome);
/* Before training on a document it is not to be trained on. */
CAM_MUST_USE enum cam_status cam_history_quarantine(struct cam_database *database, int64_t step,
                                                    const struct cam_quarantine *quarantine);
/* The control row at POSITION has been acted on, or could not be (OUTCOME says so).  Does NOT move
 * the cursor: documents before it may still wait for a batch (a control row takes effect when no
 * full batch can be made of the documents before it); cam_journal_read skips rows in `controls` of
 * the living chain instead.  Puts a setting or policy of that row in force. */
CAM_MUST_USE enum cam_status cam_history_control_done(struct cam_database *database,
                                                      int64_t position, const char *outcome);

struct cam_score {
    int64_t probe;
    double nll; /* nats */
    int64_t bytes, tokens;
};
/* Writes an evaluation and its scores; *EVALUATION (may be NULL) is its id. */
CAM_MUST_USE enum cam_status cam_history_evaluation(struct cam_database *database, int64_t step,
                                                    const char *reason,
                                                    const struct cam_score *scores, size_t n_scores,
                                                    int64_t *evaluation);

/* Which experts the tokens of a probe picked at an evaluation. */
struct cam_routing_row {
    int64_t probe;
    int layer;
    int64_t picks;
    const char *generations, *sketch; /* JSON arrays of counts (ff_peer.h, cam_peer_count_picks) */
};
/* Rows of one probe follow each other. */
CAM_MUST_USE enum cam_status cam_history_routing(struct cam_database *database, int64_t evaluation,
                                                 const struct cam_routing_row *rows, size_t n);

/* What is known about the evaluation an alarm is about. */
struct cam_alarm {
    int known;                     /* it is one of the living history */
    int told;                      /* an earlier decision was about it: nothing more is done */
    char snapshot[CAM_NAME_BYTES]; /* newest kept one from before it, "": none */
    int64_t documents_since; /* trained since the last rollback by an alarm; INT64_MAX: none */
};
/* Tells of the alarm (event `alarm` and a log line, once) and looks for the way back. */
CAM_MUST_USE enum cam_status cam_history_alarm(struct cam_database *database,
                                               const struct cam_decision *decision,
                                               struct cam_alarm *alarm);

/* Something worth telling; no moment, never discarded, not part of the identical history.
 * LEVEL "info", "warning" or "error"; KIND a short stable word; BODY JSON or NULL. */
CAM_MUST_USE enum cam_status cam_history_event(struct cam_database *database, const char *level,
                                               const char *kind, const char *message,
                                               const char *body);

/* ---- where the trainer is ------------------------------------------------------------------- */

struct cam_history_state {
    int64_t lineage, moment, step, position, offset;
};
CAM_MUST_USE enum cam_status cam_history_state(struct cam_database *database,
                                               struct cam_history_state *state);

struct cam_trained {
    int64_t document, feed, bytes, tokens;
    const char *domain; /* borrowed for the call */
};
typedef enum cam_status cam_trained_fn(void *context, const struct cam_trained *trained);
/* Documents trained in the living history and not withdrawn since, in the order in which they were
 * finished: what replay draws from.  Skips the first SKIP ranks. */
CAM_MUST_USE enum cam_status cam_history_trained(struct cam_database *database, int64_t skip,
                                                 cam_trained_fn *fn, void *context);

struct cam_counts {
    /* journalled = trained + pending + quarantined + held_out + set_aside, always */
    int64_t journalled, trained, pending, quarantined, held_out, set_aside;
    int64_t tokens, experts, generations, lineage, step;
    char snapshot[CAM_NAME_BYTES];   /* newest living one, "" if none */
    char model_hash[CAM_NAME_BYTES]; /* of that snapshot or checkpoint */
    double bits_per_byte;            /* prequential, last 32 documents; NaN: none yet */
};
CAM_MUST_USE enum cam_status cam_history_counts(struct cam_database *database,
                                                struct cam_counts *counts);

/* ---- taking back ------------------------------------------------------------------------------
 */

/* After a crash: deletes what the living history holds past SNAPSHOT (an id from
 * cam_snapshots_latest; "" = past the beginning), except events, and sets the state back to it.
 * Idempotent.  *DISCARDED (may be NULL) counts steps. */
CAM_MUST_USE enum cam_status cam_history_discard_after(struct cam_database *database,
                                                       const char *snapshot, int64_t *discarded);

enum cam_rollback_mode {
    /* Documents trained on since, wholly or in part, are not trained again; what waited at the
     * snapshot and was not touched since, waits. */
    CAM_ROLLBACK_SET_ASIDE,
    CAM_ROLLBACK_REQUEUE, /* they are pending again, in their old order */
};
/* Opens a lineage forked at SNAPSHOT, in one durable transaction (before or after, nothing
 * between). Settings and policy become those of the snapshot; the journal row says which changed.
 * The caller loads the snapshot next; after a crash, the latest living snapshot is this one.
 * Afterwards the cursor is the snapshot's.  *LINEAGE may be NULL. */
CAM_MUST_USE enum cam_status cam_history_rollback(struct cam_database *database,
                                                  const char *snapshot, enum cam_rollback_mode mode,
                                                  const char *reason, int64_t *lineage);

#endif
