#include "cli/cli.h"

#include "base/log.h"
#include "math/blas.h"
#include "store/history.h"
#include "store/journal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: cambium status [-C DIR] [--json]\n"
    "\n"
    "  --json  one object; documents.journalled = trained + pending + quarantined + held_out +\n"
    "          set_aside, always\n"
    "\n"
    "Works beside a running service, without asking it, and on a read-only folder; `running` is "
    "the\n"
    "process that holds the workspace, `service` what it last said of itself.  model_hash covers "
    "all parameters\n"
    "and optimiser state at the newest checkpoint: two runs over one journal have the same.\n"
    "\n"
    "Examples:\n"
    "  cambium status -C w\n"
    "  cambium status -C w --json | jq .documents.pending\n"
    "  sqlite3 -readonly w/history.db 'SELECT state, count(*) FROM v1_documents GROUP BY 1'\n"
    "\n"
    "See also: cambium help log, cambium help eval\n";

struct extra {
    char policy[128], preset[64];
    int64_t feeds, failing, bf16;
    struct cam_inbox inbox;
    pid_t owner;
    json_t *service; /* what the owner published, NULL if nothing */
};

/* What was published is read like anything that somebody else wrote. */
static void read_service(const struct cam_cli *cli, struct extra *extra) {
    char text[CAM_PUBLISHED_BYTES];
    json_error_t error;
    extra->owner = cam_workspace_published(cli->dir, text);
    extra->service = *text ? json_loads(text, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (!json_is_object(extra->service)) {
        json_decref(extra->service);
        extra->service = NULL;
    }
}

static enum cam_status read_extra(const struct cam_cli *cli, struct cam_database *database,
                                  struct extra *extra) {
    read_service(cli, extra);
    CAM_TRY(cam_query_text(database, "SELECT name FROM v1_policies WHERE in_force", NULL,
                           extra->policy, sizeof extra->policy));
    CAM_TRY(cam_query_text(database, "SELECT value FROM v1_settings WHERE key = 'model.preset'",
                           NULL, extra->preset, sizeof extra->preset));
    CAM_TRY(cam_query_int(database,
                          "SELECT value = 'true' FROM v1_settings WHERE key = 'model.bf16'", NULL,
                          0, &extra->bf16));
    CAM_TRY(cam_journal_inbox(database, &extra->inbox));
    CAM_TRY(cam_query_int(database,
                          "SELECT count(*) FROM v1_feeds WHERE state = 'active' AND failures > 0",
                          NULL, 0, &extra->failing));
    return cam_query_int(database, "SELECT count(*) FROM v1_feeds WHERE state = 'active'", NULL, 0,
                         &extra->feeds);
}

static json_t *inbox_json(const struct cam_inbox *inbox) {
    return json_pack("{s:I,s:I,s:I,s:I,s:b}", "documents", (json_int_t)inbox->documents, "bytes",
                     (json_int_t)inbox->bytes, "max_documents", (json_int_t)inbox->max_documents,
                     "max_bytes", (json_int_t)inbox->max_bytes, "full", inbox->is_full);
}

static enum cam_products products_of(const struct extra *extra) {
    return extra->bf16 ? CAM_PRODUCTS_BF16 : CAM_PRODUCTS_FP32;
}

static enum cam_status print_json(const struct cam_counts *c, const struct extra *extra) {
    json_t *documents =
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "journalled", (json_int_t)c->journalled, "trained",
                  (json_int_t)c->trained, "pending", (json_int_t)c->pending, "quarantined",
                  (json_int_t)c->quarantined, "held_out", (json_int_t)c->held_out, "set_aside",
                  (json_int_t)c->set_aside);
    return cam_cli_print_json(json_pack(
        "{s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:o,s:s,s:o,s:O?}", "documents",
        documents, "tokens", (json_int_t)c->tokens, "experts", (json_int_t)c->experts,
        "generations", (json_int_t)c->generations, "lineage", (json_int_t)c->lineage, "step",
        (json_int_t)c->step, "snapshot", cam_cli_json_text(c->snapshot), "model_hash",
        cam_cli_json_text(c->model_hash), "bits_per_byte", cam_cli_json_real(c->bits_per_byte),
        "policy", cam_cli_json_text(extra->policy), "preset", cam_cli_json_text(extra->preset),
        "feeds", (json_int_t)extra->feeds, "feeds_failing", (json_int_t)extra->failing, "inbox",
        inbox_json(&extra->inbox), "products", cam_products_name(products_of(extra)), "running",
        extra->owner ? json_integer((json_int_t)extra->owner) : json_null(), "service",
        extra->service));
}

