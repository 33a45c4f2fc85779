"""Optimisers whose learning rate follows a schedule: a pure function of the step within the task and the task's updates.

No scheduler keeps a state: the loop sets the rate before every update, so a resumed run goes on exactly, and the rate
of any step can be asked for. Each task begins its schedule anew.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Kind = Literal["constant", "steps", "cosine", "onecycle"]


@dataclass(frozen=True)
class Schedule:
    """Learning rate at a step (from 0) of a task of so many updates.

    steps: times `gamma` from each milestone on; below 1 a milestone is a fraction of the task's updates, else their number.
    cosine: from lr down to end x lr at the task's end, as torch's CosineAnnealingLR.
    onecycle: up from start x lr to lr along a cosine, then down to end x lr, as torch's OneCycleLR (momentum stays).
    warm_up: fraction of the updates in which the rate rises from start x lr (linearly, but for onecycle); None: 0.2 with
    onecycle, else nothing.
    """

    lr: float
    kind: Kind = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    warm_up: float | None = None
    start: float = 0.04
    end: float = 0.0

    def __call__(self, step: int, updates: int) -> float:
        """The learning rate."""
        if self.kind == "onecycle":
            return self._one_cycle(step, updates)
        warm = (self.warm_up or 0.0) * updates
        if step < warm:
            return self.lr * (self.start + (1 - self.start) * step / warm)
        if self.kind == "steps":
            passed = sum(step >= (m * updates if m < 1 else m) for m in self.milestones)
            return self.lr * self.gamma**passed
        return (
            _cosine(self.lr, self.lr * self.end, (step - warm) / (updates - warm)) if self.kind == "cosine" else self.lr
        )

    def _one_cycle(self, step: int, updates: int) -> float:
        top = (0.2 if self.warm_up is None else self.warm_up) * updates - 1  # the step that has the full rate
        if step < top:
            return _cosine(self.lr * self.start, self.lr, step / top)
        return _cosine(self.lr, self.lr * self.end, (step - max(top, 0)) / max(updates - 1 - max(top, 0), 1))


def _cosine(first: float, last: float, part: float) -> float:
    """From first (part 0) to last (part 1) along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2


def set_rate(optimiser: torch.optim.Optimizer, step: int, updates: int) -> None:
    """Nothing; an optimiser with a schedule has the rate of that step, any other is left alone.

    A group of parameters that has `times` gets that many times the rate.
    """
    schedule = getattr(optimiser, "schedule", None)
    if schedule is not None:
        for group in optimiser.param_groups:
            group["lr"] = schedule(step, updates) * group.get("times", 1)


def sgd_scheduled(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    schedule: Literal["constant", "steps", "cosine", "onecycle"] = "constant",
    milestones: list[float] = [0.5, 0.75],  # noqa: B006  (read from source, never changed)
    gamma: float = 0.1,
    warm_up: float | None = None,
    start: float = 0.04,
    end: float = 0.0,
    fresh: bool = True,
) -> torch.optim.Optimizer:
    """SGD under a learning-rate schedule."""
    made = torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    made.schedule = Schedule(lr, schedule, tuple(milestones), gamma, warm_up, start, end)  # type: ignore[attr-defined]
    return made


def adamw_scheduled(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    betas: list[float] = [0.9, 0.999],  # noqa: B006  (read from source, never changed)
    weight_decay: float = 0.01,
    schedule: Literal["constant", "steps", "cosine", "onecycle"] = "constant",
    milestones: list[float] = [0.5, 0.75],  # noqa: B006
    gamma: float = 0.1,
    warm_up: float | None = None,
    start: float = 0.04,
    end: float = 0.0,
    fresh: bool = True,
) -> torch.optim.Optimizer:
    """AdamW under a learning-rate schedule."""
    made = torch.optim.AdamW(parameters, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)
    made.schedule = Schedule(lr, schedule, tuple(milestones), gamma, warm_up, start, end)  # type: ignore[attr-defined]
    return made
