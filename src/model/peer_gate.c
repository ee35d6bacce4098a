/* peer_gate.c - the sparse-update gate: which of the experts that a batch picked may move.
 *
 * An expert that the batch picks often and earlier steps picked rarely is where new knowledge can
 * go without cost to the old; one that every step picks serves everybody.  TF-IDF says so (Lin et
 * al. 2025, arXiv 2510.15103, section 3):
 *
 *     score(e) = picks(e) / all picks * log((steps + 1) / (steps that picked e + 1))
 *
 * over the steps before this one.  All picks are the same number for every expert, so scores here
 * go without it. */
#include "model/peer.h"

#include <math.h>

double cam_peer_gate_score(uint32_t n_picks, uint32_t n_steps, uint64_t step) {
    return n_picks * log((double)step / ((double)n_steps + 1));
}

static int before(const struct cam_peer_candidate *a, const struct cam_peer_candidate *b) {
    return a->score > b->score || (a->score == b->score && a->expert < b->expert);
}

static void swap(struct cam_peer_candidate *a, struct cam_peer_candidate *b) {
    struct cam_peer_candidate c = *a;
    *a = *b;
    *b = c;
}

/* Hoare's selection with the middle one as pivot.  The order is total, so which one is found does
 * not depend on how they lie. */
struct cam_peer_candidate cam_peer_gate_last(struct cam_peer_candidate *c, size_t n, size_t k) {
    size_t from = 0, to = n - 1;
    while (from < to) {
        struct cam_peer_candidate pivot = c[from + (to - from) / 2];
        size_t i = from, j = to;
        for (;;) {
            while (before(&c[i], &pivot))
                i++;
            while (before(&pivot, &c[j]))
                j--;
            if (i >= j)
                break;
            swap(&c[i++], &c[j--]);
        }
        /* Now [from, j] come before [j + 1, to], or c[j] is the pivot between them. */
        if (k - 1 <= j)
            to = j;
        else
            from = j + 1;
    }
    return c[from];
}

int cam_peer_gate_passes(const struct cam_peer_candidate *last, uint64_t expert, double score) {
    return !before(last, &(struct cam_peer_candidate){score, expert});
}
