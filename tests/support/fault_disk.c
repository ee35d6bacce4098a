#include "support/fault_disk.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *copy_to; /* nftw has no context */
static size_t copy_from;

struct content {
    char *bytes;
    size_t n, capacity;
};

struct disk {
    const struct fault_log *log;
    struct content *files;
    struct fault_name *names;
    size_t n_names;
};

static void reserve(struct content *c, size_t n) {
    if (n > c->capacity) {
        c->bytes = realloc(c->bytes, 2 * n);
        c->capacity = 2 * n;
    }
    if (n > c->n) {
        memset(c->bytes + c->n, 0, n - c->n); /* a hole */
        c->n = n;
    }
}

static void disk_name(struct disk *d, const char *path, int node) {
    for (size_t i = 0; i < d->n_names; i++)
        if (strcmp(d->names[i].path, path) == 0) {
            d->names[i].node = node;
            return;
        }
    d->names = realloc(d->names, (d->n_names + 1) * sizeof *d->names);
    d->names[d->n_names++] = (struct fault_name){strdup(path), node};
}

static void disk_forget(struct disk *d, const char *path) {
    for (size_t i = 0; i < d->n_names; i++)
        if (strcmp(d->names[i].path, path) == 0) {
            free(d->names[i].path);
            d->names[i] = d->names[--d->n_names];
            return;
        }
}

static int is_name_change(enum fault_op op) {
    return op == FAULT_OPEN || op == FAULT_RENAME || op == FAULT_UNLINK;
}

/* Whether PATH lies in the folder DIR itself. */
static int is_in(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

/* A sync before K made step I durable. */
static int is_durable(const struct fault_log *log, size_t i, size_t k) {
    const struct fault_step *s = &log->steps[i];
    for (size_t j = i + 1; j < k; j++) {
        const struct fault_step *t = &log->steps[j];
        if (is_name_change(s->op) ? t->op == FAULT_SYNC_DIR && is_in(s->path, t->to)
                                  : t->op == FAULT_SYNC && t->node == s->node)
            return 1;
    }
    return 0;
}

static void apply(struct disk *d, const struct fault_step *s, size_t n_bytes) {
    struct content *c = s->node >= 0 ? &d->files[s->node] : NULL;
    switch (s->op) {
    case FAULT_OPEN:
        disk_name(d, s->path, s->node);
        break;
    case FAULT_WRITE:
        if (n_bytes) {
            reserve(c, (size_t)s->offset + n_bytes);
            memcpy(c->bytes + s->offset, s->bytes, n_bytes);
        }
        break;
    case FAULT_TRUNCATE:
        reserve(c, (size_t)s->offset);
        c->n = (size_t)s->offset;
        break;
    case FAULT_RENAME:
        disk_forget(d, s->path);
        disk_name(d, s->to, s->node);
        break;
    case FAULT_UNLINK:
        disk_forget(d, s->path);
        break;
    default:
        break;
    }
}

static void replay(struct disk *d, size_t k, unsigned loss) {
    for (size_t i = 0; i < k; i++) {
        const struct fault_step *s = &d->log->steps[i];
        struct cam_random random = cam_random_at(loss, CAM_PURPOSE_TEST, k, (uint32_t)i);
        size_t n = s->n_bytes;
        if (!is_durable(d->log, i, k)) {
            if (loss == FAULT_LOSE_ALL || (loss > 1 && random.word[0] % 2))
                continue;
            if (loss > 1 && random.word[1] % 4 == 0)
                n = n ? random.word[2] % n : 0; /* torn */
        }
        apply(d, s, n);
    }
}

static int copy_folder(const char *path, const struct stat *info, int flag, struct FTW *at) {
    char copy[1024];
    (void)info;
    if (flag != FTW_D || at->level == 0)
        return 0;
    snprintf(copy, sizeof copy, "%s%s", copy_to, path + copy_from);
    return mkdir(copy, 0755);
}

static void write_out(const struct disk *d, const char *dir) {
    size_t n_root = strlen(d->log->root);
    copy_to = dir;
    copy_from = n_root;
    cr_assert(nftw(d->log->root, copy_folder, 16, FTW_PHYS) == 0);
    for (size_t i = 0; i < d->n_names; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s%s", dir, d->names[i].path + n_root);
        const struct content *c = &d->files[d->names[i].node];
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        cr_assert(fd >= 0, "%s", path);
        cr_assert(c->n == 0 || write(fd, c->bytes, c->n) == (ssize_t)c->n, "%s", path);
        close(fd);
    }
}

void fault_disk_after(const struct fault_log *log, size_t k, unsigned loss, const char *dir) {
    struct disk d = {.log = log, .files = calloc(log->n_files + 1, sizeof *d.files)};
    for (size_t i = 0; i < log->n_files; i++) {
        if (!log->files[i].path)
            continue;
        reserve(&d.files[i], log->files[i].n_bytes);
        if (log->files[i].n_bytes)
            memcpy(d.files[i].bytes, log->files[i].bytes, log->files[i].n_bytes);
        disk_name(&d, log->files[i].path, (int)i);
    }
    replay(&d, k, loss);
    write_out(&d, dir);
    for (size_t i = 0; i < log->n_files; i++)
        free(d.files[i].bytes);
    for (size_t i = 0; i < d.n_names; i++)
        free(d.names[i].path);
    free(d.files);
    free(d.names);
}
