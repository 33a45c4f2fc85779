"""Pools of modulators with keys: L2M (LoRA, IA3), L2M-oracle, and L2P with prompts of three kinds.

Query q: mean of the embedded state tokens of the window; no second forward pass. A sample takes the modulators of the `top`
nearest keys by cosine. In training, from the second task on, s_i = (cos + 1) / 2 * w_i decides, w_i proportional to 1 / (n_i +
1e-6) with n_i the mean share of samples that took i so far, w renewed at task switches only: each task takes fresh keys.
Loss: cross-entropy - 0.5 mean cos(q, k of those taken), which reaches the keys alone (q is of frozen layers).
Playing, keys of pre-training tasks compete where the net has some: if one of them is nearest, the frozen net acts.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from common.learners.base import Setup
from common.rng import generator
from common.streams.stream import Task
from papers.l2m.changes import Change
from papers.l2m.learners.keyed import Keyed, closeness, rarity
from papers.l2m.modulators import modulator

VERSION = 1


class Pool(Keyed):
    """kind: of the modulators. pool: how many. top: how many a sample takes (prompts only: more than one). oracle: the task is
    known, the pool is cut into equal blocks, and tasks that are not of the stream are played by the frozen net.
    key_loss: weight of the keys' loss. key_times: how many times as fast keys learn. penalty: fresh keys for each task.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        kind: Literal["lora", "ia3", "prompt", "prefix", "deep_prompt"] = "lora",
        pool: int = 30,
        top: int = 1,
        rank: int = 8,
        scale: float = 2.0,
        length: int = 5,
        prompt_dropout: float = 0.1,
        oracle: bool = False,
        penalty: bool = True,
        key_loss: float = 0.5,
        key_times: float = 1.0,
        clip: float = 0.25,
    ) -> None:
        super().__init__(setup, pool, clip)
        self.top, self.oracle, self.penalty, self.key_loss = top, oracle, penalty, key_loss
        self.net.requires_grad_(False)
        made = modulator(kind, pool, self.net, setup.seed, rank, scale, length, prompt_dropout)
        self.net.modulator = made.to(setup.data.device)
        drawn = generator(setup.seed, "keys").uniform(-1, 1, (pool, self.net.trunk.width))
        self.net.keys = nn.Parameter(torch.from_numpy(drawn).float().to(setup.data.device))
        self.state |= {"weight": torch.ones(pool, device=setup.data.device), "task": 0}
        self.train_only({"keys": key_times})

    def begin(self, task: Task) -> None:
        """Renews the weights of the keys by how often each was taken."""
        super().begin(task)
        self.state["task"] = task.index
        if task.index and self.penalty:
            self.state["weight"] = rarity(self.state["taken"])

    # --- keys ------------------------------------------------------------------------------------------------------

    def closeness(self, tokens: Tensor, there: Tensor, keys: Tensor) -> Tensor:
        """[B, keys]: cosine of each sample's query with keys."""
        return closeness(self.net.query(tokens, there), keys)

    def block(self, tasks: Tensor) -> Tensor:
        """bool [B, pool]: the keys of each sample's task of the stream (oracle)."""
        each = len(self.net.keys) // len(self.data.stream)
        return torch.arange(len(self.net.keys), device=tasks.device) // each == tasks[:, None]

    def chosen(self, tokens: Tensor, there: Tensor) -> tuple[Change, Tensor | None]:
        """(modulators of each sample of a training batch, - 0.5 mean cosine of their keys)."""
        close = self.closeness(tokens, there, self.net.keys)
        score = close.detach()
        if self.oracle:
            own = torch.full((len(score),), self.state["task"], device=score.device)
            score = score.masked_fill(~self.block(own), -torch.inf)
        elif self.state["task"] and self.penalty:
            score = (score + 1) / 2 * self.state["weight"]
        self._index = score.topk(self.top, dim=1).indices
        return self.taken(self._index, None), -self.key_loss * close.gather(1, self._index).mean()

    def taken(self, index: Tensor, on: Tensor | None) -> Change:
        """The change of samples that take those [B, top]."""
        return self.net.modulator.pick(index[:, 0] if self.top == 1 else index, on)

    def modulation(self, tokens: Tensor, there: Tensor, played: Tensor | None) -> tuple[Change, Tensor | None]:
        """The change of samples that act, and which of them are modulated."""
        close = self.closeness(tokens, there, self.net.keys)
        on = None
        if self.oracle and played is not None:
            task = self.learned()[played]
            on = task >= 0
            close = close.masked_fill(~self.block(task.clamp(min=0)), -torch.inf)
        elif self.net.old_keys is not None:
            on = close.max(1).values > self.closeness(tokens, there, self.net.old_keys).max(1).values
        return self.taken(close.topk(self.top, dim=1).indices, on), on

    def learned(self) -> Tensor:
        """int64 [played tasks]: the task of the stream that learns it first, -1 where none does."""
        stream = self.data.stream
        order = [
            next((k for k, groups in enumerate(stream.learned) if name in groups[0]), -1) for name in stream.played
        ]
        return torch.tensor(order, device=self.data.device)
