#include "run/preset.h"

#include <stdio.h>
#include <string.h>

struct row {
    const char *key, *value;
};

/* At most 1.5 million active parameters; for trying things out and for tests. */
static const struct row nano[] = {
    {"model.width", "128"},    {"model.blocks", "3"},     {"model.heads", "4"},
    {"model.kv_heads", "2"},   {"model.hidden", "352"},   {"model.context", "256"},
    {"model.ff", "dense,dense+peer,dense"},         {"peer.heads", "4"},
    {"peer.top_k", "8"},       {"peer.key_width", "32"},  {"peer.subkeys", "64"},
    {"peer.max_subkeys", "512"}, {"train.rows", "2"},     {"train.optimizer", "muon"},
    {"train.lr", "0.004"},     {"train.hold_steps", "80"}, {"train.lr_floor", "0.1"},
    {NULL, NULL},
};

/* 5-7 million active parameters, 16,384 experts to begin with. */
static const struct row small[] = {
    {"model.width", "256"},    {"model.blocks", "6"},     {"model.heads", "4"},
    {"model.kv_heads", "2"},   {"model.hidden", "640"},   {"model.context", "256"},
    {"model.ff", "dense,dense,dense,dense+peer,dense,dense"}, {"peer.heads", "4"},
    {"peer.top_k", "16"},      {"peer.key_width", "64"},  {"peer.subkeys", "128"},
    {"peer.max_subkeys", "1024"}, {"train.rows", "8"},    {"train.optimizer", "muon"},
    {"train.lr", "0.004"},
    {NULL, NULL},
};

/* About 40 million active parameters and 65,536 experts: hours, not minutes, on a small machine. */
static const struct row base[] = {
    {"model.width", "512"},    {"model.blocks", "12"},    {"model.heads", "8"},
    {"model.kv_heads", "4"},   {"model.hidden", "1408"},  {"model.context", "512"},
    {"model.ff",
     "dense,dense,dense,dense,dense,dense+peer,dense,dense,dense,dense,dense,dense"},
    {"peer.heads", "8"},       {"peer.top_k", "16"},      {"peer.key_width", "128"},
    {"peer.subkeys", "256"},   {"peer.max_subkeys", "2048"}, {"train.rows", "16"},
    {"train.optimizer", "muon"}, {"train.lr", "0.002"},   {NULL, NULL},
};

static const struct {
    const char *name;
    const struct row *rows;
} presets[] = {{"nano", nano}, {"small", small}, {"base", base}};

enum cam_status cam_preset_apply(const char *name, struct cam_settings *settings) {
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(presets[i].name, name) != 0)
            continue;
        CAM_TRY(cam_settings_set(settings, "model.preset", name));
        for (const struct row *row = presets[i].rows; row->key; row++)
            CAM_TRY(cam_settings_set(settings, row->key, row->value));
        return CAM_OK;
    }
    return cam_fail(CAM_ERR_CONFIG, "preset \"%s\" does not exist; choose nano, small or base",
                    name);
}

/* "dense,dense+peer" or one name for all -> a name a block. */
static enum cam_status read_slots(const char *text, struct cam_model_shape *shape) {
    size_t n = 0;
    for (const char *at = text;; n++) {
        size_t length = strcspn(at, ",");
        if (n == shape->n_blocks || length == 0 || length >= sizeof shape->ff[0])
            return cam_fail(CAM_ERR_CONFIG,
                            "model.ff \"%s\": give one kind for all of the %zu blocks, or one each",
                            text, shape->n_blocks);
        snprintf(shape->ff[n], sizeof shape->ff[n], "%.*s", (int)length, at);
        at += length;
        if (*at++ != ',')
            break;
    }
    n++;
    if (n != 1 && n != shape->n_blocks)
        return cam_fail(CAM_ERR_CONFIG, "model.ff names %zu kinds for %zu blocks", n,
                        shape->n_blocks);
    for (size_t i = n; i < shape->n_blocks; i++)
        memcpy(shape->ff[i], shape->ff[0], sizeof shape->ff[0]);
    return CAM_OK;
}

