/* ingest_bench.h - how fast documents come in, on one core: reading alone, and reading with all
 * that admission does (duplicates, near duplicates, compression, the transaction, its fsync).
 *
 * The process stays on one processor while it measures, so the reader and the database thread take
 * turns as they would on a machine of one core.  Each journalling starts with an empty workspace in
 * a folder of its own below $TMPDIR (or /tmp), removed afterwards: where that is a disk in memory,
 * its fsync costs nothing. */
#ifndef CAM_BENCH_INGEST_BENCH_H
#define CAM_BENCH_INGEST_BENCH_H

#include "base/status.h"
#include "bench/timing.h"

#include <stddef.h>
#include <stdint.h>

enum cam_ingest_form { CAM_INGEST_NDJSON, CAM_INGEST_ATOM };

struct cam_ingest_stream {
    char *bytes; /* owned */
    size_t n_bytes;
    const char *content_type; /* static, or NULL: found by looking */
};

/* N_DOCUMENTS of about DOCUMENT_BYTES of text each: words of a made-up vocabulary of 8,192, the
 * r-th as frequent as 1/r, in sentences and paragraphs; Atom has them as HTML.  The same arguments
 * give the same bytes, and both forms the same documents. */
CAM_MUST_USE enum cam_status cam_ingest_stream_make(enum cam_ingest_form form, size_t n_documents,
                                                    size_t document_bytes, uint64_t seed,
                                                    struct cam_ingest_stream *stream);
void cam_ingest_stream_release(struct cam_ingest_stream *stream);

struct cam_ingest_result {
    const char *format; /* static: the name of the reader that took it */
    int64_t n_documents, n_journalled, n_quarantined; /* the others were duplicates */
    /* seconds for the whole stream: by the clock, and of processor time */
    struct cam_timing read, read_cpu, journal, journal_cpu;
};

/* Errors: those of the reader (a stream no format fits), of making a folder and a workspace in it.
 */
CAM_MUST_USE enum cam_status cam_ingest_bench(const struct cam_ingest_stream *stream,
                                              size_t n_repeats, struct cam_ingest_result *result);

#endif
