#include "growth/policy.h"

#include "base/embed.h"
#include "base/fs.h"
#include "store/decide.h"
#include "store/history.h"
#include "store/policies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(CAM_POLICY_NAME_BYTES == CAM_NAME_BYTES, "a policy's name is a name");

/* ---- names and texts
 * ---------------------------------------------------------------------------------- */

/* "dir/lifelong.sql" -> "lifelong". */
static enum cam_status name_of(const char *path, char name[CAM_NAME_BYTES]) {
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t n = strlen(base);
    if (n > 4 && strcmp(base + n - 4, ".sql") == 0)
        n -= 4;
    if (n == 0 || n >= CAM_NAME_BYTES ||
        strspn(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") < n)
        return cam_fail(CAM_ERR_CONFIG,
                        "policy %.80s: a name has 1 to %d letters, digits, _ - or .", path,
                        CAM_NAME_BYTES - 1);
    snprintf(name, CAM_NAME_BYTES, "%.*s", (int)n, base);
    return CAM_OK;
}

static const struct cam_embedded *bundled(const char *name) {
    char file[CAM_NAME_BYTES + 8];
    snprintf(file, sizeof file, "%s.sql", name);
    return cam_embedded_find(cam_embedded_policies, file);
}

static enum cam_status unknown(const char *name) {
    char list[512] = "";
    size_t used = 0;
    for (const struct cam_embedded *e = cam_embedded_policies; e->name; e++) {
        int n = snprintf(list + used, sizeof list - used, "%s%.*s", used ? ", " : "",
                         (int)(strlen(e->name) - 4), e->name);
        if (n < 0 || (size_t)n >= sizeof list - used)
            break;
        used += (size_t)n;
    }
    return cam_fail(CAM_ERR_NOINPUT, "policy %.80s: no such name or file; there are: %s", name,
                    list);
}

enum cam_status cam_policy_text(struct cam_database *database, const char *name, char **text) {
    char *stored = NULL;
    const struct cam_embedded *file = bundled(name);
    CAM_TRY(cam_policies_find(database, name, &stored));
    if (!stored && !file)
        return unknown(name);
    if (!stored && !(stored = strdup((const char *)file->data)))
        return cam_fail(CAM_ERR_OS, "no memory for a policy");
    *text = stored;
    return CAM_OK;
}

int cam_policy_is_file(const char *name_or_file) {
    size_t n = strlen(name_or_file);
    return strchr(name_or_file, '/') || (n > 4 && !strcmp(name_or_file + n - 4, ".sql"));
}

enum cam_status cam_policy_read_file(const char *path, char name[CAM_POLICY_NAME_BYTES],
                                     char **text) {
    size_t n_bytes;
    CAM_TRY(name_of(path, name));
    CAM_TRY(cam_fs_read_file(cam_fs_system(), path, CAM_POLICY_BYTES, text, &n_bytes));
    if (strlen(*text) == n_bytes)
        return CAM_OK;
    free(*text);
    *text = NULL;
    return cam_fail(CAM_ERR_CONFIG, "policy %.80s: holds a NUL byte", path);
}

/* A file where it looks like one, else a name; the bundled text comes before a stored one, so that
 * a new binary brings its policies. */
static enum cam_status resolve(struct cam_database *database, const char *name_or_file,
                               char name[CAM_NAME_BYTES], char **text) {
    if (cam_policy_is_file(name_or_file))
        return cam_policy_read_file(name_or_file, name, text);
    CAM_TRY(name_of(name_or_file, name));
    const struct cam_embedded *file = bundled(name);
    if (!file)
        return cam_policy_text(database, name, text);
    *text = strdup((const char *)file->data);
    return *text ? CAM_OK : cam_fail(CAM_ERR_OS, "no memory for a policy");
}

/* ---- checking and using
 * ----------------------------------------------------------------------------------- */

enum cam_status cam_policy_check(struct cam_database *database, const char *name,
                                 const char *text) {
    return cam_policies_check(database, name, text);
}

enum cam_status cam_policy_use_text(struct cam_database *database, const char *name,
                                    const char *text, int64_t *position) {
    char checked[CAM_NAME_BYTES];
    int64_t at = 0;
    CAM_TRY(name_of(name, checked));
    if (strlen(text) > CAM_POLICY_BYTES)
        return cam_fail(CAM_ERR_CONFIG, "policy %s: %zu bytes exceed the limit of %d", checked,
                        strlen(text), CAM_POLICY_BYTES);
    CAM_TRY(cam_policies_put(database, checked, text, 0, &at));
    if (position)
        *position = at;
    return CAM_OK;
}

enum cam_status cam_policy_use(struct cam_database *database, const char *name_or_file,
                               int64_t *position) {
    char name[CAM_NAME_BYTES], *text = NULL;
    CAM_TRY(resolve(database, name_or_file, name, &text));
    enum cam_status status = cam_policy_use_text(database, name, text, position);
    free(text);
    return status;
}

struct trying {
    cam_policy_decision_fn *fn;
    void *context;
};

static enum cam_status pass_tried(void *context, const struct cam_decide_tried *tried) {
    const struct trying *t = context;
    struct cam_policy_decision decision = {.step = tried->step,
                                           .documents = tried->documents,
                                           .kind = cam_decide_kind_name(tried->row.kind),
                                           .part = tried->row.part,
                                           .layer = tried->row.layer,
                                           .amount = tried->row.amount,
                                           .reason = tried->row.reason,
                                           .evidence = tried->row.evidence};
    return t->fn(t->context, &decision);
}

enum cam_status cam_policy_try(struct cam_database *database, const char *name_or_file,
                               int64_t n_steps, cam_policy_decision_fn *fn, void *context) {
    char name[CAM_NAME_BYTES], *text = NULL;
    struct trying t = {fn, context};
    CAM_TRY(resolve(database, name_or_file, name, &text));
    enum cam_status status = cam_decide_try(database, name, text, n_steps, pass_tried, &t);
    free(text);
    return status;
}

enum cam_status cam_policy_init(struct cam_database *database, const char *name) {
    int64_t at;
    const struct cam_embedded *file = bundled(name);
    if (!file)
        return unknown(name);
    return cam_policies_put(database, name, (const char *)file->data, 1, &at);
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------
 */

enum cam_status cam_policy_number(struct cam_database *database, const char *key, double fallback,
                                  double *value) {
    return cam_policies_number(database, key, fallback, value);
}

struct each {
    cam_policy_fn *fn;
    void *context;
};

/* First comment line of a policy, without its dashes. */
static void summary_of(const char *text, char out[160]) {
    while (*text == '-' || *text == ' ')
        text++;
    snprintf(out, 160, "%.*s", (int)strcspn(text, "\n"), text);
}

static enum cam_status call(const struct each *e, const struct cam_stored_policy *p,
                            int is_bundled) {
    char summary[160];
    summary_of(p->text, summary);
    struct cam_policy policy = {.name = p->name,
                                .hash = p->hash,
                                .summary = summary,
                                .bundled = is_bundled,
                                .in_force = p->in_force};
    return e->fn(e->context, &policy);
}

static enum cam_status call_stored(void *context, const struct cam_stored_policy *p) {
    return call(context, p, bundled(p->name) != NULL);
}

enum cam_status cam_policies_each(struct cam_database *database, cam_policy_fn *fn, void *context) {
    struct each e = {.fn = fn, .context = context};
    CAM_TRY(cam_policies_stored(database, call_stored, &e));
    for (const struct cam_embedded *file = cam_embedded_policies; file->name; file++) {
        char name[CAM_NAME_BYTES], *stored = NULL;
        struct cam_stored_policy p = {.name = name, .hash = "", .text = (const char *)file->data};
        CAM_TRY(name_of(file->name, name));
        CAM_TRY(cam_policies_find(database, name, &stored));
        int is_stored = stored != NULL;
        free(stored);
        if (!is_stored)
            CAM_TRY(call(&e, &p, 1));
    }
    return CAM_OK;
}
