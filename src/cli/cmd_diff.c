#include "cli/cli.h"

#include "base/log.h"
#include "model/pool.h"
#include "store/snapshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: cambium diff [-C DIR] A [B] [-v] [--json]\n"
    "\n"
    "  A, B    snapshots: an id or its first digits (at least 4), a tag, or \"current\", which is "
    "the\n"
    "          newest checkpoint (default for B)\n"
    "  -v      list the documents, too\n"
    "  --json  one object: a, b, documents {added, removed, list with -v}, layers [{layer, kind,\n"
    "          experts: [a, b], added, changed, frozen}], probes [{probe, bits_per_byte: [a, "
    "b]}],\n"
    "          evaluated_steps: [a, b], settings {key: [a, b]}\n"
    "\n"
    "What B has learned that A has not, and what else is different: documents trained, experts "
    "added,\n"
    "changed (their weights moved or were drawn anew) and frozen, scores of the probes at the "
    "last\n"
    "evaluation of each, settings and policy.  Across a rollback documents can also be removed: "
    "those\n"
    "that A was trained on and B was not.\n"
    "\n"
    "Examples:\n"
    "  cambium diff -C w monday\n"
    "  cambium diff -C w 3f2a friday -v\n"
    "\n"
    "See also: cambium help snapshots, cambium help rollback\n";

/* Which rows a state is made of: every lineage on the way to it, with the last moment that counts.
 */
#define CHAIN(name, lineage, moment)                                                               \
    name " (lineage, upto) AS (SELECT CAST(" lineage " AS INTEGER), CAST(" moment " AS INTEGER)"   \
         " UNION ALL SELECT l.parent, min(l.fork_moment, c.upto) FROM " name " AS c JOIN lineages" \
         " AS l ON l.lineage = c.lineage WHERE l.parent IS NOT NULL)"
#define CHAINS "WITH RECURSIVE " CHAIN("a", "?1", "?2") ", " CHAIN("b", "?3", "?4")
#define DOCUMENTS_OF(chain)                                                                        \
    "SELECT t.document FROM " chain " AS c JOIN trained AS t ON t.lineage = c.lineage AND"         \
    " t.moment <= c.upto"
#define VALUE_OF(chain, key)                                                                       \
    "(SELECT v.value FROM " chain " AS c JOIN setting_values AS v ON v.lineage = c.lineage AND"    \
    " v.moment <= c.upto WHERE v.key = " key " ORDER BY v.moment DESC, v.lineage DESC LIMIT 1)"
#define EVALUATION_OF(chain, column)                                                               \
    "(SELECT " column " FROM " chain " AS c JOIN evaluations AS e ON e.lineage = c.lineage AND"    \
    " e.moment <= c.upto ORDER BY e.moment DESC LIMIT 1)"
#define SCORE_OF(chain)                                                                            \
    "(SELECT round(s.nll / (nullif(s.bytes, 0) * 0.6931471805599453), 6) FROM scores AS s"         \
    " WHERE s.probe = p.probe AND s.lineage = " EVALUATION_OF(                                     \
        chain, "e.lineage") " AND"                                                                 \
                            " s.moment = " EVALUATION_OF(chain, "e.moment") ")"

static const char documents_sql[] = CHAINS ", added AS (" DOCUMENTS_OF("b") " EXCEPT " DOCUMENTS_OF(
    "a") "),"
         " removed AS (" DOCUMENTS_OF("a") " EXCEPT " DOCUMENTS_OF(
             "b") ")"
                  " SELECT 'added' AS change, d.document, d.domain, d.title_display, d.bytes, "
                  "d.source FROM added"
                  " JOIN documents AS d USING (document) UNION ALL SELECT 'removed', d.document, "
                  "d.domain,"
                  " d.title_display, d.bytes, d.source FROM removed JOIN documents AS d USING "
                  "(document)"
                  " ORDER BY 1, 2";
static const char settings_sql[] =
    CHAINS " SELECT key, a, b FROM (SELECT k.key, coalesce(" VALUE_OF(
        "a",
        "k.key") ", k.default_value)"
                 " AS a, coalesce(" VALUE_OF(
                     "b",
                     "k.key") ", k.default_value) AS b FROM setting_keys AS k"
                              " WHERE k.scope <> 'now' UNION ALL SELECT 'policy text', "
                              "substr(" VALUE_OF("a", "'policy_hash'") ", 1, 12), substr(" VALUE_OF(
                                  "b", "'policy_hash'") ", 1, 12)) WHERE a IS NOT b ORDER BY key";
static const char probes_sql[] =
    CHAINS " SELECT name, a, b FROM (SELECT p.probe, p.name, " SCORE_OF("a") " AS a, " SCORE_OF(
        "b") " AS b FROM probes AS p) WHERE a IS NOT NULL OR b IS NOT NULL ORDER BY probe";
