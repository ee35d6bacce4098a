/* trainer_guard.c - decisions that hold something back: openings that leak, models that regress. */
#include "run/trainer_internal.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum cam_status cam_trainer_hold(struct cam_trainer *t, const struct cam_decision *d, char *outcome,
                                 size_t outcome_bytes) {
    size_t n = 0, i_block = 0;
    int back = d->kind == CAM_DECIDE_RETREAT;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++) {
        if (!cam_trainer_concerns(d, i_block))
            continue;
        uint32_t amount = d->amount < UINT32_MAX ? (uint32_t)d->amount : UINT32_MAX;
        n += back ? cam_peer_retreat(ff, (double)d->amount / 1000) : cam_peer_hold(ff, amount);
    }
    snprintf(outcome, outcome_bytes, "nothing to do: no generation is opening");
    if (n == 0)
        return CAM_OK;
    if (back)
        snprintf(outcome, outcome_bytes, "done: %zu generation%s closed %.1f %% of the way", n,
                 n == 1 ? "" : "s", d->amount < 1000 ? (double)d->amount / 10 : 100);
    else
        snprintf(outcome, outcome_bytes, "done: %zu generation%s held for %lld steps", n,
                 n == 1 ? "" : "s", (long long)d->amount);
    cam_log(CAM_LOG_INFO, "step %llu: %s: %s", (unsigned long long)t->state.step, outcome,
            d->reason);
    return CAM_OK;
}

/* Why the alarm does not roll back; NULL: it does. */
static const char *stays(struct cam_trainer *t, const struct cam_alarm *alarm, char *why,
                         size_t why_bytes) {
    if (!t->settings.alarm_rollback)
        return "alarm.rollback is off";
    if (!*alarm->snapshot)
        return "there is no snapshot before the regress";
    if (alarm->documents_since < t->settings.alarm_every) {
        snprintf(why, why_bytes,
                 "%lld documents since the last such rollback, alarm.every_documents "
                 "is %lld",
                 (long long)alarm->documents_since, (long long)t->settings.alarm_every);
        return why;
    }
    if (cam_snapshot_check(t->snapshots, alarm->snapshot) != CAM_OK) {
        snprintf(why, why_bytes, "%.150s", cam_message());
        return why;
    }
    return NULL;
}

enum cam_status cam_trainer_alarm(struct cam_trainer *t, const struct cam_decision *d,
                                  char *outcome, size_t outcome_bytes) {
    struct cam_alarm alarm;
    char why[200];
    CAM_TRY(cam_trainer_settle(t)); /* a snapshot under way may be the way back */
    CAM_TRY(cam_history_alarm(t->database, d, &alarm));
    if (!alarm.known || alarm.told) {
        snprintf(outcome, outcome_bytes, "refused: evaluation %lld %s", (long long)d->amount,
                 alarm.told ? "has had its alarm" : "does not exist");
        return CAM_OK;
    }
    const char *reason = stays(t, &alarm, why, sizeof why);
    if (reason) {
        snprintf(outcome, outcome_bytes, "done: told; no rollback: %s", reason);
        return CAM_OK;
    }
    snprintf(t->way_back, sizeof t->way_back, "%s", alarm.snapshot);
    snprintf(t->way_back_why, sizeof t->way_back_why, "alarm: evaluation %lld: %.300s",
             (long long)d->amount, d->reason);
    snprintf(outcome, outcome_bytes, "done: told; rolling back to snapshot %.40s", alarm.snapshot);
    return CAM_OK;
}

enum cam_status cam_trainer_go_back(struct cam_trainer *t) {
    char snapshot[CAM_NAME_BYTES], why[sizeof t->way_back_why];
    memcpy(snapshot, t->way_back, sizeof snapshot);
    memcpy(why, t->way_back_why, sizeof why);
    *t->way_back = '\0';
    return cam_trainer_rollback(t, snapshot, CAM_ROLLBACK_SET_ASIDE, why, NULL);
}
