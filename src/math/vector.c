#include "math/vector.h"

#include "math/vector_inline.h"

#include <string.h>

/* Tails shorter than a vector go through a zero-padded copy: one code path, one summing order. */
CAM_INLINE cam_vec load_tail(const cam_real *p, size_t n) {
    cam_real lane[CAM_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i] = p[i];
    return CAM_LOAD(lane);
}

CAM_INLINE void store_tail(cam_real *p, cam_vec x, size_t n) {
    cam_real lane[CAM_LANES];
    CAM_STORE(lane, x);
    for (size_t i = 0; i < n; i++)
        p[i] = lane[i];
}

CAM_CLONES cam_real cam_dot(const cam_real *a, const cam_real *b, size_t n) {
    cam_vec s0 = {0}, s1 = {0};
    size_t i = 0;
    for (; i + 2 * CAM_LANES <= n; i += 2 * CAM_LANES) {
        s0 += CAM_LOAD(a + i) * CAM_LOAD(b + i);
        s1 += CAM_LOAD(a + i + CAM_LANES) * CAM_LOAD(b + i + CAM_LANES);
    }
    for (; i + CAM_LANES <= n; i += CAM_LANES)
        s0 += CAM_LOAD(a + i) * CAM_LOAD(b + i);
    if (i < n)
        s1 += load_tail(a + i, n - i) * load_tail(b + i, n - i);
    return cam_lanes_sum(s0 + s1);
}

CAM_CLONES void cam_axpy(cam_real alpha, const cam_real *x, cam_real *y, size_t n) {
    size_t i = 0;
    for (; i + CAM_LANES <= n; i += CAM_LANES)
        CAM_STORE(y + i, CAM_LOAD(y + i) + CAM_LOAD(x + i) * alpha);
    for (; i < n; i++)
        y[i] += x[i] * alpha;
}

CAM_CLONES void cam_multiply_add(const cam_real *a, const cam_real *x, cam_real *y, size_t n) {
    size_t i = 0;
    for (; i + CAM_LANES <= n; i += CAM_LANES)
        CAM_STORE(y + i, CAM_LOAD(y + i) + CAM_LOAD(a + i) * CAM_LOAD(x + i));
    for (; i < n; i++)
        y[i] += a[i] * x[i];
}

CAM_CLONES void cam_approach(const cam_real *x, cam_real share, cam_real *y, size_t n) {
    size_t i = 0;
    for (; i + CAM_LANES <= n; i += CAM_LANES)
        CAM_STORE(y + i, CAM_LOAD(y + i) + (CAM_LOAD(x + i) - CAM_LOAD(y + i)) * share);
    for (; i < n; i++)
        y[i] += (x[i] - y[i]) * share;
}

CAM_CLONES double cam_sum_squares(const cam_real *x, size_t n) {
    double total = 0;
    for (size_t at = 0; at < n; at += 4096) { /* float lanes over a page, double over pages */
        size_t end = n - at < 4096 ? n : at + 4096, i = at;
        cam_vec s = {0};
        for (; i + CAM_LANES <= end; i += CAM_LANES)
            s += CAM_LOAD(x + i) * CAM_LOAD(x + i);
        if (i < end) {
            cam_vec t = load_tail(x + i, end - i);
            s += t * t;
        }
        total += (double)cam_lanes_sum(s);
    }
    return total;
}

CAM_CLONES cam_real cam_rmsnorm(const cam_real *x, const cam_real *gain, cam_real *y, size_t n) {
    cam_vec s = {0};
    size_t i = 0;
    for (; i + CAM_LANES <= n; i += CAM_LANES)
        s += CAM_LOAD(x + i) * CAM_LOAD(x + i);
    if (i < n) {
        cam_vec t = load_tail(x + i, n - i);
        s += t * t;
    }
    cam_real inverse = (cam_real)(1.0 / sqrt((double)cam_lanes_sum(s) / (double)n + 1e-6));
    for (i = 0; i + CAM_LANES <= n; i += CAM_LANES)
        CAM_STORE(y + i, CAM_LOAD(x + i) * inverse * CAM_LOAD(gain + i));
    for (; i < n; i++)
        y[i] = x[i] * inverse * gain[i];
    return inverse;
}

CAM_CLONES void cam_rmsnorm_backward(const cam_real *x, const cam_real *gain, cam_real inverse_rms,
                                     const cam_real *dy, cam_real *dx, cam_real *dgain, size_t n) {
    cam_vec s = {0};
    size_t i = 0;
    for (; i + CAM_LANES <= n; i += CAM_LANES)
        s += CAM_LOAD(dy + i) * CAM_LOAD(gain + i) * CAM_LOAD(x + i);
    if (i < n)
        s += load_tail(dy + i, n - i) * load_tail(gain + i, n - i) * load_tail(x + i, n - i);
    cam_real along = cam_lanes_sum(s) * inverse_rms * inverse_rms / (cam_real)n;
    for (i = 0; i + CAM_LANES <= n; i += CAM_LANES) {
        cam_vec xi = CAM_LOAD(x + i), di = CAM_LOAD(dy + i);
        CAM_STORE(dgain + i, CAM_LOAD(dgain + i) + di * xi * inverse_rms);
        CAM_STORE(dx + i,
                  CAM_LOAD(dx + i) + (di * CAM_LOAD(gain + i) - xi * along) * inverse_rms);
    }
    for (; i < n; i++) {
        dgain[i] += dy[i] * x[i] * inverse_rms;
        dx[i] += (dy[i] * gain[i] - x[i] * along) * inverse_rms;
    }
}

