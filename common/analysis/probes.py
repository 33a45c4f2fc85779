"""Linear probes of all layers at once: one forward pass of the frozen trunk serves every probe.

The probes' gradients are independent, so training them together is training each of them alone, to the last bit.
Beside the network a call holds, for layers of d features, K classes and S seeds:

- Adam, features held: at most `memory_gb`, as the trunk is frozen and each sample need pass through it but once; layers
  that do not fit together are taken in groups, each of one pass. 16 (d + 1) K S bytes a layer for weights and Adam's moments.
- Adam, features not held (one layer alone is larger than `memory_gb`, or there are more groups than epochs): one pass an
  epoch for all layers; the features of one batch, and the weights as above.
- Ridge: 8 d^2 bytes a layer, at most `memory_gb` (in groups of layers), and some 4 times the widest one to solve it.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from common.analysis.adam import Adam, fit_layers
from common.analysis.passes import BATCH, MEMORY_GB, groups, stream, survey
from common.analysis.ridge import Ridge, fit_group
from common.analysis.samples import Samples, positions
from common.analysis.taps import frozen
from common.analysis.views import View
from common.errors import Problem

__all__ = ["Adam", "Probes", "Ridge", "fit", "score"]


@dataclass
class Probes:
    """Fitted probes: weights [S * K, d] and biases [S * K] per layer, for the sorted labels `classes` [K].

    train: accuracy per layer and seed on the training samples: for Adam during the last epoch, before each update; for
    ridge on the held-out part, before the refit. strengths: the ridge chosen.
    """

    classes: np.ndarray
    seeds: int
    weights: dict[str, Tensor] = field(default_factory=dict)
    biases: dict[str, Tensor] = field(default_factory=dict)
    train: dict[str, list[float]] = field(default_factory=dict)
    strengths: dict[str, float] = field(default_factory=dict)

    def correct(self, layer: str, x: Tensor, y: Tensor) -> Tensor:
        """bool [S, B]: whether features x [B, d] of class positions y [B] are classified right."""
        weight = self.weights[layer]
        logits = linear(x.to(weight), weight, self.biases[layer])
        guesses = logits.view(len(x), self.seeds, -1).argmax(2).T
        return guesses == y.to(weight.device)


def fit(
    net: nn.Module,
    names: list[str],
    train: Samples,
    how: Adam | Ridge,
    view: View,
    memory_gb: float = MEMORY_GB,
    batch: int = BATCH,
) -> Probes:
    """Probes of all named layers, fitted on the training samples. Errors: Problem for fewer than two classes, NaN, memory."""
    classes = np.unique(train.y)
    if len(classes) < 2:
        raise Problem(f"A probe needs two classes or more; {train.what} has {len(classes)}.")
    y = torch.from_numpy(positions(train.y, classes, train.what))
    widths = survey(net, names, view, train).widths
    if isinstance(how, Ridge):
        probes = Probes(classes, 1)
        for group in groups({n: 8 * d * d for n, d in widths.items()}, memory_gb, "Ridge regression"):
            with frozen(net, group, view) as trunk:
                for name, found in fit_group(trunk, group, train, y, how, batch).items():
                    probes.weights[name], probes.biases[name] = found.weight.T.contiguous(), found.bias
                    probes.train[name], probes.strengths[name] = [found.accuracy], found.strength
        return probes
    probes = Probes(classes, how.seeds)
    for name, adam in fit_layers(net, widths, train, y, how, view, memory_gb, batch).items():
        probes.weights[name], probes.biases[name], probes.train[name] = adam
    return probes


class Scorer:
    """Collects whether each sample is classified right, as features come by; bits: bool [S, n] per layer."""

    def __init__(self, probes: Probes, test: Samples) -> None:
        self.probes = probes
        self.y = torch.from_numpy(positions(test.y, probes.classes, test.what))
        self.bits = {name: np.zeros((probes.seeds, len(test)), dtype=bool) for name in probes.weights}

    def add(self, rows: np.ndarray, features: dict[str, Tensor]) -> None:
        """Takes in the features of those test samples."""
        y = self.y[torch.from_numpy(rows)]
        for name, x in features.items():
            self.bits[name][:, rows] = self.probes.correct(name, x, y).cpu().numpy()


def score(
    net: nn.Module, names: list[str], probes: Probes, test: Samples, view: View, batch: int = BATCH
) -> dict[str, np.ndarray]:
    """bool [S, n] per layer: whether each test sample is classified right, in one pass."""
    scorer = Scorer(probes, test)
    with frozen(net, names, view) as trunk:
        for rows, found in stream(trunk, test, batch):
            scorer.add(rows, found.features)
    return scorer.bits
