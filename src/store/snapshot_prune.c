/* snapshot_prune.c - what snapshots cost, and taking out those that a rule does not keep.
 *
 *     plan      rows, and how often each page is referred to, tell who may go and what that frees
 *     remove    rows in one transaction; then manifests and packs that nothing refers to
 *     compact   a pack whose pages are partly dead: the living ones go to a new pack, then every
 *               manifest that names the old one is replaced by one that names the new one (an id is
 *               a hash of the content, not of its place), then the old pack goes
 *
 * Killed anywhere, every row still has its manifest and every manifest its packs; what is left over
 * nobody refers to, and the next open collects it. */
#include "store/snapshot_internal.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A pack is compacted when that gives back a quarter of it. */
#define WORTH_COMPACTING(live, bytes) ((live) > 0 && (live) <= (bytes) - (bytes) / 4)

/* ---- who refers to what
 * ------------------------------------------------------------------------------------- */

/* Users of a page, in the `offset` of its slot: kept snapshots in the lower half, checkpoints in
 * the upper one. */
#define KEPT_USER       ((uint64_t)1)
#define CHECKPOINT_USER ((uint64_t)1 << 32)
#define KEPT_MASK       (CHECKPOINT_USER - 1)

struct cam_tally {
    struct cam_snapshots *s;
    struct cam_pages users;
    uint32_t stamp;
    int64_t *live;      /* a pack of the store: bytes of pages with users */
    int64_t kept_bytes; /* pages with kept users, and manifests of kept ones */
    int64_t disk_bytes; /* of all packs and manifests of rows, as files */
};

/* The same content may lie in two packs; they are counted apart. */
static struct cam_hash key_of(struct cam_hash hash, uint32_t pack) {
    hash.high ^= (uint64_t)pack * 0x9E3779B97F4A7C15u;
    return hash;
}

typedef enum cam_status page_fn(void *context, struct cam_hash hash, uint32_t pack, int64_t bytes);

/* Calls FN for every page of snapshot ID; CAM_ERR_DATA or _NOINPUT if its manifest cannot be read.
 */
static enum cam_status each_page(struct cam_snapshots *s, const char *id, page_fn *fn,
                                 void *context) {
    struct cam_manifest m = {0};
    char path[CAM_PATH_BYTES];
    CAM_TRY(cam_snapshot_path(s, id, path));
    CAM_TRY(cam_manifest_read(&m, s->fs, path));
    uint32_t *packs = malloc((m.n_packs + 1) * sizeof *packs);
    enum cam_status status =
        packs ? CAM_OK : cam_fail(CAM_ERR_OS, "no memory for %zu packs", m.n_packs);
    for (size_t i = 0; i < m.n_packs && status == CAM_OK; i++)
        status = cam_snapshots_pack(s, m.packs[i], &packs[i]);
    for (size_t r = 0; r < m.n_regions && status == CAM_OK; r++)
        for (uint64_t i = 0, n = cam_pages_of(m.regions[r].bytes); i < n && status == CAM_OK; i++) {
            const struct cam_manifest_page *page = &m.pages[m.regions[r].first_page + i];
            uint64_t left = m.regions[r].bytes - i * CAM_SNAPSHOT_PAGE_BYTES;
            status = fn(context, page->hash, packs[page->pack],
                        left < CAM_SNAPSHOT_PAGE_BYTES ? (int64_t)left : CAM_SNAPSHOT_PAGE_BYTES);
        }
    free(packs);
    cam_manifest_release(&m);
    return status;
}

/* One snapshot being counted: a page that it uses twice counts once, so its slot is stamped (the
 * slot's `pack`, which the key holds already, is free for that). */
struct counting {
    struct cam_tally *t;
    uint64_t user;
    uint32_t stamp;
    int64_t own; /* bytes of pages that nobody else uses */
};

static uint32_t next_stamp(struct cam_tally *t) {
    return ++t->stamp;
}

