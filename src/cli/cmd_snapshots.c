#include "cli/cli.h"

#include "base/clock.h"
#include "store/snapshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: cambium snapshots [-C DIR] [--json]\n"
    "\n"
    "  --json  one array, oldest first: id, parent, tag, lineage, created, documents,\n"
    "          bytes_unique, bytes_shared, model_hash, step, living, bytes_own, bits_per_byte,\n"
    "          held_out_bits_per_byte\n"
    "\n"
    "A tree: snapshots of a lineage stand below each other, oldest first; a lineage that a "
    "rollback\n"
    "opened stands indented below the snapshot it went back to.\n"
    "\n"
    "  own              what removing this one alone would give back (bytes_own); what it has in\n"
    "                   common with others is not counted\n"
    "  bytes_unique     what it added to the disk when it was saved; bytes_shared what it had in\n"
    "                   common with earlier ones then\n"
    "  new              bits per byte of the last 32 documents before it, as they came\n"
    "  held out         mean bits per byte of the probes, where they were evaluated at this step\n"
    "\n"
    "Examples:\n"
    "  cambium snapshots -C w\n"
    "  cambium snapshots -C w --json | jq '.[-1].id'\n"
    "\n"
    "See also: cambium help snapshot, cambium help diff, cambium help rollback, cambium help "
    "prune\n";

struct entry {
    struct cam_snapshot s;
    double fresh, held_out; /* bits per byte; NaN: not known */
};
struct lineage {
    int64_t lineage, parent, fork_step;
    char snapshot[CAM_SNAPSHOT_ID_BYTES];
    int living, current;
};
struct tree {
    struct entry *entries;
    size_t n_entries;
    struct lineage *lineages;
    size_t n_lineages;
};

/* Room for one more ITEM_BYTES in *ITEMS of N; powers of two. */
static enum cam_status grow(void **items, size_t n, size_t item_bytes) {
    if (n != 0 && (n < 16 || (n & (n - 1)) != 0))
        return CAM_OK;
    void *grown = realloc(*items, (n < 16 ? 16 : 2 * n) * item_bytes);
    if (!grown)
        return cam_fail(CAM_ERR_OS, "no memory for a list of %zu", n);
    *items = grown;
    return CAM_OK;
}

static enum cam_status take_snapshot(void *context, const struct cam_snapshot *s) {
    struct tree *t = context;
    void *entries = t->entries;
    CAM_TRY(grow(&entries, t->n_entries, sizeof *t->entries));
    t->entries = entries;
    t->entries[t->n_entries++] = (struct entry){.s = *s, .fresh = NAN, .held_out = NAN};
    return CAM_OK;
}

static enum cam_status take_lineage(void *context, const struct cam_value *v, size_t n) {
    struct tree *t = context;
    void *lineages = t->lineages;
    (void)n;
    CAM_TRY(grow(&lineages, t->n_lineages, sizeof *t->lineages));
    t->lineages = lineages;
    struct lineage *l = &t->lineages[t->n_lineages++];
    *l = (struct lineage){.lineage = v[0].whole,
                          .parent = v[1].whole,
                          .fork_step = v[3].whole,
                          .living = v[4].whole != 0,
                          .current = v[5].whole != 0};
    snprintf(l->snapshot, sizeof l->snapshot, "%s", v[2].text);
    return CAM_OK;
}

static enum cam_status take_metrics(void *context, const struct cam_value *v, size_t n) {
    struct tree *t = context;
    (void)n;
    for (size_t i = 0; i < t->n_entries; i++)
        if (strcmp(t->entries[i].s.id, v[0].text) == 0) {
            t->entries[i].fresh = v[1].real;
            t->entries[i].held_out = v[2].real;
        }
    return CAM_OK;
}

static enum cam_status gather(struct cam_workspace *workspace, struct tree *t) {
    struct cam_database *database = cam_workspace_database(workspace);
    struct cam_snapshots *snapshots;
    CAM_TRY(cam_snapshots_open(cam_workspace_dir(workspace), NULL, database, &snapshots));
    enum cam_status status = cam_snapshots_measure(snapshots, 0, take_snapshot, t);
    cam_snapshots_close(snapshots);
    CAM_TRY(status);
    CAM_TRY(cam_query(database,
                      "SELECT lineage, coalesce(parent, 0), coalesce(snapshot, ''), fork_step,"
                      " living, current FROM v1_lineages ORDER BY lineage",
                      NULL, take_lineage, t));
    return cam_query(database, "SELECT id, bits_per_byte, held_out_bits_per_byte FROM v1_snapshots",
                     NULL, take_metrics, t);
}

