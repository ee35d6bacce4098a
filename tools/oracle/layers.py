"""The feed-forward kinds and the decoder, written from the papers' equations.

Everything is plain and exhaustive: a pool scores every pair of sub-keys, attention builds the
whole mask, no gradient is written by hand.  Matrices act from the right (y = x W), rows are
tokens.  Letters: N tokens, D width, F hidden, P retrieval heads, K picks a head, S sub-keys a
codebook, E experts.

A kind has parameters(), what it learns by the name the C library uses, and
forward(p, x, training) -> y, extra loss, gap: the smallest difference of scores at a cut.
"""
import math
from dataclasses import dataclass, field

import torch

NORM_EPSILON = 1e-6


@dataclass
class Parameter:
    """How a parameter is drawn and moved."""

    shape: tuple
    scale: float
    mean: float = 0.0
    rule: str = "adamw"  # or "muon" where matrices are orthogonalised, or "rows"
    lr_scale: float = 1.0
    decay: bool = False
    groups: list = field(default_factory=list)  # widths of column groups; []: one


def matrix(rows, cols, groups=()):
    """A trunk matrix: Muon where that is used, decayed."""
    return Parameter((rows, cols), rows**-0.5, rule="muon", decay=True, groups=list(groups))


def gelu(h):
    """Hendrycks and Gimpel 2016, eq. 3 (the tanh form)."""
    return 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))


def silu(h):
    return h / (1 + torch.exp(-h))


def rms_norm(x, gain):
    """Zhang and Sennrich 2019, eq. 4."""
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + NORM_EPSILON) * gain


def layer_norm(x):
    """Ba et al. 2016, eq. 3, without gain and bias."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + NORM_EPSILON)


NO_GAP = math.inf


class DenseSwiglu:
    """Shazeer 2020, eq. 5 and 6 without biases: y = (silu(x Wg) * (x Wu)) Wd."""

    def __init__(self, block, width, hidden):
        self.name, self.width, self.hidden = f"{block}.dense", width, hidden

    def parameters(self):
        D, F = self.width, self.hidden
        return {f"{self.name}.in": matrix(D, 2 * F, [F, F]),  # Wg, Wu side by side
                f"{self.name}.out": matrix(F, D)}

    def forward(self, p, x, training):
        gate, up = (x @ p[f"{self.name}.in"]).split(self.hidden, dim=1)
        return (silu(gate) * up) @ p[f"{self.name}.out"], 0.0, NO_GAP


class DenseGelu:
    """Vaswani et al. 2017, eq. 2 without biases and with GELU: y = gelu(x W1) W2."""

    def __init__(self, block, width, hidden):
        self.name, self.width, self.hidden = f"{block}.dense", width, hidden

    def parameters(self):
        D, F = self.width, self.hidden
        return {f"{self.name}.in": matrix(D, F), f"{self.name}.out": matrix(F, D)}

    def forward(self, p, x, training):
        return gelu(x @ p[f"{self.name}.in"]) @ p[f"{self.name}.out"], 0.0, NO_GAP


def pairs_by_id(subkeys):
    """(i, j) of every expert in the order of ids: Szudzik's shell numbering."""
    pairs = [None] * subkeys**2
    for i in range(subkeys):
        for j in range(subkeys):
            pairs[i * i + i + j if i >= j else j * j + i] = (i, j)
    return torch.tensor(pairs).unbind(1)


class Retrieval:
    """Product keys (Lample et al. 2019, section 3.1), by scoring all S*S pairs.

    The two sub-queries of a head are layer-normalised each; both codebooks are shared by the
    heads; a head's gates are the softmax over its K scores (He 2024, eq. 2).
    """

    def __init__(self, name, width, heads, top_k, key_width, subkeys):
        self.name, self.width, self.heads = name, width, heads
        self.top_k, self.key_width, self.subkeys = top_k, key_width, subkeys

    def router_parameters(self):
        D, S, dk = self.width, self.subkeys, self.key_width
        # Decay would shorten sub-keys, whose length is the sharpness of the gates.
        return {f"{self.name}.query": matrix(D, self.heads * 2 * dk),
                f"{self.name}.subkeys0": Parameter((S, dk), dk**-0.5),
                f"{self.name}.subkeys1": Parameter((S, dk), dk**-0.5)}

    def retrieve(self, p, x):
        """gate and expert (N, P, K), gap."""
        q = (x @ p[f"{self.name}.query"]).reshape(-1, self.heads, 2, self.key_width)
        q = layer_norm(q)
        first = q[:, :, 0] @ p[f"{self.name}.subkeys0"].T
        second = q[:, :, 1] @ p[f"{self.name}.subkeys1"].T
        i, j = pairs_by_id(self.subkeys)
        best, expert = (first[:, :, i] + second[:, :, j]).topk(self.top_k + 1)
        gap = (best[:, :, -2] - best[:, :, -1]).min().item()
        return torch.softmax(best[:, :, :-1], -1), expert[:, :, :-1], gap


