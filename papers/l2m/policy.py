"""A learner that acts: all episodes of a group in one batch, keys and values of a time step kept while its actions are found."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from papers.l2m.bins import REST, centres
from papers.l2m.changes import Change
from papers.l2m.model import MDDT, Cache
from papers.l2m.shelf import Book

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
# (tokens [n, K, A + 3, D], what is there [n, K, 1], played task of each row) -> (change, bool [n] modulated or not, or None)
Modulation = Callable[[Tensor, Tensor, Tensor], tuple[Change, Tensor | None]]


class Acting:
    """A policy for papers/l2m/rollouts.py. Actions are the likeliest bins, one dimension after the other.

    A row asks for the best return of its task's data, less what it has received, and never for more than that (capped).
    Rows of a group begin together, so that all that still play are at the same time step.
    """

    def __init__(self, net: MDDT, modulation: Modulation, books: Sequence[Book], context: int) -> None:
        self.net, self.modulation, self.books, self.context = net, modulation, books, context
        self.device = next(net.parameters()).device
        self.shares: list[list[float]] = [[] for _ in books]  # of each task's episodes, the share of modulated steps

    def start(self, count: int, tasks: Sequence[int]) -> None:
        """A new group begins; tasks[i] is the task of row i."""
        trunk = self.net.trunk
        self.close()
        own = [self.books[task] for task in tasks]
        self.tasks, self.scale = np.array(tasks), np.array([book.scale for book in own], dtype=np.float32)
        self.dims = np.array([book.dims for book in own])
        self.cap = np.array([book.goal for book in own], dtype=np.float32)
        self.goal, self.step = self.cap.copy(), 0
        self.past = np.zeros((count, self.context, trunk.states + trunk.actions + 4), dtype=np.float32)
        self.steps, self.modulated = np.zeros(count), np.zeros(count)

    def close(self) -> None:
        """Nothing; the group that was played is counted."""
        for row, task in enumerate(getattr(self, "tasks", ())):
            self.shares[task].append(float(self.modulated[row] / max(self.steps[row], 1)))
        self.tasks = np.zeros(0, dtype=np.int64)

    @torch.inference_mode()
    def act(self, states: Floats, rows: Rows) -> Floats:
        """Actions [n, A] of those rows."""
        S, A = self.net.trunk.states, self.net.trunk.actions
        if self.step >= self.context:
            self.past[rows, :-1] = self.past[rows, 1:]
        now = min(self.step, self.context - 1)
        self.past[rows, now] = 0
        self.past[rows, now, :S] = states
        self.past[rows, now, S] = self.goal[rows]
        self.past[rows, now, S + 2 + A] = self.step
        self.past[rows, now, S + 3 + A] = 1
        x = torch.from_numpy(self.past[rows, : now + 1]).to(self.device)
        chosen = self.decide(x, rows).cpu()
        actions: Floats = np.where(np.arange(A) < self.dims[rows, None], centres(chosen).numpy(), 0).astype(np.float32)
        self.past[rows, now, S + 1 : S + 1 + A] = actions
        return actions

    def decide(self, x: Tensor, rows: Rows) -> Tensor:
        """int64 [n, A]: the bins of windows [n, K, S + A + 4] whose last time step has a state and a goal only."""
        net, trunk = self.net, self.net.trunk
        tokens = trunk.embed(x)
        there, times = trunk.split(x)[-1], trunk.split(x)[-2][:, -1:]
        change, on = self.modulation(tokens, there, torch.from_numpy(self.tasks[rows]).to(self.device))
        self.steps[rows] += 1
        self.modulated[rows] += 1 if on is None else on.cpu().numpy()
        cache: Cache = []
        h = trunk.run(tokens.flatten(1, 2)[:, : 2 - trunk.tokens], change, cache)
        dims = torch.from_numpy(self.dims[rows]).to(self.device)
        most = int(dims.max())
        chosen = torch.full((len(x), trunk.actions), REST, dtype=torch.int64, device=self.device)
        for k in range(most):
            best = net.head(h[:, -1]).argmax(-1)
            chosen[:, k] = torch.where(k < dims, best, REST)
            if k + 1 < most:
                token = trunk.placed(trunk.action(chosen[:, None, k : k + 1]), times, slice(2 + k, 3 + k))
                h = trunk.run(token.flatten(1, 2), change, cache)
        return chosen

    def reward(self, rows: Rows, rewards: Floats) -> None:
        """Takes the rewards of the step just made: the goals fall by them."""
        scaled = rewards / self.scale[rows]
        now = min(self.step, self.context - 1)
        self.past[rows, now, self.net.trunk.states + self.net.trunk.actions + 1] = scaled
        self.goal[rows] = np.minimum(self.goal[rows] - scaled, self.cap[rows])
        self.step += 1
