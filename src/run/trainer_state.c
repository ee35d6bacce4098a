#include "run/trainer_internal.h"

#include "math/blas.h"
#include "model/anchor.h"
#include "model/average.h"
#include "store/query.h"

#include <stdlib.h>
#include <string.h>

/* Regions of a snapshot, in order: "trainer" first (it says how large the pools are), then the
 * tokenizer, the model, and what is saved beside it (read_apart). */
struct region_list {
    struct cam_region *items;
    size_t n, capacity;
};

static enum cam_status list_region(void *context, const char *name, void *data, size_t n_bytes) {
    struct region_list *list = context;
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 256;
        struct cam_region *items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return cam_fail(CAM_ERR_OS, "out of memory for the regions of a snapshot");
        list->items = items;
        list->capacity = capacity;
    }
    struct cam_region *region = &list->items[list->n++];
    *region = (struct cam_region){.data = data, .bytes = n_bytes};
    if (strlen(name) >= sizeof region->name)
        return cam_fail(CAM_ERR_INTERNAL, "region name %s is too long", name);
    strcpy(region->name, name);
    return CAM_OK;
}

static enum cam_status list_regions(struct cam_trainer *t, struct region_list *list) {
    for (size_t i = 0; i < CAM_MAX_BLOCKS; i++)
        t->state.subkeys[i] = 0;
    size_t i_block = 0;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++)
        t->state.subkeys[i_block] = cam_peer_subkeys(ff);
    t->saved = t->state;
    t->saved.position = 0;
    CAM_TRY(list_region(list, "trainer", &t->saved, sizeof t->saved));
    CAM_TRY(list_region(list, "tokenizer", t->tokenizer_file.data, t->tokenizer_file.size));
    return cam_model_visit_state(t->model, list_region, list);
}

enum cam_status cam_trainer_hash(struct cam_trainer *t, char hex[CAM_HASH_HEX_BYTES]) {
    struct region_list list = {0};
    enum cam_status status = list_regions(t, &list);
    if (status == CAM_OK)
        status = cam_regions_hash(list.items, list.n, hex);
    free(list.items);
    return status;
}

/* What `recover` needs when history.db is lost: settings that the journal fixes, and the policy. */
static enum cam_status read_apart(struct cam_trainer *t, char **settings, char **policy) {
    CAM_TRY(cam_query_copy(t->database,
                           "SELECT json_group_object(key, value) FROM (SELECT key, value FROM"
                           " v1_settings WHERE scope <> 'now' ORDER BY key)",
                           NULL, settings));
    return cam_query_copy(t->database, "SELECT text FROM v1_policies WHERE in_force", NULL, policy);
}

static enum cam_status list_apart(struct region_list *list, const char *name, char *text) {
    CAM_TRY(list_region(list, name, text, strlen(text)));
    list->items[list->n - 1].apart = 1;
    return CAM_OK;
}

enum cam_status cam_trainer_save(struct cam_trainer *t, enum cam_snapshot_kind kind,
                                 const char *tag, int wait, struct cam_snapshot *out) {
    struct region_list list = {0};
    char *settings = NULL, *policy = NULL;
    enum cam_status status = read_apart(t, &settings, &policy);
    if (status == CAM_OK)
        status = list_regions(t, &list);
    if (status == CAM_OK)
        status = list_apart(&list, "settings", settings);
    if (status == CAM_OK)
        status = list_apart(&list, "policy", policy);
    if (status == CAM_OK)
        status = wait ? cam_snapshot_save(t->snapshots, kind, tag, NULL, list.items, list.n, out)
                      : cam_snapshot_save_begin(t->snapshots, kind, tag, list.items, list.n, out);
    free(list.items);
    free(settings);
    free(policy);
    if (status == CAM_OK)
        t->checkpoint_step = t->state.step;
    return status;
}

