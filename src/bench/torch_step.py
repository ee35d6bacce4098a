"""The training step of a PEER layer, or of a whole model, in PyTorch: what `cambium bench --vs-torch`
compares with.  Written for speed in plain torch 1.13, the version of Debian 12.

    python3 torch_step.py CONFIG <commands >answers

CONFIG is a JSON object: mode ("layer" or "model"), threads, learning_rate, and the shape as in
src/bench/layer_bench.c and model_bench.c.  Inputs are float32 numbers in /dev/fd/3.  The first line
of the answers is "ready VERSION" or "missing REASON"; then each command gets one number:

    step          takes one training step: its seconds
    cpu_seconds   processor time of the last step, all threads together
    rss_bytes     peak resident memory of this process
    unique_rows   different experts that the last step touched
    loss          of the last step (model)

Pools have sparse gradients and SparseAdam; everything else Adam (layer) or AdamW (model).
"""
import json
import resource
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print("missing", error, flush=True)
    sys.exit(0)


class Peer(torch.nn.Module):
    """Parameter-efficient expert retrieval (He 2024, arXiv 2407.04153); one hidden neuron an expert."""

    def __init__(self, c, query=None, keys=None):
        super().__init__()
        self.heads, self.top_k = c["heads"], c["top_k"]
        self.key_width, self.subkeys = c["key_width"], c["subkeys"]
        width, n_experts = c["width"], c["subkeys"] ** 2
        if query is None:
            query = torch.randn(width, self.heads * 2 * self.key_width) * width**-0.5
            keys = torch.randn(2, self.subkeys, self.key_width) * self.key_width**-0.5
        self.query = torch.nn.Parameter(query)
        self.keys = torch.nn.Parameter(keys)
        rows = [torch.empty(n_experts, width).normal_(0, width**-0.5) for _ in range(2)]
        self.u = torch.nn.Embedding(n_experts, width, sparse=True, _weight=rows[0])
        self.v = torch.nn.EmbeddingBag(n_experts, width, mode="sum", sparse=True, _weight=rows[1])
        self.last = None

    def retrieve(self, x):
        """x (N, D) -> experts and gates, (N, P * K) each."""
        n, k = x.shape[0], self.top_k
        q = (x @ self.query).view(n * self.heads, 2, self.key_width)
        q = F.layer_norm(q, (self.key_width,), eps=1e-6)
        best, index = [], []
        for half in range(2):
            s, i = torch.topk(q[:, half] @ self.keys[half].t(), k, dim=-1, sorted=False)
            best.append(s)
            index.append(i)
        sums = (best[0][:, :, None] + best[1][:, None, :]).flatten(1)
        score, at = torch.topk(sums, k, dim=-1, sorted=False)
        i = index[0].gather(1, torch.div(at, k, rounding_mode="floor"))
        expert = i * self.subkeys + index[1].gather(1, at % k)
        return expert.view(n, -1), torch.softmax(score, -1).view(n, -1)

    def forward(self, x):
        """x (N, D) -> (N, D)"""
        expert, gate = self.retrieve(x)
        self.last = expert
        h = torch.bmm(self.u(expert), x[:, :, None]).squeeze(-1)
        return self.v(expert, per_sample_weights=gate * F.gelu(h, approximate="tanh"))

    def sparse(self):
        return [self.u.weight, self.v.weight]


class Norm(torch.nn.Module):
    """RMSNorm with a gain."""

    def __init__(self, width):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.gain


class Mix(torch.nn.Module):
    """The short causal convolution: each channel with its own taps, beside the identity."""

    def __init__(self, width, taps):
        super().__init__()
        self.taps = torch.nn.Parameter(torch.zeros(taps, width))

    def forward(self, x):
        y = x + x * self.taps[0]
        for k in range(1, self.taps.shape[0]):
            y = y + F.pad(x[:, :-k], (0, 0, k, 0)) * self.taps[k]
        return y


