#!/usr/bin/env python3
"""Golden values: every loss of `gradus eval`, computed by PyTorch in f64 and differentiated by its autograd.

Writes losses.json beside this file: one case a line, {"loss", "inputs", "options", "want_grads", "expected"}. The tests read
that file and need no Python. Made with PyTorch 1.13.1, NumPy 1.24, SciPy 1.10 of Debian 12:

    apt-get install python3-torch python3-scipy && python3 tests/golden/losses.py

Formulas are written here a second time, from the literature and PyTorch's own functions, not from the C++.
"""
import json
import math
import os

import numpy as np
import scipy.optimize
import scipy.stats
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(20261124)
cases = []


def randn(*shape):
    return torch.randn(*shape, generator=generator)


def rand(*shape):
    return torch.rand(*shape, generator=generator)


def randint(high, *shape):
    return torch.randint(high, shape, generator=generator)


def simplex(*shape):
    return torch.softmax(randn(*shape), -1)


def flat(x):
    data = [int(v) if not x.dtype.is_floating_point else float(v) for v in x.reshape(-1).tolist()]
    data = [v if not isinstance(v, float) or math.isfinite(v) else ("inf" if v > 0 else "-inf") for v in data]
    out = {"shape": list(x.shape), "data": data}
    if not x.dtype.is_floating_point:
        out["dtype"] = "int64"
    return out


def case(loss, inputs, options, f, grads=None, value_only=False):
    """f(inputs) -> value; grads: names of the inputs to differentiate, default all floating-point ones."""
    if value_only:
        grads = []
    if grads is None:
        grads = [name for name, x in inputs.items() if x.dtype.is_floating_point and name != "cotangent"]
    leaves = {n: x.clone().requires_grad_() if n in grads else x.clone() for n, x in inputs.items()}
    value = f(**leaves)
    if not torch.is_tensor(value):
        value = torch.tensor(float(value))
    inputs = dict(inputs)
    if grads and value.dim() > 0 and "cotangent" not in inputs:
        inputs["cotangent"] = randn(*value.shape)
    expected = {"value": flat(value.detach()) if value.dim() else float(value)}
    if grads:
        total = (value * inputs["cotangent"]).sum() if value.dim() else value
        found = torch.autograd.grad(total, [leaves[n] for n in grads], allow_unused=True)
        expected["grads"] = {
            n: flat(g if g is not None else torch.zeros_like(leaves[n])) for n, g in zip(grads, found)
        }
    plain = {k: ("inf" if v == math.inf else "-inf" if v == -math.inf else v) for k, v in options.items()}
    cases.append({"loss": loss, "inputs": {n: flat(x) for n, x in inputs.items()}, "options": plain,
                  "want_grads": grads, "expected": expected})


# ---- softmax family

for N, C, options in [(5, 4, {}), (4, 3, {"reduction": "sum", "label_smoothing": 0.1}), (3, 6, {"reduction": "none"})]:
    z, t = 2 * randn(N, C), randint(C, N)
    case("cross_entropy", {"logits": z, "target": t}, options, lambda logits, target: F.cross_entropy(logits, target, **options))
z, t, w = 2 * randn(6, 3), torch.tensor([0, 2, -100, 1, 1, 2]), rand(3) + 0.5
case("cross_entropy", {"logits": z, "target": t, "weight": w}, {"label_smoothing": 0.2},
     lambda logits, target, weight: F.cross_entropy(logits, target, weight, label_smoothing=0.2), ["logits"])

z, t = 2 * randn(4, 5), simplex(4, 5)
case("soft_cross_entropy", {"logits": z, "target_probs": t}, {},
     lambda logits, target_probs: F.cross_entropy(logits, target_probs), ["logits"])
for reduction in ["mean", "sum", "none"]:
    x, t, w = torch.log_softmax(randn(5, 4), -1), torch.tensor([3, 0, -100, 1, 1]), rand(4) + 0.5
    case("nll", {"log_probs": x, "target": t, "weight": w}, {"reduction": reduction},
         lambda log_probs, target, weight: F.nll_loss(log_probs, target, weight, reduction=reduction), ["log_probs"])


def log_pt(logits, target):
    return torch.log_softmax(logits, -1).gather(1, target[:, None])[:, 0]


