"""Full fine-tuning that keeps something of the past: stored images (ER) or the previous model's answers (LwF.MC)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from common.learners.base import Params, Setup, State, Terms, masked
from common.learners.memory import Memory
from common.rng import generator
from common.streams.resident import Batch
from common.streams.stream import Task
from papers.coda_prompt.growing import Growing

VERSION = 1


class ER(Growing):
    """Replay from `memory` stored images, class-balanced: half of what an update sees is new, half drawn from memory.

    L = mean cross-entropy over both halves and all classes seen (no mask). The draw is uniform and with replacement, as
    in the released routine (which could not run; README, deviation D9).
    """

    def __init__(self, setup: Setup, *, memory: int = 5000) -> None:
        super().__init__(setup, masks=False)
        self.memory: Memory = Memory(memory)

    def recall(self, task: int, step: int, size: int) -> Any:
        """Rows to replay at that step; None while nothing is stored."""
        if not len(self.memory):
            return None
        return generator(self.seed, "replay", task, step).choice(self.memory.rows, size)

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """Mean cross-entropy of new and old images together."""
        x, y = batch.x, batch.y
        if batch.replay is not None:
            x, y = torch.cat([x, batch.replay.x]), torch.cat([y, batch.replay.y])
        return Terms(cross_entropy(masked(self.apply_net(params, x), self.trained_columns(state)), y))

    def end(self, task: Task) -> None:
        """Takes the finished task in; every class seen keeps as many images."""
        rows = self.data.rows(task)
        self.memory.add(rows, self.data.labels_of(rows), task.index, self.seed)


class LwFMC(Growing):
    """LwF.MC: a sigmoid for each class; targets are the labels for new classes, the previous model's outputs for old ones.

    L = sum over classes seen of the binary cross-entropy, mean over images, no stored images (iCaRL's baseline of that
    name; not in the code release, README, deviation D10).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, masks=False)

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(entropy of the new classes, entropy of the old ones against the previous model)."""
        logits = self.apply_net(params, batch.x)
        targets = torch.zeros_like(logits).scatter_(1, batch.y[:, None], 1.0)
        fresh = self._entropy(logits, targets, state["new"])
        if "teacher" not in state:
            return Terms(fresh)
        with torch.no_grad():
            answers = self.apply_net(state["teacher"], batch.x).sigmoid()
        return Terms(fresh, self._entropy(logits, answers, state["seen"] & ~state["new"]))

    @staticmethod
    def _entropy(logits: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        each = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (each * columns).sum(1).mean()

    def end(self, task: Task) -> None:
        """The model as it is becomes the teacher."""
        self.state["teacher"] = {name: t.detach().clone() for name, t in self.net.state_dict().items()}
