"""A data set of trajectories as training needs it: each task's memory-mapped arrays, returns-to-go and scale."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import Problem, nearest
from common.files import sha256_bytes
from papers.l2m.catalogue import PAPER_RANDOM, RETURN_SCALE
from papers.l2m.trajectories import Trajectories

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Book:
    """The trajectories of one task, rows episode after episode.

    states [n, S], actions [n, A], rewards [n]; starts [m + 1]: first row of each episode; returns [m]; dims: action dimensions
    that count; scale: what rewards and returns are divided by; random: a random policy's return where there is no success.
    """

    states: Floats
    actions: Floats
    rewards: Floats
    starts: npt.NDArray[np.int64]
    returns: Floats
    dims: int
    scale: float
    random: float | None = None

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
        homes = [path.parent for path in sorted(folder.glob("*/index.json"))] or [
            folder
        ]  # a folder a suite, or one set
        sets = [Trajectories.open(home) for home in homes]
        self.sets = {name: found for found in sets for name in found.tasks}
        missing = [name for name in names if name not in self.sets]
        wrong = [f"{folder} has no task '{name}'.{nearest(name, self.sets)}" for name in missing]
        for found in sets:
            index = found.index
            if index["state"] != states or index["action"] < actions:
                wrong.append(
                    f"{found.folder} has states of {index['state']} numbers and actions of {index['action']}, but the stream "
                    f"wants {states} and {actions}. Give the stream the layout that was collected ({index['layout']})."
                )
        if wrong:
            raise Problem(*wrong)
        self.digest = sha256_bytes("".join(found.digest for found in sets).encode())
        self.opened: dict[str, Book] = {}

    def __getitem__(self, name: str) -> Book:
        """The book of a task."""
        if name not in self.opened:
            found = self.sets[name]
            episodes = found.episodes(name)
            arrays = found.states(name), found.actions(name), found.rewards(name)
            scale = RETURN_SCALE.get(found.index["tasks"][name]["domain"], 1.0)
            table = episodes.starts, episodes.returns
            self.opened[name] = Book(*arrays, *table, found.dims(name), scale, PAPER_RANDOM.get(name))
        return self.opened[name]
