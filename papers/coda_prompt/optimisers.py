"""Adam under the official schedule, which changes once an epoch (utils/schedulers.py of the release)."""

import math
from collections.abc import Iterable

import torch
from torch import nn

VERSION = 1


def rate(epoch: int, epochs: int) -> float:
    """Share of the learning rate in an epoch (from 0) of `epochs`: cos(99 pi max(e - 1, 0) / (200 (E - 1))).

    Off by one as released: the first two epochs run at the full rate. With one epoch the rate stays (the release divides by 0).
    """
    return math.cos(99 * math.pi * max(epoch - 1, 0) / (200 * (epochs - 1))) if epochs > 1 else 1.0


def adam_cosine(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    epochs: int,
    betas: list[float] = [0.9, 0.999],  # noqa: B006  (read from source, never changed)
    weight_decay: float = 0.0,
    fresh: bool = True,
) -> torch.optim.Optimizer:
    """Adam, its rate following the official cosine over `epochs` equal parts of a task (set it to budget.epochs)."""
    # fused: one kernel for all parameters, which are few and small here
    made = torch.optim.Adam(parameters, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay, fused=True)

    def schedule(step: int, updates: int) -> float:
        return lr * rate(step * epochs // updates, epochs)

    made.schedule = schedule  # type: ignore[attr-defined]
    return made
