"""EWC and L2: fine-tuning of all weights with a quadratic pull towards those at the end of the last task.

loss + lambda / 2 sum_j F_j (theta_j - theta*_j)^2, F the mean squared gradient of some batches at the end of a task (EWC), or 1
(L2). As in the released code ("separate"), a new anchor takes the place of the old one, and the weights of pre-training are no
anchor: the first task is learned without a penalty.
"""

from typing import Literal

import torch
from torch import Tensor

from common.learners.base import Params, Setup, State, Terms
from common.streams.resident import Batch
from common.streams.stream import Task
from papers.l2m.learners.finetuning import FineTune

VERSION = 1
AFTER = 10**9  # steps from here on are no updates: batches that Fisher values are taken on have addresses of their own


class Anchored(FineTune):
    """importance: fisher is EWC, one is L2. strength: lambda. batches: those that the Fisher values are the mean of."""

    def __init__(
        self,
        setup: Setup,
        *,
        importance: Literal["fisher", "one"] = "fisher",
        strength: float = 400.0,
        batches: int = 10,
        fisher_batch: int = 256,
        clip: float = 0.25,
    ) -> None:
        super().__init__(setup, clip=clip)
        self.importance, self.strength, self.batches, self.size = importance, strength, batches, fisher_batch

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(cross-entropy, the pull towards the anchor)."""
        plain = super().terms(params, state, batch).plasticity
        return Terms(plain, self.pull(params, state) if "anchor" in state else None)

    def pull(self, params: Params, state: State) -> Tensor:
        """lambda / 2 sum_j F_j (theta_j - theta*_j)^2."""
        total = [
            (state["fisher"][name] * (params[name] - value).square()).sum() for name, value in state["anchor"].items()
        ]
        return self.strength / 2 * torch.stack(total).sum()

    def end(self, task: Task) -> None:
        """Keeps the weights, and how much each of them matters."""
        fisher = {name: torch.ones_like(p) for name, p in self.live.items()}
        if self.importance == "fisher":
            fisher = self.fisher(task)
        self.state["anchor"] = {name: p.detach().clone() for name, p in self.live.items()}
        self.state["fisher"] = fisher

    def fisher(self, task: Task) -> dict[str, Tensor]:
        """Mean over batches, drawn by their address, of the squared gradient of the loss, without dropout."""
        found = {name: torch.zeros_like(p) for name, p in self.live.items()}
        self.net.eval()
        for k in range(self.batches):
            rows = self.data.drawn(task, AFTER + k, self.size, self.seed)
            loss = FineTune.terms(self, self.live, {}, self.data.batch(rows)).plasticity
            grads = torch.autograd.grad(loss, list(self.live.values()), allow_unused=True, materialize_grads=True)
            for name, gradient in zip(found, grads, strict=True):
                found[name] += gradient.square() / self.batches
        self.net.train()
        return found
