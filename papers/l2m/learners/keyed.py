"""Keys: how near queries are to them, how often each was taken, and how rare a key is; and learners that take keys."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.learners.base import Setup, State
from common.streams.resident import Batch
from papers.l2m.learners.cloning import Cloning

FEW = 1e-6


def closeness(query: Tensor, keys: Tensor) -> Tensor:
    """[B, keys]: cosine of each query with each key, in float32 whatever the net runs in; no gradient reaches the query."""
    with torch.autocast(query.device.type, enabled=False):
        return normalize(query.detach().float(), dim=1) @ normalize(keys, dim=1).T


def rarity(taken: Tensor) -> Tensor:
    """[keys]: weights in proportion to 1 / (share of samples that took a key + 1e-6), their sum 1."""
    few = 1 / (taken + FEW)
    return few / few.sum()


def count(state: State, took: Tensor, samples: int) -> None:
    """Nothing; `taken` in the state, the mean over batches of the share of samples that took each key, goes on by a batch.

    took: [keys], how many of its `samples` took each key.
    """
    state["batches"] += 1
    state["taken"] = state["taken"] + (took / samples - state["taken"]) / state["batches"]


class Keyed(Cloning):
    """A learner whose samples take keys. `terms` only notes which: it may be asked more often than the batch is learned."""

    def __init__(self, setup: Setup, keys: int, clip: float) -> None:
        super().__init__(setup, clip)
        self.state |= {"taken": torch.zeros(keys, device=setup.data.device), "batches": 0}
        self._index = torch.empty(0, dtype=torch.int64)  # [B, taken]: the keys of the samples of the last loss

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step; what the batch took counts from the next one on."""
        facts = super().update(batch)
        took = torch.bincount(self._index.flatten(), minlength=len(self.state["taken"]))
        if self.ranks is not None:  # a share that weighs nothing is a sample of another rank's
            (took,) = self.ranks.summed([took * bool(self.ranks.share(batch).new)])
        count(self.state, took, len(batch.y))
        return facts
