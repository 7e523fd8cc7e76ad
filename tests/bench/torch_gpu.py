#!/usr/bin/env python3
"""PyTorch's side of `gradus bench --device cuda`: eager, compiled, and by Liger's kernels where liger_kernel is installed.

    torch_gpu.py '{"seconds": 0.5, "cases": [{"name": "ce", "sizes": {"N": 8192, "V": 32768}, "precision": "exact"}]}'

Prints a line of JSON about itself, then one for each case: {"eager": {"ms": .., "peak_mib": ..}, "compile": {"error": ".."}}.
Losses are written as their users write them. Memory is the peak besides what is there before a step. With "device": "cpu" the
cases run without being timed, which shows that they work where there is no GPU.
"""
import json
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print(json.dumps({"unavailable": "no PyTorch here"}))
    sys.exit()

sys.dont_write_bytecode = True  # no __pycache__ beside the sources
from torch_losses import Case, binary, classify, cosent, focal, gamma_ce, leaf, multilabel, nt_xent, sigmoid_focal

REQUEST = json.loads(sys.argv[1])
CUDA = REQUEST.get("device", "cuda") == "cuda"
if CUDA and not torch.cuda.is_available():
    print(json.dumps({"unavailable": f"PyTorch {torch.__version__} finds no CUDA device"}))
    sys.exit()
try:
    import liger_kernel.transformers as liger
except Exception:  # it is absent, or does not fit this version of PyTorch
    liger = None


def autocast():
    return torch.autocast("cuda" if CUDA else "cpu", torch.bfloat16)


# Each function makes a case and may add others' ways to compute it: a dictionary of cases by name. One named "eager" is
# compiled as well.


def ce(N, V, **options):
    ways = {"eager": classify(lambda x, y: F.cross_entropy(x, y, **options), N, V)}
    if liger:
        loss = liger.LigerCrossEntropyLoss(**options)  # writes the gradient over the logits
        ways["liger"] = classify(loss, N, V)
    return ways


def linear_ce(N, H, V):
    h, w, y = leaf(N, H), leaf(V, H), torch.randint(V, (N,))

    def loss():
        with autocast():  # master weights in f32, products in bf16
            return F.cross_entropy(F.linear(h, w), y)

    ways = {"eager": Case(loss, h, w)}
    if liger:
        fused = liger.LigerFusedLinearCrossEntropyLoss()

        def by_liger():
            with autocast():
                return fused(w, h, y)

        ways["liger"] = Case(by_liger, h, w)
    return ways



class Seeded(Case):
    """A layer: its gradients for a given dy, without the loss that would bring it."""

    def __init__(self, y, dy, *leaves):
        super().__init__(y, *leaves)
        self.dy = dy

    def __call__(self):
        self.loss().backward(self.dy)
        for x in self.leaves:
            x.grad = None


def layer_norm(N, D):
    x, w, b, dy = leaf(N, D), leaf(D), leaf(D), torch.randn(N, D)
    ways = {"eager": Seeded(lambda: F.layer_norm(x, (D,), w, b), dy, x, w, b)}
    if liger:
        layer = liger.LigerLayerNorm(D).to(x.device)
        ways["liger"] = Seeded(lambda: layer(x), dy, x, *layer.parameters())
    return ways


def gelu(N, D):
    x, dy = leaf(N, D), torch.randn(N, D)
    return {"eager": Seeded(lambda: F.gelu(x, approximate="tanh"), dy, x)}


def embedding(V, D, N):
    w, ids, dy = leaf(V, D), (V * torch.rand(N) ** 4).long(), torch.randn(N, D)
    return {"eager": Seeded(lambda: F.embedding(ids, w), dy, w)}


def attention(B, H, T, D):
    q, k, v, dy = leaf(B, H, T, D), leaf(B, H, T, D), leaf(B, H, T, D), torch.randn(B, H, T, D)

    def in_bf16():  # what its fast kernels are for
        return F.scaled_dot_product_attention(*(x.bfloat16() for x in (q, k, v)), is_causal=True).float()

    plain = Seeded(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True), dy, q, k, v)
    return {"eager": plain, "bf16": Seeded(in_bf16, dy, q, k, v)}


def global_pointer(N, C, T, D):  # all scores, as its users have them
    q, k, spans = leaf(N, C, T, D), leaf(N, C, T, D), torch.rand(N, C, T, T) < 1e-4
    below = torch.ones(T, T, dtype=torch.bool).tril(-1)

    def loss():
        s = (q @ k.transpose(-1, -2) / D**0.5).masked_fill(below, -1e12)
        s, positive = s.view(N * C, -1), (spans & ~below).view(N * C, -1)
        zero = torch.zeros_like(s[:, :1])
        negatives = torch.cat([s.masked_fill(positive, -1e12), zero], -1)
        positives = torch.cat([(-s).masked_fill(~positive, -1e12), zero], -1)
        return (torch.logsumexp(negatives, -1) + torch.logsumexp(positives, -1)).sum() / N

    return {"eager": Case(loss, q, k)}


def info_nce(N, D, tau=0.07):
    q, k, y = leaf(N, D), leaf(N, D), torch.arange(N)
    return {"eager": Case(lambda: F.cross_entropy(F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / tau, y), q, k)}


