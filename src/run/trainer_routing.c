/* trainer_routing.c - which experts probes pick while they are scored: leak and drift.
 *
 * Counts only, from the forward passes that the evaluation runs anyway; a probe's tokens are those
 * it is scored on, each once. */
#include "run/trainer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cam_tally {
    uint64_t generations[CAM_MAX_GENERATIONS];
    uint64_t sketch[CAM_PEER_SKETCH];
};

void cam_routing_release(struct cam_routing *routing) {
    free(routing->tallies);
    *routing = (struct cam_routing){0};
}

void cam_routing_init(struct cam_routing *routing, struct cam_trainer *t) {
    size_t i_block = 0;
    *routing = (struct cam_routing){.trainer = t};
    for (; cam_trainer_pool(t, &i_block); i_block++)
        routing->n_pools++;
}

/* Room for the pools of probe I_PROBE, zeroed. */
static enum cam_status make_room(struct cam_routing *routing, size_t i_probe) {
    size_t need = (i_probe + 1) * routing->n_pools;
    if (need <= routing->n)
        return CAM_OK;
    size_t n = need > 2 * routing->n ? need : 2 * routing->n;
    struct cam_tally *tallies = realloc(routing->tallies, n * sizeof *tallies);
    if (!tallies)
        return cam_fail(CAM_ERR_OS, "out of memory for the picks of %zu probes", i_probe + 1);
    memset(tallies + routing->n, 0, (n - routing->n) * sizeof *tallies);
    routing->tallies = tallies;
    routing->n = n;
    return CAM_OK;
}

void cam_routing_count(struct cam_routing *routing, size_t i_probe, size_t from, size_t to,
                       const cam_real *weights) {
    size_t i_block = 0, i_pool = 0;
    if (routing->n_pools == 0 || routing->status != CAM_OK)
        return;
    routing->status = make_room(routing, i_probe);
    if (routing->status != CAM_OK)
        return;
    struct cam_tally *tally = routing->tallies + i_probe * routing->n_pools;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(routing->trainer, &i_block));
         i_block++, i_pool++)
        cam_peer_count_picks(ff, from, to, weights, tally[i_pool].generations,
                             tally[i_pool].sketch);
}

/* "[1,2,3]" of N counts, without zeros at the end; returns their sum. */
static int64_t write_counts(const uint64_t *count, size_t n, char *out, size_t out_bytes) {
    uint64_t sum = 0;
    size_t used = 1;
    while (n > 1 && count[n - 1] == 0)
        n--;
    strcpy(out, "[");
    for (size_t i = 0; i < n && used < out_bytes; i++) {
        used += (size_t)snprintf(out + used, out_bytes - used, "%s%llu", i ? "," : "",
                                 (unsigned long long)count[i]);
        sum += count[i];
    }
    if (used + 1 < out_bytes)
        strcpy(out + used, "]");
    return (int64_t)sum;
}

enum cam_status cam_routing_write(struct cam_routing *routing, int64_t evaluation,
                                  const struct cam_score *scores, size_t n_scores) {
    static const size_t generation_bytes = CAM_MAX_GENERATIONS * 21 + 3;
    static const size_t sketch_bytes = CAM_PEER_SKETCH * 21 + 3;
    struct cam_trainer *t = routing->trainer;
    size_t n = 0, room = n_scores * routing->n_pools;
    if (routing->status != CAM_OK || room == 0)
        return routing->status;
    struct cam_routing_row *rows = calloc(room, sizeof *rows);
    char *texts = malloc(room * (generation_bytes + sketch_bytes));
    for (size_t i = 0; rows && texts && i < n_scores; i++) {
        size_t i_block = 0, i_pool = 0;
        for (; cam_trainer_pool(t, &i_block); i_block++, i_pool++) {
            size_t at = i * routing->n_pools + i_pool;
            if (at >= routing->n)
                continue;
            char *generations = texts + n * (generation_bytes + sketch_bytes);
            char *sketch = generations + generation_bytes;
            int64_t picks = write_counts(routing->tallies[at].generations, CAM_MAX_GENERATIONS,
                                         generations, generation_bytes);
            (void)write_counts(routing->tallies[at].sketch, CAM_PEER_SKETCH, sketch, sketch_bytes);
            rows[n++] = (struct cam_routing_row){.probe = scores[i].probe,
                                                 .layer = (int)i_block,
                                                 .picks = picks,
                                                 .generations = generations,
                                                 .sketch = sketch};
        }
    }
    enum cam_status status =
        rows && texts ? cam_history_routing(t->database, evaluation, rows, n)
                      : cam_fail(CAM_ERR_OS, "out of memory for %zu rows of picks", room);
    free(rows);
    free(texts);
    return status;
}
