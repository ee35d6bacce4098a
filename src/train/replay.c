#include "train/replay.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cam_replay_release(struct cam_replay *replay) {
    for (size_t i = 0; i < replay->n_sources; i++)
        free(replay->sources[i].entries);
    free(replay->sources);
    free(replay->by_name);
    *replay = (struct cam_replay){0};
}

/* ---- sources ---- */

/* Where NAME is in by_name, or would be. */
static size_t find_name(const struct cam_replay *replay, const char *name, int *found) {
    size_t low = 0, high = replay->n_sources;
    *found = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(replay->sources[replay->by_name[middle]].name, name);
        if (order == 0) {
            *found = 1;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum cam_status reserve_source(struct cam_replay *replay) {
    if (replay->n_sources < replay->capacity)
        return CAM_OK;
    size_t capacity = replay->capacity ? replay->capacity * 2 : 16;
    struct cam_replay_source *sources =
        realloc(replay->sources, capacity * sizeof *sources);
    if (sources)
        replay->sources = sources;
    size_t *by_name = realloc(replay->by_name, capacity * sizeof *by_name);
    if (by_name)
        replay->by_name = by_name;
    if (!sources || !by_name)
        return cam_fail(CAM_ERR_OS, "out of memory for %zu replay sources", capacity);
    replay->capacity = capacity;
    return CAM_OK;
}

static enum cam_status source_of(struct cam_replay *replay, const char *name,
                                 struct cam_replay_source **source) {
    char cut[CAM_REPLAY_NAME_BYTES];
    int found;
    snprintf(cut, sizeof cut, "%s", name);
    size_t at = find_name(replay, cut, &found);
    if (!found) {
        CAM_TRY(reserve_source(replay));
        memmove(replay->by_name + at + 1, replay->by_name + at,
                (replay->n_sources - at) * sizeof *replay->by_name);
        replay->by_name[at] = replay->n_sources;
        struct cam_replay_source *fresh = &replay->sources[replay->n_sources++];
        *fresh = (struct cam_replay_source){.weight = 1};
        memcpy(fresh->name, cut, sizeof cut);
    }
    *source = &replay->sources[replay->by_name[at]];
    return CAM_OK;
}

/* What is left of one byte after AGE documents. */
static double aged(double half_life, uint64_t age) {
    return half_life > 0 ? exp2(-(double)age / half_life) : 1;
}

static double mass_after(const struct cam_replay_source *source, size_t i) {
    const struct cam_replay_entry *e = &source->entries[i];
    if (i == 0)
        return e->bytes;
    return source->entries[i - 1].mass * aged(source->half_life, e->rank - e[-1].rank) + e->bytes;
}

enum cam_status cam_replay_add(struct cam_replay *replay, const char *name, int64_t document,
                               int64_t bytes) {
    struct cam_replay_source *source;
    CAM_TRY(source_of(replay, name, &source));
    if (source->n == source->capacity) {
        size_t capacity = source->capacity ? source->capacity * 2 : 64;
        struct cam_replay_entry *entries = realloc(source->entries, capacity * sizeof *entries);
        if (!entries)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu replay documents", capacity);
        source->entries = entries;
        source->capacity = capacity;
    }
    source->entries[source->n] = (struct cam_replay_entry){
        .document = document, .rank = replay->n++, .bytes = bytes > 0 ? (double)bytes : 1};
    source->entries[source->n].mass = mass_after(source, source->n);
    source->n++;
    return CAM_OK;
}

void cam_replay_source_set(struct cam_replay_source *source, double weight, double half_life) {
    source->weight = weight;
    if (source->half_life == half_life)
        return;
    source->half_life = half_life;
    for (size_t i = 0; i < source->n; i++)
        source->entries[i].mass = mass_after(source, i);
}

/* ---- drawing ---- */

/* Chance of a source, up to a factor common to all. */
static double chance(const struct cam_replay *replay, const struct cam_replay_mix *mix,
                     const struct cam_replay_source *source) {
    const struct cam_replay_entry *last = &source->entries[source->n - 1];
    double mass = last->mass * aged(source->half_life, replay->n - 1 - last->rank);
    return mass > 0 ? source->weight * pow(mass, mix->balance) : 0;
}

/* The source under POINT (0 .. 1) of all chances, the current one scaled; NULL if all are 0. */
static const struct cam_replay_source *draw_source(const struct cam_replay *replay,
                                                   const struct cam_replay_mix *mix,
                                                   const char *current, double point) {
    int known = 0;
    size_t at = current ? find_name(replay, current, &known) : 0;
    size_t i_current = known ? replay->by_name[at] : SIZE_MAX;
    double total = 0;
    const struct cam_replay_source *drawn = NULL;
    for (size_t i = 0; i < replay->n_sources; i++)
        total += chance(replay, mix, &replay->sources[i]) * (i == i_current ? mix->current : 1);
    if (total <= 0) {
        const struct cam_replay_source *only = known ? &replay->sources[i_current] : NULL;
        return only && chance(replay, mix, only) > 0 ? only : NULL;
    }
    double left = point * total;
    for (size_t i = 0; i < replay->n_sources; i++) {
        double share = chance(replay, mix, &replay->sources[i]) * (i == i_current ? mix->current : 1);
        if (share <= 0)
            continue;
        drawn = &replay->sources[i]; /* the last one takes what rounding leaves */
        if (left < share)
            break;
        left -= share;
    }
    return drawn;
}

/* Mass of entries up to I as it counts at the rank of the source's last one. */
static double mass_now(const struct cam_replay_source *source, size_t i) {
    const struct cam_replay_entry *e = &source->entries[i];
    return e->mass * aged(source->half_life, source->entries[source->n - 1].rank - e->rank);
}

int cam_replay_draw(const struct cam_replay *replay, const struct cam_replay_mix *mix,
                    const char *current, uint64_t seed, uint64_t step, uint32_t slot,
                    struct cam_replay_draw *draw) {
    struct cam_random random = cam_random_at(seed, CAM_PURPOSE_REPLAY, step, slot);
    const struct cam_replay_source *source =
        draw_source(replay, mix, current, cam_random_unit(random.word[0]));
    if (!source)
        return 0;
    double point = ((double)random.word[1] * 0x1p32 + (double)random.word[2]) * 0x1p-64 *
                   source->entries[source->n - 1].mass;
    size_t low = 0, high = source->n - 1; /* first entry that ends past the point */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mass_now(source, middle) > point)
            high = middle;
        else
            low = middle + 1;
    }
    double start = low ? mass_now(source, low - 1) : 0, end = mass_now(source, low);
    double place = end > start ? (point - start) / (end - start) : 0;
    *draw = (struct cam_replay_draw){.document = source->entries[low].document,
                                     .place = place < 0 ? 0 : place < 1 ? place : 0x1.fffffep-1};
    return 1;
}

size_t cam_replay_others(const struct cam_replay *replay, const struct cam_replay_mix *mix,
                         const char *source) {
    size_t n = 0;
    for (size_t i = 0; i < replay->n_sources; i++)
        n += chance(replay, mix, &replay->sources[i]) > 0 &&
             (!source || strcmp(replay->sources[i].name, source) != 0);
    return n;
}

/* ---- how much ---- */

size_t cam_replay_rows(const struct cam_replay_budget *budget, size_t n_sources, size_t n_rows,
                       uint64_t step, struct cam_replay_account *account) {
    double rows = budget->share * (double)n_rows;
    size_t n;
    if (budget->each <= 0) {
        n = (size_t)(floor(rows * (double)step) - floor(rows * (double)(step - 1)));
    } else {
        double asked = budget->each * fmax((double)n_sources, 1) * (double)n_rows;
        double allowed = floor(rows * (double)step) - (double)account->rows;
        double owed = account->owed + asked;
        n = (size_t)fmin(floor(owed), fmin((double)(n_rows - 1), fmax(allowed, 0)));
        account->owed = fmin(owed - (double)n, 1); /* what was refused is not made up for */
    }
    account->rows += n;
    return n;
}
