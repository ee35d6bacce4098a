#include "support/oracle.h"

#include "base/fs.h"
#include "math/blas.h"
#include "model/ff_peer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)4 << 20)
#define OK(call)   cr_assert_eq((call), CAM_OK, "%s", cam_message())

static size_t tensor_bytes(const struct oracle_tensor *t) {
    return sizeof *t + (size_t)t->rows * t->cols * sizeof(double);
}

/* The tensor at *AT, which moves on; NULL at the end. */
static const struct oracle_tensor *next(const struct oracle *o, size_t *at) {
    if (*at == o->n_bytes)
        return NULL;
    const struct oracle_tensor *t = (const struct oracle_tensor *)(o->bytes + *at);
    cr_assert(o->n_bytes - *at >= sizeof *t && o->n_bytes - *at >= tensor_bytes(t) &&
                  memchr(t->name, 0, sizeof t->name),
              "%s: cut or damaged at byte %zu", o->name, *at);
    *at += tensor_bytes(t);
    return t;
}

void oracle_open(struct oracle *o, const char *name) {
    char path[CAM_PATH_BYTES];
    snprintf(path, sizeof path, CAM_SOURCE_DIR "/tests/golden/oracle/%s.bin", name);
    *o = (struct oracle){0};
    snprintf(o->name, sizeof o->name, "%s", name);
    OK(cam_fs_read_file(cam_fs_system(), path, FILE_LIMIT, &o->bytes, &o->n_bytes));
    double gap = oracle_number(o, "gap");
    cr_assert_geq(gap, ORACLE_MIN_GAP, "%s: scores at a cut differ by %g only", name, gap);
}

void oracle_close(struct oracle *o) {
    free(o->bytes);
    *o = (struct oracle){0};
}

const struct oracle_tensor *oracle_maybe(const struct oracle *o, const char *name) {
    size_t at = 0;
    const struct oracle_tensor *t;
    while ((t = next(o, &at)))
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

const struct oracle_tensor *oracle_find(const struct oracle *o, const char *name) {
    const struct oracle_tensor *t = oracle_maybe(o, name);
    cr_assert_not_null(t, "%s has no %s", o->name, name);
    return t;
}

double oracle_number(const struct oracle *o, const char *name) {
    const struct oracle_tensor *t = oracle_find(o, name);
    cr_assert(t->rows == 1 && t->cols == 1, "%s: %s is no number", o->name, name);
    return t->value[0];
}

size_t oracle_count(const struct oracle *o, const char *name) {
    return (size_t)oracle_number(o, name);
}

static double number_or_zero(const struct oracle *o, const char *name) {
    return oracle_maybe(o, name) ? oracle_number(o, name) : 0;
}

static size_t count_or_zero(const struct oracle *o, const char *name) {
    return (size_t)number_or_zero(o, name);
}

cam_real *oracle_reals(const struct oracle *o, const char *name) {
    const struct oracle_tensor *t = oracle_find(o, name);
    size_t n = (size_t)t->rows * t->cols;
    cam_real *reals = malloc(n * sizeof *reals);
    cr_assert_not_null(reals);
    for (size_t i = 0; i < n; i++)
        reals[i] = (cam_real)t->value[i];
    return reals;
}

void oracle_compare(const struct oracle *o, const char *name, const cam_real *got, size_t rows,
                    size_t cols) {
    const struct oracle_tensor *t = oracle_find(o, name);
    cr_assert(t->rows == rows && t->cols == cols, "%s: %s is %ux%u, the library has %zux%zu",
              o->name, name, t->rows, t->cols, rows, cols);
    size_t n = rows * cols, worst = 0;
    double squares = 0, largest = -1;
    for (size_t i = 0; i < n; i++)
        squares += t->value[i] * t->value[i];
    double typical = sqrt(squares / (double)n);
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - t->value[i]);
        double error = off == 0 ? 0 : off / fmax(fabs(t->value[i]), typical);
        error = isnan(error) ? INFINITY : error;
        if (error > largest) {
            largest = error;
            worst = i;
        }
    }
    cr_assert(largest <= ORACLE_TOLERANCE,
              "%s: %s[%zu][%zu]: %.15g here, %.15g in PyTorch, off by %.2g (at most %g)", o->name,
              name, worst / cols, worst % cols, (double)got[worst], t->value[worst], largest,
              ORACLE_TOLERANCE);
}

