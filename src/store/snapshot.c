/* snapshot.c - what is on disk, and loading it; snapshot_save.c saves, snapshot_care.c opens the
 * store and takes out what is no longer needed. */
#include "store/snapshot_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_BYTES ((size_t)4 << 20) /* longest single read */

enum cam_status cam_snapshot_path(const struct cam_snapshots *s, const char *id,
                                  char path[CAM_PATH_BYTES]) {
    char name[CAM_SNAPSHOT_ID_BYTES + 32];
    snprintf(name, sizeof name, "snapshots/%s.manifest", id);
    return cam_fs_join(path, s->dir, name);
}

enum cam_status cam_pack_path(const struct cam_snapshots *s, const char *pack,
                              char path[CAM_PATH_BYTES]) {
    char name[CAM_PACK_NAME_BYTES + 16];
    snprintf(name, sizeof name, "objects/%s", pack);
    return cam_fs_join(path, s->dir, name);
}

/* ---- what is held
 * --------------------------------------------------------------------------------------- */

enum cam_status cam_snapshots_pack(struct cam_snapshots *s, const char *name, uint32_t *pack) {
    size_t unused = s->n_packs;
    for (size_t i = s->n_packs; i-- > 0;) {
        if (strcmp(s->packs[i].name, name) == 0) {
            *pack = (uint32_t)i;
            return CAM_OK;
        }
        if (!*s->packs[i].name)
            unused = i;
    }
    if (unused < s->n_packs) { /* no page refers to the number of a pack that is gone */
        snprintf(s->packs[unused].name, CAM_PACK_NAME_BYTES, "%s", name);
        *pack = (uint32_t)unused;
        return CAM_OK;
    }
    struct cam_pack *grown = realloc(s->packs, (s->n_packs + 1) * sizeof *grown);
    if (!grown)
        return cam_fail(CAM_ERR_OS, "no memory for %zu packs", s->n_packs + 1);
    s->packs = grown;
    s->packs[s->n_packs] = (struct cam_pack){0};
    snprintf(s->packs[s->n_packs].name, CAM_PACK_NAME_BYTES, "%s", name);
    *pack = (uint32_t)s->n_packs++;
    return CAM_OK;
}

static struct cam_held *find_held(const struct cam_snapshots *s, const char *id) {
    for (size_t i = 0; i < s->n_held; i++)
        if (strcmp(s->held[i].id, id) == 0)
            return &s->held[i];
    return NULL;
}

int cam_snapshots_holds(const struct cam_snapshots *s, const char *id) {
    return find_held(s, id) != NULL;
}

enum cam_status cam_snapshots_hold(struct cam_snapshots *s, const struct cam_manifest *m) {
    if (find_held(s, m->info.id))
        return CAM_OK;
    struct cam_held *grown = realloc(s->held, (s->n_held + 1) * sizeof *grown);
    if (!grown)
        return cam_fail(CAM_ERR_OS, "no memory for %zu manifests", s->n_held + 1);
    s->held = grown;
    uint32_t *packs = malloc((m->n_packs + 1) * sizeof *packs);
    if (!packs)
        return cam_fail(CAM_ERR_OS, "no memory for a manifest");
    enum cam_status status = CAM_OK;
    for (size_t i = 0; i < m->n_packs && status == CAM_OK; i++)
        status = cam_snapshots_pack(s, m->packs[i], &packs[i]);
    for (size_t i = 0; i < m->n_pages && status == CAM_OK; i++)
        if (!cam_pages_find(&s->pages, m->pages[i].hash))
            status = cam_pages_add(&s->pages, m->pages[i].hash, packs[m->pages[i].pack],
                                   m->pages[i].offset);
    if (status != CAM_OK) {
        free(packs);
        return status;
    }
    for (size_t i = 0; i < m->n_packs; i++)
        s->packs[packs[i]].n_users++;
    struct cam_held *h = &s->held[s->n_held++];
    *h = (struct cam_held){.packs = packs, .n_packs = m->n_packs};
    memcpy(h->id, m->info.id, sizeof h->id);
    return CAM_OK;
}

void cam_snapshots_unhold(struct cam_snapshots *s, const char *id) {
    for (size_t i = 0; i < s->n_held; i++) {
        if (strcmp(s->held[i].id, id) != 0)
            continue;
        for (size_t k = 0; k < s->held[i].n_packs; k++)
            s->packs[s->held[i].packs[k]].n_users--;
        free(s->held[i].packs);
        s->held[i] = s->held[--s->n_held];
        return;
    }
}

int cam_snapshots_holds_sound(struct cam_snapshots *s, const char *id) {
    const struct cam_held *held = find_held(s, id);
    if (held && held->bad) {
        cam_snapshots_unhold(s, id);
        return 0;
    }
    return held != NULL;
}

void cam_pack_new_name(char name[CAM_PACK_NAME_BYTES]) {
    static atomic_uint counter;
    struct {
        int64_t clock, pid, address;
        unsigned counter;
    } unique;
    char hex[CAM_HASH_HEX_BYTES];
    memset(&unique, 0, sizeof unique);
    unique.clock = cam_clock_unix_ms();
    unique.pid = getpid();
    unique.address = (int64_t)(uintptr_t)name;
    unique.counter = atomic_fetch_add(&counter, 1);
    cam_hash_hex(cam_hash_bytes(&unique, sizeof unique), hex);
    snprintf(name, CAM_PACK_NAME_BYTES, "pack-%s.cpk", hex);
}

/* ---- loading
 * ------------------------------------------------------------------------------------------------
 */

