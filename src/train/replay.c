#include "train/replay.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

void cam_replay_release(struct cam_replay *replay) {
    free(replay->documents);
    free(replay->ends);
    *replay = (struct cam_replay){0};
}

enum cam_status cam_replay_add(struct cam_replay *replay, int64_t document, int64_t bytes) {
    if (replay->n == replay->capacity) {
        size_t capacity = replay->capacity ? replay->capacity * 2 : 256;
        int64_t *documents = realloc(replay->documents, capacity * sizeof *documents);
        if (documents)
            replay->documents = documents;
        uint64_t *ends = realloc(replay->ends, capacity * sizeof *ends);
        if (ends)
            replay->ends = ends;
        if (!documents || !ends)
            return cam_fail(CAM_ERR_OS, "out of memory for %zu replay documents", capacity);
        replay->capacity = capacity;
    }
    uint64_t before = replay->n ? replay->ends[replay->n - 1] : 0;
    replay->documents[replay->n] = document;
    replay->ends[replay->n++] = before + (bytes > 0 ? (uint64_t)bytes : 1);
    return CAM_OK;
}

struct cam_replay_draw cam_replay_draw(const struct cam_replay *replay, uint64_t seed,
                                       uint64_t step, uint32_t slot) {
    struct cam_random random = cam_random_at(seed, CAM_PURPOSE_REPLAY, step, slot);
    uint64_t byte = cam_random_below(random, replay->ends[replay->n - 1]);
    size_t low = 0, high = replay->n - 1; /* first end past the byte */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (replay->ends[middle] > byte)
            high = middle;
        else
            low = middle + 1;
    }
    uint64_t start = low ? replay->ends[low - 1] : 0;
    return (struct cam_replay_draw){.document = replay->documents[low],
                                    .place = (double)(byte - start) /
                                             (double)(replay->ends[low] - start)};
}

size_t cam_replay_rows(double share, size_t n_rows, uint64_t step) {
    double rows = share * (double)n_rows;
    return (size_t)(floor(rows * (double)step) - floor(rows * (double)(step - 1)));
}