static enum cam_status add_user(void *context, struct cam_hash hash, uint32_t pack, int64_t bytes) {
    const struct counting *c = context;
    struct cam_hash key = key_of(hash, pack);
    struct cam_page_slot *slot = cam_pages_slot(&c->t->users, key);
    uint64_t before = slot ? slot->offset : 0;
    if (slot && slot->pack == c->stamp)
        return CAM_OK;
    if (!slot)
        CAM_TRY(cam_pages_add(&c->t->users, key, c->stamp, c->user));
    else {
        slot->offset += c->user;
        slot->pack = c->stamp;
    }
    if (before == 0)
        c->t->live[pack] += bytes;
    if (c->user == KEPT_USER && (before & KEPT_MASK) == 0)
        c->t->kept_bytes += bytes;
    return CAM_OK;
}

static enum cam_status remove_user(void *context, struct cam_hash hash, uint32_t pack,
                                   int64_t bytes) {
    const struct counting *c = context;
    struct cam_page_slot *slot = cam_pages_slot(&c->t->users, key_of(hash, pack));
    if (!slot || slot->pack == c->stamp)
        return CAM_OK;
    slot->pack = c->stamp;
    slot->offset -= c->user;
    if (slot->offset == 0)
        c->t->live[pack] -= bytes;
    if (c->user == KEPT_USER && (slot->offset & KEPT_MASK) == 0)
        c->t->kept_bytes -= bytes;
    return CAM_OK;
}

static enum cam_status take_own(void *context, struct cam_hash hash, uint32_t pack, int64_t bytes) {
    struct counting *c = context;
    struct cam_page_slot *slot = cam_pages_slot(&c->t->users, key_of(hash, pack));
    if (slot && slot->offset == c->user && slot->pack != c->stamp) {
        slot->pack = c->stamp;
        c->own += bytes;
    }
    return CAM_OK;
}

static uint64_t user_of(const struct cam_snapshot *row) {
    return row->kind == CAM_SNAPSHOT_KEPT ? KEPT_USER : CHECKPOINT_USER;
}