class Attention(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        width, t = c["width"], c["context"]
        self.heads, self.groups = c["attention_heads"], c["kv_heads"]
        self.size = width // self.heads
        columns = (self.heads + 2 * self.groups) * self.size
        self.qkv = torch.nn.Parameter(torch.randn(width, columns) * width**-0.5)
        self.out = torch.nn.Parameter(torch.zeros(width, width))
        self.q_norm, self.k_norm = Norm(self.size), Norm(self.size)
        half = torch.arange(self.size // 2)
        angle = torch.arange(t)[:, None] * 10000.0 ** (-2.0 * half / self.size)
        self.cos, self.sin = angle.cos(), angle.sin()
        self.mask = torch.full((t, t), float("-inf")).triu(1)

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * self.cos - b * self.sin, a * self.sin + b * self.cos), -1)

    def forward(self, x):
        b, t, width = x.shape
        split = [self.heads * self.size] + 2 * [self.groups * self.size]
        q, k, v = (
            z.view(b, t, -1, self.size).transpose(1, 2) for z in (x @ self.qkv).split(split, -1)
        )
        q, k = self.rotate(self.q_norm(q)), self.rotate(self.k_norm(k))
        if self.groups != self.heads:
            k = k.repeat_interleave(self.heads // self.groups, 1)
            v = v.repeat_interleave(self.heads // self.groups, 1)
        w = torch.softmax(q @ k.transpose(-2, -1) * self.size**-0.5 + self.mask, -1)
        return (w @ v).transpose(1, 2).reshape(b, t, width) @ self.out


class Dense(torch.nn.Module):
    """SwiGLU."""

    def __init__(self, c):
        super().__init__()
        width, self.hidden = c["width"], c["hidden"]
        self.into = torch.nn.Parameter(torch.randn(width, 2 * self.hidden) * width**-0.5)
        self.out = torch.nn.Parameter(torch.zeros(self.hidden, width))

    def forward(self, x):
        gate, up = (x @ self.into).chunk(2, -1)
        return (F.silu(gate) * up) @ self.out


class Block(torch.nn.Module):
    def __init__(self, c, slot):
        super().__init__()
        self.norms = torch.nn.ModuleList(Norm(c["width"]) for _ in range(2))
        self.mixes = torch.nn.ModuleList(Mix(c["width"], c["taps"]) for _ in range(2 * c["conv"]))
        self.attention = Attention(c)
        kinds = {"dense": Dense, "peer": Peer}
        self.slot = torch.nn.ModuleList(kinds[kind](c) for kind in slot.split("+"))

    def branch(self, x, i):
        x = self.norms[i](x)
        return self.mixes[i](x) if self.mixes else x

    def forward(self, x):
        x = x + self.attention(self.branch(x, 0))
        h = self.branch(x, 1).reshape(-1, x.shape[-1])
        return x + sum(part(h) for part in self.slot).view_as(x)


class Model(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embedding = torch.nn.Parameter(torch.randn(c["vocabulary"], c["width"]) * 0.02)
        self.blocks = torch.nn.ModuleList(Block(c, slot) for slot in c["ff"])
        self.norm = Norm(c["width"])

    def forward(self, tokens, targets):
        x = F.embedding(tokens, self.embedding)
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.embedding.t()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Numbers:
    """The inputs, in the order they were written."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.all = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
        self.at = 0

    def take(self, *shape):
        n = torch.Size(shape).numel()
        self.at += n
        return self.all[self.at - n : self.at].view(shape).clone()


class Layer:
    def __init__(self, c, numbers):
        n, d = c["tokens"], c["width"]
        self.x = numbers.take(c["batches"], n, d)
        self.dy = numbers.take(n, d)
        query = numbers.take(d, c["heads"] * 2 * c["key_width"])
        keys = numbers.take(2, c["subkeys"], c["key_width"])
        self.peer, self.i = Peer(c, query, keys), 0
        self.optimisers = [
            torch.optim.SparseAdam(self.peer.sparse(), lr=c["learning_rate"]),
            torch.optim.Adam([self.peer.query, self.peer.keys], lr=c["learning_rate"]),
        ]
        self.loss = 0

    def step(self):
        x = self.x[self.i % len(self.x)].clone().requires_grad_(True)
        self.i += 1
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        self.peer(x).backward(self.dy)
        for optimiser in self.optimisers:
            optimiser.step()

    def unique_rows(self):
        return self.peer.last.unique().numel()


class Whole:
    def __init__(self, c, numbers):
        shape = (c["batches"], c["sequences"], c["context"])
        self.tokens, self.targets = (numbers.take(*shape).long() for _ in range(2))
        self.model, self.i = Model(c), 0
        pools = [p for m in self.model.modules() if isinstance(m, Peer) for p in m.sparse()]
        dense = [p for p in self.model.parameters() if not any(p is q for q in pools)]
        self.optimisers = [torch.optim.AdamW(dense, lr=c["learning_rate"])]
        if pools:
            self.optimisers.append(torch.optim.SparseAdam(pools, lr=c["learning_rate"]))

    def step(self):
        i = self.i % len(self.tokens)
        self.i += 1
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss = self.model(self.tokens[i], self.targets[i])
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.loss = loss.item()

    def unique_rows(self):
        pools = [m for m in self.model.modules() if isinstance(m, Peer)]
        return sum(m.last.unique().numel() for m in pools)


def main():
    c = json.loads(sys.argv[1])
    torch.set_num_threads(c["threads"])
    torch.manual_seed(1)
    numbers = Numbers("/dev/fd/3")
    work = Layer(c, numbers) if c["mode"] == "layer" else Whole(c, numbers)
    cpu = 0.0
    print("ready", torch.__version__ + ",", torch.get_num_threads(), "threads", flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "step":
            start, cpu = time.perf_counter(), time.process_time()
            work.step()
            answer, cpu = time.perf_counter() - start, time.process_time() - cpu
        elif command == "cpu_seconds":
            answer = cpu
        elif command == "rss_bytes":
            answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        elif command == "unique_rows":
            answer = work.unique_rows()
        else:
            answer = work.loss
        print(answer, flush=True)


main()