/* Where the tensor called X is kept: in a parameter, or in the rows of a pool. */
struct place {
    struct cam_param *param; /* or NULL */
    struct cam_ff *ff;       /* whose pool */
    cam_real *value;
};

struct search {
    char name[64];
    size_t n_bytes;
    cam_real *found;
};

static enum cam_status match(void *context, const char *name, void *data, size_t n_bytes) {
    struct search *search = context;
    if (strcmp(name, search->name) == 0 && n_bytes == search->n_bytes)
        search->found = data;
    return CAM_OK;
}

static struct place place_of(const struct oracle *o, const struct oracle_subject *s,
                             const struct oracle_tensor *t, const char *x) {
    for (size_t i = 0; i < s->params->n; i++) {
        struct cam_param *p = s->params->items[i];
        if (strcmp(p->name, x) == 0) {
            cr_assert(p->rows == t->rows && p->cols == t->cols,
                      "%s: %s is %ux%u, the library has %zux%zu", o->name, x, t->rows, t->cols,
                      p->rows, p->cols);
            return (struct place){.param = p, .value = p->value};
        }
    }
    struct search search = {.n_bytes = (size_t)t->rows * t->cols * sizeof(cam_real)};
    snprintf(search.name, sizeof search.name, "%s.0", x); /* a pool's first chunk */
    for (size_t i = 0; i < s->n_ff; i++) {
        if (s->ff[i]->ops->visit_state)
            OK(s->ff[i]->ops->visit_state(s->ff[i], match, &search));
        if (search.found)
            return (struct place){.ff = s->ff[i], .value = search.found};
    }
    cr_assert(0, "%s: the library has no %s of %ux%u", o->name, x, t->rows, t->cols);
    return (struct place){0};
}

/* The next tensor whose name is PREFIX.X; *X is set. */
static const struct oracle_tensor *next_of(const struct oracle *o, const char *prefix, size_t *at,
                                           const char **x) {
    size_t n = strlen(prefix);
    const struct oracle_tensor *t;
    while ((t = next(o, at)))
        if (strncmp(t->name, prefix, n) == 0 && t->name[n] == '.') {
            *x = t->name + n + 1;
            return t;
        }
    return NULL;
}

void oracle_load(const struct oracle *o, const struct oracle_subject *s) {
    size_t n_params = 0, at = 0;
    const struct oracle_tensor *t;
    const char *x;
    while ((t = next_of(o, "value", &at, &x))) {
        struct place place = place_of(o, s, t, x);
        n_params += place.param != NULL;
        for (size_t i = 0; i < (size_t)t->rows * t->cols; i++)
            place.value[i] = (cam_real)t->value[i];
    }
    cr_assert_eq(n_params, s->params->n, "%s has %zu of the %zu parameters", o->name, n_params,
                 s->params->n);
    for (at = 0; (t = next_of(o, "rule", &at, &x));)
        for (size_t i = 0; i < s->params->n; i++)
            if (strcmp(s->params->items[i]->name, x) == 0) {
                s->params->items[i]->lr_scale = t->value[0];
                s->params->items[i]->decay = t->value[1] != 0;
            }
}

void oracle_compare_values(const struct oracle *o, const char *prefix,
                           const struct oracle_subject *s) {
    size_t n_params = 0, at = 0;
    const struct oracle_tensor *t;
    const char *x;
    while ((t = next_of(o, prefix, &at, &x))) {
        struct place place = place_of(o, s, t, x);
        n_params += place.param != NULL;
        oracle_compare(o, t->name, place.value, t->rows, t->cols);
    }
    cr_assert_eq(n_params, s->params->n, "%s has %zu of the %zu %s.*", o->name, n_params,
                 s->params->n, prefix);
}

