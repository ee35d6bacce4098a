#include "train/optimizer.h"

#include "math/blas.h"
#include "math/vector.h"

#include <math.h>
#include <string.h>

/* Numbers a block in the elementwise phases; fixed, so sums have one order. */
#define CHUNK 32768

/* A run of one parameter's numbers, or (Muon) a column group of one matrix. */
struct piece {
    struct cam_param *param;
    size_t from, to; /* elements, or columns */
};

struct job {
    const struct cam_optimizer *o;
    struct piece *pieces;
    double *sums;
    cam_real **scratch; /* by worker */
};

/* Is this a matrix that Muon orthogonalises?  Frozen ones are left to AdamW's row arithmetic. */
static int orthogonal(const struct cam_optimizer *o, const struct cam_param *p) {
    return o->kind == CAM_OPTIMIZER_MUON && p->rows > 1 && p->frozen_rows == 0 &&
           (p->part == CAM_PART_TRUNK || p->part == CAM_PART_QUERY);
}

/* Column groups of a matrix that are matrices of their own: q, k, v lie side by side. */
static size_t n_groups(const struct cam_param *p) {
    return p->n_groups ? p->n_groups : 1;
}

static size_t list_chunks(const struct cam_params *params, const struct cam_optimizer *o,
                          struct piece *pieces) {
    size_t n = 0;
    for (size_t i = 0; i < params->n; i++) {
        struct cam_param *p = params->items[i];
        if (o && orthogonal(o, p))
            continue;
        size_t from = o ? p->frozen_rows * p->cols : 0, end = p->rows * p->cols;
        for (; from < end; from += CHUNK, n++)
            if (pieces)
                pieces[n] = (struct piece){p, from, from + CHUNK < end ? from + CHUNK : end};
    }
    return n;
}

static void sum_block(void *context, size_t i, size_t i_worker) {
    (void)i_worker;
    struct job *job = context;
    const struct piece *piece = &job->pieces[i];
    job->sums[i] = cam_sum_squares(piece->param->grad + piece->from, piece->to - piece->from);
}

double cam_grad_norm(const struct cam_params *params, struct cam_threads *threads,
                     struct cam_arena *arena) {
    size_t n = list_chunks(params, NULL, NULL);
    struct job job = {.pieces = cam_arena_alloc(arena, n * sizeof *job.pieces),
                      .sums = cam_arena_alloc(arena, n * sizeof *job.sums)};
    list_chunks(params, NULL, job.pieces);
    cam_threads_run(threads, n, sum_block, &job);
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += job.sums[i];
    return sqrt(total);
}

static void adamw_block(void *context, size_t i, size_t i_worker) {
    (void)i_worker;
    struct job *job = context;
    const struct cam_optimizer *o = job->o;
    const struct piece *piece = &job->pieces[i];
    struct cam_param *p = piece->param;
    struct cam_adamw adamw = {
        .lr = (cam_real)(o->lr * p->lr_scale),
        .beta1 = (cam_real)o->beta1,
        .beta2 = (cam_real)o->beta2,
        .epsilon = (cam_real)o->epsilon,
        .weight_decay = (cam_real)(p->decay ? o->weight_decay : 0),
        .correction1 = (cam_real)(1 - pow(o->beta1, (double)o->step)),
        .correction2 = (cam_real)(1 - pow(o->beta2, (double)o->step)),
        .grad_scale = (cam_real)o->grad_scale,
    };
    size_t from = piece->from;
    cam_adamw_rows(&adamw, p->value + from, p->grad + from, p->m + from, p->v + from,
                   piece->to - from);
}

/* Four, not the usual five: singular values of 0.01 and more of the norm still land in 0.7-1.1, and
 * a fifth round costs as much as each of them. */
#define NEWTON_SCHULZ_ROUNDS 4

/* X (r, c) row-major, r <= c, becomes roughly U V^T of its SVD: quintic Newton-Schulz with the
 * coefficients of Jordan et al. 2024.  WORK holds 2 r r + r c numbers. */
