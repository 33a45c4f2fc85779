"""Experience replay, and joint training as replay of everything.

L = alpha * CE(new batch) + (1 - alpha) * CE(replay batch), both through one forward pass
(De Lange et al. 2023, Eq. 8; official code src/methods/replay.py).
"""

from typing import Any

import torch
from torch import Tensor

from common.learners.base import Learner, Params, Setup, State, Terms
from common.learners.memory import Memory
from common.streams.resident import Batch
from common.streams.stream import Task


class ER(Learner):
    """Experience replay from a class-balanced reservoir that is filled after each task.

    memory: samples kept in total (null: every sample seen), one that comes in several tasks counted in each. alpha: weight of
    the new task's loss; it also scales the first task, where nothing is replayed, as in the official code. The replay batch is
    as large as the new batch.
    """

    def __init__(self, setup: Setup, *, memory: int | None, alpha: float = 0.5) -> None:
        super().__init__(setup)
        self.memory: Memory = Memory(memory)
        self.alpha = alpha

    def weight(self, state: State) -> float | Tensor:
        """Weight of the new task's loss."""
        return self.alpha

    def recall(self, task: int, step: int, size: int) -> Any:
        """Rows of the replay batch at that step; None during the first task."""
        return self.memory.draw(self.seed, task, step, size)

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(alpha CE(new), (1 - alpha) CE(replay)); BatchNorm sees both together."""
        alpha = self.weight(state)
        if batch.replay is None:
            return Terms(alpha * self.loss(self.apply_net(params, batch.x), batch))
        logits = self.apply_net(params, torch.cat([batch.x, batch.replay.x]))
        new, old = logits[: len(batch.x)], logits[len(batch.x) :]
        return Terms(alpha * self.loss(new, batch), (1 - alpha) * self.loss(old, batch.replay))

    def end(self, task: Task) -> None:
        """Fills the memory with the finished task."""
        rows = self.data.rows(task)
        self.memory.add(rows, self.data.labels_of(rows), task.index, self.seed)


class Joint(ER):
    """Incremental joint training: all data of all tasks so far, each task with the same weight.

    Task k of 1..: alpha = 1/k, and the replay batch is drawn from every earlier sample (Hess et al. 2023, setting of
    incremental joint training; a perfect memory that still shows the gap).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, memory=None)
        self.state["alpha"] = torch.ones(())

    def begin(self, task: Task) -> None:
        """Sets the weight of the new task: 1 / (number of tasks so far)."""
        self.state["alpha"] = torch.tensor(1 / (task.index + 1), device=self.state["alpha"].device)

    def weight(self, state: State) -> float | Tensor:
        """1 / (number of tasks so far), set by `begin`."""
        alpha: Tensor = state["alpha"]
        return alpha
