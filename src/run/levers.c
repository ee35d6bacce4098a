#include "run/levers.h"

#include "base/log.h"
#include "growth/policy.h"

#include <stdio.h>

/* To add one: a row here, a field in the struct, a row in base/settings.def. */
struct lever {
    const char *key;
    double setting, fallback, least, most;
    double *value;
};

static enum cam_status read_one(struct cam_database *database, const struct lever *lever) {
    *lever->value = lever->setting;
    if (lever->setting < 0)
        CAM_TRY(cam_policy_number(database, lever->key, lever->fallback, lever->value));
    if (!(*lever->value >= lever->least && *lever->value <= lever->most))
        return cam_fail(CAM_ERR_CONFIG, "%s %g: must be %g to %g", lever->key, *lever->value,
                        lever->least, lever->most);
    return CAM_OK;
}

/* Refused, but no reason to stop training: by now the setting is in the journal. */
static void without_teacher(struct cam_levers *l) {
    if (l->distill_weight > 0 && l->average_window <= 0) {
        cam_log(CAM_LOG_WARNING,
                "distill.weight %g is refused: its teacher is the average of the weights, and "
                "average.window is 0; set average.window to some steps, or distill.weight to 0",
                l->distill_weight);
        l->distill_weight = 0;
    }
}

enum cam_status cam_levers_read(struct cam_database *database, const struct cam_settings *s,
                                struct cam_levers *l) {
    const struct lever table[] = {
        {"replay.share", s->replay_share, 0, 0, 0.9, &l->replay_budget.share},
        {"replay.each", s->replay_each, 0, 0, 0.9, &l->replay_budget.each},
        {"replay.weight", s->replay_weight, 1, 0, 100, &l->replay_weight},
        {"replay.balance", s->replay_balance, 1, 0, 1, &l->replay_mix.balance},
        {"replay.current", s->replay_current, 1, 0, 1, &l->replay_mix.current},
        {"replay.half_life", s->replay_half_life, 0, 0, 1e12, &l->replay_half_life},
        {"average.window", s->average_window, 0, 0, 1e9, &l->average_window},
        {"average.share", s->average_share, 0, 0, 1, &l->average_share},
        {"gate.experts", s->gate_experts, 0, 0, 1e9, &l->gate_experts},
        {"anchor.l2", s->anchor_l2, 0, 0, 1e9, &l->anchor_l2},
        {"anchor.ewc", s->anchor_ewc, 0, 0, 1e9, &l->anchor_ewc},
        {"anchor.decay", s->anchor_decay, 1, 0, 1, &l->anchor_decay},
        {"distill.weight", s->distill_weight, 0, 0, 1, &l->distill_weight},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        CAM_TRY(read_one(database, &table[i]));
    without_teacher(l);
    return CAM_OK;
}

static enum cam_status of_source(struct cam_database *database, const char *key,
                                 const char *source, double fallback, double most, double *value) {
    char name[CAM_REPLAY_NAME_BYTES + 32];
    snprintf(name, sizeof name, "%s.%s", key, source);
    return read_one(database, &(struct lever){name, -1, fallback, 0, most, value});
}

enum cam_status cam_levers_source(struct cam_database *database, const struct cam_levers *levers,
                                  struct cam_replay_source *source) {
    double weight, half_life;
    CAM_TRY(of_source(database, "replay.weight", source->name, 1, 1e6, &weight));
    CAM_TRY(of_source(database, "replay.half_life", source->name, levers->replay_half_life, 1e12,
                      &half_life));
    cam_replay_source_set(source, weight, half_life);
    return CAM_OK;
}