class Block(torch.nn.Module):
    def __init__(self, D, H):
        super().__init__()
        n = torch.nn
        self.norm1, self.norm2, self.heads = n.LayerNorm(D), n.LayerNorm(D), H
        self.qkv, self.out = n.Linear(D, 3 * D), n.Linear(D, D)
        self.mlp = n.Sequential(n.Linear(D, 4 * D), n.GELU(approximate="tanh"), n.Linear(4 * D, D))

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp(self.norm2(x))


class Transformer(torch.nn.Module):
    def __init__(self, layers, D, H, V, T):
        super().__init__()
        n = torch.nn
        self.token, self.position = n.Embedding(V, D), n.Parameter(torch.randn(T, D) / 50)
        self.blocks, self.norm = n.Sequential(*[Block(D, H) for _ in range(layers)]), n.LayerNorm(D)

    def forward(self, ids):
        hidden = self.norm(self.blocks(self.token(ids) + self.position))
        return hidden @ self.token.weight.T


class Update(Case):
    def __init__(self, adam):
        super().__init__(None)
        self.adam = adam

    def __call__(self):
        self.adam.step()


def adamw(layers, D, H, V, T):
    def update(**options):
        parameters = list(Transformer(layers, D, H, V, T).parameters())
        for p in parameters:
            p.grad = p.detach().clone()
        return Update(torch.optim.AdamW(parameters, **options))

    return {"foreach": update(foreach=True), "fused": update(fused=True)} if CUDA else {"foreach": update()}


class Training(Case):
    def __init__(self, loss, adam):
        super().__init__(loss)
        self.adam = adam

    def __call__(self):
        self.loss().backward()
        self.adam.step()
        self.adam.zero_grad()


def lm_step(layers, D, H, V, B, T):
    model, x, y = Transformer(layers, D, H, V, T), torch.randint(V, (B, T)), torch.randint(V, (B * T,))
    adam = torch.optim.AdamW(model.parameters(), **({"fused": True} if CUDA else {}))

    def loss_of(f):
        return lambda: F.cross_entropy(f(x).view(B * T, V), y)

    ways = {"eager": Training(loss_of(model), adam)}
    if CUDA:
        ways["graphs"] = Training(loss_of(torch.compile(model, dynamic=False, mode="reduce-overhead")), adam)
    return ways


CASES = {
    "ce": ce,
    "ce-smoothing": lambda N, V: ce(N, V, label_smoothing=0.1),
    "focal": lambda N, V: {"eager": classify(focal, N, V)},
    "gamma-ce": lambda N, V: {"eager": classify(gamma_ce, N, V)},
    "bce": lambda N, C: {"eager": binary(F.binary_cross_entropy_with_logits, N, C)},
    "focal-sigmoid": lambda N, C: {"eager": binary(sigmoid_focal, N, C)},
    "multilabel": lambda N, C: {"eager": multilabel(N, C)},
    "linear-ce": linear_ce,
    "layer-norm": layer_norm,
    "gelu": gelu,
    "embedding": embedding,
    "attention": attention,
    "global-pointer": global_pointer,
    "nt-xent": lambda N, D: {"eager": nt_xent(N, D)},
    "info-nce": info_nce,
    "cosent": lambda B: {"eager": cosent(B)},
    "adamw": adamw,
    "lm-step": lm_step,
}


def compiled(case):
    if not hasattr(torch, "compile") or not CUDA:
        raise RuntimeError("not in this PyTorch")
    torch._dynamo.reset()
    case.loss = torch.compile(case.loss, dynamic=False)
    return case


def time_of(step, seconds):  # the median of batches, as tutorials/cli/bench_gpu.cpp takes it
    def batch(count):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            step()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    count = int(min(max(0.02 / batch(1), 1), 2000))
    all, start = [], time.perf_counter()
    while len(all) < 5 or (time.perf_counter() - start < seconds and len(all) < 1000):
        all.append(batch(count))
    return 1e3 * statistics.median(all)


def measure(make, seconds):
    try:
        step = make()
        step()
        if not CUDA:
            return {"runs": True}
        for _ in range(3):  # compilation, and what is measured only after some steps
            step()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
        return {"ms": time_of(step, seconds), "peak_mib": peak}
    except Exception as e:  # out of memory, or a case that this version cannot compile
        return {"error": (str(e).splitlines() or [type(e).__name__])[0][:200]}


def main():
    print(json.dumps({"torch": torch.__version__, "liger": bool(liger),
                      "device": torch.cuda.get_device_name() if CUDA else "cpu"}), flush=True)
    if CUDA:
        torch.set_default_device("cuda")
    torch.manual_seed(1)
    for case in REQUEST["cases"]:
        torch.set_float32_matmul_precision({"exact": "highest", "tf32": "high", "bf16": "highest"}[case["precision"]])
        try:
            ways = CASES[case["name"]](**case["sizes"])
        except Exception as e:
            print(json.dumps({"eager": {"error": str(e)[:200]}}), flush=True)
            continue
        answer = {name: measure(lambda: way, REQUEST["seconds"]) for name, way in ways.items()}
        if "eager" in ways:
            answer["compile"] = measure(lambda: compiled(ways["eager"]), REQUEST["seconds"])
        del ways
        if CUDA:
            torch.cuda.empty_cache()
        print(json.dumps(answer), flush=True)


main()
