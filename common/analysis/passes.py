"""Passes of labelled samples through a frozen network, and how many layers fit into memory at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from common.analysis.samples import Samples
from common.analysis.taps import Pass, frozen
from common.analysis.views import View
from common.errors import Problem

BATCH = 256
MEMORY_GB = 1.0


class Survey(NamedTuple):
    """What one small forward pass tells: features kept per layer, the output [2, classes] if it is that,
    and whether the last layer is it."""

    widths: dict[str, int]
    output: Tensor | None
    last_is_output: bool


def survey(net: nn.Module, names: list[str], view: View, samples: Samples) -> Survey:
    """Widths of the layers and shape of the output, from two samples. Errors: Problem as for `frozen`."""
    _, x = next(samples.batches(2))
    with frozen(net, names, view) as trunk:
        features, output = trunk(x)
    output = output if isinstance(output, Tensor) and output.ndim == 2 else None
    last = features[names[-1]]
    same = output is not None and last.shape == output.shape and torch.equal(last, output.float())
    return Survey({name: f.shape[1] for name, f in features.items()}, output, same)


def stream(
    trunk: Callable[[Tensor], Pass], samples: Samples, size: int = BATCH, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, Pass]]:
    """(row numbers, what the forward pass gave), batch by batch."""
    for here, x in samples.batches(size, rows):
        yield here, trunk(x)


def groups(costs: dict[str, int], memory_gb: float, what: str) -> list[list[str]]:
    """Layers in their order, in groups whose bytes fit into `memory_gb` together.

    Errors: Problem with every layer that does not fit alone, as what it needs.
    """
    limit = memory_gb * 1e9
    large = {name: cost for name, cost in costs.items() if cost > limit}
    if large:
        raise Problem(
            *[
                f"{what} of layer '{name}' would hold {cost / 1e9:.1f} GB, allowed are {memory_gb:g}: choose fewer features "
                "(max_features), fewer samples or more memory (memory_gb)."
                for name, cost in large.items()
            ]
        )
    found: list[list[str]] = [[]]
    filled = 0
    for name, cost in costs.items():
        if filled + cost > limit:
            found.append([])
            filled = 0
        found[-1].append(name)
        filled += cost
    return found


@contextmanager
def about(layer: str) -> Iterator[None]:
    """Problems inside are told with the layer's name."""
    try:
        yield
    except Problem as problem:
        raise Problem(*[f"Layer '{layer}': {message}" for message in problem.messages]) from problem


def wide(x: Tensor) -> Tensor:
    """The tensor in float64; on the CPU where its device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
