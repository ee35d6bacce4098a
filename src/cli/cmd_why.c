#include "cli/cli.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES ((size_t)1 << 16)

static const char help[] =
    "usage: cambium why [-C DIR] -p TEXT [--experts N] [--documents N] [--json]\n"
    "\n"
    "  -p TEXT        what the model is asked about (at most 64 KB)\n"
    "  --experts N    experts of each pool, those that do most for TEXT first (8; at most 64)\n"
    "  --documents N  documents named for an expert, those that taught it most first (3; at most "
    "32)\n"
    "  --json         one object: tokens, step, experts, documents\n"
    "\n"
    "Says which experts answer TEXT, in which generation they were born, and which documents\n"
    "taught them.  An expert's weight is its gate times its activation, a token of TEXT; a\n"
    "document's weight for an expert is the same over the document's own tokens, when it was\n"
    "trained on.  Of a document the provenance.experts heaviest experts are on record, so an "
    "expert\n"
    "that is used a little by many documents may have none.  At the end, the documents that "
    "taught\n"
    "these experts most together.  Reads the newest checkpoint; works beside a running service.\n"
    "\n"
    "Examples:\n"
    "  cambium why -C w -p 'In the beginning God created'\n"
    "  cambium why -C w -p \"$(cat essay.txt)\" --json | jq '.documents[0]'\n"
    "\n"
    "See also: cambium help score; v1_provenance and v1_experts\n";

struct options {
    const char *text;
    int64_t experts, documents;
    int json;
};

/* A document that taught an expert, or (i_reason = SIZE_MAX) all of them together. */
struct teacher {
    size_t i_reason;
    int64_t document;
    double weight;
    char domain[80], title[160];
};

struct answer {
    struct cam_reason *reasons; /* owned */
    size_t n_reasons;
    int64_t n_tokens, step;
    struct teacher *teachers; /* owned; by reason, heaviest first */
    size_t n_teachers, capacity;
    struct teacher *together; /* owned; heaviest first */
    size_t n_together;
};

