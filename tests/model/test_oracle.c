/* Forward passes and all gradients against PyTorch, with the library in double and in float, by the
 * fast path and by plain loops. */
#include "support/oracle.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void check_path(const char *name, const char *kind, int reference) {
    struct oracle_layer l;
    oracle_layer_open(&l, name, kind, reference);
    const char *evaluated = oracle_maybe(&l.oracle, "y_evaluated") ? "y_evaluated" : "y";
    oracle_layer_forward(&l, 0);
    oracle_compare(&l.oracle, evaluated, l.y, l.n, l.width);
    oracle_layer_forward(&l, 1);
    oracle_compare(&l.oracle, "y", l.y, l.n, l.width);
    oracle_layer_backward(&l);
    oracle_compare(&l.oracle, "dx", l.dx, l.n, l.width);
    oracle_compare_gradients(&l.oracle, &l.subject);
    oracle_layer_close(&l);
}

static void check_layer(const char *name, const char *kind) {
    for (int reference = 0; reference < 2; reference++)
        check_path(name, kind, reference);
}

Test(oracle, dense_swiglu) {
    check_layer("dense_swiglu", "dense");
}

Test(oracle, dense_gelu) {
    check_layer("dense_gelu", "dense");
}

Test(oracle, moe) {
    check_layer("moe", "moe");
}

Test(oracle, pkm) {
    check_layer("pkm", "pkm");
}

Test(oracle, peer) {
    check_layer("peer", "peer");
}

static void check_model(const char *name, const char *const *ff, int reference) {
    struct oracle_model m;
    oracle_model_open(&m, name, ff, reference);
    size_t n = m.n_sequences * m.t;
    cam_real *nll = malloc(n * sizeof *nll);
    struct cam_pass pass = {.threads = m.threads, .arena = &m.arena, .n_tokens = n, .training = 1};
    for (size_t i = 0; i < n; i++) /* the loss is a mean over places */
        m.weights[i] /= (cam_real)n;
    cam_params_zero_grad(&m.model->params);
    cam_model_forward(m.model, &pass, m.n_sequences, m.tokens);
    if (oracle_maybe(&m.oracle, "logits"))
        oracle_compare(&m.oracle, "logits", m.model->logits, n, m.model->shape.vocabulary);
    cam_model_loss(m.model, &pass, m.targets, m.weights, nll);
    oracle_compare(&m.oracle, "nll", nll, n, 1);
    cam_model_backward(m.model, &pass);
    oracle_compare_gradients(&m.oracle, &m.subject);
    free(nll);
    oracle_model_close(&m);
}

Test(oracle, model) {
    for (int reference = 0; reference < 2; reference++)
        check_model("model", (const char *const[]){"dense+peer", "moe"}, reference);
}

/* Sequences longer than one tile of attention. */
Test(oracle, model_of_long_sequences) {
    check_model("model_long", (const char *const[]){"dense"}, 0);
}
