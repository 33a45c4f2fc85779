"""Nearest class mean on frozen features (Janson and others, 2022): nothing is trained, a class is the mean of its features."""

from typing import Any, Literal

import torch
from torch import Tensor, cdist
from torch.nn.functional import normalize

from common.learners.base import Learner, Setup
from common.streams.resident import Batch, Evaluation
from common.streams.stream import Task

VERSION = 1
BLOCK = 256  # images that are looked at together


class NearestMean(Learner):
    """y(x) = argmin_c |f(x) - mu_c| over the classes seen, mu_c = 1/n_c sum f(x_i), f the trunk of any network.

    cosine: features and means are brought to length 1. Sums and counts are kept, so a class may come again.
    """

    def __init__(self, setup: Setup, *, distance: Literal["cosine", "euclidean"] = "cosine") -> None:
        super().__init__(setup)
        self.distance = distance
        net: Any = setup.net.eval()  # normalisation keeps the statistics of its pre-training
        sums = torch.zeros(setup.data.stream.classes, net.head.in_features, device=setup.data.device)
        self.state |= {"sums": sums, "counts": torch.zeros(len(sums), 1, device=sums.device)}
        self._held: Tensor | None = None  # features of the held-out images, computed once in a run

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """[B, D] of images."""
        net: Any = self.net
        found = torch.cat([net.trunk(part).float() for part in x.split(BLOCK)])
        return normalize(found) if self.distance == "cosine" else found

    def begin(self, task: Task) -> None:
        """Takes the task's images into the sums of their classes."""
        rows = self.data.rows(task)
        labels = self.data.labels_of(rows)
        for label in task.classes:
            for part in torch.as_tensor(rows[labels == label]).split(BLOCK):
                self.state["sums"][label] += self.features(self.data.batch(part).x).sum(0)
                self.state["counts"][label] += len(part)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def scores(self, evaluation: Evaluation, part: slice) -> Tensor:
        """Minus the distance to the mean of each class, minus infinity for those not seen yet."""
        self._held = self.features(evaluation.x) if self._held is None else self._held
        sums, counts = self.state["sums"], self.state["counts"]
        means = normalize(sums) if self.distance == "cosine" else sums / counts.clamp(min=1)
        return (-cdist(self._held[part], means)).masked_fill(counts.T == 0, -torch.inf)
