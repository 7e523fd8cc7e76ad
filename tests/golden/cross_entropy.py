"""Golden values for cross entropy, from the formulas in PyTorch's documentation of torch.nn.CrossEntropyLoss, computed with
90 digits. Gradients are central differences with a step of 1e-20: they share nothing with the derivation in the C++ code.

    python3 tests/golden/cross_entropy.py > tests/golden/cross_entropy.txt
"""

from decimal import Decimal, getcontext

getcontext().prec = 90


def log_softmax(row):
    log_z = sum(z.exp() for z in row).ln()
    return [z - log_z for z in row]


def losses(logits, target, weight, ignore, smoothing):
    """One loss per row. A target is a list of labels, or of rows of probabilities."""
    out = []
    for row, t in zip(logits, target):
        C = len(row)
        w = weight or [Decimal(1)] * C
        log_p = log_softmax(row)
        if t == ignore:
            out.append(Decimal(0))
            continue
        smooth = -sum(w[c] * log_p[c] for c in range(C)) / C
        hard = isinstance(t, int)
        plain = -w[t] * log_p[t] if hard else -sum(w[c] * t[c] * log_p[c] for c in range(C))
        out.append((1 - smoothing) * plain + smoothing * smooth)
    return out


def reduced(logits, target, weight, ignore, smoothing, reduction):
    rows = losses(logits, target, weight, ignore, smoothing)
    if reduction == "none":
        return rows
    if reduction == "sum":
        return [sum(rows)]
    if isinstance(target[0], int):
        kept = [t for t in target if t != ignore]
        return [sum(rows) / sum(weight[t] if weight else Decimal(1) for t in kept)]
    return [sum(rows) / len(rows)]


def gradient(f, matrix, upstream):
    """d sum_i upstream_i f(matrix)_i / d matrix, row by row."""
    h = Decimal("1e-20")
    out = []
    for r in range(len(matrix)):
        for c in range(len(matrix[r])):
            at = lambda step: [[x + (step if (i, j) == (r, c) else 0) for j, x in enumerate(row)] for i, row in enumerate(matrix)]
            right, left = f(at(h)), f(at(-h))
            out.append(sum(u * (a - b) for u, a, b in zip(upstream, right, left)) / (2 * h))
    return out


def numbers(values):
    return " ".join(f"{v:.20e}" if isinstance(v, Decimal) else str(v) for v in values)


def flat(matrix):
    return [x for row in matrix for x in row]


def show(name, logits, target, weight=None, ignore=-100, smoothing="0", reduction="mean"):
    logits = [[Decimal(x) for x in row] for row in logits]
    hard = isinstance(target[0], int)
    if not hard:
        target = [[Decimal(x) for x in row] for row in target]
    weight = [Decimal(w) for w in weight] if weight else None
    smoothing = Decimal(smoothing)
    loss = reduced(logits, target, weight, ignore, smoothing, reduction)
    upstream = [Decimal(p) for p in (3, -2, 5, 7)][: len(loss)]
    print("case", name)
    print("shape", len(logits), len(logits[0]))
    print("logits", numbers(flat(logits)))
    print("labels" if hard else "soft", numbers(target if hard else flat(target)))
    if weight:
        print("weight", numbers(weight))
    print("ignore", ignore)
    print("smoothing", smoothing)
    print("reduction", reduction)
    print("upstream", numbers(upstream))
    print("loss", numbers(loss))
    by_logits = lambda z: reduced(z, target, weight, ignore, smoothing, reduction)
    print("gradient", numbers(gradient(by_logits, logits, upstream)))
    if not hard:
        by_target = lambda t: reduced(logits, t, weight, ignore, smoothing, reduction)
        print("target_gradient", numbers(gradient(by_target, target, upstream)))
    print()


# Inputs are multiples of 1/16: exact in binary.
Z = [["0.5", "-1.25", "2", "0.0625"], ["-3", "1.5", "0.75", "1"], ["4", "-0.5", "0.25", "-2"]]
W = ["0.5", "2", "1.25", "3"]
T = [["0.125", "0.5", "0.25", "0.125"], ["0", "1", "0", "0"], ["0.75", "0.0625", "0.0625", "0.125"]]

show("hard labels, mean", Z, [2, 0, 1])
show("hard labels, sum", Z, [2, 0, 1], reduction="sum")
show("hard labels, none", Z, [2, 0, 1], reduction="none")
show("two classes", [["0.25", "-0.5"], ["3", "2.5"]], [1, 0])
show("weights, mean", Z, [2, 0, 1], W)
show("weights, none", Z, [3, 3, 1], W, reduction="none")
show("an ignored row, mean", Z, [2, -100, 1])
show("another ignore index, weights", Z, [2, 3, 1], W, ignore=3)
show("smoothing, mean", Z, [2, 0, 1], smoothing="0.125")
show("smoothing, weights, an ignored row, mean", Z, [2, -100, 1], W, smoothing="0.25")
show("smoothing 1", Z, [2, 0, 1], smoothing="1")
show("soft targets, mean", Z, T)
show("soft targets, weights, mean", Z, T, W)
show("soft targets, weights, smoothing, none", Z, T, W, smoothing="0.125", reduction="none")
show("soft targets that do not sum to 1, sum", Z, [["0.5", "0", "0", "1"], ["2", "0.25", "0", "0"], ["0", "0", "0", "0"]], reduction="sum")
show("logits of 1000", [["1000", "-1000", "999"], ["-1000", "-1000", "-1001.5"]], [0, 2], reduction="none")
show("a probability of 1 - 1e-26", [["60", "0", "-1"]], [0], reduction="none")
