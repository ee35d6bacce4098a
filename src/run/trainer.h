/* trainer.h - the trainer: walks the journal, moves the model, writes the history.
 *
 * One thread uses it.  Its state is (model, optimiser, small counters, cursor); everything it does
 * is a function of that state and the journal, so a trainer that was killed and reopened walks the
 * same way with the same bits.
 *
 * Order of work, from the journal alone: let c be the next control row not yet acted on (infinity
 * if there is none).  If the documents before c fill a batch, train a step on it; else act on c;
 * else wait.  A `flush` row trains the tail below one batch first. */
#ifndef CAM_RUN_TRAINER_H
#define CAM_RUN_TRAINER_H

#include "base/settings.h"
#include "base/status.h"
#include "model/sample.h"
#include "store/forget.h"
#include "store/history.h"
#include "store/snapshot.h"
#include "store/workspace.h"
#include "text/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

struct cam_trainer;

/* `init`: a fresh model of SETTINGS with TOKENIZER (borrowed for the call), saved as the first
 * checkpoint of WORKSPACE, which must be newly created and begun (cam_workspace_begin_init). */
CAM_MUST_USE enum cam_status cam_trainer_init(struct cam_workspace *workspace,
                                              const struct cam_settings *settings,
                                              const struct cam_tokenizer *tokenizer);

/* Loads the newest state that verifies.  With a writable workspace, history past it is discarded
 * and will be made again, what computes from now on is written down (run/made_by.h), and files are
 * purged that a forget cut short left.  Borrows WORKSPACE. */
CAM_MUST_USE enum cam_status cam_trainer_open(struct cam_workspace *workspace,
                                              struct cam_trainer **trainer);
void cam_trainer_close(struct cam_trainer *trainer); /* accepts NULL; saves nothing */

/* Forgets what is in memory and loads the newest state again, as opening does: the way back after a
 * call that failed half-way (a full disk).  May be called again when it fails itself. */
CAM_MUST_USE enum cam_status cam_trainer_recover(struct cam_trainer *trainer);

enum cam_advance {
    CAM_ADVANCE_STEP,    /* trained a step */
    CAM_ADVANCE_CONTROL, /* acted on a control row */
    CAM_ADVANCE_IDLE,    /* nothing to do before the journal grows */
    CAM_ADVANCE_PAUSED,  /* the service waits for space: the trainer is not to be used now */
};

/* What the last step was like, for people who watch. */
struct cam_progress {
    int64_t step, documents, tokens; /* in all */
    int64_t experts;
    int64_t pending_tokens;          /* waiting below one batch, when idle */
    double bits_per_byte;            /* running, prequential */
    double tokens_per_s;             /* of the last step, new and replayed */
    const char *domain;              /* being read; borrowed until the next call */
};

/* Does the next piece of work.  Checkpoints and kept snapshots that are due are copied here and
 * written by another thread; one that failed is the failure of the next call.  After a failure memory
 * may be ahead of or behind what is written down, so the next call of this, checkpoint, snapshot or
 * rollback begins with cam_trainer_recover. */
CAM_MUST_USE enum cam_status cam_trainer_advance(struct cam_trainer *trainer,
                                                 enum cam_advance *did);
void cam_trainer_progress(const struct cam_trainer *trainer, struct cam_progress *progress);

/* Makes everything up to now durable. */
CAM_MUST_USE enum cam_status cam_trainer_checkpoint(struct cam_trainer *trainer);

/* Waits until what is being saved is saved.  A failure is also that of the next
 * cam_trainer_advance. */
CAM_MUST_USE enum cam_status cam_trainer_settle(struct cam_trainer *trainer);
/* The store it saves to (borrowed): for whoever changes what is in it while the trainer runs. */
struct cam_snapshots *cam_trainer_snapshots(struct cam_trainer *trainer);

/* Saves a kept snapshot.  TAG may be NULL. */
CAM_MUST_USE enum cam_status cam_trainer_snapshot(struct cam_trainer *trainer, const char *tag,
                                                  struct cam_snapshot *out);

/* Scores every probe and writes the evaluation. */
CAM_MUST_USE enum cam_status cam_trainer_evaluate(struct cam_trainer *trainer, const char *reason,
                                                  int64_t *evaluation);

/* Goes back to a snapshot: a new lineage, the model of then. */
CAM_MUST_USE enum cam_status cam_trainer_rollback(struct cam_trainer *trainer, const char *snapshot,
                                                  enum cam_rollback_mode mode, const char *reason,
                                                  int64_t *lineage);

/* Forgets documents (store/forget.h) and stands where the rest is to be trained on again: the
 * journal leads on from there, up to FORGOT's row and beyond.  Free FORGOT's list.  LEFT (may be NULL)
 * is told of files that could not be purged; the next opening tries again. */
CAM_MUST_USE enum cam_status cam_trainer_forget(struct cam_trainer *trainer,
                                                const struct cam_forget_request *request,
                                                struct cam_forget_plan *plan,
                                                struct cam_forgot *forgot, cam_problem_fn *left,
                                                void *context);

/* The score of any text under the present model (nats; tokens include the end of text). */
CAM_MUST_USE enum cam_status cam_trainer_score(struct cam_trainer *trainer, const char *text,
                                               size_t n_bytes, double *nll, int64_t *tokens);

/* Continues PROMPT by up to MAX_TOKENS tokens or the end of text; appends to TEXT. */
CAM_MUST_USE enum cam_status cam_trainer_generate(struct cam_trainer *trainer, const char *prompt,
                                                  size_t max_tokens,
                                                  const struct cam_sampler *sampler,
                                                  struct cam_buffer *text);

/* An expert and what it does for a text. */
struct cam_reason {
    int layer;
    int64_t expert, i, j; /* its id and its two sub-keys */
    int64_t generation, incarnation;
    int frozen;
    double weight; /* gate times |activation|, summed over heads, a token */
};
/* The experts that do most for TEXT: at most TOP of each pool, by layer, heaviest first.  Of every
 * window of the context's length the 64 heaviest are taken into account.  *REASONS is the caller's to
 * free; none where the model has no pool. */
CAM_MUST_USE enum cam_status cam_trainer_why(struct cam_trainer *trainer, const char *text,
                                             size_t n_bytes, size_t top,
                                             struct cam_reason **reasons, size_t *n_reasons,
                                             int64_t *tokens);

/* Hash of all parameters, optimiser state and counters in a fixed order. */
CAM_MUST_USE enum cam_status cam_trainer_hash(struct cam_trainer *trainer,
                                              char hex[CAM_HASH_HEX_BYTES]);

/* Newer states that did not verify when this one was opened, and frozen generations whose content is
 * not what it was when they were frozen; one call of FN (may be NULL) a kind of problem. */
CAM_MUST_USE enum cam_status cam_trainer_verify(struct cam_trainer *trainer, cam_problem_fn *fn,
                                                void *context, int64_t *problems);

/* Parameters in all, those active for a token, FLOPs a token (forward), bytes of state. */
struct cam_trainer_size {
    double parameters, active, flops, bytes;
    int64_t experts;         /* of pools */
    int64_t mixture_experts; /* of moe layers */
};
void cam_trainer_size(const struct cam_trainer *trainer, struct cam_trainer_size *size);

#endif
