/* made_by.h - what computes: the build, the libraries and the processor that bits depend on.
 *
 * The same bits are promised for the same of all these (README, "exactly once").  Where a workspace
 * goes on under others the service does not stop, but it says so and writes it down, since from
 * there on a replay elsewhere may differ.  The number of threads is not among them: it
 * never changes a bit. */
#ifndef CAM_RUN_MADE_BY_H
#define CAM_RUN_MADE_BY_H

#include "base/status.h"
#include "math/blas.h"
#include "store/workspace.h"

/* One line, for a model with PRODUCTS; OpenBLAS has to be open (cam_blas_open). */
void cam_made_by(enum cam_products products, char text[CAM_MADE_BY_BYTES]);

/* Writes it down in WORKSPACE, which is open for writing, and warns if it was something else, or if
 * PRODUCTS are slow here. */
CAM_MUST_USE enum cam_status cam_made_by_note(struct cam_workspace *workspace,
                                              enum cam_products products);

#endif
