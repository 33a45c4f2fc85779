"""Worlds without a simulator: a point in a square that must reach a place, one place a task. Their data, too."""

from typing import Any

import numpy as np

from common.files import write_json
from common.rng import generator
from papers.l2m.store import FORMAT

PLACES = {"east": (0.8, 0.0), "north": (0.0, 0.8), "west": (-0.8, 0.0), "south": (0.0, -0.8)}
STATES, HORIZON = 6, 12


class Point:
    """State: where the point is, where it must go, and two numbers that say nothing. An action is a step of at most 0.25."""

    def __init__(self, name: str) -> None:
        self.name, self.dims, self.horizon = name, 2, HORIZON

    def reset(self, seed: int) -> np.ndarray:
        draws = np.random.default_rng(seed)
        self.place = draws.uniform(-0.2, 0.2, 2)
        self.goal = np.array(PLACES[self.name]) + draws.uniform(-0.1, 0.1, 2)
        self.steps = 0
        return self.seen()

    def seen(self) -> np.ndarray:
        return np.array([*self.place, *self.goal, 0, 1], dtype=np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        self.place = np.clip(self.place + 0.25 * np.clip(action[:2], -1, 1), -1, 1)
        self.steps += 1
        distance = float(np.abs(self.goal - self.place).max())
        return self.seen(), 1 - distance, distance < 0.15, self.steps >= self.horizon

    def best(self) -> np.ndarray:
        """What gets there."""
        return np.clip((self.goal - self.place) / 0.25, -1, 1)


def make(task: str, layout: str) -> Point:
    """The world of a task."""
    return Point(task)


def collect(making: Any, *, episodes: int = 20, noise: float = 0.2) -> Any:
    """Data of all tasks in the stored form; yields what came of each."""
    tasks, folder, seed = {}, making.folder, making.seed
    for number, name in enumerate(PLACES):
        world, rows, starts, facts = make(name, ""), [], [0], []
        for episode in range(episodes):
            draws = generator(seed, "toy", number, episode)
            state, over, last, solved = world.reset(int(draws.integers(2**31))), False, False, []
            while not over:
                action = np.clip(world.best() + noise * draws.standard_normal(2), -1, 1)
                following, reward, last, over = world.step(action)
                rows.append((state, np.append(action, 0).astype(np.float32), reward))
                state = following
                solved.append(last)
            starts.append(len(rows))
            facts.append((any(solved), last, sum(r for *_, r in rows[starts[-2] :])))
        (folder / name).mkdir(parents=True, exist_ok=True)
        states, actions, rewards = (np.array(column, dtype=np.float32) for column in zip(*rows, strict=True))
        for word, values in (("states", states), ("actions", actions), ("rewards", rewards)):
            np.save(folder / name / f"{word}.npy", values)
        ever, lasts, returns = (np.array(column) for column in zip(*facts, strict=True))
        table = {"ever": ever, "last": lasts, "returns": returns.astype(np.float32), "noise": np.full(episodes, noise)}
        np.savez(folder / name / "episodes.npz", starts=np.array(starts), **table)
        tasks[name] = {"domain": "toy", "dims": 2, "steps": len(rows), "episodes": episodes, "sha256": {}}
        yield {"task": name, "quantity": "ever", "value": float(ever.mean())}
    about = {"format": FORMAT, "layout": "toy", "state": STATES, "action": 3, "versions": {}}
    write_json(folder / "index.json", about | {"tasks": tasks})
