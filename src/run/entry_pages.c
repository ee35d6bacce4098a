#include "run/entry_pages.h"

#include "base/clock.h"
#include "base/hash.h"
#include "feed/url.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_BYTES 200 /* a main text shorter than that is a notice, not an article */

void cam_entry_pages_release(struct cam_entry_pages *pages) {
    for (size_t i = 0; i < pages->n; i++) {
        free(pages->entries[i].url);
        cam_page_release(&pages->entries[i].page);
    }
    free(pages->entries);
    *pages = (struct cam_entry_pages){0};
}

int cam_entry_is_summary(const struct cam_document *d) {
    return d->is_summary && d->url && cam_url_is_http(d->url, strlen(d->url)) &&
           d->text_bytes < CAM_SUMMARY_MAX_BYTES;
}

/* The parts in a row, each with its NUL, so that none runs into the next. */
char *cam_entry_hash(const struct cam_document *d, char entry[33]) {
    const char *const parts[] = {d->id ? d->id : "", d->url, d->text};
    struct cam_hash sum = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct cam_hash one = cam_hash_bytes(parts[i], strlen(parts[i]));
        struct cam_hash both[2] = {sum, one};
        sum = cam_hash_bytes(both, sizeof both);
    }
    cam_hash_hex(sum, entry);
    return entry;
}

enum cam_status cam_entry_pages_add(struct cam_entry_pages *pages, const struct cam_document *d) {
    if (!cam_entry_is_summary(d))
        return CAM_OK;
    if (pages->n == pages->capacity) {
        size_t capacity = pages->capacity ? 2 * pages->capacity : 32;
        struct cam_entry_page *grown = realloc(pages->entries, capacity * sizeof *grown);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory for the pages of %zu entries", capacity);
        pages->entries = grown;
        pages->capacity = capacity;
    }
    struct cam_entry_page *e = &pages->entries[pages->n];
    *e = (struct cam_entry_page){.url = strdup(d->url), .summary_bytes = d->text_bytes};
    if (!e->url)
        return cam_fail(CAM_ERR_OS, "no memory for the page of an entry");
    cam_entry_hash(d, e->entry);
    pages->n++;
    return CAM_OK;
}

const struct cam_entry_page *cam_entry_pages_find(struct cam_entry_pages *pages,
                                                  const char *entry) {
    for (size_t i = 0; i < pages->n; i++) {
        size_t at = (pages->next + i) % pages->n;
        if (strcmp(pages->entries[at].entry, entry) == 0) {
            pages->next = (at + 1) % pages->n;
            return &pages->entries[at];
        }
    }
    return NULL;
}

/* ---- asking ---- */

/* Whether an entry before AT found its host tired. */
static int is_tired(const struct cam_entry_pages *pages, size_t at, const char *host) {
    char other[CAM_HOST_BYTES];
    for (size_t i = 0; i < at; i++)
        if (pages->entries[i].is_done && pages->entries[i].page.host_is_tired &&
            strcmp(cam_page_host(pages->entries[i].url, other), host) == 0)
            return 1;
    return 0;
}

static enum cam_status fetch_one(struct cam_entry_pages *pages, size_t i,
                                 struct cam_page_desk *desk, struct cam_page_request request,
                                 const char *feed_host) {
    struct cam_entry_page *e = &pages->entries[i];
    char host[CAM_HOST_BYTES];
    int is_home = strcmp(cam_page_host(e->url, host), feed_host) == 0;
    if (is_tired(pages, i, host)) {
        pages->n_left++;
        return CAM_OK;
    }
    request.url = e->url;
    request.host = host;
    request.ca_file = is_home ? request.ca_file : NULL;
    request.least_bytes = e->summary_bytes + 1 > LEAST_BYTES ? e->summary_bytes + 1 : LEAST_BYTES;
    enum cam_status status = cam_page_desk_fetch(desk, &request, &e->page);
    if (status != CAM_OK) {
        cam_page_release(&e->page);
        return status;
    }
    e->is_done = 1;
    pages->n_done++;
    pages->n_bytes += e->page.n_bytes;
    if (is_home && e->page.host_is_tired && e->page.retry_after_s > pages->retry_after_s)
        pages->retry_after_s = e->page.retry_after_s;
    return CAM_OK;
}

enum cam_status cam_entry_pages_fetch(struct cam_entry_pages *pages, struct cam_page_desk *desk,
                                      const struct cam_page_request *request,
                                      const char *feed_host) {
    double until = cam_clock_seconds() + CAM_PAGES_S;
    for (size_t i = 0; i < pages->n; i++) {
        if (pages->entries[i].is_known)
            continue;
        if (pages->n_done >= CAM_PAGES_A_POLL || pages->n_bytes > CAM_PAGES_BYTES ||
            cam_clock_seconds() > until)
            pages->n_left++;
        else
            CAM_TRY(fetch_one(pages, i, desk, *request, feed_host));
    }
    return CAM_OK;
}
