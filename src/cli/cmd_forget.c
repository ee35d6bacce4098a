#include "cli/cli.h"

#include "base/log.h"
#include "cli/reach.h"

#include <stdio.h>

static const char help[] =
    "usage: cambium forget [-C DIR] NUMBER... | --source FEED  [--yes] [--reason TEXT] [--json]\n"
    "\n"
    "  NUMBER         a document's number (v1_documents, cambium log)\n"
    "  --source FEED  all documents of a feed (its number, URL or name), or of a file given to\n"
    "                 ingest (v1_documents.source)\n"
    "  --yes          do it; without, say what it would cost\n"
    "  --reason TEXT  why, for the history\n"
    "  --json         one object: documents, changed, snapshot to go back to, since: {documents,\n"
    "                 tokens, seconds}; with --yes also lineage, model_hash, the counts of\n"
    "                 status, snapshots that are gone, left: files that may still hold them\n"
    "\n"
    "The model becomes, byte for byte, that of a run which never saw the documents: training\n"
    "goes back to the newest snapshot from before anything they had a part in, and everything\n"
    "since is judged and trained on again.  Texts, journal rows, scores and provenance go, and\n"
    "so do snapshots, later branches and backups of history.db that learned from them or hold\n"
    "them.  A keyed hash stays, so that the very same text is refused when it comes again; a\n"
    "feed goes on to be read, see cambium feed remove.  Killed half-way, the next run goes on.\n"
    "Where no snapshot from before them is left it is refused, with the cost of training\n"
    "everything anew: cambium snapshot, early, is what makes forgetting cheap.  Copies made\n"
    "elsewhere are yours to remove.\n"
    "\n"
    "Examples:\n"
    "  cambium forget -C w 17\n"
    "  cambium forget -C w 17 --yes --reason 'asked by its author'\n"
    "  cambium forget -C w --source https://example.org/feed.xml --yes\n"
    "  sqlite3 -readonly w/history.db 'SELECT * FROM v1_forgotten'\n"
    "\n"
    "See also: cambium help rollback, cambium help snapshot, cambium help quarantine\n";

struct options {
    const char *source, *reason;
    int act, json;
};

static long long number_of(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

/* Near duplicates of what goes, say. */
static void print_changed(const json_t *result) {
    long long n = number_of(result, "changed");
    if (n > 0)
        printf("judged anew   %s document%s admitted or held back otherwise\n", cam_cli_grouped(n),
               n == 1 ? "" : "s");
}

static void print_price(const json_t *result) {
    const json_t *since = json_object_get(result, "since");
    const char *snapshot = json_string_value(json_object_get(result, "snapshot"));
    long long n = number_of(result, "documents");
    printf("to forget     %s document%s\n", cam_cli_grouped(n), n == 1 ? "" : "s");
    printf("to do again   %s documents", cam_cli_grouped(number_of(since, "documents")));
    printf(", %s tokens, some %.3g seconds at the speed of then\n",
           cam_cli_grouped(number_of(since, "tokens")),
           json_number_value(json_object_get(since, "seconds")));
    if (snapshot && *snapshot)
        printf("from          snapshot %.8s on\n", snapshot);
    print_changed(result);
    fflush(stdout);
    cam_cli_say(n ? "nothing was changed; the same with --yes does it"
                  : "there is nothing to forget: that was done before");
}

static void print_done(const json_t *result) {
    char shown[300];
    const json_t *snapshots = json_object_get(result, "snapshots");
    const json_t *left = json_object_get(result, "left");
    long long n = number_of(result, "documents");
    printf("forgotten     %s document%s\n", cam_cli_grouped(n), n == 1 ? "" : "s");
    if (number_of(result, "lineage"))
        printf("lineage       %lld\n", number_of(result, "lineage"));
    print_changed(result);
    printf("documents     %s trained", cam_cli_grouped(number_of(result, "trained")));
    printf(", %s pending\n", cam_cli_grouped(number_of(result, "pending")));
    printf("model hash    %s\n", json_string_value(json_object_get(result, "model_hash")));
    for (size_t i = 0; i < json_array_size(snapshots); i++) {
        const json_t *s = json_array_get(snapshots, i);
        const char *tag = json_string_value(json_object_get(s, "tag"));
        printf("gone          snapshot %.8s%s%s after %s documents\n",
               json_string_value(json_object_get(s, "id")), tag ? " " : "", tag ? tag : "",
               cam_cli_grouped(number_of(s, "documents")));
    }
    fflush(stdout);
    for (size_t i = 0; i < json_array_size(left); i++)
        cam_cli_say(
            "may still hold it: %s",
            cam_neutral_text(json_string_value(json_array_get(left, i)), shown, sizeof shown));
}

static enum cam_status forget(struct cam_cli *cli, const struct options *o, json_t *documents) {
    json_t *result = NULL;
    CAM_TRY(cam_reach_change(cli, "forget",
                             json_pack("{s:o*,s:s*,s:b,s:s}", "documents", documents, "source",
                                       o->source, "act", o->act, "reason", o->reason),
                             &result));
    if (o->json)
        return cam_cli_print_json(result);
    if (o->act)
        print_done(result);
    else
        print_price(result);
    json_decref(result);
    return CAM_OK;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"source", required_argument, NULL, 's'},
                                          {"reason", required_argument, NULL, 'r'},
                                          {"yes", no_argument, NULL, 'y'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    struct options o = {.reason = "person"};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        if (found == 's')
            o.source = optarg;
        else if (found == 'r')
            o.reason = optarg;
        else if (found == 'y')
            o.act = 1;
        else if (found == 'j')
            o.json = 1;
        else
            return cam_cli_bad(cli);
    }
    if (o.source) {
        CAM_TRY(cam_cli_arguments(cli, 0, 0, "no number beside --source"));
        return forget(cli, &o, NULL);
    }
    CAM_TRY(cam_cli_arguments(cli, 1, 1000, "the NUMBER of a document, or --source FEED"));
    json_t *documents = json_array();
    enum cam_status status = CAM_OK;
    for (int i = 0; status == CAM_OK && cam_cli_argument(cli, i); i++) {
        int64_t document = 0;
        status = cam_cli_number("forget", cam_cli_argument(cli, i), 1, INT64_MAX, &document);
        json_array_append_new(documents, json_integer((json_int_t)document));
    }
    if (status == CAM_OK)
        return forget(cli, &o, documents);
    json_decref(documents);
    return status;
}

const struct cam_command cam_command_forget = {
    "forget", "Unlearn documents: the model of a run that never saw them.", help, run};