static void print_service(const struct extra *extra) {
    const char *state = json_string_value(json_object_get(extra->service, "state"));
    const char *since = json_string_value(json_object_get(extra->service, "since"));
    const char *reason = json_string_value(json_object_get(extra->service, "reason"));
    char shown[80], from[40], why[400];
    if (!extra->owner) {
        printf("service        not running\n");
        return;
    }
    if (!state || !since) {
        printf("service        process %ld\n", (long)extra->owner);
        return;
    }
    printf("service        process %ld since %s: %s, %s tokens/s%s%s\n", (long)extra->owner,
           cam_neutral_text(since, from, sizeof from), cam_neutral_text(state, shown, sizeof shown),
           cam_cli_short(json_number_value(json_object_get(extra->service, "tokens_per_s"))),
           reason ? "; " : "", reason ? cam_neutral_text(reason, why, sizeof why) : "");
}

static void print_lines(const struct cam_counts *c, const struct extra *extra) {
    printf("documents      %s journalled = %s trained + %s pending + %s quarantined + %s held out "
           "+ %s set aside\n",
           cam_cli_grouped(c->journalled), cam_cli_grouped(c->trained), cam_cli_grouped(c->pending),
           cam_cli_grouped(c->quarantined), cam_cli_grouped(c->held_out),
           cam_cli_grouped(c->set_aside));
    printf("tokens         %s in %s\n", cam_cli_grouped(c->tokens),
           cam_cli_counted(c->step, "step"));
    if (isfinite(c->bits_per_byte))
        printf("bits per byte  %.4f (new documents as they came, the last 32)\n", c->bits_per_byte);
    printf("experts        %s in %s\n", cam_cli_grouped(c->experts),
           cam_cli_counted(c->generations, "generation"));
    printf("lineage        %lld\n", (long long)c->lineage);
    printf("snapshot       %s\n", *c->snapshot ? c->snapshot : "none yet");
    printf("model hash     %s\n", c->model_hash);
    printf("policy         %s, preset %s, %s", extra->policy, extra->preset,
           cam_cli_counted(extra->feeds, "feed"));
    if (extra->failing)
        printf(", %lld failing (cambium feed list)", (long long)extra->failing);
    putchar('\n');
    if (extra->bf16)
        printf("products       bf16, %s\n", cam_products_fast(products_of(extra))
                                                ? "by AMX"
                                                : "emulated on this processor: slow");
    if (extra->inbox.is_full)
        printf("inbox          full: %s, %s bytes wait for training; fetching pauses\n",
               cam_cli_counted(extra->inbox.documents, "document"),
               cam_cli_grouped(extra->inbox.bytes));
    print_service(extra);
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
    struct cam_workspace *workspace = NULL;
    struct cam_counts counts;
    struct extra extra = {0};
    int json = 0, found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found != 'j')
            return cam_cli_bad(cli);
        json = 1;
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    struct cam_database *database = cam_workspace_database(workspace);
    enum cam_status status = cam_history_counts(database, &counts);
    if (status == CAM_OK)
        status = read_extra(cli, database, &extra);
    if (status == CAM_OK && json)
        status = print_json(&counts, &extra);
    else if (status == CAM_OK)
        print_lines(&counts, &extra);
    json_decref(extra.service);
    cam_workspace_close(workspace);
    return status;
}

const struct cam_command cam_command_status = {
    "status", "Say what was read, learned and grown so far.", help, run};