for gamma, reduction in [(2.0, "mean"), (0.5, "none"), (0.0, "sum"), (3.7, "mean")]:
    z, t, a = 2 * randn(5, 4), randint(4, 5), rand(4) + 0.1

    def focal(logits, target, alpha):
        l = log_pt(logits, target)
        rows = -alpha[target] * (1 - l.exp()) ** gamma * l
        return {"mean": rows.mean(), "sum": rows.sum(), "none": rows}[reduction]

    case("focal", {"logits": z, "target": t, "alpha": a}, {"gamma": gamma, "reduction": reduction}, focal, ["logits"])

for alpha, gamma, reduction in [(0.25, 2.0, "mean"), (-1.0, 0.5, "none"), (0.7, 1.5, "sum")]:

    def focal_sigmoid(logits, targets):
        p = torch.sigmoid(logits)
        ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        pt = p * targets + (1 - p) * (1 - targets)
        out = ce * (1 - pt) ** gamma
        if alpha >= 0:
            out = (alpha * targets + (1 - alpha) * (1 - targets)) * out
        return {"mean": out.mean(), "sum": out.sum(), "none": out}[reduction]

    case("focal_sigmoid", {"logits": 2 * randn(3, 4), "targets": randint(2, 3, 4).double()},
         {"alpha": alpha, "gamma": gamma, "reduction": reduction}, focal_sigmoid, ["logits"])

for gamma in [0.0, 0.2, 0.9, 1.0]:

    def gamma_ce(logits, target):
        l = log_pt(logits, target)
        if gamma == 1:
            return (1 - l.exp()).mean()
        return (-(torch.log(gamma + (1 - gamma) * l.exp())) / (1 - gamma)).mean()

    case("gamma_ce", {"logits": 2 * randn(4, 3), "target": randint(3, 4)}, {"gamma": gamma}, gamma_ce)

for N, C in [(4, 3), (2, 5)]:
    counts = torch.tensor([500, 40, 7, 90, 3][:C])
    z, t, w = randn(N, C), randint(C, N), rand(C) + 0.5

    def ldam(logits, target, class_counts, weight=None, s=30.0, max_m=0.5):
        m = class_counts.double() ** -0.25
        m = m * max_m / m.max()
        shifted = logits - F.one_hot(target, logits.shape[1]) * m[target][:, None]
        return F.cross_entropy(s * shifted, target, weight)

    case("ldam", {"logits": z, "target": t, "class_counts": counts}, {"max_m": 0.5, "s": 30.0}, ldam, ["logits"])
    case("ldam", {"logits": z, "target": t, "class_counts": counts, "weight": w}, {"max_m": 0.3, "s": 4.0},
         lambda **k: ldam(**k, s=4.0, max_m=0.3), ["logits"])


def balanced_weights(class_counts, beta, normalise=True):
    w = (1 - beta) / (1 - beta ** class_counts.double())
    return w / w.sum() * len(w) if normalise else w


counts = torch.tensor([1000, 50, 3, 1])
for beta, normalise in [(0.999, True), (0.9, False)]:
    case("class_balanced_weights", {"class_counts": counts}, {"beta": beta, "normalise": normalise},
         lambda class_counts: balanced_weights(class_counts, beta, normalise), value_only=True)
for average in ["plain", "weighted"]:

    def class_balanced(logits, target, class_counts):
        w = balanced_weights(class_counts, 0.99)
        rows = -w[target] * log_pt(logits, target)
        return rows.sum() / (len(target) if average == "plain" else w[target].sum())

    case("class_balanced_ce", {"logits": randn(5, 4), "target": randint(4, 5), "class_counts": counts},
         {"beta": 0.99, "average": average}, class_balanced, ["logits"])

for T, alpha in [(2.0, 0.7), (1.0, 0.0), (4.0, 1.0)]:

    def distillation(student, teacher, target):
        kl = F.kl_div(torch.log_softmax(student / T, -1), torch.softmax(teacher / T, -1), reduction="batchmean")
        return alpha * T * T * kl + (1 - alpha) * F.cross_entropy(student, target)

    case("distillation", {"student": randn(4, 5), "teacher": 2 * randn(4, 5), "target": randint(5, 4)},
         {"T": T, "alpha": alpha}, distillation, ["student"])


