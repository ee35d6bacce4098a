#include "cli/cli.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: cambium log [-C DIR] [-n N] [--json]\n"
    "\n"
    "  -n N    the last N lines (default 40; 0: all)\n"
    "  --json  one object a line: lineage, step, kind, text, at\n"
    "\n"
    "Documents trained, generations born, opened and frozen, decisions and what came of them,\n"
    "evaluations, snapshots, rollbacks, quarantines, settings, and events of the service, in the\n"
    "order of the living history.\n"
    "\n"
    "Examples:\n"
    "  cambium log -C w -n 10\n"
    "  cambium log -C w -n 0 --json | jq 'select(.kind == \"grown\")'\n"
    "\n"
    "See also: cambium help status; the views behind it: schema/README.md\n";

/* One SELECT a kind: lineage, step, a rank that orders kinds within a step, a number within the
 * kind, the time if there is one, the kind, the text.  Events are never discarded: one of a stretch
 * that was given up stands at its end, just before the rollback. */
#define LOG_SQL                                                                                    \
    "WITH spans AS (SELECT lineage, coalesce((SELECT min(n.fork_step) FROM v1_lineages AS n"       \
    "  WHERE n.living AND n.lineage > l.lineage), 9223372036854775807) AS step_to"                 \
    "  FROM v1_lineages AS l WHERE living),"                                                       \
    " lines (lineage, step, class, number, at, kind, text) AS ("                                   \
    " SELECT lineage, last_step, 1, trained_rank, NULL, 'trained',"                                \
    "  printf('document %d%s, %s, %d bytes: %.3f bits per byte', document,"                        \
    "         coalesce(' \"' || title_display || '\"', ''), domain, bytes, bits_per_byte)"         \
    "  FROM v1_documents WHERE trained_rank IS NOT NULL"                                           \
    " UNION ALL SELECT lineage, step, 2, decision, NULL, 'decided',"                               \
    "  printf('%s%s: %s (%s) -> %s', kind, CASE WHEN layer >= 0 THEN ' block ' || layer ELSE ''"   \
    "         END, reason, origin, coalesce(outcome, 'not acted on yet')) FROM v1_decisions"       \
    " UNION ALL SELECT lineage, born_step, 3, layer * 1000 + generation, NULL, 'grown',"           \
    "  printf('block %d: generation %d, experts %d to %d: %s', layer, generation, first_expert,"   \
    "         first_expert + n_experts - 1, reason) FROM v1_generations"                           \
    " UNION ALL SELECT lineage, opened_step, 4, layer * 1000 + generation, NULL, 'opened',"        \
    "  printf('block %d: generation %d', layer, generation) FROM v1_generations"                   \
    "  WHERE opened_step IS NOT NULL"                                                              \
    " UNION ALL SELECT lineage, frozen_step, 5, layer * 1000 + generation, NULL, 'frozen',"        \
    "  printf('block %d: generation %d, content %s', layer, generation, frozen_hash)"              \
    "  FROM v1_generations WHERE frozen_step IS NOT NULL"                                          \
    " UNION ALL SELECT lineage, step, 6, evaluation, max(evaluated_at), 'evaluated',"              \
    "  printf('evaluation %d, %s: %.4f bits per byte over %d probes', evaluation, reason,"         \
    "         avg(bits_per_byte), count(*)) FROM v1_evaluations GROUP BY evaluation"               \
    " UNION ALL SELECT lineage, step, 7, documents, saved_at, 'snapshot',"                         \
    "  printf('%.8s%s after %d documents, %d bytes new, %d shared', id,"                           \
    "         coalesce(' \"' || tag || '\"', ''), documents, bytes_unique, bytes_shared)"          \
    "  FROM v1_snapshots WHERE living"                                                             \
    " UNION ALL SELECT s.lineage, min(l.fork_step, s.step_to), CASE WHEN l.living THEN 0 ELSE 9"   \
    "   END, l.lineage, l.opened_at, CASE l.mode WHEN 'forget' THEN 'forgot' ELSE 'rollback' END," \
    "  printf('lineage %d from snapshot %.8s of lineage %d (%s): %s%s', l.lineage, l.snapshot,"    \
    "         l.parent, l.mode, l.reason, CASE WHEN l.living THEN '' ELSE ' (abandoned since)' "   \
    "END)"                                                                                         \
    "  FROM v1_lineages AS l JOIN spans AS s ON s.lineage = (SELECT max(n.lineage) FROM spans AS " \
    "n"                                                                                            \
    "                                  WHERE n.lineage <= l.lineage) WHERE l.parent IS NOT NULL"   \
    " UNION ALL SELECT (SELECT max(lineage) FROM v1_lineages WHERE living"                         \
    "   AND (parent IS NULL OR fork_step < done_step)), done_step, 8, position,"                   \
    "  journalled_at, kind, printf('%s%s: %s', name, CASE WHEN kind = 'setting' THEN ' = ' ||"     \
    "         value ELSE '' END, outcome) FROM v1_journal"                                         \
    "  WHERE kind IN ('setting', 'policy') AND done_step IS NOT NULL"                              \
    " UNION ALL SELECT s.lineage, min(e.step, s.step_to), 9, event, happened_at, kind,"            \
    "  CASE level WHEN 'info' THEN '' ELSE level || ': ' END || message || CASE WHEN e.lineage ="  \
    "         s.lineage AND e.step <= s.step_to THEN '' ELSE printf(' (step %d of lineage %d,"     \
    "         abandoned since)', e.step, e.lineage) END"                                           \
    "  FROM (SELECT event, level, kind, message, happened_at, coalesce(lineage, 1) AS lineage,"    \
    "         coalesce(step, 0) AS step FROM v1_events WHERE kind <> 'rollback') AS e"             \
    "  JOIN spans AS s ON s.lineage = (SELECT max(n.lineage) FROM spans AS n"                      \
    "                                  WHERE n.lineage <= e.lineage)"                              \
    " UNION ALL SELECT coalesce(q.lineage, t.lineage, 1), coalesce(q.step, t.last_step, 0), 10,"   \
    "  q.document, q.journalled_at, q.state, printf('document %d%s, %s: %s', q.document,"          \
    "         coalesce(' \"' || q.title_display || '\"', ''), q.domain, q.reason)"                 \
    "  FROM v1_quarantine AS q LEFT JOIN v1_trained AS t ON t.document = (SELECT max(b.document)"  \
    "         FROM v1_trained AS b WHERE b.document < q.document))"                                \
    " SELECT lineage, step, kind, text, at FROM ("                                                 \
    "  SELECT * FROM lines ORDER BY lineage DESC, step DESC, class DESC, number DESC"              \
    "  LIMIT CAST(?1 AS INTEGER)) ORDER BY lineage, step, class, number"

static enum cam_status print_line(void *context, const struct cam_value *v, size_t n) {
    const int *json = context;
    char text[1200];
    if (*json)
        return cam_cli_print_row(v, n);
    printf("%8s  %-10s %s\n", cam_cli_grouped(v[1].whole), v[2].text,
           cam_neutral_text(v[3].text, text, sizeof text));
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
    struct cam_workspace *workspace = NULL;
    char limit[32];
    const char *const parameters[] = {limit, NULL};
    int64_t lines = 40;
    int json = 0, found;
    while ((found = cam_cli_next(cli, "n:", longs)) != -1) {
        if (found == 'n')
            CAM_TRY(cam_cli_number("-n", optarg, 0, 1000000000, &lines));
        else if (found == 'j')
            json = 1;
        else
            return cam_cli_bad(cli);
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    snprintf(limit, sizeof limit, "%lld", lines ? (long long)lines : -1LL);
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status =
        cam_query(cam_workspace_database(workspace), LOG_SQL, parameters, print_line, &json);
    cam_workspace_close(workspace);
    return status;
}

const struct cam_command cam_command_log = {
    "log", "Tell what happened: training, growth, evaluations, snapshots, rollbacks.", help, run};
