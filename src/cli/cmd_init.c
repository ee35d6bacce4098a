#include "cli/cli.h"

#include "base/embed.h"
#include "cli/input.h"
#include "growth/policy.h"
#include "run/preset.h"
#include "store/history.h"
#include "store/journal.h"
#include "text/tokenizer.h"
#include "text/tokenizer_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: cambium init [-C DIR] [OPTIONS]\n"
    "\n"
    "  --preset nano|small|base  size of the model (default nano)\n"
    "  --set KEY=VALUE           a setting; see: cambium config (after init) for all of them\n"
    "  --probe FILE              held-out text to measure forgetting on, never trained on: NDJSON\n"
    "                            (each document's domain names its probe), Atom or plain text\n"
    "  --tokenizer-from FILE     train a tokenizer on FILE instead of using the one that ships "
    "with\n"
    "                            cambium\n"
    "  --vocabulary N            its tokens (default 4096)\n"
    "  --policy NAME             what decides when to grow, freeze, evaluate (default lifelong)\n"
    "\n"
    "--set and --probe may be given more than once.  Prints parameters in all and active a token,\n"
    "FLOPs a token (forward), memory and experts.\n"
    "\n"
    "Examples:\n"
    "  cambium init -C w                                   the smallest model, in folder w\n"
    "  cambium init -C w --preset small --probe held.ndjson\n"
    "  cambium init -C w --set seed=7 --set replay.share=0.25 --policy naive\n"
    "\n"
    "See also: cambium help run, cambium help config, cambium help policy\n";

struct options {
    const char *preset, *policy, *tokenizer_from;
    int64_t vocabulary;
    struct cam_cli_list set, probe;
};

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {{"preset", required_argument, NULL, 'p'},
                                          {"set", required_argument, NULL, 's'},
                                          {"probe", required_argument, NULL, 'b'},
                                          {"tokenizer-from", required_argument, NULL, 't'},
                                          {"vocabulary", required_argument, NULL, 'v'},
                                          {"policy", required_argument, NULL, 'y'},
                                          {0}};
    int found;
    while ((found = cam_cli_next(cli, "", longs)) != -1) {
        switch (found) {
        case 'p':
            o->preset = optarg;
            break;
        case 's':
            CAM_TRY(cam_cli_list_add(&o->set, "--set", optarg));
            break;
        case 'b':
            CAM_TRY(cam_cli_list_add(&o->probe, "--probe", optarg));
            break;
        case 't':
            o->tokenizer_from = optarg;
            break;
        case 'v':
            CAM_TRY(cam_cli_number("--vocabulary", optarg, CAM_TOKENIZER_MIN_VOCABULARY,
                                   CAM_TOKENIZER_MAX_VOCABULARY, &o->vocabulary));
            break;
        case 'y':
            o->policy = optarg;
            break;
        default:
            return cam_cli_bad(cli);
        }
    }
    return cam_cli_arguments(cli, 0, 0, "no argument");
}

static enum cam_status choose_settings(const struct options *o, struct cam_settings *settings) {
    cam_settings_defaults(settings);
    CAM_TRY(cam_preset_apply(o->preset ? o->preset : "nano", settings));
    for (size_t i = 0; i < o->set.n; i++)
        CAM_TRY(cam_cli_set(settings, o->set.items[i]));
    return o->policy ? cam_settings_set(settings, "policy", o->policy) : CAM_OK;
}

/* ---- the tokenizer ---- */

static int add_sample(void *context, const struct cam_document *document) {
    return cam_tokenizer_trainer_add(context, document->text, document->text_bytes, 1);
}

static int tell_rejected(void *context, const char *where, const char *why) {
    cam_cli_say("%s: %s: %s", (const char *)context, where, why);
    return CAM_OK;
}

static int skip_rejected(void *context, const char *where, const char *why) {
    (void)context;
    return tell_rejected((void *)"--tokenizer-from", where, why);
}

static enum cam_status train_tokenizer(const char *path, int64_t vocabulary,
                                       struct cam_tokenizer **tokenizer) {
    struct cam_tokenizer_trainer *trainer = NULL;
    struct cam_buffer file;
    cam_buffer_init(&file, CAM_TOKENIZER_MAX_FILE_BYTES);
    CAM_TRY(cam_tokenizer_trainer_new(&trainer));
    struct cam_document_sink sink = {add_sample, skip_rejected, trainer};
    enum cam_status status = cam_input_read(path, NULL, NULL, &sink);
    if (status == CAM_OK)
        status = cam_tokenizer_trainer_finish(trainer, (size_t)vocabulary, &file);
    if (status == CAM_OK)
        status = cam_tokenizer_load(file.data, file.size, tokenizer);
    cam_tokenizer_trainer_free(trainer);
    cam_buffer_release(&file);
    return status == CAM_ERR_DATA ? cam_context(status, "--tokenizer-from %s", path) : status;
}

/* ---- probes ---- */

/* With a DATABASE, journals the documents; without, only looks whether they can be read, so that a
 * wrong file is found before anything is made. */
struct probing {
    const char *path;
    struct cam_database *database;
    char name[CAM_DOMAIN_BYTES];
    int64_t documents, bytes;
};

static int add_probe(void *context, const struct cam_document *document) {
    struct probing *p = context;
    p->documents++;
    p->bytes += (int64_t)document->text_bytes;
    if (!p->database)
        return CAM_OK;
    return cam_journal_probe(p->database, document->domain ? document->domain : p->name,
                             document->text, document->text_bytes);
}

static int refuse_probe(void *context, const char *where, const char *why) {
    struct probing *p = context;
    return cam_fail(CAM_ERR_DATA, "--probe %s: %s: %s", p->path, where, why);
}