/* ---- JSON ---- */

static enum cam_status print_json(const struct tree *t) {
    json_t *array = json_array();
    for (size_t i = 0; i < t->n_entries; i++) {
        const struct cam_snapshot *s = &t->entries[i].s;
        char created[CAM_RFC3339_BYTES];
        json_array_append_new(
            array, json_pack("{s:s,s:o,s:o,s:I,s:s,s:I,s:I,s:I,s:s,s:I,s:b,s:I,s:o,s:o}", "id",
                             s->id, "parent", cam_cli_json_text(s->parent), "tag",
                             cam_cli_json_text(s->tag), "lineage", (json_int_t)s->lineage,
                             "created", cam_clock_rfc3339(s->created_at_ms, created), "documents",
                             (json_int_t)s->documents, "bytes_unique", (json_int_t)s->bytes_unique,
                             "bytes_shared", (json_int_t)s->bytes_shared, "model_hash",
                             s->model_hash, "step", (json_int_t)s->step, "living", s->living,
                             "bytes_own", (json_int_t)s->bytes_own, "bits_per_byte",
                             cam_cli_json_real(t->entries[i].fresh), "held_out_bits_per_byte",
                             cam_cli_json_real(t->entries[i].held_out)));
    }
    return cam_cli_print_json(array);
}

/* ---- the tree ---- */

static void indent(int depth) {
    for (int i = 0; i < depth; i++)
        fputs("    ", stdout);
}

static void print_snapshot(const struct entry *e, int depth) {
    const struct cam_snapshot *s = &e->s;
    char created[CAM_RFC3339_BYTES];
    indent(depth);
    printf("%.12s  %.16sZ  step %s, %s, %sB own, %sB in all", s->id,
           cam_clock_rfc3339(s->created_at_ms, created), cam_cli_grouped(s->step),
           cam_cli_counted(s->documents, "document"), cam_cli_short((double)s->bytes_own),
           cam_cli_short((double)s->bytes_total));
    if (isfinite(e->fresh))
        printf("; %.4f new", e->fresh);
    if (isfinite(e->held_out))
        printf("; %.4f held out", e->held_out);
    printf("%s%s%s\n", s->living ? "" : "  (abandoned)", *s->tag ? "  " : "", s->tag);
}

static void print_lineage(const struct tree *t, const struct lineage *l, int depth);

/* Lineages that went back to snapshot ID; ID NULL: of PARENT, to one that is not listed (pruned).
 */
static void print_children(const struct tree *t, const char *id, int64_t parent, int depth) {
    for (size_t i = 0; i < t->n_lineages; i++) {
        const struct lineage *l = &t->lineages[i];
        int listed = 0;
        for (size_t k = 0; k < t->n_entries && !id; k++)
            listed |= strcmp(t->entries[k].s.id, l->snapshot) == 0;
        if (id ? strcmp(l->snapshot, id) == 0 : l->parent == parent && !listed)
            print_lineage(t, l, depth);
    }
}

static void print_lineage(const struct tree *t, const struct lineage *l, int depth) {
    indent(depth);
    printf("lineage %lld", (long long)l->lineage);
    if (l->parent)
        printf(", from step %s of lineage %lld", cam_cli_grouped(l->fork_step),
               (long long)l->parent);
    printf("%s\n", l->current ? " (current)" : l->living ? "" : " (abandoned)");
    for (size_t i = 0; i < t->n_entries; i++) {
        if (t->entries[i].s.lineage != l->lineage)
            continue;
        print_snapshot(&t->entries[i], depth);
        print_children(t, t->entries[i].s.id, 0, depth + 1);
    }
    print_children(t, NULL, l->lineage, depth + 1);
}

static enum cam_status list(struct cam_workspace *workspace, int json) {
    struct tree t = {0};
    enum cam_status status = gather(workspace, &t);
    if (status == CAM_OK && json)
        status = print_json(&t);
    else if (status == CAM_OK)
        print_children(&t, NULL, 0, 0);
    free(t.entries);
    free(t.lineages);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
    struct cam_workspace *workspace = NULL;
    int json = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'j')
            return cam_cli_bad(cli);
        json = 1;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status = list(workspace, json);
    cam_workspace_close(workspace);
    return status;
}

const struct cam_command cam_command_snapshots = {
    "snapshots", "Show the snapshots that are kept, as a tree.", help, run};
