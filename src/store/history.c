/* history.c - what the trainer writes down; lineage.c takes it back. */
#include "store/history.h"

#include "base/log.h"
#include "store/decide.h"
#include "store/rows.h"
#include "store/sql.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const generation_names[] = {"born", "opening", "opened"};

/* ---- rows of one moment
 * ---------------------------------------------------------------------------- */

static enum cam_status write_documents(sqlite3 *sqlite, const struct cam_history_state *at,
                                       const struct cam_step_commit *c, int64_t trained_before) {
    sqlite3_stmt *s = NULL;
    enum cam_status status = CAM_OK;
    CAM_TRY(cam_sql_prepare(sqlite,
                            "INSERT INTO trained (lineage, moment, document, rank, first_step,"
                            " last_step, tokens, bytes, nll) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            &s));
    for (size_t i = 0; i < c->n_documents && status == CAM_OK; i++) {
        const struct cam_trained_document *d = &c->documents[i];
        status = cam_sql_again(s, "iiiiiiiid", at->lineage, at->moment, d->document,
                               trained_before + (int64_t)i + 1, d->first_step, d->last_step,
                               d->tokens, d->bytes, d->nll);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status write_provenance(sqlite3 *sqlite, const struct cam_history_state *at,
                                        const struct cam_step_commit *c) {
    sqlite3_stmt *s = NULL;
    enum cam_status status = CAM_OK;
    CAM_TRY(cam_sql_prepare(sqlite, "INSERT INTO provenance VALUES (?, ?, ?, ?, ?, ?, ?, ?)", &s));
    for (size_t i = 0; i < c->n_provenance && status == CAM_OK; i++) {
        const struct cam_provenance *p = &c->provenance[i];
        status = cam_sql_again(s, "iiiniiid", at->lineage, at->moment, p->document, p->layer,
                               p->expert, p->incarnation, p->generation, p->weight);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status write_usage(sqlite3 *sqlite, const struct cam_history_state *at,
                                   const struct cam_step_commit *c) {
    sqlite3_stmt *s = NULL;
    enum cam_status status = CAM_OK;
    CAM_TRY(cam_sql_prepare(sqlite, "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            &s));
    for (size_t i = 0; i < c->n_usage && status == CAM_OK; i++) {
        const struct cam_usage *u = &c->usage[i];
        status = cam_sql_again(s, "iiiniiidiiddi", at->lineage, at->moment, c->step, u->layer,
                               u->generation, u->window_steps, u->picks, u->gate_mass,
                               u->used_experts, u->n_experts, u->unevenness, u->hub_share,
                               u->idle_experts);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status write_openings(sqlite3 *sqlite, const struct cam_history_state *at,
                                      const struct cam_step_commit *c) {
    for (size_t i = 0; i < c->n_openings; i++) {
        const struct cam_opening *o = &c->openings[i];
        CAM_TRY(cam_sql_run(sqlite, "INSERT INTO openings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            "iiiniiddd", at->lineage, at->moment, c->step, o->layer, o->generation,
                            o->opening_steps, o->bias, o->pick_share, o->gate_share));
    }
    return CAM_OK;
}

static enum cam_status write_quarantine(sqlite3 *sqlite, const struct cam_history_state *at,
                                        int64_t step, const struct cam_quarantine *q) {
    char reason[512];
    return cam_sql_run(sqlite,
                       "INSERT INTO holds VALUES (?, ?, ?, ?, ?, 'quarantined', ?) ON CONFLICT DO "
                       "NOTHING",
                       "iiiiit", at->lineage, at->moment, q->document, q->position, step,
                       cam_neutral_text(q->reason ? q->reason : "", reason, sizeof reason));
}

static enum cam_status write_generation(sqlite3 *sqlite, const struct cam_history_state *at,
                                        int64_t step, const struct cam_generation_change *g) {
    char reason[512];
    return cam_sql_run(
        sqlite,
        "INSERT INTO generation_states (lineage, moment, step, layer, generation,"
        " state, subkeys_from, subkeys_to, first_expert, n_experts, documents,"
        " reason, decision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT"
        " documents FROM trainer), ?, nullif(?, 0))",
        "iiinitiiiiti", at->lineage, at->moment, step, g->layer, g->generation,
        generation_names[g->event], g->subkeys_from, g->subkeys_to, g->first_expert, g->n_experts,
        cam_neutral_text(g->reason ? g->reason : "", reason, sizeof reason), g->decision);
}

static enum cam_status write_generations(sqlite3 *sqlite, const struct cam_history_state *at,
                                         int64_t step,
                                         const struct cam_generation_change *generations,
                                         size_t n) {
    for (size_t i = 0; i < n; i++)
        CAM_TRY(write_generation(sqlite, at, step, &generations[i]));
    return CAM_OK;
}

/* ---- decisions
 * ---------------------------------------------------------------------------------------- */

struct deciding {
    sqlite3 *sqlite;
    const struct cam_history_state *at;
    int64_t step, next_id;
    char origin[96];
    struct cam_decisions list;
    size_t capacity;
};

void cam_decisions_release(struct cam_decisions *decisions) {
    for (size_t i = 0; i < decisions->n_decisions; i++) {
        free(decisions->decisions[i].reason);
        free(decisions->decisions[i].evidence);
    }
    free(decisions->decisions);
    *decisions = (struct cam_decisions){0};
}

static enum cam_status take_decision(void *context, const struct cam_decide_row *row) {
    struct deciding *d = context;
    if (d->list.n_decisions == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 8;
        struct cam_decision *grown = realloc(d->list.decisions, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory for %zu decisions", capacity);
        d->list.decisions = grown;
        d->capacity = capacity;
    }
    struct cam_decision taken = {.decision = d->next_id,
                                 .kind = row->kind,
                                 .layer = row->layer,
                                 .amount = row->amount,
                                 .reason = strdup(row->reason),
                                 .evidence = strdup(row->evidence)};
    snprintf(taken.part, sizeof taken.part, "%s", row->part ? row->part : "");
    d->list.decisions[d->list.n_decisions++] = taken;
    if (!taken.reason || !taken.evidence)
        return cam_fail(CAM_ERR_OS, "no memory for a decision");
    d->next_id++;
    return cam_sql_run(d->sqlite, "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       "iiiitnitttt", d->at->lineage, d->at->moment, taken.decision, d->step,
                       cam_decide_kind_name(row->kind), row->layer, row->amount, row->reason,
                       row->evidence, d->origin, taken.part);
}

static enum cam_decision_kind action_kind(const char *action) {
    return strcmp(action, "evaluate") == 0   ? CAM_DECIDE_EVALUATE
           : strcmp(action, "snapshot") == 0 ? CAM_DECIDE_SNAPSHOT
           : strcmp(action, "prune") == 0    ? CAM_DECIDE_PRUNE
                                             : CAM_DECIDE_VERIFY;
}

/* Schedules that count documents fire where the count passes a multiple.  They apply while the
 * cursor is past the row that added them, so replay fires them at the same step. */
static enum cam_status ask_schedules(struct deciding *d, int64_t position, int64_t before,
                                     int64_t after) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(d->sqlite, &s,
                          "SELECT schedule, action, every_documents FROM schedules WHERE"
                          " every_documents IS NOT NULL AND position <= ?1 AND (removed IS NULL OR"
                          " removed > ?1) AND ?3 / every_documents > ?2 / every_documents ORDER BY"
                          " schedule",
                          "iii", position, before, after));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        char reason[64], evidence[64];
        struct cam_decide_row due = {.kind = action_kind(cam_sql_text(s, 1)),
                                     .layer = -1,
                                     .reason = reason,
                                     .evidence = evidence};
        snprintf(d->origin, sizeof d->origin, "schedule %lld",
                 (long long)sqlite3_column_int64(s, 0));
        snprintf(reason, sizeof reason, "every %lld documents",
                 (long long)sqlite3_column_int64(s, 2));
        snprintf(evidence, sizeof evidence, "{\"documents\":%lld}", (long long)after);
        status = take_decision(d, &due);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status living_setting(sqlite3 *sqlite, const char *key, char *value,
                                      size_t n_bytes) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    *value = '\0';
    CAM_TRY(cam_sql_query(sqlite, &s, "SELECT value FROM living_settings WHERE key = ?", "t", key));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row)
        snprintf(value, n_bytes, "%s", cam_sql_text(s, 0));
    sqlite3_finalize(s);
    return status;
}

static enum cam_status decide(sqlite3 *sqlite, const struct cam_history_state *at,
                              const struct cam_step_commit *c, int64_t before,
                              struct cam_decisions *out) {
    struct deciding d = {.sqlite = sqlite, .at = at, .step = c->step};
    char name[CAM_NAME_BYTES], ignore[CAM_SETTING_TEXT_BYTES];
    CAM_TRY(cam_sql_int(sqlite, 0, &d.next_id, "SELECT max(decision) FROM living_decisions", ""));
    d.next_id++;
    CAM_TRY(living_setting(sqlite, "policy", name, sizeof name));
    CAM_TRY(living_setting(sqlite, "policy.ignore", ignore, sizeof ignore));
    snprintf(d.origin, sizeof d.origin, "policy %s", name);
    enum cam_status status = cam_decide_ask(sqlite, ignore, take_decision, &d);
    if (status == CAM_OK)
        status = ask_schedules(&d, c->position, before, before + (int64_t)c->n_documents);
    if (status == CAM_OK)
        *out = d.list;
    else
        cam_decisions_release(&d.list);
    return status;
}

/* ---- one training step
 * -------------------------------------------------------------------------------- */

struct step {
    const struct cam_step_commit *commit;
    struct cam_decisions decisions;
};

static enum cam_status commit_step(sqlite3 *sqlite, void *context) {
    struct step *x = context;
    const struct cam_step_commit *c = x->commit;
    struct cam_history_state at;
    int64_t before = 0;
    CAM_TRY(cam_rows_moment(sqlite, &at));
    if (c->step != at.step + 1)
        return cam_fail(CAM_ERR_INTERNAL, "step %lld cannot follow step %lld", (long long)c->step,
                        (long long)at.step);
    CAM_TRY(cam_sql_int(sqlite, 0, &before, "SELECT documents FROM trainer", ""));
    CAM_TRY(cam_sql_run(sqlite, "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        "iiiiiiiiddddd", at.lineage, at.moment, c->step, c->position, c->offset,
                        c->new_tokens, c->new_bytes, c->replay_tokens, c->nll_new, c->nll_replay,
                        c->grad_norm, c->learning_rate, c->seconds));
    CAM_TRY(write_documents(sqlite, &at, c, before));
    CAM_TRY(write_provenance(sqlite, &at, c));
    CAM_TRY(write_usage(sqlite, &at, c));
    for (size_t i = 0; i < c->n_quarantines; i++)
        CAM_TRY(write_quarantine(sqlite, &at, c->step, &c->quarantines[i]));
    CAM_TRY(cam_sql_run(sqlite,
                        "UPDATE trainer SET step = ?, position = ?, \"offset\" = ?, documents ="
                        " documents + ?, tokens = tokens + ?",
                        "iiiii", c->step, c->position, c->offset, (int64_t)c->n_documents,
                        c->new_tokens));
    CAM_TRY(write_generations(sqlite, &at, c->step, c->generations, c->n_generations));
    CAM_TRY(write_openings(sqlite, &at, c));
    return c->decide ? decide(sqlite, &at, c, before, &x->decisions) : CAM_OK;
}

enum cam_status cam_history_commit_step(struct cam_database *database,
                                        const struct cam_step_commit *commit,
                                        struct cam_decisions *decisions) {
    struct step x = {.commit = commit};
    enum cam_status status = cam_database_write(database, commit_step, &x);
    if (status == CAM_OK && decisions)
        *decisions = x.decisions;
    else
        cam_decisions_release(&x.decisions);
    return status;
}

/* ---- between steps
 * -------------------------------------------------------------------------------------- */

struct between {
    int64_t step, id;
    const char *text;
    const struct cam_generation_change *generations;
    const struct cam_quarantine *quarantine;
    const struct cam_score *scores;
    size_t n;
};

static enum cam_status generations_moment(sqlite3 *sqlite, void *context) {
    const struct between *b = context;
    struct cam_history_state at;
    CAM_TRY(cam_rows_moment(sqlite, &at));
    return write_generations(sqlite, &at, b->step, b->generations, b->n);
}

enum cam_status cam_history_generations(struct cam_database *database, int64_t step,
                                        const struct cam_generation_change *generations,
                                        size_t n_generations) {
    struct between b = {.step = step, .generations = generations, .n = n_generations};
    return cam_database_write(database, generations_moment, &b);
}

static enum cam_status outcome_moment(sqlite3 *sqlite, void *context) {
    const struct between *b = context;
    struct cam_history_state at;
    char text[512];
    CAM_TRY(cam_rows_moment(sqlite, &at));
    return cam_sql_run(sqlite, "INSERT INTO decision_outcomes VALUES (?, ?, ?, ?)", "iiit",
                       at.lineage, at.moment, b->id, cam_neutral_text(b->text, text, sizeof text));
}

enum cam_status cam_history_outcome(struct cam_database *database, int64_t decision,
                                    const char *outcome) {
    struct between b = {.id = decision, .text = outcome};
    return cam_database_write(database, outcome_moment, &b);
}

static enum cam_status quarantine_moment(sqlite3 *sqlite, void *context) {
    const struct between *b = context;
    struct cam_history_state at;
    CAM_TRY(cam_rows_moment(sqlite, &at));
    return write_quarantine(sqlite, &at, b->step, b->quarantine);
}

enum cam_status cam_history_quarantine(struct cam_database *database, int64_t step,
                                       const struct cam_quarantine *quarantine) {
    struct between b = {.step = step, .quarantine = quarantine};
    return cam_database_write(database, quarantine_moment, &b);
}

/* Puts a LIVE setting or a policy in force at this moment. */
static enum cam_status apply_control(sqlite3 *sqlite, const struct cam_history_state *at,
                                     sqlite3_stmt *row, int64_t position) {
    const char *kind = cam_sql_text(row, 0);
    if (strcmp(kind, "setting") == 0)
        return cam_sql_run(sqlite, "INSERT INTO setting_values VALUES (?, ?, ?, ?, ?)", "iitti",
                           at->lineage, at->moment, cam_sql_text(row, 1), cam_sql_text(row, 2),
                           position);
    if (strcmp(kind, "policy") == 0)
        return cam_decide_use(sqlite, at, cam_sql_text(row, 1), cam_sql_text(row, 2), position);
    return CAM_OK;
}

static enum cam_status control_moment(sqlite3 *sqlite, void *context) {
    const struct between *b = context;
    struct cam_history_state at;
    sqlite3_stmt *s = NULL;
    int row = 0;
    char text[512];
    CAM_TRY(cam_rows_moment(sqlite, &at));
    CAM_TRY(cam_sql_run(sqlite, "INSERT INTO controls VALUES (?, ?, ?, ?, ?)", "iiiit", at.lineage,
                        at.moment, b->id, at.step, cam_neutral_text(b->text, text, sizeof text)));
    CAM_TRY(cam_sql_query(sqlite, &s, "SELECT kind, name, value FROM journal WHERE position = ?",
                          "i", b->id));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row)
        status = apply_control(sqlite, &at, s, b->id);
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_history_control_done(struct cam_database *database, int64_t position,
                                         const char *outcome) {
    struct between b = {.id = position, .text = outcome ? outcome : "done"};
    return cam_database_write(database, control_moment, &b);
}

static enum cam_status evaluation_moment(sqlite3 *sqlite, void *context) {
    struct between *b = context;
    struct cam_history_state at;
    char now[CAM_RFC3339_BYTES], reason[512];
    CAM_TRY(cam_rows_moment(sqlite, &at));
    CAM_TRY(cam_sql_int(sqlite, 0, &b->id, "SELECT max(evaluation) FROM living_evaluations", ""));
    b->id++;
    CAM_TRY(cam_sql_run(sqlite,
                        "INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, (SELECT documents FROM "
                        "trainer), ?, ?)",
                        "iiiiitt", at.lineage, at.moment, b->id, b->step, at.position,
                        cam_neutral_text(b->text, reason, sizeof reason), cam_rows_now(now)));
    for (size_t i = 0; i < b->n; i++)
        CAM_TRY(cam_sql_run(sqlite, "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?)", "iiidii",
                            at.lineage, at.moment, b->scores[i].probe, b->scores[i].nll,
                            b->scores[i].bytes, b->scores[i].tokens));
    return CAM_OK;
}

enum cam_status cam_history_evaluation(struct cam_database *database, int64_t step,
                                       const char *reason, const struct cam_score *scores,
                                       size_t n_scores, int64_t *evaluation) {
    struct between b = {
        .step = step, .text = reason ? reason : "", .scores = scores, .n = n_scores};
    CAM_TRY(cam_database_write(database, evaluation_moment, &b));
    if (evaluation)
        *evaluation = b.id;
    return CAM_OK;
}

struct event {
    const char *level, *kind, *message, *body;
};

static enum cam_status write_event(sqlite3 *sqlite, void *context) {
    const struct event *e = context;
    return cam_rows_event(sqlite, e->level, e->kind, e->message, e->body);
}

enum cam_status cam_history_event(struct cam_database *database, const char *level,
                                  const char *kind, const char *message, const char *body) {
    struct event e = {.level = level, .kind = kind, .message = message, .body = body};
    return cam_database_write(database, write_event, &e);
}

/* ---- reading
 * ---------------------------------------------------------------------------------------------- */

static enum cam_status read_state(sqlite3 *sqlite, void *context) {
    return cam_rows_state(sqlite, context);
}

enum cam_status cam_history_state(struct cam_database *database, struct cam_history_state *state) {
    struct cam_history_state read;
    CAM_TRY(cam_database_call(database, read_state, &read));
    *state = read;
    return CAM_OK;
}

struct trained {
    int64_t skip;
    cam_trained_fn *fn;
    void *context;
};

static enum cam_status read_trained(sqlite3 *sqlite, void *context) {
    const struct trained *t = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_query(sqlite, &s,
                          "SELECT t.document, coalesce(d.feed, 0), t.bytes, t.tokens, d.domain"
                          " FROM living_trained AS t JOIN documents AS d ON d.document ="
                          " t.document WHERE t.rank > ? AND NOT EXISTS (SELECT 1 FROM living_holds"
                          " AS h WHERE h.document = t.document AND h.moment > t.moment)"
                          " ORDER BY t.rank",
                          "i", t->skip));
    enum cam_status status = cam_sql_step(s, &row);
    while (status == CAM_OK && row) {
        struct cam_trained trained = {
            .document = sqlite3_column_int64(s, 0),
            .feed = sqlite3_column_int64(s, 1),
            .bytes = sqlite3_column_int64(s, 2),
            .tokens = sqlite3_column_int64(s, 3),
            .domain = cam_sql_text(s, 4),
        };
        status = t->fn(t->context, &trained);
        if (status == CAM_OK)
            status = cam_sql_step(s, &row);
    }
    sqlite3_finalize(s);
    return status;
}

enum cam_status cam_history_trained(struct cam_database *database, int64_t skip, cam_trained_fn *fn,
                                    void *context) {
    struct trained t = {.skip = skip, .fn = fn, .context = context};
    return cam_database_call(database, read_trained, &t);
}

static const char counts_sql[] =
    "SELECT count(*), count(*) FILTER (WHERE state = 'trained'), count(*) FILTER (WHERE state ="
    " 'pending'), count(*) FILTER (WHERE state = 'quarantined'), count(*) FILTER (WHERE state ="
    " 'held_out'), count(*) FILTER (WHERE state = 'set_aside'), (SELECT tokens FROM trainer),"
    " (SELECT coalesce(sum(n_experts), 0) FROM living_generation_states WHERE state = 'born'),"
    " (SELECT count(DISTINCT generation) FROM living_generation_states WHERE state = 'born'),"
    " (SELECT lineage FROM trainer), (SELECT step FROM trainer),"
    " (SELECT sum(nll) / (nullif(sum(bytes), 0) * 0.6931471805599453) FROM living_trained WHERE"
    "  nll IS NOT NULL AND rank > (SELECT documents FROM trainer) - 32) FROM living_states";
static const char newest_sql[] =
    "SELECT s.id, s.model_hash, s.kind FROM snapshots AS s JOIN lineage_spans AS l ON l.lineage ="
    " s.lineage AND s.moment <= l.moment_to ORDER BY s.moment DESC, s.number DESC";

static enum cam_status read_newest(sqlite3 *sqlite, struct cam_counts *c) {
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_prepare(sqlite, newest_sql, &s));
    enum cam_status status = cam_sql_step(s, &row);
    if (status == CAM_OK && row) {
        snprintf(c->snapshot, sizeof c->snapshot, "%s", cam_sql_text(s, 0));
        snprintf(c->model_hash, sizeof c->model_hash, "%s", cam_sql_text(s, 1));
    }
    sqlite3_finalize(s);
    return status;
}

static enum cam_status read_counts(sqlite3 *sqlite, void *context) {
    struct cam_counts *c = context;
    sqlite3_stmt *s = NULL;
    int row = 0;
    CAM_TRY(cam_sql_prepare(sqlite, counts_sql, &s));
    enum cam_status status = cam_sql_step(s, &row);
    int64_t *const columns[] = {&c->journalled,  &c->trained,   &c->pending, &c->quarantined,
                                &c->held_out,    &c->set_aside, &c->tokens,  &c->experts,
                                &c->generations, &c->lineage,   &c->step};
    for (int i = 0; status == CAM_OK && row && i < (int)(sizeof columns / sizeof *columns); i++)
        *columns[i] = sqlite3_column_int64(s, i);
    c->bits_per_byte = NAN;
    if (status == CAM_OK && row && sqlite3_column_type(s, 11) != SQLITE_NULL)
        c->bits_per_byte = sqlite3_column_double(s, 11);
    sqlite3_finalize(s);
    return status == CAM_OK ? read_newest(sqlite, c) : status;
}

enum cam_status cam_history_counts(struct cam_database *database, struct cam_counts *counts) {
    struct cam_counts read = {0};
    CAM_TRY(cam_database_call(database, read_counts, &read));
    *counts = read;
    return CAM_OK;
}