static const char evaluated_sql[] =
    CHAINS " SELECT " EVALUATION_OF("a", "e.step") ", " EVALUATION_OF("b", "e.step");
#define FROZEN_IN(chain)                                                                           \
    "coalesce((SELECT f.frozen FROM " chain " AS o JOIN freezes AS f ON f.lineage = o.lineage AND" \
    " f.moment <= o.upto WHERE f.part = 'experts' AND f.layer = g.layer AND f.generation ="        \
    " g.generation ORDER BY f.moment DESC LIMIT 1), 0)"
static const char frozen_sql[] = CHAINS
    " SELECT g.layer, sum(g.n_experts) FROM b AS c JOIN generation_states AS g ON g.lineage ="
    " c.lineage AND g.moment <= c.upto WHERE g.state = 'born' AND " FROZEN_IN("b")
    " AND NOT " FROZEN_IN("a") " GROUP BY g.layer";

/* ---- experts ---- */

#define MAX_LAYERS 64

/* What the optimiser keeps of every expert of a layer: it changes when the expert does. */
struct layer {
    size_t i_block;
    char kind[16];
    struct cam_expert_state *states;
    size_t n_experts;
};
struct side {
    struct cam_snapshot s;
    struct layer layers[MAX_LAYERS];
    size_t n_layers;
};

static void side_release(struct side *side) {
    for (size_t i = 0; i < side->n_layers; i++)
        free(side->layers[i].states);
}

/* "block2.peer.optimiser.0": chunks come in order, one after the other. */
static enum cam_status take_region(void *context, const char *name, size_t bytes,
                                   void **destination) {
    struct side *side = context;
    size_t i_block, chunk, n = bytes / sizeof(struct cam_expert_state);
    char kind[16];
    *destination = NULL;
    if (sscanf(name, "block%zu.%15[a-z].optimiser.%zu", &i_block, kind, &chunk) != 3)
        return CAM_OK;
    if (chunk == 0) {
        if (side->n_layers == MAX_LAYERS || bytes % sizeof(struct cam_expert_state) != 0)
            return cam_fail(CAM_ERR_DATA, "%s: not the state of experts of this cambium", name);
        struct layer *made = &side->layers[side->n_layers++];
        *made = (struct layer){.i_block = i_block};
        snprintf(made->kind, sizeof made->kind, "%s", kind);
    }
    struct layer *l = side->n_layers ? &side->layers[side->n_layers - 1] : NULL;
    if (!l || l->i_block != i_block)
        return cam_fail(CAM_ERR_DATA, "%s: out of order", name);
    struct cam_expert_state *grown = realloc(l->states, (l->n_experts + n + 1) * sizeof *grown);
    if (!grown)
        return cam_fail(CAM_ERR_OS, "no memory for %zu experts", l->n_experts + n);
    l->states = grown;
    *destination = l->states + l->n_experts;
    l->n_experts += n;
    return CAM_OK;
}

static size_t n_changed(const struct layer *a, const struct layer *b) {
    size_t n = a->n_experts < b->n_experts ? a->n_experts : b->n_experts, changed = 0;
    for (size_t i = 0; i < n; i++)
        changed += memcmp(&a->states[i], &b->states[i], sizeof *a->states) != 0;
    return changed;
}

static const struct layer *layer_of(const struct side *side, size_t i_block) {
    for (size_t i = 0; i < side->n_layers; i++)
        if (side->layers[i].i_block == i_block)
            return &side->layers[i];
    return NULL;
}

/* ---- gathering, as JSON ---- */

struct diff {
    struct cam_database *database;
    struct side a, b;
    char numbers[4][24]; /* lineage and moment of both */
    const char *parameters[5];
    int verbose;
    json_int_t added, removed;
    json_t *json, *list; /* list: borrowed */
};

static enum cam_status take_document(void *context, const struct cam_value *v, size_t n) {
    struct diff *d = context;
    int is_added = strcmp(v[0].text, "added") == 0;
    d->added += is_added;
    d->removed += !is_added;
    return !d->verbose || json_array_append_new(d->list, cam_cli_json_row(v, n)) == 0
               ? CAM_OK
               : cam_fail(CAM_ERR_OS, "no memory for a list");
}

static json_t *json_value(const struct cam_value *v) {
    return v->kind == CAM_VALUE_NULL   ? json_null()
           : v->kind == CAM_VALUE_REAL ? cam_cli_json_real(v->real)
           : v->kind == CAM_VALUE_INT  ? json_integer(v->whole)
                                       : json_string(v->text);
}

