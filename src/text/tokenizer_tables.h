/* tokenizer_tables.h - what a tokenizer holds; for src/text/tokenizer*.c only. */
#ifndef CAM_TEXT_TOKENIZER_TABLES_H
#define CAM_TEXT_TOKENIZER_TABLES_H

#include "text/tokenizer.h"

#define CAM_TOKEN_END_OF_TEXT 256
#define CAM_TOKEN_FIRST_MERGE 257
#define CAM_TOKEN_NONE        0xFFFF

struct cam_merge {
    uint16_t left, right; /* ids below the merge's own, never a special one */
};

/* One slot of an open-addressed table from pairs to merges. */
struct cam_merge_slot {
    uint16_t left, right;
    uint16_t id; /* CAM_TOKEN_NONE: empty */
};

struct cam_tokenizer {
    size_t vocabulary;
    struct cam_hash hash;         /* of the canonical file */
    struct cam_merge *merges;     /* [vocabulary - 257], rank order; NULL in `bytes` */
    struct cam_merge_slot *slots; /* [slot_mask + 1], a power of two, at most half full */
    size_t slot_mask;
    uint32_t *offsets; /* [vocabulary + 1] into token_bytes */
    unsigned char *token_bytes;
};

/* Makes a tokenizer of N_MERGES merges (copied; 0 with NULL: kind `bytes`).  CAM_ERR_DATA names
 * the first merge that is impossible: a part not yet defined or special, a pair met before, a
 * token longer than a word. */
CAM_MUST_USE enum cam_status cam_tokenizer_from_merges(const struct cam_merge *merges,
                                                       size_t n_merges,
                                                       struct cam_tokenizer **tokenizer);

#endif