static void orthogonalise(enum cam_products products, cam_real *x, size_t r, size_t c,
                          cam_real *work) {
    const cam_real a0 = (cam_real)3.4445, a1 = (cam_real)-4.7750, a2 = (cam_real)2.0315;
    cam_real *gram = work, *poly = work + r * r, *next = work + 2 * r * r;
    cam_real scale = (cam_real)(1 / (sqrt(cam_sum_squares(x, r * c)) + 1e-7));
    for (size_t i = 0; i < r * c; i++)
        x[i] *= scale;
    for (int round = 0; round < NEWTON_SCHULZ_ROUNDS; round++) {
        cam_gram(products, r, c, 1, x, c, gram, r);
        cam_gram(products, r, r, a2, gram, r, poly,
                 r); /* the Gram matrix is symmetric: its square too */
        cam_axpy(a1, gram, poly, r * r);
        memcpy(next, x, r * c * sizeof *x);
        cam_gemm(products, CAM_PLAIN, CAM_PLAIN, r, c, r, 1, poly, r, x, c, a0, next, c);
        memcpy(x, next, r * c * sizeof *x);
    }
}

static void muon_block(void *context, size_t i, size_t i_worker) {
    struct job *job = context;
    const struct cam_optimizer *o = job->o;
    const struct piece *piece = &job->pieces[i];
    struct cam_param *p = piece->param;
    size_t rows = p->rows, cols = piece->to - piece->from, ld = p->cols;
    int flip = rows > cols; /* work on the wide orientation */
    size_t r = flip ? cols : rows, c = flip ? rows : cols;
    cam_real *x = job->scratch[i_worker], mu = (cam_real)o->momentum;
    cam_real gs = (cam_real)o->grad_scale;
    for (size_t row = 0; row < rows; row++)
        for (size_t col = 0; col < cols; col++) {
            size_t at = row * ld + piece->from + col;
            cam_real g = p->grad[at] * gs;
            p->m[at] = mu * p->m[at] + (1 - mu) * g;
            cam_real nesterov = mu * p->m[at] + (1 - mu) * g;
            x[flip ? col * rows + row : row * cols + col] = nesterov;
        }
    orthogonalise(o->products, x, r, c, x + r * c);
    cam_real lr = (cam_real)(o->lr * p->lr_scale);
    cam_real size = (cam_real)(0.2 * sqrt((double)c)), wd = (cam_real)o->weight_decay;
    for (size_t row = 0; row < rows; row++)
        for (size_t col = 0; col < cols; col++) {
            cam_real *w = p->value + row * ld + piece->from + col;
            *w -= lr * (size * x[flip ? col * rows + row : row * cols + col] + wd * *w);
        }
}

static size_t list_matrices(const struct cam_params *params, const struct cam_optimizer *o,
                            struct piece *pieces, size_t *scratch_numbers) {
    size_t n = 0;
    for (size_t i = 0; i < params->n; i++) {
        struct cam_param *p = params->items[i];
        if (!orthogonal(o, p))
            continue;
        for (size_t g = 0, from = 0; g < n_groups(p); g++, n++) {
            size_t cols = p->n_groups ? p->group_cols[g] : p->cols;
            size_t r = p->rows < cols ? p->rows : cols, c = p->rows < cols ? cols : p->rows;
            if (2 * r * c + 2 * r * r > *scratch_numbers)
                *scratch_numbers = 2 * r * c + 2 * r * r;
            if (pieces)
                pieces[n] = (struct piece){p, from, from + cols};
            from += cols;
        }
    }
    return n;
}

void cam_optimizer_step(const struct cam_optimizer *o, struct cam_params *params,
                        struct cam_threads *threads, struct cam_arena *arena) {
    size_t n = list_chunks(params, o, NULL), scratch_numbers = 0;
    struct job job = {.o = o, .pieces = cam_arena_alloc(arena, (n + 1) * sizeof *job.pieces)};
    list_chunks(params, o, job.pieces);
    cam_threads_run(threads, n, adamw_block, &job);

    n = list_matrices(params, o, NULL, &scratch_numbers);
    if (n == 0)
        return;
    size_t workers = (size_t)cam_threads_count(threads);
    job.pieces = cam_arena_alloc(arena, n * sizeof *job.pieces);
    list_matrices(params, o, job.pieces, &scratch_numbers);
    job.scratch = cam_arena_alloc(arena, workers * sizeof *job.scratch);
    for (size_t i = 0; i < workers; i++)
        job.scratch[i] = cam_arena_alloc(arena, scratch_numbers * sizeof(cam_real));
    cam_threads_run(threads, n, muon_block, &job);
}