class Peer(Retrieval):
    """He 2024 (arXiv 2407.04153), eq. 3: y = sum of gate * gelu(u . x) v over heads and picks."""

    def __init__(self, block, **shape):
        super().__init__(f"{block}.peer", **shape)

    def parameters(self):
        rows = Parameter((self.subkeys**2, 2 * self.width), self.width**-0.5, rule="rows")
        return {**self.router_parameters(), f"{self.name}.rows": rows}  # u, then v

    def forward(self, p, x, training):
        gate, expert, gap = self.retrieve(p, x)
        u, v = p[f"{self.name}.rows"][expert].split(self.width, dim=-1)
        h = (u * x[:, None, None, :]).sum(-1)
        return ((gate * gelu(h)).unsqueeze(-1) * v).sum((1, 2)), 0.0, gap


class Pkm(Retrieval):
    """Lample et al. 2019 (1907.05242), eq. 3: y = sum of gate * v over heads and picks."""

    def __init__(self, block, **shape):
        super().__init__(f"{block}.pkm", **shape)

    def parameters(self):
        rows = Parameter((self.subkeys**2, self.width), self.width**-0.5, rule="rows")
        return {**self.router_parameters(), f"{self.name}.rows": rows}

    def forward(self, p, x, training):
        gate, expert, gap = self.retrieve(p, x)
        v = p[f"{self.name}.rows"][expert]
        return (gate.unsqueeze(-1) * v).sum((1, 2)), 0.0, gap


class Moe:
    """Coarse experts, two a token.

    Routing and capacity: Lepikhin et al. 2021 (GShard, Algorithm 1); the balance loss: Fedus et
    al. 2022 (eq. 4 to 6) over both choices; experts are SwiGLU.
    """

    def __init__(self, block, width, hidden, experts, capacity, balance):
        self.name, self.width, self.hidden = f"{block}.moe", width, hidden
        self.experts, self.capacity, self.balance = experts, capacity, balance

    def parameters(self):
        D, F = self.width, self.hidden
        out = {f"{self.name}.router": matrix(D, self.experts)}
        for e in range(self.experts):
            out[f"{self.name}.expert{e}.in"] = matrix(D, 2 * F, [F, F])
            out[f"{self.name}.expert{e}.out"] = matrix(F, D)
        return out

    def kept(self, choice):
        """Which of the (N, 2) choices find room: all first choices come before the second ones."""
        places = math.ceil(self.capacity * 2 * len(choice) / self.experts)
        taken = [0] * self.experts
        kept = torch.zeros_like(choice, dtype=torch.float64)
        for rank in range(2):
            for n, e in enumerate(choice[:, rank].tolist()):
                taken[e] += 1
                kept[n, rank] = float(taken[e] <= places)
        return kept

    def forward(self, p, x, training):
        logits = x @ p[f"{self.name}.router"]
        share = torch.softmax(logits, -1)
        ordered = logits.topk(min(3, self.experts)).values
        gap = (ordered[:, :-1] - ordered[:, 1:]).min().item()  # the order of the two matters too
        best, choice = share.topk(2)
        gate = best / best.sum(-1, keepdim=True)
        self.dropped = 0
        if training:
            kept = self.kept(choice)
            self.dropped = int((1 - kept).sum())
            gate = gate * kept
        y = torch.zeros_like(x)
        for e in range(self.experts):
            a, b = (x @ p[f"{self.name}.expert{e}.in"]).split(self.hidden, dim=1)
            weight = (gate * (choice == e)).sum(-1, keepdim=True)
            y = y + weight * ((silu(a) * b) @ p[f"{self.name}.expert{e}.out"])
        f = torch.stack([(choice == e).double().mean() for e in range(self.experts)])
        return y, self.balance * self.experts * (f * share.mean(0)).sum(), gap