static enum cam_status read_activation(const char *text, enum cam_activation *activation) {
    static const char *const names[] = {[CAM_ACTIVATION_SWIGLU] = "swiglu",
                                        [CAM_ACTIVATION_GELU] = "gelu"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *activation = (enum cam_activation)i;
            return CAM_OK;
        }
    return cam_fail(CAM_ERR_CONFIG, "model.activation \"%s\": must be swiglu or gelu", text);
}

enum cam_products cam_settings_products(const struct cam_settings *s) {
    return s->model_bf16 ? CAM_PRODUCTS_BF16 : CAM_PRODUCTS_FP32;
}

enum cam_status cam_settings_shape(const struct cam_settings *s, size_t vocabulary,
                                   struct cam_model_shape *shape) {
    struct cam_model_shape out = {
        .vocabulary = vocabulary,
        .width = (size_t)s->model_width,
        .n_blocks = (size_t)s->model_blocks,
        .heads = (size_t)s->model_heads,
        .kv_heads = (size_t)s->model_kv_heads,
        .hidden = (size_t)s->model_hidden,
        .context = (size_t)s->model_context,
        .reference = (int)s->model_reference,
        .products = cam_settings_products(s),
        .moe_experts = (size_t)s->moe_experts,
        .moe_hidden = (size_t)s->moe_hidden,
        .moe_capacity = s->moe_capacity,
        .moe_balance = s->moe_balance,
        .peer_heads = (size_t)s->peer_heads,
        .peer_top_k = (size_t)s->peer_top_k,
        .peer_key_width = (size_t)s->peer_key_width,
        .peer_subkeys = (size_t)s->peer_subkeys,
        .peer_subkeys_capacity = (size_t)s->peer_max_subkeys,
        .pool_lr_scale = s->train_pool_lr,
        .conv = (int)s->model_conv,
        .pool_bf16 = (int)s->peer_bf16,
    };
    if (s->peer_top_k > s->peer_subkeys || s->peer_max_subkeys < s->peer_subkeys)
        return cam_fail(CAM_ERR_CONFIG,
                        "peer.subkeys (%lld) must be at least peer.top_k (%lld) and at most "
                        "peer.max_subkeys (%lld)",
                        (long long)s->peer_subkeys, (long long)s->peer_top_k,
                        (long long)s->peer_max_subkeys);
    CAM_TRY(read_activation(s->model_activation, &out.activation));
    out.pool_adam = strcmp(s->peer_optimizer, "adam") == 0;
    if (!out.pool_adam && strcmp(s->peer_optimizer, "row") != 0)
        return cam_fail(CAM_ERR_CONFIG, "peer.optimizer \"%s\": must be row or adam",
                        s->peer_optimizer);
    CAM_TRY(read_slots(s->model_ff, &out));
    CAM_TRY(cam_model_shape_check(&out));
    *shape = out;
    return CAM_OK;
}

enum cam_status cam_settings_recipe(const struct cam_settings *s, struct cam_recipe *recipe) {
    int muon = strcmp(s->train_optimizer, "muon") == 0;
    if (!muon && strcmp(s->train_optimizer, "adamw") != 0)
        return cam_fail(CAM_ERR_CONFIG, "train.optimizer \"%s\": must be adamw or muon",
                        s->train_optimizer);
    *recipe = (struct cam_recipe){
        .optimizer = muon ? CAM_OPTIMIZER_MUON : CAM_OPTIMIZER_ADAMW,
        .lr = s->train_lr,
        .lr_floor = s->train_lr_floor,
        .warmup = (uint64_t)s->train_warmup,
        .hold = (uint64_t)s->train_hold,
        .beta1 = 0.9,
        .beta2 = 0.95,
        .momentum = 0.95,
        .weight_decay = s->train_weight_decay,
        .clip = s->train_clip,
        .explode = s->train_explode,
    };
    return CAM_OK;
}