def xlogx(p):
    return torch.special.xlogy(p, p)


def kl(p, q):
    return (xlogx(p) - torch.special.xlogy(p, q)).sum(-1)


t = simplex(4, 5)
t[1] = torch.tensor([0.0, 0.5, 0.0, 0.25, 0.25])
case("kl_div", {"logits": 2 * randn(4, 5), "target_probs": t}, {},
     lambda logits, target_probs: kl(target_probs, torch.softmax(logits, -1)).mean(), ["logits"])


def js(p, q):
    m = (p + q) / 2
    return 0.5 * kl(p, m) + 0.5 * kl(q, m)


case("js_div", {"logits": 2 * randn(4, 5), "target_probs": t}, {},
     lambda logits, target_probs: js(target_probs, torch.softmax(logits, -1)).mean(), ["logits"])
case("js_div_logits", {"logits_p": 2 * randn(3, 4), "logits_q": randn(3, 4)}, {},
     lambda logits_p, logits_q: js(torch.softmax(logits_p, -1), torch.softmax(logits_q, -1)).mean())
case("entropy", {"logits": 2 * randn(4, 3)}, {}, lambda logits: -xlogx(torch.softmax(logits, -1)).sum(-1))

y = randint(2, 7).double()
case("bce_probs", {"p": rand(7) * 0.9 + 0.05, "targets": y}, {}, lambda p, targets: F.binary_cross_entropy(p, targets), ["p"])
for reduction in ["mean", "sum", "none"]:
    case("bce_with_logits", {"logits": 3 * randn(3, 4), "targets": randint(2, 3, 4).double(), "pos_weight": rand(4) + 0.5},
         {"reduction": reduction}, lambda logits, targets, pos_weight: F.binary_cross_entropy_with_logits(
             logits, targets, pos_weight=pos_weight, reduction=reduction), ["logits"])


def cosine_rows(x, y):
    return F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).T


for N, C, D in [(3, 5, 4), (4, 3, 2)]:
    emb = randn(C, D)
    case("emo", {"logits": 2 * randn(N, C), "emb": emb, "target": randint(C, N)}, {},
         lambda logits, emb, target: (torch.softmax(logits, -1) * (1 - cosine_rows(emb, emb))[target]).sum(-1).mean(),
         ["logits"])
    case("emo_soft", {"logits": 2 * randn(N, C), "emb": emb, "target_probs": simplex(N, C)}, {},
         lambda logits, emb, target_probs: torch.einsum(
             "ni,ij,nj->n", torch.softmax(logits, -1), 1 - cosine_rows(emb, emb), target_probs).mean(), ["logits"])

z = torch.randn(2, 5, 7, generator=generator)
labels = torch.tensor([[3, -100, -100, 0, 6], [-100, 2, -100, -100, 5]])
for reduction in ["mean", "sum"]:
    case("mlm", {"logits": z, "labels": labels}, {"reduction": reduction},
         lambda logits, labels: F.cross_entropy(logits.reshape(-1, 7), labels.reshape(-1), reduction=reduction))
    case("nsp", {"logits": randn(5, 2), "labels": randint(2, 5)}, {"reduction": reduction},
         lambda logits, labels: F.cross_entropy(logits, labels, reduction=reduction))

# ---- log-sum-exp family


def log1p_sum_exp(x, dim=-1):
    zero = torch.zeros_like(x.select(dim, 0)).unsqueeze(dim)
    return torch.logsumexp(torch.cat([x, zero], dim), dim)


def multilabel(scores, labels):
    neg = scores.masked_fill(labels > 0, -math.inf)
    pos = (-scores).masked_fill(labels == 0, -math.inf)
    return log1p_sum_exp(neg) + log1p_sum_exp(pos)


for N, C, reduction in [(3, 5, "mean"), (2, 4, "none"), (4, 3, "sum")]:
    case("multilabel_ce", {"scores": 3 * randn(N, C), "labels": randint(2, N, C).double()}, {"reduction": reduction},
         lambda scores, labels: {"mean": multilabel(scores, labels).mean(), "sum": multilabel(scores, labels).sum(),
                                 "none": multilabel(scores, labels)}[reduction], ["scores"])
    targets = rand(N, C)
    targets[0, :2] = torch.tensor([0.0, 1.0])

    def multilabel_soft(scores, targets):
        rows = log1p_sum_exp(-scores + targets.log()) + log1p_sum_exp(scores + torch.log1p(-targets))
        return {"mean": rows.mean(), "sum": rows.sum(), "none": rows}[reduction]

    case("multilabel_ce_soft", {"scores": 3 * randn(N, C), "targets": targets}, {"reduction": reduction},
         multilabel_soft, ["scores"])


