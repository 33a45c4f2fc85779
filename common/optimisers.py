"""Optimisers by name. `fresh`: their state is cleared at the start of every task (official code of the stability gap)."""

from collections.abc import Iterable

import torch
from torch import nn


def sgd(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    fresh: bool = True,
) -> torch.optim.Optimizer:
    """SGD with a constant learning rate."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    betas: list[float] = [0.9, 0.999],  # noqa: B006  (read from source, never changed)
    weight_decay: float = 0.0,
    fresh: bool = True,
) -> torch.optim.Optimizer:
    """Adam with a constant learning rate."""
    return torch.optim.Adam(parameters, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)