CAM_CLONES cam_real cam_softmax(cam_real *x, size_t n) {
    cam_real top = x[0];
    size_t i = 0;
    if (n >= CAM_LANES) {
        cam_vec m = CAM_LOAD(x);
        for (i = CAM_LANES; i + CAM_LANES <= n; i += CAM_LANES) {
            m = cam_max(CAM_LOAD(x + i), m);
        }
        for (int lane = 0; lane < CAM_LANES; lane++)
            top = m[lane] > top ? m[lane] : top;
    }
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;
    cam_vec s = {0};
    for (i = 0; i + CAM_LANES <= n; i += CAM_LANES) {
        cam_vec e = cam_exp(CAM_LOAD(x + i) - top);
        CAM_STORE(x + i, e);
        s += e;
    }
    if (i < n) {
        cam_vec e = cam_exp(load_tail(x + i, n - i) - top);
        store_tail(x + i, e, n - i);
        s += load_tail(x + i, n - i);
    }
    cam_real sum = cam_lanes_sum(s), scale = 1 / sum;
    for (i = 0; i + CAM_LANES <= n; i += CAM_LANES)
        CAM_STORE(x + i, CAM_LOAD(x + i) * scale);
    for (; i < n; i++)
        x[i] *= scale;
    return top + (cam_real)log((double)sum);
}

CAM_INLINE cam_vec sigmoid(cam_vec x) {
    return 1 / (1 + cam_exp(-x));
}

CAM_CLONES void cam_swiglu(const cam_real *gate, const cam_real *up, cam_real *h, size_t n) {
    size_t i = 0;
    for (; i + CAM_LANES <= n; i += CAM_LANES) {
        cam_vec g = CAM_LOAD(gate + i);
        CAM_STORE(h + i, g * sigmoid(g) * CAM_LOAD(up + i));
    }
    if (i < n) {
        cam_vec g = load_tail(gate + i, n - i);
        store_tail(h + i, g * sigmoid(g) * load_tail(up + i, n - i), n - i);
    }
}

CAM_CLONES void cam_swiglu_backward(cam_real *gate, cam_real *up, const cam_real *dh, size_t n) {
    size_t i = 0;
    for (; i < n; i += CAM_LANES) {
        size_t left = n - i;
        int whole = left >= CAM_LANES;
        cam_vec g = whole ? CAM_LOAD(gate + i) : load_tail(gate + i, left);
        cam_vec u = whole ? CAM_LOAD(up + i) : load_tail(up + i, left);
        cam_vec d = whole ? CAM_LOAD(dh + i) : load_tail(dh + i, left);
        cam_vec s = sigmoid(g);
        cam_vec dgate = d * u * (s + g * s * (1 - s)), dup = d * g * s;
        if (whole) {
            CAM_STORE(gate + i, dgate);
            CAM_STORE(up + i, dup);
        } else {
            store_tail(gate + i, dgate, left);
            store_tail(up + i, dup, left);
        }
    }
}

CAM_INLINE void adamw_vec(const struct cam_adamw *a, cam_vec *value, cam_vec grad, cam_vec *m,
                          cam_vec *v) {
    cam_vec g = grad * a->grad_scale;
    *m = *m * a->beta1 + g * (1 - a->beta1);
    *v = *v * a->beta2 + g * g * (1 - a->beta2);
    cam_vec step = (*m / a->correction1) / (cam_sqrt(*v / a->correction2) + a->epsilon);
    *value -= a->lr * (step + a->weight_decay * *value);
}

CAM_CLONES void cam_adamw_rows(const struct cam_adamw *a, cam_real *value, const cam_real *grad,
                               cam_real *m, cam_real *v, size_t n) {
    size_t i = 0;
    for (; i + CAM_LANES <= n; i += CAM_LANES) {
        cam_vec x = CAM_LOAD(value + i), mi = CAM_LOAD(m + i), vi = CAM_LOAD(v + i);
        adamw_vec(a, &x, CAM_LOAD(grad + i), &mi, &vi);
        CAM_STORE(value + i, x);
        CAM_STORE(m + i, mi);
        CAM_STORE(v + i, vi);
    }
    if (i < n) {
        size_t left = n - i;
        cam_vec x = load_tail(value + i, left), mi = load_tail(m + i, left);
        cam_vec vi = load_tail(v + i, left);
        adamw_vec(a, &x, load_tail(grad + i, left), &mi, &vi);
        store_tail(value + i, x, left);
        store_tail(m + i, mi, left);
        store_tail(v + i, vi, left);
    }
}
