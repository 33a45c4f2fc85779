"""A data set of trajectories as training needs it: each task's memory-mapped arrays, returns-to-go and scale."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from common.files import read_json, sha256_bytes
from papers.l2m.catalogue import RETURN_SCALE

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Book:
    """The trajectories of one task, rows episode after episode.

    states [n, S], actions [n, A], rewards [n]; starts [m + 1]: first row of each episode; returns [m]; dims: action dimensions
    that count; scale: what rewards and returns are divided by.
    """

    states: Floats
    actions: Floats
    rewards: Floats
    starts: npt.NDArray[np.int64]
    returns: Floats
    dims: int
    scale: float

    @property
    def steps(self) -> int:
        """Rows."""
        return int(self.starts[-1])

    @cached_property
    def togo(self) -> Floats:
        """Scaled sum of the rewards from each row to the end of its episode."""
        sums = np.concatenate([[0.0], np.cumsum(self.rewards, dtype=np.float64)])
        ends = np.repeat(self.starts[1:], np.diff(self.starts))
        return ((sums[ends] - sums[:-1]) / self.scale).astype(np.float32)

    @cached_property
    def goal(self) -> float:
        """The scaled return of its best episode, which an acting policy is asked for."""
        return float(self.returns.max()) / self.scale

    def episode(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The episode of each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1


class Shelf:
    """The books of some tasks. Errors: Problem when the data set is not there, of other spaces, or lacks a task."""

    def __init__(self, folder: Path, names: list[str], states: int, actions: int) -> None:
        try:
            index: Any = read_json(folder / "index.json")
        except FileNotFoundError:
            raise Problem(f"There is no data set in {folder} yet. Run the spec that collects it first.") from None
        missing = [name for name in names if name not in index["tasks"]]
        if missing:
            raise Problem(f"{folder} has no trajectories of {', '.join(missing)}. It has: {', '.join(index['tasks'])}.")
        if index["state"] != states or index["action"] < actions:
            raise Problem(
                f"{folder} has states of {index['state']} numbers and actions of {index['action']}, but the stream wants "
                f"{states} and {actions}. Give the stream the layout that was collected ({index['layout']})."
            )
        self.digest = sha256_bytes((folder / "index.json").read_bytes())
        self.folder, self.index = folder, index["tasks"]
        self.opened: dict[str, Book] = {}

    def __getitem__(self, name: str) -> Book:
        """The book of a task."""
        if name not in self.opened:
            self.opened[name] = self._open(name)
        return self.opened[name]

    def _open(self, name: str) -> Book:
        place, about = self.folder / name, self.index[name]
        states, actions, rewards = (
            np.load(place / f"{n}.npy", mmap_mode="r") for n in ("states", "actions", "rewards")
        )
        with np.load(place / "episodes.npz") as stored:
            starts, returns = stored["starts"], stored["returns"]
        return Book(
            states, actions, rewards, starts, returns, int(about["dims"]), RETURN_SCALE.get(about["domain"], 1.0)
        )