class Decoder:
    """Touvron et al. 2023: norm, attention, norm, feed-forward, each beside the residual stream;
    here with normalised queries and keys, short convolutions and the head tied to the embedding."""

    CONV_WIDTH = 4

    def __init__(self, vocabulary, width, heads, kv_heads, slots):
        self.vocabulary, self.width = vocabulary, width
        self.heads, self.kv_heads = heads, kv_heads
        self.slots = slots  # a block's feed-forward kinds, whose outputs add

    def parameters(self):
        D, W = self.width, self.width // self.heads

        def gain(n):
            return Parameter((1, n), 0.2, mean=1.0, lr_scale=5.0)

        out = {"embedding": Parameter((self.vocabulary, D), 0.5, lr_scale=2.0)}
        for b, kinds in enumerate(self.slots):
            q, k = self.heads * W, self.kv_heads * W
            out[f"block{b}.norm1"] = gain(D)
            out[f"block{b}.attention.qkv"] = matrix(D, q + 2 * k, [q, k, k])
            out[f"block{b}.attention.out"] = matrix(q, D)
            out[f"block{b}.attention.q_gain"] = gain(W)
            out[f"block{b}.attention.k_gain"] = gain(W)
            out[f"block{b}.norm2"] = gain(D)
            for conv in ("conv1", "conv2"):
                out[f"block{b}.{conv}"] = Parameter((self.CONV_WIDTH, D), 0.3, lr_scale=5.0)
            for kind in kinds:
                out.update(kind.parameters())
        out["norm_final"] = gain(D)
        return out

    def convolve(self, w, x):
        """Allen-Zhu 2025, section 3: y_t = x_t + sum over k of w_k * x_{t-k}; x (B, T, D)."""
        y = x
        for k in range(self.CONV_WIDTH):
            earlier = torch.zeros_like(x)
            earlier[:, k:] = x[:, : x.shape[1] - k]
            y = y + w[k] * earlier
        return y

    def rotate(self, x):
        """Su et al. 2021, eq. 34, x (B, T, H, W).  Partners are W/2 apart; in the paper they are
        neighbours, which is the same up to the order of a head's coordinates."""
        T, W = x.shape[1], x.shape[3]
        theta = 10000.0 ** (-torch.arange(0, W, 2, dtype=torch.float64) / W)
        angle = (torch.arange(T, dtype=torch.float64)[:, None] * theta)[:, None, :]
        a, b = x.split(W // 2, dim=-1)
        return torch.cat([a * angle.cos() - b * angle.sin(),
                          a * angle.sin() + b * angle.cos()], -1)

    def attend(self, p, block, x):
        """Vaswani et al. 2017, eq. 1; grouped heads: Ainslie et al. 2023; x (B, T, D)."""
        B, T, D = x.shape
        H, G, W = self.heads, self.kv_heads, D // self.heads
        q, k, v = (x @ p[f"{block}.attention.qkv"]).split([H * W, G * W, G * W], dim=-1)
        q = self.rotate(rms_norm(q.reshape(B, T, H, W), p[f"{block}.attention.q_gain"]))
        k = self.rotate(rms_norm(k.reshape(B, T, G, W), p[f"{block}.attention.k_gain"]))
        k = k.repeat_interleave(H // G, dim=2)  # neighbouring query heads share
        v = v.reshape(B, T, G, W).repeat_interleave(H // G, dim=2)
        score = torch.einsum("bthw,bshw->bhts", q, k) / math.sqrt(W)
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        weight = torch.softmax(score.masked_fill(future, -math.inf), -1)
        mixed = torch.einsum("bhts,bshw->bthw", weight, v).reshape(B, T, D)
        return mixed @ p[f"{block}.attention.out"]

    def forward(self, p, tokens, training):
        """tokens (B, T) -> logits (B*T, V), extra loss, gap."""
        (B, T), extra, gap = tokens.shape, 0.0, NO_GAP
        x = p["embedding"][tokens]
        for b, kinds in enumerate(self.slots):
            block = f"block{b}"
            h = self.convolve(p[f"{block}.conv1"], rms_norm(x, p[f"{block}.norm1"]))
            x = x + self.attend(p, block, h)
            h = self.convolve(p[f"{block}.conv2"], rms_norm(x, p[f"{block}.norm2"]))
            for kind in kinds:
                y, more, closest = kind.forward(p, h.reshape(B * T, -1), training)
                x, extra, gap = x + y.reshape(x.shape), extra + more, min(gap, closest)
        h = rms_norm(x, p["norm_final"]).reshape(B * T, -1)
        return h @ p["embedding"].T, extra, gap


def nll(logits, targets):
    return torch.logsumexp(logits, -1) - logits.gather(1, targets[:, None])[:, 0]
