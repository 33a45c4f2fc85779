"""Which samples each update sees: a function of seed, task and step alone, whatever was drawn before."""

from functools import partial
from typing import Any

import numpy as np

from common import parts
from common.learners.base import Learner
from common.rng import generator
from common.spec import RunSpec
from common.streams.resident import Batch
from common.streams.stream import Task


class Batches:
    """New samples (and what the learner recalls) for each step of a task: a function of seed, task and step alone."""

    def __init__(self, learner: Learner, task: Task, spec: RunSpec) -> None:
        self.learner, self.task, self.seed, self.size = learner, task, spec.seed, spec.budget.batch
        self.rows = learner.data.shown(task)
        self.per_epoch = -(-len(self.rows) // self.size)
        self._epoch, self._order = -1, self.rows
        asked = spec.augmentation
        self._change = parts.find("augmentation", asked.name).load()(**asked.settings) if asked else None

    def at(self, step: int) -> Batch:
        """The batch of that step: new samples, and beside them what the learner recalls."""
        new = self.learner.data.batch(self.new(step), self._changed(step, "new"))
        old = self.old(step)
        return new if old is None else new._replace(replay=self.learner.data.batch(old, self._changed(step, "replay")))

    def new(self, step: int) -> np.ndarray:
        """Rows of the new samples: every epoch in its own random order, the last batch of an epoch as short as it is."""
        drawn = self.learner.data.drawn(self.task, step, self.size, self.seed)
        if drawn is not None:
            return drawn
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = generator(self.seed, "order", self.task.index, epoch).permutation(len(self.rows))
            self._epoch, self._order = epoch, self.rows[order]
        return self._order[place * self.size : (place + 1) * self.size]

    def old(self, step: int) -> np.ndarray | None:
        """Rows that the learner recalls beside them, None where it recalls nothing."""
        rows: np.ndarray | None = self.learner.recall(self.task.index, step, self.size)
        return rows

    def _changed(self, step: int, which: str) -> Any:
        """The augmentation with the draws of that step, or None."""
        if self._change is None:
            return None
        return partial(self._change, draws=generator(self.seed, f"augmentation of {which}", self.task.index, step))
