/* The rule of the paper looks at a block, the one before and the one after: three passes over a
 * flat list, whatever the page. */
#include "feed/html.h"
#include "feed/html_blocks.h"

#include <stdlib.h>
#include <string.h>

/* Densities and counts of the paper's decision tree. */
#define MAX_LINK_SHARE      (1.0 / 3)
#define MAX_LINK_SHARE_PREV (5.0 / 9)
#define MAX_BRIDGE_BLOCKS   60 /* short lines in a row that two kept blocks may hold between them */

static double link_share(const struct cam_html_block *b) {
    return b->n_words ? (double)b->n_link_words / b->n_words : 0;
}

/* Algorithm 2; absent neighbours have no words. */
static int is_content(const struct cam_html_block *prev, const struct cam_html_block *b,
                      const struct cam_html_block *next) {
    if (link_share(b) > MAX_LINK_SHARE)
        return 0;
    if (link_share(prev) <= MAX_LINK_SHARE_PREV) {
        if (b->n_words > 16)
            return 1;
        return next->n_words > 15 || prev->n_words > 4;
    }
    return b->n_words > 40 || next->n_words > 17;
}

static void classify(struct cam_html_blocks *blocks) {
    static const struct cam_html_block none;
    for (size_t i = 0; i < blocks->n_blocks; i++) {
        struct cam_html_block *b = &blocks->block[i];
        b->keep = (unsigned char)is_content(i ? b - 1 : &none, b,
                                            i + 1 < blocks->n_blocks ? b + 1 : &none);
        b->keep |= b->is_pre && link_share(b) <= MAX_LINK_SHARE;
    }
}

/* What is in <article> or <main> is the text, if enough of it is there. */
static void prefer_main(struct cam_html_blocks *blocks) {
    size_t n_main = 0, n_all = 0;
    for (size_t i = 0; i < blocks->n_blocks; i++)
        if (blocks->block[i].keep) {
            n_all += blocks->block[i].n_words;
            n_main += blocks->block[i].in_main ? blocks->block[i].n_words : 0;
        }
    if (n_main == 0 || n_main < n_all / 3)
        return;
    for (size_t i = 0; i < blocks->n_blocks; i++)
        blocks->block[i].keep &= blocks->block[i].in_main;
}

/* Lines between two kept blocks are kept unless they are mostly links, or too many. */
static void bridge(struct cam_html_blocks *blocks) {
    size_t last = 0, n_between = 0;
    int open = 0; /* a kept block was seen, and nothing since that ends its reach */
    for (size_t i = 0; i < blocks->n_blocks; i++) {
        const struct cam_html_block *b = &blocks->block[i];
        if (b->keep) {
            for (size_t k = last + 1; open && k < i; k++)
                blocks->block[k].keep = 1;
            open = 1, last = i, n_between = 0;
        } else if (link_share(b) > MAX_LINK_SHARE || ++n_between > MAX_BRIDGE_BLOCKS) {
            open = 0;
        }
    }
}

/* A heading goes with what is under it. */
static void attach_headings(struct cam_html_blocks *blocks) {
    int follows = 0;
    for (size_t i = blocks->n_blocks; i-- > 0;) {
        struct cam_html_block *b = &blocks->block[i];
        if (b->is_heading)
            b->keep = (unsigned char)follows;
        else
            follows = b->keep;
    }
}

/* A blank line where the page had one, or where something was left out. */
static enum cam_status append_kept(const struct cam_html_blocks *blocks,
                                   const struct cam_buffer *page, struct cam_buffer *text) {
    size_t start = text->size, last = 0;
    for (size_t i = 0; i < blocks->n_blocks; i++) {
        const struct cam_html_block *b = &blocks->block[i];
        if (!b->keep)
            continue;
        if (text->size > start) {
            int near = last + 1 == i && b->start - blocks->block[last].end == 1;
            CAM_TRY(cam_buffer_append(text, "\n\n", near ? 1 : 2));
        }
        CAM_TRY(cam_buffer_append(text, page->data + b->start, b->end - b->start));
        last = i;
    }
    return CAM_OK;
}

enum cam_status cam_html_main_text(const char *html, size_t n_bytes, struct cam_buffer *text) {
    struct cam_html_blocks blocks = {0};
    struct cam_buffer page;
    size_t before = text->size;
    cam_buffer_init(&page, text->limit);
    enum cam_status status = cam_html_set(html, n_bytes, &page, &blocks);
    if (status == CAM_OK) {
        classify(&blocks);
        prefer_main(&blocks);
        bridge(&blocks);
        attach_headings(&blocks);
        status = append_kept(&blocks, &page, text);
    }
    if (status != CAM_OK && text->data) {
        text->size = before;
        text->data[before] = '\0';
    }
    cam_buffer_release(&page);
    free(blocks.block);
    return status;
}