def span_bce(scores, labels, mask=None, triangle=False, normaliser="n^2"):
    n = scores.shape[-1]
    valid = torch.ones(scores.shape[0], n, n, dtype=torch.bool)
    if mask is not None:
        valid &= mask.bool()[:, :, None] & mask.bool()[:, None, :]
    if triangle:
        valid &= torch.ones(n, n).triu().bool()
    cell = F.binary_cross_entropy_with_logits(scores, labels, reduction="none") * valid[:, None]
    total = cell.sum((1, 2, 3))
    return (total / (n * n if normaliser == "n^2" else valid.sum((1, 2)))).mean()


s, y, mask = 2 * randn(2, 3, 4, 4), randint(2, 2, 3, 4, 4).double(), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).double()
case("bce_global_pointer", {"scores": s, "labels": y}, {}, span_bce, ["scores"])
for normaliser in ["n^2", "valid"]:
    case("bce_global_pointer", {"scores": s, "labels": y, "mask": mask}, {"triangle": True, "normaliser": normaliser},
         lambda scores, labels, mask: span_bce(scores, labels, mask, True, normaliser), ["scores"])


for gamma in [0.0, 2.0, 0.7]:

    def gp_focal(scores, labels):
        p = torch.sigmoid(scores)
        pos, neg = (1 - p) ** gamma * F.logsigmoid(scores), p**gamma * F.logsigmoid(-scores)
        return -(labels * pos + (1 - labels) * neg).sum()

    case("gp_focal", {"scores": s, "labels": y}, {"gamma": gamma}, gp_focal, ["scores"])


