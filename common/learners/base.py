"""The contract of a learner: three verbs, and what it computes on a batch as a function of (parameters, state, batch).

`begin(task)`, `update(batch)` and `end(task)` are called by the loop. `terms`, `edit` and `after` are pure functions for
one run, so that the same code runs alone and, over stacked parameters, for several runs at once (common/vectorised/).
Everything a learner remembers is in `state` (tensors, on the device) or `memory` (row numbers); both are in `state_dict`.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from common.learners.memory import Memory
from common.learners.unsaved import attributes, marks
from common.ranks import Ranks
from common.streams.resident import Batch, Evaluation, Resident
from common.streams.stream import Task

Params = dict[str, Tensor]
State = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """The two weighted parts of a loss (stability gap, Eq. 8): on the new task, and on keeping the old ones."""

    plasticity: Tensor
    stability: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.plasticity if self.stability is None else self.plasticity + self.stability


@dataclass(frozen=True)
class Exam:
    """What became of each held-out sample: bool [N] whether it went right, and further float32 [N] values by name."""

    hits: Tensor
    values: dict[str, Tensor]


@dataclass(frozen=True)
class Setup:
    """What the loop gives every learner.

    net: network with `trunk` and `head`. optimiser: a torch optimiser over its parameters.
    data: the stream's images on the device. seed: address of all its draws.
    """

    net: nn.Module
    optimiser: torch.optim.Optimizer
    data: Resident
    seed: int


class Learner(LightningModule):
    """Base of all learners; by itself it is plain fine-tuning. A learner's settings are keyword-only parameters.

    watch: record gradient norms of both terms at every update (costs two more backward passes).
    skip_zero: whether an update whose loss is exactly 0 is left out (momentum and Adam would move all the same).
    by_itself: names of the functions below that look at more than their arguments; see common/vectorised/.
    """

    skip_zero = False
    by_itself: tuple[str, ...] = ()

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.net, self.optimiser, self.data, self.seed = setup.net, setup.optimiser, setup.data, setup.seed
        self.state: State = {}
        self.memory: Memory | None = None
        self.watch = False
        self.ranks: Ranks | None = None  # where several processes share each batch
        self.live: Params = dict(self.net.named_parameters())

    # --- the three verbs -------------------------------------------------------------------------------------

    def begin(self, task: Task) -> None:
        """Called once before a task's first update."""

    def recall(self, task: int, step: int, size: int) -> Any:
        """Row numbers to replay beside the new batch of that step, or None: a function of seed, address, memory."""
        return None

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step; returns scalars to record (losses, and gradient norms when watched)."""
        terms = self.terms(self.live, self.state, batch) if self.ranks is None else self.shared_terms(batch)
        facts = {"plasticity": terms.plasticity.detach()}
        if terms.stability is not None:
            facts["stability"] = terms.stability.detach()
        if self.skip_zero and not bool(terms.total):
            return facts
        norms = self._term_norms(terms) if self.watch else {}
        follows = type(self).after is not Learner.after
        before = {name: p.detach().clone() for name, p in self.live.items()} if follows else {}
        self.optimiser.zero_grad()
        self._backward(terms.total)
        if self.ranks is not None:
            facts = self._sum_over(self.ranks, facts)
        facts |= norms
        if type(self).edit is not Learner.edit:
            facts |= self._edit_gradients(batch)
        self.optimiser.step()
        if follows:
            grads = {name: p.grad for name, p in self.live.items() if p.grad is not None}
            now = {name: p.detach() for name, p in self.live.items()}
            self.state |= self.after(grads, before, now, self.state)
        return facts

    def end(self, task: Task) -> None:
        """Called once after a task's last update (and before the next task's `begin`)."""

    # --- functions of (parameters, state, batch) -------------------------------------------------------------

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """The loss on a batch. Fine-tuning: cross-entropy over all columns that count, nothing for stability.

        Several processes can share the batch where both are means over samples (see `shared_terms`).
        """
        return Terms(self.loss(self.apply_net(params, batch.x), batch))

    def edit(self, grads: Params, params: Params, state: State, batch: Batch) -> Params:
        """The gradient that the optimiser gets (GEM and A-GEM project it)."""
        return grads

    def after(self, grads: Params, before: Params, params: Params, state: State) -> State:
        """What an update changes in the state: entries to put in place of the old ones (SI's path, for one).

        grads: of the parameters that have one. before, params: all weights before and after the step.
        """
        return {}

    def gradient(self, loss: Callable[[Params], Tensor], params: Params, names: Iterable[str]) -> list[Tensor]:
        """Gradients of a loss with respect to the named parameters, for use in `edit`."""
        if params is self.live:
            return list(torch.autograd.grad(loss(params), [params[name] for name in names]))
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        return list(torch.autograd.grad(loss(leaves), [leaves[name] for name in names]))

    def apply_net(self, params: Params, x: Tensor) -> Tensor:
        """Logits under given parameters; the module itself when they are its own (no call overhead)."""
        with self._fabric.autocast() if self._fabric else nullcontext():
            logits: Tensor = self.net(x) if params is self.live else functional_call(self.net, params, (x,))
        return logits.float()

    def predict(self, x: Tensor) -> Tensor:
        """Scores [B, classes] by which held-out samples are classified: the logits, unless a learner has its own rule."""
        return self.apply_net(self.live, x)

    def exam(self, held_out: Evaluation, seen: int) -> "Exam | None":
        """What became of each held-out sample of the first `seen` parts, by a rule of the learner's own (a policy that acts
        in a simulator); None: a sample is classified by `predict`."""
        return None

    def scores(self, evaluation: Evaluation, part: slice) -> Tensor:
        """`predict` of those samples of the evaluation set; for a learner that keeps something of each of them."""
        return self.predict(evaluation.x[part])

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy over the columns that count for each sample."""
        return cross_entropy(masked(logits, batch.columns), batch.y)

    # --- mechanics -------------------------------------------------------------------------------------------

    def _backward(self, loss: Tensor) -> None:
        if self._fabric is not None:
            self.manual_backward(loss)
        else:
            loss.backward()

    def shared_terms(self, batch: Batch) -> Terms:
        """This rank's addend of the loss on a batch: its means, weighted by its part of the samples.

        Plasticity counts as a mean over the new samples, stability as one over the replayed samples, without replay over
        the new ones; a penalty that uses no samples fits both, as the weights of all ranks add up to 1.
        """
        assert self.ranks is not None
        share = self.ranks.share(batch)
        terms = self.terms(self.live, self.state, share.batch)
        return Terms(terms.plasticity * share.new, None if terms.stability is None else terms.stability * share.old)

    def _sum_over(self, ranks: Ranks, facts: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of the whole batch; its gradient is put where this rank's addend was."""
        moved = [p for p in self.live.values() if p.grad is not None]
        whole = ranks.summed([p.grad for p in moved if p.grad is not None] + list(facts.values()))
        for p, gradient in zip(moved, whole, strict=False):
            p.grad = gradient
        # copies: a recorded scalar must not keep the message with all gradients alive
        return {name: value.clone() for name, value in zip(facts, whole[len(moved) :], strict=True)}

    def _edit_gradients(self, batch: Batch) -> dict[str, Tensor]:
        raw = {name: p.grad for name, p in self.live.items() if p.grad is not None}
        edited = self.edit(raw, self.live, self.state, batch)
        for name, gradient in edited.items():
            self.live[name].grad = gradient
        if not self.watch:
            return {}
        change = [edited[name] - raw[name] for name in raw]
        return {"grad_plasticity": norm(list(raw.values())), "grad_stability": norm(change)}

    def _term_norms(self, terms: Terms) -> dict[str, Tensor]:
        found = {}
        for name in ("plasticity", "stability"):
            term = getattr(terms, name)
            if term is not None and term.requires_grad:
                raw = torch.autograd.grad(term, list(self.live.values()), retain_graph=True, allow_unused=True)
                grads = [g for g in raw if g is not None]
                found[f"grad_{name}"] = norm(grads if self.ranks is None else self.ranks.summed(grads))
        return found

    def unsaved(self) -> list[str]:
        """Names of attributes that changed, in place too, since the learner was made: they would be lost when a run resumes.

        What a learner remembers belongs in `state`; what it can make again belongs under a name that begins with _.
        """
        values = attributes(self)
        now = marks(self, values)
        # the values stay with their marks: an id is nobody else's as long as its object is there
        _, before = self.__dict__.setdefault("_made_with", (values, now))
        return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))

    def get_extra_state(self) -> dict[str, Any]:
        """State and memory, saved with the weights."""
        return {"state": self.state, "memory": None if self.memory is None else self.memory.stored()}

    def set_extra_state(self, stored: dict[str, Any]) -> None:
        """Takes back what `get_extra_state` gave."""
        self.state = _to(stored["state"], next(iter(self.live.values())).device)
        if self.memory is not None and stored["memory"] is not None:
            self.memory.restore(stored["memory"])


def masked(logits: Tensor, columns: Tensor | None) -> Tensor:
    """Logits with the columns that do not count at minus infinity (several heads); unchanged for one head."""
    return logits if columns is None else logits.masked_fill(~columns, -torch.inf)


def norm(gradients: list[Tensor]) -> Tensor:
    """L2 norm over all parameters together."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])).detach()


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {k: _to(v, device) for k, v in value.items()}
    return type(value)(_to(v, device) for v in value) if type(value) in (list, tuple) else value
