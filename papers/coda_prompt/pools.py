"""The field that CODA-Prompt is compared with: L2P++ (and its deep form) and DualPrompt, as prefixes, chosen for each image.

Keys learn from their own loss alone, sum over images and layers of 1 - cos(q, k) of the chosen keys; the classification
loss reaches the prompts and never the keys. Prompts and keys begin uniform in [0, 1), as in the official code.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from common.learners.base import Setup
from common.streams.stream import Task
from papers.coda_prompt.frozen import Frozen
from papers.coda_prompt.prompts import Prompts, in_full_precision
from papers.coda_prompt.vit import Prefixes

VERSION = 1


class Pool(Prompts):
    """A pool of prompts with keys in each layer; an image takes the `top` nearest ones, halves of all joined."""

    def __init__(
        self, layers: list[int], length: int, width: int, seed: int, pool: int, top: int, key_loss: str
    ) -> None:
        super().__init__(layers, length, width, seed)
        self.top, self.key_loss = top, key_loss
        self.P = nn.Parameter(self.uniform("pool", len(layers), pool, length * width))
        self.K = nn.Parameter(self.uniform("pool keys", len(layers), pool, width))

    def closeness(self, query: Tensor) -> Tensor:
        """[layers, B, pool]: cosine of query and keys."""
        return normalize(query, dim=1) @ normalize(self.K, dim=-1).mT

    def chosen(self, query: Tensor) -> Tensor:
        """[layers, B, top]: which prompts an image takes."""
        return self.closeness(query).topk(self.top, dim=-1).indices

    def forward(self, query: Tensor, learning: bool) -> tuple[Prefixes, Tensor | None]:
        """(prefixes of top * L rows, the keys' loss)."""
        with in_full_precision(query):
            close = self.closeness(query.float())
            index = close.detach().topk(self.top, dim=-1).indices
            layer = torch.arange(len(self.layers), device=index.device)[:, None, None]
            taken = self.P[layer, index].unflatten(-1, (2, -1))  # layers, B, top, half, L/2 * D
            return self.prefixes(taken.transpose(2, 3).flatten(2)), self._pull(close, index) if learning else None

    def _pull(self, close: Tensor, index: Tensor) -> Tensor:
        """The keys' loss. "official": every chosen key is drawn to the queries of the whole batch, as the released indexing
        does; "sample": to the query that chose it."""
        if self.key_loss == "sample":
            return (1 - close.gather(-1, index)).sum()
        times = torch.zeros_like(close[:, 0]).scatter_add_(
            1, index.flatten(1), torch.ones_like(index.flatten(1), dtype=close.dtype)
        )
        return (times * (1 - close).sum(1)).sum()


class L2P(Frozen):
    """L2P++: prefixes in layer 1; Deep L2P++ is the same in layers 1 to 5. Nothing is frozen between tasks."""

    def __init__(
        self,
        setup: Setup,
        *,
        pool: int = 30,
        length: int = 20,
        top: int = 5,
        layers: list[int] = [0],  # noqa: B006  (read from source, never changed)
        key_loss: Literal["official", "sample"] = "official",
        cached: Literal["none", "query", "tokens"] = "tokens",
    ) -> None:
        super().__init__(setup, cached=cached)
        self.net.prompt = Pool(layers, length, self.net.trunk.width, setup.seed, pool, top, key_loss).to(
            setup.data.device
        )
        self.train_only()


class Dual(Prompts):
    """One shared prompt in the first layers (G), and in the others one prompt and one key a task (E)."""

    def __init__(
        self, layers: tuple[list[int], list[int]], lengths: tuple[int, int], width: int, seed: int, tasks: int
    ) -> None:
        super().__init__(layers[1], lengths[1], width, seed)
        self.shared = layers[0]
        self.G = nn.Parameter(self.uniform("G", len(layers[0]), lengths[0], width))
        self.P = nn.Parameter(self.uniform("E", len(layers[1]), tasks, lengths[1] * width))
        self.K = nn.Parameter(self.uniform("E keys", len(layers[1]), tasks, width))
        self.register_buffer("task", torch.zeros((), dtype=torch.long))

    def begin(self, task: int) -> None:
        """Notes which task is trained."""
        now: Any = self.task
        now.fill_(task)

    def chosen(self, query: Tensor) -> Tensor:
        """[layers, B, 1]: the nearest key of the whole pool, those of tasks to come included."""
        return self._close(query).argmax(-1, keepdim=True)

    def _close(self, query: Tensor) -> Tensor:
        return normalize(query, dim=1) @ normalize(self.K, dim=-1).mT

    def forward(self, query: Tensor, learning: bool) -> tuple[Prefixes, Tensor | None]:
        """(prefixes, the keys' loss): the known task's prompt in training, the nearest key's at test."""
        with in_full_precision(query):
            close = self._close(query.float())
            task: Any = self.task
            index = task.expand(close.shape[:2]) if learning else close.argmax(-1)
            layer = torch.arange(len(self.layers), device=index.device)[:, None]
            found = self.prefixes(self.P[layer, index])
            shared = self.G[:, None].expand(-1, len(query), -1, -1)
            found |= dict(zip(self.shared, shared.unbind(0), strict=True))
            return found, (1 - close.gather(-1, index[..., None])).sum() if learning else None


class DualPrompt(Frozen):
    """DualPrompt. g_length, e_length: rows of keys and values together (6 in the scripts, 5 in the paper; 20)."""

    def __init__(
        self,
        setup: Setup,
        *,
        g_length: int = 6,
        e_length: int = 20,
        g_layers: list[int] = [0, 1],  # noqa: B006  (read from source, never changed)
        e_layers: list[int] = [2, 3, 4],  # noqa: B006
        cached: Literal["none", "query", "tokens"] = "tokens",
    ) -> None:
        super().__init__(setup, cached=cached)
        tasks = len(setup.data.stream)
        made = Dual((g_layers, e_layers), (g_length, e_length), self.net.trunk.width, setup.seed, tasks)
        self.net.prompt = made.to(setup.data.device)
        self.train_only()

    def begin(self, task: Task) -> None:
        """New classes, and the prompt of the new task."""
        super().begin(task)
        prompt: Any = self.net.prompt
        prompt.begin(task.index)
