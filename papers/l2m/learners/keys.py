"""Keys of the pre-training tasks: a phase of its own, after pre-training. The net is frozen and unmodulated.

Each batch of pre-training windows takes the nearest keys under the count penalty of `pools`, here renewed at every step, so that
all keys come to be used; a key moves towards the queries that took it. The released code has this, but no released config sets it.
"""

import torch

from common.learners.base import Params, Setup, State, Terms
from common.streams.resident import Batch
from papers.l2m.learners.cloning import Cloning
from papers.l2m.learners.keyed import closeness, count, rarity

VERSION = 1


class OldKeys(Cloning):
    """Trains `model.old_keys` keys."""

    def __init__(self, setup: Setup, *, key_loss: float = 0.5, clip: float = 0.25) -> None:
        super().__init__(setup, clip)
        self.key_loss = key_loss
        for name, p in self.net.named_parameters():
            p.requires_grad_(name == "old_keys")
        assert self.net.old_keys is not None  # checks.py refuses a model without them
        self.state |= {"taken": torch.zeros(len(self.net.old_keys), device=setup.data.device), "batches": 0}
        self.train_only({"old_keys": 1.0})

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """- 0.5 mean cosine of queries and the keys they take."""
        with torch.no_grad():
            query = self.net.query(self.net.trunk.embed(batch.x), self.net.trunk.split(batch.x)[-1])
        close = closeness(query, params["old_keys"])
        index = ((close.detach() + 1) / 2 * rarity(state["taken"])).argmax(1, keepdim=True)
        count(state, index)
        return Terms(-self.key_loss * close.gather(1, index).mean())