enum cam_status cam_trainer_build(struct cam_trainer *t, const void *tokenizer_file,
                                  size_t n_bytes) {
    cam_buffer_init(&t->tokenizer_file, CAM_TOKENIZER_MAX_FILE_BYTES);
    CAM_TRY(cam_buffer_append(&t->tokenizer_file, tokenizer_file, n_bytes));
    CAM_TRY(cam_tokenizer_load(t->tokenizer_file.data, n_bytes, &t->tokenizer));
    CAM_TRY(cam_encoder_new(t->tokenizer, &t->encoder));
    CAM_TRY(cam_settings_recipe(&t->settings, &t->recipe));
    struct cam_model_shape shape;
    CAM_TRY(cam_settings_shape(&t->settings, cam_tokenizer_vocabulary(t->tokenizer), &shape));
    CAM_TRY(cam_model_new(&shape, (uint64_t)t->settings.seed, &t->model));
    CAM_TRY(cam_packed_init(&t->packed, (size_t)t->settings.train_rows, shape.context));
    return cam_threads_new((int)t->settings.threads, &t->threads);
}

struct loading {
    struct cam_trainer *t;
    struct region_list list; /* the model's regions, once its shape is known */
    size_t next;
    void *tokenizer;
    size_t tokenizer_bytes;
};

/* Called for the first region after the tokenizer: by now both are in memory. */
static enum cam_status shape_model(struct loading *loading) {
    struct cam_trainer *t = loading->t;
    if (t->state.version != CAM_TRAINER_STATE_VERSION)
        return cam_fail(CAM_ERR_CONFIG,
                        "the snapshot's trainer state has version %llu, this cambium reads %d",
                        (unsigned long long)t->state.version, CAM_TRAINER_STATE_VERSION);
    if (!t->model) {
        CAM_TRY(cam_trainer_build(t, loading->tokenizer, loading->tokenizer_bytes));
    } else { /* rolling back: pools only grow, so begin with a fresh model */
        struct cam_model *fresh;
        CAM_TRY(cam_model_new(&t->model->shape, t->model->seed, &fresh));
        cam_model_free(t->model);
        t->model = fresh;
    }
    size_t i_block = 0;
    for (struct cam_ff *ff; (ff = cam_trainer_pool(t, &i_block)); i_block++)
        CAM_TRY(cam_peer_restore_shape(ff, (size_t)t->state.subkeys[i_block]));
    if (t->state.averages)
        CAM_TRY(cam_model_average_begin(t->model));
    CAM_TRY(cam_model_anchor_keep(t->model, (unsigned)t->state.anchors));
    return cam_model_visit_state(t->model, list_region, &loading->list);
}

static enum cam_status load_region(void *context, const char *name, size_t bytes,
                                   void **destination) {
    struct loading *loading = context;
    if (strcmp(name, "trainer") == 0) {
        if (bytes != sizeof loading->t->state)
            return cam_fail(CAM_ERR_CONFIG,
                            "the snapshot's trainer state has %zu bytes, %zu expected: another "
                            "version of cambium saved it; go on with that one",
                            bytes, sizeof loading->t->state);
        *destination = &loading->t->state;
        return CAM_OK;
    }
    if (strcmp(name, "tokenizer") == 0) {
        if (bytes > CAM_TOKENIZER_MAX_FILE_BYTES)
            return cam_fail(CAM_ERR_DATA, "tokenizer of %zu bytes", bytes);
        loading->tokenizer = malloc(bytes ? bytes : 1);
        loading->tokenizer_bytes = bytes;
        *destination = loading->tokenizer;
        return loading->tokenizer ? CAM_OK : cam_fail(CAM_ERR_OS, "out of memory");
    }
    if (strcmp(name, "settings") == 0 || strcmp(name, "policy") == 0) {
        *destination = NULL; /* the history has them */
        return CAM_OK;
    }
    if (loading->list.n == 0)
        CAM_TRY(shape_model(loading));
    if (loading->next == loading->list.n ||
        strcmp(loading->list.items[loading->next].name, name) != 0 ||
        loading->list.items[loading->next].bytes != bytes)
        return cam_fail(CAM_ERR_CONFIG,
                        "region %s of %zu bytes does not fit this model (expected %s of %zu)", name,
                        bytes,
                        loading->next < loading->list.n ? loading->list.items[loading->next].name
                                                        : "nothing",
                        loading->next < loading->list.n ? loading->list.items[loading->next].bytes
                                                        : 0);
    *destination = loading->list.items[loading->next++].data;
    return CAM_OK;
}

