/* snapshot.c - saving and loading; see snapshot.h for the order on disk and snapshot_care.c for
 * what happens to files that are no longer needed. */
#include "store/snapshot_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/rows.h"

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

/* ---- saving
 * ------------------------------------------------------------------------------------------------
 */

/* One save in progress. */
struct saving {
    struct cam_snapshots *s;
    struct cam_manifest m;
    struct cam_fs_file file; /* the new pack, begun with its first page */
    char pack_path[CAM_PATH_BYTES];
    uint32_t pack; /* index into s->packs, CAM_NO_PACK until begun */
    int open, committed;
    uint64_t offset;
    const char *run; /* new pages that follow each other in memory, not written yet */
    size_t run_bytes;
};

/* The name only has to be one that was never used here. */
static enum cam_status begin_pack(struct saving *v) {
    static atomic_uint counter;
    struct {
        int64_t clock, pid, address;
        unsigned counter;
    } unique;
    char hex[CAM_HASH_HEX_BYTES], name[CAM_PACK_NAME_BYTES];
    memset(&unique, 0, sizeof unique);
    unique.clock = cam_clock_unix_ms();
    unique.pid = getpid();
    unique.address = (int64_t)(uintptr_t)v;
    unique.counter = atomic_fetch_add(&counter, 1);
    cam_hash_hex(cam_hash_bytes(&unique, sizeof unique), hex);
    snprintf(name, sizeof name, "pack-%s.cpk", hex);
    CAM_TRY(cam_pack_path(v->s, name, v->pack_path));
    CAM_TRY(cam_fs_file_begin(&v->file, v->s->fs, v->pack_path));
    v->open = 1;
    return cam_snapshots_pack(v->s, name, &v->pack);
}

static enum cam_status flush_run(struct saving *v) {
    if (v->run_bytes)
        CAM_TRY(cam_fs_write_all(v->s->fs, v->file.fd, v->file.temporary, v->run, v->run_bytes));
    v->run = NULL;
    v->run_bytes = 0;
    return CAM_OK;
}

static enum cam_status save_page(struct saving *v, const char *data, size_t n_bytes,
                                 struct cam_manifest_page *page) {
    page->hash = cam_hash_bytes(data, n_bytes);
    const struct cam_page_slot *known = cam_pages_find(&v->s->pages, page->hash);
    if (known) {
        page->pack = known->pack; /* of the store; made local to the manifest later */
        page->offset = known->offset;
        v->m.info.bytes_shared += (int64_t)n_bytes;
        return CAM_OK;
    }
    if (!v->open)
        CAM_TRY(begin_pack(v));
    if (!v->run || v->run + v->run_bytes != data || v->run_bytes >= RUN_BYTES) {
        CAM_TRY(flush_run(v));
        v->run = data;
    }
    v->run_bytes += n_bytes;
    CAM_TRY(cam_pages_add(&v->s->pages, page->hash, v->pack, v->offset));
    page->pack = v->pack;
    page->offset = v->offset;
    v->offset += n_bytes;
    v->m.info.bytes_unique += (int64_t)n_bytes;
    return CAM_OK;
}

static enum cam_status save_regions(struct saving *v, const struct cam_region *regions) {
    struct cam_manifest *m = &v->m;
    for (size_t r = 0; r < m->n_regions; r++) {
        const char *data = regions[r].data;
        size_t left = regions[r].bytes;
        struct cam_manifest_page *page = &m->pages[m->regions[r].first_page];
        while (left > 0) {
            size_t n = left < CAM_SNAPSHOT_PAGE_BYTES ? left : CAM_SNAPSHOT_PAGE_BYTES;
            CAM_TRY(save_page(v, data, n, page++));
            data += n;
            left -= n;
        }
        m->info.bytes_total += (int64_t)regions[r].bytes;
    }
    if (!v->open)
        return CAM_OK;
    CAM_TRY(flush_run(v));
    v->open = 0;
    enum cam_status status = cam_fs_file_commit(&v->file);
    v->committed = status == CAM_OK;
    return status;
}

/* Lays out the manifest: one entry a region, room for its pages. */
static enum cam_status lay_out(struct cam_manifest *m, const struct cam_region *regions,
                               size_t n_regions) {
    uint64_t n_pages = 0;
    m->regions = calloc(n_regions + 1, sizeof *m->regions);
    if (!m->regions)
        return cam_fail(CAM_ERR_OS, "no memory for %zu regions", n_regions);
    m->n_regions = n_regions;
    for (size_t i = 0; i < n_regions; i++) {
        const char *end = memchr(regions[i].name, '\0', CAM_REGION_NAME_BYTES);
        if (!end || end == regions[i].name)
            return cam_fail(CAM_ERR_INTERNAL, "region %zu has no proper name", i);
        memcpy(m->regions[i].name, regions[i].name, (size_t)(end - regions[i].name) + 1);
        m->regions[i].bytes = regions[i].bytes;
        m->regions[i].first_page = n_pages;
        n_pages += cam_pages_of(regions[i].bytes);
    }
    m->n_pages = (size_t)n_pages;
    m->pages = calloc(m->n_pages + 1, sizeof *m->pages);
    return m->pages ? CAM_OK : cam_fail(CAM_ERR_OS, "no memory for %zu pages", m->n_pages);
}

