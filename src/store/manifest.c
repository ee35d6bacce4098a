#include "store/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC          "CAMSNAP1"
#define VERSION        1
#define ID_BYTES       40
#define HEADER_BYTES   (8 + 4 + 4 + 8 + 2 * ID_BYTES + 2 * CAM_NAME_BYTES + 11 * 8 + 3 * 8)
#define REGION_BYTES   (CAM_REGION_NAME_BYTES + 8)
#define PAGE_BYTES     28
#define CHECKSUM_BYTES 16
#define LIMIT_BYTES    ((size_t)8 << 30)

void cam_manifest_release(struct cam_manifest *m) {
    free(m->packs);
    free(m->regions);
    free(m->pages);
    memset(m, 0, sizeof *m);
}

/* ---- numbers and names
 * ------------------------------------------------------------------------------ */

static unsigned char *put(unsigned char *at, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++)
        *at++ = (unsigned char)(value >> (8 * i));
    return at;
}

static uint64_t get(const unsigned char **at, int n_bytes) {
    uint64_t value = 0;
    for (int i = 0; i < n_bytes; i++)
        value |= (uint64_t) * (*at)++ << (8 * i);
    return value;
}

static unsigned char *put_text(unsigned char *at, const char *text, size_t n_bytes) {
    size_t n = strlen(text); /* every name was bounded when it was made */
    memset(at, 0, n_bytes);
    memcpy(at, text, n < n_bytes ? n : n_bytes - 1);
    return at + n_bytes;
}

/* Reads a NUL-padded name of N bytes into OUT of OUT_BYTES; 0 if it does not fit or is not ended.
 */
static int get_text(const unsigned char **at, size_t n_bytes, char *out, size_t out_bytes) {
    const char *text = (const char *)*at;
    size_t n = strnlen(text, n_bytes);
    *at += n_bytes;
    if (n == n_bytes || n >= out_bytes)
        return 0;
    memcpy(out, text, n + 1);
    return 1;
}

static int64_t *const *numbers_of(struct cam_manifest *m, int64_t *out[11]) {
    struct cam_snapshot *i = &m->info;
    int64_t *const fields[11] = {&i->lineage,      &i->moment,        &i->step,
                                 &i->position,     &i->offset,        &i->documents,
                                 &m->tokens,       &i->created_at_ms, &i->bytes_total,
                                 &i->bytes_unique, &i->bytes_shared};
    memcpy(out, fields, sizeof fields);
    return out;
}

/* "pack-" 32 lower-case hexadecimal digits ".cpk": a name can never leave its folder.
 */
static int is_pack_name(const char *name) {
    return strlen(name) == 5 + 32 + 4 && strncmp(name, "pack-", 5) == 0 &&
           strspn(name + 5, "0123456789abcdef") == 32 && strcmp(name + 37, ".cpk") == 0;
}

/* ---- identity
 * ---------------------------------------------------------------------------------------- */

enum cam_status cam_manifest_identify(struct cam_manifest *m) {
    struct cam_hasher *h = cam_hasher_new();
    unsigned char number[8 * 7];
    if (!h)
        return cam_fail(CAM_ERR_OS, "no memory for a hash");
    const struct cam_snapshot *i = &m->info;
    const int64_t state[7] = {(int64_t)i->kind, i->lineage, i->moment,   i->step,
                              i->position,      i->offset,  i->documents};
    unsigned char *at = number;
    for (int k = 0; k < 7; k++)
        at = put(at, (uint64_t)state[k], 8);
    cam_hasher_add(h, number, sizeof number);
    cam_hasher_add(h, i->tag, strlen(i->tag) + 1);
    cam_hasher_add(h, i->model_hash, strlen(i->model_hash) + 1);
    for (size_t r = 0; r < m->n_regions; r++) {
        put(number, m->regions[r].bytes, 8);
        cam_hasher_add(h, m->regions[r].name, strlen(m->regions[r].name) + 1);
        cam_hasher_add(h, number, 8);
    }
    for (size_t p = 0; p < m->n_pages; p++) {
        put(put(number, m->pages[p].hash.high, 8), m->pages[p].hash.low, 8);
        cam_hasher_add(h, number, 16);
    }
    cam_hash_hex(cam_hasher_value(h), m->info.id);
    cam_hasher_free(h);
    return CAM_OK;
}