static enum cam_status pass_by(void *context, const char *name, void *data, size_t n_bytes) {
    (void)context, (void)name, (void)data, (void)n_bytes;
    return CAM_OK;
}

enum cam_status cam_trainer_load(struct cam_trainer *t, const char *snapshot) {
    struct loading loading = {.t = t};
    struct cam_snapshot row;
    CAM_TRY(cam_snapshot_find(t->snapshots, snapshot, &row));
    enum cam_status status = cam_snapshot_load(t->snapshots, snapshot, load_region, &loading);
    if (status == CAM_OK && (loading.list.n == 0 || loading.next != loading.list.n))
        status = cam_fail(CAM_ERR_DATA, "snapshot %s lacks regions of the model", snapshot);
    if (status == CAM_OK) /* lets every kind derive what follows from the state just loaded */
        status = cam_model_visit_state(t->model, pass_by, NULL);
    if (status == CAM_OK)
        cam_trainer_apply_frozen(t);
    free(loading.list.items);
    free(loading.tokenizer);
    if (status == CAM_OK) {
        t->state.position = row.position + (row.offset > 0);
        t->checkpoint_step = t->state.step;
    }
    return status;
}

static enum cam_status weigh_sources(struct cam_trainer *t) {
    for (size_t i = 0; i < t->replay.n_sources; i++)
        CAM_TRY(cam_levers_source(t->database, &t->levers, &t->replay.sources[i]));
    return CAM_OK;
}

enum cam_status cam_trainer_apply_settings(struct cam_trainer *t) {
    CAM_TRY(cam_journal_settings(t->database, &t->settings));
    CAM_TRY(cam_settings_recipe(&t->settings, &t->recipe));
    t->model->shape.products = cam_settings_products(&t->settings);
    CAM_TRY(cam_levers_read(t->database, &t->settings, &t->levers));
    t->recipe.gate_experts = (size_t)t->levers.gate_experts;
    t->recipe.anchor_l2 = t->levers.anchor_l2;
    t->recipe.anchor_ewc = t->levers.anchor_ewc;
    t->recipe.distill = t->levers.distill_weight;
    if (t->state.rewarm_peak > 0) {
        t->recipe.lr *= (double)t->state.rewarm_peak / 1000;
        t->recipe.begin = t->state.rewarm_step;
        t->recipe.from = t->state.rewarm_from;
    }
    return weigh_sources(t);
}

enum cam_status cam_trainer_remember(struct cam_trainer *t, const char *source, int64_t document,
                                     int64_t bytes) {
    size_t known = t->replay.n_sources;
    CAM_TRY(cam_replay_add(&t->replay, source, document, bytes));
    return t->replay.n_sources == known
               ? CAM_OK
               : cam_levers_source(t->database, &t->levers, &t->replay.sources[known]);
}

static enum cam_status add_trained(void *context, const struct cam_trained *trained) {
    struct cam_trainer *t = context;
    return cam_replay_add(&t->replay, trained->domain, trained->document, trained->bytes);
}

enum cam_status cam_trainer_list_replay(struct cam_trainer *t) {
    cam_replay_release(&t->replay);
    /* The callback runs on the database's thread, so it cannot ask the database anything. */
    CAM_TRY(cam_history_trained(t->database, 0, add_trained, t));
    return weigh_sources(t);
}

enum cam_status cam_trainer_rewind(struct cam_trainer *t) {
    cam_queue_release(&t->queue);
    if (t->has_control) {
        free(t->control.name);
        free(t->control.value);
        t->has_control = 0;
    }
    /* A document in progress is read again, and its first tokens skipped. */
    t->read_to = t->state.offset > 0 ? t->state.position - 1 : t->state.position;
    t->queue.offset = (size_t)t->state.offset;
    t->n_unsound = 0;
    *t->way_back = '\0';
    return cam_trainer_list_replay(t);
}