static enum cam_status take_setting(void *context, const struct cam_value *v, size_t n) {
    (void)n;
    return json_object_set_new(context, v[0].text,
                               json_pack("[o,o]", json_value(&v[1]), json_value(&v[2]))) == 0
               ? CAM_OK
               : cam_fail(CAM_ERR_OS, "no memory for a setting");
}

static enum cam_status take_probe(void *context, const struct cam_value *v, size_t n) {
    (void)n;
    return json_array_append_new(context,
                                 json_pack("{s:s,s:[o,o]}", "probe", v[0].text, "bits_per_byte",
                                           json_value(&v[1]), json_value(&v[2]))) == 0
               ? CAM_OK
               : cam_fail(CAM_ERR_OS, "no memory for a probe");
}

static enum cam_status take_steps(void *context, const struct cam_value *v, size_t n) {
    (void)n;
    json_array_append_new(context, json_value(&v[0]));
    json_array_append_new(context, json_value(&v[1]));
    return CAM_OK;
}

static enum cam_status take_frozen(void *context, const struct cam_value *v, size_t n) {
    json_t *layers = context;
    (void)n;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        json_t *layer = json_array_get(layers, i);
        if (json_integer_value(json_object_get(layer, "layer")) == v[0].whole)
            json_object_set_new(layer, "frozen", json_integer(v[1].whole));
    }
    return CAM_OK;
}

static json_t *json_layers(const struct diff *d) {
    json_t *layers = json_array();
    for (size_t i = 0; i < d->b.n_layers; i++) {
        const struct layer *b = &d->b.layers[i], *a = layer_of(&d->a, b->i_block);
        json_int_t n_a = a ? (json_int_t)a->n_experts : 0, n_b = (json_int_t)b->n_experts;
        json_array_append_new(
            layers, json_pack("{s:I,s:s,s:[I,I],s:I,s:I,s:I}", "layer", (json_int_t)b->i_block,
                              "kind", b->kind, "experts", n_a, n_b, "added", n_b - n_a, "changed",
                              a ? (json_int_t)n_changed(a, b) : 0, "frozen", (json_int_t)0));
    }
    return layers;
}

static json_t *json_side(const struct cam_snapshot *s) {
    return json_pack("{s:s,s:o,s:I,s:I,s:I,s:s}", "id", s->id, "tag", cam_cli_json_text(s->tag),
                     "lineage", (json_int_t)s->lineage, "step", (json_int_t)s->step, "documents",
                     (json_int_t)s->documents, "model_hash", s->model_hash);
}

static enum cam_status gather(struct diff *d) {
    json_t *layers = json_layers(d), *probes = json_array(), *settings = json_object();
    json_t *steps = json_array();
    d->list = json_array();
    CAM_TRY(cam_query(d->database, documents_sql, d->parameters, take_document, d));
    d->json = json_pack("{s:o,s:o,s:{s:I,s:I,s:o},s:o,s:o,s:o,s:o}", "a", json_side(&d->a.s), "b",
                        json_side(&d->b.s), "documents", "added", d->added, "removed", d->removed,
                        "list", d->list, "layers", layers, "probes", probes, "evaluated_steps",
                        steps, "settings", settings);
    if (!d->json)
        return cam_fail(CAM_ERR_OS, "no memory for a result");
    if (!d->verbose)
        json_object_del(json_object_get(d->json, "documents"), "list");
    CAM_TRY(cam_query(d->database, frozen_sql, d->parameters, take_frozen, layers));
    CAM_TRY(cam_query(d->database, probes_sql, d->parameters, take_probe, probes));
    CAM_TRY(cam_query(d->database, evaluated_sql, d->parameters, take_steps, steps));
    return cam_query(d->database, settings_sql, d->parameters, take_setting, settings);
}

static enum cam_status load(struct cam_workspace *workspace, const char *a, const char *b,
                            struct diff *d) {
    struct cam_snapshots *snapshots;
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(workspace), NULL, d->database, &snapshots));
    enum cam_status status = cam_snapshot_find(snapshots, a, &d->a.s);
    if (status == CAM_OK)
        status = cam_snapshot_find(snapshots, b, &d->b.s);
    if (status == CAM_OK)
        status = cam_snapshot_load(snapshots, d->a.s.id, take_region, &d->a);
    if (status == CAM_OK)
        status = cam_snapshot_load(snapshots, d->b.s.id, take_region, &d->b);
    cam_snapshots_close(snapshots);
    const int64_t numbers[4] = {d->a.s.lineage, d->a.s.moment, d->b.s.lineage, d->b.s.moment};
    for (int i = 0; i < 4; i++) {
        snprintf(d->numbers[i], sizeof d->numbers[i], "%lld", (long long)numbers[i]);
        d->parameters[i] = d->numbers[i];
    }
    return status;
}

/* ---- printing ---- */

