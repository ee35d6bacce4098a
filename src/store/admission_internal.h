/* admission_internal.h - the rules of admission that have a file of their own; all run on the
 * database thread, in the transaction that journals the documents (admission.c). */
#ifndef CAM_STORE_ADMISSION_INTERNAL_H
#define CAM_STORE_ADMISSION_INTERNAL_H

#include "store/journal.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

/* ---- near.c: near duplicates ---- */

/* The entry a document is a version of: its earlier versions are not held against it. */
struct cam_near_entry {
    int64_t feed;       /* 0: ingested */
    const char *source; /* of ingested ones */
    const char *guid;   /* NULL: it is no version of anything */
};

struct cam_near_match {
    int64_t document; /* the oldest within reach; 0: none */
    int distance;     /* differing bits */
};

/* Looks among the documents that were admitted (trained or held out) for one whose SimHash differs
 * in at most MAX_BITS (0..3) bits and whose number is less than BEFORE. */
CAM_MUST_USE enum cam_status cam_near_find(sqlite3 *sqlite, uint64_t simhash, int max_bits,
                                           const struct cam_near_entry *entry, int64_t before,
                                           struct cam_near_match *match);
CAM_MUST_USE enum cam_status cam_near_add(sqlite3 *sqlite, int64_t document, uint64_t simhash);

/* ---- share.c: the share of one feed ---- */

/* The newest documents admitted with numbers less than BEFORE, oldest first, as a ring; loaded once a
 * transaction. */
struct cam_share {
    int64_t *bytes; /* owned; negative: of the feed in question */
    size_t capacity, n, oldest;
    int64_t total, own; /* bytes */
};

CAM_MUST_USE enum cam_status cam_share_load(sqlite3 *sqlite, int64_t feed, int64_t window,
                                            int64_t before, struct cam_share *share);
void cam_share_release(struct cam_share *share);
/* The share the feed would have with a further document of N_BYTES.  A window that is not full yet
 * counts as filled up with documents of other feeds of the same mean size, so the first documents
 * of a young workspace are not held back. */
double cam_share_with(const struct cam_share *share, int64_t n_bytes);
/* Takes note of an admitted document of the feed. */
void cam_share_add(struct cam_share *share, int64_t n_bytes);

/* ---- entry_page.c: entries told from their page ---- */

CAM_MUST_USE enum cam_status cam_entry_page_find(sqlite3 *sqlite, int64_t feed, const char *entry,
                                                 int *known);
/* DOCUMENT: its number, or 0 where its text had been journalled before. */
CAM_MUST_USE enum cam_status cam_entry_page_add(sqlite3 *sqlite, int64_t feed, int64_t document,
                                                const struct cam_page_outcome *page);

/* ---- admission.c, for forget.c ---- */

/* What admission would decide had the documents that are gone never been journalled. */
struct cam_admission_review {
    int64_t first; /* document whose use changes: trained on or not, probe or not; 0: none */
    int64_t n;     /* how many there are */
};
/* Judges every document after AFTER again, in order, and writes down what comes of it.  Documents
 * that a person dropped and texts of file probes stay what they are. */
CAM_MUST_USE enum cam_status cam_admission_again(sqlite3 *sqlite, int64_t after,
                                                 struct cam_admission_review *review);

/* ---- forget.c ---- */

/* Whether the text was forgotten: then this arrival is noted, and it is not to come in again. */
CAM_MUST_USE enum cam_status cam_forget_refuses(sqlite3 *sqlite, const char *text, size_t n_bytes,
                                                int *refused);

/* ---- feeds.c ---- */

/* Writes down what a poll left behind. */
CAM_MUST_USE enum cam_status cam_feeds_store_poll(sqlite3 *sqlite, int64_t feed,
                                                  const struct cam_poll *poll);

#endif