static enum cam_status take_teacher(void *context, const struct cam_value *row, size_t n) {
    struct answer *a = context;
    (void)n;
    if (a->n_teachers == a->capacity) {
        size_t capacity = a->capacity ? 2 * a->capacity : 64;
        struct teacher *grown = realloc(a->teachers, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu documents", capacity);
        a->teachers = grown;
        a->capacity = capacity;
    }
    struct teacher *t = &a->teachers[a->n_teachers++];
    *t = (struct teacher){
        .i_reason = (size_t)row[0].whole, .document = row[1].whole, .weight = row[2].real};
    cam_neutral_text(row[3].text, t->domain, sizeof t->domain);
    cam_neutral_text(row[4].text, t->title, sizeof t->title);
    return CAM_OK;
}

/* Who taught each of the experts, in one consistent state of the history. */
static enum cam_status find_teachers(struct cam_database *database, struct answer *a,
                                     int64_t documents) {
    json_t *list = json_array();
    for (size_t i = 0; i < a->n_reasons; i++)
        json_array_append_new(list, json_pack("[I,I,I]", (json_int_t)a->reasons[i].layer,
                                              (json_int_t)a->reasons[i].expert,
                                              (json_int_t)a->reasons[i].incarnation));
    char *experts = json_dumps(list, JSON_COMPACT), most[24];
    json_decref(list);
    if (!experts)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu experts", a->n_reasons);
    snprintf(most, sizeof most, "%lld", (long long)documents);
    const char *const parameters[] = {experts, most, NULL};
    enum cam_status status =
        cam_query(database,
                  "SELECT n, document, weight, domain, title_display FROM (SELECT e.key AS n,"
                  " p.document, p.weight, p.domain, p.title_display, row_number() OVER (PARTITION"
                  " BY e.key ORDER BY p.weight DESC, p.document) AS place FROM json_each(?1) AS e"
                  " JOIN v1_provenance AS p ON p.layer = json_extract(e.value, '$[0]') AND p.expert"
                  " = json_extract(e.value, '$[1]') AND p.incarnation = json_extract(e.value,"
                  " '$[2]')) WHERE place <= CAST(?2 AS INTEGER) ORDER BY n, place",
                  parameters, take_teacher, a);
    free(experts);
    return status;
}

static int by_document(const void *x, const void *y) {
    const struct teacher *a = x, *b = y;
    return (a->document > b->document) - (a->document < b->document);
}

static int by_weight(const void *x, const void *y) {
    const struct teacher *a = x, *b = y;
    if (a->weight != b->weight)
        return a->weight < b->weight ? 1 : -1;
    return by_document(x, y);
}

/* A document's weight for all: what it did for each expert times what the expert does for the text.
 */
static enum cam_status add_up(struct answer *a) {
    a->together = malloc((a->n_teachers + 1) * sizeof *a->together);
    if (!a->together)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu documents", a->n_teachers);
    for (size_t i = 0; i < a->n_teachers; i++) {
        a->together[i] = a->teachers[i];
        a->together[i].weight *= a->reasons[a->teachers[i].i_reason].weight;
    }
    qsort(a->together, a->n_teachers, sizeof *a->together, by_document);
    for (size_t i = 0; i < a->n_teachers; i++) {
        if (a->n_together && a->together[a->n_together - 1].document == a->together[i].document)
            a->together[a->n_together - 1].weight += a->together[i].weight;
        else
            a->together[a->n_together++] = a->together[i];
    }
    qsort(a->together, a->n_together, sizeof *a->together, by_weight);
    return CAM_OK;
}

static json_t *json_of_teacher(const struct teacher *t) {
    return json_pack("{s:I,s:o,s:o,s:o}", "document", (json_int_t)t->document, "domain",
                     cam_cli_json_text(t->domain), "title", cam_cli_json_text(t->title), "weight",
                     cam_cli_json_real(t->weight));
}

static json_t *json_of_reason(const struct answer *a, size_t i) {
    const struct cam_reason *r = &a->reasons[i];
    json_t *documents = json_array();
    for (size_t k = 0; k < a->n_teachers; k++)
        if (a->teachers[k].i_reason == i)
            json_array_append_new(documents, json_of_teacher(&a->teachers[k]));
    return json_pack("{s:i,s:I,s:I,s:I,s:I,s:I,s:b,s:o,s:o}", "layer", r->layer, "expert",
                     (json_int_t)r->expert, "i", (json_int_t)r->i, "j", (json_int_t)r->j,
                     "generation", (json_int_t)r->generation, "incarnation",
                     (json_int_t)r->incarnation, "frozen", r->frozen, "weight",
                     cam_cli_json_real(r->weight), "documents", documents);
}

static enum cam_status print_json(const struct answer *a, int64_t documents) {
    json_t *experts = json_array(), *together = json_array();
    for (size_t i = 0; i < a->n_reasons; i++)
        json_array_append_new(experts, json_of_reason(a, i));
    for (size_t i = 0; i < a->n_together && i < (size_t)documents; i++)
        json_array_append_new(together, json_of_teacher(&a->together[i]));
    return cam_cli_print_json(json_pack("{s:I,s:I,s:o,s:o}", "tokens", (json_int_t)a->n_tokens,
                                        "step", (json_int_t)a->step, "experts", experts,
                                        "documents", together));
}

static void print_teacher(const char *indent, const struct teacher *t) {
    printf("%sdocument %lld, %s: %s (weight %.4g)\n", indent, (long long)t->document, t->domain,
           *t->title ? t->title : "no title", t->weight);
}

static void print_text(const struct answer *a, int64_t documents) {
    size_t k = 0;
    for (size_t i = 0; i < a->n_reasons; i++) {
        const struct cam_reason *r = &a->reasons[i];
        char incarnation[48] = "";
        if (r->incarnation)
            snprintf(incarnation, sizeof incarnation, ", incarnation %lld",
                     (long long)r->incarnation);
        if (i == 0 || r->layer != a->reasons[i - 1].layer)
            printf("block %d\n", r->layer);
        printf("  expert %lld (%lld, %lld) of generation %lld%s%s, weight %.4g\n",
               (long long)r->expert, (long long)r->i, (long long)r->j, (long long)r->generation,
               incarnation, r->frozen ? ", frozen" : "", r->weight);
        if (k == a->n_teachers || a->teachers[k].i_reason != i)
            printf("    no document on record\n");
        for (; k < a->n_teachers && a->teachers[k].i_reason == i; k++)
            print_teacher("    ", &a->teachers[k]);
    }
    if (a->n_together)
        printf("taught by\n");
    for (size_t i = 0; i < a->n_together && i < (size_t)documents; i++)
        print_teacher("  ", &a->together[i]);
}

static enum cam_status explain(const struct cam_cli_session *session, const struct options *o) {
    struct answer a = {0};
    enum cam_status status =
        cam_trainer_why(session->trainer, o->text, strlen(o->text), (size_t)o->experts, &a.reasons,
                        &a.n_reasons, &a.n_tokens);
    if (status == CAM_OK && a.n_reasons == 0)
        status =
            cam_fail(CAM_ERR_DATA, "this model has no pool of experts (model.ff), so no expert "
                                   "can be named");
    if (status == CAM_OK)
        status = find_teachers(session->database, &a, o->documents);
    if (status == CAM_OK)
        status = add_up(&a);
    if (status == CAM_OK) {
        struct cam_progress progress;
        cam_trainer_progress(session->trainer, &progress);
        a.step = progress.step;
        if (o->json)
            status = print_json(&a, o->documents);
        else
            print_text(&a, o->documents);
    }
    free(a.reasons);
    free(a.teachers);
    free(a.together);
    return status;
}

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {{"experts", required_argument, NULL, 'e'},
                                          {"documents", required_argument, NULL, 'd'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    int found;
    while ((found = cam_cli_next(cli, "p:", longs)) != -1) {
        if (found == 'p')
            o->text = optarg;
        else if (found == 'e')
            CAM_TRY(cam_cli_number("--experts", optarg, 1, 64, &o->experts));
        else if (found == 'd')
            CAM_TRY(cam_cli_number("--documents", optarg, 1, 32, &o->documents));
        else if (found == 'j')
            o->json = 1;
        else
            return cam_cli_bad(cli);
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    if (!o->text)
        return cam_fail(CAM_ERR_USAGE, "why needs -p TEXT; see: cambium help why");
    if (strlen(o->text) > MAX_TEXT_BYTES)
        return cam_fail(CAM_ERR_DATA, "-p: at most %zu bytes", MAX_TEXT_BYTES);
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    struct options o = {.experts = 8, .documents = 3};
    struct cam_cli_session session;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(cam_cli_begin(cli, CAM_WORKSPACE_READ, &session));
    enum cam_status status = explain(&session, &o);
    cam_cli_end(&session);
    return status;
}

const struct cam_command cam_command_why = {
    "why", "Say which experts answer a text, and which documents taught them.", help, run};
