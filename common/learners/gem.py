"""GEM and A-GEM: the gradient of the new task is projected so that it does not raise the loss on the memory.

GEM: Lopez-Paz & Ranzato 2017 as in the official code of the stability gap (src/methods/gem_standard.py).
A-GEM: Chaudhry et al. 2019, one average constraint instead of one per task.
"""

from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from common.learners.base import Learner, Params, Setup, State
from common.learners.memory import Memory
from common.streams.resident import Batch
from common.streams.stream import Task


class GEM(Learner):
    """One constraint per old task, on the gradient of its whole memory, in train mode.

    memory: samples in total, memory // tasks per task, the first in the data set's order (as released).
    gamma: lower bound of the dual variables; a projection adds at least gamma times each memory gradient.
    """

    by_itself = ("edit",)  # it looks at the memory, and its way depends on values

    def __init__(self, setup: Setup, *, memory: int, gamma: float = 0.5) -> None:
        super().__init__(setup)
        self.memory: Memory = Memory(memory)
        self.share = memory // len(self.data.stream)
        self.gamma = gamma
        self._references: list[Batch] | None = None  # made from the memory when first needed

    def references(self) -> list[Batch]:
        """The whole memory of each old task as a batch."""
        if self._references is None:
            tasks = np.unique(self.memory.tasks)
            self._references = [self.data.batch(self.memory.rows[self.memory.tasks == t]) for t in tasks]
        return self._references

    def edit(self, grads: Params, params: Params, state: State, batch: Batch) -> Params:
        """g + G^T v, v from the quadratic programme of the dual; g itself where no constraint is violated."""
        if not self.references():
            return grads
        g = flat(list(grads.values()))
        rows = []
        for reference in self.references():
            loss = self.loss(self.apply_net(params, reference.x), reference)
            rows.append(flat(torch.autograd.grad(loss, [params[name] for name in grads])))
        memory = torch.stack(rows)
        if bool((memory @ g >= 0).all()):
            return grads
        return unflat(g + memory.T @ dual(memory, g, self.gamma), grads)

    def end(self, task: Task) -> None:
        """Stores the first samples of the finished task."""
        rows = self.data.rows(task)
        self.memory.add_first(rows, self.data.labels_of(rows), task.index, self.share)
        self._references = None

    def set_extra_state(self, stored: dict[str, Any]) -> None:
        """Takes the memory back; its batches are made again when needed."""
        super().set_extra_state(stored)
        self._references = None


class AGEM(Learner):
    """One constraint, on the gradient of a random batch of the memory: g - (g.r / r.r) r where g.r < 0.

    memory: samples in total, a class-balanced reservoir filled after each task.
    """

    def __init__(self, setup: Setup, *, memory: int) -> None:
        super().__init__(setup)
        self.memory: Memory = Memory(memory)

    def recall(self, task: int, step: int, size: int) -> Any:
        """Rows of the reference batch at that step."""
        return self.memory.draw(self.seed, task, step, size)

    def edit(self, grads: Params, params: Params, state: State, batch: Batch) -> Params:
        """The projected gradient (Chaudhry et al. 2019, Eq. 11)."""
        if batch.replay is None:
            return grads
        old = batch.replay
        g = flat(list(grads.values()))
        r = flat(self.gradient(lambda p: self.loss(self.apply_net(p, old.x), old), params, grads))
        violated = torch.clamp(g @ r, max=0.0)
        return unflat(g - violated / (r @ r).clamp(min=1e-20) * r, grads)

    def end(self, task: Task) -> None:
        """Fills the memory with the finished task."""
        rows = self.data.rows(task)
        self.memory.add(rows, self.data.labels_of(rows), task.index, self.seed)


def dual(memory: Tensor, g: Tensor, gamma: float) -> Tensor:
    """v [k] that solves min 1/2 v'Pv + (Gg)'v subject to v >= gamma, with P = GG' + 1e-3 I.

    With u = v - gamma >= 0 and P = LL' this is the non-negative least-squares problem |L'u + L^-1(Gg + gamma P 1)|.
    """
    rows = memory.double().cpu().numpy()
    p = rows @ rows.T + 1e-3 * np.eye(len(rows))
    low = np.linalg.cholesky(p)
    linear = rows @ g.double().cpu().numpy() + gamma * p.sum(axis=1)
    u, _ = nnls(low.T, -np.linalg.solve(low, linear))
    return torch.as_tensor(u + gamma, dtype=memory.dtype, device=memory.device)


def flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """All entries in one vector."""
    return torch.cat([t.reshape(-1) for t in tensors])


def unflat(vector: Tensor, like: Params) -> Params:
    """A vector cut back into the shapes of `like`."""
    pieces = vector.split([t.numel() for t in like.values()])
    return {name: piece.view_as(t) for (name, t), piece in zip(like.items(), pieces, strict=True)}