static enum cam_status read_probes(const struct cam_cli_list *files, struct cam_database *database,
                                   struct probing *total) {
    *total = (struct probing){0};
    for (size_t i = 0; i < files->n; i++) {
        struct probing p = {.path = files->items[i], .database = database};
        struct cam_document_sink sink = {add_probe, refuse_probe, &p};
        cam_input_name(p.path, p.name, sizeof p.name);
        CAM_TRY(cam_input_read(p.path, NULL, NULL, &sink));
        if (p.documents == 0)
            return cam_fail(CAM_ERR_DATA, "--probe %s: holds no document", p.path);
        total->documents += p.documents;
        total->bytes += p.bytes;
    }
    return CAM_OK;
}

/* ---- all of it ---- */

static void print_size(const struct cam_workspace *workspace, const struct cam_settings *settings,
                       const struct cam_trainer *trainer, const struct cam_tokenizer *tokenizer,
                       const struct probing *probes) {
    struct cam_trainer_size size;
    cam_trainer_size(trainer, &size);
    printf("workspace   %s\n", cam_workspace_dir(workspace));
    printf("model       preset %s: %s parameters, %s active a token\n", settings->model_preset,
           cam_cli_short(size.parameters), cam_cli_short(size.active));
    printf("work        %sFLOP a token, forward\n", cam_cli_short(size.flops));
    printf("memory      %sB of parameters and optimiser state\n", cam_cli_short(size.bytes));
    printf("experts     %s", cam_cli_grouped(size.experts));
    if (size.mixture_experts)
        printf(" in pools, %s in mixtures", cam_cli_grouped(size.mixture_experts));
    printf("\n");
    printf("tokenizer   %s, %s tokens\n", cam_tokenizer_kind(tokenizer),
           cam_cli_grouped((int64_t)cam_tokenizer_vocabulary(tokenizer)));
    printf("policy      %s\n", settings->policy);
    if (probes->documents)
        printf("probes      %s, %s bytes\n", cam_cli_counted(probes->documents, "document"),
               cam_cli_grouped(probes->bytes));
}

static enum cam_status fill(struct cam_workspace *workspace, const struct options *o,
                            const struct cam_settings *settings,
                            const struct cam_tokenizer *tokenizer) {
    struct cam_database *database = cam_workspace_database(workspace);
    struct cam_trainer *trainer = NULL;
    struct probing probes;
    CAM_TRY(cam_workspace_begin_init(workspace, settings));
    CAM_TRY(cam_policy_init(database, settings->policy));
    CAM_TRY(read_probes(&o->probe, database, &probes));
    CAM_TRY(cam_trainer_init(workspace, settings, tokenizer));
    CAM_TRY(cam_trainer_open(workspace, &trainer));
    print_size(workspace, settings, trainer, tokenizer, &probes);
    cam_trainer_close(trainer);
    /* Last: until here the folder is no workspace, and another init begins anew. */
    return cam_workspace_finish_init(workspace, settings);
}

static enum cam_status check_policy(const char *name) {
    char file[CAM_NAME_BYTES + 8], known[256] = "";
    snprintf(file, sizeof file, "%.*s.sql", CAM_NAME_BYTES, name);
    if (cam_embedded_find(cam_embedded_policies, file))
        return CAM_OK;
    for (const struct cam_embedded *e = cam_embedded_policies; e->name; e++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%.*s", used ? ", " : "",
                 (int)strcspn(e->name, "."), e->name);
    }
    return cam_fail(CAM_ERR_NOINPUT,
                    "--policy %.64s: init takes %s; a file of your own afterwards: cambium policy "
                    "use FILE",
                    name, known);
}

/* Everything that can be wrong with the arguments is found before a file is made. */
static enum cam_status check(const struct options *o, const struct cam_settings *settings,
                             const struct cam_tokenizer *tokenizer) {
    struct cam_model_shape shape;
    struct cam_recipe recipe;
    struct cam_model *model = NULL;
    struct probing probes;
    CAM_TRY(cam_settings_shape(settings, cam_tokenizer_vocabulary(tokenizer), &shape));
    CAM_TRY(cam_settings_recipe(settings, &recipe));
    CAM_TRY(cam_model_new(&shape, (uint64_t)settings->seed, &model));
    cam_model_free(model);
    CAM_TRY(check_policy(settings->policy));
    return read_probes(&o->probe, NULL, &probes);
}

static enum cam_status make(const struct cam_cli *cli, const struct options *o,
                            const struct cam_settings *settings,
                            const struct cam_tokenizer *tokenizer) {
    struct cam_workspace *workspace = NULL;
    CAM_TRY(check(o, settings, tokenizer));
    cam_service_catch_signals(); /* from here to the end, or nothing */
    CAM_TRY(cam_cli_open(cli, CAM_WORKSPACE_CREATE, &workspace));
    enum cam_status status = fill(workspace, o, settings, tokenizer);
    cam_workspace_close(workspace);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    struct options o = {.vocabulary = CAM_TOKENIZER_DEFAULT_VOCABULARY};
    struct cam_settings settings;
    struct cam_tokenizer *tokenizer = NULL;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(choose_settings(&o, &settings));
    CAM_TRY(o.tokenizer_from ? train_tokenizer(o.tokenizer_from, o.vocabulary, &tokenizer)
                             : cam_tokenizer_default(&tokenizer));
    enum cam_status status = make(cli, &o, &settings, tokenizer);
    cam_tokenizer_free(tokenizer);
    return status;
}

const struct cam_command cam_command_init = {
    "init", "Make a workspace: a model that has read nothing yet, and its history.", help, run};