/* Rows of a pool, u (if there is one) and v: their gradients are never stored, so they are asked
 * for one by one. */
static void compare_rows_gradient(const struct oracle *o, const struct oracle_tensor *t,
                                  const struct cam_ff *ff) {
    size_t D = ff->config.width;
    cam_real *gradient = malloc(((size_t)t->rows * t->cols + D) * sizeof *gradient);
    cr_assert_not_null(gradient);
    cam_real *no_u = gradient + (size_t)t->rows * t->cols;
    for (size_t e = 0; e < t->rows; e++) {
        cam_real *row = gradient + e * t->cols;
        cam_peer_expert_gradient(ff, e, t->cols > D ? row : no_u, row + t->cols - D);
    }
    oracle_compare(o, t->name, gradient, t->rows, t->cols);
    free(gradient);
}

void oracle_compare_gradients(const struct oracle *o, const struct oracle_subject *s) {
    size_t n_params = 0, at = 0;
    const struct oracle_tensor *t;
    const char *x;
    while ((t = next_of(o, "grad", &at, &x))) {
        struct place place = place_of(o, s, t, x);
        n_params += place.param != NULL;
        if (place.param)
            oracle_compare(o, t->name, place.param->grad, t->rows, t->cols);
        else
            compare_rows_gradient(o, t, place.ff);
    }
    cr_assert_eq(n_params, s->params->n, "%s has %zu of the %zu gradients", o->name, n_params,
                 s->params->n);
}

static cam_real *zeros(size_t n) {
    cam_real *x = calloc(n, sizeof *x);
    cr_assert_not_null(x);
    return x;
}

void oracle_layer_open(struct oracle_layer *l, const char *name, const char *kind, int reference) {
    *l = (struct oracle_layer){0};
    struct oracle *o = &l->oracle;
    oracle_open(o, name);
    l->n = oracle_count(o, "n");
    l->width = oracle_count(o, "width");
    const struct cam_ff_ops *ops = cam_ff_find(kind);
    cr_assert_not_null(ops, "no feed-forward kind %s", kind);
    struct cam_ff_config config = {.seed = 1,
                                   .width = l->width,
                                   .reference = reference,
                                   .hidden = count_or_zero(o, "hidden"),
                                   .activation = oracle_maybe(o, "gelu") ? CAM_ACTIVATION_GELU
                                                                         : CAM_ACTIVATION_SWIGLU,
                                   .moe_experts = count_or_zero(o, "moe_experts"),
                                   .moe_hidden = count_or_zero(o, "moe_hidden"),
                                   .moe_capacity = number_or_zero(o, "moe_capacity"),
                                   .moe_balance = number_or_zero(o, "moe_balance"),
                                   .heads = count_or_zero(o, "heads"),
                                   .top_k = count_or_zero(o, "top_k"),
                                   .key_width = count_or_zero(o, "key_width"),
                                   .subkeys = count_or_zero(o, "subkeys"),
                                   .subkeys_capacity = count_or_zero(o, "subkeys"),
                                   .pool_lr_scale = oracle_number(o, "pool_lr_scale")};
    cam_params_init(&l->params);
    cam_arena_init(&l->arena);
    OK(cam_threads_new(2, &l->threads));
    OK(cam_blas_open());
    l->subject = (struct oracle_subject){.params = &l->params, .n_ff = 1};
    OK(ops->create(&config, &l->params, &l->subject.ff[0]));
    cr_assert_eq(l->subject.ff[0]->ops, reference ? ops->reference : ops);
    oracle_load(o, &l->subject);
    l->pass = (struct cam_pass){
        .threads = l->threads, .arena = &l->arena, .n_tokens = l->n, .training = 1};
    l->x = oracle_reals(o, "x");
    l->dy = oracle_reals(o, "dy");
    l->y = zeros(l->n * l->width);
    l->dx = zeros(l->n * l->width);
}

