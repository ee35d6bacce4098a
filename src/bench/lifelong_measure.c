#include "bench/lifelong.h"

#include <math.h>

static double mean_of(double sum, size_t n) {
    return n ? sum / (double)n : NAN;
}

/* Domains are numbered from 1 in R's first index, from 0 in its second. */
void cam_lifelong_measure(struct cam_lifelong_result *x) {
    size_t n = x->n_domains;
    double final = 0, learned = 0, forgotten = 0, bwt = 0, fwt = 0;
    for (size_t j = 0; j < n; j++) {
        double best = INFINITY, end = x->r[n][j];
        for (size_t i = j + 1; i <= n; i++)
            best = fmin(best, isnan(x->r[i][j]) ? NAN : x->r[i][j]);
        final += end;
        learned += x->r[j + 1][j];
        if (j + 1 < n) {
            forgotten += end - best;
            bwt += end - x->r[j + 1][j];
        }
        if (j > 0)
            fwt += x->r[j][j] - x->r[0][j];
    }
    x->final_bpb = mean_of(final, n);
    x->learned_bpb = mean_of(learned, n);
    x->forgetting = mean_of(forgotten, n - 1);
    x->bwt = mean_of(bwt, n - 1);
    x->fwt = mean_of(fwt, n - 1);
    if (isnan(x->learned_bpb)) /* no stages: nothing was forgotten or carried over */
        x->forgetting = x->bwt = x->fwt = NAN;
}
