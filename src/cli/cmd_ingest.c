#include "cli/cli.h"

#include "base/log.h"
#include "cli/input.h"
#include "cli/reach.h"
#include "feed/dry_run.h"
#include "serve/intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REJECTED_SHOWN 20

static const char help[] =
    "usage: cambium ingest [-C DIR] FILE|FOLDER|- [--format FORMAT] [--dry-run] [--json]\n"
    "\n"
    "  FOLDER           every file in it and its folders, by name; no links, no dot files\n"
    "  -                standard input; NDJSON is taken line by line as it comes\n"
    "  --format FORMAT  atom, rss, jsonfeed, ndjson, html or text (default: found by name and\n"
    "                   content)\n"
    "  --dry-run        read and clean only; needs no workspace, changes nothing\n"
    "  --json           the counts as one object; with --dry-run one object a document\n"
    "\n"
    "RSS 0.9x, 1.0 and 2.0, Atom 0.3 and 1.0, JSON Feed, NDJSON, plain text, and an HTML page as "
    "one\n"
    "document.  NDJSON is one object a line with \"text\" (or \"html\") and any of id, url, "
    "title,\n"
    "published, updated, author, language, domain.  A broken line is reported with its number and "
    "the\n"
    "rest goes on.  Documents are journalled, not trained on: that is for cambium run.\n"
    "\n"
    "Examples:\n"
    "  cambium ingest -C w articles.ndjson\n"
    "  zcat dump.ndjson.gz | cambium ingest -C w -\n"
    "  cambium ingest --dry-run --json feed.atom | head -1\n"
    "\n"
    "See also: cambium help run, cambium help feed\n";

struct options {
    const char *path, *format;
    int dry_run, json;
};

/* What a read came to; documents go to INNER or, on a dry run, to stdout. */
struct intake {
    const struct options *options;
    struct cam_document_sink inner;
    struct cam_reach_intake *intake; /* NULL on a dry run */
    struct cam_buffer line;
    int64_t documents, rejected;
};

static int take_document(void *context, const struct cam_document *document) {
    struct intake *in = context;
    in->documents++;
    if (!in->options->dry_run)
        return in->inner.document(in->inner.context, document);
    char title[200];
    if (in->options->json) {
        cam_buffer_clear(&in->line);
        CAM_TRY(cam_dry_run_json(document, &in->line));
        puts(in->line.data);
    } else {
        printf("%8zu bytes  %s\n", document->text_bytes,
               document->title ? cam_neutral_text(document->title, title, sizeof title)
                               : "(no title)");
    }
    return CAM_OK;
}

static int take_rejected(void *context, const char *where, const char *why) {
    struct intake *in = context;
    const char *path = in->options->path; /* a folder's files are named by their whole path */
    if (in->rejected++ < REJECTED_SHOWN && strncmp(where, path, strlen(path)) == 0)
        cam_cli_say("%s: %s", where, why);
    else if (in->rejected <= REJECTED_SHOWN)
        cam_cli_say("%s: %s: %s", path, where, why);
    return in->options->dry_run ? CAM_OK : in->inner.rejected(in->inner.context, where, why);
}

/* The stream has nothing more just now: what it brought is shown, or journalled. */
static enum cam_status idle(void *context) {
    struct intake *in = context;
    fflush(stdout);
    return in->intake ? cam_reach_intake_idle(in->intake) : CAM_OK;
}

static enum cam_status read_all(struct intake *in) {
    struct cam_document_sink sink = {take_document, take_rejected, in};
    const struct cam_input input = {
        .path = in->options->path, .format = in->options->format, .idle = idle, .context = in};
    enum cam_status status = cam_input_take(&input, &sink);
    if (in->rejected > REJECTED_SHOWN)
        cam_cli_say("%s: %lld rejected in all; the others are not shown", in->options->path,
                    (long long)in->rejected);
    CAM_TRY(status);
    if (in->documents == 0 && in->rejected > 0)
        return cam_fail(CAM_ERR_DATA, "%s: no document could be read, %lld %s rejected",
                        in->options->path, (long long)in->rejected,
                        in->rejected == 1 ? "was" : "were");
    return CAM_OK;
}

static enum cam_status dry_run(const struct options *o) {
    struct intake in = {.options = o};
    cam_buffer_init(&in.line, (size_t)64 << 20);
    enum cam_status status = read_all(&in);
    cam_buffer_release(&in.line);
    if (status == CAM_OK)
        cam_cli_say("%s: %s, %s rejected; nothing was journalled", o->path,
                    cam_cli_counted((int64_t)in.documents, "document"),
                    cam_cli_grouped((int64_t)in.rejected));
    return status;
}

static enum cam_status report(const struct options *o, const struct cam_admission_counts *c,
                              int64_t pending, int is_served) {
    if (o->json)
        return cam_cli_print_json(cam_intake_counts_json(c, pending));
    printf("journalled   %s\n", cam_cli_counted(c->journalled, "document"));
    printf("  held out   %s\n  quarantined %s\n  revisions  %s\n", cam_cli_grouped(c->held_out),
           cam_cli_grouped(c->quarantined), cam_cli_grouped(c->revisions));
    printf("duplicates   %s\nrejected     %s\n", cam_cli_grouped(c->duplicates),
           cam_cli_grouped(c->rejected));
    if (c->forgotten > 0)
        printf("refused      %s forgotten before\n", cam_cli_grouped(c->forgotten));
    if (pending > 0 && is_served)
        cam_cli_say("%s document%s; the service trains on %s", cam_cli_grouped(pending),
                    pending == 1 ? " waits" : "s wait", pending == 1 ? "it" : "them");
    else if (pending > 0)
        cam_cli_say("%s document%s to be trained on: cambium run --once", cam_cli_grouped(pending),
                    pending == 1 ? " waits" : "s wait");
    return CAM_OK;
}

static enum cam_status journal(const struct cam_cli *cli, const struct options *o) {
    struct cam_reach_intake intake;
    struct cam_admission_counts counts = {0};
    struct intake in = {.options = o};
    char name[CAM_DOMAIN_BYTES], message[1024];
    int64_t pending = 0;
    CAM_TRY(cam_reach_intake_begin(cli, cam_input_name(o->path, name, sizeof name), &intake));
    in.inner = cam_reach_intake_sink(&intake);
    in.intake = &intake;
    int is_served = !intake.workspace;
    enum cam_status read = read_all(&in);
    snprintf(message, sizeof message, "%s", cam_message());
    /* What was read before a file turned out broken stays: a second try finds it as duplicates. */
    enum cam_status status = cam_reach_intake_finish(&intake, &counts, &pending);
    cam_reach_intake_end(&intake);
    if (status == CAM_OK)
        status = report(o, &counts, pending, is_served);
    return read != CAM_OK && read != CAM_STOPPED ? cam_fail(read, "%s", message) : status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"format", required_argument, NULL, 'f'},
                                          {"dry-run", no_argument, NULL, 'n'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    struct options o = {0};
    int found;
    while ((found = cam_cli_next(cli, "n", longs)) != -1) {
        if (found == 'f')
            o.format = optarg;
        else if (found == 'n')
            o.dry_run = 1;
        else if (found == 'j')
            o.json = 1;
        else
            return cam_cli_bad(cli);
    }
    CAM_TRY(cam_cli_arguments(cli, 1, 1, "one FILE or FOLDER, or - for standard input"));
    o.path = cam_cli_argument(cli, 0);
    if (o.dry_run)
        return dry_run(&o);
    return journal(cli, &o);
}

const struct cam_command cam_command_ingest = {
    "ingest", "Put the documents of a file into the journal.", help, run};
