#include "cli/cli.h"

#include "text/clean.h"

#include <stdio.h>
#include <string.h>

#define MAX_TOKENS       100000
#define MAX_PROMPT_BYTES ((size_t)1 << 20)

static const char help[] =
    "usage: cambium generate [-C DIR] -p TEXT [OPTIONS]\n"
    "\n"
    "  -p TEXT          what the text begins with (\"\": nothing)\n"
    "  -n TOKENS        how many tokens at most (default 100)\n"
    "  --temperature X  0 always takes the likeliest, 1 samples as the model says (default 0.8)\n"
    "  --top-k N        of the N likeliest only; 0: all (default 40)\n"
    "  --top-p X        of the likeliest that make up X of the mass; 1: all (default 0.95)\n"
    "  --seed N         another number, another text; the same number, the same text (default 1)\n"
    "  --json           one object: prompt, text, seed\n"
    "\n"
    "Prints the prompt and what follows; control characters are removed.\n"
    "\n"
    "Examples:\n"
    "  cambium generate -C w -p 'In the beginning'\n"
    "  cambium generate -C w -p 'Fellow citizens' -n 300 --temperature 0.6 --seed 3\n"
    "\n"
    "See also: cambium help score\n";

struct options {
    const char *prompt;
    int64_t tokens;
    struct cam_sampler sampler;
    int json;
};

static enum cam_status parse_one(struct options *o, int found) {
    int64_t whole;
    switch (found) {
    case 'p':
        o->prompt = optarg;
        return CAM_OK;
    case 'n':
        return cam_cli_number("-n", optarg, 1, MAX_TOKENS, &o->tokens);
    case 't':
        return cam_cli_real("--temperature", optarg, 0, 100, &o->sampler.temperature);
    case 'k':
        CAM_TRY(cam_cli_number("--top-k", optarg, 0, 65535, &whole));
        o->sampler.top_k = (size_t)whole;
        return CAM_OK;
    case 'q':
        return cam_cli_real("--top-p", optarg, 0, 1, &o->sampler.top_p);
    case 's':
        CAM_TRY(cam_cli_number("--seed", optarg, 0, INT64_MAX, &whole));
        o->sampler.seed = (uint64_t)whole;
        return CAM_OK;
    default:
        o->json = 1;
        return CAM_OK;
    }
}

static enum cam_status parse(struct cam_cli *cli, struct options *o) {
    static const struct option longs[] = {{"temperature", required_argument, NULL, 't'},
                                          {"top-k", required_argument, NULL, 'k'},
                                          {"top-p", required_argument, NULL, 'q'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    int found;
    while ((found = cam_cli_next(cli, "p:n:", longs)) != -1) {
        if (found == '?')
            return cam_cli_bad(cli);
        CAM_TRY(parse_one(o, found));
    }
    CAM_TRY(cam_cli_arguments(cli, 0, 0, "no argument"));
    if (!o->prompt)
        return cam_fail(CAM_ERR_USAGE, "generate needs -p TEXT; see: cambium help generate");
    if (strlen(o->prompt) > MAX_PROMPT_BYTES)
        return cam_fail(CAM_ERR_DATA, "-p: at most %zu bytes", MAX_PROMPT_BYTES);
    return CAM_OK;
}

static enum cam_status print(const struct options *o, struct cam_buffer *text) {
    struct cam_buffer shown;
    cam_buffer_init(&shown, (size_t)64 << 20);
    enum cam_status status = cam_clean_utf8(text->data ? text->data : "", text->size, &shown, NULL);
    const char *clean = shown.data ? shown.data : "";
    if (status == CAM_OK && o->json)
        status =
            cam_cli_print_json(json_pack("{s:o,s:s,s:I}", "prompt", cam_cli_json_text(o->prompt),
                                         "text", clean, "seed", (json_int_t)o->sampler.seed));
    else if (status == CAM_OK)
        puts(clean);
    cam_buffer_release(&shown);
    return status;
}

static enum cam_status generate(struct cam_trainer *trainer, const struct options *o) {
    struct cam_buffer text;
    cam_buffer_init(&text, (size_t)64 << 20);
    enum cam_status status = o->json ? CAM_OK : cam_buffer_append_text(&text, o->prompt);
    if (status == CAM_OK)
        status = cam_trainer_generate(trainer, o->prompt, (size_t)o->tokens, &o->sampler, &text);
    if (status == CAM_OK)
        status = print(o, &text);
    cam_buffer_release(&text);
    return status;
}

static enum cam_status run(struct cam_cli *cli) {
    struct options o = {.tokens = 100,
                        .sampler = {.temperature = 0.8, .top_k = 40, .top_p = 0.95, .seed = 1}};
    struct cam_cli_session session;
    CAM_TRY(parse(cli, &o));
    CAM_TRY(cam_cli_begin(cli, CAM_WORKSPACE_READ, &session));
    enum cam_status status = generate(session.trainer, &o);
    cam_cli_end(&session);
    return status;
}

const struct cam_command cam_command_generate = {"generate", "Write on from a text.", help, run};
