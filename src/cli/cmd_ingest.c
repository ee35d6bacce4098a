#include "cli/cli.h"

#include "base/log.h"
#include "cli/input.h"
#include "feed/dry_run.h"
#include "store/history.h"
#include "store/journal.h"

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
    struct cam_journal_writer *writer; /* NULL on a dry run */
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
    if (in->rejected++ < REJECTED_SHOWN)
        cam_cli_say("%s: %s: %s", in->options->path, where, why);
    return in->options->dry_run ? CAM_OK : in->inner.rejected(in->inner.context, where, why);
}

/* The stream has nothing more just now: what it brought is shown, or journalled. */
static enum cam_status idle(void *context) {
    struct intake *in = context;
    fflush(stdout);
    return in->writer ? cam_journal_writer_finish(in->writer, NULL, NULL) : CAM_OK;
}

static enum cam_status read_all(struct intake *in) {
    struct cam_document_sink sink = {take_document, take_rejected, in};
    const struct cam_input input = {
        .path = in->options->path, .format = in->options->format, .idle = idle, .context = in};
    enum cam_status status = cam_input_take(&input, &sink);
    if (in->rejected > REJECTED_SHOWN)
        cam_cli_say("%s: %lld more were rejected", in->options->path,
                    (long long)in->rejected - REJECTED_SHOWN);
    CAM_TRY(status);
    if (in->documents == 0 && in->rejected > 0)
        return cam_fail(CAM_ERR_DATA, "%s: no document could be read, %lld were rejected",
                        in->options->path, (long long)in->rejected);
    return CAM_OK;
}

static enum cam_status dry_run(const struct options *o) {
    struct intake in = {.options = o};
    cam_buffer_init(&in.line, (size_t)64 << 20);
    enum cam_status status = read_all(&in);
    cam_buffer_release(&in.line);
    if (status == CAM_OK)
        cam_cli_say("%s: %lld documents, %lld rejected; nothing was journalled", o->path,
                    (long long)in.documents, (long long)in.rejected);
    return status;
}

static enum cam_status report(const struct options *o, struct cam_database *database,
                              const struct cam_admission_counts *c) {
    struct cam_counts counts;
    CAM_TRY(cam_history_counts(database, &counts));
    if (o->json)
        return cam_cli_print_json(json_pack(
            "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "seen", (json_int_t)c->seen, "journalled",
            (json_int_t)c->journalled, "duplicates", (json_int_t)c->duplicates, "revisions",
            (json_int_t)c->revisions, "quarantined", (json_int_t)c->quarantined, "held_out",
            (json_int_t)c->held_out, "contaminations", (json_int_t)c->contaminations, "rejected",
            (json_int_t)c->rejected, "pending", (json_int_t)counts.pending));
    printf("journalled   %s documents\n", cam_cli_grouped(c->journalled));
    printf("  held out   %s\n  quarantined %s\n  revisions  %s\n", cam_cli_grouped(c->held_out),
           cam_cli_grouped(c->quarantined), cam_cli_grouped(c->revisions));
    printf("duplicates   %s\nrejected     %s\n", cam_cli_grouped(c->duplicates),
           cam_cli_grouped(c->rejected));
    if (counts.pending > 0)
        cam_cli_say("%s documents wait to be trained on: cambium run --once",
                    cam_cli_grouped(counts.pending));
    return CAM_OK;
}

static enum cam_status journal(struct cam_database *database, const struct options *o) {
    struct cam_journal_writer *writer = NULL;
    struct cam_admission_counts counts = {0};
    struct intake in = {.options = o};
    char name[CAM_DOMAIN_BYTES];
    CAM_TRY(
        cam_journal_writer_open(database, 0, cam_input_name(o->path, name, sizeof name), &writer));
    in.inner = cam_journal_writer_sink(writer);
    in.writer = writer;
    enum cam_status read = read_all(&in);
    char message[1024];
    snprintf(message, sizeof message, "%s", cam_message());
    /* What was read before a file turned out broken stays: a second try finds it as duplicates. */
    enum cam_status status = cam_journal_writer_finish(writer, NULL, &counts);
    cam_journal_writer_free(writer);
    if (status == CAM_OK)
        status = report(o, database, &counts);
    return read != CAM_OK ? cam_fail(read, "%s", message) : status;
}

static enum cam_status run(struct cam_cli *cli) {
    static const struct option longs[] = {{"format", required_argument, NULL, 'f'},
                                          {"dry-run", no_argument, NULL, 'n'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    struct options o = {0};
    struct cam_workspace *workspace = NULL;
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
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_WRITE, &workspace));
    enum cam_status status = journal(cam_workspace_database(workspace), &o);
    cam_workspace_close(workspace);
    return status;
}

const struct cam_command cam_command_ingest = {
    "ingest", "Put the documents of a file into the journal.", help, run};
