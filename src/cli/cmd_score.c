#include "cli/cli.h"

#include "base/log.h"
#include "cli/input.h"
#include "store/journal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: cambium score [-C DIR] FILE|- [--format FORMAT] [--json]\n"
    "\n"
    "  --format FORMAT  atom, ndjson or text (default: found by name and content)\n"
    "  --json           one object: bytes, tokens, nll (nats), bits_per_byte, documents, domains\n"
    "\n"
    "Every document is scored by itself under the model of the newest checkpoint; sums are over\n"
    "all of them.  Nothing is trained or written.\n"
    "\n"
    "Examples:\n"
    "  cambium score -C w essay.txt\n"
    "  cambium score -C w held-out.ndjson --json | jq .bits_per_byte\n"
    "  fortune | cambium score -C w -\n"
    "\n"
    "See also: cambium help eval, cambium help generate\n";

struct score {
    char domain[CAM_DOMAIN_BYTES];
    int64_t documents, bytes, tokens;
    double nll;
};

struct scoring {
    struct cam_trainer *trainer;
    const char *path;
    struct score total;
    struct score *domains; /* owned; in order of first appearance */
    size_t n, capacity;
    int64_t rejected;
};

static double bits_per_byte(const struct score *s) {
    return s->bytes ? s->nll / log(2) / (double)s->bytes : NAN;
}

static enum cam_status domain_of(struct scoring *s, const char *name, struct score **score) {
    for (size_t i = 0; i < s->n; i++) {
        if (strncmp(s->domains[i].domain, name, CAM_DOMAIN_BYTES - 1) == 0) {
            *score = &s->domains[i];
            return CAM_OK;
        }
    }
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 16;
        struct score *grown = realloc(s->domains, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu domains", capacity);
        s->domains = grown;
        s->capacity = capacity;
    }
    *score = &s->domains[s->n++];
    memset(*score, 0, sizeof **score);
    snprintf((*score)->domain, sizeof(*score)->domain, "%s", name);
    return CAM_OK;
}

static void add(struct score *score, int64_t bytes, int64_t tokens, double nll) {
    score->documents++;
    score->bytes += bytes;
    score->tokens += tokens;
    score->nll += nll;
}

static int score_document(void *context, const struct cam_document *document) {
    struct scoring *s = context;
    struct score *domain = NULL;
    char name[CAM_DOMAIN_BYTES];
    double nll;
    int64_t tokens, bytes = (int64_t)document->text_bytes;
    CAM_TRY(cam_trainer_score(s->trainer, document->text, document->text_bytes, &nll, &tokens));
    CAM_TRY(domain_of(
        s, document->domain ? document->domain : cam_input_name(s->path, name, sizeof name),
        &domain));
    add(domain, bytes, tokens, nll);
    add(&s->total, bytes, tokens, nll);
    return CAM_OK;
}

static int tell_rejected(void *context, const char *where, const char *why) {
    struct scoring *s = context;
    if (s->rejected++ < 20)
        cam_cli_say("%s: %s: %s", s->path, where, why);
    return CAM_OK;
}

static json_t *json_of(const struct score *s) {
    return json_pack("{s:I,s:I,s:I,s:o,s:o}", "documents", (json_int_t)s->documents, "bytes",
                     (json_int_t)s->bytes, "tokens", (json_int_t)s->tokens, "nll",
                     cam_cli_json_real(s->nll), "bits_per_byte",
                     cam_cli_json_real(bits_per_byte(s)));
}

static enum cam_status print_json(const struct scoring *s) {
    json_t *domains = json_array(), *all = json_of(&s->total);
    for (size_t i = 0; i < s->n; i++) {
        json_t *one = json_of(&s->domains[i]);
        json_object_set_new(one, "domain", cam_cli_json_text(s->domains[i].domain));
        json_array_append_new(domains, one);
    }
    json_object_set_new(all, "domains", domains);
    return cam_cli_print_json(all);
}

static void print_line(const char *name, const struct score *s) {
    char shown[48];
    printf("%-24s %6s documents %12s bytes %10s tokens  %.4f bits per byte\n",
           cam_neutral_text(name, shown, sizeof shown), cam_cli_grouped(s->documents),
           cam_cli_grouped(s->bytes), cam_cli_grouped(s->tokens), bits_per_byte(s));
}

static enum cam_status score_all(struct scoring *s, const char *format, int json) {
    struct cam_document_sink sink = {score_document, tell_rejected, s};
    CAM_TRY(cam_input_read(s->path, format, NULL, &sink));
    if (s->total.documents == 0)
        return cam_fail(CAM_ERR_DATA, "%s: holds no document to score", s->path);
    if (json)
        return print_json(s);
    for (size_t i = 0; i < s->n && s->n > 1; i++)
        print_line(s->domains[i].domain, &s->domains[i]);
    print_line(s->n > 1 ? "all" : s->domains[0].domain, &s->total);
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {
        {"format", required_argument, NULL, 'f'}, {"json", no_argument, NULL, 'j'}, {0}};
    struct cam_cli_session session;
    const char *format = NULL;
    int json = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'f')
            format = optarg;
        else if (found == 'j')
            json = 1;
        else
            return cam_cli_bad(cli);
    }
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "one FILE, or - for standard input"));
    CAM_TRY(cam_cli_begin(cli, CAM_WORKSPACE_READ, &session));
    struct scoring s = {.trainer = session.trainer, .path = cam_cli_argument(cli, 0)};
    enum cam_status status = score_all(&s, format, json);
    free(s.domains);
    cam_cli_end(&session);
    return status;
}

const struct cam_command cam_command_score = {
    "score", "Say how well the model predicts a text, in bits per byte.", help, run};