/* ---- writing
 * ----------------------------------------------------------------------------------------- */

static unsigned char *put_header(unsigned char *at, struct cam_manifest *m, size_t file_bytes) {
    int64_t *numbers[11];
    memcpy(at, MAGIC, 8);
    at = put(at + 8, VERSION, 4);
    at = put(at, (uint64_t)m->info.kind, 4);
    at = put(at, file_bytes, 8);
    at = put_text(at, m->info.id, ID_BYTES);
    at = put_text(at, m->info.parent, ID_BYTES);
    at = put_text(at, m->info.tag, CAM_NAME_BYTES);
    at = put_text(at, m->info.model_hash, CAM_NAME_BYTES);
    numbers_of(m, numbers);
    for (int i = 0; i < 11; i++)
        at = put(at, (uint64_t)*numbers[i], 8);
    at = put(at, m->n_packs, 8);
    at = put(at, m->n_regions, 8);
    return put(at, m->n_pages, 8);
}

enum cam_status cam_manifest_write(const struct cam_manifest *manifest, const struct cam_fs *fs,
                                   const char *path) {
    struct cam_manifest m = *manifest; /* for numbers_of, which hands out places to write to */
    struct cam_fs_file file;
    size_t bytes = HEADER_BYTES + m.n_packs * CAM_PACK_NAME_BYTES + m.n_regions * REGION_BYTES +
                   m.n_pages * PAGE_BYTES + CHECKSUM_BYTES;
    unsigned char *data = malloc(bytes);
    if (!data)
        return cam_fail(CAM_ERR_OS, "%s: no memory for %zu bytes", path, bytes);
    unsigned char *at = put_header(data, &m, bytes);
    for (size_t i = 0; i < m.n_packs; i++)
        at = put_text(at, m.packs[i], CAM_PACK_NAME_BYTES);
    for (size_t i = 0; i < m.n_regions; i++) {
        at = put_text(at, m.regions[i].name, CAM_REGION_NAME_BYTES);
        at = put(at, m.regions[i].bytes, 8);
    }
    for (size_t i = 0; i < m.n_pages; i++) {
        at = put(put(at, m.pages[i].hash.high, 8), m.pages[i].hash.low, 8);
        at = put(put(at, m.pages[i].offset, 8), m.pages[i].pack, 4);
    }
    struct cam_hash sum = cam_hash_bytes(data, (size_t)(at - data));
    put(put(at, sum.high, 8), sum.low, 8);
    enum cam_status status = cam_fs_file_begin(&file, fs, path);
    if (status == CAM_OK) {
        status = cam_fs_write_all(fs, file.fd, file.temporary, data, bytes);
        if (status == CAM_OK)
            status = cam_fs_file_commit(&file);
        else
            cam_fs_file_abandon(&file);
    }
    free(data);
    return status;
}

/* ---- reading
 * ------------------------------------------------------------------------------------------ */

/* Size, magic, version and checksum: after this the content is what was written. */
static enum cam_status check_frame(const char *path, const unsigned char *data, size_t n_bytes) {
    const unsigned char *at = data + 8;
    if (n_bytes < HEADER_BYTES + CHECKSUM_BYTES || memcmp(data, MAGIC, 8) != 0)
        return cam_fail(CAM_ERR_DATA, "%s: not a snapshot manifest, or cut short", path);
    uint64_t version = get(&at, 4);
    if (version != VERSION)
        return cam_fail(CAM_ERR_DATA, "%s: manifest version %llu, this cambium reads %d", path,
                        (unsigned long long)version, VERSION);
    at += 4;
    uint64_t size = get(&at, 8);
    if (size != n_bytes)
        return cam_fail(CAM_ERR_DATA, "%s: has %zu bytes, its header says %llu", path, n_bytes,
                        (unsigned long long)size);
    at = data + n_bytes - CHECKSUM_BYTES;
    struct cam_hash stored;
    stored.high = get(&at, 8);
    stored.low = get(&at, 8);
    if (!cam_hash_equal(stored, cam_hash_bytes(data, n_bytes - CHECKSUM_BYTES)))
        return cam_fail(CAM_ERR_DATA, "%s: its checksum does not match", path);
    return CAM_OK;
}

