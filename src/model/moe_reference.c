/* moe_reference.c - the coarse mixture of experts in plain loops (see reference.h, moe.h). */
#include "model/moe.h"
#include "model/reference.h"

#include <string.h>

/* p = softmax(r) of one token; its two experts and their gates. */
static void route(struct cam_moe *moe, size_t t) {
    struct cam_moe_last *last = &moe->last;
    size_t E = moe->n_experts, first = 0, second = 1;
    const cam_real *r = last->p + t * E;
    double sum = 0, p[CAM_MOE_MAX_EXPERTS];
    for (size_t e = 1; e < E; e++)
        if (r[e] > r[first])
            first = e;
    if (first == second)
        second = 0;
    for (size_t e = 0; e < E; e++)
        if (e != first && r[e] > r[second])
            second = e;
    for (size_t e = 0; e < E; e++)
        sum += p[e] = exp((double)r[e] - (double)r[first]);
    for (size_t e = 0; e < E; e++)
        last->p[t * E + e] = (cam_real)(p[e] / sum);
    last->expert[2 * t] = (uint32_t)first;
    last->expert[2 * t + 1] = (uint32_t)second;
    last->gate[2 * t] = (cam_real)(p[first] / (p[first] + p[second]));
    last->gate[2 * t + 1] = (cam_real)(p[second] / (p[first] + p[second]));
}

/* First choices in token order, then second ones, while the expert has room. */
static void drop_past_capacity(struct cam_moe *moe, size_t capacity) {
    struct cam_moe_last *last = &moe->last;
    size_t taken[CAM_MOE_MAX_EXPERTS] = {0};
    for (size_t c = 0; c < 2; c++)
        for (size_t t = 0; t < last->n_tokens; t++) {
            size_t i = 2 * t + c, e = last->expert[i];
            last->slot[i] = taken[e] < capacity ? (uint32_t)i : CAM_MOE_DROPPED;
            taken[e] += taken[e] < capacity;
        }
}

/* alpha E sum_e f_e P_e, and f. */
static double balance_loss(struct cam_moe *moe) {
    struct cam_moe_last *last = &moe->last;
    size_t N = last->n_tokens, E = moe->n_experts;
    double sum = 0;
    for (size_t e = 0; e < E; e++) {
        double chosen = 0, p = 0;
        for (size_t i = 0; i < 2 * N; i++)
            chosen += last->expert[i] == e;
        for (size_t t = 0; t < N; t++)
            p += (double)last->p[t * E + e];
        last->share[e] = (cam_real)(chosen / (double)(2 * N));
        sum += chosen / (double)(2 * N) * p / (double)N;
    }
    return moe->ff.config.moe_balance * (double)E * sum;
}

static void forward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                    cam_real *y) {
    struct cam_moe *moe = cam_moe_of(ff);
    size_t N = pass->n_tokens, E = moe->n_experts, D = ff->config.width, F = moe->hidden;
    struct cam_moe_last *last = &moe->last;
    *last = (struct cam_moe_last){.n_tokens = N};
    last->p = cam_arena_alloc(pass->arena, N * E * sizeof(cam_real));
    last->expert = cam_arena_alloc(pass->arena, 2 * N * sizeof(uint32_t));
    last->gate = cam_arena_alloc(pass->arena, 2 * N * sizeof(cam_real));
    last->slot = cam_arena_alloc(pass->arena, 2 * N * sizeof(uint32_t));
    last->share = cam_arena_alloc(pass->arena, E * sizeof(cam_real));
    last->pre = cam_arena_alloc(pass->arena, 2 * N * 2 * F * sizeof(cam_real));
    last->h = cam_arena_alloc(pass->arena, 2 * N * F * sizeof(cam_real));
    last->o = cam_arena_alloc(pass->arena, 2 * N * D * sizeof(cam_real));
    for (size_t t = 0; t < N; t++) {
        for (size_t e = 0; e < E; e++)
            last->p[t * E + e] =
                (cam_real)cam_reference_dot(x + t * D, moe->router->value + e, E, D);
        route(moe, t);
    }
    drop_past_capacity(moe, cam_moe_capacity(moe, N, pass->training));
    moe->balance = balance_loss(moe);
    if (!pass->training)
        moe->balance = 0;
    for (size_t i = 0; i < 2 * N; i++) {
        size_t t = i / 2, e = last->expert[i];
        cam_real *o = last->o + i * D;
        if (last->slot[i] == CAM_MOE_DROPPED)
            continue;
        memset(o, 0, D * sizeof *o);
        cam_reference_swiglu(x + t * D, moe->in[e]->value, moe->out[e]->value, D, F, 1,
                             last->pre + i * 2 * F, last->h + i * F, o);
        for (size_t d = 0; d < D; d++)
            y[t * D + d] += last->gate[i] * o[d];
    }
}

