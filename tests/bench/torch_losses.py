#!/usr/bin/env python3
"""PyTorch's side of `gradus bench`: one loss, forward and backward, f32, one thread, eager, written as its users write it.

    torch_losses.py NAME   prints "best_ms median_ms peak_mib"        torch_losses.py --version   prints torch's version

peak_mib is the resident memory that the first step adds. `gradus bench` sets the environment; see tutorials/cli/bench.cpp.
"""
import gc
import statistics
import sys
import time

import torch
import torch.nn.functional as F


def leaf(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).requires_grad_()


class Case:
    """A step: loss() and the gradients of its leaves, which are dropped again."""

    def __init__(self, loss, *leaves):
        self.loss, self.leaves = loss, leaves

    def __call__(self):
        self.loss().backward()
        for x in self.leaves:
            x.grad = None


def classify(f, n, c):
    x, y = leaf(n, c), torch.randint(c, (n,))
    return Case(lambda: f(x, y), x)


def focal(x, y, gamma=2.0):
    ce = F.cross_entropy(x, y, reduction="none")
    return ((1 - torch.exp(-ce)) ** gamma * ce).mean()


def gamma_ce(x, y, g=0.2):
    p = F.softmax(x, -1).gather(1, y[:, None])
    return -(torch.log(g + (1 - g) * p) / (1 - g)).mean()


def binary(f, n=80000, c=80):
    x, t = leaf(n, c), (torch.rand(n, c) < 0.05).float()
    return Case(lambda: f(x, t), x)


def sigmoid_focal(x, t, alpha=0.25, gamma=2.0):  # as in torchvision
    p = torch.sigmoid(x)
    ce = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    p_t = p * t + (1 - p) * (1 - t)
    return ((alpha * t + (1 - alpha) * (1 - t)) * ce * (1 - p_t) ** gamma).mean()


def multilabel(rows=160, cells=65536):  # the usual form: labels flip the sign, 1e12 masks
    x, t = leaf(rows, cells), (torch.rand(rows, cells) < 1e-4).float()

    def loss():
        s = (1 - 2 * t) * x
        zero = torch.zeros_like(s[:, :1])
        neg = torch.logsumexp(torch.cat([s - t * 1e12, zero], -1), -1)
        pos = torch.logsumexp(torch.cat([s - (1 - t) * 1e12, zero], -1), -1)
        return (neg + pos).mean()

    return Case(loss, x)


def cosent(n=8192):  # the pair matrix, as sentence-transformers has it
    s, y = leaf(n, scale=0.3), torch.randint(6, (n,)).float()

    def loss():
        gap = 20 * s
        gap = gap[:, None] - gap[None, :]
        gap = gap - (1 - (y[:, None] < y[None, :]).float()) * 1e12
        return torch.logsumexp(torch.cat([torch.zeros(1), gap.view(-1)]), 0)

    return Case(loss, s)


def sinkhorn(n=512, epsilon=0.05, iterations=50):
    cost, log_a = torch.rand(n, n).requires_grad_(), torch.full((n,), 1.0 / n).log()

    def loss():
        g = torch.zeros(n)
        for _ in range(iterations):
            f = epsilon * (log_a - torch.logsumexp((g[None, :] - cost) / epsilon, 1))
            g = epsilon * (log_a - torch.logsumexp((f[:, None] - cost) / epsilon, 0))
        return (torch.exp((f[:, None] + g[None, :] - cost) / epsilon) * cost).sum()

    return Case(loss, cost)


def nt_xent(n=1024, d=128, tau=0.5):
    z = leaf(2 * n, d)
    target = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    own = torch.eye(2 * n, dtype=torch.bool)

    def loss():
        u = F.normalize(z, dim=1)
        return F.cross_entropy((u @ u.T / tau).masked_fill(own, float("-inf")), target)

    return Case(loss, z)


def batch_hard(n=1024, d=128):
    z, y = leaf(n, d), torch.randint(128, (n,))
    same = y[:, None] == y[None, :]

    def loss():
        distance = torch.cdist(z, z)
        return F.relu((distance * same).amax(1) - (distance + same * 1e9).amin(1) + 0.3).mean()

    return Case(loss, z)


CASES = {
    "ce": lambda: classify(F.cross_entropy, 4096, 32000),
    "ce-small": lambda: classify(F.cross_entropy, 512, 10),
    "label-smoothing": lambda: classify(lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), 1024, 32000),
    "focal": lambda: classify(focal, 1024, 32000),
    "gamma-ce": lambda: classify(gamma_ce, 1024, 32000),
    "bce": lambda: binary(F.binary_cross_entropy_with_logits),
    "focal-sigmoid": lambda: binary(sigmoid_focal),
    "multilabel": multilabel,
    "cosent": cosent,
    "sinkhorn": sinkhorn,
    "nt-xent": nt_xent,
    "triplet-batch-hard": batch_hard,
}


def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main():
    if sys.argv[1] == "--version":
        return print(torch.__version__)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    one = CASES[sys.argv[1]]()
    gc.collect()
    with open("/proc/self/clear_refs", "w") as reset:  # the peak starts again here
        reset.write("5")
    before = peak_mib()
    one()
    peak = peak_mib() - before
    one()
    times, start = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - start < 1.5 and len(times) < 3000):
        a = time.perf_counter()
        one()
        times.append(1e3 * (time.perf_counter() - a))
    print(min(times), statistics.median(times), peak)


if __name__ == "__main__":
    main()
