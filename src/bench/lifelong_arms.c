#include "base/embed.h"
#include "bench/lifelong.h"

#include <stdio.h>
#include <string.h>

/* To add an arm: add a row.  Policies are arms without one. */
static const struct cam_lifelong_arm table[] = {
    {.name = "joint",
     .what = "all domains shuffled together: what no stream can reach",
     .policy = "naive",
     .settings = "",
     .shuffled = 1},
    {.name = "joint-average",
     .what = "joint, scored by the average of the weights as lifelong is",
     .policy = "naive",
     .settings = "average.window=100000 average.share=0.12",
     .shuffled = 1},
    {.name = "naive", .what = "plain fine-tuning", .policy = "naive", .settings = ""},
    {.name = "dense-naive",
     .what = "plain fine-tuning of the trunk, without a pool",
     .policy = "naive",
     .settings = "model.ff=dense"},
    {.name = "dense-replay",
     .what = "the trunk without a pool, a tenth of replay",
     .policy = "naive",
     .settings = "model.ff=dense replay.share=0.1"},
    {.name = "fixed",
     .what = "lifelong without growth",
     .policy = "lifelong",
     .settings = "policy.ignore=grow,evaluate,snapshot"},
    {.name = "born-large",
     .what = "lifelong without growth, from the start as large as lifelong ends",
     .policy = "lifelong",
     .settings = "policy.ignore=grow,evaluate,snapshot",
     .final_size = 1},
    {.name = "grow-only",
     .what = "growth without protection: no replay, no average",
     .policy = "lifelong",
     .settings = "replay.share=0 average.window=0"},
    {.name = "no-average",
     .what = "lifelong, scored by the weights themselves",
     .policy = "lifelong",
     .settings = "average.window=0"},
    {.name = "lifelong",
     .what = "growth and replay, as the policy decides",
     .policy = "lifelong",
     .settings = ""},
};
#define N_TABLE      (sizeof table / sizeof *table)
#define MAX_POLICIES 32
#define NAME_BYTES   64

static size_t add_policies(struct cam_lifelong_arm *arms, char (*names)[NAME_BYTES]) {
    size_t n = 0;
    for (const struct cam_embedded *e = cam_embedded_policies; e->name && n < MAX_POLICIES; e++) {
        snprintf(names[n], NAME_BYTES, "%.*s", (int)strcspn(e->name, "."), e->name);
        int known = 0;
        for (size_t i = 0; i < N_TABLE; i++)
            known |= strcmp(table[i].name, names[n]) == 0;
        if (known)
            continue;
        arms[n] = (struct cam_lifelong_arm){.name = names[n],
                                            .what = "the policy of that name",
                                            .policy = names[n],
                                            .settings = ""};
        n++;
    }
    return n;
}

const struct cam_lifelong_arm *cam_lifelong_arm(size_t i) {
    static struct cam_lifelong_arm policies[MAX_POLICIES];
    static char names[MAX_POLICIES][NAME_BYTES];
    static size_t n_policies = SIZE_MAX;
    if (n_policies == SIZE_MAX)
        n_policies = add_policies(policies, names);
    if (i < N_TABLE)
        return &table[i];
    return i - N_TABLE < n_policies ? &policies[i - N_TABLE] : NULL;
}

enum cam_status cam_lifelong_arm_find(const char *name, const struct cam_lifelong_arm **arm) {
    char known[1024] = "";
    for (size_t i = 0; (*arm = cam_lifelong_arm(i)); i++) {
        if (strcmp((*arm)->name, name) == 0)
            return CAM_OK;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", (*arm)->name);
    }
    return cam_fail(CAM_ERR_USAGE, "arm \"%.64s\" does not exist; there are: %s", name, known);
}
