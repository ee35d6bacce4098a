/* lifelong.h - the lifelong benchmark: what a stream of domains teaches, and what it costs the
 * domains before.
 *
 * An arm is one way to learn: a policy and a few settings.  Every arm of a benchmark gets the same
 * documents, trunk, batch, learning-rate schedule and seed, and differs in what its row says.  A
 * run (arm, seed) is an ordinary workspace: documents of a domain, a flush, an evaluation of all
 * probes, the next domain.  So a run that was killed goes on from its last checkpoint, and its
 * history can be read with sqlite3 like any other.
 *
 * R[i][j] is the score, in bits per byte, of domain j's probe after stage i (0: before any
 * document; domains count from 1 in order of first appearance).  With n domains
 *     final      = mean over j of R[n][j]
 *     learned    = mean over j of R[j][j]                               (plasticity)
 *     forgetting = mean over j < n of R[n][j] - min over j <= i <= n of R[i][j]
 *                                                      (Chaudhry et al. 2018, 1801.10112, for
 * losses) bwt        = mean over j < n of R[n][j] - R[j][j]; positive is forgetting fwt        =
 * mean over j > 1 of R[j-1][j] - R[0][j]; negative is transfer (Lopez-Paz & Ranzato 2017,
 * 1706.08840) The oracle `joint` reads all domains shuffled together, so it has R[0] and R[n]
 * alone, and NaN where a stage is needed. */
#ifndef CAM_BENCH_LIFELONG_H
#define CAM_BENCH_LIFELONG_H

#include "base/settings.h"
#include "base/status.h"
#include "flow.h"

#include <stddef.h>
#include <stdint.h>

/* ---- the stream ---- */

#define CAM_LIFELONG_DOMAINS     64
#define CAM_LIFELONG_PROBE_BYTES 65536 /* of one domain's probe */

struct cam_lifelong_document {
    char *id, *url, *title, *published; /* owned; NULL where absent */
    char *text;
    size_t text_bytes;
    size_t i_domain;
};

/* Documents in order, and the names of their domains in order of first appearance. */
struct cam_lifelong_stream {
    struct cam_lifelong_document *documents;
    size_t n_documents, capacity;
    char *domains[CAM_LIFELONG_DOMAINS];
    size_t n_domains;
};

/* A sink that appends copies to STREAM (zeroed before the first).  Documents without a domain, and
 * domains past CAM_LIFELONG_DOMAINS, are CAM_ERR_DATA; a malformed entry is, too. */
struct cam_document_sink cam_lifelong_sink(struct cam_lifelong_stream *stream);
void cam_lifelong_stream_release(struct cam_lifelong_stream *stream);

/* Keeps every k-th document of a domain, k the least that brings it to BUDGET bytes or fewer; at
 * least its first.  0: everything. */
void cam_lifelong_budget(struct cam_lifelong_stream *stream, size_t budget);
/* Keeps the first documents of each domain that fit in CAM_LIFELONG_PROBE_BYTES, at least one. */
void cam_lifelong_cap_probes(struct cam_lifelong_stream *heldout);

/* ---- arms ---- */

struct cam_lifelong_arm {
    const char *name, *what; /* WHAT: half a sentence for people */
    const char *policy;
    const char *settings; /* "key=value key=value", after the user's */
    int shuffled;         /* all domains together */
    int final_size;       /* begins with the sub-keys `lifelong` ended with */
};

/* The i-th arm there is, NULL past the last: those of the table, then every other bundled policy
 * under its own name. */
const struct cam_lifelong_arm *cam_lifelong_arm(size_t i);
/* CAM_ERR_USAGE lists the arms. */
CAM_MUST_USE enum cam_status cam_lifelong_arm_find(const char *name,
                                                   const struct cam_lifelong_arm **arm);

/* ---- running ---- */

struct cam_lifelong_plan {
    const struct cam_lifelong_stream *stream, *heldout;
    const char *dir; /* made if missing: a workspace, a log and a result a run */
    const struct cam_lifelong_arm *const *arms; /* ended by NULL */
    const struct cam_settings *settings;        /* of all arms; their seed is the first seed */
    size_t n_seeds;
    size_t n_jobs; /* runs at a time, each in a process of its own */
    int keep;      /* leave workspaces of finished runs */
    /* A line of talk about a run that starts or ends; may be NULL. */
    void (*say)(void *context, const char *line);
    void *context;
};

struct cam_lifelong_result {
    const struct cam_lifelong_arm *arm;
    int64_t seed;
    size_t n_domains;
    double r[CAM_LIFELONG_DOMAINS + 1][CAM_LIFELONG_DOMAINS]; /* NaN where not measured */
    double final_bpb, learned_bpb, forgetting, bwt, fwt, prequential_bpb;
    int64_t experts, subkeys, tokens, replay_tokens, steps;
    double flops_per_token, tokens_per_s, seconds, state_bytes;
};

/* Runs what has no result in DIR yet, and reads all results into *RESULTS (owned by the caller:
 * free; arm by arm, seed by seed).  CAM_ERR_DATA: DIR holds results of another plan. */
CAM_MUST_USE enum cam_status cam_lifelong_run(const struct cam_lifelong_plan *plan,
                                              struct cam_lifelong_result **results,
                                              size_t *n_results);

/* Fills the means from R. */
void cam_lifelong_measure(struct cam_lifelong_result *result);

/* R of every arm (mean over seeds) as heat maps in one SVG file.  CAM_ERR_IO names the file. */
CAM_MUST_USE enum cam_status cam_lifelong_heat_map(const struct cam_lifelong_stream *stream,
                                                   const struct cam_lifelong_result *results,
                                                   size_t n_results, const char *path);

#endif
