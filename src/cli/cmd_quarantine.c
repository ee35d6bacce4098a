#include "cli/cli.h"

#include "base/log.h"
#include "cli/reach.h"
#include "store/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: cambium quarantine list [--all] [--json]\n"
    "       cambium quarantine show NUMBER [--json]\n"
    "       cambium quarantine release NUMBER... [--reason TEXT]\n"
    "       cambium quarantine drop NUMBER... [--reason TEXT]\n"
    "\n"
    "  --all          also documents that were set aside (dropped, or left behind by a rollback)\n"
    "  --reason TEXT  why, for the history\n"
    "  --json         one object a line\n"
    "\n"
    "What does not look like something to learn from is journalled and held back: too short, too\n"
    "long, repetitive, binary, a near duplicate, over its feed's quota, or what a policy said.\n"
    "release has it trained once, as new, at its place in the journal from now on; drop sets it\n"
    "aside.  Both are rows of the journal, so a replay does the same.\n"
    "\n"
    "Examples:\n"
    "  cambium quarantine list\n"
    "  cambium quarantine show 17\n"
    "  cambium quarantine release 17 18 --reason 'looked at them'\n"
    "\n"
    "See also: cambium help feed; settings document.near_bits, feed.max_share: cambium help "
    "config\n";

struct options {
    const char *reason;
    int all, json;
};

static enum cam_status print_row(void *context, const struct cam_value *v, size_t n) {
    const struct options *o = context;
    char title[120], reason[200];
    if (o->json)
        return cam_cli_print_row(v, n);
    printf("%8s  %-11s %9s bytes  %s  \"%s\"\n", v[0].text, v[1].text, v[2].text,
           cam_neutral_text(v[3].text, reason, sizeof reason),
           cam_neutral_text(v[5].text, title, sizeof title));
    return CAM_OK;
}

static enum cam_status list(struct cam_cli *cli, const struct options *o) {
    struct cam_workspace *workspace = NULL;
    struct options copy = *o;
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "nothing after list"));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status = cam_query(
        cam_workspace_database(workspace),
        o->all ? "SELECT document, state, bytes, reason, near_duplicate_of, title_display,"
                 " domain, source, journalled_at FROM v1_quarantine ORDER BY document"
               : "SELECT document, state, bytes, reason, near_duplicate_of, title_display,"
                 " domain, source, journalled_at FROM v1_quarantine WHERE state ="
                 " 'quarantined' ORDER BY document",
        NULL, print_row, &copy);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status print_lines(void *context, const struct cam_value *v, size_t n) {
    (void)context;
    char shown[1024];
    for (size_t i = 0; i < n; i++)
        if (v[i].kind != CAM_VALUE_NULL)
            printf("%-18s %s\n", v[i].name, cam_neutral_text(v[i].text, shown, sizeof shown));
    return CAM_OK;
}

/* Line by line, because a neutral text has no line breaks; a longer line goes on in the next. */
static enum cam_status print_text(const char *text, size_t n_bytes) {
    char line[1024], shown[2048];
    putchar('\n');
    for (size_t at = 0; at < n_bytes;) {
        size_t n = strcspn(text + at, "\n");
        size_t take = n < sizeof line ? n : sizeof line - 1;
        while (take > 1 && take < n && ((unsigned char)text[at + take] & 0xC0) == 0x80)
            take--; /* not in the middle of a character */
        memcpy(line, text + at, take);
        line[take] = '\0';
        puts(cam_neutral_text(line, shown, sizeof shown));
        at += take + (take == n);
    }
    return CAM_OK;
}

struct showing {
    json_t *json;
};

static enum cam_status keep_row(void *context, const struct cam_value *v, size_t n) {
    struct showing *s = context;
    json_decref(s->json);
    s->json = cam_cli_json_row(v, n);
    return CAM_OK;
}

static enum cam_status show_from(struct cam_database *database, int64_t document,
                                 const struct options *o) {
    char number[32], *text = NULL;
    const char *const parameters[] = {number, NULL};
    struct showing showing = {0};
    size_t n_bytes = 0;
    snprintf(number, sizeof number, "%lld", (long long)document);
    CAM_TRY(cam_journal_text(database, document, &text, &n_bytes));
    enum cam_status status = cam_query(
        database,
        "SELECT d.document, d.state, d.reason, d.near_duplicate_of, d.revises, d.domain,"
        " d.source, d.title_display AS title, d.author_display AS author, d.url_display AS"
        " url, d.published, d.updated, d.bytes, d.content_hash, d.journalled_at FROM"
        " v1_documents AS d WHERE d.document = CAST(?1 AS INTEGER)",
        parameters, o->json ? keep_row : print_lines, &showing);
    if (status == CAM_OK && o->json) {
        json_object_set_new(showing.json, "text", cam_cli_json_text(text));
        status = cam_cli_print_json(showing.json);
    } else if (status == CAM_OK) {
        status = print_text(text, n_bytes);
    }
    free(text);
    return status;
}

static enum cam_status show(struct cam_cli *cli, const struct options *o) {
    struct cam_workspace *workspace = NULL;
    int64_t document;
    CAM_TRY(cam_cli_arguments(cli, 2, 2, "a NUMBER from quarantine list"));
    CAM_TRY(cam_cli_number("quarantine show", cam_cli_argument(cli, 1), 1, INT64_MAX, &document));
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_READ, &workspace));
    enum cam_status status = show_from(cam_workspace_database(workspace), document, o);
    cam_workspace_close(workspace);
    return status;
}

/* All numbers are read before the first is acted on. */
static enum cam_status judge(struct cam_cli *cli, const struct options *o, int release) {
    json_t *documents = json_array();
    enum cam_status status = cam_cli_arguments(cli, 2, 1000, "NUMBERs from quarantine list");
    for (int i = 1; status == CAM_OK && cam_cli_argument(cli, i); i++) {
        int64_t document = 0;
        status = cam_cli_number("quarantine", cam_cli_argument(cli, i), 1, INT64_MAX, &document);
        json_array_append_new(documents, json_integer((json_int_t)document));
    }
    if (status != CAM_OK) {
        json_decref(documents);
        return status;
    }
    CAM_TRY(cam_reach_do(cli, "quarantine",
                         json_pack("{s:o,s:b,s:s}", "documents", documents, "release", release,
                                   "reason", o->reason)));
    if (release)
        cam_cli_say("released documents wait to be trained on: cambium run");
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"reason", required_argument, NULL, 'r'},
                                          {"all", no_argument, NULL, 'a'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    struct options o = {.reason = "person"};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 'r')
            o.reason = optarg;
        else if (found == 'a')
            o.all = 1;
        else if (found == 'j')
            o.json = 1;
        else
            return cam_cli_bad(cli);
    }
    const char *verb = cam_cli_argument(cli, 0);
    if (verb && strcmp(verb, "list") == 0)
        return list(cli, &o);
    if (verb && strcmp(verb, "show") == 0)
        return show(cli, &o);
    if (verb && strcmp(verb, "release") == 0)
        return judge(cli, &o, 1);
    if (verb && strcmp(verb, "drop") == 0)
        return judge(cli, &o, 0);
    return cam_fail(CAM_ERR_USAGE,
                    "quarantine needs list, show, release or drop; see: cambium help quarantine");
}

const struct cam_command cam_command_quarantine = {
    "quarantine", "Look at what was held back, and let it in or drop it.", help, run};