struct loading {
    struct cam_snapshots *s;
    struct cam_manifest m;
    int *fds; /* one a pack of the manifest, -1 until opened */
    char *scratch;
};

static enum cam_status open_pack(struct loading *l, uint32_t pack, char path[CAM_PATH_BYTES]) {
    const struct cam_fs *fs = l->s->fs;
    CAM_TRY(cam_pack_path(l->s, l->m.packs[pack], path));
    if (l->fds[pack] >= 0)
        return CAM_OK;
    l->fds[pack] = fs->open(fs->context, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (l->fds[pack] < 0)
        return cam_fail_errno(errno == ENOENT ? CAM_ERR_DATA : CAM_ERR_IO, errno, "%s: cannot open",
                              path);
    return CAM_OK;
}

/* Pages [FROM, ...) of region R that lie one after another in one pack: their number and bytes. */
static size_t run_of(const struct loading *l, const struct cam_manifest_region *r, uint64_t from,
                     size_t *n_bytes) {
    const struct cam_manifest_page *page = &l->m.pages[r->first_page];
    uint64_t n_pages = cam_pages_of(r->bytes), i = from;
    *n_bytes = 0;
    do {
        uint64_t left = r->bytes - i * CAM_SNAPSHOT_PAGE_BYTES;
        *n_bytes += left < CAM_SNAPSHOT_PAGE_BYTES ? (size_t)left : CAM_SNAPSHOT_PAGE_BYTES;
        i++;
    } while (i < n_pages && *n_bytes < RUN_BYTES && page[i].pack == page[from].pack &&
             page[i].offset == page[from].offset + *n_bytes);
    return (size_t)(i - from);
}

static enum cam_status load_region(struct loading *l, const struct cam_manifest_region *r,
                                   char *to) {
    char path[CAM_PATH_BYTES];
    uint64_t n_pages = cam_pages_of(r->bytes);
    for (uint64_t i = 0; i < n_pages;) {
        const struct cam_manifest_page *page = &l->m.pages[r->first_page + i];
        size_t n_bytes, n = run_of(l, r, i, &n_bytes);
        char *data = to ? to + i * CAM_SNAPSHOT_PAGE_BYTES : l->scratch;
        CAM_TRY(open_pack(l, page->pack, path));
        enum cam_status status = cam_fs_pread_all(l->s->fs, l->fds[page->pack], path, data, n_bytes,
                                                  (int64_t)page->offset);
        if (status != CAM_OK)
            return cam_context(status, "snapshot %.12s: region %s", l->m.info.id, r->name);
        for (size_t k = 0; k < n; k++) {
            size_t at = k * CAM_SNAPSHOT_PAGE_BYTES;
            size_t length =
                n_bytes - at < CAM_SNAPSHOT_PAGE_BYTES ? n_bytes - at : CAM_SNAPSHOT_PAGE_BYTES;
            if (!cam_hash_equal(cam_hash_bytes(data + at, length), page[k].hash))
                return cam_fail(CAM_ERR_DATA,
                                "%s: snapshot %.12s: region %s: page %llu (offset %llu) does not "
                                "match its hash",
                                path, l->m.info.id, r->name, (unsigned long long)(i + k),
                                (unsigned long long)page[k].offset);
        }
        i += n;
    }
    return CAM_OK;
}

static enum cam_status load(struct loading *l, const char *id, cam_region_fn *region,
                            void *context) {
    char path[CAM_PATH_BYTES];
    CAM_TRY(cam_snapshot_path(l->s, id, path));
    CAM_TRY(cam_manifest_read(&l->m, l->s->fs, path));
    if (strcmp(l->m.info.id, id) != 0)
        return cam_fail(CAM_ERR_DATA, "%s: holds snapshot %.40s", path, l->m.info.id);
    l->fds = malloc((l->m.n_packs + 1) * sizeof *l->fds);
    l->scratch = malloc(RUN_BYTES + CAM_SNAPSHOT_PAGE_BYTES);
    if (!l->fds || !l->scratch) {
        free(l->fds);
        l->fds = NULL;
        return cam_fail(CAM_ERR_OS, "no memory to load snapshot %s", id);
    }
    for (size_t i = 0; i < l->m.n_packs; i++)
        l->fds[i] = -1;
    for (size_t i = 0; i < l->m.n_regions; i++) {
        const struct cam_manifest_region *r = &l->m.regions[i];
        void *to = NULL;
        if (region) {
            CAM_TRY(region(context, r->name, (size_t)r->bytes, &to));
            if (!to)
                continue;
        }
        CAM_TRY(load_region(l, r, to));
    }
    return CAM_OK;
}

static enum cam_status load_or_check(struct cam_snapshots *snapshots, const char *id,
                                     cam_region_fn *region, void *context) {
    struct loading *l = calloc(1, sizeof *l);
    if (!l)
        return cam_fail(CAM_ERR_OS, "no memory to load snapshot %s", id);
    l->s = snapshots;
    cam_snapshots_wait(snapshots);
    enum cam_status status = load(l, id, region, context);
    for (size_t i = 0; l->fds && i < l->m.n_packs; i++)
        if (l->fds[i] >= 0)
            snapshots->fs->close(snapshots->fs->context, l->fds[i]);
    free(l->fds);
    free(l->scratch);
    cam_manifest_release(&l->m);
    free(l);
    return status;
}

enum cam_status cam_snapshot_load(struct cam_snapshots *snapshots, const char *id,
                                  cam_region_fn *region, void *context) {
    return load_or_check(snapshots, id, region, context);
}

enum cam_status cam_snapshot_check(struct cam_snapshots *snapshots, const char *id) {
    return load_or_check(snapshots, id, NULL, NULL);
}