/* The counts must tile the file exactly. */
static int counts_fit(uint64_t packs, uint64_t regions, uint64_t pages, size_t n_bytes) {
    uint64_t left = n_bytes - HEADER_BYTES - CHECKSUM_BYTES;
    if (packs > left / CAM_PACK_NAME_BYTES)
        return 0;
    left -= packs * CAM_PACK_NAME_BYTES;
    if (regions > left / REGION_BYTES)
        return 0;
    left -= regions * REGION_BYTES;
    return pages <= left / PAGE_BYTES && pages * PAGE_BYTES == left;
}

static int read_header(struct cam_manifest *m, const unsigned char **at, size_t n_bytes) {
    int64_t *numbers[11];
    const unsigned char *kind = *at + 12;
    m->info.kind = get(&kind, 4) ? CAM_SNAPSHOT_KEPT : CAM_SNAPSHOT_CHECKPOINT;
    *at += 8 + 4 + 4 + 8;
    int good = get_text(at, ID_BYTES, m->info.id, sizeof m->info.id);
    good &= get_text(at, ID_BYTES, m->info.parent, sizeof m->info.parent);
    good &= get_text(at, CAM_NAME_BYTES, m->info.tag, sizeof m->info.tag);
    good &= get_text(at, CAM_NAME_BYTES, m->info.model_hash, sizeof m->info.model_hash);
    numbers_of(m, numbers);
    for (int i = 0; i < 11; i++)
        *numbers[i] = (int64_t)get(at, 8);
    uint64_t packs = get(at, 8), regions = get(at, 8), pages = get(at, 8);
    if (!good || !counts_fit(packs, regions, pages, n_bytes))
        return 0;
    m->n_packs = (size_t)packs;
    m->n_regions = (size_t)regions;
    m->n_pages = (size_t)pages;
    return 1;
}

static int read_lists(struct cam_manifest *m, const unsigned char *at) {
    uint64_t next = 0;
    for (size_t i = 0; i < m->n_packs; i++)
        if (!get_text(&at, CAM_PACK_NAME_BYTES, m->packs[i], CAM_PACK_NAME_BYTES) ||
            !is_pack_name(m->packs[i]))
            return 0;
    for (size_t i = 0; i < m->n_regions; i++) {
        struct cam_manifest_region *r = &m->regions[i];
        if (!get_text(&at, CAM_REGION_NAME_BYTES, r->name, sizeof r->name))
            return 0;
        r->bytes = get(&at, 8);
        r->first_page = next;
        if (cam_pages_of(r->bytes) > m->n_pages - next)
            return 0;
        next += cam_pages_of(r->bytes);
    }
    for (size_t i = 0; i < m->n_pages; i++) {
        struct cam_manifest_page *p = &m->pages[i];
        p->hash.high = get(&at, 8);
        p->hash.low = get(&at, 8);
        p->offset = get(&at, 8);
        p->pack = (uint32_t)get(&at, 4);
        if (p->pack >= m->n_packs || p->offset > INT64_MAX - CAM_SNAPSHOT_PAGE_BYTES)
            return 0;
    }
    return next == m->n_pages;
}

enum cam_status cam_manifest_read(struct cam_manifest *manifest, const struct cam_fs *fs,
                                  const char *path) {
    struct cam_manifest m = {0};
    char *data = NULL;
    size_t n_bytes;
    CAM_TRY(cam_fs_read_file(fs, path, LIMIT_BYTES, &data, &n_bytes));
    const unsigned char *at = (const unsigned char *)data;
    enum cam_status status = check_frame(path, at, n_bytes);
    if (status != CAM_OK)
        goto out;
    if (!read_header(&m, &at, n_bytes)) {
        status = cam_fail(CAM_ERR_DATA, "%s: its header contradicts itself", path);
        goto out;
    }
    m.packs = calloc(m.n_packs + 1, sizeof *m.packs);
    m.regions = calloc(m.n_regions + 1, sizeof *m.regions);
    m.pages = calloc(m.n_pages + 1, sizeof *m.pages);
    if (!m.packs || !m.regions || !m.pages) {
        status = cam_fail(CAM_ERR_OS, "%s: no memory for %zu pages", path, m.n_pages);
        goto out;
    }
    if (!read_lists(&m, at)) {
        status = cam_fail(CAM_ERR_DATA, "%s: its lists contradict each other", path);
        goto out;
    }
    *manifest = m;
    memset(&m, 0, sizeof m);
out:
    cam_manifest_release(&m);
    free(data);
    return status;
}
