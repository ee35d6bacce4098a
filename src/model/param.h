/* param.h - dense parameters: the trunk, the routers, the sub-keys.
 *
 * A parameter is a row-major matrix (rows, cols) that may grow by appending rows up to
 * `rows_capacity`, which is allocated (but not touched) from the start: rows never move.  Its
 * gradient and AdamW moments have the same shape.  Expert rows are not here: they live in
 * model/pool.h with an optimiser of their own. */
#ifndef CAM_MODEL_PARAM_H
#define CAM_MODEL_PARAM_H

#include "base/status.h"
#include "math/real.h"

#include <stdint.h>

/* What can be frozen, anchored or given its own learning rate as a whole. */
enum cam_part {
    CAM_PART_EMBEDDING,
    CAM_PART_TRUNK,  /* attention, dense feed-forward */
    CAM_PART_NORM,
    CAM_PART_QUERY,  /* query projections of routers */
    CAM_PART_SUBKEY, /* codebooks */
    CAM_N_PARTS
};

const char *cam_part_name(enum cam_part part);

struct cam_param {
    char name[48]; /* "block3.attention.query"; unique */
    enum cam_part part;
    size_t rows, cols, rows_capacity;
    cam_real *value, *grad, *m, *v; /* (rows_capacity, cols) each; owned */
    cam_real *average;              /* likewise, or NULL: see model/average.h */
    size_t averaged_rows;           /* that average holds */
    cam_real *centre;               /* likewise, or NULL, as the next two: see model/anchor.h */
    cam_real *fisher, *importance;
    double lr_scale;                /* times the trunk's learning rate */
    int decay;                      /* 1: weight decay applies */
    size_t frozen_rows;             /* the first so many rows are never updated */
    size_t n_groups;                /* column groups that are matrices of their own; 0: one */
    size_t group_cols[3];           /* their widths, e.g. queries, keys, values */
};

struct cam_params {
    struct cam_param **items; /* owned; a param never moves once added */
    size_t n;
};

void cam_params_init(struct cam_params *params);
void cam_params_release(struct cam_params *params);

/* Adds a zeroed parameter; *PARAM is borrowed from PARAMS. */
CAM_MUST_USE enum cam_status cam_params_add(struct cam_params *params, const char *name,
                                            enum cam_part part, size_t rows, size_t cols,
                                            size_t rows_capacity, struct cam_param **param);

/* Fills rows [ROW_FROM, ROW_TO) with normals of standard deviation SCALE; a function of (seed, the
 * parameter's name, element) alone. */
void cam_param_fill_normal(struct cam_param *param, uint64_t seed, size_t row_from, size_t row_to,
                           double scale);
void cam_param_fill(struct cam_param *param, cam_real value);

/* model/average.h's part for one parameter: a copy of the values, more of it, no copy. */
CAM_MUST_USE enum cam_status cam_param_average_begin(struct cam_param *param);
void cam_param_average_extend(struct cam_param *param);
void cam_param_average_end(struct cam_param *param);
/* model/anchor.h's part: a centre that pulls nothing; Fisher estimate and importance, both 0. */
CAM_MUST_USE enum cam_status cam_param_anchor_keep(struct cam_param *param, int centre, int fisher);

size_t cam_params_count(const struct cam_params *params); /* numbers in use */
void cam_params_zero_grad(struct cam_params *params);

#endif
