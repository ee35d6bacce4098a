/* html_blocks.h - the blocks html.c sets text in, for html_main.c to choose from. */
#ifndef CAM_FEED_HTML_BLOCKS_H
#define CAM_FEED_HTML_BLOCKS_H

#include "base/buffer.h"
#include "base/status.h"

#include <stddef.h>

struct cam_html_block {
    size_t start, end; /* bytes of the text, from the first of its line to behind its last */
    unsigned n_words, n_link_words;
    unsigned char is_heading, is_pre, in_main; /* in_main: within <article> or <main> */
    unsigned char keep;                        /* for html_main.c */
};

/* Owned by the caller, who zeroes it and frees BLOCK. */
struct cam_html_blocks {
    struct cam_html_block *block;
    size_t n_blocks, capacity;
};

/* As cam_html_page_to_text without its fallback; BLOCKS (may be NULL) gets the blocks of what was
 * appended. */
CAM_MUST_USE enum cam_status cam_html_set(const char *html, size_t n_bytes, struct cam_buffer *text,
                                          struct cam_html_blocks *blocks);

#endif