/* Pack numbers of the store become numbers of this manifest, in order of first use. */
static enum cam_status localise_packs(struct saving *v) {
    struct cam_manifest *m = &v->m;
    uint32_t *local = malloc((v->s->n_packs + 1) * sizeof *local);
    m->packs = calloc(v->s->n_packs + 1, sizeof *m->packs);
    if (!local || !m->packs) {
        free(local);
        return cam_fail(CAM_ERR_OS, "no memory for a manifest");
    }
    for (size_t i = 0; i < v->s->n_packs; i++)
        local[i] = CAM_NO_PACK;
    for (size_t i = 0; i < m->n_pages; i++) {
        uint32_t pack = m->pages[i].pack;
        if (local[pack] == CAM_NO_PACK) {
            local[pack] = (uint32_t)m->n_packs;
            memcpy(m->packs[m->n_packs++], v->s->packs[pack].name, CAM_PACK_NAME_BYTES);
        }
        m->pages[i].pack = local[pack];
    }
    free(local);
    return CAM_OK;
}

/* Undoes what a failed save did to memory and disk; earlier snapshots are untouched by either. */
static void undo(struct saving *v, const char *manifest_path) {
    const struct cam_fs *fs = v->s->fs;
    if (v->open)
        cam_fs_file_abandon(&v->file);
    if (*manifest_path)
        fs->unlink(fs->context, manifest_path);
    if (v->pack == CAM_NO_PACK)
        return;
    fs->unlink(fs->context, v->pack_path);
    unsigned char *dead = calloc(v->s->n_packs + 1, 1);
    if (dead)
        dead[v->pack] = 1;
    if (!dead || cam_pages_drop(&v->s->pages, dead) != CAM_OK)
        cam_pages_release(&v->s->pages); /* sharing less is safe, sharing a lost page is not */
    free(dead);
}

/* Forgets a manifest that is not, or no longer, what its row says. */
static void unhold(struct cam_snapshots *s, const char *id) {
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

static enum cam_status save(struct saving *v, const struct cam_region *regions, size_t n_regions,
                            char manifest_path[CAM_PATH_BYTES], int *exists) {
    struct cam_manifest *m = &v->m;
    char path[CAM_PATH_BYTES];
    *manifest_path = '\0';
    *exists = 0;
    CAM_TRY(cam_snapshot_row_begin(v->s->database, &m->info, &m->tokens));
    m->info.created_at_ms = cam_clock_unix_ms();
    CAM_TRY(lay_out(m, regions, n_regions));
    CAM_TRY(save_regions(v, regions));
    CAM_TRY(cam_manifest_identify(m));
    const struct cam_held *held = find_held(v->s, m->info.id);
    if (held && held->bad) {
        unhold(v->s, m->info.id);
    } else if (held) {
        undo(v, ""); /* a pack that was written all the same is not needed */
        *exists = 1;
        return CAM_OK;
    }
    CAM_TRY(localise_packs(v));
    CAM_TRY(cam_snapshot_path(v->s, m->info.id, path));
    memcpy(manifest_path, path, sizeof path);
    CAM_TRY(cam_manifest_write(m, v->s->fs, path));
    CAM_TRY(cam_snapshots_hold(v->s, m));
    return cam_snapshot_row_insert(v->s->database, &m->info, m->tokens);
}

enum cam_status cam_snapshot_save(struct cam_snapshots *snapshots, enum cam_snapshot_kind kind,
                                  const char *tag, const char *model_hash,
                                  const struct cam_region *regions, size_t n_regions,
                                  struct cam_snapshot *out) {
    char manifest_path[CAM_PATH_BYTES];
    int exists = 0;
    if (tag && (strlen(tag) >= CAM_NAME_BYTES || strcmp(tag, "latest") == 0))
        return cam_fail(CAM_ERR_DATA, "tag %.80s: a tag has up to %d bytes and is not 'latest'",
                        tag, CAM_NAME_BYTES - 1);
    struct saving *v = calloc(1, sizeof *v);
    if (!v)
        return cam_fail(CAM_ERR_OS, "no memory for a snapshot");
    v->s = snapshots;
    v->pack = CAM_NO_PACK;
    v->m.info.kind = kind;
    v->m.info.living = 1;
    snprintf(v->m.info.tag, sizeof v->m.info.tag, "%s", tag ? tag : "");
    snprintf(v->m.info.model_hash, sizeof v->m.info.model_hash, "%s", model_hash);
    enum cam_status status = save(v, regions, n_regions, manifest_path, &exists);
    if (status != CAM_OK) {
        char why[512];
        snprintf(why, sizeof why, "%s", cam_message());
        unhold(snapshots, v->m.info.id);
        undo(v, manifest_path);
        status = cam_fail(status, "the snapshot was not saved: %s", why);
    } else {
        if (out)
            *out = v->m.info;
        if (!exists && kind == CAM_SNAPSHOT_CHECKPOINT &&
            cam_snapshots_sweep(snapshots, 0, NULL) != CAM_OK)
            cam_log(CAM_LOG_WARNING, "old checkpoint files remain: %s", cam_message());
    }
    cam_manifest_release(&v->m);
    free(v);
    return status;
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
