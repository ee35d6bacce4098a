/* snapshot_save.c - saving; see snapshot.h for the order on disk.
 *
 *     capture   hashes every page of every region, copies those that are not on disk yet and gives
 *               each its place in a new pack: all that the owner of the memory waits for
 *     finish    pack, manifest, row, each durable before the next; then what became superfluous
 * goes
 *
 * cam_snapshot_save does both where it is called; cam_snapshot_save_begin leaves the second to a
 * thread of its own.  Only one of them works on the store at a time: whoever calls the store while
 * that thread works waits for it first (cam_snapshots_wait), so nothing here needs a lock. */
#include "store/snapshot_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES ((size_t)4 << 20) /* written at a time where the caller waits anyway */
#define HELD_BYTES                                                                                 \
    ((size_t)256 << 20) /* most that is copied for the thread; the rest is written first */
#define KEPT_BYTES ((size_t)64 << 20) /* of the copy's memory, kept for the next save */

struct cam_saving {
    struct cam_snapshots *s;
    struct cam_manifest m;
    struct cam_fs_file file; /* the new pack, begun with the first write */
    char pack_path[CAM_PATH_BYTES], manifest_path[CAM_PATH_BYTES]; /* "" until there is one */
    uint32_t pack; /* index into s->packs, CAM_NO_PACK until named */
    int open, exists;
    uint64_t offset; /* of the next new page in the pack */
    char *copy;      /* new pages that are not written yet */
    size_t copied, capacity, limit;
    enum cam_status status; /* of the thread, with its message */
    char why[1024];
};

/* ---- capturing
 * ---------------------------------------------------------------------------------------------- */

/* The name only has to be one that was never used here. */
static enum cam_status name_pack(struct cam_saving *v) {
    char name[CAM_PACK_NAME_BYTES];
    cam_pack_new_name(name);
    CAM_TRY(cam_pack_path(v->s, name, v->pack_path));
    return cam_snapshots_pack(v->s, name, &v->pack);
}

static enum cam_status write_copy(struct cam_saving *v) {
    if (!v->copied)
        return CAM_OK;
    if (!v->open) {
        CAM_TRY(cam_fs_file_begin(&v->file, v->s->fs, v->pack_path));
        v->open = 1;
    }
    CAM_TRY(cam_fs_write_all(v->s->fs, v->file.fd, v->file.temporary, v->copy, v->copied));
    v->copied = 0;
    return CAM_OK;
}

static enum cam_status copy_page(struct cam_saving *v, const char *data, size_t n_bytes) {
    if (v->copied + n_bytes > v->limit)
        CAM_TRY(write_copy(v));
    if (v->copied + n_bytes > v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : COPY_BYTES;
        char *grown = realloc(v->copy, capacity);
        if (!grown)
            return cam_fail(CAM_ERR_OS, "no memory to copy %zu bytes", capacity);
        v->copy = grown;
        v->capacity = capacity;
    }
    memcpy(v->copy + v->copied, data, n_bytes);
    v->copied += n_bytes;
    return CAM_OK;
}

static enum cam_status save_page(struct cam_saving *v, const char *data, size_t n_bytes,
                                 struct cam_manifest_page *page) {
    page->hash = cam_hash_bytes(data, n_bytes);
    const struct cam_page_slot *known = cam_pages_find(&v->s->pages, page->hash);
    if (known) {
        page->pack = known->pack; /* of the store; made local to the manifest later */
        page->offset = known->offset;
        v->m.info.bytes_shared += (int64_t)n_bytes;
        return CAM_OK;
    }
    if (v->pack == CAM_NO_PACK)
        CAM_TRY(name_pack(v));
    CAM_TRY(copy_page(v, data, n_bytes));
    CAM_TRY(cam_pages_add(&v->s->pages, page->hash, v->pack, v->offset));
    page->pack = v->pack;
    page->offset = v->offset;
    v->offset += n_bytes;
    v->m.info.bytes_unique += (int64_t)n_bytes;
    return CAM_OK;
}

