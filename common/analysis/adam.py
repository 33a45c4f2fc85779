"""Linear probes by Adam, as in the paper: all layers, and several initial weights a layer, in one loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot

from common.analysis.passes import groups, stream
from common.analysis.samples import Samples
from common.analysis.taps import device_of, frozen
from common.analysis.views import View
from common.errors import Problem
from common.rng import generator, torch_seed


@dataclass(frozen=True)
class Adam:
    """The paper's probe: Adam without weight decay, cross-entropy, unscaled features.

    seed: address of the order and of the initial weights. seeds: probes a layer, stacked: other initial weights, same
    order. hold: keep features in memory where they fit; without it every epoch passes the data through the trunk.
    """

    lr: float = 1e-3
    epochs: int = 30
    batch: int = 512
    seed: int = 0
    seeds: int = 1
    hold: bool = True


class Found(NamedTuple):
    """Weights [S * K, d], biases [S * K], and accuracy per seed in the last epoch, before each update."""

    weight: Tensor
    bias: Tensor
    train: list[float]


def fit_layers(
    net: nn.Module,
    widths: dict[str, int],
    train: Samples,
    y: Tensor,
    how: Adam,
    view: View,
    memory_gb: float,
    batch: int,
) -> dict[str, Found]:
    """The fitted probes of all layers; widths: features per layer, y: class positions of the training samples."""
    found: dict[str, Found] = {}
    for layers, epochs in _sources(net, widths, train, how, view, memory_gb, batch):
        part = {name: widths[name] for name in layers}
        found |= descend(part, epochs, y.to(device_of(net)), int(y.max()) + 1, how)
    return found


Batches = Iterator[tuple[Tensor, dict[str, Tensor]]]


def _sources(
    net: nn.Module, widths: dict[str, int], train: Samples, how: Adam, view: View, memory_gb: float, batch: int
) -> Iterator[tuple[list[str], Callable[[int], Batches]]]:
    """(layers, epoch -> batches of (rows, features)) for each group: from held features, or through the trunk."""
    device = device_of(net)
    costs = {name: 4 * len(train) * width for name, width in widths.items()}
    fits = how.hold and max(costs.values()) <= memory_gb * 1e9
    held = groups(costs, memory_gb, "Features") if fits else []
    if fits and len(held) <= how.epochs:
        for group in held:
            table = _collect(net, group, widths, train, view, batch)

            def gathered(epoch: int, table: dict[str, Tensor] = table) -> Batches:
                for rows in _order(len(train), epoch, how):
                    index = torch.from_numpy(rows).to(device)
                    yield index, {name: x.index_select(0, index) for name, x in table.items()}

            yield group, gathered
        return

    def forwarded(epoch: int) -> Batches:
        with frozen(net, list(widths), view) as trunk:
            for rows in _order(len(train), epoch, how):
                _, found = next(stream(trunk, train, len(rows), rows))
                yield torch.from_numpy(rows).to(device), found.features

    yield list(widths), forwarded


def _order(n: int, epoch: int, how: Adam) -> list[np.ndarray]:
    order = generator(how.seed, "probe order", step=epoch).permutation(n)
    return np.split(order, range(how.batch, n, how.batch))


def _collect(
    net: nn.Module, group: list[str], widths: dict[str, int], train: Samples, view: View, batch: int
) -> dict[str, Tensor]:
    table = {name: torch.empty(len(train), widths[name], device=device_of(net)) for name in group}
    with frozen(net, group, view) as trunk:
        for rows, found in stream(trunk, train, batch):
            for name, x in found.features.items():
                table[name][int(rows[0]) : int(rows[-1]) + 1] = x
    return table


def descend(
    widths: dict[str, int], epochs: Callable[[int], Batches], y: Tensor, classes: int, how: Adam
) -> dict[str, Found]:
    """Trains the probes of some layers together. The gradient of cross-entropy is written out: softmax less one-hot.

    Weights lie as [S * K, d], which makes both products run over contiguous rows: five times faster on a CPU.
    """
    weights, biases = {}, {}
    for name, width in widths.items():
        weights[name], biases[name] = _initial(name, width, classes, how, y.device)
    optimiser = torch.optim.Adam(
        [*weights.values(), *biases.values()], lr=how.lr, fused=y.device.type in ("cpu", "cuda")
    )
    right = {name: torch.zeros(how.seeds, device=y.device) for name in widths}
    for epoch in range(how.epochs):
        for rows, features in epochs(epoch):
            labels = y[rows]
            target = one_hot(labels, classes).float().unsqueeze(1)
            for name in list(features):
                x = features.pop(name)  # let go, so that no two batches are ever held at once
                logits = linear(x, weights[name], biases[name]).view(len(x), how.seeds, classes)
                if epoch == how.epochs - 1:
                    right[name] += (logits.argmax(2) == labels.unsqueeze(1)).sum(0)
                wrong = ((logits.softmax(2) - target) / len(x)).flatten(1)
                weights[name].grad, biases[name].grad = wrong.T @ x, wrong.sum(0)
            optimiser.step()
    found = {}
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise Problem(f"The probe of layer '{name}' diverged: its features hold NaN, infinity or huge values.")
        found[name] = Found(weight.detach(), biases[name].detach(), (right[name] / len(y)).tolist())
    return found


def _initial(layer: str, width: int, classes: int, how: Adam, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weights [S * K, d] and biases as torch's Linear draws them, the seeds one after the other."""
    parts = []
    for seed in range(how.seed, how.seed + how.seeds):
        draw = torch.Generator().manual_seed(torch_seed(seed, f"probe of {layer}"))
        parts.append((torch.rand(classes, width + 1, generator=draw) * 2 - 1) / width**0.5)
    both = torch.cat(parts).to(device)
    return both[:, :-1].contiguous(), both[:, -1].contiguous()
