"""The optimisers, from their papers; AdamW is PyTorch's own."""
import math

import torch


def orthogonalise(g):
    """Jordan et al. 2024: quintic Newton-Schulz towards U V^T of the SVD of G, four rounds."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(4):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


class Muon:
    """Jordan et al. 2024, the momentum a running mean, Nesterov; step size: Liu et al. 2025
    (section 2.2); decoupled decay.  Column groups are matrices of their own."""

    def __init__(self, theta, groups, momentum, weight_decay):
        self.theta, self.groups = theta, groups or [theta.shape[1]]
        self.momentum, self.weight_decay = momentum, weight_decay
        self.m = torch.zeros_like(theta)

    def step(self, gradient, lr):
        mu = self.momentum
        self.m = mu * self.m + (1 - mu) * gradient
        ahead = mu * self.m + (1 - mu) * gradient
        parts = [0.2 * math.sqrt(max(part.shape)) * orthogonalise(part)
                 for part in ahead.split(self.groups, dim=1)]
        self.theta -= lr * (torch.cat(parts, 1) + self.weight_decay * self.theta)


class AdamW:
    """Loshchilov and Hutter 2019, Algorithm 2."""

    def __init__(self, theta, betas, epsilon, weight_decay):
        self.theta = theta
        self.adamw = torch.optim.AdamW([theta], betas=betas, eps=epsilon,
                                       weight_decay=weight_decay)

    def step(self, gradient, lr):
        self.adamw.param_groups[0]["lr"] = lr
        self.theta.grad = gradient
        self.adamw.step()


class Rows:
    """The pool's: an expert's u and v each have one second moment, the running mean of their mean
    squared gradient, with Adam's bias correction by the row's own count of updates.  A row whose
    expert no token picked does not move.  The root mean square of a step is CLIP learning rates at
    most."""

    EPSILON, CLIP = 1e-8, 2.0

    def __init__(self, theta, width, beta2):
        self.theta, self.width, self.beta2 = theta, width, beta2
        self.second = torch.zeros(theta.shape[0], theta.shape[1] // width, dtype=torch.float64)
        self.updates = torch.zeros(theta.shape[0])
        self.clipped = 0

    def step(self, gradient, lr):
        g = gradient.reshape(len(gradient), -1, self.width)
        for e in range(len(g)):
            if not g[e].any():
                continue
            self.updates[e] += 1
            for part in range(g.shape[1]):
                square = (g[e, part] ** 2).mean().item()
                second = self.beta2 * self.second[e, part] + (1 - self.beta2) * square
                self.second[e, part] = second
                corrected = second / (1 - self.beta2 ** int(self.updates[e]))
                step = g[e, part] / (math.sqrt(corrected) + self.EPSILON)
                size = math.sqrt((step**2).mean())
                if size > self.CLIP:
                    step = step * (self.CLIP / size)
                    self.clipped += 1
                self.theta[e, part * self.width : (part + 1) * self.width] -= lr * step


class Optimizer:
    """Moves every parameter P by the rule of its entry in PARAMETERS.  KIND "adamw": Muon's
    matrices go by AdamW too."""

    def __init__(self, kind, parameters, p, hyper, width):
        self.parameters, self.pool_lr_scale, self.each = parameters, hyper["pool_lr_scale"], {}
        for name, entry in parameters.items():
            decay = hyper["weight_decay"] if entry.decay else 0.0
            if entry.rule == "rows":
                self.each[name] = Rows(p[name], width, hyper["beta2"])
            elif entry.rule == "muon" and kind == "muon":
                self.each[name] = Muon(p[name], entry.groups, hyper["momentum"], decay)
            else:
                self.each[name] = AdamW(p[name], (hyper["beta1"], hyper["beta2"]),
                                        hyper["epsilon"], decay)

    def step(self, gradients, lr, grad_scale):
        with torch.no_grad():
            for name, rule in self.each.items():
                entry = self.parameters[name]
                scale = self.pool_lr_scale if entry.rule == "rows" else entry.lr_scale
                rule.step(gradients[name] * grad_scale, lr * scale)

    def clipped(self):
        return sum(rule.clipped for rule in self.each.values() if isinstance(rule, Rows))
