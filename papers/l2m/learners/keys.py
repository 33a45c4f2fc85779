"""Keys of the pre-training tasks: a phase of its own, after pre-training. The net is frozen and unmodulated.

Each batch of pre-training windows takes the nearest keys under the count penalty of `pools`, here renewed at every step, so that
all keys come to be used; a key moves towards the queries that took it. The released code has this, but no released config sets it.
"""

from typing import Any

import torch

from common.learners.base import Params, Setup, State, Terms
from common.streams.resident import Batch
from papers.l2m.learners.keyed import Keyed, closeness, rarity

VERSION = 1


class OldKeys(Keyed):
    """Trains `model.old_keys` keys."""

    def __init__(self, setup: Setup, *, key_loss: float = 0.5, clip: float = 0.25) -> None:
        net: Any = setup.net
        assert net.old_keys is not None  # checks.py refuses a model without them
        super().__init__(setup, len(net.old_keys), clip)
        self.key_loss = key_loss
        for name, p in self.net.named_parameters():
            p.requires_grad_(name == "old_keys")
        self.train_only({"old_keys": 1.0})

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """- 0.5 mean cosine of queries and the keys they take."""
        with torch.no_grad():
            query = self.net.query(self.net.trunk.embed(batch.x), self.net.trunk.split(batch.x)[-1])
        close = closeness(query, params["old_keys"])
        self._index = ((close.detach() + 1) / 2 * rarity(state["taken"])).argmax(1, keepdim=True)
        return Terms(-self.key_loss * close.gather(1, self._index).mean())