def rotate(x, positions, base=10000.0):
    d = x.shape[-1]
    angle = positions[:, None].double() * base ** (-2 * torch.arange(d // 2).double() / d)
    even, odd = x[..., 0::2], x[..., 1::2]
    out = torch.stack([even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()], -1)
    return out.flatten(-2)


case("rope", {"x": randn(5, 6), "positions": torch.tensor([0, 3, 1, 100, 7])}, {}, lambda x, positions: rotate(x, positions))
for i, j in [(3, 7), (103, 107), (7, 3)]:
    case("rope_score", {"q": randn(4), "k": randn(4)}, {"i": i, "j": j},
         lambda q, k: (rotate(q[None], torch.tensor([i])) * rotate(k[None], torch.tensor([j]))).sum())


def pointer_scores(h, W, b, heads, rope, scale):
    B, n, _ = h.shape
    d = W.shape[1] // (2 * heads)
    proj = (h @ W + b).view(B, n, heads, 2 * d).transpose(1, 2)
    q, k = proj[..., :d], proj[..., d:]
    if rope:
        q, k = rotate(q, torch.arange(n)), rotate(k, torch.arange(n))
    s = q @ k.transpose(-1, -2)
    return s / math.sqrt(d) if scale else s


def efficient_scores(h, Wq, Wk, w, rope, scale):
    n, d = h.shape[1], Wq.shape[1]
    q, k = h @ Wq, h @ Wk
    qr, kr = (rotate(q, torch.arange(n)), rotate(k, torch.arange(n))) if rope else (q, k)
    extract = qr @ kr.transpose(-1, -2)
    if scale:
        extract = extract / math.sqrt(d)
    qk = torch.cat([q, k], -1)
    start, end = qk @ w[:, : 2 * d].T, qk @ w[:, 2 * d :].T  # [B,n,heads]
    return extract[:, None] + start.transpose(1, 2)[:, :, :, None] + end.transpose(1, 2)[:, :, None, :]


def span_loss(scores, labels, mask):
    n = scores.shape[-1]
    valid = (mask.bool()[:, :, None] & mask.bool()[:, None, :] & torch.ones(n, n).triu().bool())[:, None]
    neg = scores.masked_fill((labels > 0) | ~valid, -math.inf).flatten(-2)
    pos = (-scores).masked_fill((labels == 0) | ~valid, -math.inf).flatten(-2)
    return (log1p_sum_exp(neg) + log1p_sum_exp(pos)).sum() / scores.shape[0]


B, n, D, heads, d = 2, 4, 5, 3, 2
labels = (rand(B, heads, n, n) < 0.3).double().triu()
labels[1, :, :, 3] = 0
mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).double()
for rope, scale in [(True, True), (False, False), (True, False)]:
    options = {"rope": rope, "scale": scale}
    h, W, b = randn(B, n, D), randn(D, heads * 2 * d), randn(heads * 2 * d)
    Wq, Wk, w = randn(D, d), randn(D, d), randn(heads, 4 * d)
    case("global_pointer", {"h": h, "W": W, "b": b, "labels": labels, "mask": mask}, options,
         lambda h, W, b, labels, mask: span_loss(pointer_scores(h, W, b, heads, rope, scale), labels, mask), ["h", "W", "b"])
    case("global_pointer_scores", {"h": h, "W": W, "b": b, "cotangent": randn(B, heads, n, n)}, options,
         lambda h, W, b, cotangent: pointer_scores(h, W, b, heads, rope, scale))
    case("efficient_global_pointer", {"h": h, "Wq": Wq, "Wk": Wk, "w": w, "labels": labels, "mask": mask}, options,
         lambda h, Wq, Wk, w, labels, mask: span_loss(efficient_scores(h, Wq, Wk, w, rope, scale), labels, mask),
         ["h", "Wq", "Wk", "w"])
    case("efficient_global_pointer_scores", {"h": h, "Wq": Wq, "Wk": Wk, "w": w, "cotangent": randn(B, heads, n, n)}, options,
         lambda h, Wq, Wk, w, cotangent: efficient_scores(h, Wq, Wk, w, rope, scale))

for n, m in [(3, 4), (5, 2), (1, 3)]:
    s = 2 * randn(n, m)
    for t in [F.one_hot(randint(m, n), m).double(), simplex(n, m)]:

        def nm_eq1(s, t):
            gap = s[:, None, :] - s[:, :, None]  # [i,j,k] s_ik - s_ij
            off = 1 - torch.eye(s.shape[1])
            return torch.log1p((t * (gap.exp() * off).sum(-1)).sum(0)).sum()

        case("nm_eq1", {"s": s, "t": t}, {}, nm_eq1, ["s"])
        case("nm_eq3", {"s": s, "t": t}, {},
             lambda s, t: torch.log1p((t * (s.mean(1, keepdim=True) - s).exp()).sum(0)).sum(), ["s"])


def cosent(scores, labels, scale):
    gap = scale * (scores[:, None] - scores[None, :])  # [j,i] s_j - s_i
    ordered = labels[None, :] > labels[:, None]
    return log1p_sum_exp(gap[ordered]) if ordered.any() else scores.sum() * 0


for N, scale in [(4, 20.0), (7, 3.0), (3, 1.0)]:
    y = torch.round(rand(N) * 4) / 4
    case("cosent", {"scores": rand(N) * 2 - 1, "labels": y}, {"scale": scale},
         lambda scores, labels: cosent(scores, labels, scale), ["scores"])
    case("cosent_embeddings", {"u": randn(N, 3), "v": randn(N, 3), "labels": y}, {"scale": scale},
         lambda u, v, labels: cosent(F.cosine_similarity(u, v, -1, 0), labels, scale), ["u", "v"])


def circle(sp, sn, m, gamma):
    ap, an = (1 + m - sp).clamp(min=0).detach(), (sn + m).clamp(min=0).detach()
    x = torch.logsumexp(gamma * an * (sn - m), 0) + torch.logsumexp(-gamma * ap * (sp - (1 - m)), 0)
    return torch.logaddexp(x, torch.zeros(()))


for P, Q in [(3, 4), (1, 2)]:
    sp, sn = rand(P) * 1.8 - 0.9, rand(Q) * 1.8 - 0.9
    case("circle", {"sp": sp, "sn": sn}, {"m": 0.25, "gamma": 8.0}, lambda sp, sn: circle(sp, sn, 0.25, 8.0))
    case("circle_const", {"sp": sp, "sn": sn}, {"delta_p": 0.75, "delta_n": 0.2, "gamma": 5.0},
         lambda sp, sn: torch.logaddexp(
             torch.logsumexp(5 * (sn - 0.2), 0) + torch.logsumexp(-5 * (sp - 0.75), 0), torch.zeros(())))


def nt_xent(z1, z2, tau):
    z = torch.cat([z1, z2])
    N = len(z1)
    s = cosine_rows(z, z) / tau
    s = s.masked_fill(torch.eye(2 * N).bool(), -math.inf)
    return F.cross_entropy(s, torch.cat([torch.arange(N) + N, torch.arange(N)]))


def info_nce(q, k, tau, symmetric):
    s = cosine_rows(q, k) / tau
    t = torch.arange(len(q))
    return (F.cross_entropy(s, t) + F.cross_entropy(s.T, t)) / 2 if symmetric else F.cross_entropy(s, t)


for N, D, tau in [(3, 4, 0.5), (5, 2, 0.1), (1, 3, 1.0)]:
    case("nt_xent", {"z1": randn(N, D), "z2": randn(N, D)}, {"temperature": tau}, lambda z1, z2: nt_xent(z1, z2, tau))
    for symmetric in [False, True]:
        case("info_nce", {"q": randn(N, D), "k": randn(N, D)}, {"temperature": tau, "symmetric": symmetric},
             lambda q, k: info_nce(q, k, tau, symmetric))

# ---- distance family

x, y = randn(4, 3), randn(4, 3)
for reduction in ["mean", "sum"]:
    case("mse", {"pred": x, "target": y}, {"reduction": reduction},
         lambda pred, target: F.mse_loss(pred, target, reduction=reduction), ["pred"])
    case("mae", {"pred": x, "target": y}, {"reduction": reduction},
         lambda pred, target: F.l1_loss(pred, target, reduction=reduction), ["pred"])
    case("huber", {"pred": x, "target": y}, {"delta": 0.7, "reduction": reduction},
         lambda pred, target: F.huber_loss(pred, target, delta=0.7, reduction=reduction), ["pred"])
for margin in [1.0, 0.1]:
    case("triplet", {"anchor": randn(4, 3), "positive": randn(4, 3), "negative": randn(4, 3)}, {"margin": margin},
         lambda anchor, positive, negative: ((anchor - positive).norm(dim=1) - (anchor - negative).norm(dim=1)
                                             + margin).clamp(min=0).mean())
for half in [True, False]:
    case("contrastive", {"x1": randn(5, 2), "x2": randn(5, 2), "y": torch.tensor([1.0, 0, 0, 1, 0])},
         {"margin": 2.5, "half": half},
         lambda x1, x2, y: ((0.5 if half else 1.0) * (y * ((x1 - x2) ** 2).sum(1) + (1 - y) * (
             2.5 - (x1 - x2).norm(dim=1)).clamp(min=0) ** 2)).mean(), ["x1", "x2"])
edges = torch.tensor([[0, 1], [1, 2], [1, 3], [3, 4]])
case("tree", {"h": randn(5, 3), "edges": edges, "alpha": rand(4) + 0.2}, {},
     lambda h, edges, alpha: (alpha * ((h[edges[:, 0]] - h[edges[:, 1]]) ** 2).sum(1)).sum())
case("proximal", {"theta": randn(6), "theta0": randn(6)}, {"lambda": 0.3},
     lambda theta, theta0: 0.3 * ((theta - theta0) ** 2).sum(), ["theta"])
case("cosine_similarity", {"u": randn(5), "v": randn(5)}, {}, lambda u, v: (u @ v) / (u.norm() * v.norm()))

# ---- transport family

for n, m in [(3, 3), (4, 2)]:
    a, b, cost = simplex(n), simplex(m), rand(n, m)
    rows = [np.kron(np.eye(n)[i], np.ones(m)) for i in range(n)] + [np.kron(np.ones(n), np.eye(m)[j]) for j in range(m)]
    plan = scipy.optimize.linprog(cost.numpy().ravel(), A_eq=np.array(rows), b_eq=np.concatenate([a, b]), method="highs").x
    plan = torch.tensor(plan).reshape(n, m)
    case("emd", {"a": a, "b": b, "cost": cost}, {}, lambda a, b, cost: (plan * cost).sum(), ["cost"])


def sinkhorn_plan(a, b, cost, epsilon, iterations):
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(iterations):
        f = epsilon * (a.log() - torch.logsumexp((g[None, :] - cost) / epsilon, 1))
        g = epsilon * (b.log() - torch.logsumexp((f[:, None] - cost) / epsilon, 0))
    return ((f[:, None] + g[None, :] - cost) / epsilon).exp()


for n, m, epsilon, iterations in [(3, 4, 0.5, 3), (4, 2, 0.1, 20), (2, 5, 0.3, 300)]:
    inputs = {"a": simplex(n), "b": simplex(m), "cost": rand(n, m)}
    options = {"epsilon": epsilon, "iterations": iterations, "first": "row"}
    case("sinkhorn", inputs, options,
         lambda a, b, cost: (sinkhorn_plan(a, b, cost, epsilon, iterations) * cost).sum(), ["cost"])
    case("sinkhorn_plan", inputs, options, lambda a, b, cost: sinkhorn_plan(a, b, cost, epsilon, iterations), value_only=True)

    def regularised(a, b, cost):
        P = sinkhorn_plan(a, b, cost, epsilon, iterations)
        return (P * cost).sum() + epsilon * torch.special.xlogy(P, P / (a[:, None] * b[None, :])).sum()

    if iterations == 300:
        case("sinkhorn_regularised", inputs, options, regularised, ["cost"])

for p, power in [(1, False), (2, False), (2, True)]:
    case("wasserstein_1d", {"x": randn(5), "y": randn(5) + 0.3}, {"p": p, "power": power},
         lambda x, y: ((x.sort()[0] - y.sort()[0]).abs() ** p).mean() ** (1 if power or p == 1 else 0.5))
x, y, wx, wy = randn(4), randn(3), simplex(4), simplex(3)
case("wasserstein_1d", {"x": x, "y": y, "wx": wx, "wy": wy}, {"p": 1, "power": False},
     lambda x, y, wx, wy: scipy.stats.wasserstein_distance(x, y, wx, wy), value_only=True)

# ---- combinators

L = torch.tensor([2.3, 150.0, 50.0])
for gamma in [1.0, 0.0, -1.0, 2.5, math.inf, -math.inf]:

    def generalised(losses):
        if gamma == math.inf:
            return losses.max()
        if gamma == -math.inf:
            return losses.min()
        if gamma == 0:
            return losses.log().mean().exp()
        return (losses**gamma).mean() ** (1 / gamma)

    case("generalised_mean", {"losses": L}, {"gamma": gamma}, generalised)
case("init_norm", {"losses": L, "init": torch.tensor([2.0, 300.0, 40.0])}, {}, lambda losses, init: (losses / init).sum(),
     ["losses"])
case("live_norm", {"losses": L}, {}, lambda losses: (losses / losses.detach()).sum())
probs, y = simplex(4), randn(6)
case("prior_norm", {"losses": L[:2], "class_probs": probs, "y": y}, {}, lambda losses, class_probs, y: losses[0] / (
    -xlogx(class_probs).sum()) + losses[1] / y.var(unbiased=False), ["losses"])
case("softmax_weighted", {"losses": L, "weights": randn(3)}, {}, lambda losses, weights: (torch.softmax(weights, 0) * losses).sum())
case("uncertainty_sigma", {"losses": L, "sigma": rand(3) + 0.5}, {},
     lambda losses, sigma: (losses / (2 * sigma**2) + sigma.log()).sum())
case("uncertainty_logvar", {"losses": L, "log_vars": randn(3)}, {},
     lambda losses, log_vars: ((-log_vars).exp() * losses + log_vars).sum())
for alpha in [1.5, 1.0, 0.0]:

    def gradnorm(weights, grad_norms, losses, init_losses):
        G = weights * grad_norms
        rate = losses / init_losses
        r = rate / rate.mean()
        return (G - (G.mean() * r**alpha).detach()).abs().sum()

    case("gradnorm", {"weights": rand(3) + 0.5, "grad_norms": torch.tensor([2.0, 40.0, 7.0]),
                      "losses": torch.tensor([0.9, 0.3, 2.0]), "init_losses": torch.tensor([1.0, 1.2, 2.5])},
         {"alpha": alpha}, gradnorm, ["weights"])
case("grad_norm_direction", {"task_grads": randn(3, 5)}, {},
     lambda task_grads: (task_grads / task_grads.norm(dim=1, keepdim=True)).sum(0), value_only=True)

# ---- schemes and metrics

case("mixup_ce", {"logits": randn(4, 3), "target": randint(3, 4), "target_b": randint(3, 4)}, {"lam": 0.3},
     lambda logits, target, target_b: 0.3 * F.cross_entropy(logits, target) + 0.7 * F.cross_entropy(logits, target_b))
case("bald", {"probs": simplex(4, 3, 5)}, {},
     lambda probs: -xlogx(probs.mean(0)).sum(-1) + xlogx(probs).sum(-1).mean(0), value_only=True)


def ece(logits, labels, bins):
    conf, guess = torch.softmax(logits, -1).max(-1)
    right, total = (guess == labels).double(), 0.0
    for b in range(bins):
        inside = (conf > b / bins) & (conf <= (b + 1) / bins)
        if inside.any():
            total += float(inside.double().mean()) * abs(float(right[inside].mean() - conf[inside].mean()))
    return total


z, t = 2 * randn(40, 4), randint(4, 40)
for bins in [15, 5]:
    case("ece", {"logits": z, "labels": t}, {"bins": bins}, lambda logits, labels: ece(logits, labels, bins), value_only=True)
z = 4 * randn(60, 3)
t = (z / 2 + randn(60, 3)).argmax(-1)


def slope_in_beta(beta, logits, labels):  # of the mean cross entropy of beta * logits; its root is 1 / T
    return float(((torch.softmax(beta * logits, -1) * logits).sum(-1) - logits.gather(1, labels[:, None])[:, 0]).mean())


case("optimal_temperature", {"logits": z, "labels": t}, {},
     lambda logits, labels: 1 / scipy.optimize.brentq(slope_in_beta, 1e-3, 10, (logits, labels), xtol=1e-15, rtol=1e-14),
     value_only=True)
x, y = torch.round(4 * randn(9)) / 4, torch.round(2 * randn(9)) / 2
case("spearman", {"x": x, "y": y}, {}, lambda x, y: scipy.stats.spearmanr(x, y)[0], value_only=True)

# ---- nothing to count: value 0 and gradient 0 by the convention of `gradus eval`, where PyTorch says NaN


def nothing(loss, inputs, options, grads):
    cases.append({"loss": loss, "inputs": {n: flat(x) for n, x in inputs.items()}, "options": options, "want_grads": grads,
                  "expected": {"value": 0.0, "grads": {n: flat(torch.zeros_like(inputs[n])) for n in grads}}})


ignored = torch.full((3,), -100)
nothing("cross_entropy", {"logits": randn(3, 4), "target": ignored}, {}, ["logits"])
nothing("nll", {"log_probs": randn(3, 4), "target": ignored}, {}, ["log_probs"])
nothing("mlm", {"logits": randn(1, 3, 4), "labels": ignored[None]}, {}, ["logits"])
nothing("cosent", {"scores": randn(4), "labels": torch.ones(4)}, {"scale": 20.0}, ["scores"])
nothing("circle", {"sp": randn(3), "sn": randn(0)}, {"m": 0.25, "gamma": 8.0}, ["sp"])
nothing("circle_const", {"sp": randn(0), "sn": randn(2)}, {"delta_p": 0.7, "delta_n": 0.3, "gamma": 8.0}, ["sn"])
nothing("cosine_similarity", {"u": torch.zeros(3), "v": randn(3)}, {}, ["u", "v"])
x = randn(2, 3)
nothing("triplet", {"anchor": x, "positive": x, "negative": x}, {"margin": 0.0}, ["anchor", "positive", "negative"])
nothing("contrastive", {"x1": x, "x2": x, "y": torch.ones(2)}, {"margin": 1.0}, ["x1", "x2"])
nothing("mae", {"pred": x, "target": x}, {}, ["pred"])

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "losses.json")
with open(path, "w") as out:
    out.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(f"{len(cases)} cases of {len({c['loss'] for c in cases})} losses -> {path} (torch {torch.__version__})")
