"""EWC and SI: a quadratic penalty keeps weights that mattered near where they were, L = CE(new) + penalty."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from common.learners.base import Learner, Params, Setup, State, Terms, masked
from common.streams.resident import Batch
from common.streams.stream import Task


def quadratic(params: Params, importance: Params, anchor: Params) -> Tensor:
    """sum over weights of importance * (weight - anchor)^2, without a factor 1/2 (official code)."""
    parts = [(importance[name] * (p - anchor[name]) ** 2).sum() for name, p in params.items()]
    return torch.stack(parts).sum()


class EWC(Learner):
    """Elastic weight consolidation, online average (official code src/methods/ewc_standard.py).

    strength: lambda. fisher: "sample" squares each sample's gradient (the diagonal Fisher on true labels);
    "batch" squares the mean gradient of a batch, as released, which is smaller by about the batch size.
    """

    def __init__(
        self, setup: Setup, *, strength: float, fisher: Literal["sample", "batch"] = "sample", fisher_batch: int = 128
    ) -> None:
        super().__init__(setup)
        self.strength, self.fisher, self.fisher_batch = strength, fisher, fisher_batch

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(CE(new), lambda * sum Omega (theta - theta*)^2); no penalty during the first task."""
        loss = self.loss(self.apply_net(params, batch.x), batch)
        if "importance" not in state:
            return Terms(loss)
        return Terms(loss, self.strength * quadratic(params, state["importance"], state["anchor"]))

    def end(self, task: Task) -> None:
        """Measures the importance on the finished task and averages it with that of earlier tasks."""
        new = self._importance(self.data.rows(task))
        done = task.index + 1
        old = self.state.get("importance", new)
        self.state["importance"] = {n: old[n] + (new[n] - old[n]) / done for n in new}
        self.state["anchor"] = {n: p.detach().clone() for n, p in self.live.items()}

    def _importance(self, rows: "object") -> Params:
        training = self.net.training
        self.net.eval()
        total = {name: torch.zeros_like(p) for name, p in self.live.items()}
        pieces = torch.as_tensor(rows).split(self.fisher_batch)
        for piece in pieces:
            squared = self._squared(self.data.batch(piece))
            for name, value in squared.items():
                total[name] += value
        self.net.train(training)
        count = len(pieces) if self.fisher == "batch" else sum(len(p) for p in pieces)
        return {name: value / count for name, value in total.items()}

    def _squared(self, batch: Batch) -> Params:
        """Squared gradients of one batch: of its mean, or summed over its samples."""
        if self.fisher == "batch":
            loss = self.loss(self.apply_net(self.live, batch.x), batch)
            found = torch.autograd.grad(loss, list(self.live.values()))
            return {name: g**2 for name, g in zip(self.live, found, strict=True)}
        params = {name: p.detach() for name, p in self.live.items()}
        columns = torch.ones_like(batch.x[:, 0, 0, :1], dtype=torch.bool) if batch.columns is None else batch.columns

        def one(p: Params, x: Tensor, y: Tensor, allowed: Tensor) -> Tensor:
            logits = functional_call(self.net, p, (x.unsqueeze(0),))
            return nn.functional.cross_entropy(masked(logits, allowed.unsqueeze(0)), y.unsqueeze(0))

        each = vmap(grad(one), in_dims=(None, 0, 0, 0))(params, batch.x, batch.y, columns)
        return {name: (g**2).sum(0) for name, g in each.items()}


class SI(Learner):
    """Synaptic intelligence (Zenke et al. 2017): importance = path integral of the loss's fall over the squared way.

    strength: c. damping: xi. The gradient of the whole loss is integrated, as in common implementations; the official
    code of the stability gap has no SI.
    """

    def __init__(self, setup: Setup, *, strength: float, damping: float = 0.1) -> None:
        super().__init__(setup)
        self.strength, self.damping = strength, damping

    def begin(self, task: Task) -> None:
        """Starts a new path at the present weights."""
        self.state["path"] = {n: torch.zeros_like(p) for n, p in self.live.items()}
        self.state["start"] = {n: p.detach().clone() for n, p in self.live.items()}

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(CE(new), c * sum Omega (theta - theta*)^2); no penalty during the first task."""
        loss = self.loss(self.apply_net(params, batch.x), batch)
        if "importance" not in state:
            return Terms(loss)
        return Terms(loss, self.strength * quadratic(params, state["importance"], state["start"]))

    def after(self, grads: Params, before: Params, params: Params, state: State) -> State:
        """The path integral with the step's part added: - gradient * movement."""
        way = {name: state["path"][name] - g * (params[name] - before[name]) for name, g in grads.items()}
        return {"path": state["path"] | way}

    def end(self, task: Task) -> None:
        """Adds the task's importance: path / (distance^2 + xi), never below zero."""
        old = self.state.get("importance", {n: torch.zeros_like(p) for n, p in self.live.items()})
        self.state["importance"] = {
            n: old[n]
            + (self.state["path"][n] / ((p.detach() - self.state["start"][n]) ** 2 + self.damping)).clamp(min=0)
            for n, p in self.live.items()
        }
