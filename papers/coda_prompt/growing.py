"""Fine-tuning with one growing head: FT and FT++, and what all methods of this paper share about classes.

The head has a column for every class of the stream. Those of classes that have not come yet count nowhere. FT:
cross-entropy over all classes seen. FT++: logits of past classes at minus infinity in training (CODA-Prompt, App. A), so
that past columns get no gradient. At test the argmax is over all classes seen.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from common.learners.base import Learner, Params, Setup, State, Terms, masked
from common.streams.resident import Batch
from common.streams.stream import Task

VERSION = 1


class Growing(Learner):
    """A learner that is told, when a task begins, which classes are new. masks: past classes are hidden in training.

    The trunk's normalisation keeps the statistics of its pre-training (a ViT has none; the small one's stem has).
    """

    def __init__(self, setup: Setup, masks: bool) -> None:
        super().__init__(setup)
        self.masks = masks
        every = torch.ones(setup.data.stream.classes, dtype=torch.bool, device=setup.data.device)
        self.state |= {"new": every, "seen": every.clone()}
        net: Any = setup.net
        net.trunk.held = True
        net.train()

    def begin(self, task: Task) -> None:
        """Notes the task's classes."""
        new = torch.zeros_like(self.state["new"])
        new[list(task.classes)] = True
        self.state["new"] = new
        self.state["seen"] = new | self.state["seen"] if task.index else new.clone()

    def trained_columns(self, state: State) -> Tensor:
        """bool [classes]: the columns that count in training."""
        columns: Tensor = state["new" if self.masks else "seen"]
        return columns

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """Mean cross-entropy over the columns that count."""
        logits = self.apply_net(params, batch.x)
        return Terms(cross_entropy(masked(logits, self.trained_columns(state)), batch.y))

    def predict(self, x: Tensor) -> Tensor:
        """Logits, those of classes not seen yet at minus infinity."""
        return masked(self.apply_net(self.live, x), self.state["seen"])


class FineTune(Growing):
    """FT, and with `masks` FT++: the whole network is trained on the task's own images. Joint training: FT on one task."""

    def __init__(self, setup: Setup, *, masks: bool = False) -> None:
        super().__init__(setup, masks)
