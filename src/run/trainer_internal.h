/* trainer_internal.h - shared by the rooms of the trainer: trainer.c (life and order of work),
 * trainer_state.c (what is saved), trainer_step.c (one step), trainer_act.c (decisions, controls),
 * trainer_protect.c (decisions that protect or renew), trainer_guard.c (those that hold back),
 * trainer_score.c (evaluation, scores, samples), trainer_routing.c (which experts probes pick),
 * trainer_why.c (which experts answer a text). */
#ifndef CAM_RUN_TRAINER_INTERNAL_H
#define CAM_RUN_TRAINER_INTERNAL_H

#include "base/arena.h"
#include "base/threads.h"
#include "model/ff_peer.h"
#include "run/levers.h"
#include "run/preset.h"
#include "run/trainer.h"
#include "store/journal.h"
#include "train/pack.h"
#include "train/replay.h"

#define CAM_CREDITS 16 /* experts remembered for the document in progress, a layer */

/* The document whose first tokens are trained and whose last are not. */
struct cam_front {
    int64_t first_step;
    double nll;
    uint64_t n_credits[CAM_MAX_BLOCKS];
    struct cam_peer_credit credits[CAM_MAX_BLOCKS][CAM_CREDITS];
};

/* Everything a step depends on besides model, settings and history.  Saved as it is: no pointers,
 * no padding, so its bytes may be hashed. */
struct cam_trainer_state {
    uint64_t version;
    uint64_t step;
    /* Offset 0: the last document trained.  Else the document in progress, of which so many tokens
     * were trained; cam_step_commit counts it as not consumed.  The position is saved as 0 and comes
     * back from the snapshot's row, so that what a snapshot holds does not depend on how many rows
     * the journal had before: some may be forgotten. */
    int64_t position, offset;
    int64_t documents, tokens;
    double norm;                      /* running gradient norm, 0 before the first step */
    double bits_per_byte;             /* running prequential score, 0 before the first */
    uint64_t window_from;             /* step after which the usage window began */
    uint64_t averages;                /* 1: the model has an average (model/average.h) */
    uint64_t anchors;                 /* what it keeps of anchors: enum cam_anchor_part */
    uint64_t observed;                /* steps in the Fisher estimate since the last one */
    /* The last re-warming: its step, its peak in thousandths of train.lr (0: never), and the rate
     * from which it rose. */
    uint64_t rewarm_step;
    int64_t rewarm_peak;
    double rewarm_from;
    struct cam_replay_account replay;
    uint64_t subkeys[CAM_MAX_BLOCKS]; /* of each block's pool, 0 where there is none */
    struct cam_front front;
    /* Frozen dense parts of each block, a bit a part: 1 << enum cam_part; last what belongs to no
     * block.  What is frozen of pools is in their generations. */
    uint64_t frozen[CAM_MAX_BLOCKS + 1];
};
#define CAM_TRAINER_STATE_VERSION 4

struct cam_trainer {
    struct cam_workspace *workspace; /* borrowed */
    struct cam_database *database;   /* borrowed */
    struct cam_snapshots *snapshots;
    struct cam_settings settings;
    struct cam_recipe recipe;
    struct cam_levers levers; /* in force */
    struct cam_tokenizer *tokenizer;
    struct cam_encoder *encoder;
    struct cam_buffer tokenizer_file;
    struct cam_threads *threads;
    struct cam_arena arena, check_arena;
    struct cam_model *model;
    struct cam_trainer_state state;
    struct cam_trainer_state saved; /* the state as a snapshot holds it, while one is made */

    struct cam_queue queue;
    int64_t read_to;         /* journal rows up to here were read into the queue */
    struct cam_item control; /* next control row, if has_control; name and value owned */
    int has_control;
    struct cam_packed packed;
    struct cam_replay replay;
    int n_unsound;               /* steps discarded in a row */
    int lost;                    /* a call failed half-way: memory is not what is written down */
    uint64_t checkpoint_step;    /* step of the newest checkpoint */
    enum cam_status unsaved;     /* a save that failed, which somebody else was told of first */
    char why_unsaved[1024];
    struct cam_step_report last; /* of the last sound step; nll points into the arena */
    double last_seconds;
    char domain[CAM_DOMAIN_BYTES];
    /* Snapshot an alarm of this step goes back to once all else of the step is done; "": none. */
    char way_back[CAM_NAME_BYTES], way_back_why[400];
};

/* ---- trainer_state.c ---- */
/* Makes model, threads and tokenizer of SETTINGS; TOKENIZER_FILE is copied. */
CAM_MUST_USE enum cam_status cam_trainer_build(struct cam_trainer *trainer,
                                               const void *tokenizer_file, size_t n_bytes);
CAM_MUST_USE enum cam_status cam_trainer_load(struct cam_trainer *trainer, const char *snapshot);
/* WAIT 0: returns once what changed is copied (cam_snapshot_save_begin). */
CAM_MUST_USE enum cam_status cam_trainer_save(struct cam_trainer *trainer,
                                              enum cam_snapshot_kind kind, const char *tag,
                                              int wait, struct cam_snapshot *out);
/* Settings and policy in force, from the history. */
CAM_MUST_USE enum cam_status cam_trainer_apply_settings(struct cam_trainer *trainer);
/* Adds a trained document to the replay list. */
CAM_MUST_USE enum cam_status cam_trainer_remember(struct cam_trainer *trainer, const char *source,
                                                  int64_t document, int64_t bytes);
/* Empties queue and look-ahead and rebuilds the replay list: after loading a state. */
CAM_MUST_USE enum cam_status cam_trainer_rewind(struct cam_trainer *trainer);

