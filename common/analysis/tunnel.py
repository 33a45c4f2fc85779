"""Where the tunnel starts, and what it costs out of distribution (Masarczyk et al. 2023; Harun et al. 2024).

Layers are numbered from 1. Layer s, whose output reaches the threshold, is the last layer of the extractor; the tunnel is
s + 1 .. N. "reached" is the paper's rule; "kept" is the first layer from which on the accuracy never falls below it again,
for curves that go up and down, as those of residual networks do.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from common.errors import Problem

Rule = Literal["reached", "kept"]
Curve = Sequence[float] | np.ndarray


def start(accuracy: Curve, reference: float, share: float = 0.95, rule: Rule = "reached") -> int | None:
    """s, the last extractor layer: the first whose accuracy is at least share * reference; None when there is none."""
    curve = np.asarray(accuracy, dtype=float)
    # a rounding error of a product is no shortfall: 0.95 * 0.8 is above 0.76
    enough = curve >= share * reference - 1e-12
    if rule == "kept":
        enough = np.logical_and.accumulate(enough[::-1])[::-1]
    return int(enough.argmax()) + 1 if enough.any() else None


def parts(names: Sequence[str], s: int) -> tuple[list[str], list[str]]:
    """(extractor, tunnel) as layer names."""
    return list(names[:s]), list(names[s:])


def share_of_tunnel(s: int, layers: int) -> float:
    """(N - s) / N."""
    return (layers - s) / layers


def retained(ood: Curve) -> float:
    """% OOD performance retained: 100 * o(p) / o(max). The curve ends at p, the last hidden layer: leave out the logits."""
    curve = np.asarray(ood, dtype=float)
    return float(100 * curve[-1] / curve.max())


def strength(ood: Curve) -> Literal["none", "weak", "medium", "strong"]:
    """The tunnel's strength in the bands of Harun et al.: >= 95 % retained none, >= 90 weak, >= 80 medium, else strong."""
    kept = retained(ood)
    return "none" if kept >= 95 else "weak" if kept >= 90 else "medium" if kept >= 80 else "strong"


def alignment(id_accuracy: float, ood_accuracy: float, id_classes: int, ood_classes: int) -> float:
    """ID/OOD alignment: (ID accuracy - chance) * (OOD accuracy - chance)."""
    return (id_accuracy - 1 / id_classes) * (ood_accuracy - 1 / ood_classes)


def pearson(x: Curve, y: Curve) -> float:
    """Correlation of two curves over layers; NaN when one is constant. Errors: Problem for curves of two lengths."""
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise Problem(f"A correlation needs two curves over the same layers, given are {a.shape} and {b.shape}.")
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def spearman(x: Curve, y: Curve) -> float:
    """Rank correlation of two curves over layers (ties share their mean rank); NaN when one is constant."""
    return pearson(_ranks(x), _ranks(y))


def _ranks(x: Curve) -> np.ndarray:
    _, inverse, counts = np.unique(np.asarray(x, dtype=float), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
