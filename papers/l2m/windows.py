"""Samples that are windows of stored trajectories, gathered from memory-mapped arrays at each step.

A row is a time step of the data that a run needs, task after task; its window begins there and ends `context` steps later or
with its episode. Drawing rows uniformly is drawing a trajectory by its length and a place in it uniformly, as the paper does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from common.rng import generator
from common.streams.resident import Batch, Evaluation, Resident
from common.streams.stream import Task
from papers.l2m.bins import UNUSED, bins

if TYPE_CHECKING:
    from papers.l2m.sequences import Sequences


class Windows(Resident):
    """Windows of the memory-mapped trajectories; what a run touches is gathered at each step, nothing is copied before."""

    def __init__(self, stream: "Sequences", device: torch.device | str = "cpu", names: list[str] | None = None) -> None:
        self.stream: Sequences = stream
        self.device = torch.device(device)
        self.shelf, (self.context, self.states, self.actions) = stream.shelf, stream.shape
        self.shape = stream.shape
        learned = dict.fromkeys(n for groups in stream.learned for group in groups for n in group)
        self.names = list(learned) if names is None else names
        lengths = [self.shelf[name].steps for name in self.names]
        self.first = np.concatenate([[0], np.cumsum(lengths)])  # row of each task's first time step
        self.labels = torch.zeros(0, dtype=torch.int64)

    def shown(self, task: Task) -> np.ndarray:
        """No list of rows: they are drawn at each step."""
        return np.zeros(0, dtype=np.int64)

    def drawn(self, task: Task, step: int, size: int, seed: int) -> np.ndarray:
        """`size` rows of each group of tasks that the stream task shows, uniformly over their time steps."""
        draws = generator(seed, "windows", task.index, step)
        return np.concatenate([self.spread(group)(draws, size) for group in self.stream.learned[task.index]])

    def spread(self, group: list[str]) -> Callable[[np.random.Generator, int], np.ndarray]:
        """What draws rows of a group of tasks."""
        numbers = np.array([self.names.index(name) for name in group])
        lengths = np.diff(self.first)[numbers]
        ends = np.cumsum(lengths)
        shift = self.first[numbers] - (ends - lengths)

        def draw(draws: np.random.Generator, size: int) -> np.ndarray:
            steps = draws.integers(0, ends[-1], size)
            return np.asarray(steps + shift[np.searchsorted(ends, steps, side="right")])

        return draw

    def batch(self, rows: Tensor | np.ndarray, change: Any = None) -> Batch:
        """Packed windows [B, K, S + A + 4] (states, return-to-go, actions, reward, time step, whether it is there) and the bins
        [B, K, A] of their actions."""
        x, valid = self.gather(np.asarray(rows))
        packed = torch.from_numpy(x)
        y = bins(packed[..., self.states + 1 : self.states + 1 + self.actions])
        y.masked_fill_(torch.from_numpy(~valid), UNUSED)
        return Batch(packed.to(self.device), y.to(self.device), rows=torch.as_tensor(rows).to(self.device))

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(packed windows float32, bool [B, K, A] of the actions that count)."""
        S, A = self.states, self.actions
        x = np.zeros((len(rows), self.context, S + A + 4), dtype=np.float32)
        valid = np.zeros((len(rows), self.context, A), dtype=bool)
        task = np.searchsorted(self.first, rows, side="right") - 1
        for number in np.unique(task):
            own = np.flatnonzero(task == number)
            book = self.shelf[self.names[number]]
            begin = rows[own] - self.first[number]
            episode = book.episode(begin)
            steps = begin[:, None] + np.arange(self.context)
            there = steps < book.starts[episode + 1][:, None]
            steps = np.where(there, steps, begin[:, None])
            part = np.empty((len(own), self.context, S + A + 4), dtype=np.float32)
            part[..., :S] = book.states[steps]
            part[..., S] = book.togo[steps]
            part[..., S + 1 : S + 1 + A] = book.actions[steps][..., :A]
            part[..., S + 1 + A] = book.rewards[steps] / book.scale
            part[..., S + 2 + A] = steps - book.starts[episode][:, None]
            part[..., S + 3 + A] = 1
            x[own] = part * there[..., None]
            valid[own] = there[..., None] & (np.arange(A) < book.dims)
        return x, valid

    def evaluation(self, samples: int | None, seed: int) -> Evaluation:
        """No pictures: offsets alone, `samples` episodes of each played task."""
        none = torch.zeros(0, 1, device=self.device)
        episodes = min(len(task.test) if samples is None else samples for task in self.stream.measured)
        return Evaluation(none, none[:, 0].long(), None, np.arange(len(self.stream.played) + 1) * episodes)
