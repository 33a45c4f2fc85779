"""Methods that train weights of the net itself: pre-training, full fine-tuning (FT), the last block, the head alone.

Joint training on all tasks is FT on a stream of one task.
"""

from typing import Literal

import numpy as np
import torch

from common.learners.base import Setup
from common.streams.stream import Task
from papers.l2m.learners.cloning import Cloning

VERSION = 1
LEAST = 1e-3  # added to a state number's variance: one that never moves in pre-training may do so later


class FineTune(Cloning):
    """parts: all weights; the last block, the last normalisation and the head; or the head."""

    def __init__(self, setup: Setup, *, parts: Literal["all", "last", "head"] = "all", clip: float = 0.25) -> None:
        super().__init__(setup, clip)
        last = f"trunk.blocks.{self.net.trunk.depth - 1}."
        begins = {"all": ("",), "last": (last, "trunk.last.", "head."), "head": ("head.",)}[parts]
        for name, p in self.net.named_parameters():
            p.requires_grad_(name.startswith(begins) and name != "old_keys")
        self.train_only()


class Pretrain(FineTune):
    """FT from random weights. standardise: states by mean and deviation over the data of pre-training, for ever after."""

    def __init__(self, setup: Setup, *, standardise: bool = False, clip: float = 0.25) -> None:
        super().__init__(setup, clip=clip)
        self.standardise = standardise

    def begin(self, task: Task) -> None:
        """Takes the statistics of the states."""
        super().begin(task)
        if self.standardise:
            mean, variance = self.moments()
            trunk = self.net.trunk
            trunk.mean.copy_(torch.from_numpy(mean))
            trunk.scale.copy_(torch.from_numpy((variance + LEAST) ** -0.5))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, variance) of each number of a state, every task counting the same."""
        books = [self.data.shelf[name] for name in self.data.names]
        means = np.mean([book.states.mean(0, dtype=np.float64) for book in books], axis=0)
        squares = np.mean([np.square(book.states - means, dtype=np.float64).mean(0) for book in books], axis=0)
        return means, squares
