"""What all methods share: the loss on action bins, gradient clipping, groups of parameters, and playing episodes.

Loss: mean cross-entropy over the actions that count (valid dimensions of time steps that are there), a mean of its own for each
micro-batch. AdamW without decay but on weights of linear layers; the gradient's norm is clipped at 0.25.
"""

import importlib
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from common.files import sha256_bytes
from common.learners.base import Exam, Learner, Params, Setup, State, Terms
from common.streams.resident import Batch, Evaluation
from common.streams.stream import Task
from papers.l2m.bins import UNUSED
from papers.l2m.changes import Change
from papers.l2m.model import MDDT
from papers.l2m.policy import Acting
from papers.l2m.rollouts import Playground
from papers.l2m.sequences import Worlds
from papers.l2m.shelf import Book
from papers.l2m.windows import Windows

NOTHING = Change()
_first_exams: dict[str, Exam] = {}  # by what they hang on: a seed's pre-trained net is measured once in a process


class Cloning(Learner):
    """A learner of stored actions. `parts` of the net that learn are chosen once, by `train_only`."""

    net: MDDT
    data: Windows

    def __init__(self, setup: Setup, clip: float) -> None:
        super().__init__(setup)
        self.clip = clip
        self.state |= {"groups": 1, "begun": False}

    def begin(self, task: Task) -> None:
        """Notes of how many micro-batches a batch is made, and that the method acts from now on."""
        self.state["begun"] = True
        self.state["groups"] = len(self.data.stream.learned[task.index])

    def train_only(self, fast: dict[str, float] | None = None) -> None:
        """Nothing; the optimiser has the parameters that learn. fast: how many times as fast some of them do, by name; those
        are clipped with none of the others."""
        fast = fast or {}
        self.live = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        linear = {id(m.weight) for m in self.net.modules() if isinstance(m, nn.Linear)}
        (first,) = self.optimiser.param_groups
        groups: dict[tuple[float, bool], list[Tensor]] = {}
        for name, p in self.live.items():
            groups.setdefault((fast.get(name, 1.0), id(p) in linear), []).append(p)
        shared = {key: value for key, value in first.items() if key != "params"}
        self.optimiser.param_groups = [
            {**shared, "params": own, "lr": first["lr"] * times, "times": times}
            | ({} if decays else {"weight_decay": 0.0})
            for (times, decays), own in groups.items()
        ]
        self.clipped = [name for name in self.live if name not in fast]

    # --- the loss --------------------------------------------------------------------------------------------------

    def modulation(self, tokens: Tensor, there: Tensor, played: Tensor | None) -> tuple[Change, Tensor | None]:
        """(change of the net's forward pass, bool [B] who is modulated or None for all). tokens [B, K, A + 3, D]; there
        [B, K, 1]; played: the played task of each row while it acts, None while it learns."""
        return NOTHING, torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(cross-entropy of the actions, the method's own loss)."""
        with self._fabric.autocast() if self._fabric else nullcontext():
            tokens = self.net.trunk.embed(batch.x)
            change, own = self.chosen(tokens, self.net.trunk.split(batch.x)[-1])
            scores = self.net.decide(tokens, change)
        return Terms(self.error(scores.float(), batch.y), own)

    def chosen(self, tokens: Tensor, there: Tensor) -> tuple[Change, Tensor | None]:
        """(change of the forward pass on a training batch, the method's own loss)."""
        return self.modulation(tokens, there, None)[0], None

    def error(self, scores: Tensor, y: Tensor) -> Tensor:
        """Mean over micro-batches of their mean cross-entropy."""
        parts = zip(scores.chunk(self.state["groups"]), y.chunk(self.state["groups"]), strict=True)
        losses = [cross_entropy(s.flatten(0, 2), t.flatten(), ignore_index=UNUSED) for s, t in parts]
        return torch.stack(losses).mean()

    def edit(self, grads: Params, params: Params, state: State, batch: Batch) -> Params:
        """Gradients with their common norm clipped; keys are left out of it (README, deviation D6)."""
        own = [grads[name] for name in self.clipped if name in grads]
        if own:
            length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(own)))
            torch._foreach_mul_(own, (self.clip / (length + 1e-6)).clamp(max=1.0))
        return grads

    # --- playing ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def exam(self, held_out: Evaluation, seen: int) -> Exam:
        """Episodes of the played tasks: solved at any step. Beside it the score, solved at the last step, return, share of
        modulated steps. Before the first task begins the net acts as it was pre-trained, without any modulator."""
        episodes = int(held_out.offsets[1])
        if self.state["begun"]:
            return self.played(self.modulation, episodes)
        weights = [t for part in (self.net.trunk, self.net.head) for t in part.state_dict().values()]
        net = sha256_bytes(b"".join(t.cpu().numpy().tobytes() for t in weights))
        address = f"{net} {self.data.stream.digest()} {self.seed} {episodes} {self.data.device}"
        if address not in _first_exams:  # the same for all methods that begin at one pre-trained net
            _first_exams[address] = self.played(partial(Cloning.modulation, self), episodes)
        return _first_exams[address]

    def played(self, how: Any, episodes: int) -> Exam:
        """What becomes of `episodes` episodes of each played task when the net acts with that modulation."""
        stream = self.data.stream
        books = [stream.shelf[name] for name in stream.played]
        policy = Acting(self.net, how, books, self.data.context)
        was_training = self.net.training
        self.net.eval()
        try:
            found = ground(tuple(stream.played), stream.worlds).play(policy, episodes, self.seed, stream.worlds.horizon)
        finally:
            self.net.train(was_training)
        policy.close()
        score = [
            normalised(book, ever, returns)
            for book, ever, returns in zip(books, found.ever, found.returns, strict=True)
        ]
        values: Any = {"score": score, "last": found.last, "returns": found.returns, "modulated": policy.shares}
        return Exam(
            torch.from_numpy(found.ever.ravel()),
            {name: torch.as_tensor(np.array(value), dtype=torch.float32).flatten() for name, value in values.items()},
        )


@lru_cache(maxsize=1)
def ground(played: tuple[str, ...], worlds: Worlds) -> Playground:
    """The worlds of the played tasks in this process, kept for the next run that plays the same: episodes depend on seeds alone."""
    module, _, name = (worlds.make or "").rpartition(".")
    make = getattr(importlib.import_module(module), name) if module else None
    return Playground(list(played), worlds.layout, 1, worlds.together, make)


def normalised(book: Book, ever: Any, returns: Any) -> Any:
    """float32 [episodes]: solved or not; where a task knows no success, the return between random's (0) and the data's (1)."""
    if book.random is None:
        return np.asarray(ever, dtype=np.float32)
    return (returns - book.random) / (book.returns.mean() - book.random)
