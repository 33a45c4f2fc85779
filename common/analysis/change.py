"""How far the weights of each layer moved between two checkpoints (tunnel effect, Fig. 5)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from common.errors import Problem


def weight_change(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], parts: Sequence[str] = ("weight",)
) -> dict[str, float]:
    """||t1 - t2||_2 / sqrt(numel) per layer, of two state dicts of one network, in their order.

    parts: the tensors of a layer that count together; biases too with ("weight", "bias"). Buffers never count.
    Errors: Problem when the two are not of one network.
    """
    layers: dict[str, list[Tensor]] = {}
    wrong = [f"'{name}' is in one of the checkpoints only." for name in sorted(before.keys() ^ after.keys())]
    for name in before.keys() & after.keys():
        if before[name].shape != after[name].shape:
            wrong.append(
                f"'{name}' is {list(before[name].shape)} in one checkpoint, {list(after[name].shape)} in the other."
            )
    if wrong:
        raise Problem(*wrong)
    for name, old in before.items():
        layer, _, part = name.rpartition(".")
        if part in parts:
            layers.setdefault(layer, []).append((after[name].double().cpu() - old.double().cpu()).flatten())
    if not layers:
        raise Problem(f"The checkpoints hold no tensor named {' or '.join(parts)}.")
    return {layer: _per_weight(torch.cat(moved)) for layer, moved in layers.items()}


def _per_weight(moved: Tensor) -> float:
    return float(torch.linalg.vector_norm(moved)) / math.sqrt(moved.numel())