static int64_t size_of(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

static int64_t manifest_bytes(struct cam_snapshots *s, const char *id) {
    char path[CAM_PATH_BYTES];
    return cam_snapshot_path(s, id, path) == CAM_OK ? size_of(path) : 0;
}

static int64_t pack_bytes(struct cam_snapshots *s, size_t pack) {
    char path[CAM_PATH_BYTES];
    if (!*s->packs[pack].name || cam_pack_path(s, s->packs[pack].name, path) != CAM_OK)
        return 0;
    return size_of(path);
}

static void tally_release(struct cam_tally *t) {
    cam_pages_release(&t->users);
    free(t->live);
}

/* READABLE[i]: the manifest of row i could be read. */
static enum cam_status tally(struct cam_snapshots *s, const struct cam_row_list *list,
                             unsigned char *readable, struct cam_tally *t) {
    *t = (struct cam_tally){.s = s};
    t->live =
        calloc(s->n_packs + 1, sizeof *t->live); /* all packs of rows are known since opening */
    if (!t->live)
        return cam_fail(CAM_ERR_OS, "no memory for %zu packs", s->n_packs);
    for (size_t i = 0; i < list->n_rows; i++) {
        const struct cam_snapshot *row = &list->rows[i];
        struct counting c = {.t = t, .user = user_of(row), .stamp = next_stamp(t)};
        readable[i] = cam_snapshots_holds(s, row->id);
        if (!readable[i])
            continue;
        CAM_TRY(each_page(s, row->id, add_user, &c));
        int64_t bytes = manifest_bytes(s, row->id);
        t->disk_bytes += bytes;
        if (row->kind == CAM_SNAPSHOT_KEPT)
            t->kept_bytes += bytes;
    }
    for (size_t i = 0; i < s->n_packs; i++)
        t->disk_bytes += pack_bytes(s, i);
    return CAM_OK;
}

/* ---- what one costs
 * ----------------------------------------------------------------------------------------- */

enum cam_status cam_snapshots_measure(struct cam_snapshots *s, int all, cam_snapshot_fn *fn,
                                      void *context) {
    struct cam_row_list list = {0};
    struct cam_tally t = {0};
    cam_snapshots_wait(s);
    CAM_TRY(cam_snapshot_rows(s->database, &list));
    unsigned char *readable = calloc(list.n_rows + 1, 1);
    enum cam_status status = readable ? tally(s, &list, readable, &t)
                                      : cam_fail(CAM_ERR_OS, "no memory for %zu rows", list.n_rows);
    for (size_t i = 0; i < list.n_rows && status == CAM_OK; i++) {
        struct cam_snapshot *row = &list.rows[i];
        struct counting c = {.t = &t, .user = user_of(row), .stamp = next_stamp(&t)};
        if (!all && row->kind != CAM_SNAPSHOT_KEPT)
            continue;
        if (readable[i])
            status = each_page(s, row->id, take_own, &c);
        row->bytes_own = c.own + manifest_bytes(s, row->id);
        if (status == CAM_OK)
            status = fn(context, row);
    }
    tally_release(&t);
    free(readable);
    free(list.rows);
    return status;
}

/* ---- the plan
 * ------------------------------------------------------------------------------------------------
 */

struct plan {
    const struct cam_prune_rule *rule;
    struct cam_row_list list;
    struct cam_tally tally;
    unsigned char *readable, *goes;
    const char **why; /* static text: why a kept one stays */
    struct cam_prune_report report;
};

static void plan_release(struct plan *p) {
    tally_release(&p->tally);
    free(p->list.rows);
    free(p->readable);
    free(p->goes);
    free(p->why);
}

/* The newest living row that verifies is where the next start comes from, if newer ones do not. */
static enum cam_status protect_newest(struct cam_snapshots *s, struct plan *p) {
    int newest = 1;
    unsigned char *tried = calloc(p->list.n_rows + 1, 1);
    if (!tried)
        return cam_fail(CAM_ERR_OS, "no memory for %zu rows", p->list.n_rows);
    for (;;) {
        size_t best = p->list.n_rows;
        for (size_t i = 0; i < p->list.n_rows; i++)
            if (p->list.rows[i].living && p->list.rows[i].kind == CAM_SNAPSHOT_KEPT && !tried[i] &&
                (best == p->list.n_rows || p->list.rows[i].moment >= p->list.rows[best].moment))
                best = i;
        if (best == p->list.n_rows)
            break;
        tried[best] = 1;
        if (cam_snapshot_check(s, p->list.rows[best].id) == CAM_OK) {
            p->why[best] = newest ? "the newest" : "the newest that verifies";
            break;
        }
        newest = 0;
    }
    free(tried);
    return CAM_OK;
}

static enum cam_status take_away(struct cam_snapshots *s, struct plan *p, size_t i) {
    struct counting c = {.t = &p->tally, .user = KEPT_USER, .stamp = next_stamp(&p->tally)};
    p->goes[i] = 1;
    p->report.n_removed++;
    if (!p->readable[i])
        return CAM_OK;
    CAM_TRY(each_page(s, p->list.rows[i].id, remove_user, &c));
    p->tally.kept_bytes -= manifest_bytes(s, p->list.rows[i].id);
    p->report.freed_bytes += manifest_bytes(s, p->list.rows[i].id);
    return CAM_OK;
}

/* Oldest first: rows come so. */
static enum cam_status choose(struct cam_snapshots *s, struct plan *p) {
    int64_t n_kept = 0;
    for (size_t i = 0; i < p->list.n_rows; i++)
        n_kept += p->list.rows[i].kind == CAM_SNAPSHOT_KEPT;
    int64_t left = n_kept;
    for (size_t i = 0; i < p->list.n_rows; i++) {
        if (p->list.rows[i].kind != CAM_SNAPSHOT_KEPT)
            continue;
        int too_many = p->rule->keep_last >= 0 && left > p->rule->keep_last;
        int too_large = p->rule->max_bytes >= 0 && p->tally.kept_bytes > p->rule->max_bytes;
        if (!p->why[i] && (too_many || too_large))
            CAM_TRY(take_away(s, p, i));
        left--; /* how many are newer than the next */
    }
    p->report.n_kept = n_kept - p->report.n_removed;
    p->report.over_budget = p->rule->max_bytes >= 0 && p->tally.kept_bytes > p->rule->max_bytes;
    return CAM_OK;
}

static int is_worth(const struct plan *p, struct cam_snapshots *s, size_t pack) {
    int64_t bytes = pack_bytes(s, pack), live = p->tally.live[pack];
    if (p->rule->tight)
        return *s->packs[pack].name && live > 0 && live < bytes;
    return *s->packs[pack].name && WORTH_COMPACTING(live, bytes);
}

static void estimate(struct cam_snapshots *s, struct plan *p, size_t n_packs) {
    p->report.bytes_before = p->tally.disk_bytes;
    for (size_t i = 0; i < n_packs; i++) {
        if (p->tally.live[i] == 0)
            p->report.freed_bytes += pack_bytes(s, i);
        else if (is_worth(p, s, i)) {
            p->report.freed_bytes += pack_bytes(s, i) - p->tally.live[i];
            p->report.n_compacted++;
        }
    }
}

static enum cam_status make_plan(struct cam_snapshots *s, struct plan *p) {
    CAM_TRY(cam_snapshot_rows(s->database, &p->list));
    size_t n = p->list.n_rows + 1;
    p->readable = calloc(n, 1);
    p->goes = calloc(n, 1);
    p->why = calloc(n, sizeof *p->why);
    if (!p->readable || !p->goes || !p->why)
        return cam_fail(CAM_ERR_OS, "no memory for %zu rows", n);
    CAM_TRY(tally(s, &p->list, p->readable, &p->tally));
    size_t n_packs = s->n_packs;
    for (size_t i = 0; i < p->list.n_rows; i++)
        if (*p->list.rows[i].tag)
            p->why[i] = "tagged";
    CAM_TRY(protect_newest(s, p));
    for (size_t i = 0; i < p->list.n_rows; i++) {
        int needed = 0;
        CAM_TRY(cam_snapshot_row_needed(s->database, p->list.rows[i].id, &needed));
        if (needed && !p->why[i])
            p->why[i] = "the living history forked from it";
    }
    CAM_TRY(choose(s, p));
    estimate(s, p, n_packs);
    return CAM_OK;
}

/* ---- compacting
 * ---------------------------------------------------------------------------------------------- */

/* Moving the living pages of one pack. */
struct moving {
    struct cam_snapshots *s;
    char old_name[CAM_PACK_NAME_BYTES], new_name[CAM_PACK_NAME_BYTES];
    char old_path[CAM_PATH_BYTES], new_path[CAM_PATH_BYTES];
    struct cam_pages moved; /* hash -> offset in the new pack */
    struct cam_fs_file file;
    int from, open;
    uint64_t offset;
};

static int pack_of(const struct cam_manifest *m, const char *name) {
    for (size_t i = 0; i < m->n_packs; i++)
        if (strcmp(m->packs[i], name) == 0)
            return (int)i;
    return -1;
}

static enum cam_status move_page(struct moving *v, const struct cam_manifest_page *page,
                                 size_t n_bytes) {
    char data[CAM_SNAPSHOT_PAGE_BYTES];
    if (cam_pages_slot(&v->moved, page->hash))
        return CAM_OK;
    CAM_TRY(cam_fs_pread_all(v->s->fs, v->from, v->old_path, data, n_bytes, (int64_t)page->offset));
    if (!cam_hash_equal(cam_hash_bytes(data, n_bytes), page->hash))
        return cam_fail(CAM_ERR_DATA, "%s: the page at offset %llu does not match its hash",
                        v->old_path, (unsigned long long)page->offset);
    CAM_TRY(cam_fs_write_all(v->s->fs, v->file.fd, v->file.temporary, data, n_bytes));
    CAM_TRY(cam_pages_add(&v->moved, page->hash, 0, v->offset));
    v->offset += n_bytes;
    return CAM_OK;
}

/* Moves what manifest M has in the old pack, or (REWRITE) gives M the new places. */
static enum cam_status move_pages(struct moving *v, struct cam_manifest *m, int rewrite) {
    int pack = pack_of(m, v->old_name);
    for (size_t r = 0; r < m->n_regions && pack >= 0; r++)
        for (uint64_t i = 0, n = cam_pages_of(m->regions[r].bytes); i < n; i++) {
            struct cam_manifest_page *page = &m->pages[m->regions[r].first_page + i];
            uint64_t left = m->regions[r].bytes - i * CAM_SNAPSHOT_PAGE_BYTES;
            if (page->pack != (uint32_t)pack)
                continue;
            if (rewrite)
                page->offset = cam_pages_slot(&v->moved, page->hash)->offset;
            else
                CAM_TRY(move_page(v, page,
                                  left < CAM_SNAPSHOT_PAGE_BYTES ? (size_t)left
                                                                 : CAM_SNAPSHOT_PAGE_BYTES));
        }
    if (rewrite && pack >= 0)
        memcpy(m->packs[pack], v->new_name, CAM_PACK_NAME_BYTES);
    return CAM_OK;
}

/* For each manifest of a row that names the old pack. */
static enum cam_status each_manifest(struct moving *v, const struct cam_row_list *list,
                                     int rewrite) {
    for (size_t i = 0; i < list->n_rows; i++) {
        struct cam_manifest m = {0};
        char path[CAM_PATH_BYTES];
        if (!cam_snapshots_holds(v->s, list->rows[i].id))
            continue;
        CAM_TRY(cam_snapshot_path(v->s, list->rows[i].id, path));
        CAM_TRY(cam_manifest_read(&m, v->s->fs, path));
        enum cam_status status = CAM_OK;
        if (pack_of(&m, v->old_name) >= 0) {
            status = move_pages(v, &m, rewrite);
            if (status == CAM_OK && rewrite)
                status = cam_manifest_write(&m, v->s->fs, path);
        }
        cam_manifest_release(&m);
        CAM_TRY(status);
    }
    return CAM_OK;
}

static enum cam_status compact(struct moving *v, const struct cam_row_list *list) {
    const struct cam_fs *fs = v->s->fs;
    cam_pack_new_name(v->new_name);
    CAM_TRY(cam_pack_path(v->s, v->old_name, v->old_path));
    CAM_TRY(cam_pack_path(v->s, v->new_name, v->new_path));
    v->from = fs->open(fs->context, v->old_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (v->from < 0)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot open", v->old_path);
    CAM_TRY(cam_fs_file_begin(&v->file, fs, v->new_path));
    v->open = 1;
    CAM_TRY(each_manifest(v, list, 0));
    v->open = 0;
    CAM_TRY(cam_fs_file_commit(&v->file));
    CAM_TRY(each_manifest(v, list, 1));
    if (fs->unlink(fs->context, v->old_path) != 0)
        return cam_fail_errno(CAM_ERR_IO, errno, "%s: cannot remove", v->old_path);
    return CAM_OK;
}

/* One pack after the other, so that little space is needed at a time.  Half a compaction leaves
 * every manifest readable; what went wrong is told, and the next prune tries again. */
static enum cam_status compact_packs(struct cam_snapshots *s, struct plan *p) {
    struct cam_row_list list = {0};
    size_t n_packs = s->n_packs;
    enum cam_status first = CAM_OK;
    CAM_TRY(cam_snapshot_rows(s->database, &list));
    p->report.n_compacted = 0;
    for (size_t i = 0; i < n_packs && !s->unsure; i++) {
        struct moving v = {.s = s, .from = -1};
        if (!is_worth(p, s, i))
            continue;
        memcpy(v.old_name, s->packs[i].name, sizeof v.old_name);
        enum cam_status status = compact(&v, &list);
        if (v.open)
            cam_fs_file_abandon(&v.file);
        if (v.from >= 0)
            s->fs->close(s->fs->context, v.from);
        cam_pages_release(&v.moved);
        if (status == CAM_OK)
            p->report.n_compacted++;
        else
            cam_log(CAM_LOG_WARNING, "pack %.45s stays as it is: %s", v.old_name, cam_message());
        if (status != CAM_OK && status != CAM_ERR_DATA && first == CAM_OK)
            first = status;
    }
    free(list.rows);
    enum cam_status status = cam_snapshots_reload(s);
    return status == CAM_OK && first != CAM_ERR_FULL ? first : status;
}

/* ---- pruning
 * --------------------------------------------------------------------------------------------------
 */

static int64_t disk_bytes(struct cam_snapshots *s, const struct cam_row_list *list,
                          const unsigned char *goes) {
    int64_t bytes = 0;
    for (size_t i = 0; i < s->n_packs; i++)
        bytes += pack_bytes(s, i);
    for (size_t i = 0; i < list->n_rows; i++)
        if (!goes[i])
            bytes += manifest_bytes(s, list->rows[i].id);
    return bytes;
}

static enum cam_status act(struct cam_snapshots *s, struct plan *p) {
    int unsure = s->unsure;
    char message[160];
    if (p->report.n_removed)
        CAM_TRY(cam_snapshot_rows_delete(s->database, p->list.rows, p->goes, p->list.n_rows));
    CAM_TRY(cam_snapshots_sweep(s, 1, NULL));
    CAM_TRY(compact_packs(s, p));
    if (unsure && !s->unsure) /* who could not be read is gone, so its packs may go */
        CAM_TRY(cam_snapshots_sweep(s, 1, NULL));
    p->report.freed_bytes = p->report.bytes_before - disk_bytes(s, &p->list, p->goes);
    if (p->report.n_removed == 0 && p->report.n_compacted == 0)
        return CAM_OK;
    snprintf(message, sizeof message,
             "removed %lld snapshots, compacted %lld packs: %lld bytes freed, %lld snapshots stay",
             (long long)p->report.n_removed, (long long)p->report.n_compacted,
             (long long)p->report.freed_bytes, (long long)p->report.n_kept);
    return cam_history_event(s->database, "info", "pruned", message, NULL);
}

enum cam_status cam_snapshots_prune_by(struct cam_snapshots *s, const struct cam_prune_rule *rule,
                                       cam_prune_fn *fn, void *context,
                                       struct cam_prune_report *report) {
    struct plan p = {.rule = rule};
    cam_snapshots_wait(s);
    enum cam_status status = make_plan(s, &p);
    for (size_t i = 0; i < p.list.n_rows && fn && status == CAM_OK; i++)
        if (p.list.rows[i].kind == CAM_SNAPSHOT_KEPT)
            status = fn(context, &p.list.rows[i], p.goes[i],
                        p.why[i]    ? p.why[i]
                        : p.goes[i] ? ""
                                    : "recent");
    if (status == CAM_OK && rule->act)
        status = act(s, &p);
    if (status == CAM_OK && report)
        *report = p.report;
    plan_release(&p);
    return status;
}

enum cam_status cam_snapshots_prune(struct cam_snapshots *snapshots, int64_t keep, int64_t *removed,
                                    int64_t *freed_bytes) {
    struct cam_prune_rule rule = {.keep_last = keep < 0 ? 0 : keep, .max_bytes = -1, .act = 1};
    struct cam_prune_report report;
    CAM_TRY(cam_snapshots_prune_by(snapshots, &rule, NULL, NULL, &report));
    if (removed)
        *removed = report.n_removed;
    if (freed_bytes)
        *freed_bytes = report.freed_bytes;
    return CAM_OK;
}