static void print_side(const char *name, const struct cam_snapshot *s) {
    printf("%s  %.12s  lineage %lld, step %s, %s%s%s\n", name, s->id, (long long)s->lineage,
           cam_cli_grouped(s->step), cam_cli_counted(s->documents, "document"), *s->tag ? "  " : "",
           s->tag);
}

static void print_documents(const struct diff *d) {
    char domain[80], title[200];
    printf("documents  %lld added, %lld removed\n", (long long)d->added, (long long)d->removed);
    for (size_t i = 0; d->verbose && i < json_array_size(d->list); i++) {
        const json_t *row = json_array_get(d->list, i);
        const char *text = json_string_value(json_object_get(row, "title_display"));
        printf("  %c %lld  %s, %lld bytes%s%s\n",
               *json_string_value(json_object_get(row, "change")) == 'a' ? '+' : '-',
               (long long)json_integer_value(json_object_get(row, "document")),
               cam_neutral_text(json_string_value(json_object_get(row, "domain")), domain,
                                sizeof domain),
               (long long)json_integer_value(json_object_get(row, "bytes")), text ? "  " : "",
               text ? cam_neutral_text(text, title, sizeof title) : "");
    }
}

static const char *number_of(const json_t *pair, size_t i, char out[32]) {
    const json_t *value = json_array_get(pair, i);
    if (json_is_number(value))
        snprintf(out, 32, "%.4f", json_number_value(value));
    else
        snprintf(out, 32, "-");
    return out;
}

static void print_lines(const struct diff *d) {
    const json_t *list = json_object_get(d->json, "layers"), *pair;
    char a[300], b[300], name[200];
    const char *key;
    json_t *value;
    print_side("A", &d->a.s);
    print_side("B", &d->b.s);
    print_documents(d);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *l = json_array_get(list, i);
        printf(
            "block %lld   %s: %s added, %s changed, %s frozen, of %s\n",
            (long long)json_integer_value(json_object_get(l, "layer")),
            json_string_value(json_object_get(l, "kind")),
            cam_cli_counted(json_integer_value(json_object_get(l, "added")), "expert"),
            cam_cli_grouped(json_integer_value(json_object_get(l, "changed"))),
            cam_cli_grouped(json_integer_value(json_object_get(l, "frozen"))),
            cam_cli_grouped(json_integer_value(json_array_get(json_object_get(l, "experts"), 1))));
    }
    list = json_object_get(d->json, "probes");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i);
        pair = json_object_get(p, "bits_per_byte");
        printf("probe %s  %s -> %s bits per byte\n",
               cam_neutral_text(json_string_value(json_object_get(p, "probe")), name, sizeof name),
               number_of(pair, 0, a), number_of(pair, 1, b));
    }
    if (json_array_size(list) == 0)
        cam_cli_say("no probe was evaluated before A or B; see: cambium help eval");
    json_object_foreach(json_object_get(d->json, "settings"), key, value) {
        const char *before = json_string_value(json_array_get(value, 0));
        const char *after = json_string_value(json_array_get(value, 1));
        printf("%s  %s -> %s\n", cam_neutral_text(key, name, sizeof name),
               cam_neutral_text(before ? before : "-", a, sizeof a),
               cam_neutral_text(after ? after : "-", b, sizeof b));
    }
}

static enum cam_status compare(struct cam_workspace *workspace, const char *a, const char *b,
                               int verbose, int json) {
    struct diff *d = calloc(1, sizeof *d);
    if (!d)
        return cam_fail(CAM_ERR_OS, "no memory for a comparison");
    d->database = cam_workspace_database(workspace);
    d->verbose = verbose;
    enum cam_status status = load(workspace, a, b, d);
    if (status == CAM_OK)
        status = gather(d);
    if (status == CAM_OK && json)
        status = cam_cli_print_json(json_incref(d->json));
    else if (status == CAM_OK)
        print_lines(d);
    json_decref(d->json);
    side_release(&d->a);
    side_release(&d->b);
    free(d);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
    struct cam_workspace *workspace = NULL;
    int verbose = 0, json = 0, found;
    while ((found = cam_cli_next(cli, "v", longs)) != -1) {
        if (found == 'v')
            verbose = 1;
        else if (found == 'j')
            json = 1;
        else
            return cam_cli_bad(cli);
    }
    CAM_TRY(cam_cli_arguments(cli, 1, 2, "one or two snapshots"));
    const char *b = cam_cli_argument(cli, 1);
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        compare(workspace, cam_cli_argument(cli, 0), b ? b : "current", verbose, json);
    cam_workspace_close(workspace);
    return status;
}

const struct cam_command cam_command_diff = {
    "diff", "Say what one snapshot has learned that another has not.", help, run};