void oracle_layer_close(struct oracle_layer *l) {
    l->subject.ff[0]->ops->destroy(l->subject.ff[0]);
    cam_params_release(&l->params);
    cam_arena_release(&l->arena);
    cam_threads_free(l->threads);
    free(l->x);
    free(l->dy);
    free(l->y);
    free(l->dx);
    oracle_close(&l->oracle);
}

void oracle_layer_forward(struct oracle_layer *l, int training) {
    cam_arena_reset(&l->arena);
    l->pass.training = training;
    memset(l->y, 0, l->n * l->width * sizeof *l->y);
    l->subject.ff[0]->ops->forward(l->subject.ff[0], &l->pass, l->x, l->y);
}

void oracle_layer_backward(struct oracle_layer *l) {
    cam_params_zero_grad(&l->params);
    memset(l->dx, 0, l->n * l->width * sizeof *l->dx);
    l->subject.ff[0]->ops->backward(l->subject.ff[0], &l->pass, l->x, l->dy, l->dx);
}

static uint16_t *token_ids(const struct oracle *o, const char *name) {
    const struct oracle_tensor *t = oracle_find(o, name);
    size_t n = (size_t)t->rows * t->cols;
    uint16_t *ids = malloc(n * sizeof *ids);
    cr_assert_not_null(ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint16_t)t->value[i];
    return ids;
}

void oracle_model_open(struct oracle_model *m, const char *name, const char *const *ff,
                       int reference) {
    *m = (struct oracle_model){0};
    struct oracle *o = &m->oracle;
    oracle_open(o, name);
    m->n_sequences = oracle_count(o, "n_sequences");
    m->t = oracle_count(o, "t");
    struct cam_model_shape shape = {.vocabulary = oracle_count(o, "vocabulary"),
                                    .width = oracle_count(o, "width"),
                                    .n_blocks = oracle_count(o, "blocks"),
                                    .heads = oracle_count(o, "heads"),
                                    .kv_heads = oracle_count(o, "kv_heads"),
                                    .hidden = oracle_count(o, "hidden"),
                                    .context = m->t,
                                    .reference = reference,
                                    .moe_experts = count_or_zero(o, "moe_experts"),
                                    .moe_hidden = count_or_zero(o, "moe_hidden"),
                                    .moe_capacity = number_or_zero(o, "moe_capacity"),
                                    .moe_balance = number_or_zero(o, "moe_balance"),
                                    .peer_heads = count_or_zero(o, "peer_heads"),
                                    .peer_top_k = count_or_zero(o, "peer_top_k"),
                                    .peer_key_width = count_or_zero(o, "peer_key_width"),
                                    .peer_subkeys = count_or_zero(o, "peer_subkeys"),
                                    .peer_subkeys_capacity = count_or_zero(o, "peer_subkeys"),
                                    .pool_lr_scale = oracle_number(o, "pool_lr_scale"),
                                    .conv = 1};
    for (size_t i = 0; i < shape.n_blocks; i++)
        snprintf(shape.ff[i], sizeof shape.ff[i], "%s", ff[i]);
    OK(cam_model_new(&shape, 1, &m->model));
    OK(cam_threads_new(2, &m->threads));
    cam_arena_init(&m->arena);
    m->subject.params = &m->model->params;
    for (size_t i = 0; i < shape.n_blocks; i++)
        for (size_t j = 0; j < m->model->blocks[i].n_ff; j++) {
            cr_assert_lt(m->subject.n_ff, ORACLE_MAX_FF);
            m->subject.ff[m->subject.n_ff++] = m->model->blocks[i].ff[j];
        }
    oracle_load(o, &m->subject);
    m->tokens = token_ids(o, "tokens");
    m->targets = token_ids(o, "targets");
    m->weights = oracle_reals(o, "weights");
}

void oracle_model_close(struct oracle_model *m) {
    cam_model_free(m->model);
    cam_arena_release(&m->arena);
    cam_threads_free(m->threads);
    free(m->tokens);
    free(m->targets);
    free(m->weights);
    oracle_close(&m->oracle);
}
