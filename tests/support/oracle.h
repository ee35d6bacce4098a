/* oracle.h - what PyTorch computed (tools/oracle), for tests to compare the library with.
 *
 * tests/golden/oracle/CASE.bin is a row of named matrices of doubles.  Tensors called value.X are
 * where the library starts: X is a parameter's name, or that of a pool's rows.  rule.X is its
 * learning rate scale and whether it decays.  Everything else is what must come out.
 *
 * The same tests run with the library in double and in float: inputs are exact in float, and the
 * scores on both sides of every cut are at least ORACLE_MIN_GAP apart, so both pick the same
 * experts.  Functions here end the test where something is wrong. */
#ifndef CAM_TESTS_SUPPORT_ORACLE_H
#define CAM_TESTS_SUPPORT_ORACLE_H

#include "model/model.h"

#include <stddef.h>
#include <stdint.h>

#ifdef CAM_DOUBLE
#define ORACLE_TOLERANCE 1e-10
#else
#define ORACLE_TOLERANCE 1e-4
#endif
#define ORACLE_MIN_GAP 1e-3
#define ORACLE_STEPS   10
#define ORACLE_MAX_FF  8

/* As it lies in the file (little-endian). */
struct oracle_tensor {
    char name[48]; /* NUL-padded */
    uint32_t rows, cols;
    double value[]; /* (rows, cols) */
};

struct oracle {
    char name[32]; /* of the case */
    char *bytes;   /* owned */
    size_t n_bytes;
};

void oracle_open(struct oracle *oracle, const char *name);
void oracle_close(struct oracle *oracle);
/* Borrowed; the plain one needs it to be there, `maybe` returns NULL. */
const struct oracle_tensor *oracle_find(const struct oracle *oracle, const char *name);
const struct oracle_tensor *oracle_maybe(const struct oracle *oracle, const char *name);
double oracle_number(const struct oracle *oracle, const char *name); /* of a 1 x 1 */
size_t oracle_count(const struct oracle *oracle, const char *name);  /* the same, whole */
/* A copy as reals; the caller frees. */
cam_real *oracle_reals(const struct oracle *oracle, const char *name);

/* GOT (rows, cols) agrees with NAME: every element to ORACLE_TOLERANCE of the larger of its own
 * size and the tensor's root mean square. */
void oracle_compare(const struct oracle *oracle, const char *name, const cam_real *got, size_t rows,
                    size_t cols);

/* What the tensors of a case belong to. */
struct oracle_subject {
    struct cam_params *params;
    struct cam_ff *ff[ORACLE_MAX_FF];
    size_t n_ff;
};
/* Sets values and rules; every tensor must have a place and every parameter a tensor. */
void oracle_load(const struct oracle *oracle, const struct oracle_subject *subject);
/* Compares all values with PREFIX.X, all gradients of the last backward with grad.X. */
void oracle_compare_values(const struct oracle *oracle, const char *prefix,
                           const struct oracle_subject *subject);
void oracle_compare_gradients(const struct oracle *oracle, const struct oracle_subject *subject);

/* One feed-forward layer with its inputs. */
struct oracle_layer {
    struct oracle oracle;
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_params params;
    struct oracle_subject subject; /* one ff */
    struct cam_pass pass;
    size_t n, width;
    cam_real *x, *dy, *y, *dx; /* (n, width) */
};
/* Case NAME's layer of kind KIND, loaded; REFERENCE: in plain loops. */
void oracle_layer_open(struct oracle_layer *layer, const char *name, const char *kind,
                       int reference);
void oracle_layer_close(struct oracle_layer *layer);
void oracle_layer_forward(struct oracle_layer *layer, int training); /* resets the arena */
void oracle_layer_backward(struct oracle_layer *layer);              /* gradients start at zero */

/* A whole model and its batch. */
struct oracle_model {
    struct oracle oracle;
    struct cam_threads *threads;
    struct cam_arena arena;
    struct cam_model *model;
    struct oracle_subject subject;
    size_t n_sequences, t;
    uint16_t *tokens, *targets; /* (n_sequences, t) */
    cam_real *weights;
};
/* FF: the slot of each block. */
void oracle_model_open(struct oracle_model *model, const char *name, const char *const *ff,
                       int reference);
void oracle_model_close(struct oracle_model *model);

#endif