/* Lists anew what may be replayed. */
CAM_MUST_USE enum cam_status cam_trainer_list_replay(struct cam_trainer *trainer);

/* ---- trainer_step.c ---- */
/* Trains one step on documents before POSITION.  *DONE = 0 if they do not fill a batch (FLUSH: if
 * there are none). */
CAM_MUST_USE enum cam_status cam_trainer_step(struct cam_trainer *trainer, int64_t position,
                                              int flush, int *done);

/* ---- trainer_act.c ---- */
CAM_MUST_USE enum cam_status cam_trainer_decide(struct cam_trainer *trainer,
                                                const struct cam_decisions *decisions);
CAM_MUST_USE enum cam_status cam_trainer_control(struct cam_trainer *trainer,
                                                 const struct cam_item *item);

/* Whether DECISION is about block I_BLOCK. */
int cam_trainer_concerns(const struct cam_decision *decision, size_t i_block);
/* Training forward pass over the last batch: *LOGITS (N, V), in ARENA. */
CAM_MUST_USE enum cam_status cam_trainer_replay_batch(struct cam_trainer *trainer,
                                                      struct cam_arena *arena,
                                                      const cam_real **logits);
/* Largest difference of two sets of logits over the largest logit. */
double cam_relative_change(const cam_real *a, const cam_real *b, size_t n);

/* ---- trainer_protect.c: what came of a decision, in OUTCOME ---- */
/* Writes a row for every part that is frozen now: what the history would know had it not been lost. */
CAM_MUST_USE enum cam_status cam_trainer_note_frozen(struct cam_trainer *trainer,
                                                     const char *reason);
CAM_MUST_USE enum cam_status cam_trainer_freeze(struct cam_trainer *trainer,
                                                const struct cam_decision *decision, int on,
                                                char *outcome, size_t outcome_bytes);
CAM_MUST_USE enum cam_status cam_trainer_recycle(struct cam_trainer *trainer,
                                                 const struct cam_decision *decision, char *outcome,
                                                 size_t outcome_bytes);
CAM_MUST_USE enum cam_status cam_trainer_withdraw(struct cam_trainer *trainer,
                                                  const struct cam_decision *decision,
                                                  char *outcome, size_t outcome_bytes);
CAM_MUST_USE enum cam_status cam_trainer_anchor(struct cam_trainer *trainer,
                                                const struct cam_decision *decision, char *outcome,
                                                size_t outcome_bytes);
CAM_MUST_USE enum cam_status cam_trainer_rewarm(struct cam_trainer *trainer,
                                                const struct cam_decision *decision, char *outcome,
                                                size_t outcome_bytes);
/* After a step: what is kept of anchors as the levers say, and the step's part in the estimate of
 * importance.  Uses the check arena. */
CAM_MUST_USE enum cam_status cam_trainer_observe(struct cam_trainer *trainer);
/* Tells the model which dense parts the state says are frozen: after loading. */
void cam_trainer_apply_frozen(struct cam_trainer *trainer);
/* Content of PART of layer LAYER (-1: no block's) now; CAM_ERR_DATA if there is none. */
CAM_MUST_USE enum cam_status cam_trainer_part_hash(struct cam_trainer *trainer, int64_t layer,
                                                   const char *part, int64_t generation,
                                                   char hex[CAM_HASH_HEX_BYTES]);

/* ---- trainer_guard.c: likewise ---- */
CAM_MUST_USE enum cam_status cam_trainer_hold(struct cam_trainer *trainer,
                                              const struct cam_decision *decision, char *outcome,
                                              size_t outcome_bytes);
CAM_MUST_USE enum cam_status cam_trainer_alarm(struct cam_trainer *trainer,
                                               const struct cam_decision *decision, char *outcome,
                                               size_t outcome_bytes);
/* Does the rollback that way_back asks for. */
CAM_MUST_USE enum cam_status cam_trainer_go_back(struct cam_trainer *trainer);

/* ---- trainer_routing.c: which experts probes pick ---- */
struct cam_tally;
struct cam_routing {
    struct cam_trainer *trainer; /* borrowed */
    size_t n_pools, n;
    struct cam_tally *tallies; /* owned; by probe, then pool */
    enum cam_status status;    /* of counting; told by cam_routing_write */
};
void cam_routing_init(struct cam_routing *routing, struct cam_trainer *trainer);
void cam_routing_release(struct cam_routing *routing);
/* Counts the tokens [FROM, TO) of the last pass whose WEIGHTS are not 0 for probe I_PROBE. */
void cam_routing_count(struct cam_routing *routing, size_t i_probe, size_t from, size_t to,
                       const cam_real *weights);
CAM_MUST_USE enum cam_status cam_routing_write(struct cam_routing *routing, int64_t evaluation,
                                               const struct cam_score *scores, size_t n_scores);

/* ---- trainer_score.c ---- */
CAM_MUST_USE enum cam_status cam_trainer_evaluate_at(struct cam_trainer *trainer,
                                                     const char *reason, int64_t up_to,
                                                     int64_t *evaluation);
/* Encodes a document with its end-of-text token; *IDS is the caller's. */
CAM_MUST_USE enum cam_status cam_trainer_encode(struct cam_trainer *trainer, const char *text,
                                                size_t n_bytes, uint16_t **ids, size_t *n_ids);

/* The next pool at or after block *I_BLOCK (updated), or NULL. */
static inline struct cam_ff *cam_trainer_pool(const struct cam_trainer *trainer, size_t *i_block) {
    return cam_model_find_pool(trainer->model, i_block);
}

#endif
