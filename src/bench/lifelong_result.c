/* The file of a finished run: JSON, written whole or not at all. */
#include "bench/lifelong_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)1 << 20)

static json_t *real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *matrix(const struct cam_lifelong_result *x) {
    json_t *rows = json_array();
    for (size_t i = 0; i <= x->n_domains; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < x->n_domains; j++)
            json_array_append_new(row, real(x->r[i][j]));
        json_array_append_new(rows, row);
    }
    return rows;
}

enum cam_status cam_lifelong_save(const struct cam_lifelong_run *run) {
    const struct cam_lifelong_result *x = &run->result;
    struct cam_fs_file file = {0};
    json_t *json =
        json_pack("{s:s,s:s,s:I,s:o,s:f,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f}", "key", run->key, "arm",
                  run->arm->name, "seed", (json_int_t)run->seed, "R", matrix(x), "prequential_bpb",
                  x->prequential_bpb, "experts", (json_int_t)x->experts, "subkeys",
                  (json_int_t)x->subkeys, "tokens", (json_int_t)x->tokens, "replay_tokens",
                  (json_int_t)x->replay_tokens, "steps", (json_int_t)x->steps, "flops_per_token",
                  x->flops_per_token, "seconds", x->seconds, "state_bytes", x->state_bytes);
    char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    json_decref(json);
    if (!text)
        return cam_fail(CAM_ERR_OS, "%s: no memory for the result", run->file);
    enum cam_status status = cam_fs_file_begin(&file, cam_fs_system(), run->file);
    if (status == CAM_OK) {
        status = cam_fs_write_all(file.fs, file.fd, run->file, text, strlen(text));
        if (status == CAM_OK)
            status = cam_fs_file_commit(&file);
        else
            cam_fs_file_abandon(&file);
    }
    free(text);
    return status;
}

static enum cam_status read_matrix(const json_t *rows, struct cam_lifelong_result *x,
                                   const char *path) {
    if (json_array_size(rows) != x->n_domains + 1)
        return cam_fail(CAM_ERR_DATA, "%s: damaged; remove it", path);
    for (size_t i = 0; i <= x->n_domains; i++) {
        const json_t *row = json_array_get(rows, i);
        for (size_t j = 0; j < x->n_domains; j++) {
            const json_t *cell = json_array_get(row, j);
            x->r[i][j] = json_is_number(cell) ? json_number_value(cell) : (double)NAN;
        }
    }
    return CAM_OK;
}

static int64_t whole(const json_t *json, const char *key) {
    return (int64_t)json_integer_value(json_object_get(json, key));
}

static double number(const json_t *json, const char *key) {
    const json_t *value = json_object_get(json, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static enum cam_status read_result(const json_t *json, struct cam_lifelong_run *run) {
    struct cam_lifelong_result *x = &run->result;
    const char *key = json_string_value(json_object_get(json, "key"));
    if (!key || strcmp(key, run->key) != 0)
        return cam_fail(CAM_ERR_DATA,
                        "%s: the result of another stream, arm or settings; remove it or use "
                        "another --dir",
                        run->file);
    *x = (struct cam_lifelong_result){.arm = run->arm,
                                      .seed = run->seed,
                                      .n_domains = run->plan->stream->n_domains,
                                      .prequential_bpb = number(json, "prequential_bpb"),
                                      .experts = whole(json, "experts"),
                                      .subkeys = whole(json, "subkeys"),
                                      .tokens = whole(json, "tokens"),
                                      .replay_tokens = whole(json, "replay_tokens"),
                                      .steps = whole(json, "steps"),
                                      .flops_per_token = number(json, "flops_per_token"),
                                      .seconds = number(json, "seconds"),
                                      .state_bytes = number(json, "state_bytes")};
    x->tokens_per_s =
        x->seconds > 0 ? (double)(x->tokens + x->replay_tokens) / x->seconds : (double)NAN;
    CAM_TRY(read_matrix(json_object_get(json, "R"), x, run->file));
    cam_lifelong_measure(x);
    return CAM_OK;
}

enum cam_status cam_lifelong_load(struct cam_lifelong_run *run) {
    char *bytes = NULL;
    size_t n_bytes;
    CAM_TRY(cam_fs_read_file(cam_fs_system(), run->file, MAX_FILE_BYTES, &bytes, &n_bytes));
    json_t *json = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES, NULL);
    free(bytes);
    if (!json)
        return cam_fail(CAM_ERR_DATA, "%s: damaged; remove it", run->file);
    enum cam_status status = read_result(json, run);
    json_decref(json);
    return status;
}
