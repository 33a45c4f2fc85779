"""A memory holds row numbers of the resident images, not copies of them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.rng import generator

STORED = ("rows", "labels", "tasks", "keys")


class Memory:
    """Rows kept of past tasks, with their label, task and a random key each.

    size: most entries kept (None: all). Keys make the choice of entries a reservoir: of each class those with the
    smallest keys stay, whatever the order in which they came. Where classes come again, a sample has an entry for each
    task that it came in with: entries may then be fewer samples than their number, and all of them more than the data set has.
    """

    def __init__(self, size: int | None) -> None:
        self.size = size
        self.rows = self.labels = self.tasks = np.zeros(0, dtype=np.int64)
        self.keys = np.zeros(0)
        self._counted: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: np.ndarray, labels: np.ndarray, task: int, seed: int) -> None:
        """Takes rows of a finished task in, and keeps `size` in total, equally many of each class seen so far.

        size // classes each, the remainder one each to the first classes (official code, ER).
        """
        keys = generator(seed, "reservoir", task).random(len(rows))
        self._append(rows, labels, np.full(len(rows), task), keys)
        if self.size is None or len(self.rows) <= self.size:
            return
        classes = np.unique(self.labels)
        quota = np.full(len(classes), self.size // len(classes))
        quota[: self.size % len(classes)] += 1
        self._keep(rank_within_class(self.labels, self.keys) < quota[np.searchsorted(classes, self.labels)])

    def add_first(self, rows: np.ndarray, labels: np.ndarray, task: int, count: int) -> None:
        """Takes in the first `count` rows of a task in the data set's order (GEM as released)."""
        rows, labels = rows[:count], labels[:count]
        self._append(rows, labels, np.full(len(rows), task), np.zeros(len(rows)))

    def draw(self, seed: int, task: int, step: int, size: int) -> np.ndarray | None:
        """Rows of `size` entries at that address: class by class uniformly, no entry twice; all of them when there are fewer.

        None while the memory is empty.
        """
        if not len(self):
            return None
        if len(self) <= size:
            return self.rows
        rng = generator(seed, "replay", task, step)
        there, rank, class_of = self._classes()
        take = np.minimum(rng.multinomial(size, np.full(len(there), 1 / len(there))), there)
        while (missing := size - take.sum()) > 0:  # classes that ran out pass their share on
            open_ = np.flatnonzero(take < there)
            extra = np.zeros_like(take)
            extra[open_] = rng.multinomial(missing, np.full(len(open_), 1 / len(open_)))
            take = np.minimum(take + extra, there)
        order = np.lexsort((rng.random(len(self)), self.labels))
        chosen = np.zeros(len(self), dtype=bool)
        chosen[order[rank < take[class_of]]] = True
        return self.rows[chosen]

    def _classes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows there of each class; then of each row, sorted by class: its place within the class, and the class's number.

        Counted once after each change of the memory.
        """
        if self._counted is None:
            _, there = np.unique(self.labels, return_counts=True)
            class_of = np.repeat(np.arange(len(there)), there)
            rank = np.arange(len(class_of)) - np.repeat(np.cumsum(there) - there, there)
            self._counted = there, rank, class_of
        return self._counted

    def stored(self) -> dict[str, Tensor]:
        """Tensors that hold the whole memory."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in STORED}

    def restore(self, stored: dict[str, Any]) -> None:
        """Takes back what `stored` gave."""
        for name, tensor in stored.items():
            setattr(self, name, tensor.cpu().numpy().copy())
        self._counted = None

    def _append(self, rows: np.ndarray, labels: np.ndarray, tasks: np.ndarray, keys: np.ndarray) -> None:
        self.rows = np.concatenate([self.rows, rows])
        self.labels = np.concatenate([self.labels, labels])
        self.tasks = np.concatenate([self.tasks, tasks])
        self.keys = np.concatenate([self.keys, keys])
        self._counted = None

    def _keep(self, chosen: np.ndarray) -> None:
        self.rows, self.labels = self.rows[chosen], self.labels[chosen]
        self.tasks, self.keys = self.tasks[chosen], self.keys[chosen]
        self._counted = None


def rank_within_class(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """int64 [n]: how many entries of the same label have a smaller key."""
    order = np.lexsort((keys, labels))
    ordered = labels[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    first = np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - first
    return ranks