static enum cam_status save_regions(struct cam_saving *v, const struct cam_region *regions) {
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
    return CAM_OK;
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

/* ---- the model's hash
 * --------------------------------------------------------------------------------------- */

static void hash_region(struct cam_hasher *h, const char *name, uint64_t bytes) {
    cam_hasher_add(h, name, strlen(name) + 1);
    cam_hasher_add(h, &bytes, sizeof bytes);
}

static void hash_page(struct cam_hasher *h, struct cam_hash page) {
    cam_hasher_add(h, &page.high, sizeof page.high);
    cam_hasher_add(h, &page.low, sizeof page.low);
}

enum cam_status cam_regions_hash(const struct cam_region *regions, size_t n_regions,
                                 char hex[CAM_HASH_HEX_BYTES]) {
    struct cam_hasher *h = cam_hasher_new();
    if (!h)
        return cam_fail(CAM_ERR_OS, "no memory for a hash");
    for (size_t r = 0; r < n_regions; r++) {
        const char *data = regions[r].data;
        if (regions[r].apart)
            continue;
        hash_region(h, regions[r].name, regions[r].bytes);
        for (size_t at = 0; at < regions[r].bytes; at += CAM_SNAPSHOT_PAGE_BYTES) {
            size_t left = regions[r].bytes - at;
            hash_page(h, cam_hash_bytes(data + at, left < CAM_SNAPSHOT_PAGE_BYTES
                                                       ? left
                                                       : CAM_SNAPSHOT_PAGE_BYTES));
        }
    }
    cam_hash_hex(cam_hasher_value(h), hex);
    cam_hasher_free(h);
    return CAM_OK;
}

/* The same of pages that were hashed already. */
static enum cam_status hash_model(struct cam_manifest *m, const struct cam_region *regions) {
    struct cam_hasher *h = cam_hasher_new();
    char hex[CAM_HASH_HEX_BYTES];
    if (!h)
        return cam_fail(CAM_ERR_OS, "no memory for a hash");
    for (size_t r = 0; r < m->n_regions; r++) {
        if (regions[r].apart)
            continue;
        hash_region(h, m->regions[r].name, m->regions[r].bytes);
        for (uint64_t i = 0; i < cam_pages_of(m->regions[r].bytes); i++)
            hash_page(h, m->pages[m->regions[r].first_page + i].hash);
    }
    cam_hash_hex(cam_hasher_value(h), hex);
    cam_hasher_free(h);
    snprintf(m->info.model_hash, sizeof m->info.model_hash, "%s", hex);
    return CAM_OK;
}

static enum cam_status capture(struct cam_saving *v, const char *model_hash,
                               const struct cam_region *regions, size_t n_regions) {
    struct cam_manifest *m = &v->m;
    CAM_TRY(cam_snapshot_row_begin(v->s->database, &m->info, &m->tokens));
    m->info.created_at_ms = cam_clock_unix_ms();
    CAM_TRY(lay_out(m, regions, n_regions));
    CAM_TRY(save_regions(v, regions));
    if (model_hash)
        snprintf(m->info.model_hash, sizeof m->info.model_hash, "%s", model_hash);
    else
        CAM_TRY(hash_model(m, regions));
    CAM_TRY(cam_manifest_identify(m));
    v->exists = cam_snapshots_holds_sound(v->s, m->info.id);
    return CAM_OK;
}

/* ---- finishing
 * ---------------------------------------------------------------------------------------------- */

/* Pack numbers of the store become numbers of this manifest, in order of first use. */
static enum cam_status localise_packs(struct cam_saving *v) {
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

static enum cam_status commit_pack(struct cam_saving *v) {
    CAM_TRY(write_copy(v));
    if (!v->open)
        return CAM_OK;
    v->open = 0;
    return cam_fs_file_commit(&v->file);
}

static enum cam_status finish(struct cam_saving *v) {
    struct cam_manifest *m = &v->m;
    CAM_TRY(commit_pack(v));
    CAM_TRY(localise_packs(v));
    CAM_TRY(cam_snapshot_path(v->s, m->info.id, v->manifest_path));
    CAM_TRY(cam_manifest_write(m, v->s->fs, v->manifest_path));
    CAM_TRY(cam_snapshots_hold(v->s, m));
    CAM_TRY(cam_snapshot_row_insert(v->s->database, &m->info, m->tokens));
    if (m->info.kind == CAM_SNAPSHOT_CHECKPOINT && cam_snapshots_sweep(v->s, 0, NULL) != CAM_OK)
        cam_log(CAM_LOG_WARNING, "old checkpoint files remain: %s", cam_message());
    return CAM_OK;
}

/* Undoes what a save that failed, or was not needed, did to memory and disk; earlier snapshots are
 * untouched by either. */
static void undo(struct cam_saving *v) {
    const struct cam_fs *fs = v->s->fs;
    if (v->open)
        cam_fs_file_abandon(&v->file);
    v->open = 0;
    if (*v->manifest_path)
        fs->unlink(fs->context, v->manifest_path);
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

static enum cam_status fail(struct cam_saving *v, enum cam_status status) {
    char why[512];
    snprintf(why, sizeof why, "%s", cam_message());
    cam_snapshots_unhold(v->s, v->m.info.id);
    undo(v);
    return cam_fail(status, "the snapshot was not saved: %s", why);
}

static enum cam_status saving_new(struct cam_snapshots *s, enum cam_snapshot_kind kind,
                                  const char *tag, size_t limit, struct cam_saving **saving) {
    if (tag && (strlen(tag) >= CAM_NAME_BYTES || strcmp(tag, "latest") == 0 ||
                strcmp(tag, "current") == 0))
        return cam_fail(CAM_ERR_DATA,
                        "tag %.80s: a tag has up to %d bytes and is neither 'latest' nor 'current'",
                        tag, CAM_NAME_BYTES - 1);
    struct cam_saving *v = calloc(1, sizeof *v);
    if (!v)
        return cam_fail(CAM_ERR_OS, "no memory for a snapshot");
    v->s = s;
    v->pack = CAM_NO_PACK;
    v->limit = limit;
    v->copy = s->copy; /* lent */
    v->capacity = s->copy_capacity;
    s->copy = NULL;
    s->copy_capacity = 0;
    v->m.info.kind = kind;
    v->m.info.living = 1;
    snprintf(v->m.info.tag, sizeof v->m.info.tag, "%s", tag ? tag : "");
    *saving = v;
    return CAM_OK;
}

static void saving_free(struct cam_saving *v) {
    struct cam_snapshots *s = v->s;
    if (v->capacity <= KEPT_BYTES) {
        s->copy = v->copy;
        s->copy_capacity = v->capacity;
    } else {
        free(v->copy);
    }
    cam_manifest_release(&v->m);
    free(v);
}

enum cam_status cam_snapshot_save(struct cam_snapshots *snapshots, enum cam_snapshot_kind kind,
                                  const char *tag, const char *model_hash,
                                  const struct cam_region *regions, size_t n_regions,
                                  struct cam_snapshot *out) {
    struct cam_saving *v;
    CAM_TRY(cam_snapshots_settle(snapshots));
    CAM_TRY(saving_new(snapshots, kind, tag, COPY_BYTES, &v));
    enum cam_status status = capture(v, model_hash, regions, n_regions);
    if (status == CAM_OK && v->exists)
        undo(v);
    else if (status == CAM_OK)
        status = finish(v);
    if (status != CAM_OK)
        status = fail(v, status);
    else if (out)
        *out = v->m.info;
    saving_free(v);
    return status;
}

/* ---- the thread
 * --------------------------------------------------------------------------------------------- */

static void *finish_thread(void *context) {
    struct cam_saving *v = context;
    v->status = finish(v);
    if (v->status != CAM_OK) {
        v->status = fail(v, v->status);
        snprintf(v->why, sizeof v->why, "%s", cam_message());
    }
    atomic_store(&v->s->finished, 1);
    return NULL;
}

enum cam_status cam_snapshot_save_begin(struct cam_snapshots *snapshots,
                                        enum cam_snapshot_kind kind, const char *tag,
                                        const struct cam_region *regions, size_t n_regions,
                                        struct cam_snapshot *out) {
    struct cam_saving *v;
    CAM_TRY(cam_snapshots_settle(snapshots));
    CAM_TRY(saving_new(snapshots, kind, tag, HELD_BYTES, &v));
    enum cam_status status = capture(v, NULL, regions, n_regions);
    if (status == CAM_OK && out)
        *out = v->m.info;
    if (status == CAM_OK && !v->exists) {
        atomic_store(&snapshots->finished, 0);
        int code = pthread_create(&snapshots->thread, NULL, finish_thread, v);
        if (code == 0) {
            snapshots->saving = v;
            return CAM_OK;
        }
        status = finish(v); /* no thread to be had: the caller waits */
    } else if (status == CAM_OK) {
        undo(v);
    }
    if (status != CAM_OK)
        status = fail(v, status);
    saving_free(v);
    return status;
}

void cam_snapshots_wait(struct cam_snapshots *s) {
    struct cam_saving *v = s->saving;
    if (!v)
        return;
    pthread_join(s->thread, NULL);
    s->saving = NULL;
    s->failed = v->status;
    snprintf(s->why, sizeof s->why, "%s", v->why);
    saving_free(v);
}

enum cam_status cam_snapshots_settle(struct cam_snapshots *s) {
    cam_snapshots_wait(s);
    enum cam_status status = s->failed;
    s->failed = CAM_OK;
    return status == CAM_OK ? CAM_OK : cam_fail(status, "%s", s->why);
}

enum cam_status cam_snapshots_poll(struct cam_snapshots *s) {
    if (s->saving && !atomic_load(&s->finished))
        return CAM_OK;
    return cam_snapshots_settle(s);
}
