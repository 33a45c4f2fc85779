"""Worlds that are stepped together: in this process (Stage), or divided among processes of their own (Hands)."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from papers.l2m import worlds
from papers.l2m.servants import Servant, close
from papers.l2m.worlds import World

Make = Callable[[str, str], World]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Step = tuple[Floats, Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


class Stage:
    """Rows of worlds in this process. Worlds are kept: the next group finds those of its tasks ready."""

    def __init__(self, layout: str, make: Make | None = None) -> None:
        self.layout, self.make = layout, make or worlds.make
        self.kept: dict[tuple[str, int], World] = {}
        self.rows: list[World] = []

    def begin(self, episodes: Sequence[tuple[str, int]]) -> Floats:
        """First states [n, S] of a new group, a row for each (task, seed)."""
        count: Counter[str] = Counter()
        self.rows, states = [], []
        for task, seed in episodes:
            place = (task, count[task])
            if place not in self.kept:
                self.kept[place] = self.make(task, self.layout)
            count[task] += 1
            self.rows.append(self.kept[place])
            states.append(self.kept[place].reset(seed))
        return np.stack(states) if states else np.zeros((0, 0), dtype=np.float32)

    def step(self, rows: Rows, actions: Floats) -> Step:
        """(states, rewards, success, over) of those rows after their actions."""
        made = [self.rows[row].step(action) for row, action in zip(rows, actions, strict=True)]
        states, rewards, success, over = zip(*made, strict=True)
        return np.stack(states), np.array(rewards, dtype=np.float32), np.array(success), np.array(over)

    def close(self) -> None:
        """Nothing; there is nothing to end."""


class Hands:
    """The same, divided among processes: row i belongs to process i modulo their number."""

    def __init__(self, layout: str, processes: int, make: Make | None = None) -> None:
        self.servants: list[Servant] = []
        try:
            for _ in range(processes):
                self.servants.append(Servant(Stage, layout, make))
        except BaseException:
            self.close()
            raise

    def begin(self, episodes: Sequence[tuple[str, int]]) -> Floats:
        """First states [n, S] of a new group, a row for each (task, seed)."""
        many = len(self.servants)
        said = self._ask({k: ("begin", list(episodes[k::many])) for k in range(min(many, len(episodes)))})
        states = np.empty((len(episodes), said[0].shape[1]), dtype=np.float32)
        for k, part in said.items():
            states[k::many] = part
        return states

    def step(self, rows: Rows, actions: Floats) -> Step:
        """(states, rewards, success, over) of those rows after their actions."""
        many = len(self.servants)
        places = {k: np.flatnonzero(rows % many == k) for k in range(many)}
        places = {k: own for k, own in places.items() if len(own)}
        said = self._ask({k: ("step", rows[own] // many, actions[own]) for k, own in places.items()})
        order = np.argsort(np.concatenate(list(places.values())))
        states, rewards, success, over = (np.concatenate(column)[order] for column in zip(*said.values(), strict=True))
        return states, rewards, success, over

    def _ask(self, questions: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """The answer of each process that is asked; they work at the same time."""
        for k, question in questions.items():
            self.servants[k].tell(*question)
        return {k: self.servants[k].answer() for k in questions}

    def close(self) -> None:
        """Nothing; the processes have ended."""
        close(self.servants)
