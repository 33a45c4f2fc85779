"""Replay of classes inside a band of frequencies, and of random classes (SCoLe, released code, replay.py)."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from common.learners.base import Setup
from common.learners.masked import Masked
from common.rng import generator
from common.streams.stream import Task

FEWEST = 3  # occurrences before a class may be replayed
REFRESHED = 10  # fewest images that an occurrence puts in the place of older ones


class ReplayClasses(Masked):
    """L = CE over the new images and the stored images of a few other classes, all images alike.

    replay: frequency takes up to as many classes as the task has, the least frequent ones whose share of the tasks lies
    above `low` and not above `high`; being replayed counts as an occurrence. random takes Binomial(k, budget) of the
    classes seen. per_class: images stored of each class.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        replay: Literal["frequency", "random"] = "frequency",
        low: float = 0.01,
        high: float = 0.1,
        budget: float = 1.0,
        per_class: int = 200,
        mask: Literal["none", "group"] = "group",
        clip: float | None = 10.0,
    ) -> None:
        super().__init__(setup, mask=mask, clip=clip)
        self.replay, self.low, self.high, self.budget = replay, low, high, budget
        classes = self.data.stream.classes
        self.state["occurred"] = torch.zeros(classes, dtype=torch.int64)  # tasks that trained or replayed the class
        self.state["stored"] = torch.full((classes, per_class), -1, dtype=torch.int64)  # rows; -1: empty
        self.state["rows"] = torch.zeros(0, dtype=torch.int64)  # replayed in this task
        self.state["new"] = 0

    def begin(self, task: Task) -> None:
        """Stores images of the task and chooses what is replayed beside it."""
        super().begin(task)
        rows = self.data.rows(task)
        labels = self.data.labels_of(rows)
        for label in task.classes:
            self._store(label, rows[labels == label], task.index)
        chosen = self.chosen(task)
        self.state["occurred"][list(task.classes) + chosen] += 1
        stored = self.state["stored"][chosen].reshape(-1)
        self.state |= {"rows": stored[stored >= 0], "new": len(rows)}

    def chosen(self, task: Task) -> list[int]:
        """The classes that are replayed beside a task."""
        occurred: np.ndarray = self.state["occurred"].cpu().numpy()
        if self.replay == "frequency":
            return within(occurred, task.index + 1, task.classes, len(task.classes), self.low, self.high)
        rng = generator(self.seed, "replayed classes", task.index)
        others = np.setdiff1d(np.flatnonzero(occurred), task.classes)
        count = min(len(others), int(rng.binomial(len(task.classes), self.budget)))
        return sorted(int(c) for c in rng.choice(others, count, replace=False)) if count else []

    def recall(self, task: int, step: int, size: int) -> Any:
        """This step's part of the replayed images: all of them once an epoch, in random order."""
        rows: Tensor = self.state["rows"]
        if not len(rows):
            return None
        steps = -(-self.state["new"] // size)
        epoch, place = divmod(step, steps)
        order = generator(self.seed, "order of replay", task, epoch).permutation(rows.cpu().numpy())
        part = np.array_split(order, steps)[place]
        return part if len(part) else None

    def _store(self, label: int, rows: np.ndarray, task: int) -> None:
        """The first time as many images as there is room for, later a few in the place of random older ones."""
        rng = generator(self.seed, "stored images", task, label)
        stored = self.state["stored"][label]
        room, seen = len(stored), int(self.state["occurred"][label])
        if bool((stored < 0).all()):
            chosen = rng.permutation(rows)[:room]
            stored[: len(chosen)] = torch.from_numpy(chosen)
            return
        count = min(max(room // (seen + 1), REFRESHED), len(rows), int((stored >= 0).sum()))
        slots = rng.permutation(np.flatnonzero(stored.cpu().numpy() >= 0))[:count]
        stored[torch.from_numpy(slots)] = torch.from_numpy(rng.permutation(rows)[:count]).to(stored.device)


def within(occurred: np.ndarray, tasks: int, present: tuple[int, ...], most: int, low: float, high: float) -> list[int]:
    """At most `most` classes, the rarest first, whose share of the tasks is in (low, high]; never those present, and
    never those that occurred in fewer than three tasks."""
    found: list[int] = []
    for label in np.argsort(occurred, kind="stable"):
        if label in present or occurred[label] < FEWEST:
            continue
        if occurred[label] / tasks > high or len(found) == most:
            break
        if occurred[label] / tasks > low:
            found.append(int(label))
    return found
