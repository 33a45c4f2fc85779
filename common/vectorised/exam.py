"""Per-sample evaluation of all members of a group at once."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from common.evaluate import pieces
from common.learners.base import Learner, Params, masked
from common.loop import Run
from common.vectorised import stacks
from common.vectorised.capture import Unfit
from common.vectorised.learned import Learned

MOST_BYTES = 2**28  # of held-out samples side by side; above that they are measured one run after the other


class Exam:
    """The held-out samples of all members as stacked tensors, of which each member's own become parts."""

    def __init__(self, runs: list[Run], apart: Callable[[str], None]) -> None:
        self.apart = apart  # told why members are measured one by one
        self.learners = [run.learner for run in runs]
        self.batch = runs[0].place.evaluation_batch
        sets = [run.held_out for run in runs]
        self.offsets = sets[0].offsets
        alike = all((s.offsets == self.offsets).all() for s in sets)
        small = sum(s.x.nbytes for s in sets) <= MOST_BYTES
        self.possible = alike and small and all(type(m).predict is Learner.predict for m in self.learners)
        self.known: dict[int, Learned | None] = {}
        if self.possible:
            self.x, self.y = stacks.stacked([s.x for s in sets]), stacks.stacked([s.y for s in sets])
            self.columns = None if sets[0].columns is None else torch.stack([s.columns for s in sets])  # type: ignore[misc]
            for run, own, x, y in zip(runs, sets, self.x, self.y, strict=True):
                run.held_out = dataclasses.replace(own, x=x, y=y)

    @torch.no_grad()
    def hits(self, params: Params, seen: int) -> Tensor | None:
        """bool [members, offsets[seen]], as `evaluate.correct` gives each; None where each is to be measured alone."""
        found = []
        for cut in pieces(self.x[0], int(self.offsets[seen]), self.batch) if self.possible else ():
            columns = None if self.columns is None else self.columns[:, cut]
            inputs = (params, self.x[:, cut], self.y[:, cut], columns)
            learned = self._learned(cut.stop - cut.start, inputs)
            if learned is None:
                return None
            found += learned(*inputs)
        return torch.cat(found, 1) if found else None

    def _learned(self, samples: int, inputs: tuple[Any, ...]) -> Learned | None:
        if samples not in self.known:
            try:
                self.known[samples] = Learned(self.learners, _right, inputs)
            except Unfit as unfit:
                self.known[samples] = None
                self.apart(f"its evaluation: {unfit}")
        return self.known[samples]


def _right(learner: Learner) -> Callable[..., Tensor]:
    def right(params: Params, x: Tensor, y: Tensor, columns: Tensor | None) -> Tensor:
        learner.net.eval()
        logits = learner.apply_net(params, x)
        learner.net.train()
        return masked(logits, columns).argmax(1) == y

    return right
