#include "cli/cli.h"

#include "base/log.h"
#include "cli/reach.h"

#include <stdio.h>
#include <string.h>
#include <stdlib.h>

static const char help[] =
    "usage: cambium eval [-C DIR] [--json]\n"
    "\n"
    "  --json  one object: evaluation, probes [{probe, bytes, tokens, nll, bits_per_byte, ...}]\n"
    "\n"
    "The request is journalled, so documents that came before it and fill a batch are trained\n"
    "first.  Scoring changes nothing in the model.  `learned` is the score when the domain had\n"
    "just been learned, `best` the lowest ever; forgetting = now - best.\n"
    "\n"
    "Examples:\n"
    "  cambium eval -C w\n"
    "  cambium eval -C w --json | jq '.probes[] | {probe, bits_per_byte}'\n"
    "  sqlite3 -readonly w/history.db 'SELECT * FROM v1_matrix'\n"
    "\n"
    "See also: cambium help schedule, cambium help score\n";

#define PROBES_SQL                                                                                 \
    "SELECT e.domain AS probe, e.bytes, e.tokens, e.nll, e.bits_per_byte, f.best, f.forgetting,"   \
    " f.learned, e.probe_kind AS kind FROM v1_evaluations AS e LEFT JOIN v1_forgetting AS f"       \
    " ON f.evaluation = e.evaluation AND f.probe = e.probe"                                      \
    " WHERE e.evaluation = CAST(?1 AS INTEGER) GROUP BY e.probe ORDER BY e.probe"

static enum cam_status add_probe(void *context, const struct cam_value *row, size_t n) {
    json_array_append_new(context, cam_cli_json_row(row, n));
    return CAM_OK;
}

static enum cam_status print_probe(void *context, const struct cam_value *v, size_t n) {
    char name[48], label[64];
    (void)context, (void)n;
    snprintf(label, sizeof label, "%s%s", cam_neutral_text(v[0].text, name, sizeof name),
             strcmp(v[8].text, "file") == 0 ? " (file)" : "");
    printf("%-24s %10s %10s  %7.4f", label, cam_cli_grouped(v[1].whole),
           cam_cli_grouped(v[2].whole), v[4].real);
    if (v[6].kind != CAM_VALUE_NULL)
        printf("  %7.4f  %+7.4f", v[5].real, v[6].real);
    putchar('\n');
    return CAM_OK;
}

static enum cam_status print(struct cam_database *database, int64_t evaluation, int json) {
    char number[32];
    const char *const parameters[] = {number, NULL};
    snprintf(number, sizeof number, "%lld", (long long)evaluation);
    if (!json) {
        printf("evaluation %lld\n%-24s %10s %10s  %7s  %7s  %7s\n", (long long)evaluation, "probe",
               "bytes", "tokens", "bits/B", "best", "forgot");
        return cam_query(database, PROBES_SQL, parameters, print_probe, NULL);
    }
    json_t *probes = json_array();
    enum cam_status status = cam_query(database, PROBES_SQL, parameters, add_probe, probes);
    if (status != CAM_OK) {
        json_decref(probes);
        return status;
    }
    return cam_cli_print_json(json_pack("{s:o,s:o}", "evaluation",
                                        evaluation ? json_integer(evaluation) : json_null(),
                                        "probes", probes));
}

/* The scores are in the history by now, so they are read like any others. */
static enum cam_status evaluate(const struct cam_cli *cli, int json) {
    struct cam_workspace *workspace = NULL;
    json_t *result = NULL;
    CAM_TRY(cam_reach_change(cli, "eval", json_object(), &result));
    int64_t evaluation = json_integer_value(json_object_get(result, "evaluation"));
    json_decref(result);
    if (evaluation == 0)
        cam_cli_say("no probe has text yet: probes are drawn from the feeds (probe.share), or "
                    "given with cambium init --probe");
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status = print(cam_workspace_database(workspace), evaluation, json);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
    int json = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'j')
            return cam_cli_bad(cli);
        json = 1;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    return evaluate(cli, json);
}

const struct cam_command cam_command_eval = {
    "eval", "Score every probe: what is known, and what was forgotten.", help, run};
