"""A world of a few lines that simulates nothing: a point that must come near a goal. For tests of what plays in worlds."""

from typing import Any

import numpy as np

from common.errors import Problem

NAMES = ("near", "far")


class Point:
    """A point in the plane; state: its place and the goal's. Solved while it is within 0.15 of the goal, over after 12 steps.

    The last step blows a point of "far" away.
    """

    def __init__(self, name: str) -> None:
        self.name, self.dims, self.horizon = name, 2, 12
        self.place, self.goal, self.steps = np.zeros(2), np.zeros(2), 0

    def reset(self, seed: int) -> np.ndarray:
        self.goal = np.random.default_rng(seed).uniform(-1, 1, 2) * (0.5 if self.name == "near" else 1.0)
        self.place, self.steps = np.zeros(2), 0
        return self._state()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        self.place = self.place + 0.2 * np.clip(action[:2], -1, 1)
        self.steps += 1
        if self.name == "far" and self.steps == self.horizon:
            self.place = self.place + 1
        gap = float(np.hypot(*(self.goal - self.place)))
        return self._state(), 1 - gap, gap < 0.15, self.steps >= self.horizon

    def _state(self) -> np.ndarray:
        return np.float32([*self.place, *self.goal])


def point(task: str, layout: str) -> Any:
    """The toy world of that name; "broken" fails, "refused" is refused."""
    if task == "broken":
        raise ZeroDivisionError("a fault of the simulator")
    if task == "refused":
        raise Problem("There is no such toy.")
    return Point(task)


class Chaser:
    """A policy that walks to the goal, each row with a step of its own; it notes what it was asked."""

    def __init__(self) -> None:
        self.tasks: list[int] = []
        self.sizes: list[int] = []
        self.received = 0.0

    def start(self, count: int, tasks: Any) -> None:
        assert len(tasks) == count
        self.tasks += tasks

    def act(self, states: np.ndarray, rows: np.ndarray) -> np.ndarray:
        self.sizes.append(len(rows))
        way = states[:, 2:4] - states[:, :2]
        return np.float32(np.pad(way * (1 + rows[:, None] % 3), ((0, 0), (0, 4))))

    def reward(self, rows: np.ndarray, rewards: np.ndarray) -> None:
        assert len(rows) == len(rewards)
        self.received += float(rewards.sum())