/* dr (E) of one token, given the gradients of its two gates (0 for a dropped choice):
 * d gate_a / d r_a = gate_a gate_b = - d gate_a / d r_b, and the balance loss through p. */
static void logit_gradient(const struct cam_moe *moe, size_t t, const double d_gate[2],
                           double *dr) {
    const struct cam_moe_last *last = &moe->last;
    size_t E = moe->n_experts;
    const cam_real *p = last->p + t * E;
    double mean = 0, scale = moe->ff.config.moe_balance * (double)E / (double)last->n_tokens;
    for (size_t e = 0; e < E; e++)
        mean += (double)last->share[e] * (double)p[e];
    for (size_t e = 0; e < E; e++)
        dr[e] = scale * (double)p[e] * ((double)last->share[e] - mean);
    double product = (double)last->gate[2 * t] * (double)last->gate[2 * t + 1];
    dr[last->expert[2 * t]] += product * (d_gate[0] - d_gate[1]);
    dr[last->expert[2 * t + 1]] += product * (d_gate[1] - d_gate[0]);
}

static void backward(struct cam_ff *ff, const struct cam_pass *pass, const cam_real *x,
                     const cam_real *dy, cam_real *dx) {
    struct cam_moe *moe = cam_moe_of(ff);
    size_t N = pass->n_tokens, E = moe->n_experts, D = ff->config.width, F = moe->hidden;
    const struct cam_moe_last *last = &moe->last;
    cam_real *dh = cam_arena_alloc(pass->arena, F * sizeof(cam_real));
    for (size_t t = 0; t < N; t++) {
        double d_gate[2] = {0, 0}, dr[CAM_MOE_MAX_EXPERTS];
        for (size_t c = 0; c < 2; c++) {
            size_t i = 2 * t + c, e = last->expert[i];
            if (last->slot[i] == CAM_MOE_DROPPED)
                continue;
            d_gate[c] = cam_reference_dot(last->o + i * D, dy + t * D, 1, D);
            cam_reference_swiglu_backward(x + t * D, moe->in[e]->value, moe->out[e]->value, D, F,
                                          (double)last->gate[i], last->pre + i * 2 * F,
                                          last->h + i * F, dy + t * D, dh, dx + t * D,
                                          moe->in[e]->grad, moe->out[e]->grad);
        }
        logit_gradient(moe, t, d_gate, dr);
        for (size_t d = 0; d < D; d++)
            for (size_t e = 0; e < E; e++) {
                moe->router->grad[d * E + e] += (cam_real)(dr[e] * (double)x[t * D + d]);
                dx[t * D + d] += (cam_real)(dr[e] * (double)moe->router->value[d * E + e]);
            }
    }
}

const struct cam_ff_ops cam_ff_moe_reference = {
    .name = "moe",
    .reference = &cam_ff_moe_reference,
    .create = cam_moe_create,
    .destroy = cam_moe_destroy,
    .forward = forward,
    .backward = backward,
    .auxiliary = cam_moe_auxiliary,
    .flops = cam_moe_flops,
    .size = cam_moe_size,
};
